//! Changing many items of a tree at once: each leaf is visited once for all that belong there.

use super::{Leaf, Needs, Stamp, Tree};

impl<L: Leaf> Tree<L> {
    /// Does what [`Tree::change`] does for each of some items, whose keys are ascending. At most one row may come with
    /// each: a leaf takes as many as fit, so that it never has to be split twice.
    pub(crate) fn change_each<T>(
        &mut self,
        items: &[T],
        key: impl Fn(&T) -> L::Key,
        stamp: &mut Stamp<'_>,
        mut change: impl FnMut(&mut L, &T),
    ) -> Result<(), Needs> {
        let mut left = items;
        while let Some((first, mut behind)) = left.split_first() {
            let at = key(first);
            let end = self.leaf_after(&at)?.and_then(Leaf::first_key);
            left = self.change(&at, stamp, |leaf, _| {
                change(leaf, first);
                while let Some((next, rest)) = behind.split_first()
                    && leaf.weight() < L::WEIGHT_MAX
                    && end.as_ref().is_none_or(|end| key(next) < *end)
                {
                    change(leaf, next);
                    behind = rest;
                }
                behind
            })?;
        }
        Ok(())
    }
}
