//! Crashes at every operation on the disk, and again during the recovery.
//!
//! Since everything is deterministic, the state after batch n is known by its digest from a run without a crash. After
//! a crash the recovered state must be one of those, none before the last acknowledged batch (I4); that it is sound
//! in itself is checked too (I6). Long runs go on after each crash, with a shadow engine that never crashes.

use std::sync::Arc;

use claimlog::engine::{Engine, Options, Settings, SyncMode};
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk, SimRng};
use claimlog::op::{DbIndex, DbSize};
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{Error, Seq};

use crate::command::{Command, random};
use crate::{Replay, STEP, seeds};

const START_MS: u64 = 1_000_000;
const SEGMENT_BYTES: u64 = 16 * 1024;

/// A world: disk, snapshot stores, clock.
#[derive(Clone)]
struct World {
    disk: SimDisk,
    stores: Vec<MemoryPlace>,
    clock: Arc<SimClock>,
    settings: Settings,
}

impl World {
    fn new(seed: u64, mode: SyncMode) -> Self {
        let settings =
            Settings { sync_mode: mode, stream_node_max_entries: 1 + seed % 5, ..Settings::default() };
        Self {
            disk: SimDisk::new(seed),
            stores: vec![MemoryPlace::new("a"), MemoryPlace::new("b")],
            clock: Arc::new(SimClock::new(START_MS)),
            settings,
        }
    }

    fn options(&self) -> Options {
        let mut options = Options::simulated(self.disk.dir(), Arc::clone(&self.clock) as _)
            .segment_bytes(SEGMENT_BYTES)
            .settings(self.settings)
            .new_store_id(|| [7; 16]);
        for store in &self.stores {
            options = options.snapshot_place(Arc::new(store.clone()));
        }
        options
    }

    /// The world as a crash leaves it.
    fn after_crash(&self, seed: u64, style: CrashStyle) -> Self {
        let disk = self.disk.after_crash(seed, style);
        let stores: Vec<MemoryPlace> = match style {
            CrashStyle::Killed => self.stores.iter().map(MemoryPlace::fork).collect(),
            _ => self.stores.iter().map(|store| store.after_crash(seed)).collect(),
        };
        stores.iter().for_each(|store| store.fail_after(None));
        Self { disk, stores, clock: Arc::clone(&self.clock), settings: self.settings }
    }
}

/// What a script does at one step.
#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    /// Decided and applied, but nobody waits for it: it goes to disk with a later one.
    Unacknowledged(Command),
    Tick,
    Snapshot,
    /// An orderly end and a new opening.
    Reopen,
}

fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut rng = SimRng::new(seed);
    let step = |_| match rng.below(24) {
        0 => Step::Tick,
        1 => Step::Snapshot,
        2 if rng.one_in(2) => Step::Reopen,
        3..7 => Step::Unacknowledged(random(&mut rng, true)),
        _ => Step::Command(random(&mut rng, true)),
    };
    (0..steps).map(step).collect()
}

/// What is known about a run.
#[derive(Clone, Default)]
struct History {
    /// The digest after each batch, from 0 on.
    digests: Vec<u128>,
    /// The last batch that was acknowledged.
    acknowledged: Seq,
}

impl History {
    /// Runs a script to its end or to the crash.
    fn run(&mut self, world: &World, script: &[Step], learn: bool) -> Result<(), Error> {
        let Ok((mut engine, _)) = world.options().open() else { return Err(Error::Closed) };
        if learn && self.digests.is_empty() {
            self.digests.push(engine.digest());
        }
        for step in script {
            world.clock.advance(STEP);
            // What has expired goes first, in a batch of its own.
            let after = engine.submit(&DbSize { db: DbIndex::default() }).after;
            self.learn(&engine, after, learn);
            match step {
                Step::Command(command) => {
                    let ticket = command.submit(&engine);
                    let after = ticket.after;
                    self.learn(&engine, after, learn);
                    engine.redeem_blocking(ticket)?;
                    if world.settings.sync_mode == SyncMode::Always {
                        self.acknowledged = self.acknowledged.max(after);
                    }
                }
                Step::Unacknowledged(command) => {
                    let after = command.submit(&engine).after;
                    self.learn(&engine, after, learn);
                }
                Step::Tick => engine.tick()?,
                Step::Snapshot => {
                    if let Ok(Some(report)) = engine.snapshot() {
                        self.acknowledged = self.acknowledged.max(report.seq);
                    }
                }
                Step::Reopen => {
                    let last = engine.stats().applied;
                    engine.close()?;
                    self.acknowledged = Seq::new(last);
                    let Ok((next, report)) = world.options().open() else { return Err(Error::Closed) };
                    assert_eq!(report.last_seq, Seq::new(last), "an orderly end loses nothing");
                    assert_eq!(report.log.cut, None, "an orderly end leaves nothing torn");
                    engine = next;
                }
            }
            self.acknowledged = self.acknowledged.max(engine.durable());
        }
        let last = engine.stats().applied;
        engine.close()?;
        self.acknowledged = Seq::new(last);
        Ok(())
    }

    fn learn(&mut self, engine: &Engine, after: Seq, learn: bool) {
        if learn && self.digests.len() as u64 <= after.get() {
            self.digests.resize(after.get() as usize, 0);
            self.digests.push(engine.digest());
        }
    }

    /// Opens what a crash left and compares. Either place for snapshots may be lost as well.
    fn check(&self, world: &World, what: &str) -> u64 {
        for lost in 0..world.stores.len() {
            let stores = world.stores.iter().map(MemoryPlace::fork).collect();
            let world = World { disk: world.disk.fork(), stores, ..world.clone() };
            world.stores[lost].lose();
            self.check_as_it_is(&world, &format!("{what}, without store {lost}"));
        }
        self.check_as_it_is(world, what)
    }

    fn check_as_it_is(&self, world: &World, what: &str) -> u64 {
        let (engine, report) = match world.options().open() {
            Ok(opened) => opened,
            Err(error) => panic!("{what}: it does not open: {error}"),
        };
        let damage = report.warnings.iter().find(|warning| !warning.contains("removed or replaced"));
        assert_eq!(damage, None, "{what}: a crash leaves no damage");
        let recovered = report.last_seq;
        assert!(
            recovered >= self.acknowledged,
            "{what}: recovered up to {recovered}, but {} was acknowledged\n{report}",
            self.acknowledged
        );
        assert!((recovered.get() as usize) < self.digests.len(), "{what}: {recovered} never happened");
        assert_eq!(
            engine.digest(),
            self.digests[recovered.get() as usize],
            "{what}: not the state after {recovered}"
        );
        engine.check().unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
        // A second opening finds everything proven and writes nothing again.
        drop(engine);
        let (engine, second) =
            world.options().open().unwrap_or_else(|error| panic!("{what}, again: {error}"));
        assert_eq!((second.last_seq, second.log.rewritten), (recovered, 0), "{what}: the second opening");
        assert_eq!(engine.digest(), self.digests[recovered.get() as usize], "{what}: the second opening");
        world.disk.ops()
    }
}

/// Crashes at each operation of a short run, in each style; then at each operation of the recovery.
#[test]
fn a_crash_at_every_operation() {
    for seed in seeds(6) {
        let _replay = Replay("a_crash_at_every_operation", seed);
        for mode in [SyncMode::Always, SyncMode::No] {
            let script = script(seed, 60);
            let world = World::new(seed, mode);
            let mut history = History::default();
            history.run(&world, &script, true).expect("nothing fails without a crash");
            let operations = world.disk.ops();
            for operation in 1..=operations {
                let world = World::new(seed, mode);
                world.disk.crash_at(operation);
                let mut history = History { acknowledged: Seq::ZERO, ..history.clone() };
                // Where it falls on a spare that nobody needs any more, nobody notices.
                let _ = history.run(&world, &script, false);
                assert!(world.disk.crashed(), "the crash comes");
                for style in CrashStyle::ALL {
                    let seed = seed * 1000 + operation;
                    let what = format!("seed {seed}, {mode:?}, crash at {operation}, {style:?}");
                    let left = world.after_crash(seed, style);
                    if operation % 7 != 0 {
                        history.check(&left, &what);
                        continue;
                    }
                    let recovery = history.check(&left, &what);
                    for again in 1..=recovery {
                        let left = world.after_crash(seed, style);
                        left.disk.crash_at(again);
                        let _ = left.options().open();
                        for second_style in [style, CrashStyle::Mixed] {
                            let left = left.after_crash(seed + again, second_style);
                            history.check(&left, &format!("{what}, again at {again}, {second_style:?}"));
                        }
                    }
                }
            }
        }
    }
}

/// Batches of several segments' size: segments of their own are made for them, or longer than they were.
#[test]
fn a_crash_at_every_operation_around_large_batches() {
    let mut rng = SimRng::new(7);
    let mut script: Vec<Step> = Vec::new();
    for bytes in [10, 40_000, 20_000, 10, 90_000] {
        script.push(Step::Command(crate::full::large("large", bytes)));
        script.push(Step::Unacknowledged(random(&mut rng, true)));
        script.push(Step::Tick);
    }
    script.push(Step::Command(Command::Transaction(vec![crate::full::large("large", 1000); 3])));
    script.insert(8, Step::Reopen);
    script.insert(12, Step::Snapshot);
    for mode in [SyncMode::Always, SyncMode::No] {
        let world = World::new(1, mode);
        let mut history = History::default();
        history.run(&world, &script, true).expect("nothing fails without a crash");
        for operation in 1..=world.disk.ops() {
            let world = World::new(1, mode);
            world.disk.crash_at(operation);
            let mut history = History { acknowledged: Seq::ZERO, ..history.clone() };
            let _ = history.run(&world, &script, false);
            assert!(world.disk.crashed(), "the crash comes");
            for style in CrashStyle::ALL {
                let what = format!("{mode:?}, crash at {operation}, {style:?}");
                history.check(&world.after_crash(operation, style), &what);
            }
        }
    }
}

/// Crashes at each operation of the snapshot stores.
#[test]
fn a_crash_at_every_operation_of_a_snapshot() {
    for seed in seeds(12) {
        let _replay = Replay("a_crash_at_every_operation_of_a_snapshot", seed);
        let mut script = script(seed, 40);
        for at in [10, 20, 25, 30] {
            script[at] = Step::Snapshot;
        }
        let world = World::new(seed, SyncMode::Always);
        let mut history = History::default();
        history.run(&world, &script, true).expect("nothing fails without a crash");
        let operations: Vec<u64> = world.stores.iter().map(MemoryPlace::operations).collect();
        for (store, operations) in operations.into_iter().enumerate() {
            for operation in 0..operations {
                // The store fails there; the machine crashes a few steps later, while the engine goes on.
                let world = World::new(seed, SyncMode::Always);
                world.stores[store].fail_after(Some(operation));
                let mut history = History { acknowledged: Seq::ZERO, ..history.clone() };
                let cut = 12 + (operation as usize * 7) % 28;
                let outcome = history.run(&world, &script[..cut.min(script.len())], false);
                assert!(outcome.is_ok(), "a store that fails does not stop the engine");
                for style in [CrashStyle::Lost, CrashStyle::Mixed] {
                    let left = world.after_crash(seed + operation, style);
                    history.check(
                        &left,
                        &format!("seed {seed}, store {store} fails after {operation}, {style:?}"),
                    );
                }
            }
        }
    }
}

/// Long runs: crashes at random operations, and on from there. What was lost is lost for good, what was
/// acknowledged stays, and ids never come again (I5).
#[test]
fn long_runs_with_many_crashes() {
    for seed in seeds(40) {
        let _replay = Replay("long_runs_with_many_crashes", seed);
        let mut rng = SimRng::new(seed);
        let mode = if seed % 4 == 0 { SyncMode::EverySecond } else { SyncMode::Always };
        let mut world = World::new(seed, mode);
        // What every batch came from, so that a shadow can follow: the time, and the command.
        let mut past: Vec<(u64, Command)> = Vec::new();
        let mut acknowledged = 0;
        for life in 0..12 {
            world.disk.crash_at(1 + rng.below(120));
            let Ok((engine, report)) = world.options().open() else {
                world = world.after_crash(rng.next_u64(), CrashStyle::ALL[rng.below(5) as usize]);
                continue;
            };
            let recovered = report.last_seq.get();
            assert!(recovered >= acknowledged, "life {life}: {recovered} < {acknowledged}\n{report}");
            assert!(recovered <= past.len() as u64, "life {life}: {recovered} never happened");
            past.truncate(recovered as usize);
            assert_eq!(
                engine.digest(),
                shadow_digest(seed, &past, world.settings),
                "life {life}, batch {recovered}"
            );
            engine.check().unwrap();
            while !world.disk.crashed() {
                world.clock.advance(STEP);
                let now_ms = claimlog::io::Clock::wall_ms(&*world.clock);
                // What has expired goes first, in a batch of its own.
                let looks = Command::DbSize(DbSize { db: DbIndex::default() });
                if looks.submit(&engine).after.get() > past.len() as u64 {
                    past.push((now_ms, looks));
                }
                if rng.one_in(15) {
                    let _ = engine.snapshot();
                }
                if rng.one_in(10) && engine.tick().is_err() {
                    break;
                }
                let command = random(&mut rng, true);
                let ticket = command.submit(&engine);
                if ticket.after.get() > past.len() as u64 {
                    past.push((now_ms, command));
                    assert_eq!(ticket.after.get(), past.len() as u64);
                }
                let after = ticket.after;
                if rng.one_in(3) {
                    continue;
                }
                if engine.redeem_blocking(ticket).is_err() {
                    break;
                }
                acknowledged = if mode == SyncMode::Always { after.get() } else { engine.durable().get() };
            }
            acknowledged = acknowledged.max(engine.durable().get());
            drop(engine);
            world = world.after_crash(rng.next_u64(), CrashStyle::ALL[rng.below(5) as usize]);
        }
    }
}

/// The digest of an engine that never crashed.
fn shadow_digest(seed: u64, past: &[(u64, Command)], settings: Settings) -> u128 {
    let clock = Arc::new(SimClock::new(START_MS));
    let disk = SimDisk::new(seed);
    let options = Options::simulated(disk.dir(), Arc::clone(&clock) as _).settings(settings);
    let (engine, _) = options.open().expect("a shadow opens");
    for (now_ms, command) in past {
        clock.set_wall_ms(*now_ms);
        command.submit(&engine).result.expect("a shadow does not fail");
    }
    engine.digest()
}
