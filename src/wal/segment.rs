//! A segment file: its name and its header.
//!
//! The byte map is in `docs/format.md`. The header of a segment that an opening writes names where the log of
//! the epochs before it ends ([`OldEnd`]); the rename that gives such a segment its name is the commit of
//! that opening.

use super::bytes::{put, u32_at, u64_at};
use super::place::{Epoch, Ordinal};
use crate::id::Seq;
use crate::id::StoreId;

/// The format of `STORE`, segments and frames that this program writes. Format 0 may still change.
pub(super) const FORMAT: u32 = 0;

const MAGIC_AT: usize = 0;
const FORMAT_AT: usize = MAGIC_AT + 8;
const CRC_AT: usize = FORMAT_AT + 4;
const STORE_AT: usize = CRC_AT + 4;
const EPOCH_AT: usize = STORE_AT + 16;
const ORDINAL_AT: usize = EPOCH_AT + 8;
const FIRST_SEQ_AT: usize = ORDINAL_AT + 8;
const DURABLE_AT: usize = FIRST_SEQ_AT + 8;
const FILE_BYTES_AT: usize = DURABLE_AT + 8;
const ALIGNMENT_AT: usize = FILE_BYTES_AT + 8;
const FLAGS_AT: usize = ALIGNMENT_AT + 4;
const END_ORDINAL_AT: usize = FLAGS_AT + 4;
const END_OFFSET_AT: usize = END_ORDINAL_AT + 8;
const END_SEQ_AT: usize = END_OFFSET_AT + 8;
const END_LENGTH_AT: usize = END_SEQ_AT + 8;
const END_CRC_AT: usize = END_LENGTH_AT + 8;
const RESERVED_AT: usize = END_CRC_AT + 4;

/// The length of a segment's header; its block is padded with zeros to the alignment.
pub(crate) const SEGMENT_HEADER_BYTES: usize = RESERVED_AT + 12;

const MAGIC: [u8; 8] = *b"claimseg";
const OPENING: u32 = 1;

const _: () = assert!(SEGMENT_HEADER_BYTES == 128);
const _: () = assert!(SEGMENT_HEADER_BYTES <= ALIGNMENT_MIN as usize);

/// The least boundary on which frames begin: the sector, what a power cut tears no further.
pub(crate) const ALIGNMENT_MIN: u32 = 512;
/// The largest one: more than any block device asks for.
pub(crate) const ALIGNMENT_MAX: u32 = 64 * 1024;

/// No segment file is larger: twice what the options allow, so that a whole segment that must be written
/// again fits, with room for more.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// Where the log of earlier epochs ends, as an opening proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldEnd {
    /// The last segment that counts; 0 where there is none yet.
    pub(crate) ordinal: Ordinal,
    /// Where in it the last frame that counts ends.
    pub(crate) offset: u64,
    /// The last batch.
    pub(crate) seq: Seq,
    /// The length to which the file is shortened afterwards.
    pub(crate) length: u64,
    /// The checksum in the header of the last frame that counts; of the segment, if it has none.
    pub(crate) crc: u32,
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store: StoreId,
    pub(crate) epoch: Epoch,
    pub(crate) ordinal: Ordinal,
    /// The number of the first batch here.
    pub(crate) first_seq: Seq,
    /// What was durable when the header was: in an opening's segment the last batch written again in it.
    pub(crate) durable: Seq,
    /// The length of the file.
    pub(crate) file_bytes: u64,
    pub(crate) alignment: u32,
    /// Given in a segment that an opening wrote.
    pub(crate) opening: Option<OldEnd>,
}

/// What the first bytes of a segment file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Sound(SegmentHeader),
    /// Not a header, or one that does not check out.
    Unsound,
    /// Sound, but of a format that this program does not know.
    Newer(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, MAGIC_AT, &MAGIC);
        put(&mut bytes, FORMAT_AT, &FORMAT.to_le_bytes());
        put(&mut bytes, STORE_AT, self.store.bytes());
        put(&mut bytes, EPOCH_AT, &self.epoch.get().to_le_bytes());
        put(&mut bytes, ORDINAL_AT, &self.ordinal.get().to_le_bytes());
        put(&mut bytes, FIRST_SEQ_AT, &self.first_seq.get().to_le_bytes());
        put(&mut bytes, DURABLE_AT, &self.durable.get().to_le_bytes());
        put(&mut bytes, FILE_BYTES_AT, &self.file_bytes.to_le_bytes());
        put(&mut bytes, ALIGNMENT_AT, &self.alignment.to_le_bytes());
        if let Some(end) = &self.opening {
            put(&mut bytes, FLAGS_AT, &OPENING.to_le_bytes());
            put(&mut bytes, END_ORDINAL_AT, &end.ordinal.get().to_le_bytes());
            put(&mut bytes, END_OFFSET_AT, &end.offset.to_le_bytes());
            put(&mut bytes, END_SEQ_AT, &end.seq.get().to_le_bytes());
            put(&mut bytes, END_LENGTH_AT, &end.length.to_le_bytes());
            put(&mut bytes, END_CRC_AT, &end.crc.to_le_bytes());
        }
        let crc = Self::crc(&bytes);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    fn crc(bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..CRC_AT]);
        hasher.update(&bytes[STORE_AT..SEGMENT_HEADER_BYTES]);
        hasher.finalize()
    }

    /// Puts magic and checksum of what is to pass for a header right: for fuzzing.
    #[cfg(feature = "sim")]
    pub(super) fn mend(bytes: &mut [u8]) {
        if bytes.len() >= SEGMENT_HEADER_BYTES {
            put(bytes, MAGIC_AT, &MAGIC);
            let crc = Self::crc(&bytes[..SEGMENT_HEADER_BYTES]);
            put(bytes, CRC_AT, &crc.to_le_bytes());
        }
    }

    /// The checksum that the sound header at the start of `bytes` carries.
    pub(super) fn crc_of(bytes: &[u8]) -> u32 {
        u32_at(bytes, CRC_AT)
    }

    pub(super) fn decode(bytes: &[u8]) -> Head {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER_BYTES) else { return Head::Unsound };
        if bytes[..FORMAT_AT] != MAGIC || u32_at(bytes, CRC_AT) != Self::crc(bytes) {
            return Head::Unsound;
        }
        // The magic, the format and the checksum stay where they are in every format to come.
        let format = u32_at(bytes, FORMAT_AT);
        if format > FORMAT {
            return Head::Newer(format);
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[STORE_AT..EPOCH_AT]);
        let header = Self {
            store: StoreId::new(store),
            epoch: Epoch::new(u64_at(bytes, EPOCH_AT)),
            ordinal: Ordinal::new(u64_at(bytes, ORDINAL_AT)),
            first_seq: Seq::new(u64_at(bytes, FIRST_SEQ_AT)),
            durable: Seq::new(u64_at(bytes, DURABLE_AT)),
            file_bytes: u64_at(bytes, FILE_BYTES_AT),
            alignment: u32_at(bytes, ALIGNMENT_AT),
            opening: (u32_at(bytes, FLAGS_AT) & OPENING != 0).then(|| OldEnd {
                ordinal: Ordinal::new(u64_at(bytes, END_ORDINAL_AT)),
                offset: u64_at(bytes, END_OFFSET_AT),
                seq: Seq::new(u64_at(bytes, END_SEQ_AT)),
                length: u64_at(bytes, END_LENGTH_AT),
                crc: u32_at(bytes, END_CRC_AT),
            }),
        };
        if header.well_formed() { Head::Sound(header) } else { Head::Unsound }
    }

    fn well_formed(&self) -> bool {
        // Whatever has a header has a block for it.
        let end_fits = self.opening.is_none_or(|end| {
            let begins = end.ordinal == Ordinal::new(0) || end.offset >= u64::from(ALIGNMENT_MIN);
            let follows = end.seq.get().checked_add(1) == Some(self.first_seq.get());
            end.ordinal < self.ordinal && begins && follows
        });
        alignment_is_sane(self.alignment)
            && self.file_bytes >= u64::from(self.alignment)
            && self.file_bytes <= SEGMENT_BYTES_MAX
            && self.first_seq > Seq::ZERO
            && self.durable.get() < u64::MAX
            && end_fits
    }
}

pub(super) const fn alignment_is_sane(alignment: u32) -> bool {
    alignment.is_power_of_two() && alignment >= ALIGNMENT_MIN && alignment <= ALIGNMENT_MAX
}

/// The name of a segment file.
pub(super) fn segment_name(ordinal: Ordinal) -> String {
    format!("{:010}.seg", ordinal.get())
}

/// The name under which an opening writes its segment, before the rename that commits it.
pub(super) fn opening_name(ordinal: Ordinal) -> String {
    format!("{:010}.new", ordinal.get())
}

/// The name under which a spare is filled with zeros.
pub(super) fn filling_name(ordinal: Ordinal) -> String {
    format!("{:010}.tmp", ordinal.get())
}

/// No log ever comes so far: a file with a higher number is somebody else's, and there would be no number after it.
const ORDINAL_MAX: Ordinal = Ordinal::new(1 << 62);

/// The ordinal in a segment's name; `None` if it is not one.
pub(super) fn ordinal_of(name: &str) -> Option<Ordinal> {
    let ordinal = Ordinal::new(name.strip_suffix(".seg")?.parse().ok()?);
    let possible = (Ordinal::new(1)..=ORDINAL_MAX).contains(&ordinal);
    (segment_name(ordinal) == name && possible).then_some(ordinal)
}

/// Whether the name is of a file that was not finished: it never holds anything that counts.
pub(super) fn is_unfinished(name: &str) -> bool {
    let stem = name.strip_suffix(".new").or_else(|| name.strip_suffix(".tmp"));
    stem.is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store: StoreId::new(*b"0123456789abcdef"),
            epoch: Epoch::new(3),
            ordinal: Ordinal::new(7),
            first_seq: Seq::new(41),
            durable: Seq::new(44),
            file_bytes: 0x0400_0000,
            alignment: 512,
            opening: Some(OldEnd {
                ordinal: Ordinal::new(5),
                offset: 0x1200,
                seq: Seq::new(40),
                length: 0x1200,
                crc: 0x0403_0201,
            }),
        }
    }

    #[test]
    fn golden_header() {
        let hex: String = header().encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "636c61696d736567",
                "00000000",
                "1ec069aa",
                "30313233343536373839616263646566",
                "0300000000000000",
                "0700000000000000",
                "2900000000000000",
                "2c00000000000000",
                "0000000400000000",
                "00020000",
                "01000000",
                "0500000000000000",
                "0012000000000000",
                "2800000000000000",
                "0012000000000000",
                "01020304",
                "000000000000000000000000"
            )
        );
        let docs: String = include_str!("../../docs/format.md").split_whitespace().collect();
        assert!(docs.contains(&hex), "docs/format.md shows the same bytes");
    }

    #[test]
    fn headers_are_read_back() {
        let plain = SegmentHeader { opening: None, ..header() };
        for header in [header(), plain] {
            assert_eq!(SegmentHeader::decode(&header.encode()), Head::Sound(header));
        }
        assert_eq!(SegmentHeader::decode(&header().encode()[..127]), Head::Unsound);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for at in 0..SEGMENT_HEADER_BYTES {
            for bit in 0..8 {
                let mut bytes = header().encode();
                bytes[at] ^= 1 << bit;
                assert_eq!(SegmentHeader::decode(&bytes), Head::Unsound, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = header().encode();
        put(&mut bytes, FORMAT_AT, &9_u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Head::Unsound);
        let crc = SegmentHeader::crc(&bytes);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Head::Newer(9));
    }

    #[test]
    fn only_segment_names_are_segments() {
        assert_eq!(segment_name(Ordinal::new(12)), "0000000012.seg");
        assert_eq!(ordinal_of("0000000012.seg"), Some(Ordinal::new(12)));
        assert_eq!(ordinal_of("12345678901.seg"), Some(Ordinal::new(12_345_678_901)));
        for name in [
            "12.seg",
            "0000000000.seg",
            "+000000012.seg",
            "0000000012.new",
            "x.seg",
            "18446744073709551615.seg",
        ] {
            assert_eq!(ordinal_of(name), None, "{name}");
        }
        assert!(is_unfinished("0000000012.new"));
        assert!(is_unfinished("0000000012.tmp"));
        assert!(!is_unfinished("notes.new"));
        assert!(!is_unfinished(".new"));
    }
}
