//! The host side that every typed launch shares: grids from schedules, checks of extents, dimensions fixed by the problem.

use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::{Knob, Schedule, Space, TargetKind};

use crate::error::KernelError;

/// The kernel with some dimensions fixed by the problem (a head size, a row length) instead of chosen by the tuner.
///
/// Space and default schedule give these knobs exactly the given value, for CPUs and for GPUs. Where that makes a default illegal,
/// the legal point with the fewest other changes takes its place: for GPUs, more warps for a longer row.
///
/// ```
/// use tilewright_kernels::{host::pin, softmax::softmax};
/// let kernel = pin(softmax::kernel::<f32>(), &[("N", 1000)]);
/// assert_eq!(kernel.default.get("N"), Some(1000));
/// assert_eq!(kernel.gpu.default.get("N"), Some(1000));
/// ```
#[must_use]
pub fn pin(kernel: Kernel, dims: &[(&'static str, usize)]) -> Kernel {
    tuned(kernel, |space, default| {
        for &(name, extent) in dims {
            let value = i64::try_from(extent).unwrap_or(i64::MAX);
            default.knobs.insert(name.to_owned(), value);
            match space.knobs.iter_mut().find(|k| k.name == name) {
                Some(knob) => knob.values = vec![value],
                None => space.knobs.push(Knob { name, values: vec![value] }),
            }
        }
    })
}

/// The kernel with a knob restricted to divisors of `whole`: a block of keys within a page, say.
///
/// The default becomes the largest legal divisor that is not above the declared default, or else `whole` itself; for CPUs and
/// for GPUs.
#[must_use]
pub fn divide(kernel: Kernel, name: &'static str, whole: usize) -> Kernel {
    let whole = i64::try_from(whole).unwrap_or(i64::MAX);
    tuned(kernel, |space, default| {
        let declared = default.get(name).unwrap_or(whole);
        if let Some(knob) = space.knobs.iter_mut().find(|k| k.name == name) {
            knob.values.retain(|&v| v > 0 && whole % v == 0);
            if knob.values.is_empty() {
                knob.values.push(whole);
            }
            let below = knob.values.iter().copied().filter(|&v| v <= declared).max();
            default.knobs.insert(name.to_owned(), below.unwrap_or(knob.values[0]));
        }
    })
}

/// The kernel with a change made to both its search spaces and defaults, the defaults legal again after it.
fn tuned(mut kernel: Kernel, change: impl Fn(&mut Space, &mut Schedule)) -> Kernel {
    let mut cpu = kernel.tuning(TargetKind::Cpu);
    for tuning in [&mut cpu, &mut kernel.gpu] {
        change(&mut tuning.knobs, &mut tuning.default);
        tuning.settle();
    }
    Kernel { knobs: cpu.knobs, default: cpu.default, ..kernel }
}

/// Whether the warps of a GPU program hold a tile well: at most 64 elements of it per thread and half an SM's registers in all,
/// and no warps that a few elements would do without.
pub(crate) const fn held_by(elements: i64, warps: i64) -> bool {
    let threads = 32 * warps;
    elements <= 64 * threads && elements <= 32 << 10 && (elements >= 2 * threads || warps == 1)
}

/// Tiles of extent `knob` that cover `n` elements.
pub(crate) fn blocks(
    kernel: &'static str,
    n: usize,
    schedule: &Schedule,
    knob: &'static str,
) -> Result<u32, KernelError> {
    let extent = schedule.get(knob).and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
    let extent = extent.ok_or_else(|| KernelError::Knob { kernel, knob, schedule: schedule.to_string() })?;
    programs(kernel, n.div_ceil(extent))
}

/// A number of program instances.
pub(crate) fn programs(kernel: &'static str, n: usize) -> Result<u32, KernelError> {
    u32::try_from(n).map_err(|_| KernelError::Grid { kernel, programs: n })
}

/// Refuses an argument whose extents are not the expected ones.
pub(crate) fn expect<const R: usize>(
    kernel: &'static str,
    argument: &'static str,
    found: [usize; R],
    expected: [usize; R],
) -> Result<(), KernelError> {
    if found == expected {
        return Ok(());
    }
    Err(KernelError::Shape { kernel, argument, found: found.to_vec(), expected: expected.to_vec() })
}

/// Refuses a dimension of the schedule that does not cover the problem's extent.
pub(crate) fn covers(
    kernel: &'static str,
    schedule: &Schedule,
    knob: &'static str,
    extent: usize,
) -> Result<(), KernelError> {
    if blocks(kernel, extent.max(1), schedule, knob)? == 1 {
        return Ok(());
    }
    let has = schedule.get(knob).and_then(|v| usize::try_from(v).ok()).unwrap_or(0);
    Err(KernelError::Shape { kernel, argument: knob, found: vec![has], expected: vec![extent] })
}
