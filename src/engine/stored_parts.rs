//! The parts in a snapshot store, counted as they are read, and read a little ahead of whoever asks for them.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use crate::id::PartKey;
use crate::snapshot::SnapshotStore;
use crate::state::tree::{LoadedPage, Parts};

/// So many parts are asked for at a time: a call costs more than reading one.
const GROUP_PARTS: usize = 8;
/// So many groups are kept for who will want them.
const GROUPS_AHEAD: usize = 2;

/// The parts in a store.
pub(crate) struct StoredParts<'a> {
    store: &'a dyn SnapshotStore,
    count: u64,
    fingerprint: u128,
    /// Pages of streams that were copied, which may be met again.
    shared: HashMap<PartKey, Box<LoadedPage>>,
    shares: bool,
    ahead: Option<Ahead>,
}

type Read = Result<Vec<u8>, String>;

/// The way to a thread that reads parts before they are asked for.
struct Ahead {
    wanted: Sender<Vec<PartKey>>,
    found: Receiver<Vec<(PartKey, Read)>>,
    /// What that thread was told and has not answered,
    expected: HashSet<PartKey>,
    /// and what it has, and nobody asked for.
    arrived: HashMap<PartKey, Read>,
}

impl Ahead {
    /// A part that was expected; `None` if it was not.
    fn take(&mut self, key: PartKey) -> Option<Read> {
        while self.expected.contains(&key) {
            let Ok(group) = self.found.recv() else {
                // It is gone. What it did not answer is read as if it had not been expected.
                self.expected.clear();
                break;
            };
            for (key, read) in group {
                self.expected.remove(&key);
                self.arrived.insert(key, read);
            }
        }
        self.arrived.remove(&key)
    }
}

impl<'a> StoredParts<'a> {
    pub(crate) fn new(store: &'a dyn SnapshotStore) -> Self {
        Self { store, count: 0, fingerprint: 0, shared: HashMap::new(), shares: false, ahead: None }
    }

    /// Runs `load` with the parts of a store. With `ahead`, a thread reads what will be asked for.
    pub(crate) fn with<R>(
        store: &dyn SnapshotStore,
        ahead: bool,
        load: impl FnOnce(&mut StoredParts<'_>) -> R,
    ) -> R {
        if !ahead {
            return load(&mut StoredParts::new(store));
        }
        thread::scope(|scope| {
            let (wanted, to_read) = channel::<Vec<PartKey>>();
            let (give, found) = sync_channel(GROUPS_AHEAD);
            let read = move || {
                for group in to_read {
                    let reads =
                        store.read_many(&group).into_iter().map(|read| read.map_err(|error| error.why));
                    if give.send(group.iter().copied().zip(reads).collect()).is_err() {
                        return;
                    }
                }
            };
            let started = thread::Builder::new().name("claimlog-parts".into()).spawn_scoped(scope, read);
            let ahead = Ahead { wanted, found, expected: HashSet::new(), arrived: HashMap::new() };
            // If there is no thread to be had, each part is read when it is asked for.
            let ahead = started.is_ok().then_some(ahead);
            load(&mut StoredParts { ahead, ..StoredParts::new(store) })
        })
    }

    /// How many parts were read, and what their names add up to.
    pub(crate) fn counted(&self) -> (u64, u128) {
        (self.count, self.fingerprint)
    }
}

impl Parts for StoredParts<'_> {
    fn read(&mut self, key: PartKey) -> Read {
        self.count += 1;
        self.fingerprint = self.fingerprint.wrapping_add(key.fingerprint());
        let expected = self.ahead.as_mut().and_then(|ahead| ahead.take(key));
        expected.unwrap_or_else(|| self.store.read(key).map_err(|error| error.why))
    }

    fn expect(&mut self, keys: &mut dyn Iterator<Item = PartKey>) {
        let Some(ahead) = &mut self.ahead else { return };
        let keys: Vec<PartKey> = keys.filter(|key| !self.shares || !self.shared.contains_key(key)).collect();
        for group in keys.chunks(GROUP_PARTS) {
            if ahead.wanted.send(group.to_vec()).is_err() {
                return;
            }
            ahead.expected.extend(group);
        }
    }

    fn share(&mut self, shares: bool) {
        self.shares = shares;
    }

    fn loaded(&self, key: PartKey) -> Option<&LoadedPage> {
        self.shared.get(&key).filter(|_| self.shares).map(|page| &**page)
    }

    fn remember(&mut self, key: PartKey, page: &dyn Fn() -> Box<LoadedPage>) {
        if self.shares {
            self.shared.insert(key, page());
        }
    }
}
