//! Segments made ahead of the writer.
//!
//! A spare has its name and all of its bytes on disk (zeros, or what an older segment left), so that a commit
//! is a pure write of data. A helper of the engine asks [`Spares::wanted`] and calls [`Spares::make`]; where
//! none is ready in time, the writer makes it itself. A spare holds nothing until a header with its own
//! ordinal is in it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::LogError;
use super::place::Ordinal;
use super::segment::{filling_name, segment_name};
use crate::io::{Dir, File};

/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 1024 * 1024;

/// How many old segments are kept for use again, beyond the number of spares made ahead.
const POOL_EXTRA: usize = 2;

/// Writes zeros from `from` to `to`.
pub(super) fn fill_with_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(to - from.min(to)).unwrap_or(ZEROS_BYTES))];
    let mut at = from;
    while at < to {
        let count = usize::try_from(to - at).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        file.write_all_at(at, &zeros[..count])?;
        at += count as u64;
    }
    Ok(())
}

/// Makes segments ahead and uses old ones again. Shared by the buffer (which only looks), the writer and a
/// helper.
#[derive(Debug)]
pub struct Spares {
    dir: Arc<dyn Dir>,
    segment_bytes: u64,
    ahead: u64,
    /// The segments up to this one are ready.
    ready: AtomicU64,
    /// The segment that appending has reached.
    reached: AtomicU64,
    work: Mutex<Work>,
}

#[derive(Debug)]
struct Work {
    /// Old segments of full length that nothing needs any more.
    pool: Vec<Ordinal>,
    /// A failure after which nobody knows what names are durable.
    failed: Option<LogError>,
}

impl Spares {
    pub(super) fn new(dir: Arc<dyn Dir>, segment_bytes: u64, ahead: u32, current: Ordinal) -> Self {
        Self {
            dir,
            segment_bytes,
            ahead: u64::from(ahead),
            ready: AtomicU64::new(current.get()),
            reached: AtomicU64::new(current.get()),
            work: Mutex::new(Work { pool: Vec::new(), failed: None }),
        }
    }

    /// The segments up to this one are ready to be written.
    #[must_use]
    pub fn ready_upto(&self) -> Ordinal {
        Ordinal::new(self.ready.load(Ordering::Acquire))
    }

    /// The segment to make next, if one should be made.
    #[must_use]
    pub fn wanted(&self) -> Option<Ordinal> {
        let ready = self.ready.load(Ordering::Acquire);
        (ready < self.reached.load(Ordering::Acquire) + self.ahead).then(|| Ordinal::new(ready + 1))
    }

    /// Appending has come to that segment.
    pub(super) fn reached(&self, ordinal: Ordinal) {
        self.reached.store(ordinal.get(), Ordering::Release);
    }

    /// Makes that segment ready, and those before it; does nothing if it is.
    ///
    /// # Errors
    /// What the file system says. A failure to fill a new file leaves nothing behind and may be tried again;
    /// one to give it its name is final.
    pub fn make(&self, ordinal: Ordinal) -> Result<(), LogError> {
        let mut work = self.work();
        while self.ready_upto() < ordinal {
            if let Some(error) = &work.failed {
                return Err(error.clone());
            }
            let next = self.ready_upto().next();
            let from = match work.pool.pop() {
                Some(old) => segment_name(old),
                None => self.fill(next)?,
            };
            // IMPORTANT: the name is durable before anything that counts is written under it.
            let renamed = self.dir.rename(&from, &segment_name(next)).and_then(|()| self.dir.sync());
            if let Err(e) = renamed {
                let error = LogError::new("naming a new segment", self.dir.path(), e);
                work.failed = Some(error.clone());
                return Err(error);
            }
            self.ready.store(next.get(), Ordering::Release);
        }
        Ok(())
    }

    /// A new file full of zeros, under a temporary name.
    fn fill(&self, ordinal: Ordinal) -> Result<String, LogError> {
        let name = filling_name(ordinal);
        let filled = self.dir.create(&name).and_then(|file| {
            fill_with_zeros(&*file, 0, self.segment_bytes)?;
            file.sync_data()
        });
        match filled {
            Ok(()) => Ok(name),
            Err(e) => {
                // Nothing relies on it; an opening removes what is left.
                let _ = self.dir.remove(&name);
                Err(LogError::new("making a new segment", self.dir.path().join(name), e))
            }
        }
    }

    /// Takes segments that nothing needs any more: some are kept for use again, the others are removed.
    ///
    /// # Errors
    /// What the file system says. Nothing is lost by it but space.
    pub fn retire(&self, segments: &[Ordinal]) -> Result<(), LogError> {
        let pool_max = usize::try_from(self.ahead).unwrap_or(0) + POOL_EXTRA;
        let mut work = self.work();
        for &ordinal in segments {
            let name = segment_name(ordinal);
            let failed = |e| LogError::new("retiring a segment", self.dir.path().join(&name), e);
            let bytes = self.dir.open(&name).and_then(|file| file.len()).map_err(failed)?;
            if bytes == self.segment_bytes && work.pool.len() < pool_max {
                work.pool.push(ordinal);
            } else {
                self.dir.remove(&name).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Waits for a segment in the making; none is made from now on.
    pub fn close(&self) {
        let closed = io::Error::other("the log was closed");
        let error = LogError::new("making a new segment", self.dir.path(), closed);
        self.work().failed.get_or_insert(error);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // What a panicking holder leaves is one finished step or none.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::io::sim::{CrashStyle, SimDisk};

    fn spares(disk: &SimDisk) -> Spares {
        Spares::new(disk.dir(), 2048, 2, Ordinal::new(5))
    }

    #[test]
    fn as_many_as_wanted_are_made_and_no_more() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        while let Some(ordinal) = spares.wanted() {
            spares.make(ordinal).unwrap();
        }
        assert_eq!(disk.files(), ["0000000006.seg", "0000000007.seg"]);
        spares.reached(Ordinal::new(6));
        assert_eq!(spares.wanted(), Some(Ordinal::new(8)));
        let lost = disk.after_crash(0, CrashStyle::Lost);
        assert_eq!(lost.files().len(), 2);
        assert_eq!(lost.read_file("0000000007.seg").unwrap(), [0; 2048]);
    }

    #[test]
    fn old_segments_of_full_length_are_used_again() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        disk.write_file("0000000001.seg", &[7; 2048]);
        disk.write_file("0000000002.seg", &[7; 1024]);
        spares.retire(&[Ordinal::new(1), Ordinal::new(2)]).unwrap();
        assert_eq!(disk.files(), ["0000000001.seg"]);
        spares.make(Ordinal::new(7)).unwrap();
        assert_eq!(disk.files(), ["0000000006.seg", "0000000007.seg"]);
        assert_eq!(disk.read_file("0000000006.seg").unwrap(), [7; 2048]);
    }

    #[test]
    fn a_closed_log_makes_no_segments() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        spares.close();
        assert!(spares.make(Ordinal::new(6)).is_err());
        assert!(disk.files().is_empty());
    }

    #[test]
    fn a_full_disk_leaves_nothing_behind_and_may_be_tried_again() {
        let disk = SimDisk::new(0);
        let spares = spares(&disk);
        disk.set_capacity(Some(3000));
        spares.make(Ordinal::new(6)).unwrap();
        assert_eq!(spares.make(Ordinal::new(7)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.files(), ["0000000006.seg"]);
        disk.set_capacity(None);
        spares.make(Ordinal::new(7)).unwrap();
    }
}
