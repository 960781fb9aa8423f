//! Every kernel against its f64 reference: outputs poisoned, inputs random and different in every run.
//!
//! Threads compile, compute references and launch beside each other; each has a device handle, and so a stream, of its own. A launch
//! that goes out of bounds takes the whole context with it: then the checks in flight are recorded as lost, and a run that goes on
//! takes these one at a time, so that the one that is to blame is known.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use tilewright_codegen::error::LaunchError;
use tilewright_kernels::error::KernelError;
use tilewright_runtime::{Buffer, Device, Stream};

use crate::output::{Report, Start};
use crate::selection::{Job, Which, jobs};
use crate::{End, Options};

/// How a check ended.
enum Outcome {
    Right {
        error: f64,
        tolerance: f64,
    },
    Wrong {
        error: f64,
        tolerance: f64,
    },
    /// The lowering refuses a declared schedule for this device's shared memory: it is no point of the space here.
    TooLarge(String),
    Failed(String),
    /// The device answers no more.
    Lost(String),
}

impl Outcome {
    const fn name(&self) -> &'static str {
        match self {
            Self::Right { .. } => "right",
            Self::Wrong { .. } => "wrong",
            Self::TooLarge(_) => "too large",
            Self::Failed(_) => "failed",
            Self::Lost(_) => "lost",
        }
    }
}

pub(crate) fn run(options: &Options, device: &Device) -> Result<End> {
    let all = jobs(&options.kernels, options.extent, device.kind())?;
    let planned = all.len();
    let seed = options.seed.unwrap_or_else(seed_of_now);
    let facts = Map::from_iter([
        ("command".to_owned(), json!("correctness")),
        ("device".to_owned(), json!(format!("{device:?}"))),
        ("seed".to_owned(), json!(seed)),
        ("planned".to_owned(), json!(planned)),
    ]);
    let mut report = Report::new(options.json.as_deref(), options.start, facts)?;
    let lost: BTreeSet<String> = labels(&report, |row| row["outcome"] == "lost");
    report.forget(|row| row["outcome"] == "lost");
    let known = labels(&report, |_| true);
    let is_alone = options.start == Start::Resume && !lost.is_empty();
    // What was lost comes last and alone.
    let (last, first): (Vec<Job>, Vec<Job>) = all
        .into_iter()
        .filter(|job| !known.contains(&job.label()))
        .partition(|job| lost.contains(&job.label()));
    let began = Instant::now();
    let cx = Check { options, seed, began, report: Mutex::new(report), is_lost: AtomicBool::new(false) };
    cx.run_all(&first, options.threads)?;
    if is_alone && !cx.is_lost.load(Ordering::Relaxed) {
        cx.run_all(&last, 1)?;
    }
    let is_lost = cx.is_lost.load(Ordering::Relaxed);
    let report = cx.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.write(if is_lost { "device lost" } else { "done" })?;
    let count = |name: &str| report.rows().iter().filter(|row| row["outcome"] == name).count();
    let (right, wrong, failed) = (count("right"), count("wrong"), count("failed") + count("lost"));
    println!(
        "correctness: {right} right, {wrong} wrong, {failed} failed, {} too large, {} not reached in {:.0} s; seed {seed}",
        count("too large"),
        first.len() + last.len() + known.len()
            - report.rows().len().min(first.len() + last.len() + known.len()),
        began.elapsed().as_secs_f64()
    );
    if is_lost {
        return Ok(End::DeviceLost);
    }
    if right == 0 {
        bail!("no kernel was right");
    }
    Ok(if wrong + failed == 0 { End::Done } else { End::Wrong })
}

fn labels(report: &Report, test: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let rows = report.rows().iter().filter(|row| test(row));
    rows.filter_map(|row| row["label"].as_str().map(str::to_owned)).collect()
}

/// Seeds differ from run to run: a check on the same inputs finds the same mistakes.
fn seed_of_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |since| since.as_secs() % 1_000_000)
}

/// What the threads share.
struct Check<'a> {
    options: &'a Options,
    seed: u64,
    began: Instant,
    report: Mutex<Report>,
    is_lost: AtomicBool,
}

impl Check<'_> {
    fn run_all(&self, jobs: &[Job], threads: usize) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            let device = Device::parse(&self.options.device, 1)?;
            let stream = device.stream();
            loop {
                let is_over = self.began.elapsed().as_secs_f64() > self.options.seconds;
                if is_over || self.is_lost.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(number) else { return Ok(()) };
                let began = Instant::now();
                let mut outcome = check(job, &device, &stream, self.seed.wrapping_add(number as u64));
                if let Outcome::Failed(message) = &outcome
                    && !answers(&device)
                {
                    outcome = Outcome::Lost(message.clone());
                    self.is_lost.store(true, Ordering::Relaxed);
                }
                self.record(job, &outcome, began.elapsed().as_secs_f64())?;
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(outcome) => outcome?,
                    Err(_) => bail!("a thread of the check panicked"),
                }
            }
            Ok(())
        })
    }

    fn record(&self, job: &Job, outcome: &Outcome, seconds: f64) -> Result<()> {
        let label = job.label();
        let mut row = json!({
            "label": label,
            "kernel": job.entry.name,
            "dtype": job.params.dtype,
            "shape": job.params.shape,
            "outcome": outcome.name(),
            "seconds": (seconds * 1000.0).round() / 1000.0,
        });
        match outcome {
            Outcome::Right { error, tolerance } | Outcome::Wrong { error, tolerance } => {
                // JSON has no infinity, and NaN counts as infinite.
                row["error"] = if error.is_finite() { json!(error) } else { json!("infinite") };
                row["tolerance"] = json!(tolerance);
            }
            Outcome::TooLarge(message) | Outcome::Failed(message) | Outcome::Lost(message) => {
                row["message"] = json!(message.chars().take(2000).collect::<String>());
            }
        }
        match outcome {
            Outcome::Right { .. } | Outcome::TooLarge(_) => {}
            Outcome::Wrong { error, tolerance } => {
                eprintln!("{label}: wrong, error {error:.3e} of {tolerance:.3e}");
            }
            Outcome::Failed(message) | Outcome::Lost(message) => {
                let short: String = message.chars().take(400).collect();
                eprintln!("{label}: {}, {short}", outcome.name());
            }
        }
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(row)
    }
}

/// One check.
fn check(job: &Job, device: &Device, stream: &Stream, seed: u64) -> Outcome {
    let attempt = || -> Result<Outcome, KernelError> {
        let mut params = job.params.clone().on(device);
        params.seed = seed;
        let mut case = job.entry.case(&params)?;
        let schedule = match &job.which {
            Which::Default => case.kernel().tuning(device.kind()).default,
            Which::Declared(schedule) => schedule.clone(),
        };
        let report = case.check(stream, &schedule)?;
        let (error, tolerance) = (report.max_error, report.tolerance);
        Ok(if report.passed {
            Outcome::Right { error, tolerance }
        } else {
            Outcome::Wrong { error, tolerance }
        })
    };
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(KernelError::Launch(error @ LaunchError::Specialisation { .. })))
            if job.which != Which::Default && error.to_string().contains("bytes of shared memory") =>
        {
            Outcome::TooLarge(error.to_string())
        }
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Failed("panic".to_owned()),
    }
}

/// Whether a device still copies a few bytes there and back.
fn answers(device: &Device) -> bool {
    let attempt = || {
        let buffer = Buffer::from_slice_on(device, &[1.0f32, 2.0])?;
        let mut values = [0.0; 2];
        buffer.read(&mut values)?;
        Ok::<bool, tilewright_runtime::RuntimeError>(values == [1.0, 2.0])
    };
    attempt().unwrap_or(false)
}
