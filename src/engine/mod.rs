//! The engine: one door to the state, in front of the log.
//!
//! A request is decided and applied under the one lock of the core and gets a [`Ticket`]: its reply, and the
//! change that must be on disk before anyone may see it (I1). Committing is a function, not a thread: whoever calls
//! [`Engine::commit`] writes and syncs everything that was applied so far, and whoever comes meanwhile waits for that
//! commit or does the next one. Helper threads make segments ahead, carry the durable mark forward when nothing follows,
//! sync once a second in mode `everysec`, commit for those who wait asynchronously, take snapshots, read what is on the
//! disk through, and keep time.

mod commit;
mod core;
mod events;
mod group_commit;
mod helper;
mod options;
mod progress;
mod ready_keys;
mod room;
mod snapshots;
mod snapshotter;
mod stored_parts;
mod timer;
mod timings;
mod touched;
mod transaction;
mod turn;
mod verifier;
mod waiters;
mod watch;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Instant;

pub use events::Event;
pub use options::{Options, Settings, SyncMode};
pub use room::LogRoom;
pub use snapshots::{SnapshotError, SnapshotReport, SnapshotStats, StoreStats};
pub(crate) use stored_parts::StoredParts;
pub use timings::{CommitStats, Spread};
pub use transaction::{Transaction, TransactionSize};
pub use verifier::{Finding, VerifyStats};
pub use waiters::{BlockingRead, Waiting};
pub use watch::Watch;

use self::core::{Core, Halt, Limits};
use self::events::Listener;
use self::group_commit::GroupCommit;
use self::helper::Helper;
use self::progress::Progress;
use self::snapshots::Snapshots;
use self::snapshotter::Snapshotter;
use self::timer::Timer;
use self::timings::Timings;
use self::verifier::Verifier;
use crate::error::{Error, OpenError};
use crate::id::Seq;
use crate::io::{Clock, LockGuard};
use crate::op::{Op, Refusal, StreamRead};
use crate::recovery::{self, Recovered, RecoveryReport};
use crate::state::Database;
use crate::wal::{Ballast, Spares, Writer};

/// A reply or an error that must not be shown before `engine.visible() >= after` (I1): absence and refusals are
/// information too.
#[derive(Clone, Debug)]
pub struct Ticket<R> {
    /// What was decided.
    pub result: Result<R, Error>,
    /// The last change that was applied when it was decided.
    pub after: Seq,
}

/// What became of a read that may wait.
#[derive(Debug)]
pub enum ReadOrWait {
    /// Answered at once.
    Now(Ticket<Vec<StreamRead>>),
    /// Waiting.
    Waiting(Waiting),
}

/// How much room a transaction gets whose size nobody tells.
const TRANSACTION_BYTES: usize = 1024 * 1024;

/// Numbers about a running engine.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys per database.
    pub keys: Vec<u64>,
    /// How many of them expire, per database.
    pub expiring_keys: Vec<u64>,
    /// How many keys have expired since the start.
    pub expired_keys: u64,
    /// How many requests changed something that is in no snapshot, as Redis counts them.
    pub unsaved_changes: u64,
    /// The last change applied.
    pub applied: u64,
    /// The last change synced.
    pub durable: u64,
    /// Commits (chunks written) since the start.
    pub commits: u64,
    /// Where their time went.
    pub commit: CommitStats,
    /// Bytes written to the log since the start.
    pub log_bytes_written: u64,
    /// Blocked readers.
    pub waiters: u64,
    /// Keys that they wait for,
    pub awaited_keys: u64,
    /// and those of them that a reader of a group waits for.
    pub awaited_group_keys: u64,
    /// What is known about snapshots.
    pub snapshots: SnapshotStats,
    /// About how many bytes of memory the data take: what [`Settings::max_memory_bytes`] is compared with. Counted from
    /// what there is, not what the process has of the system; what streams share after COPY counts in each.
    pub memory_bytes: u64,
    /// What is known about what lies on the disk.
    pub verify: VerifyStats,
    /// Why commands that add are refused, if they are: the log is full (see [`Engine::room`]).
    pub log_full: Option<String>,
}

/// The engine. Cheap to clone; all clones are the same engine, and any thread may use it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use claimlog::engine::Options;
/// use claimlog::op::{XAdd, XLen};
/// use claimlog::Fields;
///
/// let (engine, _report) = Options::new(dir.path()).open()?;
/// let add = XAdd::new("orders", Fields::from_pairs([("item", "book")]));
/// engine.execute_blocking(&add)?; // on disk when this returns
/// engine.close()?;
///
/// let (engine, report) = Options::new(dir.path()).open()?;
/// assert_eq!(report.keys, 1);
/// assert_eq!(engine.execute_blocking(&XLen { key: "orders".into() })?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    /// Ends the helper thread with the last clone.
    _helper: Option<Arc<Helper>>,
}

/// What all clones, waiters and helpers share.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// Lock order: the writer before the core. `None` when the engine was closed.
    writer: Mutex<Option<Writer>>,
    progress: Progress,
    group_commit: GroupCommit,
    spares: Arc<Spares>,
    ballast: Ballast,
    clock: Arc<dyn Clock>,
    snapshotter: Mutex<Snapshotter>,
    snapshots: Arc<Snapshots>,
    verifier: Verifier,
    /// Not in a simulation.
    may_sleep: bool,
    /// Whether snapshots are on the disk that the log is on.
    shares_disk: bool,
    snapshot_log_bytes: u64,
    listener: Listener,
    unsynced_bytes_max: usize,
    /// The helper's bell; nobody listens in a simulation.
    bell: helper::Bell,
    timer: Timer,
    commits: AtomicU64,
    timings: Timings,
    log_bytes_written: AtomicU64,
    /// The directory stays locked until this is taken out.
    lock: Mutex<Option<LockGuard>>,
}

impl Engine {
    /// Opens the data and recovers what it holds; the same as [`Options::open`].
    ///
    /// # Errors
    /// [`OpenError`]; its text says what happened, where, and what to do next.
    pub fn open(options: Options) -> Result<(Self, RecoveryReport), OpenError> {
        let Recovered { state, log, lock, slots, report } = recovery::recover(&options)?;
        let applied = state.applied();
        let batch_bytes = usize::try_from(options.log.max_batch_bytes).unwrap_or(usize::MAX);
        let limits = Limits { batch_bytes, reply_bytes: options.max_reply_bytes };
        let uncovered_max = match slots.len() {
            // Nothing would ever be covered.
            0 => u64::MAX,
            _ => options.unsnapshotted_bytes_max.max(options.snapshot_log_bytes.saturating_mul(4)),
        };
        let snapshots =
            Arc::new(Snapshots::new(report.replayed_bytes, options.snapshot_log_bytes, uncovered_max));
        let core = Core::new(state, log.buffer, options.settings, limits, Arc::clone(&snapshots));
        let verifier = Verifier::new(log.verifier, options.clock.monotonic());
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            progress: Progress::new(applied),
            group_commit: GroupCommit::default(),
            spares: log.spares,
            ballast: log.ballast,
            clock: options.clock,
            snapshotter: Mutex::new(Snapshotter::new(slots, options.snapshot_copies, log.writer.store())),
            snapshots,
            verifier,
            may_sleep: options.threads,
            shares_disk: options.places.is_none(),
            snapshot_log_bytes: options.snapshot_log_bytes,
            listener: options.listener,
            unsynced_bytes_max: options.unsynced_bytes_max,
            bell: helper::Bell::default(),
            timer: Timer::default(),
            commits: AtomicU64::new(0),
            timings: Timings::default(),
            log_bytes_written: AtomicU64::new(0),
            lock: Mutex::new(Some(lock)),
            writer: Mutex::new(Some(log.writer)),
        });
        shared.timer.set(shared.core().next_due_ms());
        shared.look_at_stores();
        let helper =
            if options.threads { Some(Helper::start(&shared).map_err(OpenError::Thread)?) } else { None };
        Ok((Self { shared, _helper: helper.map(Arc::new) }, report))
    }

    /// Decides and applies a request; the reply must wait (see [`Ticket`]).
    ///
    /// Touches memory only, unless the next segment of the log is not ready yet: then it waits for that.
    pub fn submit<O: Op>(&self, op: &O) -> Ticket<O::Reply> {
        self.shared.submit(op, || self.shared.clock.wall_ms())
    }

    /// As [`Engine::submit`], at this time (Unix ms) instead of the clock's: for who has looked at a clock already (see
    /// [`Engine::wall_ms_at`]), or looks at it once for many requests.
    pub fn submit_at<O: Op>(&self, op: &O, now_ms: u64) -> Ticket<O::Reply> {
        self.shared.submit(op, || now_ms)
    }

    /// What the engine's wall clock said at that moment (Unix ms), which is now or was a moment ago. Cheaper than looking
    /// at that clock: it is done once in 10 ms, so a jump of it shows that much later.
    #[must_use]
    pub fn wall_ms_at(&self, moment: Instant) -> u64 {
        self.shared.clock.wall_ms_at(moment)
    }

    /// Several requests as one: decided one after the other under the one lock, at one time, and in the log whole or
    /// not at all (I3). The steps must not wait for anything, and must not use the engine but through the transaction:
    /// not even to drop a [`Watch`] or a [`Waiting`].
    ///
    /// Room for 1 MiB of changes is made ready first; for more use [`Engine::transaction_of`]. On a full log, and where
    /// there was too little memory when it began, each step that adds is refused in its own place.
    ///
    /// A panic in `steps` ends the engine (I8): what was half built is neither written nor served.
    pub fn transaction<T>(&self, steps: impl FnOnce(&mut Transaction<'_>) -> T) -> Ticket<T> {
        // Small segments are for tests, which should not all need longer ones.
        let bytes = usize::try_from(self.shared.spares.segment_bytes() / 4).unwrap_or(usize::MAX);
        let size = TransactionSize { bytes: bytes.min(TRANSACTION_BYTES), adds: false };
        self.transaction_of(size, steps)
    }

    /// As [`Engine::transaction`], for one whose size is known before it begins.
    pub fn transaction_of<T>(
        &self,
        size: TransactionSize,
        steps: impl FnOnce(&mut Transaction<'_>) -> T,
    ) -> Ticket<T> {
        let _ends = EndsOnPanic(&self.shared);
        let (mut core, now_ms) = match self.shared.core_with_room(size) {
            Ok(ready) => ready,
            Err((core, error)) => {
                let after = core.applied();
                self.shared.leave(core);
                return Ticket { result: Err(error), after };
            }
        };
        if size.adds && core.is_out_of_memory() {
            let after = core.applied();
            self.shared.leave(core);
            return Ticket { result: Err(Refusal::OutOfMemory.into()), after };
        }
        let value = steps(&mut Transaction::new(&mut core, now_ms));
        let after = core.finish(now_ms);
        let result = core.ended().map_or(Ok(value), |error| Err(error.clone()));
        self.shared.leave(core);
        Ticket { result, after }
    }

    /// Decides a read that may wait. If it has nothing to answer, it waits in line from this very moment: no change
    /// can come in between.
    pub fn read_or_wait(&self, mut read: BlockingRead) -> ReadOrWait {
        let _ends = EndsOnPanic(&self.shared);
        loop {
            let (mut core, now_ms) = self.shared.core_in_turn();
            if let Some(error) = core.ended() {
                return ReadOrWait::Now(Ticket { result: Err(error.clone()), after: core.applied() });
            }
            let fixed = core.fix_last(&mut read, now_ms).map_err(Halt::Error);
            let answer = match fixed.and_then(|()| core.try_read(&read, now_ms)) {
                Ok(answer) => Ok(answer),
                Err(Halt::Error(error)) => Err(error),
                Err(Halt::NotYet) => {
                    self.shared.leave(core);
                    self.shared.make_room();
                    continue;
                }
            };
            // A consumer may have been created even if there is nothing to answer.
            let after = core.finish(now_ms);
            let outcome = match answer {
                Ok(Some(reply)) => ReadOrWait::Now(Ticket { result: Ok(reply), after }),
                Ok(None) => {
                    let waiting = core.waiters.add(read, Arc::clone(&self.shared));
                    core.schedule_claims_of(waiting.read(), now_ms);
                    ReadOrWait::Waiting(waiting)
                }
                Err(error) => ReadOrWait::Now(Ticket { result: Err(error), after }),
            };
            self.shared.leave(core);
            return outcome;
        }
    }

    /// Begins to watch keys (WATCH).
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.shared))
    }

    /// Goes on watching what was watched in an engine that was closed, and whose data this one has opened.
    #[must_use]
    pub fn watch_again(&self, before: &Watch) -> Watch {
        before.again(Arc::clone(&self.shared))
    }

    /// Writes everything that was applied so far to the log and, in mode `always`, syncs it. Blocks. Answers up to
    /// where replies may leave now.
    ///
    /// # Errors
    /// [`Error::Failed`] if the log failed, now or before (I8).
    pub fn commit(&self) -> Result<Seq, Error> {
        self.shared.commit(false)
    }

    /// As [`Engine::commit`], but syncs in every mode (WAITAOF). Answers up to where the log is durable.
    ///
    /// # Errors
    /// [`Error::Failed`] if the log failed, now or before (I8).
    pub fn sync(&self) -> Result<Seq, Error> {
        self.shared.commit(true)?;
        Ok(self.durable())
    }

    /// Up to where replies may leave: in mode `always` what is synced, in the others what is written.
    #[must_use]
    pub fn visible(&self) -> Seq {
        self.shared.progress.visible()
    }

    /// Up to where the log is synced.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.progress.durable()
    }

    /// The last change that was applied; whether it is on disk is another question.
    #[must_use]
    pub fn applied(&self) -> Seq {
        self.shared.core().applied()
    }

    /// Resolves when replies up to `seq` may leave, or never will. Runs on any runtime: a helper thread commits.
    pub fn wait_visible(&self, seq: Seq) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let engine = self.clone();
        std::future::poll_fn(move |context| match engine.shared.progress.poll(seq, context.waker()) {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                engine.shared.bell.ask_commit();
                Poll::Pending
            }
        })
    }

    /// Resolves when the engine has failed or was closed, and says why. Runs on any runtime. A background sync may
    /// fail while nobody asks for anything.
    pub fn ended(&self) -> impl Future<Output = Error> + Send + 'static {
        let shared = Arc::downgrade(&self.shared);
        std::future::poll_fn(move |context| match shared.upgrade() {
            Some(shared) => shared.progress.poll_end(context.waker()).map_or(Poll::Pending, Poll::Ready),
            None => Poll::Ready(Error::Closed),
        })
    }

    /// Decides, waits for the disk, answers.
    ///
    /// # Errors
    /// [`Error::Refused`] if it can't be done as things stand; [`Error::Failed`] if the log failed.
    pub fn execute_blocking<O: Op>(&self, op: &O) -> Result<O::Reply, Error> {
        let ticket = self.submit(op);
        self.redeem_blocking(ticket)
    }

    /// Waits until the disk has what a ticket depends on.
    ///
    /// # Errors
    /// The ticket's, or [`Error::Failed`] if the log failed.
    pub fn redeem_blocking<R>(&self, ticket: Ticket<R>) -> Result<R, Error> {
        self.shared.wait_committed(ticket.after)?;
        ticket.result
    }

    /// Decides, waits for the disk without blocking the thread, answers. Runs on any runtime.
    ///
    /// # Errors
    /// [`Error::Refused`] if it can't be done as things stand; [`Error::Failed`] if the log failed.
    pub async fn execute<O: Op>(&self, op: &O) -> Result<O::Reply, Error> {
        let ticket = self.submit(op);
        self.wait_visible(ticket.after).await?;
        ticket.result
    }

    /// The settings of the moment.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.shared.core().settings
    }

    /// Changes settings. A change of the sync mode syncs first.
    ///
    /// # Errors
    /// [`Error::Failed`] if the log failed.
    pub fn set_settings(&self, settings: Settings) -> Result<(), Error> {
        // IMPORTANT: the writer is held from the sync to the change, so that no commit under the old mode comes in
        // between: what is visible under `always` is durable (I1).
        let mut writer = self.shared.writer();
        let mut committed = None;
        if settings.sync_mode != self.settings().sync_mode {
            committed = Some(self.shared.commit_with(writer.as_mut(), true));
        }
        if committed.as_ref().is_none_or(Result::is_ok) {
            let mut core = self.shared.core();
            core.settings = settings;
            let due_ms = core.next_due_ms();
            drop(core);
            self.shared.timer.set(due_ms);
        }
        drop(writer);
        committed.map_or(Ok(()), |committed| self.shared.publish(committed))
    }

    /// Numbers about the engine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let log_bytes_written = self.shared.log_bytes_written.load(Ordering::Relaxed);
        let commit = self.shared.timings.stats();
        let core = self.shared.core();
        let (awaited_keys, awaited_group_keys) = core.waiters.key_counts();
        Stats {
            keys: core.state.databases().map(Database::key_count).collect(),
            expiring_keys: core.state.databases().map(Database::expiring_count).collect(),
            expired_keys: core.expired(),
            unsaved_changes: core.changes - core.saved_changes,
            applied: core.applied().get(),
            durable: self.durable().get(),
            commits: self.shared.commits.load(Ordering::Relaxed),
            commit,
            log_bytes_written,
            waiters: core.waiters.len() as u64,
            awaited_keys: awaited_keys as u64,
            awaited_group_keys: awaited_group_keys as u64,
            snapshots: self.shared.snapshots.stats(self.shared.clock.monotonic(), log_bytes_written),
            memory_bytes: core.state.memory_bytes(),
            verify: self.shared.verifier.stats(),
            log_full: core.full_because().map(|why| why.as_ref().to_owned()),
        }
    }

    /// Whether requests that add are refused for lack of memory ([`Refusal::OutOfMemory`]), without asking for anything:
    /// for a server that says so before it looks at what a request says.
    #[must_use]
    pub fn check_memory(&self) -> Ticket<()> {
        let core = self.shared.core();
        let result = if core.is_out_of_memory() { Err(Refusal::OutOfMemory.into()) } else { Ok(()) };
        Ticket { result, after: core.applied() }
    }

    /// How much space the log has. Asks the file system.
    #[must_use]
    pub fn room(&self) -> LogRoom {
        self.shared.log_room()
    }

    /// A digest over the whole state: two engines with equal digests answer every request alike. Takes time with its
    /// size, but holds nobody up.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let state = self.shared.core().state.clone();
        state.digest()
    }

    /// Checks the state against itself.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let state = self.shared.core().state.clone();
        state.check()
    }

    /// Takes a snapshot in the next place in turn, so that the log can be cut. Blocks; requests go on meanwhile.
    /// `None` if there is no place for snapshots, or nothing has changed since the last one of each.
    ///
    /// # Errors
    /// [`SnapshotError`]. A store that fails is no error of the engine: the log keeps everything.
    pub fn snapshot(&self) -> Result<Option<SnapshotReport>, SnapshotError> {
        self.shared.snapshot()
    }

    /// Has a snapshot taken in the background as soon as possible. `false` if one is being taken or was asked for
    /// already. An engine without threads takes it in its next [`Engine::tick`].
    pub fn snapshot_soon(&self) -> bool {
        self.shared.snapshots.ask()
    }

    /// Reads through all that lies on the disk and counts (the log, the snapshots) and checks it, once, as fast as it can;
    /// what the background does little by little ([`Settings::verify_bytes_per_second`]). Blocks; requests and snapshots go
    /// on meanwhile. What is found is in the answer and told as an [`Event`]; it is healed in the background, or in the
    /// next [`Engine::tick`].
    pub fn verify(&self) -> VerifyStats {
        self.shared.verify()
    }

    /// What the helper threads do, once: makes segments ahead (and tries again where there was no room), makes the
    /// ballast, removes keys that have expired, serves readers for whom what is pending has come of age, takes a snapshot
    /// if one is due, reads through what is due to be verified, and carries the durable mark forward. For engines without threads (see [`Options::simulated`]).
    ///
    /// # Errors
    /// [`Error::Failed`] if the log failed.
    pub fn tick(&self) -> Result<(), Error> {
        self.shared.retry_room()?;
        self.shared.on_time();
        self.shared.snapshot_if_due();
        self.shared.verify_if_due();
        self.shared.mark()
    }

    /// Syncs, writes the closing mark and releases the directory. All clones get [`Error::Closed`] from then on.
    ///
    /// # Errors
    /// [`Error::Failed`] if the log failed.
    pub fn close(self) -> Result<(), Error> {
        self.shared.close()
    }
}

/// Ends the engine when a panic has left the core half changed, and tells everyone who waits. To be made before the
/// core is locked, so that it is dropped after the lock.
struct EndsOnPanic<'a>(&'a Shared);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        if self.0.core.is_poisoned() {
            self.0.fail(&Error::failed(PANICKED));
        }
    }
}

const PANICKED: &str = "a panic while the state was being changed";

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the data: this ends up in messages.
        f.debug_struct("Engine").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Shared {
    /// The core, locked. A panic under the lock ends the engine: what it left half done must not be built upon (I8).
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|poisoned| {
            let mut core = poisoned.into_inner();
            core.end(Error::failed(PANICKED));
            core
        })
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            self.fail(&Error::failed("a panic while the log was being written, which is a bug"));
            poisoned.into_inner()
        })
    }

    fn tell(&self, event: &Event) {
        (self.listener.0)(event);
    }

    fn submit<O: Op>(&self, op: &O, now_ms: impl Fn() -> u64) -> Ticket<O::Reply> {
        let _ends = EndsOnPanic(self);
        loop {
            let (mut core, now_ms) = self.core_in_turn_at(&now_ms);
            if let Some(error) = core.ended() {
                return Ticket { result: Err(error.clone()), after: core.applied() };
            }
            if O::DENY_OOM && core.is_out_of_memory() {
                let after = core.applied();
                self.leave(core);
                return Ticket { result: Err(Refusal::OutOfMemory.into()), after };
            }
            let result = match core.step(op, now_ms) {
                Ok(reply) => Ok(reply),
                Err(Halt::Error(error)) => Err(error),
                Err(Halt::NotYet) => {
                    self.leave(core);
                    self.make_room();
                    continue;
                }
            };
            let after = core.finish(now_ms);
            self.leave(core);
            return Ticket { result, after };
        }
    }

    /// Leaves the core's lock after a request, and does what is to be done outside.
    fn leave(&self, mut core: MutexGuard<'_, Core>) {
        let then = core.after();
        let too_much_unwritten =
            core.log.as_ref().is_some_and(|log| log.pending_bytes() > self.unsynced_bytes_max);
        let owes_readers = core.owes_readers();
        let due_ms = core.next_due_ms();
        let held_since = core.held_since.take();
        drop(core);
        if let Some(since) = held_since {
            self.timings.note_lock(since);
        }
        then.run();
        self.timer.set(due_ms);
        if owes_readers {
            self.serve_owed();
        }
        if too_much_unwritten {
            // Whoever added to it commits first (I10). An error of that shows when the ticket is redeemed.
            let _ = self.commit(false);
        }
    }
}
