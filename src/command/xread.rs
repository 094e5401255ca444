//! XREAD: entries after given ids, of several streams. Also the options that XREADGROUP shares with it.

use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

use claimlog::engine::{BlockingRead, ReadOrWait};
use claimlog::op::{ReadFrom, ReadLimits, XRead};
use claimlog::resp::parse_integer;

use super::args::{SYNTAX, Words, id, integer, is, timeout_ms};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xread",
    arity: Arity::at_least(4),
    flags: Flags::of(&[Flag::Readonly, Flag::Blocking]),
    categories: &[Category::Stream],
    keys: &[KeySpec::keyword("STREAMS", 1, -1, 1, 2).flags(&["RO", "access"])],
    history: &[
        ("7.4.0", "Added the `+` ID, for the last entry."),
        ("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),
    ],
    summary: "Return never seen elements in multiple streams, with IDs greater than the ones reported by the caller for each stream. Can block.",
    since: "5.0.0",
    group: "stream",
    complexity: "For each stream mentioned: O(N) with N being the number of elements being returned, it means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is used, XADD will pay O(M) time in order to serve the M clients blocked on the stream getting new data.",
    args: &[
        Arg::integer("count").after("COUNT").optional(),
        Arg::integer("maxcount").after("MAXCOUNT").since("8.10.0").optional(),
        Arg::integer("maxsize").after("MAXSIZE").since("8.10.0").optional(),
        Arg::integer("milliseconds").after("BLOCK").optional(),
        Arg::block("streams", &[Arg::key("key").many(), Arg::string("id").many()]).after("STREAMS"),
    ],
    find_keys: Some(find_keys),
    run,
    ..CommandSpec::DEFAULT
};

/// The options before the keys, of XREAD and XREADGROUP alike.
#[derive(Debug, Default)]
pub(crate) struct ReadOptions<'a> {
    /// At most so many entries of each stream; `None` for all.
    pub(crate) count: Option<u64>,
    /// BLOCK: for how long to wait (`None`: for ever).
    pub(crate) block: Option<Option<Duration>>,
    /// GROUP: group and consumer.
    pub(crate) group: Option<(&'a [u8], &'a [u8])>,
    pub(crate) no_ack: bool,
    /// CLAIM: how long something must have been pending to be claimed, in milliseconds.
    pub(crate) claim: Option<u64>,
    /// MAXCOUNT and MAXSIZE.
    pub(crate) limits: ReadLimits,
    /// The keys, and as many ids.
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) ids: &'a [&'a [u8]],
}

/// Reads the options. `reads_group`: the command is XREADGROUP.
pub(crate) fn options<'a>(all: &'a [&'a [u8]], reads_group: bool) -> Result<ReadOptions<'a>, CommandError> {
    let mut options = ReadOptions::default();
    let mut words = Words::new(&all[1..]);
    loop {
        let Some(option) = words.next() else { return Err(SYNTAX) };
        let left = words.left();
        if is(option, "BLOCK") && left >= 1 {
            options.block = Some(timeout_ms(words.value()?)?);
        } else if is(option, "COUNT") && left >= 1 {
            // None or fewer: all.
            options.count = u64::try_from(integer(words.value()?)?).ok().filter(|count| *count > 0);
        } else if is(option, "STREAMS") && left >= 1 {
            let (keys, ids) = words.rest().split_at(left / 2);
            if left % 2 == 1 {
                return Err(CommandError::text(if reads_group {
                    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
                } else {
                    "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
                }));
            }
            (options.keys, options.ids) = (keys, ids);
            if options.limits.entries.zip(options.count).is_some_and(|(most, count)| most < count) {
                return Err(CommandError::text("ERR MAXCOUNT must be greater than or equal to COUNT"));
            }
            return Ok(options);
        } else if is(option, "MAXCOUNT") && left >= 1 {
            options.limits.entries = Some(limit(words.value()?, "MAXCOUNT")?);
        } else if is(option, "MAXSIZE") && left >= 1 {
            options.limits.bytes = Some(limit(words.value()?, "MAXSIZE")?);
        } else if is(option, "CLAIM") && left >= 1 {
            if !reads_group {
                return Err(only_xreadgroup("CLAIM"));
            }
            options.claim = Some(min_idle_ms(words.value()?)?);
        } else if is(option, "GROUP") && left >= 2 {
            if !reads_group {
                return Err(only_xreadgroup("GROUP"));
            }
            options.group = words.next().zip(words.next());
        } else if is(option, "NOACK") {
            if !reads_group {
                return Err(only_xreadgroup("NOACK"));
            }
            options.no_ack = true;
        } else {
            return Err(SYNTAX);
        }
    }
}

fn only_xreadgroup(option: &str) -> CommandError {
    CommandError::owned(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

/// A number above zero.
fn limit(word: &[u8], option: &str) -> Result<u64, CommandError> {
    let number = parse_integer(word).and_then(|number| u64::try_from(number).ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| CommandError::owned(format!("ERR {option} must be a positive integer")))
}

/// The value of CLAIM.
fn min_idle_ms(word: &[u8]) -> Result<u64, CommandError> {
    let ms = parse_integer(word)
        .ok_or(CommandError::text("ERR min-idle-time is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| CommandError::text("ERR min-idle-time must be a positive integer"))
}

/// The options that one value follows.
const VALUED: [&str; 5] = ["BLOCK", "COUNT", "MAXCOUNT", "MAXSIZE", "CLAIM"];

/// Where the keys are: found by reading the options, since a group or a key may itself be called STREAMS.
pub(crate) fn find_keys(words: &[&[u8]]) -> Option<Range<usize>> {
    let mut at = 1;
    while at < words.len() {
        let word = &words[at];
        if is(word, "STREAMS") {
            let first = at + 1;
            let count = (words.len() - first) / 2;
            return (count > 0).then(|| first..first + count);
        }
        at += match () {
            () if VALUED.iter().any(|option| is(word, option)) => 2,
            () if is(word, "GROUP") => 3,
            () => 1,
        };
    }
    None
}

/// Reads; where there is nothing, waits for it if that is wanted.
pub(crate) fn read(
    call: &mut Call<'_, '_>,
    read: BlockingRead,
    block: Option<Option<Duration>>,
) -> Result<Outcome, CommandError> {
    let timeout = match block {
        Some(timeout) if !call.in_transaction() => timeout,
        _ => {
            let streams = match &read {
                BlockingRead::Read(read) => call.execute(read)?,
                BlockingRead::Group(read) => call.execute(read)?,
            };
            super::reply::streams(&mut call.reply, &streams);
            return Ok(Outcome::Done);
        }
    };
    match call.context.engine().read_or_wait(read) {
        ReadOrWait::Now(ticket) => {
            call.after = call.after.max(ticket.after);
            super::reply::streams(&mut call.reply, &ticket.result?);
            Ok(Outcome::Done)
        }
        ReadOrWait::Waiting(waiting) => Ok(Outcome::Park { waiting, timeout, encode: super::reply::streams }),
    }
}

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let options = options(call.words, false)?;
    let mut streams = Vec::with_capacity(options.keys.len());
    for (key, word) in options.keys.iter().zip(options.ids) {
        let from = match *word {
            b"$" => ReadFrom::Last,
            b"+" => ReadFrom::LastEntry,
            b">" => {
                return Err(CommandError::text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                     option.",
                ));
            }
            word => ReadFrom::After(id(word, 0)?),
        };
        streams.push((Bytes::copy_from_slice(key), from));
    }
    let ReadOptions { count, block, limits, .. } = options;
    read(call, BlockingRead::Read(XRead { db: call.db(), streams, count, limits }), block)
}
