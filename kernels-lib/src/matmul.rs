//! Matrix product for many rows (prefill, training shapes): `y = epilogue(x w)`.
//!
//! Each program owns a `BM x BN` tile of `y` and walks along K in steps of `BK`. Programs are numbered in columns of `GROUP`
//! row tiles (`grouped_2d`), so that programs running at one time share tiles of `x` and `w` in the last-level cache.
//!
//! ```text
//!            w [K, N] or [N, K]            per step: BM*BK + BK*BN elements read, 2*BM*BN*BK FLOPs
//!              ┌──┬──┐
//!         k ─▶ │  │BN│                     so a large tile saves memory traffic, and the legal rule keeps accumulator and
//!              └──┴──┘                     packed operands within 4 MiB, which is what a second-level cache and a bit holds
//!   x ┌─────┐  ┌──┬──┐
//!     │ BM  │  │  │  │ y
//!     └─────┘  └──┴──┘
//! ```

use tilewright_codegen::prelude::*;

use crate::epilogue::{self, Activation, Epilogue};
use crate::error::KernelError;
use crate::host::{blocks, expect, programs};

/// How a weight matrix lies in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// `[N, K]`: a row per output, as Hugging Face stores linear layers.
    OutIn,
    /// `[K, N]`: a row per input.
    InOut,
}

/// Bytes of an element, for rules on schedules.
pub(crate) const fn bytes<T>() -> i64 {
    size_of::<T>() as i64
}

/// Whether a block of a GPU holds a product: accumulators in registers, beside what the epilogue needs, and in shared memory `stages`
/// tiles of both operands, two chunks of 64 columns of the result, a tile of `rows` by `columns`, and what the epilogue reads of it.
///
/// Matrix instructions take operands of 16 bits; then half of a thread's registers may be accumulators, and the shared memory is
/// that of the largest GPUs. Other products are fused multiply-adds, whose operands need registers too, and half an SM's shared memory
/// is plenty; they have no producer that could run ahead into another program or share operands with another block. Pairs of blocks
/// are for products of many tiles, whose blocks are persistent.
pub(crate) const fn fits_block(
    accumulators: i64,
    warps: i64,
    staged_bytes: i64,
    [rows, columns]: [i64; 2],
    operand_bytes: [i64; 2],
    [persistent, cluster]: [i64; 2],
    epilogue: Epilogue,
) -> bool {
    let threads = 32 * warps;
    if !matches!(operand_bytes, [2, 2]) {
        return accumulators >= 16 * threads
            && accumulators <= 32 * threads
            && staged_bytes <= 96 << 10
            && persistent == 0
            && cluster == 1;
    }
    let result_bytes = 2 * rows * if columns < 128 { columns } else { 128 };
    persistent >= cluster - 1
        && accumulators >= if rows < 64 { 8 } else { 16 } * threads
        && accumulators <= epilogue.accumulators_per_thread() * threads
        && staged_bytes + result_bytes + epilogue.shared_bytes([rows, columns]) + 1024 <= 227 << 10
}

/// Whether knobs suit a number of rows, walked along K in steps of `step`: few rows are for matrix instructions, which then stream the
/// weights, eight tiles ahead at most and a program per block.
pub(crate) const fn fits_rows(
    rows: i64,
    [step, stages]: [i64; 2],
    operand_bytes: [i64; 2],
    [persistent, cluster]: [i64; 2],
) -> bool {
    if rows >= 64 {
        return stages <= 5;
    }
    matches!(operand_bytes, [2, 2]) && persistent == 0 && cluster == 1 && step >= 64 && stages >= 3
}

/// Whether persistent blocks have enough on its way to them: a ring of three tiles at least, each of whole 128-byte rows. Shorter
/// steps are for GPUs without tensor copies, where blocks are not persistent.
pub(crate) const fn fits_ring([step, stages]: [i64; 2], persistent: i64) -> bool {
    persistent == 0 || (step >= 64 && stages >= 3)
}

/// Adds the product of one K step to an accumulator.
#[track_caller]
pub(crate) fn multiply<T, W, BM: Dim, BN: Dim, BK: Dim>(
    a: Tile<T, (BM, BK)>,
    w: View<W, 2>,
    [k, n]: [Scalar<i32>; 2],
    layout: Layout,
    acc: Tile<f32, (BM, BN)>,
) -> Tile<f32, (BM, BN)>
where
    T: Float + DotInput<Acc = f32>,
    W: Float + DotInput<Acc = f32>,
{
    match layout {
        Layout::OutIn => dot(a, w.load::<(BN, BK)>([n, k]).t(), acc),
        Layout::InOut => dot(a, w.load::<(BK, BN)>([k, n]), acc),
    }
}

/// `y = epilogue(x w)` with f32 accumulation; see [`run`].
#[kernel(
    space(
        BM: [16, 32, 48, 64, 96, 128, 192, 256, 512],
        BN: [32, 64, 128, 192, 256, 384, 512],
        BK: [64, 128, 256, 512],
        group: [1, 2, 4, 8],
    ),
    default(BM = 128, BN = 256, BK = 256, group = 4),
    legal = |s| 4 * (BM * BN + BK * BN + BM * BK) <= 4 << 20,
    gpu(
        space(BM: [16, 32, 48, 64, 128], BN: [64, 128, 256], BK: [32, 64], group: [4, 8]),
        knobs(warps: [4, 8], stages: [2, 3, 4, 5, 8], persistent: [0, 1], cluster: [1, 2]),
        default(BM = 128, BN = 128, BK = 64, group = 8, warps = 8, stages = 3, persistent = 1, cluster = 1),
        legal = |s| fits_rows(BM, [BK, stages], [bytes::<T>(), bytes::<W>()], [persistent, cluster])
            && fits_ring([BK, stages], persistent)
            && fits_block(
            BM * BN,
            warps,
            stages * BK * (BM * bytes::<T>() + BN * bytes::<W>()),
            [BM, BN],
            [bytes::<T>(), bytes::<W>()],
            [persistent, cluster],
            epilogue
        ),
    ),
    types(T: [f32], W: [f32, bf16]),
    comptime(epilogue: [Epilogue::NONE, Epilogue::BIAS_RESIDUAL], layout: [Layout::OutIn, Layout::InOut]),
)]
pub fn matmul<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>, BM: Dim, BN: Dim, BK: Dim>(
    x: View<T, 2>,
    w: View<W, 2>,
    bias: View<W, 1>,
    y: ViewMut<T, 2>,
    epilogue: Epilogue,
    layout: Layout,
    group: i32,
) {
    let (i, j) = grouped_2d(program_id(0), cdiv(y.dim(0), BM), cdiv(y.dim(1), BN), group);
    let (m, n) = (i * BM, j * BN);
    let mut acc = zeros::<f32, (BM, BN)>();
    for k in range(0, x.dim(1), BK) {
        acc = multiply(x.load::<(BM, BK)>([m, k]), w, [k, n], layout, acc);
    }
    epilogue::store(acc, bias, y, [m, n], epilogue);
}

/// `y = activation(x gate) * (x up)` with f32 accumulation; see [`run_gated`].
#[kernel(
    space(
        BM: [16, 32, 48, 64, 96, 128, 192, 256, 512],
        BN: [32, 64, 128, 192, 256],
        BK: [64, 128, 256, 512],
        group: [1, 2, 4, 8],
    ),
    default(BM = 128, BN = 128, BK = 256, group = 4),
    legal = |s| 4 * (2 * BM * BN + 2 * BK * BN + BM * BK) <= 4 << 20,
    gpu(
        space(BM: [64, 128], BN: [32, 64, 128], BK: [32, 64], group: [4, 8]),
        knobs(warps: [4, 8], stages: [2, 3, 4], persistent: [0, 1], cluster: [1, 2]),
        default(BM = 128, BN = 64, BK = 64, group = 8, warps = 8, stages = 3, persistent = 1, cluster = 1),
        legal = |s| fits_ring([BK, stages], persistent) && fits_block(
            2 * BM * BN,
            warps,
            stages * BK * (BM * bytes::<T>() + 2 * BN * bytes::<W>()),
            [BM, BN],
            [bytes::<T>(), bytes::<W>()],
            [persistent, cluster],
            Epilogue::NONE
        ),
    ),
    types(T: [f32], W: [f32, bf16]),
    comptime(activation: [Activation::Silu], layout: [Layout::OutIn, Layout::InOut]),
)]
pub fn matmul_gated<
    T: Float + DotInput<Acc = f32>,
    W: Float + DotInput<Acc = f32>,
    BM: Dim,
    BN: Dim,
    BK: Dim,
>(
    x: View<T, 2>,
    gate: View<W, 2>,
    up: View<W, 2>,
    y: ViewMut<T, 2>,
    activation: Activation,
    layout: Layout,
    group: i32,
) {
    let (i, j) = grouped_2d(program_id(0), cdiv(y.dim(0), BM), cdiv(y.dim(1), BN), group);
    let (m, n) = (i * BM, j * BN);
    let mut gated = zeros::<f32, (BM, BN)>();
    let mut linear = zeros::<f32, (BM, BN)>();
    for k in range(0, x.dim(1), BK) {
        let a = x.load::<(BM, BK)>([m, k]);
        gated = multiply(a, gate, [k, n], layout, gated);
        linear = multiply(a, up, [k, n], layout, linear);
    }
    y.store([m, n], (activation.apply(gated) * linear).cast::<T>());
}

/// Extents of a weight matrix with `n` outputs and `k` inputs.
pub(crate) const fn weight_dims(layout: Layout, n: usize, k: usize) -> [usize; 2] {
    match layout {
        Layout::OutIn => [n, k],
        Layout::InOut => [k, n],
    }
}

/// Checks the operands of `y [M, N] = x [M, K] w`, for every weight matrix `w` named; returns M and N.
pub(crate) fn check_product(
    kernel: &'static str,
    x: [usize; 2],
    weights: &[(&'static str, [usize; 2])],
    bias: Option<[usize; 1]>,
    y: [usize; 2],
    layout: Layout,
) -> Result<[usize; 2], KernelError> {
    let ([m, k], [_, n]) = (x, y);
    expect(kernel, "y", y, [m, n])?;
    for &(name, dims) in weights {
        expect(kernel, name, dims, weight_dims(layout, n, k))?;
    }
    if let Some(dims) = bias {
        expect(kernel, "bias", dims, [n])?;
    }
    Ok([m, n])
}

/// Runs [`matmul()`]: `y [M, N] = epilogue(x [M, K] w)`, with `w` of `[N, K]` or `[K, N]` as `layout` says and `bias [N]` (any
/// view, an empty one for instance, where the epilogue adds none). With `epilogue.residual`, `y` is added to in place.
///
/// Element types: `x` and `y` of `T`, `w` and `bias` of `W`; products are accumulated in f32 and rounded once.
/// Tolerance: 1e-5 of the largest result in f32 for K up to 4096; half an ulp of `T` more otherwise.
/// Cost: `2 M N K` FLOPs, at least `M K + N K + M N` elements of memory traffic.
/// Source: the blocking is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
#[expect(clippy::too_many_arguments, reason = "an argument per operand and choice of the product")]
pub fn run<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    w: TensorRef<'_, W, 2>,
    bias: TensorRef<'_, W, 1>,
    y: TensorMut<'_, T, 2>,
    epilogue: Epilogue,
    layout: Layout,
) -> Result<(), KernelError> {
    let bias_dims = epilogue.bias.then(|| bias.dims());
    let [m, n] = check_product("matmul", x.dims(), &[("w", w.dims())], bias_dims, y.dims(), layout)?;
    let (rows, columns) = (blocks("matmul", m, schedule, "BM")?, blocks("matmul", n, schedule, "BN")?);
    let grid = [programs("matmul", rows as usize * columns as usize)?, 1, 1];
    Ok(matmul::launch::<T, W>(on, schedule, grid, x, w, bias, y, epilogue, layout)?)
}

/// Runs [`matmul_gated()`]: `y [M, N] = activation(x [M, K] gate) * (x up)`, the first half of a gated feed-forward layer.
///
/// `gate` and `up` are `[N, K]` or `[K, N]`; `x` is read once for both. Element types and tolerance as [`run`].
/// Cost: `4 M N K` FLOPs, at least `M K + 2 N K + M N` elements.
/// Source: Shazeer, "GLU Variants Improve Transformer" (2020).
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
#[expect(clippy::too_many_arguments, reason = "an argument per operand and choice of the product")]
pub fn run_gated<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    gate: TensorRef<'_, W, 2>,
    up: TensorRef<'_, W, 2>,
    y: TensorMut<'_, T, 2>,
    activation: Activation,
    layout: Layout,
) -> Result<(), KernelError> {
    let weights = [("gate", gate.dims()), ("up", up.dims())];
    let [m, n] = check_product("matmul_gated", x.dims(), &weights, None, y.dims(), layout)?;
    let rows = blocks("matmul_gated", m, schedule, "BM")?;
    let columns = blocks("matmul_gated", n, schedule, "BN")?;
    let grid = [programs("matmul_gated", rows as usize * columns as usize)?, 1, 1];
    Ok(matmul_gated::launch::<T, W>(on, schedule, grid, x, gate, up, y, activation, layout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_leaves_an_epilogue_its_room() {
        let large = Schedule::new(&[("BM", 128), ("BN", 256), ("BK", 64), ("group", 8), ("warps", 8)])
            .with("stages", 4)
            .with("persistent", 1)
            .with("cluster", 2);
        let holds = |epilogue, schedule: &Schedule| {
            matmul::kernel::<bf16, bf16>(epilogue, Layout::OutIn).gpu.knobs.contains(schedule)
        };
        let half = large.clone().with("BN", 128);
        for epilogue in [Epilogue::NONE, Epilogue::BIAS, Epilogue::BIAS_GELU_TANH] {
            assert!(holds(epilogue, &large), "{epilogue:?}");
        }
        // The error function needs registers, and what a residual adds to needs shared memory.
        for epilogue in [Epilogue::GELU, Epilogue::RESIDUAL, Epilogue::BIAS_RESIDUAL] {
            assert!(!holds(epilogue, &large), "{epilogue:?}");
        }
        assert!(holds(Epilogue::GELU, &half));
        assert!(!holds(Epilogue::GELU, &half.with("warps", 4).with("BM", 64).with("BN", 256)));
        assert!(holds(Epilogue::RESIDUAL, &large.with("BN", 128).with("stages", 3)));
    }
}
