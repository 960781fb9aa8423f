//! Measures the CPU micro-kernels against this machine's own ceilings, in one run.
//!
//! `cargo run --release -p tilewright-codegen --example micro_bench [-- --json]`. Every figure is the best of several passes; the
//! ratio is to the core's multiply-add peak for dots and to its 8-stream DRAM rate for streaming dots.

#![allow(unsafe_code, reason = "calls the micro-kernels on buffers it owns")]
#![allow(clippy::print_stdout, reason = "a program that prints a report")]

use std::hint::black_box;
use std::time::Instant;

use tilewright_codegen::cpu::micro::{self, Arg, Isa, ceiling};
use tilewright_codegen::ir::ops::{BinaryOp, ReduceOp, UnaryOp};
use tilewright_codegen::ir::types::DType;

/// One line of the report.
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    /// Fraction of the ceiling that applies, if one does.
    ratio: Option<f64>,
}

/// Seconds of one call: the best of `passes` runs of `calls` calls.
fn seconds(passes: usize, calls: usize, mut f: impl FnMut(usize)) -> f64 {
    let mut least = f64::MAX;
    let mut call = 0;
    for _ in 0..passes {
        let start = Instant::now();
        for _ in 0..calls {
            f(call);
            call += 1;
        }
        least = least.min(start.elapsed().as_secs_f64() / calls as f64);
    }
    least
}

/// `n` floats in [-1, 1) at a 64-byte boundary.
struct Floats {
    data: Vec<f32>,
    skip: usize,
    n: usize,
}

impl Floats {
    fn new(n: usize) -> Self {
        let data: Vec<f32> = (0..n + 16).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect();
        let skip = data.as_ptr().align_offset(64);
        Self { data, skip, n }
    }

    fn ptr(&mut self) -> *mut f32 {
        self.data[self.skip..self.skip + self.n].as_mut_ptr()
    }
}

fn dots(isa: Isa, peak: f64, rows: &mut Vec<Row>) {
    let shapes = [
        (64, 64, 64),
        (128, 128, 64),
        (64, 64, 32),
        (128, 128, 32),
        (256, 256, 128),
        (16, 64, 64),
        (8, 64, 64),
        (4, 64, 64),
        (1, 64, 64),
        (16, 128, 256),
        (128, 64, 16),
        (64, 32, 64),
        (64, 16, 64),
        (65, 63, 65),
    ];
    for (m, n, k) in shapes {
        let (mut a, mut b, mut c) = (Floats::new(m * k), Floats::new(k * n), Floats::new(m * n));
        let mut packed = Floats::new(micro::packed_len(isa, k, n));
        let width = isa.panel_width();
        let (a, b, c, p) = (a.ptr(), b.ptr(), c.ptr(), packed.ptr());
        // SAFETY: `packed` holds `packed_len` elements and `b` a row-major [k, n].
        unsafe { micro::pack_b(isa, DType::F32, b.cast(), n as isize, 1, k, n, k, n, 0, p) };
        let flops = 2.0 * (m * n * k) as f64;
        let calls = (2e7 / flops).max(1.0) as usize;
        for (form, b, panel, row) in [("in place", b, width, n), ("packed", p, k * width, width)] {
            // SAFETY: the buffers hold the whole operands.
            let time = seconds(60, calls, |_| unsafe {
                micro::gemm_f32(isa, m, n, k, a, k, b, panel, row, c, n);
            });
            let value = flops / time / 1e9;
            rows.push(Row {
                what: format!("gemm_f32 {m}x{n}x{k} {form}"),
                value,
                unit: "GFLOP/s",
                ratio: Some(value / peak),
            });
        }
        // SAFETY: as above; the bits of the floats serve as integers.
        let time = seconds(20, calls, |_| unsafe {
            micro::gemm_i32(isa, m, n, k, a.cast(), k, b.cast(), width, n, c.cast(), n);
        });
        let value = flops / time / 1e9;
        rows.push(Row {
            what: format!("gemm_i32 {m}x{n}x{k} in place"),
            value,
            unit: "GOP/s",
            ratio: Some(value / peak),
        });
    }
}

fn streams(isa: Isa, dram: f64, rows: &mut Vec<Row>) {
    let (n, k) = (4096, 4096);
    for (dtype, copies) in [(DType::BF16, 10), (DType::F16, 10), (DType::F32, 5), (DType::I8, 20)] {
        let bytes = n * k * dtype.size_bytes();
        let weights: Vec<Vec<u8>> = (0..copies).map(|_| vec![0x31u8; bytes]).collect();
        for m in [1, 2, 4, 8] {
            let (mut x, mut out) = (Floats::new(m * k), Floats::new(m * n));
            let (x, out) = (x.ptr(), out.ptr());
            // SAFETY: the buffers hold the whole operands.
            let time = seconds(4, copies, |call| unsafe {
                micro::rows_dot(isa, dtype, m, n, k, x, k, weights[call % copies].as_ptr(), k, out, n);
            });
            let value = bytes as f64 / time / 1e9;
            rows.push(Row {
                what: format!("rows_dot {dtype} m={m} {n}x{k}"),
                value,
                unit: "GB/s",
                ratio: Some(value / dram),
            });
            if m <= 2 {
                // SAFETY: as above, the weights taken as [k, n].
                let time = seconds(4, copies, |call| unsafe {
                    micro::cols_dot(isa, dtype, m, k, n, x, k, weights[call % copies].as_ptr(), n, out, n);
                });
                let value = bytes as f64 / time / 1e9;
                rows.push(Row {
                    what: format!("cols_dot {dtype} m={m} {k}x{n}"),
                    value,
                    unit: "GB/s",
                    ratio: Some(value / dram),
                });
            }
        }
    }
}

fn strips(isa: Isa, rows: &mut Vec<Row>) {
    let n = 4096;
    let (mut a, mut b, mut c) = (Floats::new(n), Floats::new(n), Floats::new(n));
    let (a, b, c) = (a.ptr(), b.ptr(), c.ptr());
    let one = [1.25f32];
    let scalar = Arg::Splat(one.as_ptr().cast());
    let (row_a, row_b) = (Arg::Row(a.cast_const().cast()), Arg::Row(b.cast_const().cast()));
    let mut add = |what: &str, bytes: usize, f: &mut dyn FnMut()| {
        let time = seconds(60, 200, |_| f());
        rows.push(Row { what: what.to_owned(), value: bytes as f64 / time / 1e9, unit: "GB/s", ratio: None });
    };
    for op in UnaryOp::ALL {
        if *op == UnaryOp::Not {
            continue;
        }
        // SAFETY: all buffers hold n elements.
        add(&format!("unary {} f32", op.mnemonic()), 8 * n, &mut || unsafe {
            micro::unary(isa, *op, DType::F32, c.cast(), a.cast(), n);
        });
    }
    for (op, dtype) in [
        (BinaryOp::Add, DType::F32),
        (BinaryOp::Max, DType::F32),
        (BinaryOp::Lt, DType::F32),
        (BinaryOp::Add, DType::BF16),
        (BinaryOp::Add, DType::I32),
        (BinaryOp::Div, DType::I32),
        (BinaryOp::Lt, DType::I32),
    ] {
        // SAFETY: as above.
        add(&format!("binary {} {dtype}", op.mnemonic()), 12 * n, &mut || unsafe {
            micro::binary(isa, op, dtype, c.cast(), row_a, row_b, n);
        });
    }
    // SAFETY: as above, for all the following.
    add("exp2_affine row*scalar+scalar", 8 * n, &mut || unsafe {
        micro::exp2_affine(isa, c, row_a, scalar, scalar, n)
    });
    // SAFETY: all buffers hold n elements.
    add("reduce sum 64x64", 4 * n, &mut || unsafe {
        micro::reduce(isa, ReduceOp::Sum, DType::F32, c.cast(), a.cast(), 64, 64, 1);
    });
    // SAFETY: all buffers hold n elements.
    add("reduce max 64x64", 4 * n, &mut || unsafe {
        micro::reduce(isa, ReduceOp::Max, DType::F32, c.cast(), a.cast(), 64, 64, 1);
    });
    // SAFETY: all buffers hold n elements.
    add("reduce sum 1x4096", 4 * n, &mut || unsafe {
        micro::reduce(isa, ReduceOp::Sum, DType::F32, c.cast(), a.cast(), 1, n, 1);
    });
    // SAFETY: all buffers hold n elements.
    add("reduce max outer 64x64", 4 * n, &mut || unsafe {
        micro::reduce(isa, ReduceOp::Max, DType::F32, c.cast(), a.cast(), 1, 64, 64);
    });
    let (mut scale, mut top) = ([0.0f32], [0.0f32]);
    // SAFETY: all buffers hold n elements.
    add("softmax row of 4096 (max, exp, sum, scale)", 8 * n, &mut || unsafe {
        micro::reduce(isa, ReduceOp::Max, DType::F32, top.as_mut_ptr().cast(), a.cast(), 1, n, 1);
        micro::exp_sub(isa, c, row_a, Arg::Splat(top.as_ptr().cast()), n);
        micro::reduce(isa, ReduceOp::Sum, DType::F32, scale.as_mut_ptr().cast(), c.cast(), 1, n, 1);
        scale[0] = 1.0 / scale[0];
        micro::binary(
            isa,
            BinaryOp::Mul,
            DType::F32,
            c.cast(),
            Arg::Row(c.cast()),
            Arg::Splat(scale.as_ptr().cast()),
            n,
        );
    });
    // SAFETY: all buffers hold n elements.
    add("rmsnorm row of 4096 (square, sum, scale, weight)", 12 * n, &mut || unsafe {
        micro::binary(isa, BinaryOp::Mul, DType::F32, c.cast(), row_a, row_a, n);
        micro::reduce(isa, ReduceOp::Sum, DType::F32, scale.as_mut_ptr().cast(), c.cast(), 1, n, 1);
        scale[0] = 1.0 / (scale[0] / n as f32 + 1e-6).sqrt();
        micro::binary(isa, BinaryOp::Mul, DType::F32, c.cast(), row_a, Arg::Splat(scale.as_ptr().cast()), n);
        micro::binary(isa, BinaryOp::Mul, DType::F32, c.cast(), Arg::Row(c.cast()), row_b, n);
    });
    for dtype in [DType::F16, DType::BF16, DType::F8E4M3] {
        // SAFETY: all buffers hold n elements.
        add(&format!("widen {dtype} (arena bytes)"), 4 * n, &mut || unsafe {
            micro::widen(isa, dtype, a.cast(), c.cast(), n)
        });
        // SAFETY: all buffers hold n elements.
        add(&format!("narrow {dtype} (arena bytes)"), 4 * n, &mut || unsafe {
            micro::narrow(isa, dtype, a.cast(), c.cast(), n)
        });
    }
    for (dtype, form, row, col) in [
        (DType::F32, "NN", 64, 1),
        (DType::F32, "NT", 1, 64),
        (DType::BF16, "NN", 64, 1),
        (DType::BF16, "NT", 1, 64),
    ] {
        // SAFETY: all buffers hold n elements.
        add(&format!("pack_b {dtype} {form} 64x64 (arena bytes)"), 4 * n, &mut || unsafe {
            micro::pack_b(isa, dtype, a.cast(), row, col, 64, 64, 64, 64, 0, c);
        });
    }
    black_box(c);
}

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let isa = Isa::detect();
    let mut rows = Vec::new();
    let peak = (0..3).map(|_| ceiling::fma_peak_gflops(isa)).fold(0.0, f64::max);
    rows.push(Row {
        what: "peak multiply-add, 1 core".to_owned(),
        value: peak,
        unit: "GFLOP/s",
        ratio: None,
    });
    for (what, bytes) in
        [("L1 read, 16 KiB", 16 << 10), ("L2 read, 384 KiB", 384 << 10), ("L3 read, 8 MiB", 8 << 20)]
    {
        rows.push(Row {
            what: what.to_owned(),
            value: ceiling::cache_read_gbs(isa, bytes),
            unit: "GB/s",
            ratio: None,
        });
    }
    let dram = ceiling::dram_read_gbs(isa, 1);
    rows.push(Row {
        what: "DRAM read, 8 streams, 1 thread".to_owned(),
        value: dram,
        unit: "GB/s",
        ratio: None,
    });
    let two = ceiling::dram_read_gbs(isa, 2);
    rows.push(Row {
        what: "DRAM read, 8 streams, 2 threads".to_owned(),
        value: two,
        unit: "GB/s",
        ratio: None,
    });
    dots(isa, peak, &mut rows);
    streams(isa, dram, &mut rows);
    strips(isa, &mut rows);
    let after = ceiling::fma_peak_gflops(isa);
    rows.push(Row {
        what: "peak multiply-add again, after all".to_owned(),
        value: after,
        unit: "GFLOP/s",
        ratio: None,
    });
    if json {
        println!("{{\"isa\": \"{}\", \"rows\": [", isa.name());
        for (i, row) in rows.iter().enumerate() {
            let ratio = row.ratio.map_or("null".to_owned(), |r| format!("{r:.4}"));
            let comma = if i + 1 < rows.len() { "," } else { "" };
            println!(
                "  {{\"what\": \"{}\", \"value\": {:.2}, \"unit\": \"{}\", \"ratio\": {ratio}}}{comma}",
                row.what, row.value, row.unit
            );
        }
        println!("]}}");
        return;
    }
    println!("isa {}", isa.name());
    for row in &rows {
        let ratio = row.ratio.map_or(String::new(), |r| format!("{:5.1} %", r * 100.0));
        println!("{:<50} {:>9.1} {:<8} {ratio}", row.what, row.value, row.unit);
    }
}
