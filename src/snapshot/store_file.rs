//! The file `STORE` of a snapshot store: whose data it is for, and which store of which place it is.
//!
//! It is written last when a store is created and never changed. A directory without a sound one is no store.

use std::fs;
use std::io;
use std::path::Path;

use super::Generation;
use super::files::{named, sync};
use crate::id::StoreId;

pub(super) const NAME: &str = "STORE";
/// The format of everything in a store: keys, chunks and this file.
pub(super) const FORMAT: u32 = 0;

const MAGIC: [u8; 8] = *b"claimsnp";
const FORMAT_AT: usize = 8;
const CRC_AT: usize = FORMAT_AT + 4;
const OWNER_AT: usize = CRC_AT + 4;
const GENERATION_AT: usize = OWNER_AT + 16;
const PLACE_AT: usize = GENERATION_AT + 4;

/// What `STORE` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreFile {
    pub(super) owner: StoreId,
    pub(super) generation: Generation,
    pub(super) place: String,
}

impl StoreFile {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(self.owner.bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(self.place.as_bytes());
        let crc = crc(&bytes);
        bytes[CRC_AT..OWNER_AT].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Writes it into the directory, durably.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(NAME);
        fs::write(&path, self.encode()).map_err(named("writing", &path))?;
        sync(&path)?;
        sync(dir)
    }

    /// Reads it.
    ///
    /// # Errors
    /// `Unsupported` for a newer format, `InvalidData` if it does not check out, or what the file system says.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        let bytes = fs::read(&path).map_err(named("reading", &path))?;
        Self::decode(&bytes, &path)
    }

    /// What the bytes of the file at `path` say.
    fn decode(bytes: &[u8], path: &Path) -> io::Result<Self> {
        let bad =
            || io::Error::new(io::ErrorKind::InvalidData, format!("{} does not check out", path.display()));
        // The magic, the format and the checksum stay where they are in every format.
        if bytes.len() < PLACE_AT || bytes[..FORMAT_AT] != MAGIC || u32_at(bytes, CRC_AT) != crc(bytes) {
            return Err(bad());
        }
        let found = u32_at(bytes, FORMAT_AT);
        if found > FORMAT {
            let why = format!(
                "{} is of format {found}, and this version knows formats up to {FORMAT}; use a newer version",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let mut owner = [0; 16];
        owner.copy_from_slice(&bytes[OWNER_AT..GENERATION_AT]);
        Ok(Self {
            owner: StoreId::new(owner),
            generation: u32_at(bytes, GENERATION_AT),
            place: String::from_utf8(bytes[PLACE_AT..].to_vec()).map_err(|_| bad())?,
        })
    }
}

/// Any bytes as such a file, with the checksum put right if asked: for fuzzing.
#[cfg(feature = "sim")]
pub(super) fn fuzz(bytes: &[u8], mend: bool) {
    let mut bytes = bytes.to_vec();
    if mend && bytes.len() >= PLACE_AT {
        bytes[..FORMAT_AT].copy_from_slice(&MAGIC);
        let crc = crc(&bytes);
        bytes[CRC_AT..OWNER_AT].copy_from_slice(&crc.to_le_bytes());
    }
    if let Ok(file) = StoreFile::decode(&bytes, Path::new(NAME)) {
        assert_eq!(StoreFile::decode(&file.encode(), Path::new(NAME)).ok(), Some(file));
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CRC_AT]);
    hasher.update(&bytes[OWNER_AT..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_every_change_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = StoreFile { owner: StoreId::new([9; 16]), generation: 7, place: "a".into() };
        assert_eq!(StoreFile::read(dir.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        file.write(dir.path()).unwrap();
        assert_eq!(StoreFile::read(dir.path()).unwrap(), file);
        let good = file.encode();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 4;
            fs::write(dir.path().join(NAME), bytes).unwrap();
            let error = StoreFile::read(dir.path()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("STORE does not check out"), "{error}");
            fs::write(dir.path().join(NAME), &good[..at]).unwrap();
            assert_eq!(StoreFile::read(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = StoreFile { owner: StoreId::new([9; 16]), generation: 7, place: "a".into() }.encode();
        bytes[FORMAT_AT] = 3;
        bytes.extend_from_slice(b"and what else it has");
        let crc = crc(&bytes);
        bytes[CRC_AT..OWNER_AT].copy_from_slice(&crc.to_le_bytes());
        fs::write(dir.path().join(NAME), bytes).unwrap();
        let error = StoreFile::read(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("of format 3"), "{error}");
    }
}
