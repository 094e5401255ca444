//! One history against the naive model, all of whose choices come from one generator: commands, snapshots, snapshots that
//! fail, restarts, crashes in the middle of a command, stores that are lost, rot. A fuzz target makes the choices too.

use std::sync::Arc;
use std::time::Duration;

use claimlog::engine::{Engine, Options, Settings};
use claimlog::io::Clock;
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk, SimRng};
use claimlog::snapshot::memory_store::MemoryPlace;

use crate::STEP;
use crate::command::{Command, random};
use crate::model::{Model, store_id};

struct World {
    clock: Arc<SimClock>,
    disk: SimDisk,
    places: [MemoryPlace; 2],
    settings: Settings,
    model: Model,
    engine: Engine,
}

/// What happened, so that a test can see that it does test something.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) commands: u64,
    pub(crate) restarts: u64,
    pub(crate) crashes: u64,
    pub(crate) rot: u64,
    pub(crate) lost: u64,
    pub(crate) failed_snapshots: u64,
}

fn open(clock: &Arc<SimClock>, disk: &SimDisk, places: &[MemoryPlace; 2], settings: Settings) -> Engine {
    let options = Options::simulated(disk.dir(), Arc::clone(clock) as _)
        .new_store_id(store_id)
        .segment_bytes(8 * 1024)
        .settings(settings);
    let options = places.iter().fold(options, |all, place| all.snapshot_place(Arc::new(place.clone())));
    options.open().unwrap_or_else(|error| panic!("{error}")).0
}

/// Runs a history of at most so many steps, until the generator has no more choices if it was given some.
pub(crate) fn run(rng: &mut SimRng, steps_max: u64) -> Counts {
    let given = rng.has_choices();
    let clock = Arc::new(SimClock::new(1_000_000));
    let node_entries_max = 1 + rng.below(6);
    let settings = Settings {
        stream_node_max_entries: node_entries_max,
        stream_node_max_bytes: 0,
        verify_bytes_per_second: 1 << 20,
        verify_interval_secs: 1,
        ..Settings::default()
    };
    let disk = SimDisk::new(rng.next_u64());
    let places = [MemoryPlace::new("a"), MemoryPlace::new("b")];
    let engine = open(&clock, &disk, &places, settings);
    let mut model = Model::default();
    model.node_entries_max = node_entries_max;
    let mut world = World { clock, disk, places, settings, model, engine };
    let mut counts = Counts::default();
    for _ in 0..steps_max {
        if given && !rng.has_choices() {
            break;
        }
        world.clock.advance(STEP);
        world.model.now_ms = world.clock.wall_ms();
        match rng.below(32) {
            0 => drop(world.engine.snapshot().unwrap()),
            1 => {
                // A snapshot that fails somewhere; the store is given up, and built anew when there is time.
                let place = &world.places[usize::from(rng.one_in(2))];
                place.fail_after(Some(rng.below(12)));
                counts.failed_snapshots += u64::from(world.engine.snapshot().is_err());
                world.places.iter().for_each(|place| place.fail_after(None));
            }
            2 | 3 => {
                counts.restarts += 1;
                let digest = world.engine.digest();
                world = world.restarted(rng);
                assert_eq!(world.engine.digest(), digest);
            }
            4 if world.both_are_whole() => {
                counts.lost += 1;
                let digest = world.engine.digest();
                world.places[usize::from(rng.one_in(2))].lose();
                world = world.restarted(rng);
                assert_eq!(world.engine.digest(), digest);
                // Before the other one may be lost too.
                world.engine.snapshot().unwrap();
            }
            5 => world.tick(),
            6 => {
                counts.crashes += 1;
                let command = random(rng, true);
                world = world.crashed(&command, rng);
            }
            7 => counts.rot += u64::from(world.rot(rng)),
            8 => assert_eq!(world.engine.verify().findings, world.engine.stats().verify.findings),
            _ => {
                counts.commands += 1;
                let command = random(rng, true);
                world.command(&command);
            }
        }
    }
    world.engine.check().unwrap();
    let digest = world.engine.digest();
    world = world.restarted(rng);
    assert_eq!(world.engine.digest(), digest);
    counts
}

impl World {
    fn command(&mut self, command: &Command) {
        let expired = self.engine.stats().expired_keys;
        let reply = command.execute(&self.engine).unwrap();
        if self.engine.stats().expired_keys > expired {
            self.model.expire();
        }
        assert_eq!(reply, self.model.expect(command, &reply), "{command:?}");
    }

    fn tick(&mut self) {
        let expired = self.engine.stats().expired_keys;
        self.engine.tick().unwrap();
        self.engine.commit().unwrap();
        if self.engine.stats().expired_keys > expired {
            self.model.expire();
        }
    }

    /// Whether either store may be lost.
    fn both_are_whole(&self) -> bool {
        let stores = self.engine.stats().snapshots.stores;
        stores.iter().all(|store| store.trouble.is_none() && store.seq.is_some())
    }

    fn restarted(self, rng: &mut SimRng) -> Self {
        let Self { clock, mut disk, mut places, settings, model, engine } = self;
        if rng.one_in(2) && !disk.crashed() {
            engine.close().unwrap();
        } else {
            drop(engine);
            let style = CrashStyle::ALL[usize::try_from(rng.below(5)).unwrap()];
            disk = disk.after_crash(rng.next_u64(), style);
            places = places.map(|place| place.after_crash(rng.next_u64()));
        }
        let engine = open(&clock, &disk, &places, settings);
        Self { clock, disk, places, settings, model, engine }
    }

    /// A crash at some operation of a command: it is there whole or not at all, and what was before is.
    fn crashed(mut self, command: &Command, rng: &mut SimRng) -> Self {
        // What has expired goes first, and would be a batch of its own.
        self.tick();
        let before = self.engine.digest();
        self.disk.crash_at(self.disk.ops() + 1 + rng.below(6));
        let ticket = command.submit(&self.engine);
        let acknowledged = ticket.result.is_ok() && self.engine.redeem_blocking(ticket.clone()).is_ok();
        let after = self.engine.digest();
        // Also when the crash has not come yet: nothing happens to it after this.
        self.disk.crash_at(self.disk.ops());
        let mut world = self.restarted(rng);
        let found = world.engine.digest();
        assert!(found == after || (found == before && !acknowledged), "{command:?} is there in part");
        if found == after
            && let Ok(reply) = ticket.result
        {
            assert_eq!(reply, world.model.expect(command, &reply), "{command:?}");
        } else {
            assert_eq!(found, before, "{command:?} was decided and has no reply");
        }
        world
    }

    /// A bit of a segment changes. If anybody needs it, it is found, and healed; so nothing is ever lost.
    fn rot(&mut self, rng: &mut SimRng) -> bool {
        let segments: Vec<String> =
            self.disk.files().into_iter().filter(|name| name.ends_with(".seg")).collect();
        let segment = &segments[usize::try_from(rng.below(segments.len() as u64)).unwrap()];
        let length = self.disk.read_file(segment).unwrap().len() as u64;
        // Frames begin with each block, and most are short.
        let offset = rng.below(length / 512) * 512 + rng.below(96);
        self.disk.corrupt(segment, offset, 1 << rng.below(8)).unwrap();
        let findings = self.engine.stats().verify.findings;
        let found = self.engine.verify().findings > findings;
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(60));
            self.model.now_ms = self.clock.wall_ms();
            self.tick();
        }
        let stats = self.engine.stats();
        assert!(stats.verify.unhealed.is_empty(), "{segment}: {stats:?}");
        found
    }
}

#[test]
fn random_histories() {
    use crate::{Replay, seeds};

    let mut all = Counts::default();
    for seed in seeds(60) {
        let _replay = Replay("random_histories", seed);
        let counts = run(&mut SimRng::new(seed), 150);
        all.commands += counts.commands;
        all.crashes += counts.crashes;
        all.rot += counts.rot;
        all.lost += counts.lost;
        all.failed_snapshots += counts.failed_snapshots;
        all.restarts += counts.restarts;
    }
    assert!(seeds(60).len() < 60 || all.rot > 20 && all.lost > 20 && all.failed_snapshots > 20, "{all:?}");
}

/// What the fuzz target `engine` begins with and what it found.
#[test]
fn histories_of_the_corpus() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/engine");
    let mut seen = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        println!("{}", path.display());
        run(&mut SimRng::of_choices(&bytes), 60);
        seen += 1;
    }
    assert!(seen > 0, "the corpus is empty");
}
