//! What the program does for each command.
//!
//! Results go to the writer, progress to standard error when it is a terminal. A record is written as soon as its bucket is
//! measured, so a search of many buckets that is interrupted loses only the one under way.

use std::io::Write;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tilewright_autotune::ceiling::{Ceilings, measure_gpu};
use tilewright_autotune::fingerprint::{Fingerprint, Gpu};
use tilewright_autotune::kernels::families_on;
use tilewright_autotune::library::{Library, user_folder};
use tilewright_autotune::measure::{Clock, MeasureConfig};
use tilewright_autotune::problem::{Bucket, Family};
use tilewright_autotune::record::{Record, RecordFile, store};
use tilewright_autotune::report;
use tilewright_autotune::tune::{Event, Outcome, TuneConfig, tune};
use tilewright_runtime::Device;

use crate::args::{Args, Command, DeviceKind, Show, Tune};
use crate::{doctor, resolve, verify};

/// The world around a command.
pub(crate) struct Context<'a> {
    /// The kernels that can be tuned.
    pub families: &'a [Box<dyn Family>],
    /// The device.
    pub device: Fingerprint,
    /// The clock that candidates are timed with.
    pub clock: &'a dyn Clock,
    /// Measures the ceilings; called once per `tune`.
    pub measure_ceilings: &'a dyn Fn() -> Result<Ceilings>,
}

/// Runs one command, writing its result to `out`.
pub(crate) fn run(args: &Args, cx: &Context<'_>, out: &mut dyn Write) -> Result<()> {
    match &args.command {
        Command::List => list(cx, out),
        Command::Tune(tune) => tune_all(tune, cx, out),
        Command::Show(show) => show_records(show, cx, out),
        Command::Verify(args) => verify::verify(args, out),
        Command::Doctor(args) => doctor::doctor(args, out),
    }
}

fn list(cx: &Context<'_>, out: &mut dyn Write) -> Result<()> {
    let library = Library::for_user();
    let class = cx.device.class();
    writeln!(out, "device: {}", cx.device.describe())?;
    let mut rows = vec![["kernel", "shape", "dtypes", "grid", "records", "computes"].map(str::to_owned)];
    for family in cx.families {
        let subject = family.subject();
        let files = class.iter().flat_map(|class| library.files(&subject, class));
        let count: usize = files.filter_map(|(_, file)| Some(file.ok()?.records.len())).sum();
        rows.push([
            subject.kernel.to_owned(),
            family.extents().join(","),
            family.dtypes().join(","),
            subject.space.grid_len().to_string(),
            count.to_string(),
            family.summary().to_owned(),
        ]);
    }
    write!(out, "{}", report::table(&rows))?;
    Ok(())
}

fn show_records(show: &Show, cx: &Context<'_>, out: &mut dyn Write) -> Result<()> {
    match show.device {
        DeviceKind::Cpu => show_of(show, cx, out),
        DeviceKind::Sim => {
            writeln!(out, "nothing is recorded on a simulated GPU; the default schedules for GPUs serve")?;
            Ok(())
        }
        DeviceKind::Cuda(ordinal) => on_gpu(ordinal, cx, |cx| show_of(show, cx, out)),
    }
}

/// Runs a command with a CUDA device in the place of the processor.
fn on_gpu(ordinal: u32, cx: &Context<'_>, run: impl FnOnce(&Context<'_>) -> Result<()>) -> Result<()> {
    let device = Device::cuda(ordinal).with_context(|| format!("device cuda:{ordinal} cannot be used"))?;
    let stream = device.cuda_stream().context("a CUDA device should have a stream")?;
    let fingerprint = Gpu::of(stream.context().info())?;
    run(&Context {
        families: &families_on(&device),
        device: Fingerprint::Gpu(fingerprint),
        clock: cx.clock,
        measure_ceilings: &|| Ok(measure_gpu(stream)?),
    })
}

fn show_of(show: &Show, cx: &Context<'_>, out: &mut dyn Write) -> Result<()> {
    let device = &cx.device;
    writeln!(out, "device: {}", device.describe())?;
    let Some(class) = device.class() else {
        writeln!(
            out,
            "no record applies to a device that cannot be identified; the default schedules serve"
        )?;
        return Ok(());
    };
    let mut library = Library::for_user();
    if let Some(folder) = &show.out {
        library.folders = vec![folder.clone()];
    }
    let mut shown = 0;
    for family in resolve::families(cx.families, show.kernel.as_deref().unwrap_or("all"))? {
        let subject = family.subject();
        for (origin, file) in library.files(&subject, &class) {
            shown += 1;
            writeln!(out, "\n{} ({origin})", subject.kernel)?;
            match file {
                Ok(file) => write!(out, "{}", report::records(&file))?,
                Err(error) => writeln!(out, "{error}")?,
            }
        }
    }
    if shown == 0 {
        writeln!(out, "no record for this device class; the default schedules serve")?;
    }
    Ok(())
}

fn tune_all(args: &Tune, cx: &Context<'_>, out: &mut dyn Write) -> Result<()> {
    if args.kernel == "all" && args.shape.is_some() {
        bail!("--shape needs one kernel: kernels differ in the names of their extents");
    }
    match args.device {
        DeviceKind::Cpu => tune_on(args, cx, out),
        DeviceKind::Sim => bail!(
            "a simulated GPU measures nothing: it executes the GPU's code on the CPU; `autotune verify` checks configurations on it"
        ),
        DeviceKind::Cuda(ordinal) => on_gpu(ordinal, cx, |cx| tune_on(args, cx, out)),
    }
}

/// Tunes on the device of `cx`.
fn tune_on(args: &Tune, cx: &Context<'_>, out: &mut dyn Write) -> Result<()> {
    let device = &cx.device;
    let mut jobs = Vec::new();
    for family in resolve::families(cx.families, &args.kernel)? {
        match resolve::buckets(family, args) {
            Ok(buckets) => jobs.extend(buckets.into_iter().map(|bucket| (family, bucket))),
            // With `all`, a kernel without the dtype asked for is passed over.
            Err(_) if args.kernel == "all" => {}
            Err(e) => return Err(e),
        }
    }
    if jobs.is_empty() {
        bail!("no kernel has a bucket of this kind; `autotune list` shows what there is");
    }
    // Whatever prevents recording is said before the time is spent.
    let target = if args.dry_run { None } else { Some(record_target(args, device)?) };

    let start_s = cx.clock.now();
    writeln!(out, "device: {}", device.describe())?;
    let ceilings = (cx.measure_ceilings)()?;
    let (gflops, gbytes) = (ceilings.flops_per_s / 1e9, ceilings.bytes_per_s / 1e9);
    match device {
        Fingerprint::Cpu(_) => {
            writeln!(out, "measured ceilings: {gflops:.0} GFLOP/s f32 FMA, {gbytes:.1} GB/s memory read")?;
        }
        Fingerprint::Gpu(_) => {
            writeln!(
                out,
                "ceilings: {gbytes:.1} GB/s copied, measured; {gflops:.0} GFLOP/s f32 FMA by the clocks"
            )?;
        }
    }

    let mut failed = 0;
    for (i, (family, bucket)) in jobs.iter().enumerate() {
        let left_s = args.budget - (cx.clock.now() - start_s);
        // Time that one bucket does not need goes to those after it.
        let budget_s = (left_s / (jobs.len() - i) as f64).max(0.0);
        let kernel = family.subject().kernel;
        writeln!(out, "\n{kernel} {bucket}")?;
        match tune_one(args, *family, bucket, budget_s, cx) {
            Ok(done) => {
                let ranking = report::ranking(&done.outcome, done.work, Some(&ceilings), Default::default());
                write!(out, "{ranking}")?;
                if let Some((folder, class)) = &target {
                    let record =
                        done.into_record(bucket, &ceilings, device, command_text(args, kernel, bucket));
                    let file = RecordFile::new(class, kernel, family.subject().source_hash, vec![record]);
                    let (path, dropped) = store::save(folder, file)?;
                    writeln!(out, "recorded in {}", path.display())?;
                    if dropped > 0 {
                        writeln!(out, "dropped {dropped} records of an earlier source of `{kernel}`")?;
                    }
                }
            }
            Err(e) => {
                failed += 1;
                writeln!(out, "error: {e:#}")?;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} problems could not be tuned", jobs.len());
    }
    Ok(())
}

/// The folder and the device class to record under.
fn record_target(args: &Tune, device: &Fingerprint) -> Result<(std::path::PathBuf, String)> {
    let class = device.class().context(
        "this device cannot be identified, so its records could not be told from another's; use --dry-run to measure only",
    )?;
    let folder = args.out.clone().or_else(user_folder);
    let folder =
        folder.context("no folder for records: give --out DIR, or set TILEWRIGHT_RECORDS or HOME")?;
    Ok((folder, class))
}

struct Tuned {
    outcome: Outcome,
    work: (f64, f64),
}

impl Tuned {
    fn into_record(
        self,
        bucket: &Bucket,
        ceilings: &Ceilings,
        device: &Fingerprint,
        command: String,
    ) -> Record {
        let measured = self.outcome.measured();
        let (device, summary) = (device.clone(), self.outcome.summary);
        Record::new(bucket.clone(), &measured, self.work, Some(ceilings), device, summary, command)
    }
}

fn tune_one(
    args: &Tune,
    family: &dyn Family,
    bucket: &Bucket,
    budget_s: f64,
    cx: &Context<'_>,
) -> Result<Tuned> {
    let kernel = family.subject().kernel;
    let opened = family.problem(bucket, args.seed).map_err(anyhow::Error::msg);
    let problem = opened.with_context(|| format!("cannot make {kernel} at {bucket}"))?;
    let config = TuneConfig {
        budget_s,
        strategy: args.search.strategy(),
        seed: args.seed,
        max_candidates: args.max_candidates.map(|n| n as usize),
        measure: MeasureConfig::default(),
    };
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("[{elapsed}] {bar:30} {pos}/{len} {wide_msg}")
            .context("progress bar template")?,
    );
    let outcome = tune(&*problem, &config, cx.clock, &mut |event| match event {
        Event::Tried { done, of, schedule } => {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{kernel}: {schedule}"));
        }
        Event::Leader { schedule, median_s } => {
            bar.set_message(format!("{kernel}: best {} with {schedule}", report::seconds(median_s)));
        }
        Event::RunOff { round, of } => {
            bar.set_length(of as u64);
            bar.set_position(round as u64);
            bar.set_message(format!("{kernel}: run-off of the leaders"));
        }
    });
    bar.finish_and_clear();
    Ok(Tuned { outcome: outcome?, work: (problem.flops(), problem.bytes()) })
}

/// The command that repeats one measurement, free of folders and of other buckets.
fn command_text(args: &Tune, kernel: &str, bucket: &Bucket) -> String {
    let shape: Vec<String> = bucket.extents.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut text = format!("autotune tune {kernel} --shape {} --dtype {}", shape.join(","), bucket.dtype);
    for (name, value) in &bucket.options {
        text.push_str(&format!(" --option {name}={value}"));
    }
    let (search, seed, budget) = (args.search.strategy().name(), args.seed, args.budget);
    let device = args.device;
    text.push_str(&format!(" --device {device} --budget {budget} --search {search} --seed {seed}"));
    if let Some(n) = args.max_candidates {
        text.push_str(&format!(" --max-candidates {n}"));
    }
    text
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
