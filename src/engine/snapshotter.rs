//! Snapshots: the turn protocol that makes a state safe in a store that promises little.
//!
//! One turn on one store, the one with the older root: wait for the log; drop what an unfinished turn left; add the
//! parts that changed; flush; add the root; flush; read back and compare; only then may the log be cut, back to the
//! oldest root of all stores. What only an earlier root named is removed in the store's next turn.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{Shared, SnapshotError};
use crate::id::{PartKey, Seq};
use crate::snapshot::{Root, SnapshotStore, StoreError};
use crate::state::State;

/// The stores, and what is known of them.
#[derive(Debug)]
pub(super) struct Snapshotter {
    stores: Vec<Turn>,
}

#[derive(Debug)]
struct Turn {
    store: Arc<dyn SnapshotStore>,
    /// The newest root that is known to be whole.
    root: Option<Seq>,
}

impl Snapshotter {
    pub(super) fn new(stores: Vec<Arc<dyn SnapshotStore>>, roots: Vec<Option<Seq>>) -> Self {
        Self { stores: stores.into_iter().zip(roots).map(|(store, root)| Turn { store, root }).collect() }
    }
}

impl Shared {
    pub(super) fn snapshot(&self) -> Result<Option<Seq>, SnapshotError> {
        let mut snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(turn) = snapshotter.stores.iter_mut().min_by_key(|turn| turn.root) else { return Ok(None) };
        let state = {
            let core = self.core();
            // IMPORTANT: an engine that failed may hold half a transaction; one that was closed has let go of its stores.
            if let Some(error) = core.ended() {
                return Err(SnapshotError::Engine(error.clone()));
            }
            core.state.clone()
        };
        let seq = state.applied();
        if turn.root == Some(seq) {
            return Ok(Some(seq));
        }
        // IMPORTANT: the log first, in every mode. A snapshot ahead of the log would give out its numbers again.
        while self.progress.durable() < seq {
            self.commit(true).map_err(SnapshotError::Engine)?;
        }
        take(&*turn.store, turn.root, &state).map_err(SnapshotError::Store)?;
        turn.root = Some(seq);
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        let oldest = snapshotter.stores.iter().map(|turn| turn.root.unwrap_or(Seq::ZERO)).min();
        self.cut(oldest.unwrap_or(Seq::ZERO)).map_err(SnapshotError::Engine)?;
        Ok(Some(seq))
    }

    /// Gives up the segments that every store has behind it.
    fn cut(&self, below: Seq) -> Result<(), crate::error::Error> {
        let segments = match self.writer().as_mut() {
            Some(writer) => writer.cut(below),
            None => return Ok(()),
        };
        self.or_fail(self.spares.retire(&segments))
    }
}

/// One turn: makes `state` the newest snapshot of a store whose newest root is `since`.
fn take(store: &dyn SnapshotStore, since: Option<Seq>, state: &State) -> Result<(), StoreError> {
    // A root whose state can't be loaded any more is nothing to build on. Then everything is written again, beside
    // what is there: that goes in the next turn only, in case a part of it can be read after all.
    let since = since.unwrap_or(Seq::ZERO);
    let roots = store.roots()?;
    let base =
        roots.iter().find(|root| root.seq == since).map(|root| crate::recovery::load_root(store, root));
    let base = base.and_then(Result::ok);
    let since = if base.is_some() { since } else { Seq::ZERO };
    let anew = base.is_none() && !roots.is_empty();
    if !anew {
        clear(store, since, base.as_ref(), state)?;
    }
    drop(base);
    let mut written: Vec<(PartKey, u32)> = Vec::new();
    let mut failed = None;
    let head = state.dump(since, &mut |key, bytes| {
        if failed.is_none() {
            written.push((key, crc32fast::hash(&bytes)));
            let there = if anew { store.remove(key) } else { Ok(()) };
            failed = there.and_then(|()| store.put(key, &bytes)).err();
        }
    });
    failed.map_or(Ok(()), Err)?;
    store.flush()?;
    let mut part_count = 0;
    state.visit_parts(&mut |_| part_count += 1);
    let root = Root { seq: state.applied(), part_count, digest: state.digest(), head };
    store.put_root(&root)?;
    store.flush()?;
    verify(store, &root, &written)
}

/// Removes what no root that counts names: what an unfinished turn left, and what only an earlier root named.
fn clear(
    store: &dyn SnapshotStore,
    since: Seq,
    base: Option<&State>,
    state: &State,
) -> Result<(), StoreError> {
    let mut named = BTreeSet::new();
    state.visit_parts(&mut |key| {
        named.insert(key);
    });
    if let Some(base) = base {
        base.visit_parts(&mut |key| {
            named.insert(key);
        });
    }
    for root in store.roots()?.iter().filter(|root| root.seq != since) {
        store.remove_root(root.seq)?;
    }
    for key in store.keys()? {
        // A part above the root is what an unfinished turn left, whatever it holds.
        if key.changed_at > since || !named.contains(&key) {
            store.remove(key)?;
        }
    }
    store.flush()
}

/// Reads back what was written.
fn verify(store: &dyn SnapshotStore, root: &Root, written: &[(PartKey, u32)]) -> Result<(), StoreError> {
    let fail = |why: String| StoreError { store: store.name(), why };
    if store.roots()?.first() != Some(root) {
        return Err(fail(format!("the root of batch {} does not read back as written", root.seq)));
    }
    for (key, crc) in written {
        if crc32fast::hash(&store.read(*key)?) != *crc {
            return Err(fail(format!(
                "page {} of batch {} does not read back as written",
                key.page, key.changed_at
            )));
        }
    }
    Ok(())
}
