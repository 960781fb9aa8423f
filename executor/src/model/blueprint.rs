//! What distinguishes one decoder-only architecture from another: the names of its tensors and which optional parts it has.
//!
//! The rest is shared: token embedding, then layers of `x += attention(norm(x))`, `x += feed_forward(norm(x))` with RMSNorm, rotary
//! positions, grouped queries and a gated feed-forward, then a norm and the head.

/// Names of a layer's tensors, without the layer's prefix, and of the tensors around the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blueprint {
    /// Token embedding, `[vocab, hidden]`.
    pub(super) embedding: &'static str,
    /// Norm after the last layer, `[hidden]`.
    pub(super) final_norm: &'static str,
    /// Output head, `[vocab, hidden]`, where it is not tied to the embedding.
    pub(super) head: &'static str,
    /// Prefix of layer tensors; the layer's number follows.
    pub(super) layer_prefix: &'static str,
    /// Norm before attention, `[hidden]`.
    pub(super) attention_norm: &'static str,
    /// Query, key and value projections, `[width, hidden]`.
    pub(super) qkv: [&'static str; 3],
    /// Output projection of attention, `[hidden, q_width]`.
    pub(super) attention_output: &'static str,
    /// Norms of every query and key head, `[head_dim]`, where the architecture has them.
    pub(super) qk_norm: Option<[&'static str; 2]>,
    /// Norm before the feed-forward part, `[hidden]`.
    pub(super) feed_forward_norm: &'static str,
    /// Gate and up projections, `[intermediate, hidden]`.
    pub(super) gate_up: [&'static str; 2],
    /// Down projection, `[hidden, intermediate]`.
    pub(super) down: &'static str,
}
