//! Dots against f64 (and exact integer) references: odd shapes, in-place and packed operands, all weight types.

use super::{Guarded, Rng, bytes};
use crate::cpu::micro::{Isa, cols_dot, gemm_f32, gemm_i32, narrow, pack_b, packed_len, rows_dot, widen};
use crate::ir::types::DType;

const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (1, 64, 64),
    (6, 64, 16),
    (7, 65, 33),
    (13, 129, 17),
    (64, 64, 64),
    (5, 15, 7),
    (3, 48, 300),
    (12, 32, 9),
    (31, 16, 20),
    (2, 100, 513),
    (4, 17, 2),
    (9, 31, 0),
    (0, 5, 5),
];

#[test]
fn gemm_f32_matches_f64() {
    let mut rng = Rng(21);
    for isa in Isa::available() {
        for (m, n, k) in SHAPES {
            let (a_stride, c_stride) = (k + 3, n + 2);
            // Exactly as large as [k, n]: reading past the last row would leave the allocation.
            let (a, b) = (rng.floats(m * a_stride), rng.floats(k * n));
            let c = rng.floats(m * c_stride);
            let mut packed = vec![f32::NAN; packed_len(isa, k, n)];
            let width = isa.panel_width();
            // SAFETY: the buffers hold the operands; `packed` holds `packed_len`.
            unsafe { pack_b(isa, DType::F32, bytes(&b), n as isize, 1, k, n, k, n, 0, packed.as_mut_ptr()) };
            for (p, panel, row) in [(&b, width, n), (&packed, k * width, width)] {
                let mut out = Guarded::new(c.len() * 4);
                out.write(&c);
                // SAFETY: as above.
                unsafe {
                    gemm_f32(
                        isa,
                        m,
                        n,
                        k,
                        a.as_ptr(),
                        a_stride,
                        p.as_ptr(),
                        panel,
                        row,
                        out.ptr().cast(),
                        c_stride,
                    );
                }
                let got = out.read::<f32>();
                for i in 0..m {
                    for j in 0..c_stride {
                        let at = i * c_stride + j;
                        if j >= n {
                            assert_eq!(
                                got[at].to_bits(),
                                c[at].to_bits(),
                                "{isa:?} {m}x{n}x{k}: wrote between rows"
                            );
                            continue;
                        }
                        let products =
                            (0..k).map(|x| f64::from(a[i * a_stride + x]) * f64::from(b[x * n + j]));
                        let (sum, size) =
                            products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
                        let want = f64::from(c[at]) + sum;
                        let error = (f64::from(got[at]) - want).abs();
                        assert!(
                            error <= 2e-6 * (size + 1.0),
                            "{isa:?} {m}x{n}x{k} [{i},{j}]: {} not {want}",
                            got[at]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn gemm_i32_is_exact_and_wraps() {
    let mut rng = Rng(22);
    for isa in Isa::available() {
        for (m, n, k) in SHAPES {
            let a: Vec<i32> = (0..m * k).map(|_| rng.next() as i32 >> rng.below(31)).collect();
            let b: Vec<i32> = (0..k * n).map(|_| i32::from(rng.next() as i8)).collect();
            let c: Vec<i32> = (0..m * n).map(|_| rng.next() as i32).collect();
            let mut out = Guarded::new(m * n * 4);
            out.write(&c);
            // SAFETY: the buffers hold the operands.
            unsafe {
                gemm_i32(isa, m, n, k, a.as_ptr(), k, b.as_ptr(), isa.panel_width(), n, out.ptr().cast(), n);
            }
            for (at, got) in out.read::<i32>().into_iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let want =
                    (0..k).fold(c[at], |sum, x| sum.wrapping_add(a[i * k + x].wrapping_mul(b[x * n + j])));
                assert_eq!(got, want, "{isa:?} {m}x{n}x{k} [{i},{j}]");
            }
        }
    }
}

/// Weights of a type: their memory, and their values.
fn weights(rng: &mut Rng, dtype: DType, n: usize) -> (Vec<u8>, Vec<f64>) {
    let float = dtype.is_float();
    let arena: Vec<u32> = (0..n)
        .map(|_| match dtype {
            DType::I8 => i32::from(rng.next() as i8) as u32,
            DType::U8 => u32::from(rng.next() as u8),
            _ => rng.f32().to_bits(),
        })
        .collect();
    let mut memory = vec![0u8; n * dtype.size_bytes()];
    let mut back = vec![0u32; n];
    // SAFETY: the buffers hold n elements.
    unsafe {
        narrow(Isa::Portable, dtype, bytes(&arena), memory.as_mut_ptr(), n);
        widen(Isa::Portable, dtype, memory.as_ptr(), back.as_mut_ptr().cast(), n);
    }
    let value = |&x: &u32| if float { f64::from(f32::from_bits(x)) } else { f64::from(x as i32) };
    let values = back.iter().map(value).collect();
    (memory, values)
}

const WEIGHTS: [DType; 7] =
    [DType::F32, DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2, DType::I8, DType::U8];

#[test]
fn streaming_dots_match_f64() {
    let mut rng = Rng(23);
    for isa in Isa::available() {
        for dtype in WEIGHTS {
            for (m, n, k) in [
                (1, 1, 1),
                (1, 19, 257),
                (2, 8, 64),
                (3, 9, 33),
                (4, 11, 130),
                (5, 17, 16),
                (8, 10, 100),
                (7, 3, 5),
                (1, 5, 1100),
                (8, 9, 1061),
                (7, 3, 1025),
                (3, 2, 2048),
            ] {
                let (x_stride, w_pad, out_stride) = (k + 1, 3, n + 2);
                let x = rng.floats(m * x_stride);
                let start = rng.floats(m * out_stride);
                for by_rows in [true, false] {
                    let (w_rows, w_cols) = if by_rows { (n, k) } else { (k, n) };
                    let w_stride = w_cols + w_pad;
                    let (memory, values) = weights(&mut rng, dtype, w_rows * w_stride - w_pad);
                    let mut out = Guarded::new(start.len() * 4);
                    out.write(&start);
                    let to = out.ptr().cast();
                    // SAFETY: the buffers hold the operands; the last row of weights has no padding behind it.
                    unsafe {
                        if by_rows {
                            rows_dot(
                                isa,
                                dtype,
                                m,
                                n,
                                k,
                                x.as_ptr(),
                                x_stride,
                                memory.as_ptr(),
                                w_stride,
                                to,
                                out_stride,
                            );
                        } else {
                            cols_dot(
                                isa,
                                dtype,
                                m,
                                k,
                                n,
                                x.as_ptr(),
                                x_stride,
                                memory.as_ptr(),
                                w_stride,
                                to,
                                out_stride,
                            );
                        }
                    }
                    let got = out.read::<f32>();
                    for i in 0..m {
                        for j in 0..n {
                            let weight =
                                |z: usize| values[if by_rows { j * w_stride + z } else { z * w_stride + j }];
                            let products = (0..k).map(|z| f64::from(x[i * x_stride + z]) * weight(z));
                            let (sum, size) =
                                products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
                            let at = i * out_stride + j;
                            let (want, size) = (f64::from(start[at]) + sum, size + 1.0);
                            let error = (f64::from(got[at]) - want).abs();
                            assert!(
                                error <= 2e-6 * size,
                                "{isa:?} {dtype} {m}x{n}x{k}: {} not {want}",
                                got[at]
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_x_do_not_change_each_others_bits() {
    let (n, mut rng) = (5, Rng(24));
    for isa in Isa::available() {
        for (dtype, k) in [(DType::BF16, 96), (DType::BF16, 1063), (DType::F32, 700)] {
            let x = rng.floats(8 * k);
            let (memory, _) = weights(&mut rng, dtype, n * k);
            let dot = |m: usize, x: &[f32]| {
                let mut out = vec![0f32; m * n];
                // SAFETY: the buffers hold the operands.
                unsafe {
                    rows_dot(isa, dtype, m, n, k, x.as_ptr(), k, memory.as_ptr(), k, out.as_mut_ptr(), n);
                }
                out.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
            };
            let alone: Vec<u32> = x.chunks(k).flat_map(|row| dot(1, row)).collect();
            for m in 2..=8 {
                assert_eq!(dot(m, &x), alone[..m * n], "{isa:?} {dtype}, {m} rows of {k}");
            }
        }
    }
}
