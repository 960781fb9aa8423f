//! `#[kernel]` end to end: the author's function to verified IR, names, keys and launches.

use std::cell::RefCell;

use tilewright_codegen::error::LaunchError;
use tilewright_codegen::ir::StmtKind;
use tilewright_codegen::kernel::{Launch, ParamKind};
use tilewright_codegen::launch::Arg;
use tilewright_codegen::prelude::*;
use tilewright_codegen::schedule::{TargetKind, Tuning};

/// `y = x w scale`, or with `w` transposed.
#[kernel(
    space(BM: [64, 128], BN: [64, 128], BK: [32, 64]),
    knobs(stages: [2, 3]),
    default(BM = 64, BN = 64, BK = 32),
    legal = |s| BM * BN <= 8192 && s.get("stages") != Some(7),
    facts(x: contiguous, y: [contiguous, divisible(2)]),
)]
pub fn matmul<T: Float + DotInput<Acc = f32>, BM: Dim, BN: Dim, BK: Dim>(
    x: View<T, 2>,
    w: View<T, 2>,
    y: ViewMut<T, 2>,
    scale: Scalar<f32>,
    transposed: bool,
) {
    let m = program_id(0) * BM;
    let n = program_id(1) * BN;
    let mut acc = zeros::<f32, (BM, BN)>();
    for k in range(0, x.dim(1), BK) {
        let a = x.load::<(BM, BK)>([m, k]);
        let b = if transposed { w.load::<(BN, BK)>([n, k]).t() } else { w.load::<(BK, BN)>([k, n]) };
        acc = dot(a, b, acc);
    }
    y.store([m, n], (acc * scale).cast::<T>());
}

/// Every rewriting in one body.
#[kernel(space(BM: [16], unroll: [1, 4]), comptime(mode: [Mode::Sum, Mode::Max]))]
fn everything<BM: Dim, const N: usize>(
    x: View<f32, 1>,
    y: ViewMut<f32, 1>,
    limit: Scalar<i32>,
    mode: Mode,
    unroll: usize,
) {
    let mut total = zeros::<f32, (BM,)>();
    let mut i = scalar(0i32);
    while i < limit && i != 1000 {
        for j in 0..unroll {
            let part = x.load::<(BM,)>([i * BM + j as i32]);
            total = match mode {
                Mode::Sum => total + part,
                Mode::Max => maximum(total, part),
            };
        }
        if i % 2 == 0 {
            total *= 2.0;
            i += 1;
        } else if i > 5 {
            i += 2;
        }
        i += 1;
    }
    let mut seen = Vec::new();
    for j in 0..10usize {
        if j == 3 {
            continue;
        }
        seen.push(j);
        if seen.len() >= N {
            break;
        }
    }
    assert!(seen.len() == N && BM == 16, "the host loop should stop at {N}");
    let square = total[(.., None)] * total[(None, ..)];
    let small = square < 1.0 || square == 3.0;
    let best = if limit > 3 { square.sum::<1>() } else { select(small, square, -square).max::<1>() };
    y.store([halve(limit)], best);
}

/// What the author's kernel may be parameterised with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Mode {
    Sum,
    Max,
}

#[device_fn]
fn halve(x: Scalar<i32>) -> Scalar<i32> {
    if x < 0 { -x / 2 } else { x / 2 }
}

#[test]
fn a_kernel_describes_itself() {
    let kernel = matmul::kernel::<f16>(true);
    assert_eq!((kernel.name, kernel.dims), ("matmul", &["BM", "BN", "BK"][..]));
    assert_eq!(kernel.params.iter().map(|p| p.name).collect::<Vec<_>>(), ["x", "w", "y", "scale"]);
    assert!(
        matches!(kernel.params[2].kind, ParamKind::View { rank: 2, mutable: true, facts, .. } if facts.divisible == 2)
    );
    assert_eq!(kernel.comptime, [("transposed", "true".to_owned())]);
    assert_eq!(kernel.knobs.points().count(), 2 * 2 * 2 * 2 - 4);
    assert_eq!(kernel.default.to_string(), "BK=32 BM=64 BN=64 stages=2");
    assert!(
        kernel.source.text.starts_with("pub fn matmul<T: Float")
            && kernel.source.file.ends_with("kernel_attribute.rs")
    );
    assert_ne!(kernel.id, matmul::kernel::<f16>(false).id);
    assert_ne!(kernel.id, matmul::kernel::<f32>(true).id);
    assert_eq!(kernel.id, matmul::kernel::<f16>(true).id);
}

#[kernel(
    space(BM: [64, 128], BN: [32, 64], unroll: [1, 2]),
    knobs(stages: [1, 2]),
    default(BM = 128, BN = 64, unroll = 2),
    legal = |s| BM + BN > 64,
    gpu(space(BM: [16, 32]), knobs(warps: [2, 8]), default(BM = 32, warps = 8, stages = 2), legal = |s| BM * BN <= 512 * warps),
)]
fn two_targets<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>, unroll: i32) {
    for i in 0..unroll {
        y.store([i, 0], x.load::<(BM, BN)>([i, 0]));
    }
}

#[kernel(
    space(BM: [16, 32, 64]),
    default(BM = 64),
    legal = |s| mode == Mode::Max || BM > 16,
    gpu(legal = |s| mode != Mode::Max || BM < 64),
    comptime(mode: [Mode::Sum, Mode::Max])
)]
fn ruled_by_a_value<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, mode: Mode) {
    let tile = x.load::<(BM,)>([0]);
    y.store([0], if mode == Mode::Max { maximum(tile, tile) } else { tile });
}

#[test]
fn a_rule_sees_comptime_values() {
    let points = |kernel: &Kernel, kind| {
        let Tuning { knobs, default, .. } = kernel.tuning(kind);
        (knobs.points().filter_map(|s| s.get("BM")).collect::<Vec<_>>(), default.get("BM"))
    };
    let [sum, max] = [Mode::Sum, Mode::Max].map(ruled_by_a_value::kernel);
    assert_eq!(points(&sum, TargetKind::Cpu), (vec![32, 64], Some(64)));
    assert_eq!(points(&max, TargetKind::Cpu), (vec![16, 32, 64], Some(64)));
    assert_eq!(points(&sum, TargetKind::Gpu), (vec![16, 32, 64], Some(64)));
    assert_eq!(points(&max, TargetKind::Gpu), (vec![16, 32], Some(16)), "the nearest legal point");
}

#[test]
fn gpus_have_a_space_of_their_own() {
    let kernel = two_targets::kernel();
    let gpu = kernel.tuning(TargetKind::Gpu);
    assert_eq!(kernel.default.to_string(), "BM=128 BN=64 stages=1 unroll=2");
    assert_eq!(gpu.default.to_string(), "BM=32 BN=64 stages=2 unroll=2 warps=8");
    let axes: Vec<(&str, &[i64])> = gpu.knobs.knobs.iter().map(|k| (k.name, k.values.as_slice())).collect();
    let inherited: [(&str, &[i64]); 3] = [("BN", &[32, 64]), ("unroll", &[1, 2]), ("stages", &[1, 2])];
    assert_eq!(axes[..2], [("BM", &[16, 32][..]), inherited[0]]);
    assert_eq!(axes[2..], [inherited[1], ("warps", &[2, 8]), inherited[2]]);
    // 32 x 64 on 2 warps is out, for both values of `unroll` and of `stages`.
    assert_eq!(gpu.knobs.points().count(), 2 * 2 * 2 * 2 * 2 - 4);
    let cpu = kernel.tuning(TargetKind::Cpu);
    assert_eq!((cpu.knobs.points().count(), cpu.default), (16, kernel.default.clone()));
    assert_ne!(cpu.source_hash, gpu.source_hash);
    let tested = kernel.configurations_for(TargetKind::Gpu, 200);
    assert!(tested.iter().all(|s| kernel.specialise(s).is_ok()) && tested.len() == 28, "{}", tested.len());

    let plain = matmul::kernel::<f16>(true);
    assert_eq!(plain.gpu.default, plain.default.clone().with("warps", 4));
    assert_eq!(plain.gpu.knobs.points().count(), plain.knobs.points().count());
    assert_eq!(plain.gpu.source_hash, plain.source.hash);
}

#[test]
fn run_time_control_flow_becomes_regions() {
    let func = matmul::kernel::<f16>(true)
        .specialise(&Schedule::new(&[("BM", 48), ("BN", 64), ("BK", 16)]))
        .unwrap_or_else(|e| panic!("{e}"));
    let loops = func.body.stmts.iter().filter(|s| matches!(s.kind, StmtKind::For { .. })).count();
    assert_eq!(loops, 1);
    for name in ["x", "scale", "m", "n", "acc", "a", "b"] {
        assert!(
            func.values.iter().any(|v| v.name.as_deref() == Some(name)),
            "{name} should name a value in {func:?}"
        );
    }
    let line = func.body.stmts.iter().find(|s| matches!(s.kind, StmtKind::For { .. })).map(|s| s.loc);
    let at = line.expect("there should be a loop");
    assert!(at.file.ends_with("kernel_attribute.rs") && at.column == 5, "{at}");
}

#[test]
fn everything_specialises() {
    for unroll in [1, 4] {
        let func = everything::kernel::<3>(Mode::Max)
            .specialise(&Schedule::new(&[("BM", 16), ("unroll", unroll)]))
            .unwrap_or_else(|e| panic!("{e}"));
        let body = func.body.stmts.iter().find_map(|s| {
            if let StmtKind::While { body, inits, .. } = &s.kind { Some((body, inits)) } else { None }
        });
        let (body, inits) = body.expect("the while loop should be there");
        assert_eq!(inits.len(), 2, "total and i are carried");
        assert_eq!(body.stmts.iter().filter(|s| matches!(s.kind, StmtKind::If { .. })).count(), 1);
    }
}

#[test]
fn missing_and_impossible_extents_are_named() {
    let error = matmul::kernel::<f32>(false)
        .specialise(&Schedule::new(&[("BM", 0), ("BN", 64)]))
        .expect_err("should fail");
    let text = error.to_string();
    assert!(text.contains("extent 0 of dimension `BM` of kernel `matmul` is not possible"), "{text}");
    assert!(text.contains("dimension `BK` of kernel `matmul` has no extent"), "{text}");
    let error = everything::kernel::<3>(Mode::Sum)
        .specialise(&Schedule::new(&[("BM", 16)]))
        .expect_err("should fail");
    assert!(error.to_string().contains("tunable `unroll`"), "{error}");
    let error = everything::kernel::<3>(Mode::Sum)
        .specialise(&Schedule::new(&[("BM", 8), ("unroll", 1)]))
        .expect_err("the assertion should fail");
    assert!(error.to_string().contains("the host loop should stop at 3"), "{error}");
}

/// Remembers the keys of launches.
#[derive(Default)]
struct Recorder(RefCell<Vec<u64>>);

impl LaunchOn for Recorder {
    fn launch(&self, launch: Launch<'_>) -> Result<(), LaunchError> {
        (launch.kernel)().check_args(launch.args)?;
        assert!(matches!(launch.args[3], Arg::Scalar(bits) if bits == u64::from(2f32.to_bits())));
        self.0.borrow_mut().push(launch.key);
        Ok(())
    }
}

#[test]
fn the_typed_launcher_keys_and_checks() {
    let (x, mut y) = (vec![0f32; 64], vec![0f32; 64]);
    let device = Recorder::default();
    let shape = |v| TensorRef::from_slice(v, [8, 8]).expect("the length should fit");
    let mut run = |schedule: &Schedule, transposed| {
        let y = TensorMut::from_slice(&mut y, [8, 8]).expect("the length should fit");
        matmul::launch(
            &device,
            schedule,
            [1, 1, 1],
            shape(&x),
            shape(&x).transposed(0, 1),
            y,
            2.0,
            transposed,
        )
    };
    let schedule = matmul::kernel::<f32>(false).default;
    run(&schedule, false).expect("should launch");
    run(&schedule, false).expect("should launch");
    run(&schedule, true).expect("should launch");
    run(&schedule.clone().with("BM", 128), true).expect("should launch");
    let mut keys = device.0.borrow().clone();
    assert_eq!(keys[0], keys[1]);
    keys.dedup();
    assert_eq!(keys.len(), 3);

    let error = matmul::launch(
        &device,
        &schedule,
        [1, 1, 1],
        shape(&x).transposed(0, 1),
        shape(&x),
        TensorMut::from_slice(&mut y, [8, 8]).expect("the length should fit"),
        2.0,
        false,
    );
    let error = error.expect_err("x is not contiguous");
    assert!(error.to_string().contains("argument `x` of kernel `matmul` must be contiguous"), "{error}");
}
