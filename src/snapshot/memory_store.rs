//! Snapshot stores in memory, with the crash semantics of a bad day.
//!
//! What was put or removed and not flushed may, after [`MemoryPlace::after_crash`], be there, be gone, or be damaged
//! so that it does not check out: each part on its own, by a seed. A place can also be told to fail, to hang, to be
//! full, or to lose what it holds.

use std::collections::BTreeMap;
use std::fmt;
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
    on_call: Option<OnCall>,
}

/// Asked before each call.
#[derive(Clone)]
struct OnCall(Arc<Ask>);

type Ask = dyn Fn(&str, Generation) -> Result<(), StoreError> + Send + Sync;

impl fmt::Debug for OnCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnCall")
    }
}

#[derive(Clone, Debug)]
struct Store {
    owner: StoreId,
    parts: Shelf<PartKey, Vec<u8>>,
    roots: Shelf<Seq, Root>,
}

/// What is there, and what would be there if nothing since the last flush had happened.
#[derive(Clone, Debug)]
struct Shelf<K, V> {
    present: BTreeMap<K, Thing<V>>,
    /// What is durable of the things that were changed since.
    unflushed: BTreeMap<K, Option<Thing<V>>>,
}

/// `None` stands for bytes that do not check out.
type Thing<V> = Option<V>;

impl<K: Ord + Copy, V: Clone + PartialEq> Shelf<K, V> {
    const fn new() -> Self {
        Self { present: BTreeMap::new(), unflushed: BTreeMap::new() }
    }

    /// The things that check out.
    fn sound(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.present.values().flatten()
    }

    fn set(&mut self, key: K, thing: Option<Thing<V>>) {
        let before = replace(&mut self.present, key, thing);
        self.unflushed.entry(key).or_insert(before);
    }

    /// Everything is as it was at the last flush.
    fn revert(&mut self) {
        for (key, durable) in std::mem::take(&mut self.unflushed) {
            replace(&mut self.present, key, durable);
        }
    }

    /// Whatever was not durable is so now, or is gone, or damaged.
    fn settle(&mut self, dice: &mut u64) {
        for (key, durable) in std::mem::take(&mut self.unflushed) {
            if self.present.get(&key) == durable.as_ref() {
                continue;
            }
            *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (*dice >> 33) % 3 {
                0 => drop(replace(&mut self.present, key, durable)),
                1 => {}
                // Half kept.
                _ => drop(self.present.insert(key, None)),
            }
        }
    }

    fn damage(&mut self, key: K) {
        self.present.entry(key).and_modify(|thing| *thing = None);
        self.unflushed.entry(key).and_modify(|durable| *durable = durable.as_ref().map(|_| None));
    }
}

/// Puts or removes, and returns what was there.
fn replace<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, thing: Option<T>) -> Option<T> {
    match thing {
        Some(thing) => map.insert(key, thing),
        None => map.remove(&key),
    }
}

impl Store {
    fn settle(&mut self, dice: &mut u64) {
        self.parts.settle(dice);
        self.roots.settle(dice);
    }

    fn bytes(&self) -> u64 {
        let parts = self.parts.sound().map(Vec::len);
        parts.chain(self.roots.sound().map(|root| root.head.len())).sum::<usize>() as u64
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

    /// From now on `ask` is asked before each call, with the name of the method and the store's generation (0 for calls
    /// about the place). It may let the call fail, hang or panic.
    pub fn on_call(&self, ask: impl Fn(&str, Generation) -> Result<(), StoreError> + Send + Sync + 'static) {
        self.lock().on_call = Some(OnCall(Arc::new(ask)));
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
        self.lock().stores.values_mut().for_each(|store| store.parts.damage(key));
    }

    /// Damages the root of a batch in every store, as rot would.
    pub fn damage_root(&self, seq: Seq) {
        self.lock().stores.values_mut().for_each(|store| store.roots.damage(seq));
    }

    /// Takes a part out of every store, as if it had never been there.
    pub fn lose_part(&self, key: PartKey) {
        for store in self.lock().stores.values_mut() {
            store.parts.present.remove(&key);
            store.parts.unflushed.remove(&key);
        }
    }

    /// The names of all parts in the newest store.
    #[must_use]
    pub fn parts(&self) -> Vec<PartKey> {
        let inner = self.lock();
        let newest = inner.stores.values().next_back();
        newest.map(|store| store.parts.present.keys().copied().collect()).unwrap_or_default()
    }

    /// The roots in the newest store that check out, newest first.
    #[must_use]
    pub fn roots(&self) -> Vec<Root> {
        let inner = self.lock();
        let newest = inner.stores.values().next_back();
        newest.map(|store| store.roots.sound().rev().cloned().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before each call, without the lock: it may never return.
    fn ask(&self, call: &str, generation: Generation) -> Result<(), StoreError> {
        let on_call = self.lock().on_call.clone();
        on_call.map_or(Ok(()), |on_call| (on_call.0)(call, generation))
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

impl Inner {
    fn free_bytes(&self) -> Option<u64> {
        let capacity = self.capacity_bytes?;
        Some(capacity.saturating_sub(self.stores.values().map(Store::bytes).sum()))
    }
}

impl SnapshotPlace for MemoryPlace {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.ask("generations", 0)?;
        Ok(self.lock().stores.keys().copied().collect())
    }

    fn create(&self, generation: Generation, owner: StoreId) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        self.ask("create", generation)?;
        let store = Store { owner, parts: Shelf::new(), roots: Shelf::new() };
        self.change(|inner| inner.stores.insert(generation, store))?;
        Ok(self.opened(generation, owner))
    }

    fn open(&self, generation: Generation) -> Result<Arc<dyn SnapshotStore>, StoreError> {
        self.ask("open", generation)?;
        let mut inner = self.lock();
        let mut dice = inner.operations;
        let store = inner.stores.get_mut(&generation);
        let store = store.ok_or_else(|| self.error(ErrorKind::NotFound, "there is no such store"))?;
        // Whoever had it open before may have left something that is not durable.
        store.settle(&mut dice);
        Ok(self.opened(generation, store.owner))
    }

    fn remove(&self, generation: Generation) -> Result<(), StoreError> {
        self.ask("remove_store", generation)?;
        self.change(|inner| inner.stores.remove(&generation)).map(drop)
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.ask("free_bytes", 0)?;
        Ok(self.lock().free_bytes())
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
    fn look<T>(&self, call: &str, look: impl FnOnce(&Store) -> T) -> Result<T, StoreError> {
        self.place.ask(call, self.generation)?;
        let inner = self.place.lock();
        inner.stores.get(&self.generation).map(look).ok_or_else(|| self.gone())
    }

    fn change(&self, call: &str, change: impl FnOnce(&mut Store)) -> Result<(), StoreError> {
        self.place.ask(call, self.generation)?;
        self.place.change(|inner| {
            let free = inner.free_bytes();
            let store = inner.stores.get_mut(&self.generation).ok_or_else(|| self.gone())?;
            let Some(free) = free else {
                change(store);
                return Ok(());
            };
            let before = store.bytes();
            change(store);
            if store.bytes().saturating_sub(before) > free {
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
        self.look("roots", |store| store.roots.sound().rev().cloned().collect())
    }

    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
        let found = self.look("read", |store| store.parts.present.get(&key).cloned().flatten())?;
        found.ok_or_else(|| {
            let why = format!("page {} of batch {} is missing or damaged", key.page, key.changed_at);
            self.place.error(ErrorKind::InvalidData, why)
        })
    }

    fn keys_after(&self, seq: Seq) -> Result<Vec<PartKey>, StoreError> {
        self.look("keys_after", |store| {
            let after = PartKey { changed_at: seq.next(), page: crate::id::PageNo::ZERO };
            store.parts.present.range(after..).map(|(key, _)| *key).collect()
        })
    }

    fn keys_beyond(&self, key: PartKey, most: usize) -> Result<Vec<PartKey>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.look("keys_beyond", |store| {
            let beyond = store.parts.present.range((Excluded(key), Unbounded));
            beyond.map(|(key, _)| *key).take(most).collect()
        })
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
        self.change("put", |store| store.parts.set(key, Some(Some(bytes.to_vec()))))
    }

    fn remove(&self, key: PartKey) -> Result<(), StoreError> {
        self.change("remove", |store| store.parts.set(key, None))
    }

    fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        self.change("put_root", |store| store.roots.set(root.seq, Some(Some(root.clone()))))
    }

    fn remove_root(&self, seq: Seq) -> Result<(), StoreError> {
        self.change("remove_root", |store| store.roots.set(seq, None))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.change("flush", |store| {
            store.parts.unflushed.clear();
            store.roots.unflushed.clear();
        })
    }

    fn abandon(&self) {}

    fn rest(&self) -> Result<(), StoreError> {
        self.flush()
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.change("reopen", |store| {
            store.parts.revert();
            store.roots.revert();
        })
    }
}
