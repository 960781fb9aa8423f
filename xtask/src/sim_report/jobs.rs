//! Which kernels, problems and schedules are simulated.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, anyhow, bail};
use tilewright_codegen::kernel::TESTED_POINTS;
use tilewright_codegen::schedule::{Schedule, TargetKind};
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry::{self, Entry};

/// Extents over this are rounded up to it where a problem is made aligned: 16 elements of two bytes are two accesses of 128 bits.
const ALIGNMENT: usize = 16;

/// Which configurations of each kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// All that are declared.
    Every,
    /// The default and this many others.
    Sample(usize),
}

/// One problem under one schedule on one architecture.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) entry: &'static Entry,
    pub(super) params: CaseParams,
    pub(super) schedule: Schedule,
    pub(super) is_default: bool,
    pub(super) arch: Arch,
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
            for (params, takes) in problems(entry, dtype) {
                let case = entry.case(&params).map_err(|e| anyhow!("{} {dtype}: {e}", entry.name))?;
                let kernel = case.kernel();
                let limit = match (takes, selection) {
                    (Takes::Default, _) => 0,
                    (Takes::Declared, Selection::Every) => TESTED_POINTS * 100,
                    (Takes::Declared, Selection::Sample(n)) => n,
                };
                let schedules = match limit {
                    0 => vec![kernel.gpu.default.clone()],
                    limit => kernel.configurations_for(TargetKind::Gpu, limit),
                };
                for schedule in schedules {
                    for &arch in arches {
                        all.push(Job {
                            index: all.len(),
                            entry,
                            params: params.clone(),
                            is_default: schedule == kernel.gpu.default,
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

/// Which schedules a problem runs under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Default,
    Declared,
}

/// The last test problem, awkward and aligned, for every configuration; the others, and every other value of an option, for the
/// default.
fn problems(entry: &Entry, dtype: &str) -> Vec<(CaseParams, Takes)> {
    let Some((last, others)) = entry.test_shapes.split_last() else { return Vec::new() };
    let mut all = vec![(CaseParams::new(dtype, last), Takes::Declared)];
    let even = aligned(last);
    if even != *last {
        all.push((CaseParams::new(dtype, &even), Takes::Declared));
    }
    all.extend(others.iter().map(|shape| (CaseParams::new(dtype, shape), Takes::Default)));
    for (name, values) in entry.options {
        for value in values.iter().skip(1) {
            all.push((CaseParams::new(dtype, &even).with_option(name, value), Takes::Default));
        }
    }
    all
}

/// A shape with its larger extents rounded up.
pub(super) fn aligned(shape: &[usize]) -> Vec<usize> {
    shape.iter().map(|&n| if n > ALIGNMENT { n.next_multiple_of(ALIGNMENT) } else { n }).collect()
}
