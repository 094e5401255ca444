//! The whole engine in simulation: on a simulated disk and clock, without threads, deterministic from a seed.
//!
//! Every run prints its seed when it fails. `CLAIMLOG_SEED=n cargo test --test sim` runs that seed alone;
//! `CLAIMLOG_SIM_SEEDS=n` runs so many seeds of each search.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a failed unwrap is a failed test")]

mod command;
mod copies;
mod crash;
mod faults;
mod full;
mod history;
mod keys;
mod memory;
mod model;
mod seams;
mod snapshots;
mod sweep;
mod time;
mod verify;
mod waiting;

use std::time::Duration;

/// The seeds to run: the one that is asked for, or a fixed number of them.
fn seeds(usual: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    match number("CLAIMLOG_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CLAIMLOG_SIM_SEEDS").unwrap_or(usual)).collect(),
    }
}

/// Says how to run a failing seed again.
struct Replay(&'static str, u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: CLAIMLOG_SEED={} cargo test --test sim {}", self.1, self.0);
        }
    }
}

/// The time between two commands.
const STEP: Duration = Duration::from_millis(7);
