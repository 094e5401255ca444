//! How parts and roots are cut into the keys and values of an ordered key-value store.
//!
//! A key is a kind, the numbers of the item and the number of the chunk, all in an order that makes "the parts that
//! changed after a batch" one range. Each value carries a checksum over whose it is, where it belongs and how long the
//! whole item is, so that nothing left over, misplaced or cut short passes for content.

use std::fmt;
use std::io;

use crate::id::{PageNo, PartKey, Seq, StoreId};

/// The most bytes of a value: larger ones cost sled a larger leaf each time one of its neighbours changes.
pub(super) const VALUE_BYTES: usize = 16_128;
/// The most bytes of a whole item. A length above it is damage, whatever its checksum says.
const ITEM_BYTES: u64 = 2 << 30;

const CRC_AT: usize = 0;
const TOTAL_AT: usize = CRC_AT + 4;
const PIECE_AT: usize = TOTAL_AT + 8;
/// How much of an item is in one value.
pub(super) const PIECE_BYTES: usize = VALUE_BYTES - PIECE_AT;

/// Roots come before parts, because parts are appended: sled fills its rightmost leaf, and halves the others.
const ROOT: u8 = 1;
const PART: u8 = 2;
const ROOT_KEY_BYTES: usize = 1 + 8 + 4;
const PART_KEY_BYTES: usize = 1 + 8 + 8 + 4;

/// What is stored in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// The root of a batch.
    Root(Seq),
    /// A part.
    Part(PartKey),
}

impl Item {
    /// The key of one of its chunks.
    #[expect(clippy::big_endian_bytes, reason = "sled orders keys as bytes")]
    pub(super) fn key(self, chunk: u32) -> Vec<u8> {
        let mut key = Vec::with_capacity(PART_KEY_BYTES);
        match self {
            Self::Root(seq) => {
                key.push(ROOT);
                key.extend_from_slice(&seq.get().to_be_bytes());
            }
            Self::Part(part) => {
                key.push(PART);
                key.extend_from_slice(&part.changed_at.get().to_be_bytes());
                key.extend_from_slice(&part.page.get().to_be_bytes());
            }
        }
        key.extend_from_slice(&chunk.to_be_bytes());
        key
    }

    /// What a key stands for.
    #[expect(clippy::big_endian_bytes, reason = "sled orders keys as bytes")]
    pub(super) fn parse(key: &[u8]) -> io::Result<(Self, u32)> {
        let number = |at: usize| u64::from_be_bytes(array(&key[at..]));
        let item = match (key.first(), key.len()) {
            (Some(&ROOT), ROOT_KEY_BYTES) => Self::Root(Seq::new(number(1))),
            (Some(&PART), PART_KEY_BYTES) => {
                Self::Part(PartKey { changed_at: Seq::new(number(1)), page: PageNo::new(number(9)) })
            }
            _ => {
                return Err(invalid(format!(
                    "a key of {} bytes that is neither a part's nor a root's",
                    key.len()
                )));
            }
        };
        Ok((item, u32::from_be_bytes(array(&key[key.len() - 4..]))))
    }

    /// The keys of all of its chunks lie from the first of these to the second, both included.
    pub(super) fn bounds(self) -> (Vec<u8>, Vec<u8>) {
        (self.key(0), self.key(u32::MAX))
    }

    /// The values that hold `bytes`, in order. There is always at least one.
    ///
    /// # Errors
    /// If that is too much for one item.
    pub(super) fn values(
        self,
        owner: StoreId,
        bytes: &[u8],
    ) -> io::Result<impl Iterator<Item = (Vec<u8>, Vec<u8>)>> {
        let total = bytes.len() as u64;
        if total > ITEM_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{self}: {total} bytes are more than {ITEM_BYTES}"),
            ));
        }
        Ok((0..chunk_count(total)).map(move |chunk| {
            let from = chunk as usize * PIECE_BYTES;
            let piece = &bytes[from..bytes.len().min(from + PIECE_BYTES)];
            let key = self.key(chunk);
            let mut value = Vec::with_capacity(PIECE_AT + piece.len());
            value.extend_from_slice(&crc(owner, &key, total, piece).to_le_bytes());
            value.extend_from_slice(&total.to_le_bytes());
            value.extend_from_slice(piece);
            (key, value)
        }))
    }

    /// How many chunks there are, as one of them says.
    ///
    /// # Errors
    /// If the value does not check out.
    pub(super) fn count_in(self, owner: StoreId, chunk: u32, value: &[u8]) -> io::Result<u32> {
        self.check(owner, chunk, value).map(|(total, _)| chunk_count(total))
    }

    /// Puts the item together from its values. Never takes more memory than the values that are really there.
    ///
    /// # Errors
    /// `NotFound` if nothing of it is there, `InvalidData` if it does not check out, or what `get` says.
    pub(super) fn assemble<V: AsRef<[u8]>>(
        self,
        owner: StoreId,
        mut get: impl FnMut(u32) -> io::Result<Option<V>>,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut expected = None;
        let mut chunk = 0;
        loop {
            let Some(value) = get(chunk)? else {
                let kind = if chunk == 0 { io::ErrorKind::NotFound } else { io::ErrorKind::InvalidData };
                return Err(io::Error::new(kind, format!("{self}, chunk {chunk}: it is missing")));
            };
            let (total, piece) = self.check(owner, chunk, value.as_ref())?;
            if *expected.get_or_insert(total) != total {
                return Err(self.bad(chunk, "its neighbours are of another length"));
            }
            if chunk == 0 && chunk_count(total) > 1 {
                // Twice what is there, at most: a second piece is no longer than the first.
                bytes.reserve_exact(piece.len() * 2);
            }
            bytes.extend_from_slice(piece);
            chunk += 1;
            if chunk == chunk_count(total) {
                return Ok(bytes);
            }
        }
    }

    /// The length of the whole item, and the piece of it that is in a value.
    fn check(self, owner: StoreId, chunk: u32, value: &[u8]) -> io::Result<(u64, &[u8])> {
        let Some((head, piece)) = value.split_at_checked(PIECE_AT) else {
            return Err(self.bad(chunk, "it is cut short"));
        };
        let total = u64::from_le_bytes(array(&head[TOTAL_AT..]));
        if u32::from_le_bytes(array(&head[CRC_AT..])) != crc(owner, &self.key(chunk), total, piece) {
            return Err(self.bad(chunk, "its checksum is wrong"));
        }
        let rest = total.saturating_sub(u64::from(chunk) * PIECE_BYTES as u64);
        let fits = total <= ITEM_BYTES
            && chunk < chunk_count(total)
            && piece.len() as u64 == rest.min(PIECE_BYTES as u64);
        if fits { Ok((total, piece)) } else { Err(self.bad(chunk, "its length is wrong")) }
    }

    fn bad(self, chunk: u32, why: &str) -> io::Error {
        invalid(format!("{self}, chunk {chunk}: {why}"))
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(seq) => write!(f, "root of batch {seq}"),
            Self::Part(part) => write!(f, "page {} as of batch {}", part.page, part.changed_at),
        }
    }
}

/// How many chunks an item of that length has. An empty one has one, so that it is there.
fn chunk_count(total: u64) -> u32 {
    let count = total.div_ceil(PIECE_BYTES as u64).max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn crc(owner: StoreId, key: &[u8], total: u64, piece: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(owner.bytes());
    hasher.update(key);
    hasher.update(&total.to_le_bytes());
    hasher.update(piece);
    hasher.finalize()
}

/// The first bytes of a slice that is known to be long enough.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Any bytes as the values of an item, cut in pieces of the length that the first byte says, with checksums put right if
/// asked: for fuzzing.
#[cfg(feature = "sim")]
pub(super) fn fuzz(bytes: &[u8], mend: bool) {
    let Some((&cut, rest)) = bytes.split_first() else { return };
    let owner = StoreId::new([5; 16]);
    let item = Item::Part(PartKey { changed_at: Seq::new(3), page: PageNo::new(4) });
    let mut values: Vec<Vec<u8>> = rest.chunks(usize::from(cut).max(1)).map(<[u8]>::to_vec).collect();
    for (chunk, value) in values.iter_mut().enumerate().filter(|(_, value)| mend && value.len() >= PIECE_AT) {
        let (head, piece) = value.split_at(PIECE_AT);
        let key = item.key(u32::try_from(chunk).unwrap_or(u32::MAX));
        let crc = crc(owner, &key, u64::from_le_bytes(array(&head[TOTAL_AT..])), piece);
        value[CRC_AT..TOTAL_AT].copy_from_slice(&crc.to_le_bytes());
    }
    let _ = Item::parse(rest);
    let found = item.assemble(owner, |chunk| Ok(values.get(chunk as usize).cloned()));
    if let Ok(found) = found {
        let again = item.values(owner, &found).expect("what was put together is not too much");
        let same = again.zip(&values).all(|((_, again), value)| again == *value);
        assert!(same, "what was put together is taken apart the same way");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const OWNER: StoreId = StoreId::new([7; 16]);

    type Values = BTreeMap<u32, Vec<u8>>;

    fn part(changed_at: u64, page: u64) -> Item {
        Item::Part(PartKey { changed_at: Seq::new(changed_at), page: PageNo::new(page) })
    }

    fn stored(item: Item, bytes: &[u8]) -> Values {
        item.values(OWNER, bytes).unwrap().map(|(key, value)| (Item::parse(&key).unwrap().1, value)).collect()
    }

    fn read(item: Item, values: &Values) -> io::Result<Vec<u8>> {
        item.assemble(OWNER, |chunk| Ok(values.get(&chunk)))
    }

    #[test]
    fn keys_are_ordered_like_items() {
        let items = [
            Item::Root(Seq::new(1)),
            Item::Root(Seq::new(300)),
            part(0, 9),
            part(1, 0),
            part(1, 256),
            part(256, 1),
        ];
        let keys: Vec<_> = items.iter().flat_map(|item| [item.key(0), item.key(300)]).collect();
        assert!(keys.is_sorted());
        for item in items {
            assert_eq!(Item::parse(&item.key(70_000)).unwrap(), (item, 70_000));
        }
        for key in [&b""[..], &[3; 13], &[ROOT; 12], &[PART; 22]] {
            assert_eq!(Item::parse(key).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn golden_value() {
        let (key, value) = part(0x0102, 0x0304).values(OWNER, b"abc").unwrap().next().unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&key), "020000000000000102000000000000030400000000");
        assert_eq!(
            hex(&value),
            format!("{:08x}0300000000000000616263", crc(OWNER, &key, 3, b"abc").swap_bytes())
        );
    }

    #[test]
    fn every_length_comes_back_and_no_value_is_too_long() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let values = stored(part(3, 4), &bytes);
            assert!(values.values().all(|value| value.len() <= VALUE_BYTES));
            assert_eq!(read(part(3, 4), &values).unwrap(), bytes);
        }
    }

    #[test]
    fn whatever_is_wrong_is_noticed() {
        let item = part(3, 4);
        let good = stored(item, &[5; 40_000]);
        let kind_after = |change: &dyn Fn(&mut Values)| {
            let mut values = good.clone();
            change(&mut values);
            read(item, &values).unwrap_err().kind()
        };
        assert_eq!(kind_after(&|values| values.clear()), io::ErrorKind::NotFound);
        assert_eq!(kind_after(&|values| drop(values.remove(&2))), io::ErrorKind::InvalidData);
        for at in [0, 5, 12, 500] {
            assert_eq!(
                kind_after(&|values| values.get_mut(&1).unwrap()[at] ^= 1),
                io::ErrorKind::InvalidData
            );
        }
        for length in [0, 11, 12, 13] {
            assert_eq!(
                kind_after(&|values| values.get_mut(&1).unwrap().truncate(length)),
                io::ErrorKind::InvalidData
            );
        }
        // Sound values of another place, owner or length.
        let swapped = |values: &mut Values| {
            let other = values[&0].clone();
            values.insert(1, other);
        };
        assert_eq!(kind_after(&swapped), io::ErrorKind::InvalidData);
        let shorter = stored(item, &[5; 33_000]);
        let mixed = |values: &mut Values| drop(values.insert(1, shorter[&1].clone()));
        assert_eq!(kind_after(&mixed), io::ErrorKind::InvalidData);
        item.assemble(StoreId::new([8; 16]), |chunk| Ok(good.get(&chunk))).unwrap_err();
        part(3, 5).assemble(OWNER, |chunk| Ok(good.get(&chunk))).unwrap_err();
    }

    #[test]
    fn a_huge_length_is_refused_although_its_checksum_is_right() {
        let item = part(3, 4);
        for total in [ITEM_BYTES + 1, u64::MAX] {
            let piece = [0; PIECE_BYTES];
            let mut value = crc(OWNER, &item.key(0), total, &piece).to_le_bytes().to_vec();
            value.extend_from_slice(&total.to_le_bytes());
            value.extend_from_slice(&piece);
            let error = item.assemble(OWNER, |_| Ok(Some(&value))).unwrap_err();
            assert!(error.to_string().contains("page 4 as of batch 3, chunk 0"), "{error}");
        }
    }
}
