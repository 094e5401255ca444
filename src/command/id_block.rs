//! `[KEEPREF | DELREF | ACKED] IDS numids id [id ...]`, in any order: what XDELEX and XACKDEL are told.

use claimlog::EntryId;
use claimlog::op::{References, Removed};
use claimlog::resp::Encoder;

use super::CommandError;
use super::args::{SYNTAX, Words, ids, is};
use super::spec::Arg;
use claimlog::resp::parse_integer;

/// How COMMAND DOCS describes it.
pub(crate) const REFERENCES_ARG: Arg = Arg::one_of(
    "condition",
    &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
);

pub(crate) const IDS_ARG: Arg =
    Arg::block("ids", &[Arg::integer("numids"), Arg::string("id").many()]).after("IDS");

/// The policy that a word names.
pub(crate) fn references(word: &[u8]) -> Option<References> {
    match () {
        () if is(word, "KEEPREF") => Some(References::Keep),
        () if is(word, "DELREF") => Some(References::Delete),
        () if is(word, "ACKED") => Some(References::Acked),
        () => None,
    }
}

/// How many ids follow, as the word after IDS says; `None` if that is no number above zero.
pub(crate) fn id_count(word: &[u8]) -> Option<usize> {
    parse_integer(word).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0)
}

/// Reads all of it.
pub(crate) fn parse(words: &[&[u8]]) -> Result<(Vec<EntryId>, References), CommandError> {
    let mut policy = None;
    let mut found: Option<&[&[u8]]> = None;
    let mut words = Words::new(words);
    while let Some(word) = words.next() {
        if let Some(references) = references(word) {
            if policy.replace(references).is_some() {
                return Err(SYNTAX);
            }
        } else if is(word, "IDS") && found.is_none() && words.left() >= 1 {
            let count = id_count(words.value()?)
                .ok_or(CommandError::text("ERR Number of IDs must be a positive integer"))?;
            found = Some(words.take_many(count).ok_or(CommandError::text(
                "ERR The `numids` parameter must match the number of arguments",
            ))?);
        } else {
            return Err(SYNTAX);
        }
    }
    Ok((ids(found.ok_or(SYNTAX)?)?, policy.unwrap_or_default()))
}

/// What became of each id.
pub(crate) fn answer(reply: &mut Encoder<'_>, removed: &[Removed]) {
    reply.array(removed.len());
    for one in removed {
        reply.integer(match one {
            Removed::Absent => -1,
            Removed::Gone => 1,
            Removed::StillReferenced => 2,
        });
    }
}
