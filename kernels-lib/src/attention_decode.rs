//! Attention of one new token per sequence over the paged cache, the keys split among programs.
//!
//! With one token there is little work per head but a long context to read, so the context is cut in `splits` equal parts:
//! each program folds one part and stores its unfinished state, and a second kernel merges the states. With one split the
//! first kernel stores the answer itself.
//!
//! ```text
//!   sequence s, key/value head h:   | split 0 | split 1 | split 2 |   keys, in whole blocks of BN
//!                                       │         │         │        (m, l, acc) each
//!                                       └── merge ┴─────────┘
//! ```
//!
//! Source: Dao et al., "Flash-Decoding for long-context inference" (2023); Kwon et al., PagedAttention (2023).

use tilewright_codegen::prelude::*;

use crate::attention::{Mask, heads_fit, hide};
use crate::attention_paged::Pages;
use crate::error::KernelError;
use crate::host::{expect, held_by, programs};
use crate::matmul::bytes;
use crate::online_softmax::{LOWEST, Query, State, finish, fold, start};

/// Whether a program finishes its attention or leaves a state to merge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// One split: the result goes to `o`.
    Whole,
    /// Several: the state goes to `partial` and `stats`.
    Split,
}

/// Whether a GPU program holds a block of keys.
///
/// Where queries and keys are of 16 bits, one warp multiplies by matrix instructions, whose 16 rows the queries of a key/value head
/// fill in part, from a ring in shared memory; a block reads each key and value once, at full width and `stages` blocks ahead. The
/// addresses of 32 copies are what a thread has registers for beside its results.
/// Else keys and values stream through the registers of several warps, and there is nothing to stage.
const fn fits_decode(
    &[block, group, size]: &[i64; 3],
    warps: i64,
    stages: i64,
    element_bytes: [i64; 2],
) -> bool {
    if warps == 1 {
        let rows = (group + 15) / 16 * 16;
        return matches!(element_bytes, [2, 2])
            && size % 16 == 0
            && rows * (size + block) <= 144 * 32
            && block * size <= 128 * 32
            && stages * 4 * block * size + 2 * group * size <= 96 << 10;
    }
    stages == 3 && block * size <= 64 * 32 * warps && group * block * size <= 256 * 32 * warps
}

/// One split of the keys; see [`run`].
#[kernel(
    space(BN: [16, 32, 64, 128, 256], G: [1, 2], D: [64, 128]),
    default(BN = 128, G = 1, D = 64),
    gpu(
        space(BN: [16, 32, 64, 128]),
        knobs(warps: [1, 2, 4, 8], stages: [2, 3, 4]),
        default(BN = 32, G = 1, D = 64, warps = 1, stages = 3),
        legal = |s| fits_decode(&[BN, G, D], warps, stages, [bytes::<T>(), bytes::<C>()]),
    ),
    types(T: [f32, bf16], C: [f32, bf16]),
    comptime(mask: [Mask::Causal, Mask::Window], part: [Part::Whole, Part::Split]),
)]
pub fn attention_decode<T: Float, C: Float + DotInput<Acc = f32>, BN: Dim, G: Dim, D: Dim>(
    q: View<T, 4>,
    k_pages: View<C, 4>,
    v_pages: View<C, 4>,
    page_table: View<i32, 2>,
    lengths: View<i32, 1>,
    o: ViewMut<T, 4>,
    partial: ViewMut<f32, 5>,
    stats: ViewMut<f32, 5>,
    scale: Scalar<f32>,
    window: Scalar<i32>,
    mask: Mask,
    part: Part,
) {
    let (split, head, sequence) = (program_id(0), program_id(1), program_id(2));
    let (k_pages, v_pages) = (k_pages.at(1, head), v_pages.at(1, head));
    let (pages, page_size) = (page_table.at(0, sequence), k_pages.dim(1));
    device_assert(page_size % BN == 0, "the extent BN of attention_decode must divide the page size");

    // The visible keys, from a block's beginning, in equal numbers of whole blocks per split.
    let length = lengths.get([sequence]);
    let oldest = match mask {
        Mask::Full | Mask::Causal => scalar(0),
        Mask::Window => (length - window).maximum(0),
    };
    let first = oldest / BN * BN;
    let share = cdiv(cdiv(length - first, BN), num_programs(0)) * BN;
    let begin = first + split * share;
    let end = (begin + share).minimum(length);
    // A block is inside when all its keys are visible; in a split only the first and the last may not be.
    let full_begin = ((begin.maximum(oldest) + (BN - 1)) / BN * BN).minimum(end);
    let full_end = (end / BN * BN).maximum(full_begin);

    let query = Query::<C, _>::new(q.at(0, sequence).at(0, head).load::<(G, D)>([0, 0]), scale);
    let here = full::<i32, (G,)>(length - 1);
    let block = |pages_of: View<C, 3>, n: Scalar<i32>| {
        let page = pages_of.at(0, pages.get([n / page_size]));
        page.slice(0, 0, length - n / page_size * page_size).load::<(BN, D)>([n % page_size, scalar(0)])
    };
    let edge = |state, n: Scalar<i32>| {
        let keys = arange::<BN>() + n;
        fold(state, query, block(k_pages, n), block(v_pages, n), |scores| {
            hide(scores, here, keys, length, window, mask)
        })
    };
    let mut state: State<G, D> = start();
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
    match part {
        Part::Whole => o.at(0, sequence).at(0, head).store([0, 0], finish(state).cast::<T>()),
        Part::Split => {
            let (m, l, acc) = state;
            partial.at(0, sequence).at(0, head).at(0, split).store([0, 0], acc);
            let stats = stats.at(0, sequence).at(0, head).at(0, split);
            stats.at(0, 0).store([0], m);
            stats.at(0, 1).store([0], l);
        }
    }
}

/// Merges the states of all splits, `BS` at a time so that as many are on their way together; see [`run`].
#[kernel(
    space(BS: [1, 4], G: [1, 2], D: [64, 128]),
    default(BS = 1, G = 1, D = 64),
    gpu(
        space(BS: [1, 2, 4, 8]),
        knobs(warps: [1, 2, 4, 8]),
        default(BS = 8, warps = 4),
        legal = |s| held_by(BS * G * D, warps) && (BS * G * D <= 32 * 32 * warps || BS == 1)
    )
)]
pub fn attention_merge<T: Float, BS: Dim, G: Dim, D: Dim>(
    partial: View<f32, 5>,
    stats: View<f32, 5>,
    o: ViewMut<T, 4>,
) {
    let (head, sequence) = (program_id(0), program_id(1));
    let (partial, stats) = (partial.at(0, sequence).at(0, head), stats.at(0, sequence).at(0, head));
    let mut m = full::<f32, (G,)>(LOWEST);
    let mut l = zeros::<f32, (G,)>();
    let mut acc = zeros::<f32, (G, D)>();
    for split in range(0, partial.dim(0), BS) {
        let m_part = stats.at(1, 0).load_or::<(BS, G)>([split, scalar(0)], LOWEST);
        let l_part = stats.at(1, 1).load::<(BS, G)>([split, scalar(0)]);
        let part = partial.load::<(BS, G, D)>([split, scalar(0), scalar(0)]);
        let m_new = m.maximum(m_part.max::<0>());
        let (old, new) = ((m - m_new).exp2(), (m_part - m_new.expand_dims::<0>()).exp2());
        l = l * old + (l_part * new).sum::<0>();
        acc = acc * old[(.., None)] + (part * new.expand_dims::<2>()).sum::<0>();
        m = m_new;
    }
    o.at(0, sequence).at(0, head).store([0, 0], finish((m, l, acc)).cast::<T>());
}

/// Memory for the states of the splits.
#[derive(Debug)]
pub struct Scratch<'a> {
    /// `[n_sequences, HKV, splits, G, D]`.
    pub partial: TensorMut<'a, f32, 5>,
    /// `[n_sequences, HKV, splits, 2, G]`.
    pub stats: TensorMut<'a, f32, 5>,
}

/// The schedules of the two kernels.
#[derive(Clone, Copy, Debug)]
pub struct Schedules<'a> {
    /// Of [`attention_decode()`].
    pub decode: &'a Schedule,
    /// Of [`attention_merge()`]; not used with one split.
    pub merge: &'a Schedule,
}

/// Runs [`attention_decode()`] and, with more than one split, [`attention_merge()`].
///
/// Shapes: `q` and `o` `[n_sequences, HKV, G, D]`: one token per sequence, the last of its context, whose key and value are in
/// their page. The extents of `scratch` say how many splits there are. `BN` must divide the page size
/// ([`crate::host::divide`]); `G` and `D` must cover the problem's ([`crate::host::pin`]). `mask` is [`Mask::Causal`] or
/// [`Mask::Window`].
///
/// Element types: `q`, `o` of `T`, pages of `C`; tolerance and the case of 16 bits as [`crate::attention::run`].
/// Cost: `4 HQ D` FLOPs per visible key; bound by the `2 HKV D` elements per key.
///
/// # Errors
/// If extents do not fit each other, `BN` does not divide the page size, or a launch fails.
#[expect(clippy::too_many_arguments, reason = "an argument per operand and choice of attention")]
pub fn run<T: Float, C: Float + DotInput<Acc = f32>>(
    on: &(impl LaunchOn + ?Sized),
    schedules: Schedules<'_>,
    q: TensorRef<'_, T, 4>,
    pages: Pages<'_, C>,
    mut scratch: Scratch<'_>,
    mut o: TensorMut<'_, T, 4>,
    scale: f32,
    window: i32,
    mask: Mask,
) -> Result<(), KernelError> {
    const NAME: &str = "attention_decode";
    let [sequences, heads, group, size] = q.dims();
    let [_, _, splits, ..] = scratch.partial.dims();
    pages.check(NAME, sequences, heads, size)?;
    expect(NAME, "o", o.dims(), [sequences, heads, group, size])?;
    expect(NAME, "partial", scratch.partial.dims(), [sequences, heads, splits, group, size])?;
    expect(NAME, "stats", scratch.stats.dims(), [sequences, heads, splits, 2, group])?;
    heads_fit(NAME, schedules.decode, group, size)?;
    let (heads, sequences) = (programs(NAME, heads)?, programs(NAME, sequences)?);
    let grid = [programs(NAME, splits)?, heads, sequences];
    let part = if splits == 1 { Part::Whole } else { Part::Split };
    let Pages { k, v, table, lengths } = pages;
    let Scratch { partial, stats } = &mut scratch;
    attention_decode::launch::<T, C>(
        on,
        schedules.decode,
        grid,
        q,
        k,
        v,
        table,
        lengths,
        o.reborrow(),
        partial.reborrow(),
        stats.reborrow(),
        scale,
        window,
        mask,
        part,
    )?;
    match part {
        Part::Whole => Ok(()),
        Part::Split => {
            heads_fit("attention_merge", schedules.merge, group, size)?;
            let grid = [heads, sequences, 1];
            Ok(attention_merge::launch::<T>(on, schedules.merge, grid, partial.as_ref(), stats.as_ref(), o)?)
        }
    }
}
