//! The core: the state, the log's buffer and everyone who waits, behind one lock.
//!
//! Memory only: no I/O, no await, no callback while the lock is held. What a change drops and who was served is taken
//! along when the lock is left ([`After`]) and dealt with outside.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::Ticket;
use super::options::Settings;
use super::ready_keys::ReadyKeys;
use super::snapshots::Snapshots;
use super::touched::{Awaited, Place, Touched, touched};
use super::transaction::TransactionSize;
use super::waiters::{BlockingRead, Served, WaiterId, Waiters};
use super::watch::Watchers;
use crate::error::Error;
use crate::id::Seq;
use crate::op::{Key, Op, Presence, Refusal, Stop, StreamRead, View};
use crate::record::codec::BatchBytes;
use crate::record::{Record, StreamAt};
use crate::recovery::absorb;
use crate::state::group::Group;
use crate::state::stream::Stream;
use crate::state::tree::Trash;
use crate::state::{Database, State};
use crate::wal::{Buffer, Room, Use};

/// Everything that is decided on and changed under the one lock.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) state: State,
    /// `None` when the engine was closed.
    pub(super) log: Option<Buffer>,
    /// When the first batch was appended that no commit has taken yet.
    pub(super) unwritten_since: Option<Instant>,
    pub(super) settings: Settings,
    pub(super) waiters: Waiters,
    pub(super) watchers: Watchers,
    presence: Presence,
    limits: Limits,
    /// Whether snapshots keep up.
    snapshots: Arc<Snapshots>,
    /// What the reply under construction may still grow by.
    reply_bytes_left: Cell<u64>,
    /// The batch under construction.
    batch: BatchBytes,
    /// Keys of the batch under construction that someone waits for; after it, those whose readers wait for a segment.
    ready: ReadyKeys,
    /// No key expires before this (Unix ms).
    next_expiry_ms: Option<u64>,
    /// How many keys have expired since the start.
    expired: u64,
    /// How many requests have changed something since the start, as Redis counts: reading one's history again is none.
    pub(super) changes: u64,
    /// How many requests have had the lock.
    turns: u64,
    /// When the one that has it got it, if that is measured.
    pub(super) held_since: Option<Instant>,
    /// How many of them the last snapshot has.
    pub(super) saved_changes: u64,
    ended: Option<Error>,
}

/// How large things may get (I10).
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The changes of one command or transaction.
    pub(super) batch_bytes: usize,
    /// The reply of one command, or those of one transaction.
    pub(super) reply_bytes: u64,
}

/// What is left to do when the lock is left.
#[must_use]
pub(super) struct After {
    trash: Trash,
    served: Vec<Served>,
}

impl After {
    /// Frees what was dropped and tells who was served.
    pub(super) fn run(self) {
        self.served.into_iter().for_each(Served::tell);
        drop(self.trash);
    }
}

/// Why a step was not taken.
pub(super) enum Halt {
    /// It is refused, or the engine has ended.
    Error(Error),
    /// A segment is to be made: outside the lock. Then decide again.
    NotYet,
}

/// What came of trying to serve a reader.
enum Tried {
    Served,
    /// There is nothing for it.
    Dry,
    NotYet,
}

impl Core {
    pub(super) fn new(
        state: State,
        log: Buffer,
        settings: Settings,
        limits: Limits,
        snapshots: Arc<Snapshots>,
    ) -> Self {
        Self {
            next_expiry_ms: state.next_expiry_ms(),
            expired: 0,
            changes: 0,
            saved_changes: 0,
            state,
            log: Some(log),
            unwritten_since: None,
            turns: 0,
            held_since: None,
            settings,
            waiters: Waiters::default(),
            watchers: Watchers::default(),
            presence: Presence::default(),
            limits,
            snapshots,
            reply_bytes_left: Cell::new(limits.reply_bytes),
            batch: BatchBytes::default(),
            ready: ReadyKeys::default(),
            ended: None,
        }
    }

    /// A request has got the lock.
    pub(super) fn begin_turn(&mut self) {
        /// The clock costs about as much as a small request.
        const MEASURED: u64 = 64;
        self.turns += 1;
        self.held_since = self.turns.is_multiple_of(MEASURED).then(Instant::now);
    }

    /// The last batch applied.
    pub(super) fn applied(&self) -> Seq {
        self.state.applied()
    }

    /// Whether the data take more memory than they may.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.settings.max_memory_bytes > 0 && self.state.memory_bytes() > self.settings.max_memory_bytes
    }

    /// Why nothing is served any more, if that is so.
    pub(super) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// Nothing is served from now on. Who waits is told.
    pub(super) fn end(&mut self, why: Error) {
        if self.ended.is_none() {
            self.waiters.end(&why, self.state.applied());
            self.ready.clear();
            self.ended = Some(why);
        }
    }

    pub(super) fn after(&mut self) -> After {
        After { trash: self.state.take_trash(), served: self.waiters.take_served() }
    }

    /// Decides a request and makes its facts part of the batch under construction and of the state: all of it or, after
    /// a [`Halt`], nothing.
    pub(super) fn step<O: Op>(&mut self, op: &O, now_ms: u64) -> Result<O::Reply, Halt> {
        let reply_bytes_left = self.reply_bytes_left.get();
        let result = self.try_step(op, now_ms);
        if let Err(Halt::NotYet) = result {
            self.reply_bytes_left.set(reply_bytes_left);
        }
        result
    }

    fn try_step<O: Op>(&mut self, op: &O, now_ms: u64) -> Result<O::Reply, Halt> {
        let decision = match op.decide(&self.view(now_ms)) {
            Ok(decision) => decision,
            Err(Stop::Refuse(refusal)) => return Err(Halt::Error(refusal.into())),
            Err(Stop::Needs(needs)) => {
                let why = self.fail(format!("{needs:?} while all of the state should be in memory"));
                return Err(Halt::Error(why));
            }
        };
        let reply = decision.reply;
        self.commit(&decision.records)?;
        for consumer in decision.seen {
            self.presence.set(consumer, now_ms);
        }
        Ok(reply)
    }

    fn view(&self, now_ms: u64) -> View<'_> {
        View {
            state: &self.state,
            now_ms,
            node_limits: self.settings.node_limits(),
            dedup: self.settings.dedup(),
            presence: &self.presence,
            reply_bytes_left: &self.reply_bytes_left,
        }
    }

    /// Encodes facts, asks whether they have room, and absorbs them: all of them or none.
    fn commit(&mut self, records: &[Record<'_>]) -> Result<(), Halt> {
        if records.is_empty() {
            return Ok(());
        }
        let mark = self.batch.mark();
        records.iter().for_each(|record| self.batch.push(record));
        let used_for = if records.iter().any(Record::adds) { Use::Adds } else { Use::Frees };
        if self.batch.len() > self.limits.batch_bytes {
            self.batch.truncate(mark);
            let too_large = |record: &Record<'_>| matches!(record, Record::EntryAdded { fields, .. } if fields.0.len() > self.limits.batch_bytes);
            let alone = records.iter().any(too_large);
            let refusal = if alone { Refusal::EntryTooLarge } else { Refusal::BatchTooLarge };
            return Err(Halt::Error(refusal.into()));
        }
        if let Err(halt) = self.has_room(used_for) {
            self.batch.truncate(mark);
            return Err(halt);
        }
        if !(self.waiters.is_empty() && self.watchers.is_empty()) {
            records
                .iter()
                .flat_map(|record| touched(&self.state, record))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|touched| self.note(touched));
        }
        let seq = self.state.applied().next();
        // What was encoded is what replay will see: a slip of the codec shows at once in a debug build.
        #[cfg(debug_assertions)]
        let absorbed = absorb(&mut self.state, seq, self.batch.since(mark));
        #[cfg(not(debug_assertions))]
        let absorbed = absorb(&mut self.state, seq, records.iter().map(Ok));
        if let Err(why) = absorbed {
            // Nothing of this batch is in the log, and nothing more will be (I8).
            self.batch.truncate(mark);
            return Err(Halt::Error(
                self.fail(format!("a decision does not fit the state, which is a bug: {why}")),
            ));
        }
        let counts = |record: &Record<'_>| !matches!(record, Record::Claimed { active_ms: None, .. });
        self.changes += u64::from(records.iter().any(counts));
        // Whatever else happens, keys only expire later than that, or not at all.
        let sooner =
            |record: &Record<'_>| matches!(record, Record::ExpirySet { .. } | Record::StreamCopied { .. });
        if records.iter().any(sooner) {
            self.next_expiry_ms = self.state.next_expiry_ms();
        }
        for record in records {
            if let Record::StreamCopied { from, to, .. } = record {
                self.copy_presence(*from, *to);
            }
        }
        Ok(())
    }

    /// The consumers of a copy were last seen when those of the original were.
    fn copy_presence(&mut self, from: StreamAt, to: StreamAt) {
        let Ok(Some(copy)) = self.state.stream_at(to) else { return };
        for consumer in copy.groups().flat_map(Group::consumers) {
            if let Some(seen_ms) = self.presence.seen_ms((from.no, consumer.no)) {
                self.presence.set((to.no, consumer.no), seen_ms);
            }
        }
    }

    /// Whether some key has expired, as far as is known.
    pub(super) fn has_expired(&self, now_ms: u64) -> bool {
        self.next_expiry_ms.is_some_and(|next_ms| next_ms <= now_ms)
    }

    /// Removes keys that have expired, in batches of their own. Before that, nothing is decided. Where the log is so
    /// full that even this has no room, they stay.
    pub(super) fn remove_expired(&mut self, now_ms: u64) -> Result<(), Halt> {
        /// Not more in one batch.
        const BATCH_MAX: usize = 1024;
        while self.has_expired(now_ms) {
            let expired = self.state.expired_by(now_ms, BATCH_MAX);
            let records: Vec<Record<'_>> =
                expired.iter().map(|stream| Record::StreamDeleted { stream: *stream }).collect();
            self.commit(&records)?;
            self.expired += records.len() as u64;
            self.next_expiry_ms = self.state.next_expiry_ms();
            self.finish(now_ms);
        }
        Ok(())
    }

    /// How many keys have expired since the start.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    /// When something is to be done though nobody asks (Unix ms): a key expires, or what is pending comes of age for a
    /// reader who waits for that.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let expiry = self.next_expiry_ms.filter(|_| self.settings.active_expiry);
        let claim = self.waiters.next_due_ms();
        match (expiry, claim) {
            (Some(expiry), Some(claim)) => Some(expiry.min(claim)),
            (one, other) => one.or(other),
        }
    }

    /// Has readers served for whom what is pending has come of age.
    pub(super) fn note_due(&mut self, now_ms: u64) {
        for key in self.waiters.due_by(now_ms) {
            self.note_key(key, false, Awaited::ByAll);
        }
    }

    /// Sets when readers of a key who would claim may find something though nothing happens. They found nothing now.
    fn schedule_claims(&mut self, key: &Key, now_ms: u64) {
        if !self.waiters.is_awaited_by_claims(key) {
            return;
        }
        let mut known: HashSet<(bytes::Bytes, u64)> = HashSet::new();
        let mut due: Option<u64> = None;
        for Reverse((id, _)) in self.waiters.line(key) {
            let Some(read) = self.waiters.read(id) else { continue };
            let BlockingRead::Group(read) = &*read else { continue };
            let Some(min_idle_ms) = read.claim else { continue };
            if known.insert((read.group.clone(), min_idle_ms)) {
                let wakes_at = read.wakes_at(&self.state, &key.name, now_ms);
                due = due.into_iter().chain(wakes_at).min();
            }
        }
        self.waiters.set_due(key, due);
    }

    /// The same for a reader that has just got in line.
    pub(super) fn schedule_claims_of(&mut self, read: &BlockingRead, now_ms: u64) {
        let BlockingRead::Group(group_read) = read else { return };
        for key in read.keys() {
            if let Some(due_ms) = group_read.wakes_at(&self.state, &key.name, now_ms) {
                self.waiters.set_due_by(&key, due_ms);
            }
        }
    }

    /// Whether the batch so far has room, its last step being for that.
    fn has_room(&self, used_for: Use) -> Result<(), Halt> {
        self.room(self.batch.len(), used_for)
    }

    fn room(&self, bytes: usize, used_for: Use) -> Result<(), Halt> {
        let Some(log) = &self.log else { return Err(Halt::Error(Error::Closed)) };
        if used_for == Use::Adds
            && let Some(why) = self.snapshots.refusal()
        {
            return Err(Halt::Error(Refusal::LogFull { why }.into()));
        }
        match log.room(bytes, used_for) {
            Room::Yes => Ok(()),
            Room::NotYet => Err(Halt::NotYet),
            Room::Full => Err(Halt::Error(Refusal::LogFull { why: log.no_room() }.into())),
        }
    }

    /// Has room made ready for a transaction. Less than it asks for is no reason to refuse it, nothing at all is, if
    /// it adds.
    pub(super) fn room_for(&self, size: TransactionSize) -> Result<(), Halt> {
        match self.room(size.bytes.min(self.limits.batch_bytes), Use::Adds) {
            Err(Halt::Error(Error::Refused(_))) => {}
            other => return other,
        }
        match self.room(0, Use::Adds) {
            Err(Halt::Error(Error::Refused(_))) if !size.adds => Ok(()),
            other => other,
        }
    }

    /// Why nothing can be added, if that is so.
    pub(super) fn full_because(&self) -> Option<Arc<str>> {
        self.snapshots.refusal().or_else(|| self.log.as_ref().and_then(Buffer::full_because))
    }

    /// Remembers a touched key for those who watch it and for those who wait for it.
    fn note(&mut self, touched: Touched) {
        match touched.what {
            Place::Key(key) => self.note_key(key, touched.watched, touched.awaited),
            Place::Database(db, with) => {
                let exists = |key: &Key| {
                    let there =
                        |db| self.state.database(db).stream(&key.name).is_ok_and(|found| found.is_some());
                    there(db) || with.is_some_and(there)
                };
                let watched: Vec<Key> = self.watchers.keys_in(db).into_iter().filter(exists).collect();
                let awaited: Vec<Key> = self.waiters.keys_in(db).into_iter().filter(exists).collect();
                watched.into_iter().for_each(|key| self.note_key(key, touched.watched, Awaited::No));
                awaited.into_iter().for_each(|key| self.note_key(key, false, touched.awaited));
            }
        }
    }

    fn note_key(&mut self, key: Key, watched: bool, awaited: Awaited) {
        if watched {
            self.watchers.mark(&key);
        }
        let is_awaited = match awaited {
            Awaited::No => false,
            Awaited::ByClaims => self.waiters.is_awaited_by_claims(&key),
            Awaited::ByAll => self.waiters.is_awaited(&key),
        };
        if is_awaited {
            self.ready.add(key);
        }
    }

    /// Ends the batch under construction: it goes into the log's buffer, and whoever waited for its keys is served.
    /// Answers the last batch applied before they were.
    pub(super) fn finish(&mut self, now_ms: u64) -> Seq {
        self.append();
        self.reply_bytes_left.set(self.limits.reply_bytes);
        let applied = self.state.applied();
        self.serve_ready(now_ms);
        if self.presence.wants_sweep() {
            self.sweep_presence();
        }
        applied
    }

    fn append(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(log) = self.log.as_mut().filter(|_| self.ended.is_none()) {
            let seq = log.append(self.batch.bytes());
            if self.unwritten_since.is_none() {
                self.unwritten_since = Some(Instant::now());
            }
            self.state.finish(seq);
        }
        self.batch.clear();
    }

    /// Whether readers that should have been served wait for a segment. They come before whatever is asked later.
    pub(super) fn owes_readers(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Serves who waits for the keys that are ready. Where the next segment of the log is missing, that reader and all
    /// behind it keep their places, and their keys stay ready.
    pub(super) fn serve_ready(&mut self, now_ms: u64) {
        // Serving a reader may make further keys ready, if it reads several.
        while let Some(key) = self.ready.first().cloned() {
            if !self.serve(&key, now_ms) {
                break;
            }
            self.ready.remove_first();
        }
        if self.ended.is_some() {
            self.ready.clear();
        }
    }

    /// Serves who waits for a key, first come first, each as a batch of its own. Who finds nothing keeps its place.
    /// `false`: the next segment is missing.
    fn serve(&mut self, key: &Key, now_ms: u64) -> bool {
        let mut line = self.waiters.line(key);
        while let Some(Reverse((id, rivals))) = line.pop() {
            if let Some(read) = self.waiters.read(id) {
                match self.try_serve(id, &read, now_ms) {
                    Tried::Dry if rivals.is_some() => continue,
                    Tried::Served | Tried::Dry => {}
                    Tried::NotYet => return false,
                }
            }
            if let Some(rivals) = rivals
                && let Some(next) = self.waiters.next_rival(key, &rivals, id)
            {
                line.push(Reverse((next, Some(rivals))));
            }
        }
        self.schedule_claims(key, now_ms);
        true
    }

    fn try_serve(&mut self, id: WaiterId, read: &BlockingRead, now_ms: u64) -> Tried {
        self.reply_bytes_left.set(self.limits.reply_bytes);
        let result = match self.try_read(read, now_ms) {
            Ok(None) => {
                // A consumer that was removed while it waited is there again: that is a change like any other.
                self.append();
                return Tried::Dry;
            }
            Ok(Some(reply)) => Ok(reply),
            // Where the log is full it is told so, and nothing is delivered (I9).
            Err(Halt::Error(error)) => Err(error),
            Err(Halt::NotYet) => return Tried::NotYet,
        };
        self.append();
        let after = self.state.applied();
        self.waiters.serve(id, Ticket { result, after });
        Tried::Served
    }

    /// Decides a read that may wait; `None` if it has nothing to answer. Then nothing was changed but, for a reader of
    /// a group, the consumer that was created.
    pub(super) fn try_read(
        &mut self,
        read: &BlockingRead,
        now_ms: u64,
    ) -> Result<Option<Vec<StreamRead>>, Halt> {
        let reply = match read {
            BlockingRead::Read(read) => self.step(read, now_ms)?,
            BlockingRead::Group(read) => self.step(read, now_ms)?,
        };
        Ok((!reply.is_empty()).then_some(reply))
    }

    /// Fixes what a read means by "last" before it waits.
    pub(super) fn fix_last(&self, read: &mut BlockingRead, now_ms: u64) -> Result<(), Error> {
        match read {
            BlockingRead::Read(read) => {
                read.fix_last(&self.view(now_ms)).map_err(|needs| Error::failed(format!("{needs:?}")))
            }
            BlockingRead::Group(_) => Ok(()),
        }
    }

    fn sweep_presence(&mut self) {
        let streams: Vec<&Stream> = self.state.databases().flat_map(Database::streams).collect();
        let consumers = streams.iter().flat_map(|stream| {
            let consumers = stream.groups().flat_map(Group::consumers);
            consumers.map(|consumer| (stream.no, consumer.no))
        });
        self.presence.sweep(streams.iter().map(|stream| stream.no), consumers);
    }

    fn fail(&mut self, why: String) -> Error {
        let why = Error::failed(why);
        self.end(why.clone());
        why
    }
}
