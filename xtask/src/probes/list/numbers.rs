//! Arithmetic: approximations, extremes, conversions, accumulation.

use half::{bf16, f16};

use super::{ADA, AMPERE, file, probe};
use crate::corpus::math::{E4M3, E5M2};
use crate::probes::probe::{Arg, Compare, File, Probe, bytes_of};

static ARITHMETIC: File = file!("arithmetic");
static ACCUMULATE: File = file!("accumulate");

const NAN: u32 = 0x7fff_ffff;

/// Zeros, subnormals, ones, infinities, NaN with a payload, of both signs.
fn special() -> Vec<u32> {
    let sizes = [
        0,
        1,
        0x007f_ffff,
        0x0080_0000,
        0x3400_0000,
        0x3f00_0000,
        0x3f80_0000,
        0x4049_0fdb,
        0x42c8_0000,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7fc1_2345,
        0x7f80_0001,
    ];
    sizes.iter().flat_map(|&s| [s, s | 0x8000_0000]).collect()
}

/// Numbers between 2^-20 and 2^7, of both signs.
fn ordinary() -> Vec<u32> {
    (0..400u32).map(|i| (0x3580_0000 + i * 0x0004_1357) ^ (i & 1) << 31).collect()
}

/// Halfway between neighbours of bf16, f16, tf32, e4m3 and e5m2, and next to it.
fn ties() -> Vec<u32> {
    let halfway = [
        0x3f80_8000u32,
        0x3f81_8000,
        0x3f80_1000,
        0x3f80_3000,
        0x3f88_0000,
        0x3f98_0000,
        0x3f90_0000,
        0x3fb0_0000,
    ];
    halfway
        .iter()
        .flat_map(|&h| [h - 1, h, h + 1])
        .chain(
            [448.0f32, 464.0, 480.0, 57344.0, 61440.0, 65504.0, 65520.0, 1e9, 0.5, 1.5, 2.5, 3e9, -0.5]
                .map(f32::to_bits),
        )
        .chain((0..14).map(|i| (0.75 * 2f32.powi(-9 - i)).to_bits()))
        .flat_map(|h| [h, h | 0x8000_0000])
        .collect()
}

fn column(x: &[u32], of: impl Fn(f32) -> Vec<u32>) -> Vec<u8> {
    x.iter().flat_map(|&x| bytes_of(&of(f32::from_bits(x)))).collect()
}

/// Relative and absolute bounds that the manual gives for each column, ex2 to rcp.rn; sin and cos for arguments within a period.
const DOCUMENTED: &[(f64, f64)] = &[
    (2.4e-7, 2e-38),
    (2.4e-7, 2e-38),
    (1e-6, 3e-7),
    (0.0, 1e-6),
    (0.0, 1e-6),
    (4.9e-4, 1e-30),
    (4e-7, 0.0),
    (2e-7, 2e-38),
    (2e-7, 2e-38),
    (0.0, 0.0),
];

fn approximations() -> Probe {
    let x: Vec<u32> = ordinary().into_iter().filter(|x| f32::from_bits(*x).abs() < 3.0).collect();
    let args = vec![Arg::In(bytes_of(&x)), Arg::U32(x.len() as u32), Arg::Out(40 * x.len())];
    let expected = column(&x, |x| {
        let x = f64::from(x);
        let all = [
            x.exp2(),
            x.exp2(),
            x.log2(),
            x.sin(),
            x.cos(),
            x.tanh(),
            1.0 / x.sqrt(),
            1.0 / x,
            x.sqrt(),
            1.0 / x,
        ];
        all.iter().map(|&y| (y as f32).to_bits()).collect()
    });
    let one = probe(&ARITHMETIC, "approximations", "ordinary", AMPERE, 64, args);
    Probe { grid: 8, compare: Compare::Close(DOCUMENTED), expected: Some(expected), ..one }
}

fn approximations_of_extremes() -> Probe {
    let x = special();
    let args = vec![Arg::In(bytes_of(&x)), Arg::U32(x.len() as u32), Arg::Out(40 * x.len())];
    Probe {
        compare: Compare::Close(DOCUMENTED),
        ..probe(&ARITHMETIC, "approximations", "special", AMPERE, 64, args)
    }
}

/// A number, with NaN as the hardware writes it.
fn bits(x: f32) -> u32 {
    if x.is_nan() { NAN } else { x.to_bits() }
}

fn extremes() -> Probe {
    let all = special();
    let pairs: Vec<(u32, u32)> = all.iter().flat_map(|&x| all.iter().map(move |&z| (x, z))).collect();
    let (x, z): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
    let args =
        vec![Arg::In(bytes_of(&x)), Arg::In(bytes_of(&z)), Arg::U32(x.len() as u32), Arg::Out(32 * x.len())];
    let expected: Vec<u8> = x
        .iter()
        .zip(&z)
        .flat_map(|(&x, &z)| {
            let (x, z) = (f32::from_bits(x), f32::from_bits(z));
            // Zeros are ordered by their signs here.
            let less = |a: f32, b: f32| a < b || a == b && a.is_sign_negative() && b.is_sign_positive();
            let pick = |lower: bool| if less(x, z) == lower { x } else { z };
            let or_number = |picked: f32| match (x.is_nan(), z.is_nan()) {
                (false, false) => picked,
                (true, false) => z,
                (false, true) => x,
                (true, true) => f32::NAN,
            };
            let or_nan = |picked: f32| if x.is_nan() || z.is_nan() { f32::NAN } else { picked };
            let flush = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
            let all = [
                or_number(pick(true)),
                or_number(pick(false)),
                or_nan(pick(true)),
                or_nan(pick(false)),
                x + z,
                x * z,
                flush(flush(x) + flush(z)),
                x / z,
            ];
            bytes_of(&all.map(bits))
        })
        .collect();
    let grid = x.len().div_ceil(64) as u32;
    Probe { grid, expected: Some(expected), ..probe(&ARITHMETIC, "extremes", "", AMPERE, 64, args) }
}

fn conversions() -> Probe {
    let x = ties();
    let args = vec![Arg::In(bytes_of(&x)), Arg::U32(x.len() as u32), Arg::Out(24 * x.len())];
    let expected = column(&x, |x| {
        vec![
            u32::from(f16::from_f32(x).to_bits()),
            u32::from(bf16::from_f32(x).to_bits()),
            // Away from zero where the 13 bits that go are half of the last that stays.
            x.to_bits().wrapping_add(0x1000) & 0xffff_e000,
            x.round_ties_even() as i32 as u32,
            x as u32,
            x.to_bits() >> 16,
        ]
    });
    let one = probe(&ARITHMETIC, "conversions", "ties", AMPERE, 64, args);
    Probe { grid: x.len().div_ceil(64) as u32, expected: Some(expected), ..one }
}

fn narrow() -> Probe {
    let x = ties();
    let args = vec![Arg::In(bytes_of(&x)), Arg::U32(x.len() as u32), Arg::Out(8 * x.len())];
    let expected =
        column(&x, |x| [&E4M3, &E5M2].map(|format| u32::from(format.nearest(f64::from(x))) * 0x101).to_vec());
    let one = probe(&ARITHMETIC, "narrow", "ties", ADA, 64, args);
    Probe { grid: x.len().div_ceil(64) as u32, expected: Some(expected), ..one }
}

/// Rows of A fall by powers of two from a large number, B is one: which of the small ones reach the sum shows how it is made.
fn accumulation(kernel: &'static str, needs: u32, largest: i32) -> Probe {
    let is_half = kernel == "f16";
    let per = if is_half { 2 } else { 4 };
    let code = |x: f64| -> u32 {
        if is_half { u32::from(f16::from_f64(x).to_bits()) } else { u32::from(E4M3.nearest(x)) }
    };
    let width = 32 / per as u32;
    // Element (row, k) of A: 2^(largest - row) first, and then ever smaller, with the sign of the row.
    let a_at = |row: usize, k: usize| {
        let size = 2f64.powi(if k == 0 { largest } else { largest - row as i32 - (k % 4) as i32 });
        if row % 2 == 1 && k == 1 { -size } else { size }
    };
    let a: Vec<u32> = (0..128)
        .map(|i| {
            let (lane, r) = (i / 4, i % 4);
            let (row, k) = (lane / 4 + 8 * (r % 2), per * (lane % 4) + 4 * per * (r / 2));
            (0..per).fold(0, |word, e| word | code(a_at(row, k + e)) << (width * e as u32))
        })
        .collect();
    let one = (0..per).fold(0, |word, e| word | code(1.0) << (width * e as u32));
    let c: Vec<u32> = (0..128).map(|i| (2f32.powi(-(i % 24))).to_bits()).collect();
    let args =
        vec![Arg::In(bytes_of(&a)), Arg::In(bytes_of(&[one; 64])), Arg::In(bytes_of(&c)), Arg::Out(512)];
    // Rounding inside a matrix instruction is not modelled.
    Probe { compare: Compare::Shown, ..probe(&ACCUMULATE, kernel, "powers of two", needs, 32, args) }
}

pub(super) fn all() -> Vec<Probe> {
    vec![
        approximations(),
        approximations_of_extremes(),
        extremes(),
        conversions(),
        narrow(),
        accumulation("f16", AMPERE, 14),
        accumulation("e4m3", ADA, 8),
    ]
}
