//! What a tree asks of its leaves.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Comparison, Dump, LoadError, Parts, Stopped};

/// What a leaf of a tree is.
pub(crate) trait Leaf: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Leaves are sorted by this.
    type Key: Ord + Clone + Debug + Serialize + DeserializeOwned + Send + Sync;
    /// What branches know of a leaf.
    type Summary: Summary;
    /// A leaf heavier than this is split.
    const WEIGHT_MAX: usize;

    /// The smallest key, unless the leaf is empty.
    fn first_key(&self) -> Option<Self::Key>;
    /// What branches know of it, how heavy it is, and how much memory it takes.
    fn measure(&self) -> Measure<Self::Summary>;
    /// How heavy it is.
    fn weight(&self) -> usize;
    /// Splits off the upper part: about half, or the last item only if `at_end` (the leaf is the tree's last,
    /// where appending goes on, and full leaves should stay full). `None` if it has one item.
    fn split(&mut self, at_end: bool) -> Option<Self>;
    /// Takes in the leaf that follows.
    fn merge(&mut self, next: Self);
    /// Whether trees lie within its items.
    const NESTS: bool = false;

    /// Whether pages below what is summed up may be part of more than one tree, so that a dump has to name each of them.
    fn shares(_summary: &Self::Summary) -> bool {
        false
    }

    /// Hands the pages of the trees that lie within its items to a dump.
    ///
    /// # Errors
    /// As [`Tree::dump`].
    fn dump_nested(&self, _dump: &mut Dump<'_>) -> Result<(), Stopped> {
        Ok(())
    }
    /// As [`Tree::dropped`], for the trees that lie within its items.
    ///
    /// # Errors
    /// As [`Tree::load`].
    fn dropped_nested(&self, _comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        Ok(())
    }
    /// Loads the trees that lie within its items.
    ///
    /// # Errors
    /// As [`Tree::load`].
    fn load_nested(&mut self, _parts: &mut dyn Parts) -> Result<(), LoadError> {
        Ok(())
    }
}

/// What there is to know about a leaf, or about an item of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measure<S> {
    /// What branches know of it.
    pub(crate) summary: S,
    /// How heavy it is.
    pub(crate) weight: usize,
    /// About how many bytes its items take in memory, the trees within them counted.
    pub(crate) bytes: u64,
}

/// An item of a leaf before and after it was changed.
pub(crate) type ItemChange<S> = [Measure<S>; 2];

/// A sum over the items of leaves.
pub(crate) trait Summary:
    Clone + Default + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
    /// Adds what another summary counts.
    fn add(&mut self, other: &Self);
    /// Counts something that it counts as `before` as `after` from now on. `false` if it has to be added up anew.
    fn replace(&mut self, before: &Self, after: &Self) -> bool;
}
