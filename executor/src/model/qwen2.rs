//! Qwen2: Llama's tensors with biases on the query, key and value projections; some layers may have a sliding window.
//!
//! Source: Yang et al., "Qwen2 Technical Report" (2024).

use super::blueprint::Blueprint;
use super::llama;

/// The tensors of a Qwen2 checkpoint; its biases follow from the configuration.
pub(super) const BLUEPRINT: Blueprint = llama::BLUEPRINT;
