//! Threads that wait for the disk: one of them commits for all, the others sleep until it has.
//!
//! Who comes while nobody commits leads: it commits everything that was applied so far. Who comes meanwhile waits, apart
//! by whether that commit has taken its change or the next one will, so that a commit wakes those that it was for, and
//! one more, who leads the next. Nobody waits unless somebody leads or has been woken to. When there will be no more
//! commits, because the log failed or was closed, all are woken and told.
//!
//! Waking a thread costs more than all the rest of an append, and threads that were woken come back one after the other.
//! Who leads lets them run first ([`Lead::gather`]): else the commit that the first of them begins would miss the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use crate::error::Error;
use crate::id::Seq;

/// A group is complete when no thread has come for so long,
const QUIET: Duration = Duration::from_micros(3);
/// or when there are so many: from then on it is better that some have theirs synced while others come,
const GROUP_MAX: u64 = 64;
/// or when gathering has taken half as long as the last commit, and never more than this.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// Whoever gives way that long beyond that gave way to a stranger. So many commits then do without.
const STRANGERS: Duration = Duration::from_micros(500);
const UNGATHERED: u32 = 100;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    line: Mutex<Line>,
    /// For each of the two groups.
    woken: [Condvar; 2],
    /// How many threads have come since the start.
    came: AtomicU64,
}

#[derive(Debug, Default)]
struct Line {
    /// Whether somebody commits for those who wait.
    led: bool,
    /// The last change that a commit has taken.
    taken: Seq,
    /// The group that waits for the next commit; the other one waits for the one that is under way.
    next: usize,
    /// The first change that somebody in a group waits for. May be of somebody who has left.
    first: [Option<Seq>; 2],
    /// There will be no more commits.
    ended: bool,
    habit: Habit,
}

/// What the last commit was like. The next one will be like it.
#[derive(Clone, Copy, Debug, Default)]
struct Habit {
    /// How many threads had come by then.
    came: u64,
    /// Whether more than one came for it.
    shared: bool,
    /// How long it took.
    took: Duration,
    /// So many commits are still to be made without gathering.
    ungathered: u32,
}

impl GroupCommit {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit has taken the changes up to this one.
    pub(super) fn taken(&self, last: Seq) {
        let mut line = self.line();
        if last > line.taken {
            line.taken = last;
            line.next = 1 - line.next;
        }
    }

    /// Wakes those whose changes are visible, and if nobody leads those who are left, somebody who does.
    pub(super) fn wake(&self, visible: Seq) {
        self.wake_from(self.line(), visible);
    }

    /// There will be no more commits: nobody is to wait for one.
    pub(super) fn end(&self) {
        self.line().ended = true;
        self.woken.iter().for_each(Condvar::notify_all);
    }

    fn wake_from(&self, mut line: MutexGuard<'_, Line>, visible: Seq) {
        let done = line.first.map(|first| first.is_some_and(|first| first <= visible));
        for (first, _) in line.first.iter_mut().zip(done).filter(|(_, done)| *done) {
            *first = None;
        }
        let leads = if line.led { None } else { line.first.iter().position(Option::is_some) };
        drop(line);
        // First, since the disk has nothing to do until then.
        if let Some(group) = leads {
            self.woken[group].notify_one();
        }
        for (woken, _) in self.woken.iter().zip(done).filter(|(_, done)| *done) {
            woken.notify_all();
        }
    }
}

impl Shared {
    /// Waits until replies up to `seq` may leave, and commits if nobody else does.
    pub(super) fn wait_committed(&self, seq: Seq) -> Result<(), Error> {
        if self.progress.visible() >= seq {
            return Ok(());
        }
        let group_commit = &self.group_commit;
        group_commit.came.fetch_add(1, Ordering::Relaxed);
        let mut line = group_commit.line();
        loop {
            // IMPORTANT: looked at under the lock, else somebody who wakes all in between would miss this one.
            let visible = self.progress.visible();
            if visible >= seq {
                // Whoever was woken to lead may have nothing to wait for any more.
                group_commit.wake_from(line, visible);
                return Ok(());
            }
            if line.ended {
                drop(line);
                return Err(self.core().ended().cloned().unwrap_or(Error::Closed));
            }
            if !line.led {
                line.led = true;
                let lead = Lead { shared: self, habit: line.habit };
                drop(line);
                match lead.commit() {
                    // Whoever closed the engine has committed everything before.
                    Err(Error::Closed) if self.progress.visible() >= seq => return Ok(()),
                    committed => committed?,
                }
                line = group_commit.line();
                continue;
            }
            let group = if seq > line.taken { line.next } else { 1 - line.next };
            let first = &mut line.first[group];
            *first = Some(first.map_or(seq, |first| first.min(seq)));
            line = group_commit.woken[group].wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Whoever has it leads. Dropped also when a commit fails, or a panic ends it.
struct Lead<'a> {
    shared: &'a Shared,
    habit: Habit,
}

impl Lead<'_> {
    fn commit(mut self) -> Result<(), Error> {
        let shared = self.shared;
        self.gather();
        let began = Instant::now();
        let before = shared.log_bytes_written.load(Ordering::Relaxed);
        let committed = shared.commit_with(shared.writer().as_mut(), false);
        self.habit.took = began.elapsed();
        if let Ok(committed) = &committed {
            committed.show(&shared.progress);
        }
        // IMPORTANT: before tasks are woken, which may run in here and wait in their turn.
        drop(self);
        shared.publish_to_tasks(committed)?;
        shared.brake(before);
        Ok(())
    }

    /// Gives way as long as more threads come, if the last commit was for more than one.
    fn gather(&mut self) {
        let came = || self.shared.group_commit.came.load(Ordering::Relaxed);
        let before = self.habit.came;
        let mut known = came();
        if self.habit.ungathered > 0 {
            self.habit.ungathered -= 1;
        } else if self.habit.shared && self.shared.may_sleep {
            let most = GATHER_MAX.min(self.habit.took / 2);
            let (began, mut news) = (Instant::now(), Duration::ZERO);
            let mut passed = Duration::ZERO;
            while known - before < GROUP_MAX && passed < most && passed < news + QUIET {
                std::thread::yield_now();
                passed = began.elapsed();
                let now = came();
                if now > known {
                    (known, news) = (now, passed);
                }
            }
            if passed > most + STRANGERS {
                self.habit.ungathered = UNGATHERED;
            }
        }
        self.habit.shared = known - before > 1;
        self.habit.came = known;
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let group_commit = &self.shared.group_commit;
        let mut line = group_commit.line();
        line.led = false;
        line.habit = self.habit;
        group_commit.wake_from(line, self.shared.progress.visible());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;
    use crate::engine::{Engine, Options};
    use crate::io::sim::{SimClock, SimDisk};
    use crate::op::XAdd;

    const THREADS: u64 = 16;

    fn open(disk: &SimDisk) -> Engine {
        Options::simulated(disk.dir(), Arc::new(SimClock::new(1))).open().unwrap().0
    }

    /// Threads that append, held up until all of them have; what became of them.
    fn append_at_once(engine: &Engine) -> Vec<Result<(), Error>> {
        let add = XAdd::new("s", crate::Fields::from_pairs([("f", "v")]));
        let before = engine.stats().applied;
        let writer = engine.shared.writer();
        thread::scope(|scope| {
            let append = || engine.execute_blocking(&add).map(drop);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(append)).collect();
            while engine.stats().applied < before + THREADS {
                thread::yield_now();
            }
            drop(writer);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn threads_share_a_commit() {
        let engine = open(&SimDisk::new(1));
        for round in 1..=50 {
            assert!(append_at_once(&engine).iter().all(Result::is_ok));
            let stats = engine.stats();
            assert_eq!((stats.commits, stats.durable), (round, round * THREADS));
        }
    }

    #[test]
    fn all_are_told_of_a_failure() {
        let disk = SimDisk::new(1);
        let engine = open(&disk);
        disk.fail_sync(1, false);
        assert!(append_at_once(&engine).iter().all(|appended| matches!(appended, Err(Error::Failed(_)))));
    }

    /// Some wait for the commit that fails, others for the next one, which there will not be.
    #[test]
    fn both_groups_are_told_of_a_failure() {
        let disk = SimDisk::new(1);
        let engine = Arc::new(open(&disk));
        disk.fail_sync(1, false);
        let (told, answers) = mpsc::channel();
        let writer = engine.shared.writer();
        for group in 1..=2 {
            for _ in 0..THREADS {
                let (engine, told) = (Arc::clone(&engine), told.clone());
                thread::spawn(move || {
                    let add = XAdd::new("s", crate::Fields::from_pairs([("f", "v")]));
                    let _ = told.send(engine.execute_blocking(&add).map(drop));
                });
            }
            while engine.shared.group_commit.came.load(Ordering::Relaxed) < group * THREADS {
                thread::yield_now();
            }
            if group == 1 {
                // As if a commit that is under way had taken what is there.
                engine.shared.group_commit.taken(engine.applied());
            }
        }
        drop(writer);
        for _ in 0..2 * THREADS {
            // Nothing is measured here: who is not told waits for ever.
            let answer = answers.recv_timeout(Duration::from_secs(60)).expect("all are told");
            assert!(matches!(answer, Err(Error::Failed(_))), "{answer:?}");
        }
    }

    /// What was written by closing was written.
    #[test]
    fn who_waits_while_the_engine_is_closed_is_told_what_became_of_it() {
        for _ in 0..300 {
            let disk = SimDisk::new(1);
            let engine = open(&disk);
            let added = thread::scope(|scope| {
                let append = || {
                    let add = XAdd::new("s", crate::Fields::from_pairs([("f", "v")]));
                    (0..1000).take_while(|_| engine.execute_blocking(&add).is_ok()).count()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(append)).collect();
                while engine.stats().applied < 20 {
                    thread::yield_now();
                }
                engine.clone().close().unwrap();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            });
            drop(engine);
            let length = open(&disk).submit(&crate::op::XLen { key: "s".into() }).result.unwrap();
            assert_eq!(length, added as u64);
        }
    }

    #[test]
    fn who_waits_is_served_by_whoever_commits() {
        let engine = open(&SimDisk::new(1));
        for _ in 0..200 {
            thread::scope(|scope| {
                let append = || {
                    let add = XAdd::new("s", crate::Fields::from_pairs([("f", "v")]));
                    (0..10).for_each(|_| assert!(engine.execute_blocking(&add).is_ok()));
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(append)).collect();
                while threads.iter().any(|thread| !thread.is_finished()) {
                    engine.commit().unwrap();
                }
            });
        }
    }
}
