//! WAIT and WAITAOF: how far what this client did is safe.

use std::time::Duration;

use super::args::{integer, timeout_ms};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use claimlog::resp::Encoder;

pub(crate) static SPEC_WAIT: CommandSpec = CommandSpec {
    name: "wait",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Noscript]),
    categories: &[Category::Connection],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    summary: "Wait for the synchronous replication of all the write commands sent in the context of the current connection",
    since: "3.0.0",
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    run: wait,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_WAITAOF: CommandSpec = CommandSpec {
    name: "waitaof",
    arity: Arity::exactly(4),
    flags: Flags::of(&[Flag::Noscript]),
    categories: &[Category::Connection],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    summary: "Wait until all writes of this connection are synced to the log",
    since: "7.2.0",
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")],
    run: waitaof,
    ..CommandSpec::DEFAULT
};

/// There are no replicas: asked for none, the answer is at once; else when the time is over.
fn wait(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let replicas = integer(call.word(1))?;
    let time = timeout_ms(call.word(2))?;
    if call.in_transaction() || replicas <= 0 {
        call.reply.integer(0);
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Pause { time, encode: |reply| reply.integer(0) })
}

fn waitaof(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let local = integer(call.word(1))?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::text("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = integer(call.word(2))?;
    if replicas < 0 {
        return Err(CommandError::text("ERR value is out of range, must be positive"));
    }
    let time: Option<Duration> = timeout_ms(call.word(3))?;
    if call.in_transaction() {
        let synced = call.outside().durable >= call.session.last_seq;
        answer(&mut call.reply, i64::from(synced));
        return Ok(Outcome::Done);
    }
    // Not only asked, but done: in all modes what was applied so far is synced now.
    let synced = call.context.engine().sync()?;
    call.after = call.after.max(synced);
    if replicas > 0 {
        return Ok(Outcome::Pause { time, encode: |reply| answer(reply, 1) });
    }
    answer(&mut call.reply, 1);
    Ok(Outcome::Done)
}

fn answer(reply: &mut Encoder<'_>, local: i64) {
    reply.array(2);
    reply.integer(local);
    reply.integer(0);
}
