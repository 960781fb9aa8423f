//! What a matrix product does to its accumulator before it is stored.
//!
//! An epilogue is a comptime value, so each combination is its own program and unused arguments cost nothing.

use tilewright_codegen::prelude::*;

use crate::reference;

/// Steps between accumulator and store, in this order: add the bias, apply the activation, add what `y` already holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Epilogue {
    /// Adds a row vector, one element per column of the result.
    pub bias: bool,
    /// Applies a function to every element.
    pub activation: Activation,
    /// Adds to the previous content of the output: a residual connection in place.
    pub residual: bool,
}

impl Epilogue {
    /// Stores the product as it is.
    pub const NONE: Self = Self { bias: false, activation: Activation::Identity, residual: false };
    /// Adds a bias.
    pub const BIAS: Self = Self { bias: true, ..Self::NONE };
    /// Adds the product to the output.
    pub const RESIDUAL: Self = Self { residual: true, ..Self::NONE };
    /// Adds product and bias to the output.
    pub const BIAS_RESIDUAL: Self = Self { bias: true, residual: true, ..Self::NONE };
    /// Applies the exact GELU.
    pub const GELU: Self = Self { activation: Activation::Gelu, ..Self::NONE };
    /// Adds a bias, then applies the tanh form of GELU.
    pub const BIAS_GELU_TANH: Self = Self { bias: true, activation: Activation::GeluTanh, ..Self::NONE };

    /// The most accumulators of matrix instructions that leave a GPU's thread the registers for this epilogue: the error function
    /// does without those of half a tile.
    pub(crate) const fn accumulators_per_thread(self) -> i64 {
        match self.activation {
            Activation::Identity | Activation::Silu | Activation::GeluTanh => 128,
            Activation::Gelu => 64,
        }
    }

    /// Bytes of a GPU's shared memory through which what `y` held comes to a tile of accumulators: it is read in rows, in f32, and
    /// rows are 16 bytes apart from where they would meet in one bank.
    pub(crate) const fn shared_bytes(self, [rows, columns]: [i64; 2]) -> i64 {
        if self.residual { 4 * rows * (columns + 4) } else { 0 }
    }
}

/// A function of one element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Activation {
    /// x.
    #[default]
    Identity,
    /// x sigmoid(x) (Elfwing et al. 2017).
    Silu,
    /// x (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016).
    Gelu,
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the same paper's approximation.
    GeluTanh,
}

/// sqrt(2 / pi).
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
/// The cubic term of the tanh form.
const GELU_CUBIC: f64 = 0.044_715;

impl Activation {
    /// The function on a tile.
    #[must_use]
    #[track_caller]
    pub fn apply<S: TileShape>(self, x: Tile<f32, S>) -> Tile<f32, S> {
        match self {
            Self::Identity => x,
            Self::Silu => x * x.sigmoid(),
            Self::Gelu => x * 0.5 * ((x * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0),
            Self::GeluTanh => {
                let inner = (x + x * x * x * GELU_CUBIC as f32) * GELU_SCALE as f32;
                x * 0.5 * (inner.tanh() + 1.0)
            }
        }
    }

    /// The function in f64, for references.
    #[must_use]
    pub fn reference(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Silu => reference::silu(x),
            Self::Gelu => 0.5 * x * (1.0 + reference::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + (GELU_SCALE * (x + GELU_CUBIC * x * x * x)).tanh()),
        }
    }
}

/// Finishes an accumulator and stores it at `at`.
#[track_caller]
pub(crate) fn store<T: Float, W: Float, BM: Dim, BN: Dim>(
    acc: Tile<f32, (BM, BN)>,
    bias: View<W, 1>,
    y: ViewMut<T, 2>,
    at: [Scalar<i32>; 2],
    epilogue: Epilogue,
) {
    let mut out = acc;
    if epilogue.bias {
        out += bias.load::<(BN,)>([at[1]]).cast::<f32>().expand_dims::<0>();
    }
    out = epilogue.activation.apply(out);
    if epilogue.residual {
        out += y.load::<(BM, BN)>(at).cast::<f32>();
    }
    y.store(at, out.cast::<T>());
}
