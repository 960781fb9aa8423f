//! Which problems are checked, most telling first: every kernel and element type once, then the other shapes, then shapes whose
//! extents are aligned (tensor copies, warpgroup products), then schedules other than the default.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use tilewright_codegen::schedule::{Schedule, TargetKind};
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry::{self, Entry};

/// How much is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    All,
    /// One small problem per kernel: for tools that slow a kernel down a hundred times.
    Sample,
}

/// Declared schedules per kernel and element type beside the default.
const OTHERS: usize = 6;

/// Configurations from which the others are drawn.
const DRAWN_FROM: usize = 48;

/// Extents over this are rounded up to it where a problem is made aligned: 16 elements of two bytes are two accesses of 128 bits.
const ALIGNMENT: usize = 16;

/// Problems of some size, where many programs run at a time and a persistent schedule takes several tiles.
const LARGE: &[(&str, &str, &[usize])] = &[
    ("matmul", "bf16", &[1024, 1536, 768]),
    ("matmul", "f16", &[1000, 1160, 520]),
    ("matmul_gated", "bf16", &[512, 1024, 512]),
    ("attention", "bf16", &[512, 512, 4, 2, 128]),
    ("attention", "bf16", &[500, 700, 4, 1, 64]),
    ("attention", "f16", &[320, 320, 2, 2, 96]),
    ("attention", "bf16", &[256, 256, 2, 1, 80]),
    ("attention", "bf16", &[192, 192, 2, 1, 192]),
    ("attention", "bf16", &[192, 192, 2, 1, 256]),
    ("attention_paged", "bf16", &[2, 300, 500, 2, 4, 128]),
    ("attention_decode", "bf16", &[4, 2000, 4, 4, 128, 1]),
    ("attention_decode", "bf16", &[2, 4000, 2, 4, 128, 8]),
    ("matvec", "bf16", &[1, 4096, 4096]),
    ("matvec", "bf16", &[8, 1024, 2048]),
    ("softmax", "bf16", &[2048, 4096]),
    ("rms_norm", "bf16", &[2048, 4096]),
    ("rms_norm_add", "bf16", &[2048, 4096]),
];

/// One check.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) entry: &'static Entry,
    pub(crate) params: CaseParams,
    pub(crate) which: Which,
}

/// Which schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Default,
    /// This one, which is declared for the kind of device.
    Declared(Schedule),
}

impl Job {
    /// What tells it from every other job, the same in every run.
    pub(crate) fn label(&self) -> String {
        let options: Vec<String> =
            self.params.options.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let schedule = match &self.which {
            Which::Default => String::new(),
            Which::Declared(schedule) => format!(" \"{schedule}\""),
        };
        format!(
            "{} {} {:?}{}{schedule}",
            self.entry.name,
            self.params.dtype,
            self.params.shape,
            options.concat()
        )
    }
}

/// Every check, most telling first, each once.
///
/// # Errors
/// If the registry has no kernel of a name, or a problem cannot be made.
pub(crate) fn jobs(kernels: &[String], extent: Extent, kind: TargetKind) -> Result<Vec<Job>> {
    if let Some(name) = kernels.iter().find(|name| registry::find(name).is_none()) {
        let names: Vec<&str> = registry::all().iter().map(|entry| entry.name).collect();
        bail!("no kernel `{name}`; there are {}", names.join(", "));
    }
    let entries: Vec<&'static Entry> = registry::all()
        .iter()
        .filter(|entry| kernels.is_empty() || kernels.iter().any(|name| name == entry.name))
        .collect();
    let mut all = Vec::new();
    if extent == Extent::Sample {
        for (number, entry) in entries.iter().enumerate() {
            // Half the kernels in 16 bits, which take the matrix units.
            let dtype = if number % 2 == 0 { entry.dtypes.last() } else { entry.dtypes.first() };
            let shape = entry.test_shapes.get(1).or(entry.test_shapes.first());
            if let (Some(dtype), Some(shape)) = (dtype, shape) {
                push(&mut all, entry, CaseParams::new(dtype, &aligned(shape)));
            }
        }
        for (name, dtype, shape) in
            LARGE.iter().filter(|(name, ..)| *name == "matmul" || *name == "attention")
        {
            if let Some(entry) = entries.iter().find(|entry| entry.name == *name) {
                let small: Vec<usize> = shape.iter().map(|&n| n.min(264)).collect();
                push(&mut all, entry, CaseParams::new(dtype, &small));
            }
        }
        return Ok(once(all));
    }
    let n_shapes = entries.iter().map(|entry| entry.test_shapes.len()).max().unwrap_or(0);
    // The last test shape is the largest, and comes first.
    for back in 0..n_shapes {
        let mut number = back;
        for entry in &entries {
            for &dtype in entry.dtypes {
                number += 1;
                let Some(place) = entry.test_shapes.len().checked_sub(back + 1) else { continue };
                let shape = entry.test_shapes[place];
                push(&mut all, entry, with_options(entry, CaseParams::new(dtype, shape), number));
                if back == 0 {
                    let even = CaseParams::new(dtype, &aligned(shape));
                    push(&mut all, entry, with_options(entry, even, number + 1));
                }
            }
        }
    }
    for (name, dtype, shape) in LARGE {
        if let Some(entry) = entries.iter().find(|entry| entry.name == *name) {
            push(&mut all, entry, CaseParams::new(dtype, shape));
        }
    }
    for round in 0..OTHERS {
        for entry in &entries {
            for &dtype in entry.dtypes {
                let Some(shape) = entry.test_shapes.last() else { continue };
                let params = CaseParams::new(dtype, &aligned(shape));
                let case = entry.case(&params).map_err(|e| anyhow!("{} {dtype}: {e}", entry.name))?;
                let default = case.kernel().tuning(kind).default;
                let mut others = case.kernel().configurations_for(kind, DRAWN_FROM);
                others.retain(|schedule| *schedule != default);
                // Steps of 7 through the list, so that neighbours, which differ in one knob, are not all that is seen.
                if let Some(schedule) = others.get((round * 7) % others.len().max(1)) {
                    all.push(Job { entry, params, which: Which::Declared(schedule.clone()) });
                }
            }
        }
    }
    Ok(once(all))
}

fn push(all: &mut Vec<Job>, entry: &'static Entry, params: CaseParams) {
    all.push(Job { entry, params, which: Which::Default });
}

fn once(mut all: Vec<Job>) -> Vec<Job> {
    let mut seen = BTreeSet::new();
    all.retain(|job| seen.insert(job.label()));
    all
}

/// One choice of the entry's options for each problem, all values in turn.
fn with_options(entry: &Entry, params: CaseParams, number: usize) -> CaseParams {
    entry.options.iter().enumerate().fold(params, |params, (i, (name, values))| {
        params.with_option(name, values[(number + i) % values.len()])
    })
}

/// A shape with its larger extents rounded up.
fn aligned(shape: &[usize]) -> Vec<usize> {
    shape.iter().map(|&n| if n > ALIGNMENT { n.next_multiple_of(ALIGNMENT) } else { n }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_and_element_type_comes_before_any_comes_twice() {
        let all = jobs(&[], Extent::All, TargetKind::Gpu).expect("the registry is sound");
        let n_pairs: usize = registry::all().iter().map(|entry| entry.dtypes.len()).sum();
        let first: BTreeSet<(&str, &str)> =
            all.iter().take(2 * n_pairs).map(|job| (job.entry.name, job.params.dtype.as_str())).collect();
        assert_eq!(first.len(), n_pairs);
        let labels: BTreeSet<String> = all.iter().map(Job::label).collect();
        assert_eq!(labels.len(), all.len());
        assert!(all.iter().any(|job| job.which != Which::Default));
    }

    #[test]
    fn a_sample_has_every_kernel_and_is_small() {
        let all = jobs(&[], Extent::Sample, TargetKind::Gpu).expect("the registry is sound");
        let kernels: BTreeSet<&str> = all.iter().map(|job| job.entry.name).collect();
        assert_eq!(kernels.len(), registry::all().len());
        assert!(all.len() < 2 * kernels.len(), "{}", all.len());
        assert!(jobs(&["nothing".to_owned()], Extent::Sample, TargetKind::Gpu).is_err());
    }
}
