//! The facts that the log holds, in the past tense and in absolute form.
//!
//! A record says what became true: which entry has which id, who owns what since when. It never says how that
//! was decided, so neither a changed policy nor a changed setting changes how an old log replays. Numbers name
//! what is changed; times are Unix milliseconds, drawn once when the command was decided.
//!
//! The bytes are made and read in [`codec`]; tags (the order of the variants) are never used again for
//! something else. `docs/format.md` has the map.

pub mod codec;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{ConsumerNo, DbNo, EntryId, StreamNo};

/// One fact.
///
/// Variants are only ever added at the end: their order is their tag in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record<'a> {
    /// A name was bound to a new, empty stream.
    StreamCreated {
        /// The stream, with the number that is next.
        stream: StreamAt,
        /// The name.
        #[serde(borrow)]
        name: Blob<'a>,
    },
    /// A name was unbound, and its stream is gone with all its groups.
    StreamDeleted {
        /// The stream.
        stream: StreamAt,
    },
    /// An entry was appended.
    EntryAdded {
        /// The stream.
        stream: StreamAt,
        /// Its id, above the last one.
        id: EntryId,
        /// Whether it opens a new node (Redis's rule for `~` trimming, with the settings of that moment).
        opens_node: bool,
        /// Its pairs, packed.
        #[serde(borrow)]
        fields: Blob<'a>,
    },
    /// All entries up to an id were trimmed. References to them stay in the pending entries lists.
    EntriesTrimmed {
        /// The stream.
        stream: StreamAt,
        /// No entry up to this id stays.
        through: EntryId,
        /// How many entries went.
        removed: u64,
    },
    /// Entries were deleted by id. References to them stay in the pending entries lists.
    EntriesDeleted {
        /// The stream.
        stream: StreamAt,
        /// Their ids, ascending, each one there.
        ids: Vec<EntryId>,
    },
    /// Last id and counters were set.
    IdsSet {
        /// The stream.
        stream: StreamAt,
        /// The last id given out.
        last_id: EntryId,
        /// How many entries were ever added.
        entries_added: u64,
        /// The largest id deleted.
        max_deleted_id: EntryId,
    },
    /// A group was created.
    GroupCreated {
        /// Where.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// Where it begins.
        cursor: Cursor,
    },
    /// A group's cursor was set.
    GroupMoved {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// Where it goes on.
        cursor: Cursor,
    },
    /// A group is gone, with its consumers and its pending entries list.
    GroupDestroyed {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
    },
    /// A consumer was created.
    ConsumerCreated {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// Its number, the one that is next.
        consumer: ConsumerNo,
        /// Its name.
        #[serde(borrow)]
        name: Blob<'a>,
        /// When (Unix ms).
        at_ms: u64,
    },
    /// A consumer is gone, and what it had pending with it.
    ConsumerRemoved {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// The consumer.
        consumer: ConsumerNo,
    },
    /// New entries were delivered: each becomes pending for the consumer with delivery count 1. One that is
    /// pending already (the cursor was moved back) changes its owner.
    Delivered {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// To whom.
        consumer: ConsumerNo,
        /// When (Unix ms).
        at_ms: u64,
        /// What became pending, ascending. Empty for a reader that does not acknowledge (NOACK).
        ids: Vec<EntryId>,
        /// The group's cursor after the delivery.
        cursor: Cursor,
    },
    /// Pending entries were handed to a consumer, or delivered to it once more.
    Claimed {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// The owner from now on.
        consumer: ConsumerNo,
        /// What it owns now, with times and counts.
        rows: Vec<ClaimedRow>,
        /// When the consumer got something (Unix ms); `None` leaves its last activity alone.
        active_ms: Option<u64>,
    },
    /// Entries left the pending entries list: acknowledged, or found to be gone from the stream.
    Acknowledged {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// Their ids, each pending.
        ids: Vec<EntryId>,
    },
    /// A database lost all its keys and has a new number.
    DatabaseFlushed {
        /// The number it had.
        db: DbNo,
    },
    /// How long a stream remembers the idempotent ids of its producers was set. What it remembered is forgotten.
    DedupConfigured {
        /// The stream.
        stream: StreamAt,
        /// How long and how many.
        config: DedupConfig,
    },
    /// A stream remembers that a producer's idempotent id stands for an entry. What is older than the stream's
    /// duration at that moment is forgotten, and so is the oldest of a producer that has too many.
    DedupRemembered {
        /// The stream.
        stream: StreamAt,
        /// The producer.
        #[serde(borrow)]
        producer: Blob<'a>,
        /// Its idempotent id.
        #[serde(borrow)]
        iid: Blob<'a>,
        /// The entry.
        id: EntryId,
        /// When (Unix ms).
        at_ms: u64,
        /// Whether it counts as an addition: not if it was only recorded after the fact.
        counted: bool,
    },
    /// An entry was not added, since its idempotent id was remembered.
    DuplicateRefused {
        /// The stream.
        stream: StreamAt,
    },
    /// Pending entries were given back: each has no owner, and is at the end of those that were released before.
    Released {
        /// The group.
        #[serde(borrow)]
        group: GroupAt<'a>,
        /// Which, in the order in which they were released, each once.
        rows: Vec<ReleasedRow>,
    },
    /// A key gets a time at which it is removed, or has none any more.
    ExpirySet {
        /// The stream.
        stream: StreamAt,
        /// When (Unix ms); `None` for never.
        at_ms: Option<u64>,
    },
    /// A stream has another name, in the same database.
    StreamRenamed {
        /// The stream.
        stream: StreamAt,
        /// The name, which was bound to nothing.
        #[serde(borrow)]
        name: Blob<'a>,
    },
    /// A stream is in another database, under the same name.
    StreamMoved {
        /// Where it was.
        stream: StreamAt,
        /// The database where the name was bound to nothing.
        to: DbNo,
    },
    /// A stream was copied, with groups, pending entries, counters, dedup memory and expiry.
    StreamCopied {
        /// The one that was copied.
        from: StreamAt,
        /// The copy, with the number that is next.
        to: StreamAt,
        /// Its name, which was bound to nothing.
        #[serde(borrow)]
        name: Blob<'a>,
    },
    /// Two databases changed places.
    DatabasesSwapped {
        /// One.
        one: DbNo,
        /// The other.
        other: DbNo,
    },
}

impl Record<'_> {
    /// Whether it adds or changes something. What only removes or acknowledges may be written to a full log (I9).
    #[must_use]
    pub fn adds(&self) -> bool {
        match self {
            Self::StreamCreated { .. }
            | Self::EntryAdded { .. }
            | Self::IdsSet { .. }
            | Self::GroupCreated { .. }
            | Self::GroupMoved { .. }
            | Self::ConsumerCreated { .. }
            | Self::Delivered { .. }
            | Self::Claimed { .. }
            | Self::DedupConfigured { .. }
            | Self::DedupRemembered { .. }
            | Self::DuplicateRefused { .. }
            | Self::Released { .. }
            | Self::ExpirySet { .. }
            | Self::StreamRenamed { .. }
            | Self::StreamMoved { .. }
            | Self::StreamCopied { .. }
            | Self::DatabasesSwapped { .. } => true,
            Self::StreamDeleted { .. }
            | Self::EntriesTrimmed { .. }
            | Self::EntriesDeleted { .. }
            | Self::GroupDestroyed { .. }
            | Self::ConsumerRemoved { .. }
            | Self::Acknowledged { .. }
            | Self::DatabaseFlushed { .. } => false,
        }
    }
}

/// A stream, and the database it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAt {
    /// The database.
    pub db: DbNo,
    /// The stream.
    pub no: StreamNo,
}

/// A group of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAt<'a> {
    /// The stream.
    pub stream: StreamAt,
    /// The group's name.
    #[serde(borrow)]
    pub name: Blob<'a>,
}

/// How far a group has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last id delivered.
    pub last_delivered_id: EntryId,
    /// How many entries were read, if that is known.
    pub entries_read: Option<u64>,
}

/// One pending entry as it is after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedRow {
    /// Its id.
    pub id: EntryId,
    /// Its delivery time (Unix ms).
    pub delivered_ms: u64,
    /// Its delivery count.
    pub delivery_count: u64,
}

/// One pending entry that was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedRow {
    /// Its id.
    pub id: EntryId,
    /// Its delivery count.
    pub delivery_count: u64,
}

/// How long and how many idempotent ids a stream remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupConfig {
    /// For how long, in seconds.
    pub duration_secs: u64,
    /// Of each producer at most so many.
    pub maxsize: u64,
}

impl Default for DedupConfig {
    /// What a stream begins with. Part of the format: a record is written for a stream that begins otherwise.
    fn default() -> Self {
        Self { duration_secs: 100, maxsize: 100 }
    }
}

/// Bytes, borrowed from a request or from the log where possible.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob<'a>(pub Cow<'a, [u8]>);

impl Blob<'_> {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> From<&'a [u8]> for Blob<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a bytes::Bytes> for Blob<'a> {
    fn from(bytes: &'a bytes::Bytes) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl std::fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // &[u8] deserializes by borrowing, which is what replay wants.
        <&'de [u8]>::deserialize(deserializer).map(|bytes| Self(Cow::Borrowed(bytes)))
    }
}
