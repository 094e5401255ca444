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

/// From so many commands on, a group is committed by the engine's own thread, and the next ones are executed meanwhile.
/// That takes two wake-ups, so smaller groups are faster committed here.
const ASIDE_COMMANDS: u64 = 128;

/// Commits whenever something waits for it.
pub(crate) async fn run(server: Rc<Server>) {
    loop {
        server.commit_wanted.notified().await;
        let commands = server.gather().await;
        if server.has_failed().is_some() {
            continue;
        }
        let began = Instant::now();
        let engine = server.context.engine().clone();
        let committed = if commands < ASIDE_COMMANDS {
            engine.commit().map(drop)
        } else {
            engine.wait_visible(engine.applied()).await
        };
        // Whoever closes it must not find it in use here.
        drop(engine);
        server.committed(committed, began.elapsed());
    }
}

impl Server {
    /// Looks at the sockets again, as long as that brings more commands: they can share the commit. Nobody waits for a
    /// timer, and where nothing comes it takes one look. Answers how many commands there were since the last commit.
    async fn gather(&self) -> u64 {
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
        known.saturating_sub(before)
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

    fn committed(&self, committed: Result<(), Error>, took: Duration) {
        self.note_time(took);
        match committed {
            // Who closed an engine has committed everything before, and sent what waited for it.
            Ok(()) | Err(Error::Closed) => self.release_all(self.context.engine().visible()),
            Err(Error::Failed(why)) => self.fail(why),
            Err(other) => self.fail(other.to_string().into()),
        }
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
