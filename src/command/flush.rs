//! FLUSHDB and FLUSHALL: remove all keys.

use claimlog::op::{DbIndex, Flush};

use super::args::{SYNTAX, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_FLUSHDB: CommandSpec = CommandSpec {
    name: "flushdb",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Dangerous, Category::Keyspace],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    summary: "Remove all keys from the current database",
    since: "1.0.0",
    group: "server",
    complexity: "O(N) where N is the number of keys in the selected database",
    history: &[
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ],
    args: &[Arg::one_of(
        "async",
        &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    run: flushdb,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_FLUSHALL: CommandSpec = CommandSpec {
    name: "flushall",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Dangerous, Category::Keyspace],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    summary: "Remove all keys from all databases",
    since: "1.0.0",
    group: "server",
    complexity: "O(N) where N is the total number of keys in all databases",
    history: &[
        ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
        ("6.2.0", "Added the `SYNC` flushing mode modifier."),
    ],
    args: &[Arg::one_of(
        "async",
        &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    run: flushall,
    ..CommandSpec::DEFAULT
};

fn flushdb(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let db = call.db();
    flush(call, Some(db))
}

fn flushall(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    flush(call, None)
}

/// SYNC and ASYNC make no difference: what is removed is always freed outside the lock.
fn flush(call: &mut Call<'_, '_>, db: Option<DbIndex>) -> Result<Outcome, CommandError> {
    match &call.words[1..] {
        [] => {}
        [how] if is(how, "SYNC") || is(how, "ASYNC") => {}
        _ => return Err(SYNTAX),
    }
    call.execute(&Flush { db })?;
    call.reply.ok();
    Ok(Outcome::Done)
}
