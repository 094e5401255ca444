//! Snapshot stores in memory, with the crash semantics of a bad day.
//!
//! What was put or removed and not flushed may, after [`MemoryPlace::after_crash`], be there, be gone, or be damaged
//! so that it does not check out: each part on its own, by a seed. A place can also be told to fail, to be full, or to
//! lose what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Generation, Root, SnapshotPlace, SnapshotStore, StoreError};
use crate::id::{PartKey, Seq, StoreId};

/// A place for snapshot stores in memory. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct MemoryPlace {
    name: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone, Debug, Default)]
struct Inner {
    stores: BTreeMap<Generation, Store>,
    /// Operations that may still change something before all further ones fail.
    operations_left: Option<u64>,
    operations: u64,
    capacity_bytes: Option<u64>,
    /// Parts that are put before one is lost without a word.
    puts_until_lost: Option<u64>,
}

#[derive(Clone, Debug)]
struct Store {
    owner: StoreId,
    durable: Content,
    present: Content,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    /// `None` stands for bytes that do not check out.
    parts: BTreeMap<PartKey, Option<Vec<u8>>>,
    roots: BTreeMap<Seq, Option<Root>>,
}

impl Content {
    fn bytes(&self) -> u64 {
        let parts = self.parts.values().flatten().map(Vec::len);
        parts.chain(self.roots.values().flatten().map(|root| root.head.len())).sum::<usize>() as u64
    }
}

impl Store {
    /// Whatever was not durable is so now, or is gone, or damaged.
    fn settle(&mut self, dice: &mut u64) {
        merge(&mut self.durable.parts, &self.present.parts, dice);
        merge(&mut self.durable.roots, &self.present.roots, dice);
        self.present = self.durable.clone();
    }
}

impl MemoryPlace {
    /// An empty place.
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

    /// Of the parts put from now on, loses the one after so many, without a word. `None` ends that.
    pub fn forget_put(&self, after: Option<u64>) {
        self.lock().puts_until_lost = after;
    }

    /// Lets no more than so many bytes in. `None` ends that.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// The place as a crash at this moment leaves it.
    #[must_use]
    pub fn after_crash(&self, seed: u64) -> Self {
        let inner = self.lock();
        let mut dice = seed;
        let mut stores = inner.stores.clone();
        stores.values_mut().for_each(|store| store.settle(&mut dice));
        let inner = Inner { stores, capacity_bytes: inner.capacity_bytes, ..Inner::default() };
        Self { name: self.name.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// A copy that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { name: self.name.clone(), inner: Arc::new(Mutex::new(self.lock().clone())) }
    }

    /// Loses everything, as if somebody had removed it.
    pub fn lose(&self) {
        self.lock().stores.clear();
    }

    /// Damages the bytes of a part in every store, as rot would.
    pub fn damage_part(&self, key: PartKey) {
        for store in self.lock().stores.values_mut() {
            for content in [&mut store.present, &mut store.durable] {
                content.parts.entry(key).and_modify(|bytes| *bytes = None);
            }
        }
    }

    /// The names of all parts in the newest store.
    #[must_use]
    pub fn parts(&self) -> Vec<PartKey> {
        let inner = self.lock();
        let newest = inner.stores.values().next_back();
        newest.map(|store| store.present.parts.keys().copied().collect()).unwrap_or_default()
    }

    /// The roots in the newest store that check out, newest first.
    #[must_use]
    pub fn roots(&self) -> Vec<Root> {
        let inner = self.lock();
        let newest = inner.stores.values().next_back();
        newest
            .map(|store| store.present.roots.values().rev().flatten().cloned().collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> Result<T, StoreError> {
        let mut inner = self.lock();
        if let Some(left) = &mut inner.operations_left {
            *left = left.checked_sub(1).ok_or_else(|| self.error(ErrorKind::Other, "it was told to fail"))?;
        }
        inner.operations += 1;
        Ok(change(&mut inner))
    }

    fn error(&self, kind: ErrorKind, why: impl Into<String>) -> StoreError {
        StoreError { store: self.name.clone(), kind, why: why.into() }
    }

    fn opened(&self, generation: Generation, owner: StoreId) -> Arc<dyn SnapshotStore> {
        Arc::new(MemoryStore { place: self.clone(), generation, owner })
    }
}

/// Decides for each thing that is not durable whether it is.
fn merge<K: Ord + Copy, V: Clone + PartialEq>(
    durable: &mut BTreeMap<K, Option<V>>,
    present: &BTreeMap<K, Option<V>>,
    dice: &mut u64,
) {
    let keys: BTreeSet<K> = durable.keys().chain(present.keys()).copied().collect();
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

impl SnapshotPlace for MemoryPlace {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        Ok(self.lock().stores.keys().copied().collect())
    }

    fn create(&self, generation: Generation, owner: StoreId) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        let store = Store { owner, durable: Content::default(), present: Content::default() };
        self.change(|inner| inner.stores.insert(generation, store))?;
        Ok(self.opened(generation, owner))
    }

    fn open(&self, generation: Generation) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        let mut inner = self.lock();
        let mut dice = inner.operations;
        let store = inner.stores.get_mut(&generation);
        let store = store.ok_or_else(|| self.error(ErrorKind::NotFound, "there is no such store"))?;
        // Whoever had it open before may have left something that is not durable.
        store.settle(&mut dice);
        Ok(self.opened(generation, store.owner))
    }

    fn remove(&self, generation: Generation) -> Result<(), StoreError> {
        self.change(|inner| inner.stores.remove(&generation)).map(drop)
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let inner = self.lock();
        let used: u64 = inner.stores.values().map(|store| store.present.bytes()).sum();
        Ok(inner.capacity_bytes.map(|capacity| capacity.saturating_sub(used)))
    }
}

/// A store of a [`MemoryPlace`].
#[derive(Debug)]
struct MemoryStore {
    place: MemoryPlace,
    generation: Generation,
    owner: StoreId,
}

impl MemoryStore {
    fn look<T>(&self, look: impl FnOnce(&Content) -> T) -> Result<T, StoreError> {
        let inner = self.place.lock();
        let store = inner.stores.get(&self.generation);
        store.map(|store| look(&store.present)).ok_or_else(|| self.gone())
    }

    fn change(&self, change: impl FnOnce(&mut Store)) -> Result<(), StoreError> {
        let free = self.place.free_bytes()?;
        self.place.change(|inner| {
            let store = inner.stores.get_mut(&self.generation).ok_or_else(|| self.gone())?;
            let Some(free) = free else {
                change(store);
                return Ok(());
            };
            let before = store.present.bytes();
            change(store);
            if store.present.bytes().saturating_sub(before) > free {
                return Err(self.place.error(ErrorKind::StorageFull, "no space left"));
            }
            Ok(())
        })?
    }

    fn gone(&self) -> StoreError {
        self.place.error(ErrorKind::NotFound, format!("store {} was removed", self.generation))
    }
}

impl SnapshotStore for MemoryStore {
    fn name(&self) -> String {
        format!("{}-{:04}", self.place.name, self.generation)
    }

    fn owner(&self) -> StoreId {
        self.owner
    }

    fn roots(&self) -> Result<Vec<Root>, StoreError> {
        self.look(|content| content.roots.values().rev().flatten().cloned().collect())
    }

    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
        self.look(|content| content.parts.get(&key).cloned())?.flatten().ok_or_else(|| {
            let why = format!("page {} of batch {} is missing or damaged", key.page, key.changed_at);
            self.place.error(ErrorKind::InvalidData, why)
        })
    }

    fn keys_after(&self, seq: Seq) -> Result<Vec<PartKey>, StoreError> {
        self.look(|content| content.parts.keys().filter(|key| key.changed_at > seq).copied().collect())
    }

    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError> {
        let lost = {
            let mut inner = self.place.lock();
            let left = inner.puts_until_lost;
            inner.puts_until_lost = left.and_then(|left| left.checked_sub(1));
            left == Some(0)
        };
        if lost {
            return Ok(());
        }
        self.change(|store| {
            store.present.parts.insert(key, Some(bytes.to_vec()));
        })
    }

    fn remove(&self, key: PartKey) -> Result<(), StoreError> {
        self.change(|store| {
            store.present.parts.remove(&key);
        })
    }

    fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        self.change(|store| {
            store.present.roots.insert(root.seq, Some(root.clone()));
        })
    }

    fn remove_root(&self, seq: Seq) -> Result<(), StoreError> {
        self.change(|store| {
            store.present.roots.remove(&seq);
        })
    }

    fn abandon(&self) {}

    fn flush(&self) -> Result<(), StoreError> {
        self.change(|store| store.durable = store.present.clone())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.change(|store| store.present = store.durable.clone())
    }
}
