//! The declared configurations of a kernel that differ on an architecture: what the reports compile and simulate.

use std::collections::BTreeSet;

use tilewright_codegen::kernel::{Kernel, TESTED_POINTS};
use tilewright_codegen::schedule::{Schedule, TargetKind};
use tilewright_codegen::target::Arch;

/// Which configurations of each kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All that are declared.
    Every,
    /// The default and this many others.
    Sample(usize),
}

/// What only the lowering for warpgroup instructions reads.
const WARPGROUP_KNOBS: [&str; 4] = ["persistent", "cluster", "overlap", "pingpong"];

/// What changes no tile: the order of programs, a constant in their numbering, and how many of them share a sum.
pub(crate) const LAUNCH_KNOBS: [&str; 2] = ["group", "split_k"];

/// The default first, then the declared points whose code for `arch` differs from that of all before.
pub(crate) fn distinct_code(kernel: &Kernel, arch: Arch, selection: Selection) -> Vec<Schedule> {
    let mut seen = BTreeSet::new();
    let mut all = declared(kernel, selection);
    all.retain(|schedule| seen.insert(code_of(schedule, arch)));
    all
}

/// As [`distinct_code`], and the points that launch the default's code in other ways.
pub(crate) fn distinct_runs(kernel: &Kernel, arch: Arch, selection: Selection) -> Vec<Schedule> {
    let default = code_of(&kernel.gpu.default, arch);
    let (mut seen, mut launches) = (BTreeSet::new(), BTreeSet::new());
    let mut all = declared(kernel, selection);
    all.retain(|schedule| {
        let code = code_of(schedule, arch);
        let is_new_launch = code == default && launches.insert(LAUNCH_KNOBS.map(|knob| schedule.get(knob)));
        seen.insert(code) || is_new_launch
    });
    all
}

fn declared(kernel: &Kernel, selection: Selection) -> Vec<Schedule> {
    let limit = match selection {
        Selection::Every => TESTED_POINTS * 100,
        Selection::Sample(0) => return vec![kernel.gpu.default.clone()],
        Selection::Sample(n) => n,
    };
    kernel.configurations_for(TargetKind::Gpu, limit)
}

/// A schedule without what the code for an architecture does not depend on.
fn code_of(schedule: &Schedule, arch: Arch) -> Schedule {
    let mut code = schedule.clone();
    let ignored = if arch.has_wgmma() { &[][..] } else { &WARPGROUP_KNOBS[..] };
    code.knobs.retain(|knob, _| !ignored.contains(&knob.as_str()) && !LAUNCH_KNOBS.contains(&knob.as_str()));
    code
}

#[cfg(test)]
mod tests {
    use tilewright_kernels::cases::CaseParams;
    use tilewright_kernels::registry;

    use super::*;

    #[test]
    fn points_of_one_code_are_taken_once() {
        let entry = registry::find("matmul").expect("the registry should have a matmul");
        let case = entry.case(&CaseParams::new("bf16", &[64, 64, 64])).expect("a shape of the registry");
        let kernel = case.kernel();
        let count = |arch| distinct_code(kernel, arch, Selection::Every).len();
        let declared = declared(kernel, Selection::Every).len();
        assert!(count(Arch::Sm80) < count(Arch::Sm90a) && count(Arch::Sm90a) < declared);
        let groups: BTreeSet<_> = distinct_runs(kernel, Arch::Sm80, Selection::Every)
            .into_iter()
            .filter(|s| code_of(s, Arch::Sm80) == code_of(&kernel.gpu.default, Arch::Sm80))
            .map(|s| s.get("group"))
            .collect();
        assert_eq!(groups, [Some(4), Some(8)].into());
    }
}
