//! Project tasks that cargo cannot say: `cargo xtask test | nvrtc | cuda-report | sim-report | sass-compare | gpu-bundle |
//! mutants | corpus | probes | bench-cpu | bless`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

mod bench;
mod corpus;
mod cuda_report;
mod gpu_bundle;
mod mutants;
mod nvrtc;
mod points;
mod probes;
mod ptx;
mod sass_compare;
mod sim_report;
mod test;
mod verdict;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  test                    every test of the workspace, its documentation and its examples
  nvrtc                   fetches the compiler for CUDA kernels into target/nvrtc, if it is not there
  cuda-report [--arch ARCH].. [--kernel NAME].. [--sample N] [--all-rows] [--json FILE]
                          compiles every kernel at every schedule declared for GPUs and holds the compiler's account
                          against limits; --sample N takes the default and N others of each
  sim-report [--arch ARCH].. [--kernel NAME].. [--sample N] [--json FILE]
                          runs every kernel at every schedule declared for GPUs on the simulated GPU against f64, with
                          asynchronous operations early, late and at random, and the detection of races
  sass-compare [--json FILE] [--skeletons DIR] [--no-triton] [--only WORD] [--keep DIR]
                          instructions per unit of matrix work in our machine code, beside hand-written kernels (a folder of
                          them) and Triton's; --keep writes the listings
  gpu-bundle [--no-build] [--no-nvrtc]
                          the programs, the compiler and the scripts that check and measure on a machine with a GPU
  mutants [--quick] [--corpus DIR] [--only TEXT] [--json FILE] | --deletions | --dump DIR
                          runs broken versions of our kernels' PTX on the simulated GPU until each is caught, and the kernels as
                          they are under 300 schedules (--quick: 24); --deletions takes out every synchronising instruction in
                          turn, --dump writes the PTX
  corpus --dir DIR        runs the 24 CUDA kernels of a folder on the simulated GPU and compares with references
  probes check | record --out FILE | replay [--dir DIR]
                          small kernels that ask hardware what the simulator takes for granted: runs them in the simulator,
                          records them on a GPU, compares the two
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
        "nvrtc" => nvrtc::run(rest),
        "cuda-report" => cuda_report::run(rest),
        "mutants" => mutants::run(rest),
        "corpus" => corpus::run(rest),
        "probes" => probes::run(rest),
        "sim-report" => sim_report::run(rest),
        "sass-compare" => sass_compare::run(rest),
        "gpu-bundle" => gpu_bundle::run(rest),
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
