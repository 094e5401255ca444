//! COPY: streams of many pages share them, whatever becomes of either, and snapshots have each page once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claimlog::engine::{Engine, Options};
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk, SimRng};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Fields};

use crate::command::Command;
use crate::{Replay, seeds};

/// A disk, two places for snapshots, a clock.
struct World {
    disk: SimDisk,
    places: [MemoryPlace; 2],
    clock: Arc<SimClock>,
}

impl World {
    fn new(seed: u64) -> Self {
        let places = [MemoryPlace::new("a"), MemoryPlace::new("b")];
        Self { disk: SimDisk::new(seed), places, clock: Arc::new(SimClock::new(1_000_000)) }
    }

    fn open(&self) -> Engine {
        let options =
            Options::simulated(self.disk.dir(), Arc::clone(&self.clock) as _).segment_bytes(64 * 1024);
        let options = self
            .places
            .iter()
            .fold(options, |options, place| options.snapshot_place(Arc::new(place.clone())));
        let (engine, report) = options.open().unwrap();
        let damage = report.warnings.iter().find(|warning| !warning.contains("removed or replaced"));
        assert_eq!(damage, None, "{report}");
        engine
    }

    fn fork(&self) -> Self {
        let places = self.places.each_ref().map(MemoryPlace::fork);
        let disk = self.disk.after_crash(1, CrashStyle::Lost);
        Self { disk, places, clock: Arc::clone(&self.clock) }
    }

    /// No place has a part that its roots do not name.
    fn check_parts(&self) {
        for root_and_parts in self.places.iter().map(|place| (place.roots(), place.parts())) {
            let (roots, parts) = root_and_parts;
            let Some(root) = roots.first() else { continue };
            assert_eq!(parts.len(), root.part_count as usize + root.dropped.len(), "{root:?}");
        }
    }
}

fn key(rng: &mut SimRng) -> Key {
    let db = DbIndex::new(u8::from(rng.one_in(6))).unwrap();
    Key { db, name: Bytes::copy_from_slice(&[b'a' + rng.below(4) as u8]) }
}

fn group(rng: &mut SimRng) -> Bytes {
    Bytes::from(format!("group {}", rng.below(50)))
}

fn add(key: &Key, rng: &mut SimRng) -> Command {
    let fields = Fields::from_pairs([("field", "v".repeat(rng.below(200) as usize))]);
    Command::XAdd(XAdd::new(key.clone(), fields))
}

fn adds(key: &Key, most: u64, rng: &mut SimRng) -> Vec<Command> {
    (0..1 + rng.below(most)).map(|_| add(key, rng)).collect()
}

fn trim(key: Key, rng: &mut SimRng) -> Command {
    let references = [References::Keep, References::Delete, References::Acked][rng.below(3) as usize];
    let keep = Keep::Newest(rng.below(400));
    Command::XTrim(XTrim { key, trim: Trim { approximate: rng.one_in(2), references, ..keep.exactly() } })
}

fn copy(from: Key, to: Key) -> Command {
    Command::Copy(Copy { from, to, replace: true })
}

/// A random change to a stream of many pages, or to where it is.
fn random(rng: &mut SimRng) -> Command {
    let key = key(rng);
    let other = self::key(rng);
    match rng.below(24) {
        0..5 => Command::Transaction(adds(&key, 150, rng)),
        5..7 => {
            let create = |rng: &mut SimRng| XGroupCreate {
                key: key.clone(),
                group: group(rng),
                start: GroupStart::After(EntryId::MIN),
                make_stream: true,
                entries_read: None,
            };
            Command::Transaction((0..12).map(|_| Command::XGroupCreate(create(rng))).collect())
        }
        7..11 => {
            let consumer = format!("consumer {}", rng.below(100));
            let read = XReadGroup::new(group(rng), consumer, key.name);
            Command::XReadGroup(XReadGroup { db: key.db, count: Some(rng.below(400)), ..read })
        }
        11 => Command::XAutoClaim(XAutoClaim {
            key,
            group: group(rng),
            consumer: Bytes::from("claimer"),
            min_idle_ms: 0,
            start: EntryId::new(1_000_000 + rng.below(2000), 0),
            count: 40,
            just_id: rng.one_in(2),
        }),
        12 => trim(key, rng),
        13 => {
            let once = |rng: &mut SimRng| Idempotent {
                producer: Bytes::from(format!("producer {}", rng.below(3))),
                iid: Bytes::from(format!("iid {}", rng.below(300))),
            };
            let add = |rng: &mut SimRng| XAdd {
                once: Some(once(rng)),
                ..XAdd::new(key.clone(), Fields::from_pairs([("f", "v")]))
            };
            Command::Transaction((0..80).map(|_| Command::XAdd(add(rng))).collect())
        }
        14..17 => Command::Copy(Copy { from: key, to: other, replace: rng.one_in(2) }),
        17..19 => {
            // Both are changed before and after, and the copy is copied.
            let third = self::key(rng);
            let mut steps = adds(&key, 30, rng);
            steps.push(copy(key.clone(), other.clone()));
            steps.extend(adds(&key, 30, rng));
            steps.extend(adds(&other, 30, rng));
            steps.push(copy(other.clone(), third.clone()));
            steps.push(trim(key, rng));
            steps.extend(adds(&third, 30, rng));
            steps.push(trim(other, rng));
            Command::Transaction(steps)
        }
        19 => {
            Command::Rename(Rename { db: key.db, from: key.name, to: other.name, if_absent: rng.one_in(2) })
        }
        20 => Command::Move(Move { key, to: other.db }),
        21 => Command::SwapDb(SwapDb { one: key.db, other: other.db }),
        22 => Command::Del(Del { db: key.db, keys: vec![key.name] }),
        _ if rng.one_in(3) => Command::Flush(Flush { db: Some(key.db) }),
        _ => Command::XGroupDestroy(XGroupDestroy { key, group: group(rng) }),
    }
}

#[test]
fn copies_of_long_streams_and_snapshots_of_them() {
    for seed in seeds(12) {
        let _replay = Replay("copies_of_long_streams_and_snapshots_of_them", seed);
        let mut rng = SimRng::new(seed);
        let world = World::new(seed);
        let mut engine = world.open();
        for step in 0..120 {
            world.clock.advance(Duration::from_millis(7));
            let command = random(&mut rng);
            command.execute(&engine).unwrap();
            match rng.below(16) {
                0..4 => {
                    engine.snapshot().unwrap();
                    world.check_parts();
                }
                4 => {
                    let digest = engine.digest();
                    engine.check().unwrap();
                    engine.close().unwrap();
                    engine = world.open();
                    assert_eq!(engine.digest(), digest, "seed {seed}, step {step}");
                }
                5 => {
                    let (digest, lost) = (engine.digest(), rng.below(2) as usize);
                    // Both of this moment: the one that is built anew in full has what the other one came to have.
                    while engine.snapshot().unwrap().is_some() {}
                    world.check_parts();
                    let left = world.fork();
                    left.places[lost].lose();
                    let anew = left.open();
                    assert_eq!(anew.digest(), digest, "seed {seed}, step {step}");
                    anew.check().unwrap();
                    if let Some(report) = anew.snapshot().unwrap() {
                        let other = &left.places[1 - lost].roots()[0];
                        assert_eq!(report.parts_in_all, other.part_count, "seed {seed}, step {step}");
                    }
                }
                _ => {}
            }
        }
    }
}

/// A copy costs a snapshot no more than what was changed since.
#[test]
fn a_snapshot_has_shared_pages_once() {
    let world = World::new(1);
    let engine = world.open();
    let mut rng = SimRng::new(1);
    let original = Key::from("original");
    for _ in 0..20 {
        Command::Transaction(adds(&original, 200, &mut rng)).execute(&engine).unwrap();
    }
    let first = engine.snapshot().unwrap().unwrap();
    engine.snapshot().unwrap();
    assert!(first.parts > 10, "{first}");
    copy(original.clone(), Key::from("copy")).execute(&engine).unwrap();
    add(&original, &mut rng).execute(&engine).unwrap();
    add(&Key::from("copy"), &mut rng).execute(&engine).unwrap();
    let second = engine.snapshot().unwrap().unwrap();
    assert!(second.parts < 10 && second.parts_in_all < first.parts_in_all + 5, "{first}\n{second}");
    engine.submit(&Del { db: original.db, keys: vec![original.name] }).result.unwrap();
    let digest = engine.digest();
    engine.snapshot().unwrap();
    engine.snapshot().unwrap();
    world.check_parts();
    engine.close().unwrap();
    assert_eq!(world.open().digest(), digest);
}
