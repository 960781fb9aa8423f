//! A kernel as a value: what `#[kernel]` knows of the author's function, and how to specialise and launch it.
//!
//! A [`Kernel`] is one monomorphisation with its comptime values; the schedule is still open. [`Kernel::specialise`] runs the
//! author's function once under a schedule and returns the program of one instance. Nothing on the launch path allocates:
//! a [`Launch`] borrows, and its key is a hash of integers, so a device looks its compiled program up before it asks for the kernel.

mod key;
mod names;
mod sample;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::dsl::elem::Elem;
use crate::error::LaunchError;
use crate::ir::verify::verify;
use crate::ir::{DType, Func, ViewFacts, builder};
use crate::launch::Arg;
use crate::schedule::{Schedule, Space, TargetKind, Tuning};

pub use key::{Comptime, KeyHasher, hash_comptime, launch_key};
pub use names::LetName;

/// The most legal points of a search space that the generated test specialises.
pub const TESTED_POINTS: usize = 200;

/// One monomorphisation of a kernel, with its comptime values.
#[derive(Clone)]
pub struct Kernel {
    /// The author's function name.
    pub name: &'static str,
    /// Names this monomorphisation and its comptime values; stable from run to run while the source stays.
    pub id: u64,
    /// Run-time parameters in launch order.
    pub params: Vec<KernelParam>,
    /// Dimension parameters in declaration order; the schedule gives each a positive extent.
    pub dims: &'static [&'static str],
    /// Integer parameters that the schedule chooses.
    pub tunables: &'static [&'static str],
    /// Comptime parameters and their values as text.
    pub comptime: Vec<(&'static str, String)>,
    /// The search space for CPUs: dimensions, tunables, then the target's knobs.
    pub knobs: Space,
    /// The schedule for CPUs when nobody tuned.
    pub default: Schedule,
    /// The search space and default for GPUs.
    pub gpu: Tuning,
    /// Where and what the author wrote.
    pub source: Source,
    /// The author's variables, for readable IR.
    pub lets: &'static [LetName],
    /// Declares the parameters and runs the author's function in the current builder.
    pub build: Arc<dyn Fn(&Schedule) + Send + Sync>,
}

/// A run-time parameter of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelParam {
    /// The author's name.
    pub name: &'static str,
    /// What it is.
    pub kind: ParamKind,
}

/// What a run-time parameter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamKind {
    /// A view of device memory.
    View {
        /// Element type.
        dtype: DType,
        /// Number of axes.
        rank: usize,
        /// Whether the kernel may store to it.
        mutable: bool,
        /// What every launch guarantees.
        facts: ViewFacts,
    },
    /// A scalar.
    Scalar {
        /// Element type.
        dtype: DType,
    },
}

impl KernelParam {
    /// A view parameter of element type `T` and rank `R`.
    #[must_use]
    pub const fn view<T: Elem, const R: usize>(name: &'static str, mutable: bool, facts: ViewFacts) -> Self {
        Self { name, kind: ParamKind::View { dtype: T::DTYPE, rank: R, mutable, facts } }
    }

    /// A scalar parameter of element type `T`.
    #[must_use]
    pub const fn scalar<T: Elem>(name: &'static str) -> Self {
        Self { name, kind: ParamKind::Scalar { dtype: T::DTYPE } }
    }
}

/// Where and what the author wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// File as rustc names it.
    pub file: &'static str,
    /// Line of the function's name, from 1.
    pub line: u32,
    /// Column of the function's name, from 1.
    pub column: u32,
    /// The function without attributes and comments.
    pub text: &'static str,
    /// FNV-1a of the tokens of attribute and function, without what is declared for GPUs alone.
    pub hash: u64,
}

impl Source {
    /// The place of the function's name.
    #[must_use]
    pub const fn loc(&self) -> Loc {
        Loc { file: self.file, line: self.line, column: self.column }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("params", &self.params)
            .field("dims", &self.dims)
            .field("comptime", &self.comptime)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// The program of one instance under a schedule, which must give every dimension and tunable a value.
    ///
    /// # Errors
    /// Everything that is wrong with the numbers, at the author's places: a missing or illegal extent, extents that do not
    /// divide, element types that an operation does not take. A panic of the author's function is reported likewise.
    pub fn specialise(&self, schedule: &Schedule) -> Result<Func, Diagnostics> {
        let dims = self.extents(schedule)?;
        let run = || builder::build(self.name, &dims, || (self.build)(schedule));
        let mut func = match std::panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(built) => built.map_err(unique)?,
            Err(payload) => return Err(self.panicked(&*payload, schedule)),
        };
        names::name_values(&mut func, self.source.file, self.lets);
        if cfg!(debug_assertions) {
            verify(&func)?;
        }
        Ok(func)
    }

    /// The extents of the dimensions under a schedule.
    fn extents(&self, schedule: &Schedule) -> Result<Vec<usize>, Diagnostics> {
        let mut wrong = Vec::new();
        let mut report = |message: String, help: String| {
            wrong.push(Diagnostic::new(self.source.loc(), message).help(help));
        };
        let mut dims = Vec::with_capacity(self.dims.len());
        for &name in self.dims {
            match schedule.get(name) {
                None => report(
                    format!(
                        "dimension `{name}` of kernel `{}` has no extent in the schedule \"{schedule}\"",
                        self.name
                    ),
                    format!(
                        "set it, for example `.with(\"{name}\", {})`",
                        self.default.get(name).unwrap_or(64)
                    ),
                ),
                Some(n) if n < 1 || n > builder::MAX_TILE_ELEMENTS as i64 => report(
                    format!("extent {n} of dimension `{name}` of kernel `{}` is not possible", self.name),
                    format!("extents run from 1 to {}", builder::MAX_TILE_ELEMENTS),
                ),
                Some(n) => dims.push(n as usize),
            }
        }
        for &name in self.tunables {
            if schedule.get(name).is_none() {
                report(
                    format!(
                        "tunable `{name}` of kernel `{}` has no value in the schedule \"{schedule}\"",
                        self.name
                    ),
                    format!(
                        "set it, for example `.with(\"{name}\", {})`",
                        self.default.get(name).unwrap_or(1)
                    ),
                );
            }
        }
        if wrong.is_empty() { Ok(dims) } else { Err(Diagnostics(wrong)) }
    }

    fn panicked(&self, payload: &(dyn std::any::Any + Send), schedule: &Schedule) -> Diagnostics {
        let text = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Diagnostic::new(
            self.source.loc(),
            format!("kernel `{}` panicked while it was specialised: {text}", self.name),
        )
        .help(format!(
            "the schedule was \"{schedule}\"; a point that cannot work belongs in `legal = |s| ...`"
        ))
        .into()
    }

    /// What may be tuned on a kind of target, where tuning starts, and the hash that its records carry.
    #[must_use]
    pub fn tuning(&self, kind: TargetKind) -> Tuning {
        match kind {
            TargetKind::Cpu => Tuning {
                knobs: self.knobs.clone(),
                default: self.default.clone(),
                source_hash: self.source.hash,
            },
            TargetKind::Gpu => self.gpu.clone(),
        }
    }

    /// [`Kernel::configurations_for`] CPUs.
    #[must_use]
    pub fn configurations(&self, limit: usize) -> Vec<Schedule> {
        self.configurations_for(TargetKind::Cpu, limit)
    }

    /// The default schedule and the legal points of the space, or a deterministic sample of them that has at most `limit`
    /// points and begins with the legal corners. Knobs outside the space keep their default.
    #[must_use]
    pub fn configurations_for(&self, kind: TargetKind, limit: usize) -> Vec<Schedule> {
        let Tuning { knobs, default, .. } = self.tuning(kind);
        let mut all = vec![default.clone()];
        for mut point in sample::legal_points(&knobs, limit) {
            for (knob, &value) in &default.knobs {
                point.knobs.entry(knob.clone()).or_insert(value);
            }
            if point != default {
                all.push(point);
            }
        }
        all
    }

    /// Checks arguments that were not passed through the typed launcher.
    ///
    /// # Errors
    /// If number, element type, rank, mutability or a declared fact differs from the parameters.
    pub fn check_args(&self, args: &[Arg]) -> Result<(), LaunchError> {
        if args.len() != self.params.len() {
            return Err(LaunchError::ArgumentCount {
                kernel: self.name,
                expected: self.params.len(),
                found: args.len(),
            });
        }
        for (p, arg) in self.params.iter().zip(args) {
            let mismatch = |expected: String, found: String| LaunchError::ArgumentKind {
                kernel: self.name,
                argument: p.name,
                expected,
                found,
            };
            match (p.kind, arg) {
                (ParamKind::Scalar { .. }, Arg::Scalar(_)) => {}
                (ParamKind::Scalar { dtype }, Arg::View(_)) => {
                    return Err(mismatch(format!("a scalar of {dtype}"), "a view".to_owned()));
                }
                (ParamKind::View { dtype, rank, .. }, Arg::Scalar(_)) => {
                    return Err(mismatch(format!("a view of {dtype} of rank {rank}"), "a scalar".to_owned()));
                }
                (ParamKind::View { dtype, rank, mutable, facts }, Arg::View(v)) => {
                    if (v.dtype, usize::from(v.rank)) != (dtype, rank) || (mutable && !v.mutable) {
                        let words = |dtype: DType, rank: usize, mutable: bool| {
                            format!(
                                "a {} of {dtype} of rank {rank}",
                                if mutable { "mutable view" } else { "view" }
                            )
                        };
                        return Err(mismatch(
                            words(dtype, rank, mutable),
                            words(v.dtype, v.rank.into(), v.mutable),
                        ));
                    }
                    crate::tensor::check_view(self.name, p.name, v, facts)?;
                }
            }
        }
        Ok(())
    }
}

/// Each diagnostic once: an extent that is wrong is wrong wherever its tile is used on the line.
fn unique(Diagnostics(all): Diagnostics) -> Diagnostics {
    let mut kept: Vec<Diagnostic> = Vec::new();
    for d in all {
        if !kept.contains(&d) {
            kept.push(d);
        }
    }
    Diagnostics(kept)
}

/// Specialises every declared configuration of the kernels, for CPUs and GPUs: the test that `#[kernel]` generates.
///
/// # Panics
/// If one does not specialise; the message has all diagnostics.
pub fn specialise_all(kernels: &[Kernel]) {
    let mut failures = Vec::new();
    for kernel in kernels {
        for kind in [TargetKind::Cpu, TargetKind::Gpu] {
            let Tuning { knobs, default, .. } = kernel.tuning(kind);
            if !knobs.legal.allows(&default) {
                failures
                    .push(format!("{}: the default \"{default}\" for {kind:?} is not legal", kernel.name));
            }
        }
        let declared =
            [TargetKind::Cpu, TargetKind::Gpu].map(|k| kernel.configurations_for(k, TESTED_POINTS));
        for schedule in declared.into_iter().flatten() {
            if let Err(diagnostics) = kernel.specialise(&schedule) {
                failures
                    .push(format!("{} with {schedule} {:?}:\n{diagnostics}", kernel.name, kernel.comptime));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} configurations do not specialise\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// The value of a tunable under the schedule of the specialisation under way.
#[must_use]
#[track_caller]
pub fn tunable<I: TryFrom<i64> + Default>(schedule: &Schedule, name: &str) -> I {
    let (value, loc) = (schedule.get(name).unwrap_or_default(), Loc::caller());
    I::try_from(value).unwrap_or_else(|_| {
        let message =
            format!("value {value} of tunable `{name}` does not fit in {}", std::any::type_name::<I>());
        builder::error(Diagnostic::new(loc, message).help("choose another value in the schedule"));
        I::default()
    })
}

/// One launch, as a device sees it.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// Hash of the kernel's id and the schedule: what a device's table of compiled programs is keyed by.
    pub key: u64,
    /// The kernel's name, for messages.
    pub name: &'static str,
    /// Describes the kernel; called only when the device has not compiled this key.
    pub kernel: &'a dyn Fn() -> Kernel,
    /// The schedule to specialise with.
    pub schedule: &'a Schedule,
    /// Program instances per grid axis.
    pub grid: [u32; 3],
    /// Run-time arguments in declaration order.
    pub args: &'a [Arg],
}

impl fmt::Debug for Launch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("key", &self.key)
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("grid", &self.grid)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// Something that runs kernels: a device or a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run kernels",
    label = "the first argument of `launch` is a device or a stream"
)]
pub trait LaunchOn {
    /// Runs every program instance of the grid.
    ///
    /// # Errors
    /// If the kernel does not specialise under the schedule, an assertion fails, or the device reports an error.
    fn launch(&self, launch: Launch<'_>) -> Result<(), LaunchError>;
}
