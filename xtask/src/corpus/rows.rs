//! Additions, reductions of rows, quantised matrix-vector products.

use half::bf16;

use super::rig::{Arg, Numbers, Rig, Shape, close, equal, wide};
use crate::verdict::Verdict;

pub(super) fn vadd(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (n, mut numbers) = (1000, Numbers::new(1));
    let (a, b) = (numbers.f32s(n, -8.0, 8.0), numbers.f32s(n, -8.0, 8.0));
    let (pa, pb) = (rig.buffer("a", &a)?, rig.buffer("b", &b)?);
    let pc = rig.buffer("c", &vec![f32::NAN; n])?;
    let args = [Arg::Pointer(pa), Arg::Pointer(pb), Arg::Pointer(pc), Arg::I32(n as i32)];
    rig.launch(Shape::new([4, 1, 1], 256), &args)?;
    let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    equal("c", &rig.read::<f32>(pc, n)?, &expected)
}

pub(super) fn vadd4(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (n4, mut numbers) = (300, Numbers::new(2));
    let (a, b) = (numbers.f32s(4 * n4, -8.0, 8.0), numbers.f32s(4 * n4, -8.0, 8.0));
    let (pa, pb) = (rig.buffer("a", &a)?, rig.buffer("b", &b)?);
    let pc = rig.buffer("c", &vec![f32::NAN; 4 * n4])?;
    let args = [Arg::Pointer(pa), Arg::Pointer(pb), Arg::Pointer(pc), Arg::I32(n4 as i32)];
    // Fewer threads than elements: each takes several.
    rig.launch(Shape::new([2, 1, 1], 64), &args)?;
    let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    equal("c", &rig.read::<f32>(pc, 4 * n4)?, &expected)
}

pub(super) fn softmax(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (rows, n) = (3, 1000);
    let x = Numbers::new(3).f32s(rows * n, -6.0, 6.0);
    let (px, py) = (rig.buffer("x", &x)?, rig.buffer("y", &vec![f32::NAN; rows * n])?);
    rig.launch(
        Shape::new([rows as u32, 1, 1], 256),
        &[Arg::Pointer(px), Arg::Pointer(py), Arg::I32(n as i32)],
    )?;
    let expected: Vec<f64> = wide(&x)
        .chunks_exact(n)
        .flat_map(|row| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(move |x| x.exp() / sum).collect::<Vec<_>>()
        })
        .collect();
    close("y", &wide(&rig.read::<f32>(py, rows * n)?), &expected, 1e-5, 0.0)
}

pub(super) fn rmsnorm(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (rows, n, eps) = (3, 1304, 1e-5f32);
    let mut numbers = Numbers::new(4);
    let (x, g) = (numbers.bf16s(rows * n, -2.0, 2.0), numbers.bf16s(n, 0.5, 1.5));
    let (px, pg) = (rig.buffer("x", &x)?, rig.buffer("g", &g)?);
    let py = rig.buffer("y", &vec![bf16::NAN; rows * n])?;
    let args = [Arg::Pointer(px), Arg::Pointer(pg), Arg::Pointer(py), Arg::I32(n as i32), Arg::F32(eps)];
    rig.launch(Shape::new([rows as u32, 1, 1], 128), &args)?;
    let g = wide(&g);
    let expected: Vec<f64> = wide(&x)
        .chunks_exact(n)
        .flat_map(|row| {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / n as f64;
            let scale = 1.0 / (mean + f64::from(eps)).sqrt();
            row.iter().zip(&g).map(|(x, g)| x * scale * g).collect::<Vec<_>>()
        })
        .collect();
    // Half a unit of the last place of bf16, and a little for f32.
    close("y", &wide(&rig.read::<bf16>(py, rows * n)?), &expected, 0.003_92, 1e-6)
}

pub(super) fn gemv8(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (rows, k16, xs) = (10, 37, 0.25f32);
    let mut numbers = Numbers::new(5);
    let mut bytes = |n: usize| -> Vec<i8> { (0..n).map(|_| numbers.below(256) as u8 as i8).collect() };
    let (w, x) = (bytes(rows * k16 * 16), bytes(k16 * 16));
    let scale = Numbers::new(6).f32s(rows, 0.5, 2.0);
    let (pw, px, ps) = (rig.buffer("W", &w)?, rig.buffer("x", &x)?, rig.buffer("sc", &scale)?);
    let py = rig.buffer("y", &vec![f32::NAN; rows])?;
    let args = [
        Arg::Pointer(pw),
        Arg::Pointer(px),
        Arg::Pointer(ps),
        Arg::F32(xs),
        Arg::Pointer(py),
        Arg::I32(rows as i32),
        Arg::I32(k16 as i32),
    ];
    rig.launch(Shape::new([3, 1, 1], 128), &args)?;
    let dot = |row: &[i8]| -> i32 { row.iter().zip(&x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum() };
    let expected: Vec<f32> =
        w.chunks_exact(16 * k16).zip(&scale).map(|(row, s)| s * xs * dot(row) as f32).collect();
    equal("y", &rig.read::<f32>(py, rows)?, &expected)
}

pub(super) fn gemv4(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    // A word holds eight weights; four words share a scale.
    let (rows, k8) = (10, 104);
    let mut numbers = Numbers::new(7);
    let w: Vec<u32> = (0..rows * k8).map(|_| numbers.below(1 << 32) as u32).collect();
    let x: Vec<i8> = (0..8 * k8).map(|_| numbers.below(256) as u8 as i8).collect();
    let scale = numbers.f32s(rows * k8 / 4, 0.5, 2.0);
    let (pw, px, ps) = (rig.buffer("W", &w)?, rig.buffer("x", &x)?, rig.buffer("sc", &scale)?);
    let py = rig.buffer("y", &vec![f32::NAN; rows])?;
    let args = [
        Arg::Pointer(pw),
        Arg::Pointer(px),
        Arg::Pointer(ps),
        Arg::Pointer(py),
        Arg::I32(rows as i32),
        Arg::I32(k8 as i32),
    ];
    rig.launch(Shape::new([3, 1, 1], 128), &args)?;
    let mut expected = vec![0.0; rows];
    for (i, &word) in w.iter().enumerate() {
        let (row, column) = (i / k8, i % k8);
        let mut sum = 0;
        for byte in 0..4 {
            let (low, high) = (word >> (8 * byte) & 15, word >> (8 * byte + 4) & 15);
            sum += (low as i32 - 8) * i32::from(x[8 * column + byte]);
            sum += (high as i32 - 8) * i32::from(x[8 * column + 4 + byte]);
        }
        expected[row] += f64::from(sum) * f64::from(scale[row * (k8 / 4) + column / 4]);
    }
    close("y", &wide(&rig.read::<f32>(py, rows)?), &expected, 1e-5, 1e-2)
}
