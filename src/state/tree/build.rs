//! A tree of leaves that are known all at once, as when what is derived is derived anew.

use super::{BRANCH_CHILDREN_MAX, Child, Leaf, Node, Stamp, Summary, Tree};

impl<L: Leaf> Tree<L> {
    /// The tree of leaves that are in order. Empty ones are left out.
    pub(crate) fn of_leaves(leaves: impl Iterator<Item = L>, stamp: &mut Stamp<'_>) -> Self {
        let mut level: Vec<Child<L>> = Vec::new();
        for leaf in leaves {
            if let Some(first_key) = leaf.first_key() {
                level.push(Child::new(first_key, leaf.measure().summary, stamp, Node::Leaf(leaf)));
            }
        }
        let mut levels = 0;
        while level.len() > 1 {
            let mut below = level.into_iter();
            level = Vec::new();
            while let Some(first) = below.next() {
                let (first_key, mut summary) = (first.first_key.clone(), first.summary.clone());
                let mut children = vec![first];
                children.extend(below.by_ref().take(BRANCH_CHILDREN_MAX - 1));
                children[1..].iter().for_each(|child| summary.add(&child.summary));
                level.push(Child::new(first_key, summary, stamp, Node::Branch(children)));
            }
            levels += 1;
        }
        Self { root: level.pop(), levels }
    }
}
