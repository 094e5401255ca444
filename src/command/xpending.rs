//! XPENDING: what was delivered and not acknowledged.

use bytes::Bytes;
use claimlog::op::{XPendingRows, XPendingSummary};

use super::args::{SYNTAX, integer, integer_at_least_zero, is, range_end, range_start};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xpending",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RO", "access"])],
    tips: &["nondeterministic_output"],
    summary: "Return information and entries from a stream consumer group pending entries list, that are messages fetched but never acknowledged.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.",
    history: &[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")],
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::block(
            "filters",
            &[
                Arg::integer("min-idle-time").after("IDLE").since("6.2.0").optional(),
                Arg::string("start"),
                Arg::string("end"),
                Arg::integer("count"),
                Arg::string("consumer").optional(),
            ],
        )
        .optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    match call.words.len() {
        3 => summary(call),
        6..=9 => rows(call),
        _ => Err(SYNTAX),
    }
}

fn summary(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let summary = call.execute(&XPendingSummary { key: call.key(1), group: call.name(2) })?;
    let reply = &mut call.reply;
    reply.array(4);
    reply.count(summary.count);
    let Some((first, last)) = summary.range else {
        reply.null();
        reply.null();
        reply.null_array();
        return Ok(Outcome::Done);
    };
    reply.id(first);
    reply.id(last);
    reply.array(summary.consumers.len());
    for (name, count) in summary.consumers {
        reply.array(2);
        reply.bulk(&name);
        // As in Redis: text, where everything else is an integer.
        reply.bulk(count.to_string().as_bytes());
    }
    Ok(Outcome::Done)
}

fn rows(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut range_at = 3;
    let mut min_idle_ms = 0;
    if is(call.word(3), "IDLE") {
        min_idle_ms = integer_at_least_zero(call.word(4))?;
        if call.words.len() < 8 {
            return Err(SYNTAX);
        }
        range_at = 5;
    }
    let consumer_at = range_at + 3;
    let count = integer(call.word(range_at + 2)).map(|count| u64::try_from(count).unwrap_or(0))?;
    let first = range_start(call.word(range_at))?;
    let last = range_end(call.word(range_at + 1))?;
    let found = call.execute(&XPendingRows {
        key: call.key(1),
        group: call.name(2),
        first,
        last,
        count,
        consumer: call.words.get(consumer_at).map(|word| Bytes::copy_from_slice(word)),
        min_idle_ms,
    })?;
    let reply = &mut call.reply;
    reply.array(found.len());
    for row in found {
        reply.array(4);
        reply.id(row.id);
        reply.bulk(&row.consumer);
        match row.idle_ms {
            Some(idle_ms) => reply.count(idle_ms),
            // It was released.
            None => reply.integer(-1),
        }
        reply.count(row.delivery_count);
    }
    Ok(Outcome::Done)
}
