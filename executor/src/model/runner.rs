//! The steps of a forward pass as launches: each picks kernel and schedule for its number of rows, and is timed when asked.

use std::rc::Rc;

use tilewright_autotune::problem::Bucket;
use tilewright_codegen::dsl::elem::Elem;
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::tensor::{TensorMut, TensorRef};
use tilewright_kernels::attention::Mask;
use tilewright_kernels::attention_paged::Pages;
use tilewright_kernels::by_shape::{
    Gpu, Product, STREAMED_ROWS, Way, gated_linear, linear, most_partial_elements,
};
use tilewright_kernels::epilogue::{Activation, Epilogue};
use tilewright_kernels::host::pin;
use tilewright_kernels::matmul::Layout;
use tilewright_kernels::rope::{HeadNorm, RopeWrite};
use tilewright_kernels::{
    attention_decode, attention_paged, embedding, matmul, matmul_split, matvec, penalise, rms_norm, rope,
    sample, swiglu,
};
use tilewright_runtime::{Buffer, Stream};

use super::elements::{ActivationElem, WeightElem};
use super::plan::{Ask, Kind, Plan};
use super::profile::{Profile, Work};
use super::tensors::{Linear, Stacked};
use crate::error::{Error, Result};

/// Launches the steps of one model.
pub(super) struct Runner {
    pub(super) stream: Stream,
    pub(super) plan: Plan,
    pub(super) profile: Profile,
    /// The parts of a product whose K is split, at once as large as any of them may be: recorded steps know its address.
    pub(super) parts: Option<Buffer<f32>>,
}

/// Extents that attention needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub(super) n_kv_heads: usize,
    /// Query heads per key/value head.
    pub(super) group: usize,
    pub(super) head_dim: usize,
    pub(super) page_tokens: usize,
}

/// Wraps a device error.
pub(super) fn device(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Forward(Box::new(error))
}

fn size<W>() -> f64 {
    size_of::<W>() as f64
}

/// The bucket of a problem with activations of `A` and weights or cache of `W`, as the kernel registry names it.
fn bucket<A: Elem, W: Elem>(extents: &[(&str, usize)]) -> Bucket {
    let extents: Vec<(&str, i64)> =
        extents.iter().map(|&(name, n)| (name, i64::try_from(n).unwrap_or(i64::MAX))).collect();
    let (a, w) = (A::DTYPE, W::DTYPE);
    let dtype = if a == w { a.name().to_owned() } else { format!("{}_{}", a.name(), w.name()) };
    Bucket::new(&dtype, &extents)
}

/// The bucket of a linear layer. Epilogues share one schedule: they hardly change what is best.
fn linear_bucket<A: ActivationElem, W: WeightElem>(m: usize, n: usize, k: usize) -> Bucket {
    bucket::<A, W>(&[("m", m), ("n", n), ("k", k)]).with_option("layout", "nk")
}

/// A kernel with pinned dimensions, and the question for its record.
fn pinned(kernel: Kernel, bucket: Bucket, fixed: Vec<(&'static str, usize)>) -> (Kernel, Ask) {
    (pin(kernel, &fixed), Ask::new(bucket, fixed))
}

/// What a choice by shape comes to as a kind of kernel; without one, few rows stream.
fn kind_of(way: Option<&Way>, rows: usize) -> Kind {
    match way {
        Some(Way::Streamed) => Kind::Streamed,
        Some(Way::Tiles(_)) => Kind::Tiles,
        Some(Way::Split { .. }) => Kind::Split,
        None if rows <= STREAMED_ROWS => Kind::Streamed,
        None => Kind::Tiles,
    }
}

/// The kind of kernel of a product: the one with a record goes before the choice by shape.
fn kind_with_records(
    plan: &Plan,
    way: Option<&Way>,
    rows: usize,
    bucket: &Bucket,
    [streamed, tiles]: [Kernel; 2],
) -> Kind {
    if way.is_none() {
        return kind_of(None, rows);
    }
    if rows <= STREAMED_ROWS && plan.has_record(&streamed, bucket) {
        Kind::Streamed
    } else if plan.has_record(&tiles, bucket) {
        Kind::Tiles
    } else {
        kind_of(way, rows)
    }
}

/// The schedule that a choice by shape has for a kernel of tiles.
fn of_tiles(way: Option<Way>) -> Option<Schedule> {
    match way {
        Some(Way::Tiles(schedule)) => Some(schedule),
        Some(Way::Streamed | Way::Split { .. }) | None => None,
    }
}

impl Runner {
    /// Bytes of device memory that launches work in beside scratch.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.as_ref().map_or(0, |parts| 4 * parts.len() as u64)
    }

    /// `y [rows, width] = table[ids]`.
    pub(super) fn embed<A: ActivationElem, W: WeightElem>(
        &mut self,
        ids: TensorRef<'_, i32, 1>,
        table: &Buffer<W>,
        y: &mut Buffer<A>,
        rows: usize,
        width: usize,
    ) -> Result<()> {
        let Self { stream, plan, profile, .. } = self;
        let n_table = table.len() / width;
        let schedule = plan.schedule("embedding", rows, || {
            pinned(
                embedding::embedding::kernel::<A, W>(),
                bucket::<A, W>(&[("tokens", rows), ("vocab", n_table), ("width", width)]),
                Vec::new(),
            )
        });
        let work = Work { flops: 0.0, bytes: (rows * width) as f64 * (size::<W>() + size::<A>()) };
        let table = table.view([n_table, width]).map_err(device)?;
        let y = y.view_mut([rows, width]).map_err(device)?;
        profile
            .launch(["embedding"; 2], work, || embedding::run(&*stream, &schedule, ids, table, y))
            .map_err(device)
    }

    /// `y [rows, width] = norm(x) weight`, row by row, reading `x` from row `x_row`.
    #[expect(clippy::too_many_arguments, reason = "operands and extents of one launch")]
    pub(super) fn norm<A: ActivationElem>(
        &mut self,
        name: &'static str,
        x: &Buffer<A>,
        x_row: usize,
        weight: &Buffer<A>,
        y: &mut Buffer<A>,
        y_row: usize,
        rows: usize,
        eps: f32,
    ) -> Result<()> {
        let width = weight.len();
        let Self { stream, plan, profile, .. } = self;
        let schedule = plan.schedule(name, rows, || {
            let ask = bucket::<A, A>(&[("rows", rows), ("length", width)]);
            pinned(rms_norm::rms_norm::kernel::<A, A>(), ask, vec![("N", width)])
        });
        let work = Work { flops: (4 * rows * width) as f64, bytes: (2 * rows * width) as f64 * size::<A>() };
        let x = x.view_at(x_row * width, [rows, width]).map_err(device)?;
        let y = y.view_mut_at(y_row * width, [rows, width]).map_err(device)?;
        let weight = weight.view([width]).map_err(device)?;
        profile
            .launch(["rms_norm", name], work, || rms_norm::run(&*stream, &schedule, x, weight, y, eps))
            .map_err(device)
    }

    /// `y = epilogue(x weight^T + bias)`.
    pub(super) fn linear<A: ActivationElem, W: WeightElem>(
        &mut self,
        name: &'static str,
        layer: &Linear<W>,
        x: &Buffer<A>,
        y: &mut Buffer<A>,
        rows: usize,
        epilogue: Epilogue,
    ) -> Result<()> {
        let bias = layer.bias.as_ref();
        let epilogue = Epilogue { bias: bias.is_some(), ..epilogue };
        self.product(
            name,
            [rows, layer.n_out, layer.n_in],
            x,
            (
                layer.weight.view([layer.n_out, layer.n_in]).map_err(device)?,
                bias.map(|bias| bias.view([layer.n_out])).transpose().map_err(device)?,
            ),
            y.view_mut([rows, layer.n_out]).map_err(device)?,
            epilogue,
        )
    }

    /// The projections to queries, keys and values, one behind the other in `y`: a single launch for one row, whose three results
    /// are neighbours, else one each.
    pub(super) fn qkv<A: ActivationElem, W: WeightElem>(
        &mut self,
        layer: &Stacked<W>,
        x: &Buffer<A>,
        y: &mut Buffer<A>,
        rows: usize,
    ) -> Result<()> {
        let k = layer.n_in;
        let epilogue = Epilogue { bias: layer.bias.is_some(), ..Epilogue::NONE };
        let mut part = |name, first: usize, n: usize, y: TensorMut<'_, A, 1>| {
            let weight = layer.weight.view_at(first * k, [n, k]).map_err(device)?;
            let bias =
                layer.bias.as_ref().map(|bias| bias.view_at(first, [n])).transpose().map_err(device)?;
            let y = y.reshaped([rows, n]).map_err(device)?;
            self.product(name, [rows, n, k], x, (weight, bias), y, epilogue)
        };
        let mut rest = y.view_mut([rows * layer.n_out.iter().sum::<usize>()]).map_err(device)?;
        if rows == 1 {
            return part("qkv_proj", 0, layer.n_out.iter().sum(), rest);
        }
        let mut first = 0;
        for (name, n) in ["q_proj", "k_proj", "v_proj"].into_iter().zip(layer.n_out) {
            let (now, later) = rest.split_at(rows * n).map_err(device)?;
            part(name, first, n, now)?;
            (first, rest) = (first + n, later);
        }
        Ok(())
    }

    /// As [`Runner::linear`], from bare operands of extents `[m, n, k]`.
    pub(super) fn product<A: ActivationElem, W: WeightElem>(
        &mut self,
        name: &'static str,
        [m, n, k]: [usize; 3],
        x: &Buffer<A>,
        (w, bias): (TensorRef<'_, W, 2>, Option<TensorRef<'_, W, 1>>),
        y: TensorMut<'_, A, 2>,
        epilogue: Epilogue,
    ) -> Result<()> {
        let Self { stream, plan, profile, parts } = self;
        let work = Work {
            flops: 2.0 * m as f64 * n as f64 * k as f64,
            bytes: (n * k) as f64 * size::<W>() + (m * k + m * n) as f64 * size::<A>(),
        };
        let x = x.view([m, k]).map_err(device)?;
        let bias = match bias {
            Some(bias) => bias,
            None => TensorRef::from_slice(&[], [0]).map_err(device)?,
        };
        let ask = || linear_bucket::<A, W>(m, n, k).with_option("epilogue", "none");
        let (rows, gpu, layout) = (plan.bucket_rows(m), plan.gpu(), Layout::OutIn);
        let by_shape = || gpu.and_then(|gpu| linear::<A, W>(Product { m: rows, n, k, epilogue }, gpu));
        let streamed = || matvec::matvec::kernel::<A, W>(epilogue, layout);
        let tiled = || matmul::matmul::kernel::<A, W>(epilogue, layout);
        let kind = plan.way(name, rows, |plan| {
            kind_with_records(plan, by_shape().as_ref(), rows, &ask(), [streamed(), tiled()])
        });
        match kind {
            Kind::Streamed => {
                let schedule =
                    plan.schedule(name, m, || pinned(streamed(), ask(), vec![("BM", m.next_power_of_two())]));
                let run = || matvec::run(&*stream, &schedule, x, w, bias, y, epilogue, layout);
                profile.launch(["matvec", name], work, run).map_err(device)
            }
            Kind::Tiles => {
                let schedule = plan.schedule_in(["matmul", name], rows, || {
                    (tiled(), Ask { by_shape: of_tiles(by_shape()), ..Ask::new(ask(), Vec::new()) })
                });
                let run = || matmul::run(&*stream, &schedule, x, w, bias, y, epilogue, layout);
                profile.launch(["matmul", name], work, run).map_err(device)
            }
            Kind::Split => {
                let room = gpu.map_or(0, most_partial_elements);
                let ways = || match by_shape() {
                    Some(Way::Split { split, reduce }) => (Some(split), Some(reduce)),
                    Some(Way::Streamed | Way::Tiles(_)) | None => (None, None),
                };
                let split = plan.schedule_in(["matmul_split", name], rows, || {
                    let at_most = Some(("split_k", room / (rows * n)));
                    let ask = Ask { by_shape: ways().0, at_most, ..Ask::new(ask(), Vec::new()) };
                    (matmul_split::matmul_split::kernel::<A, W>(layout), ask)
                });
                let reduce = plan.schedule_in(["matmul_reduce", name], rows, || {
                    let ask = Ask { by_shape: ways().1, ..Ask::new(ask(), Vec::new()) };
                    (matmul_split::matmul_reduce::kernel::<A, W>(epilogue), ask)
                });
                let parts = match parts {
                    Some(parts) => parts,
                    None => parts.insert(Buffer::zeros_on(stream.device(), room).map_err(device)?),
                };
                let partial = parts.view_mut([matmul_split::splits(&split), m, n]).map_err(device)?;
                let schedules = matmul_split::Schedules { split: &split, reduce: &reduce };
                let run = || matmul_split::run(&*stream, schedules, x, w, bias, partial, y, epilogue, layout);
                profile.launch(["matmul_split", name], work, run).map_err(device)
            }
        }
    }

    /// `y = silu(x gate^T) * (x up^T)`; `spare` is used when the projections have biases.
    pub(super) fn gate_up<A: ActivationElem, W: WeightElem>(
        &mut self,
        [gate, up]: &[Linear<W>; 2],
        x: &Buffer<A>,
        y: &mut Buffer<A>,
        spare: &mut Buffer<A>,
        rows: usize,
    ) -> Result<()> {
        let (m, n, k) = (rows, gate.n_out, gate.n_in);
        if gate.bias.is_some() {
            self.linear("gate", gate, x, spare, rows, Epilogue::NONE)?;
            // The up projection lands behind the gate, so that one buffer serves both.
            let both = spare.view_mut([2 * m * n]).map_err(device)?;
            let (first, second) = both.split_at(m * n).map_err(device)?;
            let mut second = second.reshaped([m, n]).map_err(device)?;
            let bias = Epilogue { bias: up.bias.is_some(), ..Epilogue::NONE };
            let up_bias = up.bias.as_ref().map(|bias| bias.view([n])).transpose().map_err(device)?;
            let up_weight = up.weight.view([n, k]).map_err(device)?;
            self.product("up", [m, n, k], x, (up_weight, up_bias), second.reborrow(), bias)?;
            let Self { stream, plan, profile, .. } = self;
            let schedule = plan.schedule("swiglu", m, || {
                let ask = bucket::<A, A>(&[("rows", m), ("columns", n)]);
                pinned(swiglu::swiglu::kernel::<A>(Activation::Silu), ask, Vec::new())
            });
            let g = first.reshaped([m, n]).map_err(device)?.into_ref();
            let u = second.into_ref();
            let y = y.view_mut([m, n]).map_err(device)?;
            let work = Work { flops: (5 * m * n) as f64, bytes: (3 * m * n) as f64 * size::<A>() };
            return profile
                .launch(["swiglu"; 2], work, || swiglu::run(&*stream, &schedule, g, u, y, Activation::Silu))
                .map_err(device);
        }
        let Self { stream, plan, profile, .. } = self;
        let work = Work {
            flops: 4.0 * m as f64 * n as f64 * k as f64,
            bytes: 2.0 * (n * k) as f64 * size::<W>() + (m * k + m * n) as f64 * size::<A>(),
        };
        let x = x.view([m, k]).map_err(device)?;
        let (g, u) = (gate.weight.view([n, k]).map_err(device)?, up.weight.view([n, k]).map_err(device)?);
        let y = y.view_mut([m, n]).map_err(device)?;
        let ask = || linear_bucket::<A, W>(m, n, k);
        let (silu, layout) = (Activation::Silu, Layout::OutIn);
        let (rows, gpu) = (plan.bucket_rows(m), plan.gpu());
        let product = Product { m: rows, n, k, epilogue: Epilogue::NONE };
        let by_shape = || gpu.and_then(|gpu: Gpu| gated_linear::<A, W>(product, gpu));
        let streamed = || matvec::matvec_gated::kernel::<A, W>(silu, layout);
        let tiled = || matmul::matmul_gated::kernel::<A, W>(silu, layout);
        let kind = plan.way("gate_up", rows, |plan| {
            kind_with_records(plan, by_shape().as_ref(), rows, &ask(), [streamed(), tiled()])
        });
        match kind {
            Kind::Streamed => {
                let schedule = plan.schedule("gate_up", m, || {
                    pinned(streamed(), ask(), vec![("BM", m.next_power_of_two())])
                });
                let run = || matvec::run_gated(&*stream, &schedule, x, g, u, y, silu, layout);
                profile.launch(["matvec_gated", "gate_up"], work, run).map_err(device)
            }
            // It has no form in parts.
            Kind::Tiles | Kind::Split => {
                let schedule = plan.schedule_in(["matmul_gated", "gate_up"], rows, || {
                    (tiled(), Ask { by_shape: of_tiles(by_shape()), ..Ask::new(ask(), Vec::new()) })
                });
                let run = || matmul::run_gated(&*stream, &schedule, x, g, u, y, silu, layout);
                profile.launch(["matmul_gated", "gate_up"], work, run).map_err(device)
            }
        }
    }

    /// Cosines and sines of every row's position.
    pub(super) fn rope_table(
        &mut self,
        positions: TensorRef<'_, i32, 1>,
        inv_freq: &Buffer<f32>,
        [cos, sin]: [&mut Buffer<f32>; 2],
        rows: usize,
        factor: f32,
    ) -> Result<()> {
        let pairs = inv_freq.len();
        let Self { stream, plan, profile, .. } = self;
        let schedule = plan.schedule("rope_table", rows, || {
            let ask = bucket::<f32, f32>(&[("tokens", rows), ("pairs", pairs)]);
            pinned(rope::rope_table::kernel(), ask, vec![("HD", pairs)])
        });
        let work = Work { flops: (2 * rows * pairs) as f64, bytes: (8 * rows * pairs) as f64 };
        let inv_freq = inv_freq.view([pairs]).map_err(device)?;
        let cos = cos.view_mut([rows, pairs]).map_err(device)?;
        let sin = sin.view_mut([rows, pairs]).map_err(device)?;
        let run = || rope::run_table(&*stream, &schedule, positions, inv_freq, cos, sin, factor);
        profile.launch(["rope_table"; 2], work, run).map_err(device)
    }

    /// Head norms, rotation, and the write of keys and values into their pages.
    pub(super) fn rope_write<A: ActivationElem, W: WeightElem>(
        &mut self,
        args: RopeWrite<'_, A, A, W>,
    ) -> Result<()> {
        let [rows, n_heads, _, pairs] = args.q.dims();
        let n_kv_heads = args.k.dims()[1];
        let Self { stream, plan, profile, .. } = self;
        let norm = args.norm;
        let schedule = plan.schedule("rope_write", rows, || {
            let ask = bucket::<A, W>(&[
                ("tokens", rows),
                ("q_heads", n_heads),
                ("kv_heads", n_kv_heads),
                ("head_size", 2 * pairs),
            ]);
            let fixed = vec![("HQ", n_heads), ("HKV", n_kv_heads), ("HD", pairs)];
            pinned(rope::rope_write::kernel::<A, A, W>(norm), ask, fixed)
        });
        let elements = (rows * (n_heads + n_kv_heads) * 2 * pairs) as f64;
        let work = Work { flops: 3.0 * elements, bytes: 2.0 * elements * size::<A>() };
        profile.launch(["rope_write"; 2], work, || rope::run_write(&*stream, &schedule, args)).map_err(device)
    }

    /// Attention of new tokens over their sequences' pages.
    #[expect(clippy::too_many_arguments, reason = "operands and extents of one launch")]
    pub(super) fn attend_prompt<A: ActivationElem, W: WeightElem>(
        &mut self,
        heads: Heads,
        q: &Buffer<A>,
        pages: Pages<'_, W>,
        starts: TensorRef<'_, i32, 1>,
        rows: usize,
        max_tokens: usize,
        o: &mut Buffer<A>,
        window: Option<usize>,
        work: Work,
    ) -> Result<()> {
        let Heads { n_kv_heads, group, head_dim, page_tokens } = heads;
        let (mask, window) = mask(window);
        let Self { stream, plan, profile, .. } = self;
        let schedule = plan.schedule("attention_paged", max_tokens, || {
            let ask = bucket::<A, W>(&[
                ("sequences", 1),
                ("tokens", max_tokens),
                ("past", 0),
                ("kv_heads", n_kv_heads),
                ("group", group),
                ("head_size", head_dim),
            ])
            .with_option("mask", "causal")
            .with_option("page", &page_tokens.to_string());
            let fixed = vec![("G", group), ("D", head_dim)];
            let (kernel, ask) = pinned(attention_paged::attention_paged::kernel::<A, W>(mask), ask, fixed);
            (kernel, Ask { divides: Some(("BN", page_tokens)), ..ask })
        });
        let dims = [rows, n_kv_heads, group, head_dim];
        let q = q.view(dims).map_err(device)?;
        let o = o.view_mut(dims).map_err(device)?;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let run = || {
            attention_paged::run(&*stream, &schedule, q, pages, starts, max_tokens, o, scale, window, mask)
        };
        profile.launch(["attention_paged"; 2], work, run).map_err(device)
    }

    /// Attention of one new token per sequence.
    #[expect(clippy::too_many_arguments, reason = "operands and extents of one launch")]
    pub(super) fn attend_step<A: ActivationElem, W: WeightElem>(
        &mut self,
        heads: Heads,
        q: &Buffer<A>,
        pages: Pages<'_, W>,
        scratch: [&mut Buffer<f32>; 2],
        n_splits: usize,
        rows: usize,
        context: usize,
        o: &mut Buffer<A>,
        window: Option<usize>,
        work: Work,
    ) -> Result<()> {
        let Heads { n_kv_heads, group, head_dim, page_tokens } = heads;
        let (mask, window) = mask(window);
        let Self { stream, plan, profile, .. } = self;
        let part = if n_splits == 1 { attention_decode::Part::Whole } else { attention_decode::Part::Split };
        let step = match part {
            attention_decode::Part::Whole => "attention_decode",
            attention_decode::Part::Split => "attention_decode_split",
        };
        let decode = plan.schedule(step, context, || {
            let ask = bucket::<A, W>(&[
                ("sequences", rows),
                ("context", context),
                ("kv_heads", n_kv_heads),
                ("group", group),
                ("head_size", head_dim),
                ("splits", n_splits),
            ])
            .with_option("mask", "causal")
            .with_option("page", &page_tokens.to_string());
            let kernel = attention_decode::attention_decode::kernel::<A, W>(mask, part);
            let (kernel, ask) = pinned(kernel, ask, vec![("G", group), ("D", head_dim)]);
            (kernel, Ask { divides: Some(("BN", page_tokens)), ..ask })
        });
        // One split is finished by the first kernel, and there is nothing to merge.
        let merge = match part {
            attention_decode::Part::Whole => Rc::clone(&decode),
            attention_decode::Part::Split => plan.schedule("attention_merge", 1, || {
                let ask = bucket::<A, A>(&[("group", group), ("head_size", head_dim)]);
                let fixed = vec![("G", group), ("D", head_dim)];
                pinned(attention_decode::attention_merge::kernel::<A>(), ask, fixed)
            }),
        };
        let [partial, stats] = scratch;
        let scratch = attention_decode::Scratch {
            partial: partial.view_mut([rows, n_kv_heads, n_splits, group, head_dim]).map_err(device)?,
            stats: stats.view_mut([rows, n_kv_heads, n_splits, 2, group]).map_err(device)?,
        };
        let dims = [rows, n_kv_heads, group, head_dim];
        let q = q.view(dims).map_err(device)?;
        let o = o.view_mut(dims).map_err(device)?;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let schedules = attention_decode::Schedules { decode: &decode, merge: &merge };
        let run = || attention_decode::run(&*stream, schedules, q, pages, scratch, o, scale, window, mask);
        profile.launch(["attention_decode"; 2], work, run).map_err(device)
    }

    /// Makes the logits of tokens seen less likely, in place.
    pub(super) fn penalise<A: ActivationElem>(
        &mut self,
        seen: TensorRef<'_, i32, 2>,
        penalties: TensorRef<'_, f32, 1>,
        logits: TensorMut<'_, A, 2>,
    ) -> Result<()> {
        let ([rows, vocab], [_, n_seen]) = (logits.dims(), seen.dims());
        let Self { stream, plan, profile, .. } = self;
        let schedule = plan.schedule("penalise", rows, || {
            let ask = bucket::<A, A>(&[("rows", rows), ("length", vocab), ("seen", n_seen)]);
            pinned(penalise::penalise::kernel::<A>(), ask, Vec::new())
        });
        let n = (rows * n_seen) as f64;
        let work = Work { flops: n, bytes: n * (2.0 * size::<A>() + 4.0) };
        let run = || penalise::run(&*stream, &schedule, seen, penalties, logits);
        profile.launch(["penalise"; 2], work, run).map_err(device)
    }

    /// Picks a token from each row of logits.
    pub(super) fn sample<A: ActivationElem>(
        &mut self,
        logits: TensorRef<'_, A, 2>,
        controls: sample::Controls<'_>,
        tokens: TensorMut<'_, i32, 1>,
    ) -> Result<()> {
        let [rows, vocab] = logits.dims();
        let Self { stream, plan, profile, .. } = self;
        let schedule = plan.schedule("sample", rows, || {
            let ask = bucket::<A, A>(&[("rows", rows), ("length", vocab)]).with_option("filters", "all");
            pinned(sample::sample::kernel::<A>(), ask, Vec::new())
        });
        let n = (rows * vocab) as f64;
        let work = Work { flops: 4.0 * n, bytes: n * size::<A>() };
        let run = || sample::run(&*stream, &schedule, logits, controls, tokens);
        profile.launch(["sample"; 2], work, run).map_err(device)
    }
}

fn mask(window: Option<usize>) -> (Mask, i32) {
    match window {
        Some(tokens) => (Mask::Window, i32::try_from(tokens).unwrap_or(i32::MAX)),
        None => (Mask::Causal, 0),
    }
}

/// The head norm of a layer as the kernel takes it.
pub(super) fn head_norm<A>(qk_norm: Option<&[Buffer<A>; 2]>) -> HeadNorm {
    if qk_norm.is_some() { HeadNorm::Rms } else { HeadNorm::None }
}
