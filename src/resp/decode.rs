//! Requests out of bytes, however they were cut into pieces on the way.
//!
//! Two forms are understood, as in Redis: arrays of bulk strings, which all clients send, and plain lines
//! (inline commands) for humans and health probes. Arguments of the first form are slices of the read buffer:
//! nothing is copied or counted. The decoder remembers where it stopped, so bytes are not looked at again and again while
//! a large request is still arriving.

use std::fmt;

use super::parse_integer;

/// The longest line: an inline command, or the header of an array or a bulk string. As in Redis.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments of one request. Redis went from this to 2^31 in 7.0; no client needs more.
pub const ARGUMENTS_MAX: i64 = 1024 * 1024;
/// The most arguments before the client has authenticated, where a password is asked for. As in Redis.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: i64 = 10;
/// The longest argument before the client has authenticated, where a password is asked for. As in Redis.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;
/// Room for this many arguments is kept between requests.
const ARGUMENTS_KEPT: usize = 1024;

/// What is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: u64,
    /// Whether the client may send requests of full size already.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes_max: 512 * 1024 * 1024, authenticated: true }
    }
}

/// Bytes that are no request. Nothing after them can be understood: the connection is to be closed.
///
/// `Display` gives the text that a Redis server sends, error code first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is no number, or too large.
    ArrayLength,
    /// The number of arguments has too many digits.
    ArrayHeader,
    /// More arguments than an unauthenticated client may send.
    UnauthenticatedArrayLength,
    /// An argument that does not begin with `$`, but with this byte.
    NoBulk(u8),
    /// The length of an argument is no number, or too large.
    BulkLength,
    /// The length of an argument has too many digits.
    BulkHeader,
    /// A longer argument than an unauthenticated client may send.
    UnauthenticatedBulkLength,
    /// An inline command that is too long.
    InlineTooLong,
    /// An inline command with a quote that does not end, or does not end its word.
    Quotes,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ERR Protocol error: ")?;
        f.write_str(match self {
            Self::ArrayLength => "invalid multibulk length",
            Self::ArrayHeader => "too big mbulk count string",
            Self::UnauthenticatedArrayLength => "unauthenticated multibulk length",
            Self::NoBulk(byte) => {
                // What is not printable would break the line that carries the error.
                let shown = if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' };
                return write!(f, "expected '$', got '{shown}'");
            }
            Self::BulkLength => "invalid bulk length",
            Self::BulkHeader => "too big bulk count string",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::InlineTooLong => "too big inline request",
            Self::Quotes => "unbalanced quotes in request",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// One request: its words lie where they were received.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    places: &'a [(usize, usize)],
}

impl<'a> Request<'a> {
    /// The command's name and its arguments; at least one word.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.places.iter().map(move |(start, end)| &bytes[*start..*end])
    }
}

/// Cuts requests out of a stream of bytes.
///
/// ```
/// use claimlog::resp::Decoder;
/// let mut decoder = Decoder::default();
/// decoder.buffer().extend_from_slice(b"*2\r\n$4\r\nXLEN\r\n$4\r\njo");
/// assert!(decoder.next_request()?.is_none()); // not all there yet
/// decoder.buffer().extend_from_slice(b"bs\r\n");
/// let request = decoder.next_request()?.expect("it is there now");
/// assert!(request.words().eq([b"XLEN", b"jobs"]));
/// decoder.consume();
/// # Ok::<(), claimlog::resp::ProtocolError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    limits: Limits,
    /// Where the request begins that is being read or was handed out. What is before is done with.
    start: usize,
    /// Where reading goes on.
    position: usize,
    /// How far the line at `position` was searched for its end.
    searched: usize,
    /// Arguments still to come of the request that is being read; 0 between requests.
    arguments_left: usize,
    /// The length of the argument whose bytes come next, once its header was read.
    bulk_bytes: Option<usize>,
    /// Where the arguments read so far lie.
    places: Vec<(usize, usize)>,
    /// The words of a plain line one behind the other, without quotes and escapes.
    plain: Vec<u8>,
    /// A request has been read and not been consumed.
    complete: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Array,
    Plain,
}

impl Decoder {
    /// The buffer to read into, at its end. Only ever append to it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// How many bytes were received and are not done with.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Changes what is accepted from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Gives back the memory of a large request that is done with.
    pub fn shrink(&mut self, bytes_max: usize) {
        if self.buffered() == 0 && self.buffer.capacity() > bytes_max {
            self.buffer = Vec::new();
            (self.start, self.position, self.searched) = (0, 0, 0);
        }
        if self.places.is_empty() && self.places.capacity() > ARGUMENTS_KEPT {
            self.places = Vec::new();
        }
        if self.complete.is_none() && self.plain.capacity() > bytes_max {
            self.plain = Vec::new();
        }
    }

    /// Takes the buffer away, with all its room, if nothing is in it that is not done with.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        if self.buffered() > 0 || self.buffer.capacity() == 0 {
            return None;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        (self.start, self.position, self.searched) = (0, 0, 0);
        Some(buffer)
    }

    /// The next request; the same one again until it is consumed. `None`: it is not all there yet. A request is never
    /// empty.
    ///
    /// # Errors
    /// [`ProtocolError`]: this and everything after it can't be understood.
    pub fn next_request(&mut self) -> Result<Option<Request<'_>>, ProtocolError> {
        if self.complete.is_none() && !self.read()? {
            self.move_up();
            return Ok(None);
        }
        let bytes = if self.complete == Some(Form::Plain) { &self.plain } else { &self.buffer };
        Ok(Some(Request { bytes, places: &self.places }))
    }

    /// The request that was handed out is done with.
    pub fn consume(&mut self) {
        if self.complete.take().is_some() {
            self.places.clear();
            self.plain.clear();
            self.begin_at(self.position);
        }
    }

    /// The next request begins there.
    fn begin_at(&mut self, position: usize) {
        (self.start, self.position, self.searched) = (position, position, position);
    }

    /// Drops what is done with; what is left of the buffer is the beginning of a request.
    fn move_up(&mut self) {
        if self.start > 0 {
            let left = self.buffer.len() - self.start;
            self.buffer.copy_within(self.start.., 0);
            self.buffer.truncate(left);
            for (start, end) in &mut self.places {
                *start -= self.start;
                *end -= self.start;
            }
            self.position -= self.start;
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
    }

    /// Reads on. `true`: a request is complete.
    fn read(&mut self) -> Result<bool, ProtocolError> {
        loop {
            if self.arguments_left == 0 {
                let Some(&first) = self.buffer.get(self.position) else { return Ok(false) };
                if first != b'*' {
                    if !self.inline()? {
                        return Ok(false);
                    }
                    if self.places.is_empty() {
                        self.begin_at(self.position);
                        continue;
                    }
                    self.complete = Some(Form::Plain);
                    return Ok(true);
                }
                if self.whole_array() {
                    self.complete = Some(Form::Array);
                    return Ok(true);
                }
                let Some(count) = self.array_header()? else { return Ok(false) };
                if count == 0 {
                    self.begin_at(self.position);
                    continue;
                }
                self.arguments_left = count;
            }
            while self.arguments_left > 0 {
                if !self.argument()? {
                    return Ok(false);
                }
            }
            self.complete = Some(Form::Array);
            return Ok(true);
        }
    }

    /// Reads a request that is all there, whose numbers are short and which has nothing that may be refused, as nearly all
    /// are. `false`: it has to be looked at step by step, from where it begins.
    fn whole_array(&mut self) -> bool {
        if !self.limits.authenticated {
            return false;
        }
        let (buffer, places) = (&self.buffer[..], &mut self.places);
        let mut at = self.position + 1;
        let Some((count, header_bytes)) = short_number(&buffer[at..]) else { return false };
        at += header_bytes;
        let end = 'read: {
            if count == 0 {
                break 'read None;
            }
            for _ in 0..count {
                let Some([b'$', header @ ..]) = buffer.get(at..) else { break 'read None };
                let Some((bytes, header_bytes)) = short_number(header) else { break 'read None };
                let start = at + 1 + header_bytes;
                at = start + bytes + 2;
                if at > buffer.len() || bytes as u64 > self.limits.bulk_bytes_max {
                    break 'read None;
                }
                places.push((start, start + bytes));
            }
            Some(at)
        };
        match end {
            Some(end) => self.go_to(end),
            None => places.clear(),
        }
        end.is_some()
    }

    /// `*3\r\n`: how many arguments the request has.
    fn array_header(&mut self) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.header_end(ProtocolError::ArrayHeader)? else { return Ok(None) };
        let count = parse_integer(&self.buffer[self.position + 1..end]);
        self.go_to(end + 2);
        let count = count.ok_or(ProtocolError::ArrayLength)?;
        if count > ARGUMENTS_MAX {
            return Err(ProtocolError::ArrayLength);
        }
        if count > UNAUTHENTICATED_ARGUMENTS_MAX && !self.limits.authenticated {
            return Err(ProtocolError::UnauthenticatedArrayLength);
        }
        Ok(Some(usize::try_from(count).unwrap_or(0)))
    }

    /// `$5\r\nhello\r\n`: one argument, if all of it is there.
    fn argument(&mut self) -> Result<bool, ProtocolError> {
        let bytes = match self.bulk_bytes {
            Some(bytes) => bytes,
            None => {
                let Some(bytes) = self.bulk_header()? else { return Ok(false) };
                *self.bulk_bytes.insert(bytes)
            }
        };
        // The two bytes after the argument are skipped unseen, as Redis does.
        if self.buffer.len() - self.position < bytes + 2 {
            return Ok(false);
        }
        self.places.push((self.position, self.position + bytes));
        self.go_to(self.position + bytes + 2);
        self.bulk_bytes = None;
        self.arguments_left -= 1;
        Ok(true)
    }

    /// `$5\r\n`: how long an argument is.
    fn bulk_header(&mut self) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.header_end(ProtocolError::BulkHeader)? else { return Ok(None) };
        let header = &self.buffer[self.position..end];
        if header.first() != Some(&b'$') {
            return Err(ProtocolError::NoBulk(header.first().copied().unwrap_or(b'\r')));
        }
        let bytes = parse_integer(&header[1..]).ok_or(ProtocolError::BulkLength)?;
        self.go_to(end + 2);
        if u64::try_from(bytes).map_or(true, |bytes| bytes > self.limits.bulk_bytes_max) {
            return Err(ProtocolError::BulkLength);
        }
        if bytes > UNAUTHENTICATED_BULK_BYTES_MAX && !self.limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        usize::try_from(bytes).map(Some).map_err(|_| ProtocolError::BulkLength)
    }

    fn go_to(&mut self, position: usize) {
        self.position = position;
        self.searched = position;
    }

    /// Where the header line at `position` ends, once the two bytes of its line end are there.
    fn header_end(&mut self, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let from = self.searched.max(self.position);
        let found = self.buffer[from..].iter().position(|byte| *byte == b'\r').map(|offset| from + offset);
        self.searched = found.unwrap_or(self.buffer.len());
        if self.searched - self.position > INLINE_BYTES_MAX {
            return Err(too_long);
        }
        Ok(found.filter(|end| end + 2 <= self.buffer.len()))
    }

    /// A plain line. There are no words in an empty one.
    fn inline(&mut self) -> Result<bool, ProtocolError> {
        let from = self.searched.max(self.position);
        let found = self.buffer[from..].iter().position(|byte| *byte == b'\n');
        let end = found.map_or(self.buffer.len(), |offset| from + offset);
        if end - self.position > INLINE_BYTES_MAX {
            return Err(ProtocolError::InlineTooLong);
        }
        self.searched = end;
        if found.is_none() {
            return Ok(false);
        }
        let line = &self.buffer[self.position..end];
        split_words(line.strip_suffix(b"\r").unwrap_or(line), &mut self.plain, &mut self.places)?;
        self.go_to(end + 1);
        Ok(true)
    }
}

/// A number of at most four digits and the two bytes of the line end behind it: what it is, and how many bytes that are.
// Every word has one, and nearly all of them one or two digits.
#[inline(always)]
fn short_number(line: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *line {
        [a @ b'0'..=b'9', b'\r', _, ..] => Some((digit(a), 3)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => Some((digit(a) * 10 + digit(b), 4)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', _, ..] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), 5))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', d @ b'0'..=b'9', b'\r', _, ..] => {
            Some((digit(a) * 1000 + digit(b) * 100 + digit(c) * 10 + digit(d), 6))
        }
        _ => None,
    }
}

/// Splits a line into words by Redis's rules: `"..."` with escapes, `'...'` with `\'` only; a closing quote
/// must end its word. They go one behind the other into `words`.
fn split_words(
    line: &[u8],
    words: &mut Vec<u8>,
    places: &mut Vec<(usize, usize)>,
) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest {
            if !is_blank(*first) {
                break;
            }
            rest = tail;
        }
        // As in C, a NUL ends the line.
        if rest.first().is_none_or(|byte| *byte == 0) {
            return Ok(());
        }
        let start = words.len();
        rest = take_word(rest, words)?;
        places.push((start, words.len()));
    }
}

/// Blanks as C's `isspace` sees them.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Takes one word off the front; returns what follows it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            // Fewer blanks end a word than may come before one, as in Redis.
            [] | [0 | b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', tail @ ..] => return take_double_quoted(tail, word),
            [b'\'', tail @ ..] => return take_single_quoted(tail, word),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [b'"', tail @ ..] => return end_of_quoted(tail),
            [] | [0, ..] => return Err(ProtocolError::Quotes),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        };
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return end_of_quoted(tail),
            [] | [0, ..] => return Err(ProtocolError::Quotes),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        };
    }
}

/// A closing quote is followed by a blank or by the end of the line.
fn end_of_quoted(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest {
        [] | [0, ..] => Ok(rest),
        [blank, ..] if is_blank(*blank) => Ok(rest),
        _ => Err(ProtocolError::Quotes),
    }
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte - b'A' + 10,
    }
}

/// Decodes a whole stream of bytes, given in pieces: all requests up to the end or to the first error.
/// A pure function for tests and fuzzing.
pub fn decode_all<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: Limits,
) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut decoder = Decoder { limits, ..Decoder::default() };
    let mut requests = Vec::new();
    for piece in pieces {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next_request() {
                Ok(Some(request)) => requests.push(request.words().map(<[u8]>::to_vec).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
            decoder.consume();
        }
    }
    (requests, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        decode_all([bytes], Limits::default())
    }

    /// A request that is all there at once is read another way than one that comes in pieces, by the same rules.
    #[test]
    fn limits_hold_however_a_request_arrives() {
        let limits = Limits { bulk_bytes_max: 5, authenticated: true };
        let (short, long) =
            (&b"*2\r\n$1\r\na\r\n$5\r\nabcde\r\n"[..], &b"*2\r\n$1\r\na\r\n$6\r\nabcdef\r\n"[..]);
        for (bytes, error) in [(short, None), (long, Some(ProtocolError::BulkLength))] {
            for piece in [1, 2, 7, bytes.len()] {
                let (requests, found) = decode_all(bytes.chunks(piece), limits);
                assert_eq!(
                    (requests.len(), found),
                    (usize::from(error.is_none()), error),
                    "pieces of {piece}"
                );
            }
        }
        let many = [&b"*11\r\n"[..], &b"$1\r\na\r\n".repeat(11)].concat();
        let limits = Limits { authenticated: false, ..Limits::default() };
        for piece in [1, many.len()] {
            let (_, found) = decode_all(many.chunks(piece), limits);
            assert_eq!(found, Some(ProtocolError::UnauthenticatedArrayLength), "pieces of {piece}");
        }
    }

    fn error(bytes: &[u8]) -> String {
        decode(bytes).1.expect("an error").to_string()
    }

    const SAMPLES: &[&[u8]] = &[
        b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n",
        b"PING\r\n\r\nPING \"a\\x41\\n\" 'b\\'c'\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
        b"*1\r\n+a\r\n",
        b"*1\r\n\n$4\r\nPING\r\n",
        b"foo \"bar\r\nPING\r\n",
        b"*x\r\n",
        b"*1\r\n$x\r\n",
        b"*3\r\n$4\r\nXLEN\r\n$-1\r\n",
    ];

    #[test]
    fn every_split_of_a_stream_decodes_the_same() {
        for sample in SAMPLES {
            let whole = decode(sample);
            for first in 0..sample.len() {
                for second in first..sample.len() {
                    let pieces = [&sample[..first], &sample[first..second], &sample[second..]];
                    assert_eq!(decode_all(pieces, Limits::default()), whole, "{}", sample.escape_ascii());
                }
            }
            assert_eq!(decode_all(sample.chunks(1), Limits::default()), whole);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_splits_agree() {
        // A small generator of its own: the seed is the number of the round.
        const ALPHABET: &[u8] = b"**$$\r\r\n\n0123456789-+ \"'\\xaPING\0\xff";
        for seed in 0..20_000u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                usize::try_from(state >> 33).unwrap()
            };
            let bytes: Vec<u8> = (0..next() % 60).map(|_| ALPHABET[next() % ALPHABET.len()]).collect();
            let cut = next() % (bytes.len() + 1);
            let pieces = [&bytes[..cut], &bytes[cut..]];
            assert_eq!(decode(&bytes), decode_all(pieces, Limits::default()), "seed {seed}");
        }
    }

    #[test]
    fn errors_are_those_of_redis() {
        assert_eq!(error(b"*1048577\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"*01\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"*1\r\n$536870913\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(error(b"*1\r\n$-1\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(error(b"*1\r\n+a\r\n"), "ERR Protocol error: expected '$', got '+'");
        assert_eq!(error(b"*1\r\n\n$4\r\nPING\r\n"), "ERR Protocol error: expected '$', got ' '");
        assert_eq!(error(b"a \"b\"c\r\n"), "ERR Protocol error: unbalanced quotes in request");
        assert_eq!(error(&[b'x'; 70_000]), "ERR Protocol error: too big inline request");
        let digits = vec![b'1'; 70_000];
        assert_eq!(error(&[b"*", &digits[..]].concat()), "ERR Protocol error: too big mbulk count string");
        assert_eq!(
            error(&[b"*1\r\n$", &digits[..]].concat()),
            "ERR Protocol error: too big bulk count string"
        );
    }

    #[test]
    fn unauthenticated_clients_may_send_little() {
        let limits = Limits { authenticated: false, ..Limits::default() };
        let error = |bytes: &[u8]| decode_all([bytes], limits).1;
        assert_eq!(error(b"*11\r\n"), Some(ProtocolError::UnauthenticatedArrayLength));
        assert_eq!(error(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulkLength));
        assert_eq!(error(b"*10\r\n$16384\r\n"), None);
    }

    #[test]
    fn arguments_are_slices_of_the_read_buffer() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(b"*2\r\n$4\r\nXLEN\r\n$4\r\njobs\r\n");
        let range = decoder.buffer().as_ptr_range();
        let request = decoder.next_request().unwrap().expect("all of it is there");
        assert!(request.words().all(|word| range.contains(&word.as_ptr())));
    }

    #[test]
    fn a_request_stays_until_it_is_consumed() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(b"one\r\n*1\r\n$3\r\ntwo\r\n*1\r\n$5\r\nth");
        for wanted in ["one", "two"] {
            for _ in 0..2 {
                let request = decoder.next_request().unwrap().expect("it is there");
                assert!(request.words().eq([wanted.as_bytes()]));
            }
            decoder.consume();
        }
        assert!(decoder.next_request().unwrap().is_none());
        assert_eq!(decoder.buffered(), b"*1\r\n$5\r\nth".len());
        decoder.buffer().extend_from_slice(b"ree\r\n");
        let request = decoder.next_request().unwrap().expect("the rest has come");
        assert!(request.words().eq([b"three"]));
    }

    #[test]
    fn an_empty_buffer_can_be_taken_away_and_given_back() {
        let mut decoder = Decoder::default();
        assert!(decoder.take_buffer().is_none(), "it has no room yet");
        decoder.buffer().extend_from_slice(b"PING\r\nPI");
        assert!(decoder.next_request().unwrap().is_some());
        assert!(decoder.take_buffer().is_none(), "the request is not done with");
        decoder.consume();
        assert!(decoder.next_request().unwrap().is_none());
        assert!(decoder.take_buffer().is_none(), "another one has begun");
        decoder.buffer().extend_from_slice(b"NG\r\n");
        assert!(decoder.next_request().unwrap().is_some());
        decoder.consume();
        let buffer = decoder.take_buffer().unwrap();
        assert!(buffer.is_empty() && buffer.capacity() > 0);
        *decoder.buffer() = buffer;
        decoder.buffer().extend_from_slice(b"PING\r\n");
        let request = decoder.next_request().unwrap().unwrap();
        assert!(request.words().eq([b"PING"]));
    }
}
