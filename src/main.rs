//! The `claimlog` command: the server.
//!
//! Everything here uses the library's public API only.

mod cli;
mod command;
mod config;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
