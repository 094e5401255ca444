//! What every test from the outside needs: a raw RESP client, servers that die with the test, a seeded rng.
//!
//! Nothing in here knows claimlog's library: it speaks to a process over a socket, as a user would.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this module")]

pub(crate) mod abuse;
pub(crate) mod features;
pub(crate) mod resp;
pub(crate) mod rng;
pub(crate) mod server;
pub(crate) mod usage;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use resp::{Client, Value};
pub(crate) use rng::Rng;
pub(crate) use server::{Kind, Options, Server};

/// The wall clock in unix milliseconds, as both servers see it.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A number from the environment, or the default.
pub(crate) fn env_u64(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} must be a number, it is {text:?}"))
    })
}

/// The seed of this run: `CLAIMLOG_SEED`, or always the same one; `CLAIMLOG_SEED=0` takes a fresh one from the clock.
/// Every test prints it.
pub(crate) fn seed() -> u64 {
    match env_u64("CLAIMLOG_SEED", 1) {
        0 => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |now| u64::try_from(now.as_millis()).unwrap_or(1))
        }
        seed => seed,
    }
}

/// Cuts a line as redis-cli does: blanks, "double quotes" with \x41 \n \r \t \\ \" escapes, 'single quotes'.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut chars = line.bytes().peekable();
    loop {
        while chars.next_if(u8::is_ascii_whitespace).is_some() {}
        let Some(&first) = chars.peek() else { return out };
        let mut word = Vec::new();
        if first == b'"' || first == b'\'' {
            chars.next();
            while let Some(byte) = chars.next() {
                match byte {
                    b'\\' if first == b'"' => match chars.next().unwrap() {
                        b'n' => word.push(b'\n'),
                        b'r' => word.push(b'\r'),
                        b't' => word.push(b'\t'),
                        b'x' => {
                            let hex = [chars.next().unwrap(), chars.next().unwrap()];
                            word.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                        }
                        other => word.push(other),
                    },
                    quote if quote == first => break,
                    other => word.push(other),
                }
            }
        } else {
            while let Some(byte) = chars.next_if(|byte| !byte.is_ascii_whitespace()) {
                word.push(byte);
            }
        }
        out.push(word);
    }
}

/// The opposite of [`words`]: one line that can be pasted into redis-cli.
pub(crate) fn line(args: &[Vec<u8>]) -> String {
    args.iter().map(|arg| word(arg)).collect::<Vec<_>>().join(" ")
}

fn word(arg: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !arg.is_empty() && arg.iter().all(plain) {
        return String::from_utf8_lossy(arg).into_owned();
    }
    resp::quoted(arg)
}
