//! SHUTDOWN: ends the server.

use super::args::{SYNTAX, is};
use super::spec::{Arg, Arity, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "shutdown",
    arity: Arity::at_least(1),
    flags: Flags::of(&[
        Flag::Admin,
        Flag::Noscript,
        Flag::Loading,
        Flag::Stale,
        Flag::NoMulti,
        Flag::AllowBusy,
    ]),
    summary: "Synchronously save the dataset to disk and then shut down the server",
    since: "1.0.0",
    group: "server",
    complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
    history: &[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")],
    args: &[
        Arg::one_of("nosave_save", &[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")]).optional(),
        Arg::word("now", "NOW").since("7.0.0").optional(),
        Arg::word("force", "FORCE").since("7.0.0").optional(),
        Arg::word("abort", "ABORT").since("7.0.0").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

/// The log has everything, so nothing depends on SAVE but how long the next start takes, and there is nothing that NOW
/// could hurry along. FORCE ends the server even if the snapshot fails.
fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (mut save, mut no_save, mut abort, mut force) = (false, false, false, false);
    for word in &call.words[1..] {
        if is(word, "SAVE") {
            save = true;
        } else if is(word, "NOSAVE") {
            no_save = true;
        } else if is(word, "ABORT") {
            abort = true;
        } else if is(word, "FORCE") {
            force = true;
        } else if !is(word, "NOW") {
            return Err(SYNTAX);
        }
    }
    if (save && no_save) || (abort && call.words.len() > 2) {
        return Err(SYNTAX);
    }
    if abort {
        return Err(CommandError::text("ERR No shutdown in progress."));
    }
    if save
        && let Err(error) = call.context.engine().snapshot()
        && !force
    {
        return Err(CommandError::owned(format!("ERR the server goes on, no snapshot was taken: {error}")));
    }
    Ok(Outcome::Shutdown)
}
