//! CLIENT PAUSE, UNPAUSE, REPLY, and TRACKING with what belongs to it: when replies come, and which.

use std::time::{Duration, Instant};

use super::args::{SYNTAX, is};
use super::context::Pause;
use super::session::Replies;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static CACHING: CommandSpec = CommandSpec {
    name: "client|caching",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Instruct the server about tracking or not keys in the next request",
    since: "6.0.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::one_of("mode", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])],
    run: caching,
    ..CommandSpec::DEFAULT
};

pub(crate) static GETREDIR: CommandSpec = CommandSpec {
    name: "client|getredir",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Get tracking notifications redirection client ID if any",
    since: "6.0.0",
    group: "connection",
    complexity: "O(1)",
    run: getredir,
    ..CommandSpec::DEFAULT
};

pub(crate) static PAUSE: CommandSpec = CommandSpec {
    name: "client|pause",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Stop processing commands from clients for some time",
    since: "2.9.50",
    group: "connection",
    complexity: "O(1)",
    history: &[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")],
    args: &[
        Arg::integer("timeout"),
        Arg::one_of("mode", &[Arg::word("write", "WRITE"), Arg::word("all", "ALL")])
            .since("6.2.0")
            .optional(),
    ],
    run: pause,
    ..CommandSpec::DEFAULT
};

pub(crate) static REPLY: CommandSpec = CommandSpec {
    name: "client|reply",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Instruct the server whether to reply to commands",
    since: "3.2.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::one_of(
        "on_off_skip",
        &[Arg::word("on", "ON"), Arg::word("off", "OFF"), Arg::word("skip", "SKIP")],
    )],
    run: reply_mode,
    ..CommandSpec::DEFAULT
};

pub(crate) static TRACKING: CommandSpec = CommandSpec {
    name: "client|tracking",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Enable or disable server assisted client side caching support",
    since: "6.0.0",
    group: "connection",
    complexity: "O(1). Some options may introduce additional complexity.",
    args: &[
        Arg::one_of("status", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]),
        Arg::integer("client-id").after("REDIRECT").optional(),
        Arg::string("prefix").after("PREFIX").optional().many_tokens(),
        Arg::word("bcast", "BCAST").optional(),
        Arg::word("optin", "OPTIN").optional(),
        Arg::word("optout", "OPTOUT").optional(),
        Arg::word("noloop", "NOLOOP").optional(),
    ],
    run: tracking,
    ..CommandSpec::DEFAULT
};

pub(crate) static TRACKINGINFO: CommandSpec = CommandSpec {
    name: "client|trackinginfo",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Return information about server assisted client side caching for the current connection",
    since: "6.2.0",
    group: "connection",
    complexity: "O(1)",
    run: trackinginfo,
    ..CommandSpec::DEFAULT
};

pub(crate) static UNPAUSE: CommandSpec = CommandSpec {
    name: "client|unpause",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Resume processing of clients that were paused",
    since: "6.2.0",
    group: "connection",
    complexity: "O(N) Where N is the number of paused clients",
    run: unpause,
    ..CommandSpec::DEFAULT
};

fn ok(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.ok();
    Ok(Outcome::Done)
}

fn caching(_: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    Err(CommandError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

fn getredir(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.integer(-1);
    Ok(Outcome::Done)
}

/// A later pause can make an earlier one longer and wider, never shorter or narrower. As in Redis.
fn pause(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let all = match &call.words[3..] {
        [] => true,
        [mode] if is(mode, "ALL") => true,
        [mode] if is(mode, "WRITE") => false,
        [_] => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(call.subcommand_syntax()),
    };
    let time = super::args::timeout_ms(call.word(2))?.unwrap_or(Duration::ZERO).min(PAUSE_MAX);
    let mut pause = Pause { until: Instant::now() + time, all };
    if let Some(before) = call.context.pause() {
        pause = Pause { until: pause.until.max(before.until), all: all || before.all };
    }
    call.context.set_pause(Some(pause));
    ok(call)
}

/// As good as for ever.
const PAUSE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

fn unpause(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.context.set_pause(None);
    ok(call)
}

fn reply_mode(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let in_transaction = call.in_transaction();
    let replies = &mut call.session.replies;
    match call.words[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            *replies = Replies::On;
            call.reply.ok();
        }
        // EXEC has announced how many replies it gives. In Redis one is missing then.
        b"off" | b"skip" if in_transaction => {
            return Err(CommandError::text("ERR replies can't be turned off inside MULTI"));
        }
        b"off" => *replies = Replies::Off,
        b"skip" if *replies == Replies::Off => {}
        b"skip" => *replies = Replies::SkipNext,
        _ => return Err(SYNTAX),
    }
    Ok(Outcome::Done)
}

fn tracking(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match call.word(2) {
        word if is(word, "OFF") && call.words.len() == 3 => ok(call),
        word if is(word, "ON") => Err(CommandError::text(
            "ERR client side caching is not supported here: nobody would be told that a key has changed",
        )),
        _ => Err(SYNTAX),
    }
}

fn trackinginfo(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let reply = &mut call.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(Outcome::Done)
}
