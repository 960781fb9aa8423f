//! `wgmma` on operands that the tests place in shared memory one element at a time, everything else poisoned, against
//! a triple loop over integers.

use super::*;
use crate::fp::{Mode, f32_to_bf16, f32_to_e4m3, f32_to_e5m2, f32_to_f16};
use crate::tensormap::{EncodeArgs, Source, Swizzle, TensorMap};

mod errors;

pub(super) const WINDOW: SharedWindow = SharedWindow { base: 0x400, bytes: 200 * 1024 };

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % bound
    }

    fn value(&mut self, operand: Operand) -> i32 {
        self.below(9) as i32 - if operand == Operand::U8 { 0 } else { 4 }
    }
}

fn element_bytes(operand: Operand, value: i32) -> Vec<u8> {
    let float = value as f32;
    match operand {
        Operand::F16 => f32_to_f16(float, Mode::RN).to_le_bytes().to_vec(),
        Operand::Bf16 => f32_to_bf16(float, Mode::RN).to_le_bytes().to_vec(),
        // Noise in the bits that tf32 ignores.
        Operand::Tf32 => (float.to_bits() | 0x1abc).to_le_bytes().to_vec(),
        Operand::E4m3 => vec![f32_to_e4m3(float, Mode::RN_SATFINITE)],
        Operand::E5m2 => vec![f32_to_e5m2(float, Mode::RN_SATFINITE)],
        Operand::S8 => vec![value as i8 as u8],
        Operand::U8 => vec![value as u8],
    }
}

/// The values tf32 noise leaves exact: zero would become a subnormal.
fn draw(random: &mut Random, operand: Operand, count: usize) -> Vec<i32> {
    (0..count)
        .map(|_| match random.value(operand) {
            0 if operand == Operand::Tf32 => 3,
            value => value,
        })
        .collect()
}

/// The swizzle in words, on lines of 128 bytes and chunks of 16.
fn swizzled(swizzle: Swizzle, address: usize) -> usize {
    let (line, chunk, byte) = (address / 128, address / 16 % 8, address % 16);
    let chunk = match swizzle {
        Swizzle::None => chunk,
        Swizzle::B128 => chunk ^ (line % 8),
        Swizzle::B64 => (chunk & 4) | ((chunk ^ line) & 3),
        Swizzle::B32 => (chunk & 6) | ((chunk ^ line) & 1),
    };
    line * 128 + chunk * 16 + byte
}

/// An operand in shared memory, K steps of one instruction each.
struct Placed {
    descriptors: Vec<u64>,
    /// For each step, the addresses of its bytes.
    bytes: Vec<Vec<u32>>,
}

/// Places `values[mn][k]` as a kernel would lay the tile out, `arrangement` choosing between two legal ways.
fn place(
    memory: &mut [u8],
    at: usize,
    (operand, major, swizzle): (Operand, Major, Swizzle),
    (extent, steps): (usize, usize),
    values: &[i32],
    arrangement: u64,
) -> Placed {
    let size = operand.width().bytes();
    let k_step = 32 / size;
    let k_total = k_step * steps;
    let span = swizzle.span() as usize;
    let per_chunk = 16 / size;
    // Leading and stride offset, and how far the start moves per step.
    let (leading, stride, advance) = match (major, swizzle) {
        (Major::K, Swizzle::None) if arrangement == 0 => (128 * extent / 8, 128, 2 * 128 * extent / 8),
        (Major::K, Swizzle::None) => (128, 256 * steps, 256),
        (Major::K, _) => (16, 8 * span, 32),
        (Major::Mn, Swizzle::None) if arrangement == 0 => {
            (128 * extent / per_chunk, 128, 256 * extent / per_chunk)
        }
        (Major::Mn, Swizzle::None) => (128, 256 * steps, 256),
        (Major::Mn, _) => (k_total * span + arrangement as usize * 8 * span, 8 * span, k_step * span),
    };
    let mut bytes = vec![vec![]; steps];
    for mn in 0..extent {
        for k in 0..k_total {
            let linear = at
                + match (major, swizzle) {
                    // Core matrices of eight rows by 16 bytes.
                    (Major::K, Swizzle::None) => {
                        let (core_row, core_column) = (mn / 8, k / per_chunk);
                        core_row * stride + core_column * leading + mn % 8 * 16 + k % per_chunk * size
                    }
                    (Major::K, _) => mn * span + k * size,
                    (Major::Mn, Swizzle::None) => {
                        let (core_row, core_column) = (k / 8, mn / per_chunk);
                        core_column * stride + core_row * leading + k % 8 * 16 + mn % per_chunk * size
                    }
                    (Major::Mn, _) => {
                        let column = mn * size / span;
                        column * leading + k * span + mn * size % span
                    }
                };
            let address = swizzled(swizzle, linear);
            let element = element_bytes(operand, values[mn * k_total + k]);
            memory[address - WINDOW.base as usize..][..size].copy_from_slice(&element);
            bytes[k / k_step].extend((0..size).map(|byte| (address + byte) as u32));
        }
    }
    let descriptors = (0..steps)
        .map(|step| {
            let start = (at + step * advance) as u32;
            let (leading, stride) = (leading as u32, stride as u32);
            Descriptor { start, leading, stride, base_offset: 0, swizzle }.encode()
        })
        .collect();
    Placed { descriptors, bytes }
}

fn accumulator_bits(accumulator: Accumulator, value: i32) -> u32 {
    match accumulator {
        Accumulator::F32 => (value as f32).to_bits(),
        Accumulator::F16 => u32::from(f32_to_f16(value as f32, Mode::RN)),
        Accumulator::S32 | Accumulator::S32Satfinite => value as u32,
    }
}

/// D's registers for `values[row][column]`, by the formula of the PTX manual.
fn d_registers(form: &WgmmaForm, values: &[i32]) -> Vec<Lanes> {
    let (count, halves) = (form.d_registers(), form.accumulator.per_register());
    (0..WARPS * count)
        .map(|index| {
            let (warp, register) = (index / count, index % count);
            std::array::from_fn(|lane| {
                (0..halves).fold(0, |word, half| {
                    let i = register * halves + half;
                    let row = 16 * warp + lane / 4 + 8 * (i / 2 % 2);
                    let column = 8 * (i / 4) + lane % 4 * 2 + i % 2;
                    word | accumulator_bits(form.accumulator, values[row * form.n + column]) << (16 * half)
                })
            })
        })
        .collect()
}

/// A's registers of one step for `values[row][k]`, by the formula of the PTX manual for `mma.sync` and 16 rows per warp.
fn a_registers(operand: Operand, values: impl Fn(usize, usize) -> i32) -> Vec<Vec<Lanes>> {
    let size = operand.width().bytes();
    let per = 4 / size;
    let one = |warp: usize, register: usize, lane: usize| {
        let mut word = vec![];
        for sub in 0..per {
            let row = 16 * warp + lane / 4 + if register % 2 == 1 { 8 } else { 0 };
            let k = lane % 4 * per + sub + if register >= 2 { 16 / size } else { 0 };
            word.extend(element_bytes(operand, values(row, k)));
        }
        u32::from_le_bytes(word.try_into().unwrap())
    };
    (0..WARPS)
        .map(|warp| (0..4).map(|register| std::array::from_fn(|lane| one(warp, register, lane))).collect())
        .collect()
}

/// Runs all K steps of one case and compares each with the loop.
fn run_case(random: &mut Random, form: WgmmaForm, a_swizzle: Option<Swizzle>, b_swizzle: Swizzle) {
    form.check().unwrap();
    let steps_of = |major, swizzle: Swizzle| match (major, swizzle) {
        (Major::K, Swizzle::B32 | Swizzle::B64 | Swizzle::B128) => swizzle.span() as usize / 32,
        (Major::K, Swizzle::None) | (Major::Mn, _) => 2,
    };
    let a_steps = a_swizzle.map_or(4, |swizzle| steps_of(form.a_major, swizzle));
    let steps = a_steps.min(steps_of(form.b_major, b_swizzle));
    let (n, k) = (form.n, form.k());
    let k_total = k * steps;
    let a = draw(random, form.a, 64 * k_total);
    let b = draw(random, form.b, n * k_total);

    let mut memory = vec![0xff; WINDOW.bytes as usize];
    let arrangement = random.below(2);
    let a_placed = a_swizzle.map(|swizzle| {
        place(&mut memory, 0x800, (form.a, form.a_major, swizzle), (64, steps), &a, arrangement)
    });
    let b_layout = (form.b, form.b_major, b_swizzle);
    let b_placed = place(&mut memory, 0xc000, b_layout, (n, steps), &b, 1 - arrangement);

    let sign = if form.a_sign == form.b_sign { 1 } else { -1 };
    let mut d: Vec<i32> = (0..64 * n).map(|_| random.below(41) as i32 - 20).collect();
    for step in 0..steps {
        let initial = if random.below(3) == 0 { Initial::Zero } else { Initial::Accumulate };
        let before = d_registers(&form, &d);
        let source = match &a_placed {
            Some(placed) => ASource::Shared(placed.descriptors[step]),
            None => ASource::Registers,
        };
        let wgmma = Wgmma::new(form, source, b_placed.descriptors[step], WINDOW).unwrap();
        let registers = a_registers(form.a, |row, at| a[row * k_total + step * k + at]);
        let registers: ARegisters<'_> = std::array::from_fn(|w| std::array::from_fn(|r| &registers[w][r]));
        let registers = a_swizzle.is_none().then_some(&registers);
        let got = wgmma.compute(&memory, registers, initial, |warp, register| {
            assert_eq!(initial, Initial::Accumulate);
            &before[warp * form.d_registers() + register]
        });
        for row in 0..64 {
            for column in 0..n {
                let product: i32 = (step * k..(step + 1) * k)
                    .map(|at| a[row * k_total + at] * b[column * k_total + at])
                    .sum();
                let start = if initial == Initial::Zero { 0 } else { d[row * n + column] };
                d[row * n + column] = start + sign * product;
            }
        }
        assert_eq!(got, d_registers(&form, &d), "{form:?} {a_swizzle:?} {b_swizzle:?} step {step}");

        let mut want: Vec<u32> = b_placed.bytes[step].clone();
        want.extend(a_placed.iter().flat_map(|placed| &placed.bytes[step]));
        want.sort_unstable();
        let reads = wgmma.reads();
        assert!(reads.windows(2).all(|pair| pair[0].end < pair[1].start), "merged and ascending");
        assert_eq!(reads.into_iter().flatten().collect::<Vec<_>>(), want);
    }
}

const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];

#[test]
fn every_layout_of_sixteen_bit_operands() {
    let mut random = Random(3);
    for (operand, accumulator) in [
        (Operand::Bf16, Accumulator::F32),
        (Operand::F16, Accumulator::F32),
        (Operand::F16, Accumulator::F16),
    ] {
        for a_major in [Major::K, Major::Mn] {
            for b_major in [Major::K, Major::Mn] {
                for a_swizzle in SWIZZLES {
                    for b_swizzle in SWIZZLES {
                        let n = 8 * (1 + random.below(32) as usize);
                        let sign = [Sign::Plus, Sign::Minus][random.below(2) as usize];
                        let form = WgmmaForm {
                            a_major,
                            b_major,
                            b_sign: sign,
                            ..WgmmaForm::k_major(operand, operand, accumulator, n)
                        };
                        run_case(&mut random, form, Some(a_swizzle), b_swizzle);
                    }
                }
            }
        }
    }
}

#[test]
fn every_type_with_a_in_shared_memory_and_in_registers() {
    use Operand::{Bf16, E4m3, E5m2, F16, S8, Tf32, U8};
    let mut random = Random(4);
    for a in [F16, Bf16, Tf32, E4m3, E5m2, S8, U8] {
        for b in [F16, Bf16, Tf32, E4m3, E5m2, S8, U8] {
            for accumulator in
                [Accumulator::F32, Accumulator::F16, Accumulator::S32, Accumulator::S32Satfinite]
            {
                if !accumulator.accepts(a, b) {
                    continue;
                }
                for b_swizzle in SWIZZLES {
                    let n = 16 * (1 + random.below(16) as usize);
                    let a_sign = if a.is_integer() { Sign::Plus } else { Sign::Minus };
                    let form = WgmmaForm { a_sign, ..WgmmaForm::k_major(a, b, accumulator, n) };
                    run_case(&mut random, form, None, b_swizzle);
                    let a_swizzle = SWIZZLES[random.below(4) as usize];
                    run_case(&mut random, form, Some(a_swizzle), b_swizzle);
                }
            }
        }
    }
}

#[test]
fn every_column_count() {
    let mut random = Random(5);
    for n in (8..=256).step_by(8) {
        let form = WgmmaForm::k_major(Operand::Bf16, Operand::Bf16, Accumulator::F32, n);
        run_case(&mut random, form, Some(Swizzle::B128), Swizzle::B128);
        run_case(&mut random, WgmmaForm { b_major: Major::Mn, ..form }, None, Swizzle::B128);
        let form = WgmmaForm::k_major(Operand::S8, Operand::U8, Accumulator::S32, n);
        assert_eq!(form.check().is_ok(), n <= 24 || n % 16 == 0, "integer N {n}");
    }
}

/// The way data really arrive: boxes of a tensor copy, K-major and MN-major, then the product.
#[test]
fn tensor_copies_and_descriptors_agree() {
    let (rows, columns, k) = (64_usize, 64_usize, 64_usize);
    let mut random = Random(6);
    let a: Vec<i32> = draw(&mut random, Operand::Bf16, rows * k);
    let b: Vec<i32> = draw(&mut random, Operand::Bf16, k * columns);
    let mut memory = vec![0xff; WINDOW.bytes as usize];
    let mut copy = |values: &[i32], shared: u64| {
        let global: Vec<u8> = values.iter().flat_map(|&value| element_bytes(Operand::Bf16, value)).collect();
        let map = TensorMap::encode(&EncodeArgs {
            map_address: 0,
            data_type: 9,
            rank: 2,
            global_address: 0,
            global_dim: &[64, 64],
            global_strides: &[128],
            box_dim: &[64, 64],
            element_strides: &[1, 1],
            interleave: 0,
            swizzle: 3,
            l2_promotion: 0,
            oob_fill: 0,
        })
        .unwrap();
        map.load_runs(&[0, 0], shared, |run| {
            let Source::Offset(offset) = run.global else { panic!("the box is inside") };
            let to = (run.shared - u64::from(WINDOW.base)) as usize;
            memory[to..to + run.bytes as usize]
                .copy_from_slice(&global[offset as usize..(offset + run.bytes) as usize]);
        })
        .unwrap();
    };
    // A is [row][k]; B is [k][column], hence MN-major.
    copy(&a, 0x2000);
    copy(&b, 0x6000);
    let form = WgmmaForm {
        b_major: Major::Mn,
        ..WgmmaForm::k_major(Operand::Bf16, Operand::Bf16, Accumulator::F32, columns)
    };
    let mut d = d_registers(&form, &vec![0; rows * columns]);
    let descriptor = |start| {
        Descriptor { start, leading: 16, stride: 1024, base_offset: 0, swizzle: Swizzle::B128 }.encode()
    };
    for step in 0..4 {
        let source = ASource::Shared(descriptor(0x2000 + 32 * step));
        let wgmma = Wgmma::new(form, source, descriptor(0x6000 + 2048 * step), WINDOW).unwrap();
        d = wgmma.compute(&memory, None, Initial::Accumulate, |warp, register| &d[warp * 32 + register]);
    }
    let want: Vec<i32> = (0..rows * columns)
        .map(|i| (0..k).map(|at| a[i / columns * k + at] * b[at * columns + i % columns]).sum())
        .collect();
    assert_eq!(d, d_registers(&form, &want));
}
