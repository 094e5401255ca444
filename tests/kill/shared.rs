//! One stream that all clients work on at once: which of them gets what is chance, but every entry has one owner,
//! nothing that was answered is lost, and nothing is delivered as new twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Client, Rng, Value, line};
use crate::model::{Id, Op, Outcome};
use crate::observe::observe;

const KEY: &str = "shared";
const GROUP: &str = "g";

/// What one client knows to have happened.
pub(crate) struct Sharer {
    consumer: String,
    rng: Rng,
    tokens: u64,
    held: Vec<Id>,
    log: Vec<(Op, Outcome)>,
    in_flight: Option<Op>,
    pub(crate) answered: u64,
}

impl Sharer {
    pub(crate) fn new(at: u64, seed: u64) -> Self {
        Self {
            consumer: format!("s{at}"),
            rng: Rng::new(seed),
            tokens: 0,
            held: Vec::new(),
            log: Vec::new(),
            in_flight: None,
            answered: 0,
        }
    }

    pub(crate) fn work(&mut self, port: u16, stop: &AtomicBool) {
        let Ok(mut client) = Client::connect(port) else { return };
        while !stop.load(Ordering::Relaxed) {
            let op = self.op();
            let Ok(reply) = client.call(&op.commands(KEY)[0]) else {
                self.in_flight = Some(op);
                return;
            };
            self.answered += 1;
            let told = op.outcome(&reply);
            match (&op, &told) {
                (Op::Ack { ids, .. }, _) => self.held.retain(|id| !ids.contains(id)),
                (Op::Read { .. } | Op::AutoClaim { .. }, Outcome::Ids(ids)) => self.held.extend(ids),
                _ => {}
            }
            self.log.push((op, told));
        }
    }

    fn op(&mut self) -> Op {
        let (group, consumer) = (GROUP.to_owned(), self.consumer.clone());
        match self.rng.below(100) {
            0..40 => {
                self.tokens += 1;
                Op::Add { id: None, token: format!("{}:{}", self.consumer, self.tokens), keep: None }
            }
            40..60 => Op::Read { group, consumer, count: self.rng.between(1, 4), noack: false },
            60..90 if !self.held.is_empty() => {
                let at = self.rng.index(self.held.len());
                Op::Ack { group, ids: vec![self.held[at]] }
            }
            90..95 => {
                let start = (self.rng.below(2) * self.held.first().map_or(0, |id| id.0), 0);
                Op::AutoClaim { group, consumer, start, count: self.rng.between(1, 3), just_id: false }
            }
            _ => Op::History { group, consumer, after: (0, 0), count: 2 },
        }
    }
}

/// What all of them together know.
#[derive(Default)]
pub(crate) struct Together {
    added: BTreeMap<Id, String>,
    /// How often each entry was certainly delivered, and to whom.
    delivered: BTreeMap<Id, (u64, BTreeSet<String>)>,
    new_once: BTreeSet<Id>,
    acked: BTreeSet<Id>,
    maybe_acked: BTreeSet<Id>,
    /// Clients that may have got something without knowing.
    maybe_owners: BTreeSet<String>,
    /// Reads and claims that were never answered.
    unanswered_deliveries: u64,
    unanswered_adds: BTreeSet<String>,
    last: Id,
    group_last: Id,
}

impl Together {
    /// The group all work in.
    pub(crate) fn prepare(client: &mut Client) {
        let made = client.run(&format!("XGROUP CREATE {KEY} {GROUP} 0 MKSTREAM"));
        assert_eq!(made, Value::Simple(b"OK".to_vec()));
    }

    fn take(&mut self, sharer: &mut Sharer) -> Result<(), String> {
        for (op, told) in sharer.log.drain(..) {
            match (&op, told) {
                (Op::Add { token, .. }, Outcome::Ids(ids)) => {
                    if let Some(other) = self.added.insert(ids[0], token.clone()) {
                        return Err(format!("id {:?} was handed out twice: for {other} and {token}", ids[0]));
                    }
                }
                (Op::Read { .. }, Outcome::Ids(ids)) => {
                    for id in ids {
                        if !self.new_once.insert(id) {
                            return Err(format!("{id:?} was delivered as new twice"));
                        }
                        self.deliver(id, &sharer.consumer);
                    }
                }
                (Op::AutoClaim { .. } | Op::History { .. }, Outcome::Ids(ids)) => {
                    ids.into_iter().for_each(|id| self.deliver(id, &sharer.consumer));
                }
                // Somebody else may have claimed it in between: then it is their row that goes.
                (Op::Ack { ids, .. }, Outcome::Number(1)) => self.acked.extend(ids),
                (Op::Ack { ids, .. }, Outcome::Number(0)) => {
                    let known = |id| self.acked.contains(id) || self.maybe_acked.contains(id);
                    if let Some(id) = ids.iter().find(|id| !known(id)) {
                        // It may have been acknowledged by a client whose log is taken later.
                        self.maybe_acked.insert(*id);
                    }
                }
                (_, Outcome::Error) => return Err(format!("{} failed", line(&op.commands(KEY)[0]))),
                _ => {}
            }
        }
        match sharer.in_flight.take() {
            Some(Op::Add { token, .. }) => {
                self.unanswered_adds.insert(token);
            }
            Some(Op::Ack { ids, .. }) => self.maybe_acked.extend(ids),
            Some(_) => {
                self.unanswered_deliveries += 1;
                self.maybe_owners.insert(sharer.consumer.clone());
            }
            None => {}
        }
        Ok(())
    }

    fn deliver(&mut self, id: Id, to: &str) {
        let (count, owners) = self.delivered.entry(id).or_default();
        *count += 1;
        owners.insert(to.to_owned());
    }

    pub(crate) fn check(&mut self, sharers: &mut [Sharer], client: &mut Client) -> Result<(), String> {
        sharers.iter_mut().try_for_each(|sharer| self.take(sharer))?;
        let got = observe(client, KEY)?;
        let stream = got.0.ok_or("the shared stream is gone")?;
        let group = stream.groups.get(GROUP).ok_or("the shared group is gone")?;
        for (id, token) in &self.added {
            if stream.entries.get(id) != Some(token) {
                return Err(format!(
                    "entry {id:?} {token} was acknowledged and is {:?}",
                    stream.entries.get(id)
                ));
            }
        }
        for (id, token) in &stream.entries {
            if self.added.contains_key(id) {
                continue;
            }
            if !self.unanswered_adds.remove(token) {
                return Err(format!("entry {id:?} {token} is there and was never sent, or twice"));
            }
            self.added.insert(*id, token.clone());
        }
        // What was in flight at the crash and is not there now must not turn up later.
        self.unanswered_adds.clear();
        if stream.added != stream.entries.len() as u64 {
            return Err(format!("entries-added is {} with {} entries", stream.added, stream.entries.len()));
        }
        if stream.last < self.last || group.last < self.group_last {
            return Err(format!(
                "an id went back: {:?} {:?}",
                (stream.last, self.last),
                (group.last, self.group_last)
            ));
        }
        let furthest = self.delivered.keys().next_back().copied().unwrap_or_default();
        if group.last < furthest {
            return Err(format!("{furthest:?} was delivered, the group is at {:?}", group.last));
        }
        (self.last, self.group_last) = (stream.last, group.last);
        for id in stream.entries.range(..=group.last).map(|(id, _)| id) {
            let Some(row) = group.pending.get(id) else {
                if self.acked.contains(id) || self.maybe_acked.contains(id) {
                    continue;
                }
                return Err(format!(
                    "{id:?} was delivered, never acknowledged, and is not pending: the claim is lost"
                ));
            };
            if self.acked.contains(id) {
                return Err(format!("{id:?} was acknowledged and is pending again: {row:?}"));
            }
            let (count, owners) = self.delivered.get(id).cloned().unwrap_or_default();
            if !owners.contains(&row.owner) && !self.maybe_owners.contains(&row.owner) {
                return Err(format!("{id:?} belongs to {}, who never got it", row.owner));
            }
            if row.count < count || row.count > count + self.unanswered_deliveries {
                return Err(format!("{id:?} was delivered {count} times, the row says {}", row.count));
            }
        }
        if let Some((id, _)) =
            group.pending.range((std::ops::Bound::Excluded(group.last), std::ops::Bound::Unbounded)).next()
        {
            return Err(format!("{id:?} is pending and was never delivered"));
        }
        for consumer in self.delivered.values().flat_map(|(_, owners)| owners) {
            if !group.consumers.contains(consumer) {
                return Err(format!("consumer {consumer} is gone"));
            }
        }
        Ok(())
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "shared stream: {} entries, {} delivered, {} acknowledged",
            self.added.len(),
            self.delivered.len(),
            self.acked.len()
        )
    }
}
