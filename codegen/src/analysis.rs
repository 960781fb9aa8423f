//! Pure functions from a verified function to facts about it.

pub mod affine;
pub mod liveness;
