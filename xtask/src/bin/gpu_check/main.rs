//! What `gpu/check` runs of ours on a machine that has a GPU and no Rust: every kernel against its f64 reference, and times.
//!
//! Results are JSON files, written anew after each case, so that a command that is cut short loses nothing. A device that cannot be
//! had is exit code 2, a wrong result 1, a device that stopped working 3: then `--resume` goes on where the first run was cut.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod correctness;
mod output;
mod selection;
mod time;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tilewright_runtime::Device;

const USAGE: &str = "usage: gpu_check <command> [--device cpu|sim[:ARCH]|cuda[:N]] [--json FILE]

  correctness [--kernel NAME].. [--sample] [--seconds S] [--threads N] [--seed N] [--resume]
              every kernel and element type at its test shapes against f64, outputs poisoned; then declared schedules other than
              the default, until the seconds are over. --sample takes the smallest problems, one element type per kernel
  time --cases FILE [--seconds S]
              times the cases of a JSON file: [{\"name\", \"kernel\", \"dtype\", \"shape\", \"options\"?, \"copies\"?, \"schedules\"?}, ..]

exit codes: 0 done, 1 wrong results or a mistake in the arguments, 2 no such device, 3 the device stopped working";

/// How a command ended.
pub(crate) enum End {
    Done,
    /// Something is wrong, and was printed.
    Wrong,
    /// The device answers no more.
    DeviceLost,
}

/// Options of every command.
pub(crate) struct Options {
    pub(crate) device: String,
    pub(crate) json: Option<PathBuf>,
    pub(crate) cases: Option<PathBuf>,
    pub(crate) kernels: Vec<String>,
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    pub(crate) seed: Option<u64>,
    pub(crate) extent: selection::Extent,
    pub(crate) start: output::Start,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    if matches!(command, "help" | "--help" | "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let outcome = parse(rest).and_then(|options| match command {
        "correctness" | "time" => {
            // A device that cannot be had is no mistake in the arguments, and has an exit code of its own.
            let device = match Device::parse(&options.device, 0) {
                Ok(device) => device,
                Err(error) => {
                    eprintln!("error: {error}");
                    std::process::exit(2);
                }
            };
            if command == "time" { time::run(&options, &device) } else { correctness::run(&options, &device) }
        }
        other => bail!("unknown command `{other}`\n{USAGE}"),
    });
    match outcome {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Wrong) => ExitCode::FAILURE,
        Ok(End::DeviceLost) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options {
        device: "cuda:0".to_owned(),
        json: None,
        cases: None,
        kernels: Vec::new(),
        seconds: f64::INFINITY,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        seed: None,
        extent: selection::Extent::All,
        start: output::Start::Fresh,
    };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--device" => options.device = value()?.clone(),
            "--json" => options.json = Some(value()?.into()),
            "--cases" => options.cases = Some(value()?.into()),
            "--kernel" => options.kernels.push(value()?.clone()),
            "--seconds" => {
                let text = value()?;
                let seconds: f64 =
                    text.parse().with_context(|| format!("`{text}` should be a number of seconds"))?;
                if seconds.is_nan() || seconds <= 0.0 {
                    bail!("--seconds should be more than 0, found {text}");
                }
                options.seconds = seconds;
            }
            "--threads" => {
                let text = value()?;
                let threads =
                    text.parse().with_context(|| format!("`{text}` should be a number of threads"))?;
                options.threads = std::cmp::max(threads, 1);
            }
            "--seed" => {
                let text = value()?;
                options.seed = Some(text.parse().with_context(|| format!("`{text}` should be a seed"))?);
            }
            "--sample" => options.extent = selection::Extent::Sample,
            "--resume" => options.start = output::Start::Resume,
            other => bail!("unknown argument `{other}`\n{USAGE}"),
        }
    }
    Ok(options)
}
