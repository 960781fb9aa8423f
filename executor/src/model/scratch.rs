//! Device memory of one pass: activations, positions and page tables. It grows to the largest pass seen and is reused.

use tilewright_codegen::dsl::elem::Elem;
use tilewright_runtime::{Buffer, Device};

use super::runner::{Heads, device};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::forward::Chunk;
use crate::kv_cache::KvCache;

/// Programs of decode attention per worker: enough to balance, few enough that merging stays cheap.
const PROGRAMS_PER_WORKER: usize = 2;

/// Activations are f32 and row-major, one row per token.
pub(super) struct Scratch {
    device: Device,
    /// Logits of a pass, `[rows, vocab]`, on a device whose memory is not the host's.
    pub(super) logits: Buffer<f32>,
    /// Hidden state, `[rows, hidden]`.
    pub(super) x: Buffer<f32>,
    /// Normalised hidden state, `[rows, hidden]`.
    pub(super) h: Buffer<f32>,
    /// Queries `[rows, q_width]`, behind them keys and values, `[rows, kv_width]` each.
    pub(super) qkv: Buffer<f32>,
    /// Attention output, `[rows, q_width]`.
    pub(super) a: Buffer<f32>,
    /// Gated feed-forward activations, `[rows, intermediate]`.
    pub(super) m: Buffer<f32>,
    /// Gate and up projections apart, `[2, rows, intermediate]`, for models with biases there.
    pub(super) spare: Buffer<f32>,
    pub(super) cos: Buffer<f32>,
    pub(super) sin: Buffer<f32>,
    pub(super) ids: Buffer<i32>,
    pub(super) positions: Buffer<i32>,
    /// Row of the paged cache that each token's key and value go to.
    pub(super) slots: Buffer<i32>,
    /// First row of each sequence, and the number of rows.
    pub(super) starts: Buffer<i32>,
    /// Tokens of each sequence, the new ones included.
    pub(super) lengths: Buffer<i32>,
    /// `[n_sequences, max_pages]`.
    pub(super) page_table: Buffer<i32>,
    pub(super) max_pages: usize,
    /// States of split decode attention.
    pub(super) partial: Buffer<f32>,
    pub(super) stats: Buffer<f32>,
    pub(super) n_splits: usize,
}

fn index(value: usize) -> i32 {
    // Token ids, positions and slots stay below 2^31: the launch checks extents, and larger values could only miss.
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Makes room for `len` elements; what was there is lost.
fn grow<T: Elem>(on: &Device, buffer: &mut Buffer<T>, len: usize) -> Result<()> {
    if buffer.len() < len {
        *buffer = Buffer::zeros_on(on, len.next_power_of_two()).map_err(device)?;
    }
    Ok(())
}

/// Fills the beginning of a buffer, growing it if need be.
fn fill(on: &Device, buffer: &mut Buffer<i32>, values: &[i32]) -> Result<()> {
    grow(on, buffer, values.len())?;
    buffer.write_at(0, values).map_err(device)
}

impl Scratch {
    /// Scratch for decode steps; prompts grow it.
    pub(super) fn new(on: &Device, config: &ModelConfig) -> Result<Self> {
        let none = || Buffer::zeros_on(on, 1).map_err(device);
        let no_index = || Buffer::zeros_on(on, 1).map_err(device);
        let mut scratch = Self {
            device: on.clone(),
            logits: none()?,
            x: none()?,
            h: none()?,
            qkv: none()?,
            a: none()?,
            m: none()?,
            spare: none()?,
            cos: none()?,
            sin: none()?,
            ids: no_index()?,
            positions: no_index()?,
            slots: no_index()?,
            starts: no_index()?,
            lengths: no_index()?,
            page_table: no_index()?,
            max_pages: 1,
            partial: none()?,
            stats: none()?,
            n_splits: 1,
        };
        scratch.grow_rows(config, 1)?;
        Ok(scratch)
    }

    fn grow_rows(&mut self, config: &ModelConfig, rows: usize) -> Result<()> {
        let (q, kv, inner) = (config.q_width(), config.kv_width(), config.intermediate_size);
        for (buffer, width) in [
            (&mut self.x, config.hidden_size),
            (&mut self.h, config.hidden_size),
            (&mut self.qkv, q + 2 * kv),
            (&mut self.a, q),
            (&mut self.m, inner),
            (&mut self.spare, if config.biases.mlp { 2 * inner } else { 0 }),
            (&mut self.cos, config.head_dim / 2),
            (&mut self.sin, config.head_dim / 2),
        ] {
            grow(&self.device, buffer, rows * width)?;
        }
        Ok(())
    }

    /// Makes room for a pass and writes what the kernels read of its tokens and pages.
    pub(super) fn prepare(
        &mut self,
        config: &ModelConfig,
        kv: &KvCache,
        chunks: &[Chunk<'_>],
        heads: Heads,
    ) -> Result<()> {
        let (mut ids, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let (mut starts, mut lengths) = (vec![0], Vec::new());
        for chunk in chunks {
            for (offset, &token) in chunk.tokens.iter().enumerate() {
                let position = chunk.start + offset;
                ids.push(index(token as usize));
                positions.push(index(position));
                slots.push(index(usize::try_from(kv.slot(chunk.seq, position)).unwrap_or(usize::MAX)));
            }
            starts.push(index(ids.len()));
            lengths.push(index(chunk.start + chunk.tokens.len()));
        }
        self.grow_rows(config, ids.len())?;
        fill(&self.device, &mut self.ids, &ids)?;
        fill(&self.device, &mut self.positions, &positions)?;
        fill(&self.device, &mut self.slots, &slots)?;
        fill(&self.device, &mut self.starts, &starts)?;
        fill(&self.device, &mut self.lengths, &lengths)?;

        let n_pages = |chunk: &Chunk<'_>| (chunk.start + chunk.tokens.len()).div_ceil(heads.page_tokens);
        self.max_pages = chunks.iter().map(n_pages).max().unwrap_or(1);
        let mut table = vec![-1; chunks.len() * self.max_pages];
        for (chunk, row) in chunks.iter().zip(table.chunks_mut(self.max_pages)) {
            for (entry, &page) in row.iter_mut().zip(kv.page_table(chunk.seq)) {
                *entry = index(page as usize);
            }
        }
        fill(&self.device, &mut self.page_table, &table)?;

        // A short batch splits long contexts, so that every worker has a share.
        let programs = (chunks.len() * heads.n_kv_heads).max(1);
        self.n_splits =
            (PROGRAMS_PER_WORKER * self.device.workers()).div_ceil(programs).clamp(1, self.max_pages);
        let states = programs * self.n_splits * heads.group;
        grow(&self.device, &mut self.partial, states * heads.head_dim)?;
        grow(&self.device, &mut self.stats, 2 * states)
    }

    /// Makes room for `len` logits.
    pub(super) fn grow_logits(&mut self, len: usize) -> Result<()> {
        grow(&self.device, &mut self.logits, len)
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> u64 {
        let floats = [
            &self.x,
            &self.h,
            &self.qkv,
            &self.a,
            &self.m,
            &self.spare,
            &self.cos,
            &self.sin,
            &self.partial,
            &self.stats,
            &self.logits,
        ];
        let indices =
            [&self.ids, &self.positions, &self.slots, &self.starts, &self.lengths, &self.page_table];
        let elements =
            floats.iter().map(|b| b.len()).sum::<usize>() + indices.iter().map(|b| b.len()).sum::<usize>();
        4 * elements as u64
    }
}
