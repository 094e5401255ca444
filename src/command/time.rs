//! TIME: the server's wall clock.

use super::context::unix_time;
use super::spec::{Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "time",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    tips: &["nondeterministic_output"],
    summary: "Return the current server time",
    since: "2.6.0",
    group: "server",
    complexity: "O(1)",
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let now = unix_time();
    call.reply.array(2);
    call.reply.bulk(now.as_secs().to_string().as_bytes());
    call.reply.bulk(now.subsec_micros().to_string().as_bytes());
    Ok(Outcome::Done)
}
