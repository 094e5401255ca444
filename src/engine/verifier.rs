//! Background verification: what lies on the disk is read through at a bounded rate, round after round, so that damage
//! is noticed while everything it would take away is still in memory.
//!
//! A round reads the file `STORE`, every segment of the log that counts, and the snapshot stores in use. It goes in small
//! steps. Neither the core nor the log's writer is held while anything is read, and the snapshotter for one step at most,
//! so that snapshots come in between. What is found is told, counted, and healed: a damaged store is built anew, and
//! snapshots are taken so that a damaged segment is needed no more.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Duration;

use super::Shared;
use super::events::Event;
use super::snapshotter::Snapshotter;
use super::turn::can_open;
use crate::id::Seq;
use crate::io::real::give_way;
use crate::snapshot::StoreError;
use crate::wal::{self, Check, Flaw, Ordinal};

/// So much is read in one step. It is also what a round takes of memory, a large part of a snapshot aside.
const STEP_BYTES: u64 = 256 * 1024;
/// What was not read because nobody came to it is made up for later, but no more than that.
const LAG_MAX: Duration = Duration::from_millis(500);
/// How long the thread sleeps at most: the settings may have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it waits for whoever takes a snapshot.
const BUSY: Duration = Duration::from_millis(50);
/// Findings that are not healed are kept, but no more than that.
const KEPT_MAX: usize = 64;

/// Damage that was found on the disk while the engine ran.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file, or the snapshot store.
    pub file: String,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The batch that should be there.
    pub seq: Option<Seq>,
    /// What is wrong.
    pub why: String,
    /// When it was found: milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.offset.map_or(Ok(()), |offset| write!(f, ", offset {offset}"))?;
        self.seq.map_or(Ok(()), |seq| write!(f, ", batch {seq}"))?;
        write!(f, ": {}", self.why)
    }
}

/// What is known about the verification of what is on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyStats {
    /// How many rounds were finished since the start.
    pub rounds: u64,
    /// Whether one is under way.
    pub running: bool,
    /// When the last one was finished: milliseconds since the Unix epoch.
    pub last_round_at_ms: Option<u64>,
    /// How long it took.
    pub last_round_took: Duration,
    /// How many bytes were read since the start.
    pub bytes: u64,
    /// How much damage was found since the start,
    pub findings: u64,
    /// and what of it is not healed yet.
    pub unhealed: Vec<Finding>,
    /// The last of it.
    pub last_finding: Option<Finding>,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    /// The file `STORE`.
    StoreFile,
    Segment(Ordinal),
    /// The snapshot store of the place with that name.
    Place(String),
}

/// Where a round has come.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    StoreFile,
    Log {
        /// All segments up to this one were read.
        done: Ordinal,
        /// The round ends with this one: others come later.
        last: Ordinal,
        check: Option<Box<Check>>,
    },
    Stores {
        at: usize,
        begun: bool,
    },
}

/// A round and its pace.
#[derive(Debug, Default)]
struct Work {
    stage: Stage,
    /// By the monotonic clock.
    round_began: Duration,
    /// Nothing is to be read before.
    not_before: Duration,
}

#[derive(Debug, Default)]
struct Told {
    stats: VerifyStats,
    /// What [`VerifyStats::unhealed`] is about.
    about: Vec<About>,
}

/// The verification of one engine.
#[derive(Debug)]
pub(super) struct Verifier {
    log: wal::Verifier,
    work: Mutex<Work>,
    told: Mutex<Told>,
    /// A segment of the log is damaged that still counts.
    log_damaged: AtomicBool,
    closing: AtomicBool,
    rung: Condvar,
}

/// What became of a step.
enum Stepped {
    Read {
        bytes: u64,
    },
    /// The round is over.
    Ended,
    /// Somebody takes a snapshot.
    Busy,
}

impl Verifier {
    pub(super) fn new(log: wal::Verifier, now: Duration) -> Self {
        Self {
            log,
            work: Mutex::new(Work { round_began: now, ..Work::default() }),
            told: Mutex::default(),
            log_damaged: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            rung: Condvar::new(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> VerifyStats {
        self.told().stats.clone()
    }

    /// Nothing more is to be read.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        // So that whoever is about to wait sees it.
        drop(self.told());
        self.rung.notify_all();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn wait(&self, at_most: Duration) {
        let told = self.told();
        if !self.is_closing() {
            drop(self.rung.wait_timeout(told, at_most).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Whether a segment of the log is damaged that still counts.
    pub(super) fn log_damaged(&self) -> bool {
        self.log_damaged.load(Ordering::Relaxed)
    }

    /// Counts a finding and keeps it until it is healed; `false` if it is known.
    fn note(&self, about: &About, finding: &Finding) -> bool {
        let mut told = self.told();
        if told.about.contains(about) {
            return false;
        }
        told.stats.findings += 1;
        told.stats.last_finding = Some(finding.clone());
        if told.about.len() < KEPT_MAX {
            told.about.push(about.clone());
            told.stats.unhealed.push(finding.clone());
        }
        if matches!(about, About::Segment(_)) {
            self.log_damaged.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Forgets the findings that are healed, and answers them.
    fn healed(&self, is_healed: impl Fn(&About) -> bool) -> Vec<Finding> {
        let mut told = self.told();
        let mut healed = Vec::new();
        while let Some(at) = told.about.iter().position(&is_healed) {
            told.about.remove(at);
            healed.push(told.stats.unhealed.remove(at));
        }
        let left = told.about.iter().any(|about| matches!(about, About::Segment(_)));
        self.log_damaged.store(left, Ordering::Relaxed);
        healed
    }

    /// Whether that segment was found to be damaged.
    pub(super) fn is_damaged(&self, ordinal: Ordinal) -> bool {
        self.told().about.contains(&About::Segment(ordinal))
    }
}

/// The thread that reads through what is on the disk.
pub(super) fn keep_verifying(engine: &Weak<Shared>) {
    give_way();
    while let Some(shared) = engine.upgrade() {
        if shared.verifier.is_closing() {
            return;
        }
        let wait = shared.verify_if_due();
        shared.verifier.wait(wait);
    }
}

impl Shared {
    /// Reads as much as is due by now. Answers how long to wait before the next time.
    pub(super) fn verify_if_due(&self) -> Duration {
        // Somebody who wants a whole round has it.
        let Ok(mut work) = self.verifier.work.try_lock() else { return BUSY };
        loop {
            let settings = self.core().settings;
            let rate = settings.verify_bytes_per_second;
            let now = self.clock.monotonic();
            let interval = Duration::from_secs(settings.verify_interval_secs);
            if rate == 0 || self.verifier.is_closing() {
                return LOOK_EVERY;
            }
            if matches!(work.stage, Stage::Idle) {
                let next = work.round_began + interval;
                if now < next {
                    return (next - now).min(LOOK_EVERY);
                }
                self.begin_round(&mut work, now);
            }
            if now < work.not_before {
                return (work.not_before - now).min(LOOK_EVERY);
            }
            let (bytes, ended) = match self.step(&mut work, STEP_BYTES.min(rate)) {
                Stepped::Read { bytes } => (bytes, false),
                // However little there is, rounds do not chase each other.
                Stepped::Ended => (STEP_BYTES.min(rate), true),
                Stepped::Busy => return BUSY,
            };
            let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
            work.not_before = work.not_before.max(now.saturating_sub(LAG_MAX)) + cost;
            if ended {
                return BUSY;
            }
        }
    }

    /// Reads a whole round, as fast as it can.
    pub(super) fn verify(&self) -> VerifyStats {
        let mut work = self.verifier.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin_round(&mut work, self.clock.monotonic());
        while !self.verifier.is_closing() {
            match self.step(&mut work, STEP_BYTES) {
                Stepped::Read { .. } => {}
                Stepped::Ended => break,
                Stepped::Busy => std::thread::sleep(BUSY),
            }
        }
        drop(work);
        self.verifier.stats()
    }

    fn begin_round(&self, work: &mut Work, now: Duration) {
        *work = Work { stage: Stage::StoreFile, round_began: now, not_before: work.not_before };
        self.verifier.told().stats.running = true;
    }

    /// Reads on a little.
    fn step(&self, work: &mut Work, bytes_max: u64) -> Stepped {
        let stepped = match &mut work.stage {
            Stage::Idle => return Stepped::Ended,
            Stage::StoreFile => {
                let bytes = self.verify_store_file();
                let last = self.writer().as_ref().map_or(Ordinal::new(0), wal::Writer::ordinal);
                work.stage = Stage::Log { done: Ordinal::new(0), last, check: None };
                Stepped::Read { bytes }
            }
            Stage::Log { done, last, check } => match self.verify_log(done, *last, check, bytes_max) {
                Some(bytes) => Stepped::Read { bytes },
                None => {
                    work.stage = Stage::Stores { at: 0, begun: false };
                    Stepped::Read { bytes: 0 }
                }
            },
            Stage::Stores { at, begun } => {
                let stepped = self.verify_stores_on(at, begun, bytes_max);
                if matches!(stepped, Stepped::Ended) {
                    work.stage = Stage::Idle;
                    self.note_round(work.round_began);
                }
                stepped
            }
        };
        if let Stepped::Read { bytes } = stepped {
            self.verifier.told().stats.bytes += bytes;
        }
        stepped
    }

    fn note_round(&self, began: Duration) {
        let took = self.clock.monotonic().saturating_sub(began);
        let at_ms = self.clock.wall_ms();
        let stats = &mut self.verifier.told().stats;
        stats.rounds += 1;
        stats.running = false;
        stats.last_round_at_ms = Some(at_ms);
        stats.last_round_took = took;
    }

    /// Looks at the file `STORE`. What it says is known: it is written again at once if it is damaged.
    fn verify_store_file(&self) -> u64 {
        let flaw = match self.verifier.log.check_store() {
            Ok(bytes) => {
                self.tell_healed(|about| *about == About::StoreFile, "it was written again");
                return bytes;
            }
            Err(flaw) => flaw,
        };
        // Nothing is written into a directory that was let go of.
        let writer = self.writer();
        if writer.is_none() {
            return 0;
        }
        let rewritten = self.verifier.log.rewrite_store();
        drop(writer);
        self.found(&About::StoreFile, self.finding(flaw));
        if rewritten.is_ok() {
            self.tell_healed(|about| *about == About::StoreFile, "it was written again");
        }
        0
    }

    /// Reads on in the log; `None` when all of it was read.
    fn verify_log(
        &self,
        done: &mut Ordinal,
        last: Ordinal,
        check: &mut Option<Box<Check>>,
        bytes_max: u64,
    ) -> Option<u64> {
        let mut checked = match check.take() {
            Some(checked) => Ok(checked),
            None => {
                let segments = self.writer().as_ref().map(wal::Writer::segments).unwrap_or_default();
                let next = segments.into_iter().find(|next| next.ordinal > *done && next.ordinal <= last)?;
                *done = next.ordinal;
                self.verifier.log.begin(next).map(Box::new)
            }
        };
        let stepped = checked.as_mut().map_err(|flaw| flaw.clone()).and_then(|checked| {
            let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
            checked.step(most)
        });
        match stepped {
            Ok(step) => {
                if !step.done {
                    *check = checked.ok();
                }
                Some(step.bytes)
            }
            Err(flaw) => {
                self.found_in_log(flaw.segment.unwrap_or(*done), flaw);
                Some(bytes_max)
            }
        }
    }

    fn found_in_log(&self, ordinal: Ordinal, flaw: Flaw) {
        // IMPORTANT: asked afterwards. A segment that was given up while it was read may hold anything.
        if !self.writer().as_ref().is_some_and(|writer| writer.keeps(ordinal)) {
            return;
        }
        self.found(&About::Segment(ordinal), self.finding(flaw));
        if self.has_places() {
            self.snapshots.heal(true);
            self.snapshots.ask();
        }
    }

    /// Whether there is any place for snapshots.
    fn has_places(&self) -> bool {
        !self.snapshots.has_no_places()
    }

    /// Reads on in the stores.
    fn verify_stores_on(&self, at: &mut usize, begun: &mut bool, bytes_max: u64) -> Stepped {
        let mut snapshotter = match self.snapshotter.try_lock() {
            Ok(snapshotter) => snapshotter,
            Err(TryLockError::WouldBlock) => return Stepped::Busy,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if self.verifier.is_closing() {
            return Stepped::Ended;
        }
        let Some(slot) = snapshotter.slots.get_mut(*at) else { return Stepped::Ended };
        if !can_open(slot) {
            // It may rest, and is left to the next round.
            (*at, *begun) = (*at + 1, false);
            return Stepped::Read { bytes: 0 };
        }
        let store = slot.store.as_ref().map(|store| store.name());
        let read = if *begun {
            slot.read_on(bytes_max)
        } else {
            *begun = true;
            slot.begin_reading().map(|read| (read.unwrap_or(0), read.is_none()))
        };
        let read = match read {
            Ok((bytes, true)) => slot.rest().map(|()| (bytes, true)),
            other => other,
        };
        match read {
            Ok((bytes, ended)) => {
                if ended {
                    (*at, *begun) = (*at + 1, false);
                }
                Stepped::Read { bytes }
            }
            Err(mut error) => {
                error.store = store.unwrap_or(error.store);
                slot.give_up(&error.why);
                let place = slot.place.name();
                (*at, *begun) = (*at + 1, false);
                self.snapshots.note_stores(snapshotter.stats());
                drop(snapshotter);
                self.store_damaged(place, error);
                self.snapshots.ask();
                Stepped::Read { bytes: bytes_max }
            }
        }
    }

    /// Tells and counts that the store of a place was found to be damaged.
    pub(super) fn store_damaged(&self, place: String, error: StoreError) {
        let (file, why) = (format!("snapshot store {}", error.store), error.why.clone());
        let finding = Finding { file, offset: None, seq: None, why, at_ms: self.clock.wall_ms() };
        if self.verifier.note(&About::Place(place), &finding) {
            self.tell(&Event::StoreDamaged(error));
        }
    }

    fn finding(&self, flaw: Flaw) -> Finding {
        let Flaw { path, segment: _, offset, seq, why } = flaw;
        Finding { file: path.display().to_string(), offset, seq, why, at_ms: self.clock.wall_ms() }
    }

    fn found(&self, about: &About, finding: Finding) {
        if self.verifier.note(about, &finding) {
            self.tell(&Event::DamageFound(finding));
        }
    }

    fn tell_healed(&self, is_healed: impl Fn(&About) -> bool, how: &'static str) {
        for finding in self.verifier.healed(is_healed) {
            self.tell(&Event::DamageHealed { finding, how });
        }
    }

    /// Segments were given up, and a place has a new snapshot: what was damaged there is not needed any more.
    pub(super) fn note_given_up(&self, segments: &[Ordinal], place: Option<&str>) {
        let given_up = |about: &About| matches!(about, About::Segment(ordinal) if segments.contains(ordinal));
        self.tell_healed(given_up, "snapshots have all of it, and the segment was removed");
        let rebuilt = |about: &About| matches!(about, About::Place(name) if Some(name.as_str()) == place);
        self.tell_healed(rebuilt, "the store was built anew");
        if !self.verifier.log_damaged() {
            self.snapshots.heal(false);
        }
    }

    /// Goes on in another segment if the one that is written to is damaged: only what is behind can be given up.
    pub(super) fn leave_damaged_segment(&self) {
        self.make_room();
        let mut writer = self.writer();
        let is_damaged = |writer: &wal::Writer| self.verifier.is_damaged(writer.ordinal());
        let Some(damaged) = writer.as_mut().filter(|writer| is_damaged(writer)) else { return };
        let rolled = {
            let mut core = self.core();
            let ended = core.ended().is_some();
            core.log.as_mut().is_some_and(|log| !ended && log.roll(damaged.written().durable))
        };
        // If the next segment is not ready, this is tried again.
        if rolled {
            let committed = self.commit_with(Some(damaged), true);
            drop(writer);
            // An error ends the engine, which says so.
            let _ = self.publish(committed);
        }
    }

    /// Gives up what all snapshots have behind them, damaged segments among it.
    pub(super) fn cut_damaged(&self, snapshotter: &Snapshotter) {
        if self.verifier.log_damaged() {
            self.cut(snapshotter.oldest());
        }
    }
}
