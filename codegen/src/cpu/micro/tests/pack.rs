//! Strided tile loads and panels, against element by element reads.

use super::{Guarded, Rng, bytes};
use crate::cpu::micro::{Isa, pack_a, pack_b, packed_len, widen};
use crate::ir::types::DType;

/// The arena bits of one memory element.
fn element(dtype: DType, memory: &[u8], at: usize) -> u32 {
    let mut out = 0u32;
    // SAFETY: `at` is inside `memory`, in elements.
    unsafe {
        widen(Isa::Portable, dtype, memory.as_ptr().add(at * dtype.size_bytes()), (&raw mut out).cast(), 1)
    };
    out
}

fn same(dtype: DType, a: u32, b: u32) -> bool {
    a == b || (dtype.is_float() && f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan())
}

#[test]
fn tiles_and_panels_hold_what_memory_holds() {
    let mut rng = Rng(31);
    let pad = 0x1234_5678;
    let shapes = [(1, 1), (16, 16), (64, 64), (17, 33), (5, 130), (40, 9), (3, 64)];
    for isa in Isa::available() {
        for dtype in DType::ALL.into_iter().filter(|&d| d != DType::I64) {
            for (rows, cols) in shapes {
                for (high, wide) in [(rows, cols), (rows - rows / 3, cols - cols / 4), (0, cols), (rows, 0)] {
                    // Row-major, column-major, both strided, broadcast, and reversed.
                    let (r, c) = (high.max(1), wide.max(1));
                    let forms = [
                        (c as isize + 1, 1, 0),
                        (1, r as isize + 2, 0),
                        (2 * c as isize, 2, 0),
                        (0, 1, 0),
                        (1, 0, 0),
                        (-(c as isize), 1, (r - 1) * c),
                    ];
                    for (row_stride, col_stride, start) in forms {
                        let at = |i: usize, j: usize| {
                            (start as isize + i as isize * row_stride + j as isize * col_stride) as usize
                        };
                        let count = (0..r).map(|i| at(i, c - 1)).max().unwrap_or(0) + 1;
                        let memory: Vec<u8> =
                            (0..count * dtype.size_bytes()).map(|_| rng.next() as u8).collect();
                        let want = |i: usize, j: usize| {
                            if i < high && j < wide { element(dtype, &memory, at(i, j)) } else { pad }
                        };
                        let src = memory.as_ptr().wrapping_add(start * dtype.size_bytes());
                        let dst_stride = cols + 1;
                        let mut tile = Guarded::new(rows * dst_stride * 4);
                        let mut panels = Guarded::new(packed_len(isa, rows, cols) * 4);
                        // SAFETY: the strided box lies inside `memory`; the results hold what is written.
                        unsafe {
                            pack_a(
                                isa,
                                dtype,
                                src,
                                row_stride,
                                col_stride,
                                high,
                                wide,
                                rows,
                                cols,
                                pad,
                                tile.ptr().cast(),
                                dst_stride,
                            );
                            pack_b(
                                isa,
                                dtype,
                                src,
                                row_stride,
                                col_stride,
                                high,
                                wide,
                                rows,
                                cols,
                                pad,
                                panels.ptr().cast(),
                            );
                        }
                        let (tile, panels) = (tile.read::<u32>(), panels.read::<u32>());
                        for i in 0..rows {
                            for j in 0..cols {
                                let (got, want) = (tile[i * dst_stride + j], want(i, j));
                                assert!(
                                    same(dtype, got, want),
                                    "{isa:?} {dtype} tile [{i},{j}] of {rows}x{cols}: {got:#x}, not {want:#x}"
                                );
                            }
                            assert_eq!(tile[i * dst_stride + cols], 0xa5a5_a5a5, "a write between rows");
                        }
                        let width = isa.panel_width();
                        for (at, &got) in panels.iter().enumerate() {
                            let (panel, rest) = (at / (rows * width), at % (rows * width));
                            let (i, j) = (rest / width, panel * width + rest % width);
                            let want = if j < cols { want(i, j) } else { 0 };
                            assert!(
                                same(dtype, got, want),
                                "{isa:?} {dtype} panel [{i},{j}] of {rows}x{cols}: {got:#x}, not {want:#x}"
                            );
                        }
                    }
                }
            }
        }
    }
    let tile = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut turned = [0.0f32; 6];
    // SAFETY: a 2 x 3 tile read as its 3 x 2 transpose.
    unsafe { pack_a(Isa::detect(), DType::F32, bytes(&tile), 1, 3, 3, 2, 3, 2, 0, turned.as_mut_ptr(), 2) };
    assert_eq!(turned, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}
