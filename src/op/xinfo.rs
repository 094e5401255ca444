//! XINFO: what a stream, its groups and their consumers look like.

use super::*;

/// XINFO STREAM key (5.0).
#[derive(Clone, Debug)]
pub struct XInfoStream {
    /// The stream, which must exist.
    pub key: Key,
}

/// A stream at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// How many entries it has.
    pub length: u64,
    /// How many nodes hold them, by Redis's node rule.
    pub node_count: u64,
    /// The last id given out.
    pub last_id: EntryId,
    /// The largest id that was deleted.
    pub max_deleted_id: EntryId,
    /// How many entries were ever added.
    pub entries_added: u64,
    /// The id of the first entry; `0-0` if there is none.
    pub first_id: EntryId,
    /// How many groups it has.
    pub group_count: u64,
    /// The first entry.
    pub first_entry: Option<Entry>,
    /// The last entry.
    pub last_entry: Option<Entry>,
}
stub!(XInfoStream, StreamInfo);

/// XINFO STREAM key FULL (6.0).
#[derive(Clone, Debug)]
pub struct XInfoStreamFull {
    /// The stream, which must exist.
    pub key: Key,
    /// At most so many entries, and rows of each list; `None` for all.
    pub count: Option<u64>,
}

/// A stream in full. `info.first_entry` and `info.last_entry` are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfoFull {
    /// The numbers.
    pub info: StreamInfo,
    /// The first entries.
    pub entries: Vec<Entry>,
    /// The groups, by name.
    pub groups: Vec<GroupInfoFull>,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfoFull {
    /// The numbers.
    pub info: GroupInfo,
    /// The first pending entries: id, owner, delivery time (Unix ms), delivery count.
    pub pending: Vec<(EntryId, Bytes, u64, u64)>,
    /// The consumers, by name.
    pub consumers: Vec<ConsumerInfoFull>,
}

/// A consumer in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfoFull {
    /// Its name.
    pub name: Bytes,
    /// When it was last seen (Unix ms).
    pub seen_ms: u64,
    /// When it last got something (Unix ms).
    pub active_ms: Option<u64>,
    /// How many entries it has pending.
    pub pending_count: u64,
    /// The first of them: id, delivery time (Unix ms), delivery count.
    pub pending: Vec<(EntryId, u64, u64)>,
}
stub!(XInfoStreamFull, StreamInfoFull);

/// XINFO GROUPS key (5.0). Groups come by name.
#[derive(Clone, Debug)]
pub struct XInfoGroups {
    /// The stream, which must exist.
    pub key: Key,
}

/// A group at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: Bytes,
    /// How many consumers it has.
    pub consumer_count: u64,
    /// How many entries are pending.
    pub pending_count: u64,
    /// The last id delivered.
    pub last_delivered_id: EntryId,
    /// How many entries were read, if that is known.
    pub entries_read: Option<u64>,
    /// How many entries are still to be read, if that is known.
    pub lag: Option<u64>,
}
stub!(XInfoGroups, Vec<GroupInfo>);

/// XINFO CONSUMERS key group (5.0). Consumers come by name.
#[derive(Clone, Debug)]
pub struct XInfoConsumers {
    /// The stream, which must exist.
    pub key: Key,
    /// The group, which must exist.
    pub group: Bytes,
}

/// A consumer at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: Bytes,
    /// How many entries it has pending.
    pub pending_count: u64,
    /// Milliseconds since it was last seen.
    pub idle_ms: u64,
    /// Milliseconds since it last got something; `None` if it never did.
    pub inactive_ms: Option<u64>,
}
stub!(XInfoConsumers, Vec<ConsumerInfo>);
