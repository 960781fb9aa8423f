//! Reductions along each axis against f64 or exact references; the same bits on every instruction set.

use super::{FLOATS, Guarded, Rng, bytes};
use crate::cpu::micro::{Isa, arg_reduce, reduce};
use crate::ir::ops::{ArgOp, ReduceOp};
use crate::ir::types::DType;

const SHAPES: [(usize, usize, usize); 10] = [
    (1, 1, 1),
    (3, 7, 1),
    (2, 64, 1),
    (2, 129, 1),
    (1, 1000, 1),
    (5, 17, 1),
    (1, 7, 3),
    (2, 33, 70),
    (1, 5, 16),
    (3, 2, 129),
];

fn column<T: Copy>(src: &[T], (axis, inner): (usize, usize), o: usize, j: usize) -> Vec<T> {
    (0..axis).map(|r| src[(o * axis + r) * inner + j]).collect()
}

#[test]
fn float_reductions_match_f64() {
    let mut rng = Rng(11);
    for (outer, axis, inner) in SHAPES {
        for dtype in FLOATS {
            let mut src: Vec<f32> =
                (0..outer * axis * inner).map(|_| half::bf16::from_f32(rng.f32()).to_f32()).collect();
            for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
                if op != ReduceOp::Sum && axis > 2 {
                    let at = rng.below(src.len());
                    src[at] = f32::NAN;
                }
                let mut first = None;
                for isa in Isa::available() {
                    let mut out = Guarded::new(outer * inner * 4);
                    // SAFETY: the buffers hold the tile and its reduction.
                    unsafe { reduce(isa, op, dtype, out.ptr(), bytes(&src), outer, axis, inner) };
                    let got = out.read::<f32>();
                    let bits: Vec<u32> = got.iter().map(|x| x.to_bits()).collect();
                    assert_eq!(
                        *first.get_or_insert_with(|| bits.clone()),
                        bits,
                        "{isa:?} {op:?} differs between instruction sets"
                    );
                    for o in 0..outer {
                        for j in 0..inner {
                            let column = column(&src, (axis, inner), o, j);
                            let want = match op {
                                ReduceOp::Sum => column.iter().map(|&x| f64::from(x)).sum(),
                                ReduceOp::Max => f64::from(column.iter().copied().fold(f32::NAN, f32::max)),
                                ReduceOp::Min => f64::from(column.iter().copied().fold(f32::NAN, f32::min)),
                            };
                            let size: f64 = column.iter().map(|&x| f64::from(x.abs())).sum();
                            let tolerance = match (op, dtype) {
                                (ReduceOp::Sum, DType::F16) => want.abs() * 5e-4 + size * 1e-6,
                                (ReduceOp::Sum, DType::BF16) => want.abs() * 4e-3 + size * 1e-6,
                                (ReduceOp::Sum, _) => size * 1e-6,
                                (ReduceOp::Max | ReduceOp::Min, _) => 0.0,
                            };
                            let got = f64::from(got[o * inner + j]);
                            let right = (got - want).abs() <= tolerance || (got.is_nan() && want.is_nan());
                            assert!(
                                right,
                                "{isa:?} {op:?} {dtype} {outer}x{axis}x{inner}: {got}, not {want}"
                            );
                        }
                    }
                }
                src.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.25);
            }
        }
    }
}

#[test]
fn rows_of_nan_reduce_to_nan_and_position_zero() {
    let src = [f32::NAN; 70];
    for isa in Isa::available() {
        let (mut out, mut at) = (Guarded::new(4), Guarded::new(4));
        // SAFETY: one row of 70 elements.
        unsafe {
            reduce(isa, ReduceOp::Max, DType::F32, out.ptr(), bytes(&src), 1, 70, 1);
            arg_reduce(isa, ArgOp::ArgMax, DType::F32, at.ptr().cast(), bytes(&src), 1, 70, 1);
        }
        assert!(out.read::<f32>()[0].is_nan());
        assert_eq!(at.read::<i32>(), [0]);
    }
}

fn exact(dtype: DType, x: i64) -> i64 {
    match dtype {
        DType::I8 => i64::from(x as i8),
        DType::U8 => i64::from(x as u8),
        DType::I32 => i64::from(x as i32),
        DType::U32 => i64::from(x as u32),
        _ => x,
    }
}

#[test]
fn integer_reductions_are_exact() {
    let mut rng = Rng(12);
    for isa in Isa::available() {
        for dtype in [DType::I8, DType::U8, DType::I32, DType::U32, DType::I64] {
            for (outer, axis, inner) in SHAPES {
                let values: Vec<i64> =
                    (0..outer * axis * inner).map(|_| exact(dtype, rng.next() as i64)).collect();
                let words: Vec<i32> = values.iter().map(|&x| x as i32).collect();
                let (wide, src) = if dtype == DType::I64 { (8, bytes(&values)) } else { (4, bytes(&words)) };
                for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
                    let mut out = Guarded::new(outer * inner * wide);
                    // SAFETY: the buffers hold the tile and its reduction.
                    unsafe { reduce(isa, op, dtype, out.ptr(), src, outer, axis, inner) };
                    for i in 0..outer * inner {
                        let column = column(&values, (axis, inner), i / inner, i % inner);
                        let want = match op {
                            ReduceOp::Sum => {
                                exact(dtype, column.iter().fold(0i64, |sum, &x| sum.wrapping_add(x)))
                            }
                            ReduceOp::Max => column.iter().copied().fold(i64::MIN, i64::max),
                            ReduceOp::Min => column.iter().copied().fold(i64::MAX, i64::min),
                        };
                        let got =
                            if wide == 8 { out.read::<i64>()[i] } else { i64::from(out.read::<i32>()[i]) };
                        let got = if dtype == DType::U32 { i64::from(got as u32) } else { got };
                        assert_eq!(got, want, "{isa:?} {op:?} {dtype} {outer}x{axis}x{inner}");
                    }
                }
                for op in [ArgOp::ArgMax, ArgOp::ArgMin] {
                    let mut out = Guarded::new(outer * inner * 4);
                    // SAFETY: as above.
                    unsafe { arg_reduce(isa, op, dtype, out.ptr().cast(), src, outer, axis, inner) };
                    for (i, at) in out.read::<i32>().into_iter().enumerate() {
                        assert_eq!(
                            at as usize,
                            position(op, &column(&values, (axis, inner), i / inner, i % inner))
                        );
                    }
                }
            }
        }
    }
}

/// The first position of the extreme.
fn position<T: PartialOrd + Copy>(op: ArgOp, column: &[T]) -> usize {
    let mut best = 0;
    for i in 1..column.len() {
        let better = if op == ArgOp::ArgMax { column[i] > column[best] } else { column[i] < column[best] };
        if better {
            best = i;
        }
    }
    best
}

#[test]
fn float_positions_take_the_first_on_a_tie() {
    let mut rng = Rng(13);
    for isa in Isa::available() {
        for (outer, axis, inner) in SHAPES {
            for op in [ArgOp::ArgMax, ArgOp::ArgMin] {
                // Few distinct values, so that ties abound.
                let src: Vec<f32> = (0..outer * axis * inner).map(|_| rng.below(5) as f32 - 2.0).collect();
                let mut out = Guarded::new(outer * inner * 4);
                // SAFETY: the buffers hold the tile and its reduction.
                unsafe { arg_reduce(isa, op, DType::F32, out.ptr().cast(), bytes(&src), outer, axis, inner) };
                for (i, at) in out.read::<i32>().into_iter().enumerate() {
                    let want = position(op, &column(&src, (axis, inner), i / inner, i % inner));
                    assert_eq!(at as usize, want, "{isa:?} {op:?} {outer}x{axis}x{inner}");
                }
            }
        }
    }
}
