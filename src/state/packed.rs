//! Rows of numbers in few bytes: what leaves of the pending entries list and of its indexes are made of.
//!
//! Neighbouring rows have numbers that are much alike: ids of the same minute, deliveries of the same second. So each
//! column has a base, and its numbers are kept as what they are above that, in as many bytes as the largest of them
//! needs. All rows have the same length: a row is found by its place, and a key by halving.

/// Rows of `N` numbers.
#[derive(Clone, Debug)]
pub(super) struct Packed<const N: usize> {
    bases: [u64; N],
    /// How many bytes a number takes, 0 to 8, column by column.
    widths: [u8; N],
    count: u32,
    /// The rows, little-endian, and [`OVERHANG_BYTES`] behind them.
    bytes: Vec<u8>,
}

/// Numbers are read by eight bytes, whatever their width: there must be as many behind the last one.
const OVERHANG_BYTES: usize = 8;

/// The room that is made for rows to come is this part of what is there.
const SPARE_PART: usize = 8;

impl<const N: usize> Default for Packed<N> {
    fn default() -> Self {
        Self { bases: [0; N], widths: [0; N], count: 0, bytes: vec![0; OVERHANG_BYTES] }
    }
}

impl<const N: usize> Packed<N> {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// About how many bytes it takes in memory, beside itself.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn row_bytes(&self) -> usize {
        self.widths.iter().map(|width| usize::from(*width)).sum()
    }

    /// The number that lies there.
    fn number(&self, column: usize, byte_at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.bytes[byte_at..byte_at + 8]);
        let unused_bits = 64 - 8 * u32::from(self.widths[column]);
        let above = u64::from_le_bytes(bytes) & u64::MAX.checked_shr(unused_bits).unwrap_or(0);
        self.bases[column].wrapping_add(above)
    }

    /// The first `M` numbers of a row.
    fn prefix<const M: usize>(&self, at: usize) -> [u64; M] {
        let mut byte_at = at * self.row_bytes();
        let mut numbers = [0; M];
        for (column, number) in numbers.iter_mut().enumerate() {
            *number = self.number(column, byte_at);
            byte_at += usize::from(self.widths[column]);
        }
        numbers
    }

    /// A row; `None` behind the last one.
    pub(super) fn get(&self, at: usize) -> Option<[u64; N]> {
        (at < self.len()).then(|| self.prefix(at))
    }

    /// The first row.
    pub(super) fn first(&self) -> Option<[u64; N]> {
        self.get(0)
    }

    /// The last row.
    pub(super) fn last(&self) -> Option<[u64; N]> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All rows.
    pub(super) fn iter(&self) -> impl Iterator<Item = [u64; N]> {
        (0..self.len()).map(|at| self.prefix(at))
    }

    /// All rows, with room for one more.
    fn unpack(&self) -> Vec<[u64; N]> {
        let mut rows = Vec::with_capacity(self.len() + 1);
        rows.extend(self.iter());
        rows
    }

    /// Where among sorted rows the one is that begins with these numbers; or where it would be.
    pub(super) fn find<const M: usize>(&self, key: &[u64; M]) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.len());
        // Most lists are appended to: look at the end first.
        let mut middle = to.saturating_sub(1);
        while from < to {
            match self.prefix::<M>(middle).cmp(key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => to = middle,
            }
            middle = from.midpoint(to);
        }
        Err(from)
    }

    /// Whether a row can be written down as rows are now.
    fn fits(&self, row: &[u64; N]) -> bool {
        let fits = |column: usize| {
            let above = row[column].checked_sub(self.bases[column]);
            above.is_some_and(|above| bytes_for(above) <= self.widths[column])
        };
        (0..N).all(fits)
    }

    fn write(&mut self, at: usize, row: &[u64; N]) {
        let mut byte_at = at * self.row_bytes();
        for (column, number) in row.iter().enumerate() {
            let width = usize::from(self.widths[column]);
            let above = number.wrapping_sub(self.bases[column]).to_le_bytes();
            self.bytes[byte_at..byte_at + width].copy_from_slice(&above[..width]);
            byte_at += width;
        }
    }

    /// Puts a row in before the one that is there.
    pub(super) fn insert(&mut self, at: usize, row: &[u64; N]) {
        if !self.fits(row) {
            let mut rows = self.unpack();
            rows.insert(at, *row);
            *self = Self::pack(&rows);
            return;
        }
        let row_bytes = self.row_bytes();
        let (begin, end) = (at * row_bytes, self.bytes.len());
        if self.bytes.capacity() < end + row_bytes {
            self.bytes.reserve_exact(row_bytes.max(end / SPARE_PART));
        }
        self.bytes.resize(end + row_bytes, 0);
        self.bytes.copy_within(begin..end, begin + row_bytes);
        self.count += 1;
        self.write(at, row);
    }

    /// Puts a row in the place of the one that is there.
    pub(super) fn replace(&mut self, at: usize, row: &[u64; N]) {
        if !self.fits(row) {
            let mut rows = self.unpack();
            rows[at] = *row;
            *self = Self::pack(&rows);
            return;
        }
        self.write(at, row);
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, at: usize) {
        let row_bytes = self.row_bytes();
        let begin = at * row_bytes;
        self.bytes.drain(begin..begin + row_bytes);
        self.count -= 1;
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
    }

    /// Takes the rows from there on out.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let rows: Vec<[u64; N]> = (at..self.len()).map(|at| self.prefix(at)).collect();
        self.bytes.truncate(at * self.row_bytes() + OVERHANG_BYTES);
        self.bytes.shrink_to_fit();
        self.count = at as u32;
        Self::pack(&rows)
    }

    /// Puts the rows of another behind its own.
    pub(super) fn append(&mut self, other: &Self) {
        let rows: Vec<[u64; N]> = self.iter().chain(other.iter()).collect();
        *self = Self::pack(&rows);
    }

    /// Its bases, its widths and its rows: all that there is to be known of it.
    pub(super) fn parts(&self) -> (&[u64; N], &[u8; N], &[u8]) {
        (&self.bases, &self.widths, &self.bytes[..self.bytes.len() - OVERHANG_BYTES])
    }

    /// What has these parts, and so many rows, if something can have.
    pub(super) fn from_parts(bases: [u64; N], widths: [u8; N], count: u32, rows: &[u8]) -> Option<Self> {
        let mut packed = Self { bases, widths, count, bytes: Vec::new() };
        // No two rows are alike: where they have no bytes, there is one at most.
        let sound = widths.iter().all(|width| *width <= 8)
            && (packed.row_bytes() > 0 || count <= 1)
            && packed.len().checked_mul(packed.row_bytes()) == Some(rows.len());
        packed.bytes.reserve_exact(rows.len() + OVERHANG_BYTES);
        packed.bytes.extend_from_slice(rows);
        packed.bytes.resize(rows.len() + OVERHANG_BYTES, 0);
        sound.then_some(packed)
    }

    /// These rows, in as few bytes as they can be.
    pub(super) fn pack(rows: &[[u64; N]]) -> Self {
        let (mut bases, mut tops) = ([u64::MAX; N], [0; N]);
        for row in rows {
            for column in 0..N {
                bases[column] = bases[column].min(row[column]);
                tops[column] = tops[column].max(row[column]);
            }
        }
        let mut widths = [0; N];
        for column in 0..N {
            widths[column] = bytes_for(tops[column].saturating_sub(bases[column]));
        }
        let mut packed = Self { bases, widths, count: rows.len() as u32, bytes: Vec::new() };
        packed.bytes = vec![0; rows.len() * packed.row_bytes() + OVERHANG_BYTES];
        let mut byte_at = 0;
        for row in rows {
            for column in 0..N {
                // All eight bytes are less work than as many as are wanted. The next number goes over the others.
                let above = (row[column] - bases[column]).to_le_bytes();
                packed.bytes[byte_at..byte_at + 8].copy_from_slice(&above);
                byte_at += usize::from(widths[column]);
            }
        }
        packed
    }
}

/// How many bytes a number needs; none for 0.
fn bytes_for(number: u64) -> u8 {
    (64 - number.leading_zeros()).div_ceil(8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random changes agree with a sorted list of rows, whatever the numbers are.
    #[test]
    fn packed_rows_are_rows() {
        for seed in 0..60u64 {
            let mut dice = seed;
            let mut random = move |below: u64| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (dice >> 33) % below
            };
            let mut packed = Packed::<3>::default();
            let mut rows: Vec<[u64; 3]> = Vec::new();
            for _ in 0..300 {
                let shift = random(65) as u32;
                let first = 1_000_000 + random(1 + seed * 30);
                let third = u64::MAX.checked_shr(shift).unwrap_or(0).wrapping_sub(random(3));
                let row = [first, random(1 + seed % 7), third];
                match random(8) {
                    0..5 => match packed.find(&[row[0], row[1]]) {
                        Ok(at) => {
                            assert_eq!(rows[at][..2], row[..2]);
                            rows[at] = row;
                            packed.replace(at, &row);
                        }
                        Err(at) => {
                            rows.insert(at, row);
                            packed.insert(at, &row);
                        }
                    },
                    5 | 6 if !rows.is_empty() => {
                        let at = random(rows.len() as u64) as usize;
                        rows.remove(at);
                        packed.remove(at);
                    }
                    _ => {
                        let at = random(rows.len() as u64 + 1) as usize;
                        let rest = packed.split_off(at);
                        assert!(packed.iter().eq(rows[..at].iter().copied()));
                        assert!(rest.iter().eq(rows[at..].iter().copied()));
                        packed.append(&rest);
                        let (bases, widths, bytes) = packed.parts();
                        let again = Packed::from_parts(*bases, *widths, packed.count, bytes);
                        packed = again.expect("these are its own parts");
                    }
                }
                assert_eq!(packed.len(), rows.len());
                assert!(packed.iter().eq(rows.iter().copied()), "seed {seed}");
                assert!(rows.is_sorted());
                assert_eq!((packed.first(), packed.last()), (rows.first().copied(), rows.last().copied()));
            }
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let packed = Packed::pack(&[[1, 5], [300, 6]]);
        let (bases, widths, bytes) = packed.parts();
        assert_eq!((widths, bytes.len()), (&[2, 1], 6));
        assert!(Packed::from_parts(*bases, *widths, 2, bytes).is_some());
        assert!(Packed::from_parts(*bases, *widths, 3, bytes).is_none());
        assert!(Packed::from_parts(*bases, *widths, u32::MAX, bytes).is_none());
        assert!(Packed::from_parts(*bases, [9, 1], 2, bytes).is_none());
        assert!(Packed::from_parts(*bases, [2, 1], 2, &bytes[1..]).is_none());
        // What takes no bytes could be billions of rows.
        assert!(Packed::from_parts([1, 2], [0, 0], 1, &[]).is_some());
        assert!(Packed::from_parts([1, 2], [0, 0], u32::MAX, &[]).is_none());
    }
}
