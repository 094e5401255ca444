//! Where the engine, its snapshots and its callers meet: panics, closing, damaged roots, readers that find nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claimlog::engine::{BlockingRead, Engine, Options, ReadOrWait, TransactionSize, Waiting};
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Error, Fields};

fn options(disk: &SimDisk, stores: &[MemoryPlace]) -> Options {
    let options = Options::simulated(disk.dir(), Arc::new(SimClock::new(5))).segment_bytes(16 * 1024);
    stores.iter().fold(options, |options, store| options.snapshot_place(Arc::new(store.clone())))
}

fn add(key: &str, id: u64) -> XAdd {
    let fields = Fields::from_pairs([("field", "value")]);
    XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key, fields) }
}

fn wait_in_group(engine: &Engine, consumer: &str) -> Waiting {
    let read = XReadGroup::new("g", consumer.to_string(), "s");
    match engine.read_or_wait(BlockingRead::Group(read)) {
        ReadOrWait::Waiting(waiting) => waiting,
        ReadOrWait::Now(ticket) => panic!("it should wait, but was answered {ticket:?}"),
    }
}

/// What a reader changed that found nothing in the end (its consumer was removed while it waited, so the try made a
/// new one) is in the log like everything else.
#[test]
fn a_try_that_finds_nothing_leaves_nothing_out_of_the_log() {
    let disk = SimDisk::new(1);
    let store = MemoryPlace::new("a");
    let (engine, _) = options(&disk, std::slice::from_ref(&store)).open().unwrap();
    let (key, group) = (Key::from("s"), "g".into());
    let create = XGroupCreate { key, group, start: GroupStart::Last, make_stream: true, entries_read: None };
    engine.submit(&create).result.unwrap();
    let first = wait_in_group(&engine, "first");
    let second = wait_in_group(&engine, "second");
    let remove = XGroupDelConsumer { key: "s".into(), group: "g".into(), consumer: "second".into() };
    engine.submit(&remove).result.unwrap();
    engine.execute_blocking(&add("s", 1)).unwrap();
    assert!(first.wait_blocking(Some(Duration::ZERO)).is_ok());
    engine.snapshot().unwrap();
    engine.execute_blocking(&add("t", 1)).unwrap();
    let digest = engine.digest();
    drop(second);
    engine.close().unwrap();
    let (engine, report) = options(&disk, &[store]).open().unwrap();
    assert_eq!(engine.digest(), digest, "{report}");
}

/// A panic in the caller's part of a transaction ends the engine; what was half built goes nowhere, not into a
/// snapshot either, and whoever waits is told.
#[test]
fn a_panic_in_a_transaction_leaves_no_trace() {
    let disk = SimDisk::new(1);
    let store = MemoryPlace::new("a");
    let (engine, _) = options(&disk, std::slice::from_ref(&store)).open().unwrap();
    engine.execute_blocking(&add("s", 1)).unwrap();
    let read = XRead::new("w", ReadFrom::Last);
    let ReadOrWait::Waiting(waiting) = engine.read_or_wait(BlockingRead::Read(read)) else { panic!() };
    let digest = engine.digest();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        engine.transaction(|transaction| {
            transaction.execute(&add("s", 2)).unwrap();
            panic!("the caller's own");
        })
    }));
    assert!(panicked.is_err());
    let began = Instant::now();
    let told = waiting.wait_blocking(Some(Duration::from_secs(5)));
    assert!(matches!(told, Ok(ticket) if matches!(ticket.result, Err(Error::Failed(_)))));
    assert!(began.elapsed() < Duration::from_secs(4), "told at once");
    assert!(engine.snapshot().is_err());
    assert!(store.roots().is_empty());
    drop(engine);
    let (engine, report) = options(&disk, &[store]).open().unwrap();
    assert_eq!(engine.digest(), digest, "{report}");
}

/// After `close` another engine may have the directory and the stores: nothing is written any more.
#[test]
fn a_closed_engine_takes_no_snapshots() {
    let disk = SimDisk::new(1);
    let store = MemoryPlace::new("a");
    let (engine, _) = options(&disk, std::slice::from_ref(&store)).open().unwrap();
    engine.execute_blocking(&add("s", 1)).unwrap();
    let other = engine.clone();
    engine.close().unwrap();
    assert!(other.snapshot().is_err());
    assert!(store.roots().is_empty());
}

/// A store whose newest root was damaged while nobody looked is made anew, and counts for nothing until then.
#[test]
fn a_store_with_a_damaged_snapshot_is_made_anew() {
    let disk = SimDisk::new(1);
    let stores = [MemoryPlace::new("a"), MemoryPlace::new("b")];
    let (engine, _) = options(&disk, &stores).open().unwrap();
    for id in 1..=2 {
        engine.execute_blocking(&add("s", id)).unwrap();
        engine.snapshot().unwrap();
    }
    engine.execute_blocking(&add("s", 3)).unwrap();
    engine.close().unwrap();
    for damaged in 0..2 {
        let stores = stores.each_ref().map(|store| store.after_crash(1));
        for key in stores[damaged].parts() {
            stores[damaged].damage_part(key);
        }
        let disk = disk.fork();
        let (engine, _) = options(&disk, &stores).open().unwrap();
        for id in 4..=7 {
            engine.execute_blocking(&add("s", id)).unwrap();
            engine.snapshot().unwrap();
        }
        let digest = engine.digest();
        engine.close().unwrap();
        let lost = &stores[1 - damaged];
        for key in lost.parts() {
            lost.damage_part(key);
        }
        let (engine, report) = options(&disk, &stores).open().unwrap();
        assert_eq!(engine.digest(), digest);
        assert_eq!(
            report.snapshot.as_ref().map(|(name, _)| name.clone()),
            Some(if damaged == 0 { "a-0002" } else { "b-0002" }.to_owned()),
            "{report}"
        );
    }
}

/// Somebody who waits for one key must not make every other key of a transaction expensive.
#[test]
fn keys_that_nobody_waits_for_cost_nothing() {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk, &[]).open().unwrap();
    let read = XRead::new("w", ReadFrom::Last);
    let ReadOrWait::Waiting(_waiting) = engine.read_or_wait(BlockingRead::Read(read)) else { panic!() };
    let began = Instant::now();
    engine.transaction_of(TransactionSize { bytes: 8 << 20, adds: true }, |transaction| {
        for number in 0..40_000u64 {
            transaction.execute(&add(&format!("key-{number:012}"), 1)).unwrap();
        }
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
