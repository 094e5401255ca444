//! Opening: reading the log, replaying it, beginning a new epoch. From a simulated disk, so from memory. Each log has
//! mostly records of one kind, one batch each; the figure is how many batches a second.

use std::sync::Arc;
use std::time::Duration;

use claimlog::EntryId;
use claimlog::engine::{Engine, Options};
use claimlog::io::real::RealClock;
use claimlog::io::sim::SimDisk;
use claimlog::op::{XAck, XClaim};
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};

use super::common::{GROUP, KEY, add, make_group, read_new};

/// So many entries, and as many deliveries, claims or acknowledgements of one entry each.
const ENTRIES: u64 = 200_000;
/// Where deliveries are not what is measured they come by so many.
const AT_ONCE: u64 = 1000;

fn options(disk: &SimDisk) -> Options {
    Options::simulated(disk.dir(), Arc::new(RealClock::new())).segment_bytes(16 * 1024 * 1024)
}

/// A log with entries that a group has not read yet, and then what `then` does.
fn written_disk(then: impl FnOnce(&Engine)) -> (SimDisk, u64) {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().expect("an empty disk");
    make_group(&engine);
    add(&engine, ENTRIES);
    then(&engine);
    let batches = engine.stats().applied;
    engine.close().expect("a simulated disk does not fail unless told to");
    (disk, batches)
}

/// Has everything delivered, so many at a time; the ids, ascending.
fn deliver(engine: &Engine, at_once: u64) -> Vec<EntryId> {
    let mut ids = Vec::new();
    let read = read_new("anna", at_once);
    while let Some(stream) = engine.submit(&read).result.expect("the group is there").pop() {
        ids.extend(stream.entries.iter().map(|entry| entry.id));
    }
    ids
}

/// Each id once, neighbours not one after the other: 7919 is prime to their number.
fn scattered(ids: &[EntryId]) -> impl Iterator<Item = EntryId> {
    ids.iter().cycle().step_by(7919).take(ids.len()).copied()
}

fn claims(engine: &Engine) {
    for id in scattered(&deliver(engine, AT_ONCE)) {
        let claim = XClaim {
            key: KEY.into(),
            group: GROUP.into(),
            consumer: "ben".into(),
            min_idle_ms: 0,
            ids: vec![id],
            delivered: None,
            retry_count: None,
            force: false,
            just_id: false,
            last_id: None,
        };
        engine.submit(&claim).result.expect("it is pending");
    }
}

fn acks(engine: &Engine, ids: impl Iterator<Item = EntryId>) {
    for id in ids {
        let ack = XAck { key: KEY.into(), group: GROUP.into(), ids: vec![id] };
        assert_eq!(engine.submit(&ack).result.expect("the group is there"), 1, "it is pending");
    }
}

fn reopen(disk: &SimDisk) -> Engine {
    let (engine, _) = options(disk).open().expect("what was closed opens");
    engine
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, then: impl FnOnce(&Engine)) {
    let (disk, batches) = written_disk(then);
    group.throughput(Throughput::Elements(batches));
    group.bench_function(name, |bencher| {
        // The engine is dropped outside the figure.
        bencher.iter_batched(|| disk.fork(), |disk| reopen(&disk), BatchSize::PerIteration);
    });
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(10).warm_up_time(Duration::from_millis(100));
    measure(&mut group, "XADD", |_| {});
    measure(&mut group, "XADD, XREADGROUP COUNT 1", |engine| drop(deliver(engine, 1)));
    measure(&mut group, "XADD, XCLAIM of any", claims);
    measure(&mut group, "XADD, XACK of any", |engine| acks(engine, scattered(&deliver(engine, AT_ONCE))));
    measure(&mut group, "XADD, XACK in order", |engine| acks(engine, deliver(engine, AT_ONCE).into_iter()));
}
