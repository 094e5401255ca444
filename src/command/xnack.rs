//! XNACK: gives pending entries back, so that others get them first.

use claimlog::op::{NackMode, XNack};

use super::args::{Words, ids, integer, is};
use super::id_block::{IDS_ARG, id_count};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xnack",
    arity: Arity::at_least(7),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    summary: "Gives pending entries of a consumer group back, so that other consumers get them before all others.",
    since: "8.8.0",
    group: "stream",
    complexity: "O(1) for each entry.",
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::one_of(
            "mode",
            &[Arg::word("silent", "SILENT"), Arg::word("fail", "FAIL"), Arg::word("fatal", "FATAL")],
        ),
        IDS_ARG,
        Arg::integer("count").after("RETRYCOUNT").optional(),
        Arg::word("force", "FORCE").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mode = mode(call.word(3))?;
    let (mut retry_count, mut force) = (None, false);
    let mut block: Option<&[&[u8]]> = None;
    let mut words = Words::new(&call.words[4..]);
    while let Some(option) = words.next() {
        if is(option, "IDS") && block.is_none() && words.left() >= 1 {
            let count = id_count(words.value()?)
                .ok_or(CommandError::text("ERR numids must be a positive integer"))?;
            block = Some(
                words.take_many(count).ok_or(CommandError::text("ERR number of IDs doesn't match numids"))?,
            );
        } else if is(option, "RETRYCOUNT") && words.left() >= 1 {
            let count = integer(words.value()?)?;
            retry_count = Some(
                u64::try_from(count)
                    .map_err(|_| CommandError::text("ERR Invalid RETRYCOUNT value, must be >= 0"))?,
            );
        } else if is(option, "FORCE") {
            force = true;
        } else {
            return Err(CommandError::owned(
                [&b"ERR Unrecognized XNACK option '"[..], option, b"'"].concat(),
            ));
        }
    }
    let block = block.ok_or(CommandError::text("ERR syntax error, expected IDS keyword"))?;
    let (key, group, ids) = (call.key(1), call.name(2), ids(block)?);
    let released = call.execute(&XNack { key, group, mode, ids, retry_count, force })?;
    call.reply.count(released);
    Ok(Outcome::Done)
}

fn mode(word: &[u8]) -> Result<NackMode, CommandError> {
    match () {
        () if is(word, "SILENT") => Ok(NackMode::Silent),
        () if is(word, "FAIL") => Ok(NackMode::Fail),
        () if is(word, "FATAL") => Ok(NackMode::Fatal),
        () => Err(CommandError::text("ERR mode must be SILENT, FAIL, or FATAL")),
    }
}
