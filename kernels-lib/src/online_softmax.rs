//! The step that all attention kernels share: one block of keys and values folded into a running softmax.
//!
//! Per query row the state is the largest score so far `m`, the sum of weights `l` relative to it, and the weighted values `acc`;
//! a new block rescales the state when it raises `m`. Scores are in units of log 2 (the scale that queries carry includes
//! log2 e), so that weights are plain powers of two. The scale is positive, so the largest product has the largest score.
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

/// Queries as the first product takes them.
///
/// Where queries and keys have one 16-bit type, both products take operands of that type, which is what matrix instructions
/// multiply: the scale is then applied to scores, and weights are rounded before they meet values. In all other cases both
/// products have a left operand of f32.
#[derive(Clone, Copy)]
pub(crate) enum Query<C, S> {
    /// In f32, scaled.
    Scaled(Tile<f32, S>),
    /// As they came, and the scale of their scores.
    Narrow(Tile<C, S>, Scalar<f32>),
}

impl<C: Float, S: TileShape> Query<C, S> {
    /// Queries whose scores are multiplied by `scale`.
    #[track_caller]
    pub(crate) fn new<T: Float>(q: Tile<T, S>, scale: Scalar<f32>) -> Self {
        let scale = scale * std::f32::consts::LOG2_E;
        if is_narrow::<T, C>() {
            Self::Narrow(q.cast(), scale)
        } else {
            Self::Scaled(q.cast::<f32>() * scale)
        }
    }

    /// The queries under another shape.
    #[track_caller]
    pub(crate) fn reshape<S2: TileShape>(self) -> Query<C, S2> {
        match self {
            Self::Scaled(q) => Query::Scaled(q.reshape()),
            Self::Narrow(q, scale) => Query::Narrow(q.reshape(), scale),
        }
    }
}

/// Whether queries of `T` meet keys of `C` in 16 bits.
pub(crate) fn is_narrow<T: Elem, C: Elem>() -> bool {
    T::DTYPE == C::DTYPE && size_of::<T>() == 2
}

/// Folds `N` keys and values into the state; `mask` may set scores to minus infinity.
#[track_caller]
pub(crate) fn fold<C, R: Dim, N: Dim, D: Dim>(
    (m, l, acc): State<R, D>,
    q: Query<C, (R, D)>,
    k: Tile<C, (N, D)>,
    v: Tile<C, (N, D)>,
    mask: impl FnOnce(Tile<f32, (R, N)>) -> Tile<f32, (R, N)>,
) -> State<R, D>
where
    C: Float + DotInput<Acc = f32>,
{
    let (m_new, weights) = match q {
        Query::Scaled(q) => {
            let scores = mask(dot(q, k.t(), zeros()));
            let m_new = m.maximum(scores.max::<1>());
            (m_new, (scores - m_new.expand_dims::<1>()).exp2())
        }
        Query::Narrow(q, scale) => {
            let scores = mask(dot(q, k.t(), zeros()));
            let m_new = m.maximum(scores.max::<1>() * scale);
            (m_new, fma(scores, scale, (-m_new).expand_dims::<1>().broadcast::<(R, N)>()).exp2())
        }
    };
    let shrink = (m - m_new).exp2();
    let l_new = l * shrink + weights.sum::<1>();
    let acc = acc * shrink.expand_dims::<1>();
    let acc_new = match q {
        Query::Scaled(_) => dot(weights, v, acc),
        Query::Narrow(..) => dot(weights.cast::<C>(), v, acc),
    };
    (m_new, l_new, acc_new)
}

/// The attention of rows that have seen all their keys; zero for a row that has seen none.
#[track_caller]
pub(crate) fn finish<R: Dim, D: Dim>((_, l, acc): State<R, D>) -> Tile<f32, (R, D)> {
    acc / l.maximum(f32::MIN_POSITIVE).expand_dims::<1>()
}
