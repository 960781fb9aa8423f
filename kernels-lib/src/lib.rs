//! The kernels of tilewright with their search spaces and references.
