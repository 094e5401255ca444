//! CONFIG: the settings that clients may look at, and some that they may change.

use bytes::Bytes;

use super::glob::matches_any_case;
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};
use crate::config::{ROWS, When, change, file, row};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "config",
    arity: Arity::at_least(2),
    summary: "A container for server configuration commands",
    since: "2.0.0",
    group: "server",
    complexity: "Depends on subcommand.",
    subcommands: &[&GET, &HELP, &RESETSTAT, &REWRITE, &SET],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static GET: CommandSpec = CommandSpec {
    name: "config|get",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "Get the values of configuration parameters",
    since: "2.0.0",
    group: "server",
    complexity: "O(N) when N is the number of configuration parameters provided",
    history: &[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")],
    args: &[Arg::block("parameter", &[Arg::string("parameter")]).many()],
    run: get,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "config|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static RESETSTAT: CommandSpec = CommandSpec {
    name: "config|resetstat",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "Reset the stats returned by INFO",
    since: "2.0.0",
    group: "server",
    complexity: "O(1)",
    run: resetstat,
    ..CommandSpec::DEFAULT
};

static REWRITE: CommandSpec = CommandSpec {
    name: "config|rewrite",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    summary: "Rewrite the configuration file with the in memory configuration",
    since: "2.8.0",
    group: "server",
    complexity: "O(1)",
    run: rewrite,
    ..CommandSpec::DEFAULT
};

static SET: CommandSpec = CommandSpec {
    name: "config|set",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript, Flag::Loading, Flag::Stale]),
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    summary: "Set configuration parameters to the given values",
    since: "2.0.0",
    group: "server",
    complexity: "O(N) when N is the number of configuration parameters provided",
    history: &[("7.0.0", "Added the ability to set multiple parameters in one call.")],
    args: &[Arg::block("parameter_value", &[Arg::string("parameter"), Arg::string("value")]).many()],
    run: set,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

fn get(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let config = call.context.config.borrow();
    let patterns = &call.words[2..];
    let mut found: Vec<(Bytes, String)> = Vec::new();
    for pattern in patterns {
        // As in Redis: without a wildcard the answer has the name as it was asked for.
        if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
            if let Some(row) = row(pattern)
                && !found.iter().any(|(name, _)| name.eq_ignore_ascii_case(pattern))
            {
                found.push((Bytes::copy_from_slice(pattern), (row.get)(&config)));
            }
            continue;
        }
        for row in ROWS.iter().filter(|row| matches_any_case(pattern, row.name.as_bytes())) {
            if !found.iter().any(|(name, _)| name.eq_ignore_ascii_case(row.name.as_bytes())) {
                found.push((Bytes::from_static(row.name.as_bytes()), (row.get)(&config)));
            }
        }
    }
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(&name);
        call.reply.bulk(value.as_bytes());
    }
    Ok(Outcome::Done)
}

/// All or nothing: what is set is checked first, then all of it takes effect.
fn set(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let words = &call.words[2..];
    if words.len() % 2 == 1 {
        return Err(super::args::SYNTAX);
    }
    let mut config = call.context.config.borrow().clone();
    let before = config.engine;
    let mut seen: Vec<&str> = Vec::new();
    for pair in words.chunks_exact(2) {
        if row(pair[0]).is_none() {
            return Err(CommandError::owned(
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", pair[0], b"'"].concat(),
            ));
        }
    }
    for pair in words.chunks_exact(2) {
        let Some(row) = row(pair[0]) else { continue };
        let failed = |why: &str| {
            CommandError::owned(format!(
                "ERR CONFIG SET failed (possibly related to argument '{}') - {why}",
                row.name
            ))
        };
        if seen.contains(&row.name) {
            return Err(failed("duplicate parameter"));
        }
        seen.push(row.name);
        let value = std::str::from_utf8(pair[1]).map_err(|_| failed("argument is no text"))?;
        if row.when == When::Start {
            return Err(failed("can't set immutable config"));
        }
        change(row, &mut config, value).map_err(|why| failed(&why))?;
    }
    if before != config.engine {
        if call.in_transaction() {
            return Err(CommandError::text("ERR this setting can't be changed inside MULTI"));
        }
        call.context.engine().set_settings(config.engine)?;
    }
    *call.context.config.borrow_mut() = config;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn resetstat(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.context.stats.reset();
    call.reply.ok();
    Ok(Outcome::Done)
}

fn rewrite(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let config = call.context.config.borrow();
    let Some(path) = &config.file else {
        return Err(CommandError::text("ERR The server is running without a config file"));
    };
    if call.in_transaction() {
        return Err(CommandError::text("ERR the config file can't be rewritten inside MULTI"));
    }
    if let Err(error) = file::rewrite(path, &config) {
        return Err(CommandError::owned(format!("ERR Rewriting config file: {error}")));
    }
    call.reply.ok();
    Ok(Outcome::Done)
}
