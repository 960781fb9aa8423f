//! `logits`: the logits of every position of a token sequence, as a safetensors file. Needs no tokenizer.

use std::io::Write;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::output::write_whole;
use super::session::Session;
use crate::args::LogitsArgs;
use crate::error::Result;
use crate::forward::{Chunk, Forward, LogitRows};
use crate::generate::{Request, check_request};
use crate::kv_cache::KvCache;
use crate::memory;
use crate::sampler::SamplingParams;

pub(super) fn logits(args: &LogitsArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let session = Session::open(&args.model)?;
    let needed_bytes = 4 * (args.ids.len() * session.config.vocab_size) as u64;
    memory::check_available("the logits of every position", needed_bytes, "give fewer ids")?;
    let (mut forward, _) = session.load(session.n_kv_pages(&[args.ids.len()]))?;
    let values = compute(forward.as_mut(), &args.ids)?;
    let shape = [args.ids.len(), session.config.vocab_size];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
    write_whole(&args.out, &safetensors::serialize([("logits", tensor)], None)?)?;
    writeln!(out, "{}: logits {shape:?} f32", args.out.display())?;
    Ok(())
}

/// The logits of every token: `[ids.len(), vocab_size]`.
fn compute(forward: &mut dyn Forward, ids: &[u32]) -> Result<Vec<f32>> {
    let limits = forward.limits();
    let request = Request {
        prompt: ids.to_vec(),
        max_new_tokens: 0,
        sampling: SamplingParams::greedy(),
        eos_token_ids: Vec::new(),
        stops: Vec::new(),
    };
    check_request(&request, 0, &limits)?;
    let mut kv = KvCache::new(limits.kv_layout, limits.n_kv_pages);
    let seq = kv.add_sequence();
    kv.append(seq, ids.len())?;
    let mut logits = vec![f32::NAN; ids.len() * limits.vocab_size];
    forward.prefill(&kv, &[Chunk { seq, start: 0, tokens: ids }], LogitRows::Every, &mut logits)?;
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::{Reverser, VOCAB};

    #[test]
    fn every_position_has_its_row() {
        let ids: Vec<u32> = b"ab:b".iter().map(|byte| u32::from(*byte)).collect();
        let rows = compute(&mut Reverser::new(4), &ids).expect("should run");
        assert_eq!(rows.len(), 4 * VOCAB);
        assert!(!rows.iter().any(|value| value.is_nan()));
        let best = |row: usize| (0..VOCAB).find(|token| rows[row * VOCAB + token] == 1.0);
        assert_eq!([best(2), best(3)], [Some(usize::from(b'b')), Some(usize::from(b'a'))]);
        assert!(compute(&mut Reverser::new(4), &[1, 999]).is_err());
        assert!(compute(&mut Reverser::new(0), &ids).is_err(), "no pages");
    }
}
