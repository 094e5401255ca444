//! Verification of what lies on the disk while the engine runs: rot is found, named, counted and healed before a restart
//! would stumble over it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use claimlog::engine::{Engine, Event, Options, Settings, VerifyStats};
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk, SimRng};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Fields};

use crate::{Replay, seeds};

const SEGMENT_BYTES: u64 = 16 * 1024;

struct World {
    disk: SimDisk,
    places: [MemoryPlace; 2],
    clock: Arc<SimClock>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed),
            places: [MemoryPlace::new("a"), MemoryPlace::new("b")],
            clock: Arc::new(SimClock::new(1000)),
            told: Arc::default(),
        }
    }

    fn options(&self) -> Options {
        let told = Arc::clone(&self.told);
        let options = Options::simulated(self.disk.dir(), Arc::clone(&self.clock) as _)
            .segment_bytes(SEGMENT_BYTES)
            // Snapshots when the test says so, or when damage does.
            .snapshot_log_bytes(1 << 40)
            .on_event(move |event| told.lock().unwrap().push(event.clone()));
        self.places.iter().fold(options, |options, place| options.snapshot_place(Arc::new(place.clone())))
    }

    fn open(&self) -> Engine {
        self.options().open().unwrap_or_else(|error| panic!("{error}")).0
    }

    /// What the next process finds after a power cut.
    fn after_power_cut(&self, seed: u64) -> Self {
        let places = self.places.each_ref().map(|place| place.after_crash(seed));
        let disk = self.disk.after_crash(seed, CrashStyle::Lost);
        Self { disk, places, clock: Arc::clone(&self.clock), told: Arc::default() }
    }

    /// How many were told of that are so.
    fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.told.lock().unwrap().iter().filter(|event| is(event)).count()
    }

    fn found(&self) -> usize {
        self.count(|event| matches!(event, Event::DamageFound(_) | Event::StoreDamaged(_)))
    }

    fn healed(&self) -> usize {
        self.count(|event| matches!(event, Event::DamageHealed { .. }))
    }

    /// A round, and what it has healed.
    fn verify_and_heal(&self, engine: &Engine) -> VerifyStats {
        engine.verify();
        for _ in 0..3 {
            engine.tick().unwrap();
        }
        engine.stats().verify
    }

    fn segments(&self) -> Vec<String> {
        self.disk.files().into_iter().filter(|name| name.ends_with(".seg")).collect()
    }

    /// A byte of a file that is not zero (frames are followed by many that are), or, now and then, any up to the last
    /// such.
    fn byte_of(&self, file: &str, rng: &mut SimRng) -> Option<u64> {
        let bytes = self.disk.read_file(file).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let last = used.last()?;
        if rng.one_in(10) {
            return Some(rng.below(*last as u64));
        }
        used.get(usize::try_from(rng.below(used.len() as u64)).unwrap()).map(|at| *at as u64)
    }
}

fn add(engine: &Engine, key: &str, ids: std::ops::Range<u64>) {
    for id in ids {
        let fields = Fields::from_pairs([("field", format!("value {id}, of some length"))]);
        let add = XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key, fields) };
        engine.execute_blocking(&add).unwrap();
    }
}

/// Four streams; with a snapshot in each place, if asked, and more log behind these.
fn filled(world: &World, snapshots: bool) -> Engine {
    let engine = world.open();
    for round in 0..4 {
        for stream in 0..4 {
            add(&engine, &format!("s{stream}"), 1 + round * 20..1 + (round + 1) * 20);
        }
        if snapshots && round < 2 {
            engine.snapshot().unwrap().unwrap();
        }
    }
    engine
}

/// The segments that count, by what the engine reads: each of them once damaged at the byte that the seed says. It is
/// found; snapshots are taken, the segment goes, and a power cut right afterwards loses nothing.
#[test]
fn a_rotten_byte_in_the_log_is_found_and_healed() {
    let (mut found, mut padding) = (0, 0);
    for seed in seeds(60) {
        let _replay = Replay("a_rotten_byte_in_the_log_is_found_and_healed", seed);
        let mut rng = SimRng::new(seed);
        let world = World::new(seed);
        let engine = filled(&world, rng.one_in(2));
        let digest = engine.digest();
        let segments = world.segments();
        let segment = &segments[usize::try_from(rng.below(segments.len() as u64)).unwrap()];
        let Some(offset) = world.byte_of(segment, &mut rng) else { continue };
        world.disk.corrupt(segment, offset, 1 << rng.below(8)).unwrap();
        let counted = engine.verify();
        // Where nobody would miss it: in what fills a frame's block up, in the unused end of a header, in a segment
        // that was given up before.
        if counted.findings == 0 {
            padding += 1;
            drop(engine);
            let options = World { disk: world.disk.after_crash(seed, CrashStyle::Lost), ..world }.options();
            assert_eq!(options.open().unwrap().0.digest(), digest, "{segment} at {offset} was not seen");
            continue;
        }
        found += 1;
        assert_eq!((counted.findings, counted.unhealed.len(), world.found()), (1, 1, 1));
        let finding = counted.last_finding.as_ref().unwrap();
        assert!(finding.file.ends_with(segment.as_str()), "{finding} is about {segment}");
        assert!(finding.offset.unwrap() <= offset, "{finding} is before {offset}");
        assert!(finding.seq.is_some());
        let stats = world.verify_and_heal(&engine);
        assert_eq!((stats.findings, &stats.unhealed[..]), (1, &[][..]), "{finding} was not healed");
        assert_eq!(world.healed(), 1);
        assert!(!world.segments().contains(segment), "{segment} is not used again");
        assert_eq!(engine.digest(), digest);
        assert_eq!(engine.verify().findings, 1, "nothing is wrong any more");
        let left = world.after_power_cut(seed);
        let (engine, report) = left.options().open().unwrap();
        assert_eq!(engine.digest(), digest, "{report}");
        add(&engine, "s0", 1000..1010);
    }
    eprintln!("{found} found, {padding} that nobody needs");
    assert!(found > padding * 2, "most bytes count: {found} to {padding}");
}

/// The same without the verification: what it is for.
#[test]
fn what_is_not_found_in_time_is_refused_at_the_next_start() {
    let world = World::new(1);
    let engine = filled(&world, false);
    let digest = engine.digest();
    world.disk.corrupt(&world.segments()[1], 600, 1).unwrap();
    let left = world.after_power_cut(1);
    left.options().open().unwrap_err();
    let stats = world.verify_and_heal(&engine);
    assert_eq!((stats.findings, stats.unhealed.len()), (1, 0));
    drop(engine);
    assert_eq!(world.after_power_cut(1).open().digest(), digest);
}

/// A segment that is missing, shortened or can't be read; and the file that says which store it is.
#[test]
fn other_damage_is_found_too() {
    type Harm = fn(&World, &str);
    let harms: [(&str, Harm); 4] = [
        ("removed", |world, file| world.disk.remove_file(file).unwrap()),
        ("shortened", |world, file| {
            let bytes = world.disk.read_file(file).unwrap();
            world.disk.write_file(file, &bytes[..600]);
        }),
        ("another's", |world, file| {
            let bytes = world.disk.read_file(&world.segments()[2]).unwrap();
            world.disk.write_file(file, &bytes);
        }),
        ("unreadable", |world, file| world.disk.break_reads(file).unwrap()),
    ];
    for (name, harm) in harms {
        let world = World::new(1);
        let engine = filled(&world, false);
        let digest = engine.digest();
        let segment = world.segments()[1].clone();
        harm(&world, &segment);
        let stats = world.verify_and_heal(&engine);
        assert_eq!((stats.findings, stats.unhealed.len()), (1, 0), "{name}: {stats:?}");
        drop(engine);
        assert_eq!(world.after_power_cut(1).open().digest(), digest, "{name}");
    }
    for harm in [
        |world: &World| world.disk.corrupt("STORE", 20, 4).unwrap(),
        |world: &World| {
            world.disk.remove_file("STORE").unwrap();
        },
    ] {
        let world = World::new(1);
        let engine = filled(&world, false);
        let digest = engine.digest();
        harm(&world);
        let left = world.after_power_cut(1);
        left.options().open().unwrap_err();
        let stats = engine.verify();
        assert_eq!((stats.findings, stats.unhealed.len(), world.healed()), (1, 0, 1));
        assert!(stats.last_finding.unwrap().file.ends_with("STORE"));
        drop(engine);
        assert_eq!(world.after_power_cut(1).open().digest(), digest);
    }
}

/// Any part of either store, or its root, rotten or gone: the store is given up and built anew.
#[test]
fn a_rotten_part_of_a_snapshot_is_found_and_the_store_built_anew() {
    for seed in seeds(40) {
        let _replay = Replay("a_rotten_part_of_a_snapshot_is_found_and_the_store_built_anew", seed);
        let mut rng = SimRng::new(seed);
        let world = World::new(seed);
        let engine = filled(&world, true);
        // Turns that drop what an earlier one named, in the middle of rounds too.
        for round in 0..rng.below(4) {
            add(&engine, "s1", 500 + round * 10..505 + round * 10);
            engine.snapshot().unwrap();
        }
        assert_eq!(world.verify_and_heal(&engine).findings, 0);
        let digest = engine.digest();
        let at = usize::try_from(rng.below(2)).unwrap();
        let (place, other) = (&world.places[at], &world.places[1 - at]);
        let root = place.roots().remove(0);
        let named: Vec<_> = place
            .parts()
            .into_iter()
            .filter(|key| key.changed_at <= root.seq && !root.dropped.contains(key))
            .collect();
        let part = named[usize::try_from(rng.below(named.len() as u64)).unwrap()];
        match rng.below(4) {
            0 => place.damage_root(root.seq),
            1 => place.lose_part(part),
            _ => place.damage_part(part),
        }
        let stats = engine.verify();
        assert_eq!((stats.findings, stats.unhealed.len(), world.found()), (1, 1, 1), "{stats:?}");
        let named = format!("snapshot store {}-0001", ["a", "b"][at]);
        assert_eq!(stats.last_finding.unwrap().file, named);
        let stats = world.verify_and_heal(&engine);
        assert_eq!((stats.findings, stats.unhealed.len(), world.healed()), (1, 0, 1), "{stats:?}");
        let stores = engine.stats().snapshots.stores;
        assert!(stores.iter().all(|store| store.trouble.is_none() && store.seq.is_some()), "{stores:?}");
        drop(engine);
        other.lose();
        assert_eq!(world.after_power_cut(seed).open().digest(), digest);
    }
}

/// Damage that can't be healed stays reported, and is healed when it can be.
#[test]
fn what_can_not_be_healed_stays_reported() {
    let world = World::new(1);
    let engine = filled(&world, false);
    let digest = engine.digest();
    world.places.iter().for_each(|place| place.fail_after(Some(0)));
    let segment = world.segments()[1].clone();
    world.disk.corrupt(&segment, 600, 1).unwrap();
    for round in 0..3 {
        let stats = world.verify_and_heal(&engine);
        assert_eq!((stats.findings, stats.unhealed.len()), (1, 1), "round {round}: {stats:?}");
        assert_eq!((world.found(), world.healed()), (1, 0), "it is told once");
        world.clock.advance(Duration::from_secs(2));
    }
    assert!(engine.stats().snapshots.failed > 0);
    assert!(world.segments().contains(&segment));
    world.places.iter().for_each(|place| place.fail_after(None));
    world.clock.advance(Duration::from_secs(60));
    engine.tick().unwrap();
    let stats = engine.stats().verify;
    assert_eq!((stats.findings, stats.unhealed.len(), world.healed()), (1, 0, 1), "{stats:?}");
    drop(engine);
    assert_eq!(world.after_power_cut(1).open().digest(), digest);

    // Without any place for snapshots nothing can be done but to say so.
    let world = World::new(2);
    let told = Arc::clone(&world.told);
    let options =
        Options::simulated(world.disk.dir(), Arc::clone(&world.clock) as _).segment_bytes(SEGMENT_BYTES);
    let engine = options.on_event(move |event| told.lock().unwrap().push(event.clone())).open().unwrap().0;
    add(&engine, "s", 1..200);
    world.disk.corrupt(&world.segments()[1], 600, 1).unwrap();
    let stats = world.verify_and_heal(&engine);
    assert_eq!((stats.findings, stats.unhealed.len(), world.found(), world.healed()), (1, 1, 1, 0));
    assert_eq!(engine.stats().snapshots.failed, 0);
}

/// By the clock, at no more than the rate, round after round; and off when it is off.
#[test]
fn the_rate_is_kept() {
    let world = World::new(1);
    drop(filled(&world, true));
    let engine = world.options().verify_bytes_per_second(10_000).open().unwrap().0;
    let set = |verify_bytes_per_second, verify_interval_secs| {
        let settings = Settings { verify_bytes_per_second, verify_interval_secs, ..engine.settings() };
        engine.set_settings(settings).unwrap();
    };
    let run = |seconds: u64| {
        for _ in 0..seconds * 10 {
            world.clock.advance(Duration::from_millis(100));
            engine.tick().unwrap();
        }
        engine.stats().verify
    };
    assert_eq!((run(10).bytes, run(1).running), (0, false), "the first round comes after the interval");
    set(10_000, 0);
    let slow = run(20);
    assert!((150_000..=215_000).contains(&slow.bytes), "20 seconds of 10,000 bytes: {slow:?}");
    assert!(slow.rounds >= 1 && slow.last_round_at_ms.is_some(), "{slow:?}");
    set(0, 0);
    assert_eq!(run(20).bytes, slow.bytes, "0 is off");
    set(100_000, 0);
    let fast = run(20);
    assert!(fast.rounds > slow.rounds * 3, "{slow:?}, then {fast:?}");
    assert!(fast.bytes - slow.bytes < 2_100_000, "{slow:?}, then {fast:?}");
    // A round an hour.
    set(100_000_000, 3600);
    let before = run(2).rounds;
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(3600));
        run(1);
    }
    assert!((4..=6).contains(&(run(1).rounds - before)));
    assert_eq!(world.found(), 0);
    assert!(engine.stats().verify.bytes > 0);
}

/// Rounds while everything goes on: commands, snapshots, cuts, segments used again, restarts. Nothing is ever said to be
/// damaged that is not.
#[test]
fn nothing_sound_is_called_damaged() {
    for seed in seeds(30) {
        let _replay = Replay("nothing_sound_is_called_damaged", seed);
        let mut rng = SimRng::new(seed);
        let mut world = World::new(seed);
        let mut rounds = 0;
        let mut id = 0;
        // Slowly enough that a segment is cut and its file used again while it is being read, or so that there are many
        // rounds.
        let rate = if rng.one_in(2) { 2_000 } else { 200_000 };
        for life in 0..3 {
            let options = world.options().snapshot_log_bytes(40_000).verify_bytes_per_second(rate);
            let engine = options.open().unwrap().0;
            let settings = Settings { verify_interval_secs: 0, ..engine.settings() };
            engine.set_settings(settings).unwrap();
            for _ in 0..150 {
                let count = 1 + rng.below(12);
                add(&engine, &format!("s{}", rng.below(5)), id + 1..id + 1 + count);
                id += count;
                if rng.one_in(9) {
                    let (key, trim) = (Key::from(&*format!("s{}", rng.below(5))), Keep::Newest(10).exactly());
                    engine.execute_blocking(&XTrim { key, trim }).unwrap();
                }
                world.clock.advance(Duration::from_millis(rng.below(400)));
                engine.tick().unwrap();
                if rng.one_in(40) {
                    engine.verify();
                }
            }
            let stats = engine.stats();
            assert_eq!((stats.verify.findings, world.found()), (0, 0), "life {life}: {stats:?}");
            assert!(stats.snapshots.taken > 3, "{stats:?}");
            rounds += stats.verify.rounds;
            if rng.one_in(2) {
                engine.close().unwrap();
            } else {
                drop(engine);
            }
            world = world.after_power_cut(seed);
        }
        assert!(rounds > 10 || rate == 2_000, "{rounds}");
    }
}

/// A segment is given up while it is being read, and its file is used again, at any moment of that.
#[test]
fn a_segment_that_is_used_again_while_it_is_read_is_not_called_damaged() {
    for before in 1..60 {
        let world = World::new(1);
        let engine = filled(&world, false);
        let settings =
            Settings { verify_bytes_per_second: 700, verify_interval_secs: 0, ..engine.settings() };
        engine.set_settings(settings).unwrap();
        let run = |seconds: u64| {
            for _ in 0..seconds {
                world.clock.advance(Duration::from_secs(1));
                engine.tick().unwrap();
            }
        };
        run(before);
        for id in 2000..2002 {
            add(&engine, "s0", id..id + 1);
            engine.snapshot().unwrap().unwrap();
        }
        add(&engine, "s1", 3000..3150);
        run(40);
        assert_eq!((engine.stats().verify.findings, world.found()), (0, 0), "given up after {before} s");
    }
}
