//! Where snapshots are kept: numbered parts, and a root that names the state they make up.
//!
//! There are places ([`SnapshotPlace`], as a rule two) that are written in turn. In each there is one store
//! ([`SnapshotStore`]), and for a while a second one: a store that fails is given up as a whole and built anew beside
//! what is left of it, as the place's next generation.
//!
//! A store promises little: what was put is durable after [`SnapshotStore::flush`] returned, and before that each part
//! may be there, gone or damaged after a crash. It knows neither records nor states. The protocol that makes a
//! snapshot safe on that is the engine's (`engine/turn.rs`), the same for every store.

mod chunk;
mod files;
pub(crate) mod guard;
#[cfg(feature = "sim")]
pub mod memory_store;
mod root;
pub(crate) mod sled_place;
mod sled_repair;
mod sled_session;
mod sled_store;
#[cfg(test)]
mod sled_tests;
pub(crate) mod slot;
mod store_file;

/// Any bytes as what snapshot stores keep (values, roots, the file `STORE`): for fuzzing. Nothing may panic.
#[cfg(feature = "sim")]
#[doc(hidden)]
pub fn fuzz_store(bytes: &[u8]) {
    for mend in [false, true] {
        chunk::fuzz(bytes, mend);
        store_file::fuzz(bytes, mend);
    }
    root::fuzz(bytes);
}

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::id::{PartKey, Seq, StoreId};
pub use root::Root;

/// The number of a store within its place. A newer one replaces all older ones.
pub type Generation = u32;

/// A place in which snapshots are kept.
pub trait SnapshotPlace: Send + Sync + fmt::Debug {
    /// Its name in messages.
    fn name(&self) -> String;

    /// The stores that are in it, oldest first. What a creation left half-made is removed.
    ///
    /// # Errors
    /// If the place can't be read.
    fn generations(&self) -> Result<Vec<Generation>, StoreError>;

    /// Creates an empty store, durably, for the data of `owner`. There must be none of that generation.
    ///
    /// # Errors
    /// If that failed. Nothing of that generation is there then, at the latest after the next
    /// [`SnapshotPlace::generations`].
    fn create(&self, generation: Generation, owner: StoreId) -> Result<Arc<dyn SnapshotStore>, StoreError>;

    /// Opens a store. What can be read of it then is durable.
    ///
    /// # Errors
    /// If that failed.
    fn open(&self, generation: Generation) -> Result<Arc<dyn SnapshotStore>, StoreError>;

    /// Removes a store and gives its space back, even if somebody has it open: it counts no more.
    ///
    /// # Errors
    /// If that failed. It may be tried again.
    fn remove(&self, generation: Generation) -> Result<(), StoreError>;

    /// How many more bytes the disk under it takes, if that is known.
    ///
    /// # Errors
    /// If the disk can't be asked.
    fn free_bytes(&self) -> Result<Option<u64>, StoreError>;
}

/// A store of snapshots. After an error nothing is known about it any more: it is given up, not asked again.
pub trait SnapshotStore: Send + Sync + fmt::Debug {
    /// Its name in messages: place and generation.
    fn name(&self) -> String;

    /// Whose data is in it.
    fn owner(&self) -> StoreId;

    /// The roots it holds, newest first. One that does not check out is left out: it was never finished.
    ///
    /// # Errors
    /// If the store can't be read.
    fn roots(&self) -> Result<Vec<Root>, StoreError>;

    /// The bytes of a part.
    ///
    /// # Errors
    /// If it is missing, does not check out, or can't be read.
    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError>;

    /// The bytes of several parts, one answer each: see [`SnapshotStore::read`]. Quicker than one by one.
    fn read_many(&self, keys: &[PartKey]) -> Vec<Result<Vec<u8>, StoreError>> {
        keys.iter().map(|key| self.read(*key)).collect()
    }

    /// The names of the parts that changed after a batch, in order, whether they check out or not.
    ///
    /// # Errors
    /// If the store can't be read.
    fn keys_after(&self, seq: Seq) -> Result<Vec<PartKey>, StoreError>;

    /// Up to `most` names of parts that come after a name, in order, whether they check out or not. For reading a store
    /// through a little at a time.
    ///
    /// # Errors
    /// If the store can't be read.
    fn keys_beyond(&self, key: PartKey, most: usize) -> Result<Vec<PartKey>, StoreError> {
        let since = Seq::new(key.changed_at.get().saturating_sub(1));
        let all = self.keys_after(since)?;
        Ok(all.into_iter().filter(|other| *other > key).take(most).collect())
    }

    /// Adds a part.
    ///
    /// # Errors
    /// If the store can't be written.
    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError>;

    /// Removes a part, if it is there; all of it, even if it does not check out.
    ///
    /// # Errors
    /// If the store can't be written.
    fn remove(&self, key: PartKey) -> Result<(), StoreError>;

    /// Adds a root. The ones before stay until they are removed.
    ///
    /// # Errors
    /// If the store can't be written.
    fn put_root(&self, root: &Root) -> Result<(), StoreError>;

    /// Removes the root of a batch, if it is there.
    ///
    /// # Errors
    /// If the store can't be written.
    fn remove_root(&self, seq: Seq) -> Result<(), StoreError>;

    /// Makes everything put and removed so far durable.
    ///
    /// # Errors
    /// If that failed; nothing is known then about what was put since the last success.
    fn flush(&self) -> Result<(), StoreError>;

    /// Gives the store up with what was put and not flushed: nothing of that is to become durable any more. Every later
    /// call fails or does nothing.
    fn abandon(&self);

    /// From now on everything is read from the disk again, not from memory. To be called when everything is flushed.
    ///
    /// # Errors
    /// If the store can't be opened again.
    fn reopen(&self) -> Result<(), StoreError>;

    /// Makes everything put and removed so far durable, and lets go of memory, threads and files until the next call,
    /// which takes as long as an opening.
    ///
    /// # Errors
    /// If that failed.
    fn rest(&self) -> Result<(), StoreError>;
}

/// A place or store could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The place or store.
    pub store: String,
    /// What kind of failure it was.
    pub kind: io::ErrorKind,
    /// What it was about, and what went wrong.
    pub why: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot store {}: {}", self.store, self.why)
    }
}

impl std::error::Error for StoreError {}
