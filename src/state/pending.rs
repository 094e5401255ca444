//! The pending entries list of a group: who owns which delivered entry, since when, for which time.
//!
//! The rows by id are state and lie in pages. The ids by owner are derived from them, never dumped, and rebuilt
//! when a snapshot is loaded. Nobody outside this file can change one without the other (I6).

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::rows::{Row, Rows};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stamp, Stopped, Summary, Tree};
use crate::id::{ConsumerNo, EntryId};

/// A delivered entry that nobody has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) id: EntryId,
    pub(crate) owner: ConsumerNo,
    pub(crate) delivered_ms: u64,
    pub(crate) delivery_count: u64,
}

/// What the pages above know of pending rows: enough to pass over those that are too young.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingOutline {
    pub(crate) count: u64,
    pub(crate) oldest_delivered_ms: u64,
}

impl Default for PendingOutline {
    fn default() -> Self {
        Self { count: 0, oldest_delivered_ms: u64::MAX }
    }
}

impl Summary for PendingOutline {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.oldest_delivered_ms = self.oldest_delivered_ms.min(other.oldest_delivered_ms);
    }
}

impl Row for Pending {
    type Key = EntryId;
    type Summary = PendingOutline;
    const LEAF_ROWS_MAX: usize = 256;

    fn key(&self) -> &EntryId {
        &self.id
    }

    fn count(&self, summary: &mut PendingOutline) {
        summary.add(&PendingOutline { count: 1, oldest_delivered_ms: self.delivered_ms });
    }
}

/// A pending entries list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PendingList {
    rows: Tree<Rows<Pending>>,
    #[serde(skip)]
    by_owner: OrdMap<ConsumerNo, OrdSet<EntryId>>,
}

impl PendingList {
    /// How many entries are pending.
    pub(crate) fn len(&self) -> u64 {
        self.rows.summary().count
    }

    /// The row of an entry.
    pub(crate) fn get(&self, id: EntryId) -> Result<Option<&Pending>, Needs> {
        self.rows.get(&id)
    }

    /// The smallest and the largest pending id.
    pub(crate) fn ends(&self) -> Result<Option<(EntryId, EntryId)>, Needs> {
        Ok(self.rows.first_row()?.zip(self.rows.last_row()?).map(|(first, last)| (first.id, last.id)))
    }

    /// The rows from an id on, ascending.
    pub(crate) fn range_from(
        &self,
        id: EntryId,
    ) -> Result<impl Iterator<Item = Result<&Pending, Needs>> + use<'_>, Needs> {
        self.rows.range_from(&id)
    }

    /// All rows, ascending.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Pending> {
        self.rows.rows()
    }

    /// How many entries a consumer owns.
    pub(crate) fn owned_count(&self, owner: ConsumerNo) -> u64 {
        self.by_owner.get(&owner).map_or(0, |ids| ids.len() as u64)
    }

    /// The ids that a consumer owns, from one on, ascending.
    pub(crate) fn owned_from(
        &self,
        owner: ConsumerNo,
        id: EntryId,
    ) -> impl Iterator<Item = EntryId> + use<'_> {
        self.by_owner.get(&owner).into_iter().flat_map(move |ids| ids.range(id..).copied())
    }

    /// Puts a row in its place: a new one, or another owner, time or count for one that is there.
    pub(super) fn put(&mut self, row: Pending, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let before = self.rows.insert(row, stamp)?;
        match before {
            Some(before) if before.owner == row.owner => return Ok(()),
            Some(before) => self.disown(before.owner, row.id),
            None => {}
        }
        self.by_owner.entry(row.owner).or_default().insert(row.id);
        Ok(())
    }

    /// Takes a row out; answers whether it was there.
    pub(super) fn remove(&mut self, id: EntryId, stamp: &mut Stamp<'_>) -> Result<bool, Needs> {
        let Some(row) = self.rows.remove(&id, stamp)? else { return Ok(false) };
        self.disown(row.owner, id);
        Ok(true)
    }

    /// Takes all rows of an owner out.
    pub(super) fn remove_owner(&mut self, owner: ConsumerNo, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        if let Some(ids) = self.by_owner.remove(&owner) {
            for id in &ids {
                self.rows.remove(id, stamp)?;
            }
        }
        Ok(())
    }

    fn disown(&mut self, owner: ConsumerNo, id: EntryId) {
        if let Some(ids) = self.by_owner.get_mut(&owner) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }

    pub(super) fn dump(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.rows.dump(dump)
    }

    pub(super) fn dropped(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.rows.dropped(comparison)
    }

    pub(super) fn load(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.rows.load(parts)?;
        for row in self.rows.rows() {
            self.by_owner.entry(row.owner).or_default().insert(row.id);
        }
        Ok(())
    }

    /// Says what is wrong, if anything is: the two indexes must agree (I6).
    pub(super) fn check(&self, is_consumer: impl Fn(ConsumerNo) -> bool) -> Result<(), String> {
        self.rows.check_rows()?;
        let owned: usize = self.by_owner.values().map(OrdSet::len).sum();
        if owned as u64 != self.len() {
            return Err(format!("{} rows are pending, but consumers own {owned}", self.len()));
        }
        for row in self.rows() {
            if !self.by_owner.get(&row.owner).is_some_and(|ids| ids.contains(&row.id)) {
                return Err(format!("{} is pending for consumer {}, who does not own it", row.id, row.owner));
            }
            if !is_consumer(row.owner) {
                return Err(format!("{} is pending for consumer {}, who does not exist", row.id, row.owner));
            }
        }
        Ok(())
    }
}
