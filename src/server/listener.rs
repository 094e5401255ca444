//! Accepts connections, up to `maxclients`, and closes those that were idle for too long.

use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use super::Server;
use super::connection::{self, UNSENT_BYTES_MAX};
use crate::command::stats_add;

/// A client with more unsent replies than a connection may have is dropped when it read nothing for so long.
const STUCK_MAX: Duration = Duration::from_secs(60);
/// How long accepting rests after an error (out of file descriptors, say).
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts connections until the server ends.
pub(crate) async fn accept(server: Rc<Server>, listener: TcpListener) {
    while !server.stopping.get() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&server, stream),
                Err(error) => {
                    complain(&error);
                    tokio::time::sleep(REST_AFTER_ERROR).await;
                }
            },
            () = server.stop.notified() => {
                // Others wait for this too.
                server.stop.notify_one();
                return;
            }
        }
    }
}

/// Not worth ending for: the next one may go well.
fn complain(error: &io::Error) {
    let _ = writeln!(io::stderr(), "claimlog: a connection could not be accepted: {error}");
}

fn admit(server: &Rc<Server>, stream: TcpStream) {
    let most = server.context.config.borrow().clients_max;
    if server.context.clients.borrow().len() >= most as usize {
        stats_add(&server.context.stats.connections_refused, 1);
        // Best effort: whoever can't be told will see the connection close.
        let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
        return;
    }
    stats_add(&server.context.stats.connections, 1);
    let now_open = server.context.clients.borrow().len() as u64 + 1;
    let most = &server.context.stats.clients_at_most;
    most.set(most.get().max(now_open));
    // Replies are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    connection::start(server, stream);
}

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
            client.kill();
        }
    }
}

/// Closes connections that sent nothing for longer than `timeout`, and those that do not read what they asked for.
/// Once a second is often enough.
pub(crate) async fn close_idle(server: Rc<Server>) {
    let mut stuck = HashMap::new();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        close_stuck(&server, &mut stuck);
        server.context.stats.sample();
        let limit = Duration::from_secs(server.context.config.borrow().idle_secs_max);
        if limit.is_zero() {
            continue;
        }
        let now = Instant::now();
        for client in server.context.clients.borrow().values() {
            let idle = now.saturating_duration_since(client.last_active.get());
            if idle > limit && !client.blocked.get() {
                client.kill();
            }
        }
    }
}
