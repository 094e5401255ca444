//! Sessions on an engine in simulation, treated as the server treats its connections, and what must always hold.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use claimlog::engine::{Engine, Options, ReadOrWait, Settings, Ticket, Waiting};
use claimlog::io::Clock;
use claimlog::io::sim::{SimClock, SimDisk};
use claimlog::op::{DbIndex, DbSize, StreamRead};
use claimlog::resp::{Encoder, Protocol};
use claimlog::snapshot::memory_store::MemoryPlace;
use claimlog::{Error, Seq};

use super::super::spec::{CommandSpec, Flag};
use super::super::table;
use super::super::{Client, Context, Outcome, Reading, RecoverySummary, Session, dispatch};
use super::script::{SESSIONS, Step, TIMES};
use super::wire::{Value, one_value, shown};
use crate::config::{Config, DebugCommand};

/// What a run begins at (Unix ms): the numbers in `script` are near it.
const BEGIN_MS: u64 = 1_700_000_000_000;
const SEGMENT_BYTES: u64 = 64 * 1024;
/// The milliseconds that pass in a step.
const TIME_MS: [u64; TIMES as usize] =
    [1, 0, 10, 100, 1000, 10_000, 60_000, 3_600_000, 100 * 86_400_000, 3 * 365 * 86_400_000];
const SET_BACK_MS: u64 = 90_000;

/// What others have something to work on with.
const PRELUDE: &[&str] = &[
    "XADD s 1-1 f v",
    "XADD s 1-2 f v g w",
    "XADD s 2-0 f v",
    "XADD s 3-0 g v",
    "XGROUP CREATE s g 0",
    "XGROUP CREATE s h 1-1 ENTRIESREAD 1",
    "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
    "XREADGROUP GROUP g d COUNT 1 STREAMS s >",
    "XDEL s 1-2",
    "XADD t 5 f v",
    "XGROUP CREATE t g $ MKSTREAM",
    "XADD {a}s * f v",
    "PEXPIRE {a}s 1000",
];

/// A session, and what it waits for.
struct Peer {
    session: Session,
    blocked: Option<Blocked>,
    /// Whether the reply of its last command is not wanted.
    mute: bool,
}

struct Blocked {
    /// By the monotonic clock.
    until: Option<Duration>,
    then: Then,
}

enum Then {
    Read(fn(&mut Encoder<'_>, &[StreamRead])),
    Answer(fn(&mut Encoder<'_>)),
}

/// The reply that was wrong, or whatever else it was.
type Verdict<T> = Result<T, String>;

pub(super) struct World {
    disk: SimDisk,
    clock: SimClock,
    places: [MemoryPlace; 2],
    full: bool,
    context: Context,
    peers: Vec<Peer>,
    /// Everything done so far, as a script.
    told: Vec<Step>,
}

impl World {
    pub(super) fn new() -> Self {
        let disk = SimDisk::new(1);
        let clock = SimClock::new(BEGIN_MS);
        let places = [MemoryPlace::new("a"), MemoryPlace::new("b")];
        let config = Config { debug_command: DebugCommand::Everybody, slow_micros: 0, ..Config::default() };
        let (engine, _) = open(&disk, &clock, &places, config.engine);
        let context = Context::new(engine, config, RecoverySummary::default());
        let mut world =
            Self { disk, clock, places, full: false, context, peers: Vec::new(), told: Vec::new() };
        for place in 0..SESSIONS {
            let peer = world.connect(place);
            world.peers.push(peer);
        }
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        self.told.push(step.clone());
        let result = match step {
            Step::Send(place, words) => self.send(*place, words),
            Step::Prelude(place) => PRELUDE.iter().try_for_each(|line| {
                let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
                self.send(*place, &words)
            }),
            Step::Advance(time) => {
                self.clock.advance(Duration::from_millis(TIME_MS[usize::from(*time)]));
                self.settle();
                self.poll(false)
            }
            Step::SetBack => {
                self.clock.set_wall_ms(self.clock.wall_ms().saturating_sub(SET_BACK_MS));
                Ok(())
            }
            Step::TimeOut => self.poll(true),
            Step::Commit => self.commit(),
            Step::Snapshot => {
                self.context.engine().snapshot().expect("a snapshot was not taken");
                Ok(())
            }
            Step::Reopen => self.reopen(),
            Step::Reconnect(place) => {
                self.reconnect(*place);
                Ok(())
            }
            Step::FullDisk => {
                self.full = !self.full;
                let capacity = self.full.then(|| self.disk.used());
                self.disk.set_capacity(capacity);
                Ok(())
            }
        };
        if let Err(why) = result.and_then(|()| self.after_step()) {
            panic!("{why}");
        }
    }

    /// Who is at that place.
    #[cfg(test)]
    pub(super) fn client_id(&self, place: usize) -> u64 {
        self.peers[place].session.client.id
    }

    /// What was done is still there in the end.
    pub(super) fn end(mut self) {
        self.step(&Step::Reopen);
        self.step(&Step::TimeOut);
    }

    /// What holds between steps.
    fn after_step(&mut self) -> Verdict<()> {
        for place in 0..SESSIONS {
            if self.peers[place].session.client.killed.get() {
                self.reconnect(place);
            }
        }
        self.poll(false)?;
        let engine = self.context.engine();
        engine.check()?;
        let waiting = |peer: &&Peer| peer.session.client.reading.borrow().is_some();
        let waiters = self.peers.iter().filter(waiting).count() as u64;
        if engine.stats().waiters != waiters {
            return Err(format!("{waiters} wait, the engine says {}", engine.stats().waiters));
        }
        for peer in &self.peers {
            let queued = peer.session.queue.as_ref().map_or(-1, |queue| queue.commands.len() as i64);
            if peer.session.client.queued.get() != queued {
                return Err(format!("{} are said to be queued", peer.session.client.queued.get()));
            }
        }
        Ok(())
    }

    /// A session sends a command; if it waits, the next one that does not.
    fn send(&mut self, place: usize, words: &[Bytes]) -> Verdict<()> {
        let free = (0..SESSIONS).map(|more| (place + more) % SESSIONS);
        let Some(place) = free.into_iter().find(|place| self.peers[*place].blocked.is_none()) else {
            return self.poll(true);
        };
        self.settle();
        let slices: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let words = &slices[..];
        let before = self.context.engine().digest();
        self.context.begin_pass();
        let spec = table::lookup(words).ok().map(|found| found.spec);
        if let Some(positions) = spec.and_then(|spec| spec.key_positions(words))
            && positions.iter().any(|(position, _)| *position >= words.len())
        {
            return Err("a key beyond the words".into());
        }
        let session = &mut self.peers[place].session;
        let was = Was::of(session, spec);
        let mut out = Vec::new();
        let mut done = dispatch(session, &self.context, words, &mut out);
        if matches!(done.outcome, Ok(Outcome::Postpone { .. })) {
            self.context.set_pause(None);
            done = dispatch(session, &self.context, words, &mut out);
        }
        self.peers[place].mute = done.mute;
        let protocol = self.peers[place].session.client.protocol.get();
        let said = match (&done.outcome, done.mute) {
            (Err(why), _) => return Err(format!("the engine has failed: {why}")),
            (Ok(Outcome::Postpone { .. }), _) => return Err("a pause goes on".into()),
            _ if out.is_empty() => None,
            (_, true) => return Err("a reply that is not wanted".into()),
            (_, false) => {
                let protocol = Some(protocol).filter(|_| !was.mixes);
                Some(one_value(&out, protocol).map_err(|why| format!("{why}: {}", shown(&out)))?)
            }
        };
        let waits = !matches!(done.outcome, Ok(Outcome::Done | Outcome::Close));
        let silent = done.mute || waits || was.may_say_nothing(words);
        if said.is_none() && !silent {
            return Err("no reply".into());
        }
        if said.is_some() && waits {
            return Err("a reply, and another one to come".into());
        }
        let engine = self.context.engine();
        if done.after.get() > engine.stats().applied {
            return Err("a reply that waits for what never was".into());
        }
        if engine.digest() != before && !was.may_have_changed(said) {
            return Err("it has changed the data".into());
        }
        drop(engine);
        if let Some(queued) = was.executes
            && let Some(Value { kind: b'*', elements: Some(elements) }) = said
            && elements != queued
        {
            return Err(format!("{elements} replies to {queued} commands"));
        }
        if done.after > self.context.engine().visible() {
            self.commit()?;
        }
        self.go_on(place, done.outcome.expect("seen above"))
    }

    /// Does what is left to do after a command.
    fn go_on(&mut self, place: usize, outcome: Outcome) -> Verdict<()> {
        let now = self.clock.monotonic();
        let until = |time: Option<Duration>| time.map(|time| now.saturating_add(time));
        let peer = &mut self.peers[place];
        match outcome {
            Outcome::Done | Outcome::Postpone { .. } => {}
            Outcome::Park { waiting, timeout, encode } => {
                peer.session.client.reading.replace(Some(Reading::Waiting(waiting)));
                peer.block(until(timeout), Then::Read(encode));
            }
            Outcome::Pause { time, encode } => peer.block(until(time), Then::Answer(encode)),
            Outcome::Close => self.reconnect(place),
            Outcome::Reload { snapshot } => {
                if snapshot {
                    self.context.engine().snapshot().expect("a snapshot was not taken");
                }
                self.reopen()?;
                self.peers[place].reply(|reply| reply.simple(b"OK"))?;
            }
            Outcome::Shutdown => {
                (0..SESSIONS).for_each(|place| self.reconnect(place));
                self.reopen()?;
            }
        }
        Ok(())
    }

    /// Answers those whose data have come, or whose time is over.
    fn poll(&mut self, all: bool) -> Verdict<()> {
        let now = self.clock.monotonic();
        let mut task = TaskContext::from_waker(Waker::noop());
        for peer in &mut self.peers {
            let Some(blocked) = peer.blocked.take() else { continue };
            let client = Rc::clone(&peer.session.client);
            let unblock = client.unblock.take();
            if let Then::Read(encode) = blocked.then
                && let Poll::Ready(ticket) = client.poll_reading(&mut task)
            {
                peer.finish(Ok(ticket), encode)?;
                continue;
            }
            if !all && unblock.is_none() && blocked.until.is_none_or(|until| until > now) {
                peer.blocked = Some(blocked);
                continue;
            }
            client.blocked.set(false);
            let unblocked = |reply: &mut Encoder<'_>| reply.error(b"UNBLOCKED client unblocked");
            match blocked.then {
                Then::Answer(_) if unblock == Some(true) => peer.reply(unblocked)?,
                Then::Answer(encode) => peer.reply(encode)?,
                Then::Read(encode) => match client.stop_reading() {
                    None => return Err("it waits for nothing".into()),
                    Some(Err(_)) if unblock == Some(true) => peer.reply(unblocked)?,
                    Some(served) => peer.finish(served, encode)?,
                },
            }
        }
        Ok(())
    }

    /// All that happens because of the time happens now, and not in the midst of the next command.
    fn settle(&self) {
        let engine = self.context.engine();
        engine.tick().expect("a tick failed");
        let asked = engine.submit(&DbSize { db: DbIndex::default() });
        asked.result.expect("the number of keys");
    }

    fn commit(&self) -> Verdict<()> {
        self.settle();
        let engine = self.context.engine();
        let visible = engine.commit().map_err(|error| error.to_string())?;
        if visible.get() == engine.stats().applied { Ok(()) } else { Err("a commit of less than all".into()) }
    }

    /// The engine is closed and opened again, as by DEBUG RELOAD in the server.
    fn reopen(&mut self) -> Verdict<()> {
        self.full = false;
        self.disk.set_capacity(None);
        self.settle();
        self.poll(false)?;
        let old = self.context.engine().clone();
        let before = old.digest();
        let mut waiting = Vec::new();
        for peer in &self.peers {
            match peer.session.client.reading.take() {
                Some(Reading::Waiting(one)) => waiting.push((Rc::clone(&peer.session.client), one)),
                other => drop(peer.session.client.reading.replace(other)),
            }
        }
        waiting.sort_by_key(|(_, waiting)| waiting.place());
        let settings = old.settings();
        old.close().map_err(|error| format!("it can't be closed: {error}"))?;
        let (new, recovery) = open(&self.disk, &self.clock, &self.places, settings);
        if new.digest() != before {
            return Err("other data after opening them again".into());
        }
        self.context.set_engine(new.clone(), recovery);
        for peer in &self.peers {
            let mut watch = peer.session.client.watch.borrow_mut();
            if let Some(before) = watch.take() {
                *watch = Some(new.watch_again(&before));
            }
        }
        for (client, waiting) in waiting {
            client.reading.replace(Some(wait_on(&new, waiting)));
        }
        Ok(())
    }

    fn connect(&self, place: usize) -> Peer {
        let id = self.context.next_client_id();
        let address = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let client = Rc::new(Client::new(id, 7, address(1), address(6379)));
        // Half of them speak RESP3, half of them look at another database.
        if place % 2 == 1 {
            client.protocol.set(Protocol::Resp3);
        }
        if place == SESSIONS - 1 {
            client.db.set(DbIndex::new(1).expect("the second database"));
        }
        self.context.clients.borrow_mut().insert(id, Rc::clone(&client));
        let no_password = self.context.config.borrow().password.is_none();
        Peer { session: Session::new(client, no_password), blocked: None, mute: false }
    }

    /// A client goes, another one comes.
    fn reconnect(&mut self, place: usize) {
        let client = Rc::clone(&self.peers[place].session.client);
        self.context.clients.borrow_mut().remove(&client.id);
        client.reading.take();
        client.watch.take();
        self.peers[place] = self.connect(place);
    }
}

/// Says what led to a failure, as a script that does it again.
impl Drop for World {
    #[expect(clippy::print_stderr, reason = "it is for whoever reads why a test failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let script: String = self.told.iter().map(Step::text).collect();
            eprintln!("after this script:\n{script}");
        }
    }
}

impl Peer {
    fn block(&mut self, until: Option<Duration>, then: Then) {
        self.session.client.unblock.set(None);
        self.session.client.blocked.set(true);
        self.blocked = Some(Blocked { until, then });
    }

    /// A reply that comes later: one value too.
    fn reply(&self, encode: impl FnOnce(&mut Encoder<'_>)) -> Verdict<()> {
        let protocol = self.session.client.protocol.get();
        let mut out = Vec::new();
        encode(&mut Encoder::new(&mut out, protocol));
        one_value(&out, Some(protocol)).map(drop).map_err(|why| format!("{why}, later: {}", shown(&out)))
    }

    fn finish(
        &self,
        served: Result<Ticket<Vec<StreamRead>>, Seq>,
        encode: fn(&mut Encoder<'_>, &[StreamRead]),
    ) -> Verdict<()> {
        self.session.client.blocked.set(false);
        match served {
            Err(_) => self.reply(|reply| encode(reply, &[])),
            Ok(Ticket { result: Ok(streams), .. }) => self.reply(|reply| encode(reply, &streams)),
            Ok(Ticket { result: Err(Error::Refused(refusal)), .. }) => {
                self.reply(|reply| reply.error(&refusal.wire()))
            }
            Ok(Ticket { result: Err(error), .. }) => Err(format!("a reader was told: {error}")),
        }
    }
}

/// What was known of a command before it was carried out.
struct Was {
    name: &'static str,
    /// Whether it may change data, by itself or with what was queued.
    writes: bool,
    /// EXEC: of so many commands.
    executes: Option<usize>,
    /// Its reply may be of both protocols: EXEC, with HELLO.
    mixes: bool,
}

impl Was {
    fn of(session: &Session, spec: Option<&'static CommandSpec>) -> Self {
        let name = spec.map_or("", |spec| spec.name);
        let queue = session.queue.as_ref().filter(|_| name == "exec");
        let any = |wanted: fn(&CommandSpec) -> bool| {
            queue.is_some_and(|queue| queue.commands.iter().any(|queued| wanted(queued.found.spec)))
        };
        let queues = session.queue.is_some() && spec.is_some_and(|spec| !spec.runs_inside_multi());
        let own = spec.is_some_and(|spec| spec.flags.has(Flag::Write)) && !queues;
        Self {
            name,
            writes: own || any(|spec| spec.flags.has(Flag::Write)),
            executes: queue.map(|queue| queue.commands.len()),
            mixes: any(|spec| spec.name == "hello"),
        }
    }

    /// No reply is right: it is what was asked for, or what is not answered at all.
    fn may_say_nothing(&self, words: &[&[u8]]) -> bool {
        let skips =
            self.name == "client|reply" && words.get(2).is_some_and(|mode| !mode.eq_ignore_ascii_case(b"on"));
        let name = words[0].to_ascii_lowercase();
        skips || name == b"post" || name == b"host:"
    }

    /// What does not write changes nothing, and neither does what is refused.
    fn may_have_changed(&self, said: Option<Value>) -> bool {
        self.writes && said.is_none_or(|value| value.kind != b'-')
    }
}

fn open(
    disk: &SimDisk,
    clock: &SimClock,
    places: &[MemoryPlace],
    settings: Settings,
) -> (Engine, RecoverySummary) {
    let options = Options::simulated(disk.dir(), Arc::new(clock.clone()))
        .segment_bytes(SEGMENT_BYTES)
        .new_store_id(|| [7; 16])
        .settings(settings);
    let options =
        places.iter().fold(options, |options, place| options.snapshot_place(Arc::new(place.clone())));
    let (engine, report) = options.open().expect("the data can't be opened");
    let summary = RecoverySummary { text: report.to_string(), millis: 0, keys: report.keys };
    (engine, summary)
}

/// Has a reader get in line again, unless it was served before.
fn wait_on(engine: &Engine, waiting: Waiting) -> Reading {
    let read = waiting.read().clone();
    match waiting.give_up() {
        Ok(ticket) if !matches!(ticket.result, Err(Error::Closed)) => Reading::Answered(ticket),
        Ok(_) | Err(_) => match engine.read_or_wait(read) {
            ReadOrWait::Now(ticket) => Reading::Answered(ticket),
            ReadOrWait::Waiting(waiting) => Reading::Waiting(waiting),
        },
    }
}
