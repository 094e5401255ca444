//! Little-endian numbers at fixed offsets, and lengths rounded up to boundaries.

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

pub(super) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// `bytes` rounded up to a multiple of `alignment`.
pub(super) const fn padded(bytes: u64, alignment: u32) -> u64 {
    bytes.next_multiple_of(alignment as u64)
}

/// A length or offset within what is in memory.
///
/// # Panics
/// Where memory is smaller than 64 bits and the value does not fit, which the caps on lengths rule out.
pub(super) fn index(value: u64) -> usize {
    usize::try_from(value).expect("capped lengths fit in memory")
}
