//! XAUTOCLAIM: claims what has been idle for long, page by page.

use claimlog::op::XAutoClaim;

use super::args::{SYNTAX, Words, is, range_start};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};
use claimlog::resp::parse_integer;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xautoclaim",
    arity: Arity::at_least(6),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "delete"])],
    tips: &["nondeterministic_output"],
    summary: "Changes (or acquires) ownership of messages in a consumer group, as if the messages were delivered to the specified consumer.",
    since: "6.2.0",
    group: "stream",
    complexity: "O(1) if COUNT is small.",
    history: &[(
        "7.0.0",
        "Added an element to the reply array, containing deleted entries the command cleared from the PEL",
    )],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("start"),
        Arg::integer("count").after("COUNT").optional(),
        Arg::word("justid", "JUSTID").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

/// How many entries are claimed unless told otherwise.
const COUNT_DEFAULT: u64 = 100;
/// The largest COUNT. As in Redis: what its id type of 16 bytes allows.
const COUNT_MAX: u64 = i64::MAX as u64 / 16;

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let min_idle_ms = parse_integer(call.word(4))
        .ok_or(CommandError::text("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let start = range_start(call.word(5))?;
    let mut count = COUNT_DEFAULT;
    let mut just_id = false;
    let mut words = Words::new(&call.words[6..]);
    while let Some(option) = words.next() {
        if is(option, "COUNT") && words.left() >= 1 {
            let wanted = parse_integer(words.value()?).and_then(|count| u64::try_from(count).ok());
            count = wanted
                .filter(|count| (1..=COUNT_MAX).contains(count))
                .ok_or(CommandError::text("ERR COUNT must be > 0"))?;
        } else if is(option, "JUSTID") {
            just_id = true;
        } else {
            return Err(SYNTAX);
        }
    }
    let claimed = call.execute(&XAutoClaim {
        key: call.key(1),
        group: call.name(2),
        consumer: call.name(3),
        min_idle_ms: u64::try_from(min_idle_ms).unwrap_or(0),
        start,
        count,
        just_id,
    })?;
    call.reply.array(3);
    call.reply.id(claimed.next);
    if just_id {
        call.reply.array(claimed.entries.len());
        for entry in &claimed.entries {
            call.reply.id(entry.id);
        }
    } else {
        super::reply::pending_entries(&mut call.reply, &claimed.entries);
    }
    call.reply.array(claimed.deleted.len());
    for id in claimed.deleted {
        call.reply.id(id);
    }
    Ok(Outcome::Done)
}
