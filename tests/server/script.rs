//! Conversations as text, in `tests/server/scripts/*.txt`: what is sent and what must come back.
//!
//! ```text
//! ## a title                      starts with an empty server and new connections
//! # a comment
//! needs xnack, XADD IDMP          features of tests/common/features.rs, without which the section is skipped
//! from 8.8                        later than the Redis here: expected by its documentation, not proven
//! XLEN s                          a command on connection 1, cut as redis-cli cuts it
//! = :0                            its reply, as `Value` is displayed
//! =.groups.0.lag :0               a part of it: by the names of fields, and by place from 0
//! 2> XREAD BLOCK 0 STREAMS s $ &  a command on connection 2; `&`: nobody waits for the reply now
//! blocked 1                       waits until that many clients are blocked
//! 2~                              connection 2 has got nothing yet
//! 2= *-1                          the reply that connection 2 waits for
//! 2 close                         the client of connection 2 goes away
//! repeat 100 XADD s * n ‹n›       so many times, with numbers from 1; none may fail
//! wait 20                         milliseconds
//! restart                         claimlog is killed and comes back with its data; connections are new
//! =redis +x                       what differs on purpose, with a comment that says why
//! =claimlog +y
//! =resp3 _                        what RESP3 says, where that does not follow from what RESP2 says
//! ```
//!
//! In a reply, `…` stands for anything, `‹5..9›` for a number, and `‹id›` is the text that it stood for before, or, the
//! first time, what it is to stand for. In a command, `‹id›` is that text, `‹now-5›` a unix time in milliseconds,
//! `‹unix+5›` one in seconds, and `‹x*70000›` so many letters.
//!
//! Every section is gone through twice, in RESP2 and in RESP3, but for those that say HELLO or RESET themselves.
//!
//! Where a real Redis 7.0.15 is found, the same scripts run against it: the expectations are proven, not believed.
//! `CLAIMLOG_SCRIPT_RECORD=1` writes Redis's replies below commands that have none yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::features::{Features, NOT_YET};
use crate::common::{Client, Kind, Options, Server, Value, now_ms, words};

/// Texts that were given a name.
type Names = BTreeMap<String, String>;

struct Run {
    options: Options,
    server: Server,
    control: Client,
    features: Features,
    connections: BTreeMap<u32, Client>,
    /// The commands whose replies a connection waits for.
    waiting: BTreeMap<u32, Vec<Vec<Vec<u8>>>>,
    names: Names,
    resp3: bool,
    /// A reply did not come: nothing that follows means anything.
    lost: bool,
    wrong: Vec<String>,
    record: bool,
    recorded: String,
}

/// Runs a whole file; returns everything that was not as expected.
pub(crate) fn run(options: Options, path: &Path, record: bool) -> Vec<String> {
    let server = options.start();
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let mut control = server.client();
    let features =
        if server.kind == Kind::Redis { Features::all() } else { Features::ask(&mut control, &[]) };
    let mut run = Run {
        options,
        server,
        control,
        features,
        connections: BTreeMap::new(),
        waiting: BTreeMap::new(),
        names: Names::new(),
        resp3: false,
        lost: false,
        wrong: Vec::new(),
        record,
        recorded: String::new(),
    };
    let starts: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].starts_with("## ")).collect();
    for line in &lines[..starts.first().copied().unwrap_or(lines.len())] {
        let _ = writeln!(run.recorded, "{line}");
    }
    for (number, &start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(lines.len());
        run.section(&lines[start..end], &name, start + 1);
    }
    if record && run.recorded != text {
        std::fs::write(path, &run.recorded).unwrap();
    }
    run.wrong
}

impl Run {
    fn section(&mut self, lines: &[&str], file: &str, first: usize) {
        let title = lines[0].trim_start_matches("## ");
        let mut recorded = std::mem::take(&mut self.recorded);
        let all: Vec<&str> = lines.iter().flat_map(|line| line.strip_prefix("needs ")).collect();
        let needs: Vec<&str> = all.iter().flat_map(|names| names.split(", ")).collect();
        let later = lines.iter().any(|line| line.starts_with("from "));
        let missing: Vec<&&str> = needs.iter().filter(|name| !self.features.has(name)).collect();
        let mut skipped = false;
        if later && self.server.kind == Kind::Redis {
            skipped = true;
        } else if !missing.is_empty() {
            skipped = true;
            println!("SKIPPED: {file} ({title}): claimlog does not have {missing:?} yet");
            // Anything else that is missing is a mistake, not something that is still to come.
            let lost = missing.iter().filter(|name| !NOT_YET.contains(name));
            self.wrong.extend(
                lost.map(|name| format!("{file}:{first} ({title}): the server does not have {name}")),
            );
        }
        if skipped {
            for line in lines {
                let _ = writeln!(recorded, "{line}");
            }
            self.recorded = recorded;
            return;
        }
        let switches = |line: &&str| {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches("> ");
            rest.starts_with("HELLO") || rest.starts_with("RESET")
        };
        // Nor is anything recorded twice.
        let once = self.record || lines.iter().any(switches);
        let protocols: &[bool] = if once { &[false] } else { &[false, true] };
        for &resp3 in protocols {
            self.resp3 = resp3;
            self.start();
            for (at, line) in lines.iter().enumerate() {
                if !resp3 {
                    let _ = writeln!(self.recorded, "{line}");
                }
                let place = format!("{file}:{} ({title}{})", first + at, if resp3 { ", RESP3" } else { "" });
                let ignored = ["#", "needs ", "from "].iter().any(|start| line.starts_with(start));
                if !ignored && !self.lost && !line.trim().is_empty() {
                    self.line(line, &lines[at + 1..], &place);
                }
            }
            if !resp3 {
                recorded.push_str(&std::mem::take(&mut self.recorded));
            }
        }
        self.recorded = recorded;
    }

    fn start(&mut self) {
        for (_, client) in std::mem::take(&mut self.connections) {
            client.close();
        }
        self.waiting.clear();
        self.lost = false;
        self.names.clear();
        assert_eq!(self.control.run("FLUSHALL"), Value::Simple(b"OK".to_vec()));
        for (name, value) in [("stream-node-max-entries", 100), ("stream-node-max-bytes", 4096)] {
            self.control.run(&format!("CONFIG SET {name} {value}"));
        }
        // Readers of the section before are gone when the first one blocks.
        self.wait_for_blocked("0", "the start of a section");
    }

    /// Redis has no data on disk here, and stays.
    fn restart(&mut self) {
        if self.server.kind == Kind::Claimlog {
            self.connections.clear();
            self.waiting.clear();
            self.server.kill();
            self.server = self.options.start();
            self.control = self.server.client();
        }
    }

    fn connection(&mut self, number: u32) -> &mut Client {
        let (server, resp3) = (&self.server, self.resp3);
        self.connections.entry(number).or_insert_with(|| {
            let mut client = server.client();
            if resp3 {
                client.run("HELLO 3");
            }
            client
        })
    }

    fn line(&mut self, line: &str, next: &[&str], place: &str) {
        if let Some(count) = line.strip_prefix("blocked ") {
            return self.wait_for_blocked(count, place);
        }
        if let Some(ms) = line.strip_prefix("wait ") {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap()));
            return;
        }
        if line == "restart" {
            return self.restart();
        }
        if let Some(what) = line.strip_prefix("repeat ") {
            return self.repeat(what, place);
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
        } else if rest.starts_with('=') {
            // The reply of an earlier command with `&`; the one of a command is read with the command.
            let others = if self.server.kind == Kind::Redis { "=claimlog " } else { "=redis " };
            if digits > 0 && !rest.starts_with(others) {
                let waiting = self.waiting.entry(number).or_default();
                let args = if waiting.is_empty() { Vec::new() } else { waiting.remove(0) };
                self.expect(number, std::slice::from_ref(&rest), &args, line, place);
            }
        } else {
            let command = rest.strip_prefix("> ").unwrap_or(rest);
            let (command, background) = match command.strip_suffix(" &") {
                Some(command) => (command, true),
                None => (command, false),
            };
            let args = self.fill(command, 0);
            if let Err(e) = self.connection(number).send(&args) {
                self.wrong.push(format!("{place}: {command}: {e}"));
                return;
            }
            if background {
                self.waiting.entry(number).or_default().push(args);
            } else {
                let below: Vec<&str> =
                    next.iter().take_while(|line| line.starts_with('=')).copied().collect();
                self.expect(number, &below, &args, command, place);
            }
        }
    }

    /// The words of a command, with `‹names›` replaced.
    fn fill(&self, command: &str, n: u64) -> Vec<Vec<u8>> {
        let mut out = String::new();
        let mut rest = command;
        while let Some((before, after)) = rest.split_once('‹') {
            let (name, after) = after.split_once('›').unwrap();
            out.push_str(before);
            rest = after;
            let offset = |text: &str| text.parse::<i64>().unwrap_or_default();
            let now = i64::try_from(now_ms()).unwrap();
            if name == "n" {
                out.push_str(&n.to_string());
            } else if let Some(times) = name.strip_prefix("x*") {
                out.push_str(&"x".repeat(times.parse().unwrap()));
            } else if let Some(ms) = name.strip_prefix("now") {
                out.push_str(&(now + offset(ms)).to_string());
            } else if let Some(seconds) = name.strip_prefix("unix") {
                out.push_str(&(now / 1000 + offset(seconds)).to_string());
            } else {
                let text = self.names.get(name);
                out.push_str(text.unwrap_or_else(|| panic!("{command}: {name} stands for nothing")));
            }
        }
        out.push_str(rest);
        words(&out)
    }

    fn repeat(&mut self, what: &str, place: &str) {
        let (times, command) = what.split_once(' ').unwrap();
        let commands: Vec<_> = (1..=times.parse().unwrap()).map(|n| self.fill(command, n)).collect();
        let replies = self.connection(1).pipeline(&commands).unwrap();
        if let Some(bad) = replies.iter().find(|reply| reply.is_error()) {
            self.wrong.push(format!("{place}: {command}: {bad}"));
        }
    }

    fn expect(&mut self, number: u32, expectations: &[&str], args: &[Vec<u8>], what: &str, place: &str) {
        let reply = match self.connection(number).recv() {
            Ok(reply) => reply,
            Err(e) => {
                self.wrong.push(format!("{place}: {what}: {e}; what follows in this section is left out"));
                self.lost = true;
                return;
            }
        };
        if let Some(why) = wrong_type(args, &reply, self.resp3) {
            self.wrong.push(format!("{place}: {what}\n  {why}\n  got      {reply}"));
        }
        let with = |start: &str| {
            let lines = expectations.iter().filter_map(|line| line.strip_prefix(start));
            lines.map(|line| (None, line.to_owned())).collect::<Vec<_>>()
        };
        let resp3 = if self.resp3 { with("=resp3 ") } else { Vec::new() };
        let mine = with(if self.server.kind == Kind::Redis { "=redis " } else { "=claimlog " });
        let mut wanted =
            [resp3, mine, with("= ")].into_iter().find(|lines| !lines.is_empty()).unwrap_or_default();
        wanted.truncate(1);
        for part in expectations.iter().filter_map(|line| line.strip_prefix("=.")) {
            let (path, want) = part.split_once(' ').unwrap();
            wanted.push((Some(path), want.to_owned()));
        }
        if wanted.is_empty() && self.record && !self.resp3 {
            let _ = writeln!(self.recorded, "= {reply}");
            return;
        }
        if wanted.is_empty() {
            self.wrong.push(format!("{place}: {what}\n  no expectation; got {reply}"));
        }
        for (path, want) in wanted {
            let got = match path {
                None => Some(reply.clone()),
                Some(path) => part(&reply, path),
            };
            let texts: Vec<String> = match &got {
                None => Vec::new(),
                // A map is a list of pairs in the RESP2 of XREAD, and a flat list elsewhere.
                Some(value) if self.resp3 => {
                    vec![value.to_string(), in_resp2(value, true), in_resp2(value, false)]
                }
                Some(value) => vec![value.to_string()],
            };
            let as_resp3 = want.replace("$-1", "_").replace("*-1", "_");
            let fits_one = texts.iter().any(|text| {
                fits(&want, text, &mut self.names) || (self.resp3 && fits(&as_resp3, text, &mut self.names))
            });
            if !fits_one {
                let path = path.map(|path| format!(" .{path}")).unwrap_or_default();
                self.wrong.push(format!("{place}: {what}{path}\n  expected {want}\n  got      {reply}"));
            }
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

/// A part of a reply: names of fields, and places in lists, counted from 0. A place in a map is a pair.
fn part(reply: &Value, path: &str) -> Option<Value> {
    let mut value = reply.clone();
    for step in path.split('.') {
        value = match (step.parse::<usize>(), &value) {
            (Ok(at), Value::Map(pairs)) => {
                let (key, value) = pairs.get(at)?;
                Value::Array(vec![key.clone(), value.clone()])
            }
            (Ok(at), Value::Array(items)) => items.get(at)?.clone(),
            (Err(_), Value::Map(_) | Value::Array(_)) => value.find(step)?.clone(),
            _ => return None,
        };
    }
    Some(value)
}

/// What a reply must not be in its protocol, whatever its content.
fn wrong_type(args: &[Vec<u8>], reply: &Value, resp3: bool) -> Option<&'static str> {
    fn any(value: &Value, bad: &impl Fn(&Value) -> bool) -> bool {
        bad(value)
            || match value {
                Value::Array(items) | Value::Set(items) | Value::Push(items) => {
                    items.iter().any(|item| any(item, bad))
                }
                Value::Map(pairs) => pairs.iter().any(|(key, value)| any(key, bad) || any(value, bad)),
                _ => false,
            }
    }
    let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    if !resp3 {
        return None;
    }
    if any(reply, &|value| matches!(value, Value::NullBulk | Value::NullArray)) {
        return Some("RESP3 has one null, and it is not this one");
    }
    let maps: [&[u8]; 2] = [b"XREAD", b"XREADGROUP"];
    if maps.contains(&name.as_slice()) && matches!(reply, Value::Array(_)) {
        return Some("in RESP3, a map");
    }
    let sub = args.get(1).map(|sub| sub.to_ascii_uppercase()).unwrap_or_default();
    let flat = |reply: &Value| matches!(reply, Value::Array(_));
    let wrong = match (name.as_slice(), sub.as_slice()) {
        (b"XINFO", b"STREAM") => {
            let groups = if reply.is_error() || flat(reply) { None } else { reply.find("groups") };
            flat(reply) || matches!(groups, Some(Value::Array(groups)) if groups.iter().any(flat))
        }
        (b"XINFO", b"GROUPS" | b"CONSUMERS") => {
            matches!(reply, Value::Array(items) if items.iter().any(flat))
        }
        _ => false,
    };
    wrong.then_some("in RESP3, maps")
}

/// How RESP2 would say it.
fn in_resp2(value: &Value, pairs_in_lists: bool) -> String {
    fn convert(value: &Value, pairs_in_lists: bool) -> Value {
        let one = |value: &Value| convert(value, pairs_in_lists);
        match value {
            Value::Array(items) | Value::Set(items) => Value::Array(items.iter().map(one).collect()),
            Value::Map(pairs) if pairs_in_lists => {
                Value::Array(pairs.iter().map(|(k, v)| Value::Array(vec![one(k), one(v)])).collect())
            }
            Value::Map(pairs) => Value::Array(pairs.iter().flat_map(|(k, v)| [one(k), one(v)]).collect()),
            Value::Verbatim(bytes) => Value::Bulk(bytes[4..].to_vec()),
            other => other.clone(),
        }
    }
    convert(value, pairs_in_lists).to_string()
}

/// `…` matches any text, `‹5..9›` a number, `‹name›` the text of that name, or a new one.
fn fits(want: &str, got: &str, names: &mut Names) -> bool {
    let special = want.find(['…', '‹']);
    let Some(at) = special else { return want == got };
    let Some(rest) = got.strip_prefix(&want[..at]) else { return false };
    if let Some(want) = want[at..].strip_prefix('…') {
        let mut ends = rest.char_indices().map(|(end, _)| end).chain([rest.len()]);
        return ends.any(|end| fits(want, &rest[end..], names));
    }
    let (name, want) = want[at + '‹'.len_utf8()..].split_once('›').unwrap();
    if let Some((low, high)) = name.split_once("..") {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        let number = rest[..end].parse::<i64>();
        let range = low.parse::<i64>().unwrap()..=high.parse::<i64>().unwrap();
        return number.is_ok_and(|number| range.contains(&number)) && fits(want, &rest[end..], names);
    }
    if let Some(text) = names.get(name) {
        return rest.strip_prefix(text.as_str()).is_some_and(|rest| fits(want, rest, &mut names.clone()));
    }
    let end = rest.find('"').unwrap_or(rest.len());
    names.insert(name.to_owned(), rest[..end].to_owned());
    fits(want, &rest[end..], names)
}
