//! A snapshot store in memory, with the crash semantics of a bad day.
//!
//! What was put or removed and not flushed may, after [`MemoryStore::after_crash`], be there, be gone, or be damaged
//! so that it does not check out: each part on its own, by a seed. It can also be told to fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Root, SnapshotStore, StoreError};
use crate::id::{PartKey, Seq};

/// A snapshot store in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    name: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    durable: Content,
    present: Content,
    /// Operations that may still change something before all further ones fail.
    operations_left: Option<u64>,
    operations: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    /// `None` stands for bytes that do not check out.
    parts: BTreeMap<PartKey, Option<Vec<u8>>>,
    roots: BTreeMap<Seq, Option<Root>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), inner: Arc::default() }
    }

    /// How many operations changed something so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets so many more operations change something; all further ones fail. `None` ends that.
    pub fn fail_after(&self, operations: Option<u64>) {
        self.lock().operations_left = operations;
    }

    /// The store as a crash at this moment leaves it.
    #[must_use]
    pub fn after_crash(&self, seed: u64) -> Self {
        let inner = self.lock();
        let mut dice = seed;
        let mut content = inner.durable.clone();
        merge(&mut content.parts, &inner.present.parts, &mut dice);
        merge(&mut content.roots, &inner.present.roots, &mut dice);
        let inner = Inner { durable: content.clone(), present: content, ..Inner::default() };
        Self { name: self.name.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// Damages the bytes of a part, as rot would.
    pub fn damage_part(&self, key: PartKey) {
        let mut inner = self.lock();
        inner.present.parts.insert(key, None);
        inner.durable.parts.insert(key, None);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if let Some(left) = &mut inner.operations_left {
            *left = left.checked_sub(1).ok_or_else(|| self.error("it was told to fail"))?;
        }
        inner.operations += 1;
        change(&mut inner);
        Ok(())
    }

    fn error(&self, why: impl Into<String>) -> StoreError {
        StoreError { store: self.name.clone(), why: why.into() }
    }
}

/// Decides for each thing that is not durable whether it is.
fn merge<K: Ord + Copy, V: Clone + PartialEq>(
    durable: &mut BTreeMap<K, Option<V>>,
    present: &BTreeMap<K, Option<V>>,
    dice: &mut u64,
) {
    let keys: std::collections::BTreeSet<K> = durable.keys().chain(present.keys()).copied().collect();
    for key in keys.into_iter().filter(|key| durable.get(key) != present.get(key)).collect::<Vec<_>>() {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (*dice >> 33) % 3 {
            0 => {}
            1 => match present.get(&key) {
                Some(value) => {
                    durable.insert(key, value.clone());
                }
                None => {
                    durable.remove(&key);
                }
            },
            // Half kept.
            _ => {
                durable.insert(key, None);
            }
        }
    }
}

impl SnapshotStore for MemoryStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn roots(&self) -> Result<Vec<Root>, StoreError> {
        Ok(self.lock().present.roots.values().rev().flatten().cloned().collect())
    }

    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
        match self.lock().present.parts.get(&key) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err(self.error(format!("part {key:?} does not check out"))),
            None => Err(self.error(format!("part {key:?} is missing"))),
        }
    }

    fn keys(&self) -> Result<Vec<PartKey>, StoreError> {
        Ok(self.lock().present.parts.keys().copied().collect())
    }

    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError> {
        self.change(|inner| {
            inner.present.parts.insert(key, Some(bytes.to_vec()));
        })
    }

    fn remove(&self, key: PartKey) -> Result<(), StoreError> {
        self.change(|inner| {
            inner.present.parts.remove(&key);
        })
    }

    fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        self.change(|inner| {
            inner.present.roots.insert(root.seq, Some(root.clone()));
        })
    }

    fn remove_root(&self, seq: Seq) -> Result<(), StoreError> {
        self.change(|inner| {
            inner.present.roots.remove(&seq);
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.change(|inner| inner.durable = inner.present.clone())
    }
}
