//! A node: entries, most of them with the field names of the first one, packed one behind the other.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::listpack;
use crate::fields::{Fields, PackedFields, put_bytes, put_varint, take_bytes, take_varint, varint_bytes};
use crate::id::EntryId;

/// Entries that are stored, trimmed and forgotten together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Node {
    /// The id of the entry that opened it, deleted or not: the others count from it.
    pub(super) master_id: EntryId,
    /// The id of its last entry, deleted or not. Below the next node's first one: XSETID may have put the last id given
    /// out back below entries that were deleted.
    pub(super) last_id: EntryId,
    pub(super) live: u32,
    pub(super) deleted: u32,
    /// How many bytes Redis would need for it.
    pub(super) redis_bytes: u64,
    /// Where in `packed` the entries begin, after the shared field names.
    pub(super) entries_at: u32,
    #[serde(with = "super::in_one_piece")]
    pub(super) packed: Vec<u8>,
}

const DELETED: u8 = 1;
/// Its names are those of the first entry, and left out.
const SAME_FIELDS: u8 = 2;
/// Its id is the one right after that of the entry before it, and left out.
const NEXT_ID: u8 = 4;
/// Its one value goes to its end, and the value's length is left out.
const ONE_VALUE: u8 = 8;

/// An entry inside a node's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedEntry<'a> {
    pub(super) id: EntryId,
    flags: u8,
    /// Where these are.
    flags_at: usize,
    pub(super) body: &'a [u8],
}

impl PackedEntry<'_> {
    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }
}

impl Node {
    pub(super) fn weight(&self) -> usize {
        self.packed.len() + size_of::<Self>()
    }

    /// `bytes`: so large it will probably be.
    pub(super) fn open(id: EntryId, fields: PackedFields<'_>, bytes: usize) -> Self {
        let mut packed = Vec::with_capacity(bytes + bytes / 8);
        put_varint(&mut packed, fields.len() as u64);
        let mut redis_bytes = listpack::EMPTY_BYTES
            + listpack::integer_bytes(0) // live entries
            + listpack::integer_bytes(0) // deleted entries
            + listpack::integer_bytes(fields.len() as i64)
            + listpack::integer_bytes(0); // end of the master entry
        for (name, _) in fields {
            put_bytes(&mut packed, name);
            redis_bytes += listpack::string_bytes(name);
        }
        let entries_at = packed.len() as u32;
        let mut node =
            Self { master_id: id, last_id: id, live: 0, deleted: 0, redis_bytes, entries_at, packed };
        node.append(id, None, fields);
        node
    }

    /// `before`: the id of its last entry, deleted or not.
    pub(super) fn append(&mut self, id: EntryId, before: Option<EntryId>, fields: PackedFields<'_>) {
        /// The flags and both parts of an id take no more.
        const HEAD_BYTES_MAX: usize = 21;
        // Its length comes before it. For most entries that is one byte, whatever is left out of them.
        let is_short = fields.bytes().len() + HEAD_BYTES_MAX < 0x80;
        let at = self.packed.len();
        self.packed.extend(is_short.then_some(0));
        let start = self.packed.len();
        self.put_entry(id, before, fields);
        let end = self.packed.len();
        if is_short {
            self.packed[at] = (end - start) as u8;
        } else {
            put_varint(&mut self.packed, (end - start) as u64);
            let length_bytes = self.packed.len() - end;
            self.packed[at..].rotate_right(length_bytes);
        }
        self.last_id = id;
        self.recount(1, 0);
    }

    /// Writes an entry to the end, without its length.
    fn put_entry(&mut self, id: EntryId, before: Option<EntryId>, fields: PackedFields<'_>) {
        let master = &self.packed[..self.entries_at as usize];
        // One pair is its name as the master has it, and its value.
        let rest = (fields.len() == 1).then(|| fields.bytes().strip_prefix(master)).flatten();
        let one_value = rest.and_then(|mut rest| take_bytes(&mut rest));
        let same = one_value.is_some() || self.master_names().eq(fields.iter().map(|(name, _)| name));
        let is_next = before.is_some_and(|before| before.successor() == Some(id));
        let ms_delta = id.ms.wrapping_sub(self.master_id.ms);
        let seq_delta = id.seq.wrapping_sub(self.master_id.seq) as i64;
        let redis_flags = if same { SAME_FIELDS } else { 0 };
        let next = if is_next { NEXT_ID } else { 0 };
        let one = if one_value.is_some() { ONE_VALUE } else { 0 };
        self.packed.push(redis_flags | next | one);
        if !is_next {
            put_varint(&mut self.packed, ms_delta);
            put_varint(&mut self.packed, zigzag(seq_delta));
        }
        let pairs = fields.len() as i64;
        let elements = if same { pairs + 3 } else { pairs * 2 + 4 };
        self.redis_bytes += listpack::integer_bytes(i64::from(redis_flags))
            + listpack::integer_bytes(ms_delta as i64)
            + listpack::integer_bytes(seq_delta)
            + listpack::integer_bytes(elements);
        if let Some(value) = one_value {
            self.packed.extend_from_slice(value);
            self.redis_bytes += listpack::string_bytes(value);
        } else if same {
            for (_, value) in fields {
                put_bytes(&mut self.packed, value);
                self.redis_bytes += listpack::string_bytes(value);
            }
        } else {
            self.packed.extend_from_slice(fields.bytes());
            self.redis_bytes += listpack::integer_bytes(pairs);
            for (name, value) in fields {
                self.redis_bytes += listpack::string_bytes(name) + listpack::string_bytes(value);
            }
        }
    }

    /// Changes the two counts, whose size Redis counts too.
    fn recount(&mut self, added: u32, deleted: u32) {
        let bytes = |node: &Self| {
            listpack::integer_bytes(i64::from(node.live)) + listpack::integer_bytes(i64::from(node.deleted))
        };
        let before = bytes(self);
        self.live = self.live + added - deleted;
        self.deleted += deleted;
        self.redis_bytes = self.redis_bytes - before + bytes(self);
    }

    /// Marks live entries as deleted; answers how many.
    pub(super) fn delete_where(&mut self, which: impl Fn(EntryId) -> bool) -> u32 {
        let wanted = self.entries().filter(|entry| !entry.is_deleted() && which(entry.id));
        let flags: Vec<usize> = wanted.map(|entry| entry.flags_at).collect();
        for &at in &flags {
            self.packed[at] |= DELETED;
        }
        self.recount(0, flags.len() as u32);
        flags.len() as u32
    }

    fn master_names(&self) -> impl Iterator<Item = &[u8]> {
        let mut cursor = &self.packed[..self.entries_at as usize];
        let count = take_varint(&mut cursor).unwrap_or(0);
        (0..count).map_while(move |_| take_bytes(&mut cursor))
    }

    pub(super) fn entries(&self) -> Walk<'_> {
        let cursor = &self.packed[self.entries_at as usize..];
        Walk { cursor, end: self.packed.len(), master_id: self.master_id, before: EntryId::MIN }
    }

    /// The entries that were not deleted, ascending. The deleted ones between them need not be in order.
    pub(super) fn live(&self) -> impl Iterator<Item = PackedEntry<'_>> {
        self.entries().filter(|entry| !entry.is_deleted())
    }

    /// Those of them from an id on.
    pub(super) fn live_from(&self, first: EntryId) -> impl Iterator<Item = PackedEntry<'_>> {
        let mut walk = self.entries();
        let found = walk.find(|entry| entry.id >= first && !entry.is_deleted());
        found.into_iter().chain(walk.filter(|entry| !entry.is_deleted()))
    }

    pub(super) fn fields(&self, entry: &PackedEntry<'_>) -> Fields {
        Fields::from_trusted(self.packed_fields(entry))
    }

    /// Whether the bytes are what this module makes.
    pub(super) fn is_well_formed(&self) -> bool {
        self.entries_at as usize <= self.packed.len()
            && self.live().all(|entry| Fields::from_packed(self.packed_fields(&entry)).is_some())
    }

    fn packed_fields(&self, entry: &PackedEntry<'_>) -> Bytes {
        if entry.flags & SAME_FIELDS == 0 {
            return Bytes::copy_from_slice(entry.body);
        }
        let mut names = &self.packed[..self.entries_at as usize];
        if entry.flags & ONE_VALUE != 0 {
            // What the master has is one name, behind the number of names.
            let length_bytes = varint_bytes(entry.body.len());
            let mut packed = Vec::with_capacity(names.len() + length_bytes + entry.body.len());
            packed.extend_from_slice(names);
            put_bytes(&mut packed, entry.body);
            return packed.into();
        }
        let mut packed = Vec::with_capacity(self.entries_at as usize + entry.body.len());
        put_varint(&mut packed, take_varint(&mut names).unwrap_or(0));
        let mut values = entry.body;
        while let (Some(name), Some(value)) = (take_bytes(&mut names), take_bytes(&mut values)) {
            put_bytes(&mut packed, name);
            put_bytes(&mut packed, value);
        }
        packed.into()
    }
}

/// A walk over a node's entries, deleted or not.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    /// What is left of the node's bytes.
    cursor: &'a [u8],
    /// Where they end.
    end: usize,
    master_id: EntryId,
    /// The id of the entry before.
    before: EntryId,
}

impl<'a> Iterator for Walk<'a> {
    type Item = PackedEntry<'a>;

    // Whoever looks for an id passes dozens of entries over, and needs nothing of them but their ids.
    #[inline(always)]
    fn next(&mut self) -> Option<PackedEntry<'a>> {
        let entry = take_bytes(&mut self.cursor)?;
        let flags_at = self.end - self.cursor.len() - entry.len();
        let (&flags, mut body) = entry.split_first()?;
        let id = if flags & NEXT_ID != 0 {
            self.before.successor()?
        } else {
            let ms = self.master_id.ms.wrapping_add(take_varint(&mut body)?);
            let seq = self.master_id.seq.wrapping_add(unzigzag(take_varint(&mut body)?) as u64);
            EntryId { ms, seq }
        };
        self.before = id;
        Some(PackedEntry { id, flags, flags_at, body })
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_is_its_own_way_back() {
        for value in [0, 1, -1, 2, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }
}
