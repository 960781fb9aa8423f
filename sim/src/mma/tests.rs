//! `mma.sync` against a triple loop over matrices that the tests lay out themselves.

use super::dense::{accumulate_f64_portable, accumulate_i32_portable};
use super::*;
use crate::fp::{f32_to_bf16, f32_to_e4m3, f32_to_e5m2, f32_to_f16};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}

fn to_bits(operand: Operand, value: f32) -> u32 {
    match operand {
        Operand::F16 => u32::from(f32_to_f16(value, Mode::RN)),
        Operand::Bf16 => u32::from(f32_to_bf16(value, Mode::RN)),
        Operand::Tf32 => value.to_bits(),
        Operand::E4m3 => u32::from(f32_to_e4m3(value, Mode::RN_SATFINITE)),
        Operand::E5m2 => u32::from(f32_to_e5m2(value, Mode::RN_SATFINITE)),
        Operand::S8 => u32::from(value as i8 as u8),
        Operand::U8 => u32::from(value as u8),
    }
}

/// Registers whose element `i` of lane `l` is `bits(l, i)`, elements counted from the least significant bits.
fn pack(registers: usize, per_register: usize, bits: impl Fn(usize, usize) -> u32) -> Vec<Lanes> {
    let width = 32 / per_register;
    (0..registers)
        .map(|r| {
            std::array::from_fn(|lane| {
                (0..per_register)
                    .fold(0, |word, sub| word | bits(lane, r * per_register + sub) << (width * sub))
            })
        })
        .collect()
}

/// (row, k) of A's element `i` and (k, column) of B's, by the formulas the PTX manual prints for each shape.
fn manual(operand: Operand, k: usize, lane: usize, i: usize) -> ((usize, usize), (usize, usize)) {
    let (g, t) = (lane / 4, lane % 4);
    match (operand.width(), k) {
        (Width::Bits16, 16) => {
            let row = if i < 2 || (4..6).contains(&i) { g } else { g + 8 };
            (
                (row, t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 }),
                (t * 2 + (i & 1) + if i >= 2 { 8 } else { 0 }, g),
            )
        }
        (Width::Bits16, _) => ((if i < 2 { g } else { g + 8 }, t * 2 + (i & 1)), (t * 2 + i, g)),
        (Width::Bits32, 8) => {
            let row = if i == 0 || i == 2 { g } else { g + 8 };
            ((row, if i < 2 { t } else { t + 4 }), (if i == 0 { t } else { t + 4 }, g))
        }
        (Width::Bits32, _) => ((if i == 0 { g } else { g + 8 }, t), (t, g)),
        (Width::Bits8, 32) => {
            let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
            (
                (row, t * 4 + (i & 3) + if i >= 8 { 16 } else { 0 }),
                (t * 4 + (i & 3) + if i >= 4 { 16 } else { 0 }, g),
            )
        }
        (Width::Bits8, _) => ((if i < 4 { g } else { g + 8 }, t * 4 + (i & 3)), (t * 4 + (i & 3), g)),
    }
}

fn forms() -> Vec<MmaForm> {
    use Operand::{Bf16, E4m3, E5m2, F16, S8, Tf32, U8};
    let all = [F16, Bf16, Tf32, E4m3, E5m2, S8, U8];
    let accumulators = [Accumulator::F32, Accumulator::F16, Accumulator::S32, Accumulator::S32Satfinite];
    let mut forms = vec![];
    for a in all {
        for b in all {
            for accumulator in accumulators {
                forms.extend((1..=64).filter_map(|k| MmaForm::new(a, b, accumulator, k).ok()));
            }
        }
    }
    forms
}

#[test]
fn the_forms_are_those_of_the_manual() {
    // f16: 2 accumulators x 2 shapes; bf16, tf32: 2 shapes; fp8: 4 mixes x 2 x 2; int8: 4 mixes x 2 (satfinite) x 2.
    assert_eq!(forms().len(), 4 + 2 + 2 + 16 + 16);
    let error = MmaForm::new(Operand::Bf16, Operand::Bf16, Accumulator::F16, 16).unwrap_err();
    assert!(error.to_string().contains("A of bf16, B of bf16 and an accumulator of f16"), "{error}");
    let error = MmaForm::new(Operand::Tf32, Operand::Tf32, Accumulator::F32, 16).unwrap_err();
    assert!(
        error.to_string().contains("m16n8k16 does not exist for tf32; its shapes are m16n8k4 and m16n8k8")
    );
}

#[test]
fn integer_valued_products_are_exact_bit_for_bit() {
    let mut random = Random(7);
    for form in forms() {
        let (k, a_type, b_type) = (form.k, form.a, form.b);
        let mut draw = |operand: Operand| {
            let low = if operand == Operand::U8 { 0 } else { -4 };
            (random.next() % 9) as i32 + low
        };
        let a: Vec<i32> = (0..16 * k).map(|_| draw(a_type)).collect();
        let b: Vec<i32> = (0..k * 8).map(|_| draw(b_type)).collect();
        let c: Vec<i32> = (0..16 * 8).map(|_| draw(Operand::S8) * 5).collect();

        let element = |lane, i| manual(a_type, k, lane, i).0;
        let a_registers = pack(form.a_registers(), a_type.width().per_register(), |lane, i| {
            let (row, column) = element(lane, i);
            to_bits(a_type, a[row * k + column] as f32)
        });
        let b_registers = pack(form.b_registers(), b_type.width().per_register(), |lane, i| {
            let (row, column) = manual(b_type, k, lane, i).1;
            to_bits(b_type, b[row * 8 + column] as f32)
        });
        let place = |lane: usize, i: usize| (lane / 4 + if i < 2 { 0 } else { 8 }, lane % 4 * 2 + (i & 1));
        let accumulator = |value: i32| match form.accumulator {
            Accumulator::F32 => (value as f32).to_bits(),
            Accumulator::F16 => to_bits(Operand::F16, value as f32),
            Accumulator::S32 | Accumulator::S32Satfinite => value as u32,
        };
        let pack_c = |values: &[i32]| {
            pack(form.c_registers(), form.accumulator.per_register(), |lane, i| {
                let (row, column) = place(lane, i);
                accumulator(values[row * 8 + column])
            })
        };
        let mut want = c.clone();
        for row in 0..16 {
            for column in 0..8 {
                want[row * 8 + column] += (0..k).map(|i| a[row * k + i] * b[i * 8 + column]).sum::<i32>();
            }
        }
        let c_registers = pack_c(&c);
        let d = mma(
            &form,
            &a_registers.iter().collect::<Vec<_>>(),
            &b_registers.iter().collect::<Vec<_>>(),
            &c_registers.iter().collect::<Vec<_>>(),
        );
        assert_eq!(&d[..form.c_registers()], &pack_c(&want)[..], "{form:?}");
        assert!(d[form.c_registers()..].iter().flatten().all(|&word| word == 0));
    }
}

fn splat(word: u32) -> Lanes {
    [word; LANES]
}

#[test]
fn a_total_is_rounded_once() {
    let form = MmaForm::new(Operand::Bf16, Operand::Bf16, Accumulator::F32, 8).unwrap();
    // Eight products of 2^-25 onto 1: f32 steps would lose each, the total 2^-22 must survive.
    let (a, b, one) = (splat(0x3300_3300), splat(0x3f80_3f80), splat(1.0_f32.to_bits()));
    let d = mma(&form, &[&a, &a], &[&b], &[&one; 4]);
    assert_eq!(d[0][0], (1.0_f32 + 8.0 * 2.0_f32.powi(-25)).to_bits());
    assert!(f32::from_bits(d[0][0]) > 1.0);
    // Products beyond f32's range cancel along k where f32 steps would give infinity minus infinity.
    let (huge, four, zero) = (splat(0xff00_7f00), splat(0x4080_4080), splat(0));
    assert_eq!(mma(&form, &[&huge, &huge], &[&four], &[&zero; 4])[0][5], 0);
    // Infinity against infinity is the canonical NaN.
    let infinite = splat(0xff80_7f80);
    assert_eq!(mma(&form, &[&infinite, &infinite], &[&four], &[&one; 4])[3][31], NAN_F32);
}

#[test]
fn tf32_ignores_the_low_bits_of_its_operands() {
    let form = MmaForm::new(Operand::Tf32, Operand::Tf32, Accumulator::F32, 4).unwrap();
    let (exact, noisy) = (splat(0x3fa0_2000), splat(0x3fa0_3fff));
    let zero = splat(0);
    assert_eq!(
        mma(&form, &[&noisy, &noisy], &[&noisy], &[&zero; 4]),
        mma(&form, &[&exact, &exact], &[&exact], &[&zero; 4])
    );
}

#[test]
fn s32_overflow_wraps_or_clamps() {
    let (hundred, top) = (splat(0x6464_6464), splat(i32::MAX as u32 - 5));
    for (accumulator, want) in
        [(Accumulator::S32, (i32::MAX - 5).wrapping_add(16 * 10_000)), (Accumulator::S32Satfinite, i32::MAX)]
    {
        let form = MmaForm::new(Operand::S8, Operand::U8, accumulator, 16).unwrap();
        assert_eq!(mma(&form, &[&hundred, &hundred], &[&hundred], &[&top; 4])[2][9], want as u32);
    }
}

#[test]
fn vector_and_portable_loops_give_the_same_bits() {
    let mut random = Random(11);
    for k in [4, 8, 16, 32] {
        // f16-valued operands over all exponents: products are exact, sums are not.
        let mut draw = |count: usize| -> Vec<f64> {
            (0..count).map(|_| Operand::F16.value(random.next() as u32 & 0xfbff & 0xffff)).collect()
        };
        let (a, b, start) = (draw(16 * k), draw(k * 8), draw(TILE));
        let mut vector: [_; TILE] = start.try_into().unwrap();
        let mut portable = vector;
        accumulate_f64(&a, &b, &mut vector);
        accumulate_f64_portable(&a, &b, &mut portable);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&vector), bits(&portable));
        let mut draw = |count: usize| -> Vec<i32> { (0..count).map(|_| random.next() as i32).collect() };
        let (a, b, start) = (draw(16 * k), draw(k * 8), draw(TILE));
        let mut vector: [_; TILE] = start.try_into().unwrap();
        let mut portable = vector;
        accumulate_i32(&a, &b, &mut vector);
        accumulate_i32_portable(&a, &b, &mut portable);
        assert_eq!(vector, portable);
    }
}
