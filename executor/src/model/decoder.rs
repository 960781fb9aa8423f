//! A decoder-only transformer on a device: weights, paged KV memory, scratch, and the forward pass over them.
//!
//! One pass runs the new tokens of several sequences, concatenated, through all layers:
//!
//! ```text
//! ids ─embedding─▶ x ┬─norm─▶ h ─qkv─▶ q,k,v ─rope_write─▶ q, pages ─attention─▶ a ─output─▶ +x
//!                    └─norm─▶ h ─gate_up─▶ m ─down─▶ +x        per layer        x ─norm─▶ h ─head─▶ logits
//! ```
//!
//! Long prompts run in passes of at most [`PASS_TOKENS`] tokens, which bounds the scratch memory; the
//! pages carry what one pass leaves to the next. On a GPU a decode step is one replayed graph (see `replay`), from the token ids
//! to the logits; there only rows of logits or ids cross to the host.

use tilewright_codegen::schedule::TargetKind;
use tilewright_codegen::tensor::{TensorMut, TensorRef};
use tilewright_kernels::attention_paged::Pages;
use tilewright_kernels::epilogue::Epilogue;
use tilewright_kernels::rope::RopeWrite;
use tilewright_runtime::{Buffer, Device};

use super::blueprint::Blueprint;
use super::elements::{ActivationElem, WeightElem};
use super::plan::Plan;
use super::profile::{Profile, Work};
use super::replay::{Next, Replays};
use super::runner::{Heads, Runner, device, head_norm};
use super::scratch::{Pass, Rows, Scratch};
use super::tensors::Tensors;
use super::{LoadOptions, StepMode};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::forward::{
    Ceilings, Chunk, Forward, ForwardLimits, KernelInfo, KernelTime, LogitRows, Profiling, Step,
};
use crate::kv_cache::{KvCache, KvLayout};
use crate::sampler::Draw;
use crate::weights::Weights;

/// Most tokens of one pass.
pub(super) const PASS_TOKENS: usize = 1024;

/// Keys and values of one layer: `[n_pages, n_kv_heads, page_tokens, head_dim]` each.
struct LayerPages<W> {
    k: Buffer<W>,
    v: Buffer<W>,
}

/// A model with activations of element type `A` and weights of `W`; its pages have the weights' type.
pub(super) struct Decoder<A, W> {
    config: ModelConfig,
    limits: ForwardLimits,
    tensors: Tensors<A, W>,
    pages: Vec<LayerPages<W>>,
    inv_freq: Buffer<f32>,
    rope_factor: f32,
    scratch: Scratch<A>,
    runner: Runner,
    steps: StepMode,
    replays: Replays,
}

impl<A: ActivationElem, W: WeightElem> Decoder<A, W> {
    /// Places the weights and allocates pages.
    ///
    /// # Errors
    /// A tensor that is missing or does not fit the configuration, or memory that cannot be had.
    pub(super) fn load(
        blueprint: &Blueprint,
        config: &ModelConfig,
        weights: &Weights,
        options: &LoadOptions,
        on: &Device,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let layout = KvLayout { element_bytes: size_of::<W>(), ..options.kv_layout };
        let page_elements = options.n_kv_pages * layout.n_kv_heads * layout.page_tokens * layout.head_dim;
        let zeros = || Buffer::zeros_on(on, page_elements).map_err(device);
        let pages = (0..config.n_layers)
            .map(|_| Ok(LayerPages { k: zeros()?, v: zeros()? }))
            .collect::<Result<_>>()?;
        let rope = config.rope_table();
        Ok(Self {
            tensors: Tensors::load(blueprint, config, weights, on, on_bytes)?,
            pages,
            inv_freq: Buffer::from_slice_on(on, &rope.inv_freq).map_err(device)?,
            rope_factor: rope.attention_scaling,
            scratch: Scratch::new(on, config)?,
            runner: Runner {
                stream: on.stream(),
                plan: Plan::new(on)?,
                profile: Profile::new(on.clone()),
                parts: None,
            },
            limits: ForwardLimits {
                vocab_size: config.vocab_size,
                context_tokens: config.max_position_embeddings,
                kv_layout: layout,
                n_kv_pages: options.n_kv_pages,
            },
            config: config.clone(),
            steps: options.steps,
            replays: Replays::default(),
        })
    }

    fn heads(&self) -> Heads {
        Heads {
            n_kv_heads: self.config.n_kv_heads,
            group: self.config.n_heads / self.config.n_kv_heads,
            head_dim: self.config.head_dim,
            page_tokens: self.limits.kv_layout.page_tokens,
        }
    }

    /// Launches a pass through the layers; the hidden state of every token stays in scratch.
    fn launch_layers(&mut self, pass: &Pass, chunks: &[Chunk<'_>]) -> Result<()> {
        let heads = self.heads();
        let rows = pass.rows;
        let eps = self.config.rms_norm_eps as f32;
        let Self { config, tensors, pages, inv_freq, scratch, runner, limits, .. } = self;
        let hidden = config.hidden_size;
        runner.embed(scratch.inputs.ids()?, &tensors.embedding, &mut scratch.x, rows, hidden)?;
        let table = [&mut scratch.cos, &mut scratch.sin];
        runner.rope_table(scratch.inputs.positions()?, inv_freq, table, rows, self.rope_factor)?;
        for (index, (layer, cache)) in tensors.layers.iter().zip(pages).enumerate() {
            runner.norm("rms_norm", &scratch.x, 0, &layer.attention_norm, &mut scratch.h, 0, rows, eps)?;
            runner.qkv(&layer.qkv, &scratch.h, &mut scratch.qkv, rows)?;
            rope_write(runner, scratch, cache, layer.qk_norm.as_ref(), heads, limits.n_kv_pages, rows, eps)?;
            let window = config.sliding_window[index];
            attend(runner, scratch, cache, pass, chunks, heads, limits.n_kv_pages, window)?;
            let residual = Epilogue::RESIDUAL;
            runner.linear("o_proj", &layer.attention_output, &scratch.a, &mut scratch.x, rows, residual)?;
            runner.norm("rms_norm", &scratch.x, 0, &layer.feed_forward_norm, &mut scratch.h, 0, rows, eps)?;
            runner.gate_up(&layer.gate_up, &scratch.h, &mut scratch.m, &mut scratch.spare, rows)?;
            runner.linear("down_proj", &layer.down, &scratch.m, &mut scratch.x, rows, residual)?;
        }
        Ok(())
    }

    /// Launches the head over rows `wanted` of the last pass. `logits` are host memory where the device's is that; without them, or
    /// where activations are narrow, the logits stay in scratch, which has room for them.
    fn launch_head(&mut self, wanted: &[usize], logits: Option<&mut [f32]>) -> Result<()> {
        let eps = self.config.rms_norm_eps as f32;
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let Self { tensors, scratch, runner, .. } = self;
        // Runs of neighbouring rows are normalised in one launch.
        let mut at = 0;
        while at < wanted.len() {
            let run = wanted[at..].iter().enumerate().take_while(|&(i, &row)| row == wanted[at] + i).count();
            runner.norm(
                "final_norm",
                &scratch.x,
                wanted[at],
                &tensors.final_norm,
                &mut scratch.h,
                at,
                run,
                eps,
            )?;
            at += run;
        }
        let weight = tensors.head.as_ref().unwrap_or(&tensors.embedding);
        let weight = (weight.view([vocab, hidden]).map_err(device)?, None);
        let extents = [wanted.len(), vocab, hidden];
        let Scratch { h, logits: in_scratch, .. } = scratch;
        let y = match logits.and_then(A::in_place) {
            Some(logits) => TensorMut::from_slice(logits, [wanted.len(), vocab]).map_err(device)?,
            None => in_scratch.view_mut([wanted.len(), vocab]).map_err(device)?,
        };
        runner.product("lm_head", extents, h, weight, y, Epilogue::NONE)
    }

    /// The logits of rows `wanted` of the last pass.
    fn head(&mut self, wanted: &[usize], logits: &mut [f32]) -> Result<()> {
        match self.runner.stream.device().kind() {
            TargetKind::Cpu => self.launch_head(wanted, Some(logits)),
            TargetKind::Gpu => {
                self.scratch.grow_logits(logits.len())?;
                self.launch_head(wanted, None)?;
                self.read_logits(logits)
            }
        }
    }

    /// Copies the first logits in scratch to the host.
    fn read_logits(&self, logits: &mut [f32]) -> Result<()> {
        if let Some(logits) = A::in_place(logits) {
            return self.scratch.logits.read_at(0, logits).map_err(device);
        }
        let mut narrow = vec![A::from_f64(0.0); logits.len()];
        self.scratch.logits.read_at(0, &mut narrow).map_err(device)?;
        logits.iter_mut().zip(narrow).for_each(|(wide, narrow)| *wide = narrow.to_f64() as f32);
        Ok(())
    }

    /// Runs one token of each of several sequences through layers and head on a GPU; logits, and tokens where there are draws, stay
    /// there.
    fn step(&mut self, kv: &KvCache, chunks: &[Chunk<'_>], draws: &[Draw<'_>]) -> Result<()> {
        let pass = self.scratch.prepare(&self.config, kv, chunks, draws, self.heads(), Rows::Rounded)?;
        self.scratch.grow_logits(pass.rows * self.config.vocab_size)?;
        let on = self.runner.stream.device().clone();
        let is_replayed = match self.steps {
            StepMode::Replay => on.has_graphs() && self.runner.profile.is_off(),
            StepMode::Launch => false,
        };
        if !is_replayed {
            return self.launch_step(&pass, chunks);
        }
        match self.replays.next(pass.shape(), self.scratch.generation()) {
            Next::Launch => self.launch_step(&pass, chunks)?,
            Next::Record => {
                let graph = on.stream().capture(|| self.launch_step(&pass, chunks))?;
                graph.launch(&self.runner.stream).map_err(device)?;
                self.replays.keep(pass.shape(), graph);
            }
            Next::Replay(graph) => graph.launch(&self.runner.stream).map_err(device)?,
        }
        Ok(())
    }

    /// The launches of a decode step on a GPU. Nothing in them depends on more than [`Pass::shape`].
    fn launch_step(&mut self, pass: &Pass, chunks: &[Chunk<'_>]) -> Result<()> {
        self.launch_layers(pass, chunks)?;
        let every: Vec<usize> = (0..pass.rows).collect();
        self.launch_head(&every, None)?;
        self.launch_pick(pass)
    }

    /// Launches the pick of tokens from the first logits in scratch, if the device does that in this pass.
    fn launch_pick(&mut self, pass: &Pass) -> Result<()> {
        let Pass { picks, n_seen, .. } = *pass;
        if picks == 0 {
            return Ok(());
        }
        let vocab = self.config.vocab_size;
        let Self { scratch, runner, .. } = self;
        let Scratch { logits, inputs, controls, .. } = scratch;
        if n_seen > 0 {
            let rows = logits.view_mut([picks, vocab]).map_err(device)?;
            runner.penalise(inputs.seen()?, controls.penalties(picks)?, rows)?;
        }
        let (controls, tokens) = controls.operands(picks, inputs.steps()?)?;
        runner.sample(logits.view([picks, vocab]).map_err(device)?, controls, tokens)
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one layer's step")]
fn rope_write<A: ActivationElem, W: WeightElem>(
    runner: &mut Runner,
    scratch: &mut Scratch<A>,
    cache: &mut LayerPages<W>,
    qk_norm: Option<&[Buffer<A>; 2]>,
    heads: Heads,
    n_pages: usize,
    rows: usize,
    eps: f32,
) -> Result<()> {
    let Heads { n_kv_heads, group, head_dim, page_tokens } = heads;
    let pairs = head_dim / 2;
    let kv = [rows, n_kv_heads, 2, pairs];
    let pages = [n_pages, n_kv_heads, page_tokens, 2, pairs];
    let weight = |index: usize| match qk_norm {
        Some(norms) => norms[index].view([2, pairs]).map_err(device),
        None => TensorRef::from_slice(&[], [0, 0]).map_err(device),
    };
    let kv_len: usize = kv.iter().product();
    let all = scratch.qkv.view_mut([(group + 2) * kv_len]).map_err(device)?;
    let (q, rest) = all.split_at(group * kv_len).map_err(device)?;
    let (k, v) = rest.split_at(kv_len).map_err(device)?;
    runner.rope_write(RopeWrite {
        q: q.reshaped([rows, n_kv_heads * group, 2, pairs]).map_err(device)?,
        k: k.reshaped(kv).map_err(device)?.into_ref(),
        v: v.reshaped(kv).map_err(device)?.into_ref(),
        cos: scratch.cos.view([rows, pairs]).map_err(device)?,
        sin: scratch.sin.view([rows, pairs]).map_err(device)?,
        slots: scratch.inputs.slots()?,
        q_norm: weight(0)?,
        k_norm: weight(1)?,
        k_pages: cache.k.view_mut(pages).map_err(device)?,
        v_pages: cache.v.view_mut(pages).map_err(device)?,
        eps,
        norm: head_norm(qk_norm),
    })
}

#[expect(clippy::too_many_arguments, reason = "the parts of one layer's step")]
fn attend<A: ActivationElem, W: WeightElem>(
    runner: &mut Runner,
    scratch: &mut Scratch<A>,
    cache: &LayerPages<W>,
    pass: &Pass,
    chunks: &[Chunk<'_>],
    heads: Heads,
    n_pages: usize,
    window: Option<usize>,
) -> Result<()> {
    let Heads { n_kv_heads, group, head_dim, page_tokens } = heads;
    let dims = [n_pages, n_kv_heads, page_tokens, head_dim];
    let pages = Pages {
        k: cache.k.view(dims).map_err(device)?,
        v: cache.v.view(dims).map_err(device)?,
        table: scratch.inputs.page_table()?,
        lengths: scratch.inputs.lengths()?,
    };
    let (mut flops, mut bytes) = (0.0, 0.0);
    for chunk in chunks {
        let total = chunk.start + chunk.tokens.len();
        let visible = |position: usize| window.map_or(position + 1, |w| w.min(position + 1));
        let seen: usize = (chunk.start..total).map(visible).sum();
        flops += (4 * n_kv_heads * group * head_dim * seen) as f64;
        bytes +=
            (2 * n_kv_heads * head_dim * visible(total - 1).max(chunk.tokens.len()) * size_of::<W>()) as f64;
    }
    let work = Work { flops, bytes };
    let Pass { rows, longest, context, n_splits, .. } = *pass;
    if pass.is_step {
        let parts = [&mut scratch.partial, &mut scratch.stats];
        return runner.attend_step(
            heads,
            &scratch.qkv,
            pages,
            parts,
            n_splits,
            rows,
            context,
            &mut scratch.a,
            window,
            work,
        );
    }
    let starts = scratch.inputs.starts()?;
    runner.attend_prompt(heads, &scratch.qkv, pages, starts, rows, longest, &mut scratch.a, window, work)
}

/// What a GPU's clocks allow: its memory at full rate, and f32 multiply-adds, a warp's per quarter of an SM and cycle.
fn nominal_ceilings(on: &Device) -> Result<Ceilings> {
    let Some(stream) = on.cuda_stream() else { return Err(Error::SimulatedTime) };
    let info = stream.context().info();
    Ok(Ceilings {
        // Two transfers a cycle.
        memory_bytes_per_s: 2e3 * f64::from(info.memory_clock_khz) * f64::from(info.memory_bus_bits) / 8.0,
        flops_per_s: 2e3 * 128.0 * f64::from(info.n_sms) * f64::from(info.clock_khz),
    })
}

/// Steps as chunks of one token.
fn chunks_of(steps: &[Step]) -> Vec<Chunk<'_>> {
    let tokens = steps.iter().map(|step| std::slice::from_ref(&step.token));
    steps
        .iter()
        .zip(tokens)
        .map(|(step, tokens)| Chunk { seq: step.seq, start: step.position, tokens })
        .collect()
}

/// Cuts chunks into passes of at most [`PASS_TOKENS`] tokens; each piece knows where its rows of logits go.
fn passes<'a>(batch: &[Chunk<'a>]) -> Vec<Vec<Chunk<'a>>> {
    let mut passes: Vec<Vec<Chunk<'a>>> = vec![Vec::new()];
    let mut room = PASS_TOKENS;
    for chunk in batch {
        let mut rest = *chunk;
        while !rest.tokens.is_empty() {
            if room == 0 {
                passes.push(Vec::new());
                room = PASS_TOKENS;
            }
            let (now, later) = rest.tokens.split_at(rest.tokens.len().min(room));
            if let Some(pass) = passes.last_mut() {
                pass.push(Chunk { tokens: now, ..rest });
            }
            room -= now.len();
            rest = Chunk { seq: rest.seq, start: rest.start + now.len(), tokens: later };
        }
    }
    passes
}

impl<A: ActivationElem, W: WeightElem> Forward for Decoder<A, W> {
    fn limits(&self) -> ForwardLimits {
        self.limits
    }

    fn prefill(
        &mut self,
        kv: &KvCache,
        batch: &[Chunk<'_>],
        rows: LogitRows,
        logits: &mut [f32],
    ) -> Result<()> {
        let vocab = self.config.vocab_size;
        let mut rest = logits;
        for pass in passes(batch) {
            let extents = self.scratch.prepare(&self.config, kv, &pass, &[], self.heads(), Rows::Exact)?;
            self.launch_layers(&extents, &pass)?;
            let mut wanted = Vec::new();
            let mut row = 0;
            for chunk in &pass {
                let is_last = chunk.start + chunk.tokens.len() == kv.n_tokens(chunk.seq);
                match rows {
                    LogitRows::Every => wanted.extend(row..row + chunk.tokens.len()),
                    LogitRows::Last if is_last => wanted.push(row + chunk.tokens.len() - 1),
                    LogitRows::Last => {}
                }
                row += chunk.tokens.len();
            }
            let (now, later) = rest.split_at_mut(wanted.len() * vocab);
            if !wanted.is_empty() {
                self.head(&wanted, now)?;
            }
            rest = later;
        }
        Ok(())
    }

    fn decode(&mut self, kv: &KvCache, batch: &[Step], logits: &mut [f32]) -> Result<()> {
        let vocab = self.config.vocab_size;
        for (steps, logits) in batch.chunks(PASS_TOKENS).zip(logits.chunks_mut(PASS_TOKENS * vocab)) {
            let chunks = chunks_of(steps);
            match self.runner.stream.device().kind() {
                TargetKind::Cpu => {
                    let pass =
                        self.scratch.prepare(&self.config, kv, &chunks, &[], self.heads(), Rows::Exact)?;
                    self.launch_layers(&pass, &chunks)?;
                    let wanted: Vec<usize> = (0..steps.len()).collect();
                    self.head(&wanted, logits)?;
                }
                TargetKind::Gpu => {
                    self.step(kv, &chunks, &[])?;
                    self.read_logits(logits)?;
                }
            }
        }
        Ok(())
    }

    fn workspace_bytes(&self) -> u64 {
        self.scratch.bytes() + self.runner.bytes()
    }

    fn prefill_and_pick(
        &mut self,
        kv: &KvCache,
        batch: &[Chunk<'_>],
        draws: &[Draw<'_>],
    ) -> Result<Option<Vec<u32>>> {
        if self.runner.stream.device().kind() == TargetKind::Cpu {
            return Ok(None);
        }
        let mut tokens = Vec::with_capacity(batch.len());
        for chunks in passes(batch) {
            let (mut wanted, mut ending) = (Vec::new(), Vec::new());
            let mut row = 0;
            for chunk in &chunks {
                row += chunk.tokens.len();
                if chunk.start + chunk.tokens.len() == kv.n_tokens(chunk.seq) {
                    wanted.push(row - 1);
                    // Chunks end in the order of the batch.
                    ending.push(draws[tokens.len() + ending.len()]);
                }
            }
            let rows = Rows::Exact;
            let pass = self.scratch.prepare(&self.config, kv, &chunks, &ending, self.heads(), rows)?;
            self.launch_layers(&pass, &chunks)?;
            if !wanted.is_empty() {
                self.scratch.grow_logits(wanted.len() * self.config.vocab_size)?;
                self.launch_head(&wanted, None)?;
                self.launch_pick(&pass)?;
                tokens.extend(self.scratch.controls.read_tokens(&ending)?);
            }
        }
        Ok(Some(tokens))
    }

    fn decode_and_pick(
        &mut self,
        kv: &KvCache,
        batch: &[Step],
        draws: &[Draw<'_>],
    ) -> Result<Option<Vec<u32>>> {
        if self.runner.stream.device().kind() == TargetKind::Cpu {
            return Ok(None);
        }
        let mut tokens = Vec::with_capacity(batch.len());
        for (steps, draws) in batch.chunks(PASS_TOKENS).zip(draws.chunks(PASS_TOKENS)) {
            self.step(kv, &chunks_of(steps), draws)?;
            tokens.extend(self.scratch.controls.read_tokens(draws)?);
        }
        Ok(Some(tokens))
    }

    fn n_graphs(&self) -> usize {
        self.replays.len()
    }

    fn kernels(&self) -> Vec<KernelInfo> {
        self.runner.plan.infos()
    }

    fn set_profiling(&mut self, profiling: Profiling) {
        self.runner.profile.set(profiling);
    }

    fn take_kernel_times(&mut self) -> Vec<KernelTime> {
        self.runner.profile.take()
    }

    fn measure_ceilings(&mut self) -> Result<Ceilings> {
        let on = self.runner.stream.device();
        if on.kind() == TargetKind::Gpu {
            return nominal_ceilings(on);
        }
        let measured = tilewright_autotune::ceiling::measure_cpu(on).map_err(device)?;
        Ok(Ceilings { memory_bytes_per_s: measured.bytes_per_s, flops_per_s: measured.flops_per_s })
    }
}
