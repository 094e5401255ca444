//! Snapshots where something else happens at the same time: closing and opening, turns that were cut off, limits, places
//! that behave strangely.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claimlog::engine::{Engine, Options};
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::snapshot::{SnapshotPlace, StoreError};
use claimlog::{EntryId, Fields, StoreId};

fn add(key: &str, id: u64, bytes: usize) -> XAdd {
    let fields = Fields::from_pairs([("field", "x".repeat(bytes))]);
    XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key, fields) }
}

/// A tenth of the data may be more than the log may have in no snapshot: one is due in time all the same.
#[test]
fn a_snapshot_is_due_before_anybody_is_refused_for_long() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::new(1000));
    let options = Options::simulated(disk.dir(), Arc::clone(&clock) as _)
        .segment_bytes(64 * 1024)
        .snapshot_log_bytes(16 * 1024)
        .unsnapshotted_bytes_max(0)
        .snapshot_place(Arc::new(MemoryPlace::new("a")))
        .snapshot_place(Arc::new(MemoryPlace::new("b")));
    let engine = options.open().unwrap().0;
    for id in 1..2000 {
        if let Err(error) = engine.execute_blocking(&add("s", id, 1000)) {
            for _ in 0..1000 {
                clock.advance(Duration::from_secs(60));
                engine.tick().unwrap();
            }
            engine.execute_blocking(&add("s", id, 1000)).unwrap_or_else(|again| {
                panic!("at {id}: {error}; 16 hours later: {again}; {:?}", engine.stats().snapshots)
            });
        }
        engine.tick().unwrap();
    }
}

/// What a turn that was cut off left does not take the room that the next one needs.
#[test]
fn leftovers_go_before_room_is_asked_for() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::new(1000));
    let (a, b) = (MemoryPlace::new("a"), MemoryPlace::new("b"));
    let open = || {
        Options::simulated(disk.dir(), Arc::clone(&clock) as _)
            .snapshot_place(Arc::new(a.clone()))
            .snapshot_place(Arc::new(b.clone()))
            .open()
            .unwrap()
            .0
    };
    let engine = open();
    for id in 1..4000 {
        engine.submit(&add("s", id, 1000)).result.unwrap();
    }
    engine.commit().unwrap();
    // Room for what it needs (4 MB, a quarter, and a little: 5.4 MB).
    a.set_capacity(Some(5_700_000));
    a.fail_after(Some(280));
    engine.snapshot().unwrap_err();
    drop(engine); // kill -9 in the middle of the turn
    a.fail_after(None);
    let engine = open();
    let mut outcomes = Vec::new();
    for _ in 0..50 {
        clock.advance(Duration::from_secs(60));
        outcomes.push(engine.snapshot().map(|report| report.map(|report| report.store)));
    }
    assert!(
        outcomes.iter().any(Result::is_ok),
        "{:?}; {:?}",
        outcomes.last(),
        engine.stats().snapshots.stores
    );
}

/// An empty store that was made for other data is not written into.
#[test]
fn an_empty_store_of_other_data_is_replaced() {
    let disk = SimDisk::new(1);
    let (a, b) = (MemoryPlace::new("a"), MemoryPlace::new("b"));
    b.create(1, StoreId::new([7; 16])).unwrap();
    let open = || {
        Options::simulated(disk.dir(), Arc::new(SimClock::new(1000)))
            .snapshot_place(Arc::new(a.clone()))
            .snapshot_place(Arc::new(b.clone()))
            .open()
    };
    let engine = open().unwrap().0;
    engine.execute_blocking(&add("s", 1, 10)).unwrap();
    engine.snapshot().unwrap();
    engine.execute_blocking(&add("s", 2, 10)).unwrap();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    open().unwrap();
}

fn real(dir: &std::path::Path, copies: usize) -> Options {
    Options::new(dir).segment_bytes(1024 * 1024).snapshot_copies(copies).snapshot_log_bytes(1 << 40)
}

fn fill(engine: &Engine, ids: std::ops::Range<u64>) {
    for id in ids {
        engine.submit(&add("s", id, 3000)).result.unwrap();
    }
    engine.commit().unwrap();
}

/// Closed during a snapshot, and opened again in the same process.
#[test]
fn closed_during_a_snapshot_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = real(dir.path(), 1).open().unwrap().0;
    fill(&engine, 1..2000);
    engine.snapshot().unwrap();
    fill(&engine, 2000..12000);
    let other = engine.clone();
    let taking = std::thread::spawn(move || other.snapshot());
    while engine.stats().snapshots.running.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(150));
    engine.close().unwrap();
    let _ = taking.join().unwrap();
    match real(dir.path(), 1).open() {
        Ok((_, report)) => assert_eq!(report.warnings, [""; 0]),
        Err(error) => panic!("{error}"),
    }
}

/// Closed while another handle lives, and opened again.
#[test]
fn closed_with_a_clone_alive_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = real(dir.path(), 2).open().unwrap().0;
    for round in 0..3 {
        fill(&engine, 1 + round * 1000..1 + (round + 1) * 1000);
        engine.snapshot().unwrap();
    }
    let _clone = engine.clone();
    engine.close().unwrap();
    match real(dir.path(), 2).open() {
        Ok((_, report)) => assert_eq!(report.warnings, [""; 0]),
        Err(error) => panic!("{error}"),
    }
}

/// Closed and opened, again and again, on real databases.
#[test]
fn closed_and_opened_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..15 {
        let (engine, report) = real(dir.path(), 2).open().unwrap();
        assert_eq!(report.warnings, [""; 0], "round {round}");
        fill(&engine, 1 + round * 10..1 + (round + 1) * 10);
        engine.snapshot().unwrap();
        engine.close().unwrap();
    }
}

/// A panic while a snapshot is taken is an error, and the next one is taken.
#[test]
fn a_panic_while_a_snapshot_is_taken_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (place, panicked) = (MemoryPlace::new("a"), AtomicBool::new(false));
    place.on_call(move |call, _| {
        assert!(call != "create" || panicked.swap(true, Ordering::SeqCst), "once");
        Ok(())
    });
    let engine = Options::new(dir.path()).snapshot_place(Arc::new(place)).open().unwrap().0;
    engine.execute_blocking(&add("s", 1, 10)).unwrap();
    assert!(engine.snapshot_soon());
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while engine.stats().snapshots.taken == 0 {
        assert!(std::time::Instant::now() < end, "{:?}", engine.stats().snapshots);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(engine.stats().snapshots.failed, 1);
}

/// Not to know how much room there is is no reason to give a store up.
#[test]
fn a_question_without_an_answer_gives_no_store_up() {
    let disk = SimDisk::new(1);
    let place = MemoryPlace::new("a");
    place.set_capacity(Some(100_000_000));
    let options = Options::simulated(disk.dir(), Arc::new(SimClock::new(1000))).snapshot_copies(1);
    let engine = options.snapshot_place(Arc::new(place.clone())).open().unwrap().0;
    engine.execute_blocking(&add("s", 1, 10)).unwrap();
    engine.snapshot().unwrap();
    engine.execute_blocking(&add("s", 2, 10)).unwrap();
    place.on_call(|call, _| {
        let why = "no thread can be started for it".to_owned();
        let error = StoreError { store: "a".into(), kind: std::io::ErrorKind::WouldBlock, why };
        if call == "free_bytes" { Err(error) } else { Ok(()) }
    });
    assert!(engine.snapshot().unwrap().is_some());
    let stores = engine.stats().snapshots.stores;
    assert!(stores[0].trouble.is_none() && stores[0].seq.is_some(), "{stores:?}");
}

/// Where what adds is refused, what frees is not held up.
#[test]
fn what_frees_is_not_held_up() {
    let dir = tempfile::tempdir().unwrap();
    let place = MemoryPlace::new("a");
    place.fail_after(Some(0));
    let options = Options::new(dir.path()).snapshot_log_bytes(16 * 1024).unsnapshotted_bytes_max(100 * 1024);
    let engine = options.snapshot_place(Arc::new(place)).open().unwrap().0;
    let mut id = 0;
    while engine
        .submit(&add(
            "s",
            {
                id += 1;
                id
            },
            100,
        ))
        .result
        .is_ok()
    {
        engine.commit().unwrap();
    }
    let since = std::time::Instant::now();
    for id in 1..=8 {
        let delete = XDel { key: "s".into(), ids: vec![EntryId::new(id, 0)] };
        assert_eq!(engine.execute_blocking(&delete).unwrap(), 1);
    }
    assert!(since.elapsed() < Duration::from_secs(1), "8 deletions took {:?}", since.elapsed());
}

/// A store that failed, with a root of the same batch as the one that replaced it: the newer one counts.
#[test]
fn of_two_stores_of_a_place_the_newer_one_counts() {
    let mut met = false;
    for operations in 0..60 {
        let (disk, place) = (SimDisk::new(1), MemoryPlace::new("a"));
        let open = || {
            let options = Options::simulated(disk.dir(), Arc::new(SimClock::new(1000))).snapshot_copies(1);
            options.snapshot_place(Arc::new(place.clone())).open().unwrap()
        };
        let (engine, _) = open();
        for id in 1..100 {
            engine.submit(&add("s", id, 1000)).result.unwrap();
        }
        engine.commit().unwrap();
        // A part is lost: the root is there, and its verification fails.
        place.forget_put(Some(3));
        engine.snapshot().unwrap_err();
        place.forget_put(None);
        // The second one gets its root; a crash before the first one is removed.
        place.fail_after(Some(operations));
        let taken = engine.snapshot().is_ok() && place.generations().unwrap().len() > 1;
        place.fail_after(None);
        let digest = engine.digest();
        drop(engine);
        let (engine, report) = open();
        assert_eq!(engine.digest(), digest, "{report}");
        let stores = engine.stats().snapshots.stores;
        assert!(!taken || stores[0].trouble.is_none(), "{stores:?}");
        met |= taken;
    }
    assert!(met, "the test must meet what it is about");
}
