//! Ballast: a file of zeros that is thrown overboard on a full disk, so that an opening has its segment and a snapshot
//! can be finished and the log be cut (I9).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::zeros::{Haste, new_file_of_zeros};
use crate::io::Dir;

/// The file, in the data directory.
const NAME: &str = "BALLAST";
/// The name under which it is filled with zeros.
pub(super) const UNFINISHED_NAME: &str = "BALLAST.tmp";

/// How large it is where the disk is large; else a quarter of that, or a quarter of a quarter,
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// but no smaller,
const BYTES_MIN: u64 = 256 * 1024;
/// and never more than one part in so many of what is free.
const FREE_PARTS: u64 = 16;

/// Enough for a snapshot store to be opened.
const LITTLE_BYTES: u64 = 2 * 1024 * 1024;

/// Throws the ballast overboard if hardly anything else is free: what is opened before the log may need a little.
///
/// # Errors
/// What the file system says.
pub fn lighten(data_dir: &Arc<dyn Dir>) -> std::io::Result<()> {
    if data_dir.free_bytes()?.is_some_and(|free| free < LITTLE_BYTES) {
        Ballast::find(Arc::clone(data_dir)).give_up();
    }
    Ok(())
}

/// The ballast of one data directory. Whatever happens to it, nothing is lost but what it is for.
#[derive(Debug)]
pub struct Ballast {
    dir: Arc<dyn Dir>,
    /// Held while it is made or given up.
    there: Mutex<There>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Yes,
    No,
    /// Not any more.
    GivenUp,
    /// The log was closed: it stays as it is.
    Closed,
}

impl Ballast {
    /// Looks whether there is one.
    pub(super) fn find(dir: Arc<dyn Dir>) -> Self {
        let there = if dir.open(NAME).is_ok() { There::Yes } else { There::No };
        Self { dir, there: Mutex::new(there) }
    }

    /// Makes it, unless it is there or the disk is too small for it; says whether it is there now. One that was given
    /// up is made again only where there is `plenty` of space.
    pub fn make(&self, plenty: bool) -> bool {
        let mut there = self.lock();
        if *there == There::Yes && self.is_gone() {
            *there = There::No;
        }
        if (*there == There::No || (*there == There::GivenUp && plenty))
            && let Some(bytes) = self.dir.free_bytes().ok().flatten().and_then(ballast_bytes)
            && self.fill(bytes).is_ok()
        {
            *there = There::Yes;
        }
        *there == There::Yes
    }

    /// Throws it overboard; says whether there is more space now.
    pub fn give_up(&self) -> bool {
        let mut there = self.lock();
        if *there != There::Yes || self.dir.remove(NAME).and_then(|()| self.dir.sync()).is_err() {
            return false;
        }
        *there = There::GivenUp;
        true
    }

    /// Whether somebody has removed it.
    fn is_gone(&self) -> bool {
        self.dir.open(NAME).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Waits for one in the making; nothing is done from now on.
    pub fn close(&self) {
        *self.lock() = There::Closed;
    }

    fn fill(&self, bytes: u64) -> std::io::Result<()> {
        new_file_of_zeros(&*self.dir, UNFINISHED_NAME, bytes, |_| Haste::Now)?;
        self.dir.rename(UNFINISHED_NAME, NAME)?;
        self.dir.sync()
    }

    fn lock(&self) -> MutexGuard<'_, There> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How large the ballast is on a disk with so much free, if there is to be one.
fn ballast_bytes(free: u64) -> Option<u64> {
    let mut bytes = BYTES_MAX;
    while bytes > free / FREE_PARTS {
        bytes /= 4;
    }
    (bytes >= BYTES_MIN).then_some(bytes)
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::io::sim::SimDisk;

    #[test]
    fn it_is_as_large_as_the_disk_bears() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(ballast_bytes(1000 * MIB), Some(8 * MIB));
        assert_eq!(ballast_bytes(127 * MIB), Some(2 * MIB));
        assert_eq!(ballast_bytes(31 * MIB), Some(MIB / 2));
        assert_eq!(ballast_bytes(7 * MIB), None);
        assert_eq!(ballast_bytes(0), None);
    }

    #[test]
    fn it_is_made_kept_given_up_and_made_again() {
        let disk = SimDisk::new(0);
        let ballast = Ballast::find(disk.dir());
        assert!(!ballast.make(true), "nobody knows how large the disk is");
        disk.set_capacity(Some(9 << 20));
        assert!(ballast.make(false) && ballast.make(false));
        assert_eq!((disk.files(), disk.used()), (vec![NAME.to_owned()], 512 << 10));
        let found = Ballast::find(disk.dir());
        assert!(found.give_up() && !found.give_up());
        assert_eq!(disk.used(), 0);
        assert!(!found.make(false) && found.make(true));
        disk.dir().remove(NAME).unwrap();
        assert!(!found.give_up() && found.make(false) && found.give_up() && found.make(true));
        found.close();
        assert!(!found.give_up());
    }
}
