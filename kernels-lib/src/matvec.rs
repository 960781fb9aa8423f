//! Matrix product for a few rows (decode): the weights stream from memory once, and that is the whole cost.
//!
//! Each program owns `BN` rows of the weights, which it reads from beginning to end in steps of `BK` while the `BM` rows of
//! `x` stay in the cache. A small `BN` spreads one matrix over many threads; a long `BK` keeps each row's stream going.
//!
//! ```text
//!   w [N, K]   BN ┌────BK────┬──────────┐  read once, never kept
//!                 └──────────┴──────────┘
//!   x [M, K]   BM ══════════════════════   in the cache; BM covers M, so that no weight is read twice
//! ```

use tilewright_codegen::prelude::*;

use crate::epilogue::{self, Activation, Epilogue};
use crate::error::KernelError;
use crate::host::blocks;
use crate::matmul::{Layout, check_product, multiply};

/// Whether a step of a GPU program streams 16 to 64 weights per thread, and the sums that a thread keeps leave registers for them.
const fn streams(rows: i64, columns: i64, weights: i64, warps: i64) -> bool {
    let threads = 32 * warps;
    weights >= 16 * threads && weights <= 64 * threads && (rows * columns <= 64 || columns == 4)
}

/// `y = epilogue(x w)` for a few rows of `x`; see [`run`].
#[kernel(
    space(
        BM: [1, 2, 4, 8, 16],
        BN: [8, 16, 32, 64, 128, 256],
        BK: [256, 512, 1024, 2048, 4096],
    ),
    default(BM = 1, BN = 64, BK = 1024),
    gpu(
        space(BN: [4, 8, 16, 32], BK: [256, 512, 1024]),
        knobs(warps: [2, 4, 8]),
        default(BM = 1, BN = 8, BK = 512, warps = 4),
        legal = |s| streams(BM, BN, BN * BK, warps),
    ),
    types(T: [f32], W: [f32, bf16]),
    comptime(epilogue: [Epilogue::NONE, Epilogue::BIAS_RESIDUAL], layout: [Layout::OutIn, Layout::InOut]),
)]
pub fn matvec<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>, BM: Dim, BN: Dim, BK: Dim>(
    x: View<T, 2>,
    w: View<W, 2>,
    bias: View<W, 1>,
    y: ViewMut<T, 2>,
    epilogue: Epilogue,
    layout: Layout,
) {
    let (n, m) = (program_id(0) * BN, program_id(1) * BM);
    let mut acc = zeros::<f32, (BM, BN)>();
    for k in range(0, x.dim(1), BK) {
        acc = multiply(x.load::<(BM, BK)>([m, k]), w, [k, n], layout, acc);
    }
    epilogue::store(acc, bias, y, [m, n], epilogue);
}

/// `y = activation(x gate) * (x up)` for a few rows of `x`; see [`run_gated`].
#[kernel(
    space(
        BM: [1, 2, 4, 8, 16],
        BN: [8, 16, 32, 64, 128],
        BK: [256, 512, 1024, 2048, 4096],
    ),
    default(BM = 1, BN = 64, BK = 1024),
    gpu(
        space(BN: [4, 8, 16], BK: [256, 512, 1024]),
        knobs(warps: [2, 4, 8]),
        default(BM = 1, BN = 4, BK = 512, warps = 4),
        legal = |s| streams(BM, BN, 2 * BN * BK, warps),
    ),
    types(T: [f32], W: [f32, bf16]),
    comptime(activation: [Activation::Silu], layout: [Layout::OutIn, Layout::InOut]),
)]
pub fn matvec_gated<
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
) {
    let (n, m) = (program_id(0) * BN, program_id(1) * BM);
    let mut gated = zeros::<f32, (BM, BN)>();
    let mut linear = zeros::<f32, (BM, BN)>();
    for k in range(0, x.dim(1), BK) {
        let a = x.load::<(BM, BK)>([m, k]);
        gated = multiply(a, gate, [k, n], layout, gated);
        linear = multiply(a, up, [k, n], layout, linear);
    }
    y.store([m, n], (activation.apply(gated) * linear).cast::<T>());
}

/// Runs [`matvec()`]: `y [M, N] = epilogue(x [M, K] w)`; arguments, element types and tolerance as [`crate::matmul::run`].
///
/// Any M is computed; `BM` should cover it (pin it with [`crate::host::pin`]), or the weights are read `M / BM` times.
/// Cost: `2 M N K` FLOPs; bound by the `N K` elements of the weights.
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
    let [m, n] = check_product("matvec", x.dims(), &[("w", w.dims())], bias_dims, y.dims(), layout)?;
    let grid = [blocks("matvec", n, schedule, "BN")?, blocks("matvec", m, schedule, "BM")?, 1];
    Ok(matvec::launch::<T, W>(on, schedule, grid, x, w, bias, y, epilogue, layout)?)
}

/// Runs [`matvec_gated()`]: `y [M, N] = activation(x [M, K] gate) * (x up)`; arguments as [`crate::matmul::run_gated`].
///
/// Cost: `4 M N K` FLOPs; bound by the `2 N K` elements of the weights.
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
    let [m, n] = check_product("matvec_gated", x.dims(), &weights, None, y.dims(), layout)?;
    let grid = [blocks("matvec_gated", n, schedule, "BN")?, blocks("matvec_gated", m, schedule, "BM")?, 1];
    Ok(matvec_gated::launch::<T, W>(on, schedule, grid, x, gate, up, y, activation, layout)?)
}
