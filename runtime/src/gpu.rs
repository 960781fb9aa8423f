//! Kernels on GPUs, real and simulated: which variant of a kernel a launch needs, and how it comes to be.
//!
//! ```text
//!   launch ──facts of its arguments──▶ variant: known? ──no──▶ specialise ▶ passes ▶ lower ▶ CUDA C ▶ NVRTC (or disk cache)
//!                                        │ yes                                                            │
//!                                        └──────────────────────▶ pack arguments ▶ run ◀──────────────────┘
//! ```
//!
//! A *variant* is a kernel under a schedule for arguments of certain facts: contiguous, divisible by a power of two, small. What
//! vectors and tensor copies need is thereby known when the code is made, and no launch is refused for its alignment.

pub(crate) mod cuda;
pub mod facts;
pub mod sim;
pub(crate) mod sim_graph;
pub mod sim_hook;
pub mod sim_maps;
pub(crate) mod sim_memory;
pub mod variant;
