//! HELLO: agrees on the protocol, and introduces both sides to each other.

use bytes::Bytes;

use super::args::{Words, is};
use super::auth::check_login;
use super::client::check_name;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome, REDIS_VERSION};
use claimlog::resp::{Protocol, parse_integer};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "hello",
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
    summary: "Handshake with Redis",
    since: "6.0.0",
    group: "connection",
    complexity: "O(1)",
    history: &[(
        "6.2.0",
        "`protover` made optional; when called without arguments the command reports the current connection's context.",
    )],
    args: &[Arg::block(
        "arguments",
        &[
            Arg::integer("protover"),
            Arg::block("username_password", &[Arg::string("username"), Arg::string("password")])
                .after("AUTH")
                .optional(),
            Arg::string("clientname").after("SETNAME").optional(),
        ],
    )
    .optional()],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let all = call.words;
    let mut words = Words::new(&all[1..]);
    let mut protocol = None;
    if let Some(version) = words.next() {
        protocol = Some(match parse_integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
            None => return Err(CommandError::text("ERR Protocol version is not an integer or out of range")),
        });
    }
    let mut name = None;
    let mut logs_in = false;
    while let Some(option) = words.next() {
        if is(option, "AUTH") && words.left() >= 2 {
            check_login(call, words.value()?, words.value()?)?;
            logs_in = true;
        } else if is(option, "SETNAME") && words.left() >= 1 {
            name = words.next();
            check_name(name.unwrap_or_default())?;
        } else {
            return Err(CommandError::owned(
                [&b"ERR Syntax error in HELLO option '"[..], option, b"'"].concat(),
            ));
        }
    }
    if !call.session.authenticated && !logs_in {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        ));
    }
    // Nothing was wrong: now it takes effect.
    call.session.authenticated = true;
    if let Some(name) = name {
        call.session.client.name.replace(Bytes::copy_from_slice(name));
    }
    if let Some(protocol) = protocol {
        call.session.client.protocol.set(protocol);
        call.reply.set_protocol(protocol);
    }
    answer(call);
    Ok(Outcome::Done)
}

fn answer(call: &mut Call<'_, '_>) {
    let id = call.session.client.id;
    let reply = &mut call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(reply.protocol().number());
    reply.bulk(b"id");
    reply.count(id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}
