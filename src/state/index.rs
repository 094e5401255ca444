//! Sorted sets of ids that are derived from pending rows: in memory only, cloned by sharing, a few bytes for each id.

use super::packed::Packed;
use super::rows::RowCount;
use super::tree::{Leaf, Measure, Needs, Stamp, Tree};
use crate::id::{EntryId, PageNo, Seq};

/// An id behind the number that it is sorted by first.
pub(super) type Place = (u64, EntryId);

/// A sorted set of places.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    tree: Tree<Places>,
}

/// A leaf of an index. It is never dumped, but for the compiler it could be.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Places {
    #[serde(skip)]
    rows: Packed<3>,
}

fn numbers((number, id): Place) -> [u64; 3] {
    [number, id.ms, id.seq]
}

fn place([number, ms, seq]: [u64; 3]) -> Place {
    (number, EntryId { ms, seq })
}

impl Leaf for Places {
    type Key = Place;
    type Summary = RowCount;
    const WEIGHT_MAX: usize = 256;

    fn first_key(&self) -> Option<Place> {
        self.rows.first().map(place)
    }

    fn measure(&self) -> Measure<RowCount> {
        let rows = self.rows.len();
        Measure { summary: RowCount(rows as u64), weight: rows, bytes: self.rows.bytes() }
    }

    fn weight(&self) -> usize {
        self.rows.len()
    }

    fn split(&mut self, at_end: bool) -> Option<Self> {
        let keep = if at_end { self.rows.len().checked_sub(1)? } else { self.rows.len() / 2 };
        (keep > 0).then(|| Self { rows: self.rows.split_off(keep) })
    }

    fn merge(&mut self, next: Self) {
        self.rows.append(&next.rows);
    }
}

/// Pages of an index are in no snapshot: their numbers and the batch that changed them are of no interest to anyone.
fn unnumbered<R>(change: impl FnOnce(&mut Stamp<'_>) -> R) -> R {
    let mut next_page = PageNo::ZERO;
    change(&mut Stamp { seq: Seq::ZERO, next_page: &mut next_page, shared_through: Seq::ZERO })
}

impl Index {
    /// How many places there are.
    pub(super) fn len(&self) -> u64 {
        self.tree.summary().0
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is that place.
    pub(super) fn contains(&self, at: Place) -> bool {
        let leaf = self.tree.leaf(&at).ok().flatten();
        leaf.is_some_and(|leaf| leaf.rows.find(&numbers(at)).is_ok())
    }

    /// The last place.
    pub(super) fn last(&self) -> Option<Place> {
        self.tree.last().ok().flatten()?.rows.last().map(place)
    }

    /// The places from one on, ascending.
    pub(super) fn range_from(&self, from: Place) -> impl Iterator<Item = Place> + use<'_> {
        let mut leaf = self.tree.leaf(&from).ok().flatten();
        let mut at = leaf.map_or(0, |leaf| leaf.rows.find(&numbers(from)).unwrap_or_else(|at| at));
        std::iter::from_fn(move || {
            loop {
                let rows = &leaf?.rows;
                if let Some(row) = rows.get(at) {
                    at += 1;
                    return Some(place(row));
                }
                leaf = self.tree.leaf_after(&place(rows.last()?)).ok().flatten();
                at = 0;
            }
        })
    }

    /// Puts a place in.
    pub(super) fn insert(&mut self, at: Place) -> Result<(), Needs> {
        unnumbered(|stamp| {
            self.tree.change(&at, stamp, |leaf, _| {
                if let Err(position) = leaf.rows.find(&numbers(at)) {
                    leaf.rows.insert(position, &numbers(at));
                }
            })
        })
    }

    /// Takes a place out.
    pub(super) fn remove(&mut self, at: Place) -> Result<(), Needs> {
        unnumbered(|stamp| {
            self.tree.change(&at, stamp, |leaf, _| {
                if let Ok(position) = leaf.rows.find(&numbers(at)) {
                    leaf.rows.remove(position);
                }
            })
        })
    }

    /// Puts ascending places in.
    pub(super) fn insert_all(&mut self, places: &[Place]) -> Result<(), Needs> {
        self.change_each(places, |rows, row| {
            if let Err(position) = rows.find(row) {
                rows.insert(position, row);
            }
        })
    }

    /// Takes ascending places out.
    pub(super) fn remove_all(&mut self, places: &[Place]) -> Result<(), Needs> {
        self.change_each(places, |rows, row| {
            if let Ok(position) = rows.find(row) {
                rows.remove(position);
            }
        })
    }

    fn change_each(
        &mut self,
        places: &[Place],
        change: impl Fn(&mut Packed<3>, &[u64; 3]),
    ) -> Result<(), Needs> {
        let change = |leaf: &mut Places, at: &Place| change(&mut leaf.rows, &numbers(*at));
        unnumbered(|stamp| self.tree.change_each(places, |at| *at, stamp, change))
    }

    /// The index of sorted places.
    pub(super) fn of_sorted(places: &[Place]) -> Self {
        let leaves = places.chunks(Places::WEIGHT_MAX).map(|chunk| {
            let rows: Vec<[u64; 3]> = chunk.iter().copied().map(numbers).collect();
            Places { rows: Packed::pack(&rows) }
        });
        Self { tree: unnumbered(|stamp| Tree::of_leaves(leaves, stamp)) }
    }

    /// Says what is wrong with it, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        self.tree.check()?;
        let sorted = self.range_from((0, EntryId::MIN)).is_sorted_by(|a, b| a < b);
        if sorted { Ok(()) } else { Err("an index of pending entries is out of order".into()) }
    }
}
