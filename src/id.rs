//! The numbers of claimlog: entry ids, database indexes, sequence numbers and the numbers for life of databases,
//! streams, consumers and pages. Each is a type of its own, so that none can stand where another is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The id of a stream entry: `<ms>-<seq>`, ordered by `ms`, then `seq`.
///
/// ```
/// use claimlog::EntryId;
/// let id = EntryId::new(1526919030474, 55);
/// assert_eq!(id.to_string(), "1526919030474-55");
/// assert_eq!(id.successor(), Some(EntryId::new(1526919030474, 56)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch, as a rule; any number by choice of the producer.
    pub ms: u64,
    /// Position among the entries of one millisecond.
    pub seq: u64,
}

impl EntryId {
    /// `0-0`, the id before every entry.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The largest id there is.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The id `ms-seq`.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The next larger id, or `None` after the largest.
    #[must_use]
    pub fn successor(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The next smaller id, or `None` before `0-0`.
    #[must_use]
    pub fn predecessor(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The random number that a store's log and its snapshots are bound to. It is never shown to clients, so that no client
/// can write a payload that looks like a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// The id with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // IMPORTANT: the bytes must not reach a log file or a client.
        f.write_str("StoreId(..)")
    }
}

/// A database's index, as in `SELECT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbIndex(u8);

impl DbIndex {
    /// How many databases there are.
    pub const COUNT: u8 = 16;

    /// The database with that index, if there is one.
    #[must_use]
    pub fn new(index: u8) -> Option<Self> {
        (index < Self::COUNT).then_some(Self(index))
    }

    /// The index.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// Number zero.
            pub const ZERO: Self = Self(0);

            /// The number with this value.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The value.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number after this one.
            ///
            /// # Panics
            /// After 2^64 - 1, which no run of this program can reach.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("fewer than 2^64 numbers are ever given out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The sequence number of a batch in the log. The first batch has number 1; 0 stands for "nothing yet".
    Seq
}
number! {
    /// A database's number for life. Its index (`SELECT n`) may come to mean another database.
    DbNo
}
number! {
    /// A stream's number for life. Its name may change; the number is never used again.
    StreamNo
}
number! {
    /// A consumer's number for life, within the whole store.
    ConsumerNo
}
number! {
    /// The number of a page of state. A page that changes keeps its number, and its `changed_at` grows.
    PageNo
}

/// The name of a part of the state in a snapshot: a page, as one batch left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartKey {
    /// The batch that changed it last.
    pub changed_at: Seq,
    /// Its page number.
    pub page: PageNo,
}

impl PartKey {
    /// A number that stands for this name among all others; those of many parts are added up.
    #[must_use]
    pub fn fingerprint(self) -> u128 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.changed_at.get().to_le_bytes());
        bytes[8..].copy_from_slice(&self.page.get().to_le_bytes());
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_carries_into_the_milliseconds() {
        assert_eq!(EntryId::new(1, u64::MAX).successor(), Some(EntryId::new(2, 0)));
        assert_eq!(EntryId::MAX.successor(), None);
        assert_eq!(EntryId::new(2, 0).predecessor(), Some(EntryId::new(1, u64::MAX)));
        assert_eq!(EntryId::MIN.predecessor(), None);
    }
}
