//! Rotary position embedding, and its fusion with query/key norm and the write of keys and values into the paged cache.
//!
//! A head of `D` elements is `D / 2` pairs, each turned by the angle `position * inv_freq[pair]`. Which two elements make a
//! pair is only a matter of strides, so one kernel serves both conventions: it sees a head as `[2, D / 2]`, and the host
//! passes the view that makes it so.
//!
//! ```text
//!   half (Llama, Qwen):     x0 x1 x2 x3 | y0 y1 y2 y3      view([.., 2, D/2])
//!   interleaved (GPT-J):    x0 y0 x1 y1 x2 y2 x3 y3        view([.., D/2, 2]).transposed(last two)
//! ```
//!
//! Context extension (linear, llama3, YaRN) changes `inv_freq` and a factor on cos and sin, nothing here. [`rope_table()`]
//! computes cos and sin once per forward pass for all layers.
//!
//! Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021).

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, covers, expect, held_by, programs};

/// cos and sin of every position; see [`run_table`].
#[kernel(
    space(BT: [1, 4, 16, 64], HD: [32, 64]),
    default(BT = 16, HD = 64),
    gpu(space(BT: [1, 4, 16]), knobs(warps: [1, 2, 4]), default(BT = 4, warps = 2), legal = |s| held_by(BT * HD, warps))
)]
pub fn rope_table<BT: Dim, HD: Dim>(
    positions: View<i32, 1>,
    inv_freq: View<f32, 1>,
    cos: ViewMut<f32, 2>,
    sin: ViewMut<f32, 2>,
    factor: Scalar<f32>,
) {
    let t = program_id(0) * BT;
    let position = positions.load::<(BT,)>([t]).cast::<f32>();
    let angle = position.expand_dims::<1>() * inv_freq.load::<(HD,)>([0]).expand_dims::<0>();
    cos.store([t, scalar(0)], angle.cos() * factor);
    sin.store([t, scalar(0)], angle.sin() * factor);
}

/// Both elements of every pair turned.
fn turn<S: TileShape>([a, b]: [Tile<f32, S>; 2], [cos, sin]: [Tile<f32, S>; 2]) -> [Tile<f32, S>; 2] {
    [a * cos - b * sin, b * cos + a * sin]
}

/// Turns heads in place; see [`run`].
#[kernel(
    space(BT: [1, 4, 16, 64], HD: [32, 64]),
    default(BT = 16, HD = 64),
    gpu(space(BT: [1, 4, 16]), knobs(warps: [1, 2, 4]), default(BT = 4, warps = 2), legal = |s| held_by(2 * BT * HD, warps))
)]
pub fn rope<T: Float, BT: Dim, HD: Dim>(x: ViewMut<T, 4>, cos: View<f32, 2>, sin: View<f32, 2>) {
    let t = program_id(0) * BT;
    let head = x.at(1, program_id(1));
    let pair = [0, 1].map(|part| head.load::<(BT, One, HD)>((t, part, 0)).cast::<f32>().squeeze::<1>());
    let [cos, sin] = [cos, sin].map(|table| table.load::<(BT, HD)>((t, 0)));
    for (part, turned) in turn(pair, [cos, sin]).into_iter().enumerate() {
        head.store((t, part, 0), turned.cast::<T>().expand_dims::<1>());
    }
}

/// Both halves of all heads of one token normalised and weighted.
fn normalise<W: Float, H: Dim, HD: Dim>(
    [a, b]: [Tile<f32, (H, HD)>; 2],
    w: View<W, 2>,
    eps: Scalar<f32>,
) -> [Tile<f32, (H, HD)>; 2] {
    let length = w.dim(0) * w.dim(1);
    let mean_square = (a * a + b * b).sum_keep::<1>() / length.cast::<f32>();
    let scale = (mean_square + eps).rsqrt();
    let weight = |part: i32| w.at(0, part).load::<(HD,)>([0]).cast::<f32>().expand_dims::<0>();
    [a * scale * weight(0), b * scale * weight(1)]
}

/// Optional norm and RoPE of queries and keys, keys and values into their pages; see [`run_write`].
#[kernel(
    space(HQ: [16], HKV: [8], HD: [64]),
    gpu(knobs(warps: [2, 4, 8, 16]), default(warps = 4), legal = |s| held_by((HQ + 2 * HKV) * HD, warps)),
    types(T: [f32], W: [f32, bf16], K: [f32, bf16]),
    comptime(norm: [HeadNorm::None, HeadNorm::Rms]),
)]
pub fn rope_write<T: Float, W: Float, K: Float, HQ: Dim, HKV: Dim, HD: Dim>(
    q: ViewMut<T, 4>,
    k: View<T, 4>,
    v: View<T, 4>,
    cos: View<f32, 2>,
    sin: View<f32, 2>,
    slots: View<i32, 1>,
    q_norm: View<W, 2>,
    k_norm: View<W, 2>,
    k_pages: ViewMut<K, 5>,
    v_pages: ViewMut<K, 5>,
    eps: Scalar<f32>,
    norm: HeadNorm,
) {
    let t = program_id(0);
    let row = |table: View<f32, 2>| table.at(0, t).load::<(HD,)>([0]).expand_dims::<0>();
    let turns = [row(cos), row(sin)];

    // Both parts come from one view at constant offsets, which shows that a store to one does not meet a load of the other.
    let (q, k) = (q.at(0, t), k.at(0, t));
    let mut queries = [0, 1].map(|part| q.load::<(HQ, One, HD)>([0, part, 0]).cast::<f32>().squeeze::<1>());
    let mut keys = [0, 1].map(|part| k.load::<(HKV, One, HD)>([0, part, 0]).cast::<f32>().squeeze::<1>());
    match norm {
        HeadNorm::None => {}
        HeadNorm::Rms => {
            queries = normalise(queries, q_norm, eps);
            keys = normalise(keys, k_norm, eps);
        }
    }
    let queries = turn(queries, turns.map(|t| t.broadcast::<(HQ, HD)>()));
    let keys = turn(keys, turns.map(|t| t.broadcast::<(HKV, HD)>()));

    // A negative slot selects no page or no slot of it, and a store into an empty view writes nothing.
    let (slot, page_size) = (slots.get([t]), k_pages.dim(2));
    let [k_page, v_page] = [k_pages, v_pages].map(|p| p.at(0, slot / page_size).at(1, slot % page_size));
    for (part, queries) in queries.into_iter().enumerate() {
        q.store([0, part, 0], queries.cast::<T>().expand_dims::<1>());
    }
    for (part, keys) in keys.into_iter().enumerate() {
        k_page.store([0, part, 0], keys.cast::<K>().expand_dims::<1>());
    }
    let values = v.at(0, t).load::<(HKV, C<2>, HD)>([0, 0, 0]);
    v_page.store([0, 0, 0], values.cast::<f32>().cast::<K>());
}

/// What happens to a query or key head before it is turned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeadNorm {
    /// Nothing.
    None,
    /// RMSNorm over the head, weighted (Qwen3).
    Rms,
}

/// Runs [`rope_table()`]: `cos [T, D/2]` and `sin [T, D/2]` of `positions [T] * inv_freq [D/2]`, times `factor`.
///
/// The schedule's `HD` must be `D / 2`: pin it with [`crate::host::pin`]. Tolerance: 1e-6 absolute plus the rounding of the
/// angle to f32, as in the models that this serves. Cost: `T D` evaluations.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run_table(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    positions: TensorRef<'_, i32, 1>,
    inv_freq: TensorRef<'_, f32, 1>,
    cos: TensorMut<'_, f32, 2>,
    sin: TensorMut<'_, f32, 2>,
    factor: f32,
) -> Result<(), KernelError> {
    let ([tokens], [pairs]) = (positions.dims(), inv_freq.dims());
    expect("rope_table", "cos", cos.dims(), [tokens, pairs])?;
    expect("rope_table", "sin", sin.dims(), [tokens, pairs])?;
    covers("rope_table", schedule, "HD", pairs)?;
    let grid = [blocks("rope_table", tokens, schedule, "BT")?, 1, 1];
    Ok(rope_table::launch(on, schedule, grid, positions, inv_freq, cos, sin, factor)?)
}

/// Runs [`rope()`]: turns `x [T, H, 2, D/2]` in place by `cos` and `sin [T, D/2]`; see the module for the view of each convention.
///
/// Computed in f32. Tolerance: 1e-6 of the largest element in f32. Cost: `3 T H D` FLOPs, `2 T H D` elements.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    x: TensorMut<'_, T, 4>,
    cos: TensorRef<'_, f32, 2>,
    sin: TensorRef<'_, f32, 2>,
) -> Result<(), KernelError> {
    let [tokens, heads, _, pairs] = x.dims();
    expect("rope", "x", x.dims(), [tokens, heads, 2, pairs])?;
    expect("rope", "cos", cos.dims(), [tokens, pairs])?;
    expect("rope", "sin", sin.dims(), [tokens, pairs])?;
    covers("rope", schedule, "HD", pairs)?;
    let grid = [blocks("rope", tokens, schedule, "BT")?, programs("rope", heads)?, 1];
    Ok(rope::launch::<T>(on, schedule, grid, x, cos, sin)?)
}

/// The operands of [`run_write`]. Heads are seen as `[2, D/2]`; see the module for the view of each convention.
#[derive(Debug)]
pub struct RopeWrite<'a, T, W, C> {
    /// `[T, HQ, 2, D/2]`: normalised and turned in place.
    pub q: TensorMut<'a, T, 4>,
    /// `[T, HKV, 2, D/2]`: normalised, turned and written to `k_pages`.
    pub k: TensorRef<'a, T, 4>,
    /// `[T, HKV, 2, D/2]`: written to `v_pages`.
    pub v: TensorRef<'a, T, 4>,
    /// `[T, D/2]`, from [`rope_table()`].
    pub cos: TensorRef<'a, f32, 2>,
    /// `[T, D/2]`, from [`rope_table()`].
    pub sin: TensorRef<'a, f32, 2>,
    /// `[T]`: `page * page_size + offset` of each token; a negative one is not written.
    pub slots: TensorRef<'a, i32, 1>,
    /// `[2, D/2]`: weights of the query norm; any view where there is no norm.
    pub q_norm: TensorRef<'a, W, 2>,
    /// `[2, D/2]`: weights of the key norm; any view where there is no norm.
    pub k_norm: TensorRef<'a, W, 2>,
    /// `[n_pages, HKV, page_size, 2, D/2]`.
    pub k_pages: TensorMut<'a, C, 5>,
    /// `[n_pages, HKV, page_size, 2, D/2]`.
    pub v_pages: TensorMut<'a, C, 5>,
    /// Added to the mean square.
    pub eps: f32,
    /// What happens before the turn.
    pub norm: HeadNorm,
}

/// Runs [`rope_write()`]: everything between the query, key and value projections and attention, in one pass over them.
///
/// The schedule's `HQ`, `HKV` and `HD` must be the heads and `D / 2`: pin them with [`crate::host::pin`]. Computed in f32.
/// Tolerance: 2e-6 of the largest element in f32. Cost: about `7 T (HQ + HKV) D` FLOPs; each element is read and written once.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run_write<T: Float, W: Float, C: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    args: RopeWrite<'_, T, W, C>,
) -> Result<(), KernelError> {
    const NAME: &str = "rope_write";
    let [tokens, heads, _, pairs] = args.q.dims();
    let [n_pages, kv_heads, page_size, ..] = args.k_pages.dims();
    expect(NAME, "q", args.q.dims(), [tokens, heads, 2, pairs])?;
    expect(NAME, "k", args.k.dims(), [tokens, kv_heads, 2, pairs])?;
    expect(NAME, "v", args.v.dims(), [tokens, kv_heads, 2, pairs])?;
    expect(NAME, "cos", args.cos.dims(), [tokens, pairs])?;
    expect(NAME, "sin", args.sin.dims(), [tokens, pairs])?;
    expect(NAME, "slots", args.slots.dims(), [tokens])?;
    expect(NAME, "k_pages", args.k_pages.dims(), [n_pages, kv_heads, page_size, 2, pairs])?;
    expect(NAME, "v_pages", args.v_pages.dims(), [n_pages, kv_heads, page_size, 2, pairs])?;
    match args.norm {
        HeadNorm::None => {}
        HeadNorm::Rms => {
            expect(NAME, "q_norm", args.q_norm.dims(), [2, pairs])?;
            expect(NAME, "k_norm", args.k_norm.dims(), [2, pairs])?;
        }
    }
    covers(NAME, schedule, "HQ", heads)?;
    covers(NAME, schedule, "HKV", kv_heads)?;
    covers(NAME, schedule, "HD", pairs)?;
    let grid = [programs(NAME, tokens)?, 1, 1];
    let RopeWrite { q, k, v, cos, sin, slots, q_norm, k_norm, k_pages, v_pages, eps, norm } = args;
    Ok(rope_write::launch::<T, W, C>(
        on, schedule, grid, q, k, v, cos, sin, slots, q_norm, k_norm, k_pages, v_pages, eps, norm,
    )?)
}
