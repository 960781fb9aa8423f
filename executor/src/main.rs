//! The `executor` program.
fn main() {}
