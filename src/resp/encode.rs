//! Replies into bytes.

use crate::id::EntryId;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, which every connection begins with.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// The version's number.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends replies to a buffer, in the version of the protocol that the connection speaks.
///
/// Headers of arrays, maps and sets announce how many elements follow; the caller then writes them.
///
/// ```
/// use claimlog::resp::{Encoder, Protocol};
/// let mut out = Vec::new();
/// let mut reply = Encoder::new(&mut out, Protocol::Resp3);
/// reply.map(1);
/// reply.bulk(b"length");
/// reply.integer(3);
/// assert_eq!(out, b"%1\r\n$6\r\nlength\r\n:3\r\n");
/// ```
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// Writes to the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The version being written.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes in this version from now on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// An encoder for the same buffer, for as long as this one is not used.
    pub fn reborrow(&mut self) -> Encoder<'_> {
        Encoder { out: self.out, protocol: self.protocol }
    }

    /// How long the buffer is: to be given to [`Encoder::truncate`].
    #[must_use]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written after `position`.
    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// A simple string: `+OK`. Line ends in it become blanks.
    pub fn simple(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error, code first: `-ERR syntax error`. Line ends in it (echoed from a request) become blanks.
    pub fn error(&mut self, text: &[u8]) {
        self.line(b'-', text);
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A count. More than 2^63 - 1 counts as that.
    pub fn count(&mut self, value: u64) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A count that may be unknown.
    pub fn count_or_null(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.count(value),
            None => self.null(),
        }
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An entry id, as a bulk string.
    pub fn id(&mut self, id: EntryId) {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms.format(id.ms), seq.format(id.seq));
        self.header(b'$', (ms.len() + 1 + seq.len()) as i64);
        self.out.extend_from_slice(ms.as_bytes());
        self.out.push(b'-');
        self.out.extend_from_slice(seq.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Text of many lines: a verbatim string in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A fractional number: a double in RESP3, a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = value.to_string();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Nothing, where a value would stand.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Nothing, where an array would stand.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The header of an array of so many elements.
    pub fn array(&mut self, elements: usize) {
        self.header(b'*', elements as i64);
    }

    /// The header of a map of so many pairs: a flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs as i64),
        }
    }

    /// The header of a set of so many elements: an array in RESP2.
    pub fn set(&mut self, elements: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(elements),
            Protocol::Resp3 => self.header(b'~', elements as i64),
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, value: i64) {
        let digit = |value: i64| b'0' + value as u8;
        match value {
            // What most are.
            0..10 => self.out.extend_from_slice(&[kind, digit(value), b'\r', b'\n']),
            10..100 => {
                self.out.extend_from_slice(&[kind, digit(value / 10), digit(value % 10), b'\r', b'\n']);
            }
            _ => {
                self.out.push(kind);
                self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Encoder<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Encoder::new(&mut out, protocol));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn both_protocols() {
        let nulls = |reply: &mut Encoder<'_>| {
            reply.null();
            reply.null_array();
            reply.map(2);
            reply.set(3);
            reply.verbatim(b"a");
            reply.double(1.5);
        };
        assert_eq!(written(Protocol::Resp2, nulls), "$-1\r\n*-1\r\n*4\r\n*3\r\n$1\r\na\r\n$3\r\n1.5\r\n");
        assert_eq!(written(Protocol::Resp3, nulls), "_\r\n_\r\n%2\r\n~3\r\n=5\r\ntxt:a\r\n,1.5\r\n");
    }

    #[test]
    fn numbers_to_the_last_digit() {
        let numbers = |reply: &mut Encoder<'_>| {
            reply.integer(i64::MIN);
            reply.integer(0);
            reply.id(EntryId::MAX);
            reply.id(EntryId::MIN);
            reply.count(u64::MAX);
        };
        assert_eq!(
            written(Protocol::Resp2, numbers),
            ":-9223372036854775808\r\n:0\r\n$41\r\n18446744073709551615-18446744073709551615\r\n$3\r\n0-0\r\n\
             :9223372036854775807\r\n"
        );
    }

    #[test]
    fn an_echoed_line_end_can_not_end_the_error() {
        let reply = written(Protocol::Resp2, |reply| reply.error(b"ERR unknown command 'a\r\n+OK'"));
        assert_eq!(reply, "-ERR unknown command 'a  +OK'\r\n");
    }
}
