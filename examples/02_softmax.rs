//! Softmax over rows: reductions and broadcasting.
//!
//! New idea: a reduction keeps its axis as `One`, which broadcasts back; rustc checks that the shapes fit.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use tilewright::prelude::*;

/// Each row of y is the softmax of that row of x; a row must fit into BN columns.
#[kernel(space(BM: [1, 4], BN: [256, 1024]), default(BM = 4, BN = 1024))]
pub fn softmax<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    let row = program_id(0) * BM;
    // Columns past the end read -inf and so count for nothing.
    let tile = x.load_or::<(BM, BN)>((row, 0), f32::NEG_INFINITY);
    let e = (tile - tile.max_keep::<1>()).exp();
    y.store((row, 0), e / e.sum_keep::<1>());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream = Device::cpu(0).stream();
    let (rows, columns) = (37, 777);
    let x: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919) % 101) as f32 / 10.0).collect();
    let x = Buffer::from_slice(&x)?;
    let mut y = Buffer::<f32>::zeros(rows * columns)?;

    let schedule = Schedule::new(&[("BM", 4), ("BN", 1024)]);
    let grid = [rows.div_ceil(4) as u32, 1, 1];
    softmax::launch(&stream, &schedule, grid, x.view([rows, columns])?, y.view_mut([rows, columns])?)?;

    for (row, values) in y.as_slice().chunks(columns).enumerate() {
        let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
        assert!((sum - 1.0).abs() < 1e-5, "row {row} sums to {sum}");
    }
    println!("{rows} rows of {columns} columns, each sums to 1");
    Ok(())
}
