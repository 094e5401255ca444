//! The pending entries list of a group: who owns which delivered entry, since when, for which time; and which of them
//! were given back, in which order.
//!
//! The rows by id are state and lie in pages. The ids by owner, by delivery time and by release are derived from them and
//! never dumped. They are made of all rows at once when something asks for them, and follow each change from then on. A
//! queue whose workers keep up never needs them; and a log is replayed without them, for following a change takes longer
//! than the change. Nobody outside this file can change one without the others (I6).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::index::{Index, Place};
use super::pending_page::{NOBODY, PendingTree};
pub(crate) use super::pending_page::{Pending, PendingWalk};
use super::tree::{Comparison, Dump, LoadError, Needs, Parts, Stamp, Stopped};
use crate::id::{ConsumerNo, EntryId};

/// With more rows than this the lists are kept, outside of replay: to make them would hold up whoever asks first.
const LISTED_LATER_MAX: u64 = 4096;

/// A pending entries list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PendingList {
    rows: PendingTree,
    #[serde(skip)]
    lists: OnceLock<Lists>,
}

/// What is derived from the rows.
#[derive(Clone, Debug, Default)]
struct Lists {
    /// For each owner of any its ids, behind a 0.
    by_owner: OrdMap<ConsumerNo, Index>,
    /// Those that are owned, by the time of their delivery (Unix ms).
    by_delivery: Index,
    /// Those that were released, by their place in the order of releases.
    released: Index,
}

/// Whether there are several, in ascending order.
fn is_run<T>(items: &[T], id: impl Fn(&T) -> EntryId) -> bool {
    items.len() > 1 && items.is_sorted_by(|a, b| id(a) < id(b))
}

/// The places of rows in the order of their delivery.
fn deliveries(rows: &[Pending]) -> Vec<Place> {
    let mut places: Vec<Place> = rows.iter().map(|row| (row.since, row.id)).collect();
    places.sort_unstable();
    places
}

impl Lists {
    /// The lists of rows that are ascending.
    fn of(rows: impl Iterator<Item = Pending>) -> Self {
        let mut by_owner: BTreeMap<ConsumerNo, Vec<Place>> = BTreeMap::new();
        let (mut by_delivery, mut released) = (Vec::new(), Vec::new());
        for row in rows {
            if row.holder == NOBODY {
                released.push((row.since, row.id));
                continue;
            }
            by_owner.entry(row.holder).or_default().push((0, row.id));
            by_delivery.push((row.since, row.id));
        }
        // In order as a rule, and for a stable sort that is less work.
        by_delivery.sort();
        released.sort();
        Self {
            by_owner: by_owner.iter().map(|(owner, ids)| (*owner, Index::of_sorted(ids))).collect(),
            by_delivery: Index::of_sorted(&by_delivery),
            released: Index::of_sorted(&released),
        }
    }

    /// A row is what it was not before.
    fn follow(&mut self, before: Option<&Pending>, row: &Pending) -> Result<(), Needs> {
        if let Some(before) = before {
            if before.holder == row.holder && row.holder != NOBODY {
                self.by_delivery.remove((before.since, row.id))?;
                return self.by_delivery.insert((row.since, row.id));
            }
            self.unlist(before)?;
        }
        if row.holder == NOBODY {
            return self.released.insert((row.since, row.id));
        }
        self.by_owner.entry(row.holder).or_default().insert((0, row.id))?;
        self.by_delivery.insert((row.since, row.id))
    }

    /// A row is no more.
    fn unlist(&mut self, row: &Pending) -> Result<(), Needs> {
        if row.holder == NOBODY {
            return self.released.remove((row.since, row.id));
        }
        self.by_delivery.remove((row.since, row.id))?;
        if let Some(ids) = self.by_owner.get_mut(&row.holder) {
            ids.remove((0, row.id))?;
            if ids.is_empty() {
                self.by_owner.remove(&row.holder);
            }
        }
        Ok(())
    }

    /// Rows of one owner, whose ids are ascending, are there now instead of those before.
    fn follow_all(&mut self, before: Vec<Pending>, rows: &[Pending]) -> Result<(), Needs> {
        self.unlist_all(before)?;
        let Some(owner) = rows.first().map(|row| row.holder) else { return Ok(()) };
        let ids: Vec<Place> = rows.iter().map(|row| (0, row.id)).collect();
        self.by_owner.entry(owner).or_default().insert_all(&ids)?;
        self.by_delivery.insert_all(&deliveries(rows))
    }

    /// Rows, whose ids are ascending, are no more.
    fn unlist_all(&mut self, mut rows: Vec<Pending>) -> Result<(), Needs> {
        for row in rows.iter().filter(|row| row.holder == NOBODY) {
            self.released.remove((row.since, row.id))?;
        }
        rows.retain(|row| row.holder != NOBODY);
        self.by_delivery.remove_all(&deliveries(&rows))?;
        rows.sort_by_key(|row| row.holder);
        for rows in rows.chunk_by(|a, b| a.holder == b.holder) {
            let Some(owned) = self.by_owner.get_mut(&rows[0].holder) else { continue };
            let ids: Vec<Place> = rows.iter().map(|row| (0, row.id)).collect();
            owned.remove_all(&ids)?;
            if owned.is_empty() {
                self.by_owner.remove(&rows[0].holder);
            }
        }
        Ok(())
    }
}

impl PendingList {
    /// The derived lists; made if there are none.
    fn lists(&self) -> &Lists {
        self.lists.get_or_init(|| Lists::of(self.rows()))
    }

    /// Makes the derived lists if they would soon take long to make.
    pub(super) fn derive_if_long(&self) {
        if self.len() > LISTED_LATER_MAX {
            self.lists();
        }
    }

    /// How many entries are pending.
    pub(crate) fn len(&self) -> u64 {
        self.rows.summary().count
    }

    /// About how many bytes it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    /// The row of an entry.
    pub(crate) fn get(&self, id: EntryId) -> Result<Option<Pending>, Needs> {
        self.rows.get(id)
    }

    /// The smallest and the largest pending id.
    pub(crate) fn ends(&self) -> Result<Option<(EntryId, EntryId)>, Needs> {
        self.rows.ends()
    }

    /// The place of the first row from an id on.
    pub(crate) fn walk_from(&self, id: EntryId) -> Result<PendingWalk<'_>, Needs> {
        self.rows.walk_from(id)
    }

    /// All rows, ascending. For state that is wholly here: stops at a page that is away.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Pending> + use<'_> {
        let mut walk = self.rows.walk_from(EntryId::MIN).ok();
        std::iter::from_fn(move || {
            let row = walk.as_mut()?.row().ok().flatten();
            walk.as_mut()?.step();
            row
        })
    }

    /// How many entries a consumer owns.
    pub(crate) fn owned_count(&self, owner: ConsumerNo) -> u64 {
        self.lists().by_owner.get(&owner).map_or(0, Index::len)
    }

    /// The ids that a consumer owns, from one on, ascending.
    pub(crate) fn owned_from(
        &self,
        owner: ConsumerNo,
        id: EntryId,
    ) -> impl Iterator<Item = EntryId> + use<'_> {
        self.lists()
            .by_owner
            .get(&owner)
            .into_iter()
            .flat_map(move |ids| ids.range_from((0, id)).map(|(_, id)| id))
    }

    /// How many were released.
    pub(crate) fn released_count(&self) -> u64 {
        self.lists().released.len()
    }

    /// The ids that were released, first come first.
    pub(crate) fn released(&self) -> impl Iterator<Item = EntryId> + use<'_> {
        self.lists().released.range_from((0, EntryId::MIN)).map(|(_, id)| id)
    }

    /// The ids that are owned and were delivered no later than that (Unix ms), oldest delivery first.
    pub(crate) fn delivered_by(&self, latest_ms: u64) -> impl Iterator<Item = EntryId> + use<'_> {
        let from_first = self.lists().by_delivery.range_from((0, EntryId::MIN));
        from_first.take_while(move |(at_ms, _)| *at_ms <= latest_ms).map(|(_, id)| id)
    }

    /// The first delivery (Unix ms), of those that are owned.
    pub(crate) fn first_delivery(&self) -> Option<u64> {
        self.lists().by_delivery.range_from((0, EntryId::MIN)).next().map(|(at_ms, _)| at_ms)
    }

    /// The first delivery after that time (Unix ms), of those that are owned.
    pub(crate) fn next_delivery_after(&self, ms: u64) -> Option<u64> {
        self.lists().by_delivery.range_from((ms.checked_add(1)?, EntryId::MIN)).next().map(|(at_ms, _)| at_ms)
    }

    /// Puts a row in its place: a new one, or another owner, time or count for one that is there.
    pub(super) fn put(&mut self, row: Pending, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        let before = self.rows.put(&row, stamp)?;
        self.lists.get_mut().map_or(Ok(()), |lists| lists.follow(before.as_ref(), &row))
    }

    /// Puts rows of one owner in their places. Those with ascending ids, as deliveries have them, together.
    pub(super) fn put_all(&mut self, rows: &[Pending], stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        if !is_run(rows, |row| row.id) {
            return rows.iter().try_for_each(|row| self.put(*row, stamp));
        }
        let before = self.rows.put_all(rows, stamp)?;
        self.lists.get_mut().map_or(Ok(()), |lists| lists.follow_all(before, rows))
    }

    /// Takes rows out, which are all there and have ascending ids.
    pub(super) fn remove_all(&mut self, ids: &[EntryId], stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        if !is_run(ids, |id| *id) {
            return ids.iter().try_for_each(|id| self.remove(*id, stamp).map(drop));
        }
        let rows = self.rows.take_all(ids, stamp)?;
        self.unlisted(|lists| lists.unlist_all(rows))
    }

    /// Of ascending ids the first one that is not pending.
    pub(super) fn first_missing(&self, ids: &[EntryId]) -> Result<Option<EntryId>, Needs> {
        self.rows.first_missing(ids)
    }

    /// Takes a row's owner away, and puts it at the end of those that were released.
    pub(super) fn release(
        &mut self,
        id: EntryId,
        delivery_count: u64,
        stamp: &mut Stamp<'_>,
    ) -> Result<(), Needs> {
        let place = self.lists().released.last().map_or(0, |(last, _)| last) + 1;
        self.put(Pending { id, holder: NOBODY, since: place, delivery_count }, stamp)
    }

    /// Takes a row out; answers whether it was there.
    pub(super) fn remove(&mut self, id: EntryId, stamp: &mut Stamp<'_>) -> Result<bool, Needs> {
        let Some(row) = self.rows.take(id, stamp)? else { return Ok(false) };
        self.unlisted(|lists| lists.unlist(&row))?;
        Ok(true)
    }

    /// Rows were taken out: takes them out of the lists too. Those of nothing are not kept.
    fn unlisted(&mut self, unlist: impl FnOnce(&mut Lists) -> Result<(), Needs>) -> Result<(), Needs> {
        if self.len() == 0 {
            self.lists.take();
        }
        self.lists.get_mut().map_or(Ok(()), unlist)
    }

    /// Takes all rows of an owner out.
    pub(super) fn remove_owner(&mut self, owner: ConsumerNo, stamp: &mut Stamp<'_>) -> Result<(), Needs> {
        self.lists();
        let Some(lists) = self.lists.get_mut() else { return Ok(()) };
        if let Some(ids) = lists.by_owner.remove(&owner) {
            for (_, id) in ids.range_from((0, EntryId::MIN)) {
                if let Some(row) = self.rows.take(id, stamp)? {
                    lists.by_delivery.remove((row.since, id))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn dump(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.rows.dump(dump)
    }

    pub(super) fn dropped(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.rows.dropped(comparison)
    }

    pub(super) fn load(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.rows.load(parts)
    }

    /// Says what is wrong, if anything is: the indexes must agree (I6).
    pub(super) fn check(&self, is_consumer: impl Fn(ConsumerNo) -> bool) -> Result<(), String> {
        self.rows.check()?;
        let lists = self.lists();
        lists.by_owner.values().chain([&lists.by_delivery, &lists.released]).try_for_each(Index::check)?;
        let owned: u64 = lists.by_owner.values().map(Index::len).sum();
        if owned + lists.released.len() != self.len() || lists.by_delivery.len() != owned {
            return Err(format!(
                "{} rows are pending, but consumers own {owned} and {} were released",
                self.len(),
                lists.released.len()
            ));
        }
        let mut last = None;
        for row in self.rows() {
            if last.is_some_and(|last| last >= row.id) {
                return Err(format!("pending row {} is out of order", row.id));
            }
            last = Some(row.id);
            let Some(owner) = row.owner() else {
                if !lists.released.contains((row.since, row.id)) {
                    return Err(format!("{} was released, and is not where it should be", row.id));
                }
                continue;
            };
            if !lists.by_owner.get(&owner).is_some_and(|ids| ids.contains((0, row.id))) {
                return Err(format!("{} is pending for consumer {owner}, who does not own it", row.id));
            }
            if !lists.by_delivery.contains((row.since, row.id)) {
                return Err(format!("{} is not found by its delivery", row.id));
            }
            if !is_consumer(owner) {
                return Err(format!("{} is pending for consumer {owner}, who does not exist", row.id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{PageNo, Seq};

    /// Whatever is done, in whatever order: the lists agree with the rows, they are those that are made of the rows when a
    /// snapshot is loaded, and a clone stays as it was.
    #[test]
    fn the_lists_follow_the_rows() {
        for seed in 0..20u64 {
            let mut dice = seed;
            let mut random = move |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (dice >> 33) % below
            };
            let (mut list, mut next_page) = (PendingList::default(), PageNo::ZERO);
            let mut kept = (list.clone(), Vec::new());
            for step in 1..3000u64 {
                let mut stamp =
                    Stamp { seq: Seq::new(step), next_page: &mut next_page, shared_through: Seq::ZERO };
                let id = EntryId::new(if seed % 2 == 0 { step } else { random(900) }, random(3));
                let (some, owner) = (EntryId::new(random(3000), random(3)), ConsumerNo::new(1 + random(9)));
                match random(40) {
                    0..25 => list.put(Pending::owned(id, owner, step / 7, random(9)), &mut stamp).unwrap(),
                    25..30 => list.put(Pending::owned(some, owner, random(step), 1), &mut stamp).unwrap(),
                    30..33 => list.release(some, random(5), &mut stamp).unwrap(),
                    33..37 => drop(list.remove(some, &mut stamp).unwrap()),
                    37 => {
                        let ids =
                            (0..random(400)).map(|behind| EntryId::new(some.ms + behind / 2, behind % 2));
                        let rows = ids.map(|id| Pending::owned(id, owner, step / 7, 1));
                        list.put_all(&rows.collect::<Vec<_>>(), &mut stamp).unwrap();
                    }
                    38 => {
                        let (skip, count) = (random(900) as usize, random(400) as usize);
                        let ids: Vec<EntryId> =
                            list.rows().map(|row| row.id).skip(skip).take(count).collect();
                        let every_other: Vec<EntryId> = ids.iter().copied().step_by(2).collect();
                        assert_eq!(list.first_missing(&every_other).unwrap(), None);
                        list.remove_all(&every_other, &mut stamp).unwrap();
                        assert_eq!(list.first_missing(&ids).unwrap(), ids.first().copied());
                        assert_eq!(
                            list.first_missing(&ids[ids.len().min(1)..][..usize::from(ids.len() > 1)])
                                .unwrap(),
                            None
                        );
                    }
                    _ if random(20) == 0 => list.remove_owner(owner, &mut stamp).unwrap(),
                    _ => {}
                }
                if step % 300 == 0 {
                    list.check(|_| true).unwrap();
                    let again = PendingList { lists: OnceLock::new(), ..list.clone() };
                    again.check(|_| true).unwrap();
                    assert!(again.released().eq(list.released()));
                    assert!(again.delivered_by(u64::MAX).eq(list.delivered_by(u64::MAX)));
                    kept.0.check(|_| true).unwrap();
                    assert!(kept.0.rows().eq(kept.1));
                    kept = (list.clone(), list.rows().collect());
                }
            }
        }
    }
}
