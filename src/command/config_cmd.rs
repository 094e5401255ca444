//! CONFIG: the settings that clients may look at, and some that they may change.

use bytes::Bytes;
use claimlog::engine::Settings;

use super::glob::matches_any_case;
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::xcfgset::{DURATION_SECS_MAX, MAXSIZE_MAX};
use super::{Call, CommandError, Outcome};
use crate::config::{Config, sync_mode, sync_mode_name};
use claimlog::resp::parse_integer;

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

/// One setting.
struct Row {
    name: &'static str,
    get: fn(&Config, &Settings) -> String,
    set: Set,
}

/// How a setting is changed.
#[derive(Clone, Copy)]
enum Set {
    /// Only when the server starts.
    Never,
    /// Only to what it is: a name that clients know, and whose value can't be another here.
    Fixed,
    /// To any whole number from .. to ..
    Number(i64, i64, fn(&mut Config, &mut Settings, u64)),
    /// To whatever it accepts.
    Text(fn(&mut Config, &mut Settings, &str) -> Result<(), String>),
}

/// All settings, sorted by name.
static ROWS: &[Row] = &[
    Row {
        name: "appendfsync",
        get: |_, engine| sync_mode_name(engine.sync_mode).into(),
        set: Set::Text(set_appendfsync),
    },
    Row { name: "appendonly", get: |_, _| "yes".into(), set: Set::Fixed },
    Row { name: "bind", get: |config, _| addresses(config), set: Set::Never },
    Row { name: "client-query-buffer-limit", get: |_, _| "1073741824".into(), set: Set::Fixed },
    Row { name: "databases", get: |_, _| claimlog::op::DbIndex::COUNT.to_string(), set: Set::Never },
    Row { name: "dir", get: |config, _| absolute_dir(config), set: Set::Never },
    Row {
        name: "maxclients",
        get: |config, _| config.clients_max.to_string(),
        set: Set::Number(1, 4_294_967_295, |config, _, value| {
            config.clients_max = u32::try_from(value).unwrap_or(u32::MAX);
        }),
    },
    Row { name: "maxmemory", get: |_, _| "0".into(), set: Set::Fixed },
    Row { name: "maxmemory-policy", get: |_, _| "noeviction".into(), set: Set::Fixed },
    Row { name: "notify-keyspace-events", get: |_, _| String::new(), set: Set::Fixed },
    Row { name: "port", get: |config, _| config.port.to_string(), set: Set::Never },
    Row {
        name: "proto-max-bulk-len",
        get: |config, _| config.bulk_bytes_max.to_string(),
        set: Set::Number(1024 * 1024, 512 * 1024 * 1024, |config, _, value| config.bulk_bytes_max = value),
    },
    Row { name: "replica-read-only", get: |_, _| "yes".into(), set: Set::Fixed },
    Row {
        name: "requirepass",
        get: |config, _| config.password.clone().unwrap_or_default(),
        set: Set::Text(|config, _, value| {
            config.password = (!value.is_empty()).then(|| value.to_owned());
            Ok(())
        }),
    },
    Row { name: "save", get: |_, _| String::new(), set: Set::Fixed },
    Row { name: "slave-read-only", get: |_, _| "yes".into(), set: Set::Fixed },
    Row { name: "snapshot-copies", get: |config, _| config.snapshot_copies.to_string(), set: Set::Never },
    Row {
        name: "snapshot-log-bytes",
        get: |config, _| config.snapshot_log_bytes.to_string(),
        set: Set::Never,
    },
    Row {
        name: "stream-idmp-duration",
        get: |_, engine| engine.stream_idmp_duration_secs.to_string(),
        set: Set::Number(1, DURATION_SECS_MAX as i64, |_, engine, value| {
            engine.stream_idmp_duration_secs = value;
        }),
    },
    Row {
        name: "stream-idmp-maxsize",
        get: |_, engine| engine.stream_idmp_maxsize.to_string(),
        set: Set::Number(1, MAXSIZE_MAX as i64, |_, engine, value| engine.stream_idmp_maxsize = value),
    },
    Row {
        name: "stream-node-max-bytes",
        get: |_, engine| engine.stream_node_max_bytes.to_string(),
        set: Set::Number(0, i64::MAX, |_, engine, value| engine.stream_node_max_bytes = value),
    },
    Row {
        name: "stream-node-max-entries",
        get: |_, engine| engine.stream_node_max_entries.to_string(),
        set: Set::Number(0, i64::MAX, |_, engine, value| engine.stream_node_max_entries = value),
    },
    Row {
        name: "timeout",
        get: |config, _| config.idle_secs_max.to_string(),
        set: Set::Number(0, 2_147_483_647, |config, _, value| config.idle_secs_max = value),
    },
];

fn addresses(config: &Config) -> String {
    config.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn absolute_dir(config: &Config) -> String {
    std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone()).display().to_string()
}

fn set_appendfsync(_: &mut Config, engine: &mut Settings, value: &str) -> Result<(), String> {
    let mode = sync_mode(value);
    engine.sync_mode = mode.ok_or("argument(s) must be one of the following: everysec, always, no")?;
    Ok(())
}

fn row(name: &[u8]) -> Option<&'static Row> {
    ROWS.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()))
}

fn get(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let settings = call.outside().settings;
    let config = call.context.config.borrow();
    let patterns = &call.words[2..];
    let mut found: Vec<(Bytes, String)> = Vec::new();
    for pattern in patterns {
        // As in Redis: without a wildcard the answer has the name as it was asked for.
        if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
            if let Some(row) = row(pattern)
                && !found.iter().any(|(name, _)| name.eq_ignore_ascii_case(pattern))
            {
                found.push((pattern.clone(), (row.get)(&config, &settings)));
            }
            continue;
        }
        for row in ROWS.iter().filter(|row| matches_any_case(pattern, row.name.as_bytes())) {
            if !found.iter().any(|(name, _)| name.eq_ignore_ascii_case(row.name.as_bytes())) {
                found.push((Bytes::from_static(row.name.as_bytes()), (row.get)(&config, &settings)));
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
    let mut settings = call.outside().settings;
    let mut config = call.context.config.borrow().clone();
    let before = settings;
    let mut seen: Vec<&str> = Vec::new();
    for pair in words.chunks_exact(2) {
        if row(&pair[0]).is_none() {
            return Err(CommandError::owned(
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", &pair[0][..], b"'"]
                    .concat(),
            ));
        }
    }
    for pair in words.chunks_exact(2) {
        let Some(row) = row(&pair[0]) else { continue };
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
        let value = std::str::from_utf8(&pair[1]).map_err(|_| failed("argument is no text"))?;
        change(row, &mut config, &mut settings, value).map_err(|why| failed(&why))?;
    }
    if before != settings {
        if call.in_transaction() {
            return Err(CommandError::text("ERR this setting can't be changed inside MULTI"));
        }
        call.context.engine().set_settings(settings)?;
    }
    *call.context.config.borrow_mut() = config;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn change(row: &Row, config: &mut Config, settings: &mut Settings, value: &str) -> Result<(), String> {
    match row.set {
        Set::Never => Err("can't set immutable config".into()),
        Set::Fixed if value.eq_ignore_ascii_case(&(row.get)(config, settings)) => Ok(()),
        Set::Fixed => Err("this can't be changed here".into()),
        Set::Number(least, most, put) => {
            let number =
                parse_integer(value.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
            match u64::try_from(number) {
                Ok(number) if (least..=most).contains(&(number as i64)) => put(config, settings, number),
                _ => return Err(format!("argument must be between {least} and {most} inclusive")),
            }
            Ok(())
        }
        Set::Text(put) => put(config, settings, value),
    }
}

fn resetstat(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.context.stats.reset();
    call.reply.ok();
    Ok(Outcome::Done)
}

fn rewrite(_: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    Err(CommandError::text("ERR The server is running without a config file"))
}

#[cfg(test)]
mod tests {
    use super::ROWS;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(ROWS.is_sorted_by(|one, next| one.name < next.name));
    }
}
