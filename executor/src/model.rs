//! From configuration and weights to a model on a device.
//!
//! The architecture selects the code; everything beside [`load`] sees only [`Forward`].

use crate::args::DeviceKind;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::forward::Forward;
use crate::kv_cache::KvLayout;
use crate::weights::Weights;

/// Where and with how much memory a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device.
    pub device: DeviceKind,
    /// Threads; `None` is one per core.
    pub n_threads: Option<usize>,
    /// What is cached per token, and the page size.
    pub kv_layout: KvLayout,
    /// Pages to allocate.
    pub n_kv_pages: usize,
}

/// Places a model on a device, checking every tensor against the configuration.
///
/// # Errors
/// A tensor that is missing or has the wrong dtype or shape, or a device that fails.
pub fn load(config: &ModelConfig, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Forward>> {
    weights.require("model.embed_tokens.weight", &[config.vocab_size, config.hidden_size])?;
    let why = format!("no {} kernels for {:?} in this build", config.architecture, options.device);
    Err(Error::Forward(why.into()))
}
