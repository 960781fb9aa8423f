//! The CPU target against the f64 reference: hand-written cases and random functions, on every instruction set at hand.

mod build;
mod cases;
mod random;
