//! The vector type the micro-kernels are written over: one trait, one implementation per instruction set.
//!
//! Only explicit vectors keep accumulators in registers reliably (plain loops spill them), and one generic body per kernel keeps
//! the three instruction sets in step. All methods are `#[inline(always)]`: a body must end up inside a function that enables the
//! features, which is what the `dispatch!` macro arranges; that the CPU has them is the contract of every method.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Portable;

/// The most lanes an implementation has.
pub(super) const MAX_LANES: usize = 16;

/// A vector instruction set: `F` holds f32 lanes, `I` i32 lanes, `M` one truth value per lane.
///
/// # Safety
/// Every method requires the CPU to have the instruction set; loads and stores require valid pointers, unaligned ones included.
pub(super) trait Simd: Copy + 'static {
    /// Lanes of a vector.
    const LANES: usize;
    /// Whether vectors map one to one onto registers, so that large register blocks pay.
    const EXPLICIT: bool;
    /// Whether [`Simd::fma`] rounds once.
    const FUSED: bool;
    type F: Copy;
    type I: Copy;
    type M: Copy;

    unsafe fn load(p: *const f32) -> Self::F;
    /// The first `n < LANES` lanes from memory, zero in the others.
    unsafe fn load_n(p: *const f32, n: usize) -> Self::F;
    unsafe fn store(p: *mut f32, v: Self::F);
    /// Writes the first `n < LANES` lanes.
    unsafe fn store_n(p: *mut f32, v: Self::F, n: usize);
    unsafe fn splat(x: f32) -> Self::F;
    /// Writes all lanes past the caches; `p` is a multiple of the vector's size.
    unsafe fn store_past(p: *mut f32, v: Self::F);
    unsafe fn isplat(x: i32) -> Self::I;

    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where [`Simd::FUSED`].
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a * b`, rounded once where [`Simd::FUSED`].
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a * b + c` rounded once, at any cost.
    unsafe fn fma_exact(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a < b ? a : b`, so `b` when either is NaN.
    unsafe fn min_raw(a: Self::F, b: Self::F) -> Self::F;
    /// `a > b ? a : b`, so `b` when either is NaN.
    unsafe fn max_raw(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sqrt(a: Self::F) -> Self::F;
    unsafe fn floor(a: Self::F) -> Self::F;
    unsafe fn ceil(a: Self::F) -> Self::F;
    /// The nearest integer, ties to even, for |a| < 2^22.
    unsafe fn nearest(a: Self::F) -> Self::F;

    unsafe fn bits(a: Self::F) -> Self::I;
    unsafe fn from_bits(a: Self::I) -> Self::F;
    unsafe fn to_float(a: Self::I) -> Self::F;
    unsafe fn and(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn or(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn xor(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn iadd(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn isub(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn imul(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn shl<const N: u32>(a: Self::I) -> Self::I;
    /// Logical shift right.
    unsafe fn shr<const N: u32>(a: Self::I) -> Self::I;
    /// Arithmetic shift right.
    unsafe fn sar<const N: u32>(a: Self::I) -> Self::I;

    unsafe fn lt(a: Self::F, b: Self::F) -> Self::M;
    unsafe fn le(a: Self::F, b: Self::F) -> Self::M;
    unsafe fn eq(a: Self::F, b: Self::F) -> Self::M;
    unsafe fn is_nan(a: Self::F) -> Self::M;
    /// Whether `a & b` is non-zero.
    unsafe fn test(a: Self::I, b: Self::I) -> Self::M;
    unsafe fn not(m: Self::M) -> Self::M;
    unsafe fn any(m: Self::M) -> bool;
    /// `a` where `m`, else `b`.
    unsafe fn select(m: Self::M, a: Self::F, b: Self::F) -> Self::F;

    /// `p * 2^n` for integral `n` in [-252, 252], without a detour through subnormals when the result is normal.
    unsafe fn scale(p: Self::F, n: Self::F) -> Self::F;
    /// [`Simd::scale`] where `m`, else 0.
    unsafe fn scale_or_zero(m: Self::M, p: Self::F, n: Self::F) -> Self::F;

    unsafe fn load_f16(p: *const u8) -> Self::F;
    unsafe fn load_bf16(p: *const u8) -> Self::F;
    unsafe fn load_f8e4m3(p: *const u8) -> Self::F;
    unsafe fn load_f8e5m2(p: *const u8) -> Self::F;
    unsafe fn load_i8(p: *const u8) -> Self::I;
    unsafe fn load_u8(p: *const u8) -> Self::I;
    /// Rounds to nearest even and writes LANES halves.
    unsafe fn store_f16(p: *mut u8, v: Self::F);
    /// Writes the upper 16 bits of every lane.
    unsafe fn store_high(p: *mut u8, v: Self::I);
    /// Rounds to the nearest f16 and back.
    unsafe fn round_f16(v: Self::F) -> Self::F;

    /// Transposes the LANES x LANES block held in the first LANES vectors.
    unsafe fn transpose(rows: &mut [Self::F; MAX_LANES]);
    /// Folds the upper half of the lanes onto the lower half until one is left.
    unsafe fn fold<R: Fold>(v: Self::F) -> f32;
    /// Asks for the cache line at `p` to be brought close; `p` need not be valid.
    unsafe fn prefetch(p: *const u8);
}

/// An associative operation to fold lanes with.
pub(super) trait Fold {
    /// What a fold starts with: no element changes the result for it, but where it is infinite a fold of nothing but NaN is NaN.
    const START: f32;
    /// `two` where `acc` is not NaN.
    unsafe fn join<S: Simd>(acc: S::F, x: S::F) -> S::F;
    unsafe fn two<S: Simd>(a: S::F, b: S::F) -> S::F;
    fn one(a: f32, b: f32) -> f32;
}

/// Addition.
pub(super) struct FoldSum;
/// The larger; a NaN operand yields the other one.
pub(super) struct FoldMax;
/// The smaller; a NaN operand yields the other one.
pub(super) struct FoldMin;

impl Fold for FoldSum {
    const START: f32 = 0.0;
    #[inline(always)]
    unsafe fn join<S: Simd>(acc: S::F, x: S::F) -> S::F {
        S::add(acc, x)
    }
    #[inline(always)]
    unsafe fn two<S: Simd>(a: S::F, b: S::F) -> S::F {
        S::add(a, b)
    }
    #[inline(always)]
    fn one(a: f32, b: f32) -> f32 {
        a + b
    }
}

impl Fold for FoldMax {
    const START: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    unsafe fn join<S: Simd>(acc: S::F, x: S::F) -> S::F {
        S::max_raw(x, acc)
    }
    #[inline(always)]
    unsafe fn two<S: Simd>(a: S::F, b: S::F) -> S::F {
        S::select(S::is_nan(b), a, S::max_raw(a, b))
    }
    #[inline(always)]
    fn one(a: f32, b: f32) -> f32 {
        if b.is_nan() || a > b { a } else { b }
    }
}

impl Fold for FoldMin {
    const START: f32 = f32::INFINITY;
    #[inline(always)]
    unsafe fn join<S: Simd>(acc: S::F, x: S::F) -> S::F {
        S::min_raw(x, acc)
    }
    #[inline(always)]
    unsafe fn two<S: Simd>(a: S::F, b: S::F) -> S::F {
        S::select(S::is_nan(b), a, S::min_raw(a, b))
    }
    #[inline(always)]
    fn one(a: f32, b: f32) -> f32 {
        if b.is_nan() || a < b { a } else { b }
    }
}
