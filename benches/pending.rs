//! What is done to pending entries, as more of them are pending: 10,000, 100,000 and 1,000,000, over up to a thousand
//! consumers. `CLAIMLOG_BENCH_PENDING=10000000` adds ten million, which takes half a minute to prepare.
//!
//! Requests through `Engine::submit`, as in `request.rs`. Each concerns one entry, each time another one, and neighbours
//! don't come one after the other. But for the sweep, which passes over all that are pending before it finds one.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claimlog::EntryId;
use claimlog::engine::Engine;
use claimlog::op::{DeliveryTime, NackMode, XAck, XAutoClaim, XClaim, XNack, XReadGroup};
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};

use super::common::{GROUP, KEY, add, forgetful, in_turns, make_group};

const HOUR_MS: i64 = 3_600_000;

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut sizes = vec![10_000, 100_000, 1_000_000];
    let more = std::env::var("CLAIMLOG_BENCH_PENDING").ok();
    sizes.extend(more.and_then(|number| number.parse::<u64>().ok()));
    for size in sizes {
        let mut group = criterion.benchmark_group("pending");
        group.measurement_time(Duration::from_millis(300)).warm_up_time(Duration::from_millis(100));
        group.sample_size(10);
        measure(&mut group, size);
    }
}

/// An engine, and what is pending in it.
struct Queue {
    engine: Engine,
    ids: Vec<EntryId>,
    consumers: u64,
    /// Where in `ids` the next one is that something is done to.
    at: usize,
}

impl Queue {
    fn new(pending: u64) -> Self {
        let (engine, _) = forgetful().open().expect("an empty disk");
        make_group(&engine);
        let consumers = (pending / 100).min(1000);
        let mut queue = Self { engine, ids: Vec::new(), consumers, at: 0 };
        for turn in 0..pending / 100 {
            add(&queue.engine, 100);
            let read = XReadGroup::new(GROUP, queue.consumer(turn), KEY);
            let read = queue.engine.submit(&read).result.expect("the group is there");
            queue.ids.extend(read.iter().flat_map(|stream| &stream.entries).map(|entry| entry.id));
        }
        queue
    }

    fn consumer(&self, turn: u64) -> Bytes {
        format!("consumer {}", turn % self.consumers).into()
    }

    /// So many ids, each another one for as long as possible.
    fn next(&mut self, count: u64) -> Vec<EntryId> {
        // It is prime to all sizes.
        const STEP: usize = 7919;
        let mut next = || {
            self.at = (self.at + STEP) % self.ids.len();
            self.ids[self.at]
        };
        (0..count).map(|_| next()).collect()
    }

    fn claim(&self, id: EntryId, idle_ms: i64) -> XClaim {
        XClaim {
            key: KEY.into(),
            group: GROUP.into(),
            consumer: self.consumer(id.seq + id.ms),
            min_idle_ms: 0,
            ids: vec![id],
            delivered: Some(DeliveryTime::IdleMs(idle_ms)),
            retry_count: None,
            force: true,
            just_id: true,
            last_id: None,
        }
    }

    fn claim_all(&self, ids: &[EntryId], idle_ms: i64) {
        for id in ids {
            self.engine.submit(&self.claim(*id, idle_ms)).result.expect("it is an entry");
        }
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, pending: u64) {
    let mut queue = Queue::new(pending);
    group.bench_function(format!("XCLAIM, {pending} pending"), |bencher| {
        bencher.iter_custom(|iterations| {
            let ids = queue.next(iterations);
            let claims: Vec<XClaim> = ids.iter().map(|id| queue.claim(*id, 0)).collect();
            let begin = Instant::now();
            for claim in &claims {
                let claimed = queue.engine.submit(black_box(claim)).result.expect("the group is there");
                assert_eq!(claimed.len(), 1);
            }
            begin.elapsed()
        });
    });
    group.bench_function(format!("XACK, {pending} pending"), |bencher| {
        bencher.iter_custom(|iterations| {
            let ids = queue.next(iterations);
            let ack = |id: &EntryId| XAck { key: KEY.into(), group: GROUP.into(), ids: vec![*id] };
            // An id comes again when all had their turn: it must be pending by then.
            let took = ids.chunks(1000).map(|ids| {
                let acks: Vec<XAck> = ids.iter().map(ack).collect();
                let begin = Instant::now();
                for ack in &acks {
                    let count = queue.engine.submit(black_box(ack)).result.expect("the group is there");
                    assert_eq!(count, 1);
                }
                let took = begin.elapsed();
                queue.claim_all(ids, 0);
                took
            });
            took.sum()
        });
    });
    group.bench_function(format!("XNACK, {pending} pending"), |bencher| {
        bencher.iter_custom(|iterations| {
            let ids = queue.next(iterations);
            let took = ids.chunks(1000).map(|ids| {
                let nacks: Vec<XNack> = ids.iter().map(|id| nack(*id)).collect();
                let begin = Instant::now();
                for nack in &nacks {
                    queue.engine.submit(black_box(nack)).result.expect("the group is there");
                }
                let took = begin.elapsed();
                queue.claim_all(ids, 0);
                took
            });
            took.sum()
        });
    });
    group.bench_function(format!("XREADGROUP CLAIM COUNT 1, {pending} pending"), |bencher| {
        let read = |at| XReadGroup {
            count: Some(1),
            claim: Some(HOUR_MS as u64),
            ..XReadGroup::new(GROUP, format!("consumer {}", at % 1000), KEY)
        };
        let engine = queue.engine.clone();
        let mut prepare = |turn: u64| {
            let ids = queue.next(turn);
            queue.claim_all(&ids, 2 * HOUR_MS);
            (0..turn).map(read).collect::<Vec<_>>()
        };
        let run = |reads: Vec<XReadGroup>| {
            for read in &reads {
                let read = engine.submit(black_box(read)).result.expect("the group is there");
                assert_eq!(read.len(), 1, "one is idle enough");
            }
        };
        bencher.iter_custom(|iterations| in_turns(iterations, &mut prepare, run));
    });
    group.bench_function(format!("XAUTOCLAIM that finds the last, {pending} pending"), |bencher| {
        let last = *queue.ids.last().expect("some are pending");
        let sweep = autoclaim(EntryId::MIN, pending);
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                queue.claim_all(&[last], 2 * HOUR_MS);
                let begin = Instant::now();
                let claimed = queue.engine.submit(black_box(&sweep)).result.expect("the group is there");
                took += begin.elapsed();
                assert_eq!(claimed.entries.len(), 1);
            }
            took
        });
    });
    group.bench_function(format!("XAUTOCLAIM COUNT 100 that finds none, {pending} pending"), |bencher| {
        let mut next = EntryId::MIN;
        bencher.iter(|| {
            let sweep = autoclaim(next, 100);
            let claimed = queue.engine.submit(black_box(&sweep)).result.expect("the group is there");
            next = claimed.next;
        });
    });
}

fn nack(id: EntryId) -> XNack {
    let (key, group) = (KEY.into(), GROUP.into());
    XNack { key, group, mode: NackMode::Fail, ids: vec![id], retry_count: None, force: false }
}

fn autoclaim(start: EntryId, count: u64) -> XAutoClaim {
    let (key, group, consumer) = (KEY.into(), GROUP.into(), "consumer 0".into());
    XAutoClaim { key, group, consumer, min_idle_ms: HOUR_MS as u64, start, count, just_id: false }
}
