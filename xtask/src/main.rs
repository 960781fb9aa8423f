//! Project tasks that cargo cannot say: `cargo xtask test | bench-cpu | bless`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod bench;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  test                    every test of the workspace, its documentation and its examples
  bench-cpu [--json FILE] [--quick] [--no-llm]
                          benchmarks on this CPU with the peers beside us; ends with one line of ratios
  bless                   rewrites generated documents and expected outputs; review the diff";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match task {
        "test" => test::run(rest),
        "bench-cpu" => bench::run(rest),
        "bless" => test::bless(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => Err(anyhow::anyhow!("unknown task `{other}`\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
