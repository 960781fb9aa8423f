//! The kernels of the registry as the tuner sees them.
//!
//! Some dimensions of a kernel are fixed by the problem (a head size, a row's length, the rows of a decode step). They are no part of
//! what is searched or recorded: [`free_space`] is the space without them, one and the same for every bucket of a kernel, and
//! a candidate runs with the problem's own values added. Which points are legal may depend on the fixed dimensions, so
//! that is decided when a candidate is prepared. CPUs and GPUs have spaces of their own: [`free_space`] and [`complete`] are told
//! which kind of device is meant.

use std::cell::RefCell;

use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::{Schedule, Space, TargetKind, Tuning};
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::{Device, Stream};

use crate::problem::{Bucket, Candidate, Check, Family, Invalid, Problem, Subject};

/// Dimensions that a problem fixes in every kernel that has them.
const FIXED_DIMS: [&str; 7] = ["K", "N", "D", "G", "HQ", "HKV", "HD"];

/// Bytes of weights that a measurement cycles through where they should come from memory, as in a decode step.
const COLD_BYTES: f64 = 256e6;

/// Whether the problem, not the schedule's author, decides a knob of a kernel.
fn is_fixed(kernel: &str, knob: &str) -> bool {
    FIXED_DIMS.contains(&knob) || (knob == "BM" && kernel.starts_with("matvec"))
}

/// The part of a kernel's space that records speak of.
#[must_use]
pub fn free_space(kernel: &Kernel, kind: TargetKind) -> Space {
    let Space { mut knobs, .. } = kernel.tuning(kind).knobs;
    knobs.retain(|k| !is_fixed(kernel.name, k.name));
    Space { knobs, ..Space::default() }
}

/// The free knobs of a schedule.
fn free_part(kernel: &Kernel, schedule: &Schedule) -> Schedule {
    let knobs = schedule.knobs.iter().filter(|(name, _)| !is_fixed(kernel.name, name));
    Schedule { knobs: knobs.map(|(name, value)| (name.clone(), *value)).collect() }
}

/// `kernel`'s default for a kind of device with the free knobs of a record.
#[must_use]
pub fn complete(kernel: &Kernel, kind: TargetKind, free: &Schedule) -> Schedule {
    let mut schedule = kernel.tuning(kind).default;
    schedule.knobs.extend(free.knobs.iter().map(|(name, value)| (name.clone(), *value)));
    schedule
}

/// Every kernel that can be tuned on a CPU, in the order of the registry.
#[must_use]
pub fn families() -> Vec<Box<dyn Family>> {
    families_for(TargetKind::Cpu)
}

/// Every kernel that can be tuned on a kind of device, in the order of the registry.
#[must_use]
pub fn families_for(kind: TargetKind) -> Vec<Box<dyn Family>> {
    registry::all()
        .iter()
        .filter_map(|entry| Some(Box::new(Registered::new(entry, kind)?) as Box<dyn Family>))
        .collect()
}

/// A kernel of the registry with at least one free knob.
struct Registered {
    entry: &'static Entry,
    kind: TargetKind,
    source_hash: u64,
    space: Space,
}

impl Registered {
    fn new(entry: &'static Entry, kind: TargetKind) -> Option<Self> {
        let smallest = entry.test_shapes.first()?;
        let case = entry.case(&CaseParams::new(entry.dtypes.first()?, smallest)).ok()?;
        let space = free_space(case.kernel(), kind);
        let source_hash = case.kernel().tuning(kind).source_hash;
        (!space.knobs.is_empty()).then_some(Self { entry, kind, source_hash, space })
    }

    fn bucket_of(&self, dtype: &str, shape: &[usize]) -> Bucket {
        let names = self.entry.shape_names.iter().copied();
        let extents: Vec<(&str, i64)> =
            names.zip(shape).map(|(name, &n)| (name, i64::try_from(n).unwrap_or(i64::MAX))).collect();
        self.entry
            .options
            .iter()
            .filter_map(|(name, values)| Some((name, values.first()?)))
            .fold(Bucket::new(dtype, &extents), |bucket, (name, value)| bucket.with_option(name, value))
    }
}

impl Family for Registered {
    fn subject(&self) -> Subject<'_> {
        Subject { kernel: self.entry.name, source_hash: self.source_hash, space: &self.space }
    }

    fn summary(&self) -> &str {
        self.entry.summary
    }

    fn dtypes(&self) -> Vec<String> {
        self.entry.dtypes.iter().map(|&d| d.to_owned()).collect()
    }

    fn extents(&self) -> Vec<String> {
        self.entry.shape_names.iter().map(|&n| n.to_owned()).collect()
    }

    fn options(&self) -> Vec<(String, Vec<String>)> {
        let owned = |values: &[&str]| values.iter().map(|&v| v.to_owned()).collect();
        self.entry.options.iter().map(|(name, values)| ((*name).to_owned(), owned(values))).collect()
    }

    fn buckets(&self) -> Vec<Bucket> {
        let dtypes = ["f32", "f32_bf16"].into_iter().filter(|d| self.entry.dtypes.contains(d));
        dtypes
            .flat_map(|dtype| self.entry.tune_shapes.iter().map(move |shape| self.bucket_of(dtype, shape)))
            .collect()
    }

    fn problem(&self, bucket: &Bucket, seed: u64) -> Result<Box<dyn Problem>, String> {
        let shape = self
            .entry
            .shape_names
            .iter()
            .map(|name| {
                let value =
                    bucket.extents.get(*name).ok_or_else(|| format!("the shape has no extent `{name}`"))?;
                usize::try_from(*value).map_err(|_| format!("extent {name} = {value} is not possible"))
            })
            .collect::<Result<Vec<usize>, String>>()?;
        let mut params = CaseParams::new(&bucket.dtype, &shape);
        params.options.clone_from(&bucket.options);
        params.seed = seed;
        let mut case = self.entry.case(&params).map_err(|e| e.to_string())?;
        if self.entry.name.starts_with("matvec") || self.entry.name == "attention_decode" {
            // A decode step never finds its weights, nor the keys and values of a layer, in the cache.
            params.copies = (COLD_BYTES / case.bytes()).ceil().clamp(1.0, 64.0) as usize;
            case = self.entry.case(&params).map_err(|e| e.to_string())?;
        }
        let kernel = case.kernel().clone();
        let tuning = kernel.tuning(self.kind);
        Ok(Box::new(Opened {
            bucket: bucket.clone(),
            source_hash: self.source_hash,
            space: self.space.clone(),
            flops: case.flops(),
            bytes: case.bytes(),
            kernel,
            tuning,
            kind: self.kind,
            case: RefCell::new(case),
            stream: Device::cpu(0).stream(),
        }))
    }
}

/// A kernel at one bucket; its candidates share inputs and device.
struct Opened {
    bucket: Bucket,
    source_hash: u64,
    space: Space,
    flops: f64,
    bytes: f64,
    kernel: Kernel,
    tuning: Tuning,
    kind: TargetKind,
    case: RefCell<Box<dyn Case>>,
    stream: Stream,
}

impl Problem for Opened {
    fn subject(&self) -> Subject<'_> {
        Subject { kernel: self.kernel.name, source_hash: self.source_hash, space: &self.space }
    }

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn default_schedule(&self) -> Schedule {
        free_part(&self.kernel, &self.tuning.default)
    }

    fn flops(&self) -> f64 {
        self.flops
    }

    fn bytes(&self) -> f64 {
        self.bytes
    }

    fn prepare<'a>(&'a self, schedule: &Schedule) -> Result<Box<dyn Candidate + 'a>, Invalid> {
        let schedule = complete(&self.kernel, self.kind, schedule);
        if !(self.tuning.knobs.legal)(&schedule) {
            return Err(Invalid::Specialise("not a legal point at this shape".to_owned()));
        }
        self.kernel.specialise(&schedule).map_err(|e| Invalid::Specialise(e.to_string()))?;
        Ok(Box::new(Scheduled { problem: self, schedule }))
    }
}

/// A problem at one schedule.
struct Scheduled<'a> {
    problem: &'a Opened,
    schedule: Schedule,
}

impl Candidate for Scheduled<'_> {
    fn check(&mut self) -> Result<Check, Invalid> {
        let report = self.problem.case.borrow_mut().check(&self.problem.stream, &self.schedule);
        let report = report.map_err(|e| Invalid::Run(e.to_string()))?;
        Ok(Check { max_error: report.max_error, tolerance: report.tolerance })
    }

    fn run(&mut self) -> Result<(), Invalid> {
        let ran = self.problem.case.borrow_mut().run(&self.problem.stream, &self.schedule);
        ran.map_err(|e| Invalid::Run(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_point_of_the_free_space() {
        assert!(families().len() > 8, "{} kernels", families().len());
        for (entry, kind) in
            registry::all().iter().flat_map(|e| [TargetKind::Cpu, TargetKind::Gpu].map(|kind| (e, kind)))
        {
            let Some(family) = Registered::new(entry, kind) else { continue };
            for shape in entry.tune_shapes.iter().filter(|s| s.iter().product::<usize>() < 1 << 22) {
                let bucket = family.bucket_of(entry.dtypes[0], shape);
                let problem = family.problem(&bucket, 1).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
                let default = problem.default_schedule();
                let what = || format!("{} at {bucket} on {kind:?}: {default}", entry.name);
                assert!(problem.subject().space.contains(&default), "{}", what());
                assert!(problem.prepare(&default).is_ok(), "{}", what());
            }
        }
    }

    #[test]
    fn shipped_records_fit_the_kernels() {
        let library = crate::library::Library::shipped();
        for family in families() {
            for (device_class, kernel) in crate::library::shipped_names() {
                if kernel == family.subject().kernel {
                    for (origin, file) in library.files(&family.subject(), device_class) {
                        assert!(
                            file.is_ok(),
                            "{origin}: {}",
                            file.err().map_or_else(String::new, |e| e.to_string())
                        );
                    }
                }
            }
        }
    }
}
