//! Which kernels, problems and schedules are simulated.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, anyhow, bail};
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry::{self, Entry};

use crate::points::{Selection, distinct_runs};

/// Extents over this are rounded up to it where a problem is made aligned: 16 elements of two bytes are two accesses of 128 bits.
const ALIGNMENT: usize = 16;

/// Extents of the problem that every configuration runs are cut down to these: tiles at the edge and inside, and more steps along a
/// ring than it has slots.
const CAPS: [(&str, usize); 5] = [("n", 136), ("k", 528), ("tokens", 136), ("keys", 200), ("past", 200)];

/// How often a configuration runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// Under every policy with every seed.
    All,
    /// Under every policy, each with a seed of its own.
    OnePerPolicy,
}

/// One problem under one schedule on one architecture.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) entry: &'static Entry,
    pub(super) params: CaseParams,
    pub(super) schedule: Schedule,
    pub(super) is_default: bool,
    pub(super) arch: Arch,
    pub(super) runs: Runs,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, params, schedule, arch, .. } = self;
        write!(f, "{} {} {:?}", entry.name, params.dtype, params.shape)?;
        params.options.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
        write!(f, " \"{schedule}\" {arch}")
    }
}

/// Every simulation, by kernel, element types, problem, schedule and architecture.
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
            for (params, takes, runs) in problems(entry, dtype) {
                let case = entry.case(&params).map_err(|e| anyhow!("{} {dtype}: {e}", entry.name))?;
                let kernel = case.kernel();
                let others = if takes == Takes::Declared { selection } else { Selection::Sample(0) };
                for &arch in arches {
                    for schedule in distinct_runs(kernel, arch, others) {
                        all.push(Job {
                            index: all.len(),
                            entry,
                            params: params.clone(),
                            is_default: schedule == kernel.gpu.default,
                            schedule,
                            arch,
                            runs,
                        });
                    }
                }
            }
        }
    }
    Ok(all)
}

/// Which schedules a problem runs under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Default,
    Declared,
}

/// The last test problem, made small, awkward and aligned, for every configuration; the other problems as they are, and every other
/// value of an option, for the default.
fn problems(entry: &Entry, dtype: &str) -> Vec<(CaseParams, Takes, Runs)> {
    let Some((last, others)) = entry.test_shapes.split_last() else { return Vec::new() };
    let small = small(entry, last);
    let even = aligned(&small);
    let mut all = vec![(CaseParams::new(dtype, &even), Takes::Declared, Runs::All)];
    if even != small {
        all.push((CaseParams::new(dtype, &small), Takes::Declared, Runs::OnePerPolicy));
    }
    if small != *last {
        all.push((CaseParams::new(dtype, last), Takes::Default, Runs::All));
    }
    all.extend(others.iter().map(|shape| (CaseParams::new(dtype, shape), Takes::Default, Runs::All)));
    for (name, values) in entry.options {
        for value in values.iter().skip(1) {
            all.push((CaseParams::new(dtype, &even).with_option(name, value), Takes::Default, Runs::All));
        }
    }
    all
}

/// A shape with its extents cut down; what is awkward stays awkward.
fn small(entry: &Entry, shape: &[usize]) -> Vec<usize> {
    let cap = |name: &str| CAPS.iter().find(|(capped, _)| *capped == name).map_or(usize::MAX, |(_, n)| *n);
    let cut = |(name, &n): (&&str, &usize)| {
        let cap = cap(name);
        if n > cap { cap - 8 + n % 8 } else { n }
    };
    entry.shape_names.iter().zip(shape).map(cut).collect()
}

/// A shape with its larger extents rounded up.
pub(super) fn aligned(shape: &[usize]) -> Vec<usize> {
    shape.iter().map(|&n| if n > ALIGNMENT { n.next_multiple_of(ALIGNMENT) } else { n }).collect()
}
