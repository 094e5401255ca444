//! XRANGE and XREVRANGE: entries between two ids.

use claimlog::op::XRange;

use super::args::{SYNTAX, Words, integer_at_least_zero, is, range_end, range_start};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC_XRANGE: CommandSpec = CommandSpec {
    name: "xrange",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RO", "access"])],
    summary: "Return a range of elements in a stream, with IDs matching the specified IDs interval",
    since: "5.0.0",
    group: "stream",
    complexity: "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
    history: &[("6.2.0", "Added exclusive ranges.")],
    args: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("end"),
        Arg::integer("count").after("COUNT").optional(),
    ],
    run: forward,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_XREVRANGE: CommandSpec = CommandSpec {
    name: "xrevrange",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Readonly]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RO", "access"])],
    summary: "Return a range of elements in a stream, with IDs matching the specified IDs interval, in reverse order (from greater to smaller IDs) compared to XRANGE",
    since: "5.0.0",
    group: "stream",
    complexity: "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).",
    history: &[("6.2.0", "Added exclusive ranges.")],
    args: &[
        Arg::key("key"),
        Arg::string("end"),
        Arg::string("start"),
        Arg::integer("count").after("COUNT").optional(),
    ],
    run: backward,
    ..CommandSpec::DEFAULT
};

fn forward(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    range(call, false)
}

fn backward(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    range(call, true)
}

fn range(call: &mut Call<'_, '_>, reverse: bool) -> Result<Outcome, CommandError> {
    let (start, end) = if reverse { (3, 2) } else { (2, 3) };
    let first = range_start(call.word(start))?;
    let last = range_end(call.word(end))?;
    let mut count = None;
    let mut words = Words::new(&call.words[4..]);
    while let Some(option) = words.next() {
        if !is(option, "COUNT") {
            return Err(SYNTAX);
        }
        count = Some(integer_at_least_zero(words.value()?)?);
    }
    let found = call.execute(&XRange { key: call.key(1), first, last, count, reverse })?;
    match found {
        None => call.reply.array(0),
        // As in Redis: nothing asked for of a stream that exists.
        Some(_) if count == Some(0) => call.reply.null_array(),
        Some(entries) => super::reply::entries(&mut call.reply, &entries),
    }
    Ok(Outcome::Done)
}
