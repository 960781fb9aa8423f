//! Atomics, and blocks that wait for each other.

use half::{bf16, f16};

use super::rig::{Arg, Numbers, Rig, Shape, close, equal, wide};
use crate::verdict::Verdict;

pub(super) fn hist(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let mut numbers = Numbers::new(21);
    let x: Vec<u32> = (0..3000).map(|_| numbers.below(1 << 20) as u32).collect();
    let (px, ph) = (rig.buffer("x", &x)?, rig.buffer("h", &[0u32; 256])?);
    let args = [Arg::Pointer(px), Arg::Pointer(ph), Arg::I32(x.len() as i32)];
    rig.launch(Shape::new([4, 1, 1], 128), &args)?;
    let mut expected = [0u32; 256];
    x.iter().for_each(|&x| expected[x as usize & 255] += 1);
    equal("h", &rig.read::<u32>(ph, 256)?, &expected)
}

/// Its threads store to one place without an order (`u[1]`, `i[8]`, `i[9]`), which the detector of races reports: then one thread
/// runs. Else what no order of the threads changes is compared.
pub(super) fn misc(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let n = if rig.looks_for_races() { 1 } else { 32 };
    let pf = rig.buffer("f", &[1.0f32])?;
    let pd = rig.buffer("d", &[2.0f64])?;
    let start = [7i32, 3, 0xff, 0x100, 5, -1, 40];
    let pi = rig.buffer("i", &[&start[..], &[0; 40]].concat())?;
    let pu = rig.buffer("u", &[0u64, 99])?;
    let ph = rig.buffer("h", &[f16::ZERO; 2])?;
    let pb = rig.buffer("b", &[bf16::ZERO; 2])?;
    rig.launch(Shape::new([1, 1, 1], n as u32), &[pf, pd, pi, pu, ph, pb].map(Arg::Pointer))?;
    let threads = || 0..n;
    let sum: i32 = threads().sum();
    equal("f", &rig.read::<f32>(pf, 1)?, &[(1 + sum).max(n - 1) as f32])?;
    equal("d", &rig.read::<f64>(pd, 1)?, &[f64::from(2 + sum)])?;
    let found = rig.read::<i32>(pi, 7)?;
    let expected = [
        start[0].max(n - 1),
        0,
        threads().fold(start[2], |x, t| x & t),
        threads().fold(start[3], |x, t| x | t),
        threads().fold(start[4], |x, t| x ^ t),
        found[5],
        start[6] + n,
    ];
    equal("i", &found, &expected)?;
    if !threads().contains(&found[5]) {
        return Err(Verdict::Wrong(format!("i[5] is {}, which no thread stored", found[5])));
    }
    equal("h", &wide(&rig.read::<f16>(ph, 2)?), &[f64::from(n), f64::from(2 * n)])?;
    equal("b", &wide(&rig.read::<bf16>(pb, 2)?), &[f64::from(n), f64::from(2 * n)])?;
    if n > 1 {
        // The first thread that finds 0 puts its number there; 0 itself leaves 0 for the next.
        let word = rig.read::<u64>(pu, 1)?[0];
        return if word < n as u64 { Ok(()) } else { Err(Verdict::Wrong(format!("u[0] is {word}"))) };
    }
    equal("u", &rig.read::<u64>(pu, 2)?, &[0, 0])?;
    // The old counter; then the count up to 7, which was 0.
    equal("i", &rig.read::<i32>(pi + 28, 3)?, &[start[6], 1, 0])
}

pub(super) fn lastblock(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    // More blocks than threads: every thread of the last block has something to add.
    let (n, blocks) = (5000, 70);
    let x: Vec<f32> = Numbers::new(22).f32s(n, 0.5, 1.5);
    let px = rig.buffer("x", &x)?;
    let (pp, po) = (rig.buffer("part", &vec![0f32; blocks])?, rig.buffer("out", &[0f32])?);
    let pc = rig.buffer("cnt", &[0u32])?;
    let pointers = [px, pp, po, pc].map(Arg::Pointer);
    let args = [&pointers[..], &[Arg::I32(n as i32)]].concat();
    rig.launch(Shape::new([blocks as u32, 1, 1], 64), &args)?;
    let expected: f64 = wide(&x).iter().sum();
    close("out", &wide(&rig.read::<f32>(po, 1)?), &[expected], 1e-6, 0.0)?;
    equal("cnt", &rig.read::<u32>(pc, 1)?, &[0])
}

pub(super) fn ticket(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let n = 20;
    let (pl, pw) = (rig.buffer("lock", &[0i32])?, rig.buffer("work", &[0i32])?);
    let po = rig.buffer("out", &vec![-1i32; n])?;
    let args = [Arg::Pointer(pl), Arg::Pointer(pw), Arg::Pointer(po), Arg::I32(n as i32)];
    rig.launch(Shape::new([3, 1, 1], 64), &args)?;
    let expected: Vec<i32> = (0..n as i32).map(|w| w * w).collect();
    equal("out", &rig.read::<i32>(po, n)?, &expected)?;
    equal("lock", &rig.read::<i32>(pl, 1)?, &[n as i32])
}
