//! XAUTOCLAIM: claims what has been idle for long, page by page.

use super::*;

/// XAUTOCLAIM (6.2; deleted ids answered since 7.0).
#[derive(Clone, Debug)]
pub struct XAutoClaim {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The new owner; created where absent.
    pub consumer: Bytes,
    /// Only entries idle for at least so long are claimed.
    pub min_idle_ms: u64,
    /// The smallest pending id looked at (inclusive).
    pub start: EntryId,
    /// How many entries are claimed at most; ten times as many are looked at.
    pub count: u64,
    /// JUSTID: answer ids only, and leave the delivery count alone.
    pub just_id: bool,
}

/// What XAUTOCLAIM did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoClaimed {
    /// Where the next call begins; `0-0` when all was looked at.
    pub next: EntryId,
    /// What was claimed.
    pub entries: Vec<PendingEntry>,
    /// Pending ids whose entry is gone from the stream: removed from the pending entries list.
    pub deleted: Vec<EntryId>,
}
stub!(XAutoClaim, AutoClaimed);
