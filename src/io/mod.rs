//! The seam to the outside world: directories, files and clocks.
//!
//! Everything above but the sled databases, which have a trait of their own, speaks to these traits only, so that the
//! whole engine runs on [`real`] disks and on simulated ones (`sim`, with the feature of that name) alike. Nothing here knows what is stored.
//!
//! A name is durable only after its directory was synced ([`Dir::sync`]); bytes are durable only after
//! [`File::sync_data`]. Implementations promise no more than that, and callers rely on no more.

pub mod real;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
mod sim_clock;
#[cfg(feature = "sim")]
mod sim_rng;
#[cfg(feature = "sim")]
mod sim_volatile;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Creates a file in place of one that an attempt before left and could not remove.
pub(crate) fn create_anew(dir: &dyn Dir, name: &str) -> io::Result<Arc<dyn File>> {
    match dir.create(name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            dir.remove(name).and_then(|()| dir.create(name))
        }
        created => created,
    }
}

/// A directory.
pub trait Dir: Send + Sync + fmt::Debug {
    /// Where it lies, for messages.
    fn path(&self) -> PathBuf;

    /// The names of the plain files in it, in byte order.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist yet, open for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists`, or what the file system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or what the file system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing what has the new name.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or what the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations, renames and removals in this directory durable.
    ///
    /// # Errors
    /// What the file system says. What was not synced before may or may not be durable then.
    fn sync(&self) -> io::Result<()>;

    /// How many bytes may still be written to the file system that this directory is on; `None` if nobody can
    /// tell. It may be less or more a moment later.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self) -> io::Result<Option<u64>>;

    /// The directory below this one with that name; created, and its name made durable, if absent.
    ///
    /// # Errors
    /// What the file system says.
    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>>;

    /// Takes the exclusive lock of this directory, kept until the guard is dropped or the process ends.
    /// `holder` is written for whoever is refused.
    ///
    /// # Errors
    /// [`LockError::Held`] with the text of the present holder.
    fn lock(&self, name: &str, holder: &str) -> Result<LockGuard, LockError>;
}

/// An open file. All methods take `&self`: the position is always given.
pub trait File: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset` on; returns how many bytes there were before the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Lets the system forget what it has of these bytes in memory, so that the next read asks the disk. What was written
    /// and not synced stays. Best effort: where that can't be done, nothing happens.
    fn drop_cached(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }

    /// Writes all of `bytes` at `offset`, growing the file where needed.
    ///
    /// # Errors
    /// What the file system says; part of the bytes may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Asks for space for the first `len` bytes, so that a full disk shows now and not when they are written.
    /// May grow the file. What was written stays. Where the file system can't do that, nothing happens.
    ///
    /// # Errors
    /// `StorageFull`, or what else the file system says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or grows (with zeros) the file.
    ///
    /// # Errors
    /// What the file system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes written so far, and the length needed to read them, durable.
    ///
    /// # Errors
    /// What the file system says. After an error nothing is known about the bytes written since the last
    /// success, and trying again proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// The two clocks.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock: milliseconds since the Unix epoch. It may jump either way.
    fn wall_ms(&self) -> u64;

    /// What the wall clock said at that moment, which is now or was a moment ago: for who has looked at the other clock
    /// already. A jump may show some milliseconds later than in [`Clock::wall_ms`].
    fn wall_ms_at(&self, _moment: Instant) -> u64 {
        self.wall_ms()
    }

    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Keeps a directory locked until it is dropped.
#[derive(Debug)]
pub struct LockGuard {
    _held: Box<dyn Held>,
}

/// What a [`LockGuard`] keeps alive.
pub trait Held: Send + Sync + fmt::Debug {}

impl LockGuard {
    /// A guard that lasts as long as `held`.
    pub fn new(held: impl Held + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Why a directory could not be locked.
#[derive(Debug)]
pub enum LockError {
    /// Someone else has it; the text that the holder left.
    Held(String),
    /// The file system failed.
    Io(io::Error),
}
