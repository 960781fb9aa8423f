//! The `executor` program: parses the command line, runs the command, prints an error with its causes.
//!
//! Exit codes: 0 success, 1 failure, 2 a mistake on the command line.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tilewright_executor::args::Cli;
use tilewright_executor::commands;
use tilewright_executor::error::Error;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = commands::execute(&cli, &mut std::io::stdin().lock(), &mut std::io::stdout().lock());
    let Err(error) = result else { return ExitCode::SUCCESS };
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    match error.downcast_ref() {
        Some(Error::BadOption { .. }) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
