//! Blocked readers: who waits for which keys, in the order in which they came.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::ops::Bound;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::core::Core;
use super::{Shared, Ticket};
use crate::error::Error;
use crate::id::Seq;
use crate::op::{DbIndex, GroupFrom, Key, StreamRead, XRead, XReadGroup};

/// A read that may wait.
#[derive(Clone, Debug)]
pub enum BlockingRead {
    /// XREAD.
    Read(XRead),
    /// XREADGROUP.
    Group(XReadGroup),
}

impl BlockingRead {
    /// Whether it would claim what is pending, and so also waits for time to pass.
    pub(super) fn claims(&self) -> bool {
        matches!(self, Self::Group(read) if read.claim.is_some())
    }

    /// The keys it waits for.
    pub(super) fn keys(&self) -> Vec<Key> {
        let key = |db, name: &Bytes| Key { db, name: name.clone() };
        match self {
            Self::Read(read) => read.streams.iter().map(|(name, _)| key(read.db, name)).collect(),
            Self::Group(read) => {
                let new = read.streams.iter().filter(|(_, from)| *from == GroupFrom::New);
                new.map(|(name, _)| key(read.db, name)).collect()
            }
        }
    }

    /// Whom it competes with, if it reads nothing else.
    fn rivals(&self) -> Option<Rivals> {
        match self {
            Self::Group(read) if read.streams.len() == 1 => {
                Some(Rivals { group: read.group.clone(), claim: read.claim })
            }
            Self::Group(_) | Self::Read(_) => None,
        }
    }
}

/// Readers of one group compete: when one found nothing, those like it behind it won't either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rivals {
    group: Bytes,
    claim: Option<u64>,
}

/// Whom to ask next: the first of each line of rivals, and everyone who has none. First come first.
pub(super) type Line = BinaryHeap<Reverse<(WaiterId, Option<Rivals>)>>;

/// The place in line: smaller came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterId(u64);

/// Everyone who waits.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next_id: u64,
    by_id: BTreeMap<WaiterId, Waiter>,
    /// Looked up by key only, so the order of the map can't show.
    by_key: HashMap<Key, Queue>,
    /// When readers of a key may find something though nothing happens (Unix ms): what is pending comes of age.
    dues: BTreeSet<(u64, Key)>,
    served: Vec<Served>,
}

/// Who waits for a key.
#[derive(Debug, Default)]
struct Queue {
    /// Those without rivals.
    alone: BTreeSet<WaiterId>,
    /// Never an empty line. The order of the map can't show.
    rivals: HashMap<Rivals, BTreeSet<WaiterId>>,
    /// How many of them would claim what is pending.
    claiming: usize,
    /// Its place in [`Waiters::dues`].
    due_ms: Option<u64>,
}

impl Queue {
    fn add(&mut self, id: WaiterId, read: &BlockingRead) {
        let line = match read.rivals() {
            Some(rivals) => self.rivals.entry(rivals).or_default(),
            None => &mut self.alone,
        };
        if line.insert(id) {
            self.claiming += usize::from(read.claims());
        }
    }

    fn remove(&mut self, id: WaiterId, read: &BlockingRead) {
        let removed = match read.rivals() {
            Some(rivals) => {
                let line = self.rivals.get_mut(&rivals);
                let removed = line.is_some_and(|line| line.remove(&id));
                if self.rivals.get(&rivals).is_some_and(BTreeSet::is_empty) {
                    self.rivals.remove(&rivals);
                }
                removed
            }
            None => self.alone.remove(&id),
        };
        if removed {
            self.claiming -= usize::from(read.claims());
        }
    }

    fn is_empty(&self) -> bool {
        self.alone.is_empty() && self.rivals.is_empty()
    }
}

/// A waiter that has its ticket and does not know it yet.
#[derive(Debug)]
pub(super) struct Served(Arc<Outcome>);

impl Served {
    pub(super) fn tell(self) {
        let waker = self.0.cell().waker.take();
        self.0.filled.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Waiter {
    read: Arc<BlockingRead>,
    outcome: Arc<Outcome>,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many keys someone waits for; how many of them a reader of a group, who is told when the key goes.
    pub(super) fn key_counts(&self) -> (usize, usize) {
        let of_group = |id: &WaiterId| {
            self.by_id.get(id).is_some_and(|waiter| matches!(&*waiter.read, BlockingRead::Group(_)))
        };
        let grouped = |queue: &&Queue| !queue.rivals.is_empty() || queue.alone.iter().any(of_group);
        let grouped = self.by_key.values().filter(grouped).count();
        (self.by_key.len(), grouped)
    }

    pub(super) fn add(&mut self, read: BlockingRead, engine: Arc<Shared>) -> Waiting {
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        for key in read.keys() {
            self.by_key.entry(key).or_default().add(id, &read);
        }
        let outcome = Arc::new(Outcome::default());
        let read = Arc::new(read);
        self.by_id.insert(id, Waiter { read: Arc::clone(&read), outcome: Arc::clone(&outcome) });
        Waiting { id, read, outcome, engine, in_line: true }
    }

    /// Who waits for a key. Of rivals only the first is in it: see [`Waiters::next_rival`].
    pub(super) fn line(&self, key: &Key) -> Line {
        let Some(queue) = self.by_key.get(key) else { return Line::new() };
        let alone = queue.alone.iter().map(|id| Reverse((*id, None)));
        let first = |(rivals, line): (&Rivals, &BTreeSet<WaiterId>)| {
            line.first().map(|id| Reverse((*id, Some(rivals.clone()))))
        };
        alone.chain(queue.rivals.iter().filter_map(first)).collect()
    }

    /// Who is behind one of some rivals.
    pub(super) fn next_rival(&self, key: &Key, rivals: &Rivals, behind: WaiterId) -> Option<WaiterId> {
        let line = self.by_key.get(key)?.rivals.get(rivals)?;
        line.range((Bound::Excluded(behind), Bound::Unbounded)).next().copied()
    }

    /// Whether someone waits for a key.
    pub(super) fn is_awaited(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether someone waits for a key who would claim what is pending.
    pub(super) fn is_awaited_by_claims(&self, key: &Key) -> bool {
        self.by_key.get(key).is_some_and(|queue| queue.claiming > 0)
    }

    /// Sets when readers of a key may find something though nothing happens (Unix ms).
    pub(super) fn set_due(&mut self, key: &Key, due_ms: Option<u64>) {
        let Some(queue) = self.by_key.get_mut(key) else { return };
        if let Some(before) = std::mem::replace(&mut queue.due_ms, due_ms) {
            self.dues.remove(&(before, key.clone()));
        }
        if let Some(due_ms) = due_ms {
            self.dues.insert((due_ms, key.clone()));
        }
    }

    /// The same, but no later than was known.
    pub(super) fn set_due_by(&mut self, key: &Key, due_ms: u64) {
        let known = self.by_key.get(key).and_then(|queue| queue.due_ms);
        if known.is_none_or(|known| due_ms < known) {
            self.set_due(key, Some(due_ms));
        }
    }

    /// When the first of them may (Unix ms).
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.dues.first().map(|(due_ms, _)| *due_ms)
    }

    /// The keys for which that time has come.
    pub(super) fn due_by(&self, now_ms: u64) -> Vec<Key> {
        self.dues.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).map(|(_, key)| key.clone()).collect()
    }

    pub(super) fn read(&self, id: WaiterId) -> Option<Arc<BlockingRead>> {
        self.by_id.get(&id).map(|waiter| Arc::clone(&waiter.read))
    }

    /// Takes a waiter out of all queues.
    fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.by_id.remove(&id)?;
        for key in waiter.read.keys() {
            let Some(queue) = self.by_key.get_mut(&key) else { continue };
            queue.remove(id, &waiter.read);
            let (nobody, nobody_claims) = (queue.is_empty(), queue.claiming == 0);
            if nobody_claims {
                self.set_due(&key, None);
            }
            if nobody {
                self.by_key.remove(&key);
            }
        }
        Some(waiter)
    }

    /// The keys of a database that someone waits for, in byte order.
    pub(super) fn keys_in(&self, db: DbIndex) -> Vec<Key> {
        let mut keys: Vec<Key> = self.by_key.keys().filter(|key| key.db == db).cloned().collect();
        keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        keys
    }

    /// Hands a waiter its ticket; it waits no more. It is told after the lock is left ([`Waiters::take_served`]).
    pub(super) fn serve(&mut self, id: WaiterId, ticket: Ticket<Vec<StreamRead>>) {
        if let Some(waiter) = self.remove(id) {
            waiter.outcome.cell().ticket = Some(ticket);
            self.served.push(Served(waiter.outcome));
        }
    }

    /// Tells everyone that nothing will come.
    pub(super) fn end(&mut self, why: &Error, after: Seq) {
        while let Some(id) = self.by_id.keys().next().copied() {
            self.serve(id, Ticket { result: Err(why.clone()), after });
        }
    }

    /// Who was served since the last call: tell them when the lock is left.
    pub(super) fn take_served(&mut self) -> Vec<Served> {
        std::mem::take(&mut self.served)
    }
}

/// Where a waiter finds its ticket.
#[derive(Debug, Default)]
struct Outcome {
    cell: Mutex<Cell>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Cell {
    ticket: Option<Ticket<Vec<StreamRead>>>,
    waker: Option<Waker>,
}

impl Outcome {
    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Ticket<Vec<StreamRead>>> {
        self.cell().ticket.take()
    }
}

/// A waiting read: a future of its ticket, on any runtime. Dropping it takes the reader out of all queues.
#[derive(Debug)]
pub struct Waiting {
    id: WaiterId,
    read: Arc<BlockingRead>,
    outcome: Arc<Outcome>,
    engine: Arc<Shared>,
    /// It may still be in queues.
    in_line: bool,
}

impl Waiting {
    /// What it waits with: "last" is an id by now.
    #[must_use]
    pub fn read(&self) -> &BlockingRead {
        &self.read
    }

    /// Its place among all that wait in this engine: smaller came earlier.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.id.0
    }

    /// Gives up, as on a timeout.
    ///
    /// # Errors
    /// If it was served in the meantime there is a ticket; otherwise the change that the null reply must wait for.
    pub fn give_up(self) -> Result<Ticket<Vec<StreamRead>>, Seq> {
        let engine = Arc::clone(&self.engine);
        self.give_up_in(&mut engine.core())
    }

    /// The same, by whoever has the lock.
    pub(super) fn give_up_in(mut self, core: &mut Core) -> Result<Ticket<Vec<StreamRead>>, Seq> {
        core.waiters.remove(self.id);
        self.in_line = false;
        self.outcome.take().ok_or(core.applied())
    }

    /// Blocks the thread until it is served, or until the timeout has passed (`None`: for as long as it takes).
    ///
    /// # Errors
    /// As [`Waiting::give_up`], when the timeout has passed.
    pub fn wait_blocking(self, timeout: Option<Duration>) -> Result<Ticket<Vec<StreamRead>>, Seq> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut cell = self.outcome.cell();
        loop {
            if let Some(ticket) = cell.ticket.take() {
                return Ok(ticket);
            }
            let Some(deadline) = deadline else {
                cell = self.outcome.filled.wait(cell).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            cell = self.outcome.filled.wait_timeout(cell, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(cell);
        self.give_up()
    }
}

impl Future for Waiting {
    type Output = Ticket<Vec<StreamRead>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut cell = self.outcome.cell();
        if let Some(ticket) = cell.ticket.take() {
            return Poll::Ready(ticket);
        }
        cell.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.in_line {
            self.engine.core().waiters.remove(self.id);
        }
    }
}
