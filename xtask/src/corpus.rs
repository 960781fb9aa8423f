//! `cargo xtask corpus --dir DIR`: CUDA kernels that are not ours, compiled by NVRTC, run on the simulated GPU and compared.
//!
//! The files stay where they are: a folder of eleven `.cu` files with 24 kernels, from vector addition to warp-specialised products
//! and clusters, written to cover PTX rather than our lowering. Here is what is known of each: arguments, launch and reference.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tilewright_codegen::target::Arch;
use tilewright_runtime::cache::DiskCache;
use tilewright_runtime::cuda::cached::compile_cached;
use tilewright_runtime::cuda::nvrtc::{CompileOptions, Nvrtc};
use tilewright_sim::{Policy, Race};

use crate::ptx::edit::{Step, apply};
use crate::verdict::{Plan, Verdict};

mod atomics;
mod hopper;
pub(crate) mod math;
mod matrix;
mod rig;
mod rows;

use rig::Rig;

/// How a kernel is run once and compared.
type Check = fn(&mut Rig<'_>, Arch) -> Result<(), Verdict>;

/// One kernel of the corpus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Its file, without `.cu`.
    file: &'static str,
    /// Its name in the file.
    pub(crate) kernel: &'static str,
    arches: &'static [Arch],
    check: Check,
    /// What its text needs to be right.
    repair: &'static [Step],
}

const BOTH: &[Arch] = &[Arch::Sm80, Arch::Sm90a];
const HOPPER: &[Arch] = &[Arch::Sm90a];

const fn subject(file: &'static str, kernel: &'static str, arches: &'static [Arch], check: Check) -> Subject {
    Subject { file, kernel, arches, check, repair: &[] }
}

/// The 24 kernels.
pub(crate) const ALL: [Subject; 24] = [
    subject("vadd", "vadd", BOTH, |r, _| rows::vadd(r)),
    subject("vadd", "vadd4", BOTH, |r, _| rows::vadd4(r)),
    subject("softmax", "softmax", BOTH, |r, _| rows::softmax(r)),
    subject("rmsnorm", "rmsnorm", BOTH, |r, _| rows::rmsnorm(r)),
    subject("gemv", "gemv8", BOTH, |r, _| rows::gemv8(r)),
    subject("gemv", "gemv4", BOTH, |r, _| rows::gemv4(r)),
    subject("mathk", "m1", BOTH, |r, _| math::m1(r)),
    subject("mathk", "m2", BOTH, |r, _| math::m2(r)),
    subject("mathk", "m3", BOTH, |r, _| math::m3(r)),
    subject("mathk", "mi", BOTH, |r, _| math::mi(r)),
    subject("mathk", "md", BOTH, |r, _| math::md(r)),
    subject("conv", "cv", BOTH, |r, _| math::cv(r)),
    subject("conv", "cv2", BOTH, |r, _| math::cv2(r)),
    subject("conv", "hm", BOTH, |r, _| math::hm(r)),
    subject("conv", "i8q", BOTH, |r, _| math::i8q(r)),
    subject("atomics", "hist", BOTH, |r, _| atomics::hist(r)),
    subject("atomics", "misc", BOTH, |r, _| atomics::misc(r)),
    subject("atomics", "lastblock", BOTH, |r, _| atomics::lastblock(r)),
    subject("atomics", "ticket", BOTH, |r, _| atomics::ticket(r)),
    subject("gemm_mma", "gemm", BOTH, |r, _| matrix::gemm(r)),
    subject("flash", "flash", BOTH, |r, _| matrix::flash(r)),
    subject("mma_misc", "mm", BOTH, matrix::mm),
    subject("gemm_wgmma", "hgemm", HOPPER, |r, _| hopper::hgemm(r)),
    Subject { repair: hopper::CLUS_REPAIR, ..subject("gemm_wgmma", "clus", HOPPER, |r, _| hopper::clus(r)) },
];

impl Subject {
    /// The kernel in the PTX of each of its architectures.
    pub(crate) fn compile(&self, dir: &Path) -> Result<Vec<Loaded>> {
        let path = dir.join(format!("{}.cu", self.file));
        let source = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let nvrtc = Nvrtc::get()?;
        let cache = DiskCache::from_env();
        let options = CompileOptions { name: format!("{}.cu", self.file), ..CompileOptions::default() };
        let mut all = Vec::new();
        for &arch in self.arches {
            let (compiled, _) = compile_cached(nvrtc, cache.as_ref(), &source, arch, &options)
                .with_context(|| format!("compiling {} for {arch}", path.display()))?;
            let ptx = match self.repair {
                [] => compiled.ptx.clone(),
                steps => apply(&compiled.ptx, steps).with_context(|| format!("repairing {}", self.kernel))?,
            };
            all.push(Loaded { subject: *self, arch, ptx, original: compiled.ptx });
        }
        Ok(all)
    }
}

/// A kernel of the corpus, compiled for one architecture.
pub(crate) struct Loaded {
    subject: Subject,
    arch: Arch,
    ptx: String,
    /// The text before repairs.
    original: String,
}

impl Loaded {
    /// Kernel and architecture.
    pub(crate) fn label(&self) -> String {
        format!("corpus {} {}", self.subject.kernel, self.arch)
    }

    /// One run, compared.
    pub(crate) fn run(&self, plan: Plan) -> Verdict {
        self.run_text(&self.ptx, plan)
    }

    /// What is wrong with a run: as it should be, or a kernel that needs repairs runs without a finding before them.
    fn complaint(&self, plan: Plan) -> Option<String> {
        let is_found = |verdict| matches!(verdict, Verdict::Found(..));
        match self.run(plan) {
            Verdict::Right
                if self.subject.repair.is_empty() || is_found(self.run_text(&self.original, plan)) =>
            {
                None
            }
            Verdict::Right => Some("nothing is found in the kernel as it was written".to_owned()),
            other @ (Verdict::Wrong(_) | Verdict::Found(..) | Verdict::Failed(_)) => Some(other.to_string()),
        }
    }

    fn run_text(&self, ptx: &str, plan: Plan) -> Verdict {
        let outcome = Rig::new(ptx, self.subject.kernel, plan).and_then(|mut rig| {
            let outcome = (self.subject.check)(&mut rig, self.arch);
            // What the machine found explains a wrong result.
            rig.clean()?;
            outcome
        });
        match outcome {
            Ok(()) => Verdict::Right,
            Err(verdict) => verdict,
        }
    }
}

/// The runs of `cargo xtask corpus`: each policy in turn, with the detector of races and without.
fn plans() -> impl Iterator<Item = Plan> {
    const POLICIES: [Policy; 3] = [Policy::Eager, Policy::Lazy, Policy::Random];
    POLICIES
        .into_iter()
        .zip([0, 1, 2])
        .flat_map(|(policy, seed)| [Race::Off, Race::On].map(|race| Plan::new(policy, seed, race)))
}

/// `cargo xtask corpus --dir DIR`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let dir = match args {
        [flag, dir] if flag == "--dir" => PathBuf::from(dir),
        _ => bail!("usage: cargo xtask corpus --dir DIR"),
    };
    if !dir.is_dir() {
        println!("skipped: there is no folder {}", dir.display());
        return Ok(());
    }
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    let mut n_matching = 0;
    for subject in &ALL {
        let mut wrong = Vec::new();
        for loaded in subject.compile(&dir)? {
            for plan in plans() {
                if let Some(complaint) = loaded.complaint(plan) {
                    wrong.push(format!("{} on {}, {plan}: {complaint}", subject.kernel, loaded.arch));
                }
            }
        }
        n_matching += usize::from(wrong.is_empty());
        wrong.iter().for_each(|line| println!("{line}"));
    }
    println!("{n_matching} of {} match", ALL.len());
    if n_matching < ALL.len() {
        bail!("{} kernels do not match", ALL.len() - n_matching);
    }
    Ok(())
}
