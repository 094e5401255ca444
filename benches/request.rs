//! Requests through `Engine::submit`: deciding, encoding, applying, appending to the log's buffer, dropping the reply.
//!
//! Nobody waits for the disk, which is one that forgets: whenever 64 MiB are unwritten they are framed, get their
//! checksums and go nowhere, and that is in the figures. Sockets and the protocol are not.

use std::hint::black_box;
use std::time::Duration;

use claimlog::EntryId;
use claimlog::engine::Engine;
use claimlog::op::{Del, Keep, Trim, XAck, XAdd, XClaim};
use criterion::Criterion;

use super::common::{GROUP, KEY, add, fill, forgetful, in_turns, make_group, read_new, xadd};

/// So many are pending where requests deal with pending entries.
const PENDING: u64 = 100_000;

pub(crate) fn benches(criterion: &mut Criterion) {
    xadd_trimmed(criterion);
    xreadgroup(criterion, 1);
    xreadgroup(criterion, 100);
    let (engine, _) = forgetful().open().expect("an empty disk");
    let ids = fill(&engine, PENDING);
    xclaim(criterion, &engine, &ids);
    xack(criterion, &engine, &ids);
}

/// Trimmed, so that memory stays flat: about every hundredth one drops a node.
fn xadd_trimmed(criterion: &mut Criterion) {
    let (engine, _) = forgetful().open().expect("an empty disk");
    let trim = Trim { approximate: true, ..Keep::Newest(100_000).exactly() };
    let op = XAdd { trim: Some(trim), ..xadd() };
    add(&engine, 100_000);
    criterion.bench_function("request/XADD MAXLEN ~ 100000", |bencher| {
        bencher.iter(|| engine.submit(black_box(&op)).result.expect("an entry is added"));
    });
}

/// New entries, from a stream that is made anew for every hundred reads.
fn xreadgroup(criterion: &mut Criterion, count: u64) {
    let (engine, _) = forgetful().open().expect("an empty disk");
    let del = Del { db: Default::default(), keys: vec![KEY.into()] };
    let read = read_new("anna", count);
    let prepare = |turn: u64| {
        engine.submit(&del).result.expect("the key goes");
        make_group(&engine);
        add(&engine, turn * count);
        turn
    };
    let run = |turn: u64| {
        for _ in 0..turn {
            let read = engine.submit(black_box(&read)).result.expect("the group is there");
            assert!(!read.is_empty(), "there are as many as are read");
        }
    };
    let mut group = criterion.benchmark_group("request");
    // The preparations take many times as long, and do not count.
    group.measurement_time(Duration::from_millis(300)).warm_up_time(Duration::from_millis(300));
    group.bench_function(format!("XREADGROUP COUNT {count}"), |bencher| {
        bencher.iter_custom(|iterations| in_turns(iterations, prepare, run));
    });
}

fn claim(consumer: &'static str, ids: Vec<EntryId>) -> XClaim {
    XClaim {
        key: KEY.into(),
        group: GROUP.into(),
        consumer: consumer.into(),
        min_idle_ms: 0,
        ids,
        delivered: None,
        retry_count: None,
        force: true,
        just_id: false,
        last_id: None,
    }
}

/// Of one entry among 100,000 that are pending, each time another one, now for this consumer and now for that one.
fn xclaim(criterion: &mut Criterion, engine: &Engine, ids: &[EntryId]) {
    // 7919 is prime to 100,000: every id has its turn, and neighbours don't come one after the other.
    let mut order = (0..ids.len()).cycle().step_by(7919);
    let mut claims = [claim("ben", Vec::new()), claim("cleo", Vec::new())];
    criterion.bench_function("request/XCLAIM 1 of 100000", |bencher| {
        bencher.iter(|| {
            claims.swap(0, 1);
            let claim = &mut claims[0];
            claim.ids.clear();
            claim.ids.extend(order.next().map(|at| ids[at]));
            engine.submit(black_box(&*claim)).result.expect("it is pending")
        });
    });
}

/// Of one entry among 100,000 that are pending. Each hundred is made pending again by XCLAIM FORCE, uncounted.
fn xack(criterion: &mut Criterion, engine: &Engine, ids: &[EntryId]) {
    let mut order = ids.iter().cycle().step_by(7919);
    let mut gone: Vec<EntryId> = Vec::new();
    let mut prepare = |turn: u64| -> Vec<XAck> {
        engine.submit(&claim("anna", std::mem::take(&mut gone))).result.expect("they are entries");
        gone.extend(order.by_ref().take(turn as usize));
        let ack = |id: &EntryId| XAck { key: KEY.into(), group: GROUP.into(), ids: vec![*id] };
        gone.iter().map(ack).collect()
    };
    let run = |acks: Vec<XAck>| {
        for ack in &acks {
            let count = engine.submit(black_box(ack)).result.expect("the group is there");
            assert_eq!(count, 1, "it is pending");
        }
    };
    criterion.bench_function("request/XACK 1 of 100000", |bencher| {
        bencher.iter_custom(|iterations| in_turns(iterations, &mut prepare, run));
    });
}
