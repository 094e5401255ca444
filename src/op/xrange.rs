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
stub!(XRange, Option<Vec<Entry>>);
