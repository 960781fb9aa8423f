//! Device memory of one pass: activations, and what the kernels read of its tokens. It grows to the largest pass seen and is reused.
//!
//! Everything that differs from pass to pass but for shapes lies in one buffer of i32, [`Inputs`], and is brought there by one
//! copy; what sequences ask of sampling lies beside it (see `controls`). A decode step on a GPU has rows and pages rounded up (see `replay`); a row without a sequence is token 0 at position 0
//! with no page and no keys, which writes no cache and whose results nobody reads.

use tilewright_codegen::dsl::elem::Elem;
use tilewright_codegen::schedule::TargetKind;
use tilewright_codegen::tensor::TensorRef;
use tilewright_runtime::{Buffer, Device};

use super::controls::{Controls, n_seen};
use super::elements::ActivationElem;
use super::replay::{StepShape, step_pages, step_rows};
use super::runner::{Heads, device};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::forward::Chunk;
use crate::kv_cache::KvCache;
use crate::sampler::Draw;

/// Programs of decode attention per thread of a CPU: enough to balance, few enough that merging stays cheap.
const PROGRAMS_PER_THREAD: usize = 2;

/// Programs of decode attention per multiprocessor of a GPU: each is a warp or a few with some tens of KiB on their way, and four
/// are what shared memory holds.
const PROGRAMS_PER_SM: usize = 4;

/// Keys that a split on a GPU has at least, if there are as many: fewer are not worth merging.
const LEAST_SPLIT_KEYS: usize = 64;

/// Each input begins at a multiple of as many elements, so that its address says nothing of the batch.
const INPUT_ALIGN: usize = 64;

/// The extents of one pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    /// Rows of activations.
    pub(super) rows: usize,
    /// Sequences; of a decode step as many as rows.
    pub(super) sequences: usize,
    /// New tokens of the sequence that has most.
    pub(super) longest: usize,
    /// Whether every sequence has one new token.
    pub(super) is_step: bool,
    /// Tokens that a context may have for which kernels are chosen.
    pub(super) context: usize,
    /// Columns of the page table.
    pub(super) max_pages: usize,
    /// Parts of each context in decode attention.
    pub(super) n_splits: usize,
    /// Rows of logits that tokens are picked from on the device; 0 where the host picks.
    pub(super) picks: usize,
    /// Columns of the table of tokens seen; 0 where nothing is penalised.
    pub(super) n_seen: usize,
}

impl Pass {
    /// What the launches of a step depend on.
    pub(super) const fn shape(&self) -> StepShape {
        StepShape { rows: self.rows, max_pages: self.max_pages, picks: self.picks, n_seen: self.n_seen }
    }
}

/// How rows of a step are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rows {
    /// One per sequence.
    Exact,
    /// Rounded up, so that few shapes occur.
    Rounded,
}

/// What kernels read of a pass's tokens, in one buffer.
pub(super) struct Inputs {
    buffer: Buffer<i32>,
    /// Where each of the eight begins.
    at: [usize; 8],
    /// Extents of the last pass.
    rows: usize,
    sequences: usize,
    max_pages: usize,
    picks: usize,
    n_seen: usize,
}

impl Inputs {
    fn part<const R: usize>(&self, part: usize, dims: [usize; R]) -> Result<TensorRef<'_, i32, R>> {
        self.buffer.view_at(self.at[part], dims).map_err(device)
    }

    /// Token of each row.
    pub(super) fn ids(&self) -> Result<TensorRef<'_, i32, 1>> {
        self.part(0, [self.rows])
    }

    /// Position of each row.
    pub(super) fn positions(&self) -> Result<TensorRef<'_, i32, 1>> {
        self.part(1, [self.rows])
    }

    /// Row of the paged cache that each token's key and value go to.
    pub(super) fn slots(&self) -> Result<TensorRef<'_, i32, 1>> {
        self.part(2, [self.rows])
    }

    /// First row of each sequence, and the number of rows.
    pub(super) fn starts(&self) -> Result<TensorRef<'_, i32, 1>> {
        self.part(3, [self.sequences + 1])
    }

    /// Tokens of each sequence, the new ones included.
    pub(super) fn lengths(&self) -> Result<TensorRef<'_, i32, 1>> {
        self.part(4, [self.sequences])
    }

    /// Pages of each sequence.
    pub(super) fn page_table(&self) -> Result<TensorRef<'_, i32, 2>> {
        self.part(5, [self.sequences, self.max_pages])
    }

    /// Tokens picked before, of each row that is picked from.
    pub(super) fn steps(&self) -> Result<TensorRef<'_, i32, 1>> {
        self.part(6, [self.picks])
    }

    /// Tokens seen, of each row that is picked from.
    pub(super) fn seen(&self) -> Result<TensorRef<'_, i32, 2>> {
        self.part(7, [self.picks, self.n_seen])
    }
}

/// Activations are row-major, one row per token.
pub(super) struct Scratch<A> {
    device: Device,
    /// Counts the times that memory moved.
    generation: u64,
    /// Logits of a pass, `[rows, vocab]`, on a device whose memory is not the host's.
    pub(super) logits: Buffer<A>,
    /// Hidden state, `[rows, hidden]`.
    pub(super) x: Buffer<A>,
    /// Normalised hidden state, `[rows, hidden]`.
    pub(super) h: Buffer<A>,
    /// Queries `[rows, q_width]`, behind them keys and values, `[rows, kv_width]` each.
    pub(super) qkv: Buffer<A>,
    /// Attention output, `[rows, q_width]`.
    pub(super) a: Buffer<A>,
    /// Gated feed-forward activations, `[rows, intermediate]`.
    pub(super) m: Buffer<A>,
    /// Gate and up projections apart, `[2, rows, intermediate]`, for models with biases there.
    pub(super) spare: Buffer<A>,
    pub(super) cos: Buffer<f32>,
    pub(super) sin: Buffer<f32>,
    pub(super) inputs: Inputs,
    pub(super) controls: Controls,
    /// States of split decode attention.
    pub(super) partial: Buffer<f32>,
    pub(super) stats: Buffer<f32>,
}

fn index(value: usize) -> i32 {
    // Token ids, positions and slots stay below 2^31: the launch checks extents, and larger values could only miss.
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Parts of each context in decode attention: a short batch splits long contexts, so that every worker has a share.
///
/// A GPU's programs all run at a time, so there are no more of them than it holds; a CPU's are taken one after another.
fn decode_splits(
    kind: TargetKind,
    workers: usize,
    programs: usize,
    max_pages: usize,
    page_tokens: usize,
) -> usize {
    let programs = programs.max(1);
    match kind {
        TargetKind::Cpu => (PROGRAMS_PER_THREAD * workers).div_ceil(programs).clamp(1, max_pages),
        TargetKind::Gpu => {
            let most = (max_pages * page_tokens).div_ceil(LEAST_SPLIT_KEYS);
            (PROGRAMS_PER_SM * workers / programs).clamp(1, most.max(1))
        }
    }
}

/// Makes room for `len` elements; what was there is lost.
pub(super) fn grow<T: Elem>(
    on: &Device,
    generation: &mut u64,
    buffer: &mut Buffer<T>,
    len: usize,
) -> Result<()> {
    if buffer.len() < len {
        *buffer = Buffer::zeros_on(on, len.next_power_of_two()).map_err(device)?;
        *generation += 1;
    }
    Ok(())
}

/// Elements of each activation per row: `x`, `h`, `qkv`, `a`, `m`, `spare`.
fn widths(config: &ModelConfig) -> [usize; 6] {
    let (q, kv, inner) = (config.q_width(), config.kv_width(), config.intermediate_size);
    let spare = if config.biases.mlp { 2 * inner } else { 0 };
    [config.hidden_size, config.hidden_size, q + 2 * kv, q, inner, spare]
}

/// Bytes of the activations of a pass of `rows` rows and `logit_rows` rows of logits, as [`Scratch`] allocates them.
pub(super) fn activation_bytes<A>(config: &ModelConfig, rows: usize, logit_rows: usize) -> u64 {
    let narrow: usize = widths(config).iter().map(|width| (rows * width).next_power_of_two()).sum();
    let logits = (logit_rows * config.vocab_size).next_power_of_two();
    let tables = 2 * (rows * config.head_dim / 2).next_power_of_two();
    ((narrow + logits) * size_of::<A>() + tables * size_of::<f32>()) as u64
}

impl<A: ActivationElem> Scratch<A> {
    /// Scratch for decode steps; prompts grow it.
    pub(super) fn new(on: &Device, config: &ModelConfig) -> Result<Self> {
        let none = || Buffer::zeros_on(on, 1).map_err(device);
        let no_f32 = || Buffer::zeros_on(on, 1).map_err(device);
        let buffer = Buffer::zeros_on(on, 1).map_err(device)?;
        let mut scratch = Self {
            device: on.clone(),
            generation: 0,
            logits: none()?,
            x: none()?,
            h: none()?,
            qkv: none()?,
            a: none()?,
            m: none()?,
            spare: none()?,
            cos: no_f32()?,
            sin: no_f32()?,
            inputs: Inputs { buffer, at: [0; 8], rows: 0, sequences: 0, max_pages: 1, picks: 0, n_seen: 0 },
            controls: Controls::new(on)?,
            partial: no_f32()?,
            stats: no_f32()?,
        };
        scratch.grow_rows(config, 1)?;
        Ok(scratch)
    }

    /// Another number whenever memory moved.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    fn grow_rows(&mut self, config: &ModelConfig, rows: usize) -> Result<()> {
        let [x, h, qkv, a, m, spare] = widths(config);
        for (buffer, width) in [
            (&mut self.x, x),
            (&mut self.h, h),
            (&mut self.qkv, qkv),
            (&mut self.a, a),
            (&mut self.m, m),
            (&mut self.spare, spare),
        ] {
            grow(&self.device, &mut self.generation, buffer, rows * width)?;
        }
        for buffer in [&mut self.cos, &mut self.sin] {
            grow(&self.device, &mut self.generation, buffer, rows * config.head_dim / 2)?;
        }
        Ok(())
    }

    /// Makes room for a pass and writes what the kernels read of its tokens and pages, and of how the device picks `draws.len()`
    /// tokens, if it does.
    pub(super) fn prepare(
        &mut self,
        config: &ModelConfig,
        kv: &KvCache,
        chunks: &[Chunk<'_>],
        draws: &[Draw<'_>],
        heads: Heads,
        rows: Rows,
    ) -> Result<Pass> {
        let pass = self.extents(chunks, draws, heads, rows);
        self.grow_rows(config, pass.rows)?;
        self.write_inputs(&pass, kv, chunks, draws)?;
        if pass.picks > 0 {
            self.controls.write(&self.device, &mut self.generation, pass.picks, draws)?;
        }
        let states = pass.sequences * heads.n_kv_heads * pass.n_splits * heads.group;
        grow(&self.device, &mut self.generation, &mut self.partial, states * heads.head_dim)?;
        grow(&self.device, &mut self.generation, &mut self.stats, 2 * states)?;
        Ok(pass)
    }

    fn extents(&self, chunks: &[Chunk<'_>], draws: &[Draw<'_>], heads: Heads, rows: Rows) -> Pass {
        let end = |chunk: &Chunk<'_>| chunk.start + chunk.tokens.len();
        let longest = chunks.iter().map(|chunk| chunk.tokens.len()).max().unwrap_or(0);
        let context = chunks.iter().map(end).max().unwrap_or(1);
        let n_rows = chunks.iter().map(|chunk| chunk.tokens.len()).sum();
        let is_step = chunks.iter().all(|chunk| chunk.tokens.len() == 1);
        let max_pages = context.div_ceil(heads.page_tokens).max(1);
        let (n_rows, sequences, max_pages, context) = match rows {
            Rows::Exact => (n_rows, chunks.len(), max_pages, context),
            Rows::Rounded => {
                let (rows, pages) = (step_rows(chunks.len()), step_pages(max_pages));
                (rows, rows, pages, pages * heads.page_tokens)
            }
        };
        let programs = sequences * heads.n_kv_heads;
        let (kind, workers) = (self.device.kind(), self.device.workers());
        let n_splits = decode_splits(kind, workers, programs, max_pages, heads.page_tokens);
        let picks = match rows {
            Rows::Rounded if !draws.is_empty() => n_rows,
            Rows::Rounded | Rows::Exact => draws.len(),
        };
        let n_seen = n_seen(draws);
        Pass { rows: n_rows, sequences, longest, is_step, context, max_pages, n_splits, picks, n_seen }
    }

    fn write_inputs(
        &mut self,
        pass: &Pass,
        kv: &KvCache,
        chunks: &[Chunk<'_>],
        draws: &[Draw<'_>],
    ) -> Result<()> {
        let Pass { rows, sequences, max_pages, picks, n_seen, .. } = *pass;
        let mut at = [0; 8];
        let mut len = 0;
        let table_len = sequences * max_pages;
        let parts = [rows, rows, rows, sequences + 1, sequences, table_len, picks, picks * n_seen];
        for (at, part) in at.iter_mut().zip(parts) {
            *at = len;
            len += part.next_multiple_of(INPUT_ALIGN);
        }
        let mut values = vec![0; len];
        let [ids, positions, slots, starts, lengths, table, steps, seen] = at;
        values[slots..slots + rows].fill(-1);
        values[table..table + table_len].fill(-1);
        values[seen..seen + picks * n_seen].fill(-1);
        let mut row = 0;
        for (sequence, chunk) in chunks.iter().enumerate() {
            for (offset, &token) in chunk.tokens.iter().enumerate() {
                let position = chunk.start + offset;
                values[ids + row] = index(token as usize);
                values[positions + row] = index(position);
                values[slots + row] =
                    index(usize::try_from(kv.slot(chunk.seq, position)).unwrap_or(usize::MAX));
                row += 1;
            }
            values[starts + sequence + 1] = index(row);
            values[lengths + sequence] = index(chunk.start + chunk.tokens.len());
            let first = table + sequence * max_pages;
            for (entry, &page) in values[first..first + max_pages].iter_mut().zip(kv.page_table(chunk.seq)) {
                *entry = index(page as usize);
            }
        }
        for (i, draw) in draws.iter().enumerate() {
            values[steps + i] = index(usize::try_from(draw.step).unwrap_or(usize::MAX));
            let first = seen + i * n_seen;
            for (entry, &token) in values[first..first + n_seen].iter_mut().zip(draw.seen) {
                *entry = index(token as usize);
            }
        }
        // Sequences that are none begin and end where the last one ends.
        values[starts + chunks.len()..=starts + sequences].fill(index(row));
        grow(&self.device, &mut self.generation, &mut self.inputs.buffer, len)?;
        self.inputs.buffer.write_at(0, &values).map_err(device)?;
        (self.inputs.at, self.inputs.rows) = (at, rows);
        (self.inputs.sequences, self.inputs.max_pages) = (sequences, max_pages);
        (self.inputs.picks, self.inputs.n_seen) = (picks, n_seen);
        Ok(())
    }

    /// Makes room for `len` logits.
    pub(super) fn grow_logits(&mut self, len: usize) -> Result<()> {
        grow(&self.device, &mut self.generation, &mut self.logits, len)
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> u64 {
        let activations = [&self.x, &self.h, &self.qkv, &self.a, &self.m, &self.spare, &self.logits];
        let floats = [&self.cos, &self.sin, &self.partial, &self.stats];
        let narrow = activations.iter().map(|b| b.len()).sum::<usize>() * size_of::<A>();
        let wide = floats.iter().map(|b| b.len()).sum::<usize>() + self.inputs.buffer.len();
        (narrow + 4 * wide) as u64 + self.controls.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_split_until_every_worker_has_a_share() {
        let gpu = |programs, max_pages| decode_splits(TargetKind::Gpu, 132, programs, max_pages, 128);
        // One sequence of eight heads: 4,096 keys in parts of 64, as many programs as run at a time, or nearly.
        assert_eq!(gpu(8, 32), 64);
        assert_eq!(gpu(8, 256), 66);
        // Parts of 64 keys at least.
        assert_eq!(gpu(8, 1), 2);
        assert_eq!(gpu(128, 32), 4);
        // A batch that fills the device by itself is not split.
        assert_eq!((gpu(300, 32), gpu(528, 32), gpu(4096, 32)), (1, 1, 1));
        let cpu = |programs, max_pages| decode_splits(TargetKind::Cpu, 32, programs, max_pages, 128);
        assert_eq!((cpu(8, 32), cpu(8, 4), cpu(24, 32), cpu(64, 32)), (8, 4, 3, 1));
        assert_eq!(decode_splits(TargetKind::Gpu, 132, 0, 1, 16), 1);
    }
}
