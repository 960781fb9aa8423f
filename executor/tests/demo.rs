//! The demo model's accuracy, measured by the executor itself: exact answers on 1,000 prompts that training never saw.

use serde_json::Value;
use tilewright_executor::args::DeviceKind;
use tilewright_executor::config::ModelConfig;
use tilewright_executor::generate::{Finish, Generator, Request};
use tilewright_executor::kv_cache::KvLayout;
use tilewright_executor::model::{self, LoadOptions, StepMode};
use tilewright_executor::sampler::SamplingParams;
use tilewright_executor::tokenizer::{SpecialTokens, Tokenizer};
use tilewright_executor::weights::Weights;

/// Prompts that run as one batch.
const BATCH: usize = 100;

#[test]
fn the_demo_model_adds() {
    let source = tilewright_executor::demo::source();
    let config = ModelConfig::load(&source).expect("the demo's configuration should parse");
    let weights = Weights::open(&source).expect("the demo's weights should open");
    let tokenizer = Tokenizer::load(&source).expect("the demo's tokenizer should load");
    let kv_layout = KvLayout::new(&config, 2, 16);
    let options = LoadOptions {
        device: DeviceKind::Cpu,
        n_threads: Some(2),
        kv_layout,
        n_kv_pages: 2 * BATCH,
        steps: StepMode::Replay,
    };
    let mut forward = model::load(&config, &weights, &options).expect("the demo should load");

    let text = include_str!("../demo/heldout.json");
    let cases: Vec<Value> = serde_json::from_str(text).expect("the held-out prompts should be JSON");
    assert_eq!(cases.len(), 1000);
    let mut n_exact = 0;
    for batch in cases.chunks(BATCH) {
        let field = |case: &Value, key: &str| case[key].as_str().expect("a string").to_owned();
        let requests: Vec<Request> = batch
            .iter()
            .map(|case| Request {
                prompt: tokenizer
                    .encode(&field(case, "prompt"), SpecialTokens::Add)
                    .expect("the prompt should encode"),
                max_new_tokens: 8,
                sampling: SamplingParams::greedy(),
                eos_token_ids: config.eos_token_ids.clone(),
                stops: Vec::new(),
            })
            .collect();
        let mut generator = Generator::new(forward.as_mut(), &tokenizer);
        let (answers, _) = generator.run(&requests, &mut |_, _| {}).expect("the batch should run");
        n_exact += batch
            .iter()
            .zip(&answers)
            .filter(|(case, answer)| {
                matches!(answer.finish, Finish::Eos(_)) && answer.text == field(case, "answer")
            })
            .count();
    }
    assert!(n_exact >= 990, "{n_exact} of 1000 held-out sums are right");
}
