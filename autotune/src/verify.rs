//! `autotune verify`: every declared configuration of a kernel, or a sample of them, run over poisoned outputs and compared with
//! the f64 reference. Nothing is timed, so a simulated GPU will do.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, bail};
use tilewright_autotune::report;
use tilewright_codegen::error::LaunchError;
use tilewright_codegen::schedule::Schedule;
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::error::KernelError;
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::{Device, Stream};

use crate::args::Verify;
use crate::resolve::suggest;

/// How a configuration fared.
enum Verdict {
    Right,
    /// The compiler refuses it for this device: an answer, as in a search.
    DoesNotFit,
    Wrong,
}

pub(crate) fn verify(args: &Verify, out: &mut dyn Write) -> Result<()> {
    let entries: Vec<&Entry> =
        registry::all().iter().filter(|e| args.kernel == "all" || e.name == args.kernel).collect();
    if entries.is_empty() {
        let names: Vec<String> = registry::all().iter().map(|e| e.name.to_owned()).collect();
        bail!("unknown kernel `{}`; {}", args.kernel, suggest(&args.kernel, &names));
    }
    if entries.len() > 1 && args.shape.is_some() {
        bail!("--shape needs one kernel: kernels differ in the names of their extents");
    }
    let device = Device::parse(&args.device, 0)?;
    let stream = device.stream();
    let mut rows = vec![["kernel", "dtype", "shape", "schedule", "result"].map(str::to_owned)];
    let (mut right, mut refused, mut wrong) = (0, 0, 0);
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
        let mut case = entry.case(&CaseParams { device: memory, ..CaseParams::new(dtype, &shape) })?;
        for schedule in case.kernel().configurations_for(device.kind(), args.limit) {
            let (verdict, text) = check(&mut *case, &stream, &schedule);
            match verdict {
                Verdict::Right => right += 1,
                Verdict::DoesNotFit => refused += 1,
                Verdict::Wrong => wrong += 1,
            }
            let extents = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            rows.push([entry.name.to_owned(), dtype.to_owned(), extents, schedule.to_string(), text]);
        }
    }
    write!(out, "{}", report::table(&rows))?;
    writeln!(out, "{right} right, {refused} do not fit, {wrong} wrong on {}", args.device)?;
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

fn check(case: &mut dyn Case, stream: &Stream, schedule: &Schedule) -> (Verdict, String) {
    let line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    match catch_unwind(AssertUnwindSafe(|| case.check(stream, schedule))) {
        Err(_) => (Verdict::Wrong, "panicked".to_owned()),
        Ok(Err(error @ KernelError::Launch(LaunchError::Specialisation { .. }))) => {
            (Verdict::DoesNotFit, format!("does not fit: {}", line(error.to_string())))
        }
        Ok(Err(error)) => (Verdict::Wrong, format!("failed: {}", line(error.to_string()))),
        Ok(Ok(report)) => {
            let verdict = if report.passed { Verdict::Right } else { Verdict::Wrong };
            (verdict, format!("error {:.1e} of {:.1e}", report.max_error, report.tolerance))
        }
    }
}
