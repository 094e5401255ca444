//! DEBUG RELOAD and LOADAOF: the engine is closed and opened again in the same process, as a restart would do it, and
//! clients stay connected.
//!
//! All of it happens in one go on the server's one thread, so no request comes in between. What clients have of the old
//! engine goes over to the new one: replies that waited for the disk leave, for closing has synced everything; who waits
//! for data gets in line again, in the old order and with the old deadline; what is watched is watched on.

use std::rc::Rc;

use claimlog::Error;
use claimlog::engine::{Engine, ReadOrWait, Waiting};

use super::{Server, watch_end};
use crate::command::{Client, Reading, RecoverySummary};

/// Closes and opens the data. The error is the reply; if nothing can be served any more, the server ends as well.
pub(super) fn reload(server: &Rc<Server>, snapshot: bool) -> Result<(), Vec<u8>> {
    let old = server.context.engine().clone();
    if snapshot && let Err(error) = old.snapshot() {
        return Err(format!("ERR the data stay open, no snapshot was taken: {error}").into_bytes());
    }
    let settings = old.settings();
    let waiting = take_waiting(server);
    if let Err(error) = old.clone().close() {
        return Err(end(server, format!("the data could not be closed: {error}")));
    }
    server.release_all(old.visible());
    let began = std::time::Instant::now();
    let (new, report) = match (server.reopen)(settings) {
        Ok(opened) => opened,
        Err(error) => return Err(end(server, format!("the data could not be opened again: {error}"))),
    };
    let recovery =
        RecoverySummary { text: report.to_string(), millis: began.elapsed().as_millis(), keys: report.keys };
    server.context.set_engine(new.clone(), recovery);
    watch_end(server, &new);
    watch_on(server, &new);
    for (client, waiting) in waiting {
        client.reading.replace(Some(wait_on(&new, waiting)));
        client.wake();
    }
    Ok(())
}

fn end(server: &Server, why: String) -> Vec<u8> {
    let text = format!("ERR {why}").into_bytes();
    server.fail(why.into());
    text
}

/// Everyone who waits for data, first come first.
fn take_waiting(server: &Server) -> Vec<(Rc<Client>, Waiting)> {
    let mut all = Vec::new();
    for client in server.context.clients.borrow().values() {
        match client.reading.take() {
            Some(Reading::Waiting(waiting)) => all.push((Rc::clone(client), waiting)),
            other => drop(client.reading.replace(other)),
        }
    }
    all.sort_by_key(|(_, waiting)| waiting.place());
    all
}

/// Has a reader get in line again, unless it was served before.
fn wait_on(engine: &Engine, waiting: Waiting) -> Reading {
    let read = waiting.read().clone();
    match waiting.give_up() {
        Ok(ticket) if !matches!(ticket.result, Err(Error::Closed)) => Reading::Answered(ticket),
        Ok(_) | Err(_) => match engine.read_or_wait(read) {
            ReadOrWait::Now(ticket) => Reading::Answered(ticket),
            ReadOrWait::Waiting(waiting) => Reading::Waiting(waiting),
        },
    }
}

fn watch_on(server: &Server, engine: &Engine) {
    for client in server.context.clients.borrow().values() {
        let mut watch = client.watch.borrow_mut();
        if let Some(before) = watch.take() {
            *watch = Some(engine.watch_again(&before));
        }
    }
}
