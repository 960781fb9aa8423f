//! The GPU's path without a GPU: the demo model answers through the CUDA C of every kernel on its way, compiled by NVRTC and
//! executed on the simulated GPU; and what is said where there is no device. Skipped, and counted so, without the compiler.

mod common;

use std::process::Command;

use tilewright_codegen::target::Arch;
use tilewright_executor::args::DeviceKind;
use tilewright_executor::config::ModelConfig;
use tilewright_executor::forward::{Chunk, Forward, LogitRows, ScheduleSource, Step};
use tilewright_executor::kv_cache::{KvCache, KvLayout, SeqId};
use tilewright_executor::model::{self, LoadOptions, StepMode};
use tilewright_executor::sampler::{Sampler, SamplingParams};
use tilewright_executor::tokenizer::{SpecialTokens, Tokenizer};
use tilewright_executor::weights::Weights;

use common::has_compiler;

/// The answers of the demo model to a batch of prompts on a simulated GPU, and the kernels that gave them.
fn answers(arch: Arch, prompts: &[&str]) -> (Vec<String>, Vec<String>) {
    let (answers, kernels) = common::answers(arch, prompts);
    assert!(
        kernels.iter().all(|kernel| !matches!(kernel.source, ScheduleSource::Record(_))),
        "nobody recorded a simulated GPU"
    );
    (answers, kernels.into_iter().map(|k| k.name).collect())
}

#[test]
fn the_demo_model_adds_on_a_simulated_gpu() {
    if !has_compiler("the_demo_model_adds_on_a_simulated_gpu") {
        return;
    }
    let (answers, kernels) = answers(Arch::Sm80, &["128+345="]);
    assert_eq!(answers, ["473"]);
    for step in [
        "embedding",
        "rms_norm",
        "rope_table",
        "rope_write",
        "attention_paged",
        "attention_decode",
        "lm_head",
        "sample",
    ] {
        assert!(kernels.iter().any(|name| name.contains(step)), "{step} should be among {kernels:?}");
    }
}

/// Logits of a batch of prompts of several lengths and of steps after them, and how many graphs there are in the end.
fn logits(steps: StepMode) -> (Vec<Vec<f32>>, usize) {
    const STEPS: usize = 6;
    let source = tilewright_executor::demo::source();
    let config = ModelConfig::load(&source).expect("the demo's configuration should parse");
    let weights = Weights::open(&source).expect("the demo's weights should open");
    let tokenizer = Tokenizer::load(&source).expect("the demo's tokenizer should load");
    let kv_layout = KvLayout::new(&config, 2, 8);
    let options = LoadOptions {
        device: DeviceKind::Sim(Arch::Sm80),
        n_threads: None,
        kv_layout,
        n_kv_pages: 12,
        steps,
    };
    let mut forward = model::load(&config, &weights, &options).expect("the demo should load");
    let mut kv = KvCache::new(kv_layout, 12);
    let prompts =
        ["128+345=", "1+1=", "27+9="].map(|p| tokenizer.encode(p, SpecialTokens::Add).expect("a prompt"));
    let seqs = prompts.each_ref().map(|prompt| {
        let seq = kv.add_sequence();
        kv.append(seq, prompt.len()).expect("the prompt should fit");
        seq
    });
    let vocab = config.vocab_size;
    let chunks: Vec<Chunk<'_>> =
        seqs.iter().zip(&prompts).map(|(&seq, tokens)| Chunk { seq, start: 0, tokens }).collect();
    let mut rows = vec![f32::NAN; seqs.len() * vocab];
    forward.prefill(&kv, &chunks, LogitRows::Last, &mut rows).expect("the prompts should run");
    let mut all = vec![rows.clone()];
    for step in 0..STEPS {
        let batch: Vec<Step> = seqs
            .iter()
            .zip(rows.chunks(vocab))
            .map(|(&seq, row)| {
                let position = kv.n_tokens(seq);
                kv.append(seq, 1).expect("a step should fit");
                let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("a row").0;
                Step { seq, position, token: best as u32 }
            })
            .collect();
        // One sequence leaves early: the step has another shape, and later again the first.
        let n = if step == 3 { 1 } else { batch.len() };
        forward.decode(&kv, &batch[..n], &mut rows[..n * vocab]).expect("a step should run");
        all.push(rows[..n * vocab].to_vec());
    }
    (all, forward.n_graphs())
}

#[test]
fn a_replayed_step_gives_the_bits_of_its_launches() {
    if !has_compiler("a_replayed_step_gives_the_bits_of_its_launches") {
        return;
    }
    let (launched, no_graphs) = logits(StepMode::Launch);
    let (replayed, n_graphs) = logits(StepMode::Replay);
    assert_eq!(no_graphs, 0);
    assert!(n_graphs > 0, "a shape that comes again should be recorded");
    for (step, (launched, replayed)) in launched.iter().zip(&replayed).enumerate() {
        let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(launched.iter().all(|x| x.is_finite()), "step {step}");
        assert_eq!(bits(launched), bits(replayed), "step {step}");
    }
}

/// The demo model on a simulated GPU with one sequence that has seen a prompt, and the prompt.
fn demo_after_a_prompt() -> (Box<dyn Forward>, KvCache, SeqId, Vec<u32>) {
    let source = tilewright_executor::demo::source();
    let config = ModelConfig::load(&source).expect("the demo's configuration should parse");
    let weights = Weights::open(&source).expect("the demo's weights should open");
    let tokenizer = Tokenizer::load(&source).expect("the demo's tokenizer should load");
    let kv_layout = KvLayout::new(&config, 2, 32);
    let device = DeviceKind::Sim(Arch::Sm90a);
    let options = LoadOptions { device, n_threads: None, kv_layout, n_kv_pages: 2, steps: StepMode::Replay };
    let forward = model::load(&config, &weights, &options).expect("the demo should load");
    let mut kv = KvCache::new(kv_layout, 2);
    let prompt = tokenizer.encode("128+345=", SpecialTokens::Add).expect("the prompt should encode");
    let seq = kv.add_sequence();
    kv.append(seq, prompt.len()).expect("the prompt should fit");
    (forward, kv, seq, prompt)
}

#[test]
fn the_device_picks_what_the_host_would() {
    if !has_compiler("the_device_picks_what_the_host_would") {
        return;
    }
    let (mut forward, mut kv, seq, prompt) = demo_after_a_prompt();
    let vocab = forward.limits().vocab_size;
    let mut logits = vec![f32::NAN; vocab];
    let chunk = Chunk { seq, start: 0, tokens: &prompt };
    forward.prefill(&kv, &[chunk], LogitRows::Last, &mut logits).expect("the prompt should run");
    kv.append(seq, 1).expect("a step should fit");
    let step = [Step { seq, position: prompt.len(), token: prompt[0] }];
    forward.decode(&kv, &step, &mut logits).expect("the step should run");
    let base = SamplingParams { temperature: 3.0, ..SamplingParams::greedy() };
    let params = [
        SamplingParams::greedy(),
        base.clone(),
        SamplingParams { top_k: Some(5), ..base.clone() },
        SamplingParams { top_p: 0.8, ..base.clone() },
        SamplingParams { min_p: 0.05, ..base.clone() },
        SamplingParams { temperature: 9.0, top_k: Some(20), top_p: 0.93, min_p: 0.01, ..base },
    ];
    let mut picked = std::collections::BTreeSet::new();
    for (i, params) in params.iter().enumerate() {
        for seed in 0..4 {
            let params = SamplingParams { seed, ..params.clone() };
            let mut sampler = Sampler::new(params, 3, &prompt).expect("the parameters are in range");
            let on_device = forward
                .decode_and_pick(&kv, &step, &[sampler.draw()])
                .expect("the step should run")
                .expect("a GPU should pick by itself");
            let on_host = sampler.sample(&logits).expect("the logits are finite");
            assert_eq!(on_device, [on_host], "parameters {i}, seed {seed}");
            picked.insert(on_host);
        }
    }
    assert!(picked.len() > 2, "the parameters should give different tokens");

    // A penalty moves the best token away; on the device penalised logits are rounded to the type of activations.
    let params = SamplingParams { repetition_penalty: 50.0, ..SamplingParams::greedy() };
    let best = Sampler::new(SamplingParams::greedy(), 0, &[]).and_then(|mut s| s.sample(&logits));
    let best = best.expect("the logits are finite");
    let mut sampler = Sampler::new(params, 0, &[best, 1, 2]).expect("the parameters are in range");
    for _ in 0..3 {
        let on_device = forward.decode_and_pick(&kv, &step, &[sampler.draw()]).expect("the step should run");
        let on_host = sampler.sample(&logits).expect("the logits are finite");
        assert_eq!(on_device, Some(vec![on_host]));
        assert_ne!(on_host, best);
    }
}

#[test]
fn prompts_are_picked_from_on_the_device_too() {
    if !has_compiler("prompts_are_picked_from_on_the_device_too") {
        return;
    }
    let (mut forward, kv, seq, prompt) = demo_after_a_prompt();
    let chunk = Chunk { seq, start: 0, tokens: &prompt };
    let mut logits = vec![f32::NAN; forward.limits().vocab_size];
    forward.prefill(&kv, &[chunk], LogitRows::Last, &mut logits).expect("the prompt should run");
    let mut sampler = Sampler::new(SamplingParams::greedy(), 0, &prompt).expect("greedy is in range");
    let on_device =
        forward.prefill_and_pick(&kv, &[chunk], &[sampler.draw()]).expect("the prompt should run");
    assert_eq!(on_device, Some(vec![sampler.sample(&logits).expect("the logits are finite")]));
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_executor"))
            .args(args)
            .output()
            .expect("the program should start");
        (output.status.code(), String::from_utf8(output.stderr).expect("messages should be UTF-8"))
    };
    // No machine has this many, and this one may have no driver at all.
    let (code, error) = run(&["run", "--device", "cuda:4096", "1+1="]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("driver") || error.contains("cuda:4096"), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    let (code, error) = run(&["bench", "--device", "sim"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("a simulated GPU has no times worth measuring"), "{error}");
}
