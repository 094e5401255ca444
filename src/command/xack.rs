//! XACK: acknowledges pending entries.

use claimlog::op::XAck;

use super::args::ids;
use super::call::Existence;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xack",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    summary: "Marks a pending message as correctly processed, effectively removing it from the pending entries list of the consumer group. Return value of the command is the number of messages successfully acknowledged, that is, the IDs we were actually able to resolve in the PEL.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1) for each message ID processed.",
    args: &[Arg::key("key"), Arg::string("group"), Arg::string("id").many()],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (key, group) = (call.key(1), call.name(2));
    let acknowledged = match ids(&call.words[3..]) {
        Ok(ids) => call.execute(&XAck { key, group, ids })?,
        // As in Redis: without key or group the ids are not looked at.
        Err(error) if call.existence(key, group)? == Existence::Group => return Err(error),
        Err(_) => 0,
    };
    call.reply.count(acknowledged);
    Ok(Outcome::Done)
}
