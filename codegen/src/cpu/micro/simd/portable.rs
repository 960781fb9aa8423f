//! The implementation that any CPU runs: arrays of 8 lanes, left to the compiler to map onto its vectors.

use super::{Fold, MAX_LANES, Simd};
use crate::cpu::micro::elem;

/// Eight lanes in plain arrays.
#[derive(Clone, Copy)]
pub(in crate::cpu::micro) struct Portable;

const N: usize = 8;

macro_rules! lanes {
    ($i:ident => $e:expr) => {{
        let mut out = [Default::default(); N];
        let mut $i = 0;
        while $i < N {
            out[$i] = $e;
            $i += 1;
        }
        out
    }};
}

/// Whether `f32::mul_add` is one instruction in this build; elsewhere it is a slow library call.
const HARDWARE_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

impl Simd for Portable {
    const LANES: usize = N;
    const EXPLICIT: bool = false;
    const FUSED: bool = HARDWARE_FMA;
    type F = [f32; N];
    type I = [i32; N];
    type M = [bool; N];

    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; N] {
        p.cast::<[f32; N]>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> [f32; N] {
        let mut out = [0.0; N];
        for (i, o) in out.iter_mut().enumerate().take(n) {
            *o = p.add(i).read_unaligned();
        }
        out
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; N]) {
        p.cast::<[f32; N]>().write_unaligned(v);
    }
    #[inline(always)]
    unsafe fn store_past(p: *mut f32, v: [f32; N]) {
        Self::store(p, v);
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: [f32; N], n: usize) {
        for (i, x) in v.iter().enumerate().take(n) {
            p.add(i).write_unaligned(*x);
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; N] {
        [x; N]
    }
    #[inline(always)]
    unsafe fn isplat(x: i32) -> [i32; N] {
        [x; N]
    }
    #[inline(always)]
    unsafe fn add(a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        if HARDWARE_FMA { lanes!(i => a[i].mul_add(b[i], c[i])) } else { lanes!(i => a[i] * b[i] + c[i]) }
    }
    #[inline(always)]
    unsafe fn fnma(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        if HARDWARE_FMA { lanes!(i => (-a[i]).mul_add(b[i], c[i])) } else { lanes!(i => c[i] - a[i] * b[i]) }
    }
    #[inline(always)]
    unsafe fn fma_exact(a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        lanes!(i => a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn min_raw(a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn max_raw(a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn sqrt(a: [f32; N]) -> [f32; N] {
        lanes!(i => a[i].sqrt())
    }
    #[inline(always)]
    unsafe fn floor(a: [f32; N]) -> [f32; N] {
        lanes!(i => a[i].floor())
    }
    #[inline(always)]
    unsafe fn ceil(a: [f32; N]) -> [f32; N] {
        lanes!(i => a[i].ceil())
    }
    #[inline(always)]
    unsafe fn nearest(a: [f32; N]) -> [f32; N] {
        // Adding 1.5 * 2^23 rounds to an integer.
        lanes!(i => (a[i] + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    unsafe fn bits(a: [f32; N]) -> [i32; N] {
        lanes!(i => a[i].to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn from_bits(a: [i32; N]) -> [f32; N] {
        lanes!(i => f32::from_bits(a[i] as u32))
    }
    #[inline(always)]
    unsafe fn to_float(a: [i32; N]) -> [f32; N] {
        lanes!(i => a[i] as f32)
    }
    #[inline(always)]
    unsafe fn and(a: [i32; N], b: [i32; N]) -> [i32; N] {
        lanes!(i => a[i] & b[i])
    }
    #[inline(always)]
    unsafe fn or(a: [i32; N], b: [i32; N]) -> [i32; N] {
        lanes!(i => a[i] | b[i])
    }
    #[inline(always)]
    unsafe fn xor(a: [i32; N], b: [i32; N]) -> [i32; N] {
        lanes!(i => a[i] ^ b[i])
    }
    #[inline(always)]
    unsafe fn iadd(a: [i32; N], b: [i32; N]) -> [i32; N] {
        lanes!(i => a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    unsafe fn isub(a: [i32; N], b: [i32; N]) -> [i32; N] {
        lanes!(i => a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    unsafe fn imul(a: [i32; N], b: [i32; N]) -> [i32; N] {
        lanes!(i => a[i].wrapping_mul(b[i]))
    }
    #[inline(always)]
    unsafe fn shl<const B: u32>(a: [i32; N]) -> [i32; N] {
        lanes!(i => a[i] << B)
    }
    #[inline(always)]
    unsafe fn shr<const B: u32>(a: [i32; N]) -> [i32; N] {
        lanes!(i => (a[i] as u32 >> B) as i32)
    }
    #[inline(always)]
    unsafe fn sar<const B: u32>(a: [i32; N]) -> [i32; N] {
        lanes!(i => a[i] >> B)
    }
    #[inline(always)]
    unsafe fn lt(a: [f32; N], b: [f32; N]) -> [bool; N] {
        lanes!(i => a[i] < b[i])
    }
    #[inline(always)]
    unsafe fn le(a: [f32; N], b: [f32; N]) -> [bool; N] {
        lanes!(i => a[i] <= b[i])
    }
    #[inline(always)]
    unsafe fn eq(a: [f32; N], b: [f32; N]) -> [bool; N] {
        lanes!(i => a[i] == b[i])
    }
    #[inline(always)]
    unsafe fn is_nan(a: [f32; N]) -> [bool; N] {
        lanes!(i => a[i].is_nan())
    }
    #[inline(always)]
    unsafe fn test(a: [i32; N], b: [i32; N]) -> [bool; N] {
        lanes!(i => a[i] & b[i] != 0)
    }
    #[inline(always)]
    unsafe fn not(m: [bool; N]) -> [bool; N] {
        lanes!(i => !m[i])
    }
    #[inline(always)]
    unsafe fn any(m: [bool; N]) -> bool {
        m.iter().fold(false, |any, &x| any | x)
    }
    #[inline(always)]
    unsafe fn select(m: [bool; N], a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanes!(i => if m[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn scale(p: [f32; N], n: [f32; N]) -> [f32; N] {
        // Adding 1.5 * 2^23 leaves the integer in the low mantissa bits; two factors reach past 2^127.
        let magic = 12_582_912.0f32;
        let whole = lanes!(i => ((n[i] + magic).to_bits() as i32).wrapping_sub(magic.to_bits() as i32));
        let half = lanes!(i => whole[i] >> 1);
        let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
        lanes!(i => p[i] * power(half[i]) * power(whole[i].wrapping_sub(half[i])))
    }
    #[inline(always)]
    unsafe fn scale_or_zero(m: [bool; N], p: [f32; N], n: [f32; N]) -> [f32; N] {
        Self::select(m, Self::scale(p, n), [0.0; N])
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u8) -> [f32; N] {
        lanes!(i => elem::f16_to_f32(p.cast::<u16>().add(i).read_unaligned()))
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u8) -> [f32; N] {
        lanes!(i => f32::from_bits(u32::from(p.cast::<u16>().add(i).read_unaligned()) << 16))
    }
    #[inline(always)]
    unsafe fn load_f8e4m3(p: *const u8) -> [f32; N] {
        lanes!(i => elem::f8e4m3_to_f32(*p.add(i)))
    }
    #[inline(always)]
    unsafe fn load_f8e5m2(p: *const u8) -> [f32; N] {
        lanes!(i => elem::f16_to_f32(u16::from(*p.add(i)) << 8))
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const u8) -> [i32; N] {
        lanes!(i => i32::from(*p.add(i) as i8))
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> [i32; N] {
        lanes!(i => i32::from(*p.add(i)))
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u8, v: [f32; N]) {
        for (i, &x) in v.iter().enumerate() {
            p.cast::<u16>().add(i).write_unaligned(half::f16::from_f32(x).to_bits());
        }
    }
    #[inline(always)]
    unsafe fn store_high(p: *mut u8, v: [i32; N]) {
        for (i, &x) in v.iter().enumerate() {
            p.cast::<u16>().add(i).write_unaligned((x as u32 >> 16) as u16);
        }
    }
    #[inline(always)]
    unsafe fn round_f16(v: [f32; N]) -> [f32; N] {
        lanes!(i => half::f16::from_f32(v[i]).to_f32())
    }
    #[inline(always)]
    unsafe fn transpose(rows: &mut [[f32; N]; MAX_LANES]) {
        let old = *rows;
        for (i, row) in rows.iter_mut().enumerate().take(N) {
            *row = lanes!(j => old[j][i]);
        }
    }
    #[inline(always)]
    unsafe fn fold<R: Fold>(v: [f32; N]) -> f32 {
        let four = [R::one(v[0], v[4]), R::one(v[1], v[5]), R::one(v[2], v[6]), R::one(v[3], v[7])];
        R::one(R::one(four[0], four[2]), R::one(four[1], four[3]))
    }
    #[inline(always)]
    unsafe fn prefetch(_p: *const u8) {}
}
