//! A directory whose files let others act while they are being synced: what is a second thread in the real world is
//! the middle of a system call here.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use claimlog::io::{Dir, File, LockError, LockGuard};

/// Called in the middle of a sync.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
pub(crate) struct HookedDir {
    pub(crate) dir: Arc<dyn Dir>,
    pub(crate) hook: Hook,
}

struct HookedFile {
    file: Arc<dyn File>,
    hook: Hook,
}

impl fmt::Debug for HookedDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dir.fmt(f)
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl HookedDir {
    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(HookedFile { file, hook: Arc::clone(&self.hook) })
    }
}

impl Dir for HookedDir {
    fn path(&self) -> PathBuf {
        self.dir.path()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.dir.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.dir.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.dir.open(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.sync()
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.dir.free_bytes()
    }

    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self { dir: self.dir.subdir(name)?, hook: Arc::clone(&self.hook) }))
    }

    fn lock(&self, name: &str, holder: &str) -> Result<LockGuard, LockError> {
        self.dir.lock(name, holder)
    }
}

impl File for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(offset, bytes)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        (self.hook)();
        let synced = self.file.sync_data();
        (self.hook)();
        synced
    }
}
