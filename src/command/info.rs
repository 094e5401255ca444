//! INFO: numbers about the server. The text itself is made in `info_text.rs`.

use super::info_text;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "info",
    arity: Arity::at_least(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    categories: &[Category::Dangerous],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    summary: "Get information and statistics about the server",
    since: "1.0.0",
    group: "server",
    complexity: "O(1)",
    history: &[("7.0.0", "Added support for taking multiple section arguments.")],
    args: &[Arg::string("section").optional().many()],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let outside = call.outside();
    // It counts keys: that is a look at the state (I1).
    call.after = call.after.max(claimlog::Seq::new(outside.stats.applied));
    let wanted: Vec<String> =
        call.words[1..].iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
    let text = info_text::text(call.context, &outside, &wanted);
    call.reply.verbatim(text.as_bytes());
    Ok(Outcome::Done)
}
