//! A stream: its counters, its entries, its groups.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::dedup::Dedup;
use super::entries::Entries;
use super::group::Group;
use super::rows::{Row, Rows, weight_of_name};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stopped, Summary, Tree};
use crate::id::{EntryId, Seq, StreamNo};
use crate::record::Cursor;

/// A stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) no: StreamNo,
    /// The name it has now.
    pub(crate) name: Bytes,
    /// The last id given out; never goes back.
    pub(crate) last_id: EntryId,
    /// The largest id that was deleted. Trimming from the head does not count.
    pub(crate) max_deleted_id: EntryId,
    /// The largest last id, or largest deleted one, that XSETID put back; `0-0` if it never did. Ids up to this one may
    /// have been given out twice, or have been deleted without it being known: what is pending there may be gone, though
    /// the entries around it were added later and are all there.
    pub(crate) put_back_from: EntryId,
    /// How many entries were ever added.
    pub(crate) entries_added: u64,
    pub(crate) entries: Entries,
    pub(super) groups: Tree<Rows<Group>>,
    pub(crate) dedup: Dedup,
    /// When it expires (Unix ms).
    pub(crate) expires_ms: Option<u64>,
    /// The batch in which it was copied last, or copied from another one: pages that were not changed since may be part
    /// of both. See [`Stamp::shared_through`](super::tree::Stamp::shared_through).
    pub(super) shared_through: Seq,
}

/// How many streams there are, and how many of them may share pages with another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamCount {
    pub(super) streams: u64,
    shared: u64,
}

impl Summary for StreamCount {
    fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.shared += other.shared;
    }

    fn replace(&mut self, before: &Self, after: &Self) -> bool {
        self.streams = self.streams - before.streams + after.streams;
        self.shared = self.shared - before.shared + after.shared;
        true
    }
}

impl Stream {
    /// Whether it was copied, or is a copy.
    fn is_shared(&self) -> bool {
        self.shared_through != Seq::ZERO
    }

    /// Up to this id an entry may be gone though the entries around it are all there: it was in a node that went, and
    /// what was added next went into the node before; or ids were given out twice.
    pub(crate) fn doubtful_through(&self) -> EntryId {
        self.max_deleted_id.max(self.put_back_from)
    }

    pub(super) fn new(no: StreamNo, name: Bytes) -> Self {
        Self {
            no,
            name,
            last_id: EntryId::MIN,
            max_deleted_id: EntryId::MIN,
            put_back_from: EntryId::MIN,
            entries_added: 0,
            entries: Entries::default(),
            groups: Tree::default(),
            dedup: Dedup::default(),
            expires_ms: None,
            shared_through: Seq::ZERO,
        }
    }

    /// The group with that name.
    pub(crate) fn group(&self, name: &[u8]) -> Result<Option<&Group>, Needs> {
        self.groups.get(name)
    }

    /// The groups, by name.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.rows()
    }

    /// How many groups there are.
    pub(crate) fn group_count(&self) -> u64 {
        self.groups.summary().0
    }

    /// The id of the first entry; `0-0` if there is none.
    pub(crate) fn first_id(&self) -> Result<EntryId, Needs> {
        Ok(self.entries.first_id()?.unwrap_or(EntryId::MIN))
    }

    /// Whether an entry at or after `from` may have been deleted, so that counting is not safe.
    pub(crate) fn has_tombstones_from(&self, from: EntryId) -> bool {
        !self.entries.is_empty() && self.max_deleted_id != EntryId::MIN && from <= self.max_deleted_id
    }

    /// How many entries were added up to and including `id`, if that can be known.
    pub(crate) fn entries_up_to(&self, id: EntryId) -> Result<Option<u64>, Needs> {
        if self.entries_added == 0 {
            return Ok(Some(0));
        }
        if self.entries.is_empty() && id <= self.last_id {
            return Ok(Some(self.entries_added));
        }
        if id != EntryId::MIN && id < self.max_deleted_id {
            return Ok(None);
        }
        if id == self.last_id {
            return Ok(Some(self.entries_added));
        }
        if id > self.last_id {
            return Ok(None);
        }
        let first_id = self.first_id()?;
        if self.max_deleted_id == EntryId::MIN || self.max_deleted_id < first_id {
            // An XSETID may have set the counter below the length.
            let before = self.entries_added.saturating_sub(self.entries.len());
            if id < first_id {
                return Ok(Some(before));
            }
            if id == first_id {
                return Ok(Some(before + 1));
            }
        }
        Ok(None)
    }

    /// How many entries a group has still to read, if that can be known.
    pub(crate) fn lag(&self, cursor: Cursor) -> Result<Option<u64>, Needs> {
        if self.entries_added == 0 || self.entries.is_empty() {
            return Ok(Some(0));
        }
        let first_id = self.first_id()?;
        if cursor.last_delivered_id < first_id && self.max_deleted_id < first_id {
            return Ok(Some(self.entries.len()));
        }
        let read = match cursor.entries_read {
            Some(read) if !self.has_tombstones_from(cursor.last_delivered_id) => Some(read),
            _ => self.entries_up_to(cursor.last_delivered_id)?,
        };
        Ok(read.map(|read| self.entries_added.saturating_sub(read)))
    }

    /// The cursor after one more entry was delivered.
    pub(crate) fn advance(&self, cursor: Cursor, id: EntryId) -> Result<Cursor, Needs> {
        if id <= cursor.last_delivered_id {
            return Ok(cursor);
        }
        let counts_on = cursor.last_delivered_id >= self.first_id()?
            && !self.has_tombstones_from(cursor.last_delivered_id);
        let entries_read = match cursor.entries_read {
            // A group that was told to have read more than it did gets no further than the end.
            Some(read) if counts_on => Some(read.saturating_add(1).min(self.entries_added)),
            _ if self.entries_added != 0 => self.entries_up_to(id)?,
            unchanged => unchanged,
        };
        Ok(Cursor { last_delivered_id: id, entries_read })
    }

    /// Whether a group still has to do with an entry: it has not read it yet, or it has it pending.
    pub(crate) fn is_referenced(&self, id: EntryId) -> Result<bool, Needs> {
        for group in self.groups() {
            if id > group.cursor.last_delivered_id || group.pending.get(id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.entries.check()?;
        self.dedup.check()?;
        let top = self.entries.last_id().map_err(|needs| format!("{needs:?}"))?;
        if top.is_some_and(|top| top > self.last_id) {
            return Err(format!("stream {} has an entry above its last id", self.no));
        }
        self.groups.check_rows()?;
        self.groups().try_for_each(Group::check)
    }
}

impl Row for Stream {
    type Key = StreamNo;
    type Summary = StreamCount;
    const LEAF_ROWS_MAX: usize = 16;
    const WEIGHS: bool = true;
    const NESTS: bool = true;

    fn key(&self) -> &StreamNo {
        &self.no
    }

    fn weight(&self) -> usize {
        weight_of_name(&self.name)
    }

    fn bytes(&self) -> u64 {
        (size_of::<Self>() + self.name.len()) as u64
            + self.entries.pages.bytes()
            + self.groups.bytes()
            + self.dedup.bytes()
    }

    fn count(&self, summary: &mut StreamCount) {
        summary.streams += 1;
        summary.shared += u64::from(self.is_shared());
    }

    fn dump_nested(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        dump.sharing(self.is_shared(), |dump| {
            self.entries.pages.dump(dump)?;
            self.groups.dump(dump)?;
            self.dedup.dump(dump)
        })
    }

    fn shares(summary: &StreamCount) -> bool {
        summary.shared > 0
    }

    fn dropped_nested(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.entries.pages.dropped(comparison)?;
        self.groups.dropped(comparison)?;
        self.dedup.dropped(comparison)
    }

    fn load_nested(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        parts.share(self.is_shared());
        let loaded = (self.entries.pages.load(parts))
            .and_then(|()| self.groups.load(parts))
            .and_then(|()| self.dedup.load(parts));
        parts.share(false);
        loaded
    }
}
