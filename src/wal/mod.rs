//! The write-ahead log: batches of bytes with sequence numbers, durable before anyone is told.
//!
//! It knows bytes and numbers, never what they mean: that is the business of whoever implements [`Replay`].
//! It stands between the engine, which decides and applies, and the disk ([`crate::io`]):
//!
//! ```text
//! engine, under its lock:   Buffer::room, Buffer::append        memory only
//! who commits:              Buffer::take -> Writer::write       one write, one sync
//! a helper, or who waits:   Spares::make                        segments made ahead
//! a helper, at leisure:     Verifier::begin, Check::step        what is on disk is still what was written
//! restart:                  open                                scan, judge, replay, begin a new epoch
//! ```
//!
//! A *batch* is what one command changes. A *frame* is one group commit: all batches since the last one. A
//! *segment* is a file of frames. An *epoch* is the time between two openings: nothing is ever added to a
//! segment of an earlier epoch. The bytes are in `docs/format.md`; what an opening may find and does about it
//! is in `docs/recovery.md` and, as code, in [`verdict`].
//!
//! What holds at any moment, however the process or the machine ends:
//! - a batch whose sync returned is there after the next opening, byte for byte, and everything before it;
//! - what is there is a prefix of what was appended;
//! - damage to any of it is named, never skipped.

mod ballast;
mod buffer;
mod bytes;
mod chain;
mod error;
mod frame;
#[cfg(feature = "sim")]
mod fuzz;
mod old_segments;
mod open;
mod place;
mod read;
mod scan;
mod segment;
mod spares;
mod store_file;
pub mod verdict;
mod verify;
mod writer;
mod zeros;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

pub use ballast::{Ballast, lighten};
pub use buffer::{Buffer, Chunk, Room, Spent, Use};
pub use error::{Damage, LogError, OpenError};
#[cfg(feature = "sim")]
#[doc(hidden)]
pub use fuzz::fuzz_open;
pub use open::{Cut, Report, check_newest, open};
pub use place::{Epoch, Ordinal};
#[doc(hidden)]
pub use scan::fuzz_scan;
pub use spares::Spares;
pub use store_file::store_of;
pub use verify::{Check, End, Flaw, Segment, Step, Verifier};
pub use writer::{SyncJob, Writer, Written};

use crate::id::Seq;
use segment::{SEGMENT_BYTES_MAX, alignment_is_sane};

/// The largest segment and the largest batch that the options allow.
const OPTION_BYTES_MAX: u64 = SEGMENT_BYTES_MAX / 2;

/// How the log is laid out. May differ from one opening to the next.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// The length of a segment file where the disk has plenty of space.
    pub segment_bytes: u64,
    /// Frames begin on multiples of this: a power of two, from 512 on.
    pub alignment: u32,
    /// No batch is larger.
    pub max_batch_bytes: u32,
    /// How many segments are made ahead.
    pub spares: u32,
    /// Whether an opening reads ahead of the replay, in a thread of its own.
    pub read_ahead: bool,
    /// Each snapshot that is there has all batches up to this one, zero if there is one that has not or can't be asked:
    /// where the disk is full, an opening may remove what lies before and is of no use without a snapshot.
    pub saved: Seq,
    /// Where a new store's id comes from.
    pub new_store_id: fn() -> [u8; 16],
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            alignment: segment::ALIGNMENT_MIN,
            max_batch_bytes: 512 * 1024 * 1024,
            spares: 1,
            read_ahead: false,
            saved: Seq::ZERO,
            new_store_id: random_store_id,
        }
    }
}

impl LogOptions {
    fn check(&self) -> Result<(), OpenError> {
        let block = u64::from(self.alignment);
        if !alignment_is_sane(self.alignment) {
            return Err(OpenError::Options("the alignment must be a power of two from 512 to 65536"));
        }
        if !self.segment_bytes.is_multiple_of(block) || self.segment_bytes < 4 * block {
            return Err(OpenError::Options(
                "a segment must be a multiple of the alignment, at least four times",
            ));
        }
        if self.segment_bytes > OPTION_BYTES_MAX {
            return Err(OpenError::Options("a segment must not be larger than 1 GiB"));
        }
        if u64::from(self.max_batch_bytes) > OPTION_BYTES_MAX {
            return Err(OpenError::Options("a batch must not be larger than 1 GiB"));
        }
        Ok(())
    }
}

/// 128 bits from the operating system, by way of the standard library's hasher keys.
fn random_store_id() -> [u8; 16] {
    let mut id = [0; 16];
    for (half, part) in id.chunks_mut(8).enumerate() {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_usize(half);
        part.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    id
}

/// Takes what a log holds, in order.
pub trait Replay {
    /// The batch with that number.
    ///
    /// # Errors
    /// Why it does not apply; the opening then stops and reports damage.
    fn batch(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), String>;

    /// The batches that follow, each with its number, in order.
    ///
    /// # Errors
    /// Which of them does not apply, and why.
    fn batches(&mut self, batches: &mut dyn Iterator<Item = (Seq, &[u8])>) -> Result<(), (Seq, String)> {
        for (seq, bytes) in batches {
            self.batch(seq, bytes).map_err(|why| (seq, why))?;
        }
        Ok(())
    }

    /// So much is read of all that is to be read.
    fn progress(&mut self, bytes_done: u64, bytes_total: u64) {
        let _ = (bytes_done, bytes_total);
    }
}

/// A log that is open.
#[derive(Debug)]
pub struct Opened {
    /// Takes batches, under the engine's lock.
    pub buffer: Buffer,
    /// Writes them, under a lock of its own.
    pub writer: Writer,
    /// Makes segments ahead.
    pub spares: Arc<Spares>,
    /// Given up when the disk is full.
    pub ballast: Ballast,
    /// Reads through what is on disk while the log is in use.
    pub verifier: Verifier,
    /// What was found and done.
    pub report: Report,
}
