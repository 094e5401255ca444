//! What a stream must look like after the commands that were answered, written from the outside: it knows what was
//! sent and what came back, and nothing of claimlog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::common::{Value, env_u64};

pub(crate) type Id = (u64, u64);
pub(crate) type Args = Vec<Vec<u8>>;

/// Longer than any test: rows are either younger than this or claimed with an idle time far above it.
const HOUR: u64 = 3_600_000;

/// Reads of new entries and claims make their consumer even if they find nothing: not in 7.0, which may stand in for
/// us to prove the rest of the model, but since 7.2. (A read of history always did.)
static NOTHING_MAKES_CONSUMERS: LazyLock<bool> = LazyLock::new(|| env_u64("CLAIMLOG_KILL_SELF", 0) == 0);

/// One pending entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) owner: String,
    pub(crate) count: u64,
    /// The delivery time lies within these; both ends are the same once it was seen.
    pub(crate) time: (u64, u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) last: Id,
    pub(crate) consumers: BTreeSet<String>,
    pub(crate) pending: BTreeMap<Id, Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Each entry carries one token, its field `t`.
    pub(crate) entries: BTreeMap<Id, String>,
    pub(crate) last: Id,
    pub(crate) max_deleted: Id,
    pub(crate) added: u64,
    pub(crate) groups: BTreeMap<String, Group>,
}

/// One thing a client asks for; a transaction is one thing.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// `None`: the server makes the id.
    Add {
        id: Option<Id>,
        token: String,
        keep: Option<u64>,
    },
    Delete(Vec<Id>),
    TrimToLength(u64),
    TrimBelow(Id),
    SetId(Id),
    CreateGroup {
        group: String,
        at: Option<Id>,
    },
    DestroyGroup(String),
    MoveGroup {
        group: String,
        at: Id,
    },
    CreateConsumer {
        group: String,
        consumer: String,
    },
    DeleteConsumer {
        group: String,
        consumer: String,
    },
    Read {
        group: String,
        consumer: String,
        count: u64,
        noack: bool,
    },
    History {
        group: String,
        consumer: String,
        after: Id,
        count: u64,
    },
    Ack {
        group: String,
        ids: Vec<Id>,
    },
    Claim(Claim),
    AutoClaim {
        group: String,
        consumer: String,
        start: Id,
        count: u64,
        just_id: bool,
    },
    DeleteKey,
    Transaction(Vec<Op>),
}

impl Op {
    /// Whether the key goes in it, if only for a moment.
    pub(crate) fn deletes_the_key(&self) -> bool {
        match self {
            Self::DeleteKey => true,
            Self::Transaction(steps) => steps.iter().any(Self::deletes_the_key),
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) group: String,
    pub(crate) consumer: String,
    pub(crate) only_old: bool,
    pub(crate) ids: Vec<Id>,
    pub(crate) idle: Option<u64>,
    pub(crate) time: Option<u64>,
    pub(crate) retry_count: Option<u64>,
    pub(crate) force: bool,
    pub(crate) just_id: bool,
    pub(crate) last_id: Option<Id>,
}

/// What the reply must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Number(u64),
    Ids(Vec<Id>),
    Error,
    All(Vec<Outcome>),
}

pub(crate) fn text(id: Id) -> String {
    format!("{}-{}", id.0, id.1)
}

pub(crate) fn parse(id: &str) -> Id {
    let (ms, seq) = id.split_once('-').unwrap_or_else(|| panic!("{id:?} is no id"));
    (ms.parse().unwrap(), seq.parse().unwrap())
}

impl Op {
    /// As it goes over the wire; a transaction is several commands.
    pub(crate) fn commands(&self, key: &str) -> Vec<Args> {
        if let Self::Transaction(ops) = self {
            let mut all = vec![vec![b"MULTI".to_vec()]];
            all.extend(ops.iter().flat_map(|op| op.commands(key)));
            all.push(vec![b"EXEC".to_vec()]);
            return all;
        }
        let mut args: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(|&word| word.to_owned()));
        match self {
            Self::Add { id, token, keep } => {
                add(&["XADD", key]);
                if let Some(keep) = keep {
                    add(&["MAXLEN", &keep.to_string()]);
                }
                add(&[&id.map_or("*".to_owned(), text), "t", token]);
            }
            Self::Delete(ids) => {
                add(&["XDEL", key]);
                ids.iter().for_each(|&id| add(&[&text(id)]));
            }
            Self::TrimToLength(length) => add(&["XTRIM", key, "MAXLEN", &length.to_string()]),
            Self::TrimBelow(id) => add(&["XTRIM", key, "MINID", &text(*id)]),
            Self::SetId(id) => add(&["XSETID", key, &text(*id)]),
            Self::CreateGroup { group, at } => {
                add(&["XGROUP", "CREATE", key, group, &at.map_or("$".to_owned(), text), "MKSTREAM"]);
            }
            Self::DestroyGroup(group) => add(&["XGROUP", "DESTROY", key, group]),
            Self::MoveGroup { group, at } => add(&["XGROUP", "SETID", key, group, &text(*at)]),
            Self::CreateConsumer { group, consumer } => {
                add(&["XGROUP", "CREATECONSUMER", key, group, consumer]);
            }
            Self::DeleteConsumer { group, consumer } => add(&["XGROUP", "DELCONSUMER", key, group, consumer]),
            Self::Read { group, consumer, count, noack } => {
                add(&["XREADGROUP", "GROUP", group, consumer, "COUNT", &count.to_string()]);
                if *noack {
                    add(&["NOACK"]);
                }
                add(&["STREAMS", key, ">"]);
            }
            Self::History { group, consumer, after, count } => {
                add(&["XREADGROUP", "GROUP", group, consumer, "COUNT", &count.to_string()]);
                add(&["STREAMS", key, &text(*after)]);
            }
            Self::Ack { group, ids } => {
                add(&["XACK", key, group]);
                ids.iter().for_each(|&id| add(&[&text(id)]));
            }
            Self::Claim(claim) => {
                let min_idle = if claim.only_old { HOUR } else { 0 };
                add(&["XCLAIM", key, &claim.group, &claim.consumer, &min_idle.to_string()]);
                claim.ids.iter().for_each(|&id| add(&[&text(id)]));
                let mut option = |name: &str, value: Option<String>| {
                    if let Some(value) = value {
                        add(&[name, &value]);
                    }
                };
                option("IDLE", claim.idle.map(|idle| idle.to_string()));
                option("TIME", claim.time.map(|time| time.to_string()));
                option("RETRYCOUNT", claim.retry_count.map(|count| count.to_string()));
                option("LASTID", claim.last_id.map(text));
                if claim.force {
                    add(&["FORCE"]);
                }
                if claim.just_id {
                    add(&["JUSTID"]);
                }
            }
            Self::AutoClaim { group, consumer, start, count, just_id } => {
                add(&["XAUTOCLAIM", key, group, consumer, "0", &text(*start), "COUNT", &count.to_string()]);
                if *just_id {
                    add(&["JUSTID"]);
                }
            }
            Self::DeleteKey => add(&["DEL", key]),
            Self::Transaction(_) => unreachable!("done above"),
        }
        vec![args.into_iter().map(String::into_bytes).collect()]
    }

    /// What a reply says, in the words of the model.
    pub(crate) fn outcome(&self, reply: &Value) -> Outcome {
        let ids = |entries: &Value| {
            let id = |entry: &Value| match entry {
                Value::Bulk(_) => parse(&entry.text()),
                entry => parse(&entry.items()[0].text()),
            };
            Outcome::Ids(entries.items().iter().map(id).collect())
        };
        match (self, reply) {
            (_, Value::Error(_)) => Outcome::Error,
            (Self::Transaction(ops), Value::Array(replies)) => {
                Outcome::All(ops.iter().zip(replies).map(|(op, reply)| op.outcome(reply)).collect())
            }
            (Self::Add { .. }, Value::Bulk(_)) => Outcome::Ids(vec![parse(&reply.text())]),
            (Self::Read { .. } | Self::History { .. }, Value::NullArray) => Outcome::Ids(Vec::new()),
            (Self::Read { .. } | Self::History { .. }, Value::Array(streams)) => ids(&streams[0].items()[1]),
            (Self::Claim(_), Value::Array(_)) => ids(reply),
            (Self::AutoClaim { .. }, Value::Array(parts)) => ids(&parts[1]),
            (_, Value::Simple(_)) => Outcome::Ok,
            (_, Value::Int(number)) => Outcome::Number(u64::try_from(*number).unwrap()),
            (op, reply) => panic!("{op:?} answered {reply}"),
        }
    }
}

/// Where ids made by the server come from: the reply, or what was found after a crash, by token.
pub(crate) trait MadeIds {
    fn made(&self, token: &str) -> Option<Id>;
}

impl<F: Fn(&str) -> Option<Id>> MadeIds for F {
    fn made(&self, token: &str) -> Option<Id> {
        self(token)
    }
}

/// A stream, or no key at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model(pub(crate) Option<Stream>);

impl Model {
    fn group(&mut self, name: &str) -> Option<&mut Group> {
        self.0.as_mut()?.groups.get_mut(name)
    }

    /// Does it; `now` are the moments before and after. `None`: with these ids it can't have happened.
    pub(crate) fn apply(&mut self, op: &Op, now: (u64, u64), ids: &dyn MadeIds) -> Option<Outcome> {
        Some(match op {
            Op::Transaction(ops) => {
                Outcome::All(ops.iter().map(|op| self.apply(op, now, ids)).collect::<Option<Vec<_>>>()?)
            }
            Op::Add { id, token, keep } => return self.add(*id, token, *keep, ids),
            Op::DeleteKey => Outcome::Number(u64::from(self.0.take().is_some())),
            Op::CreateGroup { group, at } => {
                let stream = self.0.get_or_insert_default();
                let last = at.unwrap_or(stream.last);
                if stream.groups.contains_key(group) {
                    return Some(Outcome::Error);
                }
                stream.groups.insert(group.clone(), Group { last, ..Group::default() });
                Outcome::Ok
            }
            Op::Delete(_) | Op::TrimToLength(_) | Op::TrimBelow(_) | Op::SetId(_) => self.change_entries(op),
            Op::DestroyGroup(group) => match &mut self.0 {
                None => Outcome::Error,
                Some(stream) => Outcome::Number(u64::from(stream.groups.remove(group).is_some())),
            },
            Op::Ack { group, ids } => {
                let Some(group) = self.group(group) else { return Some(Outcome::Number(0)) };
                Outcome::Number(ids.iter().filter(|id| group.pending.remove(id).is_some()).count() as u64)
            }
            Op::MoveGroup { group, at } => {
                let Some(group) = self.group(group) else { return Some(Outcome::Error) };
                group.last = *at;
                Outcome::Ok
            }
            Op::CreateConsumer { group, consumer } => {
                let Some(group) = self.group(group) else { return Some(Outcome::Error) };
                Outcome::Number(u64::from(group.consumers.insert(consumer.clone())))
            }
            Op::DeleteConsumer { group, consumer } => {
                let Some(group) = self.group(group) else { return Some(Outcome::Error) };
                let before = group.pending.len();
                group.consumers.remove(consumer);
                group.pending.retain(|_, row| row.owner != *consumer);
                Outcome::Number((before - group.pending.len()) as u64)
            }
            Op::Read { group, consumer, count, noack } => self.read(group, consumer, *count, *noack, now),
            Op::History { group, consumer, after, count } => {
                let Some(stream) = &mut self.0 else { return Some(Outcome::Error) };
                let Some(group) = stream.groups.get_mut(group) else { return Some(Outcome::Error) };
                group.consumers.insert(consumer.clone());
                let mut seen = Vec::new();
                let rows = group.pending.iter_mut().filter(|(id, row)| *id > after && row.owner == *consumer);
                for (id, row) in rows.take(usize::try_from(*count).unwrap()) {
                    seen.push(*id);
                    if stream.entries.contains_key(id) {
                        row.count += 1;
                        row.time = now;
                    }
                }
                Outcome::Ids(seen)
            }
            Op::Claim(claim) => self.claim(claim, now),
            Op::AutoClaim { group, consumer, start, count, just_id } => {
                self.auto_claim(group, consumer, *start, *count, *just_id, now)
            }
        })
    }

    fn add(&mut self, id: Option<Id>, token: &str, keep: Option<u64>, ids: &dyn MadeIds) -> Option<Outcome> {
        let last = self.0.as_ref().map_or((0, 0), |stream| stream.last);
        if id.is_some_and(|id| id <= last) {
            return Some(Outcome::Error);
        }
        let id = match id {
            Some(id) => id,
            None => ids.made(token).filter(|&id| id > last)?,
        };
        let stream = self.0.get_or_insert_default();
        stream.entries.insert(id, token.to_owned());
        stream.last = id;
        stream.added += 1;
        if let Some(keep) = keep {
            stream.trim_to(keep);
        }
        Some(Outcome::Ids(vec![id]))
    }

    fn change_entries(&mut self, op: &Op) -> Outcome {
        let Some(stream) = &mut self.0 else {
            return if matches!(op, Op::SetId(_)) { Outcome::Error } else { Outcome::Number(0) };
        };
        let before = stream.entries.len();
        match op {
            Op::Delete(ids) => {
                for id in ids {
                    if stream.entries.remove(id).is_some() {
                        stream.max_deleted = stream.max_deleted.max(*id);
                    }
                }
            }
            Op::TrimToLength(length) => stream.trim_to(*length),
            Op::TrimBelow(id) => stream.entries = stream.entries.split_off(id),
            Op::SetId(id) => {
                if stream.entries.last_key_value().is_some_and(|(top, _)| id < top) {
                    return Outcome::Error;
                }
                stream.last = *id;
                return Outcome::Ok;
            }
            _ => unreachable!("not about entries"),
        }
        Outcome::Number((before - stream.entries.len()) as u64)
    }

    fn read(&mut self, group: &str, consumer: &str, count: u64, noack: bool, now: (u64, u64)) -> Outcome {
        let Some(stream) = &mut self.0 else { return Outcome::Error };
        let Some(group) = stream.groups.get_mut(group) else { return Outcome::Error };
        let fresh = stream.entries.keys().filter(|&&id| id > group.last);
        let ids: Vec<Id> = fresh.take(usize::try_from(count).unwrap()).copied().collect();
        if *NOTHING_MAKES_CONSUMERS || !ids.is_empty() {
            group.consumers.insert(consumer.to_owned());
        }
        for &id in &ids {
            group.last = id;
            if !noack {
                group.pending.insert(id, Row { owner: consumer.to_owned(), count: 1, time: now });
            }
        }
        Outcome::Ids(ids)
    }

    fn claim(&mut self, claim: &Claim, now: (u64, u64)) -> Outcome {
        let Some(stream) = &mut self.0 else { return Outcome::Error };
        let Some(group) = stream.groups.get_mut(&claim.group) else { return Outcome::Error };
        if let Some(last) = claim.last_id {
            group.last = group.last.max(last);
        }
        let time = match (claim.time, claim.idle) {
            (Some(time), _) => (time, time),
            (None, Some(idle)) => (now.0 - idle, now.1 - idle),
            (None, None) => now,
        };
        let mut claimed = Vec::new();
        for id in &claim.ids {
            if !stream.entries.contains_key(id) {
                group.pending.remove(id);
                continue;
            }
            let known = group.pending.get(id);
            let count = match known {
                Some(row) if claim.only_old && row.time.1 + HOUR > now.0 => continue,
                Some(row) => row.count,
                None if claim.force => 1,
                None => continue,
            };
            let count = claim.retry_count.unwrap_or(if claim.just_id { count } else { count + 1 });
            group.pending.insert(*id, Row { owner: claim.consumer.clone(), count, time });
            claimed.push(*id);
        }
        if *NOTHING_MAKES_CONSUMERS || !claimed.is_empty() {
            group.consumers.insert(claim.consumer.clone());
        }
        Outcome::Ids(claimed)
    }

    fn auto_claim(
        &mut self,
        group: &str,
        consumer: &str,
        start: Id,
        count: u64,
        just_id: bool,
        now: (u64, u64),
    ) -> Outcome {
        let Some(stream) = &mut self.0 else { return Outcome::Error };
        let Some(group) = stream.groups.get_mut(group) else { return Outcome::Error };
        let walk: Vec<Id> = group.pending.range(start..).map(|(&id, _)| id).collect();
        let mut claimed = Vec::new();
        // A deleted entry that is dropped uses up one of the count, as a claimed one does.
        for id in walk.into_iter().take(usize::try_from(count).unwrap()) {
            if !stream.entries.contains_key(&id) {
                group.pending.remove(&id);
                continue;
            }
            let row = group.pending.get_mut(&id).unwrap();
            row.owner = consumer.to_owned();
            row.time = now;
            row.count += u64::from(!just_id);
            claimed.push(id);
        }
        if *NOTHING_MAKES_CONSUMERS || !claimed.is_empty() {
            group.consumers.insert(consumer.to_owned());
        }
        Outcome::Ids(claimed)
    }
}

impl Stream {
    fn trim_to(&mut self, length: u64) {
        while self.entries.len() as u64 > length {
            self.entries.pop_first();
        }
    }
}
