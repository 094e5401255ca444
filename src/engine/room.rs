//! Room in the log: who makes it, who waits for it, and what is said when there is none (I9).
//!
//! Room is asked for under the core's lock and made outside it. A segment that can't be made is not a failure: what adds
//! is refused, and the helper tries again.

use std::sync::{Arc, MutexGuard};

use super::Shared;
use super::core::{Core, Halt};
use super::transaction::TransactionSize;
use crate::error::Error;

/// What is known about the space that the log has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRoom {
    /// Why commands that add are refused, if they are.
    pub full: Option<String>,
    /// Why the last segment that was wanted could not be made, though what is ready may last for a while.
    pub no_segment: Option<String>,
    /// Whether the last segment was shorter than it should be, or could not be made at all.
    pub short: bool,
    /// How many bytes the disk has left; `None` if it can't be told.
    pub free_bytes: Option<u64>,
    /// Old segments that could not be removed so far.
    pub unremoved: usize,
}

impl Shared {
    /// The core and the time, when nobody who came earlier is owed anything: readers whose turn it is, but for whom
    /// there was no segment yet, come first. What has expired by that time is gone.
    pub(super) fn core_in_turn(&self) -> (MutexGuard<'_, Core>, u64) {
        self.core_in_turn_at(|| self.clock.wall_ms())
    }

    /// As [`Shared::core_in_turn`], by a clock that is looked at when the core is there.
    pub(super) fn core_in_turn_at(&self, now_ms: impl Fn() -> u64) -> (MutexGuard<'_, Core>, u64) {
        loop {
            let mut core = self.core();
            if core.owes_readers() {
                drop(core);
                self.serve_owed();
                continue;
            }
            core.begin_turn();
            let now_ms = now_ms();
            if core.ended().is_none()
                && core.has_expired(now_ms)
                && let Err(Halt::NotYet) = core.remove_expired(now_ms)
            {
                drop(core);
                self.make_room();
                continue;
            }
            if !core.owes_readers() {
                return (core, now_ms);
            }
        }
    }

    /// The core and the time, with room ready for a transaction.
    ///
    /// # Errors
    /// The core, and why the transaction must not begin.
    pub(super) fn core_with_room(
        &self,
        size: TransactionSize,
    ) -> Result<(MutexGuard<'_, Core>, u64), (MutexGuard<'_, Core>, Error)> {
        loop {
            let (core, now_ms) = self.core_in_turn();
            if let Some(error) = core.ended().cloned() {
                return Err((core, error));
            }
            match core.room_for(size) {
                Ok(()) => return Ok((core, now_ms)),
                Err(Halt::Error(error)) => return Err((core, error)),
                Err(Halt::NotYet) => {
                    drop(core);
                    self.make_room();
                }
            }
        }
    }

    /// Makes the segments that someone waits for, and those that are made ahead. A failure that is final ends the
    /// engine, and whoever asks next is told.
    pub(super) fn make_room(&self) {
        self.keep_room();
        let _ = self.or_fail(self.spares.make());
    }

    /// As [`Shared::make_room`], but what failed before is tried again, and the ballast is made if there is plenty.
    pub(super) fn retry_room(&self) -> Result<(), Error> {
        self.keep_room();
        self.or_fail(self.spares.retry())?;
        if self.spares.are_ready() {
            self.ballast.make(!self.spares.space_is_short());
        }
        Ok(())
    }

    /// Serves readers whose turn it was when a segment was missing: makes it, and goes on until nobody is owed anything.
    pub(super) fn serve_owed(&self) {
        loop {
            self.make_room();
            let mut core = self.core();
            core.serve_ready(self.clock.wall_ms());
            let (then, done, due_ms) = (core.after(), !core.owes_readers(), core.next_due_ms());
            drop(core);
            then.run();
            if done {
                self.timer.set(due_ms);
                return;
            }
        }
    }

    /// Whether the disk has little space: a segment could not be made, or not as long as it should be.
    pub(crate) fn space_is_short(&self) -> bool {
        self.spares.space_is_short()
    }

    /// To be called when space was freed: whoever needs room tries at once.
    pub(crate) fn space_was_freed(&self) {
        self.spares.space_was_freed();
    }

    /// Throws the ballast overboard; says whether there is more space now.
    fn give_up_ballast(&self) -> bool {
        let freed = self.ballast.give_up();
        if freed {
            self.space_was_freed();
        }
        freed
    }

    /// Whether there is room, once what is kept for such times was given up as far as that takes: old segments, then the
    /// ballast.
    pub(super) fn free_until(&self, there_is_room: impl Fn() -> bool) -> bool {
        there_is_room()
            || (self.spares.give_up_old() && there_is_room())
            || (self.give_up_ballast() && there_is_room())
    }

    pub(super) fn log_room(&self) -> LogRoom {
        let text = |why: Arc<str>| why.as_ref().to_owned();
        let full = self.core().full_because().map(text);
        LogRoom {
            full,
            no_segment: self.spares.no_room().map(text),
            short: self.space_is_short(),
            free_bytes: self.spares.free_bytes(),
            unremoved: self.spares.stuck(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fields;
    use crate::engine::{BlockingRead, Engine, Options, ReadOrWait};
    use crate::io::sim::{SimClock, SimDisk};
    use crate::op::{GroupStart, XAdd, XGroupCreate, XReadGroup};
    use std::time::Duration;

    fn read(consumer: &'static str) -> XReadGroup {
        XReadGroup::new("g", consumer, "s")
    }

    /// Adds an entry and leaves the lock before those are served for whom a segment is missing; says whether there are
    /// any.
    fn add(engine: &Engine, bytes: usize) -> bool {
        let fields = Fields::from_pairs([("f", "v".repeat(bytes))]);
        let add = XAdd::new("s", fields);
        loop {
            let mut core = engine.shared.core();
            match core.step(&add, 5) {
                Ok(_) => {}
                Err(Halt::NotYet) => {
                    drop(core);
                    engine.shared.make_room();
                    continue;
                }
                Err(Halt::Error(error)) => panic!("{error}"),
            }
            core.finish(5);
            let (then, owes) = (core.after(), core.owes_readers());
            drop(core);
            then.run();
            return owes;
        }
    }

    /// A reader waits for its delivery's segment, and before that is there somebody else asks for the same entry.
    #[test]
    fn nobody_overtakes_a_reader_whose_segment_is_missing() {
        let disk = SimDisk::new(1);
        let options = Options::simulated(disk.dir(), Arc::new(SimClock::new(5))).segment_bytes(8 * 1024);
        let (engine, _) = options.open().unwrap();
        let (key, group) = ("s".into(), "g".into());
        let create =
            XGroupCreate { key, group, start: GroupStart::Last, make_stream: true, entries_read: None };
        engine.submit(&create).result.unwrap();
        let mut missing = 0;
        for round in 0..2000 {
            let ReadOrWait::Waiting(first) = engine.read_or_wait(BlockingRead::Group(read("first"))) else {
                panic!("there is nothing yet")
            };
            if add(&engine, round * 37 % 150) {
                missing += 1;
                assert_eq!(engine.stats().waiters, 1);
                match missing % 3 {
                    0 => assert!(engine.submit(&read("other")).result.unwrap().is_empty()),
                    1 => {
                        let size = TransactionSize { bytes: 10, adds: true };
                        let steps = engine.transaction_of(size, |steps| steps.execute(&read("other")));
                        assert!(steps.result.unwrap().unwrap().is_empty());
                    }
                    _ => {
                        let other = engine.read_or_wait(BlockingRead::Group(read("other")));
                        assert!(matches!(other, ReadOrWait::Waiting(_)), "{other:?}");
                    }
                }
            }
            let served = first.wait_blocking(Some(Duration::ZERO)).expect("it was served");
            assert_eq!(served.result.unwrap()[0].entries.len(), 1, "round {round}");
        }
        assert!(missing >= 3, "{missing}");
    }
}
