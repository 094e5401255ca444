//! XTRIM: trims a stream. Also the trimming options of XADD.

use claimlog::op::{Keep, References, Trim, XTrim};

use super::args::{SYNTAX, Words, id, integer, is};
use super::id_block::{REFERENCES_ARG, references};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xtrim",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Write]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "delete"])],
    tips: &["nondeterministic_output"],
    summary: "Trims the stream to (approximately if '~' is passed) a certain size",
    since: "5.0.0",
    group: "stream",
    complexity: "O(N), with N being the number of evicted entries. Constant times are very small however, since entries are organized in macro nodes containing multiple entries that can be released with a single deallocation.",
    history: &[
        ("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option."),
        ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
    ],
    args: &[
        Arg::key("key"),
        Arg::block(
            "trim",
            &[
                Arg::one_of(
                    "strategy",
                    &[Arg::word("maxlen", "MAXLEN"), Arg::word("minid", "MINID").since("6.2.0")],
                ),
                Arg::one_of("operator", &[Arg::word("equal", "="), Arg::word("approximately", "~")])
                    .optional(),
                Arg::string("threshold"),
                Arg::integer("count").after("LIMIT").since("6.2.0").optional(),
            ],
        ),
        REFERENCES_ARG.since("8.2.0").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let mut words = Words::new(&call.words[2..]);
    let mut options = TrimWords::default();
    while let Some(word) = words.next() {
        if !options.take(word, &mut words)? {
            return Err(SYNTAX);
        }
    }
    let trim = options.finish(true)?.ok_or(SYNTAX)?;
    let removed = call.execute(&XTrim { key: call.key(1), trim })?;
    call.reply.count(removed);
    Ok(Outcome::Done)
}

/// The trimming options of a call, as far as they were read.
#[derive(Debug, Default)]
pub(crate) struct TrimWords {
    keep: Option<Keep>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl TrimWords {
    /// Takes one option and its values, if `word` is one and has any.
    pub(crate) fn take(&mut self, word: &[u8], words: &mut Words<'_>) -> Result<bool, CommandError> {
        if let Some(references) = references(word) {
            return if self.references.replace(references).is_some() { Err(SYNTAX) } else { Ok(true) };
        }
        if words.left() == 0 {
            return Ok(false);
        }
        if is(word, "LIMIT") {
            let limit = words.value().and_then(integer)?;
            let limit = u64::try_from(limit);
            self.limit = Some(limit.map_err(|_| CommandError::text("ERR The LIMIT argument must be >= 0."))?);
            return Ok(true);
        }
        let by_length = is(word, "MAXLEN");
        if !by_length && !is(word, "MINID") {
            return Ok(false);
        }
        if self.keep.is_some() {
            return Err(CommandError::text(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        self.approximate = false;
        // A `~` or `=` that is the last word is no operator: then it is read as the threshold.
        if words.left() >= 2 {
            self.approximate = words.take("~");
            if !self.approximate {
                words.take("=");
            }
        }
        let threshold = words.value()?;
        self.keep = Some(if by_length {
            let length = u64::try_from(integer(threshold)?);
            Keep::Newest(length.map_err(|_| CommandError::text("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            Keep::From(id(threshold, 0)?)
        });
        Ok(true)
    }

    /// What they come to, once all were read.
    pub(crate) fn finish(self, required: bool) -> Result<Option<Trim>, CommandError> {
        if self.keep.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.keep.is_none() && required {
            return Err(CommandError::text(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        if self.limit.is_some() && !self.approximate {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        let references = self.references.unwrap_or_default();
        Ok(self.keep.map(|keep| Trim { keep, approximate: self.approximate, limit: self.limit, references }))
    }
}
