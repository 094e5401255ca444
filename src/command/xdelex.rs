//! XDELEX: removes entries by id, and says what becomes of the references to them.

use claimlog::op::XDelEx;

use super::id_block::{IDS_ARG, REFERENCES_ARG, answer, parse};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xdelex",
    arity: Arity::at_least(5),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "delete"])],
    summary: "Removes entries from a stream, and says what becomes of the references that consumer groups have to them.",
    since: "8.2.0",
    group: "stream",
    complexity: "O(1) for each entry to be removed, regardless of the stream size, and for each group whose pending entries list is looked at.",
    args: &[Arg::key("key"), REFERENCES_ARG.optional(), IDS_ARG],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (ids, references) = parse(&call.words[2..])?;
    let removed = call.execute(&XDelEx { key: call.key(1), ids, references })?;
    answer(&mut call.reply, &removed);
    Ok(Outcome::Done)
}
