//! XCFGSET: how long a stream remembers idempotent ids.

use claimlog::op::XCfgSet;

use super::args::{SYNTAX, Words, integer, is};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xcfgset",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    summary: "Sets for how long, and how many, idempotent ids of producers a stream remembers.",
    since: "8.6.0",
    group: "stream",
    complexity: "O(1)",
    args: &[
        Arg::key("key"),
        Arg::integer("duration").after("IDMP-DURATION").optional(),
        Arg::integer("maxsize").after("IDMP-MAXSIZE").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

/// The longest `IDMP-DURATION`, in seconds, and the largest `IDMP-MAXSIZE`.
pub(crate) const DURATION_SECS_MAX: u64 = 86_400;
pub(crate) const MAXSIZE_MAX: u64 = 10_000;

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut op = XCfgSet { key: call.key(1), duration_secs: None, maxsize: None };
    let mut words = Words::new(&call.words[2..]);
    while let Some(option) = words.next() {
        if is(option, "IDMP-DURATION") {
            let secs = between(words.value()?, DURATION_SECS_MAX)?;
            op.duration_secs = Some(
                secs.ok_or(CommandError::text("ERR IDMP-DURATION must be between 1 and 86400 seconds"))?,
            );
        } else if is(option, "IDMP-MAXSIZE") {
            let size = between(words.value()?, MAXSIZE_MAX)?;
            op.maxsize =
                Some(size.ok_or(CommandError::text("ERR IDMP-MAXSIZE must be between 1 and 10000 entries"))?);
        } else {
            return Err(SYNTAX);
        }
    }
    if op.duration_secs.is_none() && op.maxsize.is_none() {
        return Err(CommandError::text("ERR At least one parameter must be specified"));
    }
    call.execute(&op)?;
    call.reply.ok();
    Ok(Outcome::Done)
}

/// A number from 1 to the largest.
fn between(word: &[u8], largest: u64) -> Result<Option<u64>, CommandError> {
    Ok(u64::try_from(integer(word)?).ok().filter(|value| (1..=largest).contains(value)))
}
