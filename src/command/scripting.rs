//! FUNCTION and SCRIPT: nothing can be loaded, so there is nothing.

use super::args::{Words, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_FUNCTION: CommandSpec = CommandSpec {
    name: "function",
    arity: Arity::at_least(2),
    summary: "A container for function commands",
    since: "7.0.0",
    group: "scripting",
    complexity: "Depends on subcommand.",
    subcommands: &[&FUNCTION_FLUSH, &FUNCTION_HELP, &FUNCTION_LIST, &FUNCTION_STATS],
    help: FUNCTION_LINES,
    ..CommandSpec::DEFAULT
};

static FUNCTION_FLUSH: CommandSpec = CommandSpec {
    name: "function|flush",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Write, Flag::Noscript]),
    categories: &[Category::Scripting],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    summary: "Deleting all functions",
    since: "7.0.0",
    group: "scripting",
    complexity: "O(N) where N is the number of functions deleted",
    args: &[Arg::one_of("async", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")]).optional()],
    run: flush,
    ..CommandSpec::DEFAULT
};

static FUNCTION_HELP: CommandSpec = CommandSpec {
    name: "function|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Scripting],
    summary: "Show helpful text about the different subcommands",
    since: "7.0.0",
    group: "scripting",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC_FUNCTION),
    ..CommandSpec::DEFAULT
};

static FUNCTION_LIST: CommandSpec = CommandSpec {
    name: "function|list",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Noscript]),
    categories: &[Category::Scripting],
    tips: &["nondeterministic_output_order"],
    summary: "List information about all the functions",
    since: "7.0.0",
    group: "scripting",
    complexity: "O(N) where N is the number of functions",
    args: &[
        Arg::string("library-name-pattern").after("LIBRARYNAME").optional(),
        Arg::word("withcode", "WITHCODE").optional(),
    ],
    run: function_list,
    ..CommandSpec::DEFAULT
};

static FUNCTION_STATS: CommandSpec = CommandSpec {
    name: "function|stats",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Noscript, Flag::AllowBusy]),
    categories: &[Category::Scripting],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    summary: "Return information about the function currently running (name, description, duration)",
    since: "7.0.0",
    group: "scripting",
    complexity: "O(1)",
    run: function_stats,
    ..CommandSpec::DEFAULT
};

const FUNCTION_LINES: &[&str] = &[
    "FLUSH [ASYNC|SYNC]",
    "    There is nothing to delete.",
    "LIST",
    "    Return an empty list.",
    "STATS",
    "    Return that nothing runs and nothing is loaded.",
];

pub(crate) static SPEC_SCRIPT: CommandSpec = CommandSpec {
    name: "script",
    arity: Arity::at_least(2),
    summary: "A container for Lua scripts management commands",
    since: "2.6.0",
    group: "scripting",
    complexity: "Depends on subcommand.",
    subcommands: &[&SCRIPT_EXISTS, &SCRIPT_FLUSH, &SCRIPT_HELP],
    help: SCRIPT_LINES,
    ..CommandSpec::DEFAULT
};

static SCRIPT_EXISTS: CommandSpec = CommandSpec {
    name: "script|exists",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Noscript]),
    categories: &[Category::Scripting],
    tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
    summary: "Check existence of scripts in the script cache.",
    since: "2.6.0",
    group: "scripting",
    complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
    args: &[Arg::string("sha1").many()],
    run: exists,
    ..CommandSpec::DEFAULT
};

static SCRIPT_FLUSH: CommandSpec = CommandSpec {
    name: "script|flush",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Noscript]),
    categories: &[Category::Scripting],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    summary: "Remove all the scripts from the script cache.",
    since: "2.6.0",
    group: "scripting",
    complexity: "O(N) with N being the number of scripts in cache",
    history: &[("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers.")],
    args: &[Arg::one_of("async", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")])
        .since("6.2.0")
        .optional()],
    run: flush,
    ..CommandSpec::DEFAULT
};

static SCRIPT_HELP: CommandSpec = CommandSpec {
    name: "script|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Scripting],
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    group: "scripting",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC_SCRIPT),
    ..CommandSpec::DEFAULT
};

const SCRIPT_LINES: &[&str] = &[
    "EXISTS <sha1> [<sha1> ...]",
    "    Return that these scripts are not there.",
    "FLUSH [ASYNC|SYNC]",
    "    There is nothing to flush.",
];

fn exists(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let asked = call.words.len() - 2;
    call.reply.array(asked);
    for _ in 0..asked {
        call.reply.integer(0);
    }
    Ok(Outcome::Done)
}

/// Both FLUSH.
fn flush(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match &call.words[2..] {
        [] => {}
        [how] if is(how, "ASYNC") || is(how, "SYNC") => {}
        [_, _, ..] if call.spec.name == "function|flush" => return Err(call.subcommand_syntax()),
        _ => {
            return Err(CommandError::text(match call.spec.name {
                "script|flush" => "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
                _ => "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
            }));
        }
    }
    call.reply.ok();
    Ok(Outcome::Done)
}

fn function_list(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut words = Words::new(&call.words[2..]);
    while let Some(option) = words.next() {
        if is(option, "LIBRARYNAME") {
            words.next().ok_or(CommandError::text("ERR library name argument was not given"))?;
        } else if !is(option, "WITHCODE") {
            return Err(CommandError::owned([b"ERR Unknown argument ", option].concat()));
        }
    }
    call.reply.array(0);
    Ok(Outcome::Done)
}

/// As of a Redis in which nothing was loaded.
fn function_stats(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let reply = &mut call.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    reply.null();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    for name in ["libraries_count", "functions_count"] {
        reply.bulk(name.as_bytes());
        reply.integer(0);
    }
    Ok(Outcome::Done)
}
