//! The Redis serialisation protocol: bytes to requests ([`Decoder`]) and replies to bytes ([`Encoder`]).
//!
//! Knows neither sockets nor commands. Everything that comes in is hostile until proven otherwise: each length
//! meets a named cap before anything is allocated for it, and no byte sequence makes it panic.

mod decode;
mod encode;

pub use decode::{
    ARGUMENTS_MAX, Decoder, INLINE_BYTES_MAX, Limits, ProtocolError, Request, UNAUTHENTICATED_ARGUMENTS_MAX,
    UNAUTHENTICATED_BULK_BYTES_MAX, decode_all,
};
pub use encode::{Encoder, Protocol};

/// Reads a decimal integer as strictly as Redis does: no blanks, no `+`, no leading zeros, no `-0`.
///
/// ```
/// use claimlog::resp::parse_integer;
/// assert_eq!(parse_integer(b"-12"), Some(-12));
/// assert_eq!(parse_integer(b"012"), None);
/// ```
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] | [b'0', _, ..] => return None,
        [b'0'] => return (!negative).then_some(0),
        _ => {}
    }
    // Of that many digits none is too large.
    const DIGITS_SAFE: usize = 18;
    let mut magnitude = 0u64;
    for (at, byte) in digits.iter().enumerate() {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        magnitude = if at < DIGITS_SAFE {
            magnitude * 10 + digit
        } else {
            magnitude.checked_mul(10)?.checked_add(digit)?
        };
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integers_are_strict() {
        assert_eq!(parse_integer(b"0"), Some(0));
        assert_eq!(parse_integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_integer(b"-9223372036854775808"), Some(i64::MIN));
        for bad in ["", "-", "+1", "01", "-0", "00", " 1", "1 ", "1.0", "9223372036854775808", "x"] {
            assert_eq!(parse_integer(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
