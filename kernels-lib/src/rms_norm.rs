//! RMSNorm of rows: `y = x / sqrt(mean(x^2) + eps) * w`, plain, with the residual addition before it, and per head.
//!
//! A program holds `BM` whole rows in the cache, so memory is read once. `N` is the row's length, fixed by the problem: pin it
//! with [`crate::host::pin`].

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, covers, expect, held_by, programs};

/// The rows of a tile normalised and weighted, in f32. `length` is the number of elements that count: the rest are zero.
fn normalise<W: Float, BM: Dim, N: Dim>(
    x: Tile<f32, (BM, N)>,
    w: View<W, 1>,
    length: Scalar<i32>,
    eps: Scalar<f32>,
) -> Tile<f32, (BM, N)> {
    let mean_square = (x * x).sum_keep::<1>() / length.cast::<f32>();
    let scale = (mean_square + eps).rsqrt();
    x * scale * w.load::<(N,)>([0]).cast::<f32>().expand_dims::<0>()
}

/// `y = norm(x) w`; see [`run`].
#[kernel(
    space(BM: [1, 2, 4, 8, 16], N: [128, 1024]),
    default(BM = 1, N = 1024),
    legal = |s| BM * N <= 1 << 18 || BM == 1,
    gpu(space(BM: [1, 2, 4]), knobs(warps: [1, 2, 4, 8, 16]), default(warps = 4), legal = |s| held_by(BM * N, warps)),
    types(T: [f32], W: [f32, bf16]),
)]
pub fn rms_norm<T: Float, W: Float, BM: Dim, N: Dim>(
    x: View<T, 2>,
    w: View<W, 1>,
    y: ViewMut<T, 2>,
    eps: Scalar<f32>,
) {
    let m = program_id(0) * BM;
    let rows = x.load::<(BM, N)>([m, scalar(0)]).cast::<f32>();
    y.store([m, scalar(0)], normalise(rows, w, x.dim(1), eps).cast::<T>());
}

/// `h += x`, then `y = norm(h) w`; see [`run_add`].
#[kernel(
    space(BM: [1, 2, 4, 8, 16], N: [128, 1024]),
    default(BM = 1, N = 1024),
    legal = |s| BM * N <= 1 << 18 || BM == 1,
    gpu(space(BM: [1, 2, 4]), knobs(warps: [1, 2, 4, 8, 16]), default(warps = 4), legal = |s| held_by(BM * N, warps)),
    types(T: [f32], W: [f32, bf16]),
)]
pub fn rms_norm_add<T: Float, W: Float, BM: Dim, N: Dim>(
    x: View<T, 2>,
    h: ViewMut<T, 2>,
    w: View<W, 1>,
    y: ViewMut<T, 2>,
    eps: Scalar<f32>,
) {
    let at = [program_id(0) * BM, scalar(0)];
    let sum = (h.load::<(BM, N)>(at).cast::<f32>() + x.load::<(BM, N)>(at).cast::<f32>()).cast::<T>();
    h.store(at, sum);
    y.store(at, normalise(sum.cast::<f32>(), w, x.dim(1), eps).cast::<T>());
}

/// Every head of every token by itself, in place; see [`run_heads`].
#[kernel(
    space(BM: [1, 4, 16, 64], N: [64, 128]),
    default(BM = 16, N = 128),
    legal = |s| BM * N <= 1 << 18 || BM == 1,
    gpu(space(BM: [1, 4, 16]), knobs(warps: [1, 2, 4, 8, 16]), default(BM = 4, warps = 4), legal = |s| held_by(BM * N, warps)),
    types(T: [f32], W: [f32, bf16]),
)]
pub fn rms_norm_heads<T: Float, W: Float, BM: Dim, N: Dim>(
    x: ViewMut<T, 3>,
    w: View<W, 1>,
    eps: Scalar<f32>,
) {
    let head = x.at(1, program_id(1));
    let at = [program_id(0) * BM, scalar(0)];
    let rows = head.load::<(BM, N)>(at).cast::<f32>();
    head.store(at, normalise(rows, w, x.dim(2), eps).cast::<T>());
}

/// Runs [`rms_norm()`]: `y [R, N] = x [R, N] / sqrt(mean(x^2) + eps) * w [N]`, row by row.
///
/// Element types: `x` and `y` of `T`, `w` of `W`; computed in f32. Tolerance: 1e-6 of the largest result in f32.
/// Cost: about `4 R N` FLOPs, `2 R N` elements.
/// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
///
/// # Errors
/// If extents do not fit each other, the schedule's `N` included, or the launch fails.
pub fn run<T: Float, W: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    w: TensorRef<'_, W, 1>,
    y: TensorMut<'_, T, 2>,
    eps: f32,
) -> Result<(), KernelError> {
    let [rows, length] = x.dims();
    expect("rms_norm", "y", y.dims(), [rows, length])?;
    expect("rms_norm", "w", w.dims(), [length])?;
    covers("rms_norm", schedule, "N", length)?;
    let grid = [blocks("rms_norm", rows, schedule, "BM")?, 1, 1];
    Ok(rms_norm::launch::<T, W>(on, schedule, grid, x, w, y, eps)?)
}

/// Runs [`rms_norm_add()`]: `h [R, N] += x [R, N]`, then `y [R, N] = norm(h) w [N]`: a residual connection and the norm after it.
///
/// As [`run`], with `4 R N` elements of traffic. The sum is rounded to `T` before it is normalised, as two steps would.
///
/// # Errors
/// If extents do not fit each other, the schedule's `N` included, or the launch fails.
pub fn run_add<T: Float, W: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    h: TensorMut<'_, T, 2>,
    w: TensorRef<'_, W, 1>,
    y: TensorMut<'_, T, 2>,
    eps: f32,
) -> Result<(), KernelError> {
    let [rows, length] = x.dims();
    expect("rms_norm_add", "h", h.dims(), [rows, length])?;
    expect("rms_norm_add", "y", y.dims(), [rows, length])?;
    expect("rms_norm_add", "w", w.dims(), [length])?;
    covers("rms_norm_add", schedule, "N", length)?;
    let grid = [blocks("rms_norm_add", rows, schedule, "BM")?, 1, 1];
    Ok(rms_norm_add::launch::<T, W>(on, schedule, grid, x, h, w, y, eps)?)
}

/// Runs [`rms_norm_heads()`]: `x [T, H, N]` normalised along N and weighted by `w [N]`, in place (Qwen3's query and key norms).
///
/// Cost and tolerance as [`run`].
///
/// # Errors
/// If extents do not fit each other, the schedule's `N` included, or the launch fails.
pub fn run_heads<T: Float, W: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorMut<'_, T, 3>,
    w: TensorRef<'_, W, 1>,
    eps: f32,
) -> Result<(), KernelError> {
    let [tokens, heads, length] = x.dims();
    expect("rms_norm_heads", "w", w.dims(), [length])?;
    covers("rms_norm_heads", schedule, "N", length)?;
    let grid = [blocks("rms_norm_heads", tokens, schedule, "BM")?, programs("rms_norm_heads", heads)?, 1];
    Ok(rms_norm_heads::launch::<T, W>(on, schedule, grid, x, w, eps)?)
}
