//! A frame: one group commit, the unit that is written and checked as a whole.
//!
//! The byte map is in `docs/format.md`. The header has a checksum of its own, so that looking on past a frame
//! that does not check out never depends on a payload. Both checksums cover the frame's place and offset.
//! [`FrameHeader`] is what [`FrameHeader::decode`] found sound; [`Frame`] is one whose payload is sound as
//! well.

use std::ops::Range;

use super::bytes::{index, padded, put, u32_at, u64_at};
use super::place::Place;
use crate::id::Seq;

const MAGIC_AT: usize = 0;
const CRC_AT: usize = MAGIC_AT + 4;
const OFFSET_AT: usize = CRC_AT + 4;
const FIRST_SEQ_AT: usize = OFFSET_AT + 8;
const DURABLE_AT: usize = FIRST_SEQ_AT + 8;
pub(super) const PAYLOAD_BYTES_AT: usize = DURABLE_AT + 8;
const PAYLOAD_CRC_AT: usize = PAYLOAD_BYTES_AT + 4;
const BATCHES_AT: usize = PAYLOAD_CRC_AT + 4;
const FLAGS_AT: usize = BATCHES_AT + 4;

/// The length of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = FLAGS_AT + 4;
/// The length of what precedes each batch in a payload.
pub(crate) const BATCH_PREFIX_BYTES: usize = 4;
/// What a frame begins with.
pub(super) const MAGIC: [u8; 4] = *b"CLFR";
/// The segment is complete: what follows is in the next one.
pub(super) const GOES_ON: u32 = 1;

const _: () = assert!(FRAME_HEADER_BYTES == 48);

/// The length on disk of a frame with that payload.
pub(super) const fn frame_bytes(payload_bytes: u64, alignment: u32) -> u64 {
    padded(FRAME_HEADER_BYTES as u64 + payload_bytes, alignment)
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Where the frame begins in its segment.
    pub(crate) offset: u64,
    /// The first batch's number; in an empty frame, the next batch's.
    pub(crate) first_seq: Seq,
    /// The last batch known durable when the frame was written.
    pub(crate) durable: Seq,
    pub(crate) payload_bytes: u32,
    pub(crate) payload_crc: u32,
    pub(crate) batches: u32,
    pub(crate) flags: u32,
}

impl FrameHeader {
    pub(super) fn encode(&self, place: &Place) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        put(&mut bytes, MAGIC_AT, &MAGIC);
        put(&mut bytes, OFFSET_AT, &self.offset.to_le_bytes());
        put(&mut bytes, FIRST_SEQ_AT, &self.first_seq.get().to_le_bytes());
        put(&mut bytes, DURABLE_AT, &self.durable.get().to_le_bytes());
        put(&mut bytes, PAYLOAD_BYTES_AT, &self.payload_bytes.to_le_bytes());
        put(&mut bytes, PAYLOAD_CRC_AT, &self.payload_crc.to_le_bytes());
        put(&mut bytes, BATCHES_AT, &self.batches.to_le_bytes());
        put(&mut bytes, FLAGS_AT, &self.flags.to_le_bytes());
        let crc = place.crc(&[&bytes[OFFSET_AT..]]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, if it is sound and belongs to this place and offset.
    pub(super) fn decode(bytes: &[u8], place: &Place, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        if bytes[..CRC_AT] != MAGIC || u64_at(bytes, OFFSET_AT) != offset {
            return None;
        }
        if u32_at(bytes, CRC_AT) != place.crc(&[&bytes[OFFSET_AT..]]) {
            return None;
        }
        Some(Self {
            offset,
            first_seq: Seq::new(u64_at(bytes, FIRST_SEQ_AT)),
            durable: Seq::new(u64_at(bytes, DURABLE_AT)),
            payload_bytes: u32_at(bytes, PAYLOAD_BYTES_AT),
            payload_crc: u32_at(bytes, PAYLOAD_CRC_AT),
            batches: u32_at(bytes, BATCHES_AT),
            flags: u32_at(bytes, FLAGS_AT),
        })
    }

    /// The checksum that the sound header at the start of `bytes` carries.
    pub(super) fn crc_of(bytes: &[u8]) -> u32 {
        u32_at(bytes, CRC_AT)
    }

    /// Whether `bytes`, sound or not, were meant to be the frame with this offset and first batch. What an older segment
    /// left in this file may have the magic and the offset too, but not the number of the batch.
    pub(super) fn was_meant(bytes: &[u8], offset: u64, first_seq: Seq) -> bool {
        bytes.len() >= FRAME_HEADER_BYTES
            && u64_at(bytes, FIRST_SEQ_AT) == first_seq.get()
            && (bytes[..CRC_AT] == MAGIC || u64_at(bytes, OFFSET_AT) == offset)
    }

    /// Whether what a sound header says, its payload aside, could have been written like this.
    pub(super) fn could_be_written(&self) -> bool {
        let numbered = self.first_seq.get().checked_add(u64::from(self.batches)).is_some();
        numbered
            && self.first_seq > Seq::ZERO
            && self.durable < self.first_seq
            && self.flags & !GOES_ON == 0
            && (self.flags == 0 || self.batches == 0)
    }

    /// The checksum of the payload of a frame at `offset`.
    pub(super) fn crc_of_payload(place: &Place, offset: u64, payload: &[u8]) -> u32 {
        place.crc(&[&offset.to_le_bytes(), payload])
    }
}

/// A frame that was found sound, header and payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(super) header: FrameHeader,
    /// Its header's own checksum.
    pub(super) crc: u32,
    /// Where its payload lies in the bytes that were scanned.
    pub(super) payload: Range<usize>,
    /// Where the next frame begins.
    pub(super) end: u64,
}

impl Frame {
    /// The number of the batch after this frame.
    pub(super) fn next_seq(&self) -> Seq {
        Seq::new(self.header.first_seq.get() + u64::from(self.header.batches))
    }

    pub(super) fn goes_on(&self) -> bool {
        self.header.flags & GOES_ON != 0
    }
}

/// Why a header that is sound makes no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsound {
    /// The payload does not check out.
    Payload,
    /// Everything checks out and yet it can't have been written like this.
    Malformed,
}

/// Verifies the payload that a sound header speaks of. `rest` are the bytes from that header on, which lie at `from` in
/// what is scanned.
pub(super) fn verify(
    rest: &[u8],
    from: usize,
    header: FrameHeader,
    place: &Place,
    alignment: u32,
) -> Result<Frame, Unsound> {
    let bytes = FRAME_HEADER_BYTES as u64 + u64::from(header.payload_bytes);
    if bytes > rest.len() as u64 {
        return Err(Unsound::Payload);
    }
    let payload = &rest[FRAME_HEADER_BYTES..index(bytes)];
    if FrameHeader::crc_of_payload(place, header.offset, payload) != header.payload_crc {
        return Err(Unsound::Payload);
    }
    if !well_formed(&header, payload) {
        return Err(Unsound::Malformed);
    }
    let payload = from + FRAME_HEADER_BYTES..from + index(bytes);
    Ok(Frame {
        header,
        crc: FrameHeader::crc_of(rest),
        payload,
        end: padded(header.offset + bytes, alignment),
    })
}

fn well_formed(header: &FrameHeader, payload: &[u8]) -> bool {
    let counted = Batches(payload).try_fold(0_u32, |count, batch| batch.map(|_| count + 1));
    counted == Some(header.batches) && header.could_be_written()
}

/// The batches of a payload, in order; `None` in place of one that is cut short, and then no more.
pub(super) struct Batches<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Batches<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = self
            .0
            .split_at_checked(BATCH_PREFIX_BYTES)
            .and_then(|(prefix, rest)| rest.split_at_checked(usize::try_from(u32_at(prefix, 0)).ok()?));
        self.0 = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(batch, _)| batch))
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::{Epoch, Ordinal};
    use super::*;
    use crate::id::StoreId;

    fn place() -> Place {
        Place::new(StoreId::new(*b"0123456789abcdef"), Epoch::new(3), Ordinal::new(7))
    }

    /// One frame at offset 512 of a segment of 1,024 bytes.
    fn segment() -> (Vec<u8>, FrameHeader) {
        let payload = b"\x03\0\0\0abc\0\0\0\0\x02\0\0\0de";
        let header = FrameHeader {
            offset: 512,
            first_seq: Seq::new(41),
            durable: Seq::new(40),
            payload_bytes: 17,
            payload_crc: FrameHeader::crc_of_payload(&place(), 512, payload),
            batches: 3,
            flags: 0,
        };
        let mut bytes = vec![0; 1024];
        put(&mut bytes, 512, &header.encode(&place()));
        put(&mut bytes, 512 + FRAME_HEADER_BYTES, payload);
        (bytes, header)
    }

    #[test]
    fn golden_frame() {
        let (bytes, _) = segment();
        let hex: String = bytes[512..512 + 48 + 17].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "434c4652",
                "6429db80",
                "0002000000000000",
                "2900000000000000",
                "2800000000000000",
                "11000000",
                "2106e598",
                "03000000",
                "00000000",
                "03000000616263",
                "00000000",
                "020000006465"
            )
        );
        let docs: String = include_str!("../../docs/format.md").split_whitespace().collect();
        assert!(docs.contains(&hex), "docs/format.md shows the same bytes");
    }

    #[test]
    fn a_frame_is_read_back() {
        let (bytes, header) = segment();
        let read = FrameHeader::decode(&bytes[512..], &place(), 512).unwrap();
        assert_eq!(read, header);
        let frame = verify(&bytes[512..], 512, read, &place(), 512).unwrap();
        assert_eq!((frame.end, frame.next_seq(), frame.goes_on()), (1024, Seq::new(44), false));
        let batches: Vec<_> = Batches(&bytes[frame.payload]).map(Option::unwrap).collect();
        assert_eq!(batches, [&b"abc"[..], b"", b"de"]);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, _) = segment();
        for at in 512..512 + FRAME_HEADER_BYTES + 17 {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                let sound = FrameHeader::decode(&bytes[512..], &place(), 512)
                    .is_some_and(|header| verify(&bytes[512..], 512, header, &place(), 512).is_ok());
                assert!(!sound, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_frame_belongs_to_its_place_and_offset() {
        let (bytes, _) = segment();
        let Place { store, epoch, ordinal, .. } = place();
        let elsewhere = [
            Place::new(StoreId::new([0; 16]), epoch, ordinal),
            Place::new(store, epoch.next(), ordinal),
            Place::new(store, epoch, ordinal.next()),
        ];
        for place in elsewhere {
            assert!(FrameHeader::decode(&bytes[512..], &place, 512).is_none());
        }
        assert!(FrameHeader::decode(&bytes[512..], &place(), 1024).is_none());
        assert!(FrameHeader::decode(&bytes[512..540], &place(), 512).is_none());
    }

    #[test]
    fn sound_checksums_do_not_excuse_nonsense() {
        let (bytes, header) = segment();
        let wrong = [
            FrameHeader { batches: 2, ..header },
            FrameHeader { durable: Seq::new(41), ..header },
            FrameHeader { first_seq: Seq::ZERO, ..header },
            FrameHeader { first_seq: Seq::new(u64::MAX), durable: Seq::ZERO, ..header },
            FrameHeader { flags: GOES_ON, ..header },
            FrameHeader { flags: 2, ..header },
        ];
        for header in wrong {
            assert_eq!(
                verify(&bytes[512..], 512, header, &place(), 512),
                Err(Unsound::Malformed),
                "{header:?}"
            );
        }
        let beyond = FrameHeader { payload_bytes: 513, ..header };
        assert_eq!(verify(&bytes[512..], 512, beyond, &place(), 512), Err(Unsound::Payload));
    }
}
