//! Load for a server that speaks RESP, claimlog or Redis, of kinds that redis-benchmark does not have.
//!
//! ```sh
//! cargo run --release --example load -- pairs --port 6379      # --help says more
//! ```
//!
//! One thread, so that the server has the other core. Each kind prints lines of a name, with its unit, and a number;
//! `benches/compare.sh` makes a table of them. The server must be on this machine: its memory and its processor time are
//! read from `/proc`.

#![expect(clippy::print_stdout, reason = "what it found goes to the output")]

mod client;
mod pairs;
mod process;
mod readers;
mod xadd;

use std::io;

use clap::Parser;
use tokio::task::LocalSet;

/// Loads a server and says how it did
#[derive(Parser)]
enum Load {
    Pairs(pairs::Options),
    Xadd(xadd::Options),
    Readers(readers::Options),
}

fn main() -> io::Result<()> {
    let load = Load::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match load {
            Load::Pairs(options) => pairs::run(options).await,
            Load::Xadd(options) => xadd::run(options).await,
            Load::Readers(options) => readers::run(options).await,
        }
    })
}

/// Prints a figure.
fn say(name: &str, value: f64) {
    println!("{name} {value:.3}");
}

/// Of sorted values the one that so many percent are no larger than; 0 if there is none.
fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let place = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}
