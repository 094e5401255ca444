//! Opening: lock, newest snapshot that checks out, scan of the log, verdict, replay, report.
//!
//! Everything after the snapshot goes through `absorb`, the same function that live commits go through (I2).

use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Options;
use crate::engine::StoredParts;
use crate::error::OpenError;
use crate::id::{PartKey, Seq, StoreId};
use crate::io::{Clock, Dir, LockError, LockGuard};
use crate::record::codec::{self, Malformed};
use crate::record::{Record, StreamAt};
use crate::snapshot::slot::{Candidate, Slot};
use crate::snapshot::{Root, SnapshotPlace, SnapshotStore, StoreError};
use crate::state::tree::Parts;
use crate::state::{Database, RunEntry, State};
use crate::wal;

/// The file that is locked while a directory is open.
const LOCK_FILE: &str = "LOCK";

/// The one door: makes records of batch `seq` true, for live commits and for replay alike (I2).
///
/// # Errors
/// What does not fit. Live that is a bug of ours and the engine stops (I8); in replay it is damage (I7).
pub(crate) fn absorb<'r, R: Borrow<Record<'r>>>(
    state: &mut State,
    seq: Seq,
    records: impl IntoIterator<Item = Result<R, Malformed>>,
) -> Result<(), String> {
    for record in records {
        let record = record.map_err(|malformed| malformed.to_string())?;
        state.apply(seq, record.borrow()).map_err(|misfit| misfit.to_string())?;
    }
    Ok(())
}

/// The same for the batches that follow as long as each is one entry of a stream, which is what most of a log is: they are
/// applied in one go.
///
/// # Errors
/// As [`absorb`]. What came before the batch that does not fit is true then.
fn absorb_run<'r>(
    state: &mut State,
    stream: StreamAt,
    next: impl FnMut() -> Option<RunEntry<'r>>,
) -> Result<(), String> {
    state.apply_run(stream, next).map_err(|misfit| misfit.to_string())
}

/// What happened when the data was opened. `Display` gives the lines that a server prints.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The snapshot that was loaded: its store, and the last batch in it.
    pub snapshot: Option<(String, Seq)>,
    /// The last batch recovered.
    pub last_seq: Seq,
    /// How many batches were replayed.
    pub batches: u64,
    /// How many records were in them.
    pub records: u64,
    /// How many bytes of batches were replayed.
    pub replayed_bytes: u64,
    /// What the log says: what was scanned, cut and written again.
    pub log: wal::Report,
    /// How many keys there are now.
    pub keys: u64,
    /// How long it took.
    pub took: Duration,
    /// What is not as it should be, though nothing is lost.
    pub warnings: Vec<String>,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            Some((store, seq)) => {
                write!(f, "recovered {} keys: snapshot {store} up to batch {seq}, then ", self.keys)?;
            }
            None => write!(f, "recovered {} keys: ", self.keys)?,
        }
        write!(
            f,
            "{} batches ({} records, {} bytes) from the log in {:.3} s; last batch {}",
            self.batches,
            self.records,
            self.replayed_bytes,
            self.took.as_secs_f64(),
            self.last_seq
        )?;
        let log = &self.log;
        write!(
            f,
            "\nlog: opening {} in segment {}; {} segments, {} bytes read",
            log.epoch, log.segment, log.segments, log.bytes
        )?;
        if log.rewritten > 0 {
            write!(f, "; {} batches that no mark proved were written again", log.rewritten)?;
        }
        if let Some(cut) = &log.cut {
            write!(
                f,
                "\ncut: {} bytes at offset {} of {}, before batch {}: {}",
                cut.bytes,
                cut.offset,
                cut.path.display(),
                cut.seq,
                cut.case
            )?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

/// Everything an engine starts from.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) log: wal::Opened,
    pub(crate) lock: LockGuard,
    pub(crate) slots: Vec<Slot>,
    pub(crate) report: RecoveryReport,
}

/// Recovers the data of a directory.
pub(crate) fn recover(options: &Options) -> Result<Recovered, OpenError> {
    let clock = &*options.clock;
    let began = clock.monotonic();
    let dir = options.data_dir()?;
    let lock = lock(&dir)?;
    // A snapshot store writes a little when it is opened.
    let _ = wal::lighten(&dir);
    let owner = wal::store_of(&dir).map_err(OpenError::Log)?;
    // Whoever is refused finds the snapshot stores as they were, too, unless it takes these to know.
    wal::check_newest(&dir).map_err(OpenError::Log)?;
    let snapshots = load_snapshot(&options.snapshot_places(&dir), owner, options.threads)?;
    let Snapshots { state, loaded, slots, proven, mut warnings } = snapshots;
    let base = state.applied();
    let mut replay = StateReplay { state, records: 0, batches: 0, bytes: 0, clock, told: began, options };
    let saved = slots.iter().map(|slot| slot.seq().unwrap_or(Seq::ZERO)).min().unwrap_or(Seq::ZERO);
    let log_options = wal::LogOptions { read_ahead: options.threads, saved, ..options.log };
    let log = match wal::open(&dir, &log_options, base, proven, &mut replay) {
        Ok(log) => log,
        Err(error) if !warnings.is_empty() => {
            return Err(OpenError::Snapshots { why: warnings, loaded, log: Box::new(error) });
        }
        Err(error) => return Err(OpenError::Log(error)),
    };
    warnings
        .extend(log.report.unreadable.iter().map(|why| format!("{why}; nothing in that segment was needed")));
    let StateReplay { mut state, records, batches, bytes, .. } = replay;
    let (mut slots, owner) = (slots, log.writer.store());
    // A new store, for one. Names that are there have been sorted.
    if state.databases().all(|database| database.key_count() == 0) {
        state.set_name_seed(name_seed(owner));
    }
    state.recovered();
    for slot in &mut slots {
        // It has no root, or we would not be here: somebody else's, and empty.
        if slot.store.as_ref().is_some_and(|store| store.owner() != owner) {
            slot.give_up("it was made for other data");
        }
    }
    if state.applied().next() != log.buffer.next_seq() {
        let why = format!(
            "the log goes on with {}, the state ends with {}",
            log.buffer.next_seq(),
            state.applied()
        );
        return Err(OpenError::Unsound(why));
    }
    #[cfg(debug_assertions)]
    state.check().map_err(OpenError::Unsound)?;
    let report = RecoveryReport {
        snapshot: loaded,
        last_seq: state.applied(),
        batches,
        records,
        replayed_bytes: bytes,
        log: log.report.clone(),
        keys: state.databases().map(Database::key_count).sum(),
        took: clock.monotonic().saturating_sub(began),
        warnings,
    };
    Ok(Recovered { state, log, lock, slots, report })
}

/// What the hashes of names depend on, unless a snapshot says otherwise.
fn name_seed(store: StoreId) -> u64 {
    xxh3_64(store.bytes())
}

fn lock(dir: &Arc<dyn Dir>) -> Result<LockGuard, OpenError> {
    let holder = format!("process {}", std::process::id());
    dir.lock(LOCK_FILE, &holder).map_err(|error| match error {
        LockError::Held(holder) => OpenError::InUse { path: dir.path(), holder },
        LockError::Io(source) => OpenError::Directory { path: dir.path(), source },
    })
}

/// What the places for snapshots gave.
struct Snapshots {
    /// The newest state that checks out, or an empty one.
    state: State,
    loaded: Option<(String, Seq)>,
    slots: Vec<Slot>,
    /// A root is also proof that the log reached it, whatever became of its state.
    proven: Seq,
    warnings: Vec<String>,
}

/// Loads the newest snapshot that checks out, of any place. `owner` is whose data the directory holds, if anyone's.
/// `ahead`: a thread may read parts before they are asked for.
fn load_snapshot(
    places: &[Arc<dyn SnapshotPlace>],
    owner: Option<StoreId>,
    ahead: bool,
) -> Result<Snapshots, OpenError> {
    // Before anything is opened: opening a store changes its files.
    for place in places {
        if let Err(error) = place.generations()
            && error.kind == io::ErrorKind::Unsupported
        {
            return Err(OpenError::NewerSnapshot { why: error.to_string() });
        }
    }
    let (mut candidates, mut warnings) = (Vec::new(), Vec::new());
    let mut slots: Vec<Slot> = places
        .iter()
        .enumerate()
        .map(|(at, place)| Slot::survey(place, at, &mut candidates, &mut warnings))
        .collect();
    if let Some(newer) = slots.iter().find(|slot| slot.newer) {
        // Not one to be given up and built anew: whoever wrote it needs it.
        return Err(OpenError::NewerSnapshot { why: newer.trouble.clone().unwrap_or_default() });
    }
    if let Some(foreign) = candidates.iter().find(|found| owner.is_some_and(|id| found.store.owner() != id)) {
        return Err(OpenError::ForeignSnapshot { store: foreign.store.name() });
    }
    // Of two stores of one place the newer one: the older one is there because it failed.
    candidates.sort_by_key(|found| std::cmp::Reverse((found.root.seq, found.generation)));
    let proven = candidates.first().map_or(Seq::ZERO, |found| found.root.seq);
    if let Some(newest) = candidates.first() {
        miss(&newest.root, &mut slots, &mut warnings);
    }
    let (mut state, mut loaded) = (State::new(owner.map_or(0, name_seed)), None);
    for Candidate { slot, store, root, .. } in &candidates {
        let slot = &mut slots[*slot];
        let in_use = slot.store.as_ref().is_some_and(|used| Arc::ptr_eq(used, store));
        match load_root(&**store, root, ahead) {
            Ok(found) => {
                state = found;
                slot.verified = in_use && slot.seq() == Some(root.seq);
                loaded = Some((store.name(), root.seq));
                break;
            }
            Err(error) => {
                warnings.push(error.to_string());
                // A root is written when all it names is on disk: this is damage, and nothing to build on.
                if in_use {
                    slot.give_up(&error.why);
                }
            }
        }
    }
    Ok(Snapshots { state, loaded, slots, proven, warnings })
}

/// Compares what a place has with what another one saw there when it was last written.
fn miss(newest: &Root, slots: &mut [Slot], warnings: &mut Vec<String>) {
    for (name, seq) in &newest.others {
        let Some(slot) = slots.iter_mut().find(|slot| slot.place.name() == *name) else { continue };
        if slot.trouble.is_none() && (slot.store.is_none() || slot.seq().unwrap_or(Seq::ZERO) < *seq) {
            let has = slot.seq().map_or("none".into(), |seq| format!("one of batch {seq}"));
            let why =
                format!("it had a snapshot of batch {seq} and now has {has}: it was removed or replaced");
            warnings.push(format!("snapshot store {name}: {why}"));
            slot.give_up(&why);
        }
    }
}

/// Loads and checks the state that a root names.
fn load_root(store: &dyn SnapshotStore, root: &Root, ahead: bool) -> Result<State, StoreError> {
    let fail = |why: String| StoreError {
        store: store.name(),
        kind: io::ErrorKind::InvalidData,
        why: format!("snapshot of batch {}: {why}", root.seq),
    };
    let (state, counted) = StoredParts::with(store, ahead, |parts| {
        let state = State::load(&root.head, parts).map_err(|error| fail(error.to_string()))?;
        Ok((state, parts.counted()))
    })?;
    if state.applied() != root.seq || counted != (root.part_count, root.fingerprint) {
        return Err(fail("the state that was loaded is not the one that was saved".into()));
    }
    Ok(state)
}

/// Reads and checks everything that a root names, and keeps nothing. `stopped`: no more is wanted.
pub(crate) fn verify_root(
    store: &dyn SnapshotStore,
    root: &Root,
    stopped: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    struct UntilStopped<'a>(StoredParts<'a>, &'a dyn Fn() -> bool);
    impl Parts for UntilStopped<'_> {
        fn read(&mut self, key: PartKey) -> Result<Vec<u8>, String> {
            if (self.1)() { Err("stopped".into()) } else { self.0.read(key) }
        }
    }
    let fail = |why: String| StoreError {
        store: store.name(),
        kind: io::ErrorKind::InvalidData,
        why: format!("snapshot of batch {}: {why}", root.seq),
    };
    let mut parts = UntilStopped(StoredParts::new(store), stopped);
    State::read_through(&root.head, &mut parts).map_err(|error| fail(error.to_string()))?;
    if parts.0.counted() != (root.part_count, root.fingerprint) {
        return Err(fail("it does not have the parts that were saved".into()));
    }
    Ok(())
}

/// Replays batches into a state.
struct StateReplay<'a> {
    state: State,
    records: u64,
    batches: u64,
    bytes: u64,
    clock: &'a dyn Clock,
    told: Duration,
    options: &'a Options,
}

impl wal::Replay for StateReplay<'_> {
    fn batch(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), String> {
        let records = codec::records(bytes).map_err(|malformed| malformed.to_string())?;
        let counted = records.inspect(|_| self.records += 1);
        absorb(&mut self.state, seq, counted)?;
        self.state.finish(seq);
        drop(self.state.take_trash());
        self.batches += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn batches(&mut self, batches: &mut dyn Iterator<Item = (Seq, &[u8])>) -> Result<(), (Seq, String)> {
        let mut next = batches.next();
        while let Some((seq, bytes)) = next {
            let Some(codec::SingleEntry { stream, .. }) = codec::single_entry(bytes) else {
                self.batch(seq, bytes).map_err(|why| (seq, why))?;
                next = batches.next();
                continue;
            };
            let before = self.state.applied().get();
            absorb_run(&mut self.state, stream, || {
                let (seq, bytes) = next?;
                let entry = codec::single_entry(bytes).filter(|entry| entry.stream == stream)?;
                self.bytes += bytes.len() as u64;
                next = batches.next();
                let codec::SingleEntry { id, opens_node, fields, .. } = entry;
                Some(RunEntry { seq, id, opens_node, fields })
            })
            .map_err(|why| (self.state.applied().next(), why))?;
            let count = self.state.applied().get() - before;
            self.records += count;
            self.batches += count;
        }
        Ok(())
    }

    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        const EVERY: Duration = Duration::from_secs(1);
        let now = self.clock.monotonic();
        if now.saturating_sub(self.told) >= EVERY {
            self.told = now;
            (self.options.progress.0)(bytes_done, bytes_total);
        }
    }
}
