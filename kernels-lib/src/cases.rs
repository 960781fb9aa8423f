//! Every kernel with inputs, a reference in f64 and a check: what tests, tuner and benches run.
//!
//! A [`Case`] is one kernel on one problem, with random inputs. Its check poisons the outputs (NaN, or a value that is never
//! right for integers), runs, and compares all of them with the reference, which is computed once, from the inputs as they
//! were rounded to their element types. `copies` sets of inputs that `run` takes in turn keep weights out of the caches where
//! a measurement wants them cold. Inputs and outputs are in the memory of the device that the case is made for.

pub(crate) mod attention;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod random;
pub(crate) mod rope;
pub(crate) mod rows;
pub(crate) mod sample;

use std::collections::BTreeMap;

use tilewright_codegen::dsl::elem::Elem;
use tilewright_codegen::ir::DType;
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::Schedule;
use tilewright_runtime::{Buffer, Device, Stream};

use crate::error::KernelError;

/// Which problem a case poses.
#[derive(Clone, Debug)]
pub struct CaseParams {
    /// One of the entry's `dtypes`.
    pub dtype: String,
    /// One extent per name in the entry's `shape_names`.
    pub shape: Vec<usize>,
    /// Choices among the entry's `options`; one that is missing takes its first value.
    pub options: BTreeMap<String, String>,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Sets of inputs that [`Case::run`] takes in turn; at least 1.
    pub copies: usize,
    /// Whose memory inputs and outputs are in; without one the host's, which CPUs and simulated GPUs read.
    pub device: Option<Device>,
}

impl CaseParams {
    /// A problem with default options and one set of inputs.
    #[must_use]
    pub fn new(dtype: &str, shape: &[usize]) -> Self {
        Self {
            dtype: dtype.to_owned(),
            shape: shape.to_vec(),
            options: BTreeMap::new(),
            seed: 1,
            copies: 1,
            device: None,
        }
    }

    /// The problem in the memory of a device; it then runs on streams of that device only.
    #[must_use]
    pub fn on(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// The problem with one option set.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The chosen value of an option.
    pub(crate) fn option(&self, name: &str) -> &str {
        self.options.get(name).map_or("", String::as_str)
    }
}

/// The outcome of a check.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CheckReport {
    /// Largest difference from the reference, as a part of the largest magnitude of the same output; NaN counts as infinite.
    pub max_error: f64,
    /// What the kernel documents as its bound.
    pub tolerance: f64,
    /// Whether the error is within the tolerance.
    pub passed: bool,
}

/// A kernel on one problem.
pub trait Case {
    /// The kernel, with the dimensions of the problem pinned.
    fn kernel(&self) -> &Kernel;

    /// Floating-point operations of one run.
    fn flops(&self) -> f64;

    /// Bytes that one run must at least read and write.
    fn bytes(&self) -> f64;

    /// The bound of [`CheckReport::max_error`].
    fn tolerance(&self) -> f64;

    /// One run on the next set of inputs.
    ///
    /// # Errors
    /// If the launch fails.
    fn run(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError>;

    /// One run over poisoned outputs, compared with the reference.
    ///
    /// # Errors
    /// If the launch fails. A wrong result is a report that has not passed.
    fn check(&mut self, stream: &Stream, schedule: &Schedule) -> Result<CheckReport, KernelError>;

    /// The outputs of the last check, widened.
    fn outputs(&self) -> Vec<Vec<f64>>;
}

/// One set of inputs and outputs of a kernel.
pub(crate) trait Data {
    /// Poisons outputs and restores what is updated in place.
    fn reset(&mut self) -> Result<(), KernelError>;
    /// Runs the kernel.
    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError>;
    /// What the kernel wrote.
    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError>;
    /// What it should have written.
    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError>;
}

/// What a run costs and how far off it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub flops: f64,
    pub bytes: f64,
    pub tolerance: f64,
}

/// A kernel with its sets of data.
struct Rig<D> {
    kernel: Kernel,
    cost: Cost,
    data: Vec<D>,
    next: usize,
    truth: Option<Vec<Vec<f64>>>,
    found: Vec<Vec<f64>>,
}

/// A case from a kernel and its data, made once per copy from a seed.
pub(crate) fn case<D: Data + 'static>(
    params: &CaseParams,
    kernel: Kernel,
    cost: Cost,
    mut make: impl FnMut(random::Random) -> Result<D, KernelError>,
) -> Result<Box<dyn Case>, KernelError> {
    let copies = 0..params.copies.max(1) as u64;
    let random = |copy| random::Random::new(params.seed ^ copy << 32, params.device.clone());
    let data = copies.map(|copy| make(random(copy))).collect::<Result<_, _>>()?;
    Ok(Box::new(Rig { kernel, cost, data, next: 0, truth: None, found: Vec::new() }))
}

impl<D: Data> Case for Rig<D> {
    fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    fn flops(&self) -> f64 {
        self.cost.flops
    }

    fn bytes(&self) -> f64 {
        self.cost.bytes
    }

    fn tolerance(&self) -> f64 {
        self.cost.tolerance
    }

    fn run(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        self.next = (self.next + 1) % self.data.len();
        self.data[self.next].launch(stream, schedule)
    }

    fn check(&mut self, stream: &Stream, schedule: &Schedule) -> Result<CheckReport, KernelError> {
        let data = &mut self.data[0];
        if self.truth.is_none() {
            self.truth = Some(data.reference()?);
        }
        data.reset()?;
        data.launch(stream, schedule)?;
        // What the launch did wrong on a GPU comes out here.
        stream.device().synchronize()?;
        self.found = data.outputs()?;
        let errors = self.found.iter().zip(self.truth.iter().flatten()).map(|(f, t)| error(f, t));
        let max_error = errors.fold(0.0, f64::max);
        let tolerance = self.cost.tolerance;
        Ok(CheckReport { max_error, tolerance, passed: max_error <= tolerance })
    }

    fn outputs(&self) -> Vec<Vec<f64>> {
        self.found.clone()
    }
}

/// Largest difference as a part of the largest magnitude; equal infinities do not differ.
fn error(found: &[f64], truth: &[f64]) -> f64 {
    let scale = truth.iter().map(|t| t.abs()).filter(|t| t.is_finite()).fold(1e-30, f64::max);
    let one = |(f, t): (&f64, &f64)| {
        let difference = if f == t { 0.0 } else { (f - t).abs() / scale };
        if difference.is_nan() { f64::INFINITY } else { difference }
    };
    let shorter = if found.len() == truth.len() { 0.0 } else { f64::INFINITY };
    found.iter().zip(truth).map(one).fold(shorter, f64::max)
}

/// The tolerance of a result in `T` whose computation in f32 is good to `base`.
pub(crate) fn tolerance<T: Elem>(base: f64) -> f64 {
    let rounding = [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))];
    base + rounding.iter().find(|(d, _)| *d == T::DTYPE).map_or(0.0, |(_, ulp)| *ulp)
}

/// Bytes of `n` elements.
pub(crate) fn bytes<T>(n: usize) -> f64 {
    (n * size_of::<T>()) as f64
}

/// The values of a buffer on any device.
pub(crate) fn values<T: Elem>(buffer: &Buffer<T>) -> Result<Vec<T>, KernelError> {
    let mut values = vec![T::from_f64(0.0); buffer.len()];
    buffer.read(&mut values)?;
    Ok(values)
}

/// The values of a buffer on any device, widened.
pub(crate) fn widened<T: Elem>(buffer: &Buffer<T>) -> Result<Vec<f64>, KernelError> {
    Ok(values(buffer)?.iter().map(|x| x.to_f64()).collect())
}

/// A buffer that a kernel writes, with what it held before where the kernel reads it.
pub(crate) struct Output<T> {
    pub buffer: Buffer<T>,
    initial: Option<Vec<T>>,
}

impl<T: Elem> Output<T> {
    /// Restores the initial content, or poisons what has none.
    pub(crate) fn reset(&mut self) -> Result<(), KernelError> {
        match &self.initial {
            Some(initial) => self.buffer.write(initial)?,
            None => self.buffer.write(&vec![poison(); self.buffer.len()])?,
        }
        Ok(())
    }

    /// The initial content, widened.
    pub(crate) fn before(&self) -> Vec<f64> {
        self.initial.iter().flatten().map(|x| x.to_f64()).collect()
    }
}

/// NaN, or for integers a value that no kernel gives.
fn poison<T: Elem>() -> T {
    let nan = T::from_f64(f64::NAN);
    if nan.to_f64().is_nan() { nan } else { T::from_f64(-7_777_777.0) }
}

/// Calls `$make` with the two element types that a dtype stands for: activations, then weights.
macro_rules! with_pair {
    ($params:expr, $make:ident) => {
        match $params.dtype.as_str() {
            "f32" => $make::<f32, f32>($params),
            "f32_bf16" => $make::<f32, half::bf16>($params),
            "f32_f16" => $make::<f32, half::f16>($params),
            "bf16" => $make::<half::bf16, half::bf16>($params),
            _ => $make::<half::f16, half::f16>($params),
        }
    };
}
pub(crate) use with_pair;

/// Calls `$make` with the element type that a dtype stands for.
macro_rules! with_single {
    ($params:expr, $make:ident) => {
        match $params.dtype.as_str() {
            "f32" => $make::<f32>($params),
            "bf16" => $make::<half::bf16>($params),
            _ => $make::<half::f16>($params),
        }
    };
}
pub(crate) use with_single;
