//! XLEN: how many entries a stream has.

use claimlog::op::XLen;

use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xlen",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RO"])],
    summary: "Return the number of entries in a stream",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    args: &[Arg::key("key")],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let length = call.execute(&XLen { key: call.key(1) })?;
    call.reply.count(length);
    Ok(Outcome::Done)
}
