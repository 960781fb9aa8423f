//! Times of given cases: on a GPU by its events around many launches, elsewhere by the host's clock.
//!
//! A case is `{"name", "kernel", "dtype", "shape", "options"?, "copies"?, "schedules"?}`. `schedules` are objects of knobs that replace
//! those of the default, each timed beside the default, which is always first; `copies` sets of inputs in turn keep them out of the
//! caches. A schedule that does not compile or launch is reported with its message, and the next one is timed.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use tilewright_codegen::schedule::Schedule;
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry;
use tilewright_runtime::cuda::stream::Event;
use tilewright_runtime::{Device, Stream};

use crate::output::{Report, Start};
use crate::{End, Options};

/// Microseconds that a sample should take at least: then the ends of a region do not show.
const SAMPLE_US: f64 = 3000.0;

/// Most launches of a sample.
const MOST_REPEATS: usize = 2000;

/// Samples of a schedule, time permitting.
const SAMPLES: usize = 15;

/// Seconds for one schedule, its compilation not counted.
const SECONDS: f64 = 0.5;

pub(crate) fn run(options: &Options, device: &Device) -> Result<End> {
    let path = options.cases.as_ref().context("`time` needs --cases FILE")?;
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let cases: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let cases = cases.as_array().with_context(|| format!("{} is no list of cases", path.display()))?;
    let facts = Map::from_iter([
        ("command".to_owned(), json!("time")),
        ("device".to_owned(), json!(format!("{device:?}"))),
        ("simulated".to_owned(), json!(device.is_simulated())),
    ]);
    let mut report = Report::new(options.json.as_deref(), Start::Fresh, facts)?;
    let (began, stream) = (Instant::now(), device.stream());
    let mut failed = 0;
    for case in cases {
        let name = case["name"].as_str().context("a case has no name")?;
        if began.elapsed().as_secs_f64() > options.seconds {
            eprintln!("{name}: not reached within {:.0} s", options.seconds);
            report.add(json!({ "name": name, "error": "not reached" }))?;
            continue;
        }
        let row = match one(case, device, &stream) {
            Ok(row) => row,
            Err(error) => {
                failed += 1;
                eprintln!("{name}: {error:#}");
                json!({ "name": name, "error": format!("{error:#}") })
            }
        };
        if let Some(us) = row["us"].as_f64() {
            println!("{name}: {us:.2} us, {}", row["schedule"].as_str().unwrap_or_default());
        }
        report.add(row)?;
    }
    report.write("done")?;
    Ok(if failed == 0 { End::Done } else { End::Wrong })
}

/// The best schedule of a case, with all of them.
fn one(case: &Value, device: &Device, stream: &Stream) -> Result<Value> {
    let word = |key: &str| case[key].as_str().with_context(|| format!("the case has no `{key}`"));
    let kernel = word("kernel")?;
    let entry = registry::find(kernel).with_context(|| format!("no kernel `{kernel}`"))?;
    let shape: Option<Vec<usize>> = case["shape"]
        .as_array()
        .map(|all| all.iter().filter_map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok())).collect());
    let mut params = CaseParams::new(word("dtype")?, &shape.context("the case has no `shape`")?).on(device);
    params.copies = case["copies"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    for (name, value) in case["options"].as_object().into_iter().flatten() {
        params = params.with_option(name, value.as_str().context("options are words")?);
    }
    let mut made = entry.case(&params)?;
    let default = made.kernel().tuning(device.kind()).default;
    let mut schedules = vec![default.clone()];
    for knobs in case["schedules"].as_array().into_iter().flatten() {
        let mut schedule = default.clone();
        for (name, value) in knobs.as_object().context("a schedule is an object of knobs")? {
            schedule = schedule.with(name, value.as_i64().context("knobs are whole numbers")?);
        }
        if !schedules.contains(&schedule) {
            schedules.push(schedule);
        }
    }
    let (flops, bytes) = (made.flops(), made.bytes());
    let mut tried = Vec::new();
    let mut best: Option<(f64, String)> = None;
    for schedule in schedules {
        let text = schedule.to_string();
        match measure(&mut *made, stream, &schedule) {
            Ok(samples) => {
                let us = median(&samples);
                if best.as_ref().is_none_or(|(fastest, _)| us < *fastest) {
                    best = Some((us, text.clone()));
                }
                let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
                tried.push(json!({ "schedule": text, "us": us, "best_us": least, "samples": samples.len() }));
            }
            Err(error) => tried.push(json!({ "schedule": text, "error": format!("{error:#}") })),
        }
    }
    let Some((us, schedule)) = best else {
        let first = tried.first().and_then(|row| row["error"].as_str()).unwrap_or("no schedule");
        bail!("no schedule runs: {first}");
    };
    Ok(json!({
        "name": case["name"],
        "kernel": kernel,
        "dtype": params.dtype,
        "shape": params.shape,
        "us": us,
        "schedule": schedule,
        "flops": flops,
        "bytes": bytes,
        "tflops": flops / us / 1e6,
        "gbytes_per_s": bytes / us / 1e3,
        "tried": tried,
    }))
}

/// Microseconds per run, a sample each.
fn measure(case: &mut dyn Case, stream: &Stream, schedule: &Schedule) -> Result<Vec<f64>> {
    let mut sample = |repeats: usize| -> Result<f64> {
        let start = Mark::now(stream)?;
        for _ in 0..repeats {
            case.run(stream, schedule).map_err(|e| anyhow!("{e}"))?;
        }
        Ok(Mark::now(stream)?.us_since(&start, stream)? / repeats as f64)
    };
    // The first run compiles, the second is warm.
    sample(1)?;
    let once = sample(1)?;
    let repeats = ((SAMPLE_US / once.max(0.1)).ceil() as usize).clamp(1, MOST_REPEATS);
    let began = Instant::now();
    let mut samples = Vec::new();
    while samples.is_empty() || (samples.len() < SAMPLES && began.elapsed().as_secs_f64() < SECONDS) {
        samples.push(sample(repeats)?);
    }
    Ok(samples)
}

/// A moment: on a GPU, when the work so far has been done.
enum Mark {
    Host(Instant),
    Device(Event),
}

impl Mark {
    fn now(stream: &Stream) -> Result<Self> {
        match stream.device().cuda_stream() {
            Some(cuda) => Ok(Self::Device(cuda.record()?)),
            None => Ok(Self::Host(Instant::now())),
        }
    }

    /// Microseconds since an earlier moment; waits for the work between.
    fn us_since(&self, earlier: &Self, stream: &Stream) -> Result<f64> {
        match (self, earlier) {
            (Self::Device(this), Self::Device(earlier)) => {
                this.synchronize()?;
                // An assertion that failed comes out here.
                stream.device().synchronize()?;
                Ok(this.us_since(earlier)?)
            }
            (Self::Host(this), Self::Host(earlier)) => Ok((*this - *earlier).as_secs_f64() * 1e6),
            (Self::Host(_), Self::Device(_)) | (Self::Device(_), Self::Host(_)) => {
                bail!("two moments of different clocks")
            }
        }
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}
