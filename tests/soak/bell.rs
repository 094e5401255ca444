//! A bell that rings, and many who wait for it: everyone hears every ring, once and in order, through any restart.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::Client;
use crate::queue::Ledger;

const KEY: &str = "bell";
/// Far more than anybody is behind.
const KEPT: &str = "20000";

/// Rings, and goes on where it was after a restart.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The last ring that was sent.
    rung: AtomicU64,
    pub(crate) heard: AtomicU64,
}

impl Bell {
    pub(crate) fn ring(&self, port: u16, ledger: &Ledger, stop: &AtomicBool) -> io::Result<()> {
        let mut client = Client::connect(port)?;
        // The last one may have been heard or not when the server was killed.
        let last = client.call(&["XREVRANGE", KEY, "+", "-", "COUNT", "1"])?;
        let mut number =
            last.items().first().map_or(0, |entry| entry.items()[1].items()[1].text().parse().unwrap());
        let sent = self.rung.load(Ordering::Relaxed);
        if number + 1 < sent {
            ledger.complain(format!("ring {} was answered, and the last one there is {number}", sent - 1));
        }
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            self.rung.store(number, Ordering::Relaxed);
            client.call(&["XADD", KEY, "MAXLEN", "~", KEPT, "*", "n", &number.to_string()])?;
            ledger.answered.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Some who wait, each on a connection of its own.
pub(crate) struct Listeners {
    last: Vec<(String, u64)>,
}

impl Listeners {
    pub(crate) fn new(count: usize) -> Self {
        Self { last: vec![("0".into(), 0); count] }
    }

    pub(crate) fn listen(
        &mut self,
        port: u16,
        bell: &Bell,
        ledger: &Ledger,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let connected: io::Result<Vec<Client>> = self.last.iter().map(|_| Client::connect(port)).collect();
        let mut clients = connected?;
        while !stop.load(Ordering::Relaxed) {
            for (client, (id, _)) in clients.iter_mut().zip(&self.last) {
                client.send(&["XREAD", "BLOCK", "300", "COUNT", "500", "STREAMS", KEY, id])?;
            }
            for (client, (id, number)) in clients.iter_mut().zip(&mut self.last) {
                let reply = client.recv()?;
                ledger.answered.fetch_add(1, Ordering::Relaxed);
                if reply.is_null() {
                    continue;
                }
                for entry in reply.items()[0].items()[1].items() {
                    let ring: u64 = entry.items()[1].items()[1].text().parse().unwrap();
                    if ring != *number + 1 && *number != 0 {
                        ledger.complain(format!("ring {ring} came after ring {number}"));
                    }
                    (*id, *number) = (entry.items()[0].text(), ring);
                    bell.heard.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}
