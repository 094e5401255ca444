//! ROLE, REPLICAOF, SLAVEOF, FAILOVER: there is one server, and it is a master.

use super::args::is;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_FAILOVER: CommandSpec = CommandSpec {
    name: "failover",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Stale]),
    summary: "Start a coordinated failover between this server and one of its replicas.",
    since: "6.2.0",
    group: "server",
    complexity: "O(1)",
    args: &[
        Arg::block(
            "target",
            &[Arg::string("host"), Arg::integer("port"), Arg::word("force", "FORCE").optional()],
        )
        .after("TO")
        .optional(),
        Arg::word("abort", "ABORT").optional(),
        Arg::integer("milliseconds").after("TIMEOUT").optional(),
    ],
    run: failover,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_REPLICAOF: CommandSpec = CommandSpec {
    name: "replicaof",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Make the server a replica of another instance, or promote it as master.",
    since: "5.0.0",
    group: "server",
    complexity: "O(1)",
    args: &[Arg::one_of(
        "args",
        &[
            Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
            Arg::block("no-one", &[Arg::word("no", "NO"), Arg::word("one", "ONE")]),
        ],
    )],
    run: replicaof,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_ROLE: CommandSpec = CommandSpec {
    name: "role",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale, Flag::Fast]),
    categories: &[Category::Admin, Category::Dangerous],
    summary: "Return the role of the instance in the context of replication",
    since: "2.8.12",
    group: "server",
    complexity: "O(1)",
    run: role,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_SLAVEOF: CommandSpec = CommandSpec {
    name: "slaveof",
    deprecated: Some(("5.0.0", "`REPLICAOF`")),
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Stale, Flag::NoAsyncLoading]),
    summary: "Make the server a replica of another instance, or promote it as master.",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    doc_flags: &["deprecated"],
    args: &[Arg::one_of(
        "args",
        &[
            Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
            Arg::block("no-one", &[Arg::word("no", "NO"), Arg::word("one", "ONE")]),
        ],
    )],
    run: replicaof,
    ..CommandSpec::DEFAULT
};

fn failover(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if matches!(&call.words[1..], [word] if is(word, "ABORT")) {
        return Err(CommandError::text("ERR No failover in progress."));
    }
    Err(CommandError::text("ERR FAILOVER requires connected replicas."))
}

/// It is what REPLICAOF NO ONE makes of it already, and can't be anything else.
fn replicaof(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if is(call.word(1), "NO") && is(call.word(2), "ONE") {
        call.reply.ok();
        return Ok(Outcome::Done);
    }
    Err(CommandError::text("ERR there is no replication here: this server can't become a replica of another"))
}

fn role(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(Outcome::Done)
}
