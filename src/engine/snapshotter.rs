//! Snapshots: the turn protocol that makes a state safe in stores that promise little.
//!
//! One turn in one place, the one with the oldest root: wait for the log; drop what an unfinished turn left and what
//! only the root before the last one named; add the parts that changed; flush; add the root; flush; read it all back
//! from the disk and compare; only then may the log be cut, back to the oldest root of all places. A store that fails
//! is given up and built anew beside what is left of it; until that is done the log keeps everything from the other
//! one's root on.

use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::events::Event;
use super::snapshots::{SLACK_BYTES, SnapshotError, SnapshotReport, StoreStats};
use crate::error::Error;
use crate::id::{PartKey, Seq, StoreId};
use crate::recovery::{StoredParts, verify_root};
use crate::snapshot::slot::Slot;
use crate::snapshot::{Root, SnapshotStore, StoreError};
use crate::state::State;
use crate::state::tree::{PartSink, Stopped};

/// So often a store is built anew, then no more: what a store that failed holds on to must not grow without bound.
const GIVE_UPS_MAX: u32 = 8;

/// There are never more places.
pub(super) const COPIES_MAX: usize = 2;

/// With more room than this nobody counts how much a snapshot needs.
const PLENTY_BYTES: u64 = 1024 * 1024 * 1024;

/// The places, and what is known of them.
#[derive(Debug)]
pub(super) struct Snapshotter {
    slots: Vec<Slot>,
    /// Places that are used no more: removed when those in use have a snapshot.
    surplus: Vec<Slot>,
    owner: StoreId,
    /// How many stores were given up. Each keeps its memory and its descriptors until the process ends.
    given_up: u32,
}

impl Snapshotter {
    /// `copies`: how many of the places are used.
    pub(super) fn new(mut slots: Vec<Slot>, copies: usize, owner: StoreId) -> Self {
        // Those with the newest snapshots stay.
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.seq()));
        let surplus = slots.split_off(copies.min(slots.len()));
        slots.sort_by_key(|slot| slot.place.name());
        Self { slots, surplus, owner, given_up: 0 }
    }

    /// The place whose turn it is: the one with the oldest root, or with none.
    fn next(&self) -> Option<usize> {
        (0..self.slots.len()).min_by_key(|at| self.slots[*at].seq())
    }

    /// The batch that every place has behind it, as far as was read from the disk.
    fn oldest(&self) -> Seq {
        let safe = |slot: &Slot| slot.seq().filter(|_| slot.verified).unwrap_or(Seq::ZERO);
        self.slots.iter().map(safe).min().unwrap_or(Seq::ZERO)
    }

    /// About how many bytes the newest snapshot has.
    fn live_bytes(&self) -> u64 {
        let newest = self.slots.iter().filter_map(|slot| slot.root.as_ref()).max_by_key(|root| root.seq);
        newest.map_or(0, |root| root.bytes)
    }

    /// The least room that any place has.
    fn free_bytes(&self) -> Option<u64> {
        self.slots.iter().filter_map(|slot| slot.place.free_bytes().ok().flatten()).min()
    }

    /// The place whose turn it was can't be trusted after a panic.
    fn panicked(&mut self, text: &str) -> SnapshotError {
        let why = format!("a panic while a snapshot was being taken, which is a bug: {text}");
        let slot = self.next().and_then(|at| self.slots.get_mut(at));
        let store = slot.map_or_else(String::new, |slot| {
            slot.give_up(&why);
            slot.place.name()
        });
        StoreError { store, kind: io::ErrorKind::Other, why }.into()
    }

    /// Lets go of all stores.
    pub(super) fn close(&mut self) {
        self.slots.iter_mut().chain(&mut self.surplus).for_each(Slot::close);
    }

    fn stats(&self) -> Vec<StoreStats> {
        let of = |slot: &Slot| StoreStats {
            name: slot.place.name(),
            seq: slot.seq(),
            trouble: slot.trouble.clone(),
        };
        self.slots.iter().map(of).collect()
    }
}

impl Shared {
    /// Takes a snapshot now. `None` if there is no place, or nothing is new.
    pub(super) fn snapshot(&self) -> Result<Option<SnapshotReport>, SnapshotError> {
        let mut snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshots.begin(self.clock.monotonic());
        let mut events = Vec::new();
        // A panic would end the thread that takes snapshots, and nobody would notice.
        let turn = AssertUnwindSafe(|| self.turn(&mut snapshotter, &mut events));
        let outcome = catch_unwind(turn).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
            Err(snapshotter.panicked(text))
        });
        self.snapshots.note_stores(snapshotter.stats());
        self.snapshots.end(&*self.clock, &outcome);
        self.plan(&snapshotter);
        drop(snapshotter);
        events.iter().for_each(|event| self.tell(event));
        match &outcome {
            Ok(Some(report)) => self.tell(&Event::SnapshotTaken(report.clone())),
            Err(SnapshotError::Engine(_)) | Ok(None) => {}
            Err(error) => self.tell(&Event::SnapshotFailed(error.clone())),
        }
        outcome
    }

    /// Tells the log how much of the disk it must leave to the next snapshot.
    pub(super) fn keep_room(&self) {
        if self.shares_disk {
            let written_bytes = self.log_bytes_written.load(Ordering::Relaxed);
            self.spares.keep_free(self.snapshots.room_to_keep(written_bytes));
        }
    }

    /// Notes what is known about the places, for a start.
    pub(super) fn look_at_stores(&self) {
        let snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshots.note_stores(snapshotter.stats());
        self.plan(&snapshotter);
    }

    /// Takes a snapshot if one is due or was asked for. What goes wrong is told as an event and tried again.
    pub(super) fn snapshot_if_due(&self) {
        if self.snapshots.unverified.swap(false, Ordering::Relaxed) {
            self.verify_stores();
        }
        let written_bytes = self.log_bytes_written.load(Ordering::Relaxed);
        let short = self.space_is_short();
        if self.snapshots.wants(self.clock.monotonic(), written_bytes, short) {
            // The log is cut only as far as each place has come.
            let turns = if short { COPIES_MAX } else { 1 };
            (0..turns).take_while(|_| matches!(self.snapshot(), Ok(Some(_)))).for_each(drop);
        } else if self.snapshots.uncovered(written_bytes) > 0
            && let Ok(snapshotter) = self.snapshotter.try_lock()
        {
            self.plan(&snapshotter);
        }
    }

    /// Reads through the snapshots that the opening had no need of: one that is damaged is noticed while the other one
    /// is there, and is never built upon.
    fn verify_stores(&self) {
        let mut snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshots.begin(self.clock.monotonic());
        let mut failed = Vec::new();
        for slot in &mut snapshotter.slots {
            if let Err(error) = self.verify_slot(slot) {
                failed.push(error);
            }
        }
        self.snapshots.note_stores(snapshotter.stats());
        self.snapshots.pause();
        drop(snapshotter);
        failed.into_iter().for_each(|error| self.tell(&Event::StoreDamaged(error)));
    }

    fn verify_slot(&self, slot: &mut Slot) -> Result<(), StoreError> {
        let (Some(store), Some(root), false) = (&slot.store, &slot.root, slot.verified) else {
            return Ok(());
        };
        let verified = verify_root(&**store, root, &|| self.snapshots.is_closing());
        if self.snapshots.is_closing() {
            return Ok(());
        }
        match &verified {
            Ok(()) => slot.verified = true,
            Err(error) => slot.give_up(&error.why),
        }
        verified
    }

    /// Says when the next one is due: when the log has grown by a tenth of what a snapshot has, but not for trifles;
    /// earlier where the disk is small.
    fn plan(&self, snapshotter: &Snapshotter) {
        let due_bytes = self.snapshot_log_bytes.max(snapshotter.live_bytes() / 10);
        let quarter = snapshotter.free_bytes().map_or(u64::MAX, |free| (free / 4).max(SLACK_BYTES));
        self.snapshots.set_due(due_bytes.min(quarter));
    }

    fn turn(
        &self,
        snapshotter: &mut Snapshotter,
        events: &mut Vec<Event>,
    ) -> Result<Option<SnapshotReport>, SnapshotError> {
        let Some(at) = snapshotter.next() else { return Ok(None) };
        let began = self.clock.monotonic();
        let written_bytes = self.log_bytes_written.load(Ordering::Relaxed);
        let (state, lock_held) = self.freeze()?;
        let seq = state.applied();
        if snapshotter.slots[at].seq() == Some(seq) {
            return Ok(None);
        }
        // IMPORTANT: the log first, in every mode. A snapshot ahead of the log would give out its numbers again.
        while self.progress.durable() < seq {
            self.commit(true).map_err(SnapshotError::Engine)?;
        }
        if snapshotter.given_up >= GIVE_UPS_MAX {
            let why = format!("{GIVE_UPS_MAX} stores were given up since the start; restart to try again");
            let store = snapshotter.slots[at].place.name();
            return Err(StoreError { store, kind: io::ErrorKind::Other, why }.into());
        }
        // A damaged snapshot is nothing to build on: then it is built anew.
        if let Err(error) = self.verify_slot(&mut snapshotter.slots[at]) {
            events.push(Event::StoreDamaged(error));
        }
        let turn = Turn { shared: self, state: &state, owner: snapshotter.owner };
        let taken = turn.take(&mut snapshotter.slots, at);
        let slot = &mut snapshotter.slots[at];
        let (root, parts, bytes) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // Otherwise the store is as good as before: no more than parts above its root may have been written, and
                // the next turn removes these.
                if let SnapshotError::Store(error) = &error {
                    slot.give_up(&error.why);
                    snapshotter.given_up += 1;
                }
                return Err(error);
            }
        };
        let report = SnapshotReport {
            store: slot.place.name(),
            seq,
            parts,
            bytes,
            parts_in_all: root.part_count,
            took: self.clock.monotonic().saturating_sub(began),
            lock_held,
            at_ms: self.clock.wall_ms(),
        };
        slot.rooted(root);
        self.snapshots.cover(written_bytes, self.log_bytes_written.load(Ordering::Relaxed));
        // What can't be removed is only space, and is tried again in the next turn.
        let _ = slot.remove_replaced();
        if snapshotter.slots.iter().all(|slot| slot.root.is_some()) {
            snapshotter.surplus.retain_mut(|slot| slot.clear().is_err());
        }
        self.cut(snapshotter.oldest());
        Ok(Some(report))
    }

    /// The state of this moment, and how long the lock was held for it.
    fn freeze(&self) -> Result<(State, Duration), SnapshotError> {
        let core = self.core();
        let began = self.clock.monotonic();
        // IMPORTANT: an engine that failed may hold half a transaction; one that was closed has let go of its stores.
        if let Some(error) = core.ended() {
            return Err(SnapshotError::Engine(error.clone()));
        }
        let state = core.state.clone();
        Ok((state, self.clock.monotonic().saturating_sub(began)))
    }

    /// Gives up the segments that every store has behind it.
    fn cut(&self, below: Seq) {
        let segments = self.writer().as_mut().map(|writer| writer.cut(below)).unwrap_or_default();
        self.spares.retire(&segments);
    }
}

/// One turn in one place.
struct Turn<'a> {
    shared: &'a Shared,
    state: &'a State,
    owner: StoreId,
}

impl Turn<'_> {
    /// Makes the state the newest snapshot of a place. Answers its root, and how many parts and bytes were written.
    fn take(&self, slots: &mut [Slot], at: usize) -> Result<(Root, u64, u64), SnapshotError> {
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
        if store.keys_after(since)?.is_empty() {
            return Ok(());
        }
        if free_bytes(slot).is_some_and(|free| free < SLACK_BYTES) {
            self.shared.give_up_ballast();
        }
        if let Some(free_bytes) = free_bytes(slot).filter(|free| *free < SLACK_BYTES) {
            let store = slot.place.name();
            return Err(SnapshotError::NoRoom { store, needed_bytes: SLACK_BYTES, free_bytes });
        }
        clear(&**store, slot.root.as_ref())?;
        store.flush()?;
        // So that its files shrink.
        Ok(store.reopen()?)
    }

    /// Asks for room before anything is written: a store that runs out of it is lost as a whole.
    fn check_room(&self, slots: &mut [Slot], at: usize) -> Result<(), SnapshotError> {
        let elsewhere = slots.iter().enumerate().any(|(number, slot)| number != at && slot.root.is_some());
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
        let needed_bytes = count.bytes + count.bytes / 4 + SLACK_BYTES + 64 * (live_parts + count.parts);
        // The log takes none of it meanwhile.
        self.shared.snapshots.claimed_bytes.store(needed_bytes, Ordering::Relaxed);
        self.shared.keep_room();
        let fits = |slot: &Slot| free_bytes(slot).is_none_or(|free| free >= needed_bytes);
        if fits(slot) {
            return Ok(());
        }
        if self.shared.give_up_ballast() && fits(slot) {
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
        for (_, slot) in slots.iter_mut().enumerate().filter(|(number, _)| *number != at) {
            if slot.trouble.is_none()
                && slot.store.is_none()
                && let Err(error) = slot.store(self.owner)
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
fn free_bytes(slot: &Slot) -> Option<u64> {
    slot.place.free_bytes().ok().flatten()
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
