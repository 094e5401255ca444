//! Where snapshots are kept: numbered parts, and a root that names the state they make up.
//!
//! A store promises little: what was put is durable after [`SnapshotStore::flush`] returned, and before that each part
//! may be there, gone or damaged after a crash. It knows neither records nor states. The protocol that makes a
//! snapshot safe on that is the engine's (`engine/snapshotter.rs`), the same for every store.

#[cfg(feature = "sim")]
pub mod memory_store;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{PartKey, Seq};

/// A place for snapshots.
pub trait SnapshotStore: Send + Sync + fmt::Debug {
    /// Its name in messages.
    fn name(&self) -> String;

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

    /// The names of all parts, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    fn keys(&self) -> Result<Vec<PartKey>, StoreError>;

    /// Adds a part.
    ///
    /// # Errors
    /// If the store can't be written.
    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError>;

    /// Removes a part, if it is there.
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
}

/// The root of a snapshot: the only truth about it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The last batch that is in it.
    pub seq: Seq,
    /// How many parts it consists of.
    pub part_count: u64,
    /// The digest of the state.
    pub digest: u128,
    /// The head of the state, which leads to all parts.
    pub head: Vec<u8>,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root {{ seq: {}, part_count: {} }}", self.seq, self.part_count)
    }
}

/// A store could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The store.
    pub store: String,
    /// What it was about, and what went wrong.
    pub why: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot store {}: {}", self.store, self.why)
    }
}

impl std::error::Error for StoreError {}
