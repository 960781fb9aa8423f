//! Products on a GPU take kernels by their shape: which ones a short prompt, a batch of prompts and a batch of steps meet, that
//! answers do not depend on it, and that a product in parts gives what the CPU gives. On simulated GPUs; skipped, and counted so,
//! without NVRTC.

mod common;

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::json;
use tilewright_codegen::target::Arch;
use tilewright_executor::args::DeviceKind;
use tilewright_executor::config::ModelConfig;
use tilewright_executor::forward::{Chunk, KernelInfo, LogitRows, ScheduleSource, Step};
use tilewright_executor::kv_cache::{KvCache, KvLayout};
use tilewright_executor::model::{self, LoadOptions, StepMode};
use tilewright_executor::source::ModelSource;
use tilewright_executor::weights::Weights;

use common::{answers, has_compiler};

/// The schedule of a kernel whose name is or begins so.
fn schedule_of<'a>(kernels: &'a [KernelInfo], name: &str) -> &'a KernelInfo {
    let found = kernels.iter().find(|kernel| kernel.name.starts_with(name));
    found.unwrap_or_else(|| panic!("{name} should be among {:?}", kernels.iter().map(|k| &k.name)))
}

fn check_answers(test: &str, arch: Arch) {
    if !has_compiler(test) {
        return;
    }
    let source = ScheduleSource::Shape(format!("{arch}, 132 SMs"));
    // Eight rows of narrow matrices make too few tiles: the weights stream.
    let (alone, kernels) = answers(arch, &["128+345="]);
    assert_eq!(alone, ["473"]);
    assert_eq!(schedule_of(&kernels, "matvec (o_proj), up to 8 rows").source, ScheduleSource::Default);

    let prompts = ["128+345=", "500+499=", "1+1=", "27+9=", "86+68=", "999+1="];
    let sums = ["473", "999", "2", "36", "154", "1000"];
    for (n, rows) in [(2, 16), (6, 48)] {
        let (together, kernels) = answers(arch, &prompts[..n]);
        assert_eq!(together, sums[..n]);
        for product in ["q_proj", "o_proj", "down_proj"] {
            let tiles = schedule_of(&kernels, &format!("matmul ({product}), up to {rows} rows"));
            assert!(tiles.schedule.contains(&format!("BM={rows} BN=64")), "{}", tiles.schedule);
            assert_eq!(tiles.source, source);
        }
        let gated = schedule_of(&kernels, &format!("matmul_gated (gate_up), up to {rows} rows"));
        assert!(gated.schedule.contains("BM=64 BN=32"), "{}", gated.schedule);
        assert_eq!(gated.source, source);
    }
}

#[test]
fn short_prompts_and_batches_meet_tiles_of_few_rows() {
    check_answers("short_prompts_and_batches_meet_tiles_of_few_rows", Arch::Sm90a);
}

#[test]
fn short_prompts_and_batches_meet_tiles_of_few_rows_before_hopper() {
    check_answers("short_prompts_and_batches_meet_tiles_of_few_rows_before_hopper", Arch::Sm80);
}

const HIDDEN: usize = 64;
const INNER: usize = 4096;
const VOCAB: usize = 96;

/// A checkpoint of one layer whose feed-forward layer is so wide that its second half is a product of few tiles and a long K.
fn wide(folder: &Path) {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 32, "vocab_size": VOCAB, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a file");
    let layer = |part: &str| format!("model.layers.0.{part}.weight");
    let shapes = [
        ("model.embed_tokens.weight".to_owned(), vec![VOCAB, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
        (layer("input_layernorm"), vec![HIDDEN]),
        (layer("post_attention_layernorm"), vec![HIDDEN]),
        (layer("self_attn.q_proj"), vec![HIDDEN, HIDDEN]),
        (layer("self_attn.k_proj"), vec![HIDDEN / 2, HIDDEN]),
        (layer("self_attn.v_proj"), vec![HIDDEN / 2, HIDDEN]),
        (layer("self_attn.o_proj"), vec![HIDDEN, HIDDEN]),
        (layer("mlp.gate_proj"), vec![INNER, HIDDEN]),
        (layer("mlp.up_proj"), vec![INNER, HIDDEN]),
        (layer("mlp.down_proj"), vec![HIDDEN, INNER]),
    ];
    let mut state = 1_u64;
    let mut random = |amplitude: f32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        amplitude * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let is_norm = shape.len() == 1;
            let amplitude = if is_norm { 0.1 } else { (3.0 / shape[shape.len() - 1] as f32).sqrt() };
            let value = |_| half::bf16::from_f32(random(amplitude) + if is_norm { 1.0 } else { 0.0 });
            let bytes = (0..shape.iter().product()).map(value).flat_map(half::bf16::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("a legal tensor"))
    });
    let file = serialize(views, None).expect("legal tensors should serialise");
    std::fs::write(folder.join("model.safetensors"), file).expect("a file");
}

/// Logits of a prompt of 20 tokens and of two steps after it, and the kernels that gave them.
fn wide_logits(folder: &Path, device: DeviceKind) -> (Vec<Vec<f32>>, Vec<KernelInfo>, u64) {
    let source = ModelSource::folder(folder).expect("the folder is there");
    let config = ModelConfig::load(&source).expect("the configuration should parse");
    let weights = Weights::open(&source).expect("the weights should open");
    let kv_layout = KvLayout::new(&config, 2, 32);
    let options =
        LoadOptions { device, n_threads: Some(1), kv_layout, n_kv_pages: 1, steps: StepMode::Replay };
    let mut forward = model::load(&config, &weights, &options).expect("the model should load");
    let mut kv = KvCache::new(kv_layout, 1);
    let seq = kv.add_sequence();
    let prompt: Vec<u32> = (0..20).map(|i| (i * 37 + 11) % VOCAB as u32).collect();
    kv.append(seq, prompt.len()).expect("the prompt should fit");
    let mut row = vec![f32::NAN; VOCAB];
    let chunk = Chunk { seq, start: 0, tokens: &prompt };
    forward.prefill(&kv, &[chunk], LogitRows::Last, &mut row).expect("the prompt should run");
    let mut all = vec![row.clone()];
    for step in 0..2 {
        kv.append(seq, 1).expect("a step should fit");
        let step = Step { seq, position: prompt.len() + step, token: 5 };
        forward.decode(&kv, &[step], &mut row).expect("a step should run");
        all.push(row.clone());
    }
    (all, forward.kernels(), forward.workspace_bytes())
}

#[test]
fn a_product_of_few_tiles_is_computed_in_parts() {
    if !has_compiler("a_product_of_few_tiles_is_computed_in_parts") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    wide(folder.path());
    let (expected, _, _) = wide_logits(folder.path(), DeviceKind::Cpu);
    for arch in [Arch::Sm80, Arch::Sm90a] {
        let (found, kernels, bytes) = wide_logits(folder.path(), DeviceKind::Sim(arch));
        let split = schedule_of(&kernels, "matmul_split (down_proj), up to 32 rows");
        assert!(split.schedule.contains("BM=32 BN=64") && split.schedule.contains("split_k=16"), "{split:?}");
        assert_eq!(split.source, ScheduleSource::Shape(format!("{arch}, 132 SMs")));
        schedule_of(&kernels, "matmul_reduce (down_proj), up to 32 rows");
        assert!(bytes >= 132 * 128 * 128 * 4, "the parts count as workspace: {bytes}");
        for (step, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let largest = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            let error = expected.iter().zip(found).fold(0.0_f32, |m, (x, y)| m.max((x - y).abs()));
            // Activations are bfloat16 there and f32 on the CPU.
            assert!(error <= 0.02 * largest, "{arch} step {step}: {error} of {largest}");
        }
    }
}
