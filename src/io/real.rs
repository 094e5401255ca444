//! The real file system and the real clocks.
//!
//! A thin layer over `std::fs`. Every error names the operation and the path and keeps its kind, so that a
//! message that reaches the user says where to look.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Clock, Dir, File, Held, LockError, LockGuard};

/// How long a lock may be taken before whoever asks is told so. A process that was killed can leave its lock behind for
/// a moment: sled starts the program `sync` when it opens, and a child has its parent's files until it has become that
/// program. Whoever restarts it right after the kill must not be refused for that.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// An I/O error with the operation and the path it is about.
#[derive(Debug)]
struct Named {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for Named {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn named(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |source| io::Error::new(source.kind(), Named { doing, path: path.to_path_buf(), source })
}

/// A directory of the real file system.
#[derive(Clone, Debug)]
pub struct RealDir {
    path: PathBuf,
    /// Kept open, so that a sync needs no new descriptor.
    handle: Arc<fs::File>,
}

impl RealDir {
    /// The existing directory at `path`.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, or what the file system says.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let found = fs::metadata(&path).map_err(named("opening directory", &path))?;
        if found.is_dir() {
            let handle = fs::File::open(&path).map_err(named("opening directory", &path))?;
            Ok(Self { path, handle: Arc::new(handle) })
        } else {
            Err(named("opening directory", &path)(io::Error::from(io::ErrorKind::NotADirectory)))
        }
    }

    /// The directory at `path`; it and what is missing above it are created, and their names made durable.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
        fs::create_dir_all(&path).map_err(named("creating directory", &path))?;
        for created in missing {
            match created.parent() {
                Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new("."))?,
                Some(parent) => sync_dir(parent)?,
                None => {}
            }
        }
        Self::open(path)
    }

    fn open_file(&self, doing: &'static str, name: &str, new: bool) -> io::Result<Arc<dyn File>> {
        let path = self.path.join(name);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(new)
            .open(&path)
            .map_err(named(doing, &path))?;
        Ok(Arc::new(RealFile { file, path }))
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(named("syncing directory", path))
}

impl Dir for RealDir {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let wrap = || named("listing", &self.path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(wrap())? {
            let entry = entry.map_err(wrap())?;
            if entry.file_type().map_err(wrap())?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_file("creating", name, true)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open_file("opening", name, false)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let from = self.path.join(from);
        fs::rename(&from, self.path.join(to)).map_err(named("renaming", &from))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(named("removing", &path))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all().map_err(named("syncing directory", &self.path))
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| named("asking for the free space of", &self.path)(e.into()))?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>> {
        let path = self.path.join(name);
        match fs::create_dir(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(named("creating directory", &path)(e));
            }
            _ => {}
        }
        // That it is there does not prove that its name is durable: who created it may have died before the
        // sync.
        sync_dir(&self.path)?;
        Ok(Arc::new(Self::open(path)?))
    }

    fn lock(&self, name: &str, holder: &str) -> Result<LockGuard, LockError> {
        let path = self.path.join(name);
        let wrap = |e| LockError::Io(named("locking", &path)(e));
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(wrap)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_INTERVAL);
                }
                Err(fs::TryLockError::WouldBlock) => {
                    let holder = fs::read_to_string(&path).unwrap_or_default();
                    return Err(LockError::Held(holder.trim().to_owned()));
                }
                Err(fs::TryLockError::Error(e)) => return Err(wrap(e)),
            }
        }
        // The text is for messages only: a disk that is full must not keep anyone from opening.
        let _ = file.set_len(0).and_then(|()| file.write_all_at(holder.as_bytes(), 0));
        Ok(LockGuard::new(RealLock { _file: file }))
    }
}

/// The lock lasts as long as the file stays open; the kernel drops it with the process.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Held for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(named("measuring", &self.path))?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(named("reading", &self.path)(e)),
            }
        }
        Ok(done)
    }

    fn drop_cached(&self, offset: u64, length: u64) {
        use rustix::fs::{Advice, fadvise};
        // Not every file system can.
        let _ = fadvise(&self.file, offset, std::num::NonZeroU64::new(length), Advice::DontNeed);
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(named("writing", &self.path))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, len)) {
            // This file system can't: whoever writes finds out.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(e) => Err(named("allocating", &self.path)(e.into())),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(named("setting the length of", &self.path))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(named("syncing", &self.path))
    }
}

/// Has this thread and those that it starts give way to others where there are not enough processors: a snapshot may take
/// longer, commands should not. Best effort.
pub(crate) fn give_way() {
    /// A tenth of the share of the others.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 10;
    // Only there a thread has a priority of its own.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
    /// What the wall clock would have said then, and when that was worked out, in ns: see [`Clock::wall_ms_at`].
    wall_start_ns: AtomicU64,
    worked_out_ns: AtomicU64,
}

/// In between, the wall clock is taken to go as the other one does.
const LOOK_AT_WALL_EVERY_NS: u64 = 10_000_000;

impl RealClock {
    /// A clock whose monotonic side starts now.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self {
            start: Instant::now(),
            wall_start_ns: AtomicU64::new(0),
            worked_out_ns: AtomicU64::new(0),
        };
        clock.work_out_wall_start();
        clock
    }

    fn work_out_wall_start(&self) {
        // In this order it is never ahead, however long this thread is kept from going on in between.
        let wall_ns = nanos(wall());
        let since_ns = nanos(self.start.elapsed());
        self.wall_start_ns.store(wall_ns.saturating_sub(since_ns), Ordering::Relaxed);
        self.worked_out_ns.store(since_ns, Ordering::Relaxed);
    }
}

/// A clock set before 1970 reads as 1970.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn wall_ms(&self) -> u64 {
        u64::try_from(wall().as_millis()).unwrap_or(u64::MAX)
    }

    fn wall_ms_at(&self, moment: Instant) -> u64 {
        let since_ns = nanos(moment.saturating_duration_since(self.start));
        if since_ns.saturating_sub(self.worked_out_ns.load(Ordering::Relaxed)) >= LOOK_AT_WALL_EVERY_NS {
            self.work_out_wall_start();
        }
        self.wall_start_ns.load(Ordering::Relaxed).saturating_add(since_ns) / 1_000_000
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_at_a_moment() {
        let clock = RealClock::new();
        for _ in 0..50 {
            let at_ms = clock.wall_ms_at(Instant::now());
            let behind_ms = clock.wall_ms().saturating_sub(at_ms);
            // A busy machine may keep this thread from going on anywhere in between.
            assert!(at_ms <= clock.wall_ms() && behind_ms < 10_000, "{behind_ms} ms behind");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn files_are_created_renamed_listed_and_removed() {
        let home = tempfile::tempdir().unwrap();
        let dir = RealDir::create(home.path().join("a/b")).unwrap();
        let file = dir.create("one").unwrap();
        file.write_all_at(3, b"xyz").unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 6);
        let mut read = [9; 8];
        assert_eq!(file.read_at(2, &mut read).unwrap(), 4);
        assert_eq!(&read[..4], b"\0xyz");
        assert_eq!(dir.create("one").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        dir.rename("one", "two").unwrap();
        dir.subdir("below").unwrap();
        dir.subdir("below").unwrap();
        dir.sync().unwrap();
        assert_eq!(dir.list().unwrap(), ["two"]);
        dir.remove("two").unwrap();
        assert!(dir.list().unwrap().is_empty());
    }

    #[test]
    fn space_is_counted_and_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let dir = RealDir::open(home.path()).unwrap();
        assert!(dir.free_bytes().unwrap().is_some_and(|bytes| bytes > 0));
        let file = dir.create("f").unwrap();
        file.write_all_at(0, b"kept").unwrap();
        file.allocate(10_000).unwrap();
        let mut read = [0; 4];
        file.read_at(0, &mut read).unwrap();
        assert_eq!(&read, b"kept");
        // More than any file system has: an error at once, or nothing at all where it can't be asked for.
        if let Err(e) = file.allocate(1 << 62) {
            assert!(matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge), "{e}");
        }
    }

    #[test]
    fn errors_name_operation_and_path_and_keep_their_kind() {
        let home = tempfile::tempdir().unwrap();
        let dir = RealDir::open(home.path()).unwrap();
        let error = dir.open("absent").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.starts_with("opening ") && text.contains("/absent: "), "{text}");
    }

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds() {
        let home = tempfile::tempdir().unwrap();
        let dir = RealDir::open(home.path()).unwrap();
        let guard = dir.lock("LOCK", "pid 1234").unwrap();
        let Err(LockError::Held(text)) = dir.lock("LOCK", "pid 5") else { panic!("locked twice") };
        assert_eq!(text, "pid 1234");
        drop(guard);
        dir.lock("LOCK", "pid 5").unwrap();
    }

    #[test]
    fn a_lock_that_outlives_its_process_for_a_moment_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let dir = RealDir::open(home.path()).unwrap();
        let guard = dir.lock("LOCK", "pid 1234").unwrap();
        let end = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(guard);
        });
        dir.lock("LOCK", "pid 5").unwrap();
        end.join().unwrap();
    }
}
