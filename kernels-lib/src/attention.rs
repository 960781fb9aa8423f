//! Attention of a prompt over contiguous keys and values, without ever storing a score.
//!
//! A program owns `BQ` query tokens of all `G` query heads that share one key/value head: a tile `[BQ, G, D]` taken as
//! `[BQ*G, D]`, so that each block of keys is read once for the group. It walks over blocks of `BN` keys; blocks that no row
//! may see are outside the loop's bounds, and only blocks on an edge of what is visible are masked.
//!
//! ```text
//!            keys ───▶
//!   queries  ██▒·······   █ inside: every row sees every key, no mask
//!      │     ███▒······   ▒ edge: masked
//!      ▼     ·███▒·····   · outside: not visited (with a window, on both sides)
//! ```
//!
//! Source: Dao, "FlashAttention-2" (2023); Ainslie et al., "GQA" (2023); Beltagy et al., "Longformer" (2020) for the window.

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{blocks, covers, expect, programs};
use crate::matmul::bytes;
use crate::online_softmax::{Query, State, finish, fold, start};

/// Which keys a query may see. Positions count from the first key; query i of S sits at `i + S_k - S`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mask {
    /// All.
    Full,
    /// Its own position and those before it.
    Causal,
    /// The last `window` of those, its own included.
    Window,
}

/// The bounds of the four kinds of key blocks for queries `first..first + n` of a context of `keys`.
///
/// In ascending order: nothing is visible before `[0]`, masked up to `[1]`, unmasked up to `[2]`, masked up to `[3]`.
#[track_caller]
pub(crate) fn bounds(
    first: Scalar<i32>,
    n: i32,
    keys: Scalar<i32>,
    window: Scalar<i32>,
    block: i32,
    mask: Mask,
) -> [Scalar<i32>; 4] {
    let down = |x: Scalar<i32>| x / block * block;
    let (end, full_end) = match mask {
        Mask::Full => (keys, down(keys)),
        Mask::Causal | Mask::Window => ((first + n).minimum(keys), down((first + 1).minimum(keys))),
    };
    let (begin, full_begin) = match mask {
        Mask::Full | Mask::Causal => (scalar(0), scalar(0)),
        Mask::Window => {
            let oldest = |query: Scalar<i32>| (query - window + 1).maximum(0);
            (down(oldest(first)), down(oldest(first + (n - 1)) + (block - 1)))
        }
    };
    let full_begin = full_begin.minimum(end);
    [begin, full_begin, full_end.maximum(full_begin), end]
}

/// Scores of the keys at `keys` that the queries at `queries` may not see become minus infinity.
#[device_fn]
pub(crate) fn hide<R: Dim, N: Dim>(
    scores: Tile<f32, (R, N)>,
    queries: Tile<i32, (R,)>,
    keys: Tile<i32, (N,)>,
    n_keys: Scalar<i32>,
    window: Scalar<i32>,
    mask: Mask,
) -> Tile<f32, (R, N)> {
    let (query, key) = (queries[(.., None)], keys[(None, ..)]);
    let visible: Tile<bool, (R, N)> = match mask {
        Mask::Full => (key < n_keys).broadcast(),
        Mask::Causal => key <= query && key < n_keys,
        Mask::Window => key <= query && key < n_keys && key > query - window,
    };
    select(visible, scores, f32::NEG_INFINITY)
}

/// What a rule knows of a GPU configuration of attention.
pub(crate) struct Block {
    /// Rows of queries, those of all heads of a group.
    pub(crate) rows: i64,
    /// Keys of a block.
    pub(crate) keys: i64,
    /// Elements of a head.
    pub(crate) size: i64,
    /// Warps of a program.
    pub(crate) warps: i64,
    /// Blocks of keys and values in flight.
    pub(crate) stages: i64,
    /// Bytes of an element of queries, and of keys.
    pub(crate) bytes: [i64; 2],
}

impl Block {
    /// A configuration by its extents, rows and keys first.
    pub(crate) const fn new(
        [rows, keys]: [i64; 2],
        size: i64,
        warps: i64,
        stages: i64,
        bytes: [i64; 2],
    ) -> Self {
        Self { rows, keys, size, warps, stages, bytes }
    }
}

/// Whether a block fits a GPU: 16 rows to a warp, scores and results in at most 160 registers of a thread, and keys, values and,
/// where products take operands of f32, queries and weights in shared memory. Operands of 16 bits are for the largest GPUs: there
/// queries lie in shared memory too, and weights take half the registers of scores, 200 with them; without a pipeline the copies
/// pass through registers of their own.
pub(crate) const fn fits_block(b: &Block) -> bool {
    let Block { rows, keys, size, warps, stages, bytes: [query_bytes, key_bytes] } = *b;
    let is_narrow = query_bytes == 2 && key_bytes == 2;
    let through_shared = if is_narrow { 2 * rows * size } else { 4 * rows * (size + keys) };
    let most_bytes = if is_narrow { 224 << 10 } else { 96 << 10 };
    let registers = if is_narrow { rows * (size + keys + keys / 2) } else { rows * (size + keys) };
    let most_registers = if is_narrow && stages >= 2 { 200 } else { 160 };
    rows <= 16 * warps
        && rows > 8 * warps
        && (is_narrow || keys & (keys - 1) == 0)
        && (!is_narrow || size < 256 || stages >= 2)
        && registers <= most_registers * 32 * warps
        && stages * 2 * keys * size * key_bytes + through_shared <= most_bytes
}

/// Whether the knobs of products by warpgroups say something: `overlap` where whole warpgroups multiply 16-bit operands from at
/// least two stages, `pingpong` where two of them do, overlapped. Elsewhere they have one value each. Blocks of keys that are no
/// power of two are there to fill shared memory in two stages: other points near them are left out.
pub(crate) const fn fits_order(b: &Block, overlap: i64, pingpong: i64) -> bool {
    let by_warpgroups = matches!(b.bytes, [2, 2]) && b.rows == 16 * b.warps && b.stages >= 2;
    let is_odd = b.keys & (b.keys - 1) != 0;
    (overlap == 1 || by_warpgroups && !is_odd)
        && (pingpong == 0 || by_warpgroups && b.warps == 8 && overlap == 1)
        && (!is_odd || by_warpgroups && b.stages == 2)
}

/// `[BQ]` positions repeated for each of `G` heads, as rows of the query tile.
#[track_caller]
pub(crate) fn per_head<BQ: Dim, G: Dim>(positions: Tile<i32, (BQ,)>) -> Tile<i32, (Prod<BQ, G>,)> {
    positions.expand_dims::<1>().broadcast::<(BQ, G)>().reshape()
}

/// Softmax attention; see [`run`].
#[kernel(
    space(BQ: [8, 16, 32, 64, 128, 256], BN: [32, 64, 128, 256], G: [1, 2], D: [64, 80]),
    default(BQ = 128, BN = 128, G = 1, D = 64),
    legal = |s| BQ * G <= 1024 && 4 * (BQ * G * (2 * D + BN) + 2 * BN * D) <= 2 << 20,
    gpu(
        space(BQ: [2, 4, 8, 16, 32, 64, 128], BN: [32, 64, 80, 96, 112, 128, 144, 176, 192]),
        knobs(warps: [4, 8], stages: [1, 2, 3], overlap: [0, 1], pingpong: [0, 1]),
        default(BQ = 64, BN = 64, G = 1, D = 64, warps = 4, stages = 2, overlap = 1, pingpong = 0),
        legal = |s| {
            let block = Block::new([BQ * G, BN], D, warps, stages, [bytes::<T>(), bytes::<C>()]);
            fits_block(&block) && fits_order(&block, overlap, pingpong)
        },
    ),
    types(T: [f32, bf16], C: [f32, bf16]),
    comptime(mask: [Mask::Full, Mask::Window]),
)]
pub fn attention<T: Float, C: Float + DotInput<Acc = f32>, BQ: Dim, BN: Dim, G: Dim, D: Dim>(
    q: View<T, 4>,
    k: View<C, 3>,
    v: View<C, 3>,
    o: ViewMut<T, 4>,
    scale: Scalar<f32>,
    window: Scalar<i32>,
    mask: Mask,
) {
    let head = program_id(1);
    let (q, k, v, o) = (q.at(1, head), k.at(1, head), v.at(1, head), o.at(1, head));
    // The last queries see the most keys: they go first, so that no thread is left with them at the end.
    let at = [(num_programs(0) - 1 - program_id(0)) * BQ, scalar(0), scalar(0)];
    let n_keys = k.dim(0);
    let first = at[0] + (n_keys - q.dim(0));
    let queries = per_head::<BQ, G>(arange::<BQ>() + first);

    let query = Query::<C, _>::new(q.load::<(BQ, G, D)>(at), scale).reshape::<(Prod<BQ, G>, D)>();
    let mut state: State<Prod<BQ, G>, D> = start();
    let [begin, full_begin, full_end, end] = bounds(first, BQ, n_keys, window, BN, mask);
    let edge = |state, n: Scalar<i32>| {
        let keys = arange::<BN>() + n;
        let (k, v) = (k.load::<(BN, D)>([n, scalar(0)]), v.load::<(BN, D)>([n, scalar(0)]));
        fold(state, query, k, v, |scores| hide(scores, queries, keys, n_keys, window, mask))
    };
    if mask == Mask::Window {
        for n in range(begin, full_begin, BN) {
            state = edge(state, n);
        }
    }
    for n in range(full_begin, full_end, BN) {
        let (k, v) = (k.load::<(BN, D)>([n, scalar(0)]), v.load::<(BN, D)>([n, scalar(0)]));
        state = fold(state, query, k, v, |scores| scores);
    }
    for n in range(full_end, end, BN) {
        state = edge(state, n);
    }
    o.store(at, finish(state).reshape::<(BQ, G, D)>().cast::<T>());
}

/// Runs [`attention()`]: `o = softmax(scale q k^T + mask) v`, head by head.
///
/// Shapes: `q` and `o` `[S, HKV, G, D]` (a view of `[S, HQ, D]`: query head `h` reads key/value head `h / G`), `k` and `v`
/// `[S_k, HKV, D]`, any strides. Query i sits at position `i + S_k - S`. `window` counts only under [`Mask::Window`]. The
/// schedule's `G` and `D` must be the problem's: pin them with [`crate::host::pin`].
///
/// Element types: `q`, `o` of `T`, `k`, `v` of `C`; computed in f32. Tolerance: 2e-6 of the largest result in f32. Where both are
/// f16 or both bf16, products take operands of that type and the weights of values are rounded to it: an ulp of it is the
/// tolerance. `scale` is positive.
/// Cost: `4 HQ D` FLOPs per visible pair of query and key; each program reads its keys and values once.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
#[expect(clippy::too_many_arguments, reason = "an argument per operand and choice of attention")]
pub fn run<T: Float, C: Float + DotInput<Acc = f32>>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    q: TensorRef<'_, T, 4>,
    k: TensorRef<'_, C, 3>,
    v: TensorRef<'_, C, 3>,
    o: TensorMut<'_, T, 4>,
    scale: f32,
    window: i32,
    mask: Mask,
) -> Result<(), KernelError> {
    let [tokens, heads, group, size] = q.dims();
    let [keys, ..] = k.dims();
    expect("attention", "k", k.dims(), [keys, heads, size])?;
    expect("attention", "v", v.dims(), [keys, heads, size])?;
    expect("attention", "o", o.dims(), [tokens, heads, group, size])?;
    heads_fit("attention", schedule, group, size)?;
    let grid = [blocks("attention", tokens, schedule, "BQ")?, programs("attention", heads)?, 1];
    Ok(attention::launch::<T, C>(on, schedule, grid, q, k, v, o, scale, window, mask)?)
}

/// Refuses a schedule made for a smaller head group or head size.
pub(crate) fn heads_fit(
    kernel: &'static str,
    schedule: &Schedule,
    group: usize,
    size: usize,
) -> Result<(), KernelError> {
    covers(kernel, schedule, "G", group)?;
    covers(kernel, schedule, "D", size)
}
