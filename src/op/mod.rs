//! Typed requests and their policy: what each command means, decided on the state as it is.
//!
//! A request looks at the state and at the time it is given, and answers with a reply and with the facts that make
//! the reply true ([`Decision`]), or refuses. It changes nothing: the facts do, once they are in the log.

mod expiry;
mod glob;
mod keys;
mod object;
mod presence;
mod references;
mod refusal;
mod relocate;
mod trim;
mod xack;
mod xackdel;
mod xadd;
mod xautoclaim;
mod xcfgset;
mod xclaim;
mod xdel;
mod xdelex;
mod xgroup;
mod xidmprecord;
mod xinfo;
mod xlen;
mod xnack;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;

use std::cell::Cell;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

pub use crate::fields::Entry;
pub use crate::id::DbIndex;
pub use crate::state::tree::Needs;

use crate::fields::Fields;
use crate::id::{ConsumerNo, EntryId, StreamNo};
use crate::record::{Cursor, DedupConfig, GroupAt, Record, StreamAt};
use crate::state::State;
use crate::state::entries::NodeLimits;
use crate::state::group::{Consumer, Group};
use crate::state::pending::Pending;
use crate::state::stream::Stream;

pub use expiry::*;
pub use glob::glob_match;
pub use keys::*;
pub use object::*;
pub(crate) use presence::{ConsumerAt, Presence};
pub use references::References;
pub use refusal::*;
pub use relocate::*;
pub use trim::*;
pub use xack::*;
pub use xackdel::*;
pub use xadd::*;
pub use xautoclaim::*;
pub use xcfgset::*;
pub use xclaim::*;
pub use xdel::*;
pub use xdelex::*;
pub use xgroup::*;
pub use xidmprecord::*;
pub use xinfo::*;
pub use xlen::*;
pub use xnack::*;
pub use xpending::*;
pub use xrange::*;
pub use xread::*;
pub use xreadgroup::*;
pub use xsetid::*;

/// A key: a name in a database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The database.
    pub db: DbIndex,
    /// The name: any bytes.
    pub name: Bytes,
}

impl From<&str> for Key {
    /// The key of that name in database 0.
    fn from(name: &str) -> Self {
        Self { db: DbIndex::default(), name: Bytes::copy_from_slice(name.as_bytes()) }
    }
}

/// A request: what is asked of the engine, and how it is decided. Implemented by the types of this module.
pub trait Op {
    /// What it answers.
    type Reply;

    /// Whether it is refused while the data take more memory than they may (`Settings::max_memory_bytes`). As in Redis
    /// that is what adds by itself: deliveries, claims, acknowledgements and whatever removes go on, so that a full queue
    /// can be worked off.
    const DENY_OOM: bool = false;

    /// Decides the request on the state as it is. Changes nothing.
    ///
    /// # Errors
    /// [`Stop`]: refused, or parts of the state are needed first.
    fn decide<'a>(&'a self, view: &View<'_>) -> Result<Decision<'a, Self::Reply>, Stop>;
}

/// What a request is decided on: the state, the time, the rules of the moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) state: &'a State,
    /// The wall clock, drawn once for the command or transaction (Unix ms).
    pub(crate) now_ms: u64,
    pub(crate) node_limits: NodeLimits,
    /// How long a new stream remembers idempotent ids.
    pub(crate) dedup: DedupConfig,
    pub(crate) presence: &'a Presence,
    /// What the reply may still grow by: `max-reply-bytes`, for the whole command or transaction (I10).
    pub(crate) reply_bytes_left: &'a Cell<u64>,
}

/// A reply, and the facts that make it true.
#[derive(Debug)]
pub struct Decision<'a, R> {
    pub(crate) reply: R,
    /// In the order in which they are applied. None for a request that only looked.
    pub(crate) records: Records<'a>,
    /// Consumers that made themselves heard.
    pub(crate) seen: SmallVec<[ConsumerAt; 1]>,
}

/// The facts of a request: most often one, which then takes no allocation.
pub(crate) type Records<'a> = SmallVec<[Record<'a>; 1]>;

/// Why a request could not be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// It is refused.
    Refuse(Refusal),
    /// A part of the state has to be loaded first; then it is decided anew.
    Needs(Needs),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<Needs> for Stop {
    fn from(needs: Needs) -> Self {
        Self::Needs(needs)
    }
}

impl<'a, R> Decision<'a, R> {
    /// A reply that changes nothing.
    fn read(reply: R) -> Result<Self, Stop> {
        Self::change(reply, Records::new())
    }

    /// A reply and the facts that make it true.
    fn change(reply: R, records: Records<'a>) -> Result<Self, Stop> {
        Ok(Self { reply, records, seen: SmallVec::new() })
    }
}

impl<'a> View<'a> {
    /// The stream of a key, which is used by that.
    fn stream(&self, key: &Key) -> Result<Option<&'a Stream>, Needs> {
        self.stream_named(key.db, &key.name)
    }

    /// The same, for requests that name several keys.
    fn stream_named(&self, db: DbIndex, name: &[u8]) -> Result<Option<&'a Stream>, Needs> {
        let stream = self.peek(db, name)?;
        if let Some(stream) = stream {
            self.presence.set_used(stream.no, self.now_ms);
        }
        Ok(stream)
    }

    /// The stream of a key, without using it: for requests about keys.
    fn peek(&self, db: DbIndex, name: &[u8]) -> Result<Option<&'a Stream>, Needs> {
        self.state.database(db).stream(name)
    }

    fn at(&self, db: DbIndex, stream: &Stream) -> StreamAt {
        StreamAt { db: self.state.database(db).no(), no: stream.no }
    }

    /// Where a stream will be that is created now.
    fn next_at(&self, db: DbIndex) -> StreamAt {
        StreamAt { db: self.state.database(db).no(), no: self.state.next_stream() }
    }

    /// Creates a stream.
    fn create<'k>(&self, key: &'k Key, records: &mut impl Extend<Record<'k>>) -> StreamAt {
        let stream = self.next_at(key.db);
        records.extend([Record::StreamCreated { stream, name: (&key.name).into() }]);
        if self.dedup != DedupConfig::default() {
            records.extend([Record::DedupConfigured { stream, config: self.dedup }]);
        }
        stream
    }

    /// Counts something into the reply, before it is copied out.
    fn spend(&self, bytes: usize) -> Result<(), Stop> {
        /// What an element costs beside its bytes: its id, its place in lists, its framing on the wire.
        const ELEMENT_BYTES: u64 = 64;
        let left = self.reply_bytes_left.get().checked_sub(bytes as u64 + ELEMENT_BYTES);
        self.reply_bytes_left.set(left.ok_or(Refusal::ReplyTooLarge)?);
        Ok(())
    }

    /// The entries of a stream after an id, counted into the reply.
    fn entries_after(&self, stream: &Stream, after: EntryId, count: Option<u64>) -> Result<Vec<Entry>, Stop> {
        let Some(first) = after.successor() else { return Ok(Vec::new()) };
        stream.entries.range(first, EntryId::MAX, count_max(count), false, |bytes| self.spend(bytes))
    }

    /// An entry of a stream, counted into the reply.
    fn entry(&self, stream: &Stream, id: EntryId) -> Result<Option<Fields>, Stop> {
        let fields = stream.entries.get(id)?;
        self.spend(fields.as_ref().map_or(0, |fields| fields.packed().len()))?;
        Ok(fields)
    }

    fn idle_ms(&self, since_ms: u64) -> u64 {
        self.now_ms.saturating_sub(since_ms)
    }

    /// Whether a pending entry may be claimed: it was released, or its delivery is long enough ago.
    fn is_idle(&self, row: &Pending, min_idle_ms: u64) -> bool {
        row.owner().is_none() || self.idle_ms(row.delivered_ms()) >= min_idle_ms
    }

    /// Whether none of the pending entries of which this is the oldest delivery may be claimed. It is 0 if one of them
    /// was released.
    fn is_too_young(&self, oldest_delivered_ms: u64, min_idle_ms: u64) -> bool {
        oldest_delivered_ms > 0 && self.idle_ms(oldest_delivered_ms) < min_idle_ms
    }

    /// When a consumer was last seen: the later of creation and last activity, unless it was seen since the start.
    fn seen_ms(&self, stream: &Stream, consumer: &Consumer) -> u64 {
        let known = consumer.active_ms.unwrap_or(0).max(consumer.created_ms);
        self.presence.seen_ms((stream.no, consumer.no)).map_or(known, |seen| seen.max(known))
    }
}

/// The largest delivery count: what fits an integer of the protocol.
const DELIVERY_COUNT_MAX: u64 = i64::MAX as u64;

/// A delivery count after one more delivery.
fn once_more(delivery_count: u64) -> u64 {
    delivery_count.saturating_add(1).min(DELIVERY_COUNT_MAX)
}

/// COUNT as a number of things in memory; none is no limit.
fn count_max(count: Option<u64>) -> usize {
    usize::try_from(count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
}

/// Finds a consumer of a group, or the facts that create it.
fn join_group<'a>(
    view: &View<'_>,
    group: &Group,
    group_at: &GroupAt<'a>,
    name: &'a Bytes,
    created_before: u64,
) -> Result<Joined<'a>, Needs> {
    if let Some(consumer) = group.consumer(name)? {
        return Ok(Joined { at: group_at.stream.no, no: consumer.no, created: None });
    }
    let no = ConsumerNo::new(view.state.next_consumer().get() + created_before);
    let created = Record::ConsumerCreated {
        group: group_at.clone(),
        consumer: no,
        name: name.into(),
        at_ms: view.now_ms,
    };
    Ok(Joined { at: group_at.stream.no, no, created: Some(created) })
}

/// A consumer that takes part in a request.
struct Joined<'a> {
    at: StreamNo,
    no: ConsumerNo,
    /// The fact that creates it, if it is new.
    created: Option<Record<'a>>,
}

impl Joined<'_> {
    /// Who made itself heard: a new consumer has just been created anyway.
    fn seen(&self) -> Option<ConsumerAt> {
        self.created.is_none().then_some((self.at, self.no))
    }
}

/// The ids that pass, ascending, each once.
fn ascending(
    ids: &[EntryId],
    passes: impl Fn(EntryId) -> Result<bool, Needs>,
) -> Result<Vec<EntryId>, Needs> {
    let mut kept = Vec::with_capacity(ids.len());
    for id in ids {
        if passes(*id)? {
            kept.push(*id);
        }
    }
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}
