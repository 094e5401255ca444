//! The server's settings: their names and values ([`rows`]), and the file they may come from ([`file`]). Who may change
//! them while the server runs is CONFIG's business.

pub(crate) mod file;
mod rows;

use std::net::IpAddr;
use std::path::PathBuf;

use claimlog::engine::{Settings, SyncMode};

pub(crate) use rows::{ROWS, When, change, parse_bytes, row};

/// The server's settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) port: u16,
    pub(crate) bind: Vec<IpAddr>,
    pub(crate) dir: PathBuf,
    /// The file that CONFIG REWRITE writes, if the server was started with one.
    pub(crate) file: Option<PathBuf>,
    /// What the engine is told.
    pub(crate) engine: Settings,
    /// How many snapshots are kept, each in a place of its own.
    pub(crate) snapshot_copies: u8,
    /// A snapshot is taken when the log has grown by so much.
    pub(crate) snapshot_log_bytes: u64,
    /// How long a step of a snapshot store may take before the store is given up.
    pub(crate) snapshot_patience_ms: u64,
    /// Asked of every client where set.
    pub(crate) password: Option<String>,
    /// The most clients at a time,
    pub(crate) clients_max: u32,
    /// which can't be more than this process may have descriptors for.
    pub(crate) clients_possible: u32,
    /// The longest argument of a request.
    pub(crate) bulk_bytes_max: u64,
    /// Clients idle for longer are closed; 0: never.
    pub(crate) idle_secs_max: u64,
    /// Commands that take so many microseconds or more are kept for SLOWLOG; negative: none.
    pub(crate) slow_micros: i64,
    /// So many of them.
    pub(crate) slow_entries_max: u64,
    /// What takes so many milliseconds or more is kept for LATENCY; 0: nothing.
    pub(crate) latency_threshold_ms: u64,
    /// Whether it is counted how long commands take, for INFO latencystats and LATENCY HISTOGRAM.
    pub(crate) latency_tracking: bool,
    /// The percentiles that INFO latencystats shows.
    pub(crate) latency_percentiles: Vec<f64>,
    /// Who may use DEBUG.
    pub(crate) debug_command: DebugCommand,
    /// Switches that are kept, and change nothing, by [`Accepted`].
    pub(crate) accepted: [bool; Accepted::COUNT],
}

/// Switches of Redis that may be set either way, because what they change can't be seen: how the log is written anew,
/// and whether keys are freed by another thread (here always).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accepted {
    AofUseRdbPreamble,
    LazyEviction,
    LazyExpire,
    LazyServerDel,
    LazyUserDel,
    LazyUserFlush,
}

impl Accepted {
    const COUNT: usize = Self::LazyUserFlush as usize + 1;
}

/// Who may use DEBUG (`enable-debug-command`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DebugCommand {
    Nobody,
    Everybody,
    /// Who connects from this machine.
    Local,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 6379,
            bind: vec![IpAddr::from([127, 0, 0, 1])],
            dir: "./claimlog-data".into(),
            file: None,
            engine: Settings::default(),
            snapshot_copies: 2,
            snapshot_log_bytes: 64 * 1024 * 1024,
            snapshot_patience_ms: 60_000,
            password: None,
            clients_max: 10_000,
            clients_possible: u32::MAX,
            bulk_bytes_max: 512 * 1024 * 1024,
            idle_secs_max: 0,
            slow_micros: 10_000,
            slow_entries_max: 128,
            latency_threshold_ms: 0,
            latency_tracking: true,
            latency_percentiles: vec![50.0, 99.0, 99.9],
            debug_command: DebugCommand::Local,
            // As in Redis: only the first is on.
            accepted: std::array::from_fn(|at| at == Accepted::AofUseRdbPreamble as usize),
        }
    }
}

/// The name of a mode in `appendfsync`.
pub(crate) fn sync_mode_name(mode: SyncMode) -> &'static str {
    match mode {
        SyncMode::Always => "always",
        SyncMode::EverySecond => "everysec",
        SyncMode::No => "no",
    }
}

/// The mode of that name.
pub(crate) fn sync_mode(name: &str) -> Option<SyncMode> {
    match name.to_ascii_lowercase().as_str() {
        "always" => Some(SyncMode::Always),
        "everysec" => Some(SyncMode::EverySecond),
        "no" => Some(SyncMode::No),
        _ => None,
    }
}
