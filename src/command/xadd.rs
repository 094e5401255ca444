//! XADD: appends an entry to a stream.

use bytes::Bytes;
use claimlog::op::{Idempotent, NewId, XAdd};
use claimlog::{EntryId, Fields};

use super::args::{BAD_ID, Words, id, is, number};
use super::call::wrong_arity;
use super::id_block::REFERENCES_ARG;
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
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
        ("8.6.0", "Added the `IDMP` and `IDMPAUTO` options."),
    ],
    args: &[
        Arg::key("key"),
        Arg::word("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
        REFERENCES_ARG.since("8.2.0").optional(),
        Arg::one_of(
            "idmp",
            &[
                Arg::string("pid").after("IDMPAUTO"),
                Arg::block("manual", &[Arg::string("pid"), Arg::string("iid")]).after("IDMP"),
            ],
        )
        .since("8.6.0")
        .optional(),
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
    let mut once = None;
    // What is no option is the id. An option can't be the last word: then it is the id too.
    let new_id = loop {
        let Some(word) = words.next() else {
            // What is wrong with the options comes before what is missing behind them.
            trim.finish(false)?;
            return Err(wrong_arity("xadd"));
        };
        if word == b"*" {
            break NewId::Auto;
        }
        if trim.take(word, &mut words)? {
            continue;
        }
        if is(word, "NOMKSTREAM") {
            make_stream = false;
            continue;
        }
        if let Some(more) = take_once(word, &mut words, once.is_some())? {
            once = Some(more);
            continue;
        }
        break self::new_id(word)?;
    };
    let trim = trim.finish(false)?;
    if once.is_some() && new_id != NewId::Auto {
        return Err(CommandError::text("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"));
    }
    let pairs = words.rest();
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(wrong_arity("xadd"));
    }
    if new_id == NewId::Exact(EntryId::MIN) {
        return Err(Refusal::IdZero.into());
    }
    let fields = Fields::from_flat(pairs);
    let once = once.map(|(producer, iid)| match iid {
        Some(iid) => Idempotent { producer, iid },
        None => Idempotent::by_content(producer, &fields),
    });
    let op = XAdd { key: call.key(1), id: new_id, fields, make_stream, trim, once };
    match call.execute(&op)? {
        Some(id) => call.reply.id(id),
        None => call.reply.null(),
    }
    Ok(Outcome::Done)
}

/// A producer, and its idempotent id unless that follows from the content.
type Once = (Bytes, Option<Bytes>);

/// Takes `IDMP pid iid` or `IDMPAUTO pid`, if `word` is one of these and has its values.
fn take_once(word: &[u8], words: &mut Words<'_>, given: bool) -> Result<Option<Once>, CommandError> {
    let by_content = is(word, "IDMPAUTO");
    let values = if by_content { 1 } else { 2 };
    if !(by_content || is(word, "IDMP")) || words.left() < values {
        return Ok(None);
    }
    if given {
        return Err(CommandError::text("ERR IDMP/IDMPAUTO specified multiple times"));
    }
    let option = if by_content { "IDMPAUTO" } else { "IDMP" };
    let producer = words.value()?;
    if producer.is_empty() {
        return Err(CommandError::owned(format!("ERR {option} requires a non-empty producer ID")));
    }
    if by_content {
        return Ok(Some((Bytes::copy_from_slice(producer), None)));
    }
    let iid = words.value()?;
    if iid.is_empty() {
        return Err(CommandError::text("ERR IDMP requires a non-empty idempotent ID"));
    }
    Ok(Some((Bytes::copy_from_slice(producer), Some(Bytes::copy_from_slice(iid)))))
}

/// `ms-seq`, `ms` or `ms-*`.
fn new_id(word: &[u8]) -> Result<NewId, CommandError> {
    match word.strip_suffix(b"-*") {
        Some(ms) => number(ms).map(NewId::AutoSeq).ok_or(BAD_ID),
        None => id(word, 0).map(NewId::Exact),
    }
}
