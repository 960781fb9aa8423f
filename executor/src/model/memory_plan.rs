//! What a model needs of a GPU's memory, compared with what is free before anything is placed.
//!
//! Weights are the tensors of the checkpoint, pages those that are asked for, activations those of the longest pass; the driver's own
//! needs and code are small beside them. The host's memory is another matter: its checkpoint is mapped, and the system swaps.

use safetensors::Dtype;
use tilewright_runtime::Device;

use super::LoadOptions;
use super::decoder::PASS_TOKENS;
use super::runner::device;
use super::scratch::activation_bytes;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::weights::Weights;

/// Checks that weights, pages and activations fit into what a CUDA device has free.
///
/// # Errors
/// [`Error::DeviceMemory`] with the numbers, or what the driver says.
pub(super) fn check(
    config: &ModelConfig,
    weights: &Weights,
    options: &LoadOptions,
    dtype: Dtype,
    on: &Device,
) -> Result<()> {
    let Some(stream) = on.cuda_stream() else { return Ok(()) };
    let (free_bytes, total_bytes) = stream.context().free_and_total_bytes().map_err(device)?;
    fits(config, weights, options, dtype, free_bytes, total_bytes)
}

/// [`check`] against given numbers.
fn fits(
    config: &ModelConfig,
    weights: &Weights,
    options: &LoadOptions,
    dtype: Dtype,
    free_bytes: u64,
    total_bytes: u64,
) -> Result<()> {
    let pass_tokens = PASS_TOKENS.min(config.max_position_embeddings);
    let is_narrow = matches!(dtype, Dtype::F16 | Dtype::BF16);
    let activation_bytes = if is_narrow {
        activation_bytes::<half::f16>(config, pass_tokens, 1)
    } else {
        activation_bytes::<f32>(config, pass_tokens, 1)
    };
    let weight_bytes: u64 = weights.totals().iter().map(|total| total.n_bytes).sum();
    let kv_bytes = options.n_kv_pages as u64 * options.kv_layout.bytes_per_page();
    if weight_bytes.saturating_add(kv_bytes).saturating_add(activation_bytes) <= free_bytes {
        return Ok(());
    }
    Err(Error::DeviceMemory {
        device: options.device.to_string(),
        weight_bytes,
        kv_bytes,
        activation_bytes,
        pass_tokens,
        free_bytes,
        total_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::DeviceKind;
    use crate::kv_cache::KvLayout;
    use crate::model::StepMode;

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_the_numbers() {
        let source = crate::demo::source();
        let config = ModelConfig::load(&source).expect("the demo's configuration should parse");
        let weights = Weights::open(&source).expect("the demo's weights should open");
        let options = LoadOptions {
            device: DeviceKind::Cuda(0),
            n_threads: None,
            kv_layout: KvLayout::new(&config, 2, 16),
            n_kv_pages: 1 << 20,
            steps: StepMode::Replay,
        };
        let kv = (1u64 << 20) * options.kv_layout.bytes_per_page();
        assert!(fits(&config, &weights, &options, Dtype::BF16, 2 * kv, 3 * kv).is_ok());
        let error = fits(&config, &weights, &options, Dtype::BF16, 3 << 30, 80 << 30)
            .expect_err("a million pages should not fit in 3 GiB")
            .to_string();
        for part in [
            "device cuda:0 has 3.00 GiB free of 80.00 GiB",
            "1.41 MiB of weights",
            "of KV cache",
            "lower --context",
        ] {
            assert!(error.contains(part), "`{part}` should be in: {error}");
        }
    }
}
