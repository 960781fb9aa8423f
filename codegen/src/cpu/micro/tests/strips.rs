//! Elementwise strips: every operation, type, operand form and length, in place and out of place.

use super::{FLOATS, Guarded, LENGTHS, Rng, bytes};
use crate::cpu::micro::{Arg, Isa, binary, exp_sub, exp2_affine, exp2_sub, fill, fma, iota, select, unary};
use crate::ir::ops::{BinaryOp, UnaryOp};
use crate::ir::types::DType;

const WORDS: [DType; 5] = [DType::I8, DType::U8, DType::I32, DType::U32, DType::Bool];

fn round(dtype: DType, x: f32) -> f32 {
    match dtype {
        DType::F16 => half::f16::from_f32(x).to_f32(),
        DType::BF16 => half::bf16::from_f32(x).to_f32(),
        _ => x,
    }
}

fn wrap(dtype: DType, x: i128) -> i64 {
    match dtype {
        DType::I8 => i64::from(x as i8),
        DType::U8 => i64::from(x as u8),
        DType::I32 => i64::from(x as i32),
        DType::U32 => i64::from(x as u32),
        DType::Bool => i64::from(x & 1 != 0),
        _ => x as i64,
    }
}

/// The result of an integer operation, computed without limits and then wrapped.
fn int_reference(op: BinaryOp, dtype: DType, a: i64, b: i64) -> i64 {
    let (x, y) = (i128::from(a), i128::from(b));
    let width = if dtype == DType::Bool { 8 } else { dtype.size_bytes() as i128 * 8 };
    let shift = y.rem_euclid(width);
    let exact = match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x.checked_div(y).unwrap_or(0),
        BinaryOp::Rem => x.checked_rem(y).unwrap_or(0),
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Shl => x << shift,
        BinaryOp::Shr => x >> shift,
        BinaryOp::Eq => i128::from(x == y),
        BinaryOp::Ne => i128::from(x != y),
        BinaryOp::Lt => i128::from(x < y),
        BinaryOp::Le => i128::from(x <= y),
        BinaryOp::Gt => i128::from(x > y),
        BinaryOp::Ge => i128::from(x >= y),
    };
    if is_compare(op) { exact as i64 } else { wrap(dtype, exact) }
}

fn float_reference(op: BinaryOp, a: f32, b: f32) -> f32 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Rem => a % b,
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        _ => unreachable!("{op:?} should not be tested as float arithmetic"),
    }
}

fn compare(op: BinaryOp, a: f32, b: f32) -> bool {
    match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => unreachable!("{op:?} should be a comparison"),
    }
}

fn is_compare(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge)
}

fn is_bitwise(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr)
}

fn same(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// The three operand forms: row and row, row and scalar, scalar and row.
fn forms<T>(a: &[T], b: &[T]) -> [(Arg, Arg); 3] {
    let (a, b) = (bytes(a), bytes(b));
    [(Arg::Row(a), Arg::Row(b)), (Arg::Row(a), Arg::Splat(b)), (Arg::Splat(a), Arg::Row(b))]
}

fn pick(arg: Arg, i: usize) -> usize {
    match arg {
        Arg::Row(_) => i,
        Arg::Splat(_) => 0,
    }
}

#[test]
fn float_binaries_match_the_scalar_operation() {
    let mut rng = Rng(1);
    for isa in Isa::available() {
        for dtype in FLOATS {
            for &op in BinaryOp::ALL.iter().filter(|&&op| !is_bitwise(op)) {
                for n in LENGTHS.into_iter().filter(|&n| n > 0) {
                    let mut a: Vec<f32> = rng.floats(n).into_iter().map(|x| round(dtype, x * 4.0)).collect();
                    let mut b: Vec<f32> = rng.floats(n).into_iter().map(|x| round(dtype, x)).collect();
                    a[n / 2] = f32::NAN;
                    b[n / 3] = f32::NAN;
                    b[n - 1] = a[n - 1];
                    for (x, y) in forms(&a, &b) {
                        let mut out = Guarded::new(n * 4);
                        // SAFETY: rows and result hold n elements.
                        unsafe { binary(isa, op, dtype, out.ptr(), x, y, n) };
                        for i in 0..n {
                            let (p, q) = (a[pick(x, i)], b[pick(y, i)]);
                            if is_compare(op) {
                                assert_eq!(
                                    out.read::<i32>()[i],
                                    i32::from(compare(op, p, q)),
                                    "{isa:?} {op:?} {p} {q}"
                                );
                            } else {
                                let (got, want) =
                                    (out.read::<f32>()[i], round(dtype, float_reference(op, p, q)));
                                assert!(same(got, want), "{isa:?} {op:?} {dtype} {p} {q}: {got}, not {want}");
                            }
                        }
                    }
                    // In place over the first operand.
                    let mut out = Guarded::new(n * 4);
                    out.write(&a);
                    let (dst, row) = (out.ptr(), Arg::Row(bytes(&b)));
                    // SAFETY: as above; the destination equals a source.
                    unsafe { binary(isa, op, dtype, dst, Arg::Row(dst.cast_const()), row, n) };
                    let got = out.read::<f32>();
                    for i in (0..n).filter(|_| !is_compare(op)) {
                        assert!(
                            same(got[i], round(dtype, float_reference(op, a[i], b[i]))),
                            "{isa:?} {op:?} in place"
                        );
                    }
                }
            }
        }
    }
}

/// Arena values of an integer type, the extremes included.
fn words(rng: &mut Rng, dtype: DType, n: usize) -> Vec<i32> {
    let mut out: Vec<i32> = (0..n).map(|_| wrap(dtype, i128::from(rng.next() as i64)) as i32).collect();
    for x in out.iter_mut().step_by(3) {
        *x = wrap(dtype, i128::from(*x) % 5) as i32;
    }
    for (x, extreme) in
        out.iter_mut().skip(1).step_by(5).zip([0, i32::MIN, i32::MAX, -1, -128, 127, 255].into_iter().cycle())
    {
        *x = wrap(dtype, i128::from(extreme)) as i32;
    }
    out
}

fn value(dtype: DType, x: i32) -> i64 {
    if dtype == DType::U32 { i64::from(x as u32) } else { i64::from(x) }
}

#[test]
fn integer_binaries_wrap_to_their_type() {
    let mut rng = Rng(2);
    for isa in Isa::available() {
        for dtype in WORDS {
            for &op in BinaryOp::ALL {
                if dtype == DType::Bool
                    && !(is_compare(op) || matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Xor))
                {
                    continue;
                }
                for n in LENGTHS.into_iter().filter(|&n| n > 0) {
                    let (a, b) = (words(&mut rng, dtype, n), words(&mut rng, dtype, n));
                    for (x, y) in forms(&a, &b) {
                        let mut out = Guarded::new(n * 4);
                        // SAFETY: rows and result hold n elements.
                        unsafe { binary(isa, op, dtype, out.ptr(), x, y, n) };
                        let got = out.read::<i32>();
                        for i in 0..n {
                            let (p, q) = (value(dtype, a[pick(x, i)]), value(dtype, b[pick(y, i)]));
                            let want = int_reference(op, dtype, p, q);
                            assert_eq!(value(dtype, got[i]), want, "{isa:?} {op:?} {dtype} {p} {q}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn long_binaries_and_unaries() {
    let mut rng = Rng(4);
    for isa in Isa::available() {
        for n in LENGTHS.into_iter().filter(|&n| n > 0) {
            let mut a: Vec<i64> = (0..n).map(|_| rng.next() as i64 >> rng.below(60)).collect();
            let mut b: Vec<i64> = (0..n).map(|_| rng.next() as i64 >> rng.below(60)).collect();
            (a[n / 2], b[n / 2]) = (i64::MIN, -1);
            b[n / 3] = 0;
            for &op in BinaryOp::ALL {
                for (x, y) in forms(&a, &b) {
                    let mut out = Guarded::new(n * 8);
                    // SAFETY: rows and result hold n elements.
                    unsafe { binary(isa, op, DType::I64, out.ptr(), x, y, n) };
                    let longs = out.read::<i64>();
                    let truths = out.read::<i32>();
                    for i in 0..n {
                        let want = int_reference(op, DType::I64, a[pick(x, i)], b[pick(y, i)]);
                        let got = if is_compare(op) { i64::from(truths[i]) } else { longs[i] };
                        assert_eq!(got, want, "{isa:?} {op:?} {} {}", a[pick(x, i)], b[pick(y, i)]);
                    }
                }
                let mut out = Guarded::new(n * 8);
                out.write(&a);
                let dst = out.ptr();
                // SAFETY: as above; the destination equals a source.
                unsafe {
                    binary(isa, op, DType::I64, dst, Arg::Row(dst.cast_const()), Arg::Row(bytes(&b)), n)
                };
                let (longs, truths) = (out.read::<i64>(), out.read::<i32>());
                for i in 0..n {
                    let got = if is_compare(op) { i64::from(truths[i]) } else { longs[i] };
                    assert_eq!(got, int_reference(op, DType::I64, a[i], b[i]), "{isa:?} {op:?} in place");
                }
            }
            for (op, want) in
                [(UnaryOp::Neg, i64::wrapping_neg as fn(i64) -> i64), (UnaryOp::Abs, i64::wrapping_abs)]
            {
                let mut out = Guarded::new(n * 8);
                // SAFETY: as above.
                unsafe { unary(isa, op, DType::I64, out.ptr(), bytes(&a), n) };
                assert_eq!(out.read::<i64>(), a.iter().map(|&x| want(x)).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn integer_unaries_wrap_to_their_type() {
    let mut rng = Rng(5);
    for isa in Isa::available() {
        for dtype in WORDS {
            for op in [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Not] {
                if dtype == DType::Bool && op != UnaryOp::Not {
                    continue;
                }
                for n in LENGTHS {
                    let a = words(&mut rng, dtype, n);
                    let mut out = Guarded::new(n * 4);
                    // SAFETY: both hold n elements.
                    unsafe { unary(isa, op, dtype, out.ptr(), bytes(&a), n) };
                    for (got, x) in out.read::<i32>().into_iter().zip(&a) {
                        let x = i128::from(value(dtype, *x));
                        let exact = match op {
                            UnaryOp::Neg => -x,
                            UnaryOp::Abs => x.abs(),
                            _ => !x,
                        };
                        assert_eq!(value(dtype, got), wrap(dtype, exact), "{isa:?} {op:?} {dtype} {x}");
                    }
                }
            }
        }
    }
}

#[test]
fn fused_strips_and_select() {
    let mut rng = Rng(6);
    for isa in Isa::available() {
        for n in LENGTHS.into_iter().filter(|&n| n > 0) {
            let (a, b, c) = (rng.floats(n), rng.floats(n), rng.floats(n));
            let (x, y, z) = (Arg::Row(bytes(&a)), Arg::Splat(bytes(&b)), Arg::Row(bytes(&c)));
            for dtype in FLOATS {
                let mut out = Guarded::new(n * 4);
                // SAFETY: rows and result hold n elements.
                unsafe { fma(isa, dtype, out.ptr(), x, y, z, n) };
                for (i, got) in out.read::<f32>().into_iter().enumerate() {
                    assert_eq!(got, round(dtype, a[i].mul_add(b[0], c[i])), "{isa:?} {dtype} fma");
                }
            }
            let close = |got: f32, want: f64| (f64::from(got) - want).abs() <= 1e-6 * want.abs();
            let mut out = Guarded::new(n * 4);
            // SAFETY: rows and result hold n elements.
            unsafe { exp2_affine(isa, out.ptr().cast(), x, y, z, n) };
            for (i, got) in out.read::<f32>().into_iter().enumerate() {
                let want = (f64::from(a[i]) * f64::from(b[0]) + f64::from(c[i])).exp2();
                assert!(close(got, want), "{isa:?} exp2_affine {got} {want}");
            }
            let mut out = Guarded::new(n * 4);
            // SAFETY: rows and result hold n elements.
            unsafe { exp_sub(isa, out.ptr().cast(), x, z, n) };
            for (i, got) in out.read::<f32>().into_iter().enumerate() {
                assert!(close(got, (f64::from(a[i]) - f64::from(c[i])).exp()), "{isa:?} exp_sub");
            }
            let mut out = Guarded::new(n * 4);
            // SAFETY: rows and result hold n elements.
            unsafe { exp2_sub(isa, out.ptr().cast(), y, z, n) };
            for (i, got) in out.read::<f32>().into_iter().enumerate() {
                assert!(close(got, (f64::from(b[0]) - f64::from(c[i])).exp2()), "{isa:?} exp2_sub");
            }
            let cond: Vec<i32> = (0..n).map(|_| rng.below(2) as i32).collect();
            let mut out = Guarded::new(n * 4);
            // SAFETY: rows and result hold n elements.
            unsafe { select(isa, DType::F32, out.ptr(), Arg::Row(bytes(&cond)), x, y, n) };
            for (i, got) in out.read::<f32>().into_iter().enumerate() {
                assert_eq!(got, if cond[i] != 0 { a[i] } else { b[0] });
            }
            let longs: Vec<i64> = (0..n).map(|_| rng.next() as i64).collect();
            let mut out = Guarded::new(n * 8);
            let (first, row) = (Arg::Splat(bytes(&longs)), Arg::Row(bytes(&longs)));
            // SAFETY: rows and result hold n elements.
            unsafe { select(isa, DType::I64, out.ptr(), Arg::Row(bytes(&cond)), first, row, n) };
            for (i, got) in out.read::<i64>().into_iter().enumerate() {
                assert_eq!(got, if cond[i] != 0 { longs[0] } else { longs[i] });
            }
        }
    }
}

#[test]
fn fill_and_iota() {
    let mut out = Guarded::new(7 * 8);
    // SAFETY: the buffer holds 7 longs, and below 14 words.
    unsafe { fill(DType::I64, out.ptr(), bytes(&[-5i64]), 7) };
    assert_eq!(out.read::<i64>(), [-5; 7]);
    // SAFETY: as above.
    unsafe { fill(DType::F16, out.ptr(), bytes(&[1.5f32]), 14) };
    assert_eq!(out.read::<f32>(), [1.5; 14]);
    // SAFETY: as above.
    unsafe { iota(out.ptr().cast(), i32::MAX, 14) };
    assert_eq!(out.read::<i32>()[..3], [i32::MAX, i32::MIN, i32::MIN + 1]);
}
