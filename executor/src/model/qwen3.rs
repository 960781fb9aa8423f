//! Qwen3: no biases, but an RMSNorm on every query and key head before the rotary embedding.
//!
//! Source: Yang et al., "Qwen3 Technical Report" (2025).

use super::blueprint::Blueprint;
use super::llama;

/// The tensors of a Qwen3 checkpoint.
pub(super) const BLUEPRINT: Blueprint =
    Blueprint { qk_norm: Some(["self_attn.q_norm.weight", "self_attn.k_norm.weight"]), ..llama::BLUEPRINT };
