//! Embedding gather: one row of a table per token.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, expect, held_by, programs};

/// `y[t] = table[ids[t]]`; see [`run`].
#[kernel(
    space(BH: [256, 512, 1024, 2048, 4096]),
    default(BH = 1024),
    gpu(space(BH: [256, 512, 1024, 2048]), knobs(warps: [1, 2, 4]), default(BH = 1024, warps = 4), legal = |s| held_by(BH, warps)),
    types(T: [f32], W: [f32, bf16])
)]
pub fn embedding<T: Float, W: Float, BH: Dim>(ids: View<i32, 1>, table: View<W, 2>, y: ViewMut<T, 2>) {
    let (t, h) = (program_id(0), program_id(1) * BH);
    let row = table.at(0, ids.get([t]));
    y.at(0, t).store([h], row.load::<(BH,)>([h]).cast::<T>());
}

/// Runs [`embedding()`]: `y [T, H] = table [V, H]` at the rows `ids [T]`; an id outside the table gives a row of zeros.
///
/// Element types: `table` of `W`, `y` of `T`; exact up to the cast. Cost: no FLOPs, `T H` elements read and written.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float, W: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    ids: TensorRef<'_, i32, 1>,
    table: TensorRef<'_, W, 2>,
    y: TensorMut<'_, T, 2>,
) -> Result<(), KernelError> {
    let ([tokens], [_, width]) = (ids.dims(), table.dims());
    expect("embedding", "y", y.dims(), [tokens, width])?;
    let grid = [programs("embedding", tokens)?, blocks("embedding", width, schedule, "BH")?, 1];
    Ok(embedding::launch::<T, W>(on, schedule, grid, ids, table, y)?)
}
