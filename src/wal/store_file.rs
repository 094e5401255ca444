//! The file `STORE`: which store this is, and which opening was the newest.
//!
//! It makes an emptied or rolled-back log tell itself from a new one. It is written after each opening's
//! commit (temporary name, sync, rename, directory sync), so it may lag one opening behind and never runs
//! ahead.

use std::io;
use std::sync::Arc;

use super::bytes::{put, u32_at, u64_at};
use super::error::{Damage, OpenError, while_opening};
use super::place::{Epoch, Ordinal};
use super::segment::FORMAT;
use super::verdict;
use crate::id::StoreId;
use crate::io::{Dir, create_anew};

pub(super) const NAME: &str = "STORE";
pub(super) const UNFINISHED_NAME: &str = "STORE.tmp";

const MAGIC_AT: usize = 0;
const FORMAT_AT: usize = MAGIC_AT + 8;
const CRC_AT: usize = FORMAT_AT + 4;
const STORE_AT: usize = CRC_AT + 4;
const EPOCH_AT: usize = STORE_AT + 16;
const ORDINAL_AT: usize = EPOCH_AT + 8;
const RESERVED_AT: usize = ORDINAL_AT + 8;
pub(super) const STORE_FILE_BYTES: usize = RESERVED_AT + 16;

const MAGIC: [u8; 8] = *b"claimsto";

const _: () = assert!(STORE_FILE_BYTES == 64);

/// Whose data is in a directory, if it holds any.
///
/// # Errors
/// If the file that says so can't be read or is damaged.
pub fn store_of(data_dir: &Arc<dyn Dir>) -> Result<Option<StoreId>, OpenError> {
    Ok(StoreFile::read(data_dir)?.map(|file| file.store))
}

/// Where bytes are to come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Anywhere,
    Disk,
}

/// What `STORE` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFile {
    pub(crate) store: StoreId,
    /// The newest opening that was completed,
    pub(crate) epoch: Epoch,
    /// and the segment that it wrote.
    pub(crate) ordinal: Ordinal,
}

impl StoreFile {
    fn encode(&self) -> [u8; STORE_FILE_BYTES] {
        let mut bytes = [0; STORE_FILE_BYTES];
        put(&mut bytes, MAGIC_AT, &MAGIC);
        put(&mut bytes, FORMAT_AT, &FORMAT.to_le_bytes());
        put(&mut bytes, STORE_AT, self.store.bytes());
        put(&mut bytes, EPOCH_AT, &self.epoch.get().to_le_bytes());
        put(&mut bytes, ORDINAL_AT, &self.ordinal.get().to_le_bytes());
        let crc = Self::crc(&bytes);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    fn crc(bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..CRC_AT]);
        hasher.update(&bytes[STORE_AT..]);
        hasher.finalize()
    }

    /// Puts magic and checksum of what is to pass for such a file right: for fuzzing.
    #[cfg(feature = "sim")]
    pub(super) fn mend(bytes: &mut [u8]) {
        if bytes.len() == STORE_FILE_BYTES {
            put(bytes, MAGIC_AT, &MAGIC);
            let crc = Self::crc(bytes);
            put(bytes, CRC_AT, &crc.to_le_bytes());
        }
    }

    /// Reads it; `None` if there is none.
    pub(super) fn read(dir: &Arc<dyn Dir>) -> Result<Option<Self>, OpenError> {
        Self::read_from(dir, From::Anywhere)
    }

    /// As [`StoreFile::read`], not from the system's memory where that can be told.
    pub(super) fn read_again(dir: &Arc<dyn Dir>) -> Result<Option<Self>, OpenError> {
        Self::read_from(dir, From::Disk)
    }

    fn read_from(dir: &Arc<dyn Dir>, from: From) -> Result<Option<Self>, OpenError> {
        let path = dir.path().join(NAME);
        let file = match dir.open(NAME) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(while_opening("opening STORE", path)(e)),
        };
        if from == From::Disk {
            file.drop_cached(0, STORE_FILE_BYTES as u64);
        }
        let mut bytes = [0; STORE_FILE_BYTES + 1];
        let count = file.read_at(0, &mut bytes).map_err(while_opening("reading STORE", path.clone()))?;
        let bytes = &bytes[..STORE_FILE_BYTES];
        // The magic, the format and the checksum stay where they are; a newer STORE may be longer.
        let known_start = count > STORE_AT && bytes[..FORMAT_AT] == MAGIC;
        if known_start && u32_at(bytes, FORMAT_AT) > FORMAT && count != STORE_FILE_BYTES {
            return Err(OpenError::NewerFormat { path, found: u32_at(bytes, FORMAT_AT), known: FORMAT });
        }
        if !known_start || count != STORE_FILE_BYTES || u32_at(bytes, CRC_AT) != Self::crc(bytes) {
            return Err(Damage::new(verdict::STORE_DAMAGED, path).at(0).into());
        }
        if u32_at(bytes, FORMAT_AT) > FORMAT {
            return Err(OpenError::NewerFormat { path, found: u32_at(bytes, FORMAT_AT), known: FORMAT });
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[STORE_AT..EPOCH_AT]);
        Ok(Some(Self {
            store: StoreId::new(store),
            epoch: Epoch::new(u64_at(bytes, EPOCH_AT)),
            ordinal: Ordinal::new(u64_at(bytes, ORDINAL_AT)),
        }))
    }

    /// Writes it in place of what is there.
    pub(super) fn write(&self, dir: &Arc<dyn Dir>) -> io::Result<()> {
        let written = create_anew(&**dir, UNFINISHED_NAME).and_then(|file| {
            file.write_all_at(0, &self.encode())?;
            file.sync_data()?;
            dir.rename(UNFINISHED_NAME, NAME)
        });
        if written.is_err() {
            // The next attempt or an opening removes it otherwise.
            let _ = dir.remove(UNFINISHED_NAME);
        }
        written.and_then(|()| dir.sync())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_file() -> StoreFile {
        StoreFile {
            store: StoreId::new(*b"0123456789abcdef"),
            epoch: Epoch::new(3),
            ordinal: Ordinal::new(7),
        }
    }

    #[test]
    fn golden_store_file() {
        let hex: String = store_file().encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "636c61696d73746f",
                "00000000",
                "73f44bc5",
                "30313233343536373839616263646566",
                "0300000000000000",
                "0700000000000000",
                "00000000000000000000000000000000"
            )
        );
        let docs: String = include_str!("../../docs/format.md").split_whitespace().collect();
        assert!(docs.contains(&hex), "docs/format.md shows the same bytes");
    }

    #[cfg(feature = "sim")]
    #[test]
    fn it_is_written_again_after_an_attempt_without_room() {
        let disk = crate::io::sim::SimDisk::new(0);
        let dir = disk.dir();
        store_file().write(&dir).unwrap();
        let files = disk.files();
        disk.set_capacity(Some(disk.used()));
        let next = StoreFile { epoch: Epoch::new(4), ..store_file() };
        next.write(&dir).unwrap_err();
        assert_eq!(disk.files(), files, "what was begun is removed");
        // As one leaves it that was killed.
        disk.write_file(UNFINISHED_NAME, b"");
        disk.set_capacity(None);
        next.write(&dir).unwrap();
        assert_eq!((StoreFile::read(&dir).unwrap(), disk.files()), (Some(next), files));
    }

    #[cfg(feature = "sim")]
    #[test]
    fn it_is_read_back_and_every_flipped_bit_is_noticed() {
        let disk = crate::io::sim::SimDisk::new(0);
        let dir = disk.dir();
        assert_eq!(StoreFile::read(&dir).unwrap(), None);
        store_file().write(&dir).unwrap();
        let next = StoreFile { epoch: Epoch::new(4), ..store_file() };
        next.write(&dir).unwrap();
        assert_eq!(StoreFile::read(&dir).unwrap(), Some(next));
        for at in 0..STORE_FILE_BYTES as u64 {
            disk.corrupt(NAME, at, 1).unwrap();
            StoreFile::read(&dir).unwrap_err();
            disk.corrupt(NAME, at, 1).unwrap();
        }
        for length in 0..STORE_FILE_BYTES {
            disk.write_file(NAME, &next.encode()[..length]);
            let Err(OpenError::Damage(damage)) = StoreFile::read(&dir) else { panic!("length {length}") };
            assert_eq!(damage.case.label, "store-damaged");
        }
    }
}
