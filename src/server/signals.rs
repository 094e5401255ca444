//! SIGTERM and SIGINT end the server cleanly.

use std::io;
use std::rc::Rc;

use tokio::signal::unix::{SignalKind, signal};

use super::Server;

/// Ends the server at the first of the two signals.
pub(crate) fn watch(server: &Rc<Server>) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let server = server.clone();
        tokio::task::spawn_local(async move {
            signals.recv().await;
            server.stop();
        });
    }
    Ok(())
}
