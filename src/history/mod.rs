//! Decides whether what is found after a crash may be there, from what clients sent and were told, and from nothing
//! else: it knows the command reference, not this engine.
//!
//! A history is recorded as it happens: [`History::call`] when something is sent, [`History::answer`] when the reply
//! has come, [`History::crash`] when the server dies, [`History::observe`] for what a key is like at a moment when
//! nobody works. [`History::check`] then looks for an order of the calls
//!
//! - in which each reply is the one that the rules of the commands give,
//! - in which no call comes before it was sent or after it was answered,
//! - in which a call that a crash left without a reply took place before the crash, once and whole, or never,
//! - and after which the keys are as they were observed.
//!
//! If there is none, the server has broken its word, and the [`Finding`] says at which point no order was left. Times
//! are what the recorder's clock said: a delivery happened between sending and answering.
//!
//! ```
//! use claimlog::EntryId;
//! use claimlog::history::{Crash, History, Op, Outcome, Rules};
//!
//! let mut history = History::new(Rules::default());
//! let add = Op::Add { key: "jobs".into(), id: None, token: "a".into(), keep: None, once: None };
//! let call = history.call("anna", add, 1_000);
//! history.answer(call, Outcome::Added(EntryId::new(1_000, 0)), 1_001);
//! history.crash(Crash::Strict, 1_002);
//! history.observe("jobs", None, 1_003);
//! let finding = history.check().unwrap_err();
//! assert!(finding.to_string().contains("the key must be there and is not"));
//! ```

mod compare;
mod model;
mod op;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use crate::id::EntryId;

pub use model::{Group, Row, Rules, Stream, Window};
pub use op::{Claim, Name, Op, Outcome, Read, Seen};

use model::Now;
use search::Search;

/// The number of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(usize);

/// A moment of a history, see [`History::synced_since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(usize);

/// What a crash may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing that was answered.
    Strict,
    /// What came last and was not synced, answered or not (`appendfsync everysec` or `no`, and a power cut).
    LosesUnsynced,
}

#[derive(Debug)]
struct Call {
    client: Name,
    op: Op,
    told: Option<Outcome>,
    when: Window,
    highest_ms: u64,
    /// Whether `when` is known, and not only between what.
    decided: bool,
    /// Whether the disk may have been full.
    full: bool,
    /// The call that stands for a reader's getting in line, answered by nobody.
    line: Option<CallId>,
}

#[derive(Debug)]
enum Event {
    Called(CallId),
    Answered(CallId),
    TookPlace(CallId),
    Dropped(CallId),
    Crashed { crash: Crash, synced: usize },
    Observed { key: Name, found: Option<Box<Stream>>, now: Now },
    Note(String),
}

/// What clients sent and were told, and what was found. See the [module](self).
#[derive(Debug)]
pub struct History {
    calls: Vec<Call>,
    events: Vec<Event>,
    open: Vec<CallId>,
    /// Everything before this event is durable whatever the mode.
    synced: usize,
    highest_ms: u64,
    full: bool,
    search: Search,
    /// What was looked at and is forgotten.
    settled: Report,
    rules: Rules,
    /// Which entry has which id, from every reply that shows it.
    ids: HashMap<Name, EntryId>,
    /// Ids that were seen without an entry, of each key.
    bare: HashMap<Name, Vec<EntryId>>,
}

/// What a check has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls so far.
    pub calls: u64,
    /// Of those that a crash left without a reply, how many took place,
    pub took_place: u64,
    /// and how many did not.
    pub did_not: u64,
    /// States looked at.
    pub steps: u64,
}

/// What can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why no order of the calls explains what was seen.
    pub why: Vec<String>,
    /// The history up to there, a line for each event.
    pub story: Vec<String>,
    /// The search was given up: there may be an order that was not found.
    pub given_up: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.story.len().saturating_sub(STORY_LINES);
        if skipped > 0 {
            writeln!(f, "  ({skipped} lines before)")?;
        }
        self.story.iter().skip(skipped).try_for_each(|line| writeln!(f, "  {line}"))?;
        let what = if self.given_up { "gave up looking for" } else { "there is no" };
        writeln!(f, "{what} order of these calls that explains it:")?;
        self.why.iter().try_for_each(|why| writeln!(f, "  - {why}"))
    }
}

impl std::error::Error for Finding {}

/// How much of a story is printed.
const STORY_LINES: usize = 80;

impl History {
    /// An empty history of a server without data.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            calls: Vec::new(),
            events: Vec::new(),
            open: Vec::new(),
            synced: 0,
            highest_ms: 0,
            full: false,
            search: Search::default(),
            settled: Report::default(),
            rules,
            ids: HashMap::new(),
            bare: HashMap::new(),
        }
    }

    /// A client sends something. The calls of one client that have no reply yet take place in their order.
    pub fn call(&mut self, client: &str, op: Op, now_ms: u64) -> CallId {
        // A reader that waits makes its consumer when it gets in line, and may be served, or lost, much later.
        // This stands for that, any number of times.
        let line = match &op {
            Op::Read(read) if read.waits => Some(self.record(
                "",
                Op::CreateConsumer {
                    key: read.key.clone(),
                    group: read.group.clone(),
                    consumer: read.consumer.clone(),
                },
                None,
                now_ms,
            )),
            _ => None,
        };
        self.record(client, op, line, now_ms)
    }

    fn record(&mut self, client: &str, op: Op, line: Option<CallId>, now_ms: u64) -> CallId {
        self.clock(now_ms);
        let id = CallId(self.calls.len());
        let (when, highest_ms) = (Window::exactly(now_ms), self.highest_ms);
        self.calls.push(Call {
            client: client.into(),
            op,
            told: None,
            when,
            highest_ms,
            decided: false,
            full: self.full,
            line,
        });
        self.events.push(Event::Called(id));
        self.open.push(id);
        id
    }

    /// The reply has come.
    pub fn answer(&mut self, call: CallId, told: Outcome, now_ms: u64) {
        self.clock(now_ms);
        learn(&mut self.ids, &self.calls[call.0].op, &told);
        let line = self.calls[call.0].line;
        self.calls[call.0].told = Some(told);
        self.open.retain(|other| *other != call && Some(*other) != line);
        self.events.push(Event::Answered(call));
    }

    /// The call has taken place by now, for a recorder that knows it. Where a crash may take back what was answered
    /// ([`Crash::LosesUnsynced`]) the order of calls that have nothing to do with each other counts too, and there are
    /// too many to try them all: there this should be said of each.
    pub fn took_place(&mut self, call: CallId) {
        self.events.push(Event::TookPlace(call));
    }

    /// As [`History::took_place`], for a read that is in line now, whether it is served later or not.
    pub fn in_line(&mut self, call: CallId) {
        if let Some(line) = self.calls[call.0].line {
            self.events.push(Event::TookPlace(line));
        }
    }

    /// The client has gone away and will get no reply: the call has taken place by now, or never will.
    pub fn drop_call(&mut self, call: CallId, now_ms: u64) {
        self.clock(now_ms);
        let line = self.calls[call.0].line;
        self.open.retain(|other| *other != call && Some(*other) != line);
        self.events.push(Event::Dropped(call));
    }

    /// The time is this. Only needs to be said if the clock jumps while calls are under way.
    pub fn clock(&mut self, now_ms: u64) {
        self.highest_ms = self.highest_ms.max(now_ms);
        for id in &self.open {
            let call = &mut self.calls[id.0];
            if call.decided {
                continue;
            }
            call.when.earliest_ms = call.when.earliest_ms.min(now_ms);
            call.when.latest_ms = call.when.latest_ms.max(now_ms);
            call.highest_ms = self.highest_ms;
        }
    }

    /// The call was decided at this time, for a recorder that knows it better than from sending and answering.
    pub fn decided(&mut self, call: CallId, now_ms: u64) {
        self.clock(now_ms);
        let call = &mut self.calls[call.0];
        (call.when, call.highest_ms, call.decided) = (Window::exactly(now_ms), self.highest_ms, true);
    }

    /// Whether the disk may be full from now on. Then not even the end of a key may fit the log, and keys outlive their
    /// time.
    pub fn full(&mut self, full: bool) {
        self.full = full;
        for id in &self.open {
            self.calls[id.0].full |= full;
        }
    }

    /// This very moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.events.len())
    }

    /// Whatever was answered before that moment is on disk, in any mode.
    pub fn synced_since(&mut self, moment: Moment) {
        self.synced = self.synced.max(moment.0);
    }

    /// The server is gone; so is every call that has no reply yet. What is there when it has started again is on disk.
    pub fn crash(&mut self, crash: Crash, now_ms: u64) {
        self.clock(now_ms);
        self.open.clear();
        self.events.push(Event::Crashed { crash, synced: self.synced });
        self.synced = self.events.len();
    }

    /// Something that happened, for the story.
    pub fn note(&mut self, what: impl Into<String>) {
        self.events.push(Event::Note(what.into()));
    }

    /// A key is like this, at a moment when no call is under way. `None`: there is no such key.
    pub fn observe(&mut self, key: &str, found: Option<Stream>, now_ms: u64) {
        self.clock(now_ms);
        let key: Name = key.into();
        if let Some(stream) = &found {
            self.ids.extend(stream.entries.iter().map(|(id, token)| (token.clone(), *id)));
            let bare = self.bare.entry(key.clone()).or_default();
            bare.extend([stream.last_id, stream.max_deleted_id]);
            for group in stream.groups.values() {
                bare.push(group.last_id);
                bare.extend(group.pending.keys().filter(|id| !stream.entries.contains_key(*id)));
            }
            bare.sort_unstable();
            bare.dedup();
        }
        let now = Now { when: Window::exactly(now_ms), highest_ms: self.highest_ms, full: self.full };
        self.events.push(Event::Observed { key, found: found.map(Box::new), now });
    }

    /// Looks for an order of the calls. May be asked again and again as the history goes on; what was found before is
    /// built upon. Calls under way count as lost.
    ///
    /// # Errors
    /// What can't be.
    pub fn check(&mut self) -> Result<Report, Finding> {
        let mut search = std::mem::take(&mut self.search);
        let outcome = search.run(self);
        self.search = search;
        outcome.map(|()| self.report())
    }

    /// What has been looked at so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let open = |at: usize| self.open.contains(&CallId(at));
        let ended =
            |(at, call): &(usize, &Call)| call.told.is_none() && !call.client.is_empty() && !open(*at);
        let lost = self.calls.iter().enumerate().filter(ended).count() as u64;
        let took_place = self.search.took_place(self);
        let calls = self.calls.iter().filter(|call| !call.client.is_empty()).count() as u64;
        Report {
            calls: self.settled.calls + calls,
            took_place: self.settled.took_place + took_place,
            did_not: self.settled.did_not + lost.saturating_sub(took_place),
            steps: self.search.steps,
        }
    }

    /// After a check that found nothing wrong, and when no call is under way: the order that was found is not doubted any
    /// more, and what came before is forgotten but for the last lines of the story. Only right if all that matters was
    /// observed since: the order of releases and what is remembered of producers can't be.
    pub fn settle(&mut self) {
        if !self.open.is_empty() {
            return;
        }
        let report = self.report();
        let mut search = std::mem::take(&mut self.search);
        let story = self.story();
        let from = story.len().saturating_sub(STORY_LINES);
        self.events = story.into_iter().skip(from).map(Event::Note).collect();
        search.settle(self.events.len());
        self.search = search;
        self.synced = self.events.len();
        self.settled = report;
        self.calls.clear();
        self.ids.clear();
        self.bare.clear();
    }

    /// The history so far, a line for each event.
    #[must_use]
    pub fn story(&self) -> Vec<String> {
        self.story_until(self.events.len())
    }

    fn story_until(&self, events: usize) -> Vec<String> {
        self.events.iter().take(events).filter_map(|event| self.line(event)).collect()
    }

    fn line(&self, event: &Event) -> Option<String> {
        let mut line = String::new();
        let _ = match event {
            Event::Called(id) => {
                let Call { client, op, when, .. } = &self.calls[id.0];
                if client.is_empty() {
                    return None;
                }
                write!(line, "{client} sends #{}: {op}   (at {})", id.0, when.earliest_ms)
            }
            Event::Answered(id) => {
                let Call { client, told, .. } = &self.calls[id.0];
                let told = told.as_ref().map(ToString::to_string).unwrap_or_default();
                write!(line, "{client} is told #{}: {told}", id.0)
            }
            Event::TookPlace(_) => return None,
            Event::Dropped(id) => {
                write!(line, "{} goes away and hears no more of #{}", self.calls[id.0].client, id.0)
            }
            Event::Crashed { crash: Crash::Strict, .. } => write!(line, "CRASH"),
            Event::Crashed { .. } => write!(line, "CRASH that may take what was not synced"),
            Event::Observed { key, found: None, now } => {
                write!(line, "found at {:?}: {key} is not there", now.when)
            }
            Event::Observed { key, found: Some(stream), now } => write!(
                line,
                "found at {:?}: {key} with {} entries, last id {}, {} groups",
                now.when,
                stream.entries.len(),
                stream.last_id,
                stream.groups.len()
            ),
            Event::Note(what) => write!(line, "{what}"),
        };
        Some(line)
    }
}

/// Takes from a reply which entry has which id.
fn learn(ids: &mut HashMap<Name, EntryId>, op: &Op, told: &Outcome) {
    match (op, told) {
        (Op::Add { token, once: None, .. }, Outcome::Added(id)) => {
            ids.insert(token.clone(), *id);
        }
        (_, Outcome::Entries(entries)) => {
            ids.extend(entries.iter().filter_map(|seen| Some((seen.token.clone()?, seen.id))));
        }
        (Op::Transaction(steps), Outcome::All(all)) => {
            steps.iter().zip(all).for_each(|(step, told)| learn(ids, step, told));
        }
        _ => {}
    }
}
