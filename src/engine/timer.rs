//! What happens because time passes: keys expire, and what is pending comes of age for readers who would claim it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::{EndsOnPanic, Shared};

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
        let _ends = EndsOnPanic(self);
        let (applied_before, due_ms) = {
            let core = self.core();
            (core.applied(), core.next_due_ms())
        };
        // Whoever asks for something is served first, and removes what has expired: that may be all there is to do.
        let is_due = due_ms.is_some_and(|due_ms| due_ms <= self.clock.wall_ms());
        let mut core = if is_due { self.core_in_turn().0 } else { self.core() };
        if core.ended().is_some() {
            return;
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::engine::{BlockingRead, Engine, Options, ReadOrWait, Settings, Waiting};
    use crate::io::sim::{SimClock, SimDisk};
    use crate::op::*;
    use crate::{EntryId, Fields};

    const NOW_MS: u64 = 5;

    fn engine() -> Engine {
        let clock = Arc::new(SimClock::new(NOW_MS));
        let options = Options::simulated(SimDisk::new(1).dir(), clock).segment_bytes(8 * 1024);
        let (engine, _) = options.open().unwrap();
        let start = GroupStart::After(EntryId::MIN);
        let (key, group) = ("s".into(), "g".into());
        let create = XGroupCreate { key, group, start, make_stream: true, entries_read: None };
        engine.submit(&create).result.unwrap();
        engine
    }

    fn add(engine: &Engine, bytes: usize) -> EntryId {
        let fields = Fields::from_pairs([("field", "v".repeat(bytes))]);
        engine.submit(&XAdd::new("s", fields)).result.unwrap().unwrap()
    }

    fn wait(engine: &Engine, consumer: &'static str, claim: Option<u64>) -> Waiting {
        let read = XReadGroup { claim, ..XReadGroup::new("g", consumer, "s") };
        match engine.read_or_wait(BlockingRead::Group(read)) {
            ReadOrWait::Waiting(waiting) => waiting,
            ReadOrWait::Now(ticket) => panic!("there is nothing yet: {ticket:?}"),
        }
    }

    /// Whether the thread knows that something is to be done, ever.
    fn knows(engine: &Engine) -> bool {
        engine.shared.timer.due().at_ms.is_some()
    }

    #[test]
    fn nothing_is_due_for_readers_who_do_not_claim() {
        let engine = engine();
        add(&engine, 1);
        engine.submit(&XReadGroup::new("g", "dead", "s")).result.unwrap();
        let _plain = wait(&engine, "plain", None);
        let claiming = wait(&engine, "claiming", Some(100));
        assert_eq!(engine.shared.core().next_due_ms(), Some(NOW_MS + 100));
        drop(claiming);
        assert_eq!(engine.shared.core().next_due_ms(), None);
    }

    /// What is gone is old enough already, and is never handed out.
    #[test]
    fn nothing_is_due_for_what_is_gone() {
        let engine = engine();
        let id = add(&engine, 1);
        engine.submit(&XReadGroup::new("g", "dead", "s")).result.unwrap();
        engine.submit(&XDel { key: "s".into(), ids: vec![id] }).result.unwrap();
        let _waiting = wait(&engine, "claiming", Some(0));
        assert_eq!(engine.shared.core().next_due_ms(), None);
    }

    /// Also when the one before it was served late, because a segment was missing.
    #[test]
    fn the_timer_knows_when_a_reader_claims() {
        let engine = engine();
        for round in 0..1000 {
            let first = wait(&engine, "first", Some(100));
            let second = wait(&engine, "second", Some(100));
            assert!(!knows(&engine), "round {round}");
            let id = add(&engine, round * 37 % 150);
            assert!(first.give_up().is_ok(), "round {round}: it was served");
            assert!(knows(&engine), "round {round}");
            drop(second);
            engine.submit(&XAck { key: "s".into(), group: "g".into(), ids: vec![id] }).result.unwrap();
            engine.shared.timer.due().at_ms = None;
        }
    }

    #[test]
    fn the_timer_knows_what_expires_when_that_is_switched_on() {
        let engine = engine();
        let set = |active_expiry| {
            engine.set_settings(Settings { active_expiry, ..engine.settings() }).unwrap();
        };
        set(false);
        let (at, only_if) = (ExpireAt::InMs(10), ExpireIf::default());
        assert!(engine.submit(&Expire { key: "s".into(), at, only_if }).result.unwrap());
        assert!(!knows(&engine));
        set(true);
        assert!(knows(&engine));
    }
}
