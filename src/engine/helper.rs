//! The helper threads: segments ahead, snapshots, verification, time, the durable mark, `everysec`, and commits for
//! those who wait asynchronously.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::timer::keep_time;
use super::verifier::keep_verifying;
use super::{Shared, SyncMode};
use crate::error::Error;
use crate::io::real::give_way;

/// When nothing followed a commit for so long, an empty frame carries the mark forward.
const QUIET: Duration = Duration::from_millis(10);

/// How often mode `everysec` syncs.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the helper is asked for.
#[derive(Debug, Default)]
pub(super) struct Bell {
    asked: Mutex<Asked>,
    rung: Condvar,
    /// Rung when the engine is closed only.
    closing: Condvar,
}

#[derive(Debug, Default)]
struct Asked {
    commit: bool,
    /// Something was committed that no later frame has marked as durable.
    unmarked: bool,
    closed: bool,
    /// Whether the helper sleeps until it is rung, so that a commit must ring.
    asleep: bool,
}

impl Bell {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone waits for a commit.
    pub(super) fn ask_commit(&self) {
        self.asked().commit = true;
        self.rung.notify_one();
    }

    /// Something was committed. Rings only if the helper sleeps without a deadline: saves a system call a commit.
    pub(super) fn committed(&self) {
        let mut asked = self.asked();
        asked.unmarked = true;
        if asked.asleep {
            asked.asleep = false;
            drop(asked);
            self.rung.notify_one();
        }
    }

    /// The helper is no longer needed.
    pub(super) fn close(&self) {
        self.asked().closed = true;
        self.rung.notify_one();
        self.closing.notify_all();
    }

    /// Waits so long, unless the engine is closed: says whether it is not.
    fn pause(&self, time: Duration) -> bool {
        let asked = self.asked();
        let still_open = |asked: &mut Asked| !asked.closed;
        let (asked, _) =
            self.closing.wait_timeout_while(asked, time, still_open).unwrap_or_else(PoisonError::into_inner);
        !asked.closed
    }
}

/// The helper thread, ended and waited for on drop.
#[derive(Debug)]
pub(super) struct Helper {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Helper {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let keepers: [(&str, Keeper); _] = [
            ("claimlog-log", keep_log),
            ("claimlog-sync", keep_syncing),
            ("claimlog-segments", keep_segments),
            ("claimlog-snapshots", keep_snapshots),
            ("claimlog-time", keep_time),
            ("claimlog-verify", keep_verifying),
        ];
        let mut helper = Self { shared: Arc::clone(shared), threads: Vec::with_capacity(keepers.len()) };
        for (name, keep) in keepers {
            let engine = Arc::downgrade(shared);
            helper
                .threads
                .push(Builder::new().name(name.into()).spawn(move || watched(name, &engine, keep))?);
        }
        Ok(helper)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.bell.close();
        self.shared.spares.hurry();
        self.shared.snapshots.close();
        self.shared.timer.close();
        self.shared.verifier.close();
        for thread in self.threads.drain(..) {
            // The last handle may be dropped by a helper thread itself, which can't wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// What a thread does until the engine is closed or gone.
type Keeper = fn(&Weak<Shared>);

/// A panic in one of the threads ends the engine: whoever waits for what the thread would have done is told (I8).
fn watched(name: &str, engine: &Weak<Shared>, keep: Keeper) {
    let panicked = catch_unwind(AssertUnwindSafe(|| keep(engine))).is_err();
    if panicked && let Some(shared) = engine.upgrade() {
        shared.fail(&Error::failed(format!("a panic in the thread {name}, which is a bug")));
    }
}

/// Syncs every second in mode `everysec`, while commits go on. Errors end the engine where they happen.
fn keep_syncing(engine: &Weak<Shared>) {
    while let Some(shared) = engine.upgrade() {
        if !shared.bell.pause(SYNC_EVERY) {
            return;
        }
        if shared.core().settings.sync_mode == SyncMode::EverySecond {
            let _ = shared.sync_aside();
        }
    }
}

/// Commits when asked to, and marks when it is quiet. Errors end the engine where they happen; here there is nobody to
/// tell.
fn keep_log(engine: &Weak<Shared>) {
    while let Some(shared) = engine.upgrade() {
        let (commit, quiet) = {
            let mut asked = shared.bell.asked();
            if asked.closed {
                return;
            }
            if asked.commit {
                asked.commit = false;
                (true, false)
            } else {
                let waiting = asked.unmarked;
                asked.unmarked = false;
                asked.asleep = !waiting;
                // Long enough to cost nothing, short enough to notice that the engine is gone.
                let wait = if waiting { QUIET } else { Duration::from_secs(5) };
                let (mut woken, timeout) =
                    shared.bell.rung.wait_timeout(asked, wait).unwrap_or_else(PoisonError::into_inner);
                woken.asleep = false;
                if woken.closed {
                    return;
                }
                let quiet = waiting && timeout.timed_out() && !woken.unmarked;
                // Woken early: what waits for its mark still does.
                woken.unmarked |= waiting && !quiet;
                (std::mem::take(&mut woken.commit), quiet)
            }
        };
        if commit {
            let _ = shared.commit(false);
        }
        if quiet {
            let _ = shared.mark();
        }
    }
}

/// Makes segments ahead of the writer. One that can't be made is tried again after a pause.
fn keep_segments(engine: &Weak<Shared>) {
    const EVERY: Duration = Duration::from_millis(20);
    const RETRY_EVERY: Duration = Duration::from_millis(250);
    let mut retried: Option<Instant> = None;
    while let Some(shared) = engine.upgrade() {
        if shared.bell.asked().closed {
            return;
        }
        shared.make_room();
        if retried.is_none_or(|at| at.elapsed() >= RETRY_EVERY) {
            if shared.retry_room().is_err() {
                return;
            }
            retried = Some(Instant::now());
        }
        drop(shared);
        std::thread::sleep(EVERY);
    }
}

/// Takes snapshots when they are due.
fn keep_snapshots(engine: &Weak<Shared>) {
    give_way();
    /// How often it looks on its own, for what nobody rings for.
    const EVERY: Duration = Duration::from_secs(1);
    while let Some(shared) = engine.upgrade() {
        if shared.snapshots.is_closing() {
            return;
        }
        shared.snapshot_if_due();
        shared.snapshots.wait(shared.clock.monotonic(), EVERY);
    }
}
