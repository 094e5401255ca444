//! A stream: its counters, its entries, its groups.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entries::Entries;
use super::group::Group;
use super::rows::{Row, RowCount, Rows, weight_of_name};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stopped, Tree};
use crate::id::{EntryId, StreamNo};
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
    /// How many entries were ever added.
    pub(crate) entries_added: u64,
    pub(crate) entries: Entries,
    pub(super) groups: Tree<Rows<Group>>,
}

impl Stream {
    pub(super) fn new(no: StreamNo, name: Bytes) -> Self {
        Self {
            no,
            name,
            last_id: EntryId::MIN,
            max_deleted_id: EntryId::MIN,
            entries_added: 0,
            entries: Entries::default(),
            groups: Tree::default(),
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

    pub(super) fn check(&self) -> Result<(), String> {
        self.entries.check()?;
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
    type Summary = RowCount;
    const LEAF_ROWS_MAX: usize = 16;
    const WEIGHS: bool = true;
    const NESTS: bool = true;

    fn key(&self) -> &StreamNo {
        &self.no
    }

    fn weight(&self) -> usize {
        weight_of_name(&self.name)
    }

    fn count(&self, summary: &mut RowCount) {
        summary.0 += 1;
    }

    fn dump_nested(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.entries.pages.dump(dump)?;
        self.groups.dump(dump)
    }

    fn dropped_nested(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.entries.pages.dropped(comparison)?;
        self.groups.dropped(comparison)
    }

    fn load_nested(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.entries.pages.load(parts)?;
        self.groups.load(parts)
    }
}
