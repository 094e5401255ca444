//! XINFO: what a stream, its groups and their consumers look like.

use claimlog::op::{
    ConsumerInfoFull, Entry, GroupInfoFull, Refusal, StreamInfo, XInfoConsumers, XInfoGroups, XInfoStream,
    XInfoStreamFull,
};

use super::args::{integer, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};
use claimlog::resp::Encoder;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xinfo",
    arity: Arity::at_least(2),
    summary: "A container for stream introspection commands",
    since: "5.0.0",
    group: "stream",
    complexity: "Depends on subcommand.",
    subcommands: &[&CONSUMERS, &GROUPS, &STREAM, &HELP],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static STREAM: CommandSpec = CommandSpec {
    name: "xinfo|stream",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RO", "access"])],
    summary: "Get information about a stream",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    history: &[
        ("6.0.0", "Added the `FULL` modifier."),
        (
            "7.0.0",
            "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields",
        ),
        ("7.2.0", "Added the `active-time` field, and changed the meaning of `seen-time`."),
        ("8.6.0", "Added the fields about idempotent IDs."),
        ("8.8.0", "Added the `nacked-count` field."),
    ],
    args: &[
        Arg::key("key"),
        Arg::block("full", &[Arg::integer("count").after("COUNT").optional()]).after("FULL").optional(),
    ],
    run: stream,
    ..CommandSpec::DEFAULT
};

static GROUPS: CommandSpec = CommandSpec {
    name: "xinfo|groups",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RO", "access"])],
    summary: "List the consumer groups of a stream",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    history: &[("7.0.0", "Added the `entries-read` and `lag` fields")],
    args: &[Arg::key("key")],
    run: groups,
    ..CommandSpec::DEFAULT
};

static CONSUMERS: CommandSpec = CommandSpec {
    name: "xinfo|consumers",
    arity: Arity::exactly(4),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RO", "access"])],
    tips: &["nondeterministic_output"],
    summary: "List the consumers in a consumer group",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    history: &[("7.2.0", "Added the `inactive` field, and changed the meaning of `idle`.")],
    args: &[Arg::key("key"), Arg::string("groupname")],
    run: consumers,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "xinfo|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Stream],
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

/// How many rows of each list FULL gives unless told otherwise.
const FULL_COUNT_DEFAULT: u64 = 10;

fn stream(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if call.words.len() == 3 {
        let info = call.execute(&XInfoStream { key: call.key(2) })?;
        call.reply.map(16);
        stream_numbers(&mut call.reply, &info);
        call.reply.bulk(b"groups");
        call.reply.count(info.group_count);
        call.reply.bulk(b"first-entry");
        entry_or_null(&mut call.reply, info.first_entry.as_ref());
        call.reply.bulk(b"last-entry");
        entry_or_null(&mut call.reply, info.last_entry.as_ref());
        return Ok(Outcome::Done);
    }
    let key = call.key(2);
    let count = match full_count(call) {
        Ok(count) => count,
        // Redis looks for the key first.
        Err(_) if !call.key_exists(&key)? => return Err(Refusal::NoSuchKey.into()),
        Err(error) => return Err(error),
    };
    let full = call.execute(&XInfoStreamFull { key, count })?;
    call.reply.map(15);
    stream_numbers(&mut call.reply, &full.info);
    call.reply.bulk(b"entries");
    super::reply::entries(&mut call.reply, &full.entries);
    call.reply.bulk(b"groups");
    call.reply.array(full.groups.len());
    for group in &full.groups {
        group_in_full(&mut call.reply, group);
    }
    Ok(Outcome::Done)
}

/// `FULL [COUNT n]`: 0 means all, below zero the default.
fn full_count(call: &Call<'_, '_>) -> Result<Option<u64>, CommandError> {
    match &call.words[3..] {
        [full] if is(full, "FULL") => Ok(Some(FULL_COUNT_DEFAULT)),
        [full, option, count] if is(full, "FULL") && is(option, "COUNT") => {
            let count = u64::try_from(integer(count)?).unwrap_or(FULL_COUNT_DEFAULT);
            Ok((count > 0).then_some(count))
        }
        _ => Err(call.subcommand_syntax()),
    }
}

/// The first thirteen pairs, which both forms have.
fn stream_numbers(reply: &mut Encoder<'_>, info: &StreamInfo) {
    reply.bulk(b"length");
    reply.count(info.length);
    // What a radix tree over the nodes would have: clients index these without asking whether they are there.
    reply.bulk(b"radix-tree-keys");
    reply.count(info.node_count);
    reply.bulk(b"radix-tree-nodes");
    reply.count(info.node_count + 1);
    reply.bulk(b"last-generated-id");
    reply.id(info.last_id);
    reply.bulk(b"max-deleted-entry-id");
    reply.id(info.max_deleted_id);
    reply.bulk(b"entries-added");
    reply.count(info.entries_added);
    reply.bulk(b"recorded-first-entry-id");
    reply.id(info.first_id);
    for (name, number) in [
        ("idmp-duration", info.idmp_duration_secs),
        ("idmp-maxsize", info.idmp_maxsize),
        ("pids-tracked", info.pids_tracked),
        ("iids-tracked", info.iids_tracked),
        ("iids-added", info.iids_added),
        ("iids-duplicates", info.iids_duplicates),
    ] {
        reply.bulk(name.as_bytes());
        reply.count(number);
    }
}

fn entry_or_null(reply: &mut Encoder<'_>, entry: Option<&Entry>) {
    match entry {
        Some(entry) => super::reply::entry(reply, entry),
        None => reply.null(),
    }
}

fn group_in_full(reply: &mut Encoder<'_>, group: &GroupInfoFull) {
    reply.map(8);
    reply.bulk(b"name");
    reply.bulk(&group.info.name);
    reply.bulk(b"last-delivered-id");
    reply.id(group.info.last_delivered_id);
    reply.bulk(b"entries-read");
    reply.count_or_null(group.info.entries_read);
    reply.bulk(b"lag");
    reply.count_or_null(group.info.lag);
    reply.bulk(b"pel-count");
    reply.count(group.info.pending_count);
    reply.bulk(b"nacked-count");
    reply.count(group.released_count);
    reply.bulk(b"pending");
    reply.array(group.pending.len());
    for (id, consumer, delivered_ms, delivery_count) in &group.pending {
        reply.array(4);
        reply.id(*id);
        reply.bulk(consumer);
        reply.count(*delivered_ms);
        reply.count(*delivery_count);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers.len());
    for consumer in &group.consumers {
        consumer_in_full(reply, consumer);
    }
}

fn consumer_in_full(reply: &mut Encoder<'_>, consumer: &ConsumerInfoFull) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(&consumer.name);
    reply.bulk(b"seen-time");
    reply.count(consumer.seen_ms);
    reply.bulk(b"active-time");
    count_or_never(reply, consumer.active_ms);
    reply.bulk(b"pel-count");
    reply.count(consumer.pending_count);
    reply.bulk(b"pending");
    reply.array(consumer.pending.len());
    for (id, delivered_ms, delivery_count) in &consumer.pending {
        reply.array(3);
        reply.id(*id);
        reply.count(*delivered_ms);
        reply.count(*delivery_count);
    }
}

/// A time, or -1 for what never was.
fn count_or_never(reply: &mut Encoder<'_>, ms: Option<u64>) {
    match ms {
        Some(ms) => reply.count(ms),
        None => reply.integer(-1),
    }
}

fn groups(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let groups = call.execute(&XInfoGroups { key: call.key(2) })?;
    let reply = &mut call.reply;
    reply.array(groups.len());
    for group in groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(&group.name);
        reply.bulk(b"consumers");
        reply.count(group.consumer_count);
        reply.bulk(b"pending");
        reply.count(group.pending_count);
        reply.bulk(b"last-delivered-id");
        reply.id(group.last_delivered_id);
        reply.bulk(b"entries-read");
        reply.count_or_null(group.entries_read);
        reply.bulk(b"lag");
        reply.count_or_null(group.lag);
    }
    Ok(Outcome::Done)
}

fn consumers(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let consumers = call.execute(&XInfoConsumers { key: call.key(2), group: call.name(3) })?;
    let reply = &mut call.reply;
    reply.array(consumers.len());
    for consumer in consumers {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        reply.bulk(b"pending");
        reply.count(consumer.pending_count);
        reply.bulk(b"idle");
        reply.count(consumer.idle_ms);
        reply.bulk(b"inactive");
        count_or_never(reply, consumer.inactive_ms);
    }
    Ok(Outcome::Done)
}
