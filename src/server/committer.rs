//! The one committer. It runs after the connections that were ready, so that one sync serves them all.

use std::rc::Rc;
use std::time::{Duration, Instant};

use claimlog::engine::SyncMode;
use claimlog::{Error, Seq};

use super::Server;
use super::connection::Wire;

/// Commands that come in are let into the commit that is wanted for so long,
const GATHER_MAX: Duration = Duration::from_micros(100);
/// and as long as there are fewer than this. From then on it is better that clients deal with their replies while others
/// have theirs synced.
const GATHER_COMMANDS_MAX: u64 = 64;

/// Commits whenever something waits for it.
pub(crate) async fn run(server: Rc<Server>) {
    loop {
        server.commit_wanted.notified().await;
        server.gather().await;
        server.commit();
    }
}

impl Server {
    /// Looks at the sockets again, as long as that brings more commands: they can share the commit. Nobody waits for a
    /// timer, and where nothing comes it takes one look.
    async fn gather(&self) {
        let began = Instant::now();
        let before = self.commands_committed.get();
        let mut known = self.context.stats.commands.get();
        // CONFIG RESETSTAT counts from 0 again.
        while known.saturating_sub(before) < GATHER_COMMANDS_MAX && began.elapsed() < GATHER_MAX {
            tokio::task::yield_now().await;
            let commands = self.context.stats.commands.get();
            if commands == known {
                break;
            }
            known = commands;
        }
        self.commands_committed.set(known);
    }

    /// Puts a connection on the list of those whose replies wait for a commit.
    pub(crate) fn park(&self, wire: &Rc<Wire>) {
        if !wire.listed.replace(true) {
            self.parked.borrow_mut().push(wire.clone());
        }
        self.commit_wanted.notify_one();
    }

    /// For LATENCY, under Redis's names.
    fn note_time(&self, took: Duration) {
        let config = self.context.config.borrow();
        let name = match config.engine.sync_mode {
            SyncMode::Always => "aof-fsync-always",
            SyncMode::EverySecond | SyncMode::No => "aof-write",
        };
        self.context.slow_events.note(name, took, config.latency_threshold_ms);
    }

    fn commit(&self) {
        if self.has_failed().is_some() {
            return;
        }
        let began = Instant::now();
        let committed = self.context.engine().commit();
        self.note_time(began.elapsed());
        match committed {
            Ok(_) => {}
            Err(Error::Failed(why)) => return self.fail(why),
            Err(other) => return self.fail(other.to_string().into()),
        }
        self.release_all(self.context.engine().visible());
    }

    /// Sends all replies that depend on nothing later than `visible`.
    pub(crate) fn release_all(&self, visible: Seq) {
        for wire in self.parked.take() {
            wire.listed.set(false);
            wire.send_visible(self, visible);
            if wire.waits() {
                self.park(&wire);
            }
        }
    }
}
