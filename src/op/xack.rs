//! XACK: acknowledges pending entries.

use super::*;

/// XACK (5.0). Answers how many of the ids were pending; 0 for an absent key or group.
#[derive(Clone, Debug)]
pub struct XAck {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The ids.
    pub ids: Vec<EntryId>,
}
stub!(XAck, u64);
