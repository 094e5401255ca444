//! Bytes into steps. Every byte string is a script, small changes of it are small changes of the script, and the
//! command table says what words a command takes.
//!
//! What is kept as a regression is best written as text, since rows of the table have numbers that change: a digit
//! (the session) and the words up to the end of the line, and the other steps as the letters in [`Step::text`].

use std::sync::OnceLock;

use bytes::Bytes;

use super::super::spec::{Arg, ArgKind, CommandSpec};
use super::super::table;
use crate::config::ROWS;

/// How many sessions there are.
pub(super) const SESSIONS: usize = 4;

/// One step of a script.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A session sends a command.
    Send(usize, Vec<Bytes>),
    /// A session sends what makes streams, groups and pending entries, so that others have something to work on.
    Prelude(usize),
    /// Time passes, so much of it (see `world`).
    Advance(u8),
    /// The wall clock is put back.
    SetBack,
    /// Everything that waits for time to pass is told that it has waited long enough.
    TimeOut,
    /// The log is written, and what helper threads do is done.
    Commit,
    Snapshot,
    Reopen,
    /// A client goes and another one comes.
    Reconnect(usize),
    /// The disk takes no more; or, if that was so, it does again.
    FullDisk,
}

impl Step {
    /// As a line of a script that is this step again.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Send(session, words) => {
                let words: Vec<_> = words.iter().map(|word| escape(word)).collect();
                format!("{session}{}\n", words.join(" "))
            }
            Self::Prelude(session) => format!("P{session}\n"),
            Self::Advance(time) => format!("t{}\n", char::from(b'0' + time)),
            Self::SetBack => "b\n".into(),
            Self::TimeOut => "o\n".into(),
            Self::Commit => "k\n".into(),
            Self::Snapshot => "S\n".into(),
            Self::Reopen => "R\n".into(),
            Self::Reconnect(session) => format!("C{session}\n"),
            Self::FullDisk => "F\n".into(),
        }
    }
}

/// How many different times may pass.
pub(super) const TIMES: u8 = 10;

/// A word as a script has it: what would end it is `\xx`.
fn escape(word: &[u8]) -> String {
    let mut text = String::new();
    for byte in word {
        match byte {
            b'!'..=b'[' | b']'..=b'~' => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\{other:02x}")),
        }
    }
    // An empty word has no bytes of its own: an escape of none.
    if text.is_empty() { "\\".into() } else { text }
}

fn unescape(text: &[u8]) -> Bytes {
    let mut word = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = || {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        if *first != b'\\' {
            word.push(*first);
            rest = after;
        } else if let Some(byte) = escaped() {
            word.push(byte);
            rest = &after[2..];
        } else {
            rest = after;
        }
    }
    word.into()
}

/// All rows of the table, and those about streams.
pub(super) fn rows(streams_only: bool) -> &'static [&'static CommandSpec] {
    static ALL: OnceLock<[Vec<&CommandSpec>; 2]> = OnceLock::new();
    let lists = ALL.get_or_init(|| {
        [table::all().collect(), table::all().filter(|spec| spec.group == "stream").collect()]
    });
    &lists[usize::from(streams_only)]
}

const KEYS: &[&str] = &["s", "t", "u", "{a}s", "", "s s", "k\r\n", "streams"];
const GROUPS: &[&str] = &["g", "h", "g", "new", "", "g\r\n-x"];
const CONSUMERS: &[&str] = &["c", "d", "new", "", "c\n"];
const IDS: &[&str] = &[
    "0",
    ">",
    "$",
    "*",
    "-",
    "+",
    "1-1",
    "1-2",
    "2-0",
    "5",
    "3-*",
    "0-0",
    "0-1",
    "(1-1",
    "(0",
    "1-1",
    "1700000000000",
    "1700000000000-0",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615-18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808-1",
    "00-01",
    "1-",
    "-1",
    "1-1-1",
    "x",
];
const INTEGERS: &[&str] = &[
    "1",
    "2",
    "0",
    "3",
    "10",
    "100",
    "1000",
    "-1",
    "-2",
    "15",
    "16",
    "60000",
    "255",
    "256",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1700000000001",
    "1.5",
    "01",
    "+1",
    "-0",
    "",
    " 1",
    "x",
];
const DOUBLES: &[&str] = &["0", "0.001", "1", "-1", "1e3", "1e400", "inf", "nan", "-0", "x", ""];
const PATTERNS: &[&str] = &["*", "s*", "?", "[a-z]*", "[", "\\", "*\\", "[^s]", "**?*", "x-*", ""];
const UNIX_TIMES: &[&str] = &[
    "1700000001",
    "1700000000001",
    "1700000060000",
    "1900000000",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "x",
];
const FIELDS: &[&str] = &["f", "v", "g", "", "field", "\r\n"];
const WORDS: &[&str] = &[
    "",
    "x",
    "0",
    "1",
    "s",
    "all",
    "default",
    "help",
    "yes",
    "no",
    "on",
    "off",
    "*",
    "MAXLEN",
    "STREAMS",
    "127.0.0.1:1",
    "\r\n",
    "server",
    "keyspace",
    "commandstats",
    "latencystats",
    "command",
    "@all",
    "@stream",
];
/// What DEBUG takes is in no row.
const DEBUG: &[&str] = &[
    "RELOAD",
    "NOSAVE",
    "LOADAOF",
    "SET-ACTIVE-EXPIRE",
    "0",
    "1",
    "SLEEP",
    "0.5",
    "1e9",
    "CHANGE-REPL-ID",
    "OBJECT",
    "s",
    "HELP",
    "x",
];

/// Bytes being read as steps.
pub(super) struct Script<'a> {
    bytes: &'a [u8],
    /// A number of things that was just said: so many usually follow.
    announced: Option<usize>,
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, announced: None }
    }

    /// The next byte; zeros at the end.
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// One of several words, or now and then anything.
    fn one_of(&mut self, words: &[&'static str]) -> Bytes {
        match self.byte() {
            255 => Bytes::from(vec![self.byte(); 300]),
            240.. => self.junk(),
            index => words[usize::from(index) % words.len()].into(),
        }
    }

    fn junk(&mut self) -> Bytes {
        let len = self.below(16).min(self.bytes.len());
        let (word, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Bytes::copy_from_slice(word)
    }

    /// The words up to the end of the line.
    fn line(&mut self) -> Vec<Bytes> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n').unwrap_or(self.bytes.len());
        let (line, rest) = self.bytes.split_at(end);
        self.bytes = rest.get(1..).unwrap_or_default();
        line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).map(unescape).collect()
    }

    /// A call of a command, more or less as its row says.
    fn call(&mut self, spec: &'static CommandSpec) -> Vec<Bytes> {
        let mut words: Vec<Bytes> = spec.name.split('|').map(Bytes::from).collect();
        self.announced = None;
        for arg in spec.args {
            self.arg(arg, &mut words);
        }
        if spec.name == "debug" {
            for _ in 0..1 + self.below(2) {
                let word = self.one_of(DEBUG);
                words.push(word);
            }
        }
        match self.byte() {
            250.. if words.len() > 1 => {
                words.pop();
            }
            240.. => {
                let word = self.one_of(WORDS);
                words.push(word);
            }
            230.. => {
                let (one, other) = (self.below(words.len()), self.below(words.len()));
                words.swap(one, other);
            }
            _ => {}
        }
        words
    }

    fn arg(&mut self, arg: &Arg, words: &mut Vec<Bytes>) {
        if arg.optional && self.byte().is_multiple_of(2) {
            return;
        }
        let times = match self.announced.take() {
            _ if !arg.many => 1,
            Some(announced) => announced,
            None => 1 + self.below(3),
        };
        for time in 0..times {
            if let Some(token) = arg.token.filter(|_| time == 0 || arg.many_tokens) {
                words.push(token.into());
            }
            match arg.kind {
                ArgKind::Word => {}
                ArgKind::OneOf(args) => {
                    let index = self.below(args.len());
                    self.arg(&Arg { optional: false, ..args[index] }, words);
                }
                ArgKind::Block(args) => args.iter().for_each(|arg| self.arg(arg, words)),
                _ => {
                    let word = self.value(arg);
                    words.push(word);
                }
            }
        }
    }

    /// A value that suits the argument, as a rule.
    fn value(&mut self, arg: &Arg) -> Bytes {
        match arg.kind {
            ArgKind::Key => self.one_of(KEYS),
            ArgKind::Integer => {
                let word = self.one_of(INTEGERS);
                if arg.name.starts_with("num") {
                    self.announced = std::str::from_utf8(&word).ok().and_then(|text| text.parse().ok());
                    self.announced = self.announced.filter(|number| (1..=4).contains(number));
                }
                word
            }
            ArgKind::Double => self.one_of(DOUBLES),
            ArgKind::Pattern => self.one_of(PATTERNS),
            ArgKind::UnixTime => self.one_of(UNIX_TIMES),
            _ => self.text(arg.name),
        }
    }

    /// A text: what it is for is in its name.
    fn text(&mut self, name: &str) -> Bytes {
        match name {
            "group" | "groupname" => self.one_of(GROUPS),
            "consumer" | "consumername" => self.one_of(CONSUMERS),
            "field" | "value" | "pid" | "iid" | "message" | "password" => self.one_of(FIELDS),
            "key" => self.one_of(KEYS),
            "min-idle-time" => self.one_of(INTEGERS),
            "parameter" => {
                let index = self.below(ROWS.len() + 2);
                ROWS.get(index).map_or_else(|| self.one_of(PATTERNS), |row| row.name.into())
            }
            "command" | "command-name" => {
                let spec = rows(false)[self.below(rows(false).len())];
                spec.name.into()
            }
            name if name.contains("id") || ["start", "end", "threshold"].contains(&name) => self.one_of(IDS),
            _ => self.one_of(WORDS),
        }
    }
}

impl Iterator for Script<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let first = *self.bytes.first()?;
            self.byte();
            let session = usize::from(first) % SESSIONS;
            let send = |words| Some(Step::Send(session, words));
            let named = |name: &str| send(vec![Bytes::copy_from_slice(name.as_bytes())]);
            return match first {
                b'\n' => continue,
                b'0'..=b'3' => match self.line() {
                    words if words.is_empty() => continue,
                    words => send(words),
                },
                b'P' => Some(Step::Prelude(self.below(SESSIONS))),
                b't' => Some(Step::Advance((self.byte() ^ b'0') % TIMES)),
                b'b' => Some(Step::SetBack),
                b'o' => Some(Step::TimeOut),
                b'k' => Some(Step::Commit),
                b'S' => Some(Step::Snapshot),
                b'R' => Some(Step::Reopen),
                b'C' => Some(Step::Reconnect(self.below(SESSIONS))),
                b'F' => Some(Step::FullDisk),
                _ => match first / 4 {
                    0..28 => {
                        let row = self.below(rows(true).len());
                        send(self.call(rows(true)[row]))
                    }
                    28..54 => {
                        let row = self.below(rows(false).len());
                        send(self.call(rows(false)[row]))
                    }
                    54..56 => named("multi"),
                    56..59 => named("exec"),
                    59 => named("discard"),
                    kind => {
                        let name: &[u8] = if kind < 62 { b"xadd" } else { b"xreadgroup" };
                        let Some(spec) = table::by_name(name) else { continue };
                        send(self.call(spec))
                    }
                },
            };
        }
    }
}
