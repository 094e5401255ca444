//! The engine: one door to the state, in front of the log. (Skeleton: bodies are being written.)

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use crate::id::{EntryId, Seq};
use crate::op::*;

/// When the log is synced to disk (`appendfsync`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Before each reply.
    #[default]
    Always,
    /// Once a second; replies do not wait.
    EverySecond,
    /// When the operating system sees fit; replies do not wait.
    No,
}

/// How an engine is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {}
impl Options {
    /// An engine in that directory, which is created if absent.
    pub fn new(_dir: impl Into<PathBuf>) -> Self { Self {} }
    /// See [`SyncMode`].
    pub fn sync_mode(self, _mode: SyncMode) -> Self { self }
}

/// What happened when the data was opened. `Display` gives the lines that the server prints.
#[derive(Clone, Debug)]
pub struct RecoveryReport {}

/// Why the data could not be opened. `Display` says what happened, where and what to do next.
#[derive(Debug)]
pub enum OpenError { /* Locked{holder}, Damaged.., Io.., NewerFormat.. */ }

/// Why a request got no reply.
#[derive(Clone, Debug)]
pub enum Error {
    /// Refused: as things stand it can't be done. Nothing changed. Like a reply it waits for what it depends on.
    Refused(Refusal),
    /// The log failed; nothing is known to be durable any more and nothing is served until the data is opened again (I8).
    Failed(std::sync::Arc<str>),
    /// The engine was closed.
    Closed,
}

/// A reply (or refusal) that must not be shown before `durable() >= after`.
#[derive(Clone, Debug)]
pub struct Ticket<R> {
    /// What was decided.
    pub result: Result<R, Error>,
    /// The last change that was applied when it was decided.
    pub after: Seq,
}

/// The engine. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    /// Opens (recovers) the data.
    pub fn open(_options: Options) -> Result<(Self, RecoveryReport), OpenError> { unimplemented!() }
    /// Decides and applies a request; the reply must wait (see [`Ticket`]). Never blocks on I/O.
    pub fn submit<O: Op>(&self, _op: &O) -> Ticket<O::Reply> { unimplemented!() }
    /// Several requests as one: decided one after the other under the one lock, at one frozen time, one batch in the log.
    pub fn transaction<T>(&self, _steps: impl FnOnce(&mut Transaction<'_>) -> T) -> Ticket<T> { unimplemented!() }
    /// Decides a blocking read; when it has nothing to answer, a waiter is registered under the same lock.
    pub fn read_or_wait(&self, _read: BlockingRead) -> ReadOrWait { unimplemented!() }
    /// Begins to watch keys (WATCH).
    pub fn watch(&self) -> Watch { unimplemented!() }
    /// Writes what was applied so far to the log and, in mode Always, syncs it; publishes the new durable seq. Blocks.
    pub fn commit(&self) -> Result<Seq, Error> { unimplemented!() }
    /// Writes and syncs, in every mode (WAITAOF). Blocks.
    pub fn sync(&self) -> Result<Seq, Error> { unimplemented!() }
    /// Up to which change replies may leave now: the synced ones in mode Always, the applied ones otherwise.
    pub fn visible(&self) -> Seq { unimplemented!() }
    /// Up to which change the log is known to be synced.
    pub fn durable(&self) -> Seq { unimplemented!() }
    /// Resolves when `visible() >= seq`, or the engine failed. Runtime-agnostic.
    pub fn wait_visible(&self, _seq: Seq) -> impl Future<Output = Result<(), Error>> + Send + 'static { async { unimplemented!() } }
    /// Submits, waits for the disk, answers.
    pub fn execute_blocking<O: Op>(&self, _op: &O) -> Result<O::Reply, Error> { unimplemented!() }
    /// Submits, waits for the disk without blocking the thread, answers.
    pub async fn execute<O: Op>(&self, _op: &O) -> Result<O::Reply, Error> { unimplemented!() }
    /// CONFIG GET/SET of the engine: run-time settings.
    pub fn settings(&self) -> Settings { unimplemented!() }
    /// Changes run-time settings (a change of the sync mode syncs first).
    pub fn set_settings(&self, _settings: Settings) -> Result<(), Error> { unimplemented!() }
    /// Numbers for INFO.
    pub fn stats(&self) -> Stats { unimplemented!() }
    /// Syncs, writes the closing mark and releases the directory. Other clones get `Error::Closed` from then on.
    pub fn close(self) -> Result<(), Error> { unimplemented!() }
}

/// Settings that may change while the engine runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When the log is synced.
    pub sync_mode: SyncMode,
    /// `stream-node-max-entries`
    pub stream_node_max_entries: u64,
    /// `stream-node-max-bytes`
    pub stream_node_max_bytes: u64,
}

/// Numbers for INFO.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Keys per database.
    pub keys: Vec<u64>,
    /// The last change applied.
    pub applied: u64,
    /// The last change synced.
    pub durable: u64,
    /// Commits (frames) written since start.
    pub commits: u64,
    /// Bytes written to the log since start.
    pub log_bytes_written: u64,
    /// Blocked readers.
    pub waiters: u64,
}

/// Requests run inside [`Engine::transaction`].
pub struct Transaction<'a>(&'a ());
impl Transaction<'_> {
    /// Decides and applies one step.
    pub fn execute<O: Op>(&mut self, _op: &O) -> Result<O::Reply, Error> { unimplemented!() }
}

/// A read that may wait.
#[derive(Clone, Debug)]
pub enum BlockingRead {
    /// XREAD.
    Read(XRead),
    /// XREADGROUP.
    Group(XReadGroup),
}

/// What became of a blocking read.
pub enum ReadOrWait {
    /// Answered at once.
    Now(Ticket<Vec<StreamRead>>),
    /// Waiting.
    Waiting(Waiting),
}

/// A waiting read. A future (runtime-agnostic) that resolves when someone's command served it, or made it fail.
/// Dropping it takes it out of all queues.
pub struct Waiting {}
impl Waiting {
    /// Gives up (timeout): the ticket if it was served in the meantime; otherwise `None` and the seq its null reply must wait for.
    pub fn give_up(self) -> Result<Ticket<Vec<StreamRead>>, Seq> { unimplemented!() }
    /// Blocks the thread until served or the timeout has passed (`None`: forever).
    pub fn wait_blocking(self, _timeout: Option<Duration>) -> Result<Ticket<Vec<StreamRead>>, Seq> { unimplemented!() }
}
impl Future for Waiting {
    type Output = Ticket<Vec<StreamRead>>;
    fn poll(self: std::pin::Pin<&mut Self>, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> { unimplemented!() }
}

/// Keys being watched by one connection.
pub struct Watch {}
impl Watch {
    /// Watches one more key.
    pub fn add(&mut self, _key: &Key) {}
    /// Whether any watched key changed since. Inside `transaction` use [`Transaction::dirty`].
    pub fn dirty(&self) -> bool { false }
}
