//! A model of a few lines for tests, which keeps a real paged memory so that wrong books show.

use crate::error::Result;
use crate::forward::{
    Ceilings, Chunk, Forward, ForwardLimits, KernelInfo, KernelTime, LogitRows, Profiling, Step,
};
use crate::kv_cache::{KvCache, KvLayout};
use crate::sampler::Draw;

pub(crate) const VOCAB: usize = 257;
pub(crate) const END: u32 = 256;

/// Answers a prompt `x:` by `x` reversed and the end token. It stores each token in its slot and reads the whole
/// sequence back through the page table, as attention would.
pub(crate) struct Reverser {
    n_pages: usize,
    memory: Vec<Option<u32>>,
    pub(crate) batch_sizes: Vec<usize>,
    pub(crate) n_prefilled: usize,
}

const PAGE_TOKENS: usize = 4;
const CONTEXT: usize = 40;

impl Reverser {
    pub(crate) fn new(n_pages: usize) -> Self {
        Self { n_pages, memory: vec![None; n_pages * PAGE_TOKENS], batch_sizes: Vec::new(), n_prefilled: 0 }
    }

    fn row(&mut self, kv: &KvCache, chunk: Chunk<'_>, logits: &mut [f32]) {
        let end = chunk.start + chunk.tokens.len();
        assert!(end <= kv.n_tokens(chunk.seq), "the loop should have made room");
        for (offset, token) in chunk.tokens.iter().enumerate() {
            self.memory[kv.slot(chunk.seq, chunk.start + offset) as usize] = Some(*token);
        }
        let all: Vec<u32> = (0..end)
            .map(|position| {
                self.memory[kv.slot(chunk.seq, position) as usize].expect("a token should be written")
            })
            .collect();
        let Some(colon) = all.iter().rposition(|token| *token == u32::from(b':')) else {
            logits.fill(0.0);
            logits[END as usize] = 1.0;
            return;
        };
        let start = all[..colon].iter().rposition(|token| *token == u32::from(b'|')).map_or(0, |bar| bar + 1);
        let n_done = all.len() - colon - 1;
        let next = all[start..colon].iter().rev().nth(n_done).copied().unwrap_or(END);
        logits.fill(f32::NEG_INFINITY);
        logits[next as usize] = 1.0;
    }
}

impl Forward for Reverser {
    fn limits(&self) -> ForwardLimits {
        let kv_layout =
            KvLayout { n_layers: 1, n_kv_heads: 1, head_dim: 2, element_bytes: 4, page_tokens: PAGE_TOKENS };
        ForwardLimits { vocab_size: VOCAB, context_tokens: CONTEXT, kv_layout, n_kv_pages: self.n_pages }
    }

    fn prefill(
        &mut self,
        kv: &KvCache,
        batch: &[Chunk<'_>],
        rows: LogitRows,
        logits: &mut [f32],
    ) -> Result<()> {
        self.n_prefilled += batch.iter().map(|chunk| chunk.tokens.len()).sum::<usize>();
        match rows {
            LogitRows::Last => {
                assert_eq!(logits.len(), batch.len() * VOCAB);
                for (chunk, row) in batch.iter().zip(logits.chunks_exact_mut(VOCAB)) {
                    self.row(kv, *chunk, row);
                }
            }
            LogitRows::Every => {
                let [chunk] = batch else { panic!("logits should ask for one sequence") };
                assert_eq!(logits.len(), chunk.tokens.len() * VOCAB);
                for (n_seen, row) in (1..).zip(logits.chunks_exact_mut(VOCAB)) {
                    self.row(kv, Chunk { tokens: &chunk.tokens[..n_seen], ..*chunk }, row);
                }
            }
        }
        Ok(())
    }

    fn decode(&mut self, kv: &KvCache, batch: &[Step], logits: &mut [f32]) -> Result<()> {
        assert_eq!(logits.len(), batch.len() * VOCAB);
        self.batch_sizes.push(batch.len());
        for (step, row) in batch.iter().zip(logits.chunks_exact_mut(VOCAB)) {
            let chunk = Chunk { seq: step.seq, start: step.position, tokens: &[step.token] };
            self.row(kv, chunk, row);
        }
        Ok(())
    }

    fn prefill_and_pick(
        &mut self,
        _kv: &KvCache,
        _batch: &[Chunk<'_>],
        _draws: &[Draw<'_>],
    ) -> Result<Option<Vec<u32>>> {
        Ok(None)
    }

    fn decode_and_pick(
        &mut self,
        _kv: &KvCache,
        _batch: &[Step],
        _draws: &[Draw<'_>],
    ) -> Result<Option<Vec<u32>>> {
        Ok(None)
    }

    fn workspace_bytes(&self) -> u64 {
        0
    }

    fn n_graphs(&self) -> usize {
        0
    }

    fn kernels(&self) -> Vec<KernelInfo> {
        Vec::new()
    }

    fn set_profiling(&mut self, _profiling: Profiling) {}

    fn take_kernel_times(&mut self) -> Vec<KernelTime> {
        Vec::new()
    }

    fn measure_ceilings(&mut self) -> Result<Ceilings> {
        Ok(Ceilings { memory_bytes_per_s: 1.0, flops_per_s: 1.0 })
    }
}
