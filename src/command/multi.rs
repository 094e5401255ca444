//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: several commands as one.

use std::rc::Rc;

use claimlog::Error;
use claimlog::engine::{TransactionSize, Watch};
use claimlog::op::Key;

use super::call::{Door, Outside, exec_abort, run};
use super::session::{Queue, Queued};
use super::spec::{Arg, Arity, Category, CommandSpec, Flag, Flags, KeySpec};
use super::{Call, CommandError, Outcome};

/// How much a transaction's changes may come to beyond what was sent: ids that are given out, deliveries, names.
const ROOM_BYTES: usize = 64 * 1024;

pub(crate) static SPEC_MULTI: CommandSpec = CommandSpec {
    name: "multi",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    categories: &[Category::Transaction],
    summary: "Mark the start of a transaction block",
    since: "1.2.0",
    group: "transactions",
    complexity: "O(1)",
    run: multi,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_EXEC: CommandSpec = CommandSpec {
    name: "exec",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale, Flag::SkipSlowlog]),
    categories: &[Category::Transaction],
    summary: "Execute all commands issued after MULTI",
    since: "1.2.0",
    group: "transactions",
    complexity: "Depends on commands in the transaction",
    run: exec,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_DISCARD: CommandSpec = CommandSpec {
    name: "discard",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    categories: &[Category::Transaction],
    summary: "Discard all commands issued after MULTI",
    since: "2.0.0",
    group: "transactions",
    complexity: "O(N), when N is the number of queued commands",
    run: discard,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_WATCH: CommandSpec = CommandSpec {
    name: "watch",
    arity: Arity::at_least(2),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    categories: &[Category::Transaction],
    keys: &[KeySpec::index(1, -1, 1).flags(&["RO"])],
    summary: "Watch the given keys to determine execution of the MULTI/EXEC block",
    since: "2.2.0",
    group: "transactions",
    complexity: "O(1) for every key.",
    args: &[Arg::key("key").many()],
    run: watch,
    ..CommandSpec::DEFAULT
};

pub(crate) static SPEC_UNWATCH: CommandSpec = CommandSpec {
    name: "unwatch",
    arity: Arity::exactly(1),
    flags: Flags::of(&[Flag::Noscript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    categories: &[Category::Transaction],
    summary: "Forget about all watched keys",
    since: "2.2.0",
    group: "transactions",
    complexity: "O(1)",
    run: unwatch,
    ..CommandSpec::DEFAULT
};

impl CommandSpec {
    /// Whether it runs at once after MULTI, where others are queued.
    pub(crate) fn runs_inside_multi(&self) -> bool {
        matches!(self.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
    }
}

fn multi(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if call.session.queue.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    call.session.queue = Some(Queue::default());
    call.session.client.queued.set(0);
    call.reply.ok();
    Ok(Outcome::Done)
}

fn discard(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.session.leave_multi().ok_or(CommandError::text("ERR DISCARD without MULTI"))?;
    call.reply.ok();
    Ok(Outcome::Done)
}

fn watch(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    if call.session.queue.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let db = call.db();
    let client = Rc::clone(&call.session.client);
    let mut watch = client.watch.borrow_mut();
    let watch = watch.get_or_insert_with(|| call.context.engine().watch());
    // It lasts longer than the request, like what is queued.
    let asked: usize = call.words[1..].iter().map(|word| word.len()).sum();
    if (watch.memory_bytes() + asked) as u64 > call.context.config.borrow().query_bytes_max {
        return Err(CommandError::text("ERR too much is watched: see client-query-buffer-limit"));
    }
    for name in &call.words[1..] {
        watch.add(&Key { db, name: bytes::Bytes::copy_from_slice(name) });
    }
    call.reply.ok();
    Ok(Outcome::Done)
}

fn unwatch(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    call.session.client.watch.take();
    call.reply.ok();
    Ok(Outcome::Done)
}

/// All that was queued, as one transaction: one time, one batch in the log, nothing in between.
fn exec(call: &mut Call<'_, '_>) -> Result<Outcome, CommandError> {
    let (queue, watch) = call.session.leave_multi().ok_or(CommandError::text("ERR EXEC without MULTI"))?;
    if queue.aborted {
        return Err(CommandError::text("EXECABORT Transaction discarded because of previous errors."));
    }
    let engine = &call.context.engine();
    // Commands about streams never ask for it.
    let asks = |queued: &Queued| queued.found.spec.group != "stream";
    let before = queue.commands.iter().any(asks).then(|| Outside::of(engine));
    let start = call.reply.position();
    let (session, context, reply) = (&mut *call.session, call.context, &mut call.reply);
    let adds = queue.commands.iter().any(|queued| queued.found.spec.flags.has(Flag::DenyOom));
    let size = TransactionSize { bytes: queue.bytes + ROOM_BYTES, adds };
    // CLIENT KILL may have ended this very connection: when the replies have left.
    let mut closes = false;
    let ticket = engine.transaction_of(size, |transaction| {
        if watch.as_ref().is_some_and(Watch::dirty) {
            reply.null_array();
            return Ok(());
        }
        reply.array(queue.commands.len());
        for Queued { found, words } in &queue.commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let door = Door::Transaction(transaction);
            reply.set_protocol(session.client.protocol.get());
            match run(*found, &words, session, context, reply.reborrow(), door, before.as_ref()).1? {
                Outcome::Done => {}
                Outcome::Close => closes = true,
                _ => debug_assert!(false, "{} waits inside EXEC", found.spec.name),
            }
        }
        Ok(())
    });
    call.after = call.after.max(ticket.after);
    match ticket.result {
        Ok(Ok(())) if closes => Ok(Outcome::Close),
        Ok(Ok(())) => Ok(Outcome::Done),
        Ok(Err(why)) => Err(CommandError::Fatal(why)),
        Err(error) => {
            call.reply.truncate(start);
            let refused = matches!(error, Error::Refused(_));
            let error = CommandError::from(error);
            Err(if refused { exec_abort(error) } else { error })
        }
    }
}
