//! LayerNorm of rows: `y = (x - mean x) / sqrt(var x + eps) * w + b`, each row held whole in the cache.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, covers, expect, held_by};

/// `y = (x - mean) / sqrt(var + eps) * w + b`; see [`run`].
#[kernel(
    space(BM: [1, 2, 4, 8, 16], N: [128, 1000]),
    default(BM = 1, N = 1000),
    legal = |s| BM * N <= 1 << 18 || BM == 1,
    gpu(space(BM: [1, 2, 4]), knobs(warps: [1, 2, 4, 8, 16]), default(warps = 4), legal = |s| held_by(BM * N, warps)),
    types(T: [f32], W: [f32, bf16]),
)]
pub fn layer_norm<T: Float, W: Float, BM: Dim, N: Dim>(
    x: View<T, 2>,
    w: View<W, 1>,
    b: View<W, 1>,
    y: ViewMut<T, 2>,
    eps: Scalar<f32>,
) {
    let at = [program_id(0) * BM, scalar(0)];
    let rows = x.load::<(BM, N)>(at).cast::<f32>();
    let length = x.dim(1);
    let mean = rows.sum_keep::<1>() / length.cast::<f32>();
    // The variance is taken around the mean: a difference of squares would cancel. Padding is not part of the row.
    let inside = arange::<N>()[(None, ..)] < length;
    let centred = select(inside.broadcast::<(BM, N)>(), rows - mean, 0.0);
    let variance = (centred * centred).sum_keep::<1>() / length.cast::<f32>();
    let weight = w.load::<(N,)>([0]).cast::<f32>()[(None, ..)];
    let bias = b.load::<(N,)>([0]).cast::<f32>()[(None, ..)];
    y.store(at, (centred * (variance + eps).rsqrt() * weight + bias).cast::<T>());
}

/// Runs [`layer_norm()`]: `y [R, N] = (x [R, N] - mean) / sqrt(var + eps) * w [N] + b [N]`, row by row, with the biased variance.
///
/// The schedule's `N` must cover the row: pin it with [`crate::host::pin`]. Element types: `x`, `y` of `T`, `w`, `b` of `W`;
/// computed in f32. Tolerance: 2e-6 of the largest result in f32. Cost: about `7 R N` FLOPs, `2 R N` elements.
/// Source: Ba, Kiros and Hinton, "Layer Normalization" (2016).
///
/// # Errors
/// If extents do not fit each other, the schedule's `N` included, or the launch fails.
pub fn run<T: Float, W: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    w: TensorRef<'_, W, 1>,
    b: TensorRef<'_, W, 1>,
    y: TensorMut<'_, T, 2>,
    eps: f32,
) -> Result<(), KernelError> {
    let [rows, length] = x.dims();
    expect("layer_norm", "w", w.dims(), [length])?;
    expect("layer_norm", "b", b.dims(), [length])?;
    expect("layer_norm", "y", y.dims(), [rows, length])?;
    covers("layer_norm", schedule, "N", length)?;
    let grid = [blocks("layer_norm", rows, schedule, "BM")?, 1, 1];
    Ok(layer_norm::launch::<T, W>(on, schedule, grid, x, w, b, y, eps)?)
}
