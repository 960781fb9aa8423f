//! The weights of a decoder as device buffers, each checked against the configuration.
//!
//! Matrices stay in the width of the checkpoint. Large ones are copied to huge pages, which are read some 6 % faster than the
//! checkpoint's memory map, unless the machine is short of memory; then, and where they are small, they stay in the map. The
//! projections to queries, keys and values are always copied, to lie one below the other. On a GPU everything is copied once, to
//! its memory, through two pinned chunks.
//! Norm vectors take the type of activations: f32 on a CPU, exact for every width. Biases share the matrices' element type.

use std::sync::Arc;

use safetensors::Dtype;
use tilewright_codegen::dsl::elem::Elem;
use tilewright_codegen::schedule::TargetKind;
use tilewright_runtime::{Buffer, Device, HostMemory, Upload};

use super::blueprint::Blueprint;
use super::elements::{ActivationElem, WeightElem};
use super::runner::device;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::memory;
use crate::weights::{WeightView, Weights};

/// Where matrices are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Placement {
    /// In the checkpoint's own memory.
    InPlace,
    /// Copied, those that are worth it.
    HugePages,
    /// In the device's memory, all of them.
    OnDevice,
}

/// From this many bytes on a matrix is worth a copy.
const COPIED_BYTES: usize = 4 << 20;

impl Placement {
    /// Copies where they leave as much memory again for everything else.
    fn choose(weights: &Weights, on: &Device) -> Self {
        if on.kind() == TargetKind::Gpu {
            return Self::OnDevice;
        }
        let bytes: u64 = weights.totals().iter().map(|total| total.n_bytes).sum();
        let is_roomy = memory::available_bytes().is_some_and(|available| available / 2 > bytes);
        if is_roomy { Self::HugePages } else { Self::InPlace }
    }
}

/// What takes tensors out of a checkpoint.
struct Loader<'a> {
    blueprint: &'a Blueprint,
    config: &'a ModelConfig,
    weights: &'a Weights,
    placement: Placement,
    device: &'a Device,
    upload: Upload,
    /// Told how many bytes of the checkpoint have been placed.
    on_bytes: &'a mut dyn FnMut(u64),
}

/// A linear layer: `[out, in]` and an optional bias `[out]`.
pub(super) struct Linear<W> {
    pub(super) weight: Buffer<W>,
    pub(super) bias: Option<Buffer<W>>,
    pub(super) n_out: usize,
    pub(super) n_in: usize,
}

/// Several linear layers of one input, their rows one below the other, so that a decode step reads them as one.
pub(super) struct Stacked<W> {
    /// `[sum of n_out, n_in]`.
    pub(super) weight: Buffer<W>,
    /// `[sum of n_out]`.
    pub(super) bias: Option<Buffer<W>>,
    /// Outputs of each layer.
    pub(super) n_out: [usize; 3],
    pub(super) n_in: usize,
}

/// The weights of one layer.
pub(super) struct Layer<A, W> {
    pub(super) attention_norm: Buffer<A>,
    /// Queries, keys, values.
    pub(super) qkv: Stacked<W>,
    pub(super) qk_norm: Option<[Buffer<A>; 2]>,
    pub(super) attention_output: Linear<W>,
    pub(super) feed_forward_norm: Buffer<A>,
    pub(super) gate_up: [Linear<W>; 2],
    pub(super) down: Linear<W>,
}

/// All weights.
pub(super) struct Tensors<A, W> {
    pub(super) embedding: Buffer<W>,
    pub(super) layers: Vec<Layer<A, W>>,
    pub(super) final_norm: Buffer<A>,
    /// `None` where the head is the embedding.
    pub(super) head: Option<Buffer<W>>,
}

impl<A: ActivationElem, W: WeightElem> Tensors<A, W> {
    /// Takes the tensors that `blueprint` names out of a checkpoint, placing them in memory of `on`.
    ///
    /// # Errors
    /// A tensor that is missing, or has another shape or element type; a device that fails.
    pub(super) fn load(
        blueprint: &Blueprint,
        config: &ModelConfig,
        weights: &Weights,
        on: &Device,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let placement = Placement::choose(weights, on);
        let upload = Upload::new(on).map_err(device)?;
        let mut loader = Loader { blueprint, config, weights, placement, device: on, upload, on_bytes };
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let head = match (config.tie_word_embeddings, weights.get(blueprint.head)) {
            (true, _) => None,
            (false, _) => Some(loader.matrix::<W>(blueprint.head, &[vocab, hidden])?),
        };
        // An embedding that is no head is read a row per token.
        let embedding = match head {
            None => loader.matrix::<W>(blueprint.embedding, &[vocab, hidden])?,
            Some(_) => {
                loader.placement = match placement {
                    Placement::InPlace | Placement::HugePages => Placement::InPlace,
                    Placement::OnDevice => Placement::OnDevice,
                };
                let embedding = loader.matrix::<W>(blueprint.embedding, &[vocab, hidden])?;
                loader.placement = placement;
                embedding
            }
        };
        let layers = (0..config.n_layers).map(|index| loader.layer(index)).collect::<Result<_>>()?;
        let final_norm = loader.vector(blueprint.final_norm, hidden)?;
        loader.upload.finish().map_err(device)?;
        Ok(Self { embedding, layers, final_norm, head })
    }
}

impl Loader<'_> {
    fn layer<A: ActivationElem, W: WeightElem>(&mut self, index: usize) -> Result<Layer<A, W>> {
        let Self { blueprint, config, .. } = *self;
        let name = |part: &str| format!("{}{index}.{part}", blueprint.layer_prefix);
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.q_width(), config.kv_width());
        let linear =
            |loader: &mut Self, part: &str, n_out: usize, n_in: usize, bias: bool| -> Result<Linear<W>> {
                let stem = name(part);
                let bias =
                    if bias { Some(loader.matrix::<W>(&format!("{stem}.bias"), &[n_out])?) } else { None };
                Ok(Linear {
                    weight: loader.matrix(&format!("{stem}.weight"), &[n_out, n_in])?,
                    bias,
                    n_out,
                    n_in,
                })
            };
        let qk_norm = match blueprint.qk_norm {
            Some([q_norm, k_norm]) => Some([
                self.vector(&name(q_norm), config.head_dim)?,
                self.vector(&name(k_norm), config.head_dim)?,
            ]),
            None => None,
        };
        let [q_name, k_name, v_name] = blueprint.qkv;
        let [gate_name, up_name] = blueprint.gate_up;
        let biases = config.biases;
        Ok(Layer {
            attention_norm: self.vector(&name(blueprint.attention_norm), hidden)?,
            qkv: Stacked {
                weight: self.stacked(
                    &[q_name, k_name, v_name].map(name),
                    "weight",
                    [q, kv, kv],
                    Some(hidden),
                )?,
                bias: if biases.qkv {
                    Some(self.stacked(&[q_name, k_name, v_name].map(name), "bias", [q, kv, kv], None)?)
                } else {
                    None
                },
                n_out: [q, kv, kv],
                n_in: hidden,
            },
            qk_norm,
            attention_output: linear(self, blueprint.attention_output, hidden, q, biases.attention_output)?,
            feed_forward_norm: self.vector(&name(blueprint.feed_forward_norm), hidden)?,
            gate_up: [
                linear(self, gate_name, inner, hidden, biases.mlp)?,
                linear(self, up_name, inner, hidden, biases.mlp)?,
            ],
            down: linear(self, blueprint.down, hidden, inner, biases.mlp)?,
        })
    }

    /// Tensors of exactly the model's element type, one after the other in memory of our own.
    fn stacked<W: WeightElem>(
        &mut self,
        stems: &[String; 3],
        part: &str,
        n_out: [usize; 3],
        n_in: Option<usize>,
    ) -> Result<Buffer<W>> {
        let len = n_out.iter().sum::<usize>() * n_in.unwrap_or(1);
        let mut whole = Buffer::zeros_on(self.device, len).map_err(device)?;
        let mut at = 0;
        for (stem, n_out) in stems.iter().zip(n_out) {
            let shape: Vec<usize> = [n_out].into_iter().chain(n_in).collect();
            let name = format!("{stem}.{part}");
            let mapped = in_place(&self.weights.require_dtype(&name, &shape, &[W::CHECKPOINT])?)?;
            self.copy(&mapped, &mut whole, at)?;
            at += mapped.len();
        }
        Ok(whole)
    }

    /// A tensor of exactly the model's element type.
    fn matrix<W: WeightElem>(&mut self, name: &str, shape: &[usize]) -> Result<Buffer<W>> {
        let mapped = in_place(&self.weights.require_dtype(name, shape, &[W::CHECKPOINT])?)?;
        let is_copied = match self.placement {
            Placement::InPlace => false,
            Placement::HugePages => mapped.len() * size_of::<W>() >= COPIED_BYTES,
            Placement::OnDevice => true,
        };
        if !is_copied {
            (self.on_bytes)((mapped.len() * size_of::<W>()) as u64);
            return Ok(mapped);
        }
        let mut copied = Buffer::zeros_on(self.device, mapped.len()).map_err(device)?;
        self.copy(&mapped, &mut copied, 0)?;
        Ok(copied)
    }

    /// A vector of any weight type, in the type of activations.
    fn vector<A: ActivationElem>(&mut self, name: &str, len: usize) -> Result<Buffer<A>> {
        let found = A::rounded(vector(self.weights, name, len)?)?;
        match self.placement {
            Placement::InPlace | Placement::HugePages => {
                (self.on_bytes)((len * size_of::<A>()) as u64);
                Ok(found)
            }
            Placement::OnDevice => {
                let mut copied = Buffer::zeros_on(self.device, len).map_err(device)?;
                self.copy(&found, &mut copied, 0)?;
                Ok(copied)
            }
        }
    }

    /// Copies elements to those from `at`; of a large matrix on the host the threads share the cost of its first touch.
    fn copy<T: Elem>(&mut self, from: &Buffer<T>, to: &mut Buffer<T>, at: usize) -> Result<()> {
        let from = from.as_slice();
        if self.placement == Placement::OnDevice || size_of_val(from) < COPIED_BYTES {
            return self.upload.write_at(to, at, from, self.on_bytes).map_err(device);
        }
        (self.on_bytes)(size_of_val(from) as u64);
        let to = &mut to.as_mut_slice().map_err(device)?[at..at + from.len()];
        let part = from.len().div_ceil(self.device.threads().max(1));
        std::thread::scope(|scope| {
            for (to, from) in to.chunks_mut(part).zip(from.chunks(part)) {
                scope.spawn(|| to.copy_from_slice(from));
            }
        });
        Ok(())
    }
}

/// A vector of any weight type, as f32, in host memory.
fn vector(weights: &Weights, name: &str, len: usize) -> Result<Buffer<f32>> {
    let view = weights.require(name, &[len])?;
    if view.dtype == Dtype::F32 {
        in_place(&view)
    } else if view.dtype == Dtype::F16 {
        widened::<half::f16>(&view)
    } else {
        // `require` admits only the three weight types.
        widened::<half::bf16>(&view)
    }
}

fn in_place<W: Elem>(view: &WeightView<'_>) -> Result<Buffer<W>> {
    let memory: Arc<dyn HostMemory> = Arc::new(view.bytes.clone());
    let len_bytes = view.bytes.as_ref().len();
    Buffer::from_host(memory, 0, len_bytes).map_err(|e| Error::Forward(e.into()))
}

fn widened<W: Elem>(view: &WeightView<'_>) -> Result<Buffer<f32>> {
    let narrow: Buffer<W> = in_place(view)?;
    let values: Vec<f32> = narrow.as_slice().iter().map(|x| x.to_f64() as f32).collect();
    Buffer::from_slice(&values).map_err(|e| Error::Forward(e.into()))
}
