//! From the words of a history to requests of the engine, and back.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use claimlog::engine::{BlockingRead, Engine, ReadOrWait, Ticket, Transaction, TransactionSize, Waiting};
use claimlog::history::{self, Group, Name, Outcome, Row, Seen, Stream, Window};
use claimlog::op::*;
use claimlog::{EntryId, Error, Fields};

fn bytes(name: &Name) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

pub(crate) fn name(bytes: impl AsRef<[u8]>) -> Name {
    String::from_utf8_lossy(bytes.as_ref()).into()
}

fn token(fields: &Fields) -> Name {
    name(fields.get("t").unwrap_or_default())
}

/// Runs requests, each by itself or as a step of a transaction.
trait Run {
    fn run<O: Op>(&mut self, op: &O) -> Result<O::Reply, Error>;
}

impl Run for Transaction<'_> {
    fn run<O: Op>(&mut self, op: &O) -> Result<O::Reply, Error> {
        self.execute(op)
    }
}

/// By itself; keeps what its reply must wait for.
struct Alone<'a> {
    engine: &'a Engine,
    after: claimlog::Seq,
}

impl Run for Alone<'_> {
    fn run<O: Op>(&mut self, op: &O) -> Result<O::Reply, Error> {
        let ticket = self.engine.submit(op);
        self.after = ticket.after;
        ticket.result
    }
}

/// What a client waits for.
pub(crate) enum Pending {
    Ticket(Ticket<Outcome>),
    Waiting(Waiting),
}

impl Pending {
    /// Looks whether a reader that waits was served meanwhile.
    pub(crate) fn look(self) -> Self {
        let Self::Waiting(mut waiting) = self else { return self };
        match Future::poll(std::pin::Pin::new(&mut waiting), &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ticket) => Self::Ticket(reads(ticket)),
            Poll::Pending => Self::Waiting(waiting),
        }
    }

    /// A reader that waits no longer, as on a timeout.
    pub(crate) fn give_up(self) -> Self {
        let Self::Waiting(waiting) = self else { return self };
        Self::Ticket(match waiting.give_up() {
            Ok(ticket) => reads(ticket),
            Err(after) => Ticket { result: Ok(Outcome::Entries(Vec::new())), after },
        })
    }
}

fn reads(ticket: Ticket<Vec<StreamRead>>) -> Ticket<Outcome> {
    let Ticket { result, after } = ticket;
    Ticket { result: told(result, entries_read), after }
}

/// Asks the engine.
pub(crate) fn send(engine: &Engine, op: &history::Op) -> Pending {
    if let history::Op::Read(read) = op
        && read.waits
    {
        return match engine.read_or_wait(BlockingRead::Group(group_read(read))) {
            ReadOrWait::Now(ticket) => Pending::Ticket(reads(ticket)),
            ReadOrWait::Waiting(waiting) => Pending::Waiting(waiting),
        };
    }
    if let history::Op::Transaction(steps) = op {
        let size = TransactionSize { bytes: 1024 + steps.len() * 2048, adds: true };
        let ticket = engine.transaction_of(size, |transaction| {
            steps.iter().map(|step| one(transaction, step)).collect::<Result<Vec<_>, Error>>()
        });
        let result = match ticket.result {
            Ok(result) => result.map(Outcome::All),
            Err(Error::Refused(refusal)) => Ok(refused(&refusal)),
            Err(error) => Err(error),
        };
        return Pending::Ticket(Ticket { result, after: ticket.after });
    }
    let mut alone = Alone { engine, after: claimlog::Seq::ZERO };
    let result = one(&mut alone, op);
    Pending::Ticket(Ticket { result, after: alone.after })
}

fn refused(refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::LogFull { .. } | Refusal::BatchTooLarge | Refusal::ReplyTooLarge => Outcome::Refused,
        _ => Outcome::Error,
    }
}

fn told<R>(result: Result<R, Error>, say: impl FnOnce(R) -> Outcome) -> Result<Outcome, Error> {
    match result {
        Ok(reply) => Ok(say(reply)),
        Err(Error::Refused(refusal)) => Ok(refused(&refusal)),
        Err(error) => Err(error),
    }
}

fn entries(read: Vec<PendingEntry>) -> Outcome {
    let seen = |entry: PendingEntry| Seen {
        id: entry.id,
        token: entry.fields.as_ref().map(token),
        delivered_before: entry.before.map(|before| before.delivery_count),
    };
    Outcome::Entries(read.into_iter().map(seen).collect())
}

fn entries_read(mut reads: Vec<StreamRead>) -> Outcome {
    entries(reads.pop().map(|read| read.entries).unwrap_or_default())
}

fn group_read(read: &history::Read) -> XReadGroup {
    let (group, consumer, key) = (bytes(&read.group), bytes(&read.consumer), bytes(&read.key));
    XReadGroup {
        count: Some(read.count),
        no_ack: read.no_ack,
        claim: read.claim_idle_ms,
        ..XReadGroup::new(group, consumer, key)
    }
}

fn one(run: &mut impl Run, op: &history::Op) -> Result<Outcome, Error> {
    use history::Op as Ask;
    let yes = |yes: bool| Outcome::Number(u64::from(yes));
    let key_of = |key: &Name| Key::from(&**key);
    match op {
        Ask::Add { key, id, token, keep, once } => {
            let add = XAdd {
                id: id.map_or(NewId::Auto, NewId::Exact),
                trim: keep.map(|keep| Keep::Newest(keep).exactly()),
                once: once
                    .as_ref()
                    .map(|(producer, iid)| Idempotent { producer: bytes(producer), iid: bytes(iid) }),
                ..XAdd::new(&**key, Fields::from_pairs([("t", token.as_bytes())]))
            };
            told(run.run(&add), |id| Outcome::Added(id.expect("streams are made")))
        }
        Ask::Delete { key, ids } => {
            told(run.run(&XDel { key: key_of(key), ids: ids.clone() }), Outcome::Number)
        }
        Ask::TrimToLength { key, length } => {
            let trim = Keep::Newest(*length).exactly();
            told(run.run(&XTrim { key: key_of(key), trim }), Outcome::Number)
        }
        Ask::TrimBelow { key, id } => {
            let trim = Keep::From(*id).exactly();
            told(run.run(&XTrim { key: key_of(key), trim }), Outcome::Number)
        }
        Ask::SetId { key, id } => {
            let set = XSetId { key: key_of(key), last_id: *id, entries_added: None, max_deleted_id: None };
            told(run.run(&set), |()| Outcome::Ok)
        }
        Ask::CreateGroup { key, group, at } => {
            let create = XGroupCreate {
                key: key_of(key),
                group: bytes(group),
                start: at.map_or(GroupStart::Last, GroupStart::After),
                make_stream: true,
                entries_read: None,
            };
            told(run.run(&create), |()| Outcome::Ok)
        }
        Ask::DestroyGroup { key, group } => {
            told(run.run(&XGroupDestroy { key: key_of(key), group: bytes(group) }), yes)
        }
        Ask::MoveGroup { key, group, at } => {
            let start = GroupStart::After(*at);
            let set = XGroupSetId { key: key_of(key), group: bytes(group), start, entries_read: None };
            told(run.run(&set), |()| Outcome::Ok)
        }
        Ask::CreateConsumer { key, group, consumer } => {
            let (group, consumer) = (bytes(group), bytes(consumer));
            told(run.run(&XGroupCreateConsumer { key: key_of(key), group, consumer }), yes)
        }
        Ask::DeleteConsumer { key, group, consumer } => {
            let (group, consumer) = (bytes(group), bytes(consumer));
            told(run.run(&XGroupDelConsumer { key: key_of(key), group, consumer }), Outcome::Number)
        }
        Ask::Read(read) => told(run.run(&group_read(read)), entries_read),
        Ask::History { key, group, consumer, after, count } => {
            let (group, consumer, name) = (bytes(group), bytes(consumer), bytes(key));
            let mut read = XReadGroup::new(group, consumer, name.clone());
            read.streams = vec![(name, GroupFrom::History(*after))];
            read.count = Some(*count);
            told(run.run(&read), entries_read)
        }
        Ask::Ack { key, group, ids } => {
            let ack = XAck { key: key_of(key), group: bytes(group), ids: ids.clone() };
            told(run.run(&ack), Outcome::Number)
        }
        Ask::Release { key, group, ids, retry_count } => {
            let release = XNack {
                key: key_of(key),
                group: bytes(group),
                mode: NackMode::Fail,
                ids: ids.clone(),
                retry_count: *retry_count,
                force: false,
            };
            told(run.run(&release), Outcome::Number)
        }
        Ask::Claim(claim) => {
            let idle = claim.idle_ms.map(|ms| DeliveryTime::IdleMs(ms as i64));
            let time = claim.time_ms.map(|ms| DeliveryTime::UnixMs(ms as i64));
            let claim = XClaim {
                key: key_of(&claim.key),
                group: bytes(&claim.group),
                consumer: bytes(&claim.consumer),
                min_idle_ms: claim.min_idle_ms,
                ids: claim.ids.clone(),
                delivered: time.or(idle),
                retry_count: claim.retry_count,
                force: claim.force,
                just_id: claim.just_id,
                last_id: claim.last_id,
            };
            told(run.run(&claim), entries)
        }
        Ask::AutoClaim { key, group, consumer, start, count, just_id } => {
            let claim = XAutoClaim {
                key: key_of(key),
                group: bytes(group),
                consumer: bytes(consumer),
                min_idle_ms: 0,
                start: *start,
                count: *count,
                just_id: *just_id,
            };
            told(run.run(&claim), |claimed| entries(claimed.entries))
        }
        Ask::Range { key } => {
            let (first, last) = (EntryId::MIN, EntryId::MAX);
            let range = XRange { key: key_of(key), first, last, count: None, reverse: false };
            told(run.run(&range), |found| {
                let seen = |entry: Entry| Seen {
                    id: entry.id,
                    token: Some(token(&entry.fields)),
                    delivered_before: None,
                };
                Outcome::Entries(found.unwrap_or_default().into_iter().map(seen).collect())
            })
        }
        Ask::ExpireAt { key, at_ms } => {
            let at = ExpireAt::UnixMs(*at_ms as i64);
            told(run.run(&Expire { key: key_of(key), at, only_if: ExpireIf::default() }), yes)
        }
        Ask::DeleteKey { key } => {
            told(run.run(&Del { db: DbIndex::default(), keys: vec![bytes(key)] }), Outcome::Number)
        }
        Ask::Rename { from, to } => {
            let (db, from, to) = (DbIndex::default(), bytes(from), bytes(to));
            told(run.run(&Rename { db, from, to, if_absent: false }), |_| Outcome::Ok)
        }
        Ask::Transaction(_) => unreachable!("transactions are not nested"),
        _ => unreachable!("nothing else is asked here"),
    }
}

/// A key as the engine shows it, and the contradictions in what it shows (I6).
pub(crate) fn observe(engine: &Engine, key: &str) -> Result<Option<Stream>, String> {
    let expiry = engine.execute_blocking(&ExpiryOf { key: key.into() }).map_err(|e| e.to_string())?;
    let full = match engine.execute_blocking(&XInfoStreamFull { key: key.into(), count: None }) {
        Ok(full) => full,
        Err(Error::Refused(Refusal::NoSuchKey)) if expiry == Expiry::NoKey => return Ok(None),
        Err(error) => return Err(format!("XINFO STREAM {key} FULL: {error}, TTL says {expiry:?}")),
    };
    let mut stream = Stream::default();
    stream.entries = full.entries.iter().map(|entry| (entry.id, token(&entry.fields))).collect();
    stream.last_id = full.info.last_id;
    stream.max_deleted_id = full.info.max_deleted_id;
    stream.added = full.info.entries_added;
    for info in &full.groups {
        stream.groups.insert(name(&info.info.name), group(info)?);
    }
    stream.expires_ms = match expiry {
        Expiry::At { unix_ms, .. } => Some(unix_ms),
        Expiry::Never => None,
        Expiry::NoKey => return Err(format!("{key} is there, and TTL says that it is not")),
    };
    if full.info.length != stream.entries.len() as u64 {
        return Err(format!("{key} has {} entries, XLEN says {}", stream.entries.len(), full.info.length));
    }
    Ok(Some(stream))
}

fn group(full: &GroupInfoFull) -> Result<Group, String> {
    let mut group = Group::default();
    group.last_id = full.info.last_delivered_id;
    for (id, owner, delivered_ms, count) in &full.pending {
        let owner = (!owner.is_empty()).then(|| name(owner));
        let row = Row { owner, count: *count, delivered: Window::exactly(*delivered_ms) };
        if group.pending.insert(*id, row).is_some() {
            return Err(format!("{id} is pending twice"));
        }
    }
    let mut owned = 0;
    for consumer in &full.consumers {
        let owner: Name = name(&consumer.name);
        for (id, delivered_ms, count) in &consumer.pending {
            owned += 1;
            let row = Row {
                owner: Some(Arc::clone(&owner)),
                count: *count,
                delivered: Window::exactly(*delivered_ms),
            };
            if group.pending.get(id) != Some(&row) {
                return Err(format!("{owner} has {id} as {row:?}, the group as {:?}", group.pending.get(id)));
            }
        }
        group.consumers.insert(owner);
    }
    let with_owner = group.pending.values().filter(|row| row.owner.is_some()).count();
    if owned != with_owner || full.info.pending_count != group.pending.len() as u64 {
        return Err(format!(
            "{owned} pending entries with the consumers, {with_owner} with an owner in the group, {} in all, {} counted",
            group.pending.len(),
            full.info.pending_count
        ));
    }
    Ok(group)
}
