//! A state in parts: how pages leave it for a snapshot, how they come back, and which of them a later state does not have.

use std::any::Any;
use std::collections::HashSet;

use crate::id::{PartKey, Seq};

/// Where parts are read from.
pub(crate) trait Parts {
    /// The bytes of a part.
    fn read(&mut self, key: PartKey) -> Result<Vec<u8>, String>;
    /// These will be read soon, in this order.
    fn expect(&mut self, _keys: &mut dyn Iterator<Item = PartKey>) {}
    /// From now on, pages may have been loaded before as part of another stream, or be so later.
    fn share(&mut self, _shares: bool) {}
    /// A page that was loaded before, while pages were shared.
    fn loaded(&self, _key: PartKey) -> Option<&LoadedPage> {
        None
    }
    /// Told of each page that was loaded.
    fn remember(&mut self, _key: PartKey, _page: &dyn Fn() -> Box<LoadedPage>) {}
}

/// A page of any tree, to be shared by streams.
pub(crate) type LoadedPage = dyn Any + Send + Sync;

/// Why a snapshot could not be loaded: which part, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadError {
    pub(crate) key: PartKey,
    pub(crate) why: String,
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "page {} of batch {}: {}", self.key.page, self.key.changed_at, self.why)
    }
}

/// Takes the parts of a state.
pub(crate) trait PartSink {
    /// A part that changed.
    ///
    /// # Errors
    /// To get no more of them; why is the sink's own business.
    fn changed(&mut self, key: PartKey, bytes: Vec<u8>) -> Result<(), Stopped>;
    /// A part that did not change; neither did those below it, which are not shown unless they may be part of another
    /// tree too.
    fn kept(&mut self, key: PartKey);
}

/// A sink wanted no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Collects the parts that changed after a batch.
pub(crate) struct Dump<'a> {
    pub(super) since: Seq,
    pub(super) sink: &'a mut dyn PartSink,
    /// What was handed over: streams that were copied share pages.
    pub(super) shown: HashSet<PartKey>,
    /// Whether the pages at hand may be part of another tree too. What goes from there stays if it is here, so every
    /// page is named that is.
    pub(super) shares: bool,
}

impl<'a> Dump<'a> {
    pub(crate) fn new(since: Seq, sink: &'a mut dyn PartSink) -> Self {
        Self { since, sink, shown: HashSet::new(), shares: false }
    }

    /// Dumps what may be shared with other trees, or may not.
    pub(crate) fn sharing<R>(&mut self, shares: bool, dump: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.shares, shares);
        let result = dump(self);
        self.shares = before;
        result
    }
}

/// Compares a saved state with a later one: which parts does the later one not have any more?
pub(crate) struct Comparison<'a> {
    /// Where the saved state's parts are.
    pub(crate) parts: &'a mut dyn Parts,
    /// What the later one's dump said to be kept.
    pub(crate) kept: &'a HashSet<PartKey>,
    /// Whether to read what could be told without: to see whether it can be read.
    pub(crate) read_all: bool,
    /// The answer.
    pub(crate) dropped: Vec<PartKey>,
    /// The same: streams that were copied share pages.
    pub(super) met: HashSet<PartKey>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(parts: &'a mut dyn Parts, kept: &'a HashSet<PartKey>, read_all: bool) -> Self {
        Self { parts, kept, read_all, dropped: Vec::new(), met: HashSet::new() }
    }
}
