//! A snapshot turn into a store in memory: waiting for the log, walking the state, encoding pages, and reading back and
//! comparing what was written, as a turn on disk does. And how long commands are held up by it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claimlog::engine::{Engine, SnapshotReport};
use claimlog::snapshot::memory_store::MemoryPlace;
use criterion::Criterion;

use super::common::{add, fill, forgetful};

/// An engine with so many entries, all of them pending, and a snapshot of that.
fn snapshotted(entries: u64) -> (Engine, MemoryPlace) {
    let place = MemoryPlace::new("a");
    let (engine, _) = forgetful().snapshot_place(Arc::new(place.clone())).open().expect("an empty disk");
    fill(&engine, entries);
    snapshot(&engine);
    (engine, place)
}

fn snapshot(engine: &Engine) -> SnapshotReport {
    engine.snapshot().expect("the store takes it").expect("something has changed")
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10).warm_up_time(Duration::from_millis(100));
    let (engine, place) = snapshotted(100_000);
    group.bench_function("all of 100000 entries and as many pending", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                // A place that lost everything is noticed by the next turn and built anew by the one after.
                place.lose();
                add(&engine, 1);
                assert!(engine.snapshot().is_err(), "the store is gone");
                let begin = Instant::now();
                snapshot(&engine);
                took += begin.elapsed();
            }
            took
        });
    });
    let (engine, _) = snapshotted(1_000_000);
    group.bench_function("1 new entry among 1000000 and as many pending", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                add(&engine, 1);
                let begin = Instant::now();
                snapshot(&engine);
                took += begin.elapsed();
            }
            took
        });
    });
    group.bench_function("the core's lock at 1000000 and as many pending", |bencher| {
        let held = || {
            add(&engine, 1);
            snapshot(&engine).lock_held
        };
        bencher.iter_custom(|iterations| (0..iterations).map(|_| held()).sum());
    });
}
