//! LOLWUT: the version.

use super::args::{integer, is};
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome, REDIS_VERSION};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "lolwut",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Readonly, Flag::Fast]),
    summary: "Display some computer art and the Redis version",
    since: "5.0.0",
    group: "server",
    args: &[Arg::integer("version").after("VERSION").optional()],
    run,
    ..CommandSpec::DEFAULT
};

/// Two streams, and what is in them.
const PICTURE: &str = "\
      ~~ 1-0 ~~~~ 2-0 ~~~~~~~ 3-0 ~~~~ 4-0 ~~~~~~>\n\
    ~~~~~~~~ 1-0 ~~~~~~ 2-0 ~~~~~~~~~~~~~~ 3-0 ~~~~>\n";

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    // Which picture is asked for, and its size: read as Redis reads them, though there is only one.
    if let [_, option, version, sizes @ ..] = call.words
        && is(option, "VERSION")
    {
        let sizes_most = match integer(version)? {
            5 => 3,
            6 => 2,
            _ => 0,
        };
        for size in sizes.iter().take(sizes_most) {
            integer(size)?;
        }
    }
    let version = format!("{PICTURE}\nRedis ver. {REDIS_VERSION}, claimlog {}\n", env!("CARGO_PKG_VERSION"));
    call.reply.verbatim(version.as_bytes());
    Ok(Outcome::Done)
}
