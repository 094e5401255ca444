//! XAUTOCLAIM over long lists, most of them too young: pages that are passed over as a whole must not change a reply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use claimlog::engine::{Engine, Options, Settings};
use claimlog::io::sim::{SimClock, SimDisk, SimRng};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Fields};

use crate::{Replay, seeds};

fn run<O: Op>(engine: &Engine, op: &O) -> O::Reply {
    engine.submit(op).result.unwrap()
}

fn entry_ids(engine: &Engine) -> BTreeSet<EntryId> {
    let all =
        XRange { key: "s".into(), first: EntryId::MIN, last: EntryId::MAX, count: None, reverse: false };
    run(engine, &all).unwrap_or_default().iter().map(|entry| entry.id).collect()
}

/// All that is pending: for each id how long, `None` if it was released.
fn pending(engine: &Engine) -> BTreeMap<EntryId, Option<u64>> {
    let rows = run(engine, &rows(0, EntryId::MIN, u64::MAX));
    rows.iter().map(|row| (row.id, row.idle_ms)).collect()
}

fn rows(min_idle_ms: u64, first: EntryId, count: u64) -> XPendingRows {
    let (key, group) = ("s".into(), "g".into());
    XPendingRows { key, group, first, last: EntryId::MAX, count, consumer: None, min_idle_ms }
}

/// What the call must answer: every row is looked at, and its entry looked for.
fn walk(
    op: &XAutoClaim,
    pending: &BTreeMap<EntryId, Option<u64>>,
    entries: &BTreeSet<EntryId>,
) -> AutoClaimed {
    let mut reply = AutoClaimed { next: EntryId::MIN, entries: Vec::new(), deleted: Vec::new() };
    let (mut looks, mut claims) = (op.count * 10, op.count);
    for (id, idle_ms) in pending.range(op.start..) {
        if looks == 0 || claims == 0 {
            reply.next = *id;
            break;
        }
        looks -= 1;
        if !entries.contains(id) {
            reply.deleted.push(*id);
            claims -= 1;
        } else if idle_ms.is_none_or(|idle_ms| idle_ms >= op.min_idle_ms) {
            reply.entries.push(PendingEntry { id: *id, fields: None, before: None });
            claims -= 1;
        }
    }
    reply
}

fn one(rng: &mut SimRng, ids: &BTreeSet<EntryId>) -> Option<EntryId> {
    (!ids.is_empty()).then(|| *ids.iter().nth(rng.below(ids.len() as u64) as usize).unwrap())
}

fn add_and_deliver(engine: &Engine, rng: &mut SimRng) {
    // Long ones now and then: where nodes are full by their bytes, a shorter one that comes after may have room in the node
    // before.
    let long = "v".repeat(rng.below(300) as usize);
    for _ in 0..rng.below(700) {
        let value = if rng.below(20) == 0 { &long } else { "v" };
        run(engine, &XAdd::new("s", Fields::from_pairs([("f", value)])));
    }
    let consumer = format!("c{}", rng.below(5));
    run(engine, &XReadGroup { count: Some(1 + rng.below(900)), ..XReadGroup::new("g", consumer, "s") });
}

/// Deletes, trims and releases; now and then the last id goes back, so that ids are given out twice.
fn change(engine: &Engine, rng: &mut SimRng) {
    let entries = entry_ids(engine);
    let some = one(rng, &entries);
    let near = |rng: &mut SimRng| -> Vec<EntryId> {
        let few = 1 + rng.below(30) as usize;
        some.into_iter().flat_map(|from| entries.range(from..).copied()).take(few).collect()
    };
    match rng.below(10) {
        9 => {
            let few = 1 + rng.below(4) as usize;
            let last = entries.iter().rev().take(few).copied().collect();
            run(engine, &XDel { key: "s".into(), ids: last });
        }
        0 => drop(run(engine, &XDel { key: "s".into(), ids: some.into_iter().collect() })),
        1 => drop(run(engine, &XDel { key: "s".into(), ids: near(rng) })),
        2 if rng.below(3) == 0 => {
            let trim = Keep::Newest(rng.below(1 + entries.len() as u64)).exactly();
            run(engine, &XTrim { key: "s".into(), trim });
        }
        3 => drop(run(engine, &XAck { key: "s".into(), group: "g".into(), ids: near(rng) })),
        4 => {
            let (key, group, ids) = ("s".into(), "g".into(), some.into_iter().collect());
            let nack = XNack { key, group, mode: NackMode::Fail, ids, retry_count: None, force: false };
            run(engine, &nack);
        }
        5 if rng.below(2) == 0 && some.is_some() => {
            let last = entries.iter().last().copied().unwrap_or_default();
            let back = XSetId { key: "s".into(), last_id: last, entries_added: None, max_deleted_id: None };
            // Refused where something above it was deleted, unless that is forgotten first.
            let low = XSetId { max_deleted_id: Some(EntryId::new(0, 1)), ..back.clone() };
            let top = run(engine, &XInfoStream { key: "s".into() }).last_id;
            run(engine, &XSetId { last_id: top, ..low });
            run(engine, &back);
            for step in [1, 5, 9] {
                let id = NewId::Exact(EntryId::new(last.ms, last.seq + step));
                run(engine, &XAdd { id, ..XAdd::new("s", Fields::from_pairs([("f", "again")])) });
            }
        }
        _ => {}
    }
}

/// Replies and cursors are those of a walk over all rows, whatever was deleted, trimmed, released and claimed before.
#[test]
fn what_is_passed_over_would_have_changed_nothing() {
    let mut passed = 0;
    for seed in seeds(60) {
        let _replay = Replay("what_is_passed_over_would_have_changed_nothing", seed);
        let mut rng = SimRng::new(seed);
        let clock = Arc::new(SimClock::new(1_000_000));
        let (mut disk, place) = (SimDisk::new(seed), MemoryPlace::new("m"));
        let settings = Settings {
            stream_node_max_entries: 1 + rng.below(120),
            stream_node_max_bytes: [4096, 100 + rng.below(900)][rng.below(2) as usize],
            ..Settings::default()
        };
        let open = |disk: &SimDisk| {
            let options = Options::simulated(disk.dir(), Arc::clone(&clock) as _).settings(settings);
            options.snapshot_place(Arc::new(place.clone())).open().unwrap().0
        };
        let mut engine = open(&disk);
        let start = GroupStart::After(EntryId::MIN);
        let (key, group) = ("s".into(), "g".into());
        run(&engine, &XGroupCreate { key, group, start, make_stream: true, entries_read: None });
        for _ in 0..40 {
            clock.advance(Duration::from_millis(rng.below(2000)));
            if rng.below(3) == 0 {
                add_and_deliver(&engine, &mut rng);
            }
            change(&engine, &mut rng);
            if rng.below(12) == 0 {
                engine.snapshot().unwrap();
                engine.close().unwrap();
                disk = disk.fork();
                engine = open(&disk);
            }
            let before = pending(&engine);
            let start = match rng.below(2) {
                0 => EntryId::MIN,
                _ => one(&mut rng, &before.keys().copied().collect()).unwrap_or_default(),
            };
            let min_idle_ms =
                [0, rng.below(5000), rng.below(20_000), 3_600_000, u64::MAX][rng.below(5) as usize];
            let count = [1, 1 + rng.below(40), 100, 1000][rng.below(4) as usize];
            let (key, group, consumer) = ("s".into(), "g".into(), "ben".into());
            let op = XAutoClaim { key, group, consumer, min_idle_ms, start, count, just_id: true };
            let expected = walk(&op, &before, &entry_ids(&engine));
            let old: Vec<EntryId> = (before.range(start..))
                .filter(|(_, idle_ms)| idle_ms.is_none_or(|idle_ms| idle_ms >= min_idle_ms))
                .map(|(id, _)| *id)
                .take(count as usize)
                .collect();
            let found = run(&engine, &rows(min_idle_ms, start, count));
            assert!(found.iter().map(|row| row.id).eq(old), "XPENDING IDLE {min_idle_ms} from {start}");
            assert_eq!(run(&engine, &op), expected, "{op:?}");
            passed += u64::from(expected.entries.is_empty() && before.len() > 300);
            engine.check().unwrap();
        }
    }
    assert!(passed > 100, "too few sweeps found nothing: {passed}");
}

/// Pending ids between the ends of a node that has lost nothing, and yet gone: the last id had been put back, so that what
/// was added later lies around them.
#[test]
fn what_is_gone_is_found_after_the_last_id_went_back() {
    let (disk, place) = (SimDisk::new(1), MemoryPlace::new("m"));
    let clock = Arc::new(SimClock::new(1_000_000));
    let open = || {
        let options = Options::simulated(disk.dir(), Arc::clone(&clock) as _);
        options.snapshot_place(Arc::new(place.clone())).open().unwrap().0
    };
    let engine = open();
    let (key, group, start) = (Key::from("s"), bytes::Bytes::from("g"), GroupStart::After(EntryId::MIN));
    let create = XGroupCreate { key: key.clone(), group, start, make_stream: true, entries_read: None };
    run(&engine, &create);
    let add = |seq| {
        let id = NewId::Exact(EntryId::new(0, seq));
        run(&engine, &XAdd { id, ..XAdd::new("s", Fields::from_pairs([("f", "v")])) }).unwrap()
    };
    let ids: Vec<EntryId> = (1..=9).map(add).collect();
    run(&engine, &XReadGroup::new("g", "c", "s"));
    run(&engine, &XDel { key: key.clone(), ids: ids.clone() });
    let set = |last_id| {
        let max_deleted_id = Some(EntryId::new(0, 1));
        XSetId { key: key.clone(), last_id: EntryId::new(0, last_id), entries_added: None, max_deleted_id }
    };
    run(&engine, &set(9));
    run(&engine, &set(4));
    add(5);
    add(12);
    engine.snapshot().unwrap();
    engine.close().unwrap();
    let engine = open();
    let (group, consumer, start) = ("g".into(), "ben".into(), EntryId::MIN);
    let op = XAutoClaim { key, group, consumer, min_idle_ms: 3_600_000, start, count: 100, just_id: true };
    let gone: Vec<EntryId> = ids.into_iter().filter(|id| id.seq != 5).collect();
    assert_eq!(run(&engine, &op).deleted, gone);
}
