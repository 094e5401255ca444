//! One connection: reads, executes what it has got, parks the replies, waits where a command says so.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use claimlog::Error;
use claimlog::Seq;
use claimlog::engine::Ticket;
use claimlog::op::StreamRead;
use claimlog::resp::{Decoder, Encoder, Limits, ProtocolError};
use smallvec::SmallVec;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep};

use super::output::Output;
use super::reload::reload;
use super::{Server, error_of};
use crate::command::{Client, Outcome, Reading, Session, dispatch, stats_add};

/// How much is read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Requests with more words than this need an allocation for where they are.
const WORDS_ON_STACK: usize = 16;
/// A connection with more unsent replies than this executes nothing until they have left: what a client does not
/// read, it can't make grow.
pub(crate) const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// But all connections together may have so many more. Some clients send all of a long pipeline before they read
/// anything, and would wait for ever.
const MORE_UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A connection that is busy with a command is not read from once it has sent this much more.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// Timers are not set for longer than this: as good as for ever.
const TIMEOUT_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What CLIENT UNBLOCK with ERROR leaves.
const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// The way out of a connection: its replies and its socket. The committer writes to it too.
pub(crate) struct Wire {
    socket: OwnedWriteHalf,
    output: RefCell<Output>,
    client: Rc<Client>,
    /// On the committer's list.
    pub(crate) listed: Cell<bool>,
    /// Its task waits for replies to leave: to go on, or to close.
    wants_room: Cell<bool>,
    /// How much it has of what all connections together may have unsent beyond what each may.
    more_unsent: Cell<usize>,
    /// Its connection is gone: nothing of it counts any more, nor is anything sent.
    gone: Cell<bool>,
    /// It was told that the log failed. Nothing follows.
    failed: Cell<bool>,
    /// The socket takes nothing any more.
    broken: Cell<bool>,
}

impl Wire {
    /// Sends what is visible. What the socket does not take at once is finished by the connection's own task.
    pub(crate) fn send_visible(&self, server: &Server, visible: Seq) {
        self.output.borrow_mut().release(visible);
        self.send(server);
        if self.broken.get() || self.wants_room.get() || !self.output.borrow().ready().is_empty() {
            self.client.wake();
        }
    }

    /// Writes until everything ready has left, or the socket takes no more.
    fn send(&self, server: &Server) {
        let mut output = self.output.borrow_mut();
        while !output.ready().is_empty() && !self.broken.get() && !self.gone.get() {
            match self.socket.try_write(output.ready()) {
                Ok(bytes) => {
                    stats_add(&server.context.stats.writes, 1);
                    stats_add(&server.context.stats.bytes_out, bytes as u64);
                    output.consume(bytes);
                    stats_add(&self.client.sent_bytes, bytes as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.broken.set(true),
            }
        }
        output.compact();
        self.client.unsent_bytes.set(output.unsent());
        self.is_full(server, output.unsent());
    }

    /// Whether so many unsent bytes are more than it may have.
    fn is_full(&self, server: &Server, unsent: usize) -> bool {
        let more = if self.gone.get() { 0 } else { unsent.saturating_sub(UNSENT_BYTES_MAX) };
        let before = self.more_unsent.get();
        if more == 0 && before == 0 {
            return false;
        }
        let others = server.more_unsent.get() - before;
        let has = more.min(MORE_UNSENT_BYTES_MAX.saturating_sub(others));
        self.more_unsent.set(has);
        server.more_unsent.set(others + has);
        more > has
    }

    /// Whether replies wait for a commit.
    pub(crate) fn waits(&self) -> bool {
        self.output.borrow().waits()
    }

    /// What waits will never leave: one error takes its place.
    pub(crate) fn fail(&self, error: &[u8]) {
        self.listed.set(false);
        if !self.failed.replace(true) {
            self.output.borrow_mut().fail(error);
        }
        self.client.wake();
    }
}

/// A command that is not finished: it waits for data, or for time to pass.
struct Blocked {
    timer: Option<Pin<Box<Sleep>>>,
    /// The command's number, for the statistics.
    slot: usize,
    then: Then,
}

enum Then {
    /// Encode what was read, or nothing. What is waited for is the client's `reading`.
    Read(fn(&mut Encoder<'_>, &[StreamRead])),
    /// Encode this when the time is over.
    Answer(fn(&mut Encoder<'_>)),
    /// A pause holds it up: run it then. The decoder still has it.
    Again,
}

impl Blocked {
    fn new(timeout: Option<Duration>, slot: usize, then: Then) -> Self {
        let timer = timeout.map(|timeout| {
            let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
            Box::pin(tokio::time::sleep_until(deadline))
        });
        Self { timer, slot, then }
    }
}

struct Connection {
    server: Rc<Server>,
    wire: Rc<Wire>,
    socket: OwnedReadHalf,
    session: Session,
    decoder: Decoder,
    blocked: Option<Blocked>,
    /// The reply of the last command is not wanted, also if it comes later (CLIENT REPLY).
    mute: bool,
    /// Execution stopped for unsent replies; more was received than was executed.
    held_back: bool,
    /// Nothing more is read; closed as soon as all replies have left.
    closing: bool,
}

/// Serves a connection, in a task of its own.
pub(crate) fn start(server: &Rc<Server>, stream: TcpStream) {
    let context = &server.context;
    let id = context.next_client_id();
    let client =
        Rc::new(Client::new(id, stream.as_raw_fd(), stream.peer_addr().ok(), stream.local_addr().ok()));
    context.clients.borrow_mut().insert(id, client.clone());
    server.open.set(server.open.get() + 1);
    let (socket, write_half) = stream.into_split();
    let wire = Wire {
        socket: write_half,
        output: RefCell::default(),
        client: client.clone(),
        listed: Cell::new(false),
        wants_room: Cell::new(false),
        more_unsent: Cell::new(0),
        gone: Cell::new(false),
        failed: Cell::new(false),
        broken: Cell::new(false),
    };
    let no_password = context.config.borrow().password.is_none();
    let mut connection = Connection {
        server: server.clone(),
        wire: Rc::new(wire),
        socket,
        session: Session::new(client, no_password),
        decoder: Decoder::default(),
        blocked: None,
        mute: false,
        held_back: false,
        closing: false,
    };
    connection.set_limits();
    tokio::task::spawn_local(async move { poll_fn(|task| connection.poll(task)).await });
}

impl Drop for Connection {
    fn drop(&mut self) {
        let client = &self.session.client;
        self.server.context.clients.borrow_mut().remove(&client.id);
        self.wire.gone.set(true);
        self.wire.is_full(&self.server, 0);
        // Others may hold the client a little longer: what it waits for and watches ends now.
        client.reading.take();
        client.watch.take();
        self.server.open.set(self.server.open.get() - 1);
        if self.server.open.get() == 0 {
            self.server.all_closed.notify_one();
        }
    }
}

impl Connection {
    /// One pass: go on with what is blocked, execute, send, read; until there is nothing to do but wait.
    fn poll(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        self.remember_waker(task);
        loop {
            let client = &self.session.client;
            if client.killed.get() || self.wire.broken.get() {
                return Poll::Ready(());
            }
            self.poll_blocked(task);
            while self.execute() {
                // Has it registered with what it waits for; it may even be over already.
                self.poll_blocked(task);
            }
            if self.server.stopping.get() {
                self.give_up_blocked();
                self.closing = true;
            }
            if self.wire.client.killed.get() {
                // Dropped for what it does not read: nothing of it is sent any more.
                return Poll::Ready(());
            }
            self.send();
            if self.poll_sent(task).is_ready() {
                return Poll::Ready(());
            }
            if self.held_back && !self.wire.wants_room.get() {
                // All of it has left already, so nobody will wake this task: first let others have their turn.
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_read(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_) | Ok(0)) => {
                    // The client has closed its side. What it waits for is given up; what was answered still leaves.
                    self.give_up_blocked();
                    self.closing = true;
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
    }

    fn remember_waker(&self, task: &TaskContext<'_>) {
        let mut waker = self.session.client.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(task.waker())) {
            *waker = Some(task.waker().clone());
        }
    }

    fn give_up_blocked(&mut self) {
        self.blocked = None;
        self.session.client.reading.take();
    }

    /// Finishes a blocked command, if it is time.
    fn poll_blocked(&mut self, task: &mut TaskContext<'_>) {
        let Some(mut blocked) = self.blocked.take() else { return };
        let client = Rc::clone(&self.session.client);
        if matches!(blocked.then, Then::Again) {
            return self.poll_postponed(blocked, task);
        }
        let unblock = client.unblock.take();
        if let Then::Read(encode) = blocked.then
            && let Poll::Ready(ticket) = client.poll_reading(task)
        {
            return self.finish(Ok(ticket), blocked.slot, encode);
        }
        let over = blocked.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(task).is_ready());
        if !over && unblock.is_none() {
            self.blocked = Some(blocked);
            return;
        }
        client.blocked.set(false);
        let by_error = unblock == Some(true);
        match blocked.then {
            Then::Answer(_) if by_error => self.refuse(Seq::ZERO, blocked.slot, UNBLOCKED),
            Then::Answer(encode) => self.reply(Seq::ZERO, encode),
            Then::Again => {}
            Then::Read(encode) => match client.stop_reading() {
                None => {}
                Some(Err(after)) if by_error => self.refuse(after, blocked.slot, UNBLOCKED),
                Some(served) => self.finish(served, blocked.slot, encode),
            },
        }
    }

    /// Runs a command that a pause held up, if that is over.
    fn poll_postponed(&mut self, mut blocked: Blocked, task: &mut TaskContext<'_>) {
        let server = self.server.clone();
        let over = blocked.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(task).is_ready());
        if !over && server.context.pause().is_some() {
            self.blocked = Some(blocked);
            return;
        }
        self.session.client.blocked.set(false);
        self.session.client.paused.set(false);
        server.context.begin_pass();
        // It was understood when it was held up.
        let _ = self.execute_one(&server);
        // It may wait for something else now, or for the end of another pause.
        self.poll_blocked(task);
    }

    /// Answers a read that waited: what it was served with, or that there was nothing until the timeout.
    fn finish(
        &mut self,
        served: Result<Ticket<Vec<StreamRead>>, Seq>,
        slot: usize,
        encode: fn(&mut Encoder<'_>, &[StreamRead]),
    ) {
        self.session.client.blocked.set(false);
        match served {
            Err(after) => self.reply(after, |reply| encode(reply, &[])),
            Ok(Ticket { result: Ok(streams), after }) => self.reply(after, |reply| encode(reply, &streams)),
            Ok(Ticket { result: Err(Error::Refused(refusal)), after }) => {
                self.refuse(after, slot, &refusal.wire());
            }
            Ok(Ticket { result: Err(Error::Failed(why)), .. }) => self.fail(why),
            Ok(Ticket { result: Err(_), .. }) => self.closing = true,
        }
    }

    /// Answers a command that waited with an error: it was counted as a call, and now as one that failed.
    fn refuse(&mut self, after: Seq, slot: usize, text: &[u8]) {
        let stats = &self.server.context.stats;
        stats.count_error(text);
        stats.count_failed(slot);
        self.reply(after, |reply| reply.error(text));
    }

    /// Writes a reply that waits for a change.
    fn reply(&mut self, after: Seq, encode: impl FnOnce(&mut Encoder<'_>)) {
        let protocol = self.session.client.protocol.get();
        self.session.last_seq = self.session.last_seq.max(after);
        if self.mute {
            return;
        }
        let mut output = self.wire.output.borrow_mut();
        encode(&mut Encoder::new(output.buffer(), protocol));
        output.park(after);
        drop(output);
        self.drop_if_unread();
    }

    /// Executes what was received, as far as it goes. `true`: as far as a command that waits.
    fn execute(&mut self) -> bool {
        if self.blocked.is_some() {
            return false;
        }
        let server = self.server.clone();
        self.held_back = false;
        self.set_limits();
        if self.decoder.buffered() > 0 {
            server.context.begin_pass();
        }
        while self.blocked.is_none() && !self.closing && !self.session.client.killed.get() {
            let unsent = self.wire.output.borrow().unsent();
            if self.wire.is_full(&server, unsent) {
                self.held_back = true;
                break;
            }
            match self.execute_one(&server) {
                Ok(true) => self.drop_if_unread(),
                Ok(false) => break,
                Err(error) => {
                    self.reply(Seq::ZERO, |reply| reply.error(error.to_string().as_bytes()));
                    self.closing = true;
                }
            }
        }
        self.decoder.shrink(READ_BYTES * 4);
        if let Some(buffer) = self.decoder.take_buffer() {
            // Who says nothing needs no room for it, and the next one finds it in the processor's cache.
            server.read_buffer.set(buffer);
        }
        self.note_received();
        self.blocked.is_some()
    }

    fn note_received(&mut self) {
        let client = &self.session.client;
        let buffered = self.decoder.buffered();
        client.received_bytes.set(buffered);
        client.free_bytes.set(self.decoder.buffer().capacity() - buffered);
    }

    /// Executes the next command; `false` if it is not all there yet.
    fn execute_one(&mut self, server: &Server) -> Result<bool, ProtocolError> {
        let Some(request) = self.decoder.next_request()? else { return Ok(false) };
        if let Some(why) = server.has_failed() {
            self.fail(why);
            return Ok(true);
        }
        let was_authenticated = self.session.authenticated;
        let words: SmallVec<[&[u8]; WORDS_ON_STACK]> = request.words().collect();
        let mut output = self.wire.output.borrow_mut();
        let done = dispatch(&mut self.session, &server.context, &words, output.buffer());
        output.park(done.after);
        drop((output, words));
        if let Ok(Outcome::Postpone { time }) = done.outcome {
            self.session.client.paused.set(true);
            self.block(Some(time), done.slot, Then::Again);
            return Ok(true);
        }
        self.decoder.consume();
        self.mute = done.mute;
        if was_authenticated != self.session.authenticated {
            // Counts for the rest of what was received too.
            self.set_limits();
        }
        match done.outcome {
            Ok(Outcome::Done | Outcome::Postpone { .. }) => {}
            Ok(Outcome::Park { waiting, timeout, encode }) => {
                self.session.client.reading.replace(Some(Reading::Waiting(waiting)));
                self.block(timeout, done.slot, Then::Read(encode));
            }
            Ok(Outcome::Pause { time, encode }) => self.block(time, done.slot, Then::Answer(encode)),
            Ok(Outcome::Reload { snapshot }) => {
                let reloaded = reload(&self.server, snapshot);
                // It may have taken long: what follows must not begin before it.
                server.context.begin_pass();
                match reloaded {
                    Ok(()) => self.reply(Seq::ZERO, |reply| reply.simple(b"OK")),
                    Err(text) => self.refuse(Seq::ZERO, done.slot, &text),
                }
            }
            Ok(Outcome::Close) => self.closing = true,
            Ok(Outcome::Shutdown) => {
                self.closing = true;
                server.stop();
            }
            Err(why) => self.fail(why),
        }
        Ok(true)
    }

    /// Drops the client if more of its replies wait than may.
    fn drop_if_unread(&self) {
        let context = &self.server.context;
        let limit = context.config.borrow().output_limits.normal();
        let client = &self.session.client;
        let unsent = self.wire.output.borrow().unsent();
        if limit.is_passed(unsent, &client.at_soft_limit_since, context.began()) {
            stats_add(&context.stats.dropped_for_output, 1);
            client.killed.set(true);
        }
    }

    fn block(&mut self, timeout: Option<Duration>, slot: usize, then: Then) {
        self.session.client.unblock.set(None);
        self.session.client.blocked.set(true);
        self.blocked = Some(Blocked::new(timeout, slot, then));
    }

    fn set_limits(&mut self) {
        let bulk_bytes_max = self.server.context.config.borrow().bulk_bytes_max;
        self.decoder.set_limits(Limits { bulk_bytes_max, authenticated: self.session.authenticated });
    }

    /// The engine failed: says so and closes.
    fn fail(&mut self, why: Arc<str>) {
        self.wire.fail(&error_of(&why));
        self.closing = true;
        self.server.fail(why);
    }

    /// Sends what is visible; the rest is the committer's.
    fn send(&mut self) {
        let visible = self.server.context.engine().visible();
        self.wire.output.borrow_mut().release(visible);
        if self.wire.waits() {
            // All in one write, after the commit.
            self.server.park(&self.wire);
            return;
        }
        self.wire.send(&self.server);
    }

    /// Ready when everything has left and the connection is to be closed. Otherwise sees to it that the task is
    /// woken when the socket takes more.
    fn poll_sent(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        while !self.wire.broken.get() && !self.wire.waits() && !self.wire.output.borrow().ready().is_empty() {
            match self.wire.socket.as_ref().poll_write_ready(task) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => self.wire.send(&self.server),
                Poll::Ready(Err(_)) => self.wire.broken.set(true),
            }
        }
        let unsent = self.wire.output.borrow().unsent();
        self.wire.wants_room.set(self.closing || self.wire.is_full(&self.server, unsent));
        if self.wire.broken.get() || (self.closing && unsent == 0) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads more, if there is use for it now.
    fn poll_read(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<usize>> {
        let stalled = self.wire.wants_room.get();
        let waiting = self.blocked.is_some() && self.decoder.buffered() > WAITING_BYTES_MAX;
        if self.closing || stalled || waiting {
            return Poll::Pending;
        }
        if self.decoder.buffered() as u64 > self.server.context.config.borrow().query_bytes_max {
            // As in Redis: without a word, for that might not be read either.
            stats_add(&self.server.context.stats.dropped_for_input, 1);
            return Poll::Ready(Ok(0));
        }
        let buffer = self.decoder.buffer();
        if buffer.capacity() == 0 {
            match self.socket.as_ref().poll_read_ready(task) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            *buffer = self.server.read_buffer.take();
        }
        buffer.reserve(READ_BYTES);
        let read = pin!(self.socket.read_buf(buffer)).poll(task);
        if let Poll::Ready(Ok(bytes)) = read {
            let context = &self.server.context;
            stats_add(&context.stats.reads, 1);
            stats_add(&context.stats.bytes_in, bytes as u64);
            stats_add(&self.session.client.received_ever, bytes as u64);
            context.begin_pass();
            self.session.client.last_active.set(context.began());
            self.note_received();
        }
        read
    }
}
