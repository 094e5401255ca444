//! A client: works on a stream of its own and on one that all share, and writes down what it sends and is told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use claimlog::EntryId;
use claimlog::history::{CallId, Claim, History, Name, Op, Outcome, Read, Rules};

use super::wire::outcome;
use crate::common::{Client, Rng, Value, now_ms};

/// Longer than any test: entries are either younger than this or claimed with an idle time far above it.
const HOUR_MS: u64 = 3_600_000;

/// What is known of each key. Keys have nothing to do with each other, so each has a history of its own.
pub(crate) type Histories = BTreeMap<Name, Mutex<History>>;

pub(crate) struct Worker {
    name: String,
    own: Name,
    shared: Name,
    rules: Rules,
    rng: Rng,
    /// Ids that it was shown, the last ones.
    seen: BTreeMap<Name, Vec<EntryId>>,
    tokens: u64,
    pub(crate) answered: u64,
}

impl Worker {
    pub(crate) fn new(at: u64, prefix: &str, shared: &Name, rules: Rules, seed: u64) -> Self {
        Self {
            name: format!("c{at}"),
            own: format!("{prefix}own-{at}").into(),
            shared: shared.clone(),
            rules,
            rng: Rng::new(seed),
            seen: BTreeMap::new(),
            tokens: 0,
            answered: 0,
        }
    }

    pub(crate) fn key(&self) -> &Name {
        &self.own
    }

    /// Works until the connection breaks, or `stop`.
    pub(crate) fn work(&mut self, port: u16, histories: &Histories, stop: &AtomicBool) {
        let Ok(mut client) = Client::connect(port) else { return };
        while !stop.load(Ordering::Relaxed) {
            let ops = self.next_ops();
            let key = ops[0].keys()[0].clone();
            let history = || histories[&key].lock().unwrap_or_else(PoisonError::into_inner);
            let calls: Vec<CallId> = {
                let mut history = history();
                ops.iter().map(|op| history.call(&self.name, op.clone(), now_ms())).collect()
            };
            let commands = ops.iter().flat_map(Op::commands);
            let bytes: Vec<u8> = commands.flat_map(|words| crate::common::resp::encode(&words)).collect();
            let result = client.send_raw(&bytes).and_then(|()| {
                for (op, call) in ops.iter().zip(calls) {
                    let mut reply = Value::Null;
                    for _ in op.commands() {
                        reply = client.recv()?;
                    }
                    let told = outcome(op, &reply);
                    self.learn(op, &told);
                    self.answered += 1;
                    history().answer(call, told, now_ms());
                }
                Ok(())
            });
            if result.is_err() {
                return;
            }
        }
    }

    fn learn(&mut self, op: &Op, told: &Outcome) {
        let ids: Vec<EntryId> = match (op, told) {
            (Op::Transaction(steps), Outcome::All(all)) => {
                return steps.iter().zip(all).for_each(|(step, told)| self.learn(step, told));
            }
            (_, Outcome::Added(id)) => vec![*id],
            (_, Outcome::Entries(entries)) => entries.iter().map(|seen| seen.id).collect(),
            _ => return,
        };
        let seen = self.seen.entry(op.keys()[0].clone()).or_default();
        seen.retain(|id| !ids.contains(id));
        seen.extend(ids);
        let more = seen.len().saturating_sub(40);
        seen.drain(..more);
    }

    fn next_ops(&mut self) -> Vec<Op> {
        let (own, shared) = (self.own.clone(), self.shared.clone());
        match self.rng.below(100) {
            0..40 => vec![self.op(&own)],
            40..75 => vec![self.shared_op(&shared)],
            75..88 => (0..self.rng.between(2, 6)).map(|_| self.op(&own)).collect(),
            _ => vec![Op::Transaction((0..self.rng.between(2, 4)).map(|_| self.op(&own)).collect())],
        }
    }

    fn token(&mut self) -> Name {
        self.tokens += 1;
        format!("{}:{}", self.name, self.tokens).into()
    }

    fn ids(&mut self, key: &Name, most: u64) -> Vec<EntryId> {
        let seen = self.seen.get(key).map(Vec::as_slice).unwrap_or_default();
        if seen.is_empty() {
            return vec![EntryId::new(1, 1)];
        }
        (0..self.rng.between(1, most)).map(|_| seen[self.rng.index(seen.len())]).collect()
    }

    fn add(&mut self, key: &Name, percent_trimmed: u64, id: Option<EntryId>) -> Op {
        let keep = self.rng.chance(percent_trimmed).then(|| self.rng.between(8, 60));
        // IDMP came with 8.6, long after the other rules changed. Only for a stream of one's own: what is remembered is
        // not seen, and in what order many have said something must be.
        let newer = self.rules.nothing_makes_consumers && *key == self.own;
        let once = (id.is_none() && newer && self.rng.chance(5))
            .then(|| (self.name.as_str().into(), format!("job-{}", self.rng.below(5)).into()));
        Op::Add { key: key.clone(), id, token: self.token(), keep, once }
    }

    /// What everybody does to the stream that all share: reads, acknowledges, takes over.
    fn shared_op(&mut self, key: &Name) -> Op {
        let (key, group, consumer): (Name, Name, Name) = (key.clone(), "g".into(), self.name.as_str().into());
        match self.rng.below(100) {
            0..40 => self.add(&key, 10, None),
            40..62 => Op::Read(Read {
                key,
                group,
                consumer,
                count: self.rng.between(1, 4),
                no_ack: false,
                claim_idle_ms: None,
                waits: false,
            }),
            62..86 => Op::Ack { ids: self.ids(&key, 2), key, group },
            86..93 => {
                let start = if self.rng.chance(50) { EntryId::MIN } else { self.ids(&key, 1)[0] };
                let count = self.rng.between(1, 3);
                Op::AutoClaim { key, group, consumer, start, count, just_id: false }
            }
            93..95 => Op::Delete { ids: self.ids(&key, 2), key },
            _ => Op::History { key, group, consumer, after: EntryId::MIN, count: 2 },
        }
    }

    fn op(&mut self, key: &Name) -> Op {
        let key = key.clone();
        let group: Name = self.rng.pick(&["g", "g", "g", "h"]).into();
        let consumer: Name = match self.rng.chance(3) {
            true => format!("c{}", self.rng.below(40)).into(),
            false => self.rng.pick(&["alice", "bob", "carol"]).into(),
        };
        match self.rng.below(100) {
            0..26 => {
                let after = self.ids(&key, 1)[0];
                let above = EntryId::new(after.ms + self.rng.below(2), after.seq + 1);
                let id = self.rng.chance(30).then_some(above);
                self.add(&key, 15, id)
            }
            26..46 => Op::Read(Read {
                key,
                group,
                consumer,
                count: self.rng.between(1, 5),
                no_ack: self.rng.chance(8),
                claim_idle_ms: None,
                waits: false,
            }),
            46..54 => {
                let after = if self.rng.chance(70) { EntryId::MIN } else { self.ids(&key, 1)[0] };
                Op::History { key, group, consumer, after, count: self.rng.between(1, 10) }
            }
            54..66 => Op::Ack { ids: self.ids(&key, 4), key, group },
            66..77 => Op::Claim(Claim {
                min_idle_ms: if self.rng.chance(25) { HOUR_MS } else { 0 },
                ids: self.ids(&key, 4),
                idle_ms: self.rng.chance(25).then_some(2 * HOUR_MS),
                time_ms: self.rng.chance(15).then(|| now_ms() - 3 * HOUR_MS),
                retry_count: self.rng.chance(20).then(|| self.rng.below(9)),
                force: self.rng.chance(25),
                just_id: self.rng.chance(30),
                last_id: self.rng.chance(5).then(|| self.ids(&key, 1)[0]),
                key,
                group,
                consumer,
            }),
            77..84 => {
                let start = if self.rng.chance(60) { EntryId::MIN } else { self.ids(&key, 1)[0] };
                let (count, just_id) = (self.rng.between(1, 6), self.rng.chance(30));
                Op::AutoClaim { key, group, consumer, start, count, just_id }
            }
            84..88 => Op::Delete { ids: self.ids(&key, 3), key },
            88 => Op::TrimToLength { key, length: self.rng.between(8, 40) },
            89 => Op::TrimBelow { id: self.ids(&key, 1)[0], key },
            // Above all: a 7.0 that may go below what was deleted mixes up its entries.
            90 => {
                let top = self.seen.get(&key).and_then(|seen| seen.iter().max()).copied().unwrap_or_default();
                Op::SetId { key, id: EntryId::new(top.ms + 60_000, top.seq) }
            }
            91..94 => Op::CreateGroup { key, group, at: self.rng.chance(70).then_some(EntryId::MIN) },
            94 if self.rng.chance(30) => Op::DestroyGroup { key, group },
            95 => Op::MoveGroup { at: self.ids(&key, 1)[0], key, group },
            96..98 => Op::CreateConsumer { key, group, consumer: format!("d{}", self.rng.below(30)).into() },
            98 => Op::DeleteConsumer { key, group, consumer },
            99 if self.rng.chance(20) => Op::DeleteKey { key },
            _ => Op::CreateGroup { key, group: "g".into(), at: Some(EntryId::MIN) },
        }
    }
}
