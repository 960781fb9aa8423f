//! Errors of the runtime; each names what was asked for, the numbers, and what to do.

/// What can go wrong with a device or a buffer.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The device's name is not known.
    #[error("unknown device `{name}`: this build runs kernels on `cpu`")]
    UnknownDevice {
        /// What was asked for.
        name: String,
    },
    /// Memory could not be had.
    #[error("{bytes} bytes of device memory could not be allocated: choose a smaller problem or free memory")]
    OutOfMemory {
        /// Size of the request.
        bytes: usize,
    },
    /// A view larger than its buffer.
    #[error("a view of {dims:?} needs {needed} elements at offset {offset}, but the buffer has {len}")]
    ViewTooLarge {
        /// Extents of the view.
        dims: Vec<usize>,
        /// First element.
        offset: usize,
        /// Elements that the view spans.
        needed: usize,
        /// Elements of the buffer.
        len: usize,
    },
    /// Shared host memory that does not hold whole, aligned elements.
    #[error(
        "host memory of {bytes} bytes at address {address:#x} does not hold aligned {dtype} elements of {size} bytes"
    )]
    Misaligned {
        /// Length of the memory.
        bytes: usize,
        /// Its address.
        address: usize,
        /// Element type.
        dtype: tilewright_codegen::ir::DType,
        /// Element size in bytes.
        size: usize,
    },
    /// A store into memory that was lent read-only.
    #[error(
        "this buffer lends read-only host memory and cannot be written: copy it into a buffer of its own"
    )]
    ReadOnly,
}
