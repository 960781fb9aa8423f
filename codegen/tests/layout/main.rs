//! Layouts: every operation against brute force over all registers, lanes and warps, and fragments against the
//! formulas of the manual.

mod common;
mod exchange;
mod fragments;
mod properties;
