//! The sampler against a slow f64 reference, and its draws against their distribution.

use super::*;

/// The probabilities that transformers' filters leave, `[vocab]`, by sorting and cumulative sums in f64.
fn reference(logits: &[f32], seen: &[u32], params: &SamplingParams) -> Vec<f64> {
    let mut scores: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let mut once = seen.to_vec();
    once.sort_unstable();
    once.dedup();
    for token in once {
        let score = &mut scores[token as usize];
        let penalty = f64::from(params.repetition_penalty);
        *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
    }
    for score in &mut scores {
        *score /= f64::from(params.temperature);
    }
    if let Some(top_k) = params.top_k {
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let kth = sorted[top_k.min(sorted.len()) - 1];
        scores.iter_mut().filter(|score| **score < kth).for_each(|score| *score = f64::NEG_INFINITY);
    }
    if params.top_p < 1.0 {
        let probs = softmax(&scores);
        let mut order: Vec<usize> = (0..probs.len()).collect();
        order.sort_by(|a, b| probs[*a].total_cmp(&probs[*b]));
        let mut cumulative = 0.0;
        for idx in &order[..order.len() - 1] {
            cumulative += probs[*idx];
            if cumulative <= 1.0 - f64::from(params.top_p) {
                scores[*idx] = f64::NEG_INFINITY;
            }
        }
    }
    if params.min_p > 0.0 {
        let probs = softmax(&scores);
        let best = probs.iter().copied().fold(0.0, f64::max);
        for (score, prob) in scores.iter_mut().zip(&probs) {
            if *prob < f64::from(params.min_p) * best {
                *score = f64::NEG_INFINITY;
            }
        }
    }
    softmax(&scores)
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn random_row(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|idx| {
            (mix(seed.wrapping_mul(31).wrapping_add(idx)) >> 40) as f32 / (1u64 << 24) as f32 * 12.0 - 6.0
        })
        .collect()
}

/// How often each token comes in `n_draws` independent sequences.
fn histogram(logits: &[f32], prompt: &[u32], params: &SamplingParams, n_draws: u64) -> Vec<f64> {
    let mut counts = vec![0.0; logits.len()];
    for sequence_idx in 0..n_draws {
        let mut sampler =
            Sampler::new(params.clone(), sequence_idx, prompt).expect("parameters should be legal");
        counts[sampler.sample(logits).expect("logits should be usable") as usize] += 1.0 / n_draws as f64;
    }
    counts
}

fn sampling(temperature: f32) -> SamplingParams {
    SamplingParams { temperature, seed: 7, ..SamplingParams::greedy() }
}

#[test]
fn draws_follow_the_reference_distribution() {
    let cases = [
        sampling(1.0),
        sampling(0.6),
        SamplingParams { top_k: Some(5), ..sampling(1.3) },
        SamplingParams { top_p: 0.8, ..sampling(1.0) },
        SamplingParams { min_p: 0.1, ..sampling(1.5) },
        SamplingParams { repetition_penalty: 1.7, ..sampling(1.0) },
        SamplingParams { top_k: Some(9), top_p: 0.9, min_p: 0.05, repetition_penalty: 1.3, ..sampling(0.8) },
    ];
    let prompt = [3, 3, 11, 0];
    for (case_idx, params) in cases.iter().enumerate() {
        for len in [1, 7, 33] {
            let prompt: Vec<u32> = prompt.iter().copied().filter(|token| (*token as usize) < len).collect();
            let logits = random_row(len, case_idx as u64 + 100 * len as u64);
            let expected = reference(&logits, &prompt, params);
            let n_draws = 20_000;
            let found = histogram(&logits, &prompt, params, n_draws);
            for (token, (expected, found)) in expected.iter().zip(&found).enumerate() {
                if *expected == 0.0 {
                    assert_eq!(*found, 0.0, "case {case_idx}: token {token} should have been filtered");
                }
                // Five standard deviations of a binomial share.
                let tolerance = 5.0 * (expected * (1.0 - expected) / n_draws as f64).sqrt() + 1e-9;
                assert!(
                    (expected - found).abs() <= tolerance,
                    "case {case_idx}, {len} tokens: token {token} came with {found}, expected {expected}"
                );
            }
        }
    }
}

#[test]
fn filters_keep_what_the_reference_keeps_on_long_rows() {
    // Small temperature and many draws reach every kept token only in short rows; here support is compared directly.
    for (seed, top_p) in [(1, 0.5), (2, 0.9), (3, 0.99), (4, 0.0)] {
        let logits = random_row(1537, seed);
        let params = SamplingParams { top_p, ..sampling(0.7) };
        let expected: Vec<usize> = reference(&logits, &[], &params)
            .iter()
            .enumerate()
            .filter(|(_, prob)| **prob > 0.0)
            .map(|(token, _)| token)
            .collect();
        let candidates: Vec<Candidate> =
            (0u32..).zip(&logits).map(|(token, &logit)| Candidate { token, logit }).collect();
        let max_logit = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut weighted = weigh(&candidates, max_logit, params.temperature);
        keep_top_p(&mut weighted, f64::from(params.top_p));
        let mut found: Vec<usize> = weighted.iter().map(|candidate| candidate.token as usize).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "top_p {top_p}");
    }
}

#[test]
fn greedy_takes_the_first_of_equals_after_the_penalty() {
    let logits = [1.0, 3.0, 3.0, -1.0];
    let mut plain = Sampler::new(SamplingParams::greedy(), 0, &[]).expect("greedy should be legal");
    assert_eq!(plain.sample(&logits).expect("finite logits"), 1);
    let penalised = SamplingParams { repetition_penalty: 2.0, ..SamplingParams::greedy() };
    let mut sampler = Sampler::new(penalised, 0, &[1]).expect("a penalty of 2 should be legal");
    assert_eq!(sampler.sample(&logits).expect("finite logits"), 2, "token 1 fell to 1.5");
    assert_eq!(sampler.sample(&logits).expect("finite logits"), 1, "both fell to 1.5");
}

#[test]
fn top_k_keeps_ties_of_the_last() {
    let logits = [2.0, 1.0, 1.0, 0.0];
    let params = SamplingParams { top_k: Some(2), ..sampling(1.0) };
    let found = histogram(&logits, &[], &params, 2000);
    assert!(found[1] > 0.1 && found[2] > 0.1 && found[3] == 0.0, "{found:?}");
}

#[test]
fn candidates_of_a_top_k_kernel_give_the_same_draws() {
    let logits = random_row(500, 5);
    let params = SamplingParams { top_k: Some(20), top_p: 0.95, ..sampling(0.9) };
    let mut pairs: Vec<Candidate> =
        (0u32..).zip(&logits).map(|(token, &logit)| Candidate { token, logit }).collect();
    pairs.sort_by(|a, b| b.logit.total_cmp(&a.logit));
    pairs.truncate(20);
    for sequence_idx in 0..200 {
        let mut on_row = Sampler::new(params.clone(), sequence_idx, &[]).expect("legal parameters");
        let mut on_pairs = on_row.clone();
        let expected = on_row.sample(&logits).expect("finite logits");
        assert_eq!(on_pairs.sample_candidates(&mut pairs.clone()).expect("finite logits"), expected);
    }
}

#[test]
fn draws_depend_on_seed_sequence_and_step_only() {
    let logits = vec![0.0; 1000];
    let draw = |seed, sequence_idx| -> Vec<u32> {
        let params = SamplingParams { seed, ..sampling(1.0) };
        let mut sampler = Sampler::new(params, sequence_idx, &[]).expect("legal parameters");
        (0..8).map(|_| sampler.sample(&logits).expect("finite logits")).collect()
    };
    assert_eq!(draw(1, 0), draw(1, 0));
    assert_ne!(draw(1, 0), draw(2, 0));
    assert_ne!(draw(1, 0), draw(1, 1));
    assert!(draw(1, 0).windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn a_tiny_temperature_is_greedy_and_does_not_overflow() {
    let logits = [80.0, 90.0, 89.999];
    let mut sampler = Sampler::new(sampling(1e-30), 0, &[]).expect("legal parameters");
    assert_eq!(sampler.sample(&logits).expect("finite logits"), 1);
}

#[test]
fn unusable_logits_are_errors_with_the_index() {
    for params in [SamplingParams::greedy(), sampling(1.0)] {
        let mut sampler = Sampler::new(params, 0, &[]).expect("legal parameters");
        let message = sampler.sample(&[0.0, f32::NAN]).expect_err("NaN should be refused").to_string();
        assert!(message.contains("entry 1 is NaN"), "{message}");
        assert!(sampler.sample(&[f32::NEG_INFINITY; 3]).is_err());
        assert!(sampler.sample(&[]).is_err());
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY, -5.0]).expect("one finite logit"), 1);
    }
}

#[test]
fn parameters_out_of_range_name_the_option() {
    let cases = [
        (SamplingParams { temperature: -1.0, ..sampling(1.0) }, "--temperature is -1"),
        (SamplingParams { temperature: f32::NAN, ..sampling(1.0) }, "--temperature is NaN"),
        (SamplingParams { top_k: Some(0), ..sampling(1.0) }, "--top-k is 0"),
        (SamplingParams { top_p: 1.5, ..sampling(1.0) }, "--top-p is 1.5"),
        (SamplingParams { min_p: -0.5, ..sampling(1.0) }, "--min-p is -0.5"),
        (SamplingParams { repetition_penalty: 0.0, ..sampling(1.0) }, "--repetition-penalty is 0"),
    ];
    for (params, expected) in cases {
        let message = Sampler::new(params, 0, &[]).expect_err("out of range").to_string();
        assert!(message.contains(expected), "`{expected}` should be in: {message}");
    }
}
