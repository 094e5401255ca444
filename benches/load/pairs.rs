//! Work as workers do it: XREADGROUP COUNT 100, then XACK of those.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::{Client, entry_ids, request};
use super::{percentile, say};

/// Clients that each read `count` entries of a group and then acknowledge them, over and over
///
/// The stream `jobs` and its group `workers` must be there. Whenever the group has read all entries it is set back to
/// the first one, so the stream keeps its size.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 50)]
    clients: usize,
    #[arg(long, default_value_t = 100)]
    count: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// What the clients share.
struct Round {
    end: Instant,
    /// Somebody sets the group back.
    goes_back: Cell<bool>,
    took_us: RefCell<Vec<u32>>,
}

pub(crate) async fn run(options: Options) -> io::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        clients.push(Client::connect(options.port).await?);
    }
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(options.seconds);
    let round = Rc::new(Round { end, goes_back: Cell::default(), took_us: RefCell::default() });
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| {
            tokio::task::spawn_local(work(client, format!("c{number}"), options.count, Rc::clone(&round)))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let mut took_us = round.took_us.take();
    took_us.sort_unstable();
    say("requests", took_us.len() as f64);
    say("rate", took_us.len() as f64 / seconds);
    say("p99_ms", f64::from(percentile(&took_us, 99.0)) / 1000.0);
    Ok(())
}

async fn work(mut client: Client, consumer: String, count: usize, round: Rc<Round>) -> io::Result<()> {
    let count = count.to_string();
    let read =
        request(&["XREADGROUP", "GROUP", "workers", &consumer, "COUNT", &count, "STREAMS", "jobs", ">"]);
    let back = request(&["XGROUP", "SETID", "jobs", "workers", "0"]);
    while Instant::now() < round.end {
        let began = Instant::now();
        let mut words: Vec<&[u8]> = vec![b"XACK", b"jobs", b"workers"];
        words.extend(entry_ids(client.call(&read).await?));
        if words.len() > 3 {
            let acknowledge = request(&words);
            client.call(&acknowledge).await?;
            round.took_us.borrow_mut().push(began.elapsed().as_micros() as u32);
        } else if !round.goes_back.replace(true) {
            client.call(&back).await?;
            round.goes_back.set(false);
        }
    }
    Ok(())
}
