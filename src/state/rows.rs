//! Leaves that are sorted lists of rows: names, streams, groups, consumers, idempotent ids.

use std::borrow::Borrow;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tree::{
    Comparison, Dump, ITEMS_MIN, Leaf, LoadError, Measure, Needs, Parts, Stamp, Stopped, Summary, Tree,
};

/// One row of a sorted list.
pub(crate) trait Row: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Rows are sorted by this.
    type Key: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync;
    /// What is summed up over rows.
    type Summary: Summary;
    /// How many rows a leaf holds at most.
    const LEAF_ROWS_MAX: usize;
    /// Whether some rows count for more than one, see [`Row::weight`].
    const WEIGHS: bool = false;

    /// What it is found by.
    fn key(&self) -> &Self::Key;
    /// For how many rows it counts: a name may be long, and a leaf must not become as long as 64 of these.
    fn weight(&self) -> usize {
        1
    }
    /// About how many bytes it takes in memory, with its places in lists that are derived from it and with the trees
    /// within it.
    fn bytes(&self) -> u64;
    /// Counts it into a summary.
    fn count(&self, summary: &mut Self::Summary);
    /// All of that.
    fn measure(&self) -> Measure<Self::Summary> {
        let mut measure = Measure { weight: self.weight(), bytes: self.bytes(), ..Measure::default() };
        self.count(&mut measure.summary);
        measure
    }
    /// See [`Leaf::NESTS`].
    const NESTS: bool = false;

    /// See [`Leaf::shares`].
    fn shares(_summary: &Self::Summary) -> bool {
        false
    }

    /// See [`Leaf::dump_nested`].
    ///
    /// # Errors
    /// As [`Tree::dump`].
    fn dump_nested(&self, _dump: &mut Dump<'_>) -> Result<(), Stopped> {
        Ok(())
    }
    /// See [`Leaf::dropped_nested`].
    ///
    /// # Errors
    /// As [`Tree::load`].
    fn dropped_nested(&self, _comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        Ok(())
    }
    /// See [`Leaf::load_nested`].
    ///
    /// # Errors
    /// As [`Tree::load`].
    fn load_nested(&mut self, _parts: &mut dyn Parts) -> Result<(), LoadError> {
        Ok(())
    }
}

/// The weight of a row with that name.
pub(super) fn weight_of_name(name: &[u8]) -> usize {
    1 + name.len() / 4096
}

/// The summary of rows that are only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowCount(pub(crate) u64);

impl Summary for RowCount {
    fn add(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn replace(&mut self, before: &Self, after: &Self) -> bool {
        self.0 = self.0 - before.0 + after.0;
        true
    }
}

/// A leaf of rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Rows<R: Row> {
    rows: Vec<R>,
}

impl<R: Row> Default for Rows<R> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<R: Row> Leaf for Rows<R> {
    type Key = R::Key;
    type Summary = R::Summary;
    const WEIGHT_MAX: usize = R::LEAF_ROWS_MAX;
    const NESTS: bool = R::NESTS;

    fn shares(summary: &R::Summary) -> bool {
        R::shares(summary)
    }

    fn first_key(&self) -> Option<R::Key> {
        self.rows.first().map(|row| row.key().clone())
    }

    fn measure(&self) -> Measure<R::Summary> {
        let room = ITEMS_MIN.saturating_sub(self.rows.len()) * size_of::<R>();
        let mut measure = Measure { bytes: room as u64, ..Measure::default() };
        for row in &self.rows {
            row.count(&mut measure.summary);
            measure.weight += row.weight();
            measure.bytes += row.bytes();
        }
        measure
    }

    fn weight(&self) -> usize {
        if R::WEIGHS { self.rows.iter().map(R::weight).sum() } else { self.rows.len() }
    }

    fn split(&mut self, at_end: bool) -> Option<Self> {
        let keep = if at_end { self.rows.len().checked_sub(1)? } else { self.rows.len() / 2 };
        (keep > 0).then(|| Self { rows: self.rows.split_off(keep) })
    }

    fn merge(&mut self, next: Self) {
        self.rows.extend(next.rows);
    }

    fn dump_nested(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.rows.iter().try_for_each(|row| row.dump_nested(dump))
    }

    fn dropped_nested(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.rows.iter().try_for_each(|row| row.dropped_nested(comparison))
    }

    fn load_nested(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.rows.iter_mut().try_for_each(|row| row.load_nested(parts))
    }
}

impl<R: Row> Rows<R> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        R::Key: Borrow<Q>,
    {
        // Most lists are appended to: look at the end first.
        match self.rows.last() {
            Some(last) if last.key().borrow() < key => Err(self.rows.len()),
            _ => self.rows.binary_search_by(|row| row.key().borrow().cmp(key)),
        }
    }
}

/// A tree of rows is a sorted map.
impl<R: Row> Tree<Rows<R>> {
    /// The row with that key.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Option<&R>, Needs>
    where
        R::Key: Borrow<Q>,
    {
        let Some(leaf) = self.leaf(key)? else { return Ok(None) };
        Ok(leaf.find(key).ok().map(|at| &leaf.rows[at]))
    }

    /// Puts a row in its place; answers the row that had the key before.
    pub(crate) fn insert(&mut self, row: R, stamp: &mut Stamp<'_>) -> Result<Option<R>, Needs> {
        let key = row.key().clone();
        self.change(&key, stamp, |leaf, _| match leaf.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut leaf.rows[at], row)),
            Err(at) => {
                leaf.rows.insert(at, row);
                None
            }
        })
    }

    /// Takes a row out.
    pub(crate) fn remove<Q: Ord + ?Sized>(
        &mut self,
        key: &Q,
        stamp: &mut Stamp<'_>,
    ) -> Result<Option<R>, Needs>
    where
        R::Key: Borrow<Q>,
    {
        if self.get(key)?.is_none() {
            return Ok(None);
        }
        self.change(key, stamp, |leaf, _| leaf.find(key).ok().map(|at| leaf.rows.remove(at)))
    }

    /// Changes a row in place, if it is there. Its key must stay.
    pub(crate) fn update<Q: Ord + ?Sized, T>(
        &mut self,
        key: &Q,
        stamp: &mut Stamp<'_>,
        change: impl FnOnce(&mut R, &mut Stamp<'_>) -> T,
    ) -> Result<Option<T>, Needs>
    where
        R::Key: Borrow<Q>,
    {
        self.change_item(key, stamp, |leaf, stamp| {
            let Ok(at) = leaf.find(key) else { return (None, None) };
            let row = &mut leaf.rows[at];
            let before = row.measure();
            let result = change(row, stamp);
            let after = row.measure();
            // Another name may have another weight.
            (Some(result), (before.weight == after.weight).then_some([before, after]))
        })
    }

    /// The rows from `key` on, ascending. Stops at a page that is away and says so last.
    pub(crate) fn range_from<'a, Q: Ord + ?Sized>(
        &'a self,
        key: &Q,
    ) -> Result<impl Iterator<Item = Result<&'a R, Needs>> + use<'a, Q, R>, Needs>
    where
        R::Key: Borrow<Q>,
    {
        let mut leaf = self.leaf(key)?;
        let mut at = leaf.map_or(0, |leaf| leaf.find(key).unwrap_or_else(|at| at));
        Ok(std::iter::from_fn(move || {
            loop {
                let rows = &leaf?.rows;
                if let Some(row) = rows.get(at) {
                    at += 1;
                    return Some(Ok(row));
                }
                let last = rows.last()?.key();
                match self.leaf_after::<R::Key>(last) {
                    Ok(next) => (leaf, at) = (next, 0),
                    Err(needs) => {
                        leaf = None;
                        return Some(Err(needs));
                    }
                }
            }
        }))
    }

    /// All rows, ascending. For state that is wholly here: stops at a page that is away.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &R> {
        let mut leaf = self.first().ok().flatten();
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let rows = &leaf?.rows;
                if let Some(row) = rows.get(at) {
                    at += 1;
                    return Some(row);
                }
                let next = self.leaf_after::<R::Key>(rows.last()?.key()).ok().flatten();
                // Rows out of order, which only a check finds, would lead here again and again.
                leaf = next.filter(|next| next.rows.first().map(Row::key) > rows.first().map(Row::key));
                at = 0;
            }
        })
    }

    /// The last row.
    pub(crate) fn last_row(&self) -> Result<Option<&R>, Needs> {
        Ok(self.last()?.and_then(|leaf| leaf.rows.last()))
    }

    /// Says what is wrong with the order of the rows, if anything is.
    pub(crate) fn check_rows(&self) -> Result<(), String> {
        self.check()?;
        let mut last: Option<&R::Key> = None;
        for row in self.rows() {
            if last.is_some_and(|last| last >= row.key()) {
                return Err(format!("row {:?} is out of order", row.key()));
            }
            last = Some(row.key());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashSet};

    use super::super::tree::{CONFIG, PartSink};
    use super::*;
    use crate::id::{PageNo, PartKey, Seq};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Number(u64, u64);

    impl Row for Number {
        type Key = u64;
        type Summary = RowCount;
        const LEAF_ROWS_MAX: usize = 4;

        fn key(&self) -> &u64 {
            &self.0
        }

        fn bytes(&self) -> u64 {
            10 + self.1 % 7
        }

        fn count(&self, summary: &mut RowCount) {
            summary.0 += 1;
        }
    }

    /// What a snapshot store would hold.
    #[derive(Default)]
    struct Store {
        parts: BTreeMap<PartKey, Vec<u8>>,
        kept: HashSet<PartKey>,
        read: BTreeSet<PartKey>,
    }

    impl PartSink for Store {
        fn changed(&mut self, key: PartKey, bytes: Vec<u8>) -> Result<(), Stopped> {
            assert!(self.parts.insert(key, bytes).is_none());
            Ok(())
        }

        fn kept(&mut self, key: PartKey) {
            self.kept.insert(key);
        }
    }

    impl Parts for Store {
        fn read(&mut self, key: PartKey) -> Result<Vec<u8>, String> {
            self.read.insert(key);
            self.parts.get(&key).cloned().ok_or_else(|| "missing".into())
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Random inserts, removals and range removals agree with a sorted map; clones taken on the way stay as
    /// they were; what changed since a clone, added to the clone's own dump, loads as the tree.
    #[test]
    fn a_tree_of_rows_is_a_sorted_map_and_dumps_what_changed() {
        for seed in 0..40u64 {
            let mut dice = seed;
            let mut tree: Tree<Rows<Number>> = Tree::default();
            let mut model = BTreeMap::new();
            let mut pages = PageNo::ZERO;
            let mut store = Store::default();
            let (mut dumped, mut saved) = (Seq::ZERO, Tree::<Rows<Number>>::default());
            let keys = 1 + seed * 40;
            for step in 1..600u64 {
                let mut stamp =
                    Stamp { seq: Seq::new(step), next_page: &mut pages, shared_through: Seq::ZERO };
                let key = if seed % 2 == 0 { step } else { random(&mut dice) % keys };
                match random(&mut dice) % 8 {
                    0..=3 => {
                        let old = tree.insert(Number(key, step), &mut stamp).unwrap();
                        assert_eq!(old.map(|row| row.1), model.insert(key, step));
                    }
                    4 => {
                        let old = tree.update(&key, &mut stamp, |row, _| std::mem::replace(&mut row.1, step));
                        let known = model.get_mut(&key).map(|value| std::mem::replace(value, step));
                        assert_eq!(old.unwrap(), known);
                    }
                    5 => {
                        let key = model.keys().nth(random(&mut dice) as usize % model.len().max(1)).copied();
                        let key = key.unwrap_or(3);
                        let old = tree.remove(&key, &mut stamp).unwrap();
                        assert_eq!(old.map(|row| row.1), model.remove(&key));
                    }
                    6 if step % 60 == 0 => {
                        let bound = key / 2;
                        let cut = |leaf: &mut Rows<Number>| leaf.rows.retain(|row| row.0 >= bound);
                        tree.remove_below(&bound, &mut stamp, &mut Vec::new(), cut).unwrap();
                        model.retain(|key, _| *key >= bound);
                    }
                    _ => {
                        let bytes = bincode::serde::encode_to_vec(&tree, CONFIG).unwrap();
                        let away = |bytes| -> Tree<Rows<Number>> {
                            bincode::serde::decode_from_slice(bytes, CONFIG).unwrap().0
                        };
                        store.kept.clear();
                        tree.dump(&mut Dump::new(dumped, &mut store)).unwrap();
                        dumped = Seq::new(step);
                        let kept = store.kept.clone();
                        let mut comparison = Comparison::new(&mut store, &kept, false);
                        saved.dropped(&mut comparison).unwrap();
                        for key in comparison.dropped {
                            assert!(store.parts.remove(&key).is_some(), "seed {seed}: {key:?} went twice");
                        }
                        saved = away(&bytes);
                        let mut loaded = away(&bytes);
                        if !model.is_empty() {
                            assert!(loaded.get(&0).is_err(), "a page that is away is asked for");
                        }
                        store.read.clear();
                        loaded.load(&mut store).unwrap();
                        assert!(store.read.iter().eq(store.parts.keys()), "seed {seed}: no part too many");
                        assert!(loaded.rows().eq(tree.rows()));
                        tree = loaded;
                    }
                }
                assert_eq!(tree.summary().0, model.len() as u64, "seed {seed} step {step}");
                tree.check_rows().unwrap();
                let rows_bytes: u64 = model.values().map(|value| 10 + value % 7).sum();
                assert!(tree.bytes() >= rows_bytes && (tree.bytes() == 0) == model.is_empty());
                let fits = |leaf: &Rows<Number>| assert!(leaf.weight() <= Number::LEAF_ROWS_MAX);
                tree.for_each_leaf(&mut { fits }).unwrap();
                let probe = random(&mut dice) % keys;
                assert_eq!(tree.get(&probe).unwrap().map(|row| row.1), model.get(&probe).copied());
                let from: Vec<_> = tree.range_from(&probe).unwrap().map(|row| row.unwrap().0).collect();
                assert_eq!(from, model.range(probe..).map(|(key, _)| *key).collect::<Vec<_>>());
            }
            assert!(tree.rows().map(|row| (row.0, row.1)).eq(model.into_iter()));
        }
    }
}
