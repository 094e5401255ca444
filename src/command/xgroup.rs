//! XGROUP: creates, moves and destroys groups and consumers.

use claimlog::EntryId;
use claimlog::op::{
    GroupStart, Refusal, XGroupCreate, XGroupCreateConsumer, XGroupDelConsumer, XGroupDestroy, XGroupSetId,
};

use super::args::{Words, id, id_or_bound, integer, is};
use super::call::Existence;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xgroup",
    arity: Arity::at_least(2),
    summary: "A container for consumer groups commands",
    since: "5.0.0",
    group: "stream",
    complexity: "Depends on subcommand.",
    subcommands: &[&CREATE, &CREATECONSUMER, &DELCONSUMER, &DESTROY, &SETID, &HELP],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static CREATE: CommandSpec = CommandSpec {
    name: "xgroup|create",
    arity: Arity::at_least(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RW", "insert"])],
    summary: "Create a consumer group.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    history: &[("7.0.0", "Added the `entries_read` named argument.")],
    args: &[
        Arg::key("key"),
        Arg::string("groupname"),
        Arg::one_of("id", &[Arg::string("id"), Arg::word("new_id", "$")]),
        Arg::word("mkstream", "MKSTREAM").optional(),
        Arg::integer("entries_read").after("ENTRIESREAD").optional(),
    ],
    run: create,
    ..CommandSpec::DEFAULT
};

static CREATECONSUMER: CommandSpec = CommandSpec {
    name: "xgroup|createconsumer",
    arity: Arity::exactly(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RW", "insert"])],
    summary: "Create a consumer in a consumer group.",
    since: "6.2.0",
    group: "stream",
    complexity: "O(1)",
    args: &[Arg::key("key"), Arg::string("groupname"), Arg::string("consumername")],
    run: create_consumer,
    ..CommandSpec::DEFAULT
};

static DELCONSUMER: CommandSpec = CommandSpec {
    name: "xgroup|delconsumer",
    arity: Arity::exactly(5),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RW", "delete"])],
    summary: "Delete a consumer from a consumer group.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    args: &[Arg::key("key"), Arg::string("groupname"), Arg::string("consumername")],
    run: delete_consumer,
    ..CommandSpec::DEFAULT
};

static DESTROY: CommandSpec = CommandSpec {
    name: "xgroup|destroy",
    arity: Arity::exactly(4),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RW", "delete"])],
    summary: "Destroy a consumer group.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
    args: &[Arg::key("key"), Arg::string("groupname")],
    run: destroy,
    ..CommandSpec::DEFAULT
};

static SETID: CommandSpec = CommandSpec {
    name: "xgroup|setid",
    arity: Arity::at_least(5),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RW", "update"])],
    summary: "Set a consumer group to an arbitrary last delivered ID value.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    history: &[("7.0.0", "Added the optional `entries_read` argument.")],
    args: &[
        Arg::key("key"),
        Arg::string("groupname"),
        Arg::one_of("id", &[Arg::string("id"), Arg::word("new_id", "$")]),
        Arg::integer("entries_read").after("ENTRIESREAD").optional(),
    ],
    run: set_id,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "xgroup|help",
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
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

/// The options after the id: MKSTREAM (of CREATE only) and ENTRIESREAD.
fn options(call: &Call<'_, '_>, creates: bool) -> Result<(bool, Option<u64>), CommandError> {
    let mut make_stream = false;
    let mut entries_read = None;
    let mut words = Words::new(&call.words[5..]);
    while let Some(option) = words.next() {
        if creates && is(option, "MKSTREAM") {
            make_stream = true;
        } else if is(option, "ENTRIESREAD") && words.left() >= 1 {
            let read = integer(words.value()?)?;
            if read < -1 {
                return Err(CommandError::text("ERR value for ENTRIESREAD must be positive or -1"));
            }
            // -1: unknown.
            entries_read = u64::try_from(read).ok();
        } else {
            return Err(call.subcommand_syntax());
        }
    }
    Ok((make_stream, entries_read))
}

/// With each option once. Redis counts words, so that one option may be there twice.
const CREATE_WORDS_MAX: usize = 8;
const SETID_WORDS_MAX: usize = 7;

/// Where the group begins, as the fourth word says.
fn start(
    call: &Call<'_, '_>,
    words_max: usize,
    id: fn(&[u8], u64) -> Result<EntryId, CommandError>,
) -> Result<GroupStart, CommandError> {
    if call.words.len() > words_max {
        return Err(call.subcommand_syntax());
    }
    match call.word(4) {
        b"$" => Ok(GroupStart::Last),
        word => id(word, 0).map(GroupStart::After),
    }
}

fn create(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (make_stream, entries_read) = options(call, true)?;
    let (key, group) = (call.key(2), call.name(3));
    let start = match start(call, CREATE_WORDS_MAX, id) {
        Ok(start) => start,
        // Redis looks for the key first.
        Err(_) if !make_stream && !call.key_exists(&key)? => return Err(Refusal::GroupNeedsKey.into()),
        Err(error) => return Err(error),
    };
    call.execute(&XGroupCreate { key, group, start, make_stream, entries_read })?;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn set_id(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (_, entries_read) = options(call, false)?;
    let (key, group) = (call.key(2), call.name(3));
    let start = match start(call, SETID_WORDS_MAX, id_or_bound) {
        Ok(start) => start,
        // Redis looks for key and group first.
        Err(error) => {
            return Err(match call.existence(key.clone(), group.clone())? {
                Existence::NoKey => Refusal::GroupNeedsKey.into(),
                Existence::NoGroup => Refusal::NoSuchGroup { key: key.name, group }.into(),
                Existence::Group => error,
            });
        }
    };
    call.execute(&XGroupSetId { key, group, start, entries_read })?;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn destroy(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let existed = call.execute(&XGroupDestroy { key: call.key(2), group: call.name(3) })?;
    call.reply.integer(i64::from(existed));
    Ok(Outcome::Done)
}

fn create_consumer(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (group, consumer) = (call.name(3), call.name(4));
    let created = call.execute(&XGroupCreateConsumer { key: call.key(2), group, consumer })?;
    call.reply.integer(i64::from(created));
    Ok(Outcome::Done)
}

fn delete_consumer(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (group, consumer) = (call.name(3), call.name(4));
    let dropped = call.execute(&XGroupDelConsumer { key: call.key(2), group, consumer })?;
    call.reply.count(dropped);
    Ok(Outcome::Done)
}
