//! XSETID: sets a stream's last id and counters.

use claimlog::op::{Refusal, XSetId};

use super::args::{SYNTAX, Words, id, integer, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xsetid",
    arity: Arity::at_least(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    summary: "An internal command for replicating stream values",
    since: "5.0.0",
    group: "stream",
    complexity: "O(1)",
    history: &[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")],
    args: &[
        Arg::key("key"),
        Arg::string("last-id"),
        Arg::integer("entries_added").after("ENTRIESADDED").since("7.0.0").optional(),
        Arg::string("max_deleted_entry_id").after("MAXDELETEDID").since("7.0.0").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let last_id = id(call.word(2), 0)?;
    let mut entries_added = None;
    let mut max_deleted_id = None;
    let mut words = Words::new(&call.words[3..]);
    while let Some(option) = words.next() {
        if is(option, "ENTRIESADDED") {
            let added = u64::try_from(integer(words.value()?)?);
            entries_added =
                Some(added.map_err(|_| CommandError::text("ERR entries_added must be positive"))?);
        } else if is(option, "MAXDELETEDID") {
            let max_deleted = id(words.value()?, 0)?;
            if last_id < max_deleted {
                return Err(Refusal::SetIdBelowGivenMaxDeleted.into());
            }
            max_deleted_id = Some(max_deleted);
        } else {
            return Err(SYNTAX);
        }
    }
    call.execute(&XSetId { key: call.key(1), last_id, entries_added, max_deleted_id })?;
    call.reply.ok();
    Ok(Outcome::Done)
}
