//! The author's language: Rust types and functions that build the tile IR.
//!
//! A kernel function runs once per specialisation; its values are handles into the function under construction. rustc
//! checks element types, ranks and the identity of every dimension; numbers are checked while the function runs, with the
//! author's location. What Rust cannot overload (`for`, `while`, `if`, comparisons) the `#[kernel]` attribute rewrites into
//! calls of [`control`] and [`operators`].

pub mod control;
pub mod dim;
pub mod elem;
pub mod f8;
pub mod math;
pub mod memory;
pub mod operators;
pub mod program;
pub mod shape;
pub mod value;
