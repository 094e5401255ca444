//! What was appended and is not written yet: frames laid out for their places in the log, in memory.
//!
//! The buffer lives under the engine's lock: no I/O, no system call, no checksum here. It alone decides where
//! a frame goes; the writer checks that it writes where the buffer says. Headers of frames and segments are
//! left blank for the writer, which knows by then what is durable.

use std::sync::Arc;
use std::time::Duration;

use super::bytes::index;
use super::frame::{BATCH_PREFIX_BYTES, FRAME_HEADER_BYTES, GOES_ON, frame_bytes};
use super::place::Ordinal;
use super::spares::{Need, Spares};
use crate::id::Seq;

/// A buffer that grew larger than this is not kept for the next turn.
const KEEP_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Blocks kept free at each segment's end: one for a last mark, one for the frame that says that the log goes
/// on.
pub(super) const RESERVED_BLOCKS: u64 = 2;

/// The most that is kept at the log's end for batches that only remove or acknowledge.
const RESERVE_BYTES_MAX: u64 = 1024 * 1024;

/// How much of the last segment that is ready is kept for batches that only remove or acknowledge.
pub(super) fn reserve_bytes(file_bytes: u64, alignment: u64) -> u64 {
    (file_bytes / 8).min(RESERVE_BYTES_MAX).next_multiple_of(alignment)
}

/// Whether there is room in the log for a batch (I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It fits, and writing it will need no more space on the disk.
    Yes,
    /// It will, when a segment is made that was not tried yet: call [`Spares::make`], and ask again.
    NotYet,
    /// It does not: such a segment could not be made.
    Full,
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It adds or changes something.
    Adds,
    /// It only removes or acknowledges, and may use the reserve.
    Frees,
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
    write_time: Duration,
    sync_time: Option<Duration>,
}

impl Spent {
    pub(super) fn new(mut chunk: Chunk, write_time: Duration, sync_time: Option<Duration>) -> Self {
        chunk.bytes.clear();
        chunk.pieces.clear();
        Self { bytes: chunk.bytes, pieces: chunk.pieces, write_time, sync_time }
    }

    /// How long it took to write it.
    #[must_use]
    pub fn write_time(&self) -> Duration {
        self.write_time
    }

    /// How long the syncs took that came with it, if there were any.
    #[must_use]
    pub fn sync_time(&self) -> Option<Duration> {
        self.sync_time
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
        Self {
            alignment: options.alignment,
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

    /// Whether a batch of that many bytes has room in the log; everything that comes with it is counted. If *yes*, it
    /// may be appended, and so may a smaller one, until something else is appended or marked.
    ///
    /// At the end of the last segment that is ready a reserve is left to batches that free space.
    #[must_use]
    pub fn room(&self, batch_bytes: usize, used_for: Use) -> Room {
        self.need(batch_bytes, used_for).map_or(Room::Yes, |need| self.spares.room(need))
    }

    /// Why nothing can be added, if that is so.
    #[must_use]
    pub fn full_because(&self) -> Option<Arc<str>> {
        self.need(0, Use::Adds).and_then(|need| self.spares.full_because(need))
    }

    /// Why the last segment that was wanted could not be made, in words for whoever is refused.
    #[must_use]
    pub fn no_room(&self) -> Arc<str> {
        self.spares.no_room().unwrap_or_else(|| "no room for another segment".into())
    }

    /// What a batch needs besides what is left of this segment.
    fn need(&self, batch_bytes: usize, used_for: Use) -> Option<Need> {
        let Some(end) = self.end_here(batch_bytes) else {
            return Some(Need::Next { bytes: self.own_bytes(batch_bytes), used_for });
        };
        let reserve = reserve_bytes(self.cursor.file_bytes, u64::from(self.alignment));
        let cuts = used_for == Use::Adds && end + reserve > self.cursor.file_bytes;
        cuts.then_some(Need::Another)
    }

    /// How long a segment must be for a batch alone.
    fn own_bytes(&self, batch_bytes: usize) -> u64 {
        let payload = (BATCH_PREFIX_BYTES + batch_bytes) as u64;
        let block = u64::from(self.alignment);
        block + frame_bytes(payload, self.alignment) + RESERVED_BLOCKS * block
    }

    /// Adds a batch and gives it its number.
    ///
    /// # Panics
    /// With a batch above `max_batch_bytes`, and with one that [`Buffer::room`] did not say *yes* to.
    pub fn append(&mut self, batch: &[u8]) -> Seq {
        assert!(batch.len() <= self.batch_bytes_max, "batches are capped before they come here");
        let plan = self.plan(batch.len());
        if plan != Plan::Grow {
            self.seal();
        }
        if plan == Plan::Segment {
            self.go_on();
            assert!(self.end_here(batch.len()).is_some(), "room is asked for before anything is appended");
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

    /// Goes on in the next segment, with an empty frame that carries the mark; says whether it could: that segment must be
    /// ready. So that the one that was written to can be given up.
    pub fn roll(&mut self, durable: Seq) -> bool {
        match self.spares.room(Need::Next { bytes: self.own_bytes(0), used_for: Use::Adds }) {
            Room::Yes => {}
            Room::NotYet | Room::Full => return false,
        }
        self.seal();
        self.go_on();
        self.begin_frame(0);
        self.carried = self.carried.max(durable);
        self.seal();
        true
    }

    /// Hands over everything pending.
    pub fn take(&mut self) -> Chunk {
        self.seal();
        self.spares.appended(self.cursor.offset, self.cursor.file_bytes);
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

    /// Where the segment would end with this batch, the blocks that are kept free included; `None` if it does not fit.
    fn end_here(&self, batch_bytes: usize) -> Option<u64> {
        let payload = self.growing_payload().unwrap_or(0) + BATCH_PREFIX_BYTES + batch_bytes;
        let end = self.cursor.offset + frame_bytes(payload as u64, self.alignment);
        let end = end + RESERVED_BLOCKS * u64::from(self.alignment);
        (end <= self.cursor.file_bytes).then_some(end)
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
        match self.end_here(batch_bytes) {
            Some(_) if self.growing => Plan::Grow,
            Some(_) => Plan::Frame,
            // What does not fit into a growing frame does not fit behind it either.
            None => Plan::Segment,
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

    /// Ends the segment and begins the next one.
    fn go_on(&mut self) {
        self.begin_frame(GOES_ON);
        self.seal();
        // IMPORTANT: the next segment is there before this one says so.
        let file_bytes = self.spares.begin_next().expect("room is asked for before anything is appended");
        self.cursor = Cursor { ordinal: self.cursor.ordinal.next(), offset: 0, file_bytes };
        self.push(Kind::Segment { file_bytes });
        let block = u64::from(self.alignment);
        self.bytes.resize(self.bytes.len() + index(block), 0);
        self.cursor.offset = block;
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

    fn opened(disk: &SimDisk, spares: u32) -> Opened {
        let options =
            LogOptions { segment_bytes: 4096, max_batch_bytes: 20_000, spares, ..LogOptions::default() };
        open(&disk.dir(), &options, Seq::ZERO, Seq::ZERO, &mut Ignore).expect("nothing is wrong")
    }

    /// After *yes* the write never needs space: the disk is full to the last byte then.
    #[test]
    fn room_is_exact() {
        let (mut yes, mut full, mut reserve_used) = (0, 0, 0);
        for seed in 0..300 {
            let disk = SimDisk::new(seed);
            let mut rng = SimRng::new(seed);
            let Opened { mut buffer, mut writer, spares, .. } =
                opened(&disk, u32::try_from(rng.below(3)).unwrap());
            for _ in 0..100 {
                let bound = if rng.one_in(10) { 12_000 } else { 700 };
                let bytes = usize::try_from(rng.below(bound)).unwrap();
                if rng.one_in(5) {
                    disk.set_capacity(Some(disk.used() + rng.below(12_000)));
                    spares.space_was_freed();
                }
                let used_for = if rng.one_in(3) { Use::Frees } else { Use::Adds };
                let mut tries = 0;
                while buffer.room(bytes, used_for) == Room::NotYet {
                    assert!(spares.wanted() && tries < 4, "what is missing is known");
                    spares.make().unwrap();
                    tries += 1;
                }
                let smaller = usize::try_from(rng.below(bytes as u64 + 1)).unwrap();
                if buffer.room(bytes, used_for) == Room::Full {
                    full += 1;
                    assert!(used_for == Use::Adds || buffer.room(bytes, Use::Adds) == Room::Full);
                    continue;
                }
                yes += 1;
                if used_for == Use::Adds {
                    assert_eq!(buffer.room(bytes, Use::Frees), Room::Yes);
                }
                reserve_used += u32::from(buffer.room(bytes, Use::Adds) != Room::Yes);
                assert_eq!(buffer.room(smaller, used_for), Room::Yes);
                disk.set_capacity(Some(0));
                buffer.append(&vec![1; if rng.one_in(4) { smaller } else { bytes }]);
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
            writer.close(buffer).unwrap();
        }
        assert!(yes > 1000 && full > 1000 && reserve_used > 100, "{yes} {full} {reserve_used}");
    }

    #[test]
    fn the_reserve_is_for_what_frees() {
        for spares_ahead in [0, 1] {
            let disk = SimDisk::new(1);
            let Opened { mut buffer, mut writer, spares, .. } = opened(&disk, spares_ahead);
            disk.set_capacity(Some(disk.used()));
            let mut room = |used_for| {
                while buffer.room(300, used_for) == Room::NotYet {
                    spares.make().unwrap();
                }
                let yes = buffer.room(300, used_for) == Room::Yes;
                if yes {
                    buffer.append(&[1; 300]);
                    writer.write(buffer.take(), true).unwrap();
                }
                yes
            };
            while room(Use::Adds) {}
            assert!(!room(Use::Adds) && room(Use::Frees) && !room(Use::Adds));
            while room(Use::Frees) {}
            assert!(spares.no_room().is_some());
            disk.set_capacity(None);
            spares.retry().unwrap();
            assert!(buffer.room(300, Use::Adds) != Room::Full);
        }
    }

    #[test]
    fn a_mark_is_carried_once() {
        let Opened { mut buffer, mut writer, .. } = opened(&SimDisk::new(0), 1);
        assert!(!buffer.mark(writer.written().durable), "the opening's header carries it");
        buffer.append(b"one");
        let (written, _) = writer.write(buffer.take(), true).unwrap();
        assert!(buffer.mark(written.durable));
        assert!(!buffer.mark(written.durable));
        assert_eq!(buffer.take().pieces.len(), 1);
    }
}
