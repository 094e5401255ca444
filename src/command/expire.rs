//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: when keys are removed.

use claimlog::op::{Expire, ExpireAt, ExpireIf};

use super::args::{integer, is};
use super::context::unix_time;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_EXPIRE: CommandSpec = CommandSpec {
    name: "expire",
    summary: "Set a key's time to live in seconds",
    since: "1.0.0",
    args: &[Arg::key("key"), Arg::integer("seconds"), CONDITION],
    run: |call| run(call, SECONDS, ExpireAt::InMs),
    ..COMMON
};

pub(crate) static SPEC_PEXPIRE: CommandSpec = CommandSpec {
    name: "pexpire",
    summary: "Set a key's time to live in milliseconds",
    since: "2.6.0",
    args: &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION],
    run: |call| run(call, MILLISECONDS, ExpireAt::InMs),
    ..COMMON
};

pub(crate) static SPEC_EXPIREAT: CommandSpec = CommandSpec {
    name: "expireat",
    summary: "Set the expiration for a key as a UNIX timestamp",
    since: "1.2.0",
    args: &[Arg::key("key"), Arg::unix_time("unix-time-seconds"), CONDITION],
    run: |call| run(call, SECONDS, ExpireAt::UnixMs),
    ..COMMON
};

pub(crate) static SPEC_PEXPIREAT: CommandSpec = CommandSpec {
    name: "pexpireat",
    summary: "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
    since: "2.6.0",
    args: &[Arg::key("key"), Arg::unix_time("unix-time-milliseconds"), CONDITION],
    run: |call| run(call, MILLISECONDS, ExpireAt::UnixMs),
    ..COMMON
};

/// What the four have in common.
const COMMON: CommandSpec = CommandSpec {
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    group: "generic",
    complexity: "O(1)",
    history: &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")],
    ..CommandSpec::DEFAULT
};

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::word("nx", "NX"), Arg::word("xx", "XX"), Arg::word("gt", "GT"), Arg::word("lt", "LT")],
)
.since("7.0.0")
.optional();

/// Milliseconds in the unit of the argument.
const SECONDS: i64 = 1000;
const MILLISECONDS: i64 = 1;

fn run(call: &mut Call<'_, '_>, unit_ms: i64, at: fn(i64) -> ExpireAt) -> Result<Outcome, CommandError> {
    let only_if = conditions(call)?;
    let invalid = || {
        let name = call.spec.name;
        CommandError::owned(format!("ERR invalid expire time in '{name}' command"))
    };
    let at = at(integer(call.word(2))?.checked_mul(unit_ms).ok_or_else(invalid)?);
    if let ExpireAt::InMs(in_ms) = at {
        let now_ms = i64::try_from(unix_time().as_millis()).unwrap_or(i64::MAX);
        now_ms.checked_add(in_ms).ok_or_else(invalid)?;
    }
    let set = call.execute(&Expire { key: call.key(1), at, only_if })?;
    call.reply.integer(i64::from(set));
    Ok(Outcome::Done)
}

fn conditions(call: &Call<'_, '_>) -> Result<ExpireIf, CommandError> {
    let mut only_if = ExpireIf::default();
    for option in &call.words[3..] {
        match () {
            () if is(option, "NX") => only_if.never = true,
            () if is(option, "XX") => only_if.some_time = true,
            () if is(option, "GT") => only_if.earlier = true,
            () if is(option, "LT") => only_if.later = true,
            () => return Err(CommandError::owned([b"ERR Unsupported option ", &option[..]].concat())),
        }
    }
    if only_if.never && (only_if.some_time || only_if.earlier || only_if.later) {
        return Err(CommandError::text(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if only_if.earlier && only_if.later {
        return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(only_if)
}
