//! XIDMPRECORD: tells a stream that an idempotent id stands for an entry, as an append-only file of Redis does.

use claimlog::op::XIdmpRecord;

use super::args::id;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xidmprecord",
    arity: Arity::exactly(5),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    summary: "An internal command for recording the idempotent id of an entry.",
    since: "8.6.2",
    group: "stream",
    complexity: "O(1)",
    args: &[Arg::key("key"), Arg::string("pid"), Arg::string("iid"), Arg::string("id")],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (producer, iid) = (call.name(2), call.name(3));
    if producer.is_empty() {
        return Err(CommandError::text("ERR XIDMPRECORD requires a non-empty producer ID"));
    }
    if iid.is_empty() {
        return Err(CommandError::text("ERR XIDMPRECORD requires a non-empty idempotent ID"));
    }
    call.execute(&XIdmpRecord { key: call.key(1), producer, iid, id: id(call.word(4), 0)? })?;
    call.reply.ok();
    Ok(Outcome::Done)
}
