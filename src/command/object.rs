//! OBJECT: what a key is like.

use claimlog::op::{Object, ObjectInfo};

use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "object",
    arity: Arity::at_least(2),
    summary: "A container for object introspection commands",
    since: "2.2.3",
    group: "generic",
    complexity: "Depends on subcommand.",
    subcommands: &[&ENCODING, &FREQ, &HELP, &IDLETIME, &REFCOUNT],
    help: LINES,
    ..CommandSpec::DEFAULT
};

/// What those have in common that name a key.
const COMMON: CommandSpec = CommandSpec {
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(2, 0, 1).flags(&["RO"])],
    tips: &["nondeterministic_output"],
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::key("key")],
    ..CommandSpec::DEFAULT
};

static ENCODING: CommandSpec = CommandSpec {
    name: "object|encoding",
    summary: "Inspect the internal encoding of a Redis object",
    since: "2.2.3",
    run: |call| {
        answer(call, |call, _| {
            call.reply.bulk(b"stream");
            Ok(())
        })
    },
    ..COMMON
};

static FREQ: CommandSpec = CommandSpec {
    name: "object|freq",
    summary: "Get the logarithmic access frequency counter of a Redis object",
    since: "4.0.0",
    run: |call| {
        answer(call, |_, _| {
            Err(CommandError::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ))
        })
    },
    ..COMMON
};

static IDLETIME: CommandSpec = CommandSpec {
    name: "object|idletime",
    summary: "Get the time since a Redis object was last accessed",
    since: "2.2.3",
    run: |call| {
        answer(call, |call, object| {
            // Not since the start.
            let since_start = || call.context.started.elapsed().as_secs();
            let seconds = object.idle_ms.map_or_else(since_start, |idle_ms| idle_ms / 1000);
            call.reply.count(seconds);
            Ok(())
        })
    },
    ..COMMON
};

static REFCOUNT: CommandSpec = CommandSpec {
    name: "object|refcount",
    summary: "Get the number of references to the value of the key",
    since: "2.2.3",
    run: |call| {
        answer(call, |call, _| {
            call.reply.integer(1);
            Ok(())
        })
    },
    ..COMMON
};

static HELP: CommandSpec = CommandSpec {
    name: "object|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Keyspace],
    summary: "Show helpful text about the different subcommands",
    since: "6.2.0",
    group: "generic",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &[
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

/// Looks at the key, and answers null if there is none.
fn answer(
    call: &mut Call<'_, '_>,
    what: fn(&mut Call<'_, '_>, ObjectInfo) -> Result<(), CommandError>,
) -> Result<Outcome, CommandError> {
    match call.execute(&Object { key: call.key(2) })? {
        Some(object) => what(call, object)?,
        None => call.reply.null(),
    }
    Ok(Outcome::Done)
}
