//! What all connections of a server share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use claimlog::engine::{Engine, SnapshotStats};

use super::session::Client;
use super::stats::Stats;
use crate::config::Config;

/// What INFO says about the opening of the data.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecoverySummary {
    /// The report, line by line.
    pub(crate) text: String,
    pub(crate) millis: u128,
}

/// What all connections of a server share.
pub(crate) struct Context {
    /// Another one after DEBUG RELOAD.
    engine: RefCell<Engine>,
    pub(crate) config: RefCell<Config>,
    pub(crate) clients: RefCell<BTreeMap<u64, Rc<Client>>>,
    pub(crate) last_client_id: Cell<u64>,
    pub(crate) stats: Stats,
    pub(crate) started: Instant,
    pub(crate) started_unix_secs: u64,
    /// 40 hexadecimal digits, new with every start.
    pub(crate) run_id: String,
    pub(crate) recovery: RefCell<RecoverySummary>,
}

impl Context {
    pub(crate) fn new(engine: Engine, config: Config, recovery: RecoverySummary) -> Self {
        Self {
            engine: RefCell::new(engine),
            config: RefCell::new(config),
            clients: RefCell::default(),
            last_client_id: Cell::new(0),
            stats: Stats::default(),
            started: Instant::now(),
            started_unix_secs: unix_time().as_secs(),
            run_id: random_hex(),
            recovery: RefCell::new(recovery),
        }
    }

    /// The engine of the moment.
    pub(crate) fn engine(&self) -> Engine {
        self.engine.borrow().clone()
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
