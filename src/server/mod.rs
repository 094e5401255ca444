//! The server: sockets, connections and the one committer. tokio lives here.
//!
//! One thread does it all, but that large groups are committed by one of the engine's. A connection's task reads,
//! executes what it has got, parks the replies with the change they depend on, and goes on. The first parked reply wakes
//! the committer, which runs after the connections that were ready, has the engine commit (one write, one sync) and sends
//! all parked replies, one write per socket. So a commit is shared by everything that came in meanwhile, and nobody waits
//! for a timer. (I1)

mod caretaker;
mod committer;
mod connection;
mod listener;
mod output;
mod reload;
mod signals;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use claimlog::Error;
use claimlog::OpenError;
use claimlog::engine::{Engine, Settings};
use claimlog::recovery::RecoveryReport;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::command::{Context, RecoverySummary};
use crate::config::Config;
use connection::Wire;

/// How long clients may take to read their last replies when the server ends.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// How serving ended, when not cleanly.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The runtime could not be made.
    Runtime(io::Error),
    /// An address can't be listened on.
    Listen(SocketAddr, io::Error),
    /// The log failed (I8).
    Failed(Arc<str>),
}

/// Opens the data that were closed a moment ago.
pub(crate) type Reopen = Box<dyn Fn(Settings) -> Result<(Engine, RecoveryReport), OpenError>>;

/// What the connections of a server share.
pub(crate) struct Server {
    context: Context,
    reopen: Reopen,
    /// Connections with replies that wait for a commit.
    parked: RefCell<Vec<Rc<Wire>>>,
    /// Something waits for a commit.
    commit_wanted: Notify,
    /// How many commands there had been at the last commit.
    commands_committed: Cell<u64>,
    /// How much connections have unsent beyond what each may have.
    more_unsent: Cell<usize>,
    /// Room to read into, for whoever reads next.
    read_buffer: Cell<Vec<u8>>,
    /// No new connections and requests any more.
    stopping: Cell<bool>,
    stop: Notify,
    /// Why nothing can be served any more.
    failed: RefCell<Option<Arc<str>>>,
    /// Connections that are open, and told when the last one closes.
    open: Cell<usize>,
    all_closed: Notify,
}

impl Server {
    /// Begins to end: nothing new is accepted, what is in flight is answered.
    fn stop(&self) {
        if !self.stopping.replace(true) {
            self.stop.notify_waiters();
            self.stop.notify_one();
            self.wake_all();
        }
    }

    /// Ends because nothing is known to be durable any more (I8). No parked reply may leave: each connection that
    /// has some gets one error instead.
    fn fail(&self, why: Arc<str>) {
        if self.failed.borrow().is_some() {
            return;
        }
        let error = error_of(&why);
        self.failed.replace(Some(why));
        for wire in self.parked.take() {
            wire.fail(&error);
        }
        self.stop();
    }

    fn wake_all(&self) {
        for client in self.context.clients.borrow().values() {
            client.wake();
        }
    }

    fn has_failed(&self) -> Option<Arc<str>> {
        self.failed.borrow().clone()
    }
}

/// Ends the server when the engine fails: a sync in the background may, while no client asks for anything (I8).
fn watch_end(server: &Rc<Server>, engine: &Engine) {
    let (ended, told) = (engine.ended(), Rc::clone(server));
    tokio::task::spawn_local(async move {
        if let Error::Failed(why) = ended.await {
            told.fail(why);
        }
    });
}

/// What clients are told when the log failed.
fn error_of(why: &str) -> Vec<u8> {
    format!("MISCONF the server ends: {why}").into_bytes()
}

/// Serves until it is told to end. `listening` is called once with the addresses.
pub(crate) fn serve(
    engine: Engine,
    config: Config,
    recovery: RecoverySummary,
    reopen: Reopen,
    listening: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Runtime)?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, run(engine, config, recovery, reopen, listening));
    // Connections that did not end in time are dropped with their sockets.
    drop(local);
    result
}

async fn run(
    engine: Engine,
    config: Config,
    recovery: RecoverySummary,
    reopen: Reopen,
    listening: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    let mut listeners = Vec::new();
    for address in &config.bind {
        let address = SocketAddr::new(*address, config.port);
        let bound = tokio::net::TcpListener::bind(address).await;
        listeners.push(bound.map_err(|error| ServeError::Listen(address, error))?);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|bound| bound.local_addr().ok()).collect();
    let mut config = config;
    if let Some(first) = addresses.first() {
        config.port = first.port();
    }
    let server = Rc::new(Server {
        context: Context::new(engine, config, recovery),
        reopen,
        parked: RefCell::default(),
        commit_wanted: Notify::new(),
        commands_committed: Cell::new(0),
        more_unsent: Cell::new(0),
        read_buffer: Cell::default(),
        stopping: Cell::new(false),
        stop: Notify::new(),
        failed: RefCell::default(),
        open: Cell::new(0),
        all_closed: Notify::new(),
    });
    signals::watch(&server).map_err(ServeError::Runtime)?;
    for listener in listeners {
        tokio::task::spawn_local(listener::accept(server.clone(), listener));
    }
    tokio::task::spawn_local(committer::run(server.clone()));
    tokio::task::spawn_local(caretaker::run(server.clone()));
    watch_end(&server, &server.context.engine());
    listening(&addresses);

    server.stop.notified().await;
    let all_closed = async {
        while server.open.get() > 0 {
            server.all_closed.notified().await;
        }
    };
    // Whoever does not read its replies in time goes without them: they are on disk all the same.
    let _ = tokio::time::timeout(LAST_REPLIES, all_closed).await;
    if let Some(why) = server.has_failed() {
        return Err(ServeError::Failed(why));
    }
    server.context.engine().clone().close().map_err(|error| ServeError::Failed(error.to_string().into()))
}
