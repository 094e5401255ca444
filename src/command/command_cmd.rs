//! COMMAND: the table, for clients that ask.

use super::args::{SYNTAX, is};
use super::call::wrong_arity;
use super::docs;
use super::glob::matches_any_case;
use super::spec::Begin;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::table::{self, COMMANDS};
use super::{Call, CommandError, Outcome};
use claimlog::resp::Encoder;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "command",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output_order"],
    summary: "Get array of Redis command details",
    since: "2.8.13",
    group: "server",
    complexity: "O(N) where N is the total number of Redis commands",
    subcommands: &[&COUNT, &DOCS, &GETKEYS, &GETKEYSANDFLAGS, &HELP, &INFO, &LIST],
    help: LINES,
    run: all,
    ..CommandSpec::DEFAULT
};

static COUNT: CommandSpec = CommandSpec {
    name: "command|count",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Get total number of Redis commands",
    since: "2.8.13",
    group: "server",
    complexity: "O(1)",
    run: count,
    ..CommandSpec::DEFAULT
};

static DOCS: CommandSpec = CommandSpec {
    name: "command|docs",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output_order"],
    summary: "Get array of specific Redis command documentation",
    since: "7.0.0",
    group: "server",
    complexity: "O(N) where N is the number of commands to look up",
    args: &[Arg::string("command-name").optional().many()],
    run: docs_of,
    ..CommandSpec::DEFAULT
};

static GETKEYS: CommandSpec = CommandSpec {
    name: "command|getkeys",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Extract keys given a full Redis command",
    since: "2.8.13",
    group: "server",
    complexity: "O(N) where N is the number of arguments to the command",
    run: get_keys,
    ..CommandSpec::DEFAULT
};

static GETKEYSANDFLAGS: CommandSpec = CommandSpec {
    name: "command|getkeysandflags",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Extract keys and access flags given a full Redis command",
    since: "7.0.0",
    group: "server",
    complexity: "O(N) where N is the number of arguments to the command",
    run: get_keys_and_flags,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "command|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static INFO: CommandSpec = CommandSpec {
    name: "command|info",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output_order"],
    summary: "Get array of specific Redis command details, or all when no argument is given.",
    since: "2.8.13",
    group: "server",
    complexity: "O(N) where N is the number of commands to look up",
    history: &[("7.0.0", "Allowed to be called with no argument to get info on all commands.")],
    args: &[Arg::string("command-name").optional().many()],
    run: info,
    ..CommandSpec::DEFAULT
};

static LIST: CommandSpec = CommandSpec {
    name: "command|list",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Connection],
    tips: &["nondeterministic_output_order"],
    summary: "Get an array of Redis command names",
    since: "7.0.0",
    group: "server",
    complexity: "O(N) where N is the total number of Redis commands",
    args: &[Arg::one_of(
        "filterby",
        &[
            Arg::string("module-name").after("MODULE"),
            Arg::string("category").after("ACLCAT"),
            Arg::pattern("pattern").after("PATTERN"),
        ],
    )
    .after("FILTERBY")
    .optional()],
    run: list,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];

fn all(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if call.words.len() > 1 {
        return Err(wrong_arity("command"));
    }
    call.reply.array(COMMANDS.len());
    for spec in COMMANDS {
        one_info(&mut call.reply, spec);
    }
    Ok(Outcome::Done)
}

fn count(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.count(COMMANDS.len() as u64);
    Ok(Outcome::Done)
}

fn info(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let names = &call.words[2..];
    if names.is_empty() {
        call.reply.array(COMMANDS.len());
        for spec in COMMANDS {
            one_info(&mut call.reply, spec);
        }
        return Ok(Outcome::Done);
    }
    call.reply.array(names.len());
    for name in names {
        match table::by_name(name) {
            Some(spec) => one_info(&mut call.reply, spec),
            None => call.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

fn docs_of(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let names = &call.words[2..];
    let specs: Vec<_> = if names.is_empty() {
        COMMANDS.to_vec()
    } else {
        names.iter().filter_map(|name| table::by_name(name)).collect()
    };
    call.reply.map(specs.len());
    for spec in specs {
        call.reply.bulk(spec.name.as_bytes());
        docs::encode(&mut call.reply, spec);
    }
    Ok(Outcome::Done)
}

fn list(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let names: Vec<&str> = match &call.words[2..] {
        [] => COMMANDS.iter().map(|spec| spec.name).collect(),
        [filter, by, _] if is(filter, "FILTERBY") && is(by, "MODULE") => Vec::new(),
        [filter, by, category] if is(filter, "FILTERBY") && is(by, "ACLCAT") => table::all()
            .filter(|spec| spec.all_categories().iter().any(|own| is(category, own.name())))
            .map(|spec| spec.name)
            .collect(),
        [filter, by, pattern] if is(filter, "FILTERBY") && is(by, "PATTERN") => table::all()
            .map(|spec| spec.name)
            .filter(|name| matches_any_case(pattern, name.as_bytes()))
            .collect(),
        _ => return Err(SYNTAX),
    };
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(name.as_bytes());
    }
    Ok(Outcome::Done)
}

/// The positions of keys in a call, each with what is done with it.
type Positions = Vec<(usize, &'static [&'static str])>;

/// The call inside a GETKEYS, and where its keys are.
fn inner<'a>(call: &Call<'a, '_>) -> Result<(&'a [&'a [u8]], Positions), CommandError> {
    let words = &call.words[2..];
    let found = table::lookup(words).map_err(|_| CommandError::text("ERR Invalid command specified"))?;
    if found.spec.keys.is_empty() {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !found.spec.arity.allows(words.len()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let positions = found.spec.key_positions(words).filter(|positions| !positions.is_empty());
    match positions {
        Some(positions) => Ok((words, positions)),
        None => Err(CommandError::text("ERR Invalid arguments specified for command")),
    }
}

fn get_keys(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (words, positions) = inner(call)?;
    call.reply.array(positions.len());
    for (position, _) in positions {
        call.reply.bulk(words[position]);
    }
    Ok(Outcome::Done)
}

fn get_keys_and_flags(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (words, positions) = inner(call)?;
    call.reply.array(positions.len());
    for (position, flags) in positions {
        call.reply.array(2);
        call.reply.bulk(words[position]);
        // That a key spec does not find all keys says nothing about this one.
        simple_set(&mut call.reply, flags.iter().copied().filter(|flag| *flag != "incomplete"));
    }
    Ok(Outcome::Done)
}

fn simple_set(reply: &mut Encoder<'_>, words: impl Iterator<Item = &'static str>) {
    let words: Vec<_> = words.collect();
    reply.set(words.len());
    for word in words {
        reply.simple(word.as_bytes());
    }
}

/// One row of COMMAND INFO.
fn one_info(reply: &mut Encoder<'_>, spec: &CommandSpec) {
    let (first, last, step) = spec.key_range();
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(spec.arity.wire());
    simple_set(reply, spec.flags.names().chain(spec.movable_keys().then_some("movablekeys")));
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = spec.all_categories();
    reply.set(categories.len());
    for category in categories {
        reply.simple(format!("@{}", category.name()).as_bytes());
    }
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.keys.len());
    for keys in spec.keys {
        key_spec(reply, keys);
    }
    // As in Redis: none are an empty set, some are an array.
    match spec.subcommands.len() {
        0 => reply.set(0),
        some => reply.array(some),
    }
    for sub in spec.subcommands {
        one_info(reply, sub);
    }
}

fn key_spec(reply: &mut Encoder<'_>, keys: &super::spec::KeySpec) {
    reply.map(if keys.notes.is_empty() { 3 } else { 4 });
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    simple_set(reply, keys.flags.iter().copied());
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    match keys.begin {
        Begin::Index(index) => {
            reply.bulk(b"index");
            reply.bulk(b"spec");
            reply.map(1);
            reply.bulk(b"index");
            reply.integer(index);
        }
        Begin::Keyword(word, from) => {
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(from);
        }
    }
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    reply.bulk(b"lastkey");
    reply.integer(keys.last);
    reply.bulk(b"keystep");
    reply.integer(keys.step);
    reply.bulk(b"limit");
    reply.integer(keys.limit);
}
