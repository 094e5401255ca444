//! How an engine is opened, and what may be changed while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::events::{Event, Listener};
use super::snapshotter::COPIES_MAX;
use crate::error::OpenError;
use crate::io::real::{RealClock, RealDir};
use crate::io::{Clock, Dir};
use crate::record::DedupConfig;
use crate::recovery::RecoveryReport;
use crate::snapshot::SnapshotPlace;
use crate::snapshot::guard::Guarded;
use crate::snapshot::sled_place::SledPlace;
use crate::state::entries::NodeLimits;
use crate::wal::LogOptions;

/// Where the snapshots lie in the data directory.
const SNAPSHOT_DIR: &str = "snapshot";

/// When the log is synced to disk (`appendfsync`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Before each reply: what was answered survives a power cut.
    #[default]
    Always,
    /// Once a second. Replies wait until the operating system has the bytes: they survive a crash of the process,
    /// not one of the machine.
    EverySecond,
    /// When the operating system sees fit; replies as in `EverySecond`.
    No,
}

/// Settings that may change while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When the log is synced.
    pub sync_mode: SyncMode,
    /// `stream-node-max-entries`: how many entries a node of a stream holds; 0 for no limit.
    pub stream_node_max_entries: u64,
    /// `stream-node-max-bytes`: how large a node of a stream gets; 0 for no limit.
    pub stream_node_max_bytes: u64,
    /// `stream-idmp-duration`: for how many seconds a new stream remembers idempotent ids (8.6).
    pub stream_idmp_duration_secs: u64,
    /// `stream-idmp-maxsize`: how many of each producer a new stream remembers (8.6).
    pub stream_idmp_maxsize: u64,
    /// `maxmemory`: how many bytes of memory the data may take; 0 for no limit. Above it, what adds is refused
    /// ([`Refusal::OutOfMemory`](crate::op::Refusal::OutOfMemory), see [`Op::DENY_OOM`](crate::op::Op::DENY_OOM)), and
    /// everything else goes on. What counts is what the data take by themselves ([`Stats::memory_bytes`](super::Stats)),
    /// which is less at once when something is deleted. Data that are above it already are opened all the same.
    pub max_memory_bytes: u64,
    /// Whether keys that have expired are removed as soon as they have. If not, they are when the next request comes.
    pub active_expiry: bool,
    /// How fast what lies on the disk is read through and checked while the engine runs; 0: not at all.
    pub verify_bytes_per_second: u64,
    /// A round of that begins so many seconds after the one before began, or when that one is over.
    pub verify_interval_secs: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let DedupConfig { duration_secs, maxsize } = DedupConfig::default();
        Self {
            sync_mode: SyncMode::default(),
            stream_node_max_entries: 100,
            stream_node_max_bytes: 4096,
            stream_idmp_duration_secs: duration_secs,
            stream_idmp_maxsize: maxsize,
            max_memory_bytes: 0,
            active_expiry: true,
            verify_bytes_per_second: 8 * 1024 * 1024,
            verify_interval_secs: 3600,
        }
    }
}

impl Settings {
    pub(super) fn node_limits(&self) -> NodeLimits {
        NodeLimits { entries_max: self.stream_node_max_entries, bytes_max: self.stream_node_max_bytes }
    }

    pub(super) fn dedup(&self) -> DedupConfig {
        DedupConfig { duration_secs: self.stream_idmp_duration_secs, maxsize: self.stream_idmp_maxsize }
    }
}

/// How an engine is opened: a builder.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use claimlog::engine::{Options, SyncMode};
/// let (engine, report) = Options::new(dir.path()).sync_mode(SyncMode::Always).open()?;
/// println!("{report}");
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) path: PathBuf,
    pub(crate) disk: Option<Arc<dyn Dir>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) places: Option<Vec<Arc<dyn SnapshotPlace>>>,
    pub(crate) snapshot_copies: usize,
    pub(crate) store_patience: Duration,
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) unsnapshotted_bytes_max: u64,
    pub(crate) listener: Listener,
    pub(crate) threads: bool,
    pub(crate) settings: Settings,
    pub(crate) log: LogOptions,
    pub(crate) unsynced_bytes_max: usize,
    pub(crate) max_reply_bytes: u64,
    pub(crate) progress: Progress,
}

/// Told every second while the log is being replayed: bytes done, bytes in all.
#[derive(Clone)]
pub(crate) struct Progress(pub(crate) Arc<dyn Fn(u64, u64) + Send + Sync>);

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

impl Options {
    /// An engine in that directory, which is created if absent.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            path: dir.into(),
            disk: None,
            clock: Arc::new(RealClock::new()),
            places: None,
            snapshot_copies: 2,
            store_patience: Duration::from_secs(60),
            snapshot_log_bytes: 64 * 1024 * 1024,
            unsnapshotted_bytes_max: 4 * 1024 * 1024 * 1024,
            listener: Listener(Arc::new(|_| ())),
            threads: true,
            settings: Settings::default(),
            log: LogOptions::default(),
            unsynced_bytes_max: 64 * 1024 * 1024,
            max_reply_bytes: 512 * 1024 * 1024,
            progress: Progress(Arc::new(|_, _| ())),
        }
    }

    /// An engine on a disk and a clock of your own, without background threads: everything happens inside your calls,
    /// so that a simulation is the same every time.
    #[must_use]
    pub fn simulated(disk: Arc<dyn Dir>, clock: Arc<dyn Clock>) -> Self {
        let path = disk.path();
        let settings = Settings { verify_bytes_per_second: 0, ..Settings::default() };
        Self {
            disk: Some(disk),
            clock,
            threads: false,
            places: Some(Vec::new()),
            settings,
            ..Self::new(path)
        }
    }

    /// Runs the threads of an engine on a simulated disk too, instead of what [`Engine::tick`] does.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn with_threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// When the log is synced; [`SyncMode::Always`] unless said otherwise.
    #[must_use]
    pub fn sync_mode(mut self, mode: SyncMode) -> Self {
        self.settings.sync_mode = mode;
        self
    }

    /// How many bytes of memory the data may take before what adds is refused; no limit unless said otherwise. See
    /// [`Settings::max_memory_bytes`].
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_memory_bytes = bytes;
        self
    }

    /// All settings that may also change while the engine runs.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How fast what lies on the disk is read through and checked in the background: 8 MiB a second unless said otherwise;
    /// 0: not at all, as in a simulation unless said otherwise.
    #[must_use]
    pub fn verify_bytes_per_second(mut self, bytes: u64) -> Self {
        self.settings.verify_bytes_per_second = bytes;
        self
    }

    /// How long a segment of the log is: 64 MiB unless said otherwise.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.log.segment_bytes = bytes;
        self
    }

    /// How large the changes of one command or transaction may be in the log: 512 MiB unless said otherwise.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u32) -> Self {
        self.log.max_batch_bytes = bytes;
        self
    }

    /// How large the reply of one command, or those of one transaction, may be: 512 MiB unless said otherwise. A
    /// larger one is refused, and the command changes nothing.
    #[must_use]
    pub fn max_reply_bytes(mut self, bytes: u64) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// How many bytes of changes may wait to be written before whoever adds to them commits first: 64 MiB unless said
    /// otherwise.
    #[must_use]
    pub fn unsynced_bytes_max(mut self, bytes: usize) -> Self {
        self.unsynced_bytes_max = bytes;
        self
    }

    /// Where the id of a new store comes from; for simulations that must repeat.
    #[must_use]
    pub fn new_store_id(mut self, make: fn() -> [u8; 16]) -> Self {
        self.log.new_store_id = make;
        self
    }

    /// Adds a place for snapshots of your own. Without any there are two in the data directory; none in a simulation.
    #[must_use]
    pub fn snapshot_place(mut self, place: Arc<dyn SnapshotPlace>) -> Self {
        self.places.get_or_insert_default().push(place);
        self
    }

    /// How many snapshots are kept, each in a place of its own: 2 unless said otherwise, so that one may be damaged.
    /// With 1 they take half the disk, and damage to it is damage to the data. Others count as the nearer of these.
    #[must_use]
    pub fn snapshot_copies(mut self, copies: usize) -> Self {
        self.snapshot_copies = copies.clamp(1, COPIES_MAX);
        self
    }

    /// How long a snapshot store may take for one step before it is given up and built anew: 60 seconds unless said
    /// otherwise, and five times that for being opened.
    #[must_use]
    pub fn store_patience(mut self, patience: Duration) -> Self {
        self.store_patience = patience;
        self
    }

    /// A snapshot is taken when the log has grown by so much, or by a tenth of what a snapshot has if that is more
    /// (a quarter of [`Options::unsnapshotted_bytes_max`] at most): 64 MiB unless said otherwise. Smaller means less to
    /// replay at the next start and more to write.
    #[must_use]
    pub fn snapshot_log_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_log_bytes = bytes.max(1);
        self
    }

    /// How much of the log may be in no snapshot: 4 GiB unless said otherwise, and never less than four times
    /// `snapshot_log_bytes`. From half of it on writers are slowed down, so that snapshots come along; at it, which
    /// means that snapshots fail, commands that add are refused.
    #[must_use]
    pub fn unsnapshotted_bytes_max(mut self, bytes: u64) -> Self {
        self.unsnapshotted_bytes_max = bytes;
        self
    }

    /// Is told what happens in the background. Called by whoever it happens to: it must not wait for the engine.
    #[must_use]
    pub fn on_event(mut self, tell: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener(Arc::new(tell));
        self
    }

    /// Is told every second while the log is being replayed: bytes done, bytes in all.
    #[must_use]
    pub fn on_progress(mut self, tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Progress(Arc::new(tell));
        self
    }

    /// Opens the data and recovers what it holds.
    ///
    /// # Errors
    /// [`OpenError`]; its text says what happened, where, and what to do next.
    pub fn open(self) -> Result<(Engine, RecoveryReport), OpenError> {
        Engine::open(self)
    }

    /// The places for snapshots, those that are used and those that were.
    pub(crate) fn snapshot_places(&self, dir: &Arc<dyn Dir>) -> Vec<Arc<dyn SnapshotPlace>> {
        let sled = |name| -> Arc<dyn SnapshotPlace> {
            Arc::new(SledPlace::new(dir.path().join(SNAPSHOT_DIR), name))
        };
        let places = self.places.clone().unwrap_or_else(|| vec![sled("a"), sled("b")]);
        // A simulation has no threads that could wait for others.
        if !self.threads {
            return places;
        }
        let guard = |place| -> Arc<dyn SnapshotPlace> { Arc::new(Guarded::new(place, self.store_patience)) };
        places.into_iter().map(guard).collect()
    }

    pub(crate) fn data_dir(&self) -> Result<Arc<dyn Dir>, OpenError> {
        if let Some(disk) = &self.disk {
            return Ok(Arc::clone(disk));
        }
        match RealDir::create(&self.path) {
            Ok(dir) => Ok(Arc::new(dir)),
            Err(source) => Err(OpenError::Directory { path: self.path.clone(), source }),
        }
    }
}
