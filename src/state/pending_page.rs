//! Pending rows: what one says, and the pages that hold them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::packed::Packed;
use super::tree::{Leaf, Measure, Needs, Stamp, Summary, Tree};
use crate::id::{ConsumerNo, EntryId};

/// A delivered entry that nobody has acknowledged: owned by a consumer since its delivery, or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) id: EntryId,
    /// Whose it is; [`NOBODY`] if it was released.
    pub(super) holder: ConsumerNo,
    /// Since when (Unix ms); its place in the order of releases if it was released.
    pub(super) since: u64,
    pub(crate) delivery_count: u64,
}

/// Numbers of consumers begin at 1.
pub(super) const NOBODY: ConsumerNo = ConsumerNo::ZERO;

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

/// A page of pending rows, by id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "DumpedPage", into = "DumpedPage")]
pub(crate) struct PendingPage {
    rows: Packed<5>,
    /// The oldest delivery time in it (Unix ms), 0 if one was released.
    oldest_delivered_ms: u64,
}

impl Default for PendingPage {
    fn default() -> Self {
        Self { rows: Packed::default(), oldest_delivered_ms: u64::MAX }
    }
}

/// A page as it lies in a snapshot.
#[derive(Serialize, Deserialize)]
struct DumpedPage {
    count: u32,
    bases: [u64; 5],
    widths: [u8; 5],
    rows: Bytes,
}

impl From<PendingPage> for DumpedPage {
    fn from(page: PendingPage) -> Self {
        let (bases, widths, rows) = page.rows.parts();
        let rows = Bytes::copy_from_slice(rows);
        Self { count: page.rows.len() as u32, bases: *bases, widths: *widths, rows }
    }
}

impl TryFrom<DumpedPage> for PendingPage {
    type Error = &'static str;

    fn try_from(dumped: DumpedPage) -> Result<Self, Self::Error> {
        let DumpedPage { count, bases, widths, rows } = dumped;
        let rows =
            Packed::from_parts(bases, widths, count, &rows).ok_or("its rows do not fit their widths")?;
        let mut page = Self { rows, oldest_delivered_ms: 0 };
        page.oldest_delivered_ms = page.oldest_from(0);
        Ok(page)
    }
}

fn numbers(row: &Pending) -> [u64; 5] {
    [row.id.ms, row.id.seq, row.holder.get(), row.since, row.delivery_count]
}

fn pending([ms, seq, holder, since, delivery_count]: [u64; 5]) -> Pending {
    Pending { id: EntryId { ms, seq }, holder: ConsumerNo::new(holder), since, delivery_count }
}

impl PendingPage {
    /// The oldest delivery time in it, which is known to be this one or a later one.
    fn oldest_from(&self, least_ms: u64) -> u64 {
        let mut oldest = u64::MAX;
        for row in self.rows.iter() {
            oldest = oldest.min(pending(row).delivered_ms());
            if oldest <= least_ms {
                break;
            }
        }
        oldest
    }

    fn find(&self, id: EntryId) -> Result<usize, usize> {
        self.rows.find(&[id.ms, id.seq])
    }

    fn row(&self, at: usize) -> Option<Pending> {
        self.rows.get(at).map(pending)
    }

    fn put(&mut self, row: &Pending) -> Option<Pending> {
        let before = match self.find(row.id) {
            Ok(at) => {
                let before = self.row(at);
                self.rows.replace(at, &numbers(row));
                before
            }
            Err(at) => {
                self.rows.insert(at, &numbers(row));
                None
            }
        };
        self.oldest_delivered_ms = self.oldest_delivered_ms.min(row.delivered_ms());
        self.lost(before)
    }

    fn take(&mut self, id: EntryId) -> Option<Pending> {
        let at = self.find(id).ok()?;
        let row = self.row(at);
        self.rows.remove(at);
        self.lost(row)
    }

    /// Finds the oldest delivery anew, after a row went that may have been the oldest.
    fn lost(&mut self, row: Option<Pending>) -> Option<Pending> {
        let oldest = self.oldest_delivered_ms;
        if row.is_some_and(|row| row.delivered_ms() == oldest) {
            self.oldest_delivered_ms = self.oldest_from(oldest);
        }
        row
    }
}

impl Leaf for PendingPage {
    type Key = EntryId;
    type Summary = PendingOutline;
    const WEIGHT_MAX: usize = 256;

    fn first_key(&self) -> Option<EntryId> {
        self.row(0).map(|row| row.id)
    }

    fn measure(&self) -> Measure<PendingOutline> {
        // Measured: the places of a row in the lists by owner and by delivery.
        const INDEXED_BYTES: u64 = 10;
        let count = self.rows.len() as u64;
        Measure {
            summary: PendingOutline { count, oldest_delivered_ms: self.oldest_delivered_ms },
            weight: self.rows.len(),
            bytes: self.rows.bytes() + INDEXED_BYTES * count,
        }
    }

    fn weight(&self) -> usize {
        self.rows.len()
    }

    fn split(&mut self, at_end: bool) -> Option<Self> {
        let keep = if at_end { self.rows.len().checked_sub(1)? } else { self.rows.len() / 2 };
        if keep == 0 {
            return None;
        }
        let mut next = Self { rows: self.rows.split_off(keep), oldest_delivered_ms: 0 };
        for page in [self, &mut next] {
            page.oldest_delivered_ms = page.oldest_from(0);
        }
        Some(next)
    }

    fn merge(&mut self, next: Self) {
        self.rows.append(&next.rows);
        self.oldest_delivered_ms = self.oldest_delivered_ms.min(next.oldest_delivered_ms);
    }
}

/// Pending rows by id.
pub(super) type PendingTree = Tree<PendingPage>;

impl PendingTree {
    /// The row of an entry.
    pub(super) fn get(&self, id: EntryId) -> Result<Option<Pending>, Needs> {
        let Some(page) = self.leaf(&id)? else { return Ok(None) };
        Ok(page.find(id).ok().and_then(|at| page.row(at)))
    }

    /// Puts a row in its place; answers the one that was there.
    pub(super) fn put(&mut self, row: &Pending, stamp: &mut Stamp<'_>) -> Result<Option<Pending>, Needs> {
        self.change(&row.id, stamp, |page, _| page.put(row))
    }

    /// Takes a row out.
    pub(super) fn take(&mut self, id: EntryId, stamp: &mut Stamp<'_>) -> Result<Option<Pending>, Needs> {
        if self.get(id)?.is_none() {
            return Ok(None);
        }
        self.change(&id, stamp, |page, _| page.take(id))
    }

    /// Puts rows, whose ids are ascending, in their places; answers those that were there.
    pub(super) fn put_all(&mut self, rows: &[Pending], stamp: &mut Stamp<'_>) -> Result<Vec<Pending>, Needs> {
        let mut before = Vec::new();
        self.change_each(rows, |row| row.id, stamp, |page, row| before.extend(page.put(row)))?;
        Ok(before)
    }

    /// Takes rows out, whose ids are ascending. They must be there: a page without any would count as changed.
    pub(super) fn take_all(&mut self, ids: &[EntryId], stamp: &mut Stamp<'_>) -> Result<Vec<Pending>, Needs> {
        let mut taken = Vec::with_capacity(ids.len());
        self.change_each(ids, |id| *id, stamp, |page, id| taken.extend(page.take(*id)))?;
        Ok(taken)
    }

    /// Of ascending ids the first one without a row.
    pub(super) fn first_missing(&self, ids: &[EntryId]) -> Result<Option<EntryId>, Needs> {
        let mut walk = self.walk_from(EntryId::MAX)?;
        for id in ids {
            if walk.row()?.is_none_or(|row| row.id != *id) {
                walk = self.walk_from(*id)?;
                if walk.row()?.is_none_or(|row| row.id != *id) {
                    return Ok(Some(*id));
                }
            }
            walk.step();
        }
        Ok(None)
    }

    /// The smallest and the largest id.
    pub(super) fn ends(&self) -> Result<Option<(EntryId, EntryId)>, Needs> {
        let first = self.first()?.and_then(PendingPage::first_key);
        let last = self.last()?.and_then(|page| page.rows.last()).map(|row| pending(row).id);
        Ok(first.zip(last))
    }

    /// The place of the first row from an id on.
    pub(super) fn walk_from(&self, id: EntryId) -> Result<PendingWalk<'_>, Needs> {
        let page = self.leaf(&id)?;
        let at = page.map_or(0, |page| page.find(id).unwrap_or_else(|at| at));
        Ok(PendingWalk { tree: self, page, at })
    }
}

/// A place among pending rows, on its way up.
#[derive(Debug)]
pub(crate) struct PendingWalk<'a> {
    tree: &'a PendingTree,
    page: Option<&'a PendingPage>,
    at: usize,
}

impl PendingWalk<'_> {
    /// The row at this place; none behind the last one.
    pub(crate) fn row(&mut self) -> Result<Option<Pending>, Needs> {
        while let Some(page) = self.page {
            if let Some(row) = page.row(self.at) {
                return Ok(Some(row));
            }
            let Some(last) = page.rows.last() else { break };
            let next = self.tree.leaf_after(&pending(last).id)?;
            // Rows out of order, which only a check finds, would lead here again and again.
            self.page = next.filter(|next| next.first_key() > page.first_key());
            self.at = 0;
        }
        Ok(None)
    }

    /// Goes on to the next row.
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// The oldest delivery (Unix ms) on the page where the last row was found; 0 if one was released.
    pub(crate) fn oldest_delivered_ms(&self) -> u64 {
        self.page.map_or(0, |page| page.oldest_delivered_ms)
    }

    /// Passes over rows of this page, up to an id, but not more than so many. Answers how many.
    pub(crate) fn pass(&mut self, through: EntryId, count_max: u64) -> u64 {
        let Some(page) = self.page else { return 0 };
        let behind = page.find(through).map_or_else(|at| at, |at| at + 1);
        let passed = (behind.saturating_sub(self.at) as u64).min(count_max);
        self.at += passed as usize;
        passed
    }
}
