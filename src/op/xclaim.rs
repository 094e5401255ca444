//! XCLAIM: hands pending entries to another consumer.

use super::*;

/// XCLAIM (5.0). Answers the entries claimed, in the order of the ids given.
#[derive(Clone, Debug)]
pub struct XClaim {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The new owner; created where absent.
    pub consumer: Bytes,
    /// Only entries idle for at least so long are claimed.
    pub min_idle_ms: u64,
    /// The ids.
    pub ids: Vec<EntryId>,
    /// The delivery time to record; `None` for now.
    pub delivered: Option<DeliveryTime>,
    /// The delivery count to record; `None` to count one more (unless `just_id`).
    pub retry_count: Option<u64>,
    /// FORCE: an entry that is not pending becomes so, if the stream has it.
    pub force: bool,
    /// JUSTID: answer ids only, and leave the delivery count alone.
    pub just_id: bool,
    /// LASTID: moves the group's last delivered id forward to this one.
    pub last_id: Option<EntryId>,
}

/// A delivery time, as XCLAIM may set it. What lies in the future or before 1970 becomes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryTime {
    /// IDLE: so many milliseconds ago.
    IdleMs(i64),
    /// TIME: this many milliseconds since the Unix epoch.
    UnixMs(i64),
}
stub!(XClaim, Vec<PendingEntry>);
