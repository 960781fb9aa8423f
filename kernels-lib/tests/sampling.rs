//! Sampling beyond the registry's few problems: many seeds against the sorted reference, and the frequencies of what is picked.

use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::{registry, sample};
use tilewright_runtime::{Buffer, Device};

#[test]
fn picks_are_those_of_sorting_for_many_seeds() {
    let stream = Device::cpu(2).stream();
    let entry = registry::find("sample").expect("sample should be registered");
    let (mut wrong, mut n) = (Vec::new(), 0);
    for filters in ["all", "none", "greedy", "top_k", "top_p", "min_p"] {
        for (seed, shape) in (0..12).zip([[16, 700], [60, 7]].iter().cycle()) {
            let params = CaseParams { seed, ..CaseParams::new("f32", shape) };
            let params = params.with_option("filters", filters);
            let mut case = entry.case(&params).expect("a case");
            let schedule = case.kernel().default.clone().with("BN", 512);
            let report = case.check(&stream, &schedule).expect("it should run");
            n += 1;
            if !report.passed {
                wrong.push(format!("{filters} seed {seed}: {:?}", case.outputs()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {n} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn tokens_come_as_often_as_their_probability_says() {
    const ROWS: usize = 4000;
    let logits = [1.0f32, 3.0, -2.0, 2.0, 0.0, f32::NEG_INFINITY];
    let device = Device::cpu(2);
    let schedule = sample::sample::kernel::<f32>().default.with("BN", 512);
    let frequencies = |top_k: i32, top_p: f32| {
        let rows: Vec<f32> = logits.iter().copied().cycle().take(ROWS * logits.len()).collect();
        let full = |x: f32| Buffer::from_slice(&[x; ROWS]).expect("memory");
        let (x, temperatures, top_ps, min_ps) =
            (Buffer::from_slice(&rows).expect("memory"), full(0.8), full(top_p), full(0.0));
        let top_ks = Buffer::from_slice(&[top_k; ROWS]).expect("memory");
        let streams = Buffer::from_slice(&[sample::mix(42) as i64; ROWS]).expect("memory");
        let steps = Buffer::from_slice(&(0..ROWS as i32).collect::<Vec<_>>()).expect("memory");
        let mut tokens = Buffer::<i32>::zeros(ROWS).expect("memory");
        let controls = sample::Controls {
            temperatures: temperatures.view([ROWS]).expect("a view"),
            top_ks: top_ks.view([ROWS]).expect("a view"),
            top_ps: top_ps.view([ROWS]).expect("a view"),
            min_ps: min_ps.view([ROWS]).expect("a view"),
            streams: streams.view([ROWS]).expect("a view"),
            steps: steps.view([ROWS]).expect("a view"),
        };
        let x = x.view([ROWS, logits.len()]).expect("a view");
        let out = tokens.view_mut([ROWS]).expect("a view");
        sample::run(&device.stream(), &schedule, x, controls, out).expect("it should run");
        let share =
            |t: usize| tokens.as_slice().iter().filter(|&&x| x == t as i32).count() as f64 / ROWS as f64;
        (0..logits.len()).map(share).collect::<Vec<_>>()
    };
    let weights: Vec<f64> = logits.iter().map(|x| (f64::from(*x) / 0.8).exp()).collect();
    // Positions by probability: 1, 3, 0, 4, 2; a top_p of 0.9 needs the first two.
    for (top_k, top_p, kept) in [(0, 1.0, 5), (3, 1.0, 3), (0, 0.9, 2), (1, 0.5, 1)] {
        let found = frequencies(top_k, top_p);
        let order = [1usize, 3, 0, 4, 2];
        let total: f64 = order[..kept].iter().map(|&t| weights[t]).sum();
        for (place, &t) in order.iter().enumerate() {
            let expected = if place < kept { weights[t] / total } else { 0.0 };
            // Four standard deviations.
            let slack = 4.0 * (expected * (1.0 - expected) / ROWS as f64).sqrt();
            assert!(
                (found[t] - expected).abs() <= slack,
                "token {t}: {} for {expected} ({top_k}, {top_p})",
                found[t]
            );
        }
        assert_eq!(found[5], 0.0, "a logit of minus infinity is never picked");
    }
}
