//! RENAME, RENAMENX, COPY, MOVE, SWAPDB: streams under other names and in other databases.

use bytes::Bytes;
use claimlog::op::{Copy, DbIndex, Key, Move, Rename, SwapDb};

use super::args::{SYNTAX, Words, integer, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_RENAME: CommandSpec = CommandSpec {
    name: "rename",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Keyspace],
    keys: &[
        KeySpec::index(1, 0, 1).flags(&["RW", "access", "delete"]),
        KeySpec::index(2, 0, 1).flags(&["OW", "update"]),
    ],
    summary: "Rename a key",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::key("key"), Arg::key("newkey")],
    run: rename,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_RENAMENX: CommandSpec = CommandSpec {
    name: "renamenx",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[
        KeySpec::index(1, 0, 1).flags(&["RW", "access", "delete"]),
        KeySpec::index(2, 0, 1).flags(&["OW", "insert"]),
    ],
    summary: "Rename a key, only if the new key does not exist",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    history: &[(
        "3.2.0",
        "The command no longer returns an error when source and destination names are the same.",
    )],
    args: &[Arg::key("key"), Arg::key("newkey")],
    run: rename_nx,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_COPY: CommandSpec = CommandSpec {
    name: "copy",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    categories: &[Category::Keyspace],
    keys: &[
        KeySpec::index(1, 0, 1).flags(&["RO", "access"]),
        KeySpec::index(2, 0, 1).flags(&["OW", "update"]),
    ],
    summary: "Copy a key",
    since: "6.2.0",
    group: "generic",
    complexity: "O(N) worst case for collections, where N is the number of nested items. O(1) for string values.",
    args: &[
        Arg::key("source"),
        Arg::key("destination"),
        Arg::integer("destination-db").after("DB").optional(),
        Arg::word("replace", "REPLACE").optional(),
    ],
    run: copy,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_MOVE: CommandSpec = CommandSpec {
    name: "move",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Keyspace],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "access", "update"])],
    summary: "Move a key to another database",
    since: "1.0.0",
    group: "generic",
    complexity: "O(1)",
    args: &[Arg::key("key"), Arg::integer("db")],
    run: move_key,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_SWAPDB: CommandSpec = CommandSpec {
    name: "swapdb",
    arity: Arity::exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Keyspace, Category::Dangerous],
    summary: "Swaps two Redis databases",
    since: "4.0.0",
    group: "server",
    complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
    args: &[Arg::integer("index1"), Arg::integer("index2")],
    run: swap_db,
    ..CommandSpec::DEFAULT
};

const NO_SUCH_DB: CommandError = CommandError::text("ERR DB index is out of range");

const NO_INT: CommandError =
    CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647");

/// The database of that index.
pub(crate) fn db_index(word: &[u8]) -> Result<DbIndex, CommandError> {
    let index = i32::try_from(integer(word)?).map_err(|_| NO_INT)?;
    u8::try_from(index).ok().and_then(DbIndex::new).ok_or(NO_SUCH_DB)
}

fn rename(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (from, to) = names(call);
    call.execute(&Rename { db: call.db(), from, to, if_absent: false })?;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn rename_nx(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (from, to) = names(call);
    let renamed = call.execute(&Rename { db: call.db(), from, to, if_absent: true })?;
    call.reply.integer(i64::from(renamed));
    Ok(Outcome::Done)
}

fn names(call: &Call<'_, '_>) -> (Bytes, Bytes) {
    (call.name(1), call.name(2))
}

fn copy(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (mut db, mut replace) = (call.db(), false);
    let mut words = Words::new(&call.words[3..]);
    while let Some(option) = words.next() {
        if is(option, "REPLACE") {
            replace = true;
        } else if is(option, "DB") && words.left() >= 1 {
            db = db_index(words.value()?)?;
        } else {
            return Err(SYNTAX);
        }
    }
    let to = Key { db, name: call.name(2) };
    let copied = call.execute(&Copy { from: call.key(1), to, replace })?;
    call.reply.integer(i64::from(copied));
    Ok(Outcome::Done)
}

fn move_key(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let moved = call.execute(&Move { key: call.key(1), to: db_index(call.word(2))? })?;
    call.reply.integer(i64::from(moved));
    Ok(Outcome::Done)
}

fn swap_db(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let index = |word: &[u8], which: &str| {
        let number = integer(word).ok().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| CommandError::owned(format!("ERR invalid {which} DB index")))
    };
    let (one, other) = (index(call.word(1), "first")?, index(call.word(2), "second")?);
    let db = |index| u8::try_from(index).ok().and_then(DbIndex::new).ok_or(NO_SUCH_DB);
    call.execute(&SwapDb { one: db(one)?, other: db(other)? })?;
    call.reply.ok();
    Ok(Outcome::Done)
}
