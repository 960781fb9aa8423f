//! The seam between the text side and the device side: what a loaded model does for the generation loop.
//!
//! The loop owns the page tables and decides what runs; the model owns the memory and runs it. Nothing here names a
//! device, so the loop is tested with a model of a few lines.

use crate::error::Result;
use crate::kv_cache::{KvCache, KvLayout, SeqId};
use crate::sampler::Draw;

/// Consecutive tokens of one sequence.
///
/// The loop has already made room for them: `kv.n_tokens(seq)` is `start + tokens.len()`, and the page table covers
/// them. Keys and values of the tokens before `start` are in the cache.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The sequence.
    pub seq: SeqId,
    /// Position of the first token.
    pub start: usize,
    /// The token ids, at least one.
    pub tokens: &'a [u32],
}

/// One new token of one sequence; as a [`Chunk`] of length 1 at `position`.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The sequence.
    pub seq: SeqId,
    /// Position of the token.
    pub position: usize,
    /// The token id.
    pub token: u32,
}

/// Which rows of logits a prefill returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitRows {
    /// Of the last token of each chunk: `[n_chunks, vocab_size]`.
    Last,
    /// Of every token, chunk after chunk: `[sum of lengths, vocab_size]`.
    Every,
}

/// What a model can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardLimits {
    /// Width of a row of logits.
    pub vocab_size: usize,
    /// Tokens that one sequence may have.
    pub context_tokens: usize,
    /// What is cached per token, and the page size.
    pub kv_layout: KvLayout,
    /// Pages that the model's KV memory has.
    pub n_kv_pages: usize,
}

/// A model on a device.
pub trait Forward {
    /// What the model can take.
    fn limits(&self) -> ForwardLimits;

    /// Runs prompts, or the rest of prompts, writing their keys and values.
    ///
    /// `logits` is row-major f32 of exactly the rows that `rows` says, and is overwritten in full.
    ///
    /// # Errors
    /// [`crate::error::Error::Forward`] where the device fails.
    fn prefill(
        &mut self,
        kv: &KvCache,
        batch: &[Chunk<'_>],
        rows: LogitRows,
        logits: &mut [f32],
    ) -> Result<()>;

    /// Runs one token of each of several sequences; `logits` is `[batch, vocab_size]`, overwritten in full.
    ///
    /// # Errors
    /// [`crate::error::Error::Forward`] where the device fails.
    fn decode(&mut self, kv: &KvCache, batch: &[Step], logits: &mut [f32]) -> Result<()>;

    /// As [`Forward::prefill`] with the last logits of each chunk, from which the device itself picks a token by the chunk's draw:
    /// only ids come back. `None`, and nothing has run, where tokens are picked on the host.
    ///
    /// # Errors
    /// [`crate::error::Error::BadLogits`] for logits that nothing can be picked from; else as [`Forward::prefill`].
    fn prefill_and_pick(
        &mut self,
        kv: &KvCache,
        batch: &[Chunk<'_>],
        draws: &[Draw<'_>],
    ) -> Result<Option<Vec<u32>>>;

    /// As [`Forward::decode`], with the tokens picked on the device as by [`Forward::prefill_and_pick`].
    ///
    /// # Errors
    /// As there.
    fn decode_and_pick(
        &mut self,
        kv: &KvCache,
        batch: &[Step],
        draws: &[Draw<'_>],
    ) -> Result<Option<Vec<u32>>>;

    /// Bytes of activations and scratch, beside weights and KV pages.
    fn workspace_bytes(&self) -> u64;

    /// Recorded decode steps, each of which one call replays; 0 where steps are launched kernel by kernel.
    fn n_graphs(&self) -> usize;

    /// The kernels that the model runs, in the order of the path.
    fn kernels(&self) -> Vec<KernelInfo>;

    /// Starts or stops timing each kernel; timing may slow the model a little.
    fn set_profiling(&mut self, profiling: Profiling);

    /// Kernel times gathered since the last call, one entry per kernel, longest first.
    fn take_kernel_times(&mut self) -> Vec<KernelTime>;

    /// What the device can do at best, measured now.
    ///
    /// # Errors
    /// [`crate::error::Error::Forward`] where the device fails.
    fn measure_ceilings(&mut self) -> Result<Ceilings>;
}

/// Whether kernels are timed one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profiling {
    /// Each launch is timed.
    On,
    /// Nothing is timed.
    Off,
}

/// A kernel on the model's path, and where its schedule came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelInfo {
    /// The kernel and what it does here, such as `matmul (gate_up)`.
    pub name: String,
    /// The schedule's text.
    pub schedule: String,
    /// Who chose it.
    pub source: ScheduleSource,
}

/// Who chose a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleSource {
    /// The kernel's declared default.
    Default,
    /// A tuning record, by its file or key.
    Record(String),
    /// Shape and device, for want of a record: the device, as `sm_90a, 132 SMs`.
    Shape(String),
}

/// Time spent in one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// As in [`KernelInfo::name`].
    pub name: String,
    /// Launches.
    pub n_calls: u64,
    /// Seconds in all launches.
    pub seconds: f64,
    /// Bytes that the launches must move at least.
    pub bytes: f64,
    /// Floating-point operations of the launches, a multiply-add counted as two.
    pub flops: f64,
}

/// The device's measured best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Bytes read from memory per second.
    pub memory_bytes_per_s: f64,
    /// Floating-point operations per second, a multiply-add counted as two.
    pub flops_per_s: f64,
}
