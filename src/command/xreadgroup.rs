//! XREADGROUP: delivers new entries to a consumer, or reads its history again.

use bytes::Bytes;
use claimlog::EntryId;
use claimlog::engine::BlockingRead;
use claimlog::op::{GroupFrom, Key, Refusal, XReadGroup};

use super::args::id;
use super::call::Existence;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::xread::{ReadOptions, find_keys, options, read};
use super::{Call, CommandError, Outcome};

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xreadgroup",
    arity: Arity::at_least(7),
    flags: Flags::of(&[Flag::Write, Flag::Blocking]),
    categories: &[Category::Stream],
    keys: &[KeySpec::keyword("STREAMS", 4, -1, 1, 2).flags(&["RO", "access", "incomplete"])],
    history: &[
        ("8.4.0", "Added the `CLAIM` option."),
        ("8.10.0", "Added the `MAXCOUNT` and `MAXSIZE` options."),
    ],
    summary: "Return new entries from a stream using a consumer group, or access the history of the pending entries for a given consumer. Can block.",
    since: "5.0.0",
    group: "stream",
    complexity: "For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.",
    args: &[
        Arg::block("group_consumer", &[Arg::string("group"), Arg::string("consumer")]).after("GROUP"),
        Arg::integer("count").after("COUNT").optional(),
        Arg::integer("maxcount").after("MAXCOUNT").since("8.10.0").optional(),
        Arg::integer("maxsize").after("MAXSIZE").since("8.10.0").optional(),
        Arg::integer("milliseconds").after("BLOCK").optional(),
        Arg::integer("min-idle-time").after("CLAIM").since("8.4.0").optional(),
        Arg::word("noack", "NOACK").optional(),
        Arg::block("streams", &[Arg::key("key").many(), Arg::string("id").many()]).after("STREAMS"),
    ],
    find_keys: Some(find_keys),
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let options = options(call.words, true)?;
    let Some((group, consumer)) = options.group else {
        return Err(CommandError::text("ERR Missing GROUP option for XREADGROUP"));
    };
    let mut streams = Vec::with_capacity(options.keys.len());
    let (group, consumer) = (Bytes::copy_from_slice(group), Bytes::copy_from_slice(consumer));
    for (index, (key, word)) in options.keys.iter().zip(options.ids).enumerate() {
        let from = match *word {
            b">" => Ok(GroupFrom::New),
            b"$" => Err(meaningless('$')),
            b"+" => Err(meaningless('+')),
            // No history lies after the largest id: to Redis it is another spelling of `>`.
            word => id(word, 0).map(|id| match id {
                EntryId::MAX => GroupFrom::New,
                id => GroupFrom::History(id),
            }),
        };
        match from {
            Ok(from) => streams.push((Bytes::copy_from_slice(key), from)),
            Err(error) => {
                // Redis goes key by key, and looks for the group before it looks at the id.
                for key in &options.keys[..=index] {
                    let key = Bytes::copy_from_slice(key);
                    let asked = Key { db: call.db(), name: key.clone() };
                    if call.existence(asked, group.clone())? != Existence::Group {
                        return Err(Refusal::NoSuchGroupToRead { key, group }.into());
                    }
                }
                return Err(error);
            }
        }
    }
    let ReadOptions { count, block, limits, no_ack, claim, .. } = options;
    let op = XReadGroup { db: call.db(), group, consumer, streams, count, limits, no_ack, claim };
    read(call, BlockingRead::Group(op), block)
}

fn meaningless(id: char) -> CommandError {
    CommandError::owned(format!(
        "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty result set."
    ))
}
