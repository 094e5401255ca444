//! How many bytes Redis would need for a node, so that `stream-node-max-bytes` closes nodes where Redis closes
//! them and clients see the same `~` trimming. Nothing is stored this way.

/// A listpack without elements: header and end mark.
pub(crate) const EMPTY_BYTES: u64 = 7;

/// Bytes of an integer element.
pub(crate) fn integer_bytes(value: i64) -> u64 {
    match value {
        0..=127 => 2,
        -4096..=4095 => 3,
        -32_768..=32_767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

/// Bytes of a string element: one that reads as an integer is stored as one.
pub(crate) fn string_bytes(text: &[u8]) -> u64 {
    if let Some(value) = as_integer(text) {
        return integer_bytes(value);
    }
    let len = text.len() as u64;
    let encoded = match len {
        0..64 => 1 + len,
        64..4096 => 2 + len,
        _ => 5 + len,
    };
    let back_length = match encoded {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    encoded + back_length
}

/// The integer that a text stands for, if it is its one canonical spelling.
fn as_integer(text: &[u8]) -> Option<i64> {
    const DIGITS_MAX: usize = 20;
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, ..] => *first != b'0' && text.len() <= DIGITS_MAX,
    };
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_at_the_borders() {
        assert_eq!([0, 127, 128, -1, 4095, 4096].map(integer_bytes), [2, 2, 3, 3, 3, 4]);
        assert_eq!([i64::from(i32::MAX), i64::from(i32::MAX) + 1, i64::MIN].map(integer_bytes), [6, 10, 10]);
        assert_eq!(string_bytes(b""), 2);
        assert_eq!(string_bytes(b"abc"), 5);
        assert_eq!(string_bytes(b"12"), 2);
        assert_eq!(string_bytes(b"012"), 5);
        assert_eq!(string_bytes(b"-0"), 4);
        assert_eq!(string_bytes(&[b'x'; 63]), 65);
        assert_eq!(string_bytes(&[b'x'; 64]), 67);
        assert_eq!(string_bytes(&[b'x'; 126]), 130);
    }
}
