//! WATCH: who wants to know that a key changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Shared;
use crate::op::{DbIndex, Key};

/// Keys being watched (WATCH). Dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    dirty: Arc<AtomicBool>,
    keys: Vec<Key>,
    /// The same, to find one: there may be very many.
    known: HashSet<Key>,
    bytes: usize,
    engine: Arc<Shared>,
}

/// Who watches which key. Looked up by key only, so the order of the map can't show.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    by_key: HashMap<Key, Vec<(u64, Arc<AtomicBool>)>>,
}

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The keys of a database that someone watches.
    pub(super) fn keys_in(&self, db: DbIndex) -> Vec<Key> {
        self.by_key.keys().filter(|key| key.db == db).cloned().collect()
    }

    /// A key changed: whoever watches it knows from now on.
    pub(super) fn mark(&self, key: &Key) {
        for (_, dirty) in self.by_key.get(key).into_iter().flatten() {
            dirty.store(true, Ordering::Release);
        }
    }
}

impl Watch {
    pub(super) fn new(engine: Arc<Shared>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self { id, dirty: Arc::default(), keys: Vec::new(), known: HashSet::new(), bytes: 0, engine }
    }

    /// The same keys in another engine, which holds the data that this one held until it was closed. What changed
    /// before counts on.
    pub(super) fn again(&self, engine: Arc<Shared>) -> Self {
        let mut core = engine.core();
        for key in &self.keys {
            core.watchers.by_key.entry(key.clone()).or_default().push((self.id, Arc::clone(&self.dirty)));
        }
        drop(core);
        Self {
            id: self.id,
            dirty: Arc::clone(&self.dirty),
            keys: self.keys.clone(),
            known: self.known.clone(),
            bytes: self.bytes,
            engine,
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Watches one more key, from this moment on.
    pub fn add(&mut self, key: &Key) {
        // Three lists have it, which share the name.
        const KEY_BYTES: usize = 200;
        if self.known.insert(key.clone()) {
            self.bytes += KEY_BYTES + key.name.len();
            // What has expired by now is not watched: that it goes is no change.
            let (mut core, _) = self.engine.core_in_turn();
            core.watchers.by_key.entry(key.clone()).or_default().push((self.id, Arc::clone(&self.dirty)));
            self.engine.leave(core);
            self.keys.push(key.clone());
        }
    }

    /// Whether a watched key changed since it was added. To act on it without anything coming in between, ask inside
    /// [`Engine::transaction`](super::Engine::transaction).
    #[must_use]
    pub fn dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let mut core = self.engine.core();
        for key in &self.keys {
            if let Some(watchers) = core.watchers.by_key.get_mut(key) {
                watchers.retain(|(id, _)| *id != self.id);
                if watchers.is_empty() {
                    core.watchers.by_key.remove(key);
                }
            }
        }
    }
}
