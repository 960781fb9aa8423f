//! `autotune verify`: every declared configuration of a kernel, a sample of them, or one, run over poisoned outputs and compared with
//! the f64 reference. Nothing is timed, so a simulated GPU will do.
//!
//! A simulated GPU runs each configuration several times: asynchronous operations finish at once, as late as a wait allows, and at
//! random, under several orders of warps, with the detection of races. A configuration is as good as its worst run.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tilewright_autotune::report;
use tilewright_codegen::error::LaunchError;
use tilewright_codegen::schedule::Schedule;
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::error::KernelError;
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::gpu::sim::{Options, Policy, Race};
use tilewright_runtime::{Device, Stream};

use crate::args::Verify;
use crate::resolve::suggest;

/// How a configuration fared; the later, the worse.
#[derive(Clone, PartialEq, Debug)]
enum Verdict {
    /// The largest error of its runs, and the kernel's tolerance.
    Right { error: f64, tolerance: f64 },
    /// The compiler refuses it for this device: an answer, as in a search.
    DoesNotFit(String),
    /// The result is wrong.
    Wrong { error: f64, tolerance: f64 },
    /// The launch failed, or the simulator has findings, all of which the message has.
    Failed(String),
}

impl Verdict {
    fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong { .. } | Self::Failed(_))
    }

    /// The worse of two runs; of two right ones, that with the larger error.
    fn or_worse(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Right { error: a, .. }, Self::Right { error: b, .. }) => {
                if a >= b {
                    self
                } else {
                    other
                }
            }
            (Self::Right { .. }, _) => other,
            (Self::DoesNotFit(_) | Self::Wrong { .. } | Self::Failed(_), _) => self,
        }
    }

    /// In a line.
    fn text(&self) -> String {
        let line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        match self {
            Self::Right { error, tolerance } | Self::Wrong { error, tolerance } => {
                format!("error {error:.1e} of {tolerance:.1e}")
            }
            Self::DoesNotFit(why) => format!("does not fit: {}", line(why)),
            Self::Failed(why) => format!("failed: {}", line(why)),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Right { error, tolerance } => {
                json!({"verdict": "right", "error": error, "tolerance": tolerance})
            }
            Self::Wrong { error, tolerance } => {
                json!({"verdict": "wrong", "error": error, "tolerance": tolerance})
            }
            Self::DoesNotFit(why) => json!({"verdict": "does not fit", "message": why}),
            Self::Failed(why) => json!({"verdict": "failed", "message": why}),
        }
    }
}

/// One configuration of one problem, and how it fared.
struct Row {
    kernel: &'static str,
    dtype: String,
    shape: Vec<usize>,
    schedule: Schedule,
    verdict: Verdict,
}

impl Row {
    fn json(&self) -> Value {
        let Self { kernel, dtype, shape, schedule, verdict } = self;
        let mut row =
            json!({"kernel": kernel, "dtype": dtype, "shape": shape, "schedule": schedule.to_string()});
        if let (Value::Object(row), Value::Object(verdict)) = (&mut row, verdict.json()) {
            row.extend(verdict);
        }
        row
    }

    fn cells(&self) -> [String; 5] {
        let Self { kernel, dtype, shape, schedule, verdict } = self;
        let extents = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        [(*kernel).to_owned(), dtype.clone(), extents, schedule.to_string(), verdict.text()]
    }
}

pub(crate) fn verify(args: &Verify, out: &mut dyn Write) -> Result<()> {
    let entries: Vec<&'static Entry> =
        registry::all().iter().filter(|e| args.kernel == "all" || e.name == args.kernel).collect();
    if entries.is_empty() {
        let names: Vec<String> = registry::all().iter().map(|e| e.name.to_owned()).collect();
        bail!("unknown kernel `{}`; {}", args.kernel, suggest(&args.kernel, &names));
    }
    for (given, flag) in [
        (args.shape.is_some(), "shape"),
        (args.config.is_some(), "config"),
        (!args.options.is_empty(), "option"),
    ] {
        if entries.len() > 1 && given {
            bail!(
                "--{flag} needs one kernel: kernels differ in the names of their extents, knobs and options"
            );
        }
    }
    let device = Device::parse(&args.device, 0)?;
    let streams = streams(args, &device);
    let mut rows = Vec::new();
    for entry in entries {
        let dtype = match &args.dtype {
            Some(dtype) if entry.dtypes.contains(&dtype.as_str()) => dtype.as_str(),
            Some(_) if args.kernel == "all" => continue,
            Some(dtype) => {
                bail!("kernel `{}` has no dtype `{dtype}`; there is {}", entry.name, entry.dtypes.join(", "))
            }
            None => entry.dtypes[0],
        };
        let shape = shape(entry, args)?;
        // A GPU reads only memory of its own.
        let memory = device.cuda_stream().map(|_| device.clone());
        let params = CaseParams { device: memory, ..CaseParams::new(dtype, &shape) };
        let params =
            args.options.iter().fold(params, |params, (name, value)| params.with_option(name, value));
        let mut case = entry.case(&params)?;
        for schedule in schedules(args, &*case, &device)? {
            let verdicts = streams.iter().map(|stream| check(&mut *case, stream, &schedule));
            let verdict = verdicts.reduce(Verdict::or_worse).context("there should be a stream")?;
            let (kernel, dtype, shape) = (entry.name, dtype.to_owned(), shape.clone());
            rows.push(Row { kernel, dtype, shape, schedule, verdict });
        }
    }
    print(args, &rows, streams.len(), out)
}

/// A stream for each way in which a configuration is run.
fn streams(args: &Verify, device: &Device) -> Vec<Stream> {
    const POLICIES: [Policy; 3] = [Policy::Eager, Policy::Lazy, Policy::Random];
    let race = if args.no_races { Race::Off } else { Race::On };
    let plans = (0..u64::from(args.seeds)).flat_map(|seed| POLICIES.map(|policy| (policy, seed)));
    let simulated: Vec<Stream> = plans
        .filter_map(|(policy, seed)| {
            let options = Options { policy, seed, race, ..Options::default() };
            Some(device.with_sim_options(options)?.stream())
        })
        .collect();
    if simulated.is_empty() { vec![device.stream()] } else { simulated }
}

/// The configurations asked for.
fn schedules(args: &Verify, case: &dyn Case, device: &Device) -> Result<Vec<Schedule>> {
    let kernel = case.kernel();
    let Some(config) = &args.config else { return Ok(kernel.configurations_for(device.kind(), args.limit)) };
    let tuning = kernel.tuning(device.kind());
    let mut schedule = tuning.default.clone();
    let mut known: Vec<String> = tuning.knobs.knobs.iter().map(|knob| knob.name.to_owned()).collect();
    known.extend(
        schedule.knobs.keys().filter(|name| tuning.knobs.knobs.iter().all(|k| k.name != **name)).cloned(),
    );
    for (name, &value) in config {
        if !known.contains(name) {
            bail!("kernel `{}` has no knob `{name}`; {}", kernel.name, suggest(name, &known));
        }
        schedule = schedule.with(name, value);
    }
    if !tuning.knobs.legal.allows(&schedule) {
        bail!("the rule of kernel `{}` refuses \"{schedule}\"", kernel.name);
    }
    Ok(vec![schedule])
}

fn print(args: &Verify, rows: &[Row], n_runs: usize, out: &mut dyn Write) -> Result<()> {
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    let right = count(|v| matches!(v, Verdict::Right { .. }));
    let refused = count(|v| matches!(v, Verdict::DoesNotFit(_)));
    let wrong = count(Verdict::is_wrong);
    if args.json {
        let value = json!({
            "device": args.device,
            "runs_of_each": n_runs,
            "right": right,
            "do_not_fit": refused,
            "wrong": wrong,
            "configurations": rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        writeln!(out, "{value:#}")?;
    } else {
        let mut table = vec![["kernel", "dtype", "shape", "schedule", "result"].map(str::to_owned)];
        table.extend(rows.iter().map(Row::cells));
        write!(out, "{}", report::table(&table))?;
        let runs = if n_runs > 1 { format!(", each run {n_runs} times") } else { String::new() };
        writeln!(out, "{right} right, {refused} do not fit, {wrong} wrong on {}{runs}", args.device)?;
        for row in rows {
            if let Verdict::Failed(why) = &row.verdict
                && why.lines().count() > 1
            {
                writeln!(out, "\n{} \"{}\":\n{}", row.kernel, row.schedule, why.trim_end())?;
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} configurations do not compute what they should");
    }
    if right == 0 {
        bail!("no configuration ran");
    }
    Ok(())
}

/// The extents asked for, else the kernel's smallest test shape but the first, which is often a single element.
fn shape(entry: &Entry, args: &Verify) -> Result<Vec<usize>> {
    let Some(given) = &args.shape else {
        let shape = entry.test_shapes.get(1).or_else(|| entry.test_shapes.first());
        return Ok(shape.map(|s| s.to_vec()).unwrap_or_default());
    };
    if let Some(unknown) = given.keys().find(|name| !entry.shape_names.contains(&name.as_str())) {
        bail!("kernel `{}` has no extent `{unknown}`; there is {}", entry.name, entry.shape_names.join(", "));
    }
    let extent = |name: &&str| match given.get(*name) {
        Some(&n) => Ok(usize::try_from(n)?),
        None => bail!("the shape of kernel `{}` needs {name}=N", entry.name),
    };
    entry.shape_names.iter().map(extent).collect()
}

fn check(case: &mut dyn Case, stream: &Stream, schedule: &Schedule) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| case.check(stream, schedule))) {
        Err(_) => Verdict::Failed("panicked".to_owned()),
        Ok(Err(error @ KernelError::Launch(LaunchError::Specialisation { .. }))) => {
            Verdict::DoesNotFit(error.to_string())
        }
        Ok(Err(error)) => Verdict::Failed(error.to_string()),
        Ok(Ok(report)) => {
            let (error, tolerance) = (report.max_error, report.tolerance);
            if report.passed {
                Verdict::Right { error, tolerance }
            } else {
                Verdict::Wrong { error, tolerance }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_as_good_as_its_worst_run() {
        let right = |error| Verdict::Right { error, tolerance: 1.0 };
        let wrong = Verdict::Wrong { error: 2.0, tolerance: 1.0 };
        let failed = Verdict::Failed("k: 1 finding(s)\n  Race: ...".to_owned());
        assert_eq!(right(0.1).or_worse(right(0.3)), right(0.3));
        assert_eq!(right(0.1).or_worse(wrong.clone()), wrong);
        assert_eq!(wrong.clone().or_worse(right(0.0)), wrong);
        assert_eq!(failed.text(), "failed: k: 1 finding(s)");
        assert!(failed.is_wrong() && !right(0.0).is_wrong());
        assert_eq!(failed.json()["verdict"], "failed");
    }
}
