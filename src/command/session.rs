//! What a connection is: the part that others may look at ([`Client`]), and its own ([`Session`]).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use claimlog::Seq;
use claimlog::engine::{Ticket, Waiting, Watch};
use claimlog::op::{DbIndex, StreamRead};

use super::table::Found;
use claimlog::resp::Protocol;

/// A read that waits for data.
#[derive(Debug)]
pub(crate) enum Reading {
    /// In the engine's queues.
    Waiting(Waiting),
    /// Answered while its client was not looking: before another client would have ended its waiting, or when the data
    /// were opened anew.
    Answered(Ticket<Vec<StreamRead>>),
    /// Another client has ended its waiting. The null reply must wait for this change.
    GivenUp(Seq),
}

/// What a reader has that gave up: see [`Waiting::give_up`].
pub(crate) type GaveUp = Result<Ticket<Vec<StreamRead>>, Seq>;

/// What is known of a connected client. Others see it in CLIENT LIST and may kill it.
pub(crate) struct Client {
    /// Never given out twice while the server runs.
    pub(crate) id: u64,
    /// The descriptor of its socket.
    pub(crate) descriptor: i32,
    /// Its address, where it is known.
    pub(crate) address: Option<SocketAddr>,
    /// The address it connected to.
    pub(crate) local_address: Option<SocketAddr>,
    pub(crate) connected: Instant,
    pub(crate) last_active: Cell<Instant>,
    pub(crate) name: RefCell<Bytes>,
    pub(crate) library_name: RefCell<Bytes>,
    pub(crate) library_version: RefCell<Bytes>,
    pub(crate) db: Cell<DbIndex>,
    pub(crate) protocol: Cell<Protocol>,
    /// The command it sent last.
    pub(crate) last_command: Cell<&'static str>,
    /// Commands queued since MULTI; -1 outside.
    pub(crate) queued: Cell<i64>,
    pub(crate) blocked: Cell<bool>,
    /// Blocked, by CLIENT PAUSE.
    pub(crate) paused: Cell<bool>,
    /// CLIENT UNBLOCK: to be woken, with an error or as after its timeout.
    pub(crate) unblock: Cell<Option<bool>>,
    pub(crate) no_evict: Cell<bool>,
    pub(crate) no_touch: Cell<bool>,
    /// The keys watched for the next transaction. Here, so that whoever opens the data anew finds them.
    pub(crate) watch: RefCell<Option<Watch>>,
    /// What it waits for, when that is data. Here for the same reason.
    pub(crate) reading: RefCell<Option<Reading>>,
    /// Bytes received and not yet understood.
    pub(crate) received_bytes: Cell<usize>,
    /// Room for more of them.
    pub(crate) free_bytes: Cell<usize>,
    /// Bytes of replies that have not left.
    pub(crate) unsent_bytes: Cell<usize>,
    /// Bytes queued since MULTI.
    pub(crate) queued_bytes: Cell<usize>,
    /// Since when it has had so many of them unsent as the soft limit of `client-output-buffer-limit` says.
    pub(crate) at_soft_limit_since: Cell<Option<Instant>>,
    /// Bytes received, ever.
    pub(crate) received_ever: Cell<u64>,
    /// Commands, ever.
    pub(crate) commands_ever: Cell<u64>,
    /// Bytes of replies that have left, ever.
    pub(crate) sent_bytes: Cell<u64>,
    /// To be closed as soon as it is looked at.
    pub(crate) killed: Cell<bool>,
    /// Wakes its connection.
    pub(crate) waker: RefCell<Option<Waker>>,
}

/// The kinds of clients that CLIENT LIST and KILL know. There are only normal ones here so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientKind {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl ClientKind {
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Some(Self::Normal),
            b"master" => Some(Self::Master),
            b"replica" | b"slave" => Some(Self::Replica),
            b"pubsub" => Some(Self::PubSub),
            _ => None,
        }
    }
}

impl Client {
    pub(crate) fn new(
        id: u64,
        descriptor: i32,
        address: Option<SocketAddr>,
        local_address: Option<SocketAddr>,
    ) -> Self {
        let now = Instant::now();
        Self {
            id,
            descriptor,
            address,
            local_address,
            connected: now,
            last_active: Cell::new(now),
            name: RefCell::default(),
            library_name: RefCell::default(),
            library_version: RefCell::default(),
            db: Cell::default(),
            protocol: Cell::default(),
            last_command: Cell::new("NULL"),
            queued: Cell::new(-1),
            blocked: Cell::new(false),
            paused: Cell::new(false),
            unblock: Cell::new(None),
            no_evict: Cell::new(false),
            no_touch: Cell::new(false),
            watch: RefCell::default(),
            reading: RefCell::default(),
            received_bytes: Cell::new(0),
            free_bytes: Cell::new(0),
            unsent_bytes: Cell::new(0),
            queued_bytes: Cell::new(0),
            at_soft_limit_since: Cell::new(None),
            received_ever: Cell::new(0),
            commands_ever: Cell::new(0),
            sent_bytes: Cell::new(0),
            killed: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Whether what it waits for has come.
    pub(crate) fn poll_reading(&self, task: &mut TaskContext<'_>) -> Poll<Ticket<Vec<StreamRead>>> {
        let mut reading = self.reading.borrow_mut();
        let ticket = match reading.take() {
            None => return Poll::Pending,
            Some(Reading::Answered(ticket)) => ticket,
            given_up @ Some(Reading::GivenUp(_)) => {
                *reading = given_up;
                return Poll::Pending;
            }
            Some(Reading::Waiting(mut waiting)) => match Pin::new(&mut waiting).poll(task) {
                Poll::Ready(ticket) => ticket,
                Poll::Pending => {
                    *reading = Some(Reading::Waiting(waiting));
                    return Poll::Pending;
                }
            },
        };
        Poll::Ready(ticket)
    }

    /// It waits no more. If it was served in the meantime there is a ticket; otherwise the change that the null reply
    /// must wait for; nothing if it waited for nothing.
    pub(crate) fn stop_reading(&self) -> Option<Result<Ticket<Vec<StreamRead>>, Seq>> {
        match self.reading.take()? {
            Reading::Answered(ticket) => Some(Ok(ticket)),
            Reading::Waiting(waiting) => Some(waiting.give_up()),
            Reading::GivenUp(after) => Some(Err(after)),
        }
    }

    /// Ends its waiting for data at once, so that nothing goes to it that comes from now on. `false` if what it waits for
    /// has come before.
    pub(crate) fn end_reading(&self, give_up: impl FnOnce(Waiting) -> GaveUp) -> bool {
        let mut reading = self.reading.borrow_mut();
        let (now, ended) = match reading.take() {
            Some(Reading::Waiting(waiting)) => match give_up(waiting) {
                Ok(ticket) => (Some(Reading::Answered(ticket)), false),
                Err(after) => (Some(Reading::GivenUp(after)), true),
            },
            other => {
                let ended = !matches!(other, Some(Reading::Answered(_)));
                (other, ended)
            }
        };
        *reading = now;
        ended
    }

    /// Has its connection closed. Nothing is delivered to it any more.
    pub(crate) fn kill(&self) {
        self.end_reading(Waiting::give_up);
        self.blocked.set(false);
        self.killed.set(true);
        self.wake();
    }

    /// Has its connection look around.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Its address as CLIENT LIST shows it.
    pub(crate) fn address_text(address: Option<SocketAddr>) -> String {
        address.map_or_else(|| "?:0".to_owned(), |address| address.to_string())
    }

    /// The memory that its connection takes, about.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.received_bytes.get()
            + self.free_bytes.get()
            + self.unsent_bytes.get()
            + self.queued_bytes.get()
            + self.watch.borrow().as_ref().map_or(0, Watch::memory_bytes)
    }

    /// Its line in CLIENT LIST.
    pub(crate) fn line(&self, now: Instant) -> String {
        let mut flags = String::new();
        for (is_so, letter) in [
            (self.queued.get() >= 0, 'x'),
            (self.blocked.get(), 'b'),
            (self.watch.borrow().as_ref().is_some_and(Watch::dirty), 'd'),
            (self.killed.get(), 'A'),
            (self.no_evict.get(), 'e'),
            (self.no_touch.get(), 'T'),
        ] {
            if is_so {
                flags.push(letter);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let text = |bytes: &RefCell<Bytes>| String::from_utf8_lossy(&bytes.borrow()).into_owned();
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub=0 psub=0 ssub=0 multi={} watch={} \
             qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events=r cmd={} \
             user=default redir=-1 resp={} lib-name={} lib-ver={} io-thread=0 tot-net-in={} \
             tot-net-out={} tot-cmds={}",
            self.id,
            Self::address_text(self.address),
            Self::address_text(self.local_address),
            self.descriptor,
            text(&self.name),
            now.saturating_duration_since(self.connected).as_secs(),
            now.saturating_duration_since(self.last_active.get()).as_secs(),
            self.db.get().get(),
            self.queued.get(),
            self.watch.borrow().as_ref().map_or(0, |watch| watch.keys().len()),
            self.received_bytes.get(),
            self.free_bytes.get(),
            self.queued_bytes.get(),
            self.unsent_bytes.get(),
            self.unsent_bytes.get(),
            self.memory(),
            self.last_command.get(),
            self.protocol.get().number(),
            text(&self.library_name),
            text(&self.library_version),
            self.received_ever.get(),
            self.sent_bytes.get(),
            self.commands_ever.get(),
        )
    }
}

/// A command that waits for EXEC.
pub(crate) struct Queued {
    pub(crate) found: Found,
    pub(crate) words: Vec<Vec<u8>>,
}

/// What was queued since MULTI.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) commands: Vec<Queued>,
    pub(crate) bytes: usize,
    /// A command could not be queued: EXEC will refuse the lot.
    pub(crate) aborted: bool,
}

/// Which replies are sent (CLIENT REPLY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// All but that of the next command,
    SkipNext,
    /// which is this one.
    SkipThis,
}

/// A connection's own state.
pub(crate) struct Session {
    pub(crate) client: Rc<Client>,
    pub(crate) authenticated: bool,
    pub(crate) queue: Option<Queue>,
    pub(crate) replies: Replies,
    /// The last change that a reply to this client waited for (WAITAOF).
    pub(crate) last_seq: Seq,
    /// The command it called last, if its name is one word: most often it calls the same one again.
    pub(crate) recent: Cell<Option<Found>>,
}

impl Session {
    pub(crate) fn new(client: Rc<Client>, authenticated: bool) -> Self {
        Self {
            client,
            authenticated,
            queue: None,
            replies: Replies::On,
            last_seq: Seq::ZERO,
            recent: Cell::new(None),
        }
    }

    /// Ends the transaction, if there is one, and hands over the keys watched for it. Without one, keys that are
    /// watched go on being so.
    pub(crate) fn leave_multi(&mut self) -> Option<(Queue, Option<Watch>)> {
        let queue = self.queue.take()?;
        self.client.queued.set(-1);
        self.client.queued_bytes.set(0);
        Some((queue, self.client.watch.take()))
    }

    /// Back to how the connection began (RESET).
    pub(crate) fn reset(&mut self, authenticated: bool) {
        self.leave_multi();
        self.client.watch.take();
        self.authenticated = authenticated;
        self.client.db.set(DbIndex::default());
        self.client.protocol.set(Protocol::Resp2);
        self.client.name.take();
        self.client.no_evict.set(false);
        self.client.no_touch.set(false);
        self.replies = Replies::On;
    }
}
