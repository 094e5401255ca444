//! One run: several clients, an engine, a disk, two snapshot stores and a clock, all in one thread and one schedule.
//!
//! Where a real engine has threads, a step falls into the middle of another one: while a commit syncs, clients send
//! (`hooks.rs`); while a snapshot talks to its store, they send, commit, get replies, and time passes. A crash may come
//! at any of these moments.
//!
//! # Faults that are injected
//! - the end of the process or of the power: at a moment of the schedule, in the middle of a commit's sync or of a
//!   snapshot's call, at any operation of the disk, in the recovery and in the recovery after that, with everything that
//!   `io::sim` makes of it: unsynced sectors lost, kept, torn, reordered, older, junk; names lost;
//! - a sync that fails, once or for good, and a write that stops half-way, wherever they fall;
//! - a disk that is full or nearly so, at any moment, at the start too, and its end;
//! - a snapshot store that fails in the middle, is full, loses a part without a word, or is lost altogether; at a crash,
//!   what was not flushed is there, gone or damaged;
//! - a clock that jumps ahead or back, by milliseconds or months;
//! - rot at rest, and a file that can't be read, at an opening: of a copy, which must be right or refuse by name.
//!
//! # Faults that are not injected
//! - both stores bad in one run: then a log that was cut can't be made up for, and refusing is right (`tests/sim`,
//!   `tests/damage.rs`);
//! - a store that hangs or panics: that takes threads (`tests/threads.rs`, `tests/faults`);
//! - rot while the engine runs: what it reads again then is the business of `tests/sim`;
//! - what `io::sim` does not: a disk that lies about syncs, a write that harms sectors beside it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use claimlog::engine::{Engine, Options, Settings, SyncMode, Ticket};
use claimlog::history::{CallId, Crash, History, Op, Outcome, Rules, Stream};
use claimlog::io::Clock as _;
use claimlog::io::sim::{CrashStyle, SimClock, SimDisk, SimRng};
use claimlog::recovery::RecoveryReport;
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{Error, OpenError};

use crate::adapter::{Pending, observe, send};
use crate::hooks::{Hook, HookedDir};
use crate::plan::{Step, What};
use crate::requests::{KEYS, Knowledge};

const START_MS: u64 = 1_700_000_000_000;
/// Runs differ in how soon the log needs another one.
const SEGMENT_BYTES: [u64; 3] = [8 * 1024, 16 * 1024, 32 * 1024];

/// More operations than any run has.
const NEVER: u64 = 1 << 40;

/// What a run has done, for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) crashes: u64,
    pub(crate) in_recovery: u64,
    pub(crate) failures: u64,
    pub(crate) in_the_middle: u64,
    pub(crate) refused: u64,
    pub(crate) rot: u64,
    pub(crate) rot_refused: u64,
    pub(crate) snapshots: u64,
    pub(crate) took_place: u64,
    pub(crate) did_not: u64,
    /// Runs in which the judge gave up: there were too many orders to try.
    pub(crate) undecided: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.crashes += other.crashes;
        self.in_recovery += other.in_recovery;
        self.failures += other.failures;
        self.in_the_middle += other.in_the_middle;
        self.refused += other.refused;
        self.rot += other.rot;
        self.rot_refused += other.rot_refused;
        self.snapshots += other.snapshots;
        self.took_place += other.took_place;
        self.did_not += other.did_not;
        self.undecided += other.undecided;
    }
}

struct Client {
    name: String,
    /// How often it had to connect again.
    connections: u32,
    waits: Option<(CallId, Op, Pending)>,
}

/// A disk and two stores at one moment.
#[derive(Clone)]
struct Machine {
    disk: SimDisk,
    stores: Vec<MemoryPlace>,
}

impl Machine {
    fn fork(&self) -> Self {
        Self { disk: self.disk.fork(), stores: self.stores.iter().map(MemoryPlace::fork).collect() }
    }

    fn after_crash(&self, seed: u64, style: CrashStyle) -> Self {
        let disk = self.disk.after_crash(seed, style);
        let stores = match style {
            CrashStyle::Killed => self.stores.iter().map(MemoryPlace::fork).collect::<Vec<_>>(),
            _ => self.stores.iter().map(|store| store.after_crash(seed)).collect(),
        };
        Self { disk, stores }
    }

    /// Whatever was told to go wrong no longer does.
    fn heal_stores(&self) {
        for store in &self.stores {
            store.fail_after(None);
            store.forget_put(None);
            store.set_capacity(None);
        }
    }
}

struct Inner {
    engine: Option<Engine>,
    machine: Machine,
    clients: Vec<Client>,
    history: History,
    queue: VecDeque<Step>,
    knowledge: Knowledge,
    mode: SyncMode,
    /// Whether a crash of this run may take what was answered. Then the judge is told in which order calls took place;
    /// otherwise it finds that out.
    lax: bool,
    /// Steps inside steps.
    depth: u32,
    /// Whether a step may begin in the middle of the one that runs: of a commit, or of a snapshot.
    middle: Option<What>,
    /// The machine as it was when the crash came, while what is left of the step runs on without meaning.
    stopped: Option<(Machine, CrashStyle, u64)>,
    /// How the crash that `CrashSoon` asked for is to look.
    soon: (CrashStyle, u64),
    /// Whether the disk was full since the last start, or may have failed where a segment was made ahead.
    was_full: bool,
    /// Whether a store was made unreliable in this run.
    store_faults: bool,
    undecided: bool,
    /// Whether a group was moved since the last start.
    moved: bool,
    /// Everything is well from now on.
    finishing: bool,
    failed: Option<String>,
    tally: Tally,
}

pub(crate) struct World {
    inner: Mutex<Inner>,
    clock: Arc<SimClock>,
    seed: u64,
    me: Weak<World>,
}

/// Runs these steps; says what went wrong.
pub(crate) fn run(seed: u64, steps: &[Step]) -> Result<Tally, String> {
    let world = World::new(seed, steps);
    let outcome = world.run();
    let mut inner = world.inner();
    inner.engine = None;
    let mut tally = inner.tally;
    let outcome = outcome.and_then(|()| inner.judged());
    if inner.undecided {
        return Ok(Tally { undecided: 1, ..Tally::default() });
    }
    match outcome.map(|()| inner.history.report()) {
        Ok(report) => {
            (tally.calls, tally.took_place, tally.did_not) =
                (report.calls, report.took_place, report.did_not);
            Ok(tally)
        }
        Err(why) => Err(why),
    }
}

impl World {
    fn new(seed: u64, steps: &[Step]) -> Arc<Self> {
        let machine =
            Machine { disk: SimDisk::new(seed), stores: vec![MemoryPlace::new("a"), MemoryPlace::new("b")] };
        let mode = match seed % 8 {
            0 => SyncMode::EverySecond,
            1 => SyncMode::No,
            _ => SyncMode::Always,
        };
        let clients = (0..2 + seed % 5)
            .map(|at| Client { name: format!("c{at}"), connections: 0, waits: None })
            .collect();
        Arc::new_cyclic(|me| Self {
            inner: Mutex::new(Inner {
                engine: None,
                machine,
                clients,
                history: History::new(Rules::default()),
                queue: steps.iter().copied().collect(),
                knowledge: Knowledge::default(),
                mode,
                lax: mode != SyncMode::Always || steps.iter().any(|step| step.what == What::Mode),
                depth: 0,
                middle: None,
                stopped: None,
                soon: (CrashStyle::Lost, 0),
                was_full: false,
                store_faults: false,
                undecided: false,
                moved: false,
                finishing: false,
                failed: None,
                tally: Tally::default(),
            }),
            clock: Arc::new(SimClock::new(START_MS)),
            seed,
            me: me.clone(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> Result<(), String> {
        self.open(SimRng::new(self.seed), false)?;
        for (key, group) in [("s", "g"), ("s", "h"), ("t", "g")] {
            let (key, group, at) = (key.into(), group.into(), None);
            self.ask_now("setup", &Op::CreateGroup { key, group, at })?;
        }
        loop {
            let Some(step) = self.inner().queue.pop_front() else { break };
            self.act(step);
            self.settle()?;
        }
        self.finish()
    }

    /// After each step at the top: what it led to.
    fn settle(&self) -> Result<(), String> {
        let mut inner = self.inner();
        if let Some(failed) = inner.failed.take() {
            return Err(self.told(&inner, &failed));
        }
        if inner.machine.disk.crashed() && inner.stopped.is_none() {
            let (style, dice) = inner.soon;
            inner.stopped = Some((inner.machine.clone(), style, dice));
        }
        let Some((machine, style, dice)) = inner.stopped.take() else { return Ok(()) };
        inner.machine = machine;
        drop(inner);
        self.restart(style, dice)
    }

    /// A failure with the story that led to it.
    fn told(&self, inner: &Inner, why: &str) -> String {
        let story = inner.history.story();
        let from = story.len().saturating_sub(80);
        format!("  {}\n{why}", story[from..].join("\n  "))
    }

    fn options(&self, machine: &Machine, mode: SyncMode) -> Options {
        let (me, other) = (self.me.clone(), self.me.clone());
        let hook: Hook =
            Arc::new(move || me.upgrade().into_iter().for_each(|world| world.in_the_middle(What::Commit)));
        let dir = HookedDir { dir: machine.disk.dir(), hook };
        let mut options = Options::simulated(Arc::new(dir), Arc::clone(&self.clock) as _)
            .segment_bytes(SEGMENT_BYTES[(self.seed % 3) as usize])
            .settings(Settings {
                sync_mode: mode,
                stream_node_max_entries: 1 + self.seed % 4,
                active_expiry: !self.seed.is_multiple_of(3),
                ..Settings::default()
            })
            .new_store_id(|| [7; 16]);
        for store in &machine.stores {
            let other = other.clone();
            store.on_call(move |_, _| {
                other.upgrade().into_iter().for_each(|world| world.in_the_middle(What::Snapshot));
                Ok(())
            });
            options = options.snapshot_place(Arc::new(store.clone()));
        }
        options
    }

    /// A call into the world from the middle of a step: others may act here.
    fn in_the_middle(&self, of: What) {
        loop {
            let step = {
                let mut inner = self.inner();
                if inner.depth != 1 || inner.middle != Some(of) || inner.stopped.is_some() {
                    return;
                }
                let Some(step) = inner.queue.front().copied() else { return };
                // What must not wait for the lock that the step in progress has.
                let fits = match step.what {
                    What::Send | What::Time | What::Crash(_) => true,
                    What::Reply | What::Commit | What::Sync | What::GiveUp => of == What::Snapshot,
                    _ => false,
                };
                if !fits || step.dice % 3 == 0 {
                    return;
                }
                inner.queue.pop_front();
                inner.tally.in_the_middle += 1;
                inner.history.note(format!("(in the middle of that {of:?})"));
                step
            };
            self.act(step);
        }
    }

    fn act(&self, step: Step) {
        let engine = {
            let mut inner = self.inner();
            inner.depth += 1;
            inner.engine.clone()
        };
        if let Some(engine) = engine {
            let outcome = self.step(&engine, step);
            let mut inner = self.inner();
            // The engine has ended, with a reason: a crash follows, and what was under way is lost.
            if let Err(Error::Failed(why)) = outcome
                && inner.stopped.is_none()
                && !inner.machine.disk.crashed()
            {
                inner.history.note(format!("the engine stops: {why}"));
                inner.tally.failures += 1;
                let styles = [CrashStyle::Killed, CrashStyle::Lost, CrashStyle::Mixed];
                let style = styles[(step.dice % 3) as usize];
                inner.stopped = Some((inner.machine.clone(), style, step.dice));
            }
            drop(inner);
            self.look_at_readers();
        }
        self.inner().depth -= 1;
    }

    /// Readers that were served meanwhile were served at this time.
    fn look_at_readers(&self) {
        let now_ms = self.clock.wall_ms();
        let waiting: Vec<usize> = {
            let inner = self.inner();
            if inner.stopped.is_some() {
                return;
            }
            let waits = |client: &Client| matches!(client.waits, Some((_, _, Pending::Waiting(_))));
            (0..inner.clients.len()).filter(|at| waits(&inner.clients[*at])).collect()
        };
        for at in waiting {
            let Some((call, op, pending)) = self.inner().clients[at].waits.take() else { continue };
            let pending = pending.look();
            let mut inner = self.inner();
            if matches!(pending, Pending::Ticket(_)) {
                inner.decided(call, now_ms);
            }
            inner.clients[at].waits = Some((call, op, pending));
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    fn step(&self, engine: &Engine, step: Step) -> Result<(), Error> {
        let mut rng = SimRng::new(step.dice);
        let now_ms = self.clock.wall_ms();
        match step.what {
            What::Send => self.send(engine, &mut rng),
            What::Reply => self.reply(engine, &mut rng)?,
            What::GiveUp => self.give_up(&mut rng),
            What::Commit => {
                self.begin(What::Commit, "commit");
                let committed = engine.commit();
                self.end();
                committed?;
            }
            What::Sync => {
                let moment = self.inner().history.now();
                engine.sync()?;
                let mut inner = self.inner();
                if inner.stopped.is_none() {
                    inner.history.note("WAITAOF: all of that is on disk");
                    inner.history.synced_since(moment);
                }
            }
            What::Tick => engine.tick()?,
            What::Time => {
                let ms = match rng.below(10) {
                    0 => rng.below(20_000),
                    1..4 => rng.below(1500),
                    _ => rng.below(30),
                };
                self.clock.advance(Duration::from_millis(ms));
                self.inner().history.clock(self.clock.wall_ms());
            }
            What::ClockJump => {
                let by = [50, 5000, 200_000, 90 * 24 * 3_600_000][rng.below(4) as usize];
                let by = rng.below(by);
                let to = if rng.one_in(2) { now_ms + by } else { now_ms - by };
                self.clock.set_wall_ms(to);
                let mut inner = self.inner();
                inner.history.note(format!("the clock jumps to {to}"));
                inner.history.clock(to);
            }
            What::Snapshot => {
                self.begin(What::Snapshot, "snapshot");
                let taken = engine.snapshot();
                self.end();
                let mut inner = self.inner();
                match taken {
                    Ok(Some(report)) => {
                        inner.tally.snapshots += 1;
                        inner
                            .history
                            .note(format!("snapshot in {} up to batch {}", report.store, report.seq));
                    }
                    Ok(None) => {}
                    Err(claimlog::engine::SnapshotError::Engine(error)) => return Err(error),
                    Err(error) if inner.store_faults || inner.was_full || inner.stopped.is_some() => {
                        inner.history.note(format!("snapshot failed: {error}"));
                    }
                    Err(error) => inner.failed = Some(format!("a snapshot failed without a reason: {error}")),
                }
            }
            What::Mode => {
                let mode = [SyncMode::Always, SyncMode::EverySecond, SyncMode::No][rng.below(3) as usize];
                let moment = self.inner().history.now();
                engine.set_settings(Settings { sync_mode: mode, ..engine.settings() })?;
                let mut inner = self.inner();
                if mode != inner.mode {
                    inner.history.synced_since(moment);
                    inner.history.note(format!("appendfsync {mode:?}"));
                    inner.mode = mode;
                }
            }
            What::Restart => self.close(engine, step.dice),
            What::Crash(style) => self.stop(style, step.dice),
            What::CrashSoon(style) => {
                let mut inner = self.inner();
                let within = if rng.one_in(2) { 4 } else { 40 };
                let at = inner.machine.disk.ops() + 1 + rng.below(within);
                inner.soon = (style, step.dice);
                inner.machine.disk.crash_at(at);
            }
            What::FailSync => {
                let mut inner = self.inner();
                inner.history.full(true);
                let (n, always) = (1 + rng.below(3), rng.one_in(2));
                inner.history.note(format!(
                    "sync {n} from now fails{}",
                    if always { ", and all after it" } else { "" }
                ));
                inner.machine.disk.fail_sync(n, always);
                inner.was_full = true;
            }
            What::FailWrite => {
                let mut inner = self.inner();
                inner.history.full(true);
                inner.history.note("a write will fail half-way");
                inner.machine.disk.fail_write(1 + rng.below(3));
                inner.was_full = true;
            }
            What::DiskFull => {
                let mut inner = self.inner();
                let left = [0, 600, 3000, 20_000][rng.below(4) as usize];
                inner.history.note(format!("the disk has {left} bytes left"));
                let used = inner.machine.disk.used();
                inner.machine.disk.set_capacity(Some(used + left));
                inner.was_full = true;
                inner.history.full(true);
            }
            What::DiskFree => {
                let mut inner = self.inner();
                inner.history.note("the disk has space again");
                inner.machine.disk.set_capacity(None);
            }
            What::StoreFault => self.store_fault(&mut rng),
            What::StoreWell => self.inner().machine.heal_stores(),
            What::Look => self.look(engine)?,
            What::Rot => self.rot(&mut rng),
            What::Verify => {
                let found = engine.verify().findings;
                let mut inner = self.inner();
                if found > 0 && !inner.store_faults && !inner.machine.disk.crashed() {
                    inner.failed = Some(format!("{found} findings, and nothing is damaged"));
                }
            }
        }
        Ok(())
    }

    fn begin(&self, what: What, note: &str) {
        let mut inner = self.inner();
        if inner.depth == 1 {
            inner.middle = Some(what);
        }
        inner.history.note(note);
    }

    fn end(&self) {
        let mut inner = self.inner();
        if inner.depth == 1 {
            inner.middle = None;
        }
    }

    fn send(&self, engine: &Engine, rng: &mut SimRng) {
        let now_ms = self.clock.wall_ms();
        let (at, call, op) = {
            let mut inner = self.inner();
            let inner = &mut *inner;
            let free: Vec<usize> =
                (0..inner.clients.len()).filter(|at| inner.clients[*at].waits.is_none()).collect();
            if free.is_empty() || inner.stopped.is_some() {
                return;
            }
            let at = free[rng.below(free.len() as u64) as usize];
            let op = inner.knowledge.request(rng, at, now_ms);
            inner.moved |= moves(&op);
            let client = &inner.clients[at];
            let name = match client.connections {
                0 => client.name.clone(),
                more => format!("{}, connection {more},", client.name),
            };
            let call = inner.history.call(&name, op.clone(), now_ms);
            (at, call, op)
        };
        let pending = send(engine, &op);
        let mut inner = self.inner();
        match pending {
            Pending::Ticket(_) => inner.decided(call, now_ms),
            Pending::Waiting(_) if inner.lax => inner.history.in_line(call),
            Pending::Waiting(_) => {}
        }
        inner.clients[at].waits = Some((call, op, pending));
    }

    /// Whoever may be answered is: one of them, or all.
    fn reply(&self, engine: &Engine, rng: &mut SimRng) -> Result<(), Error> {
        let now_ms = self.clock.wall_ms();
        let visible = engine.visible();
        let mut inner = self.inner();
        // A machine that has just stopped says nothing more. (What it would say is that there is no room.)
        if inner.stopped.is_some() || inner.machine.disk.crashed() {
            return Ok(());
        }
        let inner = &mut *inner;
        let ready = |client: &Client| match &client.waits {
            Some((_, _, Pending::Ticket(ticket))) => ticket.after <= visible || ticket.result.is_err(),
            _ => false,
        };
        let ready: Vec<usize> = (0..inner.clients.len()).filter(|at| ready(&inner.clients[*at])).collect();
        let chosen = match ready.len() {
            0 => return Ok(()),
            len if rng.one_in(3) => vec![ready[rng.below(len as u64) as usize]],
            _ => ready,
        };
        for at in chosen {
            let Some((call, op, Pending::Ticket(ticket))) = inner.clients[at].waits.take() else { continue };
            let told = ticket.result?;
            if refused(&told) {
                inner.tally.refused += 1;
                if !inner.was_full {
                    inner.failed = Some(format!("{op} was refused for want of room, and nothing was full"));
                }
            }
            inner.knowledge.learn(&op, &told);
            inner.history.answer(call, told, now_ms);
        }
        Ok(())
    }

    fn give_up(&self, rng: &mut SimRng) {
        let taken = {
            let mut inner = self.inner();
            let waits = |client: &Client| matches!(client.waits, Some((_, _, Pending::Waiting(_))));
            let waiting: Vec<usize> =
                (0..inner.clients.len()).filter(|at| waits(&inner.clients[*at])).collect();
            if waiting.is_empty() || inner.stopped.is_some() {
                return;
            }
            let at = waiting[rng.below(waiting.len() as u64) as usize];
            inner.clients[at].waits.take().map(|waits| (at, waits))
        };
        let Some((at, (call, op, pending))) = taken else { return };
        if rng.one_in(2) {
            drop(pending);
            let mut inner = self.inner();
            inner.clients[at].connections += 1;
            inner.history.drop_call(call, self.clock.wall_ms());
        } else {
            let pending = pending.give_up();
            let mut inner = self.inner();
            // If there was nothing, it may have been so at any time since it was sent.
            let nothing = |ticket: &Ticket<Outcome>| matches!(&ticket.result, Ok(Outcome::Entries(seen)) if seen.is_empty());
            if matches!(&pending, Pending::Ticket(ticket) if !nothing(ticket)) {
                inner.decided(call, self.clock.wall_ms());
            }
            inner.clients[at].waits = Some((call, op, pending));
        }
    }

    /// One client asks and gets its reply at once.
    fn ask_now(&self, client: &str, op: &Op) -> Result<Outcome, String> {
        let Some(engine) = self.inner().engine.clone() else { return Err("the engine is gone".into()) };
        let now_ms = self.clock.wall_ms();
        let call = self.inner().history.call(client, op.clone(), now_ms);
        let Pending::Ticket(ticket) = send(&engine, op) else { return Err(format!("{op} waits")) };
        self.inner().decided(call, now_ms);
        let told = engine.redeem_blocking(ticket).map_err(|error| format!("{op}: {error}"))?;
        self.inner().history.answer(call, told.clone(), now_ms);
        Ok(told)
    }

    /// Looks at everything, as a reader that waits for the disk.
    fn look(&self, engine: &Engine) -> Result<(), Error> {
        let mut found = Vec::new();
        for key in KEYS {
            match observe(engine, key) {
                Ok(stream) => found.push((key, stream)),
                Err(why) => {
                    // Reading goes through the log, which may fail.
                    engine.commit()?;
                    self.inner().failed = Some(why);
                    return Ok(());
                }
            }
        }
        engine.commit()?;
        // Looking ends keys whose time is over, and whoever waited for them is told.
        self.look_at_readers();
        let mut inner = self.inner();
        if inner.machine.disk.crashed() || inner.stopped.is_some() {
            return Ok(());
        }
        let lost = inner.lost_waiter(&found);
        inner.failed = inner.failed.take().or(lost);
        for (key, stream) in found {
            inner.history.observe(key, stream, self.clock.wall_ms());
        }
        if let Err(why) = engine.check() {
            inner.failed = Some(format!("the state contradicts itself: {why}"));
        }
        Ok(())
    }

    fn store_fault(&self, rng: &mut SimRng) {
        let mut inner = self.inner();
        inner.store_faults = true;
        let at = (self.seed / 2 % 2) as usize;
        let kind = rng.below(4);
        let store = &inner.machine.stores[at];
        match kind {
            0 => store.fail_after(Some(rng.below(12))),
            1 => store.forget_put(Some(rng.below(4))),
            2 => store.set_capacity(Some(rng.below(3000))),
            _ => store.lose(),
        }
        let what =
            ["fails soon", "will lose a part without a word", "is nearly full", "is lost"][kind as usize];
        inner.history.note(format!("snapshot store {} {what}", ["a", "b"][at]));
    }

    /// The machine stops here. What is still running has no meaning any more.
    fn stop(&self, style: CrashStyle, dice: u64) {
        let mut inner = self.inner();
        if inner.stopped.is_none() {
            let machine = inner.machine.fork();
            inner.stopped = Some((machine, style, dice));
        }
    }

    fn close(&self, engine: &Engine, dice: u64) {
        let closed = engine.clone().close();
        let mut inner = self.inner();
        if let Err(error) = closed {
            inner.history.note(format!("it does not end in order: {error}"));
        } else {
            inner.history.note("it ends in order");
            let (moment, inner) = (inner.history.now(), &mut *inner);
            inner.history.synced_since(moment);
        }
        let machine = inner.machine.clone();
        if !machine.disk.crashed() {
            inner.stopped = Some((machine, CrashStyle::Killed, dice));
        }
    }

    /// From what a crash left to an engine that serves; crashes again on the way if the dice say so.
    fn restart(&self, style: CrashStyle, dice: u64) -> Result<(), String> {
        let mut rng = SimRng::new(dice);
        let mut strict;
        {
            let mut inner = self.inner();
            inner.engine = None;
            for client in &mut inner.clients {
                client.waits = None;
                client.connections += 1;
            }
            inner.tally.crashes += 1;
            strict = inner.mode == SyncMode::Always || style == CrashStyle::Killed;
            inner.machine = inner.machine.after_crash(dice, style);
            inner.history.note(format!("{style:?}:"));
        }
        let mut interrupted = 0;
        while interrupted < 3 && rng.one_in(4) {
            interrupted += 1;
            let (machine, mode) = {
                let inner = self.inner();
                (inner.machine.clone(), inner.mode)
            };
            machine.disk.crash_at(1 + rng.below(12));
            drop(self.options(&machine, mode).open());
            let again = CrashStyle::ALL[rng.below(5) as usize];
            strict &= mode == SyncMode::Always || again == CrashStyle::Killed;
            let mut inner = self.inner();
            inner.machine = machine.after_crash(rng.next_u64(), again);
            inner.history.note(format!("the recovery is cut off as well, {again:?}:"));
            inner.tally.in_recovery += 1;
        }
        let crash = if strict { Crash::Strict } else { Crash::LosesUnsynced };
        self.inner().history.crash(crash, self.clock.wall_ms());
        self.open(rng, true)
    }

    fn open(&self, mut rng: SimRng, again: bool) -> Result<(), String> {
        let (machine, mode, full) = {
            let mut inner = self.inner();
            // It may be as full as before.
            let full = again && inner.was_full && !inner.finishing && rng.one_in(3);
            inner.was_full = full;
            inner.moved = false;
            inner.history.full(full);
            if full {
                let used = inner.machine.disk.used();
                inner.machine.disk.set_capacity(Some(used + rng.below(2000)));
                inner.history.note("the disk is full at the start");
            }
            (inner.machine.clone(), inner.mode, full)
        };
        let (engine, report) = match self.options(&machine, mode).open() {
            Ok(opened) => opened,
            // Not even the newest segment's header fits: then it says so, and starts when there is space.
            Err(error) if full && is_full(&error) => {
                machine.disk.set_capacity(None);
                let opened = self.options(&machine, mode).open();
                opened.map_err(|error| self.told(&self.inner(), &format!("it does not open: {error}")))?
            }
            Err(error) => return Err(self.told(&self.inner(), &format!("it does not open: {error}"))),
        };
        let mut inner = self.inner();
        self.judge(&mut inner, &report)?;
        inner.engine = Some(engine.clone());
        drop(inner);
        match self.look(&engine) {
            Ok(()) => {}
            Err(error) => return Err(self.told(&self.inner(), &format!("after the start: {error}"))),
        }
        let mut inner = self.inner();
        if let Some(failed) = inner.failed.take() {
            return Err(self.told(&inner, &failed));
        }
        inner.judged()
    }

    /// A crash is no damage, and what the report warns of must have a reason.
    fn judge(&self, inner: &mut Inner, report: &RecoveryReport) -> Result<(), String> {
        let harmless = |warning: &String| inner.store_faults || warning.contains("removed or replaced");
        match report.warnings.iter().find(|warning| !harmless(warning)) {
            None => Ok(()),
            Some(warning) => {
                let why = format!("a warning without a reason: {warning}");
                Err(self.told(inner, &why))
            }
        }
    }

    /// A copy rots: it must be right, or refuse and name the file.
    fn rot(&self, rng: &mut SimRng) {
        let (machine, mode) = {
            let inner = self.inner();
            if inner.stopped.is_some() {
                return;
            }
            (inner.machine.after_crash(rng.next_u64(), CrashStyle::Killed), inner.mode)
        };
        machine.heal_stores();
        let files: Vec<String> = machine.disk.files();
        let file = &files[rng.below(files.len() as u64) as usize];
        let len = machine.disk.read_file(file).map_or(0, |bytes| bytes.len() as u64);
        let whole = machine.fork();
        let mut unseen = false;
        let what = if rng.one_in(4) || len == 0 {
            let _ = machine.disk.break_reads(file);
            format!("{file} can't be read")
        } else {
            // Most of a segment is space that was never written.
            let offset = if rng.one_in(2) { rng.below(len) } else { rng.below(len.min(6000)) };
            let xor = 1 << rng.below(8);
            let _ = machine.disk.corrupt(file, offset, xor);
            // A last frame whose number rots looks like what an older segment left there.
            unseen = file.starts_with("log/") && (16..24).contains(&(offset % 512));
            format!("{file} rots at {offset}, bit {xor:#x}")
        };
        let found = self.options(&machine, mode).open();
        let reference = self.options(&whole, mode).open();
        let mut inner = self.inner();
        inner.tally.rot += 1;
        let failed = match (found, reference) {
            (Ok((engine, report)), Ok((reference, _))) => {
                // The end of the log may look torn where nothing proves it: that is cut, and said.
                let cut = report.log.cut.is_some();
                (engine.digest() != reference.digest() && !cut && !unseen).then(|| {
                    format!("a copy in which {what} opens with other data, and says nothing: {report}")
                })
            }
            (Err(error), Ok(_)) => {
                inner.tally.rot_refused += 1;
                let name = file.rsplit('/').next().unwrap_or(file);
                (!error.to_string().contains(name))
                    .then(|| format!("a copy in which {what} is refused without naming the file: {error}"))
            }
            (_, Err(error)) => Some(format!("a copy does not open: {error}")),
        };
        inner.failed = inner.failed.take().or(failed);
    }

    /// Everything is well again, and must be: all that was answered is there, and all is taken.
    fn finish(&self) -> Result<(), String> {
        let Some(engine) = self.inner().engine.clone() else { return Ok(()) };
        {
            let mut inner = self.inner();
            inner.finishing = true;
            inner.machine.disk.set_capacity(None);
            inner.machine.disk.fail_sync(NEVER, false);
            inner.machine.disk.fail_write(NEVER);
            inner.machine.heal_stores();
        }
        for _ in 0..3 {
            if engine.tick().is_err() {
                break;
            }
            self.look_at_readers();
            self.clock.advance(Duration::from_secs(2));
            self.inner().history.clock(self.clock.wall_ms());
        }
        self.act(Step { what: What::Commit, dice: 1 });
        self.act(Step { what: What::Reply, dice: 1 });
        self.settle()?;
        // It may have failed for good in the last steps.
        let Some(engine) = self.inner().engine.clone() else { return Ok(()) };
        for key in KEYS {
            let (key, token) = (key.into(), format!("last-{key}").into());
            match self.ask_now("the end", &Op::Add { key, id: None, token, keep: None, once: None }) {
                Ok(Outcome::Refused) => {
                    return Err(self.told(&self.inner(), "there is space again, and it still refuses"));
                }
                Ok(_) => {}
                Err(_) if self.inner().machine.disk.crashed() => break,
                Err(_) => break,
            }
        }
        self.act(Step { what: What::Look, dice: 1 });
        self.act(Step { what: What::Restart, dice: 3 });
        drop(engine);
        self.settle()?;
        let mut inner = self.inner();
        inner.failed.take().map_or(Ok(()), |failed| Err(self.told(&inner, &failed)))
    }
}

impl Inner {
    fn judged(&mut self) -> Result<(), String> {
        let judged = self.history.check();
        self.undecided = matches!(&judged, Err(finding) if finding.given_up);
        judged.map(drop).map_err(|finding| finding.to_string())
    }

    /// A reader that waits though there is something for it.
    fn lost_waiter(&self, found: &[(&str, Option<Stream>)]) -> Option<String> {
        // One that finds no room is told so, and where a segment could not be made nobody is served. XGROUP SETID serves
        // nobody either, as in Redis.
        if self.was_full || self.moved {
            return None;
        }
        let waiting = self.clients.iter().filter_map(|client| match &client.waits {
            Some((_, Op::Read(read), Pending::Waiting(_))) => Some((client, read)),
            _ => None,
        });
        for (client, read) in waiting {
            let stream =
                found.iter().find(|(key, _)| *key == &*read.key).and_then(|(_, stream)| stream.as_ref());
            let Some(group) = stream.and_then(|stream| stream.groups.get(&read.group)) else {
                return Some(format!(
                    "{} waits for {} in {}, which is not there",
                    client.name, read.group, read.key
                ));
            };
            let top = stream.and_then(|stream| stream.entries.get_max()).map(|(id, _)| *id);
            if top > Some(group.last_id) {
                return Some(format!(
                    "{} waits in {} of {}, and there is something",
                    client.name, read.group, read.key
                ));
            }
        }
        None
    }

    fn decided(&mut self, call: CallId, now_ms: u64) {
        self.history.decided(call, now_ms);
        if self.lax {
            self.history.took_place(call);
        }
    }
}

fn refused(told: &Outcome) -> bool {
    match told {
        Outcome::Refused => true,
        Outcome::All(all) => all.iter().any(refused),
        _ => false,
    }
}

fn moves(op: &Op) -> bool {
    match op {
        Op::MoveGroup { .. } => true,
        Op::Transaction(steps) => steps.iter().any(moves),
        _ => false,
    }
}

fn is_full(error: &OpenError) -> bool {
    let text = error.to_string();
    text.contains("no space") || text.contains("full") || text.contains("storage")
}
