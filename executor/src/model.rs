//! From configuration and weights to a model on a device.
//!
//! The architecture selects the names of the tensors, the checkpoint's element type selects the instance of the decoder; everything
//! beside [`load`] sees only [`Forward`].

mod blueprint;
mod decoder;
mod llama;
mod mistral;
mod plan;
mod profile;
mod qwen2;
mod qwen3;
mod runner;
mod scratch;
mod tensors;

use safetensors::Dtype;

use crate::args::DeviceKind;
use crate::config::{Architecture, ModelConfig};
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::kv_cache::KvLayout;
use crate::weights::Weights;
use decoder::Decoder;

/// Where and with how much memory a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device.
    pub device: DeviceKind,
    /// Threads; `None` is one per core.
    pub n_threads: Option<usize>,
    /// What is cached per token, and the page size; elements have the width of the weights.
    pub kv_layout: KvLayout,
    /// Pages to allocate.
    pub n_kv_pages: usize,
}

/// Places a model on a device, checking every tensor against the configuration.
///
/// # Errors
/// A tensor that is missing or has the wrong dtype or shape, or a device that fails.
pub fn load(config: &ModelConfig, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Forward>> {
    let blueprint = match config.architecture {
        Architecture::Llama => &llama::BLUEPRINT,
        Architecture::Mistral => &mistral::BLUEPRINT,
        Architecture::Qwen2 => &qwen2::BLUEPRINT,
        Architecture::Qwen3 => &qwen3::BLUEPRINT,
    };
    let device = options
        .device
        .open(options.n_threads.unwrap_or(0))
        .map_err(|source| Error::Device { device: options.device.to_string(), source })?;
    let embedding = weights.require(blueprint.embedding, &[config.vocab_size, config.hidden_size])?;
    Ok(if embedding.dtype == Dtype::F16 {
        Box::new(Decoder::<half::f16>::load(blueprint, config, weights, options, &device)?)
    } else if embedding.dtype == Dtype::BF16 {
        Box::new(Decoder::<half::bf16>::load(blueprint, config, weights, options, &device)?)
    } else {
        // `require` admits only the three weight types.
        Box::new(Decoder::<f32>::load(blueprint, config, weights, options, &device)?)
    })
}
