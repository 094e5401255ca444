//! A disk that forgets, and an engine with something in it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claimlog::engine::{Engine, Options};
use claimlog::io::real::RealClock;
use claimlog::io::{Dir, File, Held, LockError, LockGuard};
use claimlog::op::{GroupStart, XAdd, XGroupCreate, XReadGroup};
use claimlog::{EntryId, Fields};

/// A directory whose files keep their lengths and nothing else: everything but the disk is measured, for as long as one
/// likes and in little memory. What is written can't be read again, so nothing can be opened on it a second time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgetful(Arc<Mutex<BTreeMap<String, Arc<Length>>>>);

#[derive(Debug, Default)]
struct Length(AtomicU64);

impl Forgetful {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Length>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Dir for Forgetful {
    fn path(&self) -> PathBuf {
        "forgetful".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::<Length>::default();
        self.files().insert(name.into(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.files().get(name).cloned().ok_or_else(not_found)?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from).ok_or_else(not_found)?;
        files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or_else(not_found)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn subdir(&self, _: &str) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self::default()))
    }

    fn lock(&self, _: &str, _: &str) -> Result<LockGuard, LockError> {
        #[derive(Debug)]
        struct Nothing;
        impl Held for Nothing {}
        Ok(LockGuard::new(Nothing))
    }
}

impl File for Length {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("forgotten"))
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) const KEY: &str = "jobs";
pub(crate) const GROUP: &str = "workers";

/// Options for an engine on a disk that forgets, with real clocks and without threads.
pub(crate) fn forgetful() -> Options {
    Options::simulated(Arc::new(Forgetful::default()), Arc::new(RealClock::new()))
}

/// An XADD of one small field, as a work queue has it.
pub(crate) fn xadd() -> XAdd {
    let fields = Fields::from_pairs([("task", "resize image 1207.png")]);
    XAdd::new(KEY, fields)
}

/// An XREADGROUP of new entries.
pub(crate) fn read_new(consumer: &'static str, count: u64) -> XReadGroup {
    XReadGroup { count: Some(count), ..XReadGroup::new(GROUP, consumer, KEY) }
}

/// Makes the group.
pub(crate) fn make_group(engine: &Engine) {
    let make = XGroupCreate {
        key: KEY.into(),
        group: GROUP.into(),
        start: GroupStart::After(EntryId::MIN),
        make_stream: true,
        entries_read: None,
    };
    engine.submit(&make).result.expect("there was no such group");
}

/// Adds so many entries.
pub(crate) fn add(engine: &Engine, count: u64) {
    for _ in 0..count {
        engine.submit(&xadd()).result.expect("an entry is added");
    }
}

/// Makes the group, adds so many entries, and has them delivered by the hundred; their ids.
pub(crate) fn fill(engine: &Engine, count: u64) -> Vec<EntryId> {
    make_group(engine);
    add(engine, count);
    let read = read_new("anna", 100);
    let mut ids = Vec::new();
    while let Some(stream) = engine.submit(&read).result.expect("the group is there").pop() {
        ids.extend(stream.entries.iter().map(|entry| entry.id));
    }
    ids
}

/// For `Bencher::iter_custom`: how long `iterations` take that are prepared by the hundred. `prepare` is told how many,
/// and what it makes is handed to `run`; only `run` is timed.
pub(crate) fn in_turns<T>(iterations: u64, mut prepare: impl FnMut(u64) -> T, run: impl Fn(T)) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let turn = left.min(100);
        let prepared = prepare(turn);
        let begin = Instant::now();
        run(prepared);
        took += begin.elapsed();
        left -= turn;
    }
    took
}
