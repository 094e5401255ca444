//! What all connections of a server share.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use claimlog::engine::{Engine, SnapshotStats};

use super::process;
use super::session::Client;
use super::slow::SlowCommands;
use super::slow_events::SlowEvents;
use super::stats::Stats;
use crate::config::Config;

/// What INFO says about the opening of the data.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecoverySummary {
    /// The report, line by line.
    pub(crate) text: String,
    pub(crate) millis: u128,
    pub(crate) keys: u64,
}

/// What CLIENT PAUSE holds up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until: Instant,
    /// All commands; otherwise those that write.
    pub(crate) all: bool,
}

/// What all connections of a server share.
pub(crate) struct Context {
    /// Another one after DEBUG RELOAD.
    engine: RefCell<Engine>,
    pub(crate) config: RefCell<Config>,
    /// The memory that the process had before it served anybody, without the data.
    pub(crate) startup_bytes: u64,
    pub(crate) clients: RefCell<BTreeMap<u64, Rc<Client>>>,
    pub(crate) last_client_id: Cell<u64>,
    pub(crate) stats: Stats,
    pub(crate) slow: SlowCommands,
    pub(crate) slow_events: SlowEvents,
    pause: Cell<Option<Pause>>,
    pub(crate) started: Instant,
    pub(crate) started_unix_secs: u64,
    /// 40 hexadecimal digits, new with every start.
    pub(crate) run_id: String,
    /// As many, new with DEBUG CHANGE-REPL-ID.
    replication_id: RefCell<String>,
    pub(crate) recovery: RefCell<RecoverySummary>,
    /// When the last command ended, or the pass began.
    clock: Cell<Instant>,
}

impl Context {
    pub(crate) fn new(engine: Engine, config: Config, recovery: RecoverySummary) -> Self {
        let data_bytes = engine.stats().memory_bytes;
        Self {
            startup_bytes: process::resident_bytes().saturating_sub(data_bytes),
            engine: RefCell::new(engine),
            config: RefCell::new(config),
            clients: RefCell::default(),
            last_client_id: Cell::new(0),
            stats: Stats::default(),
            slow: SlowCommands::default(),
            slow_events: SlowEvents::default(),
            pause: Cell::new(None),
            started: Instant::now(),
            started_unix_secs: unix_time().as_secs(),
            run_id: random_hex(),
            replication_id: RefCell::new(random_hex()),
            recovery: RefCell::new(recovery),
            clock: Cell::new(Instant::now()),
        }
    }

    /// Commands follow, one right after the other: the first begins now, and each of the others when the one before it
    /// ended, so that the clock is read once for each.
    pub(crate) fn begin_pass(&self) {
        self.clock.set(Instant::now());
    }

    /// When the command that runs began.
    pub(crate) fn began(&self) -> Instant {
        self.clock.get()
    }

    /// A command that began then has ended. Answers how long it took.
    pub(crate) fn end_command(&self, began: Instant) -> Duration {
        let now = Instant::now();
        self.clock.set(now);
        now.saturating_duration_since(began)
    }

    /// The pause, if it is not over.
    pub(crate) fn pause(&self) -> Option<Pause> {
        self.pause.get().filter(|pause| pause.until > Instant::now())
    }

    /// Begins a pause, or ends it and has everybody go on.
    pub(crate) fn set_pause(&self, pause: Option<Pause>) {
        self.pause.set(pause);
        if pause.is_none() {
            self.clients
                .borrow()
                .values()
                .filter(|client| client.paused.get())
                .for_each(|client| client.wake());
        }
    }

    /// How long a command has to wait for the end of a pause, if it has to.
    pub(crate) fn paused_for(&self, writes: bool) -> Option<Duration> {
        let pause = self.pause().filter(|pause| pause.all || writes)?;
        Some(pause.until.saturating_duration_since(Instant::now()))
    }

    /// 40 hexadecimal digits that stand for the history of the data.
    pub(crate) fn replication_id(&self) -> String {
        self.replication_id.borrow().clone()
    }

    /// Another one (DEBUG CHANGE-REPL-ID).
    pub(crate) fn change_replication_id(&self) {
        self.replication_id.replace(random_hex());
    }

    /// The engine of the moment. Not to be held on to while another may take over.
    pub(crate) fn engine(&self) -> Ref<'_, Engine> {
        self.engine.borrow()
    }

    /// Another engine takes over.
    pub(crate) fn set_engine(&self, engine: Engine, recovery: RecoverySummary) {
        self.engine.replace(engine);
        self.recovery.replace(recovery);
    }

    /// When the last snapshot was finished; when the server started, if there was none since.
    pub(crate) fn last_save_unix_secs(&self, snapshots: &SnapshotStats) -> u64 {
        snapshots.up_to_date_at_ms.map_or(self.started_unix_secs, |at_ms| at_ms / 1000)
    }

    /// The clients that were not killed. Those that were are closed as soon as they are looked at.
    pub(crate) fn living_clients(&self) -> Vec<Rc<Client>> {
        self.clients.borrow().values().filter(|client| !client.killed.get()).cloned().collect()
    }

    /// A number for a new client.
    pub(crate) fn next_client_id(&self) -> u64 {
        let id = self.last_client_id.get() + 1;
        self.last_client_id.set(id);
        id
    }
}

/// The wall clock.
pub(crate) fn unix_time() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A number that differs from call to call. Not for secrets.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(unix_time())
}

/// 160 bits that differ from run to run, as text. Not for secrets.
fn random_hex() -> String {
    let mut text = String::new();
    while text.len() < 40 {
        text.push_str(&format!("{:016x}", random()));
    }
    text.truncate(40);
    text
}
