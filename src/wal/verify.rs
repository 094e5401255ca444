//! Reading the log through while it is in use: what lies on the disk must still be what was written.
//!
//! [`Check`] follows the frames of one segment like the scan of an opening, but piece by piece, so that it takes little
//! memory and can be paced, and against what the writer knows of that segment: where it begins, and where it must end.
//! Nothing is locked meanwhile. A segment may be given up while it is read, and its file used again; so whoever is told
//! of a [`Flaw`] asks afterwards whether the segment still counts ([`Writer::keeps`](super::Writer::keeps)).

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crc32fast::Hasher;

use super::bytes::{index, padded, u32_at};
use super::frame::{BATCH_PREFIX_BYTES, FRAME_HEADER_BYTES, FrameHeader, GOES_ON};
use super::place::{Ordinal, Place};
use super::segment::{Head, OldEnd, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use super::store_file::{self, StoreFile};
use crate::id::Seq;
use crate::io::{Dir, File};

/// A segment of the log, as its writer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub ordinal: Ordinal,
    /// Its first batch.
    pub first_seq: Seq,
    /// Where it must end.
    pub end: End,
}

/// Where a segment must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where this one goes on.
    Before {
        /// The next segment.
        ordinal: Ordinal,
        /// The batch that it begins with.
        first_seq: Seq,
    },
    /// It is written to, and has come so far.
    WrittenTo {
        /// Where the next frame goes.
        offset: u64,
        /// The batch that comes next.
        next_seq: Seq,
    },
}

/// Something on the disk that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The file.
    pub path: PathBuf,
    /// The segment, if it is one.
    pub segment: Option<Ordinal>,
    /// Where in it.
    pub offset: Option<u64>,
    /// The batch that should be there.
    pub seq: Option<Seq>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.offset.map_or(Ok(()), |offset| write!(f, ", offset {offset}"))?;
        self.seq.map_or(Ok(()), |seq| write!(f, ", batch {seq}"))?;
        write!(f, ": {}", self.why)
    }
}

/// Reads through the files of a log that is open.
#[derive(Debug)]
pub struct Verifier {
    data_dir: Arc<dyn Dir>,
    dir: Arc<dyn Dir>,
    store: StoreFile,
}

/// What a step of a [`Check`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes were read.
    pub bytes: u64,
    /// All of the segment was read, and is as it was written.
    pub done: bool,
}

/// A segment that is being read through.
#[derive(Debug)]
pub struct Check {
    segment: Segment,
    path: PathBuf,
    file: Arc<dyn File>,
    place: Place,
    alignment: u32,
    /// Where a later opening found it to end.
    old_end: Option<OldEnd>,
    at: u64,
    next_seq: Seq,
    /// The checksum in the header of the last frame with batches; of the segment, if there was none.
    crc: u32,
    goes_on: bool,
    /// The frame whose payload is being read.
    frame: Option<Payload>,
    buffer: Vec<u8>,
}

/// A payload that is being read.
#[derive(Debug)]
struct Payload {
    header: FrameHeader,
    crc: u32,
    hasher: Hasher,
    left: u64,
    batches: Batches,
}

/// Counts the batches of a payload that comes in pieces.
#[derive(Debug, Default)]
struct Batches {
    count: u64,
    prefix: Vec<u8>,
    left: u64,
}

impl Batches {
    fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.left > 0 {
                let passed = piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= passed as u64;
                piece = &piece[passed..];
                continue;
            }
            let missing = BATCH_PREFIX_BYTES - self.prefix.len();
            let (prefix, rest) = piece.split_at(missing.min(piece.len()));
            self.prefix.extend_from_slice(prefix);
            piece = rest;
            if self.prefix.len() == BATCH_PREFIX_BYTES {
                self.left = u32_at(&self.prefix, 0).into();
                self.count += 1;
                self.prefix.clear();
            }
        }
    }

    fn counted(&self) -> Option<u64> {
        (self.left == 0 && self.prefix.is_empty()).then_some(self.count)
    }
}

impl Verifier {
    pub(super) fn new(data_dir: Arc<dyn Dir>, dir: Arc<dyn Dir>, store: StoreFile) -> Self {
        Self { data_dir, dir, store }
    }

    /// Looks at the file `STORE`. Answers how many bytes that were.
    ///
    /// # Errors
    /// If it is not what this opening wrote.
    pub fn check_store(&self) -> Result<u64, Flaw> {
        let path = self.data_dir.path().join(store_file::NAME);
        let why = match StoreFile::read_again(&self.data_dir) {
            Ok(Some(found)) if found == self.store => return Ok(store_file::STORE_FILE_BYTES as u64),
            Ok(Some(_)) => "it is not the one that this opening wrote".into(),
            Ok(None) => "it is missing".into(),
            Err(error) => error.to_string(),
        };
        Err(Flaw { path, segment: None, offset: Some(0), seq: None, why })
    }

    /// Writes the file `STORE` again.
    ///
    /// # Errors
    /// What the file system says.
    pub fn rewrite_store(&self) -> io::Result<()> {
        self.store.write(&self.data_dir)
    }

    /// Where a segment lies.
    #[must_use]
    pub fn path(&self, ordinal: Ordinal) -> PathBuf {
        self.dir.path().join(segment_name(ordinal))
    }

    /// Begins to read a segment through.
    ///
    /// # Errors
    /// If its header, or that of the one after it, is not what was written, or can't be read.
    pub fn begin(&self, segment: Segment) -> Result<Check, Flaw> {
        let (file, header, crc) = self.header(segment.ordinal, segment.first_seq)?;
        let old_end = match segment.end {
            End::Before { ordinal, first_seq } => {
                let (_, next, _) = self.header(ordinal, first_seq)?;
                let named = next.opening.filter(|end| end.ordinal == segment.ordinal);
                if named.is_none() && next.epoch != header.epoch {
                    return Err(self.flaw(ordinal, 0, first_seq, "it does not follow the segment before it"));
                }
                named
            }
            End::WrittenTo { .. } => None,
        };
        Ok(Check {
            segment,
            path: self.path(segment.ordinal),
            file,
            place: Place::new(header.store, header.epoch, header.ordinal),
            alignment: header.alignment,
            old_end,
            at: header.alignment.into(),
            next_seq: header.first_seq,
            crc,
            goes_on: false,
            frame: None,
            buffer: Vec::new(),
        })
    }

    /// The header of a segment that begins with that batch.
    fn header(&self, ordinal: Ordinal, first_seq: Seq) -> Result<(Arc<dyn File>, SegmentHeader, u32), Flaw> {
        let flaw = |why: &str| self.flaw(ordinal, 0, first_seq, why);
        let unreadable = |e: io::Error| flaw(&format!("it can't be read: {e}"));
        let file = self.dir.open(&segment_name(ordinal)).map_err(unreadable)?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        file.drop_cached(0, head.len() as u64);
        let count = file.read_at(0, &mut head).map_err(unreadable)?;
        match SegmentHeader::decode(&head[..count]) {
            Head::Sound(header)
                if header.ordinal == ordinal
                    && header.first_seq == first_seq
                    && header.store == self.store.store
                    && header.epoch <= self.store.epoch =>
            {
                Ok((file, header, SegmentHeader::crc_of(&head)))
            }
            Head::Sound(_) | Head::Newer(_) => Err(flaw("its header is another segment's")),
            Head::Unsound => Err(flaw("its header does not check out")),
        }
    }

    fn flaw(&self, ordinal: Ordinal, offset: u64, seq: Seq, why: &str) -> Flaw {
        let (path, why) = (self.path(ordinal), why.into());
        Flaw { path, segment: Some(ordinal), offset: Some(offset), seq: Some(seq), why }
    }
}

impl Check {
    /// The segment that is read.
    #[must_use]
    pub fn segment(&self) -> Segment {
        self.segment
    }

    /// Reads on, at most so many bytes and a header.
    ///
    /// # Errors
    /// What is not as it was written.
    pub fn step(&mut self, bytes_max: usize) -> Result<Step, Flaw> {
        let mut bytes = 0;
        while bytes < bytes_max as u64 {
            if self.frame.is_some() {
                bytes += self.read_payload(bytes_max)?;
            } else if self.ends_here()? {
                return Ok(Step { bytes, done: true });
            } else {
                bytes += self.read_header()?;
            }
        }
        Ok(Step { bytes, done: false })
    }

    /// Whether all was read, and was all that should be there.
    fn ends_here(&self) -> Result<bool, Flaw> {
        let (ended, right) = match (self.segment.end, self.old_end) {
            (End::WrittenTo { offset, next_seq }, _) => (self.at >= offset, self.is_at(offset, next_seq)),
            (End::Before { first_seq, .. }, Some(end)) => {
                let same = self.is_at(end.offset, end.seq.next()) && self.crc == end.crc;
                (self.at >= end.offset, same && self.next_seq == first_seq)
            }
            (End::Before { first_seq, .. }, None) => (self.goes_on, self.next_seq == first_seq),
        };
        if ended && !right {
            return Err(self.flaw("it does not end where it did when it was written"));
        }
        if self.goes_on && !ended {
            return Err(self.flaw("it ends too early"));
        }
        Ok(ended)
    }

    fn is_at(&self, offset: u64, next_seq: Seq) -> bool {
        (self.at, self.next_seq) == (offset, next_seq)
    }

    fn read_header(&mut self) -> Result<u64, Flaw> {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        self.file.drop_cached(self.at, bytes.len() as u64);
        let count = self.file.read_at(self.at, &mut bytes).map_err(|e| self.unreadable(&e))?;
        let Some(header) = FrameHeader::decode(&bytes[..count], &self.place, self.at) else {
            return Err(self.flaw("the header of a frame does not check out"));
        };
        if header.first_seq != self.next_seq || !header.could_be_written() {
            return Err(self.flaw(&format!("a frame with batch {} is there", header.first_seq)));
        }
        let mut hasher = self.place.hasher();
        hasher.update(&self.at.to_le_bytes());
        let (left, crc) = (header.payload_bytes.into(), FrameHeader::crc_of(&bytes));
        self.frame = Some(Payload { header, crc, hasher, left, batches: Batches::default() });
        if left == 0 {
            self.finish_frame()?;
        }
        Ok(FRAME_HEADER_BYTES as u64)
    }

    fn read_payload(&mut self, bytes_max: usize) -> Result<u64, Flaw> {
        let Some(frame) = &mut self.frame else { return Ok(0) };
        let total = u64::from(frame.header.payload_bytes);
        let offset = self.at + FRAME_HEADER_BYTES as u64 + (total - frame.left);
        self.buffer.resize(index(frame.left.min(bytes_max as u64)), 0);
        self.file.drop_cached(offset, self.buffer.len() as u64);
        let read = self.file.read_at(offset, &mut self.buffer);
        // It was read for this alone: it shall not push out of memory what others need.
        self.file.drop_cached(offset, self.buffer.len() as u64);
        match read {
            Ok(count) if count == self.buffer.len() => {}
            Ok(_) => return Err(self.flaw("the file is too short")),
            Err(e) => return Err(self.unreadable(&e)),
        }
        frame.hasher.update(&self.buffer);
        frame.batches.feed(&self.buffer);
        frame.left -= self.buffer.len() as u64;
        if frame.left == 0 {
            self.finish_frame()?;
        }
        Ok(self.buffer.len() as u64)
    }

    fn finish_frame(&mut self) -> Result<(), Flaw> {
        let Some(frame) = self.frame.take() else { return Ok(()) };
        if frame.hasher.finalize() != frame.header.payload_crc {
            return Err(self.flaw("the content of a frame does not check out"));
        }
        if frame.batches.counted() != Some(frame.header.batches.into()) {
            return Err(self.flaw("a frame has not as many batches as it says"));
        }
        let end = self.at + FRAME_HEADER_BYTES as u64 + u64::from(frame.header.payload_bytes);
        self.at = padded(end, self.alignment);
        self.next_seq = Seq::new(self.next_seq.get() + u64::from(frame.header.batches));
        self.goes_on = frame.header.flags & GOES_ON != 0;
        if frame.header.batches > 0 {
            self.crc = frame.crc;
        }
        Ok(())
    }

    fn unreadable(&self, e: &io::Error) -> Flaw {
        self.flaw(&format!("it can't be read: {e}"))
    }

    fn flaw(&self, why: &str) -> Flaw {
        let (path, why) = (self.path.clone(), why.into());
        let segment = Some(self.segment.ordinal);
        Flaw { path, segment, offset: Some(self.at), seq: Some(self.next_seq), why }
    }
}
