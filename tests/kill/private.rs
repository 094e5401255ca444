//! A client with a stream of its own: nobody else touches it, so what must be there is known exactly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Client, Rng, Value, line, now_ms};
use crate::model::{Claim, Id, Model, Op};
use crate::observe::{mismatch, observe};

/// Commands that were sent and not answered, and when.
#[derive(Debug)]
struct InFlight {
    ops: Vec<Op>,
    sent: u64,
}

pub(crate) struct Private {
    key: String,
    rng: Rng,
    /// After everything that was answered.
    model: Model,
    in_flight: Option<InFlight>,
    tokens: u64,
    pub(crate) answered: u64,
    pub(crate) found_applied: u64,
    pub(crate) found_lost: u64,
    /// The last commands with their replies, for the report of a failure.
    history: VecDeque<String>,
    /// The model could not explain a reply.
    pub(crate) broken: Option<String>,
}

impl Private {
    pub(crate) fn new(key: &str, seed: u64) -> Self {
        Self {
            key: key.to_owned(),
            rng: Rng::new(seed),
            model: Model::default(),
            in_flight: None,
            tokens: 0,
            answered: 0,
            found_applied: 0,
            found_lost: 0,
            history: VecDeque::new(),
            broken: None,
        }
    }

    /// Works until the connection breaks, or `stop`.
    pub(crate) fn work(&mut self, port: u16, stop: &AtomicBool) {
        let Ok(mut client) = Client::connect(port) else { return };
        while !stop.load(Ordering::Relaxed) && self.broken.is_none() {
            let ops = self.next_ops();
            let sent = now_ms();
            let bytes: Vec<u8> = ops
                .iter()
                .flat_map(|op| op.commands(&self.key))
                .flat_map(|args| crate::common::resp::encode(&args))
                .collect();
            let mut done = 0;
            let result = client.send_raw(&bytes).and_then(|()| {
                for op in &ops {
                    let mut reply = Value::Null;
                    for _ in 0..op.commands(&self.key).len() {
                        reply = client.recv()?;
                    }
                    self.take_reply(op, &reply, sent);
                    done += 1;
                }
                Ok(())
            });
            if result.is_err() {
                self.in_flight = Some(InFlight { ops: ops[done..].to_vec(), sent });
                return;
            }
        }
    }

    fn take_reply(&mut self, op: &Op, reply: &Value, sent: u64) {
        self.answered += 1;
        let commands = op.commands(&self.key);
        let sent_line = commands.iter().map(|args| line(args)).collect::<Vec<_>>().join(" ; ");
        self.history.push_back(format!("{sent_line}\n      {reply}"));
        if self.history.len() > 30 {
            self.history.pop_front();
        }
        let told = op.outcome(reply);
        let made = made_ids(op, &told);
        let by_reply = |token: &str| made.iter().find(|(known, _)| known == token).map(|&(_, id)| id);
        let want = self.model.apply(op, (sent, now_ms()), &by_reply);
        if want.as_ref() != Some(&told) && self.broken.is_none() {
            self.broken = Some(format!("a reply must say {want:?} and says {told:?}: {sent_line}"));
        }
    }

    /// After a restart: finds out what became of the commands in flight; everything answered must be there.
    pub(crate) fn check(&mut self, client: &mut Client) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(self.report(broken));
        }
        let got = observe(client, &self.key).map_err(|e| self.report(&e))?;
        let in_flight = self.in_flight.take().unwrap_or(InFlight { ops: Vec::new(), sent: 0 });
        // What was added and then went with its key has left no id: any will do, for it went too.
        let deletes = in_flight.ops.iter().any(Op::deletes_the_key);
        let gone = deletes.then_some((u64::MAX - 1, 0));
        let found = |token: &str| -> Option<Id> {
            let entries = got.0.iter().flat_map(|stream| &stream.entries);
            entries.into_iter().find(|(_, known)| *known == token).map(|(&id, _)| id).or(gone)
        };
        let mut candidate = self.model.clone();
        let mut whys = Vec::new();
        for applied in 0..=in_flight.ops.len() {
            if applied > 0 {
                let now = (in_flight.sent, now_ms());
                if candidate.apply(&in_flight.ops[applied - 1], now, &found).is_none() {
                    break;
                }
            }
            match mismatch(&candidate, &got) {
                None => {
                    self.found_applied += applied as u64;
                    self.found_lost += (in_flight.ops.len() - applied) as u64;
                    // From here on the delivery times are known to the millisecond.
                    self.model = got;
                    return Ok(());
                }
                Some(why) => whys.push(format!("if {applied} in flight took place: {why}")),
            }
        }
        let sent: Vec<String> =
            in_flight.ops.iter().flat_map(|op| op.commands(&self.key)).map(|args| line(&args)).collect();
        Err(self.report(&format!("{}\n    in flight: {}", whys.join("\n    "), sent.join(" ; "))))
    }

    fn report(&self, what: &str) -> String {
        let history: Vec<String> = self.history.iter().map(|line| format!("    {line}")).collect();
        format!("stream {}: {what}\n  answered before:\n{}", self.key, history.join("\n"))
    }

    fn next_ops(&mut self) -> Vec<Op> {
        match self.rng.below(100) {
            0..75 => vec![self.op()],
            75..88 => (0..self.rng.between(2, 6)).map(|_| self.op()).collect(),
            _ => vec![Op::Transaction((0..self.rng.between(2, 4)).map(|_| self.op()).collect())],
        }
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("{}:{}", self.key, self.tokens)
    }

    fn group(&mut self) -> String {
        self.rng.pick(&["g", "g", "g", "h"]).to_owned()
    }

    fn consumer(&mut self) -> String {
        if self.rng.chance(3) {
            return format!("c{}", self.rng.below(40));
        }
        self.rng.pick(&["alice", "bob", "carol"]).to_owned()
    }

    /// Some ids of entries or of pending rows.
    fn ids(&mut self, most: u64) -> Vec<Id> {
        let Some(stream) = &self.model.0 else { return vec![(1, 1)] };
        let mut known: Vec<Id> = stream.entries.keys().copied().collect();
        known.extend(stream.groups.values().flat_map(|group| group.pending.keys().copied()));
        if known.is_empty() {
            return vec![(1, 1)];
        }
        (0..self.rng.between(1, most)).map(|_| known[self.rng.index(known.len())]).collect()
    }

    fn op(&mut self) -> Op {
        let last = self.model.0.as_ref().map_or((0, 0), |stream| stream.last);
        let (group, consumer) = (self.group(), self.consumer());
        match self.rng.below(100) {
            0..26 => {
                let id = self.rng.chance(30).then_some((last.0 + self.rng.below(2), last.1 + 1));
                let keep = self.rng.chance(15).then(|| self.rng.between(8, 40));
                Op::Add { id, token: self.token(), keep }
            }
            26..46 => {
                let noack = self.rng.chance(8);
                Op::Read { group, consumer, count: self.rng.between(1, 5), noack }
            }
            46..54 => {
                let after = if self.rng.chance(70) { (0, 0) } else { self.ids(1)[0] };
                Op::History { group, consumer, after, count: self.rng.between(1, 10) }
            }
            54..66 => Op::Ack { group, ids: self.ids(4) },
            66..77 => {
                let ids = self.ids(4);
                Op::Claim(Claim {
                    group,
                    consumer,
                    only_old: self.rng.chance(25),
                    ids,
                    idle: self.rng.chance(25).then_some(7_200_000),
                    time: self.rng.chance(15).then(|| now_ms() - 10_000_000),
                    retry_count: self.rng.chance(20).then(|| self.rng.below(9)),
                    force: self.rng.chance(25),
                    just_id: self.rng.chance(30),
                    last_id: self.rng.chance(5).then_some(last),
                })
            }
            77..84 => {
                let start = if self.rng.chance(60) { (0, 0) } else { self.ids(1)[0] };
                let just_id = self.rng.chance(30);
                Op::AutoClaim { group, consumer, start, count: self.rng.between(1, 6), just_id }
            }
            84..88 => Op::Delete(self.ids(3)),
            88 => Op::TrimToLength(self.rng.between(8, 40)),
            89 => Op::TrimBelow(self.ids(1)[0]),
            90 => Op::SetId((last.0 + 1, last.1)),
            91..94 => Op::CreateGroup { group, at: self.rng.chance(70).then_some((0, 0)) },
            94 if self.rng.chance(30) => Op::DestroyGroup(group),
            95 => Op::MoveGroup { group, at: self.ids(1)[0] },
            96..98 => Op::CreateConsumer { group, consumer: format!("d{}", self.rng.below(30)) },
            98 => Op::DeleteConsumer { group, consumer },
            99 if self.rng.chance(20) => Op::DeleteKey,
            _ => Op::CreateGroup { group: "g".to_owned(), at: Some((0, 0)) },
        }
    }
}

/// The tokens of an op with the ids the reply gave them.
fn made_ids(op: &Op, told: &crate::model::Outcome) -> Vec<(String, Id)> {
    use crate::model::Outcome;
    match (op, told) {
        (Op::Add { token, .. }, Outcome::Ids(ids)) => ids.iter().map(|&id| (token.clone(), id)).collect(),
        (Op::Transaction(ops), Outcome::All(all)) => {
            ops.iter().zip(all).flat_map(|(op, told)| made_ids(op, told)).collect()
        }
        _ => Vec::new(),
    }
}
