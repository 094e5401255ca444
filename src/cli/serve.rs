//! `claimlog serve`: opens the data and serves Redis clients.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use claimlog::OpenError;
use claimlog::engine::{Engine, Settings, SyncMode};
use claimlog::recovery::RecoveryReport;

use super::{complain, exit, say};
use crate::command::RecoverySummary;
use crate::config::{Config, change, file, parse_bytes, row, sync_mode, sync_mode_name};
use crate::server::{self, ServeError};

/// Files that are open for the data: the log, two snapshot databases of some 85 files each, and two more while these are
/// built anew.
const DESCRIPTORS_FOR_DATA: u64 = 450;
/// However few are left.
const CLIENTS_MIN: u32 = 16;

/// Where to listen, where the data is, and how safe is safe.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// File with settings, as in redis.conf: lines of a name and a value. The command line and the environment come
    /// before it; CONFIG REWRITE writes it
    #[arg(long, env = "CLAIMLOG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// TCP port; 0 takes any free one, and says which [default: 6379]
    #[arg(long, short, env = "CLAIMLOG_PORT")]
    port: Option<u16>,

    /// Addresses to listen on, with commas between them. Beyond this machine only with a password, and in a network you
    /// trust [default: 127.0.0.1]
    #[arg(long, env = "CLAIMLOG_BIND", value_delimiter = ',')]
    bind: Option<Vec<IpAddr>>,

    /// Data directory, created if absent. One process at a time [default: ./claimlog-data]
    #[arg(long, short, env = "CLAIMLOG_DIR")]
    dir: Option<PathBuf>,

    /// When the log is synced to disk: before each reply, once a second, or when the system sees fit. Only `always`
    /// keeps every acknowledged command through a power cut [default: always]
    #[arg(long, env = "CLAIMLOG_APPENDFSYNC", value_parser = parse_sync_mode)]
    #[arg(value_name = "always|everysec|no")]
    appendfsync: Option<SyncMode>,

    /// How much the log grows before a snapshot is taken in the background, after which it can be cut: bytes, or with k,
    /// m, g. Less means a quicker start after a crash and more to write. With much data it is a tenth of that, up to 1 GiB;
    /// less on a disk that has little room [default: 64mb]
    #[arg(long, env = "CLAIMLOG_SNAPSHOT_LOG_BYTES", value_parser = parse_bytes)]
    #[arg(value_name = "BYTES")]
    snapshot_log_bytes: Option<u64>,

    /// How many snapshots are kept, each in a sled database of its own. With 2, damage to either loses nothing; 1 takes
    /// half the disk [default: 2]
    #[arg(long, env = "CLAIMLOG_SNAPSHOT_COPIES")]
    #[arg(value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    snapshot_copies: Option<u8>,

    /// How long one step of a snapshot database may take, in milliseconds; opening one may take five times that. One that
    /// takes longer counts as hanging: it is given up and built anew, while the other one and the log serve [default:
    /// 60000]
    #[arg(long, env = "CLAIMLOG_SNAPSHOT_PATIENCE_MS")]
    #[arg(value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    snapshot_patience_ms: Option<u64>,
    /// How fast what lies on the disk (the log, the snapshots) is read through and checked in the background, a round an
    /// hour (see CONFIG SET verify-interval): bytes a second, or with kb, mb, gb; 0: not at all [default: 8mb]
    #[arg(long, env = "CLAIMLOG_VERIFY_BYTES_PER_SECOND", value_name = "BYTES")]
    verify_bytes_per_second: Option<String>,

    /// Password that clients must give (AUTH). Better by environment: command lines can be seen by others
    #[arg(long, env = "CLAIMLOG_REQUIREPASS", hide_env_values = true)]
    requirepass: Option<String>,

    /// The most clients at a time; fewer where the process may not open so many files, and it says so then [default:
    /// 10000]
    #[arg(long, env = "CLAIMLOG_MAXCLIENTS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    maxclients: Option<u32>,

    /// How much memory the data may take before commands that add are refused: bytes, or with kb, mb, gb; 0 for no limit.
    /// Nothing is ever evicted [default: 0]
    #[arg(long, env = "CLAIMLOG_MAXMEMORY", value_name = "BYTES")]
    maxmemory: Option<String>,

    /// The largest changes of one command or transaction [default: 512mb]
    #[arg(long, env = "CLAIMLOG_MAX_BATCH_BYTES", value_name = "BYTES")]
    max_batch_bytes: Option<String>,

    /// The largest reply of one command or transaction [default: 512mb]
    #[arg(long, env = "CLAIMLOG_MAX_REPLY_BYTES", value_name = "BYTES")]
    max_reply_bytes: Option<String>,

    /// Who may use DEBUG: nobody, everybody, or who connects from this machine [default: local]
    #[arg(long, env = "CLAIMLOG_ENABLE_DEBUG_COMMAND", value_parser = ["no", "yes", "local"])]
    #[arg(value_name = "no|yes|local")]
    enable_debug_command: Option<String>,
}

fn parse_sync_mode(text: &str) -> Result<SyncMode, String> {
    sync_mode(text).ok_or_else(|| "one of: always, everysec, no".to_owned())
}

impl Options {
    /// The file's settings, and over them those of the command line and the environment.
    fn into_config(self) -> Result<Config, String> {
        let mut config = Config::default();
        if let Some(path) = &self.config {
            file::load(path, &mut config)?;
            config.file = Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        let put = |config: &mut Config, name: &str, value: Option<String>| match (row(name.as_bytes()), value)
        {
            (Some(row), Some(value)) => change(row, config, &value).map_err(|why| format!("{name}: {why}")),
            _ => Ok(()),
        };
        put(&mut config, "enable-debug-command", self.enable_debug_command)?;
        put(&mut config, "requirepass", self.requirepass)?;
        put(&mut config, "maxmemory", self.maxmemory)?;
        put(&mut config, "max-batch-bytes", self.max_batch_bytes)?;
        put(&mut config, "max-reply-bytes", self.max_reply_bytes)?;
        put(&mut config, "verify-bytes-per-second", self.verify_bytes_per_second)?;
        config.port = self.port.unwrap_or(config.port);
        config.bind = self.bind.unwrap_or(config.bind);
        config.dir = self.dir.unwrap_or(config.dir);
        config.engine.sync_mode = self.appendfsync.unwrap_or(config.engine.sync_mode);
        config.snapshot_copies = self.snapshot_copies.unwrap_or(config.snapshot_copies);
        config.snapshot_log_bytes = self.snapshot_log_bytes.unwrap_or(config.snapshot_log_bytes);
        config.snapshot_patience_ms = self.snapshot_patience_ms.unwrap_or(config.snapshot_patience_ms);
        config.clients_max = self.maxclients.unwrap_or(config.clients_max);
        Ok(config)
    }
}

/// Opens, serves, closes. Returns the exit code.
pub(crate) fn run(options: Options) -> u8 {
    let mut config = match options.into_config() {
        Ok(config) => config,
        Err(why) => {
            complain(why);
            return exit::USAGE;
        }
    };
    config.clients_possible = clients_possible(config.clients_max);
    config.clients_max = config.clients_max.min(config.clients_possible);
    let started = Instant::now();
    let (engine, report) = match open(&config, config.engine) {
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
        sync_mode_name(config.engine.sync_mode)
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
    let recovery = RecoverySummary { text: report.to_string(), millis: took.as_millis(), keys: report.keys };
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
        .max_batch_bytes(config.batch_bytes_max)
        .max_reply_bytes(config.reply_bytes_max)
        .store_patience(Duration::from_millis(config.snapshot_patience_ms))
        .on_event(|event| if event.is_warning() { complain(event) } else { say(event) })
        .on_progress(|done, all| say(format_args!("recovering: {done} of {all} bytes replayed")));
    Engine::open(options)
}

/// How many clients there may be at a time, so that descriptors are left for the data: a client more is an error reply,
/// a segment that can't be opened is the end. Raises this process's limit as far as it may, and says if that is not
/// enough.
fn clients_possible(wanted: u32) -> u32 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = u64::from(wanted) + DESCRIPTORS_FOR_DATA;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        // What it is afterwards is what counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
    }
    let Some(current) = getrlimit(Resource::Nofile).current else { return u32::MAX };
    let left =
        u32::try_from(current.saturating_sub(DESCRIPTORS_FOR_DATA)).unwrap_or(u32::MAX).max(CLIENTS_MIN);
    if current < needed {
        complain(format_args!(
            "warning: this process may have {current} files open, which is enough for {left} clients, not for {wanted}: \
             see ulimit -n"
        ));
    }
    left
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
