//! The field-value pairs of an entry, packed into one run of bytes.
//!
//! The packed form is what the log, the pages of state and replies share: the number of pairs, then each
//! name and value as length and bytes, all numbers as LEB128 varints. Order and duplicates are kept.

use bytes::Bytes;

use crate::id::EntryId;

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its pairs.
    pub fields: Fields,
}

/// The field-value pairs of one entry, in the order they were given; names may repeat.
///
/// ```
/// use claimlog::Fields;
/// let fields = Fields::from_pairs([("sensor", "7"), ("celsius", "19.8")]);
/// assert_eq!(fields.len(), 2);
/// assert_eq!(fields.get("celsius"), Some(&b"19.8"[..]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fields {
    packed: Bytes,
}

impl Fields {
    /// Packs pairs of names and values.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut body = Vec::new();
        let mut pair_count = 0;
        for (name, value) in pairs {
            put_bytes(&mut body, name.as_ref());
            put_bytes(&mut body, value.as_ref());
            pair_count += 1;
        }
        Self::assemble(pair_count, &body)
    }

    /// Packs a flat list: name, value, name, value, ... A last name without a value is left out.
    pub fn from_flat<B: AsRef<[u8]>>(flat: &[B]) -> Self {
        let (pairs, _) = flat.as_chunks::<2>();
        let part_bytes = |part: &B| varint_bytes(part.as_ref().len()) + part.as_ref().len();
        // No more than that: what is left over would be given back by moving it.
        let mut packed = Vec::with_capacity(
            varint_bytes(pairs.len()) + pairs.iter().flatten().map(part_bytes).sum::<usize>(),
        );
        put_varint(&mut packed, pairs.len() as u64);
        for part in pairs.iter().flatten() {
            put_bytes(&mut packed, part.as_ref());
        }
        Self { packed: packed.into() }
    }

    fn assemble(pair_count: u64, body: &[u8]) -> Self {
        let mut packed = Vec::with_capacity(body.len() + 5);
        put_varint(&mut packed, pair_count);
        packed.extend_from_slice(body);
        Self { packed: packed.into() }
    }

    /// Takes packed bytes as they come from the log, if they are well formed to the last byte.
    pub(crate) fn from_packed(packed: Bytes) -> Option<Self> {
        PackedFields::new(&packed)?;
        Some(Self { packed })
    }

    /// Takes packed bytes that were made by this module.
    pub(crate) fn from_trusted(packed: Bytes) -> Self {
        debug_assert!(Self::from_packed(packed.clone()).is_some());
        Self { packed }
    }

    /// The packed form.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// The same, to read it.
    pub(crate) fn as_packed(&self) -> PackedFields<'_> {
        PackedFields(&self.packed)
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_packed().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs, in order.
    pub fn iter(&self) -> Pairs<'_> {
        self.as_packed().iter()
    }

    /// The value of the first pair with that name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name.as_ref()).map(|(_, value)| value)
    }

    /// Bytes of all names and values together, without any framing.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(n, v)| (n.escape_ascii().to_string(), v.escape_ascii().to_string())))
            .finish()
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

/// The packed form of [`Fields`], borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedFields<'a>(&'a [u8]);

impl<'a> PackedFields<'a> {
    /// Takes packed bytes as they come from the log, if they are well formed to the last byte.
    pub(crate) fn new(packed: &'a [u8]) -> Option<Self> {
        let mut cursor = packed;
        let pair_count = take_varint(&mut cursor)?;
        for _ in 0..pair_count {
            take_bytes(&mut cursor)?;
            take_bytes(&mut cursor)?;
        }
        cursor.is_empty().then_some(Self(packed))
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many pairs there are.
    pub(crate) fn len(self) -> usize {
        take_varint(&mut &*self.0).unwrap_or(0) as usize
    }

    /// The pairs, in order.
    pub(crate) fn iter(self) -> Pairs<'a> {
        let mut cursor = self.0;
        let left = take_varint(&mut cursor).unwrap_or(0);
        Pairs { cursor, left }
    }
}

impl<'a> IntoIterator for PackedFields<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

/// Iterator over the pairs of [`Fields`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    cursor: &'a [u8],
    left: u64,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some((take_bytes(&mut self.cursor)?, take_bytes(&mut self.cursor)?))
    }
}

/// How many bytes a number takes as a LEB128 varint.
pub(crate) fn varint_bytes(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a LEB128 varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a LEB128 varint off the front; `None` if it is cut short or longer than 64 bits.
#[inline]
pub(crate) fn take_varint(cursor: &mut &[u8]) -> Option<u64> {
    match cursor.split_first() {
        // Most numbers are small.
        Some((&byte, rest)) if byte < 0x80 => {
            *cursor = rest;
            Some(u64::from(byte))
        }
        _ => take_long_varint(cursor),
    }
}

fn take_long_varint(cursor: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = cursor.split_first()?;
        *cursor = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a length and bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a length and bytes off the front; `None` if they are not all there.
pub(crate) fn take_bytes<'a>(cursor: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(cursor)?).ok()?;
    let (bytes, rest) = cursor.split_at_checked(len)?;
    *cursor = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_in_order_with_duplicates() {
        let fields = Fields::from_flat(&["a", "1", "a", "2", "", ""]);
        let pairs: Vec<_> = fields.iter().collect();
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"a", b"2"), (b"", b"")]);
        assert_eq!(fields, Fields::from_pairs(pairs));
        assert_eq!(fields.content_bytes(), 4);
    }

    #[test]
    fn packed_bytes_that_are_cut_or_too_long_are_refused() {
        let fields = Fields::from_flat(&["field", "value"]);
        let packed = fields.packed().to_vec();
        for len in 0..packed.len() {
            assert!(Fields::from_packed(packed[..len].to_vec().into()).is_none());
        }
        let mut longer = packed.clone();
        longer.push(0);
        assert!(Fields::from_packed(longer.into()).is_none());
        assert_eq!(Fields::from_packed(packed.into()), Some(fields));
    }

    #[test]
    fn varints_hold_all_numbers() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(take_varint(&mut &out[..]), Some(value));
        }
        assert_eq!(take_varint(&mut &[0xff; 10][..]), None);
    }
}
