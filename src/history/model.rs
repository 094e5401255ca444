//! What streams are like after some calls, as the command reference has it and nothing else.

use std::fmt;

use imbl::{OrdMap, OrdSet, Vector};

use super::compare::mismatch;
use super::op::{Claim, Name, Op, Outcome, Read, Seen};
use crate::id::EntryId;

/// When something happened, as far as one can tell from outside (Unix ms).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Not before this.
    pub earliest_ms: u64,
    /// Not after this.
    pub latest_ms: u64,
}

impl Window {
    /// A moment that is known.
    #[must_use]
    pub const fn exactly(ms: u64) -> Self {
        Self { earliest_ms: ms, latest_ms: ms }
    }

    const fn back(self, ms: u64) -> Self {
        Self {
            earliest_ms: self.earliest_ms.saturating_sub(ms),
            latest_ms: self.latest_ms.saturating_sub(ms),
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.earliest_ms == self.latest_ms {
            return write!(f, "{}", self.latest_ms);
        }
        write!(f, "{} to {}", self.earliest_ms, self.latest_ms)
    }
}

/// The time at which a call was decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) when: Window,
    /// The latest that the clock has ever shown by then: what expired stays away if the clock goes back.
    pub(super) highest_ms: u64,
    /// Whether the disk may be full.
    pub(super) full: bool,
}

/// A pending entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Whose it is; `None` if it was released.
    pub owner: Option<Name>,
    /// How often it was delivered.
    pub count: u64,
    /// When it was delivered last; 1970 if it was released.
    pub delivered: Window,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// The last id that was delivered.
    pub last_id: EntryId,
    /// Who is known.
    pub consumers: OrdSet<Name>,
    /// The pending entries list.
    pub pending: OrdMap<EntryId, Row>,
    /// What was released, first come first. No command shows it whole, so it is not compared.
    pub(super) released: Vector<EntryId>,
}

impl Group {
    fn put(&mut self, id: EntryId, row: Row) {
        self.released.retain(|other| *other != id);
        if row.owner.is_none() {
            self.released.push_back(id);
        }
        self.pending.insert(id, row);
    }

    fn remove(&mut self, id: EntryId) -> bool {
        self.released.retain(|other| *other != id);
        self.pending.remove(&id).is_some()
    }
}

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The entries, each with its token.
    pub entries: OrdMap<EntryId, Name>,
    /// The last id that was given out.
    pub last_id: EntryId,
    /// The largest id that was deleted (trimming does not count).
    pub max_deleted_id: EntryId,
    /// How many entries were ever added.
    pub added: u64,
    /// The groups.
    pub groups: OrdMap<Name, Group>,
    /// When the key expires (Unix ms).
    pub expires_ms: Option<u64>,
    /// What producers said: id and time. No command shows it, so it is not compared.
    pub(super) remembered: OrdMap<(Name, Name), (EntryId, Window)>,
}

impl Stream {
    fn trim_to(&mut self, length: u64) {
        while self.entries.len() as u64 > length {
            self.entries = self.entries.without_min().1;
        }
    }
}

/// What of the rules depends on the version.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Reads of new entries and claims create their consumer even if they find nothing (since 7.2).
    pub nothing_makes_consumers: bool,
    /// XSETID is refused below the largest id that was deleted (since 7.2).
    pub set_id_above_deleted: bool,
    /// For how long an idempotent id is remembered.
    pub remembered_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { nothing_makes_consumers: true, set_id_above_deleted: true, remembered_ms: 100_000 }
    }
}

/// All keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) streams: OrdMap<Name, Stream>,
}

/// Which ids the server may have made for an entry.
pub(super) trait Ids {
    /// The one that was seen.
    fn seen(&self, token: &Name) -> Option<EntryId>;
    /// Ids of that key that were seen without an entry.
    fn bare(&self, key: &Name, above: EntryId) -> Vec<EntryId>;
}

/// Where it can't be told from outside what happened, each possibility is tried in turn.
#[derive(Debug, Default)]
struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// One of `0..of`.
    fn pick(&mut self, of: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, of));
        }
        let picked = self.path[self.at].0;
        self.at += 1;
        picked
    }

    /// Whether a pending entry was old enough to be claimed, where the times leave it open: the reply says it.
    fn is_old(&mut self, told: Option<&Outcome>, id: EntryId) -> bool {
        match told {
            Some(Outcome::Entries(claimed)) => claimed.iter().any(|seen| seen.id == id),
            _ => self.pick(2) == 0,
        }
    }

    /// Goes to the next combination.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((picked, of)) = self.path.last_mut() {
            if *picked + 1 < *of {
                *picked += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }
}

/// No call leaves more possibilities than this to be tried.
const POSSIBILITIES_MAX: usize = 64;

impl State {
    /// The states that may follow a call that was told this (`None`: nobody knows what), the likeliest first. If there
    /// is none, what it would have been told. And whether there were more than can be tried.
    pub(super) fn after(
        &self,
        op: &Op,
        told: Option<&Outcome>,
        now: Now,
        ids: &dyn Ids,
        rules: Rules,
    ) -> (Result<Vec<Self>, Vec<Outcome>>, bool) {
        let mut choices = Choices::default();
        let (mut states, mut instead) = (Vec::new(), Vec::new());
        for _ in 0..POSSIBILITIES_MAX {
            let mut step = Step { state: self.clone(), now, ids, rules, choices: &mut choices };
            if let Some(outcome) = step.run(op, told) {
                if told.is_none_or(|told| *told == outcome) {
                    states.push(step.state);
                } else if !instead.contains(&outcome) {
                    instead.push(outcome);
                }
            }
            if !choices.next() {
                return (if states.is_empty() { Err(instead) } else { Ok(states) }, false);
            }
        }
        (if states.is_empty() { Err(instead) } else { Ok(states) }, true)
    }

    /// The states in which a key is as it was seen; if there is none, what is different.
    pub(super) fn seen(&self, key: &Name, found: Option<&Stream>, now: Now) -> Result<Vec<Self>, String> {
        let mut choices = Choices::default();
        let mut states = Vec::new();
        let mut why = None;
        loop {
            let ids: &dyn Ids = &NoIds;
            let mut step =
                Step { state: self.clone(), now, ids, rules: Rules::default(), choices: &mut choices };
            step.expire(key);
            match mismatch(step.state.streams.get(key), found) {
                None => {
                    step.adopt(key, found);
                    states.push(step.state);
                }
                Some(what) => why = why.or(Some(what)),
            }
            if !choices.next() {
                break;
            }
        }
        if states.is_empty() { Err(format!("{key}: {}", why.unwrap_or_default())) } else { Ok(states) }
    }
}

struct NoIds;

impl Ids for NoIds {
    fn seen(&self, _: &Name) -> Option<EntryId> {
        None
    }

    fn bare(&self, _: &Name, _: EntryId) -> Vec<EntryId> {
        Vec::new()
    }
}

struct Step<'a> {
    state: State,
    now: Now,
    ids: &'a dyn Ids,
    rules: Rules,
    choices: &'a mut Choices,
}

impl Step<'_> {
    /// What has expired is gone before anything is decided.
    fn expire(&mut self, key: &Name) {
        let Some(at_ms) = self.state.streams.get(key).and_then(|stream| stream.expires_ms) else { return };
        let over = at_ms <= self.now.when.earliest_ms;
        let gone = if over {
            !self.now.full || self.choices.pick(2) == 0
        } else {
            let may = at_ms <= self.now.highest_ms.max(self.now.when.latest_ms);
            may && self.choices.pick(2) == 1
        };
        if gone {
            self.state.streams.remove(key);
        }
    }

    /// From now on the times are known to the millisecond.
    fn adopt(&mut self, key: &Name, found: Option<&Stream>) {
        let (Some(stream), Some(found)) = (self.state.streams.get_mut(key), found) else { return };
        for (name, found) in &found.groups {
            if let Some(group) = stream.groups.get_mut(name) {
                group.pending = found.pending.clone();
            }
        }
    }

    fn group(&mut self, key: &Name, group: &Name) -> Option<&mut Group> {
        self.state.streams.get_mut(key)?.groups.get_mut(group)
    }

    /// Does it. `None`: like this it can't have happened.
    fn run(&mut self, op: &Op, told: Option<&Outcome>) -> Option<Outcome> {
        // Nobody was told, and it may have been refused.
        let refused = told.is_none() && self.now.full && self.choices.pick(2) == 1;
        if refused || told == Some(&Outcome::Refused) {
            return Some(Outcome::Refused);
        }
        if let Op::Transaction(steps) = op {
            let told = |at: usize| match told {
                Some(Outcome::All(all)) => all.get(at),
                _ => None,
            };
            let all = steps.iter().enumerate().map(|(at, step)| self.run(step, told(at)));
            return all.collect::<Option<Vec<_>>>().map(Outcome::All);
        }
        for key in op.keys() {
            self.expire(key);
        }
        Some(match op {
            Op::Add { key, id, token, keep, once } => {
                return self.add(key, *id, token, *keep, once.as_ref(), told);
            }
            Op::DeleteKey { key } => Outcome::Number(u64::from(self.state.streams.remove(key).is_some())),
            Op::Rename { from, to } => match self.state.streams.remove(from) {
                None => Outcome::Error,
                Some(stream) => {
                    self.state.streams.insert(to.clone(), stream);
                    Outcome::Ok
                }
            },
            Op::ExpireAt { key, at_ms } => self.expire_at(key, *at_ms),
            Op::CreateGroup { key, group, at } => {
                let stream = self.state.streams.entry(key.clone()).or_default();
                let last_id = at.unwrap_or(stream.last_id);
                if stream.groups.contains_key(group) {
                    return Some(Outcome::Error);
                }
                stream.groups.insert(group.clone(), Group { last_id, ..Group::default() });
                Outcome::Ok
            }
            Op::Delete { .. } | Op::TrimToLength { .. } | Op::TrimBelow { .. } | Op::SetId { .. } => {
                self.change_entries(op)
            }
            Op::DestroyGroup { key, group } => match self.state.streams.get_mut(key) {
                None => Outcome::Error,
                Some(stream) => Outcome::Number(u64::from(stream.groups.remove(group).is_some())),
            },
            Op::Range { key } => {
                let stream = self.state.streams.get(key);
                let entries = stream.into_iter().flat_map(|stream| stream.entries.iter());
                Outcome::Entries(entries.map(|(id, token)| seen(*id, Some(token))).collect())
            }
            Op::Ack { key, group, ids } => match self.group(key, group) {
                None => Outcome::Number(0),
                Some(group) => Outcome::Number(ids.iter().filter(|id| group.remove(**id)).count() as u64),
            },
            Op::MoveGroup { key, group, at } => match self.group(key, group) {
                None => Outcome::Error,
                Some(group) => {
                    group.last_id = *at;
                    Outcome::Ok
                }
            },
            Op::CreateConsumer { key, group, consumer } => match self.group(key, group) {
                None => Outcome::Error,
                Some(group) => Outcome::Number(u64::from(group.consumers.insert(consumer.clone()).is_none())),
            },
            Op::DeleteConsumer { key, group, consumer } => match self.group(key, group) {
                None => Outcome::Error,
                Some(group) => {
                    group.consumers.remove(consumer);
                    let before = group.pending.len();
                    let his = |row: &Row| row.owner.as_ref() == Some(consumer);
                    group.pending = group
                        .pending
                        .iter()
                        .filter(|(_, row)| !his(row))
                        .map(|(id, row)| (*id, row.clone()))
                        .collect();
                    Outcome::Number((before - group.pending.len()) as u64)
                }
            },
            Op::Release { key, group, ids, retry_count } => match self.group(key, group) {
                None => Outcome::Error,
                Some(group) => {
                    let mut released = 0;
                    for id in ids {
                        if let Some(row) = group.pending.get(id) {
                            let count = retry_count.unwrap_or(row.count);
                            group.put(*id, Row { owner: None, count, delivered: Window::exactly(0) });
                            released += 1;
                        }
                    }
                    Outcome::Number(released)
                }
            },
            Op::Read(read) => self.read(read, told),
            Op::History { key, group, consumer, after, count } => {
                self.history(key, group, consumer, *after, *count)
            }
            Op::Claim(claim) => self.claim(claim, told),
            Op::AutoClaim { key, group, consumer, start, count, just_id } => {
                self.auto_claim(key, group, consumer, *start, *count, *just_id)
            }
            Op::Transaction(_) => return None,
        })
    }

    fn expire_at(&mut self, key: &Name, at_ms: u64) -> Outcome {
        let Some(stream) = self.state.streams.get_mut(key) else { return Outcome::Number(0) };
        stream.expires_ms = Some(at_ms);
        if at_ms <= self.now.when.earliest_ms
            || (at_ms <= self.now.when.latest_ms && self.choices.pick(2) == 1)
        {
            self.state.streams.remove(key);
        }
        Outcome::Number(1)
    }

    fn add(
        &mut self,
        key: &Name,
        id: Option<EntryId>,
        token: &Name,
        keep: Option<u64>,
        once: Option<&(Name, Name)>,
        told: Option<&Outcome>,
    ) -> Option<Outcome> {
        let now = self.now;
        let stream = self.state.streams.get(key);
        let last_id = stream.map_or(EntryId::MIN, |stream| stream.last_id);
        if let Some((known, at)) = once.and_then(|once| stream?.remembered.get(once)) {
            let ends = |ms: u64| ms.saturating_add(self.rules.remembered_ms);
            let must = now.highest_ms.max(now.when.latest_ms) < ends(at.earliest_ms);
            let may = now.when.earliest_ms < ends(at.latest_ms);
            if must || (may && self.choices.pick(2) == 0) {
                return Some(Outcome::Added(*known));
            }
        }
        let id = match (id, told) {
            (Some(id), _) if id <= last_id => return Some(Outcome::Error),
            (Some(id), _) => id,
            (None, Some(Outcome::Added(id))) => *id,
            (None, Some(_)) => return None,
            (None, None) => match self.ids.seen(token) {
                Some(id) => id,
                // It came and went unseen, and may have left no more than a last id.
                None => {
                    let by_clock = EntryId::new(now.when.earliest_ms, 0);
                    let mut bare = self.ids.bare(key, last_id);
                    bare.insert(0, by_clock.max(last_id.successor()?));
                    bare.push(last_id.successor()?);
                    bare[self.choices.pick(bare.len())]
                }
            },
        };
        if id <= last_id {
            return None;
        }
        let stream = self.state.streams.entry(key.clone()).or_default();
        stream.entries.insert(id, token.clone());
        stream.last_id = id;
        stream.added += 1;
        if let Some(keep) = keep {
            stream.trim_to(keep);
        }
        if let Some(once) = once {
            stream.remembered.insert(once.clone(), (id, now.when));
        }
        Some(Outcome::Added(id))
    }

    fn change_entries(&mut self, op: &Op) -> Outcome {
        let Some(stream) = op.keys().first().and_then(|key| self.state.streams.get_mut(*key)) else {
            return if matches!(op, Op::SetId { .. }) { Outcome::Error } else { Outcome::Number(0) };
        };
        let before = stream.entries.len();
        match op {
            Op::Delete { ids, .. } => {
                for id in ids {
                    if stream.entries.remove(id).is_some() {
                        stream.max_deleted_id = stream.max_deleted_id.max(*id);
                    }
                }
            }
            Op::TrimToLength { length, .. } => stream.trim_to(*length),
            Op::TrimBelow { id, .. } => {
                while stream.entries.get_min().is_some_and(|(first, _)| first < id) {
                    stream.entries = stream.entries.without_min().1;
                }
            }
            Op::SetId { id, .. } => {
                let top = stream.entries.get_max().map_or(EntryId::MIN, |(top, _)| *top);
                let deleted = Some(stream.max_deleted_id).filter(|_| self.rules.set_id_above_deleted);
                if *id < top.max(deleted.unwrap_or_default()) {
                    return Outcome::Error;
                }
                stream.last_id = *id;
                return Outcome::Ok;
            }
            _ => {}
        }
        Outcome::Number((before - stream.entries.len()) as u64)
    }

    fn read(&mut self, read: &Read, told: Option<&Outcome>) -> Outcome {
        let now = self.now.when;
        let claimable = self.claimable(read, told);
        let rules = self.rules;
        let Some(stream) = self.state.streams.get_mut(&read.key) else { return Outcome::Error };
        let Some(group) = stream.groups.get_mut(&read.group) else { return Outcome::Error };
        let mut entries = Vec::new();
        for (id, count) in claimable {
            let owner = Some(read.consumer.clone());
            group.put(id, Row { owner, count: count.saturating_add(1).min(COUNT_MAX), delivered: now });
            let delivered_before = Some(count);
            entries.push(Seen { delivered_before, ..seen(id, stream.entries.get(&id)) });
        }
        let left = usize::try_from(read.count).unwrap_or(usize::MAX).saturating_sub(entries.len());
        let from = group.last_id.successor();
        let fresh = from.into_iter().flat_map(|from| stream.entries.range(from..)).take(left);
        for (id, token) in fresh {
            group.last_id = *id;
            if !read.no_ack {
                let owner = Some(read.consumer.clone());
                group.put(*id, Row { owner, count: 1, delivered: now });
            }
            let delivered_before = read.claim_idle_ms.map(|_| 0);
            entries.push(Seen { delivered_before, ..seen(*id, Some(token)) });
        }
        if rules.nothing_makes_consumers || !entries.is_empty() {
            group.consumers.insert(read.consumer.clone());
        }
        Outcome::Entries(entries)
    }

    /// What a read with CLAIM takes over, with how often it was delivered: what was released, then what is old enough.
    fn claimable(&mut self, read: &Read, told: Option<&Outcome>) -> Vec<(EntryId, u64)> {
        let Some(idle_ms) = read.claim_idle_ms else { return Vec::new() };
        let now = self.now.when;
        let Some(stream) = self.state.streams.get(&read.key) else { return Vec::new() };
        let Some(group) = stream.groups.get(&read.group) else { return Vec::new() };
        let mut old = Vec::new();
        for (id, row) in group.pending.iter().filter(|(_, row)| row.owner.is_some()) {
            let never = row.delivered.earliest_ms.saturating_add(idle_ms) > now.latest_ms;
            let surely = row.delivered.latest_ms.saturating_add(idle_ms) <= now.earliest_ms;
            if surely || (!never && self.choices.is_old(told, *id)) {
                old.push((row.delivered, *id));
            }
        }
        old.sort_unstable_by_key(|(delivered, id)| (delivered.earliest_ms, *id));
        // Where the times leave it open which is older, the reply says it.
        if let Some(Outcome::Entries(told)) = told {
            let place = |id: &EntryId| told.iter().position(|seen| seen.id == *id).unwrap_or(usize::MAX);
            let mut as_told = old.clone();
            as_told.sort_by_key(|(_, id)| place(id));
            let possible = |pair: &[(Window, EntryId)]| match (pair[0], pair[1]) {
                ((one, _), (other, _))
                    if one.earliest_ms != one.latest_ms || other.earliest_ms != other.latest_ms =>
                {
                    one.earliest_ms <= other.latest_ms
                }
                ((one, id), (other, next)) => (one.latest_ms, id) <= (other.latest_ms, next),
            };
            if as_told.windows(2).all(possible) {
                old = as_told;
            }
        }
        let ids = group.released.iter().copied().chain(old.into_iter().map(|(_, id)| id));
        ids.filter(|id| stream.entries.contains_key(id))
            .filter_map(|id| Some((id, group.pending.get(&id)?.count)))
            .take(usize::try_from(read.count).unwrap_or(usize::MAX))
            .collect()
    }

    fn history(&mut self, key: &Name, group: &Name, consumer: &Name, after: EntryId, count: u64) -> Outcome {
        let delivered = self.now.when;
        let Some(stream) = self.state.streams.get_mut(key) else { return Outcome::Error };
        let Some(group) = stream.groups.get_mut(group) else { return Outcome::Error };
        group.consumers.insert(consumer.clone());
        let mine =
            group.pending.iter().filter(|(id, row)| **id > after && row.owner.as_ref() == Some(consumer));
        let mine: Vec<EntryId> =
            mine.map(|(id, _)| *id).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        let mut shown = Vec::new();
        for id in mine {
            let token = stream.entries.get(&id);
            if let (Some(_), Some(row)) = (token, group.pending.get_mut(&id)) {
                row.count = row.count.saturating_add(1).min(COUNT_MAX);
                row.delivered = delivered;
            }
            shown.push(seen(id, token));
        }
        Outcome::Entries(shown)
    }

    fn claim(&mut self, claim: &Claim, told: Option<&Outcome>) -> Outcome {
        let now = self.now.when;
        let rules = self.rules;
        let Some(stream) = self.state.streams.get(&claim.key) else { return Outcome::Error };
        let Some(group) = stream.groups.get(&claim.group) else { return Outcome::Error };
        let mut group = group.clone();
        group.last_id = group.last_id.max(claim.last_id.unwrap_or_default());
        let delivered = match (claim.time_ms, claim.idle_ms) {
            (Some(ms), _) if ms > now.latest_ms => now,
            (Some(ms), _) => Window::exactly(ms),
            (None, Some(idle_ms)) if idle_ms > now.earliest_ms => now,
            (None, idle_ms) => now.back(idle_ms.unwrap_or_default()),
        };
        let mut claimed = Vec::new();
        for id in &claim.ids {
            let Some(token) = stream.entries.get(id) else {
                group.remove(*id);
                continue;
            };
            let count = match group.pending.get(id) {
                Some(row) => {
                    let idle = |now_ms: u64, at_ms: u64| now_ms.saturating_sub(at_ms);
                    let most = idle(now.latest_ms, row.delivered.earliest_ms);
                    let least = idle(now.earliest_ms, row.delivered.latest_ms);
                    let young = row.owner.is_some()
                        && (most < claim.min_idle_ms
                            || (least < claim.min_idle_ms && !self.choices.is_old(told, *id)));
                    if young {
                        continue;
                    }
                    row.count
                }
                None if claim.force => 1,
                None => continue,
            };
            let more = count.saturating_add(u64::from(!claim.just_id)).min(COUNT_MAX);
            let count = claim.retry_count.unwrap_or(more);
            group.put(*id, Row { owner: Some(claim.consumer.clone()), count, delivered });
            claimed.push(seen(*id, Some(token).filter(|_| !claim.just_id)));
        }
        if rules.nothing_makes_consumers || !claimed.is_empty() {
            group.consumers.insert(claim.consumer.clone());
        }
        if let Some(stream) = self.state.streams.get_mut(&claim.key) {
            stream.groups.insert(claim.group.clone(), group);
        }
        Outcome::Entries(claimed)
    }

    fn auto_claim(
        &mut self,
        key: &Name,
        group: &Name,
        consumer: &Name,
        start: EntryId,
        count: u64,
        just_id: bool,
    ) -> Outcome {
        let (delivered, rules) = (self.now.when, self.rules);
        let Some(stream) = self.state.streams.get_mut(key) else { return Outcome::Error };
        let Some(group) = stream.groups.get_mut(group) else { return Outcome::Error };
        let mut claimed = Vec::new();
        // One whose entry is gone is dropped, and uses up one of the count as a claimed one does.
        let walk = group.pending.range(start..).map(|(id, row)| (*id, row.count));
        let walk: Vec<_> = walk.take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        for (id, count) in walk {
            let Some(token) = stream.entries.get(&id) else {
                group.remove(id);
                continue;
            };
            let count = count.saturating_add(u64::from(!just_id)).min(COUNT_MAX);
            group.put(id, Row { owner: Some(consumer.clone()), count, delivered });
            claimed.push(seen(id, Some(token).filter(|_| !just_id)));
        }
        if rules.nothing_makes_consumers || !claimed.is_empty() {
            group.consumers.insert(consumer.clone());
        }
        Outcome::Entries(claimed)
    }
}

/// The largest delivery count there is.
const COUNT_MAX: u64 = i64::MAX as u64;

fn seen(id: EntryId, token: Option<&Name>) -> Seen {
    Seen { id, token: token.cloned(), delivered_before: None }
}
