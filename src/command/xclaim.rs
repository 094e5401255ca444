//! XCLAIM: hands pending entries to another consumer.

use claimlog::op::{DeliveryTime, Refusal, XClaim};

use super::args::{Words, id, is};
use super::call::Existence;
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};
use claimlog::resp::parse_integer;

pub(crate) static SPEC: CommandSpec = CommandSpec {
    name: "xclaim",
    arity: Arity::at_least(6),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    categories: &[Category::Stream],
    keys: &[KeySpec::index(1, 0, 1).flags(&["RW", "update"])],
    tips: &["nondeterministic_output"],
    summary: "Changes (or acquires) ownership of a message in a consumer group, as if the message was delivered to the specified consumer.",
    since: "5.0.0",
    group: "stream",
    complexity: "O(log N) with N being the number of messages in the PEL of the consumer group.",
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("id").many(),
        Arg::integer("ms").after("IDLE").optional(),
        Arg::unix_time("unix-time-milliseconds").after("TIME").optional(),
        Arg::integer("count").after("RETRYCOUNT").optional(),
        Arg::word("force", "FORCE").optional(),
        Arg::word("justid", "JUSTID").optional(),
        Arg::string("id").after("LASTID").optional(),
    ],
    run,
    ..CommandSpec::DEFAULT
};

fn run(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (key, group) = (call.key(1), call.name(2));
    let op = match parse(call) {
        Ok(op) => op,
        Err(error) => {
            // Redis looks for key and group first.
            if call.existence(key.clone(), group.clone())? != Existence::Group {
                return Err(Refusal::NoSuchKeyOrGroup { key: key.name, group }.into());
            }
            return Err(error);
        }
    };
    let claimed = call.execute(&op)?;
    if op.just_id {
        call.reply.array(claimed.len());
        for entry in claimed {
            call.reply.id(entry.id);
        }
    } else {
        super::reply::pending_entries(&mut call.reply, &claimed);
    }
    Ok(Outcome::Done)
}

fn parse(call: &Call<'_, '_>) -> Result<XClaim, CommandError> {
    let min_idle_ms = parse_integer(call.word(4))
        .ok_or(CommandError::text("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let mut op = XClaim {
        key: call.key(1),
        group: call.name(2),
        consumer: call.name(3),
        min_idle_ms: u64::try_from(min_idle_ms).unwrap_or(0),
        ids: Vec::new(),
        delivered: None,
        retry_count: None,
        force: false,
        just_id: false,
        last_id: None,
    };
    let mut words = Words::new(&call.words[5..]);
    // Ids up to the first word that is none, then options.
    while let Some(found) = words.peek().and_then(|word| id(word, 0).ok()) {
        op.ids.push(found);
        words.next();
    }
    while let Some(option) = words.next() {
        let has_value = words.left() >= 1;
        if is(option, "FORCE") {
            op.force = true;
        } else if is(option, "JUSTID") {
            op.just_id = true;
        } else if is(option, "IDLE") && has_value {
            let idle_ms = option_integer(words.value()?, "IDLE")?;
            op.delivered = Some(DeliveryTime::IdleMs(idle_ms));
        } else if is(option, "TIME") && has_value {
            let unix_ms = option_integer(words.value()?, "TIME")?;
            op.delivered = Some(DeliveryTime::UnixMs(unix_ms));
        } else if is(option, "RETRYCOUNT") && has_value {
            // Below zero: as if not given.
            op.retry_count = u64::try_from(option_integer(words.value()?, "RETRYCOUNT")?).ok();
        } else if is(option, "LASTID") && has_value {
            op.last_id = Some(id(words.value()?, 0)?);
        } else {
            return Err(CommandError::owned(
                [&b"ERR Unrecognized XCLAIM option '"[..], option, b"'"].concat(),
            ));
        }
    }
    Ok(op)
}

fn option_integer(word: &[u8], option: &str) -> Result<i64, CommandError> {
    parse_integer(word)
        .ok_or_else(|| CommandError::owned(format!("ERR Invalid {option} option argument for XCLAIM")))
}
