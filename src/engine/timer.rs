//! What happens because time passes: keys expire, and what is pending comes of age for readers who would claim it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::Shared;

/// When the thread that keeps time is to look again.
#[derive(Debug, Default)]
pub(super) struct Timer {
    due: Mutex<Due>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Due {
    /// Unix ms.
    at_ms: Option<u64>,
    closed: bool,
}

impl Timer {
    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be done at that time (Unix ms), if at any. Wakes the thread only if that is sooner than it knew.
    pub(super) fn set(&self, at_ms: Option<u64>) {
        let Some(at_ms) = at_ms else { return };
        let mut due = self.due();
        if due.at_ms.is_none_or(|known| at_ms < known) {
            due.at_ms = Some(at_ms);
            drop(due);
            self.rung.notify_one();
        }
    }

    /// Time no longer matters.
    pub(super) fn close(&self) {
        self.due().closed = true;
        self.rung.notify_one();
    }

    fn is_due(&self, now_ms: u64) -> bool {
        self.due().at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Waits until something is due, by the clock that is given, but at least for `rest`; `false` when time no longer
    /// matters. May return early.
    fn wait(&self, now_ms: u64, rest: Duration) -> bool {
        /// The wall clock may jump: it is looked at again and again. Also how long it takes to notice that the engine is
        /// gone.
        const LOOK_EVERY: Duration = Duration::from_secs(1);
        let due = self.due();
        if due.closed {
            return false;
        }
        let left = due.at_ms.map_or(LOOK_EVERY, |at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
        let left = left.clamp(rest, LOOK_EVERY);
        let (due, _) = self.rung.wait_timeout(due, left).unwrap_or_else(PoisonError::into_inner);
        !due.closed
    }
}

/// How long what could not be done is left alone.
const REST: Duration = Duration::from_millis(100);

/// The thread that keeps time.
pub(super) fn keep_time(engine: &Weak<Shared>) {
    while let Some(shared) = engine.upgrade() {
        let now_ms = shared.clock.wall_ms();
        let mut rest = Duration::ZERO;
        if shared.timer.is_due(now_ms) {
            shared.on_time();
            // What could not be done, because the log is full, is tried again after a while.
            if shared.timer.is_due(now_ms) {
                rest = REST;
            }
        }
        if !shared.timer.wait(shared.clock.wall_ms(), rest) {
            return;
        }
    }
}

impl Shared {
    /// Does what is due: removes what has expired, and serves readers for whom what is pending has come of age.
    pub(super) fn on_time(&self) {
        // Whoever asks for something is served first, and removes what has expired: that may be all there is to do.
        let mut core = if self.core().settings.active_expiry { self.core_in_turn().0 } else { self.core() };
        if core.ended().is_some() {
            return;
        }
        let applied_before = core.applied();
        let now_ms = self.clock.wall_ms();
        core.note_due(now_ms);
        core.finish(now_ms);
        self.timer.due().at_ms = None;
        let changed = core.applied() != applied_before;
        self.leave(core);
        if changed {
            self.bell.ask_commit();
        }
    }
}
