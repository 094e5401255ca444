//! An engine with all its threads on a simulated disk, and several threads that write: segments are changed and used
//! again all the time, snapshots are taken and read through, and at some operation the power goes, a sync fails, the disk
//! fills up, or somebody closes the engine. Then it is opened again, perhaps after openings that were cut off themselves.
//!
//! Where threads meet is not decided by the seed, so a seed may have to be run some times before it fails again:
//! `CLAIMLOG_SEED=n cargo test --test storm`. `CLAIMLOG_STORM_SECONDS=n`: for so long; 10 unless said otherwise.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use claimlog::engine::{Engine, Event, Options, Settings, SyncMode};
use claimlog::io::real::RealClock;
use claimlog::io::sim::{CrashStyle, SimDisk, SimRng};
use claimlog::op::*;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{EntryId, Error, Fields};

/// As many threads write, each to a stream of its own, and the ids count up from 1.
const STREAMS: usize = 4;
const MODES: [SyncMode; 3] = [SyncMode::Always, SyncMode::EverySecond, SyncMode::No];
/// Whoever waits is told something within this time.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// `None` if it takes too long.
fn block_on<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let until = Instant::now() + PATIENCE;
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending if Instant::now() >= until => return None,
            Poll::Pending => thread::park_timeout(until.saturating_duration_since(Instant::now())),
        }
    }
}

fn key(stream: usize) -> Key {
    format!("s{stream}").as_str().into()
}

fn add(stream: usize, id: u64, bytes: usize) -> XAdd {
    let fields = Fields::from_pairs([("field", "v".repeat(bytes))]);
    XAdd { id: NewId::Exact(EntryId::new(id, 0)), ..XAdd::new(key(stream), fields) }
}

/// What a machine has that outlives a process.
struct Machine {
    disk: SimDisk,
    places: [MemoryPlace; 2],
}

impl Machine {
    fn options(&self, mode: SyncMode) -> Options {
        let options = Options::simulated(self.disk.dir(), Arc::new(RealClock::new()))
            .segment_bytes(8 * 1024)
            .snapshot_log_bytes(12 * 1024)
            .unsynced_bytes_max(16 * 1024)
            .sync_mode(mode);
        self.places.iter().fold(options, |options, place| options.snapshot_place(Arc::new(place.clone())))
    }

    fn after_crash(&self, seed: u64, style: CrashStyle) -> Self {
        let places = self.places.each_ref();
        let places = match style {
            CrashStyle::Killed => places.map(MemoryPlace::fork),
            _ => places.map(|place| place.after_crash(seed)),
        };
        Self { disk: self.disk.after_crash(seed, style), places }
    }
}

/// Of each stream, an id.
type Ids = [AtomicU64; STREAMS];

/// What became of a run.
struct Run {
    mode: SyncMode,
    /// The mode changes in between.
    switches: bool,
    seed: u64,
    /// The last ids that were answered,
    answered: Ids,
    /// that a sync had behind it,
    synced: Ids,
    /// and that were asked for.
    asked: Ids,
    /// It was closed in order.
    closed: AtomicBool,
    /// What nobody may say or do.
    wrong: Mutex<Vec<String>>,
}

impl Run {
    fn new(mode: SyncMode, switches: bool, seed: u64, from: [u64; STREAMS]) -> Self {
        let (answered, synced) = (from.map(AtomicU64::new), from.map(AtomicU64::new));
        let (asked, closed, wrong) = (from.map(AtomicU64::new), AtomicBool::new(false), Mutex::default());
        Self { mode, switches, seed, answered, synced, asked, closed, wrong }
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Writes until the disk ends it.
    fn go(self: &Arc<Self>, machine: &Machine, most: u64, closes_after: Option<Duration>) {
        let (run, disk) = (Arc::clone(self), machine.disk.clone());
        let settings = Settings {
            sync_mode: self.mode,
            verify_bytes_per_second: 1 << 20,
            verify_interval_secs: 0,
            ..Settings::default()
        };
        let options = machine.options(self.mode).settings(settings).with_threads().on_event(move |event| {
            if matches!(event, Event::DamageFound(_)) && !disk.crashed() {
                run.wrong(format!("there is no damage: {event}"));
            }
        });
        let engine = match options.open() {
            Ok((engine, _)) => engine,
            Err(error) => {
                let text = error.to_string();
                if !(machine.disk.crashed()
                    || text.contains("no storage space")
                    || text.contains("sync error"))
                {
                    self.wrong(format!("it does not open: {text}"));
                }
                return;
            }
        };
        thread::scope(|scope| {
            if let Some(after) = closes_after {
                let engine = engine.clone();
                scope.spawn(move || {
                    thread::sleep(after);
                    self.closed.store(engine.close().is_ok(), Ordering::SeqCst);
                });
            }
            for stream in 0..STREAMS {
                let engine = engine.clone();
                scope.spawn(move || self.write(&engine, stream, most));
            }
        });
        if self.seed.is_multiple_of(3) {
            self.closed.fetch_or(engine.close().is_ok(), Ordering::SeqCst);
        }
    }

    fn write(&self, engine: &Engine, stream: usize, most: u64) {
        let mut rng = SimRng::new(self.seed ^ (stream as u64) << 32);
        let first = self.asked[stream].load(Ordering::SeqCst) + 1;
        for id in first..first + most {
            let bytes = if rng.one_in(30) { rng.below(12_000) } else { rng.below(900) };
            let op = add(stream, id, usize::try_from(bytes).unwrap());
            self.asked[stream].store(id, Ordering::SeqCst);
            // Blocking, asynchronously, or in a pipeline: then a later one waits for this too.
            let (outcome, is_answer) = match (stream as u64 + id / 64) % 4 {
                0 => (engine.execute_blocking(&op).map(drop), true),
                1 | 2 => match block_on(engine.execute(&op)) {
                    Some(outcome) => (outcome.map(drop), true),
                    None => return self.wrong(format!("stream {stream}: nobody says what became of {id}")),
                },
                _ => (engine.submit(&op).result.map(drop), false),
            };
            match outcome {
                Ok(()) if is_answer => self.answered[stream].store(id, Ordering::SeqCst),
                Ok(()) => {}
                Err(Error::Refused(refusal)) => {
                    // The log is full.
                    if !refusal.to_string().contains("MISCONF") {
                        self.wrong(format!("stream {stream}: {id} is refused: {refusal}"));
                    }
                    self.asked[stream].store(id - 1, Ordering::SeqCst);
                    return;
                }
                Err(_) => return,
            }
            if rng.one_in(20) {
                if engine.sync().is_err() {
                    return;
                }
                self.synced[stream].store(id, Ordering::SeqCst);
            }
            if self.switches && stream == 0 && rng.one_in(25) {
                let sync_mode = MODES[usize::try_from(rng.below(3)).unwrap()];
                let _ = engine.set_settings(Settings { sync_mode, ..engine.settings() });
            }
            if rng.one_in(60) {
                let _ = engine.snapshot();
            }
            if rng.one_in(100) {
                thread::sleep(Duration::from_millis(12));
            }
        }
    }

    /// Looks at what is there. `process_only`: no power was cut, so all that was answered is there in every mode.
    fn check(&self, found: [u64; STREAMS], process_only: bool, what: &str) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{what}: {wrong:?}");
        let always = self.mode == SyncMode::Always && !self.switches;
        for (stream, found) in found.into_iter().enumerate() {
            let [answered, synced, asked] =
                [&self.answered, &self.synced, &self.asked].map(|ids| ids[stream].load(Ordering::SeqCst));
            let what = format!("{what}: stream {stream} ends with {found}");
            if always || process_only || self.closed.load(Ordering::SeqCst) {
                assert!(found >= answered, "{what}, and {answered} was answered");
            }
            assert!(found >= synced, "{what}, and {synced} was synced");
            assert!(found <= asked, "{what}, and nobody asked for more than {asked}");
        }
    }
}

/// The last id of each stream. There are no gaps.
fn ends(engine: &Engine, what: &str) -> [u64; STREAMS] {
    std::array::from_fn(|stream| {
        let (first, last, key) = (EntryId::MIN, EntryId::MAX, key(stream));
        let entries =
            engine.execute_blocking(&XRange { key, first, last, count: None, reverse: false }).unwrap();
        let entries = entries.unwrap_or_default();
        let in_order = entries.iter().zip(1..).all(|(entry, id)| entry.id == EntryId::new(id, 0));
        assert!(in_order, "{what}: stream {stream} has a gap");
        entries.len() as u64
    })
}

/// Four lives of one machine.
fn lives(seed: u64) {
    let mut rng = SimRng::new(seed);
    let mode = MODES[usize::try_from(rng.below(4).saturating_sub(1)).unwrap()];
    let mut machine =
        Machine { disk: SimDisk::new(seed), places: [MemoryPlace::new("a"), MemoryPlace::new("b")] };
    let mut from = [0; STREAMS];
    for life in 0..4 {
        let (fault, ops) = (rng.below(4), machine.disk.ops());
        match fault {
            0 => machine.disk.crash_at(ops + 20 + rng.below(1500)),
            1 => machine.disk.fail_sync(5 + rng.below(300), rng.one_in(2)),
            2 => {
                machine.disk.set_capacity(Some(machine.disk.used() + rng.below(400_000)));
                machine.disk.crash_at(ops + 500 + rng.below(1500));
            }
            _ => machine.disk.crash_at(ops + 1 + rng.below(200)),
        }
        let (most, switches) = (150 + rng.below(300), rng.one_in(3));
        let closes_after = rng.one_in(4).then(|| Duration::from_millis(rng.below(60)));
        let run = Arc::new(Run::new(mode, switches, seed ^ (life << 40), from));
        run.go(&machine, most, closes_after);

        let style = CrashStyle::ALL[usize::try_from(rng.below(5)).unwrap()];
        let mut what = format!(
            "seed {seed}, life {life}, {mode:?}, fault {fault}, switches {switches}, closes {closes_after:?}, {style:?}"
        );
        let mut process_only = style == CrashStyle::Killed;
        machine = machine.after_crash(rng.next_u64(), style);
        for _ in 0..rng.below(3) {
            machine.disk.crash_at(machine.disk.ops() + 1 + rng.below(60));
            let _ = machine.options(mode).open();
            let style = CrashStyle::ALL[usize::try_from(rng.below(5)).unwrap()];
            what += &format!(", an opening cut off, {style:?}");
            process_only &= style == CrashStyle::Killed;
            machine = machine.after_crash(rng.next_u64(), style);
        }
        let (engine, report) = machine.options(mode).open().unwrap_or_else(|error| panic!("{what}: {error}"));
        let what = format!("{what}\n{report}\n");
        engine.check().unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
        from = ends(&engine, &what);
        run.check(from, process_only, &what);
        // From here on all of this is durable.
        engine.close().unwrap();
        machine = machine.after_crash(rng.next_u64(), CrashStyle::Lost);
    }
}

#[test]
fn nothing_is_lost_between_threads() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let asked = number("CLAIMLOG_SEED");
    let until = Instant::now() + Duration::from_secs(number("CLAIMLOG_STORM_SECONDS").unwrap_or(10));
    let mut seeds = 0;
    for seed in asked.unwrap_or(1).. {
        let (done, is_done) = channel();
        let lives = thread::spawn(move || {
            lives(seed);
            let _ = done.send(());
        });
        let outcome = is_done.recv_timeout(4 * PATIENCE);
        if outcome.is_err() {
            eprintln!("replay with: CLAIMLOG_SEED={seed} cargo test --test storm");
        }
        match outcome {
            Ok(()) => lives.join().unwrap(),
            Err(RecvTimeoutError::Timeout) => panic!("seed {seed} hangs"),
            Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(lives.join().unwrap_err()),
        }
        seeds += 1;
        if asked.is_some() || Instant::now() >= until {
            break;
        }
    }
    eprintln!("{seeds} seeds");
}
