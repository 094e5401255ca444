//! DEL, UNLINK, EXISTS, TOUCH, TYPE, KEYS, SCAN, RANDOMKEY, DBSIZE: keys as a whole.

use bytes::Bytes;
use claimlog::op::{DbSize, Del, Exists, Keys, RandomKey, Scan, Touch};

use super::args::{SYNTAX, Words, integer, is};
use super::context::random;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_DEL: CommandSpec = CommandSpec {
    name: "del",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, -1, 1).flags(&["RM", "delete"])],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    summary: "Delete a key",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) where N is the number of keys that will be removed. When a key to remove holds a value other than a string, the individual complexity for this key is O(M) where M is the number of elements in the list, set, sorted set or hash. Removing a single key that holds a string value is O(1).",
    args: &[Arg::key("key").many()],
    run: del,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_UNLINK: CommandSpec = CommandSpec {
    name: "unlink",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, -1, 1).flags(&["RM", "delete"])],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    summary: "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.",
    since: "4.0.0",
    group: "generic",
    complexity: "O(1) for each key removed regardless of its size. Then the command does O(N) work in a different thread in order to reclaim memory, where N is the number of allocations the deleted objects where composed of.",
    args: &[Arg::key("key").many()],
    run: del,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_EXISTS: CommandSpec = CommandSpec {
    name: "exists",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, -1, 1).flags(&["RO"])],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    summary: "Determine if a key exists",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) where N is the number of keys to check.",
    history: &[("3.0.3", "Accepts multiple `key` arguments.")],
    args: &[Arg::key("key").many()],
    run: exists,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_TYPE: CommandSpec = CommandSpec {
    name: "type",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RO"])],
    summary: "Determine the type stored at key",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::key("key")],
    run: key_type,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_KEYS: CommandSpec = CommandSpec {
    name: "keys",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Dangerous, Category::Keyspace],
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    summary: "Find all keys matching the given pattern",
    since: "1.0.0",
    group: "generic",
    complexity: "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.",
    args: &[Arg::pattern("pattern")],
    run: keys,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_SCAN: CommandSpec = CommandSpec {
    name: "scan",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Keyspace],
    tips: &["nondeterministic_output", "request_policy:special"],
    summary: "Incrementally iterate the keys space",
    since: "2.8.0",
    group: "generic",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
    history: &[("6.0.0", "Added the `TYPE` subcommand.")],
    args: &[
        Arg::integer("cursor"),
        Arg::pattern("pattern").after("MATCH").optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::string("type").after("TYPE").since("6.0.0").optional(),
    ],
    run: scan,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_DBSIZE: CommandSpec = CommandSpec {
    name: "dbsize",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    categories: &[Category::Keyspace],
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    summary: "Return the number of keys in the selected database",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    run: dbsize,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_TOUCH: CommandSpec = CommandSpec {
    name: "touch",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, -1, 1).flags(&["RO"])],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    summary: "Alters the last access time of a key(s). Returns the number of existing keys specified.",
    since: "3.2.1",
    group: "generic",
    complexity: "O(N) where N is the number of keys that will be touched.",
    args: &[Arg::key("key").many()],
    run: touch,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_RANDOMKEY: CommandSpec = CommandSpec {
    name: "randomkey",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Keyspace],
    tips: &["request_policy:all_shards", "nondeterministic_output"],
    summary: "Return a random key from the keyspace",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    run: random_key,
    ..CommandSpec::DEFAULT
};

/// How many keys SCAN looks at unless told otherwise.
const SCAN_COUNT_DEFAULT: i64 = 10;

fn del(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let removed = call.execute(&Del { db: call.db(), keys: call.names_from(1) })?;
    call.reply.count(removed);
    Ok(Outcome::Done)
}

fn exists(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let found = call.execute(&Exists { db: call.db(), keys: call.names_from(1) })?;
    call.reply.count(found);
    Ok(Outcome::Done)
}

fn touch(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let found = call.execute(&Touch { db: call.db(), keys: call.names_from(1) })?;
    call.reply.count(found);
    Ok(Outcome::Done)
}

fn random_key(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match call.execute(&RandomKey { db: call.db(), dice: random() })? {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(Outcome::Done)
}

fn key_type(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let key = call.key(1);
    let exists = call.key_exists(&key)?;
    call.reply.simple(if exists { b"stream" } else { b"none" });
    Ok(Outcome::Done)
}

fn keys(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let found = call.execute(&Keys { db: call.db(), pattern: call.name(1) })?;
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(&key);
    }
    Ok(Outcome::Done)
}

fn scan(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let cursor = cursor(call.word(1))?;
    let mut count = SCAN_COUNT_DEFAULT;
    let mut pattern = None;
    let mut wanted_type = true;
    let mut words = Words::new(&call.words[2..]);
    while let Some(option) = words.next() {
        let value = words.value()?;
        if is(option, "COUNT") {
            count = integer(value)?;
            if count < 1 {
                return Err(SYNTAX);
            }
        } else if is(option, "MATCH") {
            pattern = Some(Bytes::copy_from_slice(value));
        } else if is(option, "TYPE") {
            wanted_type = is(value, "stream");
        } else {
            return Err(SYNTAX);
        }
    }
    let count = u64::try_from(count).unwrap_or(1);
    let mut scanned = call.execute(&Scan { db: call.db(), cursor, count, pattern })?;
    // All keys are streams.
    if !wanted_type {
        scanned.keys.clear();
    }
    call.reply.array(2);
    call.reply.bulk(scanned.next.to_string().as_bytes());
    call.reply.array(scanned.keys.len());
    for key in scanned.keys {
        call.reply.bulk(&key);
    }
    Ok(Outcome::Done)
}

/// A cursor as an earlier call answered it.
fn cursor(word: &[u8]) -> Result<u64, CommandError> {
    super::args::number(word).ok_or(CommandError::text("ERR invalid cursor"))
}

fn dbsize(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let count = call.execute(&DbSize { db: call.db() })?;
    call.reply.count(count);
    Ok(Outcome::Done)
}
