//! Flash attention: the score matrix never exists, each program keeps a running maximum, sum and output.
//!
//! New ideas: several carried values, comptime branches on a host bool, and masks from `arange`.
//! The method is that of "FlashAttention" (Dao et al., 2022) with the exponentials taken to base 2.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use tilewright::prelude::*;

/// y = softmax(q k^T / sqrt(D)) v for one head per grid column; q, k, v, y are [heads, tokens, D].
#[kernel(
    space(BQ: [32, 64, 128], BK: [32, 64, 128], D: [64]),
    default(BQ = 64, BK = 64, D = 64),
    comptime(causal: [false, true])
)]
pub fn attention<BQ: Dim, BK: Dim, D: Dim>(
    q: View<f32, 3>,
    k: View<f32, 3>,
    v: View<f32, 3>,
    y: ViewMut<f32, 3>,
    scale: Scalar<f32>,
    causal: bool,
) {
    let head = program_id(1);
    let row = program_id(0) * BQ;
    let (k, v) = (k.at(0, head), v.at(0, head));
    let n_keys = k.dim(0);
    // log2(e) folded into the scale turns exp into exp2.
    let queries = q.at(0, head).load::<(BQ, D)>([row, scalar(0)]) * (scale * std::f32::consts::LOG2_E);
    let mut highest = full::<f32, (BQ, One)>(f32::NEG_INFINITY);
    let mut total = zeros::<f32, (BQ, One)>();
    let mut out = zeros::<f32, (BQ, D)>();
    let end = if causal { (row + BQ).minimum(n_keys) } else { n_keys };
    for at in range(0, end, BK) {
        let keys = k.load::<(BK, D)>([at, scalar(0)]);
        let scores = dot(queries, keys.t(), zeros());
        let column = arange::<BK>()[(None, ..)] + at;
        let in_bounds = column < n_keys;
        let visible = if causal {
            let line = arange::<BQ>()[(.., None)] + row;
            in_bounds & (column <= line)
        } else {
            in_bounds.broadcast::<(BQ, BK)>()
        };
        let scores = select(visible, scores, f32::NEG_INFINITY);
        let next = highest.maximum(scores.max_keep::<1>());
        let p = (scores - next).exp2();
        let keep = (highest - next).exp2();
        total = total * keep + p.sum_keep::<1>();
        out = dot(p, v.load::<(BK, D)>([at, scalar(0)]), out * keep);
        highest = next;
    }
    y.at(0, head).store([row, scalar(0)], out / total);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream = Device::cpu(0).stream();
    let (heads, tokens, d) = (3, 150, 64);
    let n = heads * tokens * d;
    let value = |i: usize| ((i * 7919) % 997) as f32 / 498.5 - 1.0;
    let q = Buffer::from_slice(&(0..n).map(value).collect::<Vec<_>>())?;
    let k = Buffer::from_slice(&(0..n).map(|i| value(i + 101)).collect::<Vec<_>>())?;
    let v = Buffer::from_slice(&(0..n).map(|i| value(i + 211)).collect::<Vec<_>>())?;
    let mut y = Buffer::<f32>::zeros(n)?;
    let dims = [heads, tokens, d];
    let scale = 1.0 / (d as f32).sqrt();
    let schedule = Schedule::new(&[("BQ", 64), ("BK", 64), ("D", 64)]);
    let grid = [tokens.div_ceil(64) as u32, heads as u32, 1];
    attention::launch(
        &stream,
        &schedule,
        grid,
        q.view(dims)?,
        k.view(dims)?,
        v.view(dims)?,
        y.view_mut(dims)?,
        scale,
        true,
    )?;

    let at = |b: &Buffer<f32>, head: usize, row: usize, i: usize| {
        f64::from(b.as_slice()[(head * tokens + row) * d + i])
    };
    let mut worst = 0f64;
    for head in 0..heads {
        for row in 0..tokens {
            let scores: Vec<f64> = (0..=row)
                .map(|j| {
                    (0..d).map(|i| at(&q, head, row, i) * at(&k, head, j, i)).sum::<f64>() * f64::from(scale)
                })
                .collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for i in 0..d {
                let want: f64 =
                    weights.iter().enumerate().map(|(j, w)| w * at(&v, head, j, i)).sum::<f64>() / sum;
                worst = worst.max((at(&y, head, row, i) - want).abs());
            }
        }
    }
    println!("causal attention, {heads} heads of {tokens} tokens: largest difference from f64 {worst:.1e}");
    assert!(worst < 1e-5);
    Ok(())
}
