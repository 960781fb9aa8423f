//! Matrix instructions before Hopper: a product, attention, one of each kind.

use half::{bf16, f16};
use tilewright_codegen::target::Arch;

use super::math::E4M3;
use super::rig::{Arg, Numbers, Rig, Shape, close, equal, wide};
use crate::verdict::Verdict;

/// `a b^T` in f64.
pub(super) fn product(a: &[f64], b: &[f64], [m, n, k]: [usize; 3]) -> Vec<f64> {
    let dot = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[j * k + l]).sum();
    (0..m * n).map(|at| dot(at / n, at % n)).collect()
}

pub(super) fn gemm(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let mnk @ [m, n, k] = [136, 200, 136];
    let mut numbers = Numbers::new(31);
    let (a, b) = (numbers.whole(m * k, -3, 4), numbers.whole(n * k, -3, 4));
    let (pa, pb) = (rig.buffer("A", &a)?, rig.buffer("B", &b)?);
    let pc = rig.buffer("C", &vec![f32::NAN; m * n])?;
    let pointers = [pa, pb, pc].map(Arg::Pointer);
    rig.launch(Shape::new([2, 2, 1], 256), &[&pointers[..], &mnk.map(|n| Arg::I32(n as i32))].concat())?;
    equal("C", &wide(&rig.read::<f32>(pc, m * n)?), &product(&wide(&a), &wide(&b), mnk))
}

pub(super) fn flash(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (heads, s, d, scale) = (2, 150, 64, 0.125f32);
    let mut numbers = Numbers::new(32);
    let mut tensor = || numbers.bf16s(heads * s * d, -1.0, 1.0);
    let (q, k, v) = (tensor(), tensor(), tensor());
    let (pq, pk, pv) = (rig.buffer("Q", &q)?, rig.buffer("K", &k)?, rig.buffer("V", &v)?);
    let po = rig.buffer("O", &vec![bf16::NAN; heads * s * d])?;
    let pl = rig.buffer("L", &vec![f32::NAN; heads * s])?;
    let pointers = [pq, pk, pv, po, pl].map(Arg::Pointer);
    let shape = Shape::new([s.div_ceil(64) as u32, heads as u32, 1], 128).shared(3 * 8192);
    rig.launch(shape, &[&pointers[..], &[Arg::I32(s as i32), Arg::F32(scale)]].concat())?;
    let (q, k, v) = (wide(&q), wide(&k), wide(&v));
    let (mut output, mut logs) = (Vec::new(), Vec::new());
    for head in 0..heads {
        for row in 0..s {
            let at = |t: &[f64], row: usize, i: usize| t[(head * s + row) * d + i];
            let scores: Vec<f64> = (0..=row)
                .map(|key| f64::from(scale) * (0..d).map(|i| at(&q, row, i) * at(&k, key, i)).sum::<f64>())
                .collect();
            let sum: f64 = scores.iter().map(|x| x.exp()).sum();
            logs.push(sum.ln());
            output.extend(
                (0..d).map(|i| (0..=row).map(|key| scores[key].exp() / sum * at(&v, key, i)).sum::<f64>()),
            );
        }
    }
    close("O", &wide(&rig.read::<bf16>(po, heads * s * d)?), &output, 4e-3, 4e-3)?;
    close("L", &wide(&rig.read::<f32>(pl, heads * s)?), &logs, 1e-5, 1e-5)
}

/// One warp runs one instruction of each kind on the same registers, so its inputs are words whose halves are 0 or 2: as f16, as
/// tf32, as bytes and as e4m3 they are small numbers, and exclusive or, which the kernel applies, leads to no others.
pub(super) fn mm(rig: &mut Rig<'_>, arch: Arch) -> Result<(), Verdict> {
    let mut numbers = Numbers::new(33);
    let mut word = || (numbers.below(2) as u32 * 0x4000) | (numbers.below(2) as u32 * 0x4000_0000);
    let a: Vec<u32> = (0..2048).map(|_| word()).collect();
    let b: Vec<u32> = (0..64).map(|_| word()).collect();
    let c: Vec<f32> = (0..232).map(|i| (i % 7) as f32).collect();
    let d: Vec<i32> = (0..128).map(|i| i - 50).collect();
    let (pa, pb) = (rig.buffer("A", &a)?, rig.buffer("B", &b)?);
    let (pc, pd) = (rig.buffer("C", &c)?, rig.buffer("D", &d)?);
    rig.launch(Shape::new([1, 1, 1], 32), &[pa, pb, pc, pd].map(Arg::Pointer))?;

    // Fragments by the manual's tables: row l / 4 and word l % 4 of an 8 x 8 matrix of halves for a lane.
    let half = |word: u32, i: usize| word >> (16 * i) & 0xffff;
    let transposed = |matrix: &[u32], lane: usize| {
        let element = |row: usize, column: usize| half(matrix[4 * row + column / 2], column % 2);
        let row = 2 * (lane % 4);
        element(row, lane / 4) | element(row + 1, lane / 4) << 16
    };
    let registers: Vec<[u32; 4]> = (0..32)
        .map(|l| {
            let own = [a[4 * l], a[4 * l + 1], a[4 * l + 2], a[4 * l + 3]];
            let loaded = [a[l], a[32 + l], transposed(&a[..32], l), transposed(&a[32..64], l)];
            std::array::from_fn(|i| own[i] ^ loaded[i])
        })
        .collect();
    let f16_of = |bits: u32| f64::from(f16::from_bits(bits as u16));
    let tf32_of = |bits: u32| f64::from(f32::from_bits(bits & 0xffff_e000));
    let byte = |word: u32, i: usize| (word >> (8 * i)) as u8;
    let mut expected_c = wide(&c[..128]);
    let mut expected_d: Vec<i64> = d.iter().map(|&d| i64::from(d)).collect();
    for lane in 0..32 {
        for i in 0..4 {
            // Accumulator i of a lane: row and column of 16 x 8.
            let (row, column) = (lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2);
            // The lane and register of a that hold (row, k), by elements of a register.
            let a_at = |k: usize, per: usize| {
                let half_k = k / (4 * per);
                (4 * (row % 8) + k / per % 4, row / 8 + 2 * half_k, k % per)
            };
            let b_at = |k: usize, per: usize| (4 * column + k / per % 4, k / (4 * per), k % per);
            let a_word = |k, per| {
                let (l, r, e) = a_at(k, per);
                (registers[l][r], e)
            };
            let b_word = |k, per| {
                let (l, r, e) = b_at(k, per);
                (b[2 * l + r], e)
            };
            let at = 4 * lane + i;
            for k in 0..16 {
                let ((a, x), (b, y)) = (a_word(k, 2), b_word(k, 2));
                expected_c[at] += f16_of(half(a, x)) * f16_of(half(b, y));
            }
            for k in 0..8 {
                let ((a, _), (b, _)) = (a_word(k, 1), b_word(k, 1));
                expected_c[at] += tf32_of(a) * tf32_of(b);
            }
            for k in 0..32 {
                let ((a, x), (b, y)) = (a_word(k, 4), b_word(k, 4));
                expected_d[at] += i64::from(byte(a, x) as i8) * i64::from(byte(b, y) as i8);
                if arch != Arch::Sm80 {
                    expected_c[at] += E4M3.value(byte(a, x)) * E4M3.value(byte(b, y));
                }
            }
        }
    }
    let mut shared = a.clone();
    if arch != Arch::Sm80 {
        for (lane, own) in registers.iter().enumerate() {
            (0..4).for_each(|i| shared[32 * i + lane] = own[i]);
        }
        // Two of them again, transposed: halves of a lane go to two rows.
        for (lane, own) in registers.iter().enumerate() {
            for matrix in 0..2 {
                for i in 0..2 {
                    let (row, column) = (2 * (lane % 4) + i, lane / 4);
                    let word = &mut shared[32 * matrix + 4 * row + column / 2];
                    let shift = 16 * (column % 2);
                    *word = *word & !(0xffff << shift) | half(own[matrix], i) << shift;
                }
            }
        }
    }
    let found_c = wide(&rig.read::<f32>(pc, 128)?);
    close("C", &found_c, &expected_c, 1e-6, 0.0)?;
    let expected_d: Vec<i32> =
        (0..128).map(|i| expected_d[i] as i32 ^ if i % 4 == 0 { shared[i / 4] as i32 } else { 0 }).collect();
    equal("D", &rig.read::<i32>(pd, 128)?, &expected_d)?;
    // tf32 by rounding away from zero at 13 bits.
    let tf32: Vec<u32> =
        (0..32).map(|l| ((found_c[4 * l] as f32).to_bits() + 0x1000) & 0xffff_e000).collect();
    let found: Vec<u32> = rig.read::<u32>(pc + 800, 32)?.iter().map(|w| w & 0xffff_e000).collect();
    equal("tf32", &found, &tf32)
}
