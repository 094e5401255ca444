//! The command line. One file per subcommand.

mod exit;
mod serve;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A durable Redis Streams server: every claim survives any crash, with its owner, delivery time and delivery count.
#[derive(Debug, Parser)]
#[command(version, about, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Redis clients (what happens without a subcommand, too)
    Serve(serve::Options),
}

/// Runs what the command line says.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version too come as "errors", to be printed to the right stream.
            let _ = answer.print();
            return ExitCode::from(if answer.use_stderr() { exit::USAGE } else { exit::CLEAN });
        }
    };
    let options = match cli.command {
        Some(Command::Serve(options)) => options,
        None => cli.serve,
    };
    ExitCode::from(serve::run(options))
}

/// Writes a line to standard output. A closed pipe is no reason to end.
fn say(line: impl std::fmt::Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "claimlog: {line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
