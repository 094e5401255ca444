//! Blocked readers, and watched keys.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claimlog::engine::{BlockingRead, Engine, Options, ReadOrWait, Waiting};
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::*;
use claimlog::{EntryId, Error, Fields};

fn engine() -> Engine {
    let disk = SimDisk::new(1);
    Options::simulated(disk.dir(), Arc::new(SimClock::new(5))).open().unwrap().0
}

fn add(key: &str, id: u64) -> XAdd {
    let fields = Fields::from_pairs([("field", "value")]);
    XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key, fields) }
}

fn create(key: &str) -> XGroupCreate {
    let (key, group) = (key.into(), "g".into());
    XGroupCreate { key, group, start: GroupStart::Last, make_stream: true, entries_read: None }
}

fn read(keys: &[&str]) -> BlockingRead {
    let streams = keys.iter().map(|key| (Bytes::from(key.to_string()), ReadFrom::Last)).collect();
    BlockingRead::Read(XRead { streams, ..XRead::new("", ReadFrom::Last) })
}

fn group_read(keys: &[&str], consumer: &str, count: Option<u64>) -> BlockingRead {
    let streams = keys.iter().map(|key| (Bytes::from(key.to_string()), GroupFrom::New)).collect();
    let read = XReadGroup::new("g", consumer.to_string(), "");
    BlockingRead::Group(XReadGroup { streams, count, ..read })
}

fn wait(engine: &Engine, read: BlockingRead) -> Waiting {
    match engine.read_or_wait(read) {
        ReadOrWait::Waiting(waiting) => waiting,
        ReadOrWait::Now(ticket) => panic!("it should wait, but was answered {ticket:?}"),
    }
}

/// The ids that a reader got by now; `None` if it still waits.
fn got(waiting: Waiting) -> Option<Vec<u64>> {
    let ticket = waiting.wait_blocking(Some(Duration::ZERO)).ok()?;
    let reads = ticket.result.expect("it was served");
    Some(reads.iter().flat_map(|read| read.entries.iter().map(|entry| entry.id.ms)).collect())
}

#[test]
fn all_plain_readers_are_served() {
    let engine = engine();
    let readers: Vec<Waiting> = (0..3).map(|_| wait(&engine, read(&["s", "t"]))).collect();
    engine.submit(&add("s", 1)).result.unwrap();
    for reader in readers {
        assert_eq!(got(reader), Some(vec![1]));
    }
    assert_eq!(engine.stats().waiters, 0);
}

#[test]
fn readers_of_a_group_are_served_in_the_order_they_came_and_losers_keep_their_place() {
    let engine = engine();
    engine.submit(&create("s")).result.unwrap();
    let first = wait(&engine, group_read(&["s"], "first", Some(1)));
    let second = wait(&engine, group_read(&["s"], "second", Some(1)));
    let third = wait(&engine, group_read(&["s"], "third", Some(1)));
    engine.submit(&add("s", 1)).result.unwrap();
    assert_eq!(got(first), Some(vec![1]));
    let late = wait(&engine, group_read(&["s"], "late", Some(1)));
    engine.submit(&add("s", 2)).result.unwrap();
    engine.submit(&add("s", 3)).result.unwrap();
    assert_eq!(got(second), Some(vec![2]));
    assert_eq!(got(third), Some(vec![3]));
    assert_eq!(got(late), None);
}

#[test]
fn a_transaction_wakes_after_it_is_whole() {
    let engine = engine();
    let reader = wait(&engine, read(&["s"]));
    engine
        .transaction(|steps| steps.execute(&add("s", 1)).and_then(|_| steps.execute(&add("s", 2))))
        .result
        .unwrap()
        .unwrap();
    assert_eq!(got(reader), Some(vec![1, 2]));
    let reader = wait(&engine, read(&["s"]));
    let del = Del { db: DbIndex::default(), keys: vec!["s".into()] };
    engine
        .transaction(|steps| (steps.execute(&add("s", 3)).is_ok(), steps.execute(&del).is_ok()))
        .result
        .unwrap();
    assert_eq!(got(reader), None, "what came and went inside a transaction was never there");
}

#[test]
fn a_reader_of_a_group_is_told_when_it_is_gone() {
    let engine = engine();
    let ends: [&dyn Fn() -> bool; 4] = [
        &|| engine.submit(&Del { db: DbIndex::default(), keys: vec!["s".into()] }).result.is_ok(),
        &|| engine.submit(&XGroupDestroy { key: "s".into(), group: "g".into() }).result.is_ok(),
        &|| engine.submit(&Flush { db: None }).result.is_ok(),
        &|| engine.submit(&Flush { db: Some(DbIndex::default()) }).result.is_ok(),
    ];
    for (at, end) in ends.iter().enumerate() {
        let _ = engine.submit(&create("s"));
        let reader = wait(&engine, group_read(&["s"], "c", None));
        let plain = wait(&engine, read(&["s"]));
        assert!(end(), "{at}");
        let ticket = reader.wait_blocking(Some(Duration::ZERO)).expect("it is told");
        let refused = matches!(&ticket.result, Err(Error::Refused(Refusal::NoSuchGroupToRead { .. })));
        assert!(refused, "{at}: {ticket:?}");
        assert_eq!(got(plain), None, "{at}: a plain reader waits on");
    }
}

#[test]
fn a_reader_that_goes_away_leaves_the_queues() {
    let engine = engine();
    engine.submit(&create("s")).result.unwrap();
    let gone = wait(&engine, group_read(&["s"], "gone", None));
    let next = wait(&engine, group_read(&["s"], "next", None));
    drop(gone);
    assert_eq!(engine.stats().waiters, 1);
    engine.submit(&add("s", 1)).result.unwrap();
    assert_eq!(got(next), Some(vec![1]), "what the one who left did not take is for the next");
}

#[test]
fn a_served_reader_waits_for_the_disk_like_everyone() {
    let engine = engine();
    engine.submit(&create("s")).result.unwrap();
    let reader = wait(&engine, group_read(&["s"], "c", None));
    let added = engine.submit(&add("s", 1));
    let ticket = reader.wait_blocking(None).unwrap();
    assert!(ticket.after > added.after, "the delivery is a batch of its own, after the entry");
    assert!(ticket.after > engine.visible());
}

#[test]
fn a_consumer_created_by_an_empty_read_is_recorded() {
    let engine = engine();
    engine.submit(&create("s")).result.unwrap();
    let before = engine.stats().applied;
    drop(wait(&engine, group_read(&["s"], "c", None)));
    assert_eq!(engine.stats().applied, before + 1);
    let consumers = engine.submit(&XInfoConsumers { key: "s".into(), group: "g".into() }).result.unwrap();
    assert_eq!(consumers.len(), 1);
}

#[test]
fn watched_keys() {
    let engine = engine();
    engine.submit(&add("s", 1)).result.unwrap();
    engine.submit(&create("other")).result.unwrap();
    let delete = |id| XDel { key: "s".into(), ids: vec![EntryId::new(id, 0)] };
    let touches: [(&dyn Fn() -> bool, bool); 7] = [
        (&|| engine.submit(&add("s", 2)).result.is_ok(), true),
        (&|| engine.submit(&add("t", 2)).result.is_ok(), false),
        (&|| engine.submit(&delete(2)).result.is_ok(), true),
        (&|| engine.submit(&delete(2)).result.is_ok(), false),
        (&|| engine.submit(&create("s")).result.is_ok(), false),
        (&|| engine.submit(&XLen { key: "s".into() }).result.is_ok(), false),
        (&|| engine.submit(&Flush { db: None }).result.is_ok(), true),
    ];
    for (at, (touch, expected)) in touches.iter().enumerate() {
        let mut watch = engine.watch();
        watch.add(&"s".into());
        assert!(touch(), "{at}");
        assert_eq!(watch.dirty(), *expected, "{at}");
    }
}
