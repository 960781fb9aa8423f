//! The kernels that are compared, as machine code: ours, the hand-written skeletons where there are any, and Triton's.
//!
//! A contest is one problem on one architecture with one size of tile. We enter the schedules named here that the kernel's space
//! declares, and its default where that has the same tile; of each side the best counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::ir::ViewFacts;
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry;
use tilewright_runtime::cuda::nvrtc::{CompileOptions, LineInfo, Nvrtc};
use tilewright_runtime::cuda::toolkit::Search;
use tilewright_runtime::gpu::variant::Variant;

use crate::test::root;

/// Who wrote a kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Author {
    Ours,
    Skeleton,
    Triton,
}

impl Author {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Skeleton => "skeleton",
            Self::Triton => "triton",
        }
    }
}

/// One kernel of a contest.
pub(super) struct Entrant {
    pub(super) author: Author,
    /// Schedule, file or constants.
    pub(super) label: String,
    pub(super) cubin: Vec<u8>,
    /// The CUDA C, where there is one.
    pub(super) source: Option<String>,
}

/// One problem that all solve.
pub(super) struct Contest {
    pub(super) name: &'static str,
    pub(super) arch: Arch,
    kernel: &'static str,
    shape: &'static [usize],
    options: &'static [(&'static str, &'static str)],
    /// Knobs that make it this contest.
    tile: &'static [(&'static str, i64)],
    /// Other knobs, one set for each schedule.
    knobs: &'static [&'static [(&'static str, i64)]],
    /// File and macros of the skeleton.
    skeleton: Option<(&'static str, &'static [(&'static str, &'static str)])>,
    /// The name of its kernels among Triton's.
    triton: &'static str,
}

const PRODUCT: &[usize] = &[4096, 4096, 4096];

/// What is compared. Attention is without a mask, so that each side has a loop over whole blocks of keys.
pub(super) const CONTESTS: &[Contest] = &[
    Contest {
        name: "matmul 128x256",
        arch: Arch::Sm90a,
        kernel: "matmul",
        shape: PRODUCT,
        options: &[],
        tile: &[("BM", 128), ("BN", 256), ("BK", 64)],
        knobs: &[&[("warps", 8), ("stages", 4)], &[("warps", 8), ("stages", 3)]],
        skeleton: Some(("gemm_sm90_tma_wgmma.cu", &[("BN", "256")])),
        triton: "matmul_128x256",
    },
    Contest {
        name: "matmul 128x128",
        arch: Arch::Sm90a,
        kernel: "matmul",
        shape: PRODUCT,
        options: &[],
        tile: &[("BM", 128), ("BN", 128), ("BK", 64)],
        knobs: &[
            &[("warps", 8), ("stages", 3)],
            &[("warps", 8), ("stages", 5)],
            &[("warps", 4), ("stages", 4)],
        ],
        skeleton: Some(("gemm_sm90_tma_wgmma.cu", &[("BN", "128")])),
        triton: "matmul_128x128",
    },
    Contest {
        name: "attention head 128",
        arch: Arch::Sm90a,
        kernel: "attention",
        shape: &[8192, 8192, 8, 1, 128],
        options: &[("mask", "full")],
        tile: &[],
        knobs: ATTENTION,
        skeleton: Some(("attn_sm90_fwd.cu", &[])),
        triton: "attention_d128",
    },
    Contest {
        name: "attention head 64",
        arch: Arch::Sm90a,
        kernel: "attention",
        shape: &[8192, 8192, 8, 1, 64],
        options: &[("mask", "full")],
        tile: &[],
        knobs: ATTENTION,
        skeleton: None,
        triton: "attention_d64",
    },
    Contest {
        name: "matmul 128x128",
        arch: Arch::Sm80,
        kernel: "matmul",
        shape: PRODUCT,
        options: &[],
        tile: &[("BM", 128), ("BN", 128)],
        knobs: &[
            &[("BK", 32), ("warps", 4), ("stages", 4)],
            &[("BK", 32), ("warps", 8), ("stages", 4)],
            &[("BK", 64), ("warps", 4), ("stages", 3)],
            &[("BK", 64), ("warps", 8), ("stages", 3)],
        ],
        skeleton: Some(("gemm_sm80_cpasync_mma.cu", &[])),
        triton: "matmul_128x128",
    },
    Contest {
        name: "attention head 128",
        arch: Arch::Sm80,
        kernel: "attention",
        shape: &[8192, 8192, 8, 1, 128],
        options: &[("mask", "full")],
        tile: &[],
        knobs: ATTENTION,
        skeleton: None,
        triton: "attention_d128",
    },
    Contest {
        name: "attention head 64",
        arch: Arch::Sm80,
        kernel: "attention",
        shape: &[8192, 8192, 8, 1, 64],
        options: &[("mask", "full")],
        tile: &[],
        knobs: ATTENTION,
        skeleton: None,
        triton: "attention_d64",
    },
];

/// Blocks of queries and keys for one or two warpgroups; what does not fit an architecture is left out.
const ATTENTION: &[&[(&str, i64)]] = &[
    &[("BQ", 128), ("BN", 128), ("warps", 8), ("stages", 2)],
    &[("BQ", 128), ("BN", 64), ("warps", 8), ("stages", 2)],
    &[("BQ", 128), ("BN", 64), ("warps", 8), ("stages", 3)],
    &[("BQ", 64), ("BN", 128), ("warps", 4), ("stages", 2)],
    &[("BQ", 64), ("BN", 64), ("warps", 4), ("stages", 2)],
];

/// The element type of every contest.
const DTYPE: &str = "bf16";

/// Our kernels of a contest: the default of the space where its tile is the contest's, and the named schedules that the space has.
///
/// # Errors
/// If none of them compiles for the architecture, or the registry has no such kernel.
pub(super) fn ours(contest: &Contest) -> Result<Vec<Entrant>> {
    let entry = registry::find(contest.kernel).with_context(|| format!("no kernel `{}`", contest.kernel))?;
    let params = CaseParams::new(DTYPE, &small(contest));
    let params = contest.options.iter().fold(params, |params, (name, value)| params.with_option(name, value));
    let case = entry.case(&params).map_err(|e| anyhow!("{}: {e}", contest.kernel))?;
    let kernel = case.kernel();
    let default = kernel.gpu.default.clone();
    let with = |schedule: Schedule, knobs: &[(&str, i64)]| {
        knobs.iter().fold(schedule, |schedule, &(name, value)| schedule.with(name, value))
    };
    let mut schedules = vec![default.clone()];
    for knobs in contest.knobs {
        let schedule = with(with(default.clone(), contest.tile), knobs);
        if kernel.gpu.knobs.contains(&schedule) && !schedules.contains(&schedule) {
            schedules.push(schedule);
        }
    }
    schedules.retain(|schedule| contest.tile.iter().all(|&(name, value)| schedule.get(name) == Some(value)));
    let facts = ArgFacts { facts: ViewFacts { contiguous: true, divisible: 16 }, is_small: true };
    let args = vec![facts; kernel.params.len()];
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    for schedule in schedules {
        match Variant::new(kernel, &schedule, contest.arch, &args) {
            Ok(variant) => all.push(Entrant {
                author: Author::Ours,
                label: schedule.to_string(),
                cubin: variant.compiled.cubin,
                source: Some(variant.generated.kernel.source),
            }),
            Err(error) => refused.push(format!("{schedule}: {error}")),
        }
    }
    if all.is_empty() {
        bail!("no schedule of {} on {} compiles:\n{}", contest.name, contest.arch, refused.join("\n"));
    }
    Ok(all)
}

/// A shape that gives the same code and needs no memory to speak of: rows do not show in it.
fn small(contest: &Contest) -> Vec<usize> {
    const ROWS: usize = 256;
    contest.shape.iter().map(|&n| n.min(ROWS)).collect()
}

/// The skeleton of a contest out of a folder, where the contest has one.
///
/// # Errors
/// If it cannot be read or compiled.
pub(super) fn skeleton(contest: &Contest, folder: &Path) -> Result<Option<Entrant>> {
    let Some((file, macros)) = contest.skeleton else { return Ok(None) };
    let path = folder.join(file);
    let source = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let options = CompileOptions {
        name: file.to_owned(),
        line_info: LineInfo::Keep,
        defines: macros.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..CompileOptions::default()
    };
    let nvrtc = Nvrtc::get()?;
    let compiled =
        nvrtc.compile(&source, contest.arch, &options).with_context(|| format!("compiling {file}"))?;
    let words: Vec<String> = macros.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let label = format!("{file}{}", words.concat());
    Ok(Some(Entrant { author: Author::Skeleton, label, cubin: compiled.cubin, source: Some(source) }))
}

/// Triton's kernels for an architecture, compiled by `gpu/triton_kernels.py`.
pub(super) struct Triton {
    version: String,
    arch: Arch,
    folder: PathBuf,
    kernels: Vec<Value>,
}

impl Triton {
    /// Compiles them with a Python that has Triton.
    ///
    /// # Errors
    /// If the script fails or prints something else than its report.
    pub(super) fn compile(python: &Path, arch: Arch) -> Result<Self> {
        let (major, minor) = arch.capability();
        let folder = root().join(format!("target/sass-compare/triton-{arch}"));
        let mut command = Command::new(python);
        command
            .arg(root().join("gpu/triton_kernels.py"))
            .args(["--arch", &format!("{}", major * 10 + minor), "--out"])
            .arg(&folder)
            .env("TRITON_CACHE_DIR", root().join("target/sass-compare/triton-cache"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let output = command.output().with_context(|| format!("starting {}", python.display()))?;
        if !output.status.success() {
            bail!("{command:?} failed with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().rev().find(|l| !l.trim().is_empty()).context("the script printed nothing")?;
        let report: Value = serde_json::from_str(line).context("the script printed no JSON")?;
        let version = report["triton"].as_str().unwrap_or("of an unknown version").to_owned();
        let kernels = report["kernels"].as_array().cloned().context("the report has no kernels")?;
        Ok(Self { version, arch, folder, kernels })
    }

    pub(super) const fn arch(&self) -> Arch {
        self.arch
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Its kernels of a contest; those that need more shared memory than a block has could not run and do not count.
    ///
    /// # Errors
    /// If a kernel's file cannot be read, or there is none.
    pub(super) fn entrants(&self, contest: &Contest) -> Result<Vec<Entrant>> {
        let limit = u64::from(self.arch.limits().shared_per_block_bytes);
        let mut all = Vec::new();
        for kernel in &self.kernels {
            let fits = kernel["shared_bytes"].as_u64().is_some_and(|bytes| bytes <= limit);
            if kernel["kernel"] != contest.triton || !fits {
                continue;
            }
            let name = kernel["name"].as_str().context("a kernel of the report has no name")?;
            let path = self.folder.join(format!("{name}.cubin"));
            let cubin = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            let label = format!("{name} {} {}", knobs(&kernel["constants"]), knobs(&kernel["options"]));
            all.push(Entrant { author: Author::Triton, label, cubin, source: None });
        }
        if all.is_empty() {
            bail!("Triton has no kernel `{}` for {}", contest.triton, self.arch);
        }
        Ok(all)
    }
}

fn knobs(object: &Value) -> String {
    let pairs = object.as_object().into_iter().flatten();
    pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// 32-bit registers of a thread at the start of the kernel, by `cuobjdump`.
///
/// # Errors
/// If the tool is missing or does not say.
pub(super) fn registers(cubin: &[u8], scratch: &Path) -> Result<u32> {
    const TOOL: &str = "cuobjdump";
    let program = Search::from_env().program(TOOL).with_context(|| format!("{TOOL} is not installed"))?;
    fs::write(scratch, cubin).with_context(|| format!("writing {}", scratch.display()))?;
    let mut command = Command::new(&program);
    command.arg("--dump-resource-usage").arg(scratch).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split_whitespace().filter_map(|word| word.strip_prefix("REG:")?.parse().ok()).max();
    found.with_context(|| format!("{TOOL} says nothing of registers: {text}"))
}
