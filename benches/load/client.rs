//! A connection: requests out, replies in.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room that there is at least for what is read.
const READ_BYTES: usize = 2048;

pub(crate) struct Client {
    socket: TcpStream,
    received: Vec<u8>,
    /// The length of the reply that was handed out last; it is still in front.
    handed_out: usize,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, received: Vec::new(), handed_out: 0 })
    }

    /// Sends one request or several.
    pub(crate) async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.socket.write_all(requests).await
    }

    /// The next reply, as it came, also if it is an error.
    pub(crate) async fn raw_reply(&mut self) -> io::Result<&[u8]> {
        self.received.drain(..self.handed_out);
        self.handed_out = 0;
        loop {
            if let Some(len) = walk(&self.received, 0, &mut |_, _| ()) {
                self.handed_out = len;
                return Ok(&self.received[..len]);
            }
            self.received.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next reply, which must be none of an error.
    pub(crate) async fn reply(&mut self) -> io::Result<&[u8]> {
        let reply = self.raw_reply().await?;
        if reply.first() == Some(&b'-') {
            return Err(io::Error::other(String::from_utf8_lossy(reply).into_owned()));
        }
        Ok(reply)
    }

    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.send(request).await?;
        self.reply().await
    }

    /// Sends requests, all at once, and awaits as many replies.
    pub(crate) async fn call_all(&mut self, requests: &[Vec<u8>]) -> io::Result<()> {
        for some in requests.chunks(1000) {
            self.send(&some.concat()).await?;
            for _ in some {
                self.reply().await?;
            }
        }
        Ok(())
    }

    /// The value of a line of INFO.
    pub(crate) async fn info(&mut self, section: &str, name: &str) -> io::Result<u64> {
        let reply = self.call(&request(&["INFO", section])).await?;
        let text = String::from_utf8_lossy(reply);
        let mut values = text.lines().filter_map(|line| line.split_once(':'));
        let value = values.find_map(|(known, value)| (known == name).then_some(value));
        value
            .and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| io::Error::other(format!("INFO {section} has no number {name}")))
    }
}

/// The bytes of a request.
pub(crate) fn request<T: AsRef<[u8]>>(words: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(AsRef::as_ref) {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The ids of the entries in a reply to XREADGROUP of one stream.
pub(crate) fn entry_ids(reply: &[u8]) -> Vec<&[u8]> {
    /// Of all streams, of a stream, of its entries, of an entry; fields lie one deeper.
    const DEPTH: usize = 4;
    let mut ids = Vec::new();
    walk(reply, 0, &mut |depth, bulk| {
        if depth == DEPTH {
            ids.push(bulk);
        }
    });
    ids
}

/// The length of the reply in front, if it is all there. `seen` is told of every bulk string, and how many arrays it
/// lies in.
fn walk<'a>(bytes: &'a [u8], depth: usize, seen: &mut impl FnMut(usize, &'a [u8])) -> Option<usize> {
    let line_end = bytes.iter().position(|byte| *byte == b'\n')?;
    let begin = line_end + 1;
    let count = || std::str::from_utf8(&bytes[1..line_end]).ok()?.trim_end().parse::<i64>().ok();
    match bytes[0] {
        b'$' => {
            let Ok(len) = usize::try_from(count()?) else { return Some(begin) };
            seen(depth, bytes.get(begin..begin + len)?);
            (bytes.len() >= begin + len + 2).then_some(begin + len + 2)
        }
        b'*' => (0..count()?).try_fold(begin, |at, _| Some(at + walk(&bytes[at..], depth + 1, seen)?)),
        _ => Some(begin),
    }
}
