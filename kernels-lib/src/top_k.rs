//! The K largest elements of each row with their positions, in one pass over the row.
//!
//! A program keeps the best K so far. Most blocks of the row hold nothing better than the worst of these, which one
//! comparison of the block's maximum shows; otherwise the block gives up its maximum until it has nothing better. For a row
//! in random order that happens about `K ln(N / K)` times, so the cost is that of reading the row once.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{covers, expect, held_by, programs};

/// The K largest of each row; see [`run`].
#[kernel(
    space(BN: [512, 1024, 2048, 4096], K: [8, 64]),
    default(BN = 1024, K = 8),
    gpu(space(BN: [1024, 2048, 4096]), knobs(warps: [4, 8]), default(BN = 2048, warps = 8), legal = |s| held_by(BN, warps))
)]
pub fn top_k<T: Float, BN: Dim, K: Dim>(x: View<T, 2>, values: ViewMut<T, 2>, indices: ViewMut<i32, 2>) {
    let r = program_id(0);
    let row = x.at(0, r);
    let places = arange::<K>();
    let mut best = full::<f32, (K,)>(f32::NEG_INFINITY);
    let mut at = full::<i32, (K,)>(-1);
    for n in range(0, row.dim(0), BN) {
        let mut block = row.load_or::<(BN,)>([n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        let mut top = block.max::<0>().item();
        while top > best.min::<0>().item() {
            let position = block.argmax::<0>().item();
            // Of equal worst elements the one furthest to the right leaves: the lowest indices stay.
            let worst = best.min::<0>().item();
            let leaving = select(best == worst, at, i32::MIN).argmax::<0>().item();
            best = select(places == leaving, top, best);
            at = select(places == leaving, position + n, at);
            block = select(arange::<BN>() == position, f32::NEG_INFINITY, block);
            top = block.max::<0>().item();
        }
    }
    // In descending order, equal elements by ascending index; what has been taken counts as index i32::MAX.
    let mut rest = at;
    for k in range(0, values.dim(1), 1) {
        let left = rest != i32::MAX;
        let top = select(left, best, f32::NEG_INFINITY).max::<0>().item();
        let candidates = select(best == top && left, rest, i32::MAX);
        let taken = candidates.argmin::<0>().item();
        let index = candidates.min::<0>().item();
        values.set([r, k], top.cast::<T>());
        indices.set([r, k], index);
        rest = select(places == taken, i32::MAX, rest);
    }
}

/// Runs [`top_k()`]: the K largest elements of each row of `x [R, N]`, descending, as `values [R, K]` and `indices [R, K]`.
///
/// Equal elements come in the order of their indices, and the lowest indices are kept. NaN and minus infinity are never
/// chosen: a row with fewer than K other elements is filled up with minus infinity at index -1. The schedule's `K` must cover the
/// problem's: pin it with [`crate::host::pin`]. Exact. Cost: `R N` elements read; meant for K up to a few hundred.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorRef<'_, T, 2>,
    values: TensorMut<'_, T, 2>,
    indices: TensorMut<'_, i32, 2>,
) -> Result<(), KernelError> {
    let ([rows, _], [_, k]) = (x.dims(), values.dims());
    expect("top_k", "values", values.dims(), [rows, k])?;
    expect("top_k", "indices", indices.dims(), [rows, k])?;
    covers("top_k", schedule, "K", k)?;
    Ok(top_k::launch::<T>(on, schedule, [programs("top_k", rows)?, 1, 1], x, values, indices)?)
}
