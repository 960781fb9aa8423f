//! Attention of prompts over a paged key/value cache: several sequences in one launch, each with its past.
//!
//! As [`crate::attention`], with keys and values found page by page: position `n` of a sequence lies at offset
//! `n % page_size` of page `page_table[sequence, n / page_size]`. A block of `BN` keys lies within one page.
//!
//! ```text
//!   q, o      [tokens of sequence 0 | tokens of sequence 1 | ..]     starts  [0, n0, n0 + n1, ..]
//!   context   sequence s: lengths[s] positions, its new tokens the last of them, already written to their pages
//! ```
//!
//! Source: Kwon et al., "Efficient Memory Management for LLM Serving with PagedAttention" (2023).

use tilewright_codegen::prelude::*;

use crate::attention::{Block, Mask, bounds, fits_block, heads_fit, hide, per_head};
use crate::error::KernelError;
use crate::host::{blocks, expect, programs};
use crate::matmul::bytes;
use crate::online_softmax::{Query, State, finish, fold, start};

/// Softmax attention of ragged prompts over pages; see [`run`].
#[kernel(
    space(BQ: [8, 16, 32, 64, 128, 256], BN: [16, 32, 64, 128, 256], G: [1, 2], D: [64, 80]),
    default(BQ = 128, BN = 128, G = 1, D = 64),
    legal = |s| BQ * G <= 1024 && 4 * (BQ * G * (2 * D + BN) + 2 * BN * D) <= 2 << 20,
    gpu(
        space(BQ: [2, 4, 8, 16, 32, 64, 128], BN: [16, 32, 64, 128]),
        knobs(warps: [4, 8], stages: [1, 2, 3]),
        default(BQ = 64, BN = 64, G = 1, D = 64, warps = 4, stages = 2),
        legal = |s| fits_block(&Block::new([BQ * G, BN], D, warps, stages, [bytes::<T>(), bytes::<C>()])),
    ),
    types(T: [f32, bf16], C: [f32, bf16]),
    comptime(mask: [Mask::Causal, Mask::Window]),
)]
pub fn attention_paged<T: Float, C: Float + DotInput<Acc = f32>, BQ: Dim, BN: Dim, G: Dim, D: Dim>(
    q: View<T, 4>,
    k_pages: View<C, 4>,
    v_pages: View<C, 4>,
    page_table: View<i32, 2>,
    starts: View<i32, 1>,
    lengths: View<i32, 1>,
    o: ViewMut<T, 4>,
    scale: Scalar<f32>,
    window: Scalar<i32>,
    mask: Mask,
) {
    let (head, sequence) = (program_id(1), program_id(2));
    let (k_pages, v_pages) = (k_pages.at(1, head), v_pages.at(1, head));
    let (pages, page_size) = (page_table.at(0, sequence), k_pages.dim(1));
    device_assert(page_size % BN == 0, "the extent BN of attention_paged must divide the page size");
    let start_row = starts.get([sequence]);
    let n_rows = starts.get([sequence + 1]) - start_row;
    let q = q.at(1, head).slice(0, start_row, n_rows);
    let o = o.at(1, head).slice(0, start_row, n_rows);

    // The last queries see the most keys: they go first. A program beyond its sequence's tokens has no keys and stores nothing.
    let at = [(num_programs(0) - 1 - program_id(0)) * BQ, scalar(0), scalar(0)];
    let length = lengths.get([sequence]);
    let n_keys = (at[0] < n_rows).select(length, 0);
    let first = at[0] + (length - n_rows);
    let queries = per_head::<BQ, G>(arange::<BQ>() + first);

    let query = Query::<C, _>::new(q.load::<(BQ, G, D)>(at), scale).reshape::<(Prod<BQ, G>, D)>();
    let mut state: State<Prod<BQ, G>, D> = start();
    let [begin, full_begin, full_end, end] = bounds(first, BQ, n_keys, window, BN, mask);
    let block = |pages_of: View<C, 3>, n: Scalar<i32>| {
        // What a page holds beyond the context is stale: it is cut off, because even a hidden NaN would spread.
        let page = pages_of.at(0, pages.get([n / page_size]));
        page.slice(0, 0, n_keys - n / page_size * page_size).load::<(BN, D)>([n % page_size, scalar(0)])
    };
    let edge = |state, n: Scalar<i32>| {
        let keys = arange::<BN>() + n;
        fold(state, query, block(k_pages, n), block(v_pages, n), |scores| {
            hide(scores, queries, keys, n_keys, window, mask)
        })
    };
    if mask == Mask::Window {
        for n in range(begin, full_begin, BN) {
            state = edge(state, n);
        }
    }
    for n in range(full_begin, full_end, BN) {
        state = fold(state, query, block(k_pages, n), block(v_pages, n), |scores| scores);
    }
    for n in range(full_end, end, BN) {
        state = edge(state, n);
    }
    o.store(at, finish(state).reshape::<(BQ, G, D)>().cast::<T>());
}

/// The paged cache of one layer as attention reads it.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a, C> {
    /// `[n_pages, HKV, page_size, D]`.
    pub k: TensorRef<'a, C, 4>,
    /// `[n_pages, HKV, page_size, D]`.
    pub v: TensorRef<'a, C, 4>,
    /// `[n_sequences, max_pages]`: page of each stretch of `page_size` positions.
    pub table: TensorRef<'a, i32, 2>,
    /// `[n_sequences]`: positions of each sequence, the new tokens included.
    pub lengths: TensorRef<'a, i32, 1>,
}

impl<C: Elem> Pages<'_, C> {
    /// Checks the extents against a number of sequences, heads and a head size.
    pub(crate) fn check(
        &self,
        kernel: &'static str,
        sequences: usize,
        heads: usize,
        size: usize,
    ) -> Result<(), KernelError> {
        let [n_pages, _, page_size, _] = self.k.dims();
        let [_, max_pages] = self.table.dims();
        expect(kernel, "k_pages", self.k.dims(), [n_pages, heads, page_size, size])?;
        expect(kernel, "v_pages", self.v.dims(), [n_pages, heads, page_size, size])?;
        expect(kernel, "page_table", self.table.dims(), [sequences, max_pages])?;
        expect(kernel, "lengths", self.lengths.dims(), [sequences])
    }
}

/// Runs [`attention_paged()`]: the attention of new tokens over their sequences' pages, which already hold their keys and values.
///
/// Shapes: `q` and `o` `[T, HKV, G, D]`, the tokens of all sequences one after the other; `starts [n_sequences + 1]` has the
/// first row of each and T. `max_tokens` is the largest number of new tokens of a sequence. `BN` must divide the page size
/// ([`crate::host::divide`]); `G` and `D` must cover the problem's ([`crate::host::pin`]). `mask` is [`Mask::Causal`] or
/// [`Mask::Window`].
///
/// Element types, tolerance and cost as [`crate::attention::run`].
///
/// # Errors
/// If extents do not fit each other, `BN` does not divide the page size, or the launch fails.
#[expect(clippy::too_many_arguments, reason = "an argument per operand and choice of attention")]
pub fn run<T: Float, C: Float + DotInput<Acc = f32>>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    q: TensorRef<'_, T, 4>,
    pages: Pages<'_, C>,
    starts: TensorRef<'_, i32, 1>,
    max_tokens: usize,
    o: TensorMut<'_, T, 4>,
    scale: f32,
    window: i32,
    mask: Mask,
) -> Result<(), KernelError> {
    const NAME: &str = "attention_paged";
    let [tokens, heads, group, size] = q.dims();
    let [sequences] = pages.lengths.dims();
    pages.check(NAME, sequences, heads, size)?;
    expect(NAME, "starts", starts.dims(), [sequences + 1])?;
    expect(NAME, "o", o.dims(), [tokens, heads, group, size])?;
    heads_fit(NAME, schedule, group, size)?;
    let grid =
        [blocks(NAME, max_tokens, schedule, "BQ")?, programs(NAME, heads)?, programs(NAME, sequences)?];
    let Pages { k, v, table, lengths } = pages;
    Ok(attention_paged::launch::<T, C>(
        on, schedule, grid, q, k, v, table, starts, lengths, o, scale, window, mask,
    )?)
}
