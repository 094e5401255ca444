//! When a snapshot is taken, and what is told about it.
//!
//! One is due when the log has grown enough since the last one, when somebody asks, when a place has to be built anew,
//! and at once when the disk is short of room. What failed is tried again after a pause that doubles.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::id::Seq;
use crate::io::Clock;
use crate::snapshot::StoreError;

/// After a failure the next attempt waits so long, then twice as long, and so on,
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// up to this;
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// up to that when so many stores had to be given up: each keeps its memory and its files until the process ends.
const PAUSE_LONG: Duration = Duration::from_secs(3600);
const GIVEN_UP_MANY: u32 = 8;

/// What a snapshot needs beyond its parts and their names.
pub(super) const SLACK_BYTES: u64 = 256 * 1024;

/// How fast may be written when writers begin to be slowed down,
const BRAKED_BYTES_PER_SEC: f64 = 64.0 * 1024.0 * 1024.0;
/// and how long a writer waits at most at a time.
const BRAKE_MAX_SECS: f64 = 0.05;

/// On a disk that is short of room one round of snapshots follows another after this.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// Why a snapshot was not taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The engine has failed or was closed.
    Engine(Error),
    /// The store failed. It will be built anew; the log keeps everything meanwhile.
    Store(StoreError),
    /// The disk has too little room. Nothing was written.
    NoRoom {
        /// The place.
        store: String,
        /// What the snapshot needs, about.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::NoRoom { store, needed_bytes, free_bytes } => write!(
                f,
                "snapshot store {store}: no room for a snapshot: it needs about {needed_bytes} bytes, {free_bytes} \
                 are free"
            ),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<StoreError> for SnapshotError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// The place it is in.
    pub store: String,
    /// The last batch in it.
    pub seq: Seq,
    /// How many parts were written,
    pub parts: u64,
    /// and how many bytes they have.
    pub bytes: u64,
    /// How many parts the snapshot consists of.
    pub parts_in_all: u64,
    /// How long it took.
    pub took: Duration,
    /// How long commands were held up.
    pub lock_held: Duration,
    /// When it was finished: milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl fmt::Display for SnapshotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "snapshot of batch {} in store {}: {} of {} parts written, {} bytes, {:.3} s (commands held up for {:.3} ms)",
            self.seq,
            self.store,
            self.parts,
            self.parts_in_all,
            self.bytes,
            self.took.as_secs_f64(),
            self.lock_held.as_secs_f64() * 1000.0
        )
    }
}

/// What is known about snapshots.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotStats {
    /// How many were taken since the start.
    pub taken: u64,
    /// How many attempts failed since the start.
    pub failed: u64,
    /// Whether one is being taken, and for how long now.
    pub running: Option<Duration>,
    /// When the last one was taken, or found to be up to date: milliseconds since the Unix epoch.
    pub up_to_date_at_ms: Option<u64>,
    /// The last one that was taken.
    pub last: Option<SnapshotReport>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// How many bytes of log no snapshot covers.
    pub unsnapshotted_bytes: u64,
    /// The places, the last batch in each, and why a place has to be built anew.
    pub stores: Vec<StoreStats>,
}

/// What is known about a place for snapshots.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Its name.
    pub name: String,
    /// The last batch in its newest snapshot.
    pub seq: Option<Seq>,
    /// Why it has to be built anew.
    pub trouble: Option<String>,
}

/// When, and what happened.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// So much of the log was written when the last snapshot froze its state; what was replayed counts as well.
    covered: AtomicU64,
    replayed_bytes: u64,
    /// A snapshot is due when so much of the log is not covered.
    due_bytes: AtomicU64,
    /// No more than that may be uncovered: before it writers are slowed down, at it they are refused.
    uncovered_max: u64,
    over: AtomicBool,
    /// What the turn before the last one did not cover when the last one did.
    interval: AtomicU64,
    /// What the last turn wrote,
    last_bytes: AtomicU64,
    /// and what the one that is under way needs.
    pub(super) claimed_bytes: AtomicU64,
    /// A place has to be built anew.
    rebuild: AtomicBool,
    /// A segment of the log is damaged, and snapshots would make it needless.
    heal: AtomicBool,
    /// A place was not verified since the opening.
    pub(super) unverified: AtomicBool,
    /// Somebody sleeps until a snapshot is due.
    asleep: AtomicBool,
    closing: AtomicBool,
    told: Mutex<Told>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    asked: bool,
    running_since: Option<Duration>,
    pause: Duration,
    not_before: Duration,
    /// How many stores were given up since the start.
    given_up: u32,
    /// When the last attempt was over.
    ended: Duration,
    stats: SnapshotStats,
}

impl Snapshots {
    pub(super) fn new(replayed_bytes: u64, due_bytes: u64, uncovered_max: u64) -> Self {
        Self {
            uncovered_max,
            over: AtomicBool::new(replayed_bytes >= uncovered_max),
            covered: AtomicU64::new(0),
            replayed_bytes,
            due_bytes: AtomicU64::new(due_bytes),
            interval: AtomicU64::new(0),
            last_bytes: AtomicU64::new(0),
            claimed_bytes: AtomicU64::new(0),
            rebuild: AtomicBool::new(false),
            heal: AtomicBool::new(false),
            unverified: AtomicBool::new(true),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            told: Mutex::default(),
            rung: Condvar::new(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of the log no snapshot covers, when so much was written since the start.
    pub(super) fn uncovered(&self, written_bytes: u64) -> u64 {
        (written_bytes + self.replayed_bytes).saturating_sub(self.covered.load(Ordering::Relaxed))
    }

    /// A snapshot was made when so much was written.
    pub(super) fn cover(&self, covered: u64, written_bytes: u64) {
        self.interval.store(self.uncovered(covered), Ordering::Relaxed);
        self.covered.store(covered + self.replayed_bytes, Ordering::Relaxed);
        self.over.store(self.uncovered(written_bytes) >= self.uncovered_max, Ordering::Relaxed);
    }

    /// How much of the disk should be left for the next turn: about what the log has got since that place's last one.
    pub(super) fn room_to_keep(&self, written_bytes: u64) -> u64 {
        let changed = self.uncovered(written_bytes) + self.interval.load(Ordering::Relaxed);
        // A small change may touch a large page; but where nothing changed nothing will be written.
        let wanted = changed.max(self.last_bytes.load(Ordering::Relaxed).min(changed.saturating_mul(64)));
        (wanted + wanted / 4 + SLACK_BYTES).max(self.claimed_bytes.load(Ordering::Relaxed))
    }

    /// How long whoever has just written so many bytes should wait before the next: the less there is left until
    /// writers would be refused, the longer. So that snapshots come along.
    pub(super) fn brake(&self, bytes: u64, written_bytes: u64) -> Duration {
        let free_of_charge = self.uncovered_max / 2;
        let over = self.uncovered(written_bytes).saturating_sub(free_of_charge);
        // Where what adds is refused, what is written is what frees.
        if over == 0 || self.over.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let left = 1.0 - (over as f64 / free_of_charge.max(1) as f64).min(1.0);
        let seconds = bytes as f64 / (BRAKED_BYTES_PER_SEC * left).max(1.0);
        Duration::from_secs_f64(seconds.min(BRAKE_MAX_SECS))
    }

    /// Why commands that add are refused, if they are.
    pub(super) fn refusal(&self) -> Option<Arc<str>> {
        if !self.over.load(Ordering::Relaxed) {
            return None;
        }
        let why = self.told().stats.last_error.clone().unwrap_or_else(|| "one is being taken".into());
        let text = format!("more than {} bytes of it are in no snapshot ({why})", self.uncovered_max);
        Some(text.replace(['\r', '\n'], " ").into())
    }

    /// A snapshot is due when so much is not covered; well before anybody has to be slowed down.
    pub(super) fn set_due(&self, bytes: u64) {
        self.due_bytes.store(bytes.min(self.uncovered_max / 4), Ordering::Relaxed);
    }

    /// Whether a snapshot is due when so much was written.
    pub(super) fn is_due(&self, written_bytes: u64) -> bool {
        let uncovered = self.uncovered(written_bytes);
        uncovered >= self.due_bytes.load(Ordering::Relaxed)
            || self.rebuild.load(Ordering::Relaxed)
            || self.heal.load(Ordering::Relaxed)
            || self.over.load(Ordering::Relaxed)
    }

    /// So much was written: wakes whoever takes snapshots if one is due. As a rule that costs a few loads.
    pub(super) fn note_written(&self, written_bytes: u64) {
        if self.uncovered(written_bytes) >= self.uncovered_max {
            self.over.store(true, Ordering::Relaxed);
        }
        if self.asleep.load(Ordering::Relaxed) && self.is_due(written_bytes) {
            self.asleep.store(false, Ordering::Relaxed);
            self.rung.notify_one();
        }
    }

    /// A segment of the log is damaged that snapshots would make needless, or is so no more.
    pub(super) fn heal(&self, wanted: bool) {
        self.heal.store(wanted, Ordering::Relaxed);
    }

    /// Whether there is no place to take a snapshot in.
    pub(super) fn has_no_places(&self) -> bool {
        self.told().stats.stores.is_empty()
    }

    /// Asks for a snapshot as soon as possible. Says whether none was being taken or asked for.
    pub(super) fn ask(&self) -> bool {
        let mut told = self.told();
        let new = !told.asked && told.running_since.is_none();
        told.asked = true;
        self.rung.notify_one();
        new
    }

    /// Nothing more is to be written to a store.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        // So that whoever is about to wait sees it.
        drop(self.told());
        self.rung.notify_all();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Waits until somebody asks or something is due, or so long.
    pub(super) fn wait(&self, now: Duration, at_most: Duration) {
        let told = self.told();
        if !told.asked && !self.is_closing() {
            // Nobody need wake us for what may not begin yet.
            self.asleep.store(now >= told.not_before, Ordering::Relaxed);
            drop(self.rung.wait_timeout(told, at_most).unwrap_or_else(PoisonError::into_inner));
            self.asleep.store(false, Ordering::Relaxed);
        }
    }

    /// Whether an attempt is to be made now, when so much was written. `short`: the disk is short of room, and whatever
    /// lets the log be cut is due, but not more often than that helps.
    pub(super) fn wants(&self, now: Duration, written_bytes: u64, short: bool) -> bool {
        let mut told = self.told();
        let asked = std::mem::take(&mut told.asked);
        let short = short && self.uncovered(written_bytes) > 0 && now >= told.ended + SHORT_PAUSE;
        asked || (now >= told.not_before && (short || self.is_due(written_bytes)))
    }

    pub(super) fn begin(&self, now: Duration) {
        self.told().running_since = Some(now);
    }

    /// `store_lost`: a store was given up when all was done.
    pub(super) fn end(
        &self,
        clock: &dyn Clock,
        outcome: &Result<Option<SnapshotReport>, SnapshotError>,
        store_lost: bool,
    ) {
        let now = clock.monotonic();
        let mut told = self.told();
        told.running_since = None;
        self.claimed_bytes.store(0, Ordering::Relaxed);
        told.ended = now;
        match outcome {
            Ok(report) => {
                told.pause = Duration::ZERO;
                told.stats.last_error = None;
                told.stats.up_to_date_at_ms = Some(clock.wall_ms());
                if let Some(report) = report {
                    told.stats.taken += 1;
                    self.last_bytes.store(report.bytes, Ordering::Relaxed);
                    told.stats.last = Some(report.clone());
                }
            }
            Err(error) => {
                told.stats.failed += 1;
                told.stats.last_error = Some(error.to_string());
                told.pause = (told.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            }
        }
        if store_lost || matches!(outcome, Err(SnapshotError::Store(_))) {
            told.given_up += 1;
            told.pause = if told.given_up > GIVEN_UP_MANY { PAUSE_LONG } else { told.pause.max(PAUSE_MIN) };
        }
        told.not_before = if told.pause.is_zero() { Duration::ZERO } else { now + told.pause };
    }

    /// What was begun is over, and was no snapshot.
    pub(super) fn pause(&self) {
        self.told().running_since = None;
    }

    /// What is known; the places are left out.
    pub(super) fn stats(&self, now: Duration, written_bytes: u64) -> SnapshotStats {
        let told = self.told();
        SnapshotStats {
            running: match told.running_since {
                Some(since) => Some(now.saturating_sub(since)),
                None => told.asked.then_some(Duration::ZERO),
            },
            unsnapshotted_bytes: self.uncovered(written_bytes),
            ..told.stats.clone()
        }
    }

    /// Notes what is known about the places.
    pub(super) fn note_stores(&self, stores: Vec<StoreStats>) {
        self.rebuild.store(stores.iter().any(|store| store.trouble.is_some()), Ordering::Relaxed);
        self.told().stats.stores = stores;
    }
}
