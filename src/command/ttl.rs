//! TTL, PTTL, EXPIRETIME, PEXPIRETIME, PERSIST: when keys will be removed.

use claimlog::op::{Expiry, ExpiryOf, Persist};

use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_TTL: CommandSpec = CommandSpec {
    name: "ttl",
    tips: &["nondeterministic_output"],
    summary: "Get the time to live for a key in seconds",
    since: "1.0.0",
    history: &[("2.8.0", "Added the -2 reply.")],
    run: |call| answer(call, |_, left_ms| left_ms.saturating_add(500) / 1000),
    ..COMMON
};

pub(crate) static SPEC_PTTL: CommandSpec = CommandSpec {
    name: "pttl",
    tips: &["nondeterministic_output"],
    summary: "Get the time to live for a key in milliseconds",
    since: "2.6.0",
    history: &[("2.8.0", "Added the -2 reply.")],
    run: |call| answer(call, |_, left_ms| left_ms),
    ..COMMON
};

pub(crate) static SPEC_EXPIRETIME: CommandSpec = CommandSpec {
    name: "expiretime",
    summary: "Get the expiration Unix timestamp for a key",
    since: "7.0.0",
    run: |call| answer(call, |unix_ms, _| unix_ms.saturating_add(500) / 1000),
    ..COMMON
};

pub(crate) static SPEC_PEXPIRETIME: CommandSpec = CommandSpec {
    name: "pexpiretime",
    summary: "Get the expiration Unix timestamp for a key in milliseconds",
    since: "7.0.0",
    run: |call| answer(call, |unix_ms, _| unix_ms),
    ..COMMON
};

/// What the four have in common.
const COMMON: CommandSpec = CommandSpec {
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RO", "access"])],
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::key("key")],
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_PERSIST: CommandSpec = CommandSpec {
    name: "persist",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    summary: "Remove the expiration from a key",
    since: "2.2.0",
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::key("key")],
    run: persist,
    ..CommandSpec::DEFAULT
};

/// `what`: the number to answer, from the time (Unix ms) and how far off it is (ms).
fn answer(call: &mut Call<'_, '_>, what: fn(u64, u64) -> u64) -> Result<Outcome, CommandError> {
    match call.execute(&ExpiryOf { key: call.key(1) })? {
        Expiry::NoKey => call.reply.integer(-2),
        Expiry::Never => call.reply.integer(-1),
        Expiry::At { unix_ms, left_ms } => call.reply.count(what(unix_ms, left_ms)),
    }
    Ok(Outcome::Done)
}

fn persist(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let persists = call.execute(&Persist { key: call.key(1) })?;
    call.reply.integer(i64::from(persists));
    Ok(Outcome::Done)
}
