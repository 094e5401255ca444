//! Reading one segment's bytes: pure functions, fed with anything.
//!
//! A [`Scanner`] follows the frames from the start until something does not check out; [`Beyond`] then says what can
//! still be learned from behind that point. Both take the segment piece by piece. Neither judges: that is done in
//! `open.rs` by the table in `verdict.rs`.

use super::bytes::index;
use super::frame::{FRAME_HEADER_BYTES, Frame, FrameHeader, Unsound, verify};
use super::place::Place;
use super::segment::ALIGNMENT_MIN;
use crate::id::Seq;

/// Where and why a scan stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// After the frame that says that the log goes on in the next segment.
    GoesOn,
    /// At the end of the bytes.
    #[default]
    Full,
    /// At something that is no sound frame of this segment.
    Unsound {
        /// Whether it was one once, or was meant to be.
        torn: bool,
    },
    /// At a sound frame that does not continue the one before.
    Gap {
        /// Its first batch.
        found: Seq,
    },
    /// At a sound frame that can't have been written like this.
    Malformed,
}

/// The sound frames from the start of a segment on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    pub(super) frames: Vec<Frame>,
    pub(super) stop: Stop,
    /// Where it stopped.
    pub(super) at: u64,
    /// The batch that comes next.
    pub(super) next_seq: Seq,
    /// The checksum in the segment's header.
    pub(super) head_crc: u32,
}

impl Scan {
    /// The highest mark that the frames carry.
    pub(super) fn mark(&self) -> Seq {
        self.frames.iter().map(|frame| frame.header.durable).max().unwrap_or(Seq::ZERO)
    }
}

/// Follows the frames of a segment, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    place: Place,
    alignment: u32,
    /// Where the next frame begins,
    pub(super) at: u64,
    /// and with which batch.
    pub(super) next_seq: Seq,
}

impl Scanner {
    /// For a segment whose first batch has number `first_seq`.
    pub(super) fn new(place: Place, alignment: u32, first_seq: Seq) -> Self {
        Self { place, alignment, at: u64::from(alignment), next_seq: first_seq }
    }

    /// Follows the frames that are whole in `bytes`, which lie at `offset` of the segment, and adds them to `frames`.
    /// `None`: it goes on in what lies behind. `last`: nothing does.
    pub(super) fn follow(
        &mut self,
        bytes: &[u8],
        offset: u64,
        last: bool,
        frames: &mut Vec<Frame>,
    ) -> Option<Stop> {
        loop {
            let from = self.at.checked_sub(offset).and_then(|from| usize::try_from(from).ok());
            let from = from.unwrap_or(usize::MAX);
            let rest = bytes.get(from..).unwrap_or(&[]);
            if rest.len() < FRAME_HEADER_BYTES {
                return last.then_some(Stop::Full);
            }
            let Some(header) = FrameHeader::decode(rest, &self.place, self.at) else {
                return Some(Stop::Unsound { torn: FrameHeader::was_meant(rest, self.at, self.next_seq) });
            };
            if header.first_seq != self.next_seq {
                return Some(Stop::Gap { found: header.first_seq });
            }
            if !last && rest.len() - FRAME_HEADER_BYTES < index(header.payload_bytes.into()) {
                return None;
            }
            let frame = match verify(rest, from, header, &self.place, self.alignment) {
                Ok(frame) => frame,
                Err(Unsound::Payload) => return Some(Stop::Unsound { torn: true }),
                Err(Unsound::Malformed) => return Some(Stop::Malformed),
            };
            self.next_seq = frame.next_seq();
            self.at = frame.end;
            let goes_on = frame.goes_on();
            frames.push(frame);
            if goes_on {
                return Some(Stop::GoesOn);
            }
        }
    }
}

/// Follows the frames of a whole segment.
fn scan(segment: &[u8], place: &Place, alignment: u32, first_seq: Seq) -> Scan {
    let mut scanner = Scanner::new(place.clone(), alignment, first_seq);
    let mut frames = Vec::new();
    let stop = scanner.follow(segment, 0, true, &mut frames).unwrap_or_default();
    Scan { frames, stop, at: scanner.at, next_seq: scanner.next_seq, head_crc: 0 }
}

/// What sound headers behind a stop say. Their payloads are not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Whether there are any.
    pub(super) any: bool,
    /// The highest mark among them,
    pub(super) mark: Seq,
    /// and where it stands.
    pub(super) mark_at: u64,
    /// Where the last of them stands.
    pub(super) last_at: u64,
}

impl Beyond {
    /// Looks for sound headers of a segment in `bytes`, which lie at `offset` of it (a boundary), behind all before.
    pub(super) fn look(&mut self, bytes: &[u8], place: &Place, offset: u64) {
        let step = index(u64::from(ALIGNMENT_MIN));
        for (block, bytes) in bytes.chunks(step).enumerate() {
            let at = offset + (block * step) as u64;
            let Some(header) = FrameHeader::decode(bytes, place, at) else { continue };
            if !self.any || header.durable > self.mark {
                (self.mark, self.mark_at) = (header.durable, at);
            }
            (self.any, self.last_at) = (true, at);
        }
    }
}

/// Looks for sound headers of a whole segment at `from` (a boundary) and behind it.
fn look_on(segment: &[u8], place: &Place, from: u64) -> Beyond {
    let mut beyond = Beyond::default();
    let rest = usize::try_from(from).ok().and_then(|from| segment.get(from..)).unwrap_or(&[]);
    beyond.look(rest, place, from);
    beyond
}

/// Scans arbitrary bytes as a segment, for fuzzing: nothing may panic. With `mend` the checksums of what
/// begins like a frame are put right first, so that the code behind them is reached.
#[doc(hidden)]
pub fn fuzz_scan(bytes: &[u8], mend: bool) {
    use super::bytes::{put, u32_at, u64_at};
    use super::frame::{Batches, MAGIC};
    use super::place::{Epoch, Ordinal};
    use super::segment::SegmentHeader;
    use crate::id::StoreId;

    let place = Place::new(StoreId::new([7; 16]), Epoch::new(1), Ordinal::new(1));
    let mut segment = bytes.to_vec();
    if mend {
        for at in (0..segment.len()).step_by(ALIGNMENT_MIN as usize) {
            let rest = &mut segment[at..];
            if rest.len() < FRAME_HEADER_BYTES || rest[0].is_multiple_of(2) {
                continue;
            }
            let payload_bytes = u32_at(rest, 32) % 2048;
            let end = (FRAME_HEADER_BYTES + payload_bytes as usize).min(rest.len());
            let header = FrameHeader {
                offset: at as u64,
                first_seq: Seq::new(u64_at(rest, 16)),
                durable: Seq::new(u64_at(rest, 24)),
                payload_bytes,
                payload_crc: FrameHeader::crc_of_payload(&place, at as u64, &rest[FRAME_HEADER_BYTES..end]),
                batches: u32_at(rest, 40),
                flags: u32_at(rest, 44),
            };
            put(rest, 0, &header.encode(&place));
            debug_assert_eq!(rest[..4], MAGIC);
        }
    }
    let _ = SegmentHeader::decode(&segment);
    let first_seq = segment.get(512 + 16..512 + 24).map_or(1, |raw| u64_at(raw, 0));
    let found = scan(&segment, &place, ALIGNMENT_MIN, Seq::new(first_seq));
    for frame in &found.frames {
        let batches = Batches(&segment[frame.payload.clone()]).map_while(|batch| batch).count();
        assert_eq!(batches as u64, u64::from(frame.header.batches));
    }
    let beyond = look_on(&segment, &place, found.at);
    assert!(beyond.mark_at <= segment.len() as u64);
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{padded, put};
    use super::super::frame::GOES_ON;
    use super::super::place::{Epoch, Ordinal};
    use super::*;
    use crate::id::StoreId;

    fn place() -> Place {
        Place::new(StoreId::new([9; 16]), Epoch::new(2), Ordinal::new(4))
    }

    /// A segment of 8 KiB with frames of one batch of so many bytes each, and, at the end, an empty frame.
    fn segment(batches: &[usize], flags: u32) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        let (mut at, mut seq) = (512, 10);
        for length in batches.iter().copied().map(Some).chain([None]) {
            let payload = length.map_or(vec![], |length| {
                [(length as u32).to_le_bytes().to_vec(), vec![b'x'; length]].concat()
            });
            let header = FrameHeader {
                offset: at as u64,
                first_seq: Seq::new(seq),
                durable: Seq::new(seq - 1),
                payload_bytes: payload.len() as u32,
                payload_crc: FrameHeader::crc_of_payload(&place(), at as u64, &payload),
                batches: u32::from(length.is_some()),
                flags: if length.is_some() { 0 } else { flags },
            };
            put(&mut bytes, at, &header.encode(&place()));
            put(&mut bytes, at + FRAME_HEADER_BYTES, &payload);
            at += padded((FRAME_HEADER_BYTES + payload.len()) as u64, 512) as usize;
            seq += 1;
        }
        bytes
    }

    fn scanned(bytes: &[u8]) -> Scan {
        scan(bytes, &place(), 512, Seq::new(10))
    }

    #[test]
    fn frames_are_followed_to_the_end() {
        let bytes = segment(&[10, 600, 0], 0);
        let found = scanned(&bytes);
        assert_eq!((found.frames.len(), found.at, found.next_seq), (4, 512 * 6, Seq::new(13)));
        assert_eq!(found.stop, Stop::Unsound { torn: false });
        assert_eq!(found.mark(), Seq::new(12));
        assert_eq!(look_on(&bytes, &place(), found.at), Beyond::default());
        assert_eq!(scanned(&segment(&[10], GOES_ON)).stop, Stop::GoesOn);
        assert_eq!(scanned(&bytes[..512 * 6]).stop, Stop::Full);
        assert_eq!(scanned(&[]).stop, Stop::Full);
    }

    /// Whatever the pieces: more bytes are asked for only where a frame is not whole.
    #[test]
    fn pieces_give_what_the_whole_gives() {
        let mut torn = segment(&[10, 600, 1500, 0], 0);
        torn[2048 + 700] ^= 1;
        for bytes in [segment(&[10, 600, 1500, 0], 0), segment(&[600], GOES_ON), torn] {
            let whole = scanned(&bytes);
            for piece_bytes in [1, 48, 100, 512, 700, 4096] {
                let mut scanner = Scanner::new(place(), 512, Seq::new(10));
                let mut frames = Vec::new();
                let stop = loop {
                    let from = scanner.at as usize;
                    let longer = (1..).map(|pieces| bytes.len().min(from + pieces * piece_bytes));
                    let stopped = longer.map(|end| {
                        let (before, last) = (frames.len(), end == bytes.len());
                        let stop = scanner.follow(&bytes[from..end], from as u64, last, &mut frames);
                        (stop, frames.len() > before)
                    });
                    let mut stopped = stopped.filter(|(stop, more)| stop.is_some() || *more);
                    if let Some((Some(stop), _)) = stopped.next() {
                        break stop;
                    }
                };
                assert_eq!((stop, scanner.at, scanner.next_seq), (whole.stop, whole.at, whole.next_seq));
                let headers = |frames: &[Frame]| frames.iter().map(|f| (f.header, f.end)).collect::<Vec<_>>();
                assert_eq!(headers(&frames), headers(&whole.frames));
            }
        }
    }

    #[test]
    fn a_bad_frame_stops_the_scan_and_what_is_behind_is_seen() {
        let mut bytes = segment(&[10, 600, 0], 0);
        bytes[1024 + 300] ^= 1;
        let found = scanned(&bytes);
        assert_eq!((found.frames.len(), found.at, found.next_seq), (1, 1024, Seq::new(11)));
        assert_eq!(found.stop, Stop::Unsound { torn: true });
        let beyond = look_on(&bytes, &place(), found.at);
        assert_eq!(beyond, Beyond { any: true, mark: Seq::new(12), mark_at: 512 * 5, last_at: 512 * 5 });
    }

    #[test]
    fn a_frame_out_of_order_is_told_from_a_bad_one() {
        let bytes = segment(&[10], 0);
        let found = scan(&bytes, &place(), 512, Seq::new(9));
        assert_eq!(found.stop, Stop::Gap { found: Seq::new(10) });
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut state = 1_u32;
        for round in 0..2000 {
            let length = (round * 7) % 3000;
            let mut bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if state & 0x300 == 0 { state.to_le_bytes()[3] } else { 0 }
                })
                .collect();
            if let Some(first) = bytes.get_mut(512) {
                *first = 1;
            }
            fuzz_scan(&bytes, true);
            fuzz_scan(&bytes, false);
        }
    }
}
