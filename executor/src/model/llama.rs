//! Llama 2, 3 and 3.x: the plain architecture; 3.1 and later scale the rotary frequencies, which the configuration says.
//!
//! Source: Touvron et al., "Llama 2" (2023); "The Llama 3 Herd of Models" (2024).

use super::blueprint::Blueprint;

/// The tensors of a Llama checkpoint.
pub(super) const BLUEPRINT: Blueprint = Blueprint {
    embedding: "model.embed_tokens.weight",
    final_norm: "model.norm.weight",
    head: "lm_head.weight",
    layer_prefix: "model.layers.",
    attention_norm: "input_layernorm.weight",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    attention_output: "self_attn.o_proj",
    qk_norm: None,
    feed_forward_norm: "post_attention_layernorm.weight",
    gate_up: ["mlp.gate_proj", "mlp.up_proj"],
    down: "mlp.down_proj",
};
