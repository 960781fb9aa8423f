//! The weights of a decoder as device buffers, each checked against the configuration.
//!
//! Matrices stay in the width of the checkpoint and, on the CPU, in its memory map. Norm vectors become f32, which is exact for every
//! width and costs nothing. Biases share the matrices' element type.

use std::sync::Arc;

use safetensors::Dtype;
use tilewright_codegen::dsl::elem::{DotInput, Elem, Float};
use tilewright_runtime::{Buffer, HostMemory};

use super::blueprint::Blueprint;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::weights::{WeightView, Weights};

/// An element type that weights can have.
pub(super) trait WeightElem: Float + DotInput<Acc = f32> {
    /// Its name in a checkpoint.
    const CHECKPOINT: Dtype;
}
impl WeightElem for f32 {
    const CHECKPOINT: Dtype = Dtype::F32;
}
impl WeightElem for half::f16 {
    const CHECKPOINT: Dtype = Dtype::F16;
}
impl WeightElem for half::bf16 {
    const CHECKPOINT: Dtype = Dtype::BF16;
}

/// A linear layer: `[out, in]` and an optional bias `[out]`.
pub(super) struct Linear<W> {
    pub(super) weight: Buffer<W>,
    pub(super) bias: Option<Buffer<W>>,
    pub(super) n_out: usize,
    pub(super) n_in: usize,
}

/// The weights of one layer.
pub(super) struct Layer<W> {
    pub(super) attention_norm: Buffer<f32>,
    pub(super) qkv: [Linear<W>; 3],
    pub(super) qk_norm: Option<[Buffer<f32>; 2]>,
    pub(super) attention_output: Linear<W>,
    pub(super) feed_forward_norm: Buffer<f32>,
    pub(super) gate_up: [Linear<W>; 2],
    pub(super) down: Linear<W>,
}

/// All weights.
pub(super) struct Tensors<W> {
    pub(super) embedding: Buffer<W>,
    pub(super) layers: Vec<Layer<W>>,
    pub(super) final_norm: Buffer<f32>,
    /// `None` where the head is the embedding.
    pub(super) head: Option<Buffer<W>>,
}

impl<W: WeightElem> Tensors<W> {
    /// Takes the tensors that `blueprint` names out of a checkpoint.
    ///
    /// # Errors
    /// A tensor that is missing, or has another shape or element type.
    pub(super) fn load(blueprint: &Blueprint, config: &ModelConfig, weights: &Weights) -> Result<Self> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let head = match (config.tie_word_embeddings, weights.get(blueprint.head)) {
            (true, _) => None,
            (false, _) => Some(matrix::<W>(weights, blueprint.head, &[vocab, hidden])?),
        };
        Ok(Self {
            embedding: matrix::<W>(weights, blueprint.embedding, &[vocab, hidden])?,
            layers: (0..config.n_layers)
                .map(|index| layer(blueprint, config, weights, index))
                .collect::<Result<_>>()?,
            final_norm: vector(weights, blueprint.final_norm, hidden)?,
            head,
        })
    }
}

fn layer<W: WeightElem>(
    blueprint: &Blueprint,
    config: &ModelConfig,
    weights: &Weights,
    index: usize,
) -> Result<Layer<W>> {
    let name = |part: &str| format!("{}{index}.{part}", blueprint.layer_prefix);
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.q_width(), config.kv_width());
    let linear = |part: &str, n_out: usize, n_in: usize, bias: bool| -> Result<Linear<W>> {
        let stem = name(part);
        let bias = if bias { Some(matrix::<W>(weights, &format!("{stem}.bias"), &[n_out])?) } else { None };
        Ok(Linear { weight: matrix(weights, &format!("{stem}.weight"), &[n_out, n_in])?, bias, n_out, n_in })
    };
    let qk_norm = match blueprint.qk_norm {
        Some([q_norm, k_norm]) => Some([
            vector(weights, &name(q_norm), config.head_dim)?,
            vector(weights, &name(k_norm), config.head_dim)?,
        ]),
        None => None,
    };
    let [q_name, k_name, v_name] = blueprint.qkv;
    let [gate_name, up_name] = blueprint.gate_up;
    let biases = config.biases;
    Ok(Layer {
        attention_norm: vector(weights, &name(blueprint.attention_norm), hidden)?,
        qkv: [
            linear(q_name, q, hidden, biases.qkv)?,
            linear(k_name, kv, hidden, biases.qkv)?,
            linear(v_name, kv, hidden, biases.qkv)?,
        ],
        qk_norm,
        attention_output: linear(blueprint.attention_output, hidden, q, biases.attention_output)?,
        feed_forward_norm: vector(weights, &name(blueprint.feed_forward_norm), hidden)?,
        gate_up: [linear(gate_name, inner, hidden, biases.mlp)?, linear(up_name, inner, hidden, biases.mlp)?],
        down: linear(blueprint.down, hidden, inner, biases.mlp)?,
    })
}

/// A tensor of exactly the model's element type, in place.
fn matrix<W: WeightElem>(weights: &Weights, name: &str, shape: &[usize]) -> Result<Buffer<W>> {
    in_place(&weights.require_dtype(name, shape, &[W::CHECKPOINT])?)
}

/// A vector of any weight type, as f32.
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
