//! Element types of a model: what its matrices are stored in, and what flows between its kernels.
//!
//! On a CPU activations are f32 whatever the weights are: the arithmetic is f32 there, and a narrow activation would only be
//! widened again. On a GPU 16-bit weights have activations, keys and values of their own type, as frameworks run such checkpoints,
//! because matrix units multiply equal types. Inside a kernel everything is f32: sums, norms, softmax and its state, the tables of
//! rotations, the sum of a product with its residual. A result is rounded once, when its kernel stores it; so is the residual
//! stream, as in frameworks, whose every operation rounds, and which our accuracy is measured against (`tests/models.rs`).

use safetensors::Dtype;
use tilewright_codegen::dsl::elem::{DotInput, Float};
use tilewright_runtime::Buffer;

use super::runner::device;
use crate::error::Result;

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

/// An element type that activations can have.
pub(super) trait ActivationElem: Float + DotInput<Acc = f32> {
    /// Logits that a kernel may write in place, which must be f32.
    fn in_place(logits: &mut [f32]) -> Option<&mut [Self]>;

    /// A vector of f32 on the host, rounded.
    fn rounded(vector: Buffer<f32>) -> Result<Buffer<Self>>;
}

impl ActivationElem for f32 {
    fn in_place(logits: &mut [f32]) -> Option<&mut [Self]> {
        Some(logits)
    }

    fn rounded(vector: Buffer<f32>) -> Result<Buffer<Self>> {
        Ok(vector)
    }
}

macro_rules! narrow_activation {
    ($($t:ty),+) => {
        $(impl ActivationElem for $t {
            fn in_place(_logits: &mut [f32]) -> Option<&mut [Self]> {
                None
            }

            fn rounded(vector: Buffer<f32>) -> Result<Buffer<Self>> {
                let values: Vec<Self> = vector.as_slice().iter().map(|x| Self::from_f32(*x)).collect();
                Buffer::from_slice(&values).map_err(device)
            }
        })+
    };
}
narrow_activation!(half::f16, half::bf16);
