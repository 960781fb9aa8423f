//! Conversions: all halves, all bytes, ties of every narrow float, casts between every pair of types.

use super::{Guarded, LENGTHS, Rng, bytes};
use crate::cpu::micro::{Isa, arena_bytes, cast, narrow, narrow_strided, round, widen, widen_strided};
use crate::ir::types::DType;

/// Exponent bits, mantissa bits, bias of a float type.
fn format(dtype: DType) -> (i32, i32, i32) {
    match dtype {
        DType::F16 => (5, 10, 15),
        DType::BF16 => (8, 7, 127),
        DType::F8E4M3 => (4, 3, 7),
        DType::F8E5M2 => (5, 2, 15),
        _ => unreachable!("{dtype} should be a narrow float"),
    }
}

/// The value of a narrow float from its bits, by the definition of the format.
fn decode(dtype: DType, bits: u32) -> f64 {
    let (e, m, bias) = format(dtype);
    let sign = if bits >> (e + m) & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = (bits >> m & ((1 << e) - 1)) as i32;
    let mantissa = f64::from(bits & ((1 << m) - 1));
    let top = (1 << e) - 1;
    if dtype == DType::F8E4M3 && exponent == top && mantissa == 7.0 {
        return f64::NAN;
    }
    if dtype != DType::F8E4M3 && exponent == top {
        return if mantissa == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    let unit = 2f64.powi(exponent.max(1) - bias - m);
    sign * unit * (mantissa + if exponent > 0 { f64::from(1 << m) } else { 0.0 })
}

/// The largest finite value, and whether beyond it lies an infinity (else NaN).
fn limit(dtype: DType) -> (f64, bool) {
    match dtype {
        DType::F8E4M3 => (448.0, false),
        DType::F8E5M2 => (57344.0, true),
        DType::F16 => (65504.0, true),
        _ => (f64::from(half::bf16::MAX.to_f32()), true),
    }
}

/// The nearest value of a narrow float, ties to even.
fn nearest(dtype: DType, x: f64) -> f64 {
    if !x.is_finite() {
        return if x.is_infinite() && !limit(dtype).1 { f64::NAN } else { x };
    }
    let (_, m, bias) = format(dtype);
    let exponent = if x == 0.0 { -bias } else { x.abs().log2().floor() as i32 };
    let unit = 2f64.powi(exponent.max(1 - bias) - m);
    let y = (x / unit).round_ties_even() * unit;
    let (max, infinite) = limit(dtype);
    match (y.abs() > max, infinite) {
        (false, _) => y,
        (true, true) => f64::INFINITY.copysign(x),
        (true, false) => f64::NAN,
    }
}

fn same(a: f32, b: f64) -> bool {
    f64::from(a) == b || (a.is_nan() && b.is_nan())
}

const NARROW: [DType; 4] = [DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2];

#[test]
fn every_narrow_float_widens_and_returns() {
    for isa in Isa::available() {
        for dtype in NARROW {
            let size = dtype.size_bytes();
            let count = 1usize << (8 * size);
            let memory: Vec<u8> =
                (0..count).flat_map(|i| (i as u16).to_le_bytes().into_iter().take(size)).collect();
            let mut wide = Guarded::new(count * 4);
            // SAFETY: `memory` holds `count` elements, `wide` as many arena elements.
            unsafe { widen(isa, dtype, memory.as_ptr(), wide.ptr(), count) };
            let values = wide.read::<f32>();
            for (i, &x) in values.iter().enumerate() {
                let want = decode(dtype, i as u32);
                assert!(same(x, want), "{isa:?} {dtype} {i:#x}: {x}, not {want}");
                assert!(
                    x.is_nan() || x.is_sign_negative() == (i >> (8 * size - 1) == 1),
                    "{isa:?} {dtype} {i:#x}: sign"
                );
            }
            let mut back = Guarded::new(count * size);
            // SAFETY: as above, the other way.
            unsafe { narrow(isa, dtype, bytes(&values), back.ptr(), count) };
            for (i, (got, want)) in back.read::<u8>().chunks(size).zip(memory.chunks(size)).enumerate() {
                assert!(got == want || values[i].is_nan(), "{isa:?} {dtype} {i:#x} came back as {got:x?}");
            }
        }
    }
}

/// Values in and around the range of a type: random, exact, ties, and one step beside them.
fn probes(rng: &mut Rng, dtype: DType) -> Vec<f32> {
    let mut out = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN, 1e-40];
    let size = dtype.size_bytes() * 8;
    for _ in 0..3000 {
        out.push(rng.f32() * 2f32.powi(rng.below(60) as i32 - 30));
        let bits = (rng.next() as u32) & ((1 << size) - 1);
        let (x, next) = (decode(dtype, bits), decode(dtype, bits ^ 1));
        let tie = ((x + next) / 2.0) as f32;
        out.extend([tie, tie.next_up(), tie.next_down()]);
        let up = decode(dtype, (bits & !(1 << (size - 1))).wrapping_add(1)) / 2.0
            + decode(dtype, bits & !(1 << (size - 1))) / 2.0;
        out.extend([up as f32, -(up as f32), (up as f32).next_up(), (up as f32).next_down()]);
    }
    out.extend([464.0, 465.0, 463.9, 480.0, 500.0, 61440.0, 61439.9, 65519.9, 65520.0, 3.39e38]);
    out
}

#[test]
fn narrowing_rounds_to_nearest_even() {
    let mut rng = Rng(8);
    for isa in Isa::available() {
        for dtype in NARROW {
            let xs = probes(&mut rng, dtype);
            let size = dtype.size_bytes();
            let mut out = Guarded::new(xs.len() * size);
            // SAFETY: the buffers hold `xs.len()` elements, here and below.
            unsafe { narrow(isa, dtype, bytes(&xs), out.ptr(), xs.len()) };
            let mut rounded = Guarded::new(xs.len() * 4);
            // SAFETY: as above.
            unsafe { round(isa, dtype, rounded.ptr().cast(), xs.as_ptr(), xs.len()) };
            let rounded = rounded.read::<f32>();
            for (i, code) in out.read::<u8>().chunks(size).enumerate() {
                let bits = code.iter().rev().fold(0u32, |bits, &b| bits << 8 | u32::from(b));
                let want = nearest(dtype, f64::from(xs[i]));
                let got = decode(dtype, bits);
                assert!(
                    got == want || (got.is_nan() && want.is_nan()),
                    "{isa:?} {dtype} {}: {got}, not {want}",
                    xs[i]
                );
                assert!(
                    same(rounded[i], want),
                    "{isa:?} {dtype} round {}: {}, not {want}",
                    xs[i],
                    rounded[i]
                );
            }
        }
    }
}

/// Arena elements of a type as bytes: any value it can hold.
fn arena(rng: &mut Rng, dtype: DType, n: usize) -> Vec<u8> {
    let size = dtype.size_bytes();
    let mut memory: Vec<u8> = (0..n * size).map(|_| rng.next() as u8).collect();
    if dtype == DType::Bool {
        memory.iter_mut().for_each(|b| *b &= 1);
    }
    let mut out = vec![0u8; n * arena_bytes(dtype)];
    // SAFETY: `memory` holds n elements and `out` n arena elements.
    unsafe { widen(Isa::Portable, dtype, memory.as_ptr(), out.as_mut_ptr(), n) };
    out
}

#[test]
fn memory_round_trips_at_every_stride_and_length() {
    let mut rng = Rng(9);
    for isa in Isa::available() {
        for dtype in DType::ALL {
            let (size, wide) = (dtype.size_bytes(), arena_bytes(dtype));
            for n in LENGTHS {
                let values = arena(&mut rng, dtype, n);
                for stride in [1isize, 3, -2] {
                    let reach = n.max(1) * stride.unsigned_abs();
                    let mut memory = Guarded::new(reach * size);
                    let offset = if stride < 0 { (reach - stride.unsigned_abs()) * size } else { 0 };
                    let mut back = Guarded::new(n * wide);
                    // SAFETY: n elements `stride` apart fit the buffer from the offset.
                    unsafe {
                        let p = memory.ptr().add(offset);
                        if stride == 1 {
                            narrow(isa, dtype, values.as_ptr(), p, n);
                            widen(isa, dtype, p, back.ptr(), n);
                        } else {
                            narrow_strided(isa, dtype, values.as_ptr(), p, stride, n);
                            widen_strided(isa, dtype, p, stride, back.ptr(), n);
                        }
                    }
                    memory.read::<u8>();
                    let got = back.read::<u8>();
                    let nan = |b: &[u8]| wide == 4 && f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_nan();
                    for (a, b) in got.chunks(wide).zip(values.chunks(wide)) {
                        assert!(
                            a == b || (dtype.is_float() && nan(a) && nan(b)),
                            "{isa:?} {dtype} stride {stride}"
                        );
                    }
                }
            }
        }
    }
}

/// An arena element as a number without limits: integers exactly, floats as f64.
#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

fn number(dtype: DType, element: &[u8]) -> Number {
    let word = || u32::from_le_bytes([element[0], element[1], element[2], element[3]]);
    match dtype {
        DType::I64 => Number::Int(i128::from(i64::from_le_bytes(element.try_into().expect("8 bytes")))),
        DType::U32 => Number::Int(i128::from(word())),
        DType::I8 | DType::U8 | DType::I32 | DType::Bool => Number::Int(i128::from(word() as i32)),
        _ => Number::Float(f64::from(f32::from_bits(word()))),
    }
}

/// The f32 nearest to an integer, and narrower ones likewise, rounded once.
fn int_to_float(to: DType, x: i128) -> f64 {
    if to == DType::F32 {
        return f64::from(x as f32);
    }
    // f64 holds 53 bits: make the rest sticky so that rounding again is rounding once.
    let dropped = 128 - x.unsigned_abs().leading_zeros().min(76) - 52;
    let kept = (x >> dropped) << dropped;
    let sticky = if kept == x { kept } else { kept | 1 << dropped };
    nearest(to, sticky as f64)
}

fn reference(to: DType, x: Number) -> Number {
    match (to, x) {
        (DType::F32, Number::Float(x)) => Number::Float(x),
        (to, Number::Float(x)) if to.is_float() => Number::Float(nearest(to, x)),
        (to, Number::Int(x)) if to.is_float() => Number::Float(int_to_float(to, x)),
        (DType::Bool, Number::Float(x)) => Number::Int(i128::from(x != 0.0)),
        (DType::Bool, Number::Int(x)) => Number::Int(i128::from(x != 0)),
        (DType::I8, Number::Float(x)) => Number::Int(i128::from(x as i8)),
        (DType::U8, Number::Float(x)) => Number::Int(i128::from(x as u8)),
        (DType::I32, Number::Float(x)) => Number::Int(i128::from(x as i32)),
        (DType::U32, Number::Float(x)) => Number::Int(i128::from(x as u32)),
        (_, Number::Float(x)) => Number::Int(i128::from(x as i64)),
        (DType::I8, Number::Int(x)) => Number::Int(i128::from(x as i8)),
        (DType::U8, Number::Int(x)) => Number::Int(i128::from(x as u8)),
        (DType::I32, Number::Int(x)) => Number::Int(i128::from(x as i32)),
        (DType::U32, Number::Int(x)) => Number::Int(i128::from(x as u32)),
        (_, Number::Int(x)) => Number::Int(i128::from(x as i64)),
    }
}

#[test]
fn casts_between_every_pair_of_types() {
    let mut rng = Rng(10);
    for isa in Isa::available() {
        for from in DType::ALL {
            for to in DType::ALL {
                for n in [0, 1, 15, 333] {
                    let src = arena(&mut rng, from, n);
                    let mut out = Guarded::new(n * arena_bytes(to));
                    // SAFETY: the buffers hold n arena elements of their types.
                    unsafe { cast(isa, from, to, out.ptr(), src.as_ptr(), n) };
                    let got = out.read::<u8>();
                    for (a, b) in src.chunks(arena_bytes(from)).zip(got.chunks(arena_bytes(to))) {
                        let want = reference(to, number(from, a));
                        let right = match (number(to, b), want) {
                            (Number::Int(x), Number::Int(y)) => x == y,
                            (Number::Float(x), Number::Float(y)) => x == y || (x.is_nan() && y.is_nan()),
                            _ => false,
                        };
                        assert!(right, "{isa:?} {from} -> {to}: {a:x?} gave {b:x?}");
                    }
                }
            }
        }
    }
}
