//! Which kernels at which schedules: the registry's problems, made small where their size does not show in the code.
//!
//! The code of a kernel depends on dimensions that the problem fixes (head size, row length), not on how many rows there are, so
//! every other extent is cut down before inputs are allocated, and problems that give one kernel are one.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry::{self, Entry};

use crate::points::{Selection, distinct_code};

/// Extents that may show in a kernel's code.
const FIXED: [&str; 8] = ["length", "group", "head_size", "heads", "q_heads", "kv_heads", "pairs", "splits"];

/// What other extents are cut down to.
const SMALL: usize = 32;

/// One compilation.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) kernel: Kernel,
    pub(super) dtype: &'static str,
    /// The problem's options and fixed extents.
    pub(super) problem: String,
    pub(super) schedule: Schedule,
    pub(super) is_default: bool,
    pub(super) arch: Arch,
}

/// Every compilation, by kernel, element types, problem, schedule and architecture.
pub(super) fn jobs(arches: &[Arch], kernels: &BTreeSet<String>, selection: Selection) -> Result<Vec<Job>> {
    if let Some(name) = kernels.iter().find(|name| registry::find(name).is_none()) {
        bail!(
            "no kernel `{name}`; there are {}",
            registry::all().iter().map(|e| e.name).collect::<Vec<_>>().join(", ")
        );
    }
    let mut all = Vec::new();
    let wanted = |entry: &&Entry| kernels.is_empty() || kernels.contains(entry.name);
    for entry in registry::all().iter().filter(wanted) {
        for &dtype in entry.dtypes {
            for params in problems(entry, dtype) {
                let case = entry.case(&params).map_err(|e| anyhow!("{} {dtype}: {e}", entry.name))?;
                let kernel = case.kernel();
                let default = &kernel.gpu.default;
                for &arch in arches {
                    for schedule in schedules(kernel, arch, &params, selection) {
                        all.push(Job {
                            index: all.len(),
                            kernel: kernel.clone(),
                            dtype,
                            problem: label(entry, &params),
                            is_default: schedule == *default,
                            schedule: schedule.clone(),
                            arch,
                        });
                    }
                }
            }
        }
    }
    Ok(all)
}

/// The distinct kernels of an entry: each fixed extent with the first of all options, and each other option at the first of these.
fn problems(entry: &Entry, dtype: &str) -> Vec<CaseParams> {
    let mut shapes: Vec<Vec<usize>> = Vec::new();
    for shape in entry.tune_shapes {
        let cut = entry
            .shape_names
            .iter()
            .zip(*shape)
            .map(|(name, &n)| if is_fixed(entry, name) { n } else { n.min(SMALL) });
        let cut: Vec<usize> = cut.collect();
        if !shapes.contains(&cut) {
            shapes.push(cut);
        }
    }
    let mut all: Vec<CaseParams> = shapes.iter().map(|shape| CaseParams::new(dtype, shape)).collect();
    for (name, values) in entry.options {
        for value in values.iter().skip(1) {
            all.extend(shapes.first().map(|shape| CaseParams::new(dtype, shape).with_option(name, value)));
        }
    }
    all
}

/// Whether an extent may show in the code of a kernel.
fn is_fixed(entry: &Entry, extent: &str) -> bool {
    match extent {
        "length" => !matches!(entry.name, "softmax_long" | "argmax" | "top_k"),
        "m" => entry.name.starts_with("matvec"),
        "k" => entry.name == "top_k",
        other => FIXED.contains(&other),
    }
}

/// The schedules of a problem. Options other than the default are compiled at the default schedule: they change a few
/// instructions, not what fits.
fn schedules(kernel: &Kernel, arch: Arch, params: &CaseParams, selection: Selection) -> Vec<Schedule> {
    let others = if params.options.is_empty() { selection } else { Selection::Sample(0) };
    distinct_code(kernel, arch, others)
}

fn label(entry: &Entry, params: &CaseParams) -> String {
    let extents = entry.shape_names.iter().zip(&params.shape).filter(|(name, _)| is_fixed(entry, name));
    let mut words: Vec<String> = extents.map(|(name, n)| format!("{name}={n}")).collect();
    words.extend(params.options.iter().map(|(name, value)| format!("{name}={value}")));
    words.join(" ")
}
