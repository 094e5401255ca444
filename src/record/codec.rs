//! Batches as bytes: the number of records, then each record in bincode's standard encoding (little endian,
//! variable-length integers, the variant's tag first).

use std::fmt;

use super::{Record, StreamAt};
use crate::id::{DbNo, EntryId, StreamNo};

/// The encoding of every record, for ever: bincode 2 "standard".
const CONFIG: bincode::config::Configuration = bincode::config::standard();

/// The facts of one command or transaction while they are collected: whole in the log or not at all (I3).
#[derive(Clone, Debug, Default)]
pub struct BatchBytes {
    bytes: Vec<u8>,
    record_count: u32,
}

/// Bytes at the head of a batch that count its records.
const COUNT_BYTES: usize = size_of::<u32>();

impl BatchBytes {
    /// Whether there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// How long the batch is in the log.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a record.
    ///
    /// # Panics
    /// Never: encoding into memory has no way to fail for these types.
    pub fn push(&mut self, record: &Record<'_>) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; COUNT_BYTES]);
        }
        bincode::serde::encode_into_std_write(record, &mut self.bytes, CONFIG)
            .expect("a record is always encodable into memory");
        self.record_count += 1;
        self.bytes[..COUNT_BYTES].copy_from_slice(&self.record_count.to_le_bytes());
    }

    /// The batch as it goes into the log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties it, keeping the memory up to a bound.
    pub fn clear(&mut self) {
        const KEEP_BYTES: usize = 64 * 1024;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.record_count = 0;
    }

    /// Takes out what was pushed after the batch had `len` bytes and `record_count` records.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.len);
        self.record_count = mark.record_count;
        if !self.bytes.is_empty() {
            self.bytes[..COUNT_BYTES].copy_from_slice(&self.record_count.to_le_bytes());
        }
    }

    /// Where the batch ends now.
    pub fn mark(&self) -> Mark {
        Mark { len: self.bytes.len(), record_count: self.record_count }
    }

    /// The records after a mark, decoded from their bytes.
    pub fn since(&self, mark: Mark) -> Records<'_> {
        Records {
            bytes: &self.bytes[mark.len.max(COUNT_BYTES)..],
            left: self.record_count - mark.record_count,
        }
    }
}

/// A position in a batch under construction.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    record_count: u32,
}

/// Reads the records of a batch.
///
/// # Errors
/// If the bytes don't even hold the count.
pub fn records(batch: &[u8]) -> Result<Records<'_>, Malformed> {
    let Some((count, bytes)) = batch.split_first_chunk::<COUNT_BYTES>() else {
        return Err(Malformed("a batch is shorter than its record count".into()));
    };
    Ok(Records { bytes, left: u32::from_le_bytes(*count) })
}

/// Iterator over the records of a batch; ends with an error unless the bytes end with the last record.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let rest = std::mem::take(&mut self.bytes);
            return (!rest.is_empty())
                .then(|| Err(Malformed(format!("{} bytes after the last record", rest.len()))));
        }
        if let Some((SingleEntry { stream, id, opens_node, fields }, rest)) = entry_added(self.bytes) {
            self.left -= 1;
            self.bytes = rest;
            return Some(Ok(Record::EntryAdded { stream, id, opens_node, fields: fields.into() }));
        }
        // Borrowed decoding allocates only for lists of ids and rows, and those can't be longer than the bytes left:
        // serde asks for at most 4096 elements ahead.
        match bincode::serde::borrow_decode_from_slice(self.bytes, CONFIG) {
            Ok((record, used)) => {
                self.left -= 1;
                self.bytes = &self.bytes[used..];
                Some(Ok(record))
            }
            Err(error) => {
                self.left = 0;
                self.bytes = &[];
                Some(Err(Malformed(format!("a record can't be decoded: {error}"))))
            }
        }
    }
}

/// The one record of a batch that is an entry and nothing else: a [`Record::EntryAdded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleEntry<'a> {
    /// The stream.
    pub stream: StreamAt,
    /// The entry's id.
    pub id: EntryId,
    /// Whether it opens a new node.
    pub opens_node: bool,
    /// Its pairs, packed.
    pub fields: &'a [u8],
}

/// The entry that a batch consists of; `None` if it consists of anything else.
pub fn single_entry(batch: &[u8]) -> Option<SingleEntry<'_>> {
    let (count, bytes) = batch.split_first_chunk::<COUNT_BYTES>()?;
    let (entry, rest) = entry_added(bytes).filter(|_| u32::from_le_bytes(*count) == 1)?;
    rest.is_empty().then_some(entry)
}

/// The tag of [`Record::EntryAdded`].
const ENTRY_ADDED: u8 = 2;

/// Decodes an entry, and says what follows it. Most of a log is entries, and this takes a fraction of the time of the
/// general way; whatever is not one is left to that, with its errors.
fn entry_added(bytes: &[u8]) -> Option<(SingleEntry<'_>, &[u8])> {
    let (&ENTRY_ADDED, mut rest) = bytes.split_first()? else { return None };
    let mut number = || take_number(&mut rest);
    let stream = StreamAt { db: DbNo::new(number()?), no: StreamNo::new(number()?) };
    let id = EntryId { ms: number()?, seq: number()? };
    let (&opens_node, mut rest) = rest.split_first()?;
    let length = usize::try_from(take_number(&mut rest)?).ok()?;
    let (fields, rest) = rest.split_at_checked(length)?;
    let opens_node = match opens_node {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some((SingleEntry { stream, id, opens_node, fields }, rest))
}

/// Takes a number off the front, in bincode's variable-length encoding.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    const TWO_BYTES: u8 = 251;
    const FOUR_BYTES: u8 = 252;
    const EIGHT_BYTES: u8 = 253;
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    match first {
        TWO_BYTES => take_array(bytes).map(|raw| u16::from_le_bytes(raw).into()),
        FOUR_BYTES => take_array(bytes).map(|raw| u32::from_le_bytes(raw).into()),
        EIGHT_BYTES => take_array(bytes).map(u64::from_le_bytes),
        small if small < TWO_BYTES => Some(small.into()),
        _ => None,
    }
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (raw, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*raw)
}

/// Bytes that are no batch, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::super::{Blob, ClaimedRow, Cursor, DedupConfig, GroupAt, ReleasedRow};
    use super::*;
    use crate::id::ConsumerNo;

    /// One record of each kind. A new variant belongs here too: `docs/format.md` and the golden bytes follow.
    pub(crate) fn one_of_each() -> Vec<Record<'static>> {
        let stream = StreamAt { db: DbNo::new(3), no: StreamNo::new(300) };
        let group = GroupAt { stream, name: Blob::from(&b"g"[..]) };
        let cursor = Cursor { last_delivered_id: EntryId::new(7, 1), entries_read: Some(9) };
        let consumer = ConsumerNo::new(5);
        let id = EntryId::new(1_526_919_030_474, 55);
        vec![
            Record::StreamCreated { stream, name: Blob::from(&b"orders"[..]) },
            Record::StreamDeleted { stream },
            Record::EntryAdded { stream, id, opens_node: true, fields: Blob::from(&b"\x01\x01f\x01v"[..]) },
            Record::EntriesTrimmed { stream, through: id, removed: 3 },
            Record::EntriesDeleted { stream, ids: vec![id] },
            Record::IdsSet { stream, last_id: id, entries_added: 70_000, max_deleted_id: EntryId::MIN },
            Record::GroupCreated { group: group.clone(), cursor },
            Record::GroupMoved { group: group.clone(), cursor: Cursor { entries_read: None, ..cursor } },
            Record::GroupDestroyed { group: group.clone() },
            Record::ConsumerCreated { group: group.clone(), consumer, name: Blob::from(&b"c"[..]), at_ms: 1 },
            Record::ConsumerRemoved { group: group.clone(), consumer },
            Record::Delivered { group: group.clone(), consumer, at_ms: 2, ids: vec![id], cursor },
            Record::Claimed {
                group: group.clone(),
                consumer,
                rows: vec![ClaimedRow { id, delivered_ms: 1_700_000_000_000, delivery_count: 4 }],
                active_ms: Some(1_700_000_000_001),
            },
            Record::Acknowledged { group: group.clone(), ids: vec![id, EntryId::MAX] },
            Record::DatabaseFlushed { db: DbNo::new(2) },
            Record::DedupConfigured { stream, config: DedupConfig { duration_secs: 86_400, maxsize: 7 } },
            Record::DedupRemembered {
                stream,
                producer: Blob::from(&b"p"[..]),
                iid: Blob::from(&b"i"[..]),
                id,
                at_ms: 3,
                counted: true,
            },
            Record::DuplicateRefused { stream },
            Record::Released { group, rows: vec![ReleasedRow { id, delivery_count: u64::MAX }] },
            Record::ExpirySet { stream, at_ms: Some(1_700_000_000_002) },
            Record::StreamRenamed { stream, name: Blob::from(&b"bills"[..]) },
            Record::StreamMoved { stream, to: DbNo::new(1) },
            Record::StreamCopied {
                from: stream,
                to: StreamAt { db: DbNo::new(1), no: StreamNo::new(301) },
                name: Blob::from(&b"copy"[..]),
            },
            Record::DatabasesSwapped { one: DbNo::new(0), other: DbNo::new(1) },
        ]
    }

    #[test]
    fn every_kind_of_record_comes_back() {
        let mut batch = BatchBytes::default();
        for record in one_of_each() {
            batch.push(&record);
        }
        let decoded: Result<Vec<_>, _> = records(batch.bytes()).unwrap().collect();
        assert_eq!(decoded.unwrap(), one_of_each());
    }

    #[test]
    fn a_batch_that_is_cut_anywhere_or_too_long_is_malformed() {
        let mut batch = BatchBytes::default();
        for record in one_of_each() {
            batch.push(&record);
        }
        for len in 0..batch.len() {
            let cut = &batch.bytes()[..len];
            assert!(records(cut).and_then(Iterator::collect::<Result<Vec<_>, _>>).is_err(), "cut at {len}");
        }
        let longer = [batch.bytes(), &[0]].concat();
        assert!(records(&longer).unwrap().collect::<Result<Vec<_>, _>>().is_err());
    }

    /// Entries are decoded in a way of their own, which must be the general one.
    #[test]
    fn an_entry_is_decoded_as_any_record_is() {
        fn general(bytes: &[u8]) -> Result<(Record<'_>, usize), bincode::error::DecodeError> {
            bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
        }
        fn as_record(SingleEntry { stream, id, opens_node, fields }: SingleEntry<'_>) -> Record<'_> {
            Record::EntryAdded { stream, id, opens_node, fields: Blob::from(fields) }
        }
        let numbers = [0, 1, 250, 251, 300, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX];
        for (at, &number) in numbers.iter().enumerate() {
            let other = numbers[(at + 3) % numbers.len()];
            let long = vec![7; usize::try_from(number).unwrap_or(0).min(70_000)];
            let record = Record::EntryAdded {
                stream: StreamAt { db: DbNo::new(other), no: StreamNo::new(number) },
                id: EntryId::new(number, other),
                opens_node: at % 2 == 0,
                fields: Blob::from(&long[..]),
            };
            let mut batch = BatchBytes::default();
            batch.push(&record);
            assert_eq!(single_entry(batch.bytes()).map(as_record), Some(record.clone()));
            let bytes = &batch.bytes()[COUNT_BYTES..];
            for len in (0..bytes.len()).rev().take(40).chain(0..bytes.len().min(40)) {
                assert!(entry_added(&bytes[..len]).is_none() && general(&bytes[..len]).is_err(), "{len}");
            }
            for at in 0..bytes.len().min(40) {
                for bit in 0..8 {
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= 1 << bit;
                    if let Some((entry, rest)) = entry_added(&bytes) {
                        let (same, used) = general(&bytes).unwrap();
                        assert_eq!((as_record(entry), rest), (same, &bytes[used..]));
                    }
                }
            }
        }
        let mut two = BatchBytes::default();
        one_of_each()[2..4].iter().for_each(|record| two.push(record));
        assert_eq!(single_entry(two.bytes()), None);
    }

    /// The bytes of format 0, one record of each kind a line. They may change until the format becomes 1; then
    /// never. `CLAIMLOG_BLESS=1 cargo test golden` writes them anew.
    #[test]
    fn golden_bytes_of_each_record() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/records-0.hex");
        let mut lines = String::new();
        for record in one_of_each() {
            let mut batch = BatchBytes::default();
            batch.push(&record);
            let name = format!("{record:?}");
            let name = name.split([' ', '{']).next().unwrap();
            let hex: Vec<String> = batch.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            lines += &format!("{name} {}\n", hex.join(" "));
        }
        if std::env::var_os("CLAIMLOG_BLESS").is_some() {
            std::fs::write(path, &lines).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            lines,
            "see docs/format.md before changing the format"
        );
    }

    /// The document, the declaration and the examples above agree on the kinds of records and on their tags.
    #[test]
    fn docs_name_every_record_and_its_tag() {
        let declaration = include_str!("mod.rs").split("pub enum Record<'a> {").nth(1).unwrap();
        let declared = declaration.split("\n}\n").next().unwrap().lines().filter_map(|line| {
            let name = line.strip_prefix("    ")?.strip_suffix(" {")?;
            name.starts_with(|first: char| first.is_ascii_uppercase()).then_some(name)
        });
        let document = include_str!("../../docs/format.md");
        let mut examples = one_of_each().into_iter();
        for (tag, name) in declared.enumerate() {
            let example = examples.next().expect("every kind of record has an example");
            assert!(format!("{example:?}").starts_with(&format!("{name} {{")), "{example:?} is no {name}");
            let mut batch = BatchBytes::default();
            batch.push(&example);
            assert_eq!(usize::from(batch.bytes()[COUNT_BYTES]), tag, "{name}");
            assert!(
                document.contains(&format!("| {tag} | `{name}` |")),
                "docs/format.md lacks {tag}, {name}"
            );
        }
        assert_eq!(examples.next(), None);
    }

    #[test]
    fn a_mark_takes_records_out_again() {
        let mut batch = BatchBytes::default();
        let all = one_of_each();
        batch.push(&all[0]);
        let mark = batch.mark();
        batch.push(&all[1]);
        assert_eq!(batch.since(mark).collect::<Result<Vec<_>, _>>().unwrap(), all[1..2]);
        batch.truncate(mark);
        assert_eq!(records(batch.bytes()).unwrap().count(), 1);
    }
}
