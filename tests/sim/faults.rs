//! A log that fails (I8), and replies that must wait (I1).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use claimlog::engine::{Options, Settings, SyncMode};
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::{DbIndex, Del, NewId, Refusal, XAdd, XLen};
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{Error, Fields, OpenError};

fn add() -> XAdd {
    let fields = Fields::from_pairs([("field", "value")]);
    XAdd::new("s", fields)
}

fn options(disk: &SimDisk) -> Options {
    Options::simulated(disk.dir(), Arc::new(SimClock::new(5)))
        .segment_bytes(16 * 1024)
        .snapshot_place(Arc::new(MemoryPlace::new("a")))
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().unwrap();
    engine.execute_blocking(&add()).unwrap();
    disk.fail_sync(1, false);
    let waiting = engine.submit(&add());
    assert!(matches!(engine.commit(), Err(Error::Failed(_))));
    assert!(matches!(engine.redeem_blocking(waiting), Err(Error::Failed(_))));
    // The disk works again, but the engine does not take it for granted: reads are refused too.
    assert!(matches!(engine.execute_blocking(&XLen { key: "s".into() }), Err(Error::Failed(_))));
    assert!(matches!(engine.sync(), Err(Error::Failed(_))));
    assert!(engine.snapshot().is_err());
    drop(engine);
    let (engine, report) = options(&disk.after_crash(3, claimlog::io::sim::CrashStyle::Lost)).open().unwrap();
    assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), 1, "{report}");
}

#[test]
fn a_failed_write_is_final() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().unwrap();
    engine.execute_blocking(&add()).unwrap();
    disk.fail_write(1);
    assert!(matches!(engine.execute_blocking(&add()), Err(Error::Failed(_))));
    assert!(matches!(engine.execute_blocking(&add()), Err(Error::Failed(_))));
}

#[test]
fn everything_that_looked_at_state_waits_for_it() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().unwrap();
    let added = engine.submit(&add());
    let read = engine.submit(&XLen { key: "s".into() });
    let absent = engine.submit(&XLen { key: "absent".into() });
    let refused = engine.submit(&XAdd { id: NewId::Exact(claimlog::EntryId::new(1, 1)), ..add() });
    assert!(matches!(refused.result, Err(Error::Refused(_))));
    for after in [added.after, read.after, absent.after, refused.after] {
        assert!(after > engine.visible(), "it depends on a change that is not on disk");
    }
    engine.commit().unwrap();
    assert!(added.after <= engine.visible() && refused.after <= engine.visible());
}

#[test]
fn the_other_modes_wait_for_the_write_alone() {
    for mode in [SyncMode::EverySecond, SyncMode::No] {
        let disk = SimDisk::new(1);
        let (engine, _) = options(&disk).sync_mode(mode).open().unwrap();
        engine.execute_blocking(&add()).unwrap();
        assert_eq!(engine.durable().get(), 0);
        engine.sync().unwrap();
        assert_eq!(engine.durable().get(), 1);
        engine.execute_blocking(&add()).unwrap();
        engine.set_settings(Settings { sync_mode: SyncMode::Always, ..engine.settings() }).unwrap();
        assert_eq!(engine.durable().get(), 2, "a change of mode syncs first");
    }
}

#[test]
fn a_batch_that_is_too_large_is_refused_whole() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).max_batch_bytes(10_000).open().unwrap();
    let large = XAdd { fields: Fields::from_pairs([("field", "x".repeat(20_000))]), ..add() };
    let refused = engine.execute_blocking(&large);
    assert!(matches!(refused, Err(Error::Refused(Refusal::EntryTooLarge))), "{refused:?}");
    assert_eq!(engine.stats().keys[0], 0, "nothing of it is there");
    let half = XAdd { fields: Fields::from_pairs([("field", "x".repeat(6_000))]), ..add() };
    let both = engine.transaction(|transaction| [transaction.execute(&half), transaction.execute(&half)]);
    let both = engine.redeem_blocking(both).unwrap();
    assert!(matches!(both, [Ok(_), Err(Error::Refused(Refusal::BatchTooLarge))]), "{both:?}");
    engine.execute_blocking(&Del { db: DbIndex::default(), keys: vec!["s".into()] }).unwrap();
    let steps = engine.transaction(|transaction| {
        [
            transaction.execute(&add()).is_ok(),
            transaction.execute(&large).is_ok(),
            transaction.execute(&add()).is_ok(),
        ]
    });
    assert_eq!(engine.redeem_blocking(steps).unwrap(), [true, false, true]);
    assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), 2);
}

#[test]
fn a_batch_larger_than_a_segment_comes_back() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().unwrap();
    let large = XAdd { fields: Fields::from_pairs([("field", "x".repeat(200_000))]), ..add() };
    engine.execute_blocking(&add()).unwrap();
    engine.execute_blocking(&large).unwrap();
    engine.execute_blocking(&add()).unwrap();
    let digest = engine.digest();
    drop(engine);
    let (engine, _) = options(&disk.after_crash(1, claimlog::io::sim::CrashStyle::Lost)).open().unwrap();
    assert_eq!(engine.digest(), digest);
}

#[test]
fn one_directory_one_engine() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().unwrap();
    let second = options(&disk).open();
    assert!(
        matches!(&second, Err(OpenError::InUse { holder, .. }) if holder.contains("process")),
        "{second:?}"
    );
    engine.close().unwrap();
    options(&disk).open().unwrap();
}

#[test]
fn a_closed_engine_says_so() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().unwrap();
    let clone = engine.clone();
    engine.execute_blocking(&add()).unwrap();
    engine.close().unwrap();
    assert!(matches!(clone.execute_blocking(&add()), Err(Error::Closed)));
    assert!(matches!(clone.commit(), Err(Error::Closed)));
}

#[test]
fn whoever_waits_for_the_end_is_told_why() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).sync_mode(SyncMode::No).open().unwrap();
    let mut ended = Box::pin(engine.ended());
    let mut context = Context::from_waker(Waker::noop());
    assert!(ended.as_mut().poll(&mut context).is_pending());
    engine.execute_blocking(&add()).unwrap();
    disk.fail_sync(1, false);
    engine.sync().unwrap_err();
    assert!(matches!(ended.as_mut().poll(&mut context), Poll::Ready(Error::Failed(_))));
}

#[test]
fn a_reply_that_is_too_large_is_refused_and_changes_nothing() {
    use claimlog::EntryId;
    use claimlog::op::*;
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).max_reply_bytes(10_000).open().unwrap();
    let large = XAdd { fields: Fields::from_pairs([("field", "x".repeat(3_000))]), ..add() };
    for _ in 0..5 {
        engine.execute_blocking(&large).unwrap();
    }
    let start = GroupStart::After(EntryId::MIN);
    let create =
        XGroupCreate { key: "s".into(), group: "g".into(), start, make_stream: false, entries_read: None };
    engine.execute_blocking(&create).unwrap();
    let range =
        |count| XRange { key: "s".into(), first: EntryId::MIN, last: EntryId::MAX, count, reverse: false };
    let read = |count| XReadGroup { count, ..XReadGroup::new("g", "c", "s") };
    let digest = engine.digest();
    let too_large = |error| matches!(error, Error::Refused(Refusal::ReplyTooLarge));
    assert!(too_large(engine.execute_blocking(&range(None)).unwrap_err()));
    assert!(too_large(engine.execute_blocking(&read(None)).unwrap_err()));
    assert_eq!(engine.digest(), digest, "nothing was delivered");
    // Each command has the whole limit, the steps of a transaction share it.
    for _ in 0..3 {
        assert_eq!(engine.execute_blocking(&range(Some(3))).unwrap().unwrap().len(), 3);
    }
    let steps = engine.transaction(|steps| {
        [steps.execute(&range(Some(3))).is_ok(), steps.execute(&range(Some(3))).is_ok()]
    });
    assert_eq!(engine.redeem_blocking(steps).unwrap(), [true, false]);
    assert_eq!(engine.execute_blocking(&read(Some(3))).unwrap()[0].entries.len(), 3);
}

/// A panic in one of its threads is the end of the engine, and is told to whoever waits for what that thread would have
/// done: nobody else would notice.
#[test]
fn a_panic_in_the_thread_that_commits_is_told_to_those_who_wait_for_it() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).with_threads().open().unwrap();
    engine.execute_blocking(&add()).unwrap();
    // Nothing else is written from now on.
    engine.sync().unwrap();
    disk.panic_at_write(1);
    let ticket = engine.submit(&add());
    let mut waits = pin!(engine.wait_visible(ticket.after));
    let mut ended = pin!(engine.ended());
    let mut context = Context::from_waker(Waker::noop());
    let until = Instant::now() + Duration::from_secs(20);
    let outcome = loop {
        if let Poll::Ready(outcome) = waits.as_mut().poll(&mut context) {
            break outcome;
        }
        assert!(Instant::now() < until, "nobody tells");
        thread::sleep(Duration::from_millis(5));
    };
    assert!(matches!(outcome, Err(Error::Failed(_))), "{outcome:?}");
    assert!(ended.as_mut().poll(&mut context).is_ready());
    assert!(matches!(engine.execute_blocking(&add()), Err(Error::Failed(_))));
}

/// In mode `everysec` a sync may take as long as it likes: who waits for the thread that commits does not wait for it.
#[test]
fn commits_go_on_while_a_second_is_synced() {
    let disk = SimDisk::new(1);
    let (engine, _) =
        options(&disk).segment_bytes(1 << 20).sync_mode(SyncMode::EverySecond).with_threads().open().unwrap();
    disk.hold_syncs(true);
    engine.execute_blocking(&add()).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while disk.held_syncs() == 0 {
        assert!(Instant::now() < until, "nothing is synced");
        thread::sleep(Duration::from_millis(5));
    }
    // For longer than from one sync to the next.
    let mut answered = 0;
    for _ in 0..250 {
        let ticket = engine.submit(&add());
        let mut waits = pin!(engine.wait_visible(ticket.after));
        while waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
            && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(5));
        }
        answered += usize::from(engine.visible() >= ticket.after);
        thread::sleep(Duration::from_millis(10));
    }
    let held = disk.held_syncs();
    // Before anything panics: dropping the engine waits for it.
    disk.hold_syncs(false);
    assert!(answered == 250 && held > 0, "{answered} were answered, {held} syncs held");
}
