//! Repetition penalty: the logits of tokens that a sequence has already are made less likely, in place.
//!
//! Source: Keskar et al., "CTRL: A conditional transformer language model for controllable generation" (2019), in the form that
//! divides positive logits and multiplies negative ones.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, expect, held_by, programs};

/// Logits of seen tokens over or times the penalty; see [`run`].
#[kernel(
    space(BS: [64, 256, 1024]),
    default(BS = 256),
    gpu(space(BS: [128, 256, 1024]), knobs(warps: [1, 2, 4]), default(BS = 256, warps = 4), legal = |s| held_by(BS, warps))
)]
pub fn penalise<T: Float, BS: Dim>(seen: View<i32, 2>, penalties: View<f32, 1>, logits: ViewMut<T, 2>) {
    let (r, s) = (program_id(0), program_id(1) * BS);
    let penalty = penalties.get([r]);
    let row = logits.at(0, r);
    let tokens = seen.at(0, r).load_or::<(BS,)>([s], -1);
    let is_token = tokens >= 0;
    let x = row.gather_masked([tokens], is_token, T::from_f64(0.0)).cast::<f32>();
    let less = select(x < 0.0, x * penalty, x / penalty);
    row.scatter_masked([tokens], less.cast::<T>(), is_token);
}

/// Runs [`penalise()`]: in each row of `logits [R, V]`, the elements at `seen [R, S]` are divided by `penalties [R]` where positive,
/// and multiplied where negative.
///
/// A row's tokens must differ from each other; a negative one stands for none, and one beyond the vocabulary changes nothing. A
/// penalty of 1 changes nothing. Computed in f32, rounded to `T`: tolerance 1e-6 in f32. Cost: `2 R S` elements, scattered.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    seen: TensorRef<'_, i32, 2>,
    penalties: TensorRef<'_, f32, 1>,
    logits: TensorMut<'_, T, 2>,
) -> Result<(), KernelError> {
    const NAME: &str = "penalise";
    let ([rows, _], [_, n_seen]) = (logits.dims(), seen.dims());
    expect(NAME, "seen", seen.dims(), [rows, n_seen])?;
    expect(NAME, "penalties", penalties.dims(), [rows])?;
    let grid = [programs(NAME, rows)?, blocks(NAME, n_seen, schedule, "BS")?, 1];
    Ok(penalise::launch::<T>(on, schedule, grid, seen, penalties, logits)?)
}
