//! Any bytes as a history of commands on an engine in simulation: see `src/command/exercise/`. The commands are a part of
//! the binary and not of the library, so their modules are included here.
#![no_main]

#[allow(dead_code, unused_imports, reason = "what the server needs of it")]
#[path = "../../src/command/mod.rs"]
mod command;
#[allow(dead_code, unused_imports, reason = "what the server needs of it")]
#[path = "../../src/config/mod.rs"]
mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| command::exercise::exercise(bytes));
