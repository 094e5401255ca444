//! A place whose failures stay in it: who calls it gets an answer or an error, in bounded time.
//!
//! What is behind a [`SnapshotPlace`] may fail, hang or panic. Here each of its stores is owned by a thread of its own,
//! and a caller waits for an answer only as long as it has patience. A store that failed in any way is given up: the
//! first error is all that it says from then on, and what is behind it is forgotten instead of dropped, since nobody
//! knows what dropping would do to it. A thread that hangs is left behind.
//!
//! Parts are handed over in groups, so that most calls cost nothing but a copy. An error in one of them is reported by
//! a later call, at the latest by [`SnapshotStore::flush`], before which nothing is promised anyway.

use std::any::Any;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Generation, Root, SnapshotPlace, SnapshotStore, StoreError};
use crate::id::{PartKey, Seq, StoreId};
use crate::io::real::give_way;

/// An opening of sled waits for what all programs have written and not synced: it may take so many times longer.
const PATIENCE_OPENING: u32 = 5;
/// Changes are handed over when they come to that much,
const GROUP_BYTES: usize = 1 << 20;
/// where each counts at least that much, so that a group of removals takes no longer than one of parts.
const CHANGE_BYTES: usize = 4096;

type Store = Arc<dyn SnapshotStore>;

/// A place, guarded.
#[derive(Debug)]
pub(crate) struct Guarded {
    inner: Arc<dyn SnapshotPlace>,
    name: String,
    patience: Duration,
}

impl Guarded {
    /// Guards a place. A call may take that long.
    #[must_use]
    pub(crate) fn new(inner: Arc<dyn SnapshotPlace>, patience: Duration) -> Self {
        let name = inner.name();
        Self { inner, name, patience }
    }

    /// Runs a call on a thread of its own, which is left behind if there is no answer. The place itself is never given
    /// up: another store of it may still work.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn SnapshotPlace) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = sync_channel(1);
        let inner = Arc::clone(&self.inner);
        let name = self.name.clone();
        let work = move || {
            let _ = answer.send(caught(&name, || call(&*inner)));
        };
        spawn(&self.name, work)?;
        answered.recv_timeout(self.patience).unwrap_or_else(|_| Err(no_answer(&self.name, self.patience)))
    }

    /// Starts the thread of a store, which begins by getting it from the place.
    fn start(
        &self,
        generation: Generation,
        get: impl FnOnce(&dyn SnapshotPlace) -> Result<Store, StoreError> + Send + 'static,
    ) -> Result<Store, StoreError> {
        let name = format!("{}-{generation:04}", self.name);
        let verdict = Arc::new(Verdict::default());
        let (jobs, work) = channel();
        let (gone, is_gone) = sync_channel(1);
        let (answer, answered) = sync_channel(1);
        let inner = Arc::clone(&self.inner);
        let thread_name = name.clone();
        let thread_verdict = Arc::clone(&verdict);
        let serve = move || {
            let got = caught(&thread_name, || {
                let store = get(&*inner)?;
                Ok((store.name(), store.owner(), store))
            });
            match got {
                Ok((name, owner, store)) => {
                    let _ = answer.send(Ok((name, owner)));
                    serve(store, &work, &thread_verdict);
                    let _ = gone.send(());
                }
                Err(error) => drop(answer.send(Err(error))),
            }
        };
        spawn(&name, serve)?;
        let patience = self.patience * PATIENCE_OPENING;
        let Ok(answer) = answered.recv_timeout(patience) else {
            let error = no_answer(&name, patience);
            // If it comes after all, nobody will want it.
            return Err(verdict.given_up(error));
        };
        let (name, owner) = answer?;
        let changes = Mutex::new(Changes::default());
        let worker = Worker { jobs: Some(jobs), is_gone: Mutex::new(is_gone) };
        let rests = AtomicBool::new(false);
        Ok(Arc::new(GuardedStore { name, owner, patience: self.patience, verdict, changes, rests, worker }))
    }
}

impl SnapshotPlace for Guarded {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.call(|place| place.generations())
    }

    fn create(&self, generation: Generation, owner: StoreId) -> Result<Store, StoreError> {
        self.start(generation, move |place| place.create(generation, owner))
    }

    fn open(&self, generation: Generation) -> Result<Store, StoreError> {
        self.start(generation, move |place| place.open(generation))
    }

    fn remove(&self, generation: Generation) -> Result<(), StoreError> {
        self.call(move |place| place.remove(generation))
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.call(|place| place.free_bytes())
    }
}

type Job = Box<dyn FnOnce(&dyn SnapshotStore) + Send>;

/// A store, guarded.
struct GuardedStore {
    name: String,
    owner: StoreId,
    patience: Duration,
    verdict: Arc<Verdict>,
    changes: Mutex<Changes>,
    /// The next call may take as long as an opening.
    rests: AtomicBool,
    worker: Worker,
}

/// The way to the thread that has the store.
struct Worker {
    /// There until the store is dropped.
    jobs: Option<Sender<Job>>,
    is_gone: Mutex<Receiver<()>>,
}

/// What is known about a store, by its thread and by who waits for it.
#[derive(Default)]
struct Verdict {
    /// Why it was given up.
    error: OnceLock<StoreError>,
    /// How many steps it has made. Who waits does not lose patience as long as these go on.
    steps: AtomicU64,
}

impl Verdict {
    /// Gives the store up, unless it was before. Returns what it says from now on.
    fn given_up(&self, error: StoreError) -> StoreError {
        self.error.get_or_init(|| error).clone()
    }

    fn sound(&self) -> Result<(), StoreError> {
        self.error.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

/// What was put and removed and not handed over yet.
#[derive(Default)]
struct Changes {
    list: Vec<Change>,
    bytes: usize,
}

enum Change {
    Put(PartKey, Vec<u8>),
    Remove(PartKey),
    PutRoot(Box<Root>),
    RemoveRoot(Seq),
}

impl Change {
    fn bytes(&self) -> usize {
        let content = match self {
            Self::Put(_, bytes) => bytes.len(),
            Self::PutRoot(root) => root.head.len() + size_of_val(&*root.dropped),
            Self::Remove(_) | Self::RemoveRoot(_) => 0,
        };
        content.max(CHANGE_BYTES)
    }

    fn make(&self, store: &dyn SnapshotStore) -> Result<(), StoreError> {
        match self {
            Self::Put(key, bytes) => store.put(*key, bytes),
            Self::Remove(key) => store.remove(*key),
            Self::PutRoot(root) => store.put_root(root),
            Self::RemoveRoot(seq) => store.remove_root(*seq),
        }
    }
}

/// Which errors of a call leave the store usable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tolerance {
    Nothing,
    /// One about a part that is missing or damaged.
    BadPart,
}

impl GuardedStore {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: Change) -> Result<(), StoreError> {
        self.verdict.sound()?;
        let mut changes = self.changes();
        changes.bytes += change.bytes();
        changes.list.push(change);
        if changes.bytes < GROUP_BYTES {
            return Ok(());
        }
        // Whoever comes next waits for the lock, so that no more than this is ever kept.
        let answered = self.send(&mut changes, Tolerance::Nothing, |_| Ok(()))?;
        self.wait(&answered, self.patience())
    }

    /// How long a call may take.
    fn patience(&self) -> Duration {
        let opens = self.rests.swap(false, Ordering::Relaxed);
        self.patience * if opens { PATIENCE_OPENING } else { 1 }
    }

    fn call<T: Send + 'static>(
        &self,
        tolerance: Tolerance,
        call: impl FnOnce(&dyn SnapshotStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.verdict.sound()?;
        let answered = self.send(&mut self.changes(), tolerance, call)?;
        self.wait(&answered, self.patience())
    }

    /// A call that opens the store or closes it, for which it has more time.
    fn open_or_close(
        &self,
        call: impl FnOnce(&dyn SnapshotStore) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.verdict.sound()?;
        let answered = self.send(&mut self.changes(), Tolerance::Nothing, call)?;
        self.wait(&answered, self.patience * PATIENCE_OPENING)
    }

    /// Hands all changes so far over, and then a call.
    fn send<T: Send + 'static>(
        &self,
        changes: &mut Changes,
        tolerance: Tolerance,
        call: impl FnOnce(&dyn SnapshotStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Receiver<Result<T, StoreError>>, StoreError> {
        let changes = mem::take(changes).list;
        let (answer, answered): (SyncSender<Result<T, StoreError>>, _) = sync_channel(1);
        let verdict = Arc::clone(&self.verdict);
        let name = self.name.clone();
        let job: Job = Box::new(move |store| {
            let result = caught(&name, || {
                for change in &changes {
                    change.make(store).map_err(|error| verdict.given_up(error))?;
                    verdict.steps.fetch_add(1, Ordering::Relaxed);
                }
                // A panic is no tolerable error of the call.
                Ok(call(store))
            });
            let result = match result {
                Ok(Err(error)) if tolerance == Tolerance::BadPart && about_a_part(error.kind) => Err(error),
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) | Err(error) => Err(verdict.given_up(error)),
            };
            verdict.steps.fetch_add(1, Ordering::Relaxed);
            let _ = answer.send(result);
        });
        let sent = self.worker.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(answered) } else { Err(self.verdict.given_up(thread_gone(&self.name))) }
    }

    fn wait<T>(
        &self,
        answered: &Receiver<Result<T, StoreError>>,
        patience: Duration,
    ) -> Result<T, StoreError> {
        loop {
            let steps = self.verdict.steps.load(Ordering::Relaxed);
            match answered.recv_timeout(patience) {
                Ok(answer) => return answer,
                // The call was given up together with the store, by another one.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.verdict.given_up(thread_gone(&self.name)));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if steps == self.verdict.steps.load(Ordering::Relaxed) {
                return Err(self.verdict.given_up(no_answer(&self.name, patience)));
            }
        }
    }
}

impl Drop for GuardedStore {
    fn drop(&mut self) {
        drop(self.worker.jobs.take());
        if self.verdict.error.get().is_none() {
            let is_gone = self.worker.is_gone.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = is_gone.recv_timeout(self.patience);
        }
    }
}

impl fmt::Debug for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardedStore({}, given up: {:?})", self.name, self.verdict.error.get())
    }
}

impl SnapshotStore for GuardedStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn owner(&self) -> StoreId {
        self.owner
    }

    fn roots(&self) -> Result<Vec<Root>, StoreError> {
        self.call(Tolerance::Nothing, |store| store.roots())
    }

    fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
        self.call(Tolerance::BadPart, move |store| store.read(key))
    }

    fn read_many(&self, keys: &[PartKey]) -> Vec<Result<Vec<u8>, StoreError>> {
        let wanted = keys.to_vec();
        let read = self.call(Tolerance::Nothing, move |store| {
            let found = store.read_many(&wanted);
            let fatal = found.iter().filter_map(|read| read.as_ref().err());
            match fatal.into_iter().find(|error| !about_a_part(error.kind)) {
                Some(error) => Err(error.clone()),
                None => Ok(found),
            }
        });
        read.unwrap_or_else(|error| vec![Err(error); keys.len()])
    }

    fn keys_after(&self, seq: Seq) -> Result<Vec<PartKey>, StoreError> {
        self.call(Tolerance::Nothing, move |store| store.keys_after(seq))
    }

    fn keys_beyond(&self, key: PartKey, most: usize) -> Result<Vec<PartKey>, StoreError> {
        self.call(Tolerance::Nothing, move |store| store.keys_beyond(key, most))
    }

    fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError> {
        self.change(Change::Put(key, bytes.to_vec()))
    }

    fn remove(&self, key: PartKey) -> Result<(), StoreError> {
        self.change(Change::Remove(key))
    }

    fn put_root(&self, root: &Root) -> Result<(), StoreError> {
        self.change(Change::PutRoot(Box::new(root.clone())))
    }

    fn remove_root(&self, seq: Seq) -> Result<(), StoreError> {
        self.change(Change::RemoveRoot(seq))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call(Tolerance::Nothing, |store| store.flush())
    }

    fn abandon(&self) {
        // Its thread forgets it when the last handle is dropped.
        let why = "it was given up".to_owned();
        self.verdict.given_up(StoreError { store: self.name.clone(), kind: io::ErrorKind::Other, why });
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.open_or_close(|store| store.reopen())
    }

    fn rest(&self) -> Result<(), StoreError> {
        self.open_or_close(|store| store.rest())?;
        self.rests.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Serves a store until nobody needs it any more, or it is given up.
fn serve(store: Store, work: &Receiver<Job>, verdict: &Verdict) {
    while verdict.error.get().is_none()
        && let Ok(job) = work.recv()
    {
        job(&*store);
    }
    if verdict.error.get().is_some() {
        // IMPORTANT: forgotten, not dropped. Dropping may write, wait for ever or panic.
        mem::forget(store);
    } else {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let work = || {
        give_way();
        work();
    };
    match thread::Builder::new().name(format!("snapshot {name}")).spawn(work) {
        Ok(_) => Ok(()),
        Err(e) => {
            let why = format!("no thread can be started for it: {e}");
            Err(StoreError { store: name.to_owned(), kind: e.kind(), why })
        }
    }
}

/// Runs a call; a panic in it is an error.
fn caught<T>(name: &str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let why = format!("it panicked: {}", text_of(&*panic));
        // The text's owner may be of any type: dropping it could panic again.
        mem::forget(panic);
        Err(StoreError { store: name.to_owned(), kind: io::ErrorKind::Other, why })
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

fn about_a_part(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}

fn no_answer(name: &str, patience: Duration) -> StoreError {
    let why = format!("no answer for {} s", patience.as_secs_f64());
    StoreError { store: name.to_owned(), kind: io::ErrorKind::TimedOut, why }
}

fn thread_gone(name: &str) -> StoreError {
    StoreError { store: name.to_owned(), kind: io::ErrorKind::Other, why: "its thread has ended".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::*;
    use crate::id::PageNo;

    /// What a fake store does when it is called by that name.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Hang,
        Panic,
        Fail(io::ErrorKind),
        Sleep(Duration),
    }

    /// A store and its place, in memory, that misbehave on demand.
    #[derive(Debug, Default)]
    struct Fake {
        acts: Mutex<BTreeMap<&'static str, Act>>,
        parts: Mutex<BTreeMap<PartKey, Vec<u8>>>,
        calls: Mutex<Vec<&'static str>>,
        dropped: Arc<AtomicBool>,
    }

    impl Fake {
        fn on(self: &Arc<Self>, call: &'static str, act: Act) -> &Arc<Self> {
            self.acts.lock().unwrap().insert(call, act);
            self
        }

        fn act(&self, call: &'static str) -> Result<(), StoreError> {
            self.calls.lock().unwrap().push(call);
            let act = self.acts.lock().unwrap().get(call).copied();
            match act {
                None => Ok(()),
                Some(Act::Hang) => loop {
                    thread::park();
                },
                Some(Act::Panic) => panic!("{call} went wrong"),
                Some(Act::Fail(kind)) => Err(StoreError { store: "fake".into(), kind, why: call.into() }),
                Some(Act::Sleep(time)) => {
                    thread::sleep(time);
                    Ok(())
                }
            }
        }
    }

    #[derive(Debug)]
    struct FakePlace(Arc<Fake>);

    #[derive(Debug)]
    struct FakeStore(Arc<Fake>);

    impl Drop for FakeStore {
        fn drop(&mut self) {
            let _ = self.0.act("drop");
            self.0.dropped.store(true, Ordering::SeqCst);
        }
    }

    impl SnapshotPlace for FakePlace {
        fn name(&self) -> String {
            "fake".into()
        }
        fn generations(&self) -> Result<Vec<Generation>, StoreError> {
            self.0.act("generations").map(|()| vec![1])
        }
        fn create(&self, _: Generation, _: StoreId) -> Result<Store, StoreError> {
            self.0.act("create").map(|()| Arc::new(FakeStore(Arc::clone(&self.0))) as Store)
        }
        fn open(&self, _: Generation) -> Result<Store, StoreError> {
            self.0.act("open").map(|()| Arc::new(FakeStore(Arc::clone(&self.0))) as Store)
        }
        fn remove(&self, _: Generation) -> Result<(), StoreError> {
            self.0.act("remove generation")
        }
        fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
            self.0.act("free_bytes").map(|()| Some(7))
        }
    }

    impl SnapshotStore for FakeStore {
        fn name(&self) -> String {
            "fake-0001".into()
        }
        fn owner(&self) -> StoreId {
            StoreId::new([1; 16])
        }
        fn roots(&self) -> Result<Vec<Root>, StoreError> {
            self.0.act("roots").map(|()| vec![])
        }
        fn read(&self, key: PartKey) -> Result<Vec<u8>, StoreError> {
            self.0.act("read")?;
            let found = self.0.parts.lock().unwrap().get(&key).cloned();
            let why = "not there".to_owned();
            found.ok_or(StoreError { store: "fake".into(), kind: io::ErrorKind::NotFound, why })
        }
        fn keys_after(&self, _: Seq) -> Result<Vec<PartKey>, StoreError> {
            self.0.act("keys_after").map(|()| self.0.parts.lock().unwrap().keys().copied().collect())
        }
        fn put(&self, key: PartKey, bytes: &[u8]) -> Result<(), StoreError> {
            self.0.act("put")?;
            self.0.parts.lock().unwrap().insert(key, bytes.to_vec());
            Ok(())
        }
        fn remove(&self, key: PartKey) -> Result<(), StoreError> {
            self.0.act("remove")?;
            self.0.parts.lock().unwrap().remove(&key);
            Ok(())
        }
        fn put_root(&self, _: &Root) -> Result<(), StoreError> {
            self.0.act("put_root")
        }
        fn remove_root(&self, _: Seq) -> Result<(), StoreError> {
            self.0.act("remove_root")
        }
        fn flush(&self) -> Result<(), StoreError> {
            self.0.act("flush")
        }
        fn abandon(&self) {
            panic!("the guard does that")
        }
        fn reopen(&self) -> Result<(), StoreError> {
            self.0.act("reopen")
        }
        fn rest(&self) -> Result<(), StoreError> {
            self.0.act("rest")
        }
    }

    const PATIENCE: Duration = Duration::from_millis(100);

    fn guarded(fake: &Arc<Fake>) -> Guarded {
        Guarded::new(Arc::new(FakePlace(Arc::clone(fake))), PATIENCE)
    }

    fn key(n: u64) -> PartKey {
        PartKey { changed_at: Seq::new(n), page: PageNo::new(n) }
    }

    /// All calls say the same, at once, and the store is not dropped.
    fn assert_given_up(fake: &Fake, store: Store, error: &StoreError) {
        let since = Instant::now();
        assert_eq!(&store.roots().unwrap_err(), error);
        assert_eq!(&store.read(key(1)).unwrap_err(), error);
        assert_eq!(&store.keys_after(Seq::ZERO).unwrap_err(), error);
        assert_eq!(&store.put(key(1), b"x").unwrap_err(), error);
        assert_eq!(&store.remove(key(1)).unwrap_err(), error);
        assert_eq!(&store.remove_root(Seq::ZERO).unwrap_err(), error);
        assert_eq!(&store.flush().unwrap_err(), error);
        assert_eq!(&store.reopen().unwrap_err(), error);
        assert_eq!(&store.rest().unwrap_err(), error);
        assert!(format!("{store:?}").contains(&error.why));
        drop(store);
        assert!(since.elapsed() < PATIENCE / 2);
        thread::sleep(Duration::from_millis(20));
        assert!(!fake.dropped.load(Ordering::SeqCst));
    }

    #[test]
    fn what_is_given_up_is_forgotten_with_what_was_put() {
        let fake = Arc::new(Fake::default());
        let store = guarded(&fake).open(1).unwrap();
        store.put(key(1), b"x").unwrap();
        store.abandon();
        let error = store.flush().unwrap_err();
        assert!(fake.parts.lock().unwrap().is_empty());
        assert_given_up(&fake, store, &error);
    }

    #[test]
    fn a_call_that_hangs_gives_the_store_up_and_its_place_goes_on() {
        for call in ["roots", "read", "keys_after", "put", "remove", "flush", "reopen", "rest"] {
            let fake = Arc::new(Fake::default());
            let place = guarded(fake.on(call, Act::Hang));
            let store = place.open(1).unwrap();
            store.put(key(1), b"x").unwrap();
            store.remove(key(2)).unwrap();
            let since = Instant::now();
            let error = match call {
                "roots" => store.roots().unwrap_err(),
                "read" => store.read(key(1)).unwrap_err(),
                "keys_after" => store.keys_after(Seq::ZERO).unwrap_err(),
                "reopen" => store.reopen().unwrap_err(),
                "rest" => store.rest().unwrap_err(),
                _ => store.flush().unwrap_err(),
            };
            let opens_or_closes = ["reopen", "rest"].contains(&call);
            let patience = if opens_or_closes { PATIENCE_OPENING * PATIENCE } else { PATIENCE };
            assert!((patience..3 * patience).contains(&since.elapsed()), "{:?}", since.elapsed());
            assert_eq!(error, no_answer("fake-0001", patience));
            assert_given_up(&fake, store, &error);
            place.create(2, StoreId::new([1; 16])).unwrap();
        }
    }

    #[test]
    fn a_panic_is_an_error_and_gives_the_store_up() {
        for call in ["read", "put", "flush", "keys_after"] {
            let fake = Arc::new(Fake::default());
            // Printing a panic may take longer than the others have patience.
            let inner = Arc::new(FakePlace(Arc::clone(fake.on(call, Act::Panic))));
            let store = Guarded::new(inner, 100 * PATIENCE).open(1).unwrap();
            store.put(key(1), b"x").unwrap();
            let error = match call {
                "read" => store.read(key(1)).unwrap_err(),
                "keys_after" => store.keys_after(Seq::ZERO).unwrap_err(),
                _ => store.flush().unwrap_err(),
            };
            assert_eq!(error.why, format!("it panicked: {call} went wrong"));
            assert_given_up(&fake, store, &error);
        }
    }

    #[test]
    fn an_error_gives_the_store_up_unless_it_is_about_one_part() {
        let fake = Arc::new(Fake::default());
        let store = guarded(&fake).open(1).unwrap();
        assert_eq!(store.read(key(1)).unwrap_err().kind, io::ErrorKind::NotFound);
        fake.on("read", Act::Fail(io::ErrorKind::InvalidData));
        store.read(key(1)).unwrap_err();
        store.flush().unwrap();
        fake.on("read", Act::Fail(io::ErrorKind::Other));
        let error = store.read(key(1)).unwrap_err();
        assert_given_up(&fake, store, &error);

        for call in ["put", "remove", "put_root", "remove_root", "flush"] {
            let fake = Arc::new(Fake::default());
            let store = guarded(fake.on(call, Act::Fail(io::ErrorKind::NotFound))).open(1).unwrap();
            store.put(key(1), b"x").unwrap();
            store.remove(key(1)).unwrap();
            store.remove_root(Seq::ZERO).unwrap();
            let root = Root {
                seq: Seq::ZERO,
                part_count: 0,
                fingerprint: 0,
                bytes: 0,
                dropped: vec![],
                others: vec![],
                head: vec![],
            };
            store.put_root(&root).unwrap();
            // Also if a read is what hands the changes over.
            let error =
                if call == "flush" { store.flush() } else { store.read(key(9)).map(drop) }.unwrap_err();
            assert_eq!(error.why, call);
            assert_given_up(&fake, store, &error);
        }
    }

    #[test]
    fn a_place_survives_whatever_one_call_does() {
        let fake = Arc::new(Fake::default());
        let place = guarded(fake.on("open", Act::Hang).on("remove generation", Act::Panic));
        assert_eq!(place.open(1).unwrap_err().kind, io::ErrorKind::TimedOut);
        fake.on("create", Act::Panic).on("free_bytes", Act::Hang);
        let patient = Guarded::new(Arc::new(FakePlace(Arc::clone(&fake))), 100 * PATIENCE);
        assert_eq!(patient.remove(1).unwrap_err().why, "it panicked: remove generation went wrong");
        assert_eq!(
            patient.create(2, StoreId::new([1; 16])).unwrap_err().why,
            "it panicked: create went wrong"
        );
        assert_eq!(place.free_bytes().unwrap_err().kind, io::ErrorKind::TimedOut);
        assert_eq!(place.generations().unwrap(), vec![1]);
        assert_eq!(place.name(), "fake");
        // One that comes too late is not dropped.
        fake.on("open", Act::Sleep((1 + PATIENCE_OPENING) * PATIENCE));
        place.open(1).unwrap_err();
        thread::sleep(2 * PATIENCE);
        assert!(!fake.dropped.load(Ordering::SeqCst));
    }

    #[test]
    fn parts_go_over_in_groups_and_in_order() {
        let fake = Arc::new(Fake::default());
        let store = guarded(&fake).open(1).unwrap();
        for n in 0..1000 {
            store.put(key(n), &[n as u8; 16_384]).unwrap();
            if n > 0 {
                store.remove(key(n - 1)).unwrap();
            }
        }
        let handed_over = fake.calls.lock().unwrap().len();
        assert!((1900..2000).contains(&handed_over), "{handed_over}");
        // Seen by whatever is called next.
        assert_eq!(store.read(key(999)).unwrap(), [231; 16_384]);
        assert_eq!(store.keys_after(Seq::ZERO).unwrap(), vec![key(999)]);
    }

    #[test]
    fn patience_is_about_one_step_not_about_the_queue() {
        let fake = Arc::new(Fake::default());
        let store = guarded(fake.on("put", Act::Sleep(PATIENCE / 4))).open(1).unwrap();
        for n in 0..12 {
            store.put(key(n), b"x").unwrap();
        }
        store.flush().unwrap();
    }

    #[test]
    fn dropping_drops_what_is_behind_it_and_waits_for_that_not_too_long() {
        let fake = Arc::new(Fake::default());
        drop(guarded(&fake).open(1).unwrap());
        assert!(fake.dropped.load(Ordering::SeqCst));

        for act in [Act::Hang, Act::Panic] {
            let fake = Arc::new(Fake::default());
            let since = Instant::now();
            drop(guarded(fake.on("drop", act)).open(1).unwrap());
            assert!(since.elapsed() < 3 * PATIENCE);
        }
    }
}
