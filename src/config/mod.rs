//! The server's settings: their names and values ([`rows`]), and the file they may come from ([`file`]). Who may change
//! them while the server runs is CONFIG's business.

pub(crate) mod file;
mod output_limit;
mod rows;

use std::net::IpAddr;
use std::path::PathBuf;

use claimlog::engine::{Settings, SyncMode};

pub(crate) use output_limit::OutputLimits;
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
    /// The largest request, and the most that a transaction may queue.
    pub(crate) query_bytes_max: u64,
    /// What may wait for a client to read it.
    pub(crate) output_limits: OutputLimits,
    /// The largest changes of one command or transaction,
    pub(crate) batch_bytes_max: u32,
    /// and the largest reply.
    pub(crate) reply_bytes_max: u64,
    /// After so many seconds of silence the system asks whether the other end is still there; 0: never.
    pub(crate) keepalive_secs: u64,
    /// How often Redis looks at what nobody tells it of, per second; kept, and changes nothing.
    pub(crate) hz: u64,
    /// How hard Redis looks for what has expired; kept, and changes nothing.
    pub(crate) expire_effort: u64,
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
/// whether keys are freed by another thread (here always), and how often it is looked for what is due (here timers say so).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accepted {
    AofUseRdbPreamble,
    DynamicHz,
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
            query_bytes_max: 1024 * 1024 * 1024,
            output_limits: OutputLimits::default(),
            batch_bytes_max: 512 * 1024 * 1024,
            reply_bytes_max: 512 * 1024 * 1024,
            keepalive_secs: 300,
            hz: 10,
            expire_effort: 1,
            idle_secs_max: 0,
            slow_micros: 10_000,
            slow_entries_max: 128,
            latency_threshold_ms: 0,
            latency_tracking: true,
            latency_percentiles: vec![50.0, 99.0, 99.9],
            debug_command: DebugCommand::Local,
            // As in Redis: only the first two are on.
            accepted: std::array::from_fn(|at| at <= Accepted::DynamicHz as usize),
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
