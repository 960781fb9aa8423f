//! The program's commands: each reads its options, opens a [`Session`] and writes to the given output.

mod bench;
mod chat;
mod doctor;
mod inspect;
mod logits;
mod output;
mod run;
mod session;

use std::io::{BufRead, Write};

pub use bench::{BenchReport, measure};
pub use session::Session;

use crate::args::{Cli, Command};

/// Runs the command; answers go to `out`, prompts come from `input` where none are given.
///
/// # Errors
/// Whatever stopped the command, with its causes.
pub fn execute(cli: &Cli, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<()> {
    match &cli.command {
        Command::Run(args) => run::run(args, input, out),
        Command::Chat(args) => chat::chat(args, input, out),
        Command::Bench(args) => bench::bench(args, out),
        Command::Logits(args) => logits::logits(args, out),
        Command::Inspect(args) => inspect::inspect(args, out),
        Command::Doctor(args) => doctor::doctor(args, out),
    }
}
