//! A sample of the mutants on every run of the tests; `cargo xtask mutants` runs them all.
