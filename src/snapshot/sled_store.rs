//! A snapshot store in a sled database. A [`Session`] is what knows sled; here are the threads that it runs in, and what
//! becomes of one that failed.

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::chunk::Item;
use super::sled_session::{Session, open_patiently, open_unrepaired, plain};
use super::{Root, SnapshotStore, StoreError};
use crate::id::{PartKey, Seq, StoreId};

/// A second thread is needed: an opening waits, on one, for what it gave the pool to do.
const POOL_THREADS: usize = 2;

/// A snapshot store in a sled database.
pub(crate) struct SledStore {
    name: String,
    owner: StoreId,
    handle: Mutex<Handle>,
}

/// The way to the database.
struct Handle {
    /// All calls into sled run in a pool of its own, whose panics end at the caller: one in the process's common pool
    /// aborts the process. Each store has its own, since calls that wait in it (see [`POOL_THREADS`]) or never end
    /// would take the threads of another. None while the store rests.
    pool: Option<rayon::ThreadPool>,
    /// There is exactly one owner of the database. It is taken out for a call and put back when that succeeded, so an
    /// error or a panic forgets it.
    session: Option<ManuallyDrop<Session>>,
    /// Why it is not there any more.
    failed: Option<StoreError>,
}

impl SledStore {
    /// Creates an empty database in an empty directory and closes it. What is in the directory then is not durable yet.
    pub(super) fn create_files(path: &Path, owner: StoreId) -> io::Result<()> {
        let pool = pool()?;
        pool.install(|| {
            let mut session = ManuallyDrop::new(Session::new(path, owner, open_unrepaired(path)?));
            session.close()
        })
    }

    /// Opens the database in that directory.
    pub(super) fn open(name: String, path: &Path, owner: StoreId) -> io::Result<Self> {
        let pool = pool()?;
        let session = pool.install(|| {
            Ok::<_, io::Error>(ManuallyDrop::new(Session::new(path, owner, open_patiently(path)?)))
        })?;
        let handle = Handle { pool: Some(pool), session: Some(session), failed: None };
        Ok(Self { name, owner, handle: Mutex::new(handle) })
    }

    fn handle(&self) -> MutexGuard<'_, Handle> {
        // A call that panicked has left no session behind, which says all.
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call. If it fails, that was the last one.
    fn call<T: Send>(
        &self,
        call: impl FnOnce(&mut Session) -> io::Result<T> + Send,
    ) -> Result<T, StoreError> {
        let mut handle = self.handle();
        let Some(mut session) = handle.session.take() else {
            let panicked = || self.error(&io::Error::other("a call into it panicked"));
            return Err(handle.failed.clone().unwrap_or_else(panicked));
        };
        let called = handle.pool().and_then(|pool| {
            pool.install(|| {
                session.wake()?;
                call(&mut session)
            })
        });
        match called {
            Ok(value) => {
                handle.session = Some(session);
                Ok(value)
            }
            Err(e) => {
                // IMPORTANT: the session is forgotten here. Dropping it would flush, and wait for ever.
                let error = self.error(&plain(e));
                handle.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn error(&self, e: &io::Error) -> StoreError {
        StoreError { store: self.name.clone(), kind: e.kind(), why: e.to_string() }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let mut handle = self.handle();
        if let Some(mut session) = handle.session.take()
            && let Some(pool) = &handle.pool
        {
            // What it says concerns nobody any more: what counts was flushed before.
            let _ = pool.install(|| session.close());
        }
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SledStore({})", self.name)
    }
}

impl SnapshotStore for SledStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn owner(&self) -> StoreId {
        self.owner
    }

    fn roots(&self) -> Result<Vec<Root>, StoreError> {
        let found = self.call(Session::roots)?;
        found.map_err(|e| self.error(&e))
    }

    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
        let found = self.call(|session| session.read(Item::Part(key)))?;
        found.map_err(|e| self.error(&e))
    }

    fn read_many(&self, keys: &[PartKey]) -> Vec<Result<Vec<u8>, StoreError>> {
        match self.call(|session| keys.iter().map(|key| session.read(Item::Part(*key))).collect()) {
            Ok::<Vec<_>, _>(found) => {
                found.into_iter().map(|read| read.map_err(|e| self.error(&e))).collect()
            }
            Err(error) => vec![Err(error); keys.len()],
        }
    }

    fn keys_after(&self, seq: Seq) -> Result<Vec<PartKey>, StoreError> {
        self.call(|session| session.keys_after(seq))
    }

    fn keys_beyond(&self, key: PartKey, most: usize) -> Result<Vec<PartKey>, StoreError> {
        self.call(|session| session.keys_beyond(key, most))
    }

    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(|session| session.put(Item::Part(key), bytes))
    }

    fn remove(&self, key: PartKey) -> Result<(), StoreError> {
        self.call(|session| session.remove(Item::Part(key)))
    }

    fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        let bytes = root.encode().map_err(|e| self.error(&e))?;
        self.call(|session| session.put(Item::Root(root.seq), &bytes))
    }

    fn remove_root(&self, seq: Seq) -> Result<(), StoreError> {
        self.call(|session| session.remove(Item::Root(seq)))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call(Session::flush)
    }

    fn abandon(&self) {
        let mut handle = self.handle();
        // Forgotten: closing it would make durable what was put so far.
        handle.session = None;
        let gone = io::Error::other("it was given up");
        handle.failed.get_or_insert_with(|| self.error(&gone));
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.call(|session| {
            session.flush()?;
            session.reopen()
        })
    }

    fn rest(&self) -> Result<(), StoreError> {
        if self.handle().pool.is_some() {
            self.call(|session| {
                session.flush()?;
                session.close()
            })?;
            self.handle().pool = None;
        }
        Ok(())
    }
}

impl Handle {
    fn pool(&mut self) -> io::Result<&rayon::ThreadPool> {
        match &mut self.pool {
            Some(pool) => Ok(pool),
            none => Ok(none.insert(pool()?)),
        }
    }
}

fn pool() -> io::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(POOL_THREADS)
        .thread_name(|n| format!("snapshot-sled-{n}"))
        // Who waits for what panicked notices it by itself.
        .panic_handler(|_| {})
        .build()
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::sled_session::GROWTH_BYTES;
    use super::super::store_file::StoreFile;
    use super::*;
    use crate::id::PageNo;

    const OWNER: StoreId = StoreId::new([3; 16]);

    fn part(n: u64) -> PartKey {
        PartKey { changed_at: Seq::new(n), page: PageNo::new(n) }
    }

    fn created() -> (tempfile::TempDir, SledStore) {
        let dir = tempfile::tempdir().unwrap();
        SledStore::create_files(dir.path(), OWNER).unwrap();
        StoreFile { owner: OWNER, generation: 1, place: "a".into() }.write(dir.path()).unwrap();
        let store = opened(dir.path());
        (dir, store)
    }

    fn opened(dir: &Path) -> SledStore {
        SledStore::open("a-0001".into(), dir, OWNER).unwrap()
    }

    /// The names in the metadata directory, in order.
    fn metadata(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir.join("metadata")).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with("DO_NOT"));
        names.sort();
        names
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &target);
            } else {
                fs::copy(&path, &target).unwrap();
            }
        }
    }

    /// The states that a crash inside sled's opening leaves, made from the files before and after it.
    fn states_within_an_opening() -> Vec<(&'static str, tempfile::TempDir)> {
        let (before, store) = created();
        for n in 1..=100 {
            store.put(part(n), &[n as u8; 5000]).unwrap();
        }
        store.flush().unwrap();
        drop(store);
        let after = tempfile::tempdir().unwrap();
        copy(before.path(), after.path());
        drop(opened(after.path()));
        let [log, snapshot] = metadata(before.path()).try_into().unwrap();
        let [next_log, next_snapshot] = metadata(after.path()).try_into().unwrap();
        let number = |name: &str| u64::from_str_radix(name.split('_').next_back().unwrap(), 16).unwrap();
        assert_eq!(
            [number(&log), number(&next_snapshot), number(&next_log)],
            [2, 2, 3].map(|n| n + number(&snapshot) - 1)
        );
        let unfinished = format!("{next_snapshot}.tmp");
        // In the order in which sled does it.
        type Copied<'a> = (&'a Path, &'a str, &'a str);
        let states: [(&str, &[Copied<'_>]); 7] = [
            ("nothing done", &[(before.path(), &log, &log), (before.path(), &snapshot, &snapshot)]),
            (
                "a new snapshot half written",
                &[
                    (before.path(), &log, &log),
                    (before.path(), &snapshot, &snapshot),
                    (before.path(), &snapshot, &unfinished),
                ],
            ),
            (
                "the new snapshot renamed",
                &[
                    (before.path(), &log, &log),
                    (before.path(), &snapshot, &snapshot),
                    (after.path(), &next_snapshot, &next_snapshot),
                ],
            ),
            (
                "the logs removed",
                &[(before.path(), &snapshot, &snapshot), (after.path(), &next_snapshot, &next_snapshot)],
            ),
            (
                "the old snapshot removed before the log",
                &[(before.path(), &log, &log), (after.path(), &next_snapshot, &next_snapshot)],
            ),
            ("the old snapshot removed", &[(after.path(), &next_snapshot, &next_snapshot)]),
            (
                "all done",
                &[(after.path(), &next_log, &next_log), (after.path(), &next_snapshot, &next_snapshot)],
            ),
        ];
        let make = |(state, files): (&'static str, &[Copied<'_>])| {
            let dir = tempfile::tempdir().unwrap();
            copy(before.path(), dir.path());
            fs::remove_dir_all(dir.path().join("metadata")).unwrap();
            fs::create_dir(dir.path().join("metadata")).unwrap();
            for (from, name, to) in files {
                fs::copy(from.join("metadata").join(name), dir.path().join("metadata").join(to)).unwrap();
            }
            (state, dir)
        };
        states.into_iter().map(make).collect()
    }

    #[test]
    fn a_crash_within_an_opening_loses_nothing() {
        for (state, dir) in states_within_an_opening() {
            // The second and third opening show what the first one did.
            for opening in 1..=3 {
                let store = opened(dir.path());
                for n in 1..=100 {
                    assert_eq!(store.read(part(n)).unwrap(), [n as u8; 5000], "{state}, opening {opening}");
                }
            }
        }
    }

    /// Why there is a repair. If this fails, a newer sled may do without it.
    #[test]
    fn without_the_repair_the_second_opening_loses_everything() {
        let states = states_within_an_opening();
        let (_, dir) = states.iter().find(|(state, _)| *state == "the old snapshot removed").unwrap();
        let count = || pool().unwrap().install(|| open_unrepaired(dir.path()).unwrap().len());
        assert_eq!(count(), 100);
        assert_eq!(metadata(dir.path()).len(), 1, "the snapshot is gone");
        assert_eq!(count(), 0);
    }

    #[test]
    fn it_is_compatible_only_with_its_own_fanout() {
        let (dir, store) = created();
        drop(store);
        let other = pool().unwrap().install(|| sled::Config::new().path(dir.path()).open::<1024>().map(drop));
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_part_is_removed_even_if_its_first_chunk_is_damaged_or_missing() {
        let (_dir, store) = created();
        for n in 1..=4 {
            store.put(part(n), &[1; 100_000]).unwrap();
        }
        store
            .call(|session| {
                session.hand_over()?;
                session.db()?.insert(Item::Part(part(2)).key(0), b"junk")?;
                session.db()?.remove(Item::Part(part(3)).key(0)).map(drop)
            })
            .unwrap();
        assert_eq!(store.read(part(2)).unwrap_err().why, "page 2 as of batch 2, chunk 0: it is cut short");
        assert_eq!(store.read(part(3)).unwrap_err().kind, io::ErrorKind::NotFound);
        assert_eq!(store.keys_after(Seq::ZERO).unwrap().len(), 4, "listed, whether they check out or not");
        store.remove(part(2)).unwrap();
        store.remove(part(3)).unwrap();
        store.flush().unwrap();
        assert_eq!(store.keys_after(Seq::ZERO).unwrap(), vec![part(1), part(4)]);
        assert_eq!(store.read(part(4)).unwrap(), [1; 100_000]);
        assert_eq!(store.call(|session| session.db().map(|db| db.len())).unwrap(), 2 * 7);
    }

    #[test]
    fn roots_that_do_not_check_out_are_left_out_and_newer_ones_refused() {
        let (_dir, store) = created();
        let root = |seq| Root {
            seq: Seq::new(seq),
            part_count: 1,
            fingerprint: 2,
            bytes: 3,
            dropped: vec![part(1)],
            others: vec![],
            head: vec![1; 50_000],
        };
        for seq in 1..=5 {
            store.put_root(&root(seq)).unwrap();
        }
        store
            .call(|session| {
                session.hand_over()?;
                session.db()?.remove(Item::Root(Seq::new(1)).key(0))?;
                session.db()?.remove(Item::Root(Seq::new(2)).key(3))?;
                let mut value = session.db()?.get(Item::Root(Seq::new(3)).key(2))?.unwrap();
                value.make_mut()[100] ^= 1;
                session.db()?.insert(Item::Root(Seq::new(3)).key(2), value)?;
                let bytes = root(1).encode()?;
                session.put(Item::Root(Seq::new(5)), &bytes)
            })
            .unwrap();
        assert_eq!(store.roots().unwrap(), vec![root(4)]);
        for seq in 1..=3 {
            store.remove_root(Seq::new(seq)).unwrap();
        }
        store.flush().unwrap();
        store.call(|session| session.put(Item::Root(Seq::new(6)), &[1, 0, 0, 0, 77])).unwrap();
        let error = store.roots().unwrap_err();
        assert_eq!(error.kind, io::ErrorKind::Unsupported);
        assert!(error.why.contains("root of batch 6 is of format 1"), "{error}");
    }

    /// sled keeps every leaf that it wrote in memory until it is closed.
    #[test]
    fn it_opens_itself_again_when_it_has_grown() {
        let (dir, store) = created();
        let first = metadata(dir.path());
        for n in 1..=80 {
            store.put(part(n), &vec![n as u8; 1 << 20]).unwrap();
        }
        store.flush().unwrap();
        let second = metadata(dir.path());
        assert_ne!(first, second, "opened again while it was written");
        assert!(store.call(|session| Ok(session.grown)).unwrap() < *GROWTH_BYTES.end());
        store.reopen().unwrap();
        for n in 1..=80 {
            store.remove(part(n)).unwrap();
        }
        store.flush().unwrap();
        assert_eq!(store.keys_after(Seq::ZERO).unwrap(), vec![]);
    }

    #[test]
    fn a_scan_ends_where_its_range_ends() {
        let (_dir, store) = created();
        store.put(part(1), &[1; 60_000]).unwrap();
        for n in 2..=2000 {
            store.put(part(n), &[1; 3000]).unwrap();
        }
        store.reopen().unwrap();
        assert_eq!(store.roots().unwrap(), vec![]);
        store.call(|session| session.db()?.remove(Item::Part(part(1)).key(0)).map(drop)).unwrap();
        store.remove(part(1)).unwrap();
        store.flush().unwrap();
        let loaded = store.call(|session| Ok(session.db()?.storage_stats().cache.cache_misses)).unwrap();
        assert!(loaded < 10, "{loaded} leaves were read");
    }

    #[test]
    fn files_shrink_when_most_is_removed() {
        let (dir, store) = created();
        // What is not compressed away.
        let mut noise = 1_u64;
        let mut part_bytes = || -> Vec<u8> {
            (0..10_000)
                .map(|_| {
                    noise =
                        noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (noise >> 56) as u8
                })
                .collect()
        };
        for n in 1..=1000 {
            store.put(part(n), &part_bytes()).unwrap();
        }
        store.flush().unwrap();
        let size = || {
            let slabs = fs::read_dir(dir.path().join("slabs")).unwrap();
            slabs.map(|slab| slab.unwrap().metadata().unwrap().len()).sum::<u64>()
        };
        let before = size();
        for n in (1..=1000).filter(|n| n % 10 != 0) {
            store.remove(part(n)).unwrap();
        }
        store.flush().unwrap();
        store.reopen().unwrap();
        assert!(size() < before / 3, "{} of {before} bytes are left", size());
        assert_eq!(store.keys_after(Seq::ZERO).unwrap().len(), 100);
    }

    #[test]
    fn leaves_that_became_empty_go() {
        let (_dir, store) = created();
        for n in 1..=500 {
            store.put(part(n), &[1; 3000]).unwrap();
        }
        store.flush().unwrap();
        for n in 1..=499 {
            store.remove(part(n)).unwrap();
        }
        store.flush().unwrap();
        let merged =
            store.call(|session| Ok(session.db()?.storage_stats().cache.tree_leaves_merged)).unwrap();
        assert!(merged > 25, "{merged}");
    }

    #[test]
    fn after_an_error_or_a_panic_nothing_is_asked_and_dropping_does_not_wait() {
        let (_dir, store) = created();
        store.put(part(1), &[1; 3000]).unwrap();
        let error =
            store.call(|_| Err::<(), _>(io::Error::new(io::ErrorKind::StorageFull, "no room"))).unwrap_err();
        assert_eq!(store.flush().unwrap_err(), error);
        assert_eq!(store.read(part(1)).unwrap_err(), error);
        drop(store);

        let (_dir, store) = created();
        let panicked = || drop(store.call(|_| -> io::Result<()> { panic!("in a test") }));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicked)).unwrap_err();
        assert_eq!(store.flush().unwrap_err().why, "a call into it panicked");
    }

    /// A panic in what sled gives the pool to do would end the process if the pool were the common one.
    #[test]
    fn a_panic_in_the_pool_does_not_end_the_process() {
        let pool = pool().unwrap();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        pool.spawn(move || {
            let _done = done;
            panic!("in a test");
        });
        is_done.recv().unwrap_err();
        assert_eq!(pool.install(|| 5), 5);
    }
}
