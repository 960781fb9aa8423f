//! Arithmetic, conversions and divergence of compiled kernels against the host's own.

mod common;

use common::{Arg, Bench, Rng, options};
use tilewright_sim::{FindingKind, Options, Policy, Race};

const PTX: &str = include_str!("fixtures/elementwise.ptx");

fn blocks(n: usize) -> [u32; 3] {
    [n.div_ceil(96) as u32, 1, 1]
}

#[test]
fn sums_of_awkward_lengths() {
    for n in [1, 7, 96, 129, 1000] {
        let mut bench = Bench::new(PTX);
        let mut rng = Rng(n as u64);
        let a: Vec<f32> = (0..n).map(|_| rng.unit()).collect();
        let b: Vec<f32> = (0..n).map(|_| rng.unit()).collect();
        let (da, db) = (bench.upload_f32(&a, "a"), bench.upload_f32(&b, "b"));
        let out = bench.machine.alloc(4 * n as u64, "out");
        let args = [Arg::U64(da), Arg::U64(db), Arg::U64(out), Arg::I32(n as i32)];
        let report = bench.run("add", blocks(n), 96, 0, &args, Options::default());
        assert!(report.is_clean(), "{report}");
        let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        assert_eq!(bench.f32s(out, n), expected);
    }
}

#[test]
fn an_element_too_many_is_named() {
    let mut bench = Bench::new(PTX);
    let [a, b, out] = [400, 404, 404].map(|bytes| bench.upload(&vec![0; bytes], &format!("{bytes} bytes")));
    let args = [Arg::U64(a), Arg::U64(b), Arg::U64(out), Arg::I32(101)];
    let report = bench.run("add", blocks(101), 96, 0, &args, Options::default());
    let [finding] = report.findings.as_slice() else { panic!("one finding is expected: {report}") };
    assert_eq!(
        (finding.kind, finding.block, finding.thread),
        (FindingKind::OutOfBounds, [1, 0, 0], Some([4, 0, 0]))
    );
    assert!(finding.message.contains("`400 bytes`, 4 past its end at 400"), "{finding}");
    let source = finding.source.as_ref().expect("the fixture has line numbers");
    assert_eq!((source.file.as_str(), source.line), ("elementwise.cu", 8));
}

#[test]
fn functions_of_the_device_library() {
    let n = 500;
    let mut bench = Bench::new(PTX);
    let mut rng = Rng(3);
    let x: Vec<f32> = (0..n).map(|_| 4.0 * rng.unit()).collect();
    let dx = bench.upload_f32(&x, "x");
    let out = bench.machine.alloc(4 * 16 * n as u64, "out");
    let report = bench.run(
        "functions",
        blocks(n),
        96,
        0,
        &[Arg::U64(dx), Arg::U64(out), Arg::I32(n as i32)],
        Options::default(),
    );
    assert!(report.is_clean(), "{report}");
    let results = bench.f32s(out, 16 * n);
    for (i, &v) in x.iter().enumerate() {
        let v = f64::from(v);
        let p = f64::from(x[i].abs() + 0.25);
        // The product is rounded before the sine sees it.
        let large = f64::from(x[i] * 100_000.0);
        let expected = [
            v.exp(),
            p.ln(),
            large.sin(),
            v.cos(),
            v.tanh(),
            erf(v),
            p.powf(f64::from(1.7f32)),
            v.exp2(),
            p.sqrt(),
            1.0 / p.sqrt(),
            v / p,
            p.log2(),
            v.floor(),
            v.round_ties_even(),
            v % f64::from(0.3f32),
            v.atan(),
        ];
        for (k, &e) in expected.iter().enumerate() {
            let got = f64::from(results[k * n + i]);
            assert!((got - e).abs() <= 1e-6 * e.abs().max(0.2), "function {k} of {v}: {got}, expected {e}");
        }
    }
}

/// Error function by its series, good to double precision for arguments up to 4.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn integer_operations() {
    let n = 400;
    let mut bench = Bench::new(PTX);
    let mut rng = Rng(11);
    let mut draw = || -> Vec<u32> { (0..n).map(|i| (rng.next() >> (i % 31)) as u32).collect() };
    let (x, y) = (draw(), draw());
    let bytes = |v: &[u32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (dx, dy) = (bench.upload(&bytes(&x), "x"), bench.upload(&bytes(&y), "y"));
    let out = bench.machine.alloc(4 * 16 * n as u64, "out");
    let args = [Arg::U64(dx), Arg::U64(dy), Arg::U64(out), Arg::I32(n as i32)];
    let report = bench.run("integers", blocks(n), 96, 0, &args, Options::default());
    assert!(report.is_clean(), "{report}");
    let results = bench.u32s(out, 16 * n);
    for i in 0..n {
        let (ua, ub) = (x[i], y[i] | 1);
        let (a, b) = (x[i] as i32, y[i] as i32);
        let odd = b | 1;
        let wide = i64::from(a).wrapping_mul(i64::from(b)) + 12345;
        let dot: i32 =
            (0..4).map(|k| i32::from((a >> (8 * k)) as i8) * i32::from((b >> (8 * k)) as i8)).sum();
        let expected = [
            a.wrapping_div(odd) as u32,
            a.wrapping_rem(odd) as u32,
            ua / ub,
            ua % ub,
            (wide / i64::from(odd)) as u32,
            ua.leading_zeros(),
            ua.count_ones(),
            ua.reverse_bits(),
            (ua & 0xffff) | (y[i] << 16),
            (a >> (b & 31)) as u32,
            (y[i] << 7) | (ua >> 25),
            ((i64::from(a) * i64::from(b)) >> 32) as u32,
            (dot + 3) as u32,
            a.min(b) as u32,
            (wide >> 17) as u32,
            (ua & ub) ^ (ua | !ub),
        ];
        for (k, e) in expected.into_iter().enumerate() {
            assert_eq!(results[k * n + i], e, "result {k} of {a} and {b}");
        }
    }
}

#[test]
fn narrow_types_round_as_the_formats_say() {
    let n = 300;
    let mut bench = Bench::new(PTX);
    let mut rng = Rng(5);
    let x: Vec<f32> = (0..n).map(|i| rng.unit() * [1.0, 300.0, 0.01][i % 3]).collect();
    let dx = bench.upload_f32(&x, "x");
    let [b, h, e, q] = [2 * n, 2 * n, n, n].map(|bytes| bench.machine.alloc(bytes as u64, "out"));
    let args = [Arg::U64(dx), Arg::U64(b), Arg::U64(h), Arg::U64(e), Arg::U64(q), Arg::I32(n as i32)];
    let report = bench.run("narrow", blocks(n), 96, 0, &args, Options::default());
    assert!(report.is_clean(), "{report}");
    let halves = bench.bytes(h, 2 * n);
    let (bytes, ints) = (bench.bytes(e, n), bench.bytes(q, n));
    for (i, &v) in x.iter().enumerate() {
        assert_eq!(bench.bf16s(b, n)[i], half::bf16::from_f32(v).to_f32());
        let sum = half::f16::from_f32(half::f16::from_f32(v).to_f32() + 0.5);
        assert_eq!(half::f16::from_le_bytes([halves[2 * i], halves[2 * i + 1]]), sum, "{v}");
        assert_eq!(ints[i] as i8, (v * 64.0).round_ties_even().clamp(-128.0, 127.0) as i8, "{v}");
        // e4m3: the nearest of all 127 magnitudes, ties to the even code.
        let magnitude = |code: u8| -> f32 {
            let (exponent, mantissa) = (i32::from(code >> 3), f32::from(code & 7));
            if exponent == 0 { mantissa / 512.0 } else { (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7) }
        };
        let best = (0..0x7f_u8)
            .min_by(|&p, &r| {
                let distance = |c: u8| (magnitude(c) - v.abs().min(448.0)).abs();
                distance(p).total_cmp(&distance(r)).then((p & 1).cmp(&(r & 1)))
            })
            .expect("there are codes");
        assert_eq!(bytes[i] & 0x7f, best, "{v}");
    }
}

#[test]
fn lanes_that_part_come_together_again() {
    let n = 200;
    let steps = |v: u32| {
        let (mut v, mut n) = (v, 0);
        while v != 1 {
            v = if v % 2 == 1 { 3 * v + 1 } else { v / 2 };
            n += 1;
        }
        n
    };
    for seed in 0..20 {
        let mut bench = Bench::new(PTX);
        let out = bench.machine.alloc(4 * n as u64, "out");
        let options = options(Policy::Random, seed, Race::Off);
        let report = bench.run("diverge", blocks(n), 96, 0, &[Arg::U64(out), Arg::I32(n as i32)], options);
        assert!(report.is_clean(), "{report}");
        for (i, got) in bench.u32s(out, n).into_iter().enumerate() {
            let i = i as u32;
            let seen = |k: u32| steps(i + k + 1);
            let last = match i % 3 {
                0 => 1000,
                1 => 2000,
                _ => seen((i >> 3) & 7),
            };
            assert_eq!(got, seen(i & 7) + last, "element {i}");
        }
    }
}
