//! Matrix product of few tiles and a long K: K is split among programs, and a second kernel adds the parts.
//!
//! Where `y` has fewer tiles than the device has places for programs, each tile is computed by `split_k` programs, each along
//! its part of K; their f32 results go to a workspace. The second kernel adds them in the order of the parts, whichever was
//! finished first, so the same schedule gives the same bits, and applies the epilogue.
//!
//! ```text
//!   K:   | part 0 | part 1 | part 2 | part 3 |     in whole steps of BK
//!            │        │        │        │          partial [split_k, M, N] in f32
//!            └── + ───┴── + ───┴── + ───┘ ── epilogue ──▶ y [M, N]
//! ```

use tilewright_codegen::prelude::*;

use crate::epilogue::{self, Epilogue};
use crate::error::KernelError;
use crate::host::{blocks, expect, held_by, programs};
use crate::matmul::{Layout, bytes, check_product, fits_block, fits_rows, multiply};

/// Parts of K when a schedule says nothing.
const DEFAULT_SPLITS: usize = 4;

/// The parts of K of a tile; see [`run`].
#[kernel(
    space(
        BM: [16, 32, 64, 128, 256],
        BN: [32, 64, 128, 256],
        BK: [64, 128, 256, 512],
        group: [1, 4],
    ),
    knobs(split_k: [1, 2, 4, 8, 16]),
    default(BM = 64, BN = 128, BK = 256, group = 4, split_k = 4),
    legal = |s| 4 * (BM * BN + BK * BN + BM * BK) <= 4 << 20,
    gpu(
        space(BM: [16, 32, 48, 64, 128], BN: [64, 128], BK: [32, 64], group: [4]),
        knobs(warps: [4, 8], stages: [2, 3, 4, 5, 8], split_k: [1, 2, 3, 4, 6, 8, 12, 16]),
        default(BM = 64, BN = 128, BK = 64, group = 4, warps = 4, stages = 4, split_k = 4),
        legal = |s| fits_rows(BM, [BK, stages], [bytes::<T>(), bytes::<W>()], [0, 1]) && fits_block(
            BM * BN,
            warps,
            stages * BK * (BM * bytes::<T>() + BN * bytes::<W>()),
            [BM, BN],
            [bytes::<T>(), bytes::<W>()],
            [0, 1],
            Epilogue::NONE
        ),
    ),
    types(T: [f32], W: [f32, bf16]),
    comptime(layout: [Layout::OutIn, Layout::InOut]),
)]
pub fn matmul_split<
    T: Float + DotInput<Acc = f32>,
    W: Float + DotInput<Acc = f32>,
    BM: Dim,
    BN: Dim,
    BK: Dim,
>(
    x: View<T, 2>,
    w: View<W, 2>,
    partial: ViewMut<f32, 3>,
    layout: Layout,
    group: i32,
) {
    let (rows, columns) = (cdiv(partial.dim(1), BM), cdiv(partial.dim(2), BN));
    let (i, j) = grouped_2d(program_id(0), rows, columns, group);
    let (m, n) = (i * BM, j * BN);
    let split = program_id(1);
    let steps = cdiv(cdiv(x.dim(1), BK), num_programs(1));
    // Seen to be a multiple of BK, so that tiles are known to be aligned.
    let begin = split * steps * BK;
    let end = (begin + steps * BK).minimum(x.dim(1));
    let mut acc = zeros::<f32, (BM, BN)>();
    for k in range(begin, end, BK) {
        acc = multiply(x.load::<(BM, BK)>([m, k]), w, [k, n], layout, acc);
    }
    partial.at(0, split).store([m, n], acc);
}

/// Adds the parts and finishes; see [`run`].
#[kernel(
    space(BM: [1, 4, 16], BN: [128, 256, 512]),
    default(BM = 4, BN = 256),
    gpu(
        space(BM: [1, 2, 4, 8], BN: [64, 128, 256]),
        knobs(warps: [1, 2, 4, 8]),
        default(BM = 4, BN = 128, warps = 2),
        legal = |s| held_by(BM * BN, warps),
    ),
    types(T: [f32], W: [f32, bf16]),
    comptime(epilogue: [Epilogue::NONE, Epilogue::BIAS_RESIDUAL]),
)]
pub fn matmul_reduce<T: Float, W: Float, BM: Dim, BN: Dim>(
    partial: View<f32, 3>,
    bias: View<W, 1>,
    y: ViewMut<T, 2>,
    epilogue: Epilogue,
) {
    let (m, n) = (program_id(1) * BM, program_id(0) * BN);
    let mut acc = zeros::<f32, (BM, BN)>();
    for split in range(0, partial.dim(0), 1) {
        acc += partial.at(0, split).load::<(BM, BN)>([m, n]);
    }
    epilogue::store(acc, bias, y, [m, n], epilogue);
}

/// The schedules of the two kernels.
#[derive(Clone, Copy, Debug)]
pub struct Schedules<'a> {
    /// Of [`matmul_split()`].
    pub split: &'a Schedule,
    /// Of [`matmul_reduce()`].
    pub reduce: &'a Schedule,
}

/// Parts of K under a schedule of [`matmul_split()`]: its `split_k`.
#[must_use]
pub fn splits(schedule: &Schedule) -> usize {
    let n = schedule.get("split_k").and_then(|n| usize::try_from(n).ok());
    n.filter(|&n| n > 0).unwrap_or(DEFAULT_SPLITS)
}

/// Runs [`matmul_split()`] and [`matmul_reduce()`]: `y [M, N] = epilogue(x [M, K] w)` as [`crate::matmul::run`] has it.
///
/// `partial` is a workspace of `[splits, M, N]`, with [`splits`] of the first schedule; what it holds before does not matter.
/// Element types: `x` and `y` of `T`, `w` and `bias` of `W`. Tolerance as [`crate::matmul::run`]; the order of additions is fixed.
/// Cost: `2 M N K` FLOPs; `M K + N K + M N` elements and `2 splits M N` of f32.
///
/// # Errors
/// If extents do not fit each other, or a launch fails.
#[expect(clippy::too_many_arguments, reason = "an argument per operand and choice of the product")]
pub fn run<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    on: &(impl LaunchOn + ?Sized),
    schedules: Schedules<'_>,
    x: TensorRef<'_, T, 2>,
    w: TensorRef<'_, W, 2>,
    bias: TensorRef<'_, W, 1>,
    mut partial: TensorMut<'_, f32, 3>,
    y: TensorMut<'_, T, 2>,
    epilogue: Epilogue,
    layout: Layout,
) -> Result<(), KernelError> {
    const NAME: &str = "matmul_split";
    let Schedules { split, reduce } = schedules;
    let bias_dims = epilogue.bias.then(|| bias.dims());
    let [m, n] = check_product(NAME, x.dims(), &[("w", w.dims())], bias_dims, y.dims(), layout)?;
    let parts = splits(split);
    expect(NAME, "partial", partial.dims(), [parts, m, n])?;
    let (rows, columns) = (blocks(NAME, m, split, "BM")?, blocks(NAME, n, split, "BN")?);
    let grid = [programs(NAME, rows as usize * columns as usize)?, programs(NAME, parts)?, 1];
    matmul_split::launch::<T, W>(on, split, grid, x, w, partial.reborrow(), layout)?;
    let grid = [blocks("matmul_reduce", n, reduce, "BN")?, blocks("matmul_reduce", m, reduce, "BM")?, 1];
    Ok(matmul_reduce::launch::<T, W>(on, reduce, grid, partial.as_ref(), bias, y, epilogue)?)
}
