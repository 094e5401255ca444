//! The writer: puts what the buffer hands over into the segments, and syncs it.
//!
//! One segment is written at a time, and it is synced before the first write to the next, in every mode: so
//! only the last one can be torn, and a sync is about one file. After a failure the writer is poisoned (I8).

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::buffer::{Buffer, Chunk, Kind, Piece, Spent};
use super::bytes::put;
use super::error::LogError;
use super::frame::{FRAME_HEADER_BYTES, FrameHeader};
use super::place::{Epoch, Ordinal, Place};
use super::segment::{SegmentHeader, segment_name};
use super::spares::Spares;
use super::verify::{End, Segment};
use crate::id::Seq;
use crate::id::StoreId;
use crate::io::{Dir, File};

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The last batch written.
    pub last: Seq,
    /// The last batch durable.
    pub durable: Seq,
}

/// What all who write or sync one log share: its first failure, after which there is nothing but that
/// failure.
#[derive(Debug, Default)]
pub(super) struct Fate {
    failed: OnceLock<LogError>,
    syncing: Mutex<()>,
}

impl Fate {
    fn check(&self) -> Result<(), LogError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Notes a failure; returns the first one.
    fn fail(&self, error: LogError) -> LogError {
        self.failed.get_or_init(|| error).clone()
    }

    fn sync(&self, file: &dyn File, dir: &Arc<dyn Dir>) -> Result<(), LogError> {
        // IMPORTANT: one at a time. The system reports a failed write-back to one of two concurrent syncs
        // only, and the other one must not take that for a success.
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        file.sync_data().map_err(|e| self.fail(LogError::new("syncing", dir.path(), e)))
    }
}

/// Writes the log. See the module's documentation.
pub struct Writer {
    pub(super) dir: Arc<dyn Dir>,
    pub(super) spares: Arc<Spares>,
    pub(super) place: Place,
    pub(super) alignment: u32,
    pub(super) file: Arc<dyn File>,
    /// Where the next frame goes in the file.
    pub(super) position: u64,
    /// The segments that are kept, with their first batch if known; the last one is written to.
    pub(super) segments: Vec<(Ordinal, Option<Seq>)>,
    /// What is kept below this one does not belong to the log any more.
    pub(super) counts_from: Ordinal,
    pub(super) last: Seq,
    pub(super) durable: Seq,
    /// Whether the header of the segment that is written to is durable.
    pub(super) head_durable: bool,
    /// Whether anything was written since the last sync.
    pub(super) dirty: bool,
    /// How long the last [`Writer::write`] wrote, and how long it synced if it did.
    pub(super) write_time: Duration,
    pub(super) sync_time: Option<Duration>,
    pub(super) fate: Arc<Fate>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("epoch", &self.place.epoch)
            .field("ordinal", &self.place.ordinal)
            .field("position", &self.position)
            .field("last", &self.last)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// A sync of what is written, to be run without holding the writer.
#[derive(Debug)]
#[must_use]
pub struct SyncJob {
    file: Arc<dyn File>,
    dir: Arc<dyn Dir>,
    last: Seq,
    fate: Arc<Fate>,
}

impl SyncJob {
    /// Syncs; the batches up to the returned one are durable. Tell it to [`Writer::synced`].
    ///
    /// # Errors
    /// The first failure of this log, from now on to everyone.
    pub fn run(self) -> Result<Seq, LogError> {
        self.fate.sync(&*self.file, &self.dir)?;
        Ok(self.last)
    }
}

impl Writer {
    /// Writes a chunk, and syncs it if asked to.
    ///
    /// # Errors
    /// The first failure of this log, from now on to everyone: how much of the chunk is on disk is not known.
    pub fn write(&mut self, mut chunk: Chunk, sync: bool) -> Result<(Written, Spent), LogError> {
        self.fate.check()?;
        (self.write_time, self.sync_time) = (Duration::ZERO, None);
        let mut run: Range<usize> = 0..0;
        for number in 0..chunk.pieces.len() {
            let piece = chunk.pieces[number];
            let end = chunk.pieces.get(number + 1).map_or(chunk.bytes.len(), |next| next.at);
            match piece.kind {
                Kind::Segment { file_bytes } => {
                    self.put(&chunk.bytes[run])?;
                    self.last = Seq::new(piece.first_seq.get() - 1);
                    // IMPORTANT: only the last segment may be torn.
                    self.sync()?;
                    self.begin_segment(&piece, file_bytes)?;
                    put(&mut chunk.bytes, piece.at, &self.segment_header(&piece, file_bytes).encode());
                    run = piece.at..end;
                }
                Kind::Frame { payload_bytes, batches, flags } => {
                    let header =
                        self.frame_header(&piece, &chunk.bytes[piece.at..], payload_bytes, batches, flags);
                    assert!(
                        piece.ordinal == self.place.ordinal
                            && piece.offset == self.position + run.len() as u64,
                        "the buffer and the writer agree where frames go"
                    );
                    put(&mut chunk.bytes, piece.at, &header.encode(&self.place));
                    run.end = end;
                }
            }
        }
        self.put(&chunk.bytes[run])?;
        self.last = chunk.last_seq();
        if sync {
            self.sync()?;
        }
        Ok((self.written(), Spent::new(chunk, self.write_time, self.sync_time)))
    }

    /// How far the log has come.
    #[must_use]
    pub fn written(&self) -> Written {
        Written { last: self.last, durable: self.durable }
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The first failure of this log, from now on to everyone.
    pub fn sync(&mut self) -> Result<Seq, LogError> {
        self.fate.check()?;
        if self.dirty {
            let began = Instant::now();
            self.fate.sync(&*self.file, &self.dir)?;
            *self.sync_time.get_or_insert_default() += began.elapsed();
            self.dirty = false;
            self.head_durable = true;
        }
        self.durable = self.last;
        Ok(self.durable)
    }

    /// A sync of what is written so far, to be run without holding the writer.
    pub fn sync_job(&self) -> SyncJob {
        SyncJob {
            file: Arc::clone(&self.file),
            dir: Arc::clone(&self.dir),
            last: self.last,
            fate: Arc::clone(&self.fate),
        }
    }

    /// A [`SyncJob`] returned that.
    pub fn synced(&mut self, durable: Seq) {
        assert!(durable <= self.last, "only what was written can be durable");
        self.durable = self.durable.max(durable);
        let first_here = self.segments.last().and_then(|(_, first_seq)| *first_seq);
        self.head_durable |= first_here.is_some_and(|first_seq| first_seq <= self.durable);
    }

    /// Writes what is left and a mark, and syncs both: everything is proven then.
    ///
    /// # Errors
    /// The first failure of this log.
    pub fn close(mut self, mut buffer: Buffer) -> Result<Written, LogError> {
        self.write(buffer.take(), true)?;
        if buffer.mark(self.durable) {
            self.write(buffer.take(), true)?;
        }
        Ok(self.written())
    }

    /// Gives up the segments whose batches are all at or below `below`; hand them to [`Spares::retire`]. The
    /// newest one whose header is durable is always kept, and what is behind it.
    #[must_use]
    pub fn cut(&mut self, below: Seq) -> Vec<Ordinal> {
        // A header that a power cut may take can't begin a log: the segment before it must still be there.
        let sure = self.segments.len() - usize::from(!self.head_durable);
        let unneeded = self.segments[..sure]
            .iter()
            .skip(1)
            .rposition(|(_, first_seq)| first_seq.is_some_and(|first_seq| first_seq <= below.next()));
        let count = unneeded.map_or(0, |at| at + 1);
        self.segments.drain(..count).map(|(ordinal, _)| ordinal).collect()
    }

    /// The segments that the log consists of, oldest first, for whoever reads them through.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let known = self.segments.iter().filter(|(ordinal, _)| *ordinal >= self.counts_from);
        let known: Vec<(Ordinal, Seq)> =
            known.filter_map(|(ordinal, first)| Some((*ordinal, (*first)?))).collect();
        let ends = known.iter().skip(1).map(|&(ordinal, first_seq)| End::Before { ordinal, first_seq });
        let ends = ends.chain([End::WrittenTo { offset: self.position, next_seq: self.last.next() }]);
        let segments = known.iter().zip(ends);
        segments.map(|(&(ordinal, first_seq), end)| Segment { ordinal, first_seq, end }).collect()
    }

    /// Whether a segment still belongs to the log.
    #[must_use]
    pub fn keeps(&self, ordinal: Ordinal) -> bool {
        self.segments.iter().any(|(kept, _)| *kept == ordinal)
    }

    /// The segment that is written to.
    #[must_use]
    pub fn ordinal(&self) -> Ordinal {
        self.place.ordinal
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.dirty = true;
        let began = Instant::now();
        self.file.write_all_at(self.position, bytes).map_err(|e| self.failed("writing", e))?;
        self.write_time += began.elapsed();
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> LogError {
        self.fate.fail(LogError::new(doing, self.dir.path(), source))
    }

    fn begin_segment(&mut self, piece: &Piece, file_bytes: u64) -> Result<(), LogError> {
        self.file = self
            .open_segment(piece.ordinal, file_bytes)
            .map_err(|e| self.failed("beginning a segment", e))?;
        let Place { store, epoch, .. } = self.place;
        self.place = Place::new(store, epoch, piece.ordinal);
        self.position = 0;
        self.head_durable = false;
        self.segments.push((piece.ordinal, Some(piece.first_seq)));
        Ok(())
    }

    fn open_segment(&self, ordinal: Ordinal, file_bytes: u64) -> io::Result<Arc<dyn File>> {
        let file = match self.spares.take_file(ordinal) {
            Some(file) => file,
            None => self.dir.open(&segment_name(ordinal))?,
        };
        // IMPORTANT: all bytes of a segment are there before a header says how many (I9).
        if file.len()? < file_bytes {
            return Err(io::Error::other("a segment is shorter than it was made, which is a bug"));
        }
        Ok(file)
    }

    fn segment_header(&self, piece: &Piece, file_bytes: u64) -> SegmentHeader {
        SegmentHeader {
            store: self.place.store,
            epoch: self.place.epoch,
            ordinal: self.place.ordinal,
            first_seq: piece.first_seq,
            durable: self.durable,
            file_bytes,
            alignment: self.alignment,
            opening: None,
        }
    }

    fn frame_header(
        &self,
        piece: &Piece,
        bytes: &[u8],
        payload_bytes: usize,
        batches: u32,
        flags: u32,
    ) -> FrameHeader {
        let payload = &bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload_bytes];
        FrameHeader {
            offset: piece.offset,
            first_seq: piece.first_seq,
            durable: self.durable,
            payload_bytes: u32::try_from(payload_bytes).expect("segments are smaller than 4 GiB"),
            payload_crc: FrameHeader::crc_of_payload(&self.place, piece.offset, payload),
            batches,
            flags,
        }
    }

    /// The epoch of this opening.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.place.epoch
    }

    /// The store that this log belongs to.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.place.store
    }
}
