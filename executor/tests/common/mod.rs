//! What the tests of the GPU's path share: the demo model on a simulated GPU, and whether there is a compiler for it.

use std::io::Write as _;
use std::path::Path;

use tilewright_codegen::target::Arch;
use tilewright_executor::args::DeviceKind;
use tilewright_executor::config::ModelConfig;
use tilewright_executor::forward::KernelInfo;
use tilewright_executor::generate::{Generator, Request};
use tilewright_executor::kv_cache::KvLayout;
use tilewright_executor::model::{self, LoadOptions, StepMode};
use tilewright_executor::sampler::SamplingParams;
use tilewright_executor::tokenizer::{SpecialTokens, Tokenizer};
use tilewright_executor::weights::Weights;
use tilewright_runtime::cuda::nvrtc::Nvrtc;

/// Whether there is a compiler; without one the test counts as skipped where the test task counts.
pub(crate) fn has_compiler(test: &str) -> bool {
    let Err(error) = Nvrtc::get() else { return true };
    let line = format!("{test}: {error}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(folder) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
        let file = Path::new(&folder).join(format!("executor-{}-{test}.txt", std::process::id()));
        std::fs::write(file, line).expect("the folder for skipped tests should be writable");
    }
    false
}

/// What the demo model makes of a batch of prompts on a simulated GPU, and the kernels of it.
pub(crate) fn answers(arch: Arch, prompts: &[&str]) -> (Vec<String>, Vec<KernelInfo>) {
    let source = tilewright_executor::demo::source();
    let config = ModelConfig::load(&source).expect("the demo's configuration should parse");
    let weights = Weights::open(&source).expect("the demo's weights should open");
    let tokenizer = Tokenizer::load(&source).expect("the demo's tokenizer should load");
    let options = LoadOptions {
        device: DeviceKind::Sim(arch),
        n_threads: None,
        kv_layout: KvLayout::new(&config, 2, 16),
        n_kv_pages: 2 * prompts.len(),
        steps: StepMode::Replay,
    };
    let mut forward = model::load(&config, &weights, &options).expect("the demo should load");
    let request = |prompt: &&str| Request {
        prompt: tokenizer.encode(prompt, SpecialTokens::Add).expect("the prompt should encode"),
        max_new_tokens: 8,
        sampling: SamplingParams::greedy(),
        eos_token_ids: config.eos_token_ids.clone(),
        stops: Vec::new(),
    };
    let requests: Vec<Request> = prompts.iter().map(request).collect();
    let mut generator = Generator::new(forward.as_mut(), &tokenizer);
    let (answers, _) = generator.run(&requests, &mut |_, _| {}).expect("every launch should be clean");
    assert!(forward.n_graphs() > 0, "steps should be replayed");
    (answers.into_iter().map(|answer| answer.text).collect(), forward.kernels())
}
