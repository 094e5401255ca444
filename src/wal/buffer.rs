//! What was appended and is not written yet: frames laid out for their places in the log, in memory.
//!
//! The buffer lives under the engine's lock: no I/O, no system call, no checksum here. It alone decides where
//! a frame goes; the writer checks that it writes where the buffer says. Headers of frames and segments are
//! left blank for the writer, which knows by then what is durable.

use std::sync::Arc;

use super::bytes::index;
use super::frame::{BATCH_PREFIX_BYTES, FRAME_HEADER_BYTES, GOES_ON, frame_bytes};
use super::place::Ordinal;
use super::spares::Spares;
use crate::id::Seq;

/// A buffer that grew larger than this is not kept for the next turn.
const KEEP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Blocks kept free at each segment's end: one for a last mark, one for the frame that says that the log goes
/// on.
pub(super) const RESERVED_BLOCKS: u64 = 2;

/// Whether there is room in the log for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It fits.
    Yes,
    /// It will, when the next segment is made (see [`Spares::wanted`]).
    NotYet,
    /// It does not. Not answered yet.
    Full,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) ordinal: Ordinal,
    pub(super) offset: u64,
    pub(super) file_bytes: u64,
}

/// Something that the writer puts a header on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Where it begins in the chunk's bytes.
    pub(super) at: usize,
    pub(super) ordinal: Ordinal,
    pub(super) offset: u64,
    pub(super) first_seq: Seq,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The start of a segment with a file of that length.
    Segment {
        file_bytes: u64,
    },
    Frame {
        payload_bytes: usize,
        batches: u32,
        flags: u32,
    },
}

/// Complete frames on their way to the writer.
#[derive(Debug)]
pub struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
    pub(super) next_seq: Seq,
}

impl Chunk {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes will be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The last batch appended before it was taken.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        Seq::new(self.next_seq.get() - 1)
    }
}

/// The memory of a chunk that was written, for [`Buffer::recycle`].
#[derive(Debug, Default)]
pub struct Spent {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl From<Chunk> for Spent {
    fn from(mut chunk: Chunk) -> Self {
        chunk.bytes.clear();
        chunk.pieces.clear();
        Self { bytes: chunk.bytes, pieces: chunk.pieces }
    }
}

/// Where a batch would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Into the frame that grows.
    Grow,
    /// Into a frame of its own in this segment.
    Frame,
    /// Into a frame of its own in the next one.
    Segment,
}

/// The batches that are not written yet. See the module's documentation.
#[derive(Debug)]
pub struct Buffer {
    alignment: u32,
    segment_bytes: u64,
    batch_bytes_max: usize,
    spares: Arc<Spares>,
    next_seq: Seq,
    cursor: Cursor,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Whether the last piece is a frame, at the cursor, that was not ended yet.
    growing: bool,
    /// The durable mark that the log carries already.
    carried: Seq,
    spent: Spent,
}

impl Buffer {
    pub(super) fn new(
        options: &super::LogOptions,
        spares: Arc<Spares>,
        cursor: Cursor,
        next_seq: Seq,
        carried: Seq,
    ) -> Self {
        spares.reached(cursor.ordinal);
        Self {
            alignment: options.alignment,
            segment_bytes: options.segment_bytes,
            batch_bytes_max: usize::try_from(options.max_batch_bytes).unwrap_or(usize::MAX),
            spares,
            next_seq,
            cursor,
            bytes: Vec::new(),
            pieces: Vec::new(),
            growing: false,
            carried,
            spent: Spent::default(),
        }
    }

    /// The number that the next batch gets.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// How much [`Buffer::take`] would hand over, padding left out.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether a batch of that many bytes has room in the log; everything that comes with it is counted.
    #[must_use]
    pub fn room(&self, batch_bytes: usize) -> Room {
        match self.plan(batch_bytes) {
            Plan::Grow | Plan::Frame => Room::Yes,
            Plan::Segment if self.spares.ready_upto() > self.cursor.ordinal => Room::Yes,
            Plan::Segment => Room::NotYet,
        }
    }

    /// Adds a batch and gives it its number.
    ///
    /// # Panics
    /// With a batch above `max_batch_bytes`, which the engine refuses before.
    pub fn append(&mut self, batch: &[u8]) -> Seq {
        assert!(batch.len() <= self.batch_bytes_max, "batches are capped before they come here");
        let plan = self.plan(batch.len());
        if plan != Plan::Grow {
            self.seal();
        }
        if plan == Plan::Segment {
            self.go_on(batch.len());
        }
        if plan != Plan::Grow {
            self.begin_frame(0);
        }
        let prefix = u32::try_from(batch.len()).expect("the cap is below 4 GiB");
        self.bytes.extend_from_slice(&prefix.to_le_bytes());
        self.bytes.extend_from_slice(batch);
        if let Some(Piece { kind: Kind::Frame { payload_bytes, batches, .. }, .. }) = self.pieces.last_mut() {
            *payload_bytes += BATCH_PREFIX_BYTES + batch.len();
            *batches += 1;
        }
        let seq = self.next_seq;
        self.next_seq = seq.next();
        seq
    }

    /// Adds an empty frame that carries the mark "durable up to there"; says whether that was needed. Without
    /// it the last commit before a silence is not proven to have been acknowledged.
    pub fn mark(&mut self, durable: Seq) -> bool {
        if durable <= self.carried {
            return false;
        }
        self.seal();
        let block = u64::from(self.alignment);
        let left = self.cursor.file_bytes - self.cursor.offset;
        // The block kept for a last mark is for the mark that no frame can follow.
        let needed = if durable.next() == self.next_seq { RESERVED_BLOCKS } else { RESERVED_BLOCKS + 1 };
        if left < needed * block {
            return false;
        }
        self.begin_frame(0);
        self.carried = durable;
        self.seal();
        true
    }

    /// Hands over everything pending.
    pub fn take(&mut self) -> Chunk {
        self.seal();
        let spent = std::mem::take(&mut self.spent);
        Chunk {
            bytes: std::mem::replace(&mut self.bytes, spent.bytes),
            pieces: std::mem::replace(&mut self.pieces, spent.pieces),
            next_seq: self.next_seq,
        }
    }

    /// Takes memory back for the next turn.
    pub fn recycle(&mut self, spent: Spent) {
        if spent.bytes.capacity() <= KEEP_BYTES_MAX {
            self.spent = spent;
        }
    }

    /// Whether a frame with that payload fits at the cursor.
    fn fits(&self, payload_bytes: usize) -> bool {
        let end = self.cursor.offset + frame_bytes(payload_bytes as u64, self.alignment);
        end + RESERVED_BLOCKS * u64::from(self.alignment) <= self.cursor.file_bytes
    }

    fn growing_payload(&self) -> Option<usize> {
        match self.pieces.last() {
            Some(Piece { kind: Kind::Frame { payload_bytes, .. }, .. }) if self.growing => {
                Some(*payload_bytes)
            }
            _ => None,
        }
    }

    fn plan(&self, batch_bytes: usize) -> Plan {
        let payload = BATCH_PREFIX_BYTES + batch_bytes;
        match self.growing_payload() {
            Some(before) if self.fits(before + payload) => Plan::Grow,
            None if self.fits(payload) => Plan::Frame,
            // What does not fit into a growing frame does not fit behind it either.
            _ => Plan::Segment,
        }
    }

    /// Ends the growing frame.
    fn seal(&mut self) {
        let Some(payload) = self.growing_payload() else { return };
        let end = self.cursor.offset + frame_bytes(payload as u64, self.alignment);
        let start = self.pieces.last().map_or(0, |piece| piece.at);
        self.bytes.resize(start + index(end - self.cursor.offset), 0);
        self.cursor.offset = end;
        self.growing = false;
    }

    fn begin_frame(&mut self, flags: u32) {
        self.push(Kind::Frame { payload_bytes: 0, batches: 0, flags });
        self.bytes.resize(self.bytes.len() + FRAME_HEADER_BYTES, 0);
        self.growing = true;
    }

    fn push(&mut self, kind: Kind) {
        let Cursor { ordinal, offset, .. } = self.cursor;
        self.pieces.push(Piece { at: self.bytes.len(), ordinal, offset, first_seq: self.next_seq, kind });
    }

    /// Ends the segment and begins the next one, for a batch of that size.
    fn go_on(&mut self, batch_bytes: usize) {
        self.begin_frame(GOES_ON);
        self.seal();
        let block = u64::from(self.alignment);
        let payload = (BATCH_PREFIX_BYTES + batch_bytes) as u64;
        let own_bytes = block + frame_bytes(payload, self.alignment) + RESERVED_BLOCKS * block;
        self.cursor = Cursor {
            ordinal: self.cursor.ordinal.next(),
            offset: 0,
            file_bytes: self.segment_bytes.max(own_bytes),
        };
        self.push(Kind::Segment { file_bytes: self.cursor.file_bytes });
        self.bytes.resize(self.bytes.len() + index(block), 0);
        self.cursor.offset = block;
        self.spares.reached(self.cursor.ordinal);
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::super::{LogOptions, Opened, Replay, open};
    use super::*;
    use crate::io::sim::{SimDisk, SimRng};

    struct Ignore;

    impl Replay for Ignore {
        fn batch(&mut self, _: Seq, _: &[u8]) -> Result<(), String> {
            Ok(())
        }
    }

    fn opened(disk: &SimDisk) -> Opened {
        let options = LogOptions { segment_bytes: 4096, max_batch_bytes: 20_000, ..LogOptions::default() };
        open(&disk.dir(), &options, Seq::ZERO, Seq::ZERO, &mut Ignore).expect("nothing is wrong")
    }

    #[test]
    fn room_is_exact() {
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let mut rng = SimRng::new(seed);
            let Opened { mut buffer, mut writer, spares, .. } = opened(&disk);
            for _ in 0..100 {
                let bound = if rng.one_in(10) { 9000 } else { 700 };
                let bytes = usize::try_from(rng.below(bound)).unwrap();
                let before = buffer.cursor.ordinal;
                let room = buffer.room(bytes);
                if room == Room::NotYet {
                    assert_eq!(spares.wanted(), Some(before.next()), "the helper is asked for it");
                    spares.make(before.next()).unwrap();
                }
                assert_eq!(buffer.room(bytes), Room::Yes);
                buffer.append(&vec![1; bytes]);
                let moved = buffer.cursor.ordinal != before;
                assert!(moved || room == Room::Yes);
                assert!(buffer.cursor.ordinal <= spares.ready_upto());
                if rng.one_in(4) {
                    buffer.mark(writer.written().durable);
                }
                if rng.one_in(3) {
                    let (written, spent) = writer.write(buffer.take(), rng.one_in(2)).unwrap();
                    buffer.recycle(spent);
                    assert_eq!(written.last.next(), buffer.next_seq());
                    assert!(writer.position <= buffer.cursor.file_bytes);
                }
            }
        }
    }

    #[test]
    fn a_mark_is_carried_once() {
        let Opened { mut buffer, mut writer, .. } = opened(&SimDisk::new(0));
        assert!(!buffer.mark(writer.written().durable), "the opening's header carries it");
        buffer.append(b"one");
        let (written, _) = writer.write(buffer.take(), true).unwrap();
        assert!(buffer.mark(written.durable));
        assert!(!buffer.mark(written.durable));
        assert_eq!(buffer.take().pieces.len(), 1);
    }
}
