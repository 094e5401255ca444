//! What the server under test can do, and the one list of what it can't do yet.
//!
//! A test asks for the features that it needs. What is missing is skipped, and said, only while it is in [`NOT_YET`]:
//! anything else that is missing fails the test, and so does an entry of the list that the server has by now. So the
//! list can only get shorter, and when it is empty nothing is skipped any more.

use std::collections::BTreeSet;

use super::{Client, Value};

/// What claimlog is to have and has not; a subcommand is `container|name`.
pub(crate) const NOT_YET: &[&str] = &[];

/// Commands that are asked for in every case: what 7.0 and earlier versions of claimlog did not have.
const COMMANDS: &[&str] = &[
    "copy",
    "expire",
    "expireat",
    "expiretime",
    "memory|usage",
    "move",
    "object",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pttl",
    "randomkey",
    "rename",
    "renamenx",
    "swapdb",
    "touch",
    "ttl",
    "xackdel",
    "xcfgset",
    "xdelex",
    "xidmprecord",
    "xnack",
];

/// Options, and a command that says whether they are known: without them, it is refused for its syntax.
const OPTIONS: &[(&str, &str)] = &[
    ("XADD DELREF", "XADD probe NOMKSTREAM DELREF 1-1 a b"),
    ("XADD IDMP", "XADD probe NOMKSTREAM IDMP p i * a b"),
    ("XREAD +", "XREAD STREAMS probe +"),
    ("XREAD MAXCOUNT", "XREAD MAXCOUNT 1 STREAMS probe 0"),
    ("XREADGROUP CLAIM", "XREADGROUP GROUP g c CLAIM 0 STREAMS probe >"),
    ("XTRIM DELREF", "XTRIM probe MAXLEN 1 DELREF"),
];

/// What one server can do.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    missing: BTreeSet<String>,
}

impl Features {
    /// Asks the server for every command in `commands` (lower case), and for all options.
    pub(crate) fn ask(client: &mut Client, commands: &[&str]) -> Self {
        let mut missing = BTreeSet::new();
        let names = commands.iter().chain(COMMANDS).chain(NOT_YET).filter(|name| !name.contains(' '));
        for name in names.collect::<BTreeSet<_>>() {
            if client.run(&format!("COMMAND INFO {name}")).items()[0].is_null() {
                missing.insert((*name).to_owned());
            }
        }
        for (name, probe) in OPTIONS {
            let reply = client.run(probe);
            let refused = |text: &[u8]| {
                text == b"ERR syntax error"
                    || text == b"ERR Invalid stream ID specified as stream command argument"
            };
            if matches!(&reply, Value::Error(text) if refused(text)) {
                missing.insert((*name).to_owned());
            }
        }
        client.run("XADD probe 1-1 a b");
        if client.run("XINFO STREAM probe").find("idmp-duration").is_none() {
            missing.insert("XINFO fields".to_owned());
        }
        client.run("DEL probe");
        Self { missing }
    }

    /// A server that can do everything.
    pub(crate) fn all() -> Self {
        Self { missing: BTreeSet::new() }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.missing.contains(name)
    }

    pub(crate) fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    /// What is wrong with [`NOT_YET`]: what is missing and not in it, and what is in it and there.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let missing = self.missing().filter(|name| !NOT_YET.contains(name));
        let lost = missing.map(|name| format!("the server does not have {name}"));
        let there = NOT_YET.iter().filter(|name| self.has(name));
        lost.chain(there.map(|name| {
            format!("the server has {name} by now: take it out of NOT_YET in tests/common/features.rs")
        }))
        .collect()
    }
}
