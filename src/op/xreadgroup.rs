//! XREADGROUP: delivers new entries to a consumer, or reads its history again.

use super::*;

/// XREADGROUP (5.0).
///
/// Waiting for data is not part of the request: see `Engine::read_or_wait`.
#[derive(Clone, Debug)]
pub struct XReadGroup {
    /// The database.
    pub db: DbIndex,
    /// The group, the same for all streams.
    pub group: Bytes,
    /// The consumer; created where absent.
    pub consumer: Bytes,
    /// The streams, in the order they are answered.
    pub streams: Vec<(Bytes, GroupFrom)>,
    /// At most so many entries of each stream.
    pub count: Option<u64>,
    /// NOACK: new entries do not become pending.
    pub no_ack: bool,
}

/// What XREADGROUP reads of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFrom {
    /// `>`: entries never delivered to the group.
    New,
    /// The consumer's own pending entries after this id.
    History(EntryId),
}
stub!(XReadGroup, Vec<StreamRead>);
