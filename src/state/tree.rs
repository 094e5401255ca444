//! A sorted tree of numbered pages that clones by sharing.
//!
//! Everything in the state that can grow lies in such trees: names, streams, groups, consumers, entries, pending
//! entries. A clone is one reference count, a change copies only the pages on its way that someone else still
//! holds (`triomphe::Arc::make_mut`), and every page knows the number of the batch that changed it last (`changed_at`), so
//! that a snapshot follows what changed and not what exists.
//!
//! A page is a leaf, or a branch: a list of children with their first key, their summary, their number and
//! `changed_at`. So a list of pages is pages itself, at any size. A child may be *away*: described, not loaded.

mod build;
mod each;
mod leaf;

use std::borrow::Borrow;
use std::fmt::Debug;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Deserialize, Serialize};
use triomphe::Arc;

use leaf::ItemChange;
pub(crate) use leaf::{Leaf, Measure, Summary};

pub(crate) use super::parts::{Comparison, Dump, LoadError, LoadedPage, PartSink, Parts, Stopped};
use crate::id::{PageNo, PartKey, Seq};

/// A branch is split when it has more children than this.
const BRANCH_CHILDREN_MAX: usize = 64;

/// A list of items begins with room for so many.
pub(super) const ITEMS_MIN: usize = 4;

/// The numbers that a change gives out and leaves behind.
#[derive(Debug)]
pub(crate) struct Stamp<'a> {
    /// The batch that changes.
    pub(crate) seq: Seq,
    /// The next free page number.
    pub(crate) next_page: &'a mut PageNo,
    /// Pages that were not changed after this batch may be part of another stream too, since that was copied from this
    /// one or the other way round: what is changed here becomes a page of its own.
    pub(crate) shared_through: Seq,
}

impl Stamp<'_> {
    fn page(&mut self) -> PageNo {
        let no = *self.next_page;
        *self.next_page = no.next();
        no
    }

    /// The name of a page that was changed.
    fn renew(&mut self, part: PartKey) -> PartKey {
        let page = if part.changed_at <= self.shared_through { self.page() } else { part.page };
        PartKey { changed_at: self.seq, page }
    }
}

/// A part without which a request can't be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs(pub PartKey);

/// The encoding of pages: that of records.
///
/// A length in it is not believed before it is compared with the limit: memory that no machine has would be asked for, and
/// the process ended. No part is as large.
pub(super) const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> =
    bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();

/// The most that a page or a head may take when it is decoded.
const DECODED_BYTES_MAX: usize = 4 << 30;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Tree<L: Leaf> {
    root: Option<Child<L>>,
    /// How many levels of branches there are above the leaves.
    levels: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
struct Child<L: Leaf> {
    first_key: L::Key,
    summary: L::Summary,
    part: PartKey,
    /// What the page and those below it take in memory. Derived, and 0 while the page is away.
    #[serde(skip)]
    bytes: u64,
    #[serde(skip)]
    node: Slot<L>,
}

/// A page, or the place where it will be.
#[derive(Clone, Debug, Default)]
enum Slot<L: Leaf> {
    Here(Arc<Node<L>>),
    #[default]
    Away,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
enum Node<L: Leaf> {
    Leaf(L),
    Branch(Vec<Child<L>>),
}

/// What became of a page that was changed.
enum Outcome<L: Leaf> {
    Stays,
    /// It takes less memory than before, and may be small enough to join a neighbour.
    Shrank,
    Split(Child<L>),
    Empty,
}

impl<L: Leaf> Default for Tree<L> {
    fn default() -> Self {
        Self { root: None, levels: 0 }
    }
}

impl<L: Leaf> Tree<L> {
    /// The sum over all leaves.
    pub(crate) fn summary(&self) -> L::Summary {
        self.root.as_ref().map_or_else(L::Summary::default, |root| root.summary.clone())
    }

    /// About how many bytes it takes in memory. Pages that it shares with a copy count in both.
    pub(crate) fn bytes(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.bytes)
    }

    /// The leaf that holds `key` if any does: the last one that begins at or before it, else the first.
    pub(crate) fn leaf<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Option<&L>, Needs>
    where
        L::Key: Borrow<Q>,
    {
        let Some(mut child) = self.root.as_ref() else { return Ok(None) };
        loop {
            match child.node()? {
                Node::Leaf(leaf) => return Ok(Some(leaf)),
                Node::Branch(children) => child = &children[position(children, key)],
            }
        }
    }

    /// The first leaf.
    pub(crate) fn first(&self) -> Result<Option<&L>, Needs> {
        self.edge(<[Child<L>]>::first)
    }

    /// The last leaf.
    pub(crate) fn last(&self) -> Result<Option<&L>, Needs> {
        self.edge(<[Child<L>]>::last)
    }

    fn edge(&self, pick: impl Fn(&[Child<L>]) -> Option<&Child<L>>) -> Result<Option<&L>, Needs> {
        let mut next = self.root.as_ref();
        while let Some(child) = next {
            match child.node()? {
                Node::Leaf(leaf) => return Ok(Some(leaf)),
                Node::Branch(children) => next = pick(children),
            }
        }
        Ok(None)
    }

    /// The first leaf that begins after `key`.
    pub(crate) fn leaf_after<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Option<&L>, Needs>
    where
        L::Key: Borrow<Q>,
    {
        self.root.as_ref().map_or(Ok(None), |root| root.leaf_after(key))
    }

    /// The last leaf that begins before `key`.
    pub(crate) fn leaf_before<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Option<&L>, Needs>
    where
        L::Key: Borrow<Q>,
    {
        self.root.as_ref().map_or(Ok(None), |root| root.leaf_before(key))
    }

    /// Changes the leaf where `key` belongs. An empty tree gets an empty leaf first; a leaf that is left empty
    /// goes, one that is left too heavy is split.
    pub(crate) fn change<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        stamp: &mut Stamp<'_>,
        change: impl FnOnce(&mut L, &mut Stamp<'_>) -> R,
    ) -> Result<R, Needs>
    where
        L::Key: Borrow<Q>,
    {
        self.change_item(key, stamp, |leaf, stamp| (change(leaf, stamp), None))
    }

    /// As [`Tree::change`]. If `change` says that nothing but one item is another one now, whose key and weight stayed,
    /// the rest of the leaf is not measured anew.
    pub(super) fn change_item<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        stamp: &mut Stamp<'_>,
        change: impl FnOnce(&mut L, &mut Stamp<'_>) -> (R, Option<ItemChange<L::Summary>>),
    ) -> Result<R, Needs>
    where
        L::Key: Borrow<Q>,
    {
        let (result, outcome) = match &mut self.root {
            Some(root) => root.change(key, stamp, true, change)?,
            none => {
                let mut leaf = L::default();
                let (result, _) = change(&mut leaf, stamp);
                if let Some(first_key) = leaf.first_key() {
                    let summary = leaf.measure().summary;
                    *none = Some(Child::new(first_key, summary, stamp, Node::Leaf(leaf)));
                    // The first item of a tree is never too heavy to stay alone.
                }
                (result, Outcome::Stays)
            }
        };
        self.settle(outcome, stamp);
        Ok(result)
    }

    fn settle(&mut self, outcome: Outcome<L>, stamp: &mut Stamp<'_>) {
        match outcome {
            Outcome::Stays | Outcome::Shrank => {}
            Outcome::Empty => *self = Self::default(),
            Outcome::Split(right) => {
                self.levels += 1;
                if let Some(left) = self.root.take() {
                    let first_key = left.first_key.clone();
                    let mut summary = left.summary.clone();
                    summary.add(&right.summary);
                    self.root = Some(Child::new(first_key, summary, stamp, Node::Branch(vec![left, right])));
                }
            }
        }
        // A branch with one child is no branch.
        while let Some(Child { node: Slot::Here(node), .. }) = &self.root
            && let Node::Branch(children) = &**node
            && let [only] = &children[..]
        {
            self.root = Some(only.clone());
            self.levels -= 1;
        }
    }

    /// Removes all leaves before the one where `bound` belongs, and lets `cut` take the rest out of that one. What
    /// was removed is put into `trash`, to be freed later.
    pub(crate) fn remove_below(
        &mut self,
        bound: &L::Key,
        stamp: &mut Stamp<'_>,
        trash: &mut Trash,
        cut: impl FnOnce(&mut L),
    ) -> Result<(), Needs> {
        let Some(root) = &mut self.root else { return Ok(()) };
        let outcome = root.remove_below(bound, stamp, trash, cut)?;
        self.settle(outcome, stamp);
        Ok(())
    }

    /// Hands every page that changed after the dump's batch to it, children before parents.
    ///
    /// # Errors
    /// If the sink wanted no more.
    pub(crate) fn dump(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        self.root.as_ref().map_or(Ok(()), |root| root.dump(dump))
    }

    /// Finds the pages that a later tree does not have any more. This one has been saved, and none of it need be
    /// loaded: only branches are read, and of these only those that are gone.
    ///
    /// # Errors
    /// If a page can't be read.
    pub(crate) fn dropped(&self, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        self.root.as_ref().map_or(Ok(()), |root| root.dropped(self.levels, comparison))
    }

    /// Loads every page that is away.
    pub(crate) fn load(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        self.root.as_mut().map_or(Ok(()), |root| root.load(parts))
    }

    /// Calls `each` for every leaf, in order.
    pub(crate) fn for_each_leaf<'a>(&'a self, each: &mut impl FnMut(&'a L)) -> Result<(), Needs> {
        self.root.as_ref().map_or(Ok(()), |root| root.for_each_leaf(each))
    }

    /// Says what is wrong with the tree itself, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut last = None;
        self.root.as_ref().map_or(Ok(()), |root| root.check(self.levels, &mut last))
    }
}

/// Things to be dropped where it takes nobody's time.
pub(crate) type Trash = Vec<Box<dyn std::any::Any + Send>>;

/// Where among sorted children `key` belongs.
fn position<L: Leaf, Q: Ord + ?Sized>(children: &[Child<L>], key: &Q) -> usize
where
    L::Key: Borrow<Q>,
{
    children.partition_point(|child| child.first_key.borrow() <= key).saturating_sub(1)
}

impl<L: Leaf> Child<L> {
    fn new(first_key: L::Key, summary: L::Summary, stamp: &mut Stamp<'_>, node: Node<L>) -> Self {
        let part = PartKey { changed_at: stamp.seq, page: stamp.page() };
        Self { first_key, summary, part, bytes: node.bytes(), node: Slot::Here(Arc::new(node)) }
    }

    fn node(&self) -> Result<&Node<L>, Needs> {
        match &self.node {
            Slot::Here(node) => Ok(node),
            Slot::Away => Err(Needs(self.part)),
        }
    }

    fn node_mut(&mut self) -> Result<&mut Node<L>, Needs> {
        match &mut self.node {
            Slot::Here(node) => Ok(Arc::make_mut(node)),
            Slot::Away => Err(Needs(self.part)),
        }
    }

    fn leaf_after<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Option<&L>, Needs>
    where
        L::Key: Borrow<Q>,
    {
        match self.node()? {
            Node::Leaf(leaf) => Ok((self.first_key.borrow() > key).then_some(leaf)),
            Node::Branch(children) => {
                let at = position(children, key);
                for child in &children[at..] {
                    if let Some(leaf) = child.leaf_after(key)? {
                        return Ok(Some(leaf));
                    }
                }
                Ok(None)
            }
        }
    }

    fn leaf_before<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Option<&L>, Needs>
    where
        L::Key: Borrow<Q>,
    {
        match self.node()? {
            Node::Leaf(leaf) => Ok((self.first_key.borrow() < key).then_some(leaf)),
            Node::Branch(children) => {
                let at = position(children, key);
                for child in children[..=at].iter().rev() {
                    if let Some(leaf) = child.leaf_before(key)? {
                        return Ok(Some(leaf));
                    }
                }
                Ok(None)
            }
        }
    }

    fn change<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        stamp: &mut Stamp<'_>,
        at_end: bool,
        change: impl FnOnce(&mut L, &mut Stamp<'_>) -> (R, Option<ItemChange<L::Summary>>),
    ) -> Result<(R, Outcome<L>), Needs>
    where
        L::Key: Borrow<Q>,
    {
        let Slot::Here(node) = &mut self.node else { return Err(Needs(self.part)) };
        let result = match Arc::make_mut(node) {
            Node::Leaf(leaf) => {
                let (result, item) = change(leaf, stamp);
                if let Some([before, after]) = item
                    && self.summary.replace(&before.summary, &after.summary)
                {
                    debug_assert_eq!(before.weight, after.weight);
                    let shrank = after.bytes < before.bytes;
                    self.bytes = self.bytes - before.bytes + after.bytes;
                    self.part = stamp.renew(self.part);
                    return Ok((result, if shrank { Outcome::Shrank } else { Outcome::Stays }));
                }
                result
            }
            Node::Branch(children) => {
                let at = position(children, key);
                let last = at + 1 == children.len();
                let child = &mut children[at];
                let (summary, bytes) = (child.summary.clone(), child.bytes);
                let (result, outcome) = child.change(key, stamp, at_end && last, change)?;
                if !settle_child(children, at, outcome, stamp) {
                    // What most changes are: nothing but this child is another one.
                    let child = &children[at];
                    if self.summary.replace(&summary, &child.summary) {
                        self.bytes = self.bytes - bytes + child.bytes;
                        if at == 0 && self.first_key != child.first_key {
                            self.first_key = child.first_key.clone();
                        }
                        self.part = stamp.renew(self.part);
                        return Ok((result, Outcome::Stays));
                    }
                }
                result
            }
        };
        let outcome = self.refresh(stamp, at_end)?;
        Ok((result, outcome))
    }

    fn remove_below(
        &mut self,
        bound: &L::Key,
        stamp: &mut Stamp<'_>,
        trash: &mut Trash,
        cut: impl FnOnce(&mut L),
    ) -> Result<Outcome<L>, Needs> {
        match self.node_mut()? {
            Node::Leaf(leaf) => cut(leaf),
            Node::Branch(children) => {
                // All but the child where the bound lies are wholly below it, for the next one begins at or below it.
                let at = position(children, bound);
                if at > 0 {
                    let below: Vec<Self> = children.drain(..at).collect();
                    trash.push(Box::new(below));
                }
                let outcome = children[0].remove_below(bound, stamp, trash, cut)?;
                settle_child(children, 0, outcome, stamp);
            }
        }
        self.refresh(stamp, false)
    }

    /// Brings what the parent knows up to date after the page was changed, and splits the page if it must.
    fn refresh(&mut self, stamp: &mut Stamp<'_>, at_end: bool) -> Result<Outcome<L>, Needs> {
        if let Node::Leaf(leaf) = self.node()?
            && let measure = leaf.measure()
            && measure.weight <= L::WEIGHT_MAX
            && let Some(first_key) = leaf.first_key()
        {
            // What becomes of most leaves.
            let bytes = PAGE_BYTES + measure.bytes;
            let shrank = bytes < self.bytes;
            (self.first_key, self.summary, self.bytes) = (first_key, measure.summary, bytes);
            self.part = stamp.renew(self.part);
            return Ok(if shrank { Outcome::Shrank } else { Outcome::Stays });
        }
        let right = match self.node_mut()? {
            Node::Leaf(leaf) if leaf.weight() > L::WEIGHT_MAX => leaf.split(at_end).map(Node::Leaf),
            Node::Branch(children) if children.len() > BRANCH_CHILDREN_MAX => {
                let keep = if at_end { children.len() - 1 } else { children.len() / 2 };
                Some(Node::Branch(children.split_off(keep)))
            }
            Node::Leaf(_) | Node::Branch(_) => None,
        };
        self.part = stamp.renew(self.part);
        let Some((first_key, summary)) = self.node()?.outline() else { return Ok(Outcome::Empty) };
        self.first_key = first_key;
        self.summary = summary;
        self.bytes = self.node()?.bytes();
        let right = right.and_then(|node| {
            let (first_key, summary) = node.outline()?;
            Some(Self::new(first_key, summary, stamp, node))
        });
        Ok(right.map_or(Outcome::Shrank, Outcome::Split))
    }

    fn dump(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        // A page that is away was not changed since it was loaded from a snapshot.
        let changed = match &self.node {
            Slot::Here(node) if self.part.changed_at > dump.since => node,
            Slot::Here(node) if dump.shares || L::shares(&self.summary) => {
                dump.sink.kept(self.part);
                return node.dump_below(dump);
            }
            Slot::Here(_) | Slot::Away => {
                dump.sink.kept(self.part);
                return Ok(());
            }
        };
        if !dump.shown.insert(self.part) {
            return Ok(());
        }
        changed.dump_below(dump)?;
        let bytes = bincode::serde::encode_to_vec(&**changed, CONFIG)
            .expect("a page is always encodable into memory");
        dump.sink.changed(self.part, bytes)
    }

    fn dropped(&self, levels: u32, comparison: &mut Comparison<'_>) -> Result<(), LoadError> {
        if comparison.kept.contains(&self.part) || !comparison.met.insert(self.part) {
            return Ok(());
        }
        comparison.dropped.push(self.part);
        if levels == 0 && !L::NESTS && !comparison.read_all {
            return Ok(());
        }
        match self.read(comparison.parts)? {
            Node::Leaf(leaf) => leaf.dropped_nested(comparison),
            Node::Branch(children) => {
                children.iter().try_for_each(|child| child.dropped(levels.saturating_sub(1), comparison))
            }
        }
    }

    fn load(&mut self, parts: &mut dyn Parts) -> Result<(), LoadError> {
        if let Slot::Here(_) = self.node {
            return Ok(());
        }
        if let Some(page) = parts.loaded(self.part)
            && let Some(node) = page.downcast_ref::<Arc<Node<L>>>()
        {
            self.bytes = node.bytes();
            self.node = Slot::Here(node.clone());
            return Ok(());
        }
        let mut node = self.read(parts)?;
        match &mut node {
            Node::Leaf(leaf) => leaf.load_nested(parts)?,
            Node::Branch(children) => {
                parts.expect(&mut children.iter().map(|child| child.part));
                children.iter_mut().try_for_each(|child| child.load(parts))?;
            }
        }
        if node.outline() != Some((self.first_key.clone(), self.summary.clone())) {
            let why = "it is not what the page above it describes".into();
            return Err(LoadError { key: self.part, why });
        }
        self.bytes = node.bytes();
        let node = Arc::new(node);
        parts.remember(self.part, &|| Box::new(Arc::clone(&node)));
        self.node = Slot::Here(node);
        Ok(())
    }

    /// Reads its page; what lies below that is away.
    fn read(&self, parts: &mut dyn Parts) -> Result<Node<L>, LoadError> {
        let fail = |why: String| LoadError { key: self.part, why };
        let bytes = parts.read(self.part).map_err(fail)?;
        let (node, used): (Node<L>, usize) = bincode::serde::borrow_decode_from_slice(&bytes, CONFIG)
            .map_err(|error| fail(format!("it can't be decoded: {error}")))?;
        if used != bytes.len() {
            return Err(fail(format!("{} bytes too many", bytes.len() - used)));
        }
        Ok(node)
    }

    fn for_each_leaf<'a>(&'a self, each: &mut impl FnMut(&'a L)) -> Result<(), Needs> {
        match self.node()? {
            Node::Leaf(leaf) => each(leaf),
            Node::Branch(children) => children.iter().try_for_each(|child| child.for_each_leaf(each))?,
        }
        Ok(())
    }

    fn check(&self, levels: u32, last: &mut Option<L::Key>) -> Result<(), String> {
        let Ok(node) = self.node() else { return Ok(()) };
        if matches!(node, Node::Leaf(_)) != (levels == 0) {
            return Err(format!("page {} is not on the level where it should be", self.part.page));
        }
        if node.outline() != Some((self.first_key.clone(), self.summary.clone())) {
            return Err(format!("page {} is not as described: {:?}", self.part.page, self.first_key));
        }
        if node.bytes() != self.bytes {
            return Err(format!("page {} takes {} bytes, not {}", self.part.page, node.bytes(), self.bytes));
        }
        match node {
            Node::Leaf(_) => {
                if last.as_ref().is_some_and(|last| *last >= self.first_key) {
                    return Err(format!("page {} is out of order", self.part.page));
                }
                *last = Some(self.first_key.clone());
                Ok(())
            }
            Node::Branch(children) => children.iter().try_for_each(|child| {
                if child.part.changed_at > self.part.changed_at {
                    return Err(format!("page {} changed after the page above it", child.part.page));
                }
                child.check(levels - 1, last)
            }),
        }
    }
}

/// What a page takes apart from its items: its own allocation, and the count of who holds it.
const PAGE_BYTES: u64 = 64;

impl<L: Leaf> Node<L> {
    fn dump_below(&self, dump: &mut Dump<'_>) -> Result<(), Stopped> {
        match self {
            Self::Leaf(leaf) => leaf.dump_nested(dump),
            Self::Branch(children) => children.iter().try_for_each(|child| child.dump(dump)),
        }
    }

    /// First key and summary, unless the page is empty.
    fn outline(&self) -> Option<(L::Key, L::Summary)> {
        match self {
            Self::Leaf(leaf) => Some((leaf.first_key()?, leaf.measure().summary)),
            Self::Branch(children) => {
                let first_key = children.first()?.first_key.clone();
                let mut summary = L::Summary::default();
                children.iter().for_each(|child| summary.add(&child.summary));
                Some((first_key, summary))
            }
        }
    }

    /// About how many bytes it and the pages below it take in memory.
    fn bytes(&self) -> u64 {
        PAGE_BYTES
            + match self {
                Self::Leaf(leaf) => leaf.measure().bytes,
                Self::Branch(children) => {
                    children.iter().map(|child| child.bytes + size_of::<Child<L>>() as u64).sum()
                }
            }
    }

    /// How full it is, from 0 to 1 (and a little above before a split).
    fn fill(&self) -> f64 {
        match self {
            Self::Leaf(leaf) => leaf.weight() as f64 / L::WEIGHT_MAX as f64,
            Self::Branch(children) => children.len() as f64 / BRANCH_CHILDREN_MAX as f64,
        }
    }
}

/// Fits what became of one child into its parent's list; a child that became small joins its neighbour. Says whether
/// the list is another one now.
fn settle_child<L: Leaf>(
    children: &mut Vec<Child<L>>,
    at: usize,
    outcome: Outcome<L>,
    stamp: &mut Stamp<'_>,
) -> bool {
    match outcome {
        Outcome::Split(right) => children.insert(at + 1, right),
        Outcome::Empty => {
            children.remove(at);
        }
        Outcome::Stays => return false,
        Outcome::Shrank => {
            const SMALL: f64 = 0.25;
            if children.len() == 1 || children[at].node().is_ok_and(|node| node.fill() >= SMALL) {
                return false;
            }
            return join(children, if at + 1 < children.len() { at } else { at - 1 }, stamp);
        }
    }
    true
}

/// Joins two neighbours if together they are at most half full; says whether it did.
fn join<L: Leaf>(children: &mut Vec<Child<L>>, left: usize, stamp: &mut Stamp<'_>) -> bool {
    const TOGETHER_MAX: f64 = 0.5;
    let (Ok(a), Ok(b)) = (children[left].node(), children[left + 1].node()) else { return false };
    if a.fill() + b.fill() > TOGETHER_MAX {
        return false;
    }
    let right = children.remove(left + 1);
    let Slot::Here(right_node) = right.node else { return true };
    let right_node = Arc::try_unwrap(right_node).unwrap_or_else(|shared| (*shared).clone());
    let Ok(left_node) = children[left].node_mut() else { return true };
    match (left_node, right_node) {
        (Node::Leaf(a), Node::Leaf(b)) => a.merge(b),
        (Node::Branch(a), Node::Branch(b)) => a.extend(b),
        // Neighbours are of one height.
        (Node::Leaf(_), Node::Branch(_)) | (Node::Branch(_), Node::Leaf(_)) => {}
    }
    children[left].summary.add(&right.summary);
    children[left].bytes = children[left].node().map_or(0, Node::bytes);
    children[left].part = stamp.renew(children[left].part);
    true
}
