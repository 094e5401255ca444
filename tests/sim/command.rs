//! Random commands for an engine, few keys and few ids, so that they meet.

use bytes::Bytes;
use claimlog::engine::{Engine, Ticket, TransactionSize};
use claimlog::io::sim::SimRng;
use claimlog::op::*;
use claimlog::{EntryId, Error, Fields};

/// Between the replies of a transaction's steps.
pub(crate) const STEPS: &str = "\n";

/// A request, or several as one.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    XAdd(XAdd),
    XTrim(XTrim),
    XLen(XLen),
    XRange(XRange),
    XDel(XDel),
    XSetId(XSetId),
    XGroupCreate(XGroupCreate),
    XGroupSetId(XGroupSetId),
    XGroupDestroy(XGroupDestroy),
    XGroupCreateConsumer(XGroupCreateConsumer),
    XGroupDelConsumer(XGroupDelConsumer),
    XRead(XRead),
    XReadGroup(XReadGroup),
    XAck(XAck),
    XClaim(XClaim),
    XAutoClaim(XAutoClaim),
    XPendingSummary(XPendingSummary),
    XPendingRows(XPendingRows),
    XInfoStream(XInfoStream),
    XInfoGroups(XInfoGroups),
    XDelEx(XDelEx),
    XAckDel(XAckDel),
    XNack(XNack),
    XCfgSet(XCfgSet),
    XIdmpRecord(XIdmpRecord),
    Expire(Expire),
    Persist(Persist),
    ExpiryOf(ExpiryOf),
    Rename(Rename),
    Copy(Copy),
    Move(Move),
    SwapDb(SwapDb),
    Touch(Touch),
    Scan(Scan),
    Del(Del),
    Exists(Exists),
    Keys(Keys),
    DbSize(DbSize),
    Flush(Flush),
    Transaction(Vec<Command>),
}

/// Calls `$call` on the request inside a command and writes its outcome as text.
macro_rules! dispatch {
    ($command:expr, $op:ident => $call:expr, $transaction:expr) => {
        match $command {
            Command::XAdd($op) => $call,
            Command::XTrim($op) => $call,
            Command::XLen($op) => $call,
            Command::XRange($op) => $call,
            Command::XDel($op) => $call,
            Command::XSetId($op) => $call,
            Command::XGroupCreate($op) => $call,
            Command::XGroupSetId($op) => $call,
            Command::XGroupDestroy($op) => $call,
            Command::XGroupCreateConsumer($op) => $call,
            Command::XGroupDelConsumer($op) => $call,
            Command::XRead($op) => $call,
            Command::XReadGroup($op) => $call,
            Command::XAck($op) => $call,
            Command::XClaim($op) => $call,
            Command::XAutoClaim($op) => $call,
            Command::XPendingSummary($op) => $call,
            Command::XPendingRows($op) => $call,
            Command::XInfoStream($op) => $call,
            Command::XInfoGroups($op) => $call,
            Command::XDelEx($op) => $call,
            Command::XAckDel($op) => $call,
            Command::XNack($op) => $call,
            Command::XCfgSet($op) => $call,
            Command::XIdmpRecord($op) => $call,
            Command::Expire($op) => $call,
            Command::Persist($op) => $call,
            Command::ExpiryOf($op) => $call,
            Command::Rename($op) => $call,
            Command::Copy($op) => $call,
            Command::Move($op) => $call,
            Command::SwapDb($op) => $call,
            Command::Touch($op) => $call,
            Command::Scan($op) => $call,
            Command::Del($op) => $call,
            Command::Exists($op) => $call,
            Command::Keys($op) => $call,
            Command::DbSize($op) => $call,
            Command::Flush($op) => $call,
            Command::Transaction(steps) => $transaction(steps),
        }
    };
}

/// A reply as text.
fn text<R: std::fmt::Debug>(result: Result<R, Error>) -> Result<String, Error> {
    match result {
        Ok(reply) => Ok(format!("{reply:?}")),
        Err(Error::Refused(refusal)) => Ok(format!("-{refusal}")),
        Err(error) => Err(error),
    }
}

impl Command {
    /// Decides and applies it; the reply is text.
    pub(crate) fn submit(&self, engine: &Engine) -> Ticket<String> {
        dispatch!(
            self,
            op => {
                let ticket = engine.submit(op);
                Ticket { result: text(ticket.result), after: ticket.after }
            },
            |steps: &Vec<Command>| {
                let size = TransactionSize { bytes: 1024 + steps.len() * 2048, adds: true };
                let ticket = engine.transaction_of(size, |transaction| {
                    let one = |step: &Command| -> Result<String, Error> {
                        dispatch!(step, op => text(transaction.execute(op)), |_| unreachable!("no nesting"))
                    };
                    steps.iter().map(one).collect::<Result<Vec<String>, Error>>().map(|replies| replies.join(STEPS))
                });
                let result = match ticket.result {
                    Err(Error::Refused(refusal)) => Ok(format!("-{refusal}")),
                    other => other.and_then(|result| result),
                };
                Ticket { result, after: ticket.after }
            }
        )
    }

    /// Whether it may be refused where the log is full; reads never are.
    pub(crate) fn writes(&self) -> bool {
        !matches!(
            self,
            Self::XLen(_)
                | Self::XRange(_)
                | Self::XRead(_)
                | Self::XPendingSummary(_)
                | Self::XPendingRows(_)
                | Self::XInfoStream(_)
                | Self::XInfoGroups(_)
                | Self::Exists(_)
                | Self::Keys(_)
                | Self::DbSize(_)
                | Self::ExpiryOf(_)
                | Self::Touch(_)
                | Self::Scan(_)
        )
    }

    /// Decides, applies, waits for the disk.
    pub(crate) fn execute(&self, engine: &Engine) -> Result<String, Error> {
        engine.redeem_blocking(self.submit(engine))
    }
}

fn pick<'a>(rng: &mut SimRng, from: &[&'a str]) -> &'a str {
    from[rng.below(from.len() as u64) as usize]
}

fn name(rng: &mut SimRng, from: &[&'static str]) -> Bytes {
    Bytes::from_static(pick(rng, from).as_bytes())
}

const KEYS: &[&str] = &["a", "a", "b", "c"];
const GROUPS: &[&str] = &["g", "g", "h"];
const CONSUMERS: &[&str] = &["alice", "bob", "carol"];

fn key(rng: &mut SimRng) -> Key {
    let db = DbIndex::new(u8::from(rng.one_in(12))).unwrap();
    Key { db, name: name(rng, KEYS) }
}

fn id(rng: &mut SimRng) -> EntryId {
    match rng.below(12) {
        0 => EntryId::MIN,
        1 => EntryId::MAX,
        _ => EntryId::new(rng.below(30), rng.below(2)),
    }
}

fn ids(rng: &mut SimRng) -> Vec<EntryId> {
    (0..1 + rng.below(4)).map(|_| id(rng)).collect()
}

/// Many that may be there, in an order of their own.
fn many_ids(rng: &mut SimRng) -> Vec<EntryId> {
    let first = rng.below(30);
    (0..30).map(|step| EntryId::new((first + step * 7) % 30, rng.below(3))).collect()
}

fn count(rng: &mut SimRng) -> Option<u64> {
    (!rng.one_in(3)).then(|| 1 + rng.below(5))
}

fn references(rng: &mut SimRng) -> References {
    match rng.below(4) {
        0 | 1 => References::Keep,
        2 => References::Delete,
        _ => References::Acked,
    }
}

fn limits(rng: &mut SimRng) -> ReadLimits {
    ReadLimits {
        entries: rng.one_in(5).then(|| 1 + rng.below(6)),
        bytes: rng.one_in(6).then(|| 1 + rng.below(400)),
    }
}

fn producer(rng: &mut SimRng) -> Bytes {
    name(rng, &["p", "p", "q"])
}

fn iid(rng: &mut SimRng) -> Bytes {
    name(rng, &["1", "2", "3", "4", "5"])
}

fn trim(rng: &mut SimRng) -> Trim {
    let keep = if rng.one_in(2) { Keep::Newest(rng.below(12)) } else { Keep::From(id(rng)) };
    let approximate = rng.one_in(2);
    let limit = (approximate && rng.one_in(3)).then(|| rng.below(6));
    Trim { keep, approximate, limit, references: references(rng) }
}

fn fields(rng: &mut SimRng) -> Fields {
    let long = "v".repeat(rng.below(40) as usize * if rng.one_in(8) { 40 } else { 1 });
    let second = if rng.one_in(3) { "other" } else { "f2" };
    Fields::from_flat(&["f", &long, second, &rng.below(1000).to_string()])
}

/// A random command at the ends of one stream: a few ids that are added, deleted, trimmed, and put back by XSETID.
pub(crate) fn at_the_ends(rng: &mut SimRng) -> Command {
    let (key, group) = (Key::from("s"), Bytes::from_static(b"g"));
    let id = |rng: &mut SimRng| EntryId::new(1 + rng.below(6), 0);
    let trim = |rng: &mut SimRng| {
        let keep = if rng.one_in(2) { Keep::Newest(rng.below(5)) } else { Keep::From(id(rng)) };
        let approximate = !rng.one_in(4);
        let limit = (approximate && rng.one_in(3)).then(|| rng.below(4));
        Trim { keep, approximate, limit, references: references(rng) }
    };
    match rng.below(14) {
        0..5 => {
            let trim = rng.one_in(2).then(|| trim(rng));
            let (fields, id) = (Fields::from_flat(&["f", "v"]), NewId::Exact(id(rng)));
            Command::XAdd(XAdd { key, id, fields, make_stream: true, trim, once: None })
        }
        5 => Command::XTrim(XTrim { key, trim: trim(rng) }),
        6..8 => Command::XDel(XDel { key, ids: vec![id(rng)] }),
        8..11 => {
            // The first kind makes the second one possible.
            let (last_id, max_deleted_id) =
                if rng.one_in(2) { (EntryId::new(6, 0), Some(EntryId::new(1, 0))) } else { (id(rng), None) };
            Command::XSetId(XSetId { key, last_id, entries_added: Some(6), max_deleted_id })
        }
        11 => {
            let start = GroupStart::After(EntryId::MIN);
            Command::XGroupCreate(XGroupCreate { key, group, start, make_stream: true, entries_read: None })
        }
        12 => {
            let mut read = XReadGroup::new(group, "alice", key.name);
            read.count = count(rng);
            Command::XReadGroup(read)
        }
        _ if rng.one_in(2) => Command::XAck(XAck { key, group, ids: vec![id(rng)] }),
        _ => Command::XInfoStream(XInfoStream { key }),
    }
}

/// A random command. `steps`: whether it may be a transaction.
pub(crate) fn random(rng: &mut SimRng, steps: bool) -> Command {
    let key = key(rng);
    let group = name(rng, GROUPS);
    let consumer = name(rng, CONSUMERS);
    match rng.below(if steps { 66 } else { 62 }) {
        0..10 => {
            // Ids by the clock are so large that no other command ever names them: nearly all in one stream.
            let new = match rng.below(4) {
                0 | 1 if key.name == "c" => NewId::Auto,
                0 if rng.one_in(8) => NewId::Auto,
                0 | 1 => NewId::AutoSeq(rng.below(30)),
                _ => NewId::Exact(EntryId::new(rng.below(30), rng.below(3))),
            };
            let trim = rng.one_in(4).then(|| trim(rng));
            let once = (new == NewId::Auto && rng.one_in(2))
                .then(|| Idempotent { producer: producer(rng), iid: iid(rng) });
            Command::XAdd(XAdd { key, id: new, fields: fields(rng), make_stream: !rng.one_in(6), trim, once })
        }
        10..12 => Command::XTrim(XTrim { key, trim: trim(rng) }),
        12 => Command::XLen(XLen { key }),
        13..15 => Command::XRange(XRange {
            key,
            first: id(rng),
            last: id(rng),
            count: count(rng),
            reverse: rng.one_in(2),
        }),
        15..17 => Command::XDel(XDel { key, ids: ids(rng) }),
        17 => {
            let entries_added = rng.one_in(2).then(|| rng.below(30));
            let max_deleted_id = rng.one_in(2).then(|| id(rng));
            Command::XSetId(XSetId { key, last_id: id(rng), entries_added, max_deleted_id })
        }
        18..20 => {
            let start = if rng.one_in(3) { GroupStart::Last } else { GroupStart::After(EntryId::MIN) };
            let entries_read = rng.one_in(3).then(|| rng.below(20));
            Command::XGroupCreate(XGroupCreate {
                key,
                group,
                start,
                make_stream: rng.one_in(2),
                entries_read,
            })
        }
        20 => {
            let start = if rng.one_in(2) { GroupStart::Last } else { GroupStart::After(id(rng)) };
            let entries_read = rng.one_in(2).then(|| rng.below(20));
            Command::XGroupSetId(XGroupSetId { key, group, start, entries_read })
        }
        21 if rng.one_in(2) => Command::XGroupDestroy(XGroupDestroy { key, group }),
        22 => Command::XGroupCreateConsumer(XGroupCreateConsumer { key, group, consumer }),
        21 | 23 => Command::XGroupDelConsumer(XGroupDelConsumer { key, group, consumer }),
        24 => {
            let from = match rng.below(4) {
                0 => ReadFrom::Last,
                1 => ReadFrom::LastEntry,
                _ => ReadFrom::After(id(rng)),
            };
            let streams = vec![(key.name, from), (name(rng, KEYS), ReadFrom::After(id(rng)))];
            Command::XRead(XRead { db: key.db, streams, count: count(rng), limits: limits(rng) })
        }
        25..34 => {
            let from =
                |rng: &mut SimRng| if rng.one_in(4) { GroupFrom::History(id(rng)) } else { GroupFrom::New };
            let mut streams = vec![(key.name, from(rng))];
            if rng.one_in(5) {
                streams.push((name(rng, KEYS), from(rng)));
            }
            let no_ack = rng.one_in(8);
            Command::XReadGroup(XReadGroup {
                db: key.db,
                group,
                consumer,
                streams,
                count: count(rng),
                limits: limits(rng),
                no_ack,
                claim: rng.one_in(3).then(|| rng.below(4) * 20),
            })
        }
        34..36 => Command::XAck(XAck { key, group, ids: ids(rng) }),
        36..40 => {
            let delivered = match rng.below(4) {
                0 => Some(DeliveryTime::IdleMs(rng.below(5000) as i64 - 100)),
                1 => Some(DeliveryTime::UnixMs(rng.below(3_000_000) as i64 - 100)),
                _ => None,
            };
            Command::XClaim(XClaim {
                key,
                group,
                consumer,
                min_idle_ms: rng.below(3) * 20,
                ids: ids(rng),
                delivered,
                retry_count: rng.one_in(4).then(|| rng.below(9)),
                force: rng.one_in(3),
                just_id: rng.one_in(3),
                last_id: rng.one_in(5).then(|| id(rng)),
            })
        }
        40..43 => Command::XAutoClaim(XAutoClaim {
            key,
            group,
            consumer,
            min_idle_ms: rng.below(3) * 20,
            start: id(rng),
            count: 1 + rng.below(4),
            just_id: rng.one_in(3),
        }),
        43 => Command::XPendingSummary(XPendingSummary { key, group }),
        44 => Command::XPendingRows(XPendingRows {
            key,
            group,
            first: id(rng),
            last: EntryId::MAX,
            count: 1 + rng.below(9),
            consumer: rng.one_in(2).then_some(consumer),
            min_idle_ms: rng.below(3) * 20,
        }),
        45 => match rng.below(4) {
            0 => Command::XInfoGroups(XInfoGroups { key }),
            1 => Command::Exists(Exists { db: key.db, keys: vec![key.name.clone(), name(rng, KEYS)] }),
            2 => Command::Keys(Keys { db: key.db, pattern: Bytes::from_static(b"*") }),
            _ => Command::DbSize(DbSize { db: key.db }),
        },
        46 => Command::XInfoStream(XInfoStream { key }),
        47 => match rng.below(12) {
            0 => Command::Flush(Flush { db: (!rng.one_in(3)).then_some(key.db) }),
            1..4 => Command::Del(Del { db: key.db, keys: vec![key.name.clone(), name(rng, KEYS)] }),
            _ => Command::XLen(XLen { key }),
        },
        48..50 => Command::XDelEx(XDelEx { key, ids: ids(rng), references: references(rng) }),
        50..52 => Command::XAckDel(XAckDel { key, group, ids: ids(rng), references: references(rng) }),
        52..55 => {
            let modes = [NackMode::Silent, NackMode::Fail, NackMode::Fatal];
            let mode = modes[rng.below(3) as usize];
            let retry_count = rng.one_in(4).then(|| rng.below(9));
            let ids = if rng.one_in(3) { many_ids(rng) } else { ids(rng) };
            Command::XNack(XNack { key, group, mode, ids, retry_count, force: rng.one_in(4) })
        }
        55 if rng.one_in(2) => Command::XCfgSet(XCfgSet {
            key,
            duration_secs: rng.one_in(2).then(|| 1 + rng.below(3)),
            maxsize: rng.one_in(2).then(|| 1 + rng.below(3)),
        }),
        55 => Command::XIdmpRecord(XIdmpRecord { key, producer: producer(rng), iid: iid(rng), id: id(rng) }),
        56..58 => {
            let in_ms = rng.below(3000) as i64 - 100;
            let at = if rng.one_in(2) {
                ExpireAt::InMs(in_ms)
            } else {
                ExpireAt::UnixMs(1_000_000 + rng.below(20_000) as i64)
            };
            let only_if = ExpireIf {
                never: rng.one_in(6),
                some_time: rng.one_in(6),
                earlier: rng.one_in(6),
                later: rng.one_in(6),
            };
            Command::Expire(Expire { key, at, only_if })
        }
        58 => match rng.below(3) {
            0 => Command::Persist(Persist { key }),
            1 => Command::ExpiryOf(ExpiryOf { key }),
            _ => Command::Touch(Touch { db: key.db, keys: vec![key.name.clone(), name(rng, KEYS)] }),
        },
        59..61 => match rng.below(4) {
            0 => Command::Rename(Rename {
                db: key.db,
                from: key.name,
                to: name(rng, KEYS),
                if_absent: rng.one_in(2),
            }),
            1 | 2 => Command::Copy(Copy { from: key, to: self::key(rng), replace: rng.one_in(2) }),
            _ => Command::Move(Move { key, to: self::key(rng).db }),
        },
        61 if rng.one_in(4) => Command::SwapDb(SwapDb { one: key.db, other: self::key(rng).db }),
        61 => Command::Scan(Scan { db: key.db, cursor: 0, count: 100, pattern: None }),
        _ => Command::Transaction((0..2 + rng.below(4)).map(|_| random(rng, false)).collect()),
    }
}
