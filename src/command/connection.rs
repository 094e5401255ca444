//! PING, ECHO, QUIT, RESET, SELECT: about the connection itself.

use super::call::wrong_arity;
use super::relocate::db_index;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use claimlog::resp::Protocol;

pub(crate) static SPEC_PING: CommandSpec = CommandSpec {
    name: "ping",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Fast]),
    categories: &[Category::Connection],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    summary: "Ping the server",
    since: "1.0.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::string("message").optional()],
    run: ping,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_ECHO: CommandSpec = CommandSpec {
    name: "echo",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    categories: &[Category::Connection],
    summary: "Echo the given string",
    since: "1.0.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::string("message")],
    run: echo,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_QUIT: CommandSpec = CommandSpec {
    name: "quit",
    arity: Arity::at_least(1),
    flags: Flags::of(&[
        Flag::Noscript,
        Flag::Loading,
        Flag::Stale,
        Flag::Fast,
        Flag::NoAuth,
        Flag::AllowBusy,
    ]),
    categories: &[Category::Connection],
    summary: "Close the connection",
    since: "1.0.0",
    group: "connection",
    complexity: "O(1)",
    run: quit,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_RESET: CommandSpec = CommandSpec {
    name: "reset",
    arity: Arity::exactly(1),
    flags: Flags::of(&[
        Flag::Noscript,
        Flag::Loading,
        Flag::Stale,
        Flag::Fast,
        Flag::NoAuth,
        Flag::AllowBusy,
    ]),
    categories: &[Category::Connection],
    summary: "Reset the connection",
    since: "6.2.0",
    group: "connection",
    complexity: "O(1)",
    run: reset,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_SELECT: CommandSpec = CommandSpec {
    name: "select",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    categories: &[Category::Connection],
    summary: "Change the selected database for the current connection",
    since: "1.0.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::integer("index")],
    run: select,
    ..CommandSpec::DEFAULT
};

fn ping(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match call.words {
        [_] => call.reply.simple(b"PONG"),
        [_, message] => call.reply.bulk(message),
        _ => return Err(wrong_arity("ping")),
    }
    Ok(Outcome::Done)
}

fn echo(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.bulk(call.words[1]);
    Ok(Outcome::Done)
}

fn quit(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.ok();
    Ok(Outcome::Close)
}

fn reset(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let no_password = call.context.config.borrow().password.is_none();
    call.session.reset(no_password);
    call.reply.set_protocol(Protocol::Resp2);
    call.reply.simple(b"RESET");
    Ok(Outcome::Done)
}

fn select(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.session.client.db.set(db_index(call.word(1))?);
    call.reply.ok();
    Ok(Outcome::Done)
}
