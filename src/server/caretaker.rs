//! Looks after connections, once a second: closes those that read nothing, that hold too much back, or that were idle
//! for too long.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Server;
use super::connection::UNSENT_BYTES_MAX;
use crate::command::{Client, MemoryUse, stats_add};

/// A client with more unsent replies than a connection may have for sure is dropped when it read nothing for so long, and
/// sent nothing either.
const STUCK_MAX: Duration = Duration::from_secs(60);

/// A client with many unsent replies: how far they had left, and how much it had sent, when that was first seen.
struct Stuck {
    progress: [u64; 2],
    since: Instant,
}

/// Whether a connection has many unsent replies, and there was nothing new of it for long.
fn is_stuck(client: &Client, stuck: &mut HashMap<u64, Stuck>) -> bool {
    let progress = [client.sent_bytes.get(), client.received_ever.get()];
    if client.unsent_bytes.get() <= UNSENT_BYTES_MAX {
        stuck.remove(&client.id);
        return false;
    }
    let seen = stuck.entry(client.id).or_insert_with(|| Stuck { progress, since: Instant::now() });
    if seen.progress != progress {
        *seen = Stuck { progress, since: Instant::now() };
    }
    seen.since.elapsed() > STUCK_MAX
}

/// Closes connections whose replies are held back because nothing of them was read for long, or that have more of them
/// unsent than `client-output-buffer-limit` allows, for longer than it allows; and those that sent nothing for longer
/// than `timeout`. `true`: some replies have not left, so time alone may change what is to be done.
fn look_at_all(server: &Server, stuck: &mut HashMap<u64, Stuck>) -> bool {
    let clients = server.context.clients.borrow();
    let config = server.context.config.borrow();
    let (limit, idle_max) = (config.output_limits.normal(), Duration::from_secs(config.idle_secs_max));
    let now = Instant::now();
    let mut some_unsent = false;
    stuck.retain(|id, _| clients.contains_key(id));
    for client in clients.values().filter(|client| !client.killed.get()) {
        let unsent = client.unsent_bytes.get();
        some_unsent |= unsent > 0;
        if is_stuck(client, stuck) || limit.is_passed(unsent, &client.at_soft_limit_since, now) {
            stats_add(&server.context.stats.dropped_for_output, 1);
            client.kill();
        }
        let idle = now.saturating_duration_since(client.last_active.get());
        if !idle_max.is_zero() && idle > idle_max && !client.blocked.get() {
            client.kill();
        }
    }
    some_unsent
}

/// What is another number when something was received, executed or sent, or a client came or went.
fn traffic(server: &Server) -> [u64; 4] {
    let stats = &server.context.stats;
    let clients = server.context.clients.borrow().len() as u64;
    [stats.commands.get(), stats.bytes_in.get(), stats.bytes_out.get(), clients]
}

/// Looks after all connections, and takes the figures that are per second. Once a second is often enough, and where
/// nothing happens thousands of them need no looking at.
pub(crate) async fn run(server: Rc<Server>) {
    let mut stuck = HashMap::new();
    let mut known = [0; 4];
    let mut quiet_looks = 0_u32;
    let mut some_unsent = false;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.context.stats.sample();
        let traffic = traffic(&server);
        quiet_looks = if traffic == known { quiet_looks.saturating_add(1) } else { 0 };
        known = traffic;
        let timeout_is_set = server.context.config.borrow().idle_secs_max > 0;
        // The first quiet look may find what the last command before it has left.
        if quiet_looks < 2 || some_unsent || timeout_is_set {
            some_unsent = look_at_all(&server, &mut stuck);
            MemoryUse::now(&server.context, server.context.engine().stats().memory_bytes);
        }
    }
}
