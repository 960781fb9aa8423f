//! The CPU target's SIMD micro-kernels: leaf functions over raw memory, dispatched at run time by [`Isa`].
//!
//! Every entry is an `unsafe fn` whose first argument is the instruction set to use; it matches on it once and runs one body
//! that is generic over `simd::Simd` and inlined into a function compiled for that instruction set. A call costs a predictable
//! branch, so callers pass strips of 64 elements and up. The build stays generic: the features are enabled per function, which
//! also keeps the compiler on 512-bit registers where a build for the native CPU may prefer 256 bits.
//!
//! # Arena representation
//! Tiles live in an arena in one of two widths:
//!
//! ```text
//! f32 f16 bf16 f8e4m3 f8e5m2   4 bytes, an f32 whose value the type can represent
//! i8 u8 i32 u32 bool           4 bytes, an i32: i8 sign-extended, u8 zero-extended, u32 as bits, bool 0 or 1
//! i64                          8 bytes
//! ```
//!
//! Results are rounded (to nearest even) or wrapped to the element type after each operation.
//!
//! # Safety, for all entries
//! `isa` must be one of [`Isa::available`]; every pointer must be valid for the elements the function says it touches, in the
//! arena width for arena pointers and the memory width for memory pointers. No alignment is required. Lengths and strides count
//! elements. A destination may equal a source exactly where the function says so, and must not overlap it otherwise.

#![allow(unsafe_code, reason = "SIMD micro-kernels work on raw strips of the arena")]
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "every line of a SIMD body is an unsafe operation under one contract"
)]
#![allow(clippy::too_many_arguments, reason = "a leaf kernel takes its extents, pointers and strides flat")]

use std::sync::OnceLock;

use crate::ir::types::DType;

/// Defines an entry that matches on the instruction set and runs a generic body compiled for it.
macro_rules! dispatch {
    ($(#[$meta:meta])* pub unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? => $body:ident) => {
        $(#[$meta])*
        pub unsafe fn $name(isa: $crate::cpu::micro::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body::<$crate::cpu::micro::simd::Avx512>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body::<$crate::cpu::micro::simd::Avx2>($($arg),*)
            }
            unsafe fn portable($($arg: $ty),*) $(-> $ret)? {
                $body::<$crate::cpu::micro::simd::Portable>($($arg),*)
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::micro::Isa::Avx512 => avx512($($arg),*),
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::micro::Isa::Avx2 => avx2($($arg),*),
                #[cfg(not(target_arch = "x86_64"))]
                $crate::cpu::micro::Isa::Avx512 | $crate::cpu::micro::Isa::Avx2 => portable($($arg),*),
                $crate::cpu::micro::Isa::Portable => portable($($arg),*),
            }
        }
    };
}

pub mod ceiling;
mod convert;
mod elem;
mod exp_sum;
mod gemm;
mod math;
mod pack;
mod past;
mod reduce;
mod simd;
mod stream;
mod strips;
mod strips_int;
#[cfg(test)]
mod tests;

pub use convert::{cast, narrow, narrow_strided, round, widen, widen_strided};
pub use exp_sum::{Base, Next, exp_sum};
pub use gemm::{gemm_f32, gemm_i32};
pub use pack::{pack_a, pack_b, packed_len};
pub use past::{fence, prefetch, store_past};
pub use reduce::{arg_reduce, reduce};
pub use stream::{cols_dot, rows_dot};
pub use strips::{Arg, binary, binary_past, exp_sub, exp2_affine, exp2_sub, fill, fma, iota, select, unary};

/// An instruction set the micro-kernels are compiled for, from least to most capable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Isa {
    /// What the build's own target guarantees: any CPU.
    Portable,
    /// AVX2, FMA and F16C: 256-bit registers.
    Avx2,
    /// AVX-512 F, BW, DQ and VL besides: 512-bit registers.
    Avx512,
}

impl Isa {
    /// The best instruction set of this CPU, or a lower one named by the variable `TILEWRIGHT_CPU_ISA` (`portable`, `avx2` or
    /// `avx512`). Found once per process.
    #[must_use]
    pub fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let best = Self::best();
            let asked = std::env::var("TILEWRIGHT_CPU_ISA").ok();
            let asked = asked.and_then(|name| Self::ALL.into_iter().find(|isa| isa.name() == name));
            asked.map_or(best, |isa| isa.min(best))
        })
    }

    /// Every instruction set this CPU can run, least capable first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let best = Self::best();
        Self::ALL.into_iter().filter(|&isa| isa <= best).collect()
    }

    /// The name the variable `TILEWRIGHT_CPU_ISA` knows it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Columns of a panel of the right operand of [`gemm_f32`] and [`pack_b`]: the width of the register block.
    #[must_use]
    pub const fn panel_width(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 16,
            Self::Avx512 => 64,
        }
    }

    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            (false, _) => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Self::Portable
    }
}

/// Bytes of one element of type `dtype` in the arena.
#[must_use]
pub const fn arena_bytes(dtype: DType) -> usize {
    match dtype {
        DType::I64 => 8,
        DType::F32
        | DType::F16
        | DType::BF16
        | DType::F8E4M3
        | DType::F8E5M2
        | DType::I8
        | DType::U8
        | DType::I32
        | DType::U32
        | DType::Bool => 4,
    }
}
