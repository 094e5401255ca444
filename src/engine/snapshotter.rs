//! Snapshots: whose turn it is, and what becomes of the log and of the places afterwards.
//!
//! A turn is taken in the place with the oldest root ([`Turn`]), of a state that is durable in the log. Only when it has
//! been read back may the log be cut, back to the oldest root of all places. A store that fails is given up and built
//! anew beside what is left of it; until that is done the log keeps everything from the other one's root on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::events::Event;
use super::snapshots::{SLACK_BYTES, SnapshotError, SnapshotReport, StoreStats};
use super::turn::{Turn, can_open, free_bytes};
use crate::id::{Seq, StoreId};
use crate::recovery::verify_root;
use crate::snapshot::StoreError;
use crate::snapshot::slot::Slot;
use crate::state::State;

/// There are never more places.
pub(super) const COPIES_MAX: usize = 2;

/// The places, and what is known of them.
#[derive(Debug)]
pub(super) struct Snapshotter {
    pub(super) slots: Vec<Slot>,
    /// Places that are used no more: removed when those in use have a snapshot.
    surplus: Vec<Slot>,
    /// The place whose turn it is, as long as it has no new root.
    under_way: Option<usize>,
    owner: StoreId,
}

impl Snapshotter {
    /// `copies`: how many of the places are used.
    pub(super) fn new(mut slots: Vec<Slot>, copies: usize, owner: StoreId) -> Self {
        // Those with the newest snapshots stay.
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.seq()));
        let surplus = slots.split_off(copies.min(slots.len()));
        slots.sort_by_key(|slot| slot.place.name());
        Self { slots, surplus, under_way: None, owner }
    }

    /// The place whose turn it is: the one with the oldest root, or with none.
    fn next(&self) -> Option<usize> {
        (0..self.slots.len()).min_by_key(|at| self.slots[*at].seq())
    }

    /// The batch that every place has behind it, as far as was read from the disk.
    pub(super) fn oldest(&self) -> Seq {
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
        self.slots.iter().filter_map(free_bytes).min()
    }

    /// The place whose turn it was can't be trusted after a panic.
    fn panicked(&mut self, text: &str) -> SnapshotError {
        let why = format!("a panic while a snapshot was being taken, which is a bug: {text}");
        let slot = self.under_way.take().and_then(|at| self.slots.get_mut(at));
        let store = slot.map_or_else(String::new, |slot| {
            slot.give_up(&why);
            slot.place.name()
        });
        StoreError { store, kind: io::ErrorKind::Other, why }.into()
    }

    /// Nothing is asked of the stores for a while. Answers which of them failed at that and were given up. Closing one may
    /// write, so those without room for that stay open.
    fn rest(&mut self) -> Vec<(String, StoreError)> {
        let failed = |slot: &mut Slot| slot.rest().err().map(|error| (slot.place.name(), error));
        let open = self.slots.iter_mut().filter(|slot| slot.store.is_some());
        open.filter(|slot| can_open(slot)).filter_map(failed).collect()
    }

    /// Lets go of all stores.
    pub(super) fn close(&mut self) {
        self.slots.iter_mut().chain(&mut self.surplus).for_each(Slot::close);
    }

    pub(super) fn stats(&self) -> Vec<StoreStats> {
        let of = |slot: &Slot| StoreStats {
            name: slot.place.name(),
            seq: slot.seq(),
            trouble: slot.trouble.clone(),
        };
        self.slots.iter().map(of).collect()
    }
}

/// The state of a moment.
struct Frozen {
    state: State,
    /// How much had changed by then, as [`Core::changes`](super::core::Core::changes).
    changes: u64,
    /// How long the lock was held for it.
    lock_held: Duration,
}

impl Shared {
    /// Takes a snapshot now. `None` if there is no place, or nothing is new.
    pub(super) fn snapshot(&self) -> Result<Option<SnapshotReport>, SnapshotError> {
        let mut snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshots.begin(self.clock.monotonic());
        let mut damaged = Vec::new();
        // A panic would end the thread that takes snapshots, and nobody would notice.
        let turn = AssertUnwindSafe(|| self.turn(&mut snapshotter, &mut damaged));
        let outcome = catch_unwind(turn).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
            Err(snapshotter.panicked(text))
        });
        let lost = snapshotter.rest();
        self.snapshots.note_stores(snapshotter.stats());
        self.snapshots.end(&*self.clock, &outcome, !lost.is_empty());
        damaged.extend(lost);
        self.plan(&snapshotter);
        drop(snapshotter);
        damaged.into_iter().for_each(|(place, error)| self.store_damaged(place, error));
        if let Ok(Some(report)) = &outcome {
            self.note_given_up(&[], Some(&report.store));
        }
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
        let damaged = self.verifier.log_damaged();
        if damaged {
            self.leave_damaged_segment();
        }
        if self.snapshots.wants(self.clock.monotonic(), written_bytes, short) {
            // The log is cut only as far as each place has come.
            let turns = if short || damaged { COPIES_MAX } else { 1 };
            (0..turns).take_while(|_| matches!(self.snapshot(), Ok(Some(_)))).for_each(drop);
            if damaged {
                // Where there was nothing new to save, nothing was cut.
                let snapshotter = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner);
                self.cut_damaged(&snapshotter);
            }
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
                failed.push((slot.place.name(), error));
            }
        }
        failed.extend(snapshotter.rest());
        self.snapshots.note_stores(snapshotter.stats());
        self.snapshots.pause();
        drop(snapshotter);
        failed.into_iter().for_each(|(place, error)| self.store_damaged(place, error));
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
        damaged: &mut Vec<(String, StoreError)>,
    ) -> Result<Option<SnapshotReport>, SnapshotError> {
        let Some(at) = snapshotter.next() else { return Ok(None) };
        snapshotter.under_way = Some(at);
        let began = self.clock.monotonic();
        let written_bytes = self.log_bytes_written.load(Ordering::Relaxed);
        let Frozen { state, changes, lock_held } = self.freeze()?;
        let seq = state.applied();
        if snapshotter.slots[at].seq() == Some(seq) {
            return Ok(None);
        }
        // IMPORTANT: the log first, in every mode. A snapshot ahead of the log would give out its numbers again.
        while self.progress.durable() < seq {
            self.commit(true).map_err(SnapshotError::Engine)?;
        }
        // A damaged snapshot is nothing to build on: then it is built anew.
        if let Err(error) = self.verify_slot(&mut snapshotter.slots[at]) {
            damaged.push((snapshotter.slots[at].place.name(), error));
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
        snapshotter.under_way = None;
        slot.rooted(root);
        self.core().saved_changes = changes;
        self.snapshots.cover(written_bytes, self.log_bytes_written.load(Ordering::Relaxed));
        // What can't be removed is only space, and is tried again in the next turn.
        let _ = slot.remove_replaced();
        if snapshotter.slots.iter().all(|slot| slot.root.is_some()) {
            snapshotter.surplus.retain_mut(|slot| slot.clear().is_err());
        }
        self.cut(snapshotter.oldest());
        Ok(Some(report))
    }

    /// The state of this moment.
    fn freeze(&self) -> Result<Frozen, SnapshotError> {
        let core = self.core();
        let began = self.clock.monotonic();
        // IMPORTANT: an engine that failed may hold half a transaction; one that was closed has let go of its stores.
        if let Some(error) = core.ended() {
            return Err(SnapshotError::Engine(error.clone()));
        }
        let (state, changes) = (core.state.clone(), core.changes);
        Ok(Frozen { state, changes, lock_held: self.clock.monotonic().saturating_sub(began) })
    }

    /// Gives up the segments that every store has behind it.
    pub(super) fn cut(&self, below: Seq) {
        let segments = self.writer().as_mut().map(|writer| writer.cut(below)).unwrap_or_default();
        // What rotted once is not written to again.
        let (rotten, sound): (Vec<_>, Vec<_>) =
            segments.iter().partition(|ordinal| self.verifier.is_damaged(**ordinal));
        // An error ends the engine, which says so.
        if !rotten.is_empty() {
            let _ = self.or_fail(self.spares.discard(&rotten));
        }
        self.spares.retire(&sound);
        self.note_given_up(&segments, None);
    }
}
