//! The step that all attention kernels share: one block of keys and values folded into a running softmax.
//!
//! Per query row the state is the largest score so far `m`, the sum of weights `l` relative to it, and the weighted values `acc`;
//! a new block rescales the state when it raises `m`. Scores are in units of log 2 (the scale that queries carry includes
//! log2 e), so that weights are plain powers of two.
//!
//! Source: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao, "FlashAttention-2" (2023).

use tilewright_codegen::prelude::*;

/// Where a running maximum starts: below every score, yet finite, so that a block without visible keys leaves no NaN.
pub(crate) const LOWEST: f32 = -1e30;

/// Largest score, sum of weights and weighted values of `R` query rows over `D` elements.
pub(crate) type State<R, D> = (Tile<f32, (R,)>, Tile<f32, (R,)>, Tile<f32, (R, D)>);

/// The state before any key.
#[track_caller]
pub(crate) fn start<R: Dim, D: Dim>() -> State<R, D> {
    (full(LOWEST), zeros(), zeros())
}

/// Folds `N` keys and values into the state; `mask` may set scores to minus infinity.
#[track_caller]
pub(crate) fn fold<C, R: Dim, N: Dim, D: Dim>(
    (m, l, acc): State<R, D>,
    q: Tile<f32, (R, D)>,
    k: Tile<C, (N, D)>,
    v: Tile<C, (N, D)>,
    mask: impl FnOnce(Tile<f32, (R, N)>) -> Tile<f32, (R, N)>,
) -> State<R, D>
where
    C: Float + DotInput<Acc = f32>,
{
    let scores = mask(dot(q, k.t(), zeros()));
    let m_new = m.maximum(scores.max::<1>());
    let weights = (scores - m_new.expand_dims::<1>()).exp2();
    let shrink = (m - m_new).exp2();
    let l_new = l * shrink + weights.sum::<1>();
    let acc_new = dot(weights, v, acc * shrink.expand_dims::<1>());
    (m_new, l_new, acc_new)
}

/// The attention of rows that have seen all their keys; zero for a row that has seen none.
#[track_caller]
pub(crate) fn finish<R: Dim, D: Dim>((_, l, acc): State<R, D>) -> Tile<f32, (R, D)> {
    acc / l.maximum(f32::MIN_POSITIVE).expand_dims::<1>()
}
