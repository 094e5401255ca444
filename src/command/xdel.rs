//! XDEL: removes entries by id.

use claimlog::op::XDel;

use super::args::ids;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xdel",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "delete"])],
    summary: "Removes the specified entries from the stream. Returns the number of items actually deleted, that may be different from the number of IDs passed in case certain IDs do not exist.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1) for each single item to delete in the stream, regardless of the stream size.",
    args: &[Arg::key("key"), Arg::string("id").many()],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let key = call.key(1);
    let removed = match ids(&call.words[2..]) {
        Ok(ids) => call.execute(&XDel { key, ids })?,
        // As in Redis: the ids of a key that does not exist are not looked at.
        Err(error) if call.key_exists(&key)? => return Err(error),
        Err(_) => 0,
    };
    call.reply.count(removed);
    Ok(Outcome::Done)
}
