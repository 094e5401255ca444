//! `claimlog serve`: opens the data and serves Redis clients.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use claimlog::OpenError;
use claimlog::engine::{Engine, Settings, SyncMode};
use claimlog::recovery::RecoveryReport;

use super::{complain, exit, say};
use crate::command::RecoverySummary;
use crate::config::{Config, sync_mode, sync_mode_name};
use crate::server::{self, ServeError};

/// Files that are open for the data: the log, two snapshot databases of some 85 files each, and two more while these are
/// built anew.
const DESCRIPTORS_FOR_DATA: u64 = 450;
/// However few are left.
const CLIENTS_MIN: u32 = 16;

/// Where to listen, where the data is, and how safe is safe.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// TCP port; 0 takes any free one, and says which
    #[arg(long, short, env = "CLAIMLOG_PORT", default_value_t = 6379)]
    port: u16,

    /// Addresses to listen on. Beyond this machine only with a password, and in a network you trust
    #[arg(long, env = "CLAIMLOG_BIND", default_value = "127.0.0.1", value_delimiter = ',')]
    bind: Vec<IpAddr>,

    /// Data directory, created if absent. One process at a time
    #[arg(long, short, env = "CLAIMLOG_DIR", default_value = "./claimlog-data")]
    dir: PathBuf,

    /// When the log is synced to disk: before each reply, once a second, or when the system sees fit. Only `always`
    /// keeps every acknowledged command through a power cut
    #[arg(long, env = "CLAIMLOG_APPENDFSYNC", default_value = "always", value_parser = parse_sync_mode)]
    #[arg(value_name = "always|everysec|no")]
    appendfsync: SyncMode,

    /// How much the log grows before a snapshot is taken in the background, after which it can be cut: bytes, or with k,
    /// m, g. Less means a quicker start after a crash and more to write. Never less than a tenth of the data
    #[arg(long, env = "CLAIMLOG_SNAPSHOT_LOG_BYTES", default_value = "64m", value_parser = parse_bytes)]
    #[arg(value_name = "BYTES")]
    snapshot_log_bytes: u64,

    /// How many snapshots are kept, each in a sled database of its own. With 2, damage to either loses nothing; 1 takes
    /// half the disk
    #[arg(long, env = "CLAIMLOG_SNAPSHOT_COPIES", default_value_t = 2)]
    #[arg(value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    snapshot_copies: u8,

    /// Password that clients must give (AUTH). Better by environment: command lines can be seen by others
    #[arg(long, env = "CLAIMLOG_REQUIREPASS", hide_env_values = true)]
    requirepass: Option<String>,

    /// The most clients at a time
    #[arg(long, env = "CLAIMLOG_MAXCLIENTS", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    maxclients: u32,
}

/// A number of bytes, of KiB (`k`), MiB (`m`) or GiB (`g`); `b` may follow.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let (number, shift) = match number.char_indices().next_back() {
        Some((at, 'k')) => (&number[..at], 10),
        Some((at, 'm')) => (&number[..at], 20),
        Some((at, 'g')) => (&number[..at], 30),
        _ => (number, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "a number of bytes, as in 67108864 or 64m".to_owned())
}

fn parse_sync_mode(text: &str) -> Result<SyncMode, String> {
    sync_mode(text).ok_or_else(|| "one of: always, everysec, no".to_owned())
}

impl Options {
    fn into_config(self) -> Config {
        Config {
            port: self.port,
            bind: self.bind,
            dir: self.dir,
            sync_mode: self.appendfsync,
            snapshot_copies: self.snapshot_copies,
            snapshot_log_bytes: self.snapshot_log_bytes,
            password: self.requirepass.filter(|password| !password.is_empty()),
            clients_max: self.maxclients,
            ..Config::default()
        }
    }
}

/// Opens, serves, closes. Returns the exit code.
pub(crate) fn run(options: Options) -> u8 {
    let mut config = options.into_config();
    config.clients_max = clients_within_limits(config.clients_max);
    let started = Instant::now();
    let settings = Settings { sync_mode: config.sync_mode, ..Settings::default() };
    let (engine, report) = match open(&config, settings) {
        Ok(opened) => opened,
        Err(error) => return not_opened(&config, &error),
    };
    let took = started.elapsed();
    say(format_args!(
        "claimlog {} (speaks Redis {})",
        env!("CARGO_PKG_VERSION"),
        crate::command::REDIS_VERSION
    ));
    say(format_args!(
        "data in {}, appendfsync {}",
        std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone()).display(),
        sync_mode_name(config.sync_mode)
    ));
    say(&report);
    say(format_args!("opened in {:.3} s", took.as_secs_f64()));
    let exposed = config.password.is_none() && config.bind.iter().any(|address| !address.is_loopback());
    if exposed {
        complain(
            "warning: listening beyond this machine without a password: anyone who can reach it can read and \
             delete everything. Set --requirepass, or bind to 127.0.0.1.",
        );
    }
    let recovery = RecoverySummary { text: report.to_string(), millis: took.as_millis() };
    let as_started = config.clone();
    let reopen = Box::new(move |settings| open(&as_started, settings));
    match server::serve(engine, config, recovery, reopen, listening) {
        Ok(()) => {
            say("ended cleanly");
            exit::CLEAN
        }
        Err(error) => not_served(&error),
    }
}

fn open(config: &Config, settings: Settings) -> Result<(Engine, RecoveryReport), OpenError> {
    let options = claimlog::engine::Options::new(&config.dir)
        .settings(settings)
        .snapshot_copies(config.snapshot_copies.into())
        .snapshot_log_bytes(config.snapshot_log_bytes)
        .on_event(|event| if event.is_warning() { complain(event) } else { say(event) })
        .on_progress(|done, all| say(format_args!("recovering: {done} of {all} bytes replayed")));
    Engine::open(options)
}

/// How many clients there may be at a time, so that descriptors are left for the data: a client more is an error reply,
/// a segment that can't be opened is the end. Raises this process's limit as far as it may.
fn clients_within_limits(wanted: u32) -> u32 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = u64::from(wanted) + DESCRIPTORS_FOR_DATA;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        // What it is afterwards is what counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
    }
    let Some(current) = getrlimit(Resource::Nofile).current.filter(|current| *current < needed) else {
        return wanted;
    };
    let left = u32::try_from(current.saturating_sub(DESCRIPTORS_FOR_DATA)).unwrap_or(wanted).max(CLIENTS_MIN);
    complain(format_args!(
        "warning: this process may have {current} files open, which is enough for {left} clients, not for {wanted}: see \
         ulimit -n"
    ));
    left.min(wanted)
}

fn listening(addresses: &[SocketAddr]) {
    for address in addresses {
        say(format_args!("listening on {address}"));
    }
}

fn not_opened(config: &Config, error: &OpenError) -> u8 {
    complain(format_args!("the data in {} could not be opened: {error}", config.dir.display()));
    if matches!(error, OpenError::InUse { .. }) { exit::IN_USE } else { exit::NOT_OPENED }
}

fn not_served(error: &ServeError) -> u8 {
    match error {
        ServeError::Runtime(error) => {
            complain(format_args!("the server could not be set up: {error}"));
            exit::NOT_LISTENING
        }
        ServeError::Listen(address, error) => {
            complain(format_args!(
                "can't listen on {address}: {error}. Is another server running? See --port."
            ));
            exit::NOT_LISTENING
        }
        ServeError::Failed(why) => {
            complain(format_args!(
                "{why}. Nothing was acknowledged since. Find the cause (disk full? failing?), then \
                 start again: what was acknowledged will be recovered."
            ));
            exit::LOG_FAILED
        }
    }
}
