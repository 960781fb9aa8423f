//! SwiGLU as a kernel of its own: `y = silu(gate) * up`, for models whose two products are computed apart.

use tilewright_codegen::prelude::*;

use crate::epilogue::Activation;
use crate::error::KernelError;
use crate::host::{blocks, expect, held_by};

/// `y = activation(gate) * up`; see [`run`].
#[kernel(
    space(BM: [1, 2, 4, 8, 16], BN: [256, 512, 1024, 2048, 4096]),
    default(BM = 4, BN = 1024),
    gpu(
        space(BM: [1, 2, 4], BN: [256, 512, 1024, 2048]),
        knobs(warps: [2, 4, 8]),
        default(BM = 1, BN = 1024, warps = 4),
        legal = |s| held_by(BM * BN, warps),
    ),
    comptime(activation: [Activation::Silu]),
)]
pub fn swiglu<T: Float, BM: Dim, BN: Dim>(
    gate: View<T, 2>,
    up: View<T, 2>,
    y: ViewMut<T, 2>,
    activation: Activation,
) {
    let at = [program_id(0) * BM, program_id(1) * BN];
    let gated = activation.apply(gate.load::<(BM, BN)>(at).cast::<f32>());
    y.store(at, (gated * up.load::<(BM, BN)>(at).cast::<f32>()).cast::<T>());
}

/// Runs [`swiglu()`]: `y [R, N] = activation(gate [R, N]) * up [R, N]`, element by element, computed in f32.
///
/// Tolerance: 1e-6 of the largest result in f32. Cost: about `6 R N` FLOPs, `3 R N` elements.
/// Source: Shazeer, "GLU Variants Improve Transformer" (2020).
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    gate: TensorRef<'_, T, 2>,
    up: TensorRef<'_, T, 2>,
    y: TensorMut<'_, T, 2>,
    activation: Activation,
) -> Result<(), KernelError> {
    let [rows, columns] = gate.dims();
    expect("swiglu", "up", up.dims(), [rows, columns])?;
    expect("swiglu", "y", y.dims(), [rows, columns])?;
    let grid = [blocks("swiglu", rows, schedule, "BM")?, blocks("swiglu", columns, schedule, "BN")?, 1];
    Ok(swiglu::launch::<T>(on, schedule, grid, gate, up, y, activation)?)
}
