//! The `autotune` program: a shell around the library. Everything it decides is in [`commands`], where it can be tested.

mod args;
mod commands;
mod doctor;
mod resolve;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tilewright_autotune::ceiling::measure_cpu;
use tilewright_autotune::fingerprint::{Cpu, Fingerprint};
use tilewright_autotune::kernels::families;
use tilewright_autotune::measure::WallClock;
use tilewright_runtime::Device;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let cpu = Cpu::host();
    let device = Device::cpu(cpu.threads);
    let context = commands::Context {
        families: &families(),
        device: Fingerprint::Cpu(cpu),
        clock: &WallClock::default(),
        measure_ceilings: &|| Ok(measure_cpu(&device)?),
    };
    let mut out = io::stdout().lock();
    let done = commands::run(&args, &context, &mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough, as in `autotune list | head`.
        Err(e) if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(e) => {
            // Nothing is left to do if even this cannot be written.
            let _ = writeln!(io::stderr(), "error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
