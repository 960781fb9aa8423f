//! The PTX machine of tilewright: loads the PTX that NVRTC emitted, executes it on the CPU, and says what
//! the kernel does wrong: accesses out of bounds or of shared memory nobody wrote, races, missing fences and
//! waits, misused barriers, deadlocks, each with block, thread, PTX line and source line.
//!
//! It computes what our reading of the PTX manual says, not what hardware was seen to do: layouts,
//! descriptors and protocols are modelled, rounding inside a matrix instruction and timing are not.
//!
//! A [`Machine`] holds device memory and loads modules; [`Machine::launch`] runs a kernel to its end and
//! returns a [`Report`]. A launch is a function of its inputs and [`Options::seed`].
//!
//! ```
//! use tilewright_sim::{Launch, Machine, Options};
//!
//! let ptx = "
//!     .version 8.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry double(.param .u64 x) {
//!         .reg .b64 %rd<3>;
//!         .reg .b32 %r<2>;
//!         .reg .f32 %f<3>;
//!         ld.param.u64 %rd1, [x];
//!         mov.u32 %r1, %tid.x;
//!         mul.wide.u32 %rd2, %r1, 4;
//!         add.s64 %rd1, %rd1, %rd2;
//!         ld.global.f32 %f1, [%rd1];
//!         add.f32 %f2, %f1, %f1;
//!         st.global.f32 [%rd1], %f2;
//!         ret;
//!     }";
//! let mut machine = Machine::new();
//! let module = machine.load(ptx)?;
//! let x = machine.alloc(8, "x");
//! machine.write(x, &[0, 0, 128, 63, 0, 0, 0, 64])?; // 1.0, 2.0
//! let launch = Launch {
//!     grid: [1, 1, 1],
//!     block: [2, 1, 1],
//!     cluster: None,
//!     dynamic_shared_bytes: 0,
//!     options: Options::default(),
//! };
//! let report = machine.launch(&module, "double", &launch, &x.to_le_bytes())?;
//! assert!(report.is_clean(), "{report}");
//! let mut out = [0; 8];
//! machine.read(x, &mut out)?;
//! assert_eq!(out, [0, 0, 0, 64, 0, 0, 128, 64]); // 2.0, 4.0
//! # Ok::<(), tilewright_sim::SimError>(())
//! ```

mod alu;
mod asyncop;
mod compact;
mod device;
mod error;
mod exec;
pub mod fp;
pub mod fragments;
mod grammar;
mod isa;
mod lower;
mod mbarrier;
mod memory;
pub mod mma;
mod op;
mod parse;
mod race;
mod regs;
mod report;
pub mod tensormap;
mod unit;
mod warp;
mod warpgroup;
pub mod wgmma;

pub use device::{KernelInfo, Launch, Machine, Module, Options, Policy, Race};
pub use error::SimError;
pub use isa::forms;
pub use lower::Param;
pub use report::{Finding, FindingKind, Report, Source, Stats};
pub use tensormap::{EncodeArgs, TensorMap, TensorMapError};
