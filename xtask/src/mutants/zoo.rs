//! The kernels that are mutated: ours, lowered and compiled as a launch compiles them, on problems with edges that fill no tile
//! and loops that go around every ring of buffers more than once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry;
use tilewright_runtime::gpu::sim_hook::SimHook;
use tilewright_runtime::{Device, Stream};
use tilewright_sim::{FindingKind, Options, Report};

use crate::verdict::{Plan, Verdict};

/// Warp instructions of a block or cluster after which a mutant counts as an endless loop; the kernels need a thousandth.
const STEP_LIMIT: u64 = 1 << 23;

/// One kernel of the library on one problem and architecture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) arch: Arch,
    pub(super) kernel: &'static str,
    pub(super) dtype: &'static str,
    pub(super) shape: &'static [usize],
    pub(super) options: &'static [(&'static str, &'static str)],
}

impl Subject {
    const fn new(
        name: &'static str,
        arch: Arch,
        kernel: &'static str,
        dtype: &'static str,
        shape: &'static [usize],
    ) -> Self {
        Self { name, arch, kernel, dtype, shape, options: &[] }
    }
}

/// TMA, mbarriers, `wgmma`, warp roles.
pub(super) const MATMUL_90: Subject =
    Subject::new("matmul-sm90a", Arch::Sm90a, "matmul", "bf16", &[136, 200, 584]);
/// The same, around every stage eight times: counts that are off by one drift.
pub(super) const MATMUL_90_LONG: Subject =
    Subject::new("matmul-long-sm90a", Arch::Sm90a, "matmul", "bf16", &[128, 128, 1544]);
/// cp.async, ldmatrix, `mma.sync`.
pub(super) const MATMUL_80: Subject =
    Subject::new("matmul-sm80", Arch::Sm80, "matmul", "bf16", &[72, 136, 328]);
/// Two products with a softmax between them, registers handed from one fragment to another.
pub(super) const ATTENTION_80: Subject =
    Subject::new("attention-sm80", Arch::Sm80, "attention", "bf16", &[70, 200, 1, 2, 64]);
/// The same with TMA and `wgmma`.
pub(super) const ATTENTION_90: Subject =
    Subject::new("attention-sm90a", Arch::Sm90a, "attention", "bf16", &[70, 200, 1, 2, 64]);
/// Pages by table, keys and values through registers of several warps, splits merged by a second kernel.
pub(super) const DECODE_80: Subject =
    Subject::new("decode-sm80", Arch::Sm80, "attention_decode", "f32_bf16", &[2, 300, 2, 2, 64, 3]);
/// A few rows, weights streamed through registers.
pub(super) const MATVEC_80: Subject =
    Subject::new("matvec-sm80", Arch::Sm80, "matvec", "bf16", &[3, 70, 1030]);
/// Reductions of rows across warps.
pub(super) const SOFTMAX_80: Subject = Subject::new("softmax-sm80", Arch::Sm80, "softmax", "f32", &[7, 1000]);
/// The same with 16-bit inputs and a weight.
pub(super) const RMS_NORM_80: Subject =
    Subject::new("rms-norm-sm80", Arch::Sm80, "rms_norm", "bf16", &[7, 1000]);
/// Values with their positions, reduced together.
pub(super) const ARGMAX_80: Subject = Subject::new("argmax-sm80", Arch::Sm80, "argmax", "f32", &[7, 9000]);
/// Rows gathered by index.
pub(super) const EMBEDDING_80: Subject =
    Subject::new("embedding-sm80", Arch::Sm80, "embedding", "bf16", &[40, 50, 300]);

/// All of them.
pub(super) const ALL: &[Subject] = &[
    MATMUL_90,
    MATMUL_90_LONG,
    MATMUL_80,
    ATTENTION_80,
    ATTENTION_90,
    DECODE_80,
    MATVEC_80,
    SOFTMAX_80,
    RMS_NORM_80,
    ARGMAX_80,
    EMBEDDING_80,
];

/// Changes the PTX of a kernel, given its name.
pub(super) type Rewrite = dyn Fn(&str, &str) -> Result<String, String> + Send + Sync;

/// A subject that is ready to run, under one schedule after another.
pub(super) struct Bench {
    case: Box<dyn Case>,
    schedule: Schedule,
    stream: Stream,
    watch: Arc<Watch>,
}

impl Bench {
    /// A subject whose PTX goes through `rewrite`.
    pub(super) fn new(subject: &Subject, rewrite: Box<Rewrite>) -> Result<Self> {
        let entry = registry::find(subject.kernel)
            .with_context(|| format!("no kernel `{}` in the registry", subject.kernel))?;
        let mut params = CaseParams::new(subject.dtype, subject.shape);
        for (name, value) in subject.options {
            params = params.with_option(name, value);
        }
        let case = entry.case(&params).map_err(|e| anyhow!("{}: {e}", subject.name))?;
        let schedule = case.kernel().gpu.default.clone();
        let watch = Arc::new(Watch { rewrite, state: Mutex::default() });
        let stream = Device::sim_hooked(subject.arch, Arc::clone(&watch) as Arc<dyn SimHook>).stream();
        Ok(Self { case, schedule, stream, watch })
    }

    /// One run over poisoned outputs.
    pub(super) fn run(&mut self, plan: Plan) -> Verdict {
        {
            let mut state = self.watch.state();
            state.options = Options { step_limit: STEP_LIMIT, ..plan.options() };
            state.found = None;
        }
        let outcome = self.case.check(&self.stream, &self.schedule);
        match (self.watch.state().found.take(), outcome) {
            (Some((kind, message)), _) => Verdict::Found(kind, message),
            (None, Err(error)) => Verdict::Failed(error.to_string()),
            (None, Ok(report)) if report.passed => Verdict::Right,
            (None, Ok(report)) => {
                Verdict::Wrong(format!("error {:.1e} over {:.1e}", report.max_error, report.tolerance))
            }
        }
    }
}

#[derive(Default)]
struct State {
    options: Options,
    found: Option<(FindingKind, String)>,
}

/// The hook of a bench.
struct Watch {
    rewrite: Box<Rewrite>,
    state: Mutex<State>,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimHook for Watch {
    fn ptx(&self, kernel: &str, ptx: &str) -> Result<String, String> {
        (self.rewrite)(kernel, ptx)
    }

    fn options(&self) -> Options {
        self.state().options.clone()
    }

    fn reported(&self, report: &Report) {
        let mut state = self.state();
        if let (None, Some(first)) = (&state.found, report.findings.first()) {
            state.found = Some((first.kind, first.to_string()));
        }
    }
}
