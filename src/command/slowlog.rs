//! SLOWLOG: the commands that took long.

use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use claimlog::resp::parse_integer;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "slowlog",
    arity: Arity::at_least(2),
    summary: "A container for slow log commands",
    since: "2.2.12",
    group: "server",
    complexity: "Depends on subcommand.",
    subcommands: &[&GET, &HELP, &LEN, &RESET],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static GET: CommandSpec = CommandSpec {
    name: "slowlog|get",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Loading, Flag::Stale]),
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    summary: "Get the slow log's entries",
    since: "2.2.12",
    group: "server",
    complexity: "O(N) where N is the number of entries returned",
    history: &[("4.0.0", "Added client IP address, port and name to the reply.")],
    args: &[Arg::integer("count").optional()],
    run: get,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "slowlog|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands",
    since: "6.2.0",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static LEN: CommandSpec = CommandSpec {
    name: "slowlog|len",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Loading, Flag::Stale]),
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    summary: "Get the slow log's length",
    since: "2.2.12",
    group: "server",
    complexity: "O(1)",
    run: len,
    ..CommandSpec::DEFAULT
};

static RESET: CommandSpec = CommandSpec {
    name: "slowlog|reset",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Loading, Flag::Stale]),
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    summary: "Clear all entries from the slow log",
    since: "2.2.12",
    group: "server",
    complexity: "O(N) where N is the number of entries in the slowlog",
    run: reset,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name, number of arguments",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// How many SLOWLOG GET shows unless told otherwise.
const SHOWN: i64 = 10;

fn get(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let count = match &call.words[2..] {
        [] => SHOWN,
        [count] => parse_integer(count)
            .filter(|count| *count >= -1)
            .ok_or(CommandError::text("ERR count should be greater than or equal to -1"))?,
        _ => return Err(call.subcommand_syntax()),
    };
    let entries = call.context.slow.entries.borrow();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(entries.len());
    let reply = &mut call.reply;
    reply.array(count);
    for entry in entries.iter().take(count) {
        reply.array(7);
        reply.count(entry.id);
        reply.count(entry.unix_secs);
        reply.count(entry.micros);
        reply.array(entry.words.len());
        for word in &entry.words {
            reply.bulk(word);
        }
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
        reply.count(entry.words_in_all);
    }
    Ok(Outcome::Done)
}

fn len(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let count = call.context.slow.entries.borrow().len();
    call.reply.count(count as u64);
    Ok(Outcome::Done)
}

fn reset(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.context.slow.entries.borrow_mut().clear();
    call.reply.ok();
    Ok(Outcome::Done)
}
