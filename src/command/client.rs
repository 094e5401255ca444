//! CLIENT: this connection and the others.

use std::time::Instant;

use bytes::Bytes;

use super::args::{NOT_AN_INTEGER, SYNTAX, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome, client_flow, client_select};
use claimlog::resp::parse_integer;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "client",
    arity: Arity::at_least(2),
    summary: "A container for client connection commands",
    since: "2.4.0",
    group: "connection",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &client_flow::CACHING,
        &GETNAME,
        &client_flow::GETREDIR,
        &HELP,
        &ID,
        &INFO,
        &client_select::KILL,
        &client_select::LIST,
        &NO_EVICT,
        &NO_TOUCH,
        &client_flow::PAUSE,
        &client_flow::REPLY,
        &SETINFO,
        &SETNAME,
        &client_flow::TRACKING,
        &client_flow::TRACKINGINFO,
        &UNBLOCK,
        &client_flow::UNPAUSE,
    ],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static GETNAME: CommandSpec = CommandSpec {
    name: "client|getname",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Get the current connection name",
    since: "2.6.9",
    group: "connection",
    complexity: "O(1)",
    run: get_name,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "client|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    group: "connection",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static ID: CommandSpec = CommandSpec {
    name: "client|id",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Returns the client ID for the current connection",
    since: "5.0.0",
    group: "connection",
    complexity: "O(1)",
    run: id,
    ..CommandSpec::DEFAULT
};

static INFO: CommandSpec = CommandSpec {
    name: "client|info",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output"],
    summary: "Returns information about the current client connection.",
    since: "6.2.0",
    group: "connection",
    complexity: "O(1)",
    run: info,
    ..CommandSpec::DEFAULT
};

static NO_EVICT: CommandSpec = CommandSpec {
    name: "client|no-evict",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Set client eviction mode for the current connection",
    since: "7.0.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
    run: no_evict,
    ..CommandSpec::DEFAULT
};

static SETNAME: CommandSpec = CommandSpec {
    name: "client|setname",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Set the current connection name",
    since: "2.6.9",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::string("connection-name")],
    run: set_name,
    ..CommandSpec::DEFAULT
};

static UNBLOCK: CommandSpec = CommandSpec {
    name: "client|unblock",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Unblock a client blocked in a blocking command from a different connection",
    since: "5.0.0",
    group: "connection",
    complexity: "O(log N) where N is the number of client connections",
    args: &[
        Arg::integer("client-id"),
        Arg::one_of("timeout_error", &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")])
            .optional(),
    ],
    run: unblock,
    ..CommandSpec::DEFAULT
};

static NO_TOUCH: CommandSpec = CommandSpec {
    name: "client|no-touch",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
    since: "7.2.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
    run: no_touch,
    ..CommandSpec::DEFAULT
};

static SETINFO: CommandSpec = CommandSpec {
    name: "client|setinfo",
    arity: Arity::exactly(4),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    summary: "Sets information specific to the client or connection.",
    since: "7.2.0",
    group: "connection",
    complexity: "O(1)",
    args: &[Arg::one_of(
        "attr",
        &[Arg::string("libname").after("LIB-NAME"), Arg::string("libver").after("LIB-VER")],
    )],
    run: set_info,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "    * ID <client-id> [<client-id> ...]",
    "      Kill connections by client id.",
    "    * MAXAGE <maxage>",
    "      Kill connections older than the specified age.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <client-id> [<client-id> ...]",
    "      Return clients of specified ids.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "TRACKING OFF",
    "    Client side caching can't be turned on here.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];

/// Whether a name has only characters that CLIENT LIST can show.
pub(crate) fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(CommandError::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

fn ok(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.ok();
    Ok(Outcome::Done)
}

fn id(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.count(call.session.client.id);
    Ok(Outcome::Done)
}

fn get_name(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let name = call.session.client.name.borrow();
    if name.is_empty() {
        call.reply.null();
    } else {
        call.reply.bulk(&name);
    }
    Ok(Outcome::Done)
}

fn set_name(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let name = call.word(2);
    check_name(name)?;
    // A copy: the word is a slice of the read buffer, which would be kept as long.
    call.session.client.name.replace(Bytes::copy_from_slice(name));
    ok(call)
}

fn set_info(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (attribute, value) = (call.word(2), call.word(3));
    let client = &call.session.client;
    let (name, place) = if is(attribute, "LIB-NAME") {
        ("lib-name", &client.library_name)
    } else if is(attribute, "LIB-VER") {
        ("lib-ver", &client.library_version)
    } else {
        return Err(CommandError::owned([b"ERR Unrecognized option '", attribute, b"'"].concat()));
    };
    if check_name(value).is_err() {
        return Err(CommandError::owned(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        )));
    }
    place.replace(Bytes::copy_from_slice(value));
    ok(call)
}

/// ON or OFF.
fn switch(word: &[u8]) -> Result<bool, CommandError> {
    match word {
        word if is(word, "ON") => Ok(true),
        word if is(word, "OFF") => Ok(false),
        _ => Err(SYNTAX),
    }
}

fn no_evict(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.session.client.no_evict.set(switch(call.word(2))?);
    ok(call)
}

fn no_touch(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.session.client.no_touch.set(switch(call.word(2))?);
    ok(call)
}

fn info(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let line = call.session.client.line(Instant::now());
    call.reply.verbatim(format!("{line}\n").as_bytes());
    Ok(Outcome::Done)
}

fn unblock(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let with_error = match &call.words[3..] {
        [] => false,
        [reason] if is(reason, "TIMEOUT") => false,
        [reason] if is(reason, "ERROR") => true,
        [_, _, ..] => return Err(call.subcommand_syntax()),
        _ => return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = parse_integer(call.word(2)).ok_or(NOT_AN_INTEGER)?;
    let found = u64::try_from(id).ok().and_then(|id| call.context.clients.borrow().get(&id).cloned());
    let victim = found
        .filter(|client| client.blocked.get() && !client.paused.get())
        .filter(|client| call.end_reading(client));
    if let Some(client) = &victim {
        client.blocked.set(false);
        client.unblock.set(Some(with_error));
        client.wake();
    }
    call.reply.integer(i64::from(victim.is_some()));
    Ok(Outcome::Done)
}
