//! XADD: appends an entry to a stream.

use claimlog::op::{NewId, XAdd};
use claimlog::{EntryId, Fields};

use super::args::{BAD_ID, Words, id, is, number};
use super::call::wrong_arity;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::xtrim::TrimWords;
use super::{Call, CommandError, Outcome};
use claimlog::op::Refusal;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xadd",
    arity: Arity::at_least(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1)
        .flags(&["RW", "update"])
        .notes("UPDATE instead of INSERT because of the optional trimming feature")],
    tips: &["nondeterministic_output"],
    summary: "Appends a new entry to a stream",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.",
    history: &[
        ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
    ],
    args: &[
        Arg::key("key"),
        Arg::word("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
        Arg::block(
            "trim",
            &[
                Arg::one_of(
                    "strategy",
                    &[Arg::word("maxlen", "MAXLEN"), Arg::word("minid", "MINID").since("6.2.0")],
                ),
                Arg::one_of("operator", &[Arg::word("equal", "="), Arg::word("approximately", "~")])
                    .optional(),
                Arg::string("threshold"),
                Arg::integer("count").after("LIMIT").since("6.2.0").optional(),
            ],
        )
        .optional(),
        Arg::one_of("id_or_auto", &[Arg::word("auto_id", "*"), Arg::string("id")]),
        Arg::block("field_value", &[Arg::string("field"), Arg::string("value")]).many(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut words = Words::new(&call.words[2..]);
    let mut make_stream = true;
    let mut trim = TrimWords::default();
    // What is no option is the id. An option can't be the last word: then it is the id too.
    let new_id = loop {
        let Some(word) = words.next() else {
            // What is wrong with the options comes before what is missing behind them.
            trim.finish(false)?;
            return Err(wrong_arity("xadd"));
        };
        if word.as_ref() == b"*" {
            break NewId::Auto;
        }
        if trim.take(word, &mut words)? {
            continue;
        }
        if is(word, "NOMKSTREAM") {
            make_stream = false;
            continue;
        }
        break self::new_id(word)?;
    };
    let trim = trim.finish(false)?;
    let pairs = words.rest();
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(wrong_arity("xadd"));
    }
    if new_id == NewId::Exact(EntryId::MIN) {
        return Err(Refusal::IdZero.into());
    }
    let op = XAdd { key: call.key(1), id: new_id, fields: Fields::from_flat(pairs), make_stream, trim };
    match call.execute(&op)? {
        Some(id) => call.reply.id(id),
        None => call.reply.null(),
    }
    Ok(Outcome::Done)
}

/// `ms-seq`, `ms` or `ms-*`.
fn new_id(word: &[u8]) -> Result<NewId, CommandError> {
    match word.strip_suffix(b"-*") {
        Some(ms) => number(ms).map(NewId::AutoSeq).ok_or(BAD_ID),
        None => id(word, 0).map(NewId::Exact),
    }
}
