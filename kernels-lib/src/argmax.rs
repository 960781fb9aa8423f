//! Position of the largest element of each row: greedy sampling.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{expect, held_by, programs};

/// `index[r]` of the largest element of row r; see [`run`].
#[kernel(
    space(BN: [512, 1024, 2048, 4096, 8192, 16384]),
    default(BN = 4096),
    gpu(space(BN: [1024, 2048, 4096, 8192]), knobs(warps: [4, 8, 16]), default(BN = 4096, warps = 8), legal = |s| held_by(BN, warps))
)]
pub fn argmax<T: Float, BN: Dim>(x: View<T, 2>, index: ViewMut<i32, 1>) {
    let r = program_id(0);
    let row = x.at(0, r);
    let mut best = scalar(f32::NEG_INFINITY);
    let mut at = scalar(0i32);
    for n in range(0, row.dim(0), BN) {
        let part = row.load_or::<(BN,)>([n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        let top = part.max::<0>().item();
        let is_better = top > best;
        at = is_better.select(part.argmax::<0>().item() + n, at);
        best = is_better.select(top, best);
    }
    index.set([r], at);
}

/// Runs [`argmax()`]: `index [R]` of the largest element of each row of `x [R, N]`, the lowest on a tie.
///
/// A NaN is never the largest; a row without any number above minus infinity gives 0. Exact. Cost: `R N` elements read.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    index: TensorMut<'_, i32, 1>,
) -> Result<(), KernelError> {
    let [rows, _] = x.dims();
    expect("argmax", "index", index.dims(), [rows])?;
    Ok(argmax::launch::<T>(on, schedule, [programs("argmax", rows)?, 1, 1], x, index)?)
}
