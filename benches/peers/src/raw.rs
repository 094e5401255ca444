//! The raw limit: the bytes that claimlog writes, written into a file all of whose blocks are there, and synced.
//!
//! Where there are many writers it is the best that sharing syncs could do for them: one thread writes frames that have a
//! message of each, and nobody has to be told that it is done.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

use crate::queue::{Append, Load, MANY, Queue};

/// How long the file is. When it is full it is written again from the front.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What memory is aligned to when the page cache is passed by: enough for every disk.
const ALIGNMENT: usize = 4096;

/// What frames are aligned to.
const SECTOR: usize = 512;

/// How the bytes get to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A write, and an fdatasync.
    Sync,
    /// One write past the page cache that returns when the disk has it.
    Direct,
}

/// A file, and what is written to it.
pub(crate) struct Raw {
    file: File,
    way: Way,
    bytes: Vec<u8>,
    /// Where they begin in that: at an aligned address.
    begin: usize,
    frame_bytes: [usize; 2],
    written: AtomicU64,
}

impl Raw {
    /// Frames have so many bytes for one message, and for many.
    pub(crate) fn open(path: &Path, way: Way, frame_bytes: [usize; 2]) -> Self {
        let mut file = File::create_new(path).expect("a file is created");
        let filled = (0..FILE_BYTES / 4096).try_for_each(|_| file.write_all(&[1; 4096]));
        filled.and_then(|()| file.sync_all()).expect("a file is filled");
        let flags = match way {
            Way::Sync => OFlags::empty(),
            Way::Direct => OFlags::DIRECT | OFlags::DSYNC,
        };
        let flags = i32::try_from(flags.bits()).expect("flags fit an int");
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).expect("it opens");
        let bytes = vec![2; frame_bytes[1] + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { file, way, bytes, begin, frame_bytes, written: AtomicU64::new(0) }
    }

    /// Writes a frame of up to that many messages, durably.
    pub(crate) fn write(&self, messages: usize) {
        let [one, many] = self.frame_bytes;
        let frame_bytes = if messages == 1 { one } else { (many * messages / MANY).next_multiple_of(SECTOR) };
        let frame = &self.bytes[self.begin..self.begin + frame_bytes.min(many)];
        let places = FILE_BYTES / many as u64;
        let place = self.written.fetch_add(1, Ordering::Relaxed) % places;
        self.file.write_all_at(frame, place * frame.len() as u64).expect("a frame is written");
        if self.way == Way::Sync {
            self.file.sync_data().expect("a frame is synced");
        }
    }
}

impl Queue for Raw {
    fn writer(&self) -> Append<'_> {
        Box::new(|messages| self.write(messages.len()))
    }

    fn load(&self, load: Load) -> Load {
        Load { writers: 1, at_a_time: load.writers * load.at_a_time, ..load }
    }
}
