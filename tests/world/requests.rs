//! What clients ask for: few keys, few groups, ids that they have seen, so that they meet.

use std::collections::BTreeMap;

use claimlog::EntryId;
use claimlog::history::{Claim, Name, Op, Outcome, Read};
use claimlog::io::sim::SimRng;

pub(crate) const KEYS: [&str; 3] = ["s", "t", "u"];

/// What all clients together have seen.
#[derive(Default)]
pub(crate) struct Knowledge {
    ids: BTreeMap<Name, Vec<EntryId>>,
    tokens: u64,
}

impl Knowledge {
    pub(crate) fn learn(&mut self, op: &Op, told: &Outcome) {
        match (op, told) {
            (Op::Transaction(steps), Outcome::All(all)) => {
                steps.iter().zip(all).for_each(|(step, told)| self.learn(step, told));
            }
            (_, Outcome::Added(id)) => self.note(op, &[*id]),
            (_, Outcome::Entries(seen)) => {
                self.note(op, &seen.iter().map(|seen| seen.id).collect::<Vec<_>>());
            }
            _ => {}
        }
    }

    fn note(&mut self, op: &Op, ids: &[EntryId]) {
        let known = self.ids.entry(op.keys()[0].clone()).or_default();
        known.retain(|id| !ids.contains(id));
        known.extend(ids);
        let more = known.len().saturating_sub(12);
        known.drain(..more);
    }

    fn id(&self, rng: &mut SimRng, key: &Name) -> EntryId {
        match self.ids.get(key) {
            Some(ids) if !ids.is_empty() && !rng.one_in(20) => ids[rng.below(ids.len() as u64) as usize],
            _ => EntryId::new(rng.below(3), rng.below(3)),
        }
    }

    fn some(&self, rng: &mut SimRng, key: &Name) -> Vec<EntryId> {
        (0..=rng.below(3)).map(|_| self.id(rng, key)).collect()
    }

    /// A request of a client.
    pub(crate) fn request(&mut self, rng: &mut SimRng, client: usize, now_ms: u64) -> Op {
        if rng.one_in(14) {
            return Op::Transaction(
                (0..1 + rng.below(3)).map(|_| self.one(rng, client, now_ms, true)).collect(),
            );
        }
        self.one(rng, client, now_ms, false)
    }

    fn one(&mut self, rng: &mut SimRng, client: usize, now_ms: u64, inside: bool) -> Op {
        let key: Name = KEYS[[0, 0, 0, 0, 1, 1, 2][rng.below(7) as usize]].into();
        let group: Name = if rng.one_in(5) { "h" } else { "g" }.into();
        let consumer: Name = match rng.below(6) {
            0 => "anna".into(),
            _ => format!("c{client}").into(),
        };
        let read = |rng: &mut SimRng, claim_idle_ms, waits| {
            Op::Read(Read {
                key: key.clone(),
                group: group.clone(),
                consumer: consumer.clone(),
                count: 1 + rng.below(3),
                no_ack: rng.one_in(12),
                claim_idle_ms,
                waits,
            })
        };
        let idle = |rng: &mut SimRng| [0, 20, 1000][rng.below(3) as usize];
        match rng.below(100) {
            0..26 => {
                self.tokens += 1;
                let token = format!("e{}", self.tokens).into();
                let once = rng.one_in(6).then(|| ("p".into(), format!("job-{}", rng.below(4)).into()));
                let id = (rng.one_in(8) && once.is_none())
                    .then(|| self.id(rng, &key))
                    .map(|id| EntryId::new(id.ms + rng.below(2), id.seq + 1));
                Op::Add { key, id, token, keep: rng.one_in(10).then(|| 1 + rng.below(8)), once }
            }
            26..38 => read(rng, None, false),
            38..48 => read(rng, None, !inside),
            48..52 => {
                let idle_ms = idle(rng);
                let waits = rng.one_in(2) && !inside;
                read(rng, Some(idle_ms), waits)
            }
            52..57 => {
                let after = if rng.one_in(3) { self.id(rng, &key) } else { EntryId::MIN };
                Op::History { key, group, consumer, after, count: 1 + rng.below(5) }
            }
            57..68 => Op::Ack { ids: self.some(rng, &key), key, group },
            68..75 => Op::Claim(Claim {
                min_idle_ms: idle(rng),
                ids: self.some(rng, &key),
                idle_ms: rng.one_in(4).then(|| rng.below(5000)),
                time_ms: rng.one_in(6).then(|| now_ms.saturating_sub(rng.below(100_000))),
                retry_count: rng.one_in(5).then(|| rng.below(9)),
                force: rng.one_in(4),
                just_id: rng.one_in(3),
                last_id: rng.one_in(12).then(|| self.id(rng, &key)),
                key,
                group,
                consumer,
            }),
            75..80 => {
                let start = if rng.one_in(3) { self.id(rng, &key) } else { EntryId::MIN };
                Op::AutoClaim { key, group, consumer, start, count: 1 + rng.below(4), just_id: rng.one_in(3) }
            }
            80..84 => Op::Release {
                ids: self.some(rng, &key),
                key,
                group,
                retry_count: rng.one_in(3).then(|| rng.below(5)),
            },
            84..87 => Op::Delete { ids: self.some(rng, &key), key },
            87 => Op::TrimToLength { key, length: rng.below(8) },
            88 => Op::TrimBelow { id: self.id(rng, &key), key },
            89 => {
                let EntryId { ms, seq } = self.id(rng, &key);
                Op::SetId { key, id: EntryId::new(ms + rng.below(3), seq + 1) }
            }
            90..94 => Op::CreateGroup { key, group, at: rng.one_in(2).then_some(EntryId::MIN) },
            94 => match rng.below(4) {
                0 => Op::DestroyGroup { key, group },
                1 => Op::MoveGroup { at: self.id(rng, &key), key, group },
                2 => Op::CreateConsumer { key, group, consumer: format!("d{}", rng.below(4)).into() },
                _ => Op::DeleteConsumer { key, group, consumer },
            },
            95 | 96 => Op::Range { key },
            97 => Op::ExpireAt { key, at_ms: now_ms + rng.below(3000) },
            98 => Op::DeleteKey { key },
            _ => {
                let to: Name = KEYS[rng.below(3) as usize].into();
                if to == key { Op::Range { key } } else { Op::Rename { from: key, to } }
            }
        }
    }
}
