//! Where a piece of the log belongs: store, epoch, segment. Every checksum of the log covers its place, so
//! that bytes left over from another use of a file, an earlier epoch or another store never pass for the log.

use std::fmt;

use crc32fast::Hasher;

use crate::id::StoreId;

/// The number of an opening of the store. Each opening begins a new one; frames of an earlier one are never
/// added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// The number of a segment file. It grows for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ordinal(u64);

macro_rules! counted {
    ($name:ident) => {
        impl $name {
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

            /// The number after this one; the largest stays, which no run of this program can reach.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counted!(Epoch);
counted!(Ordinal);

/// The place of a segment, with the checksum over it computed once.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) store: StoreId,
    pub(crate) epoch: Epoch,
    pub(crate) ordinal: Ordinal,
    salted: Hasher,
}

impl Place {
    pub(crate) fn new(store: StoreId, epoch: Epoch, ordinal: Ordinal) -> Self {
        let mut salted = Hasher::new();
        salted.update(store.bytes());
        salted.update(&epoch.get().to_le_bytes());
        salted.update(&ordinal.get().to_le_bytes());
        Self { store, epoch, ordinal, salted }
    }

    /// A checksum at this place, to be fed piece by piece.
    pub(super) fn hasher(&self) -> Hasher {
        self.salted.clone()
    }

    /// The checksum of `parts`, one after the other, at this place.
    pub(crate) fn crc(&self, parts: &[&[u8]]) -> u32 {
        let mut hasher = self.salted.clone();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}
