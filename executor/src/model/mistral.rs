//! Mistral: Llama's tensors; attention may be limited to a sliding window, which the configuration says per layer.
//!
//! Source: Jiang et al., "Mistral 7B" (2023).

use super::blueprint::Blueprint;
use super::llama;

/// The tensors of a Mistral checkpoint.
pub(super) const BLUEPRINT: Blueprint = llama::BLUEPRINT;
