//! A matrix product with an epilogue given as a closure.
//!
//! New ideas: a run-time loop whose accumulator is carried, `dot`, and helpers that are plain Rust generics.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use tilewright::prelude::*;

/// The body that every variant shares; the epilogue is traced into the kernel, it costs no pass over memory.
#[device_fn]
fn product<BM: Dim, BN: Dim, BK: Dim>(
    x: View<f32, 2>,
    w: View<f32, 2>,
    y: ViewMut<f32, 2>,
    epilogue: impl Fn(Tile<f32, (BM, BN)>) -> Tile<f32, (BM, BN)>,
) {
    let (tile_m, tile_n) = grouped_2d(program_id(0), cdiv(y.dim(0), BM), cdiv(y.dim(1), BN), 4);
    let (m, n) = (tile_m * BM, tile_n * BN);
    let mut acc = zeros::<f32, (BM, BN)>();
    for k in range(0, x.dim(1), BK) {
        // Write w.load::<(BN, BK)> here, and rustc says which dimension is wrong.
        acc = dot(x.load::<(BM, BK)>([m, k]), w.load::<(BK, BN)>([k, n]), acc);
    }
    y.store([m, n], epilogue(acc));
}

/// y = relu(x w + bias) with x [M, K], w [K, N], bias [N].
#[kernel(
    space(BM: [64, 128, 256], BN: [64, 128, 256], BK: [64, 128]),
    default(BM = 128, BN = 128, BK = 128)
)]
pub fn linear_relu<BM: Dim, BN: Dim, BK: Dim>(
    x: View<f32, 2>,
    w: View<f32, 2>,
    bias: View<f32, 1>,
    y: ViewMut<f32, 2>,
) {
    let n = grouped_2d(program_id(0), cdiv(y.dim(0), BM), cdiv(y.dim(1), BN), 4).1 * BN;
    let bias = bias.load::<(BN,)>([n]);
    product::<BM, BN, BK>(x, w, y, |acc| (acc + bias[(None, ..)]).maximum(0.0));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream = Device::cpu(0).stream();
    let (m, n, k) = (301, 257, 129);
    let value = |i: usize| ((i * 7919) % 97) as f32 / 97.0 - 0.5;
    let x: Vec<f32> = (0..m * k).map(value).collect();
    let w: Vec<f32> = (0..k * n).map(|i| value(i + 13)).collect();
    let bias: Vec<f32> = (0..n).map(|i| value(i + 29)).collect();
    let mut y = Buffer::<f32>::zeros(m * n)?;

    let schedule = linear_relu::kernel().default;
    let grid = [(m.div_ceil(128) * n.div_ceil(128)) as u32, 1, 1];
    linear_relu::launch(
        &stream,
        &schedule,
        grid,
        TensorRef::from_slice(&x, [m, k])?,
        TensorRef::from_slice(&w, [k, n])?,
        TensorRef::from_slice(&bias, [n])?,
        y.view_mut([m, n])?,
    )?;

    let mut worst = 0f64;
    for (i, &got) in y.as_slice().iter().enumerate() {
        let (row, column) = (i / n, i % n);
        let sum: f64 = (0..k).map(|j| f64::from(x[row * k + j]) * f64::from(w[j * n + column])).sum();
        worst = worst.max((f64::from(got) - (sum + f64::from(bias[column])).max(0.0)).abs());
    }
    println!("{m} x {n} x {k}: largest difference from f64 {worst:.1e}");
    assert!(worst < 1e-5);
    Ok(())
}
