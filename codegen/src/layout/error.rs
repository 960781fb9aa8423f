//! What can be wrong with a layout, in numbers.

/// Why a layout could not be built, derived or converted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// A tile has more dimensions than layouts support.
    #[error("a layout has at most 4 dimensions, and {rank} were given")]
    Rank {
        /// The number of dimensions.
        rank: usize,
    },
    /// An extent is zero or too large.
    #[error("extent {extent} of dimension {dim} is not in 1..=65536")]
    Extent {
        /// The dimension.
        dim: usize,
        /// Its extent.
        extent: u32,
    },
    /// The tile has too many elements for 32-bit offsets.
    #[error("a tile of {elements} elements is over the limit of 2^30")]
    Size {
        /// The number of elements.
        elements: u64,
    },
    /// A basis vector leaves the power-of-two span of its tile.
    #[error(
        "basis vector {bit} of the {input} index is {offset} in dimension {dim}, outside its span of {span}: \
         what lies beyond the span is a repeat"
    )]
    Basis {
        /// Which index.
        input: &'static str,
        /// Which of its bits.
        bit: usize,
        /// The dimension.
        dim: usize,
        /// The offset given.
        offset: u32,
        /// The span of that dimension.
        span: u32,
    },
    /// More index bits than a thread index can have.
    #[error("the {input} index has {bits} bits, and at most {limit} are possible")]
    Bits {
        /// Which index.
        input: &'static str,
        /// The number of bits given.
        bits: usize,
        /// The most there can be.
        limit: usize,
    },
    /// The order of repeats does not name each repeated dimension once.
    #[error("repeat order {order:?} should name each of the repeated dimensions {repeated:?} once")]
    RepeatOrder {
        /// The order given.
        order: Vec<usize>,
        /// The dimensions with more than one repeat.
        repeated: Vec<usize>,
    },
    /// A dimension index is out of range, or dimensions do not fit together.
    #[error("{what}")]
    Shape {
        /// The numbers, and what to do.
        what: String,
    },
    /// A text form is malformed.
    #[error("layout text, byte {at}: {message}")]
    Text {
        /// Byte position.
        at: usize,
        /// What was expected.
        message: String,
    },
}

/// A shape error with a formatted message.
pub(crate) fn shape_error<T>(what: impl Into<String>) -> Result<T, LayoutError> {
    Err(LayoutError::Shape { what: what.into() })
}
