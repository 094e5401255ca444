//! MODULE: there are none.

use super::spec::{Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "module",
    arity: Arity::at_least(2),
    summary: "A container for module commands",
    since: "4.0.0",
    group: "server",
    complexity: "Depends on subcommand.",
    subcommands: &[&HELP, &LIST],
    help: LINES,
    ..CommandSpec::DEFAULT
};

static HELP: CommandSpec = CommandSpec {
    name: "module|help",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Show helpful text about the different subcommands",
    since: "5.0.0",
    group: "server",
    complexity: "O(1)",
    run: |call| super::reply::help(call, &SPEC),
    ..CommandSpec::DEFAULT
};

static LIST: CommandSpec = CommandSpec {
    name: "module|list",
    arity: Arity::exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::Noscript]),
    tips: &["nondeterministic_output_order"],
    summary: "List all modules loaded by the server",
    since: "4.0.0",
    group: "server",
    complexity: "O(N) where N is the number of loaded modules.",
    run: list,
    ..CommandSpec::DEFAULT
};

const LINES: &[&str] = &["LIST", "    Return a list of loaded modules."];

fn list(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.reply.array(0);
    Ok(Outcome::Done)
}
