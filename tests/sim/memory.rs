//! Memory (I10): what the data take is counted exactly, and above the limit what adds is refused.

use std::sync::Arc;

use claimlog::engine::{Engine, Options, Settings, TransactionSize};
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Error, Fields};

fn options(disk: &SimDisk, clock: &Arc<SimClock>) -> Options {
    Options::simulated(disk.dir(), Arc::clone(clock) as _)
}

fn add(key: &str, bytes: usize) -> XAdd {
    XAdd::new(key, Fields::from_pairs([("f", "v".repeat(bytes))]))
}

fn create(key: &str, group: &'static str) -> XGroupCreate {
    let start = GroupStart::After(EntryId::MIN);
    XGroupCreate { key: key.into(), group: group.into(), start, make_stream: true, entries_read: None }
}

fn is_out_of_memory<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused(Refusal::OutOfMemory)))
}

fn limit(engine: &Engine, bytes: u64) {
    engine.set_settings(Settings { max_memory_bytes: bytes, ..engine.settings() }).unwrap();
}

#[test]
fn what_adds_is_refused_above_the_limit_and_only_that() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(SimClock::new(1_000_000)));
    let (engine, _) = options(&disk, &clock).max_memory_bytes(100_000).open().unwrap();
    engine.submit(&create("s", "g")).result.unwrap();
    let mut ids = Vec::new();
    let refused = loop {
        match engine.submit(&add("s", 1000)).result {
            Ok(id) if ids.len() < 1000 => ids.push(id),
            Ok(id) => panic!("nothing is refused: {id:?}"),
            Err(error) => break Err::<(), _>(error),
        }
    };
    assert!(is_out_of_memory(&refused), "{refused:?}");
    assert!((70..100).contains(&ids.len()), "{}", ids.len());
    let before = engine.digest();
    assert!(is_out_of_memory(&engine.submit(&create("s", "other")).result));
    assert!(is_out_of_memory(&engine.check_memory().result));
    assert!(is_out_of_memory(&engine.execute_blocking(&add("other", 1))));

    // A transaction: whole if it says that it adds, otherwise step by step.
    let size = |adds| TransactionSize { bytes: 1000, adds };
    let whole = engine.transaction_of(size(true), |_| panic!("it must not begin"));
    assert!(is_out_of_memory(&whole.result));
    let steps =
        engine.transaction(|steps| (steps.execute(&add("s", 1)), steps.execute(&XLen { key: "s".into() })));
    let (added, length) = steps.result.unwrap();
    assert!(is_out_of_memory(&added), "{added:?}");
    assert_eq!(length.unwrap(), ids.len() as u64);
    assert_eq!(engine.digest(), before, "what is refused leaves nothing behind");

    // Deliveries, acknowledgements and deletions go on, and make room.
    let read = XReadGroup { count: Some(30), ..XReadGroup::new("g", "c", "s") };
    let delivered = engine.submit(&read).result.unwrap();
    let ids: Vec<EntryId> = delivered[0].entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 30);
    let ack = XAck { key: "s".into(), group: "g".into(), ids: ids.clone() };
    assert_eq!(engine.submit(&ack).result.unwrap(), 30);
    assert_eq!(engine.submit(&XDel { key: "s".into(), ids }).result.unwrap(), 30);
    engine.submit(&add("s", 1000)).result.unwrap();

    // What begins below the limit goes through to its end, as in Redis.
    let many = engine.transaction_of(size(true), |steps| {
        (0..100).map(|_| steps.execute(&add("s", 1000))).filter(Result::is_ok).count()
    });
    assert_eq!(many.result.unwrap(), 100);
    assert!(is_out_of_memory(&engine.submit(&add("s", 1)).result));

    // Above it, it opens all the same.
    let (bytes, digest) = (engine.stats().memory_bytes, engine.digest());
    engine.close().unwrap();
    let (engine, _) = options(&disk, &clock).max_memory_bytes(100_000).open().unwrap();
    assert_eq!((engine.stats().memory_bytes, engine.digest()), (bytes, digest));
    assert!(is_out_of_memory(&engine.submit(&add("s", 1)).result));
    limit(&engine, 0);
    engine.submit(&add("s", 1)).result.unwrap();
}

/// Whatever is done, the count is what a recount would say (`check`), the same when the data come back from the log or
/// from a snapshot, and that of nothing when all is deleted.
#[test]
fn the_count_follows_what_there_is() {
    let (disk, clock) = (SimDisk::new(2), Arc::new(SimClock::new(1_000_000)));
    let place = Arc::new(MemoryPlace::new("m"));
    let open = || options(&disk, &clock).snapshot_place(Arc::clone(&place) as _).open().unwrap().0;
    let mut engine = open();
    let nothing = engine.stats().memory_bytes;
    assert!(nothing > 0);
    let mut last = nothing;
    for key in ["a", "b", "c"] {
        for at in 0..2000 {
            engine.submit(&add(key, at % 300)).result.unwrap();
        }
        for group in ["g", "h"] {
            engine.submit(&create(key, group)).result.unwrap();
            let read = XReadGroup::new(group, "c", key);
            engine.submit(&read).result.unwrap();
        }
        let now = engine.stats().memory_bytes;
        assert!(now > last + 2000 * 150, "{now} after {last}");
        last = now;
        engine.check().unwrap();
    }
    let copy = Copy {
        from: "a".into(),
        to: Key { db: DbIndex::new(3).unwrap(), name: "copy".into() },
        replace: false,
    };
    engine.submit(&copy).result.unwrap();
    let with_copy = engine.stats().memory_bytes;
    assert!(with_copy > last + 2000 * 150, "a copy counts as if it shared nothing");
    engine.close().unwrap();
    engine = open();
    assert_eq!(engine.stats().memory_bytes, with_copy, "from the log");
    engine.snapshot().unwrap().unwrap();
    engine.close().unwrap();
    engine = open();
    assert_eq!(engine.stats().memory_bytes, with_copy, "from a snapshot");
    engine.check().unwrap();

    // Less with everything that goes.
    let mut last = with_copy;
    let mut less = |engine: &Engine, what: &str| {
        engine.check().unwrap();
        let now = engine.stats().memory_bytes;
        assert!(now < last, "{what}: {now} after {last}");
        last = now;
    };
    let all =
        XRange { key: "a".into(), first: EntryId::MIN, last: EntryId::MAX, count: None, reverse: false };
    let entries = engine.submit(&all).result.unwrap().expect("a is there");
    let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
    // Pages that are nearly empty are joined.
    let most: Vec<EntryId> =
        ids.iter().enumerate().filter(|(at, _)| at % 20 != 0).map(|(_, id)| *id).collect();
    engine.submit(&XAck { key: "a".into(), group: "g".into(), ids: most }).result.unwrap();
    less(&engine, "most acknowledged");
    engine.submit(&XAck { key: "a".into(), group: "g".into(), ids: ids.clone() }).result.unwrap();
    less(&engine, "acknowledged");
    engine.submit(&XDel { key: "a".into(), ids: ids[..1000].to_vec() }).result.unwrap();
    less(&engine, "deleted");
    engine.submit(&XGroupDestroy { key: "b".into(), group: "g".into() }).result.unwrap();
    less(&engine, "a group destroyed");
    engine.submit(&Flush { db: DbIndex::new(3) }).result.unwrap();
    less(&engine, "a database flushed");
    engine.submit(&Flush { db: None }).result.unwrap();
    assert_eq!(engine.stats().memory_bytes, nothing);
}

/// Pages that become small join their neighbours: right after that too, every page is what a recount says.
#[test]
fn the_count_is_right_when_pages_join() {
    let (disk, clock) = (SimDisk::new(3), Arc::new(SimClock::new(1_000_000)));
    let (engine, _) = options(&disk, &clock).open().unwrap();
    engine.submit(&create("s", "g")).result.unwrap();
    for _ in 0..700 {
        engine.submit(&add("s", 1)).result.unwrap();
    }
    let delivered = engine.submit(&XReadGroup::new("g", "c", "s")).result.unwrap();
    // From the end: the page behind is small already when one becomes so.
    for (at, entry) in delivered[0].entries.iter().enumerate().rev().filter(|(at, _)| at % 20 != 0) {
        let before = engine.stats().memory_bytes;
        let ack = XAck { key: "s".into(), group: "g".into(), ids: vec![entry.id] };
        assert_eq!(engine.submit(&ack).result.unwrap(), 1);
        assert!(engine.stats().memory_bytes < before, "{at}");
        engine.check().unwrap_or_else(|why| panic!("{at}: {why}"));
    }
}
