//! One turn in one place: how a state becomes a snapshot in a store that promises little.
//!
//! Drop what an unfinished turn left and what only the root before the last one named; add the parts that changed;
//! flush; add the root; flush; read it all back from the disk and compare. Nothing that the last root names is touched.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;

use super::Shared;
use super::snapshots::{SLACK_BYTES, SnapshotError};
use super::stored_parts::StoredParts;
use crate::error::Error;
use crate::id::{PartKey, Seq, StoreId};
use crate::snapshot::slot::Slot;
use crate::snapshot::{Root, SnapshotStore, StoreError};
use crate::state::State;
use crate::state::tree::{PartSink, Stopped};

/// With more room than this nobody counts how much a snapshot needs.
const PLENTY_BYTES: u64 = 1024 * 1024 * 1024;
/// What a store needs for knowing where a part is.
const PART_NAME_BYTES: u64 = 64;

/// One turn in one place.
pub(super) struct Turn<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: &'a State,
    pub(super) owner: StoreId,
}

impl Turn<'_> {
    /// Makes the state the newest snapshot of a place. Answers its root, and how many parts and bytes were written.
    pub(super) fn take(&self, slots: &mut [Slot], at: usize) -> Result<(Root, u64, u64), SnapshotError> {
        self.remove_leftovers(&slots[at])?;
        self.check_room(slots, at)?;
        let others = self.others(slots, at);
        let store = slots[at].store(self.owner)?;
        let store = &*store;
        let base = slots[at].root.as_ref();
        let since = base.map_or(Seq::ZERO, |root| root.seq);
        clear(store, base)?;
        let mut sink =
            Sink { turn: self, store, written: Written::default(), kept: HashSet::new(), failed: None };
        let head = self.state.dump(since, &mut sink);
        let Sink { written, kept, failed, .. } = sink;
        let head = match (head, failed) {
            (Ok(head), None) => head,
            (_, Some(error)) => return Err(error.into()),
            (Err(Stopped), None) => return Err(SnapshotError::Engine(Error::Closed)),
        };
        let dropped = match base {
            Some(base) => State::dropped(&base.head, &mut StoredParts::new(store), &kept)
                .map_err(|error| damaged(store, format!("of its last snapshot {error}")))?,
            None => Vec::new(),
        };
        // So that a root is only ever seen with all that it names, and one without is damage.
        store.flush()?;
        let root = self.root(base, &written, dropped, others, head);
        store.put_root(&root)?;
        store.flush()?;
        store.reopen()?;
        self.verify(store, &root, &written)?;
        Ok((root, written.parts.len() as u64, written.bytes))
    }

    /// What a turn that was cut off left takes room that this one may need.
    fn remove_leftovers(&self, slot: &Slot) -> Result<(), SnapshotError> {
        let Some(store) = &slot.store else { return Ok(()) };
        let since = slot.seq().unwrap_or(Seq::ZERO);
        // IMPORTANT: before the first call, which opens a store that rests. One without a root is no loss.
        if slot.root.is_some() && !self.shared.free_until(|| can_open(slot)) {
            let (needed_bytes, free_bytes) = (opening_bytes(slot), free_bytes(slot).unwrap_or(0));
            return Err(SnapshotError::NoRoom { store: slot.place.name(), needed_bytes, free_bytes });
        }
        if store.keys_after(since)?.is_empty() {
            return Ok(());
        }
        clear(&**store, slot.root.as_ref())?;
        store.flush()?;
        // So that its files shrink.
        Ok(store.reopen()?)
    }

    /// Asks for room before anything is written: a store that runs out of it is lost as a whole.
    fn check_room(&self, slots: &mut [Slot], at: usize) -> Result<(), SnapshotError> {
        // IMPORTANT: one that was not read yet may be damaged, and what was given up here the only whole one.
        let safe = |slot: &Slot| slot.root.is_some() && slot.verified;
        let elsewhere = slots.iter().enumerate().any(|(number, slot)| number != at && safe(slot));
        let slot = &mut slots[at];
        let (live_parts, live_bytes) =
            slot.root.as_ref().map_or((0, 0), |root| (root.part_count, root.bytes));
        match free_bytes(slot) {
            Some(free) if free < PLENTY_BYTES.max(4 * live_bytes) => {}
            _ => return Ok(()),
        }
        let since = slot.seq().unwrap_or(Seq::ZERO);
        let mut count = Count { stopped: &|| self.shared.snapshots.is_closing(), parts: 0, bytes: 0 };
        if self.state.dump(since, &mut count).is_err() {
            return Err(SnapshotError::Engine(Error::Closed));
        }
        let needed_bytes =
            count.bytes + count.bytes / 4 + SLACK_BYTES + PART_NAME_BYTES * (live_parts + count.parts);
        // The log takes none of it meanwhile.
        self.shared.snapshots.claimed_bytes.store(needed_bytes, Ordering::Relaxed);
        self.shared.keep_room();
        let fits = |slot: &Slot| free_bytes(slot).is_none_or(|free| free >= needed_bytes);
        if self.shared.free_until(|| fits(slot)) {
            return Ok(());
        }
        // What was given up here is of little use as long as the other place has a snapshot.
        if slot.root.is_none() && elsewhere {
            // What can't be removed is only space.
            let _ = slot.remove_replaced();
            if fits(slot) {
                return Ok(());
            }
        }
        let free_bytes = free_bytes(slot).unwrap_or(0);
        Err(SnapshotError::NoRoom { store: slot.place.name(), needed_bytes, free_bytes })
    }

    /// The other places and what they have. Each gets a store, so that one that is missing later is missed.
    fn others(&self, slots: &mut [Slot], at: usize) -> Vec<(String, Seq)> {
        let mut others = Vec::new();
        let (before, after) = slots.split_at_mut(at);
        for slot in before.iter_mut().chain(&mut after[1..]) {
            if slot.trouble.is_none()
                && slot.store.is_none()
                && let Err(error) = slot.store(self.owner).and_then(|store| store.rest())
            {
                slot.give_up(&error.why);
            }
            if slot.store.is_some() {
                others.push((slot.place.name(), slot.seq().unwrap_or(Seq::ZERO)));
            }
        }
        others
    }

    fn root(
        &self,
        base: Option<&Root>,
        written: &Written,
        dropped: Vec<PartKey>,
        others: Vec<(String, Seq)>,
        head: Vec<u8>,
    ) -> Root {
        let (count, sum, bytes) =
            base.map_or((0, 0, 0), |root| (root.part_count, root.fingerprint, root.bytes));
        let (added, gone) = (written.parts.len() as u64, dropped.len() as u64);
        let sum = written.parts.iter().fold(sum, |sum, (key, _)| sum.wrapping_add(key.fingerprint()));
        let sum = dropped.iter().fold(sum, |sum, key| sum.wrapping_sub(key.fingerprint()));
        // How large a part was that went is not known: as large as the others.
        let gone_bytes = bytes.checked_div(count).unwrap_or(0).saturating_mul(gone);
        Root {
            seq: self.state.applied(),
            part_count: (count + added).saturating_sub(gone),
            fingerprint: sum,
            bytes: (bytes + written.bytes).saturating_sub(gone_bytes),
            dropped,
            others,
            head,
        }
    }

    /// Reads back what was written.
    fn verify(&self, store: &dyn SnapshotStore, root: &Root, written: &Written) -> Result<(), SnapshotError> {
        if store.roots()?.first() != Some(root) {
            return Err(damaged(
                store,
                format!("the root of batch {} does not read back as written", root.seq),
            ));
        }
        for (key, crc) in &written.parts {
            if self.shared.snapshots.is_closing() {
                return Err(SnapshotError::Engine(Error::Closed));
            }
            if crc32fast::hash(&store.read(*key)?) != *crc {
                let PartKey { page, changed_at } = key;
                let why = format!("page {page} of batch {changed_at} does not read back as written");
                return Err(damaged(store, why));
            }
        }
        Ok(())
    }
}

/// How much room there is; what can't be told is no reason to give a store up.
pub(super) fn free_bytes(slot: &Slot) -> Option<u64> {
    slot.place.free_bytes().ok().flatten()
}

/// How much room a store needs for being opened or closed: what it knows of its own files may be written anew.
fn opening_bytes(slot: &Slot) -> u64 {
    let parts = slot.root.as_ref().map_or(0, |root| root.part_count);
    SLACK_BYTES + PART_NAME_BYTES * parts
}

/// Whether there is room for a store to be opened or closed: one that runs out of it is lost as a whole.
pub(super) fn can_open(slot: &Slot) -> bool {
    free_bytes(slot).is_none_or(|free| free >= opening_bytes(slot))
}

fn damaged(store: &dyn SnapshotStore, why: String) -> SnapshotError {
    StoreError { store: store.name(), kind: io::ErrorKind::InvalidData, why }.into()
}

/// Removes what no root that counts names: what an unfinished turn left, and what only an earlier root named.
fn clear(store: &dyn SnapshotStore, base: Option<&Root>) -> Result<(), StoreError> {
    let since = base.map_or(Seq::ZERO, |root| root.seq);
    for root in store.roots()?.iter().filter(|root| root.seq != since) {
        store.remove_root(root.seq)?;
    }
    for key in store.keys_after(since)? {
        store.remove(key)?;
    }
    base.map_or(&[][..], |root| &root.dropped).iter().try_for_each(|key| store.remove(*key))
}

/// What was put into a store.
#[derive(Default)]
struct Written {
    /// With their checksums.
    parts: Vec<(PartKey, u32)>,
    bytes: u64,
}

/// Puts what changed into a store.
struct Sink<'a> {
    turn: &'a Turn<'a>,
    store: &'a dyn SnapshotStore,
    written: Written,
    kept: HashSet<PartKey>,
    failed: Option<StoreError>,
}

impl PartSink for Sink<'_> {
    fn changed(&mut self, key: PartKey, bytes: Vec<u8>) -> Result<(), Stopped> {
        if self.turn.shared.snapshots.is_closing() {
            return Err(Stopped);
        }
        self.written.parts.push((key, crc32fast::hash(&bytes)));
        self.written.bytes += bytes.len() as u64;
        self.store.put(key, &bytes).map_err(|error| {
            self.failed = Some(error);
            Stopped
        })
    }

    fn kept(&mut self, key: PartKey) {
        self.kept.insert(key);
    }
}

/// Counts what changed.
struct Count<'a> {
    stopped: &'a dyn Fn() -> bool,
    parts: u64,
    bytes: u64,
}

impl PartSink for Count<'_> {
    fn changed(&mut self, _: PartKey, bytes: Vec<u8>) -> Result<(), Stopped> {
        if (self.stopped)() {
            return Err(Stopped);
        }
        self.parts += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn kept(&mut self, _: PartKey) {}
}
