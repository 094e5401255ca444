//! XADD: appends an entry.

use super::*;

/// XADD (5.0; NOMKSTREAM, MINID and LIMIT 6.2; `ms-*` 7.0): appends an entry, then trims if asked to.
///
/// Answers the id given, or `None` when the key is absent and `make_stream` is off.
#[derive(Clone, Debug)]
pub struct XAdd {
    /// The stream.
    pub key: Key,
    /// The id, or the rule for making one.
    pub id: NewId,
    /// The pairs; at least one.
    pub fields: Fields,
    /// Whether an absent key is created (no NOMKSTREAM).
    pub make_stream: bool,
    /// What is trimmed after the entry was appended.
    pub trim: Option<Trim>,
}

/// The id of an entry to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`: the present millisecond, or the successor of the last id if the clock is behind it.
    Auto,
    /// `ms-*`: the next free sequence number within that millisecond.
    AutoSeq(u64),
    /// Exactly this id, which must be above the last one.
    Exact(EntryId),
}
stub!(XAdd, Option<EntryId>);
