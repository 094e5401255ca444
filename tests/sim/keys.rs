//! Keys as a whole: scanning them while they change, and copies that share pages with their originals.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use claimlog::Fields;
use claimlog::engine::{Engine, Options};
use claimlog::io::sim::{SimClock, SimDisk, SimRng};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;

use crate::{Replay, seeds};

fn run<O: Op>(engine: &Engine, op: &O) -> O::Reply {
    engine.submit(op).result.unwrap()
}

fn add(engine: &Engine, key: &str) {
    run(engine, &XAdd::new(key, Fields::from_pairs([("field", "value")])));
}

fn copy(from: &str, to: &str) -> Copy {
    Copy { from: from.into(), to: to.into(), replace: true }
}

/// Names come and go, are renamed over one another and replaced by copies. What is there from the first step of a scan to
/// its last is met, once.
#[test]
fn a_scan_meets_every_name_that_is_there_all_the_time() {
    for seed in seeds(50) {
        let _replay = Replay("a_scan_meets_every_name_that_is_there_all_the_time", seed);
        let mut rng = SimRng::new(seed);
        let disk = SimDisk::new(seed);
        let options = Options::simulated(disk.dir(), Arc::new(SimClock::new(5)));
        let engine = options.open().unwrap().0;
        let db = DbIndex::default();
        let stays: BTreeSet<String> = (0..60).map(|number| format!("stays {number}")).collect();
        stays.iter().for_each(|key| add(&engine, key));
        let mut met: Vec<Bytes> = Vec::new();
        let mut cursor = 0;
        loop {
            let step = run(&engine, &Scan { db, cursor, count: 1 + rng.below(9), pattern: None });
            assert!(step.next < 1 << 53, "some clients keep it as a double");
            met.extend(step.keys);
            cursor = step.next;
            if cursor == 0 {
                break;
            }
            let other = format!("other {}", rng.below(40));
            let kept = stays.iter().nth(rng.below(60) as usize).unwrap();
            add(&engine, &other);
            match rng.below(3) {
                0 => {
                    // The key behind the name is another one from now on.
                    let (from, to) = (Bytes::from(other), Bytes::from(kept.clone()));
                    assert!(run(&engine, &Rename { db, from, to, if_absent: false }));
                }
                1 => assert!(run(&engine, &copy(&other, kept))),
                _ => assert_eq!(run(&engine, &Del { db, keys: vec![other.into()] }), 1),
            }
        }
        for key in &stays {
            let times = met.iter().filter(|found| ***found == *key.as_bytes()).count();
            assert_eq!(times, 1, "{key}");
        }
    }
}

/// Copies of copies, changed on both sides, removed in any order, with snapshots in two stores and restarts between: what
/// one snapshot drops another stream may still be made of.
#[test]
fn copies_share_pages_and_nothing_else() {
    for seed in seeds(25) {
        let _replay = Replay("copies_share_pages_and_nothing_else", seed);
        let mut rng = SimRng::new(seed);
        let disk = SimDisk::new(seed);
        let clock = Arc::new(SimClock::new(1_000_000));
        let stores = [MemoryPlace::new("a"), MemoryPlace::new("b")];
        let open = || {
            Options::simulated(disk.dir(), Arc::clone(&clock) as _)
                .snapshot_place(Arc::new(stores[0].clone()))
                .snapshot_place(Arc::new(stores[1].clone()))
                .open()
                .unwrap()
        };
        let mut engine = open().0;
        let names = ["a", "b", "c", "d"];
        let db = DbIndex::default();
        for _ in 0..120 {
            let (one, other) = (names[rng.below(4) as usize], names[rng.below(4) as usize]);
            match rng.below(12) {
                // Enough for several pages.
                0..5 => (0..rng.below(40)).for_each(|_| {
                    let value = "v".repeat(200 + rng.below(400) as usize);
                    run(&engine, &XAdd::new(one, Fields::from_pairs([("field", value)])));
                }),
                5 if one != other => drop(engine.submit(&copy(one, other))),
                // Copied between two changes of one batch.
                6 if one != other => {
                    let add = |key| XAdd::new(key, Fields::from_pairs([("in a", "batch")]));
                    let steps = |steps: &mut claimlog::engine::Transaction<'_>| {
                        steps.execute(&add(one)).unwrap();
                        steps.execute(&copy(one, other)).unwrap();
                        steps.execute(&add(one)).unwrap();
                        steps.execute(&add(other)).unwrap();
                    };
                    engine.transaction(steps).result.unwrap();
                }
                7 => {
                    let length = run(&engine, &XLen { key: one.into() });
                    let trim = Keep::Newest(rng.below(length + 1)).exactly();
                    run(&engine, &XTrim { key: one.into(), trim });
                }
                8 => drop(run(&engine, &Del { db, keys: vec![one.into()] })),
                9 | 10 => drop(engine.snapshot().unwrap()),
                _ => {
                    let digest = engine.digest();
                    engine.close().unwrap();
                    let (next, report) = open();
                    assert_eq!(next.digest(), digest, "{report}");
                    assert!(report.warnings.is_empty(), "{report}");
                    engine = next;
                }
            }
            engine.check().unwrap();
        }
    }
}
