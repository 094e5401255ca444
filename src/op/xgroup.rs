//! XGROUP: creates, moves and destroys groups and consumers.

use super::*;

/// Where a group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStart {
    /// After this id.
    After(EntryId),
    /// `$`: after the last id the stream has given out.
    Last,
}

/// XGROUP CREATE (5.0; `entries_read` 7.0).
#[derive(Clone, Debug)]
pub struct XGroupCreate {
    /// The stream.
    pub key: Key,
    /// The new group.
    pub group: Bytes,
    /// Where it begins.
    pub start: GroupStart,
    /// MKSTREAM: an absent stream is created, empty.
    pub make_stream: bool,
    /// How many entries count as read; `None` for unknown. More than were ever added counts as that many.
    pub entries_read: Option<u64>,
}
stub!(XGroupCreate, ());

/// XGROUP SETID (5.0; `entries_read` 7.0).
#[derive(Clone, Debug)]
pub struct XGroupSetId {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// Where it goes on.
    pub start: GroupStart,
    /// How many entries count as read; `None` for unknown. More than were ever added counts as that many.
    pub entries_read: Option<u64>,
}
stub!(XGroupSetId, ());

/// XGROUP DESTROY (5.0). Answers whether there was such a group.
#[derive(Clone, Debug)]
pub struct XGroupDestroy {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
}
stub!(XGroupDestroy, bool);

/// XGROUP CREATECONSUMER (6.2). Answers whether it is new.
#[derive(Clone, Debug)]
pub struct XGroupCreateConsumer {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The consumer.
    pub consumer: Bytes,
}
stub!(XGroupCreateConsumer, bool);

/// XGROUP DELCONSUMER (5.0). Answers how many pending entries went with it.
#[derive(Clone, Debug)]
pub struct XGroupDelConsumer {
    /// The stream.
    pub key: Key,
    /// The group.
    pub group: Bytes,
    /// The consumer.
    pub consumer: Bytes,
}
stub!(XGroupDelConsumer, u64);
