//! Opening: reading the log, replaying it, beginning a new epoch. From a simulated disk, so from memory.

use std::sync::Arc;
use std::time::Duration;

use claimlog::engine::{Engine, Options};
use claimlog::io::real::RealClock;
use claimlog::io::sim::SimDisk;
use criterion::{BatchSize, Criterion, Throughput};

use super::common::{add, make_group, read_new};

/// Entries added one by one, and delivered one by one: as many batches of each, and all pending.
const ENTRIES: u64 = 200_000;

fn options(disk: &SimDisk) -> Options {
    Options::simulated(disk.dir(), Arc::new(RealClock::new())).segment_bytes(16 * 1024 * 1024)
}

fn written_disk() -> (SimDisk, u64) {
    let disk = SimDisk::new(1);
    let (engine, _) = options(&disk).open().expect("an empty disk");
    make_group(&engine);
    add(&engine, ENTRIES);
    let read = read_new("anna", 1);
    for _ in 0..ENTRIES {
        engine.submit(&read).result.expect("the group is there");
    }
    let batches = engine.stats().applied;
    engine.close().expect("a simulated disk does not fail unless told to");
    (disk, batches)
}

fn reopen(disk: &SimDisk) -> Engine {
    let (engine, _) = options(disk).open().expect("what was closed opens");
    engine
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let (disk, batches) = written_disk();
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(10).warm_up_time(Duration::from_millis(100));
    group.throughput(Throughput::Elements(batches));
    group.bench_function("open with 400000 batches", |bencher| {
        // The engine is dropped outside the figure.
        bencher.iter_batched(|| disk.fork(), |disk| reopen(&disk), BatchSize::PerIteration);
    });
}
