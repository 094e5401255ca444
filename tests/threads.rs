//! One engine, many threads, the real disk: nothing is lost, nobody hangs, and what was recovered is what was there.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use claimlog::engine::{BlockingRead, Engine, Options, ReadOrWait, SyncMode};
use claimlog::op::*;
use claimlog::snapshot::SnapshotPlace;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Error, Fields};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest runtime there is: the engine needs no particular one.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(20)),
        }
    }
}

fn add(text: String) -> XAdd {
    let fields = Fields::from_pairs([("text", text)]);
    XAdd::new("s", fields)
}

fn create() -> XGroupCreate {
    let start = GroupStart::After(EntryId::MIN);
    XGroupCreate { key: "s".into(), group: "g".into(), start, make_stream: true, entries_read: None }
}

/// Small segments, so that they are changed all the time.
fn open(dir: &tempfile::TempDir) -> Engine {
    Options::new(dir.path()).segment_bytes(128 * 1024).open().unwrap().0
}

#[test]
fn many_threads_and_one_log() {
    const THREADS: usize = 4;
    const ADDS: usize = 150;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    engine.execute_blocking(&create()).unwrap();
    let done = AtomicBool::new(false);
    let mut read = BTreeSet::new();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let engine = engine.clone();
                scope.spawn(move || {
                    for step in 0..ADDS {
                        let add = add(format!("{thread}:{step} {}", "x".repeat(step * 7)));
                        match thread % 3 {
                            0 => drop(engine.execute_blocking(&add).unwrap()),
                            1 => drop(block_on(engine.execute(&add)).unwrap()),
                            _ => {
                                let ticket = engine.transaction(|steps| steps.execute(&add));
                                engine.redeem_blocking(ticket).unwrap().unwrap();
                            }
                        }
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (engine, done) = (engine.clone(), &done);
                scope.spawn(move || {
                    let mut got = Vec::new();
                    loop {
                        let last = done.load(Ordering::Acquire);
                        let group =
                            XReadGroup { count: Some(10), ..XReadGroup::new("g", format!("c{reader}"), "s") };
                        let ticket = match engine.read_or_wait(BlockingRead::Group(group)) {
                            ReadOrWait::Now(ticket) => Ok(ticket),
                            ReadOrWait::Waiting(waiting) => {
                                waiting.wait_blocking(Some(Duration::from_millis(20)))
                            }
                        };
                        let Ok(ticket) = ticket else {
                            if last {
                                return got;
                            }
                            continue;
                        };
                        let streams = engine.redeem_blocking(ticket).unwrap();
                        let ids: Vec<EntryId> = streams[0].entries.iter().map(|entry| entry.id).collect();
                        let ack = XAck { key: "s".into(), group: "g".into(), ids: ids.clone() };
                        assert_eq!(engine.execute_blocking(&ack).unwrap(), ids.len() as u64);
                        got.extend(ids);
                    }
                })
            })
            .collect();
        let switcher = {
            let (engine, done) = (engine.clone(), &done);
            scope.spawn(move || {
                for mode in [SyncMode::EverySecond, SyncMode::No, SyncMode::Always].into_iter().cycle() {
                    if done.load(Ordering::Acquire) {
                        return;
                    }
                    engine
                        .set_settings(claimlog::engine::Settings { sync_mode: mode, ..engine.settings() })
                        .unwrap();
                    assert!(mode != SyncMode::Always || engine.visible() <= engine.durable());
                    thread::sleep(Duration::from_millis(3));
                }
            })
        };
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Release);
        switcher.join().unwrap();
        for reader in readers {
            for id in reader.join().unwrap() {
                assert!(read.insert(id), "{id} was delivered to two readers");
            }
        }
    });
    assert_eq!(read.len(), THREADS * ADDS, "each entry was delivered once");
    engine.check().unwrap();
    let digest = engine.digest();
    engine.close().unwrap();
    let engine = open(&dir);
    assert_eq!(engine.digest(), digest);
}

#[test]
fn an_engine_that_is_dropped_can_be_opened_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10u64 {
        let engine = open(&dir);
        assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), round);
        engine.execute_blocking(&add(round.to_string())).unwrap();
        if round % 2 == 0 {
            engine.close().unwrap();
        }
    }
}

#[test]
fn closing_tells_everyone_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    engine.execute_blocking(&create()).unwrap();
    let read = XRead::new("s", ReadFrom::Last);
    let ReadOrWait::Waiting(waiting) = engine.read_or_wait(BlockingRead::Read(read)) else {
        panic!("there is nothing to read")
    };
    let reader = thread::spawn(move || waiting.wait_blocking(Some(Duration::from_secs(20))));
    let asked = engine.submit(&add("late".into()));
    let waits = engine.wait_visible(claimlog::Seq::new(asked.after.get() + 5));
    let waiter = thread::spawn(move || block_on(waits));
    thread::sleep(Duration::from_millis(50));
    engine.clone().close().unwrap();
    let ticket = reader.join().unwrap().expect("it is told");
    // It may have been served just before.
    assert!(matches!(ticket.result, Err(Error::Closed)) || ticket.result.is_ok(), "{ticket:?}");
    assert!(matches!(waiter.join().unwrap(), Err(Error::Closed)));
    assert!(engine.visible() >= asked.after, "closing commits what was applied");
}

/// Whoever waits for the end is woken, also where nobody closes the engine.
#[test]
fn dropping_tells_everyone_who_waits_for_the_end() {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    let mut ended = pin!(engine.ended());
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert!(ended.as_mut().poll(&mut context).is_pending());
    assert!(!woken.0.load(Ordering::SeqCst));
    drop(engine);
    assert!(woken.0.load(Ordering::SeqCst));
    assert!(matches!(ended.as_mut().poll(&mut context), Poll::Ready(Error::Closed)));
}

/// What happens because time passes is written though nobody asks.
#[test]
fn an_expiry_goes_to_the_disk_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    engine.execute_blocking(&add("short".into())).unwrap();
    let (at, only_if) = (ExpireAt::InMs(100), ExpireIf::default());
    assert!(engine.execute_blocking(&Expire { key: "s".into(), at, only_if }).unwrap());
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let stats = engine.stats();
        if stats.expired_keys == 1 && stats.durable == stats.applied {
            return;
        }
        assert!(std::time::Instant::now() < until, "{stats:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_panic_inside_a_transaction_ends_the_engine_and_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir);
    engine.execute_blocking(&add("before".into())).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        engine.transaction(|steps| {
            steps.execute(&add("half".into())).unwrap();
            panic!("a step panics");
        })
    }));
    assert!(caught.is_err());
    assert!(matches!(engine.execute_blocking(&XLen { key: "s".into() }), Err(Error::Failed(_))));
    assert!(matches!(engine.commit(), Err(Error::Failed(_))));
    drop(engine);
    let engine = open(&dir);
    assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), 1);
}

/// A store that hangs or panics, in whatever call, while it is opened or while it runs: the other one serves, commands
/// go on, and it is built anew.
#[test]
fn a_store_that_hangs_or_panics_is_built_anew() {
    for call in ["open", "roots", "read", "put", "put_root", "flush", "reopen"] {
        for panics in [false, true] {
            let what = format!("{call} {}", if panics { "panics" } else { "hangs" });
            let dir = tempfile::tempdir().unwrap();
            let (a, b) = (MemoryPlace::new("a"), MemoryPlace::new("b"));
            let is_bad = Arc::new(AtomicBool::new(false));
            let bad = Arc::clone(&is_bad);
            // The first store of the place alone.
            a.on_call(move |called, generation| {
                if called == call && generation == 1 && bad.load(Ordering::Relaxed) {
                    assert!(!panics, "{called} went wrong");
                    loop {
                        thread::park();
                    }
                }
                Ok(())
            });
            let options = || {
                Options::new(dir.path())
                    .segment_bytes(64 * 1024)
                    .store_patience(Duration::from_millis(60))
                    .snapshot_place(Arc::new(a.clone()))
                    .snapshot_place(Arc::new(b.clone()))
            };
            let mut engine = options().open().unwrap().0;
            for round in 0..3 {
                engine.execute_blocking(&add(format!("before {round}"))).unwrap();
                engine.snapshot().unwrap();
            }
            is_bad.store(true, Ordering::Relaxed);
            if call == "open" {
                engine.close().unwrap();
                let (next, report) = options().open().unwrap();
                assert_eq!(report.warnings.len(), 1, "{what}: {report}");
                engine = next;
            }
            let until = std::time::Instant::now() + Duration::from_secs(20);
            let mut added = 3;
            while a.roots().is_empty() || a.generations().unwrap() != [2] {
                assert!(std::time::Instant::now() < until, "{what}: {:?}", engine.stats().snapshots);
                engine.execute_blocking(&add(format!("meanwhile {added}"))).unwrap();
                added += 1;
                let _ = engine.snapshot();
            }
            let digest = engine.digest();
            engine.close().unwrap();
            // What was built anew is enough.
            b.lose();
            let (engine, report) = options().open().unwrap();
            assert_eq!(engine.digest(), digest, "{what}: {report}");
            assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), added, "{what}");
        }
    }
}
