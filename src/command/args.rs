//! Arguments out of words: strict integers, entry ids, ends of ranges, timeouts. The order in which errors are
//! found is Redis's, as clients' tests pin it.

use std::time::Duration;

use super::CommandError;
use super::context::unix_time;
use claimlog::EntryId;
use claimlog::resp::parse_integer;

pub(crate) const SYNTAX: CommandError = CommandError::text("ERR syntax error");
pub(crate) const NOT_AN_INTEGER: CommandError =
    CommandError::text("ERR value is not an integer or out of range");
pub(crate) const BAD_ID: CommandError =
    CommandError::text("ERR Invalid stream ID specified as stream command argument");

/// The longest text of an id that is looked at. As in Redis.
const ID_BYTES_MAX: usize = 127;

/// Walks over the words of a call.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    rest: &'a [&'a [u8]],
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [&'a [u8]]) -> Self {
        Self { rest: words }
    }

    /// The next word.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The next word, which an option can't do without.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(SYNTAX)
    }

    /// The next word, but leave it there.
    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        self.rest.first().copied()
    }

    /// Takes the next word if it is this one, in any case.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| is(next, word));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// The next so many words, if there are as many.
    pub(crate) fn take_many(&mut self, count: usize) -> Option<&'a [&'a [u8]]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn rest(&self) -> &'a [&'a [u8]] {
        self.rest
    }
}

/// Whether a word is this option, in any case.
pub(crate) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// A strict integer.
pub(crate) fn integer(word: &[u8]) -> Result<i64, CommandError> {
    parse_integer(word).ok_or(NOT_AN_INTEGER)
}

/// A strict integer; what is below zero counts as zero.
pub(crate) fn integer_at_least_zero(word: &[u8]) -> Result<u64, CommandError> {
    integer(word).map(|value| u64::try_from(value).unwrap_or(0))
}

/// An id: `ms-seq`, or `ms` alone, which gets `seq_missing`.
pub(crate) fn id(word: &[u8], seq_missing: u64) -> Result<EntryId, CommandError> {
    if word.len() > ID_BYTES_MAX {
        return Err(BAD_ID);
    }
    let parsed = match word.iter().position(|byte| *byte == b'-') {
        None => number(word).map(|ms| EntryId::new(ms, seq_missing)),
        Some(dash) => {
            number(&word[..dash]).and_then(|ms| number(&word[dash + 1..]).map(|seq| EntryId::new(ms, seq)))
        }
    };
    parsed.ok_or(BAD_ID)
}

/// An id, or `-` for the smallest and `+` for the largest.
pub(crate) fn id_or_bound(word: &[u8], seq_missing: u64) -> Result<EntryId, CommandError> {
    match word {
        b"-" => Ok(EntryId::MIN),
        b"+" => Ok(EntryId::MAX),
        word => id(word, seq_missing),
    }
}

/// The digits of one half of an id. Leading zeros are fine.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Several ids.
pub(crate) fn ids(words: &[&[u8]]) -> Result<Vec<EntryId>, CommandError> {
    words.iter().map(|word| id(word, 0)).collect()
}

/// The lower end of a range, made inclusive: `(id` begins after that id.
pub(crate) fn range_start(word: &[u8]) -> Result<EntryId, CommandError> {
    let Some(exclusive) = word.strip_prefix(b"(") else { return id_or_bound(word, 0) };
    id(exclusive, 0)?.successor().ok_or(CommandError::text("ERR invalid start ID for the interval"))
}

/// The upper end of a range, made inclusive: `(id` ends before that id.
pub(crate) fn range_end(word: &[u8]) -> Result<EntryId, CommandError> {
    let Some(exclusive) = word.strip_prefix(b"(") else { return id_or_bound(word, u64::MAX) };
    id(exclusive, u64::MAX)?.predecessor().ok_or(CommandError::text("ERR invalid end ID for the interval"))
}

/// A timeout in milliseconds: `None` for 0, which means forever.
pub(crate) fn timeout_ms(word: &[u8]) -> Result<Option<Duration>, CommandError> {
    let ms =
        parse_integer(word).ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    // Redis adds it to the time of day.
    if u128::from(ms) + unix_time().as_millis() > i64::MAX as u128 {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok((ms > 0).then(|| Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(id(b"5", 7).unwrap(), EntryId::new(5, 7));
        assert_eq!(id(b"007-08", 0).unwrap(), EntryId::new(7, 8));
        for bad in ["", "-", "+", "1-", "-1", "1-2-3", "1-*", "x", " 1", "18446744073709551616", "1-+2"] {
            assert!(id(bad.as_bytes(), 0).is_err(), "{bad:?}");
        }
        assert!(id(&[b'0'; 128], 0).is_err());
    }

    #[test]
    fn ends_of_ranges() {
        assert_eq!(range_start(b"(5").unwrap(), EntryId::new(5, 1));
        assert_eq!(range_start(b"-").unwrap(), EntryId::MIN);
        assert_eq!(range_end(b"(5").unwrap(), EntryId::new(5, u64::MAX - 1));
        assert_eq!(range_end(b"5").unwrap(), EntryId::new(5, u64::MAX));
        assert!(range_start(b"(-").is_err());
        assert!(range_end(b"(0-0").is_err());
        assert!(range_start(b"(18446744073709551615-18446744073709551615").is_err());
    }
}
