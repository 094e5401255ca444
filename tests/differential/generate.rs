//! Random sequences of stream commands: mostly sensible ones on few keys, ids and names, so that they meet each
//! other, with a good share of wrong ones.
//!
//! Whatever depends on the clock is either far away from any threshold (an idle time is some seconds or more than
//! 50 seconds, a minimum is 0, 30 seconds or much more) or normalised by `normal.rs`.

use crate::common::{Rng, features::Features, now_ms};

pub(crate) type Args = Vec<Vec<u8>>;

/// Connections a sequence may use.
pub(crate) const CONNECTIONS: usize = 5;

/// One thing to do to both servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A command on connection `on`. A blocking one on connection 1 or above may really block.
    Call { on: usize, args: Args, inline: bool },
    /// A whole SCAN from cursor 0 to cursor 0 with these options; the keys are compared as a set.
    Scan(Args),
    /// Some milliseconds in which nothing happens, so that a clock that should run, or should not, shows.
    Sleep(u64),
}

/// What a sequence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    General,
    /// Few groups, many claims of rows with all sorts of ages.
    Claims,
    /// All connections but 0 block, connection 0 acts.
    Blocking,
    /// Small nodes and much trimming.
    Trimming,
    /// Transactions with a second connection that interferes.
    Transactions,
    /// Keys that are copied, renamed, moved and that expire, in several databases.
    Keys,
}

/// The commands that sequences are made of, but for a few that are only there to be unknown.
pub(crate) const COMMANDS: &[&str] = &[
    "client",
    "command",
    "config",
    "copy",
    "dbsize",
    "debug",
    "del",
    "discard",
    "echo",
    "exec",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "flushall",
    "flushdb",
    "hello",
    "keys",
    "memory",
    "memory|usage",
    "move",
    "multi",
    "object",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "ping",
    "pttl",
    "randomkey",
    "rename",
    "renamenx",
    "reset",
    "scan",
    "select",
    "swapdb",
    "time",
    "touch",
    "ttl",
    "type",
    "unlink",
    "unwatch",
    "wait",
    "watch",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xgroup",
    "xinfo",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xreadgroup",
    "xrevrange",
    "xsetid",
    "xtrim",
];

/// Words that are wrong nearly everywhere. Not here, because only Redis's own parser takes them: ids with leading
/// blanks or `+`, and ids with a NUL inside.
const JUNK: &[&str] = &[
    "",
    "abc",
    "0",
    "-1",
    "1.5",
    "-",
    "+",
    "$",
    ">",
    "*",
    "~",
    "=",
    "(1-1",
    "COUNT",
    "STREAMS",
    "BLOCK",
    "GROUP",
    "MAXLEN",
    "MINID",
    "LIMIT",
    "NOACK",
    "IDLE",
    "TIME",
    "RETRYCOUNT",
    "FORCE",
    "JUSTID",
    "LASTID",
    "ENTRIESREAD",
    "MKSTREAM",
    "NOMKSTREAM",
    "FULL",
    "REPLACE",
    "\u{e9}\r\n\u{1}",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775808",
];

const ODD_IDS: &[&str] = &[
    "abc",
    "",
    "0",
    "0-0",
    "-1",
    "1-",
    "-",
    "+",
    "$",
    ">",
    "*",
    "1-*",
    "0-*",
    "1-2-3",
    "1--2",
    "(1-1",
    "((1-1",
    "(-",
    "(+",
    "(",
    "1.5",
    "0x10",
    "05-01",
    "0-1",
    "*-1",
    "*-*",
    "1-abc",
    "abc-1",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551615-18446744073709551615",
    "(18446744073709551615-18446744073709551615",
    "(0-0",
    "(0",
    "18446744073709551615-*",
    "1-18446744073709551615",
    "1-18446744073709551616",
    "9223372036854775807-9223372036854775807",
];

const ODD_NUMBERS: &[&str] = &[
    "-1",
    "-5",
    "abc",
    "",
    "1.0",
    "+1",
    "01",
    " 1",
    "-0",
    "0x1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "-9223372036854775808",
    "-9223372036854775809",
];

/// One sequence, without the commands that the server under test does not have.
pub(crate) fn sequence(rng: &mut Rng, features: &Features) -> Vec<Step> {
    let mut steps = whole_sequence(rng);
    let lower = |arg: &Vec<u8>| String::from_utf8_lossy(arg).to_ascii_lowercase();
    steps.retain(|step| match step {
        Step::Call { args, .. } => {
            let asks = args[0].eq_ignore_ascii_case(b"COMMAND");
            let names = if asks { &args[..] } else { &args[..1] };
            let pairs = if asks { &args[..] } else { &args[..args.len().min(2)] };
            names.iter().all(|name| features.has(&lower(name)))
                && pairs
                    .windows(2)
                    .all(|pair| features.has(&format!("{}|{}", lower(&pair[0]), lower(&pair[1]))))
        }
        _ => true,
    });
    steps
}

fn whole_sequence(rng: &mut Rng) -> Vec<Step> {
    let flavour = match rng.below(100) {
        0..33 => Flavour::General,
        33..51 => Flavour::Claims,
        51..68 => Flavour::Blocking,
        68..79 => Flavour::Trimming,
        79..90 => Flavour::Transactions,
        _ => Flavour::Keys,
    };
    let mut gen_ = Generator {
        flavour,
        keys: (0..3).map(|_| Key { last: (0, 0), ids: Vec::new() }).collect(),
        autos: 0,
        uses_autos: rng.chance(8),
        elsewhere: false,
        steps: Vec::new(),
        rng: rng.clone(),
    };
    gen_.all();
    rng.next();
    gen_.steps
}

#[derive(Clone)]
struct Key {
    /// The highest id we tried to add.
    last: (u64, u64),
    ids: Vec<String>,
}

struct Generator {
    flavour: Flavour,
    keys: Vec<Key>,
    /// How many ids the servers were asked to make.
    autos: usize,
    uses_autos: bool,
    /// Something may be in another database.
    elsewhere: bool,
    steps: Vec<Step>,
    rng: Rng,
}

macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$($arg.as_bytes().to_vec()),*] };
}

fn push(args: &mut Args, more: &[&str]) {
    args.extend(more.iter().map(|word| word.as_bytes().to_vec()));
}

impl Generator {
    fn all(&mut self) {
        if self.rng.chance(50) {
            for on in 0..CONNECTIONS {
                self.call(on, args!["HELLO", "3"]);
            }
        }
        if self.flavour == Flavour::Trimming || self.rng.chance(5) {
            let entries = ["1", "2", "3", "5", "10", "0"];
            let entries = self.rng.pick(&entries).to_owned();
            self.call(0, args!["CONFIG", "SET", "stream-node-max-entries", entries]);
            if self.rng.chance(40) {
                let bytes = self.rng.between(20, 400).to_string();
                self.call(0, args!["CONFIG", "SET", "stream-node-max-bytes", bytes]);
            }
        }
        // A start from which something can happen.
        for key in 0..self.rng.between(1, 3) {
            let key = usize::try_from(key).unwrap();
            let most = match self.flavour {
                Flavour::Trimming => 30,
                Flavour::Claims => 15,
                _ => 6,
            };
            for _ in 0..self.rng.between(1, most) {
                let args = self.plain_add(key);
                self.call(0, args);
            }
            if self.flavour == Flavour::Claims || self.rng.chance(85) {
                let at = match self.flavour {
                    Flavour::Blocking => "$".to_owned(),
                    _ if self.rng.chance(80) => "0".to_owned(),
                    _ => self.small_id(),
                };
                self.call(0, args!["XGROUP", "CREATE", Self::key_name(key), "g1", at]);
                if self.rng.chance(75) {
                    let count = self.rng.between(1, most).to_string();
                    let name = Self::key_name(key);
                    let read =
                        args!["XREADGROUP", "GROUP", "g1", "alice", "COUNT", count, "STREAMS", name, ">"];
                    self.call(0, read);
                }
            }
        }
        for _ in 0..self.rng.between(18, 32) {
            self.one();
        }
        // In the end, all that can be seen.
        if matches!(self.flavour, Flavour::Transactions | Flavour::Keys) {
            self.call(0, args!["EXEC"]);
        }
        for key in ["k1", "k2", "k3"] {
            self.call(0, args!["XINFO", "STREAM", key, "FULL", "COUNT", "0"]);
            self.call(0, args!["XINFO", "GROUPS", key]);
        }
        self.call(0, args!["KEYS", "*"]);
        if self.elsewhere {
            for db in ["0", "1"] {
                self.call(0, args!["SELECT", db]);
                self.call(0, args!["KEYS", "*"]);
                for key in ["k1", "k2", "k3"] {
                    self.call(0, args!["PTTL", key]);
                    self.call(0, args!["XINFO", "STREAM", key, "FULL", "COUNT", "0"]);
                }
            }
        }
    }

    fn one(&mut self) {
        match self.flavour {
            Flavour::Blocking => self.one_blocking(),
            Flavour::Transactions => self.one_in_transactions(),
            Flavour::Keys if self.rng.chance(25) => self.one_in_transactions(),
            _ => {
                let on = usize::from(self.rng.chance(4));
                self.one_plain(on);
            }
        }
    }

    fn one_plain(&mut self, on: usize) {
        if self.rng.chance(1) {
            let ms = self.rng.between(5, 25);
            self.steps.push(Step::Sleep(ms));
        }
        if self.rng.chance(1) {
            let mut options = Vec::new();
            if self.rng.chance(50) {
                let pattern = self.rng.pick(&["*", "k*", "k[12]", "?1", "none", "k[^1]", "\\k1"]).to_owned();
                push(&mut options, &["MATCH", &pattern]);
            }
            if self.rng.chance(50) {
                let count = self.rng.pick(&["1", "2", "100"]).to_owned();
                push(&mut options, &["COUNT", &count]);
            }
            if self.rng.chance(30) {
                let kind = self.rng.pick(&["stream", "STREAM", "string", "hash"]).to_owned();
                push(&mut options, &["TYPE", &kind]);
            }
            self.steps.push(Step::Scan(options));
            return;
        }
        let args = self.command();
        let args = self.spoil(args);
        self.call(on, args);
    }

    fn one_blocking(&mut self) {
        if self.rng.chance(35) {
            let on = self.rng.index(CONNECTIONS - 1) + 1;
            let args = self.blocking_read();
            self.call(on, args);
            return;
        }
        match self.rng.below(100) {
            0..42 => {
                let key = self.key();
                let args = self.plain_add(key);
                self.call(0, args);
            }
            42..46 => {
                let key = Self::key_name(self.key());
                self.call(0, args!["DEL", key]);
            }
            46..50 => {
                let key = Self::key_name(self.key());
                self.call(0, args!["XGROUP", "DESTROY", key, "g1"]);
            }
            50..52 => {
                let all = self.rng.pick(&["FLUSHALL", "FLUSHDB"]).to_owned();
                self.call(0, args![all]);
            }
            52..66 => {
                let key = Self::key_name(self.key());
                self.call(0, args!["XGROUP", "CREATE", key, "g1", "$", "MKSTREAM"]);
            }
            66..70 => {
                // Within one transaction, all additions to one key: a key of two would show a known difference.
                let key = self.key();
                self.call(0, args!["MULTI"]);
                for _ in 0..self.rng.between(1, 3) {
                    let args = self.plain_add(key);
                    self.call(0, args);
                }
                self.call(0, args!["EXEC"]);
            }
            70..78 => {
                let args = self.moves_a_key();
                self.call(0, args);
            }
            78..80 => {
                let key = Self::key_name(self.key());
                self.call(0, args!["EXPIRE", key, "-1"]);
            }
            80..84 => {
                let who = format!("@client:{}", self.rng.index(CONNECTIONS));
                let mut args = args!["CLIENT", "UNBLOCK", who];
                if self.rng.chance(60) {
                    let how = self.rng.pick(&["ERROR", "TIMEOUT", "error", "NONSENSE"]).to_owned();
                    push(&mut args, &[&how]);
                }
                self.call(0, args);
            }
            _ => self.one_plain(0),
        }
    }

    fn blocking_read(&mut self) -> Args {
        let block = self.rng.pick(&["0", "100000"]).to_owned();
        let one = Self::key_name(self.key());
        let mut args = if self.rng.chance(55) {
            let who = self.consumer();
            let mut args = args!["XREADGROUP", "GROUP", "g1", who];
            if self.rng.chance(40) {
                let count = self.rng.between(1, 2).to_string();
                push(&mut args, &["COUNT", &count]);
            }
            push(&mut args, &["BLOCK", &block]);
            if self.rng.chance(15) {
                push(&mut args, &["NOACK"]);
            }
            args
        } else {
            args!["XREAD", "BLOCK", block]
        };
        let id = if args[0] == b"XREADGROUP" { ">" } else { "$" };
        let two = Self::key_name(self.key());
        if self.rng.chance(30) && one != two {
            push(&mut args, &["STREAMS", &one, &two, id, id]);
        } else {
            push(&mut args, &["STREAMS", &one, id]);
        }
        args
    }

    fn one_in_transactions(&mut self) {
        match self.rng.below(100) {
            0..12 => self.call(0, args!["MULTI"]),
            12..26 => self.call(0, args!["EXEC"]),
            26..29 => self.call(0, args!["DISCARD"]),
            29..40 => {
                let mut args = args!["WATCH"];
                for _ in 0..self.rng.between(1, 2) {
                    let key = Self::key_name(self.key());
                    push(&mut args, &[&key]);
                }
                let args = self.spoil(args);
                self.call(0, args);
            }
            40..42 => self.call(0, args!["UNWATCH"]),
            42..60 => self.one_plain(1),
            60..62 => {
                self.elsewhere = true;
                self.call(0, args!["SELECT", "1"]);
            }
            _ => self.one_plain(0),
        }
    }

    fn call(&mut self, on: usize, mut args: Args) {
        let really_blocks = on > 0 && self.flavour == Flavour::Blocking;
        let name = args[0].to_ascii_uppercase();
        if (name == b"XREAD" || name == b"XREADGROUP") && !really_blocks {
            // Nobody else would wake us: wait for a moment only.
            for at in 1..args.len().saturating_sub(1) {
                if args[at].eq_ignore_ascii_case(b"BLOCK") {
                    let ms: i128 = String::from_utf8_lossy(&args[at + 1]).trim().parse().unwrap_or(-1);
                    if (0..=i128::from(i64::MAX)).contains(&ms) {
                        args[at + 1] = b"2".to_vec();
                    }
                }
            }
        }
        let plain = |arg: &Vec<u8>| {
            !arg.is_empty() && arg.iter().all(|b| b.is_ascii_alphanumeric() || b"-*>".contains(b))
        };
        let inline = !really_blocks && self.rng.chance(3) && args.iter().all(plain);
        if name == b"XADD" && args.iter().any(|arg| arg == b"*") {
            self.autos += 1;
        }
        self.steps.push(Step::Call { on, args, inline });
    }

    /// Sometimes a command loses, doubles, swaps or changes an argument.
    fn spoil(&mut self, mut args: Args) -> Args {
        let name = args[0].to_ascii_uppercase();
        if self.rng.chance(5) {
            args[0] = args[0].to_ascii_lowercase();
        }
        // The last three: HELLO takes effect in part in 7.0, WAIT cuts large numbers off, and DEBUG may sleep.
        let never: [&[u8]; 7] = [b"COMMAND", b"CONFIG", b"CLIENT", b"SCAN", b"HELLO", b"WAIT", b"DEBUG"];
        // A number that would become an id: Redis's own parser takes these.
        let odd = args.iter().any(|arg| arg == b"+1" || arg == b" 1");
        if never.contains(&name.as_slice()) || odd {
            return args;
        }
        while self.rng.chance(10) {
            let at = self.rng.index(args.len());
            match self.rng.below(6) {
                0 if at > 0 => {
                    args.remove(at);
                }
                1 => {
                    args.truncate(at.max(1));
                }
                2 if at > 0 => {
                    let again = args[at].clone();
                    args.insert(at, again);
                }
                3 if at > 1 => args.swap(at, at - 1),
                4 if at > 0 => args[at] = self.rng.pick(JUNK).as_bytes().to_vec(),
                _ => {
                    let word = self.rng.pick(JUNK).as_bytes().to_vec();
                    args.push(word);
                }
            }
        }
        args
    }

    fn key_name(key: usize) -> String {
        format!("k{}", key + 1)
    }

    fn key(&mut self) -> usize {
        // The first key is where the action is.
        if self.rng.chance(70) { 0 } else { self.rng.index(3) }
    }

    fn key_or_none(&mut self) -> (usize, String) {
        let key = self.key();
        let name = match self.rng.below(100) {
            0..4 => "missing".to_owned(),
            4 => String::new(),
            5 => "bin\u{0}\r\n\u{7f}".to_owned(),
            _ => Self::key_name(key),
        };
        (key, name)
    }

    fn group(&mut self) -> String {
        let name = match self.rng.below(100) {
            0..85 => "g1",
            85..94 => "g2",
            94..97 => "nogroup",
            97..99 => "",
            _ => "STREAMS",
        };
        name.to_owned()
    }

    fn consumer(&mut self) -> String {
        let name = match self.rng.below(100) {
            0..45 => "alice",
            45..80 => "bob",
            80..94 => "carol",
            94..96 => "nobody",
            96..98 => "",
            _ => "a b\n",
        };
        name.to_owned()
    }

    fn count(&mut self) -> String {
        match self.rng.below(100) {
            0..75 => self.rng.between(1, 4).to_string(),
            75..85 => "100".to_owned(),
            85..90 => "0".to_owned(),
            _ => self.rng.pick(ODD_NUMBERS).to_owned(),
        }
    }

    fn odd_or(&mut self, percent: u64, id: String) -> String {
        if !self.rng.chance(percent) {
            return id;
        }
        if self.rng.chance(3) {
            return "1".repeat(130);
        }
        self.rng.pick(ODD_IDS).to_owned()
    }

    fn small_id(&mut self) -> String {
        let (ms, seq) = (self.rng.below(14), self.rng.below(4));
        if self.rng.chance(25) { ms.to_string() } else { format!("{ms}-{seq}") }
    }

    /// Most likely an id that is in the stream.
    fn some_id(&mut self, key: usize) -> String {
        if self.uses_autos && self.autos > 0 && self.rng.chance(30) {
            return format!("@auto:{}", self.rng.index(self.autos));
        }
        let len = self.keys[key].ids.len();
        let id = if len > 0 && self.rng.chance(80) {
            let at = self.rng.index(len);
            self.keys[key].ids[at].clone()
        } else {
            self.small_id()
        };
        self.odd_or(4, id)
    }

    fn range_id(&mut self, key: usize) -> String {
        match self.rng.below(100) {
            0..25 => "-".to_owned(),
            25..50 => "+".to_owned(),
            50..62 => format!("({}", self.some_id(key)),
            _ => self.some_id(key),
        }
    }

    /// An id that can be added next, as text; remembered.
    fn next_id(&mut self, key: usize) -> String {
        let (ms, seq) = self.keys[key].last;
        let next = match self.rng.below(10) {
            0..5 => (ms + 1, self.rng.below(3)),
            5..9 => (ms, seq + 1),
            _ => (ms + 3, 0),
        };
        let next = if next <= (ms, seq) { (ms, seq + 1) } else { next };
        self.keys[key].last = next;
        let id = format!("{}-{}", next.0, next.1);
        self.keys[key].ids.push(id.clone());
        id
    }

    fn fields(&mut self, args: &mut Args) {
        for _ in 0..self.rng.between(1, 3) {
            let field = self.rng.pick(&["a", "b", "field", "", "12", "-7"]).to_owned();
            let value = match self.rng.below(20) {
                0 => String::new(),
                1 => "bin\u{0}\r\n\u{ff}".to_owned(),
                2 => "x".repeat(self.rng.index(700)),
                3 => (self.rng.next() >> self.rng.below(64)).to_string(),
                4 => format!("-{}", self.rng.next() >> self.rng.between(1, 63)),
                _ => self.rng.below(1000).to_string(),
            };
            push(args, &[&field, &value]);
        }
    }

    fn plain_add(&mut self, key: usize) -> Args {
        let id = self.next_id(key);
        let mut args = args!["XADD", Self::key_name(key), id];
        self.fields(&mut args);
        args
    }

    fn trimming(&mut self, key: usize, args: &mut Args) {
        let by_length = self.rng.chance(60);
        push(args, &[if by_length { "MAXLEN" } else { "MINID" }]);
        let approximately = match self.rng.below(10) {
            0..3 => Some("="),
            3..7 => Some("~"),
            _ => None,
        };
        if let Some(how) = approximately {
            push(args, &[how]);
        }
        let threshold = if by_length {
            if self.rng.chance(95) {
                self.rng.below(20).to_string()
            } else {
                self.rng.pick(ODD_NUMBERS).to_owned()
            }
        } else {
            self.some_id(key)
        };
        push(args, &[&threshold]);
        let limit = if approximately == Some("~") { 40 } else { 4 };
        if self.rng.chance(limit) {
            let limit = if self.rng.chance(90) {
                self.rng.below(30).to_string()
            } else {
                self.rng.pick(ODD_NUMBERS).to_owned()
            };
            push(args, &["LIMIT", &limit]);
        }
    }

    fn command(&mut self) -> Args {
        let weights: [u64; 19] = match self.flavour {
            //                  add len rng del trim setid read rgrp ack claim auto pend info grp key tx conn cmd conf
            Flavour::Claims => [12, 1, 2, 5, 3, 1, 1, 18, 7, 18, 12, 10, 8, 5, 2, 0, 1, 0, 0],
            Flavour::Trimming => [30, 2, 4, 10, 22, 2, 1, 8, 2, 2, 2, 2, 10, 2, 2, 0, 0, 0, 2],
            // Nor may anything come and go within a transaction.
            Flavour::Blocking => [10, 1, 3, 3, 3, 3, 3, 8, 4, 4, 3, 5, 8, 10, 6, 0, 2, 0, 0],
            Flavour::Keys => [16, 1, 2, 2, 2, 1, 2, 10, 2, 4, 2, 2, 8, 8, 60, 1, 1, 2, 0],
            _ => [20, 3, 9, 6, 6, 4, 6, 13, 6, 6, 5, 8, 10, 12, 10, 2, 5, 3, 2],
        };
        let mut dice = self.rng.below(weights.iter().sum());
        let mut at = 0;
        while dice >= weights[at] {
            dice -= weights[at];
            at += 1;
        }
        match at {
            0 => self.xadd(),
            1 => {
                let (_, key) = self.key_or_none();
                args!["XLEN", key]
            }
            2 => self.xrange(),
            3 => {
                let (key, name) = self.key_or_none();
                let mut args = args!["XDEL", name];
                for _ in 0..self.rng.between(1, 3) {
                    let id = self.some_id(key);
                    push(&mut args, &[&id]);
                }
                args
            }
            4 => {
                let (key, name) = self.key_or_none();
                let mut args = args!["XTRIM", name];
                self.trimming(key, &mut args);
                args
            }
            5 => self.xsetid(),
            6 => self.xread(),
            7 => self.xreadgroup(),
            8 => {
                let (key, name) = self.key_or_none();
                let mut args = args!["XACK", name, self.group()];
                for _ in 0..self.rng.between(1, 3) {
                    let id = self.some_id(key);
                    push(&mut args, &[&id]);
                }
                args
            }
            9 => self.xclaim(),
            10 => self.xautoclaim(),
            11 => self.xpending(),
            12 => self.xinfo(),
            13 => self.xgroup(),
            14 => self.keyspace(),
            15 => {
                let word = ["MULTI", "EXEC", "DISCARD", "UNWATCH"];
                args![self.rng.pick(&word)]
            }
            16 => self.connection(),
            17 => self.about_commands(),
            _ => self.config(),
        }
    }

    fn xadd(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let mut args = args!["XADD", name];
        if self.rng.chance(8) {
            push(&mut args, &["NOMKSTREAM"]);
        }
        let trims = match self.flavour {
            Flavour::Trimming => 50,
            // An entry that is trimmed as it comes wakes a reader of 7.0 for nothing (a known difference).
            Flavour::Blocking => 0,
            _ => 15,
        };
        if self.rng.chance(trims) {
            self.trimming(key, &mut args);
        }
        if self.rng.chance(3) {
            push(&mut args, &["NOMKSTREAM"]);
        }
        let id = match self.rng.below(100) {
            0..70 => self.next_id(key),
            70..80 => {
                let last = &mut self.keys[key].last;
                *last = (last.0 + 1, 0);
                let id = last.0.to_string();
                self.keys[key].ids.push(format!("{id}-0"));
                id
            }
            80..86 => format!("{}-*", self.keys[key].last.0 + self.rng.below(2)),
            86..88 if self.uses_autos => "*".to_owned(),
            _ => self.small_id(),
        };
        let id = self.odd_or(3, id);
        // An id made by the server is known by its time: nothing else may look like it.
        let id = if id == "*" && !self.uses_autos { "9-*".to_owned() } else { id };
        push(&mut args, &[&id]);
        self.fields(&mut args);
        args
    }

    fn xrange(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let reverse = self.rng.chance(40);
        let (low, high) = (self.range_id(key), self.range_id(key));
        let mut args = args![if reverse { "XREVRANGE" } else { "XRANGE" }, name];
        match self.rng.below(3) {
            0 if reverse => push(&mut args, &["+", "-"]),
            0 => push(&mut args, &["-", "+"]),
            _ => push(&mut args, &[&low, &high]),
        }
        if self.rng.chance(40) {
            let count = self.count();
            push(&mut args, &["COUNT", &count]);
        }
        args
    }

    fn xsetid(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let id = if self.rng.chance(60) { self.next_id(key) } else { self.some_id(key) };
        let mut args = args!["XSETID", name, id];
        if self.rng.chance(35) {
            let added = if self.rng.chance(80) { self.rng.below(50).to_string() } else { self.count() };
            // One more, and Redis would show the counter as a negative number.
            let added = if added == i64::MAX.to_string() { (i64::MAX / 2).to_string() } else { added };
            push(&mut args, &["ENTRIESADDED", &added]);
        }
        if self.rng.chance(35) {
            let id = self.some_id(key);
            push(&mut args, &["MAXDELETEDID", &id]);
        }
        args
    }

    fn streams(&mut self, args: &mut Args, group: bool) {
        push(args, &["STREAMS"]);
        let many = if self.rng.chance(75) { 1 } else { 2 };
        let keys: Vec<(usize, String)> = (0..many).map(|_| self.key_or_none()).collect();
        for (_, name) in &keys {
            push(args, &[name]);
        }
        for (key, _) in &keys {
            let id = match (group, self.rng.below(100)) {
                (true, 0..65) => ">".to_owned(),
                (true, 65..85) | (false, 0..40) => "0".to_owned(),
                (false, 40..48) => "$".to_owned(),
                (false, 48..51) => "+".to_owned(),
                _ => self.some_id(*key),
            };
            push(args, &[&id]);
        }
    }

    fn xread(&mut self) -> Args {
        let mut args = args!["XREAD"];
        if self.rng.chance(40) {
            let count = self.count();
            push(&mut args, &["COUNT", &count]);
        }
        if self.rng.chance(12) {
            let ms = self.rng.pick(&["2", "2", "-1", "abc", "1.5", "9223372036854775808"]).to_owned();
            push(&mut args, &["BLOCK", &ms]);
        }
        self.streams(&mut args, false);
        args
    }

    fn xreadgroup(&mut self) -> Args {
        let mut args = args!["XREADGROUP", "GROUP", self.group(), self.consumer()];
        if self.rng.chance(50) {
            let count = self.count();
            push(&mut args, &["COUNT", &count]);
        }
        if self.rng.chance(6) {
            let ms = self.rng.pick(&["2", "2", "-1", "abc", "1.5"]).to_owned();
            push(&mut args, &["BLOCK", &ms]);
        }
        if self.rng.chance(8) {
            push(&mut args, &["NOACK"]);
        }
        self.streams(&mut args, true);
        args
    }

    fn min_idle(&mut self) -> String {
        match self.rng.below(20) {
            0..12 => "0".to_owned(),
            12..15 => "30000".to_owned(),
            15..18 => "300000".to_owned(),
            _ => self.rng.pick(ODD_NUMBERS).to_owned(),
        }
    }

    fn xclaim(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let mut args = args!["XCLAIM", name, self.group(), self.consumer(), self.min_idle()];
        for _ in 0..self.rng.between(1, 4) {
            let id = self.some_id(key);
            push(&mut args, &[&id]);
        }
        if self.rng.chance(25) {
            let idle =
                self.rng.pick(&["0", "60000", "600000", "-1", "abc", "9223372036854775807"]).to_owned();
            push(&mut args, &["IDLE", &idle]);
        }
        if self.rng.chance(25) {
            let time = match self.rng.below(8) {
                0 => "0".to_owned(),
                1 => "1".to_owned(),
                2 => "-1".to_owned(),
                3 => "abc".to_owned(),
                4 => (now_ms() + 100_000_000).to_string(),
                5 => (now_ms() - 60_000).to_string(),
                _ => (now_ms() - 600_000).to_string(),
            };
            push(&mut args, &["TIME", &time]);
        }
        if self.rng.chance(25) {
            let count = if self.rng.chance(80) { self.rng.below(9).to_string() } else { self.count() };
            // One more, and Redis's count becomes negative; ours stays where it is.
            let count = if count == i64::MAX.to_string() { (i64::MAX / 2).to_string() } else { count };
            push(&mut args, &["RETRYCOUNT", &count]);
        }
        if self.rng.chance(30) {
            push(&mut args, &["FORCE"]);
        }
        if self.rng.chance(30) {
            push(&mut args, &["JUSTID"]);
        }
        if self.rng.chance(12) {
            let id = self.some_id(key);
            push(&mut args, &["LASTID", &id]);
        }
        args
    }

    fn xautoclaim(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let start = match self.rng.below(10) {
            0..5 => "0".to_owned(),
            5 => "-".to_owned(),
            _ => self.range_id(key),
        };
        let mut args = args!["XAUTOCLAIM", name, self.group(), self.consumer(), self.min_idle(), start];
        if self.rng.chance(50) {
            let count = self.count();
            push(&mut args, &["COUNT", &count]);
        }
        if self.rng.chance(30) {
            push(&mut args, &["JUSTID"]);
        }
        args
    }

    fn xpending(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let mut args = args!["XPENDING", name, self.group()];
        if self.rng.chance(30) {
            return args;
        }
        if self.rng.chance(25) {
            let idle = self.min_idle();
            push(&mut args, &["IDLE", &idle]);
        }
        if self.rng.chance(60) {
            push(&mut args, &["-", "+"]);
        } else {
            let (low, high) = (self.range_id(key), self.range_id(key));
            push(&mut args, &[&low, &high]);
        }
        let count = self.count();
        push(&mut args, &[&count]);
        if self.rng.chance(35) {
            let who = self.consumer();
            push(&mut args, &[&who]);
        }
        args
    }

    fn xinfo(&mut self) -> Args {
        let (_, name) = self.key_or_none();
        match self.rng.below(20) {
            0..5 => args!["XINFO", "STREAM", name],
            5..10 => {
                let mut args = args!["XINFO", "STREAM", name, "FULL"];
                if self.rng.chance(50) {
                    let count = self.count();
                    push(&mut args, &["COUNT", &count]);
                }
                args
            }
            10..14 => args!["XINFO", "GROUPS", name],
            14..18 => args!["XINFO", "CONSUMERS", name, self.group()],
            18 => args!["XINFO", "HELP"],
            _ => args!["XINFO", "NONSENSE", name],
        }
    }

    fn xgroup(&mut self) -> Args {
        let (key, name) = self.key_or_none();
        let group = self.group();
        let at = match self.rng.below(10) {
            0..3 => "0".to_owned(),
            3..6 => "$".to_owned(),
            _ => self.some_id(key),
        };
        let mut args = match self.rng.below(100) {
            0..40 => {
                let mut args = args!["XGROUP", "CREATE", name, group, at];
                if self.rng.chance(30) {
                    push(&mut args, &["MKSTREAM"]);
                }
                args
            }
            40..58 => args!["XGROUP", "SETID", name, group, at],
            58..63 => return args!["XGROUP", "DESTROY", name, group],
            63..80 => return args!["XGROUP", "CREATECONSUMER", name, group, self.consumer()],
            80..95 => return args!["XGROUP", "DELCONSUMER", name, group, self.consumer()],
            95..98 => return args!["XGROUP", "HELP"],
            _ => return args!["XGROUP", "NONSENSE", name, group],
        };
        if self.rng.chance(15) {
            let read = if self.rng.chance(70) { self.rng.below(12).to_string() } else { self.count() };
            push(&mut args, &["ENTRIESREAD", &read]);
        }
        args
    }

    fn keyspace(&mut self) -> Args {
        let (_, one) = self.key_or_none();
        let (_, two) = self.key_or_none();
        match self.rng.below(100) {
            0..3 => args!["DEL", one],
            3..6 => args!["DEL", "missing", two],
            6..8 => args!["UNLINK", one, two],
            8..12 => args!["EXISTS", one, two, one],
            12..15 => args!["TYPE", one],
            15..19 => {
                let pattern =
                    self.rng.pick(&["*", "k*", "k?", "k[1-2]", "[^k]*", "missing", "\\*", "", "k[", "k[1"]);
                args!["KEYS", pattern.to_owned()]
            }
            19..22 => args!["DBSIZE"],
            22 => args!["FLUSHDB"],
            23 => {
                let how = self.rng.pick(&["ASYNC", "SYNC", "async", "NOW"]).to_owned();
                args!["FLUSHDB", how]
            }
            24 => args!["FLUSHALL"],
            25 => {
                let cursor = self.rng.pick(&["abc", "18446744073709551616", "1.0", "0x"]).to_owned();
                args!["SCAN", cursor]
            }
            26 => {
                let bad = ["COUNT", "MATCH", "TYPE", "COUNT 0", "COUNT -1", "COUNT x", "NONSENSE 1"];
                let mut args = args!["SCAN", "0"];
                args.extend(crate::common::words(self.rng.pick(&bad)));
                args
            }
            27..31 => {
                self.elsewhere = true;
                let db = self.db();
                args!["SELECT", db]
            }
            31..50 => self.moves_a_key(),
            50..68 => self.expire(),
            68..82 => {
                let asks = ["TTL", "TTL", "PTTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"];
                let ask = self.rng.pick(&asks).to_owned();
                if ask == "PERSIST" || self.rng.chance(30) {
                    self.call(0, args!["EXPIRE", one.clone(), "1000000"]);
                }
                args![ask, one]
            }
            82..85 => args!["RANDOMKEY"],
            85..89 => args!["TOUCH", one, two, "missing"],
            89..95 => self.object(&one),
            _ => {
                let mut args = args!["MEMORY", "USAGE", one];
                if self.rng.chance(50) {
                    let more = ["SAMPLES 0", "SAMPLES 5", "SAMPLES -1", "SAMPLES x", "SAMPLES", "NONSENSE 1"];
                    args.extend(crate::common::words(self.rng.pick(&more)));
                }
                args
            }
        }
    }

    fn object(&mut self, key: &str) -> Args {
        let sub = match self.rng.below(20) {
            0..6 => "ENCODING",
            6..11 => "REFCOUNT",
            11..15 => "IDLETIME",
            15 => "FREQ",
            16 => return args!["OBJECT", "HELP"],
            17 => "NONSENSE",
            _ => "encoding",
        };
        args!["OBJECT", sub, key]
    }

    fn db(&mut self) -> String {
        self.rng.pick(&["0", "0", "0", "0", "1", "1", "1", "15", "16", "-1", "abc", "1.0", ""]).to_owned()
    }

    /// RENAME and its like: the key goes somewhere, or a copy of it does.
    fn moves_a_key(&mut self) -> Args {
        let (from, one) = self.key_or_none();
        let (to, two) = if self.rng.chance(80) { self.key_or_none() } else { (from, one.clone()) };
        match self.rng.below(20) {
            0..5 => {
                self.keys[to] = self.keys[from].clone();
                args!["RENAME", one, two]
            }
            5..8 => {
                self.keys[to] = self.keys[from].clone();
                args!["RENAMENX", one, two]
            }
            8..14 => {
                self.keys[to] = self.keys[from].clone();
                let mut args = args!["COPY", one, two];
                let (db, replace) = (self.rng.chance(35), self.rng.chance(60));
                let before = self.rng.chance(50);
                if replace && before {
                    push(&mut args, &["REPLACE"]);
                }
                if db {
                    self.elsewhere = true;
                    let db = self.db();
                    push(&mut args, &["DB", &db]);
                }
                if replace && !before {
                    push(&mut args, &["REPLACE"]);
                }
                args
            }
            14..17 => {
                self.elsewhere = true;
                let db = if self.rng.chance(70) { "1".to_owned() } else { self.db() };
                args!["MOVE", one, db]
            }
            _ => {
                self.elsewhere = true;
                let (a, b) = if self.rng.chance(60) {
                    ("0".to_owned(), "1".to_owned())
                } else {
                    (self.db(), self.db())
                };
                args!["SWAPDB", a, b]
            }
        }
    }

    /// Times are far away, or over: nothing expires while the sequence runs.
    fn expire(&mut self) -> Args {
        let (_, key) = self.key_or_none();
        let name = self.rng.pick(&["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]).to_owned();
        let absolute = name.ends_with("AT");
        let seconds = match self.rng.below(20) {
            // Each once: which of two is later must not depend on the moment of the command.
            0..14 if !absolute => Some(100_000 + self.rng.below(1_000_000) * 10),
            0..14 => {
                let at = [4_102_444_800, 4_102_444_801, 5_000_000_000, 250_000_000_000];
                Some(at[self.rng.index(at.len())])
            }
            _ => None,
        };
        let when = match seconds {
            Some(seconds) if name.starts_with('P') => (seconds * 1000 + self.rng.below(3)).to_string(),
            Some(seconds) => seconds.to_string(),
            None if self.rng.chance(60) => {
                self.rng.pick(&["0", "-1", "-100000", if absolute { "1" } else { "-2" }]).to_owned()
            }
            None => self.rng.pick(ODD_NUMBERS).to_owned(),
        };
        let mut args = args![name, key, when];
        if self.rng.chance(45) {
            let options =
                ["NX", "XX", "GT", "LT", "gt", "XX GT", "LT XX", "NX XX", "NX GT", "GT LT", "NX LT", "FOO"];
            args.extend(crate::common::words(self.rng.pick(&options)));
        }
        args
    }

    fn connection(&mut self) -> Args {
        match self.rng.below(22) {
            0 => args!["PING"],
            1 => args!["PING", "hello\r\n"],
            2 => args!["ECHO", "hi"],
            3..6 => {
                let forms = [
                    "HELLO",
                    "HELLO 2",
                    "HELLO 3",
                    "HELLO 4",
                    "HELLO abc",
                    "HELLO 3 SETNAME me",
                    "HELLO 2 SETNAME",
                    "HELLO 3 NONSENSE",
                    "HELLO 3 AUTH default",
                    "HELLO 2 AUTH nobody nothing",
                    "HELLO 3 SETNAME \"a b\"",
                ];
                crate::common::words(self.rng.pick(&forms))
            }
            6..9 => {
                let name = self.rng.pick(&["me", "a b", "", "x\n", "you"]).to_owned();
                args!["CLIENT", "SETNAME", name]
            }
            9..12 => args!["CLIENT", "GETNAME"],
            12 => args!["CLIENT", "ID"],
            13 => {
                let forms =
                    ["CLIENT NO-EVICT on", "CLIENT NO-EVICT off", "CLIENT NO-EVICT maybe", "CLIENT NONSENSE"];
                crate::common::words(self.rng.pick(&forms))
            }
            14 => args!["FOO", "bar", "b\u{1}z\r\n", "q'uote"],
            15 => args!["XNONSENSE"],
            16 => {
                let mut args = args!["WATCH"];
                let (_, key) = self.key_or_none();
                push(&mut args, &[&key]);
                args
            }
            17 => args!["RESET"],
            18 => {
                let forms = ["WAIT 0 0", "WAIT x 0", "WAIT 0 -1", "WAIT 0 x", "WAIT 1 2", "WAIT"];
                crate::common::words(self.rng.pick(&forms))
            }
            19 => args!["TIME"],
            20 => {
                let forms = ["DEBUG SLEEP 0", "CLIENT", "CLIENT ID x", "CLIENT GETNAME x", "CLIENT SETNAME"];
                crate::common::words(self.rng.pick(&forms))
            }
            _ => args!["CLIENT", "INFO"],
        }
    }

    fn about_commands(&mut self) -> Args {
        let lines = [
            "COMMAND GETKEYS XADD k 1-1 a b",
            "COMMAND GETKEYS XREAD COUNT 2 STREAMS a b 0 0",
            "COMMAND GETKEYS XREAD STREAMS STREAMS a 0 0",
            "COMMAND GETKEYS XREADGROUP GROUP g c STREAMS a b > >",
            "COMMAND GETKEYS XREADGROUP GROUP STREAMS c STREAMS a >",
            "COMMAND GETKEYS XGROUP CREATE k g 0",
            "COMMAND GETKEYS XINFO STREAM k",
            "COMMAND GETKEYS PING",
            "COMMAND GETKEYS XADD",
            "COMMAND GETKEYS NONSENSE k",
            "COMMAND GETKEYS DEL a b c",
            "COMMAND GETKEYS XPENDING k g",
            "COMMAND GETKEYS EXISTS a b",
            "COMMAND GETKEYS COPY a b",
            "COMMAND GETKEYS COPY a b DB 1 REPLACE",
            "COMMAND GETKEYS RENAME a b",
            "COMMAND GETKEYS MOVE a 1",
            "COMMAND GETKEYS SWAPDB 0 1",
            "COMMAND GETKEYS TOUCH a b c",
            "COMMAND GETKEYS EXPIRE a 10 NX",
            "COMMAND GETKEYS OBJECT ENCODING a",
            "COMMAND GETKEYS MEMORY USAGE a",
            "COMMAND GETKEYS RANDOMKEY",
            "COMMAND INFO rename renamenx copy move swapdb randomkey touch",
            "COMMAND INFO expire pexpire expireat pexpireat",
            "COMMAND INFO ttl pttl expiretime pexpiretime persist",
            "COMMAND GETKEYS XAUTOCLAIM k g c 0 0",
            "COMMAND INFO nonsense",
            "COMMAND INFO xadd",
            "COMMAND INFO xread xreadgroup",
            "COMMAND INFO xgroup xinfo",
            "COMMAND INFO xclaim xautoclaim xack xpending",
            "COMMAND INFO xrange xrevrange xlen xdel xtrim xsetid",
            "COMMAND INFO multi exec discard watch unwatch",
            "COMMAND INFO del unlink exists type keys scan dbsize flushdb flushall select ping echo",
            "COMMAND NONSENSE",
        ];
        crate::common::words(self.rng.pick(&lines))
    }

    fn config(&mut self) -> Args {
        let lines = [
            "CONFIG GET stream-node-max-entries",
            "CONFIG GET stream-node-max-*",
            "CONFIG GET stream-node-max-bytes stream-node-max-entries",
            "CONFIG GET nonsense",
            "CONFIG SET stream-node-max-entries 3",
            "CONFIG SET stream-node-max-entries abc",
            "CONFIG SET stream-node-max-entries -1",
            "CONFIG SET nonsense 1",
            "CONFIG SET stream-node-max-entries",
            "CONFIG SET stream-node-max-entries 4 stream-node-max-entries 5",
            "CONFIG NONSENSE",
            "CONFIG GET",
        ];
        crate::common::words(self.rng.pick(&lines))
    }
}
