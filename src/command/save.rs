//! BGSAVE, SAVE, LASTSAVE, BGREWRITEAOF: snapshots on request. Nothing depends on them but how long the next start
//! takes and how much log is kept: what was answered is in the log.

use super::args::{SYNTAX, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_BGREWRITEAOF: CommandSpec = CommandSpec {
    name: "bgrewriteaof",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::NoAsyncLoading]),
    summary: "Asynchronously rewrite the append-only file",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    run: background_rewrite,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_BGSAVE: CommandSpec = CommandSpec {
    name: "bgsave",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::NoAsyncLoading]),
    summary: "Asynchronously save the dataset to disk",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    history: &[("3.2.2", "Added the `SCHEDULE` option.")],
    args: &[Arg::word("schedule", "SCHEDULE").since("3.2.2").optional()],
    run: background_save,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_LASTSAVE: CommandSpec = CommandSpec {
    name: "lastsave",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    categories: &[Category::Admin, Category::Dangerous],
    tips: &["nondeterministic_output"],
    summary: "Get the UNIX time stamp of the last successful save to disk",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    run: last_save,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_SAVE: CommandSpec = CommandSpec {
    name: "save",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::NoAsyncLoading, Flag::NoMulti]),
    summary: "Synchronously save the dataset to disk",
    since: "1.0.0",
    group: "server",
    complexity: "O(N) where N is the total number of keys in all databases",
    run: save,
    ..CommandSpec::DEFAULT
};

const RUNNING: CommandError = CommandError::text("ERR Background save already in progress");

/// A snapshot lets the log be cut: what rewriting an append-only file is for.
fn background_rewrite(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if !call.context.engine().snapshot_soon() {
        return Err(CommandError::text("ERR Background append only file rewriting already in progress"));
    }
    call.reply.simple(b"Background append only file rewriting started");
    Ok(Outcome::Done)
}

fn background_save(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    // A snapshot never waits for another kind of work, so SCHEDULE has nothing to put off.
    if call.words.len() > 2 || call.words.get(1).is_some_and(|word| !is(word, "SCHEDULE")) {
        return Err(SYNTAX);
    }
    if !call.context.engine().snapshot_soon() {
        return Err(RUNNING);
    }
    call.reply.simple(b"Background saving started");
    Ok(Outcome::Done)
}

fn last_save(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let seconds = call.context.last_save_unix_secs(&call.outside().stats.snapshots);
    call.reply.integer(seconds as i64);
    Ok(Outcome::Done)
}

fn save(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let engine = &call.context.engine();
    if engine.stats().snapshots.running.is_some() {
        return Err(RUNNING);
    }
    match engine.snapshot() {
        Ok(_) => call.reply.ok(),
        Err(error) => return Err(CommandError::owned(format!("ERR no snapshot was taken: {error}"))),
    }
    Ok(Outcome::Done)
}
