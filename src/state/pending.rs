//! The pending entries list of a group: who owns which delivered entry, since when, for which time; and which of them
//! were given back, in which order.
//!
//! The rows by id are state and lie in pages. The ids by owner, by delivery time and by release are derived from them,
//! never dumped, and rebuilt when a snapshot is loaded. Nobody outside this file can change one without the others
//! (I6).

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::rows::{Row, Rows};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stamp, Stopped, Summary, Tree};
use crate::id::{ConsumerNo, EntryId};

/// A delivered entry that nobody has acknowledged: owned by a consumer since its delivery, or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) id: EntryId,
    /// Whose it is; [`NOBODY`] if it was released.
    holder: ConsumerNo,
    /// Since when (Unix ms); its place in the order of releases if it was released.
    since: u64,
    pub(crate) delivery_count: u64,
}

/// Numbers of consumers begin at 1.
const NOBODY: ConsumerNo = ConsumerNo::ZERO;

impl Pending {
    /// A row that a consumer owns.
    pub(crate) fn owned(id: EntryId, owner: ConsumerNo, delivered_ms: u64, delivery_count: u64) -> Self {
        Self { id, holder: owner, since: delivered_ms, delivery_count }
    }

    /// Who owns it; nobody if it was released.
    pub(crate) fn owner(&self) -> Option<ConsumerNo> {
        (self.holder != NOBODY).then_some(self.holder)
    }

    /// When it was delivered (Unix ms); 0 if it was released.
    pub(crate) fn delivered_ms(&self) -> u64 {
        if self.holder == NOBODY { 0 } else { self.since }
    }
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

    fn replace(&mut self, before: &Self, after: &Self) -> bool {
        self.count = self.count - before.count + after.count;
        // If the oldest one has become younger, another one is the oldest now.
        let known = before.oldest_delivered_ms > self.oldest_delivered_ms
            || after.oldest_delivered_ms <= self.oldest_delivered_ms;
        self.oldest_delivered_ms = self.oldest_delivered_ms.min(after.oldest_delivered_ms);
        known
    }
}

impl Row for Pending {
    type Key = EntryId;
    type Summary = PendingOutline;
    const LEAF_ROWS_MAX: usize = 256;

    fn key(&self) -> &EntryId {
        &self.id
    }

    fn bytes(&self) -> u64 {
        // Measured: a row, and its places in the lists by owner and by delivery, which are half full where ids ascend.
        200
    }

    fn count(&self, summary: &mut PendingOutline) {
        summary.add(&PendingOutline { count: 1, oldest_delivered_ms: self.delivered_ms() });
    }
}

/// A pending entries list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PendingList {
    rows: Tree<Rows<Pending>>,
    #[serde(skip)]
    by_owner: OrdMap<ConsumerNo, OrdSet<EntryId>>,
    /// Those that are owned, oldest delivery first.
    #[serde(skip)]
    by_delivery: OrdSet<(u64, EntryId)>,
    /// Those that were released, first come first, by their place in the order.
    #[serde(skip)]
    released: OrdMap<u64, EntryId>,
}

impl PendingList {
    /// How many entries are pending.
    pub(crate) fn len(&self) -> u64 {
        self.rows.summary().count
    }

    /// About how many bytes it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.bytes()
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

    /// How many were released.
    pub(crate) fn released_count(&self) -> u64 {
        self.released.len() as u64
    }

    /// The ids that were released, first come first.
    pub(crate) fn released(&self) -> impl Iterator<Item = EntryId> + use<'_> {
        self.released.values().copied()
    }

    /// The ids that are owned and were delivered no later than that (Unix ms), oldest delivery first.
    pub(crate) fn delivered_by(&self, latest_ms: u64) -> impl Iterator<Item = EntryId> + use<'_> {
        self.by_delivery.range(..=(latest_ms, EntryId::MAX)).map(|(_, id)| *id)
    }

    /// The first delivery (Unix ms), of those that are owned.
    pub(crate) fn first_delivery(&self) -> Option<u64> {
        self.by_delivery.get_min().map(|(at, _)| *at)
    }

    /// The first delivery after that time (Unix ms), of those that are owned.
    pub(crate) fn next_delivery_after(&self, ms: u64) -> Option<u64> {
        self.by_delivery.range((ms.checked_add(1)?, EntryId::MIN)..).next().map(|(at, _)| *at)
    }

    /// Puts a row in its place: a new one, or another owner, time or count for one that is there.
    pub(super) fn put(&mut self, row: Pending, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let before = self.rows.insert(row, stamp)?;
        if let Some(before) = &before {
            if before.holder == row.holder && row.holder != NOBODY {
                self.by_delivery.remove(&(before.since, row.id));
                self.by_delivery.insert((row.since, row.id));
                return Ok(());
            }
            self.unlist(before);
        }
        self.list(&row);
        Ok(())
    }

    /// Takes a row's owner away, and puts it at the end of those that were released.
    pub(super) fn release(
        &mut self,
        id: EntryId,
        delivery_count: u64,
        stamp: &mut Stamp<'_>,
    ) -> Result<(), Needs> {
        let place = self.released.get_max().map_or(0, |(last, _)| *last) + 1;
        self.put(Pending { id, holder: NOBODY, since: place, delivery_count }, stamp)
    }

    /// Takes a row out; answers whether it was there.
    pub(super) fn remove(&mut self, id: EntryId, stamp: &mut Stamp<'_>) -> Result<bool, Needs> {
        let Some(row) = self.rows.remove(&id, stamp)? else { return Ok(false) };
        self.unlist(&row);
        Ok(true)
    }

    /// Takes all rows of an owner out.
    pub(super) fn remove_owner(&mut self, owner: ConsumerNo, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        if let Some(ids) = self.by_owner.remove(&owner) {
            for id in &ids {
                if let Some(row) = self.rows.remove(id, stamp)? {
                    self.by_delivery.remove(&(row.since, *id));
                }
            }
        }
        Ok(())
    }

    /// Puts a row into the derived lists.
    fn list(&mut self, row: &Pending) {
        if row.holder == NOBODY {
            self.released.insert(row.since, row.id);
            return;
        }
        self.by_owner.entry(row.holder).or_default().insert(row.id);
        self.by_delivery.insert((row.since, row.id));
    }

    /// Takes a row out of the derived lists.
    fn unlist(&mut self, row: &Pending) {
        if row.holder == NOBODY {
            self.released.remove(&row.since);
            return;
        }
        self.by_delivery.remove(&(row.since, row.id));
        if let Some(ids) = self.by_owner.get_mut(&row.holder) {
            ids.remove(&row.id);
            if ids.is_empty() {
                self.by_owner.remove(&row.holder);
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
        let rows: Vec<Pending> = self.rows.rows().copied().collect();
        rows.iter().for_each(|row| self.list(row));
        Ok(())
    }

    /// Says what is wrong, if anything is: the indexes must agree (I6).
    pub(super) fn check(&self, is_consumer: impl Fn(ConsumerNo) -> bool) -> Result<(), String> {
        self.rows.check_rows()?;
        let owned: usize = self.by_owner.values().map(OrdSet::len).sum();
        if (owned + self.released.len()) as u64 != self.len() || self.by_delivery.len() != owned {
            return Err(format!(
                "{} rows are pending, but consumers own {owned} and {} were released",
                self.len(),
                self.released.len()
            ));
        }
        for row in self.rows() {
            let Some(owner) = row.owner() else {
                if self.released.get(&row.since) != Some(&row.id) {
                    return Err(format!("{} was released, and is not where it should be", row.id));
                }
                continue;
            };
            if !self.by_owner.get(&owner).is_some_and(|ids| ids.contains(&row.id)) {
                return Err(format!("{} is pending for consumer {owner}, who does not own it", row.id));
            }
            if !self.by_delivery.contains(&(row.since, row.id)) {
                return Err(format!("{} is not found by its delivery", row.id));
            }
            if !is_consumer(owner) {
                return Err(format!("{} is pending for consumer {owner}, who does not exist", row.id));
            }
        }
        Ok(())
    }
}
