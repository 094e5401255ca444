//! XACKDEL: acknowledges pending entries and removes them.

use claimlog::op::XAckDel;

use super::id_block::{IDS_ARG, REFERENCES_ARG, answer, parse};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xackdel",
    arity: Arity::at_least(6),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update", "delete"])],
    summary: "Acknowledges entries in a consumer group and removes them from the stream.",
    since: "8.2.0",
    group: "stream",
    complexity: "O(1) for each entry, and for each group whose pending entries list is looked at.",
    args: &[Arg::key("key"), Arg::string("group"), REFERENCES_ARG.optional(), IDS_ARG],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (ids, references) = parse(&call.words[3..])?;
    let removed = call.execute(&XAckDel { key: call.key(1), group: call.name(2), ids, references })?;
    answer(&mut call.reply, &removed);
    Ok(Outcome::Done)
}
