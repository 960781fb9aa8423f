//! Softmax of rows: held whole in the cache where they fit, in two passes where they do not.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, covers, expect, held_by};
use crate::online_softmax::LOWEST;

/// Rows of at most `N` elements; see [`run`].
#[kernel(
    space(BM: [1, 2, 4, 8, 16, 32], N: [128, 1000]),
    default(BM = 4, N = 1000),
    legal = |s| BM * N <= 1 << 18 || BM == 1,
    gpu(space(BM: [1, 2, 4]), knobs(warps: [1, 2, 4, 8, 16, 32]), default(BM = 1, warps = 4), legal = |s| held_by(BM * N, warps)),
)]
pub fn softmax<T: Float, BM: Dim, N: Dim>(x: View<T, 2>, y: ViewMut<T, 2>) {
    let at = [program_id(0) * BM, scalar(0)];
    let rows = x.load_or::<(BM, N)>(at, T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
    let weights = (rows - rows.max_keep::<1>().maximum(LOWEST)).exp();
    // One division a row: dividing every element would cost as much as its exponential.
    let scale = 1.0 / weights.sum_keep::<1>().maximum(f32::MIN_POSITIVE);
    y.store(at, (weights * scale).cast::<T>());
}

/// Rows of any length: a first pass for the largest element and the total, a second for the quotients; see [`run_long`].
#[kernel(
    space(BM: [1, 2, 4], BN: [1024, 2048, 4096, 8192]),
    default(BM = 1, BN = 4096),
    gpu(space(BM: [1]), knobs(warps: [4, 8, 16]), default(BM = 1, warps = 8), legal = |s| held_by(BM * BN, warps))
)]
pub fn softmax_long<T: Float, BM: Dim, BN: Dim>(x: View<T, 2>, y: ViewMut<T, 2>) {
    let m = program_id(0) * BM;
    let mut top = full::<f32, (BM,)>(LOWEST);
    let mut total = zeros::<f32, (BM,)>();
    for n in range(0, x.dim(1), BN) {
        let part = x.load_or::<(BM, BN)>([m, n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        let new = top.maximum(part.max::<1>());
        total = total * (top - new).exp() + (part - new[(.., None)]).exp().sum::<1>();
        top = new;
    }
    let scale = 1.0 / total.maximum(f32::MIN_POSITIVE);
    for n in range(0, x.dim(1), BN) {
        let part = x.load::<(BM, BN)>([m, n]).cast::<f32>();
        y.store([m, n], ((part - top[(.., None)]).exp() * scale[(.., None)]).cast::<T>());
    }
}

/// Runs [`softmax()`]: `y [R, N] = exp(x - max x) / sum exp(x - max x)`, row by row.
///
/// The schedule's `N` must cover the row: pin it with [`crate::host::pin`]; from about 64 Ki elements on (32 Ki on a GPU) use [`run_long`]. A row
/// of minus infinity gives zeros. Computed in f32. Tolerance: 1e-6 of the largest result in f32.
/// Cost: about `4 R N` FLOPs, `2 R N` elements.
///
/// # Errors
/// If extents do not fit each other, the schedule's `N` included, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    y: TensorMut<'_, T, 2>,
) -> Result<(), KernelError> {
    let [rows, length] = x.dims();
    expect("softmax", "y", y.dims(), [rows, length])?;
    covers("softmax", schedule, "N", length)?;
    Ok(softmax::launch::<T>(on, schedule, [blocks("softmax", rows, schedule, "BM")?, 1, 1], x, y)?)
}

/// Runs [`softmax_long()`]: as [`run`], for rows of any length, which are read twice.
///
/// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018).
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run_long<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    y: TensorMut<'_, T, 2>,
) -> Result<(), KernelError> {
    let [rows, length] = x.dims();
    expect("softmax_long", "y", y.dims(), [rows, length])?;
    let grid = [blocks("softmax_long", rows, schedule, "BM")?, 1, 1];
    Ok(softmax_long::launch::<T>(on, schedule, grid, x, y)?)
}
