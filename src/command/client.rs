//! CLIENT: this connection and the others.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::args::{NOT_AN_INTEGER, SYNTAX, Words, is};
use super::session::{Client, ClientKind};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use claimlog::resp::parse_integer;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "client",
    arity: Arity::at_least(2),
    summary: "A container for client connection commands",
    since: "2.4.0",
    group: "connection",
    complexity: "Depends on subcommand.",
    subcommands: &[
        &GETNAME, &HELP, &ID, &INFO, &KILL, &LIST, &NO_EVICT, &NO_TOUCH, &SETINFO, &SETNAME, &UNBLOCK,
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

static KILL: CommandSpec = CommandSpec {
    name: "client|kill",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Kill the connection of a client",
    since: "2.4.0",
    group: "connection",
    complexity: "O(N) where N is the number of client connections",
    history: &[
        ("2.8.12", "Added new filter format."),
        ("2.8.12", "`ID` option."),
        ("3.2.0", "Added `master` type in for `TYPE` option."),
        (
            "5.0.0",
            "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility.",
        ),
        ("6.2.0", "`LADDR` option."),
    ],
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::string("ip:port").deprecated_since("2.8.12"),
            Arg::one_of(
                "new-format",
                &[
                    Arg::integer("client-id").after("ID").since("2.8.12").optional(),
                    Arg::one_of(
                        "normal_master_slave_pubsub",
                        &[
                            Arg::word("normal", "NORMAL"),
                            Arg::word("master", "MASTER").since("3.2.0"),
                            Arg::word("slave", "SLAVE"),
                            Arg::word("replica", "REPLICA").since("5.0.0"),
                            Arg::word("pubsub", "PUBSUB"),
                        ],
                    )
                    .after("TYPE")
                    .since("2.8.12")
                    .optional(),
                    Arg::string("username").after("USER").optional(),
                    Arg::string("ip:port").after("ADDR").optional(),
                    Arg::string("ip:port").after("LADDR").since("6.2.0").optional(),
                    Arg::string("yes/no").after("SKIPME").optional(),
                ],
            )
            .many(),
        ],
    )],
    run: kill,
    ..CommandSpec::DEFAULT
};

static LIST: CommandSpec = CommandSpec {
    name: "client|list",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output"],
    summary: "Get the list of client connections",
    since: "2.4.0",
    group: "connection",
    complexity: "O(N) where N is the number of client connections",
    history: &[
        ("2.8.12", "Added unique client `id` field."),
        ("5.0.0", "Added optional `TYPE` filter."),
        ("6.0.0", "Added `user` field."),
        ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
        ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "Added `ssub` field."),
    ],
    args: &[
        Arg::one_of(
            "normal_master_replica_pubsub",
            &[
                Arg::word("normal", "NORMAL"),
                Arg::word("master", "MASTER"),
                Arg::word("replica", "REPLICA"),
                Arg::word("pubsub", "PUBSUB"),
            ],
        )
        .after("TYPE")
        .since("5.0.0")
        .optional(),
        Arg::block("id", &[Arg::integer("client-id").many()]).after("ID").since("6.2.0").optional(),
    ],
    run: list,
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
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
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
        return Err(CommandError::owned([b"ERR Unrecognized option '", &attribute[..], b"'"].concat()));
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

fn list(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut kind = None;
    let mut ids: Option<Vec<u64>> = None;
    match &call.words[2..] {
        [] => {}
        [option, word] if is(option, "TYPE") => kind = Some(client_kind(word)?),
        [option, words @ ..] if is(option, "ID") && !words.is_empty() => {
            let parsed: Option<Vec<u64>> = words.iter().map(|word| client_id(word)).collect();
            ids = Some(parsed.ok_or(CommandError::text("ERR Invalid client ID"))?);
        }
        _ => return Err(SYNTAX),
    }
    let now = Instant::now();
    let mut text = String::new();
    for client in call.context.clients.borrow().values() {
        let wanted = kind.is_none_or(|kind| kind == ClientKind::Normal)
            && ids.as_ref().is_none_or(|ids| ids.contains(&client.id));
        if wanted {
            text.push_str(&client.line(now));
            text.push('\n');
        }
    }
    call.reply.verbatim(text.as_bytes());
    Ok(Outcome::Done)
}

fn client_id(word: &[u8]) -> Option<u64> {
    parse_integer(word).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0)
}

fn client_kind(word: &[u8]) -> Result<ClientKind, CommandError> {
    ClientKind::parse(word)
        .ok_or_else(|| CommandError::owned([b"ERR Unknown client type '", word, b"'"].concat()))
}

/// Which clients KILL is about.
#[derive(Default)]
struct Victims {
    id: Option<u64>,
    address: Option<Bytes>,
    local_address: Option<Bytes>,
    kind: Option<ClientKind>,
    skip_me: bool,
}

impl Victims {
    fn parse(words: &[Bytes]) -> Result<Self, CommandError> {
        let mut victims = Self { skip_me: true, ..Self::default() };
        let mut words = Words::new(words);
        while let Some(option) = words.next() {
            let value = words.value()?;
            if is(option, "ID") {
                let id = client_id(value);
                victims.id = Some(id.ok_or(CommandError::text("ERR client-id should be greater than 0"))?);
            } else if is(option, "TYPE") {
                victims.kind = Some(client_kind(value)?);
            } else if is(option, "ADDR") {
                victims.address = Some(value.clone());
            } else if is(option, "LADDR") {
                victims.local_address = Some(value.clone());
            } else if is(option, "USER") {
                if value.as_ref() != b"default" {
                    return Err(CommandError::owned([b"ERR No such user '", &value[..], b"'"].concat()));
                }
            } else if is(option, "SKIPME") && is(value, "YES") {
                victims.skip_me = true;
            } else if is(option, "SKIPME") && is(value, "NO") {
                victims.skip_me = false;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(victims)
    }

    fn include(&self, client: &Client) -> bool {
        let at = |wanted: &Option<Bytes>, address| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_ref() == Client::address_text(address).as_bytes())
        };
        self.id.is_none_or(|id| id == client.id)
            && at(&self.address, client.address)
            && at(&self.local_address, client.local_address)
            && self.kind.is_none_or(|kind| kind == ClientKind::Normal)
    }
}

fn kill(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    // The old form: one address, and its answer is OK or an error.
    let old_form = call.words.len() == 3;
    let victims = if old_form {
        Victims { address: Some(call.word(2).clone()), ..Victims::default() }
    } else {
        Victims::parse(&call.words[2..])?
    };
    let own = call.session.client.id;
    let mut killed = 0;
    let mut close_self = false;
    let clients: Vec<Rc<Client>> = call.context.clients.borrow().values().cloned().collect();
    for client in clients {
        if !victims.include(&client) || (victims.skip_me && client.id == own) {
            continue;
        }
        killed += 1;
        if client.id == own { close_self = true } else { client.kill() }
    }
    if !old_form {
        call.reply.integer(killed);
    } else if killed > 0 {
        call.reply.ok();
    } else {
        return Err(CommandError::text("ERR No such client"));
    }
    Ok(if close_self { Outcome::Close } else { Outcome::Done })
}

fn unblock(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let with_error = match &call.words[3..] {
        [] => false,
        [reason] if is(reason, "TIMEOUT") => false,
        [reason] if is(reason, "ERROR") => true,
        _ => return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = parse_integer(call.word(2)).ok_or(NOT_AN_INTEGER)?;
    let clients = call.context.clients.borrow();
    let victim = u64::try_from(id).ok().and_then(|id| clients.get(&id)).filter(|client| client.blocked.get());
    if let Some(client) = victim {
        client.unblock.set(Some(with_error));
        client.wake();
    }
    call.reply.integer(i64::from(victim.is_some()));
    Ok(Outcome::Done)
}
