//! Any bytes as a history of an engine: requests, snapshots, restarts, crashes, lost stores, rot; every reply as the naive
//! model of the tests says. The history and the model are those of `tests/sim/`, and are included here.
#![no_main]
#![allow(dead_code, unused_imports, reason = "included from the tests, which use all of it")]

#[path = "../../tests/sim/command.rs"]
mod command;
#[path = "../../tests/sim/history.rs"]
mod history;
#[path = "../../tests/sim/model.rs"]
mod model;

use claimlog::io::sim::SimRng;
use libfuzzer_sys::fuzz_target;

/// The time between two commands, as in `tests/sim/main.rs`.
const STEP: std::time::Duration = std::time::Duration::from_millis(7);

fuzz_target!(|bytes: &[u8]| {
    history::run(&mut SimRng::of_choices(bytes), 60);
});
