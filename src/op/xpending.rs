//! XPENDING: what was delivered and not acknowledged.

use super::*;

/// XPENDING key group (5.0): the summary.
#[derive(Clone, Debug)]
pub struct XPendingSummary {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
}

/// The summary of a pending entries list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSummary {
    /// How many entries are pending.
    pub count: u64,
    /// The smallest and the largest pending id.
    pub range: Option<(EntryId, EntryId)>,
    /// The consumers that have any, by name, and how many.
    pub consumers: Vec<(Bytes, u64)>,
}
stub!(XPendingSummary, PendingSummary);

/// XPENDING key group start end count (5.0; `min_idle_ms` 6.2): rows.
#[derive(Clone, Debug)]
pub struct XPendingRows {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The smallest id wanted (inclusive).
    pub first: EntryId,
    /// The largest id wanted (inclusive).
    pub last: EntryId,
    /// At most so many rows.
    pub count: u64,
    /// Only this consumer's.
    pub consumer: Option<Bytes>,
    /// Only entries idle for at least so long; 0 for all.
    pub min_idle_ms: u64,
}

/// One pending entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    /// Its id.
    pub id: EntryId,
    /// Its owner.
    pub consumer: Bytes,
    /// Milliseconds since its delivery.
    pub idle_ms: u64,
    /// How many times it was delivered.
    pub delivery_count: u64,
}
stub!(XPendingRows, Vec<PendingRow>);
