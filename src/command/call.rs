//! One call of a command: from words to the function that carries it out, and what that function may use.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claimlog::Error;
use claimlog::Seq;
use claimlog::engine::{Engine, Settings, Stats, Transaction, Waiting};
use claimlog::op::{DbIndex, Key, Op, Refusal, XInfoConsumers};

use super::session::{Queue, Queued, Replies};
use super::spec::{CommandSpec, Flag};
use super::table::{self, Found};
use super::{Client, CommandError, Context, Outcome, Session};
use claimlog::resp::Encoder;

/// The words of a request, the command's name and its arguments, where they were received.
pub(crate) type Words<'w> = [&'w [u8]];

/// How much of an unknown command's words an error repeats. As in Redis.
const ECHO_BYTES_MAX: usize = 128;

/// Where requests go: straight to the engine, or, inside EXEC, to its one transaction.
pub(crate) enum Door<'a, 't> {
    Engine(&'a Engine),
    Transaction(&'a mut Transaction<'t>),
}

/// What is known of the engine apart from requests. Inside EXEC: as it was just before.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) stats: Stats,
    pub(crate) settings: Settings,
    pub(crate) durable: Seq,
}

impl Outside {
    pub(crate) fn of(engine: &Engine) -> Self {
        Self { stats: engine.stats(), settings: engine.settings(), durable: engine.durable() }
    }
}

/// One call: its words, whose it is, and where the reply goes.
pub(crate) struct Call<'a, 't> {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) words: &'a Words<'a>,
    pub(crate) session: &'a mut Session,
    pub(crate) context: &'a Context,
    pub(crate) reply: Encoder<'a>,
    pub(crate) door: Door<'a, 't>,
    /// Inside EXEC: what was known just before.
    pub(crate) before: Option<&'a Outside>,
    /// The reply must not leave before this change is visible.
    pub(crate) after: Seq,
}

/// What exists of a key and a group in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    NoKey,
    NoGroup,
    Group,
}

impl Call<'_, '_> {
    /// Asks the engine. The reply waits for everything it was decided on: errors and absence too (I1).
    pub(crate) fn execute<O: Op>(&mut self, op: &O) -> Result<O::Reply, CommandError> {
        match &mut self.door {
            Door::Engine(engine) => {
                let ticket = engine.submit_at(op, engine.wall_ms_at(self.context.began()));
                self.after = self.after.max(ticket.after);
                ticket.result.map_err(Into::into)
            }
            Door::Transaction(transaction) => transaction.execute(op).map_err(Into::into),
        }
    }

    /// Ends a client's waiting for data: see [`Client::end_reading`].
    pub(crate) fn end_reading(&mut self, client: &Client) -> bool {
        match &mut self.door {
            Door::Engine(_) => client.end_reading(Waiting::give_up),
            // EXEC has the lock.
            Door::Transaction(transaction) => client.end_reading(|waiting| transaction.give_up(waiting)),
        }
    }

    /// Whether this runs inside EXEC, where nothing waits.
    pub(crate) fn in_transaction(&self) -> bool {
        matches!(self.door, Door::Transaction(_))
    }

    /// The engine's numbers and settings. Inside EXEC: as they were just before.
    pub(crate) fn outside(&self) -> Outside {
        match self.before {
            Some(before) => before.clone(),
            None => {
                // It would wait for the lock under which EXEC runs.
                assert!(!self.in_transaction(), "only commands that are not about streams ask for this");
                Outside::of(&self.context.engine())
            }
        }
    }

    /// The word at this position. Only for positions that the arity guarantees.
    pub(crate) fn word(&self, index: usize) -> &[u8] {
        self.words[index]
    }

    /// The word at this position, to be kept.
    pub(crate) fn name(&self, index: usize) -> Bytes {
        Bytes::copy_from_slice(self.word(index))
    }

    /// The words from this position on, to be kept.
    pub(crate) fn names_from(&self, index: usize) -> Vec<Bytes> {
        self.words[index..].iter().map(|word| Bytes::copy_from_slice(word)).collect()
    }

    /// The selected database.
    pub(crate) fn db(&self) -> DbIndex {
        self.session.client.db.get()
    }

    /// The key named by the word at this position.
    pub(crate) fn key(&self, index: usize) -> Key {
        Key { db: self.db(), name: self.name(index) }
    }

    /// What there is of a key and a group: for errors whose order depends on it, and only then.
    pub(crate) fn existence(&mut self, key: Key, group: Bytes) -> Result<Existence, CommandError> {
        let asked = XInfoConsumers { key, group };
        let result = match &mut self.door {
            Door::Engine(engine) => {
                let ticket = engine.submit_at(&asked, engine.wall_ms_at(self.context.began()));
                self.after = self.after.max(ticket.after);
                ticket.result
            }
            Door::Transaction(transaction) => transaction.execute(&asked),
        };
        match result {
            Ok(_) => Ok(Existence::Group),
            Err(Error::Refused(Refusal::NoSuchKey)) => Ok(Existence::NoKey),
            Err(Error::Refused(Refusal::NoSuchGroup { .. } | Refusal::NoSuchKeyOrGroup { .. })) => {
                Ok(Existence::NoGroup)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a key exists: for errors whose order depends on it, and only then.
    pub(crate) fn key_exists(&mut self, key: &Key) -> Result<bool, CommandError> {
        let asked = claimlog::op::Exists { db: key.db, keys: vec![key.name.clone()] };
        Ok(self.execute(&asked)? > 0)
    }

    /// `ERR unknown subcommand or wrong number of arguments for '...'`
    pub(crate) fn subcommand_syntax(&self) -> CommandError {
        let word = self.words.get(1).map_or(&b""[..], |word| &word[..word.len().min(ECHO_BYTES_MAX)]);
        let container = self.spec.name.split('|').next().unwrap_or_default().to_uppercase();
        let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
        text.extend_from_slice(word);
        text.extend_from_slice(format!("'. Try {container} HELP.").as_bytes());
        CommandError::owned(text)
    }
}

/// What came of a request.
pub(crate) struct Done {
    /// The reply must not leave before this change is visible.
    pub(crate) after: Seq,
    /// The command's number ([`Found::slot`]), for what is counted later.
    pub(crate) slot: usize,
    /// The reply is not wanted (CLIENT REPLY), and if it comes later it is not either.
    pub(crate) mute: bool,
    /// What is left to do; `Err`: the engine failed, and nothing can be served any more.
    pub(crate) outcome: Result<Outcome, Arc<str>>,
}

impl Done {
    fn at_once(outcome: Outcome) -> Self {
        Self { after: Seq::ZERO, slot: 0, mute: false, outcome: Ok(outcome) }
    }
}

/// Carries a request out, or queues it (MULTI), or refuses it. The reply goes to the end of `out`.
pub(crate) fn dispatch(
    session: &mut Session,
    context: &Context,
    words: &Words<'_>,
    out: &mut Vec<u8>,
) -> Done {
    let start = out.len();
    let mut done = dispatch_one(session, context, words, out);
    if matches!(done.outcome, Ok(Outcome::Postpone { .. })) {
        return done;
    }
    done.mute = matches!(session.replies, Replies::Off | Replies::SkipThis);
    if done.mute {
        out.truncate(start);
    }
    session.replies = match session.replies {
        Replies::SkipNext => Replies::SkipThis,
        Replies::SkipThis => Replies::On,
        other => other,
    };
    done
}

fn dispatch_one(session: &mut Session, context: &Context, words: &Words<'_>, out: &mut Vec<u8>) -> Done {
    let Some(name) = words.first() else { return Done::at_once(Outcome::Done) };
    // What a browser was tricked into sending: as in Redis, no reply, and the connection is closed.
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        return Done::at_once(Outcome::Close);
    }
    let mut after = Seq::ZERO;
    let found = match check(session, context, words, &mut after) {
        Ok(found) => found,
        Err(mut error) => {
            count(session, context);
            session.last_seq = session.last_seq.max(after);
            if name.eq_ignore_ascii_case(b"exec") {
                session.leave_multi();
                session.client.watch.take();
                error = exec_abort(error);
            } else if let Some(queue) = &mut session.queue {
                queue.aborted = true;
            }
            return Done { after, ..reject(session, context, out, &error) };
        }
    };
    if let Some(time) = context.paused_for(writes(session, found.spec)) {
        return Done { slot: found.slot, ..Done::at_once(Outcome::Postpone { time }) };
    }
    count(session, context);
    session.client.last_command.set(found.spec.name);
    if session.queue.is_some() && !found.spec.runs_inside_multi() {
        return enqueue(session, context, found, words, out);
    }
    let reply = Encoder::new(out, session.client.protocol.get());
    let engine = context.engine();
    let door = Door::Engine(&engine);
    let (after, outcome) = run(found, words, session, context, reply, door, None);
    session.last_seq = session.last_seq.max(after);
    Done { after, slot: found.slot, mute: false, outcome }
}

fn count(session: &Session, context: &Context) {
    super::stats_add(&context.stats.commands, 1);
    super::stats_add(&session.client.commands_ever, 1);
}

/// Whether a command changes data: by itself, or with what was queued.
fn writes(session: &Session, spec: &CommandSpec) -> bool {
    let queued = |queue: &Queue| queue.commands.iter().any(|queued| queued.found.spec.flags.has(Flag::Write));
    spec.flags.has(Flag::Write) || (spec.name == "exec" && session.queue.as_ref().is_some_and(queued))
}

/// Queues a command until EXEC.
fn enqueue(
    session: &mut Session,
    context: &Context,
    found: Found,
    words: &Words<'_>,
    out: &mut Vec<u8>,
) -> Done {
    let mut reply = Encoder::new(out, session.client.protocol.get());
    if let Some(queue) = &mut session.queue {
        queue.bytes += words.iter().map(|word| word.len() + size_of::<Vec<u8>>()).sum::<usize>();
        session.client.queued_bytes.set(queue.bytes);
        // As in Redis it counts as part of a request that is not complete.
        if queue.bytes as u64 > context.config.borrow().query_bytes_max {
            super::stats_add(&context.stats.dropped_for_input, 1);
            return Done::at_once(Outcome::Close);
        }
        let words = words.iter().map(|word| word.to_vec()).collect();
        queue.commands.push(Queued { found, words });
        session.client.queued.set(queue.commands.len() as i64);
    }
    reply.simple(b"QUEUED");
    Done::at_once(Outcome::Done)
}

/// Runs a command that passed all checks. An error replaces whatever it had written.
pub(crate) fn run(
    found: Found,
    words: &Words<'_>,
    session: &mut Session,
    context: &Context,
    reply: Encoder<'_>,
    door: Door<'_, '_>,
    before: Option<&Outside>,
) -> (Seq, Result<Outcome, Arc<str>>) {
    let start = reply.position();
    let began = context.began();
    let spec = found.spec;
    let mut call = Call { spec, words, session, context, reply, door, before, after: Seq::ZERO };
    let result = (spec.run)(&mut call);
    let failed = result.is_err();
    let outcome = match result {
        Ok(outcome) => Ok(outcome),
        Err(CommandError::Reply(text)) => {
            call.reply.truncate(start);
            call.reply.error(&text);
            context.stats.count_error(&text);
            Ok(Outcome::Done)
        }
        Err(CommandError::Fatal(why)) => {
            call.reply.truncate(start);
            Err(why)
        }
    };
    let after = call.after;
    note_time(found, words, session, context, context.end_command(began), failed);
    (after, outcome)
}

/// Counts a call, and keeps what took long.
fn note_time(
    found: Found,
    words: &Words<'_>,
    session: &Session,
    context: &Context,
    took: Duration,
    failed: bool,
) {
    context.stats.count_call(found.slot, took, failed);
    let config = context.config.borrow();
    if config.latency_tracking {
        context.stats.track(found.slot, took);
    }
    let flags = found.spec.flags;
    let event = if flags.has(Flag::Fast) { "fast-command" } else { "command" };
    context.slow_events.note(event, took, config.latency_threshold_ms);
    let slow = u64::try_from(config.slow_micros).is_ok_and(|limit| took.as_micros() >= u128::from(limit));
    if slow && !flags.has(Flag::SkipSlowlog) {
        context.slow.note(found.spec, words, &session.client, took, config.slow_entries_max);
    }
}

/// All checks that come before a command is run or queued, in Redis's order. An error that came of a look at the state
/// must not leave before `after` is visible (I1).
fn check(
    session: &Session,
    context: &Context,
    words: &Words<'_>,
    after: &mut Seq,
) -> Result<Found, CommandError> {
    let found = lookup(session, words)?;
    let rejected = |error| {
        context.stats.count_rejected(found.slot);
        Err(error)
    };
    if !found.spec.arity.allows(words.len()) {
        return rejected(wrong_arity(found.spec.name));
    }
    if !session.authenticated && !found.spec.flags.has(Flag::NoAuth) {
        return rejected(CommandError::text("NOAUTH Authentication required."));
    }
    if session.queue.is_some() && found.spec.flags.has(Flag::NoMulti) {
        return rejected(CommandError::text("ERR Command not allowed inside a transaction"));
    }
    if needs_memory(session, found.spec) && context.config.borrow().engine.max_memory_bytes > 0 {
        let ticket = context.engine().check_memory();
        if let Err(error) = ticket.result {
            *after = ticket.after;
            return rejected(error.into());
        }
    }
    Ok(found)
}

/// The command that is called: most often the same one as before.
fn lookup(session: &Session, words: &Words<'_>) -> Result<Found, CommandError> {
    if let (Some(recent), Some(name)) = (session.recent.get(), words.first())
        && name.eq_ignore_ascii_case(recent.spec.name.as_bytes())
    {
        return Ok(recent);
    }
    let found = table::lookup(words)?;
    // Which subcommand it is depends on the next word.
    session.recent.set(Some(found).filter(|found| !found.is_in_container()));
    Ok(found)
}

/// Whether a command is refused without memory: by itself, by what was queued, or because it would be queued.
fn needs_memory(session: &Session, spec: &CommandSpec) -> bool {
    const ENDS_MULTI: [&str; 4] = ["exec", "discard", "quit", "reset"];
    let Some(queue) = &session.queue else { return spec.flags.has(Flag::DenyOom) };
    if spec.name == "exec" {
        return queue.commands.iter().any(|queued| queued.found.spec.flags.has(Flag::DenyOom));
    }
    !ENDS_MULTI.contains(&spec.name)
}

fn reject(session: &Session, context: &Context, out: &mut Vec<u8>, error: &CommandError) -> Done {
    if let CommandError::Reply(text) = error {
        context.stats.count_error(text);
        Encoder::new(out, session.client.protocol.get()).error(text);
    }
    Done::at_once(Outcome::Done)
}

/// What an EXEC says that is refused itself: the transaction is over.
pub(crate) fn exec_abort(error: CommandError) -> CommandError {
    match error {
        CommandError::Reply(text) => {
            let why = text.strip_prefix(b"ERR ").unwrap_or(&text);
            CommandError::owned([b"EXECABORT Transaction discarded because of: ", why].concat())
        }
        fatal @ CommandError::Fatal(_) => fatal,
    }
}

/// `ERR wrong number of arguments for '...' command`
pub(crate) fn wrong_arity(name: &str) -> CommandError {
    CommandError::owned(format!("ERR wrong number of arguments for '{name}' command"))
}

/// `ERR unknown command '...'`, with the first of its arguments.
pub(crate) fn unknown_command(words: &Words<'_>) -> CommandError {
    let mut echoed = Vec::new();
    for word in &words[1..] {
        if echoed.len() >= ECHO_BYTES_MAX {
            break;
        }
        let room = ECHO_BYTES_MAX - echoed.len();
        echoed.push(b'\'');
        echoed.extend_from_slice(&word[..word.len().min(room)]);
        echoed.extend_from_slice(b"' ");
    }
    let name = words.first().map_or(&b""[..], |name| &name[..name.len().min(ECHO_BYTES_MAX)]);
    CommandError::owned(
        [&b"ERR unknown command '"[..], name, b"', with args beginning with: ", &echoed].concat(),
    )
}
