//! A blocking RESP2 and RESP3 client that hides nothing: every reply is kept as a [`Value`] that tells all wire
//! types apart, and the bytes it came from are kept too.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// One reply. Two values are equal exactly when their bytes on the wire are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Bool(bool),
    Double(Vec<u8>),
    BigNumber(Vec<u8>),
    /// `=`: with the three letters and the colon.
    Verbatim(Vec<u8>),
}

impl Value {
    pub(crate) fn bulk(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::NullArray | Self::NullBulk)
    }

    /// The text of a string, status, verbatim or error reply.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Simple(bytes) | Self::Error(bytes) | Self::Bulk(bytes) | Self::Verbatim(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            other => panic!("expected a string, got {other}"),
        }
    }

    pub(crate) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("expected an integer, got {other}"),
        }
    }

    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            other => panic!("expected an array, got {other}"),
        }
    }

    /// The pairs of a map, or of a flat array as RESP2 has it.
    pub(crate) fn pairs(&self) -> Vec<(String, &Value)> {
        match self {
            Self::Map(pairs) => pairs.iter().map(|(key, value)| (key.text(), value)).collect(),
            Self::Array(items) => items.chunks(2).map(|pair| (pair[0].text(), &pair[1])).collect(),
            other => panic!("expected a map, got {other}"),
        }
    }

    /// The value under a key of a map or flat array.
    pub(crate) fn get(&self, key: &str) -> &Value {
        self.find(key).unwrap_or_else(|| panic!("no {key:?} in {self}"))
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Value> {
        self.pairs().into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Something is in it: not an error, not null, not an empty collection.
    pub(crate) fn has_content(&self) -> bool {
        match self {
            Self::Error(_) | Self::Null | Self::NullArray | Self::NullBulk => false,
            Self::Array(items) | Self::Set(items) | Self::Push(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
            Self::Int(number) => *number != 0,
            _ => true,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(f: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
            f.write_str(open)?;
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{item}")?;
            }
            f.write_str(close)
        }
        match self {
            Self::Simple(bytes) => write!(f, "+{}", String::from_utf8_lossy(bytes)),
            Self::Error(bytes) => write!(f, "-{}", String::from_utf8_lossy(bytes)),
            Self::Int(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => f.write_str(&quoted(bytes)),
            Self::NullBulk => f.write_str("$-1"),
            Self::NullArray => f.write_str("*-1"),
            Self::Null => f.write_str("_"),
            Self::Array(items) => list(f, "[", items, "]"),
            Self::Set(items) => list(f, "~{", items, "}"),
            Self::Push(items) => list(f, ">[", items, "]"),
            Self::Map(pairs) => {
                f.write_str("%{")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
            Self::Bool(value) => write!(f, "#{value}"),
            Self::Double(bytes) => write!(f, ",{}", String::from_utf8_lossy(bytes)),
            Self::BigNumber(bytes) => write!(f, "({}", String::from_utf8_lossy(bytes)),
            Self::Verbatim(bytes) => write!(f, "={}", quoted(bytes)),
        }
    }
}

/// In double quotes, with everything that is not printable escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// How long a reply may take before the test calls it lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the next reply starts in `buffer`.
    at: usize,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new(), at: 0 })
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    pub(crate) fn recv(&mut self) -> io::Result<Value> {
        self.recv_raw().map(|(value, _)| value)
    }

    /// The next reply and the very bytes it was made of.
    pub(crate) fn recv_raw(&mut self) -> io::Result<(Value, Vec<u8>)> {
        let start = self.at;
        let value = self.value()?;
        let raw = self.buffer[start..self.at].to_vec();
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        }
        Ok((value, raw))
    }

    /// A reply if its first byte comes within `wait`; `None` if nothing comes.
    pub(crate) fn try_recv(&mut self, wait: Duration) -> io::Result<Option<Value>> {
        // A read timeout counts in ticks of the kernel; a look without waiting does not.
        let end = Instant::now() + wait;
        while self.at == self.buffer.len() {
            self.stream.set_nonblocking(true)?;
            let got = self.fill();
            self.stream.set_nonblocking(false)?;
            match got {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= end {
                        return Ok(None);
                    }
                    std::thread::sleep(Duration::from_micros(50));
                }
                other => other?,
            }
        }
        self.recv().map(Some)
    }

    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(args)?;
        self.recv()
    }

    /// Sends one line, cut as redis-cli cuts it, and returns the reply; panics when the connection is gone.
    pub(crate) fn run(&mut self, line: &str) -> Value {
        self.call(&super::words(line)).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// All lines in one write, then all replies.
    pub(crate) fn pipeline(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        self.send_raw(&bytes)?;
        commands.iter().map(|_| self.recv()).collect()
    }

    /// True when the peer closes the connection within the patience.
    pub(crate) fn is_closed_by_peer(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(e) => {
                    return matches!(
                        e.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    );
                }
            }
        }
    }

    /// The same connection, to write on one and read on the other.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, buffer: Vec::new(), at: 0 })
    }

    pub(crate) fn local_port(&self) -> u16 {
        self.stream.local_addr().map_or(0, |address| address.port())
    }

    pub(crate) fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut looked = self.at;
        loop {
            if let Some(end) = self.buffer[looked..].windows(2).position(|pair| pair == b"\r\n") {
                let end = looked + end;
                let line = self.buffer[self.at..end].to_vec();
                self.at = end + 2;
                return Ok(line);
            }
            looked = self.buffer.len().saturating_sub(1).max(self.at);
            self.fill()?;
        }
    }

    fn exactly(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < self.at + len + 2 {
            self.fill()?;
        }
        let bytes = self.buffer[self.at..self.at + len].to_vec();
        if &self.buffer[self.at + len..self.at + len + 2] != b"\r\n" {
            return Err(broken("a bulk string without CRLF"));
        }
        self.at += len + 2;
        Ok(bytes)
    }

    fn value(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let Some((&kind, rest)) = line.split_first() else { return Err(broken("an empty line")) };
        let number = || -> io::Result<i64> {
            let text = std::str::from_utf8(rest).map_err(|_| broken("a length"))?;
            text.parse().map_err(|_| broken("a length"))
        };
        let length = || number()?.try_into().map_err(|_| broken("a negative length"));
        Ok(match kind {
            b'+' => Value::Simple(rest.to_vec()),
            b'-' => Value::Error(rest.to_vec()),
            b':' => Value::Int(number()?),
            b'$' if rest == b"-1" => Value::NullBulk,
            b'*' if rest == b"-1" => Value::NullArray,
            b'_' if rest.is_empty() => Value::Null,
            b'$' => Value::Bulk(self.exactly(length()?)?),
            b'=' => Value::Verbatim(self.exactly(length()?)?),
            b'*' => Value::Array(self.values(length()?)?),
            b'~' => Value::Set(self.values(length()?)?),
            b'>' => Value::Push(self.values(length()?)?),
            b'%' => {
                let len: usize = length()?;
                let mut pairs = Vec::new();
                for _ in 0..len {
                    pairs.push((self.value()?, self.value()?));
                }
                Value::Map(pairs)
            }
            b'#' if rest == b"t" => Value::Bool(true),
            b'#' if rest == b"f" => Value::Bool(false),
            b',' => Value::Double(rest.to_vec()),
            b'(' => Value::BigNumber(rest.to_vec()),
            _ => return Err(broken(&format!("a reply that starts with {}", quoted(&line)))),
        })
    }

    fn values(&mut self, len: usize) -> io::Result<Vec<Value>> {
        (0..len).map(|_| self.value()).collect()
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not RESP: {what}"))
}

/// A command as an array of bulk strings.
pub(crate) fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}
