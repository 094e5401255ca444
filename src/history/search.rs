//! The search for an order of the calls: depth first, each call as late as possible.
//!
//! A call takes effect just before the reply, the crash or the observation that can't be explained without it; that
//! finds an order whenever there is one, and as replies say much, it seldom turns back. Frames of the search are kept
//! from one check to the next, so that a long history is not searched anew.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::model::{Ids, Now, State};
use super::op::Name;
use super::{Call, CallId, Crash, Event, Finding, History};
use crate::id::EntryId;

/// How many states are looked at beyond the furthest point that was reached, before the search is given up.
const STEPS_MAX: u64 = 300_000;

/// A point of the search: before an event, with these calls under way.
#[derive(Clone, Debug)]
struct Frame {
    event: usize,
    state: State,
    /// Sent and not done.
    open: Vec<CallId>,
    /// Done and not answered.
    done: Vec<CallId>,
    /// The call that was done to come here.
    did: Option<CallId>,
    /// Ways to go on that were not tried, the next one last.
    ways: Vec<Way>,
}

#[derive(Clone, Debug)]
enum Way {
    /// Past the event.
    On,
    /// This call takes place now,
    Do(CallId),
    /// and this is what comes of it.
    Done(CallId, State),
    /// The event is past, and this is the state.
    Past(State),
    /// A crash takes everything after that frame.
    Back(usize),
}

#[derive(Debug, Default)]
pub(super) struct Search {
    frames: Vec<Frame>,
    pub(super) steps: u64,
    /// States that led nowhere.
    dead: HashSet<u64>,
    /// What may come depends on the way that led to a state: a crash may go back on it, and take what took place.
    goes_back: bool,
    furthest: usize,
    why: Vec<String>,
    /// Not all that may have come of a call was tried.
    cut_short: bool,
}

struct Seen<'a>(&'a History);

impl Ids for Seen<'_> {
    fn seen(&self, token: &Name) -> Option<EntryId> {
        self.0.ids.get(token).copied()
    }

    fn bare(&self, key: &Name, above: EntryId) -> Vec<EntryId> {
        let bare = self.0.bare.get(key).map(Vec::as_slice).unwrap_or_default();
        bare.iter().copied().filter(|id| *id > above).collect()
    }
}

impl Search {
    pub(super) fn run(&mut self, history: &History) -> Result<(), Finding> {
        // What led nowhere may lead somewhere now that more is known.
        self.dead.clear();
        self.why.clear();
        let back = |event: &Event| {
            matches!(event, Event::Crashed { crash: Crash::LosesUnsynced, .. } | Event::TookPlace(_))
        };
        self.goes_back = history.events.iter().any(back);
        self.furthest = self.frames.last().map_or(0, |frame| frame.event);
        let mut patience = STEPS_MAX;
        if self.frames.is_empty() {
            self.enter(history, 0, State::default(), Vec::new(), Vec::new());
        } else if let Some(last) = self.frames.last_mut() {
            // It stood before an event that did not exist yet.
            last.ways = ways(history, self.goes_back, last.event, &last.open, &last.done);
        }
        while let Some(frame) = self.frames.last() {
            if frame.event == history.events.len() {
                return Ok(());
            }
            if frame.event > self.furthest {
                self.furthest = frame.event;
                self.why.clear();
                patience = STEPS_MAX;
            }
            if patience == 0 {
                return Err(self.finding(history, true));
            }
            patience -= 1;
            self.steps += 1;
            self.step(history);
        }
        Err(self.finding(history, self.cut_short))
    }

    fn finding(&self, history: &History, given_up: bool) -> Finding {
        Finding { why: self.why.clone(), story: history.story_until(self.furthest + 1), given_up }
    }

    /// How many of the calls that a crash left without a reply took place in the order that was found.
    pub(super) fn took_place(&self, history: &History) -> u64 {
        let done: BTreeSet<CallId> =
            self.frames.iter().flat_map(|frame| frame.done.iter().copied()).collect();
        let lost = |id: &&CallId| {
            let call = &history.calls[id.0];
            call.told.is_none() && !call.client.is_empty()
        };
        done.iter().filter(lost).count() as u64
    }

    /// Keeps the last state only, which is that before this event.
    pub(super) fn settle(&mut self, event: usize) {
        if let Some(mut last) = self.frames.pop() {
            (last.event, last.did) = (event, None);
            (last.open, last.done) = (Vec::new(), Vec::new());
            self.frames = vec![last];
        }
    }

    /// Tries the next way from the last frame, or gives it up.
    fn step(&mut self, history: &History) {
        let Some(frame) = self.frames.last_mut() else { return };
        let Some(way) = frame.ways.pop() else {
            if !self.goes_back {
                let print = fingerprint(frame);
                self.dead.insert(print);
            }
            self.frames.pop();
            return;
        };
        let event = frame.event;
        match way {
            Way::Do(id) => {
                let call = &history.calls[id.0];
                let now = Now { when: call.when, highest_ms: call.highest_ms, full: call.full };
                let told = call.told.as_ref();
                let (after, more) = frame.state.after(&call.op, told, now, &Seen(history), history.rules);
                self.cut_short |= more;
                match after {
                    Ok(states) => {
                        // What changes nothing and was told to nobody need not have happened, unless it stands before
                        // another call of its client.
                        let known = matches!(history.events[event], Event::TookPlace(other) if other == id);
                        let before =
                            |other: &CallId| *other > id && history.calls[other.0].client == call.client;
                        let stands_before = !call.client.is_empty() && frame.open.iter().any(before);
                        let needed = told.is_some() || known || stands_before;
                        let idle = |state: &State| !needed && *state == frame.state;
                        let done = states.into_iter().filter(|state| !idle(state));
                        let done: Vec<Way> = done.map(|state| Way::Done(id, state)).collect();
                        frame.ways.extend(done.into_iter().rev());
                    }
                    Err(instead) => {
                        let why = refuted(call, id, &instead);
                        self.note(event, why);
                    }
                }
            }
            Way::Done(id, state) => {
                // A reader in line makes its consumer each time it is looked whether there is something for it.
                let again = history.calls[id.0].client.is_empty();
                let open = frame.open.iter().copied().filter(|other| again || *other != id).collect();
                let done = frame.done.iter().copied().filter(|other| *other != id).chain([id]).collect();
                self.enter(history, event, state, open, done);
            }
            Way::On => match &history.events[event] {
                Event::Called(id) => {
                    let open = frame.open.iter().copied().chain([*id]).collect();
                    let (state, done) = (frame.state.clone(), frame.done.clone());
                    self.enter(history, event + 1, state, open, done);
                }
                Event::Answered(id) => {
                    // Whoever waited in line has been served, and need not get in line any more.
                    let line = history.calls[id.0].line;
                    let rest = |ids: &[CallId]| -> Vec<CallId> {
                        ids.iter().copied().filter(|other| other != id && Some(*other) != line).collect()
                    };
                    let (open, done) = (rest(&frame.open), rest(&frame.done));
                    let state = frame.state.clone();
                    self.enter(history, event + 1, state, open, done);
                }
                Event::Dropped(id) => {
                    let line = history.calls[id.0].line;
                    let open = frame.open.iter().copied();
                    let open = open.filter(|other| other != id && Some(*other) != line).collect();
                    let (state, done) = (frame.state.clone(), frame.done.clone());
                    self.enter(history, event + 1, state, open, done);
                }
                Event::Crashed { crash, synced } => {
                    let state = frame.state.clone();
                    if self.goes_back {
                        let before = self.frames.len() - 1;
                        // The last moment that it can't go behind.
                        let kept = |frame: &Frame| match crash {
                            Crash::LosesUnsynced => frame.event < *synced,
                            Crash::Strict => frame.did.is_some_and(|id| history.calls[id.0].told.is_some()),
                        };
                        let floor = self.frames[..=before].iter().rposition(kept);
                        let from = match (crash, floor) {
                            (_, None) => 0,
                            (Crash::LosesUnsynced, Some(floor)) => floor + 1,
                            (Crash::Strict, Some(floor)) => floor,
                        };
                        let ways = (from..before).map(Way::Back);
                        if let Some(frame) = self.frames.last_mut() {
                            frame.ways.extend(ways);
                        }
                    }
                    self.enter(history, event + 1, state, Vec::new(), Vec::new());
                }
                Event::Observed { key, found, now } => match frame.state.seen(key, found.as_deref(), *now) {
                    Ok(states) => frame.ways.extend(states.into_iter().rev().map(Way::Past)),
                    Err(why) => self.note(event, why),
                },
                Event::Note(_) | Event::TookPlace(_) => {
                    let Frame { state, open, done, .. } = frame.clone();
                    self.enter(history, event + 1, state, open, done);
                }
            },
            Way::Past(state) => {
                let (open, done) = (frame.open.clone(), frame.done.clone());
                self.enter(history, event + 1, state, open, done);
            }
            Way::Back(to) => {
                let state = self.frames[to].state.clone();
                self.enter(history, event + 1, state, Vec::new(), Vec::new());
            }
        }
    }

    fn enter(&mut self, history: &History, event: usize, state: State, open: Vec<CallId>, done: Vec<CallId>) {
        let ways = ways(history, self.goes_back, event, &open, &done);
        let did =
            done.last().copied().filter(|id| self.frames.last().is_some_and(|last| !last.done.contains(id)));
        let frame = Frame { event, state, open, done, did, ways };
        if self.dead.is_empty() || !self.dead.contains(&fingerprint(&frame)) {
            self.frames.push(frame);
        }
    }

    fn note(&mut self, event: usize, why: String) {
        if event == self.furthest && self.why.len() < 12 && !self.why.contains(&why) {
            self.why.push(why);
        }
    }
}

fn refuted(call: &Call, id: CallId, instead: &[super::Outcome]) -> String {
    let told = call.told.as_ref().map(ToString::to_string).unwrap_or_default();
    let must: Vec<String> = instead.iter().map(ToString::to_string).collect();
    let must = if must.is_empty() { "could not have happened".into() } else { must.join(", or ") };
    format!("{} (#{}: {}) was told {told}; must be {must}", call.client, id.0, call.op)
}

/// Two points with the same future.
fn fingerprint(frame: &Frame) -> u64 {
    let mut hasher = DefaultHasher::new();
    let sorted = |ids: &[CallId]| ids.iter().copied().collect::<BTreeSet<_>>();
    (frame.event, sorted(&frame.open), sorted(&frame.done), &frame.state).hash(&mut hasher);
    hasher.finish()
}

/// The ways to go on before an event, the best one last.
fn ways(history: &History, goes_back: bool, event: usize, open: &[CallId], done: &[CallId]) -> Vec<Way> {
    let Some(event) = history.events.get(event) else { return Vec::new() };
    // Only what may have to do with the event, however indirectly. Where a crash may go back, the order of things that
    // have nothing to do with each other counts too.
    let related = |keys: BTreeSet<&Name>| -> Vec<Way> {
        let mut keys = keys;
        if goes_back {
            keys.extend(open.iter().flat_map(|id| history.calls[id.0].op.keys()));
        }
        let mut ids: Vec<CallId> = Vec::new();
        while let Some(id) = open.iter().find(|id| {
            !ids.contains(id) && history.calls[id.0].op.keys().iter().any(|key| keys.contains(*key))
        }) {
            keys.extend(history.calls[id.0].op.keys());
            ids.push(*id);
        }
        // A client's calls take place in the order in which it sent them.
        let first = |id: &CallId| {
            let client = &history.calls[id.0].client;
            client.is_empty()
                || open.iter().all(|other| other >= id || history.calls[other.0].client != *client)
        };
        ids.retain(first);
        // What was sent last is the likeliest to be still under way; it is tried last.
        ids.sort_unstable_by(|one, other| other.cmp(one));
        ids.into_iter().map(Way::Do).collect()
    };
    let keys_of = |id: &CallId| history.calls[id.0].op.keys().into_iter().collect();
    let (mut ways, best) = match event {
        Event::Called(_) | Event::Note(_) => return vec![Way::On],
        Event::Answered(id) | Event::TookPlace(id) if done.contains(id) => return vec![Way::On],
        Event::Answered(id) | Event::TookPlace(id) => {
            let mut ways = related(keys_of(id));
            let own = ways.iter().position(|way| matches!(way, Way::Do(other) if other == id));
            // Not possible before another call of the same client.
            let Some(own) = own else { return ways };
            let own = ways.remove(own);
            (ways, own)
        }
        Event::Dropped(id) => (related(keys_of(id)), Way::On),
        Event::Crashed { .. } => {
            (related(open.iter().flat_map(|id| history.calls[id.0].op.keys()).collect()), Way::On)
        }
        Event::Observed { key, .. } => (related(BTreeSet::from([key])), Way::On),
    };
    // As late as possible.
    ways.push(best);
    ways
}
