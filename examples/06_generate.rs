//! Generates text with the embedded demo model through the executor's library.
//!
//! New idea: a model is a `Forward`; tokenizer, sampling and the paged cache are parts around it that you can use on their own.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use tilewright_executor::args::DeviceKind;
use tilewright_executor::config::ModelConfig;
use tilewright_executor::generate::{Generator, Request};
use tilewright_executor::kv_cache::KvLayout;
use tilewright_executor::model::{self, LoadOptions, StepMode};
use tilewright_executor::sampler::SamplingParams;
use tilewright_executor::tokenizer::{SpecialTokens, Tokenizer};
use tilewright_executor::weights::Weights;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // ModelSource::folder(path) opens a Hugging Face folder in the same way.
    let source = tilewright_executor::demo::source();
    let (config, weights) = (ModelConfig::load(&source)?, Weights::open(&source)?);
    let tokenizer = Tokenizer::load(&source)?;
    let kv_layout = KvLayout::new(&config, 2, 16);
    let options = LoadOptions {
        device: DeviceKind::Cpu,
        n_threads: None,
        kv_layout,
        n_kv_pages: 8,
        steps: StepMode::Replay,
    };
    let mut forward = model::load(&config, &weights, &options)?;

    let prompts = ["128+345=", "999+1=", "7+8="];
    let mut requests = Vec::new();
    for prompt in prompts {
        requests.push(Request {
            prompt: tokenizer.encode(prompt, SpecialTokens::Add)?,
            max_new_tokens: 8,
            sampling: SamplingParams::greedy(),
            eos_token_ids: config.eos_token_ids.clone(),
            stops: Vec::new(),
        });
    }
    let (answers, _) = Generator::new(forward.as_mut(), &tokenizer).run(&requests, &mut |_, _| {})?;
    for (prompt, answer) in prompts.iter().zip(&answers) {
        println!("{prompt}{}", answer.text);
    }
    assert_eq!(answers[0].text, "473");
    Ok(())
}
