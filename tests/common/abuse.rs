//! Clients that misbehave, in all the ways we know of. None of them expects anything; others must not notice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::Rng;
use super::resp::encode;

/// A key with entries of 100 KB, of which much can be asked for.
pub(crate) const LARGE_KEY: &str = "abuse:large";

/// One way to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// Bytes that mean nothing, or begin to mean something.
    Garbage,
    /// Connects, and says nothing.
    Silence,
    /// Leaves in the middle of a request.
    CutRequest,
    /// Leaves in the middle of a transaction.
    CutMulti,
    /// Leaves while it waits for data.
    CutBlocked,
    /// Sends requests and leaves before the replies.
    CutReply,
    /// Leaves in the middle of a large reply.
    CutLargeReply,
    /// Asks for much and reads nothing.
    NeverReads,
    /// Asks for much and reads a little now and then.
    ReadsSlowly,
    /// Announces much and sends little.
    Announces,
    /// Has its connection reset instead of closed.
    Resets,
}

impl Abuse {
    pub(crate) const ALL: [Self; 11] = [
        Self::Garbage,
        Self::Silence,
        Self::CutRequest,
        Self::CutMulti,
        Self::CutBlocked,
        Self::CutReply,
        Self::CutLargeReply,
        Self::NeverReads,
        Self::ReadsSlowly,
        Self::Announces,
        Self::Resets,
    ];

    /// Misbehaves once. The connection comes back where it is still open: it ends when that is dropped.
    pub(crate) fn commit(self, port: u16, rng: &mut Rng) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        let add = encode(&["XADD", "abuse:small", "MAXLEN", "100", "*", "f", &"v".repeat(300)]);
        let ask = encode(&["XRANGE", LARGE_KEY, "-", "+"]);
        match self {
            Self::Silence => {}
            Self::Garbage => {
                let bytes: Vec<u8> = (0..rng.between(1, 3000)).map(|_| rng.next() as u8).collect();
                let start: &[u8] =
                    rng.pick(&[&b""[..], b"*", b"*3\r\n$", b"\"", b"*2\r\n$4\r\nECHO\r\n$9\r\n"]);
                stream.write_all(start)?;
                stream.write_all(&bytes)?;
            }
            Self::CutRequest => stream.write_all(&add[..rng.index(add.len())])?,
            Self::CutMulti => {
                stream.write_all(&encode(&["WATCH", "abuse:small", LARGE_KEY]))?;
                stream.write_all(&encode(&["MULTI"]))?;
                stream.write_all(&add.repeat(rng.index(20)))?;
                if rng.chance(50) {
                    stream.write_all(&encode(&["EXEC"])[..rng.index(14)])?;
                }
            }
            Self::CutBlocked => {
                let key = format!("abuse:never:{}", rng.below(10));
                let group =
                    encode(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "abuse:group", ">"]);
                let read = encode(&["XREAD", "BLOCK", "0", "STREAMS", &key, "$"]);
                stream.write_all(if rng.chance(50) { &group } else { &read })?;
                // More while it waits.
                stream.write_all(&add.repeat(rng.index(3)))?;
            }
            Self::CutReply => stream.write_all(&add.repeat(rng.index(50)))?,
            Self::CutLargeReply => {
                stream.write_all(&ask)?;
                let mut some = vec![0; rng.index(200_000) + 1];
                let _ = stream.read(&mut some)?;
            }
            Self::NeverReads => {
                // Ends when the server stops reading, which it must.
                while stream.write_all(&ask.repeat(100)).is_ok() {}
            }
            Self::ReadsSlowly => {
                stream.write_all(&ask.repeat(5))?;
                for _ in 0..5 {
                    let _ = stream.read(&mut [0; 2000])?;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Self::Announces => stream.write_all(b"*1000000\r\n$400000000\r\nabc")?,
            Self::Resets => {
                // What was sent and is not read makes a reset of the end.
                stream.write_all(&encode(&["PING"]).repeat(1000))?;
                stream.shutdown(Shutdown::Read)?;
            }
        }
        Ok(stream)
    }
}

/// What the abuses ask for.
pub(crate) fn prepare(client: &mut super::Client) {
    client.run("DEL abuse:large abuse:small abuse:group");
    for _ in 0..30 {
        client.call(&["XADD", LARGE_KEY, "*", "f", &"v".repeat(100_000)]).unwrap();
    }
    client.run("XGROUP CREATE abuse:group g $ MKSTREAM");
}
