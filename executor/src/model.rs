//! From configuration and weights to a model on a device.
//!
//! The architecture selects the names of the tensors, the checkpoint's element type and the device the instance of the decoder; everything
//! beside [`load`] sees only [`Forward`].

mod blueprint;
mod controls;
mod decoder;
mod elements;
mod llama;
mod memory_plan;
mod mistral;
mod plan;
mod profile;
mod qwen2;
mod qwen3;
mod replay;
mod runner;
mod scratch;
mod tensors;

use safetensors::Dtype;
use tilewright_codegen::schedule::TargetKind;
use tilewright_runtime::Device;

use crate::args::DeviceKind;
use crate::config::{Architecture, ModelConfig};
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::kv_cache::KvLayout;
use crate::weights::Weights;
use blueprint::Blueprint;
use decoder::Decoder;
use elements::{ActivationElem, WeightElem};

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
    /// How decode steps reach a GPU.
    pub steps: StepMode,
}

/// How decode steps reach a device that records launches; others launch in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepMode {
    /// One graph per step, recorded when its shape comes for the second time.
    #[default]
    Replay,
    /// Kernel by kernel.
    Launch,
}

/// Places a model on a device, checking every tensor against the configuration.
///
/// # Errors
/// A tensor that is missing or has the wrong dtype or shape, memory that does not suffice, or a device that fails.
pub fn load(config: &ModelConfig, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Forward>> {
    load_observed(config, weights, options, &mut |_| {})
}

/// As [`load`]; `on_bytes` is told how many bytes of the checkpoint have been placed since the last call.
///
/// # Errors
/// As [`load`].
pub fn load_observed(
    config: &ModelConfig,
    weights: &Weights,
    options: &LoadOptions,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<Box<dyn Forward>> {
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
    memory_plan::check(config, weights, options, embedding.dtype, &device)?;
    let place = Placing { blueprint, config, weights, options, device: &device };
    // `require` admits only the three weight types.
    match (embedding.dtype, device.kind()) {
        (Dtype::F16, TargetKind::Cpu) => place.decoder::<f32, half::f16>(on_bytes),
        (Dtype::F16, TargetKind::Gpu) => place.decoder::<half::f16, half::f16>(on_bytes),
        (Dtype::BF16, TargetKind::Cpu) => place.decoder::<f32, half::bf16>(on_bytes),
        (Dtype::BF16, TargetKind::Gpu) => place.decoder::<half::bf16, half::bf16>(on_bytes),
        (_, TargetKind::Cpu | TargetKind::Gpu) => place.decoder::<f32, f32>(on_bytes),
    }
}

/// What is placed where.
struct Placing<'a> {
    blueprint: &'a Blueprint,
    config: &'a ModelConfig,
    weights: &'a Weights,
    options: &'a LoadOptions,
    device: &'a Device,
}

impl Placing<'_> {
    fn decoder<A: ActivationElem, W: WeightElem>(
        &self,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Box<dyn Forward>> {
        let Self { blueprint, config, weights, options, device } = *self;
        Ok(Box::new(Decoder::<A, W>::load(blueprint, config, weights, options, device, on_bytes)?))
    }
}
