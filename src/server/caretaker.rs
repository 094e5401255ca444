//! Looks after connections, once a second: closes those that read nothing, that hold too much back, or that were idle
//! for too long.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Server;
use super::connection::UNSENT_BYTES_MAX;
use crate::command::{MemoryUse, stats_add};

/// A client with more unsent replies than a connection may have is dropped when it read nothing for so long.
const STUCK_MAX: Duration = Duration::from_secs(60);

/// A client whose replies are held back, and how far they had left when that was first seen.
struct Stuck {
    sent_bytes: u64,
    since: Instant,
}

/// Closes connections whose replies are held back because nothing of them was read for long.
fn close_stuck(server: &Server, stuck: &mut HashMap<u64, Stuck>) {
    let clients = server.context.clients.borrow();
    stuck.retain(|id, _| clients.contains_key(id));
    for client in clients.values() {
        let sent_bytes = client.sent_bytes.get();
        if client.unsent_bytes.get() <= UNSENT_BYTES_MAX {
            stuck.remove(&client.id);
            continue;
        }
        let seen = stuck.entry(client.id).or_insert_with(|| Stuck { sent_bytes, since: Instant::now() });
        if seen.sent_bytes != sent_bytes {
            *seen = Stuck { sent_bytes, since: Instant::now() };
        } else if seen.since.elapsed() > STUCK_MAX {
            stats_add(&server.context.stats.dropped_for_output, 1);
            client.kill();
        }
    }
}

/// Closes connections with more unsent replies than `client-output-buffer-limit` allows, for longer than it allows.
fn close_unread(server: &Server) {
    let limit = server.context.config.borrow().output_limits.normal();
    let now = Instant::now();
    for client in server.context.clients.borrow().values() {
        if limit.is_passed(client.unsent_bytes.get(), &client.at_soft_limit_since, now)
            && !client.killed.get()
        {
            stats_add(&server.context.stats.dropped_for_output, 1);
            client.kill();
        }
    }
}

/// Closes connections that sent nothing for longer than `timeout`.
fn close_idle(server: &Server) {
    let limit = Duration::from_secs(server.context.config.borrow().idle_secs_max);
    if limit.is_zero() {
        return;
    }
    let now = Instant::now();
    for client in server.context.clients.borrow().values() {
        let idle = now.saturating_duration_since(client.last_active.get());
        if idle > limit && !client.blocked.get() {
            client.kill();
        }
    }
}

/// Looks after all connections, and takes the figures that are per second. Once a second is often enough.
pub(crate) async fn run(server: Rc<Server>) {
    let mut stuck = HashMap::new();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        close_stuck(&server, &mut stuck);
        close_unread(&server);
        close_idle(&server);
        server.context.stats.sample();
        MemoryUse::now(&server.context, server.context.engine().stats().memory_bytes);
    }
}
