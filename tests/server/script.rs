//! Conversations as text, in `tests/server/scripts/*.txt`: what is sent and what must come back.
//!
//! ```text
//! ## a title                      starts with an empty server and new connections
//! # a comment
//! XLEN s                          a command on connection 1, cut as redis-cli cuts it
//! = :0                            its reply, as `Value` is displayed; `…` stands for anything
//! 2> XREAD BLOCK 0 STREAMS s $ &  a command on connection 2; `&`: nobody waits for the reply now
//! blocked 1                       waits until that many clients are blocked
//! 2~                              connection 2 has got nothing yet
//! 2= _                            the reply that connection 2 waits for
//! 2 close                         the client of connection 2 goes away
//! =redis +x                       what differs on purpose, with a comment that says why
//! =claimlog +y
//! ```
//!
//! Where a real Redis 7.0.15 is found, the same scripts run against it: the expectations are proven, not believed.
//! `CLAIMLOG_SCRIPT_RECORD=1` writes Redis's replies below commands that have none yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{Client, Kind, Server, Value, words};

struct Run<'a> {
    server: &'a Server,
    control: Client,
    connections: BTreeMap<u32, Client>,
    wrong: Vec<String>,
    record: bool,
    recorded: String,
}

/// Runs a whole file; returns everything that was not as expected.
pub(crate) fn run(server: &Server, path: &Path, record: bool) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let mut run = Run {
        server,
        control: server.client(),
        connections: BTreeMap::new(),
        wrong: Vec::new(),
        record,
        recorded: String::new(),
    };
    let mut title = String::new();
    for (at, line) in lines.iter().enumerate() {
        let _ = writeln!(run.recorded, "{line}");
        let place = format!("{name}:{} ({title})", at + 1);
        if let Some(new) = line.strip_prefix("## ") {
            new.clone_into(&mut title);
            run.start();
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            run.line(line, &lines[at + 1..], &place);
        }
    }
    if record && run.recorded != text {
        std::fs::write(path, &run.recorded).unwrap();
    }
    run.wrong
}

impl Run<'_> {
    fn start(&mut self) {
        for (_, client) in std::mem::take(&mut self.connections) {
            client.close();
        }
        assert_eq!(self.control.run("FLUSHALL"), Value::Simple(b"OK".to_vec()));
        for (name, value) in [("stream-node-max-entries", 100), ("stream-node-max-bytes", 4096)] {
            self.control.run(&format!("CONFIG SET {name} {value}"));
        }
    }

    fn connection(&mut self, number: u32) -> &mut Client {
        let server = self.server;
        self.connections.entry(number).or_insert_with(|| server.client())
    }

    fn line(&mut self, line: &str, next: &[&str], place: &str) {
        let expectation = |line: &str| {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with('=')
        };
        if let Some(count) = line.strip_prefix("blocked ") {
            return self.wait_for_blocked(count, place);
        }
        if let Some(ms) = line.strip_prefix("wait ") {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap()));
            return;
        }
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u32 = if digits > 0 { line[..digits].parse().unwrap() } else { 1 };
        let rest = &line[digits..];
        if rest == " close" {
            self.connections.remove(&number).unwrap().close();
        } else if rest == "~" {
            if let Some(reply) = self.connection(number).try_recv(Duration::from_millis(20)).unwrap() {
                self.wrong.push(format!("{place}: connection {number} must wait and got {reply}"));
            }
        } else if expectation(line) {
            // The reply of an earlier command with `&`; the one of a command is read with the command.
            let others = if self.server.kind == Kind::Redis { "=claimlog " } else { "=redis " };
            if digits > 0 && !rest.starts_with(others) {
                self.expect(number, std::slice::from_ref(&rest), line, place);
            }
        } else {
            let command = rest.strip_prefix("> ").unwrap_or(rest);
            let (command, background) = match command.strip_suffix(" &") {
                Some(command) => (command, true),
                None => (command, false),
            };
            if let Err(e) = self.connection(number).send(&words(command)) {
                self.wrong.push(format!("{place}: {command}: {e}"));
                return;
            }
            if !background {
                let below: Vec<&str> =
                    next.iter().take_while(|line| line.starts_with('=')).copied().collect();
                self.expect(number, &below, command, place);
            }
        }
    }

    fn expect(&mut self, number: u32, expectations: &[&str], what: &str, place: &str) {
        let reply = match self.connection(number).recv() {
            Ok(reply) => reply.to_string(),
            Err(e) => format!("({e})"),
        };
        let mine = if self.server.kind == Kind::Redis { "=redis " } else { "=claimlog " };
        let own = expectations.iter().find_map(|line| line.strip_prefix(mine));
        let want = own.or_else(|| expectations.iter().find_map(|line| line.strip_prefix("= ")));
        match want {
            Some(want) if fits(want, &reply) => {}
            Some(want) => self.wrong.push(format!("{place}: {what}\n  expected {want}\n  got      {reply}")),
            None if self.record => {
                let _ = writeln!(self.recorded, "= {reply}");
            }
            None => self.wrong.push(format!("{place}: {what}\n  no expectation; got {reply}")),
        }
    }

    fn wait_for_blocked(&mut self, count: &str, place: &str) {
        let end = Instant::now() + Duration::from_secs(3);
        let field = format!("blocked_clients:{count}\r\n");
        while !self.control.run("INFO clients").text().contains(&field) {
            if Instant::now() > end {
                self.wrong.push(format!("{place}: INFO never said {}", field.trim()));
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// `…` matches any text.
fn fits(want: &str, got: &str) -> bool {
    let mut parts = want.split('…');
    let Some(mut rest) = got.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
