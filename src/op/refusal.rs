//! Why a request was refused. The texts are those that Redis sends.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A request that can't be carried out as things stand. Nothing was changed.
///
/// `Display` gives the text that a Redis server sends, error code first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// XADD with the id 0-0.
    IdZero,
    /// XADD with an id that is not above the last one.
    IdTooSmall,
    /// XADD when the largest id was used.
    IdsExhausted,
    /// XADD with more than 1 GiB of names and values.
    EntryTooLarge,
    /// The key has to exist.
    NoSuchKey,
    /// XGROUP on a key that does not exist.
    GroupNeedsKey,
    /// XGROUP CREATE of a group that exists.
    GroupExists,
    /// No such group (XGROUP, XINFO).
    NoSuchGroup {
        /// The key.
        key: Bytes,
        /// The group.
        group: Bytes,
    },
    /// No such key or group (XPENDING, XCLAIM, XAUTOCLAIM).
    NoSuchKeyOrGroup {
        /// The key.
        key: Bytes,
        /// The group.
        group: Bytes,
    },
    /// No such key or group (XREADGROUP, also when it vanishes while the reader waits).
    NoSuchGroupToRead {
        /// The key.
        key: Bytes,
        /// The group.
        group: Bytes,
    },
    /// XSETID with an id below an entry of the stream.
    SetIdBelowTop,
    /// XSETID with fewer entries added than there are.
    SetIdBelowLength,
    /// XSETID with an id below the MAXDELETEDID it gives.
    SetIdBelowGivenMaxDeleted,
    /// XSETID with an id below the largest one that was deleted.
    SetIdBelowMaxDeleted,
    /// COPY or MOVE to where the key is.
    SameObject,
    /// XIDMPRECORD of an entry that the stream does not have.
    NoSuchEntry,
    /// XIDMPRECORD of an idempotent id that stands for another entry.
    IidTaken,
    /// The batch would pass `max-batch-bytes`.
    BatchTooLarge,
    /// The reply would pass `max-reply-bytes`.
    ReplyTooLarge,
    /// The data take more memory than they may (`Settings::max_memory_bytes`), and this would add.
    OutOfMemory,
    /// There is no room in the log for what it would add (I9).
    LogFull {
        /// What is full, in one line.
        why: Arc<str>,
    },
}

impl Refusal {
    /// The error as a Redis server sends it, without the leading `-`: names of keys and groups byte for byte.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        match self {
            Self::NoSuchGroup { key, group } => {
                [&b"NOGROUP No such consumer group '"[..], group, b"' for key name '", key, b"'"].concat()
            }
            Self::NoSuchKeyOrGroup { key, group } => {
                [&b"NOGROUP No such key '"[..], key, b"' or consumer group '", group, b"'"].concat()
            }
            Self::NoSuchGroupToRead { key, group } => [
                &b"NOGROUP No such key '"[..],
                key,
                b"' or consumer group '",
                group,
                b"' in XREADGROUP with GROUP option",
            ]
            .concat(),
            Self::LogFull { why } => [
                "MISCONF claimlog can't write to its log: ",
                why,
                ". Commands that add are refused; reads, acknowledgements and deletions go on. Free disk space, or \
                 delete or trim data: writes come back by themselves.",
            ]
            .concat()
            .into(),
            other => other.fixed_text().into(),
        }
    }

    /// The text of those that name nothing.
    fn fixed_text(&self) -> &'static str {
        match self {
            Self::IdZero => "ERR The ID specified in XADD must be greater than 0-0",
            Self::IdTooSmall => {
                "ERR The ID specified in XADD is equal or smaller than the target stream top item"
            }
            Self::IdsExhausted => {
                "ERR The stream has exhausted the last possible ID, unable to add more items"
            }
            Self::EntryTooLarge => "ERR Elements are too large to be stored",
            Self::NoSuchKey => "ERR no such key",
            Self::GroupNeedsKey => {
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                 the MKSTREAM option to create an empty stream automatically."
            }
            Self::GroupExists => "BUSYGROUP Consumer Group name already exists",
            Self::SetIdBelowTop => {
                "ERR The ID specified in XSETID is smaller than the target stream top item"
            }
            Self::SetIdBelowLength => {
                "ERR The entries_added specified in XSETID is smaller than the target stream length"
            }
            Self::SetIdBelowGivenMaxDeleted => {
                "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
            }
            Self::SetIdBelowMaxDeleted => {
                "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
            }
            Self::SameObject => "ERR source and destination objects are the same",
            Self::NoSuchEntry => "ERR The stream has no entry with that ID",
            Self::IidTaken => "ERR The idempotent ID of that producer stands for another entry",
            Self::BatchTooLarge => {
                "ERR the changes of this command or transaction would pass max-batch-bytes; split it into \
                 smaller ones"
            }
            Self::ReplyTooLarge => "ERR the reply would pass max-reply-bytes; ask for less with COUNT",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::NoSuchGroup { .. } | Self::NoSuchKeyOrGroup { .. } | Self::NoSuchGroupToRead { .. } => {
                "NOGROUP"
            }
            Self::LogFull { .. } => "MISCONF",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.wire()))
    }
}

impl std::error::Error for Refusal {}
