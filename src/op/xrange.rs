//! XRANGE and XREVRANGE: entries between two ids.

use super::*;

/// XRANGE and XREVRANGE (5.0). Answers `None` for an absent key.
#[derive(Clone, Debug)]
pub struct XRange {
    /// The stream.
    pub key: Key,
    /// The smallest id wanted (inclusive).
    pub first: EntryId,
    /// The largest id wanted (inclusive).
    pub last: EntryId,
    /// At most so many entries.
    pub count: Option<u64>,
    /// From the largest id down (XREVRANGE).
    pub reverse: bool,
}

impl Op for XRange {
    type Reply = Option<Vec<Entry>>;

    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop> {
        let Some(stream) = view.stream(&self.key)? else { return Decision::read(None) };
        let (first, last, count) = (self.first, self.last, count_max(self.count));
        let entries = stream.entries.range(first, last, count, self.reverse, |bytes| view.spend(bytes))?;
        Decision::read(Some(entries))
    }
}
