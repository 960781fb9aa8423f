//! Tunes a kernel of the library on this machine, in about a second, without recording anything.
//!
//! New idea: a schedule is data. Every candidate is compared with an f64 reference before it is timed.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use tilewright_autotune::kernels::families;
use tilewright_autotune::measure::WallClock;
use tilewright_autotune::problem::Bucket;
use tilewright_autotune::search::Strategy;
use tilewright_autotune::tune::{TuneConfig, tune};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let families = families();
    let family = families.iter().find(|f| f.subject().kernel == "softmax").ok_or("no softmax kernel")?;
    let problem = family.problem(&Bucket::new("f32", &[("rows", 256), ("length", 1000)]), 0)?;
    let config = TuneConfig { budget_s: 1.0, strategy: Strategy::Random, ..TuneConfig::default() };
    let outcome = tune(problem.as_ref(), &config, &WallClock::default(), &mut |_| {})?;
    for trial in &outcome.trials {
        match &trial.result {
            Ok(timed) => println!("{:<10} {:.1} us", trial.schedule.to_string(), timed.median_s * 1e6),
            Err(reason) => println!("{:<10} {reason}", trial.schedule.to_string()),
        }
    }
    assert!(outcome.trials.iter().any(|trial| trial.result.is_ok()));
    Ok(())
}
