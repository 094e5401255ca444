//! Accepts connections, up to `maxclients`.

use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Server;
use super::connection;
use crate::command::stats_add;

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
    keep_alive(&stream, server.context.config.borrow().keepalive_secs);
    connection::start(server, stream);
}

/// Has the system ask whether the other end is still there: after so much silence, and three times more within as much
/// again. Then it closes the connection, as one whose cable was cut would never be. Where it can't, nothing is lost.
fn keep_alive(stream: &TcpStream, secs: u64) {
    use rustix::net::sockopt;
    /// The most that Linux takes.
    const SECS_MAX: u64 = 32_767;
    if secs == 0 {
        return;
    }
    let secs = secs.min(SECS_MAX);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, Duration::from_secs(secs));
    let _ = sockopt::set_tcp_keepintvl(stream, Duration::from_secs((secs / 3).max(1)));
    let _ = sockopt::set_tcp_keepcnt(stream, 3);
}
