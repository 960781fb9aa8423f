//! The kernels of the registry as the tuner sees them.
//!
//! Some dimensions of a kernel are fixed by the problem (a head size, a row's length, the rows of a decode step). They are no part of
//! what is searched or recorded: [`free_space`] is the space without them, one and the same for every bucket of a kernel, and
//! a candidate runs with the problem's own values added. Which points are legal may depend on the fixed dimensions, so
//! that is decided when a candidate is prepared. CPUs and GPUs have spaces of their own: [`free_space`] and [`complete`] are told
//! which kind of device is meant.

use std::cell::{OnceCell, RefCell};

use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::{Schedule, Space, TargetKind, Tuning};
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::cache::DiskCache;
use tilewright_runtime::gpu::variant::Variant;
use tilewright_runtime::{Device, Stream};

use crate::ahead::Ahead;
use crate::measure::DeviceTimer;
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

/// Every kernel that can be tuned on a kind of device, in the order of the registry; its problems run on the CPU.
#[must_use]
pub fn families_for(kind: TargetKind) -> Vec<Box<dyn Family>> {
    families_of(kind, None)
}

/// Every kernel that can be tuned on a device, in the order of the registry.
#[must_use]
pub fn families_on(device: &Device) -> Vec<Box<dyn Family>> {
    families_of(device.kind(), Some(device))
}

fn families_of(kind: TargetKind, device: Option<&Device>) -> Vec<Box<dyn Family>> {
    registry::all()
        .iter()
        .filter_map(|entry| {
            let registered = Registered { device: device.cloned(), ..Registered::new(entry, kind)? };
            Some(Box::new(registered) as Box<dyn Family>)
        })
        .collect()
}

/// A kernel of the registry with at least one free knob.
struct Registered {
    entry: &'static Entry,
    kind: TargetKind,
    /// Where problems run; `None` is the CPU.
    device: Option<Device>,
    source_hash: u64,
    space: Space,
}

impl Registered {
    fn new(entry: &'static Entry, kind: TargetKind) -> Option<Self> {
        let smallest = entry.test_shapes.first()?;
        let case = entry.case(&CaseParams::new(entry.dtypes.first()?, smallest)).ok()?;
        let space = free_space(case.kernel(), kind);
        let source_hash = case.kernel().tuning(kind).source_hash;
        (!space.knobs.is_empty()).then_some(Self { entry, kind, device: None, source_hash, space })
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
        // What models run in: a GPU multiplies 16 bits by 16 bits.
        let dtypes = match self.kind {
            TargetKind::Cpu => ["f32", "f32_bf16"],
            TargetKind::Gpu => ["f32", "bf16"],
        };
        let dtypes = dtypes.into_iter().filter(|d| self.entry.dtypes.contains(d));
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
        params.device.clone_from(&self.device);
        let mut case = self.entry.case(&params).map_err(|e| e.to_string())?;
        let device = self.device.clone().unwrap_or_else(|| Device::cpu(0));
        let timer = DeviceTimer::new(&device).map_err(|e| e.to_string())?;
        let is_cold = self.entry.name.starts_with("matvec") || self.entry.name == "attention_decode";
        // A GPU's cache is flushed before each execution.
        if is_cold && timer.is_none() {
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
            stream: device.stream(),
            timer,
            ahead: OnceCell::new(),
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
    /// On CUDA devices.
    timer: Option<DeviceTimer>,
    /// Threads that compile, once there is something to compile.
    ahead: OnceCell<Ahead>,
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

    fn compile_ahead(&self, schedule: &Schedule) {
        let schedule = complete(&self.kernel, self.kind, schedule);
        let Some(stream) = self.stream.device().cuda_stream() else { return };
        // Without the disk cache there is nowhere to leave the code.
        if !self.tuning.knobs.legal.allows(&schedule) || DiskCache::from_env().is_none() {
            return;
        }
        let arch = stream.context().arch();
        for (i, facts) in self.stream.launched_facts(self.kernel.id).into_iter().enumerate() {
            let (kernel, schedule) = (self.kernel.clone(), schedule.clone());
            let name = format!("{schedule} {i}");
            self.ahead.get_or_init(Ahead::new).push(name, move || {
                // What is wrong with it is said when it is tried.
                drop(Variant::new(&kernel, &schedule, arch, &facts));
            });
        }
    }

    fn prepare<'a>(&'a self, schedule: &Schedule) -> Result<Box<dyn Candidate + 'a>, Invalid> {
        let schedule = complete(&self.kernel, self.kind, schedule);
        if !self.tuning.knobs.legal.allows(&schedule) {
            return Err(Invalid::Specialise("not a legal point at this shape".to_owned()));
        }
        if let Some(ahead) = self.ahead.get() {
            let n = self.stream.launched_facts(self.kernel.id).len();
            (0..n).for_each(|i| ahead.wait(&format!("{schedule} {i}")));
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

impl Scheduled<'_> {
    fn launch(&self) -> Result<(), Invalid> {
        let ran = self.problem.case.borrow_mut().run(&self.problem.stream, &self.schedule);
        ran.map_err(|e| Invalid::Run(e.to_string()))
    }
}

impl Candidate for Scheduled<'_> {
    fn check(&mut self) -> Result<Check, Invalid> {
        let report = self.problem.case.borrow_mut().check(&self.problem.stream, &self.schedule);
        let report = report.map_err(|e| Invalid::Run(e.to_string()))?;
        Ok(Check { max_error: report.max_error, tolerance: report.tolerance })
    }

    fn run(&mut self) -> Result<(), Invalid> {
        self.launch()?;
        // A GPU has only been asked.
        self.problem.stream.device().synchronize().map_err(|e| Invalid::Run(e.to_string()))
    }

    fn device_seconds(&mut self, repeats: usize) -> Option<Result<f64, Invalid>> {
        let timer = self.problem.timer.as_ref()?;
        Some(timer.seconds(repeats, &mut || self.launch()))
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
