//! Whether bytes are one well-formed value of the protocol.

use claimlog::resp::{Protocol, parse_integer};

/// What a value is like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Its first byte.
    pub(super) kind: u8,
    /// How many elements (or pairs) it has; `None`: it is null.
    pub(super) elements: Option<usize>,
}

/// Deeper is no reply of ours: that of COMMAND DOCS, inside EXEC, is the deepest.
const DEPTH_MAX: usize = 20;

/// The one value that the bytes are. Without a protocol each part of it may be of either.
pub(super) fn one_value(bytes: &[u8], protocol: Option<Protocol>) -> Result<Value, String> {
    let mut reader = Reader { rest: bytes, protocol };
    let value = reader.value(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(format!("{} bytes too many", reader.rest.len())) }
}

/// The beginning of a reply, to be shown.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 400;
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]))
}

struct Reader<'a> {
    rest: &'a [u8],
    protocol: Option<Protocol>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err("too deep".into());
        }
        let kind = *self.rest.first().ok_or("a value is missing")?;
        self.rest = &self.rest[1..];
        if b"_,=%~".contains(&kind) && self.protocol == Some(Protocol::Resp2) {
            return Err(format!("{:?} in RESP2", char::from(kind)));
        }
        let line = self.line()?;
        let mut elements = Some(0);
        match kind {
            b'+' => {}
            b'-' => error(line)?,
            b':' => {
                number(line)?;
            }
            b'_' if line.is_empty() => elements = None,
            b',' => double(line)?,
            b'$' | b'*' if line == b"-1" => {
                if self.protocol == Some(Protocol::Resp3) {
                    return Err("a null of RESP2 in RESP3".into());
                }
                elements = None;
            }
            b'$' | b'=' => {
                let bytes = self.bulk(count(line)?)?;
                if kind == b'=' && !bytes.starts_with(b"txt:") {
                    return Err("a verbatim string of no kind".into());
                }
            }
            b'*' | b'~' | b'%' => {
                let announced = count(line)?;
                elements = Some(announced);
                for _ in 0..if kind == b'%' { announced * 2 } else { announced } {
                    self.value(depth + 1)?;
                }
            }
            other => return Err(format!("{:?} begins no value", char::from(other))),
        }
        Ok(Value { kind, elements })
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let end = self.rest.windows(2).position(|two| two == b"\r\n").ok_or("a line does not end")?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[2..];
        if line.iter().any(|byte| b"\r\n".contains(byte)) { Err("a line in a line".into()) } else { Ok(line) }
    }

    fn bulk(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or("a string is cut off")?;
        self.rest = rest.strip_prefix(b"\r\n").ok_or("a string is longer than it says")?;
        Ok(bytes)
    }
}

fn number(line: &[u8]) -> Result<i64, String> {
    parse_integer(line).ok_or_else(|| format!("{:?} is no integer", String::from_utf8_lossy(line)))
}

fn count(line: &[u8]) -> Result<usize, String> {
    usize::try_from(number(line)?).map_err(|_| "a negative length".into())
}

fn double(line: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(line).map_err(|_| "a double of no text")?;
    let is_one = ["inf", "-inf", "nan"].contains(&text)
        || (text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte)) && text.parse::<f64>().is_ok());
    if is_one { Ok(()) } else { Err(format!("{text:?} is no double")) }
}

/// An error begins with its code, in upper case.
fn error(line: &[u8]) -> Result<(), String> {
    let code = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_code = !code.is_empty() && code.iter().all(u8::is_ascii_uppercase) && code.len() < line.len();
    if is_code { Ok(()) } else { Err(format!("{:?} has no code", String::from_utf8_lossy(line))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_value_passes() {
        let both = [&b"+OK\r\n"[..], b"-ERR x\r\n", b":-1\r\n", b"$2\r\n\r\n\r\n", b"*2\r\n:1\r\n*0\r\n"];
        for good in both {
            one_value(good, Some(Protocol::Resp2)).unwrap();
            one_value(good, Some(Protocol::Resp3)).unwrap();
            assert!(one_value(&good[..good.len() - 1], None).is_err());
            assert!(one_value(&[good, b"+"].concat(), None).is_err());
        }
        for good in [&b"%1\r\n+a\r\n_\r\n"[..], b"~1\r\n,1.5\r\n", b"=5\r\ntxt:a\r\n", b",inf\r\n"] {
            one_value(good, Some(Protocol::Resp3)).unwrap();
            assert!(one_value(good, Some(Protocol::Resp2)).is_err());
        }
        for null in [&b"$-1\r\n"[..], b"*-1\r\n"] {
            one_value(null, Some(Protocol::Resp2)).unwrap();
            assert!(one_value(null, Some(Protocol::Resp3)).is_err());
        }
        for bad in [
            &b""[..],
            b"-err x\r\n",
            b"-ERR\r\n",
            b":x\r\n",
            b"*2\r\n:1\r\n",
            b"+a\nb\r\n",
            b",NaN\r\n",
            b"x\r\n",
        ] {
            assert!(one_value(bad, None).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
