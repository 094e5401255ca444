//! All commands, by name, and how they are found.

use std::sync::OnceLock;

use super::call::unknown_command;
use super::spec::CommandSpec;
use super::{
    CommandError, acl, auth, client, cluster, command_cmd, config_cmd, connection, debug, expire, flush,
    hello, info, keys, latency, lolwut, memory, module, multi, object, relocate, replication, save,
    scripting, shutdown, slowlog, time, ttl, wait, xack, xackdel, xadd, xautoclaim, xcfgset, xclaim, xdel,
    xdelex, xgroup, xidmprecord, xinfo, xlen, xnack, xpending, xrange, xread, xreadgroup, xsetid, xtrim,
};

/// All commands, sorted by name.
pub(crate) static COMMANDS: &[&CommandSpec] = &[
    &acl::SPEC,
    &cluster::SPEC_ASKING,
    &auth::SPEC,
    &save::SPEC_BGREWRITEAOF,
    &save::SPEC_BGSAVE,
    &client::SPEC,
    &cluster::SPEC,
    &command_cmd::SPEC,
    &config_cmd::SPEC,
    &relocate::SPEC_COPY,
    &keys::SPEC_DBSIZE,
    &debug::SPEC,
    &keys::SPEC_DEL,
    &multi::SPEC_DISCARD,
    &connection::SPEC_ECHO,
    &multi::SPEC_EXEC,
    &keys::SPEC_EXISTS,
    &expire::SPEC_EXPIRE,
    &expire::SPEC_EXPIREAT,
    &ttl::SPEC_EXPIRETIME,
    &replication::SPEC_FAILOVER,
    &flush::SPEC_FLUSHALL,
    &flush::SPEC_FLUSHDB,
    &scripting::SPEC_FUNCTION,
    &hello::SPEC,
    &info::SPEC,
    &keys::SPEC_KEYS,
    &save::SPEC_LASTSAVE,
    &latency::SPEC,
    &lolwut::SPEC,
    &memory::SPEC,
    &module::SPEC,
    &relocate::SPEC_MOVE,
    &multi::SPEC_MULTI,
    &object::SPEC,
    &ttl::SPEC_PERSIST,
    &expire::SPEC_PEXPIRE,
    &expire::SPEC_PEXPIREAT,
    &ttl::SPEC_PEXPIRETIME,
    &connection::SPEC_PING,
    &ttl::SPEC_PTTL,
    &connection::SPEC_QUIT,
    &keys::SPEC_RANDOMKEY,
    &cluster::SPEC_READONLY,
    &cluster::SPEC_READWRITE,
    &relocate::SPEC_RENAME,
    &relocate::SPEC_RENAMENX,
    &replication::SPEC_REPLICAOF,
    &connection::SPEC_RESET,
    &replication::SPEC_ROLE,
    &save::SPEC_SAVE,
    &keys::SPEC_SCAN,
    &scripting::SPEC_SCRIPT,
    &connection::SPEC_SELECT,
    &shutdown::SPEC,
    &replication::SPEC_SLAVEOF,
    &slowlog::SPEC,
    &relocate::SPEC_SWAPDB,
    &time::SPEC,
    &keys::SPEC_TOUCH,
    &ttl::SPEC_TTL,
    &keys::SPEC_TYPE,
    &keys::SPEC_UNLINK,
    &multi::SPEC_UNWATCH,
    &wait::SPEC_WAIT,
    &wait::SPEC_WAITAOF,
    &multi::SPEC_WATCH,
    &xack::SPEC,
    &xackdel::SPEC,
    &xadd::SPEC,
    &xautoclaim::SPEC,
    &xcfgset::SPEC,
    &xclaim::SPEC,
    &xdel::SPEC,
    &xdelex::SPEC,
    &xgroup::SPEC,
    &xidmprecord::SPEC,
    &xinfo::SPEC,
    &xlen::SPEC,
    &xnack::SPEC,
    &xpending::SPEC,
    &xrange::SPEC_XRANGE,
    &xread::SPEC,
    &xreadgroup::SPEC,
    &xrange::SPEC_XREVRANGE,
    &xsetid::SPEC,
    &xtrim::SPEC,
];

/// A command that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) spec: &'static CommandSpec,
    /// Its number among all commands and subcommands.
    pub(crate) slot: usize,
}

impl Found {
    /// Whether the first word alone does not say which command is meant.
    pub(crate) fn is_in_container(&self) -> bool {
        !self.spec.subcommands.is_empty() || self.spec.name.contains('|')
    }
}

/// The first slot of each row: a container's subcommands follow it. One more at the end.
fn first_slots() -> &'static [usize] {
    static SLOTS: OnceLock<Vec<usize>> = OnceLock::new();
    SLOTS.get_or_init(|| {
        let mut next = 0;
        let mut slots = Vec::with_capacity(COMMANDS.len() + 1);
        for spec in COMMANDS {
            slots.push(next);
            next += 1 + spec.subcommands.len();
        }
        slots.push(next);
        slots
    })
}

/// How many commands and subcommands there are.
pub(crate) fn slots() -> usize {
    first_slots()[COMMANDS.len()]
}

/// All commands and subcommands, in the order of their slots.
pub(crate) fn all() -> impl Iterator<Item = &'static CommandSpec> {
    COMMANDS.iter().flat_map(|spec| std::iter::once(*spec).chain(spec.subcommands.iter().copied()))
}

/// The row with that name, in any case.
fn row(name: &[u8]) -> Option<usize> {
    let compare = |spec: &&CommandSpec| {
        let wanted = name.iter().map(u8::to_ascii_lowercase);
        spec.name.bytes().cmp(wanted)
    };
    COMMANDS.binary_search_by(compare).ok()
}

/// The command of that name; subcommands as `container|name`.
pub(crate) fn by_name(name: &[u8]) -> Option<&'static CommandSpec> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let spec = COMMANDS[row(parts.next()?)?];
    match parts.next() {
        None => Some(spec),
        Some(last) => {
            spec.subcommands.iter().find(|sub| last.eq_ignore_ascii_case(sub.last_name().as_bytes())).copied()
        }
    }
}

/// The command that a request calls. A container without a subcommand is the container itself.
pub(crate) fn lookup(words: &[&[u8]]) -> Result<Found, CommandError> {
    let Some(row) = words.first().and_then(|name| row(name)) else { return Err(unknown_command(words)) };
    let spec = COMMANDS[row];
    let slot = first_slots()[row];
    if spec.subcommands.is_empty() || words.len() < 2 {
        return Ok(Found { spec, slot });
    }
    let wanted = &words[1];
    let found =
        spec.subcommands.iter().position(|sub| wanted.eq_ignore_ascii_case(sub.last_name().as_bytes()));
    match found {
        Some(index) => Ok(Found { spec: spec.subcommands[index], slot: slot + 1 + index }),
        None => {
            let shown = &wanted[..wanted.len().min(128)];
            let container = spec.name.to_uppercase();
            let tail = format!("'. Try {container} HELP.");
            Err(CommandError::owned([b"ERR unknown subcommand '", shown, tail.as_bytes()].concat()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Arg, ArgKind, Begin};
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(COMMANDS.is_sorted_by(|one, next| one.name < next.name));
        for spec in COMMANDS {
            let mut names: Vec<_> = spec.subcommands.iter().map(|sub| sub.name).collect();
            let prefix = format!("{}|", spec.name);
            assert!(names.iter().all(|name| name.starts_with(&prefix)), "{}", spec.name);
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), spec.subcommands.len(), "{}", spec.name);
        }
        assert_eq!(all().count(), slots());
    }

    #[test]
    fn every_row_is_documented() {
        for spec in all() {
            for text in [spec.summary, spec.since, spec.group] {
                assert!(!text.is_empty(), "{}", spec.name);
            }
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert_eq!(spec.since.split('.').count(), 3, "{}", spec.name);
        }
    }

    #[test]
    fn arity_agrees_with_the_arguments() {
        for spec in all().filter(|spec| spec.subcommands.is_empty()) {
            let least: usize = spec.args.iter().map(Arg::least_words).sum();
            let names = spec.name.split('|').count();
            let wanted = spec.arity.wire().unsigned_abs();
            // Where Redis's own row says less than its arguments do, or asks for a word of each of two options.
            let known = ["auth", "client|kill", "client|list", "command", "debug", "quit", "xgroup|create"];
            if !known.contains(&spec.name) {
                assert!((least + names) as u64 <= wanted, "{}: {least} + {names}, {wanted}", spec.name);
            }
            if spec.arity.wire() > 0 && !known.contains(&spec.name) {
                assert_eq!((least + names) as u64, wanted, "{}", spec.name);
            }
        }
    }

    #[test]
    fn key_specs_belong_to_key_arguments() {
        fn keys(args: &[Arg]) -> usize {
            args.iter()
                .map(|arg| match arg.kind {
                    ArgKind::Key => 1,
                    ArgKind::OneOf(args) | ArgKind::Block(args) => keys(args),
                    _ => 0,
                })
                .sum()
        }
        for spec in all() {
            assert_eq!(spec.keys.is_empty(), keys(spec.args) == 0, "{}", spec.name);
            for key_spec in spec.keys {
                if let Begin::Index(first) = key_spec.begin {
                    assert!(first < spec.arity.wire().abs(), "{}", spec.name);
                }
            }
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        let found = |words: &[&'static str]| {
            let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
            lookup(&words).map(|found| found.spec.name).map_err(|error| match error {
                CommandError::Reply(text) => String::from_utf8_lossy(&text).into_owned(),
                CommandError::Fatal(why) => why.to_string(),
            })
        };
        assert_eq!(found(&["xAdd"]), Ok("xadd"));
        assert_eq!(found(&["XGROUP", "Create"]), Ok("xgroup|create"));
        assert_eq!(found(&["xgroup"]), Ok("xgroup"));
        assert_eq!(found(&["XGROUP", "x"]), Err("ERR unknown subcommand 'x'. Try XGROUP HELP.".into()));
        assert_eq!(
            found(&["nope", "a", "b"]),
            Err("ERR unknown command 'nope', with args beginning with: 'a' 'b' ".into())
        );
    }
}
