//! A simulated disk, deterministic from a seed.
//!
//! [`SimDisk`] behaves like a *strict* file system: it promises what POSIX promises and nothing more.
//! Bytes written are volatile, sector by sector of 512 bytes, until [`File::sync_data`] of that file; so is a
//! changed length. Creations, renames and removals are volatile until [`Dir::sync`] of that directory. Only
//! [`Dir::subdir`] makes the name it creates durable by itself.
//!
//! # Faults that are injected
//! - the end of the process, or of the power, at the n-th mutating operation ([`SimDisk::crash_at`]); a write
//!   may have been carried out in part;
//! - at a power cut ([`CrashStyle`]): each unsynced sector lost, kept, or replaced by junk, each on its own,
//!   so that writes are torn and reordered; an unsynced length kept, lost or in between; each unsynced
//!   directory operation kept or lost;
//! - a kill ([`CrashStyle::Killed`]): all that was written can be read, but what was not synced is as
//!   volatile as before, so that a power cut that follows may take it;
//! - a sync that fails, once or for good, after which what it was to make durable may be forgotten silently;
//! - a write that fails half-way, a disk that is full, a file that can't be read, bytes that rot.
//!
//! # Faults that are not injected
//! - a synced sector that is damaged by a later write to another one (the log keeps to its own sectors, and
//!   an erase block that takes its neighbours along is the business of redundancy below the file system);
//! - a disk that says "synced" and lies: nothing above could notice;
//! - the states in between when one sector is written twice between two syncs: it is the last or the synced
//!   one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use super::sim_clock::SimClock;
pub use super::sim_rng::SimRng;
pub use super::sim_volatile::CrashStyle;
use super::sim_volatile::{DirOp, FileNo, SECTOR_BYTES, SimContent, SimNames};
use super::{Dir, File, Held, LockError, LockGuard};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    Always,
}

#[derive(Clone, Debug)]
struct Image {
    files: BTreeMap<FileNo, SimContent>,
    dirs: BTreeMap<String, SimNames>,
    locks: BTreeMap<String, String>,
    next_file: FileNo,
    ops: u64,
    crash_at: Option<u64>,
    syncs: u64,
    fail_sync: Option<(u64, Times)>,
    writes: u64,
    fail_write: Option<u64>,
    panic_at_write: Option<u64>,
    /// Syncs of files wait, and so many do.
    holds_syncs: bool,
    held_syncs: usize,
    /// Files can't be opened nor created.
    no_descriptors: bool,
    /// Renaming fails, and changes nothing.
    no_renames: bool,
    capacity: Option<u64>,
    unreadable: BTreeSet<FileNo>,
    rng: SimRng,
}

impl Image {
    fn crashed(&self) -> bool {
        self.crash_at.is_some_and(|at| self.ops >= at)
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed() { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }

    fn descriptor(&self) -> io::Result<()> {
        if self.no_descriptors { Err(io::Error::other("simulated: too many open files")) } else { Ok(()) }
    }

    /// Counts a mutating operation; says how it ends: with an error if the crash falls on it.
    fn begin(&mut self) -> io::Result<io::Result<()>> {
        self.alive()?;
        self.ops += 1;
        Ok(self.alive())
    }

    fn names(&mut self, dir: &str) -> &mut SimNames {
        self.dirs.entry(dir.to_owned()).or_default()
    }

    fn file(&self, path: &str) -> Option<FileNo> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.dirs.get(dir)?.now.get(name).copied()
    }

    fn used(&self) -> u64 {
        let named: BTreeSet<FileNo> = self.dirs.values().flat_map(|d| d.now.values().copied()).collect();
        self.files.iter().filter(|(no, _)| named.contains(no)).map(|(_, f)| f.now.len() as u64).sum()
    }

    fn free(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used()))
    }

    /// How far the file may grow towards `len` before the disk is full.
    fn room_for(&self, file: FileNo, len: usize) -> usize {
        let have = self.files.get(&file).map_or(0, |f| f.now.len());
        match self.free() {
            Some(free) if len > have => {
                len.min(have.saturating_add(usize::try_from(free).unwrap_or(usize::MAX)))
            }
            _ => len,
        }
    }

    fn dir_op(&mut self, dir: &str, op: DirOp) -> io::Result<()> {
        let outcome = self.begin()?;
        // A crash that falls on the operation may come just after it.
        if outcome.is_ok() || self.rng.one_in(2) {
            let at = self.ops;
            let names = self.names(dir);
            SimNames::apply(&mut names.now, &op);
            names.pending.push((at, op));
        }
        outcome
    }
}

/// A simulated disk. Clones of the handle share the disk; [`SimDisk::fork`] copies it.
///
/// Paths of files, as in [`SimDisk::read_file`], are relative to the root: `STORE`, `log/0000000001.seg`.
#[derive(Clone)]
pub struct SimDisk {
    image: Arc<Mutex<Image>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("ops", &self.ops()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk; `seed` decides what a crash leaves of the operation it falls on.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Image {
            files: BTreeMap::new(),
            dirs: BTreeMap::from([(String::new(), SimNames::default())]),
            locks: BTreeMap::new(),
            next_file: 1,
            ops: 0,
            crash_at: None,
            syncs: 0,
            fail_sync: None,
            writes: 0,
            fail_write: None,
            panic_at_write: None,
            holds_syncs: false,
            held_syncs: 0,
            no_descriptors: false,
            no_renames: false,
            capacity: None,
            unreadable: BTreeSet::new(),
            rng: SimRng::new(seed),
        })
    }

    fn of(image: Image) -> Self {
        Self { image: Arc::new(Mutex::new(image)) }
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root directory.
    #[must_use]
    pub fn dir(&self) -> Arc<dyn Dir> {
        Arc::new(SimDir { disk: self.clone(), path: String::new() })
    }

    /// How many mutating operations (write, length, sync, create, rename, remove, directory sync and
    /// creation) were begun.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.image().ops
    }

    /// Lets the process die at the `n`-th mutating operation, counted from the start at 1: it and everything
    /// after it fails, and it may have been carried out in part.
    pub fn crash_at(&self, n: u64) {
        self.image().crash_at = Some(n);
    }

    /// Whether the crash has come.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.image().crashed()
    }

    /// The disk as the next process finds it. This one is left as it is; faults asked for are not passed on,
    /// nor are locks; operations are counted from 0 again.
    #[must_use]
    pub fn after_crash(&self, seed: u64, style: CrashStyle) -> Self {
        let mut rng = SimRng::new(seed);
        let mut image = self.image().clone();
        let watershed = rng.below(image.ops + 1);
        for file in image.files.values_mut() {
            file.power_cut(style, watershed, &mut rng);
        }
        for names in image.dirs.values_mut() {
            names.power_cut(style, watershed, &mut rng);
        }
        let named: BTreeSet<FileNo> =
            image.dirs.values().flat_map(|d| d.now.values().chain(d.durable.values())).copied().collect();
        image.files.retain(|no, _| named.contains(no));
        if style == CrashStyle::Killed {
            // Operations counted from 0 again: what is still volatile is older than all to come.
            for dirty in image.files.values_mut().flat_map(|f| f.dirty.values_mut()) {
                dirty.written_at = 0;
            }
            for (at, _) in image.dirs.values_mut().flat_map(|d| d.pending.iter_mut()) {
                *at = 0;
            }
        }
        Self::of(Image {
            locks: BTreeMap::new(),
            ops: 0,
            crash_at: None,
            syncs: 0,
            fail_sync: None,
            writes: 0,
            fail_write: None,
            panic_at_write: None,
            holds_syncs: false,
            held_syncs: 0,
            no_descriptors: false,
            no_renames: false,
            capacity: None,
            rng,
            ..image
        })
    }

    /// A copy of the disk as it is, volatile parts, counts and faults included; without its locks.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut image = self.image().clone();
        image.locks.clear();
        Self::of(image)
    }

    /// Lets the `n`-th `sync_data` from now (1 is the next) fail, and if `always` all after it too.
    pub fn fail_sync(&self, n: u64, always: bool) {
        let mut image = self.image();
        let at = image.syncs + n;
        image.fail_sync = Some((at, if always { Times::Always } else { Times::Once }));
    }

    /// Lets the `n`-th write from now (1 is the next) fail after a part of it was written.
    pub fn fail_write(&self, n: u64) {
        let mut image = self.image();
        image.fail_write = Some(image.writes + n);
    }

    /// Lets the `n`-th write from now (1 is the next) panic, and all after it.
    pub fn panic_at_write(&self, n: u64) {
        let mut image = self.image();
        image.panic_at_write = Some(image.writes + n);
    }

    /// Lets every `sync_data` wait from now on, as on a disk that is very busy, or no more.
    pub fn hold_syncs(&self, hold: bool) {
        self.image().holds_syncs = hold;
    }

    /// How many wait in `sync_data`.
    #[must_use]
    pub fn held_syncs(&self) -> usize {
        self.image().held_syncs
    }

    /// Lets every opening and creation of a file fail, as where descriptors have run out, or no more.
    pub fn run_out_of_descriptors(&self, out: bool) {
        self.image().no_descriptors = out;
    }

    /// Lets every renaming fail for want of space, and change nothing, or no more.
    pub fn refuse_renames(&self, refuse: bool) {
        self.image().no_renames = refuse;
    }

    /// Gives the disk `bytes` for all files together, and `StorageFull` beyond; `None` takes the limit away.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.image().capacity = bytes;
    }

    /// The lengths of all files together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.image().used()
    }

    /// Lets every read of that file fail from now on.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn break_reads(&self, path: &str) -> io::Result<()> {
        let mut image = self.image();
        let file = image.file(path).ok_or(io::ErrorKind::NotFound)?;
        image.unreadable.insert(file);
        Ok(())
    }

    /// Changes one byte at rest, durably.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` beyond the end.
    pub fn corrupt(&self, path: &str, offset: u64, xor: u8) -> io::Result<()> {
        let mut image = self.image();
        let file = image.file(path).ok_or(io::ErrorKind::NotFound)?;
        let content = image.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        *content.now.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)? ^= xor;
        if let Some(dirty) = content.dirty.get_mut(&(at / SECTOR_BYTES)) {
            dirty.durable[at % SECTOR_BYTES] ^= xor;
        }
        Ok(())
    }

    /// The paths of all files, in order.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let image = self.image();
        let path = |dir: &String, name: &String| {
            if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") }
        };
        image.dirs.iter().flat_map(|(dir, names)| names.now.keys().map(move |name| path(dir, name))).collect()
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn read_file(&self, path: &str) -> io::Result<Vec<u8>> {
        let image = self.image();
        let file = image.file(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(image.files.get(&file).ok_or(io::ErrorKind::NotFound)?.now.clone())
    }

    /// Replaces (or creates) a file, durably, name and bytes.
    pub fn write_file(&self, path: &str, bytes: &[u8]) {
        let mut image = self.image();
        let file = image.next_file;
        image.next_file += 1;
        image.files.insert(
            file,
            SimContent { now: bytes.to_vec(), durable_len: bytes.len(), dirty: BTreeMap::new() },
        );
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let names = image.names(dir);
        names.now.insert(name.to_owned(), file);
        names.durable.insert(name.to_owned(), file);
    }

    /// Removes a file, durably.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        let mut image = self.image();
        image.file(path).ok_or(io::ErrorKind::NotFound)?;
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let names = image.names(dir);
        names.now.remove(name);
        names.durable.remove(name);
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct SimDir {
    disk: SimDisk,
    path: String,
}

impl SimDir {
    fn find(&self, image: &Image, name: &str) -> io::Result<FileNo> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no file {}/{name}", self.path));
        image.dirs.get(&self.path).and_then(|d| d.now.get(name).copied()).ok_or_else(missing)
    }

    fn handle(&self, file: FileNo) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.disk.clone(), file })
    }
}

impl Dir for SimDir {
    fn path(&self) -> PathBuf {
        PathBuf::from("/sim").join(&self.path)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let image = self.disk.image();
        image.alive()?;
        Ok(image.dirs.get(&self.path).map(|d| d.now.keys().cloned().collect()).unwrap_or_default())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut image = self.disk.image();
        image.alive()?;
        image.descriptor()?;
        if self.find(&image, name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = image.next_file;
        image.next_file += 1;
        image.files.insert(file, SimContent::default());
        image.dir_op(&self.path, DirOp::Create { name: name.to_owned(), file })?;
        Ok(self.handle(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let image = self.disk.image();
        image.alive()?;
        image.descriptor()?;
        self.find(&image, name).map(|file| self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut image = self.disk.image();
        image.alive()?;
        let file = self.find(&image, from)?;
        if image.no_renames {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.dir_op(&self.path, DirOp::Rename { from: from.to_owned(), to: to.to_owned(), file })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut image = self.disk.image();
        image.alive()?;
        let file = self.find(&image, name)?;
        image.dir_op(&self.path, DirOp::Remove { name: name.to_owned(), file })
    }

    fn sync(&self) -> io::Result<()> {
        let mut image = self.disk.image();
        image.begin()??;
        let names = image.names(&self.path);
        names.durable = names.now.clone();
        names.pending.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let image = self.disk.image();
        image.alive()?;
        Ok(image.free())
    }

    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>> {
        let mut image = self.disk.image();
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
        if !image.dirs.contains_key(&path) {
            image.begin()??;
            image.names(&path);
        }
        image.alive()?;
        Ok(Arc::new(Self { disk: self.disk.clone(), path }))
    }

    fn lock(&self, name: &str, holder: &str) -> Result<LockGuard, LockError> {
        let mut image = self.disk.image();
        image.alive().map_err(LockError::Io)?;
        let path = format!("{}/{name}", self.path);
        if let Some(present) = image.locks.get(&path) {
            return Err(LockError::Held(present.clone()));
        }
        image.locks.insert(path.clone(), holder.to_owned());
        Ok(LockGuard::new(SimLock { disk: self.disk.clone(), path }))
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: String,
}

impl Held for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.image().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: FileNo,
}

impl SimFile {
    fn content<'a>(&self, image: &'a mut Image) -> io::Result<&'a mut SimContent> {
        image.files.get_mut(&self.file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut image = self.disk.image();
        image.alive()?;
        Ok(self.content(&mut image)?.now.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut image = self.disk.image();
        image.alive()?;
        if image.unreadable.contains(&self.file) {
            return Err(io::Error::other("simulated read error"));
        }
        let content = self.content(&mut image)?;
        let start = index(offset)?.min(content.now.len());
        let count = buffer.len().min(content.now.len() - start);
        buffer[..count].copy_from_slice(&content.now[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut image = self.disk.image();
        let offset = index(offset)?;
        let mut outcome = image.begin()?;
        image.writes += 1;
        assert!(image.panic_at_write.is_none_or(|at| image.writes < at), "simulated panic");
        if outcome.is_ok() && image.fail_write == Some(image.writes) {
            outcome = Err(io::Error::other("simulated write error"));
        }
        let mut count = bytes.len();
        if outcome.is_err() {
            count = index(image.rng.below(bytes.len() as u64 + 1))?;
        }
        let fits = image.room_for(self.file, offset + count).saturating_sub(offset);
        if fits < count {
            count = fits;
            outcome = outcome.and(Err(io::ErrorKind::StorageFull.into()));
        }
        let op = image.ops;
        if count > 0 {
            self.content(&mut image)?.write(offset, &bytes[..count], op);
        }
        outcome
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let image = self.disk.image();
        image.alive()?;
        let len = index(len)?;
        if image.room_for(self.file, len) < len { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.disk.image();
        let len = index(len)?;
        let outcome = image.begin()?;
        if outcome.is_err() && image.rng.one_in(2) {
            return outcome;
        }
        if image.room_for(self.file, len) < len {
            return outcome.and(Err(io::ErrorKind::StorageFull.into()));
        }
        let op = image.ops;
        self.content(&mut image)?.set_len(len, op);
        outcome
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.disk.image();
        if image.holds_syncs {
            image.held_syncs += 1;
            while image.holds_syncs {
                drop(image);
                std::thread::sleep(Duration::from_millis(1));
                image = self.disk.image();
            }
            image.held_syncs -= 1;
        }
        image.begin()??;
        image.syncs += 1;
        let fails = match image.fail_sync {
            Some((at, Times::Once)) => image.syncs == at,
            Some((at, Times::Always)) => image.syncs >= at,
            None => false,
        };
        if fails {
            let mut rng = image.rng.clone();
            self.content(&mut image)?.sync_failed(&mut rng);
            image.rng = rng;
            return Err(io::Error::other("simulated sync error"));
        }
        self.content(&mut image)?.synced();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with(bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
        let disk = SimDisk::new(1);
        let file = disk.dir().create("f").unwrap();
        file.write_all_at(0, bytes).unwrap();
        file.sync_data().unwrap();
        disk.dir().sync().unwrap();
        (disk, file)
    }

    #[test]
    fn unsynced_bytes_are_lost_or_kept_by_style() {
        let (disk, file) = disk_with(&[1; 1024]);
        file.write_all_at(512, &[2; 1024]).unwrap();
        let lost = disk.after_crash(0, CrashStyle::Lost).read_file("f").unwrap();
        assert_eq!(lost, [1; 1024]);
        let kept = disk.after_crash(0, CrashStyle::Kept).read_file("f").unwrap();
        assert_eq!(kept, [vec![1; 512], vec![2; 1024]].concat());
        for seed in 0..200 {
            for style in CrashStyle::ALL {
                let found = disk.after_crash(seed, style).read_file("f").unwrap();
                assert_eq!(&found[..512], &[1; 512], "a synced sector never changes");
                assert!(found.len() >= 1024);
            }
        }
    }

    #[test]
    fn a_kill_leaves_what_was_written_readable_but_volatile() {
        let (disk, file) = disk_with(&[1; 512]);
        file.write_all_at(0, &[2; 512]).unwrap();
        disk.dir().rename("f", "g").unwrap();
        let killed = disk.after_crash(0, CrashStyle::Killed);
        assert_eq!(killed.read_file("g").unwrap(), [2; 512]);
        let cut = killed.after_crash(0, CrashStyle::Lost);
        assert_eq!(cut.read_file("f").unwrap(), [1; 512]);
        let file = killed.dir().open("g").unwrap();
        file.sync_data().unwrap();
        killed.dir().sync().unwrap();
        assert_eq!(killed.after_crash(0, CrashStyle::Lost).read_file("g").unwrap(), [2; 512]);
    }

    #[test]
    fn a_shorter_length_is_volatile_too() {
        let (disk, file) = disk_with(&[7; 1500]);
        file.set_len(100).unwrap();
        assert_eq!(disk.after_crash(0, CrashStyle::Lost).read_file("f").unwrap(), [7; 1500]);
        file.sync_data().unwrap();
        assert_eq!(disk.after_crash(0, CrashStyle::Lost).read_file("f").unwrap(), [7; 100]);
    }

    #[test]
    fn names_are_volatile_until_the_directory_is_synced() {
        let (disk, _) = disk_with(b"old");
        let dir = disk.dir();
        let new = dir.create("f.new").unwrap();
        new.write_all_at(0, b"new").unwrap();
        new.sync_data().unwrap();
        dir.rename("f.new", "f").unwrap();
        let lost = disk.after_crash(0, CrashStyle::Lost);
        assert_eq!((lost.files(), lost.read_file("f").unwrap()), (vec!["f".to_owned()], b"old".to_vec()));
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let found = disk.after_crash(seed, CrashStyle::Mixed);
            seen.insert((found.files(), found.read_file("f").unwrap()));
        }
        assert_eq!(seen.len(), 3, "old; old beside f.new; new: {seen:?}");
        dir.sync().unwrap();
        assert_eq!(disk.after_crash(0, CrashStyle::Lost).read_file("f").unwrap(), b"new");
    }

    #[test]
    fn the_chosen_operation_and_all_after_it_fail() {
        let (disk, file) = disk_with(&[0; 512]);
        let before = disk.ops();
        assert_eq!(before, 4, "create, write, sync, directory sync");
        disk.crash_at(before + 2);
        file.write_all_at(0, &[1; 512]).unwrap();
        assert!(!disk.crashed());
        file.sync_data().unwrap_err();
        assert!(disk.crashed());
        disk.dir().remove("f").unwrap_err();
        file.write_all_at(0, &[3; 512]).unwrap_err();
        assert_eq!(disk.after_crash(0, CrashStyle::Kept).read_file("f").unwrap(), [1; 512]);
        assert_eq!(disk.after_crash(0, CrashStyle::Lost).read_file("f").unwrap(), [0; 512]);
    }

    #[test]
    fn a_failed_sync_may_forget_what_it_was_given() {
        let mut forgotten = 0;
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let file = disk.dir().create("f").unwrap();
            disk.dir().sync().unwrap();
            file.write_all_at(0, &[1; 512]).unwrap();
            disk.fail_sync(1, false);
            file.sync_data().unwrap_err();
            file.sync_data().unwrap();
            assert_eq!(disk.read_file("f").unwrap(), [1; 512]);
            forgotten += u32::from(disk.after_crash(0, CrashStyle::Lost).read_file("f").unwrap() != [1; 512]);
        }
        assert!((1..20).contains(&forgotten));
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let (disk, file) = disk_with(&[1; 512]);
        disk.set_capacity(Some(1000));
        assert_eq!(file.write_all_at(512, &[2; 512]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.len().unwrap(), 1000);
        file.write_all_at(0, &[3; 1000]).unwrap();
        assert_eq!(file.set_len(2000).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.dir().free_bytes().unwrap(), Some(0));
        file.allocate(1000).unwrap();
        assert_eq!(file.allocate(1001).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.set_capacity(None);
        assert_eq!(disk.dir().free_bytes().unwrap(), None);
        file.set_len(2000).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_disk() {
        let (disk, file) = disk_with(&[1; 4096]);
        file.write_all_at(100, &[2; 4096]).unwrap();
        let look = |seed| disk.after_crash(seed, CrashStyle::Mixed).read_file("f").unwrap();
        assert_eq!(look(5), look(5));
        assert_ne!(look(5), look(6));
    }

    #[test]
    fn locks_end_with_the_guard_or_the_process() {
        let disk = SimDisk::new(0);
        let guard = disk.dir().lock("LOCK", "one").unwrap();
        assert!(matches!(disk.dir().lock("LOCK", "two"), Err(LockError::Held(text)) if text == "one"));
        disk.after_crash(0, CrashStyle::Killed).dir().lock("LOCK", "three").unwrap();
        drop(guard);
        disk.dir().lock("LOCK", "two").unwrap();
    }
}
