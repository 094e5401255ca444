//! Snapshots: when they are taken, what they cost, and what becomes of a place that fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claimlog::engine::{Engine, Event, Options, SnapshotError};
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::snapshot::{SnapshotPlace, StoreError};
use claimlog::{EntryId, Fields, OpenError};

/// A disk, two places for snapshots, a clock, and what the engine told.
struct World {
    disk: SimDisk,
    places: [MemoryPlace; 2],
    clock: Arc<SimClock>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl World {
    fn new() -> Self {
        Self {
            disk: SimDisk::new(1),
            places: [MemoryPlace::new("a"), MemoryPlace::new("b")],
            clock: Arc::new(SimClock::new(1000)),
            told: Arc::default(),
        }
    }

    fn options(&self) -> Options {
        let told = Arc::clone(&self.told);
        let options = Options::simulated(self.disk.dir(), Arc::clone(&self.clock) as _)
            .segment_bytes(16 * 1024)
            .on_event(move |event| told.lock().unwrap().push(event.clone()));
        self.places.iter().fold(options, |options, place| options.snapshot_place(Arc::new(place.clone())))
    }

    fn open(&self) -> Engine {
        self.options().open().unwrap().0
    }

    fn fork(&self) -> Self {
        let places = self.places.each_ref().map(MemoryPlace::fork);
        let disk = self.disk.after_crash(1, CrashStyle::Lost);
        Self { disk, places, clock: Arc::clone(&self.clock), told: Arc::default() }
    }

    fn warnings(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|event| event.is_warning()).map(ToString::to_string).collect()
    }
}

fn add(key: &str, id: u64) -> XAdd {
    let fields = Fields::from_pairs([("field", "a value of some length")]);
    XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key, fields) }
}

fn add_many(engine: &Engine, key: &str, ids: std::ops::Range<u64>) {
    for id in ids {
        engine.submit(&add(key, id)).result.unwrap();
    }
    engine.commit().unwrap();
}

/// A store that loses a part and says nothing is found out before anything depends on it.
#[test]
fn what_does_not_read_back_is_found_out_before_the_log_is_cut() {
    let mut lost = 0;
    for forgotten in 0..40 {
        let world = World::new();
        let engine = world.open();
        world.places[0].forget_put(Some(forgotten));
        for round in 0..6 {
            for stream in 0..5 {
                add_many(&engine, &format!("s{stream}"), 1 + round * 100..1 + (round + 1) * 100);
            }
            lost += u64::from(engine.snapshot().is_err());
        }
        let digest = engine.digest();
        for gone in 0..2 {
            let left = world.fork();
            left.places[gone].lose();
            let (engine, report) = left
                .options()
                .open()
                .unwrap_or_else(|error| panic!("part {forgotten} forgotten, place {gone} lost: {error}"));
            assert_eq!(engine.digest(), digest, "part {forgotten} forgotten, place {gone} lost: {report}");
        }
    }
    assert!(lost >= 15, "the test must test something: {lost}");
}

/// What a turn writes follows what changed since this place's last turn.
#[test]
fn a_turn_costs_what_changed() {
    let world = World::new();
    let engine = world.open();
    for stream in 0..50 {
        add_many(&engine, &format!("s{stream}"), 1..300);
    }
    let first = engine.snapshot().unwrap().unwrap();
    assert!(first.parts > 50, "{first}");
    engine.submit(&add("s7", 1000)).result.unwrap();
    let second = engine.snapshot().unwrap().unwrap();
    assert_eq!((first.store.as_str(), second.store.as_str()), ("a", "b"));
    assert!(second.parts >= first.parts, "the other place had nothing: {second}");
    for id in 1001..1005 {
        engine.submit(&add("s7", id)).result.unwrap();
        let next = engine.snapshot().unwrap().unwrap();
        assert!(next.parts <= 8, "{next}");
        assert!(next.parts_in_all.abs_diff(first.parts_in_all) < 4, "{next}");
    }
    assert!(engine.snapshot().unwrap().is_some(), "the older place is not up to date yet");
    assert!(engine.snapshot().unwrap().is_none(), "nothing changed");
    // What only old roots named is gone from the stores, but for what the newest root still has to drop.
    for place in &world.places {
        let root = &place.roots()[0];
        assert_eq!(place.parts().len(), root.part_count as usize + root.dropped.len());
    }
}

/// When the log has grown enough, by itself, with the log cut behind it.
#[test]
fn snapshots_are_taken_when_the_log_has_grown() {
    let world = World::new();
    let engine = world.options().snapshot_log_bytes(64 * 1024).open().unwrap().0;
    let trim = |id| XAdd { trim: Some(Keep::Newest(100).exactly()), ..add("s", id) };
    let mut most = 0;
    for id in 1..6000 {
        engine.submit(&trim(id)).result.unwrap();
        if id % 10 == 0 {
            engine.commit().unwrap();
            engine.tick().unwrap();
            most = most.max(world.disk.used());
        }
    }
    let stats = engine.stats().snapshots;
    assert!((8..40).contains(&stats.taken), "{stats:?}");
    assert!(stats.unsnapshotted_bytes < 80 * 1024, "{stats:?}");
    assert_eq!(world.warnings(), [""; 0]);
    assert!(most < 500 * 1024, "the log stays small: {most}");
    // And after a restart, what was replayed counts.
    drop(engine);
    let engine = world.options().snapshot_log_bytes(1024).open().unwrap().0;
    let before = engine.stats().snapshots;
    engine.tick().unwrap();
    assert_eq!(engine.stats().snapshots.taken, u64::from(before.unsnapshotted_bytes >= 1024));
}

/// A snapshot that the opening had no need of is looked at all the same, and built anew if it is damaged.
#[test]
fn a_damaged_older_snapshot_is_found_and_built_anew() {
    let world = World::new();
    let engine = world.open();
    for stream in 0..20 {
        add_many(&engine, &format!("s{stream}"), 1..200);
    }
    engine.snapshot().unwrap();
    engine.submit(&add("s1", 1000)).result.unwrap();
    engine.snapshot().unwrap();
    let digest = engine.digest();
    engine.close().unwrap();
    let parts = world.places[0].parts();
    world.places[0].damage_part(parts[parts.len() / 2]);
    let engine = world.open();
    engine.tick().unwrap();
    let warnings = world.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("snapshot store a-0001"), "{warnings:?}");
    engine.tick().unwrap();
    let stores = engine.stats().snapshots.stores;
    assert!(stores.iter().all(|store| store.trouble.is_none() && store.seq.is_some()), "{stores:?}");
    drop(engine);
    let left = world.fork();
    left.places[1].lose();
    assert_eq!(left.open().digest(), digest);
}

/// With both gone and the log cut there is nothing to be done but to say so.
#[test]
fn without_any_snapshot_a_log_that_was_cut_is_refused() {
    let world = World::new();
    let engine = world.open();
    for round in 0..20 {
        add_many(&engine, "s", 1 + round * 100..1 + (round + 1) * 100);
        engine.tick().unwrap();
        engine.snapshot().unwrap();
    }
    engine.close().unwrap();
    let damaged = world.fork();
    for place in &damaged.places {
        place.parts().into_iter().for_each(|key| place.damage_part(key));
    }
    let error = damaged.options().open().unwrap_err();
    assert!(matches!(error, OpenError::Snapshots { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("snapshot store a-0001") && text.contains("snapshot store b-0001"), "{text}");
    assert!(text.contains("Copy the whole directory"), "{text}");
    let lost = world.fork();
    lost.places.iter().for_each(MemoryPlace::lose);
    let text = lost.options().open().unwrap_err().to_string();
    assert!(text.contains("start-missing"), "{text}");
}

/// With the newest gone more of the log is needed than otherwise: if that is damaged too, both are named.
#[test]
fn a_damaged_snapshot_is_named_beside_the_log_that_it_would_have_spared() {
    let world = World::new();
    let engine = world.open();
    add_many(&engine, "s", 1..100);
    engine.snapshot().unwrap();
    // Longer than a segment, so that the damage is not in the newest one, which is looked at first.
    for round in 1..10 {
        add_many(&engine, "s", round * 100..(round + 1) * 100);
        engine.tick().unwrap();
    }
    engine.snapshot().unwrap();
    engine.close().unwrap();
    let newest = world.places.iter().max_by_key(|place| place.roots()[0].seq).unwrap();
    newest.parts().into_iter().for_each(|key| newest.damage_part(key));
    assert!(world.fork().options().open().is_ok(), "the older one will do");
    let segment = "log/0000000001.seg";
    world.disk.corrupt(segment, 512 + 60, 1).unwrap();
    let error = world.options().open().unwrap_err();
    assert!(matches!(error, OpenError::Snapshots { loaded: Some(_), .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("snapshot store b-0001") && text.contains(segment), "{text}");
    assert!(text.contains("with that of batch 99 in a-0001"), "{text}");
}

/// Of two copies to one and back: what is used no more is removed, but not before it may be.
#[test]
fn the_number_of_copies_may_change() {
    let world = World::new();
    let engine = world.open();
    add_many(&engine, "s", 1..100);
    engine.snapshot().unwrap();
    engine.submit(&add("s", 100)).result.unwrap();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    let engine = world.options().snapshot_copies(1).open().unwrap().0;
    assert!(!world.places[0].parts().is_empty(), "it is the older one");
    engine.submit(&add("s", 101)).result.unwrap();
    let report = engine.snapshot().unwrap().unwrap();
    assert_eq!(report.store, "b");
    assert!(world.places[0].parts().is_empty());
    let digest = engine.digest();
    engine.close().unwrap();
    let (engine, report) = world.options().open().unwrap();
    assert_eq!((engine.digest(), &report.warnings[..]), (digest, &[][..]));
    engine.submit(&add("s", 102)).result.unwrap();
    assert_eq!(engine.snapshot().unwrap().unwrap().store, "a");
}

/// A disk that is full: nothing is written, nothing is given up, and it goes on when there is room.
#[test]
fn without_room_nothing_is_begun() {
    let world = World::new();
    let engine = world.open();
    add_many(&engine, "s", 1..100);
    world.places.iter().for_each(|place| place.set_capacity(Some(100_000)));
    assert!(matches!(engine.snapshot(), Err(SnapshotError::NoRoom { .. })));
    let stats = engine.stats().snapshots;
    assert!(stats.stores.iter().all(|store| store.trouble.is_none()), "{stats:?}");
    assert!(stats.last_error.is_some_and(|why| why.contains("no room")));
    world.places.iter().for_each(|place| place.set_capacity(Some(3_000_000)));
    engine.snapshot().unwrap();
    assert!(engine.stats().snapshots.last_error.is_none());
}

/// What failed is tried again after a pause, not at every turn.
#[test]
fn a_failure_is_followed_by_a_pause() {
    let world = World::new();
    let engine = world.options().snapshot_log_bytes(1).open().unwrap().0;
    world.places[0].fail_after(Some(0));
    world.places[1].fail_after(Some(0));
    for id in 1..100 {
        engine.execute_blocking(&add("s", id)).unwrap();
        engine.tick().unwrap();
        world.clock.advance(Duration::from_millis(100));
    }
    let failed = engine.stats().snapshots.failed;
    assert!((3..=6).contains(&failed), "{failed} failures in 10 seconds");
    // Each of them keeps something until the process ends: in a whole day there are not many more.
    for id in 100..24 * 60 {
        engine.execute_blocking(&add("s", id)).unwrap();
        engine.tick().unwrap();
        world.clock.advance(Duration::from_secs(60));
    }
    let failed = engine.stats().snapshots.failed;
    assert!((20..=40).contains(&failed), "{failed} failures in a day");
    world.places[0].fail_after(None);
    world.places[1].fail_after(None);
    world.clock.advance(Duration::from_secs(3600));
    engine.tick().unwrap();
    assert_eq!(engine.stats().snapshots.taken, 1);
}

/// A power cut at each step of building a place anew, its creation and the removal of what it replaces included.
#[test]
fn a_crash_at_each_step_of_a_rebuild() {
    let mut rebuilt = 0;
    for operation in 0..40 {
        let world = World::new();
        let engine = world.open();
        for round in 0..4 {
            for stream in 0..3 {
                add_many(&engine, &format!("s{stream}"), 1 + round * 50..1 + (round + 1) * 50);
            }
            engine.snapshot().unwrap();
        }
        world.places[0].fail_after(Some(0));
        add_many(&engine, "s0", 1000..1010);
        engine.snapshot().unwrap_err();
        world.places[0].fail_after(Some(operation));
        let finished = engine.snapshot().is_ok() && world.places[0].generations().unwrap() == [2];
        rebuilt += u32::from(finished);
        engine.execute_blocking(&add("s1", 1000)).unwrap();
        let digest = engine.digest();
        drop(engine);
        for seed in 0..4 {
            let places = world.places.each_ref().map(|place| place.after_crash(seed));
            let left = World { disk: world.disk.after_crash(seed, CrashStyle::Lost), places, ..World::new() };
            let (engine, report) = left.options().open().unwrap();
            assert_eq!(engine.digest(), digest, "cut off at {operation}: {report}");
            assert_eq!(report.warnings, [""; 0], "cut off at {operation}");
            // It goes on with it, and then either is enough.
            for _ in 0..3 {
                engine.execute_blocking(&add("s2", engine.stats().applied + 10_000)).unwrap();
                engine.snapshot().unwrap();
            }
            assert!(left.places.iter().all(|place| place.generations().unwrap().len() == 1), "{operation}");
            let digest = engine.digest();
            for gone in 0..2 {
                let left = left.fork();
                left.places[gone].lose();
                assert_eq!(left.open().digest(), digest, "cut off at {operation}, then {gone} lost");
            }
        }
    }
    assert!((5..35).contains(&rebuilt), "the test must meet its steps: {rebuilt}");
}

/// The disk fills in the middle of a snapshot, or of a rebuild, though there seemed to be room: that store is lost, and
/// nothing else; it is built anew when there is room.
#[test]
fn a_disk_that_fills_in_the_middle_of_a_snapshot() {
    for put in 0..12 {
        for rebuild in [false, true] {
            let world = World::new();
            let engine = world.open();
            for round in 0..4 {
                for stream in 0..3 {
                    add_many(&engine, &format!("s{stream}"), 1 + round * 50..1 + (round + 1) * 50);
                }
                engine.snapshot().unwrap();
            }
            if rebuild {
                world.places[0].fail_after(Some(0));
                add_many(&engine, "s0", 1000..1010);
                engine.snapshot().unwrap_err();
                world.places[0].fail_after(None);
            }
            let (puts, full) = (AtomicU64::new(0), Arc::new(AtomicBool::new(true)));
            let is_full = Arc::clone(&full);
            world.places[0].on_call(move |call, _| {
                let why = "No space left on device".to_owned();
                let error = StoreError { store: "a".into(), kind: std::io::ErrorKind::StorageFull, why };
                let counted = call == "put" && puts.fetch_add(1, Ordering::Relaxed) >= put;
                if counted && is_full.load(Ordering::Relaxed) { Err(error) } else { Ok(()) }
            });
            for stream in 0..3 {
                add_many(&engine, &format!("s{stream}"), 2000..2010);
            }
            let failed = engine.snapshot().is_err();
            assert!(failed || put > 3, "full at {put}");
            let left = world.fork();
            left.places[0].on_call(|_, _| Ok(()));
            assert_eq!(left.open().digest(), engine.digest(), "full at {put}");
            full.store(false, Ordering::Relaxed);
            engine.execute_blocking(&add("s0", 3000)).unwrap();
            engine.snapshot().unwrap().unwrap();
            let digest = engine.digest();
            world.places[1].lose();
            assert_eq!(world.fork().open().digest(), digest, "full at {put}");
        }
    }
}

/// The snapshots of other data are not touched.
#[test]
fn snapshots_of_other_data_are_refused() {
    let other = World::new();
    let engine = other.options().new_store_id(|| [9; 16]).open().unwrap().0;
    add_many(&engine, "s", 1..10);
    engine.snapshot().unwrap();
    engine.close().unwrap();
    let mut world = World::new();
    let engine = world.options().new_store_id(|| [8; 16]).open().unwrap().0;
    add_many(&engine, "s", 1..20);
    engine.close().unwrap();
    world.places = other.places;
    let error = world.options().open().unwrap_err();
    assert!(matches!(error, OpenError::ForeignSnapshot { .. }), "{error}");
}

/// What an unfinished turn left is gone after the next one.
#[test]
fn an_unfinished_turn_leaves_nothing_for_ever() {
    for operation in 0..12 {
        let mut world = World::new();
        let engine = world.open();
        for round in 0..3 {
            add_many(&engine, "s", 1 + round * 10..1 + (round + 1) * 10);
            engine.snapshot().unwrap();
        }
        add_many(&engine, "s", 31..40);
        // The turn of place b, which a crash cuts off.
        world.places[1].fail_after(Some(operation));
        let _ = engine.snapshot();
        drop(engine);
        world = World { places: world.places.each_ref().map(|place| place.after_crash(operation)), ..world };
        let engine = world.open();
        for id in 40..44 {
            engine.execute_blocking(&add("s", id)).unwrap();
            engine.snapshot().unwrap();
        }
        for place in &world.places {
            let root = &place.roots()[0];
            assert_eq!(
                place.parts().len(),
                root.part_count as usize + root.dropped.len(),
                "cut off at {operation}"
            );
        }
    }
}

/// A snapshot proves that the log came so far, even if it can't be loaded any more.
#[test]
fn a_log_that_ends_before_a_damaged_snapshot_is_refused() {
    let world = World::new();
    let engine = world.open();
    add_many(&engine, "s", 1..10);
    engine.snapshot().unwrap();
    add_many(&engine, "s", 10..20);
    let before = world.disk.fork();
    add_many(&engine, "s", 20..30);
    engine.snapshot().unwrap();
    engine.close().unwrap();
    world.places[1].parts().into_iter().for_each(|key| world.places[1].damage_part(key));
    let text = World { disk: before, ..world }.options().open().unwrap_err().to_string();
    assert!(text.contains("proven-by-snapshot"), "{text}");
}

/// When snapshots fail for so long that the log would grow beyond bounds, what adds is refused; what frees is not, and
/// it ends by itself.
#[test]
fn the_log_does_not_grow_for_ever_without_a_snapshot() {
    let world = World::new();
    let options = world.options().snapshot_log_bytes(16 * 1024).unsnapshotted_bytes_max(100 * 1024);
    let engine = options.open().unwrap().0;
    world.places.iter().for_each(|place| place.fail_after(Some(0)));
    let refused = (1..1000).find_map(|id| {
        engine.tick().unwrap();
        engine.execute_blocking(&add("s", id)).err()
    });
    let text = refused.expect("there is an end to it").to_string();
    assert!(text.starts_with("MISCONF") && text.contains("in no snapshot (snapshot store a"), "{text}");
    assert!(engine.stats().log_full.is_some_and(|why| why.contains("in no snapshot")));
    let delete = XDel { key: "s".into(), ids: vec![EntryId::new(1, 0)] };
    assert_eq!(engine.execute_blocking(&delete).unwrap(), 1);
    world.places.iter().for_each(|place| place.fail_after(None));
    world.clock.advance(Duration::from_secs(60));
    engine.tick().unwrap();
    engine.execute_blocking(&add("s", 5000)).unwrap();
    assert!(engine.stats().log_full.is_none());
}

/// Adds so many entries of 1000 bytes, for which new segments are made.
fn add_long(engine: &Engine, count: usize) {
    for _ in 0..count {
        let fields = Fields::from_pairs([("field", "x".repeat(1000))]);
        engine.execute_blocking(&XAdd::new("s", fields)).unwrap();
        engine.tick().unwrap();
    }
}

/// A log of which old segments are kept for use again, in a directory on a disk that has no room left.
fn with_old_segments_and_no_room() -> (World, u64) {
    let world = World::new();
    world.disk.set_capacity(Some(64 << 20));
    let engine = world.open();
    for _ in 0..6 {
        add_long(&engine, 60);
        engine.snapshot().unwrap().unwrap();
    }
    let count = engine.execute_blocking(&XLen { key: "s".into() }).unwrap();
    engine.close().unwrap();
    let world = world.fork();
    // It was given up before, and others have filled the disk since.
    let _ = world.disk.remove_file("BALLAST");
    world.disk.set_capacity(Some(world.disk.used()));
    (world, count)
}

fn segments(world: &World) -> Vec<String> {
    world.disk.files().into_iter().filter(|path| path.starts_with("log/")).collect()
}

#[test]
fn a_full_disk_with_segments_that_nothing_needs_opens() {
    let (world, count) = with_old_segments_and_no_room();
    let before = segments(&world);
    let engine = world.open();
    assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), count);
    assert_ne!(segments(&world), before);
    drop(engine);
    let world = world.fork();
    assert_eq!(world.open().execute_blocking(&XLen { key: "s".into() }).unwrap(), count);
}

#[test]
fn old_segments_are_given_up_for_a_snapshot_without_room() {
    let world = World::new();
    world.disk.set_capacity(Some(64 << 20));
    let engine = world.open();
    for round in 0..6 {
        add_many(&engine, "s", round * 300 + 1..round * 300 + 300);
        engine.snapshot().unwrap().unwrap();
    }
    add_many(&engine, "s", 2000..2001);
    let before = segments(&world).len();
    world.places.iter().for_each(|place| place.set_capacity(Some(0)));
    assert!(matches!(engine.snapshot(), Err(SnapshotError::NoRoom { .. })));
    assert!(segments(&world).len() < before);
}

/// What can't be read and is not needed is told and left alone; what may be needed is a reason to refuse.
#[test]
fn an_unreadable_segment_is_a_reason_to_refuse_only_where_it_may_be_needed() {
    let (world, count) = with_old_segments_and_no_room();
    world.disk.set_capacity(None);
    let all = segments(&world);
    let (mut opened, mut refused) = (0, 0);
    for path in &all {
        let world = world.fork();
        world.disk.break_reads(path).unwrap();
        match world.options().open() {
            Ok((engine, report)) => {
                opened += 1;
                assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), count);
                let told = report.warnings.iter().any(|warning| warning.contains(path.as_str()));
                assert!(told, "{path}: {report}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(path.as_str()), "{path}: {error}");
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused of {all:?}");
}

/// For want of room what was given up is removed early, but not for the sake of a snapshot that nobody has read.
#[test]
fn a_whole_snapshot_is_not_removed_for_one_that_nobody_has_read() {
    let world = World::new();
    let engine = world.open();
    for _ in 0..3 {
        add_long(&engine, 40);
        engine.snapshot().unwrap().unwrap();
    }
    // One reading of "a" fails. It is given up, though all of it is whole, and building it anew fails.
    world.places[0].on_call(|call, generation| {
        if (generation == 1 && call == "read") || (generation > 1 && call == "put") {
            let (store, why) = ("a".to_owned(), format!("{call} fails"));
            return Err(StoreError { store, kind: std::io::ErrorKind::TimedOut, why });
        }
        Ok(())
    });
    assert!(engine.verify().last_finding.is_some());
    add_long(&engine, 5);
    assert!(engine.snapshot().is_err());
    let count = engine.execute_blocking(&XLen { key: "s".into() }).unwrap();
    drop(engine);
    let world = world.fork();
    world.places[0].on_call(|_, _| Ok(()));
    world.places[1].damage_part(world.places[1].parts()[0]);
    let engine = world.open();
    assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), count);
    world.places.iter().for_each(|place| place.set_capacity(Some(0)));
    assert!(engine.snapshot().is_err());
    drop(engine);
    let engine = world.fork().open();
    assert_eq!(engine.execute_blocking(&XLen { key: "s".into() }).unwrap(), count);
}
