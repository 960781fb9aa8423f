//! AVX2 with FMA and F16C: 8 lanes, masks as full-width lanes.

use std::arch::x86_64::*;

use super::{Fold, MAX_LANES, Simd};

/// Eight lanes in a 256-bit register.
#[derive(Clone, Copy)]
pub(in crate::cpu::micro) struct Avx2;

macro_rules! forward {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $e:expr;)*) => {
        $(#[inline(always)] unsafe fn $name($($arg: $ty),*) -> $ret { $e })*
    };
}

/// Eight set words followed by eight clear ones: a window into it is a mask of the first lanes.
static WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The mask of the first `n <= 8` lanes.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    _mm256_loadu_si256(WINDOW.as_ptr().add(8 - n).cast())
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const EXPLICIT: bool = true;
    const FUSED: bool = true;
    type F = __m256;
    type I = __m256i;
    type M = __m256;

    forward! {
        load(p: *const f32) -> __m256 = _mm256_loadu_ps(p);
        load_n(p: *const f32, n: usize) -> __m256 = _mm256_maskload_ps(p, first(n));
        store(p: *mut f32, v: __m256) -> () = _mm256_storeu_ps(p, v);
        store_n(p: *mut f32, v: __m256, n: usize) -> () = _mm256_maskstore_ps(p, first(n), v);
        store_past(p: *mut f32, v: __m256) -> () = _mm256_stream_ps(p, v);
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        isplat(x: i32) -> __m256i = _mm256_set1_epi32(x);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fnma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fnmadd_ps(a, b, c);
        fma_exact(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        min_raw(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        max_raw(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        floor(a: __m256) -> __m256 = _mm256_floor_ps(a);
        nearest(a: __m256) -> __m256 = _mm256_round_ps::<0x08>(a);
        ceil(a: __m256) -> __m256 = _mm256_ceil_ps(a);
        bits(a: __m256) -> __m256i = _mm256_castps_si256(a);
        from_bits(a: __m256i) -> __m256 = _mm256_castsi256_ps(a);
        to_float(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        iadd(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        isub(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        imul(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        eq(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        is_nan(a: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a);
        test(a: __m256i, b: __m256i) -> __m256 =
            Self::not(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(a, b), _mm256_setzero_si256())));
        not(m: __m256) -> __m256 = _mm256_xor_ps(m, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
        any(m: __m256) -> bool = _mm256_movemask_ps(m) != 0;
        select(m: __m256, a: __m256, b: __m256) -> __m256 = _mm256_blendv_ps(b, a, m);
        load_f16(p: *const u8) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(p.cast()));
        load_bf16(p: *const u8) -> __m256 =
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))));
        load_i8(p: *const u8) -> __m256i = _mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()));
        load_u8(p: *const u8) -> __m256i = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()));
        store_f16(p: *mut u8, v: __m256) -> () =
            _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        round_f16(v: __m256) -> __m256 = _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        prefetch(p: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }

    #[inline(always)]
    unsafe fn shl<const N: u32>(a: __m256i) -> __m256i {
        _mm256_sll_epi32(a, _mm_cvtsi32_si128(N as i32))
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: __m256i) -> __m256i {
        _mm256_srl_epi32(a, _mm_cvtsi32_si128(N as i32))
    }
    #[inline(always)]
    unsafe fn sar<const N: u32>(a: __m256i) -> __m256i {
        _mm256_sra_epi32(a, _mm_cvtsi32_si128(N as i32))
    }

    #[inline(always)]
    unsafe fn scale(p: __m256, n: __m256) -> __m256 {
        // Two factors, because 2^n alone may be out of range where the product is not.
        let whole = _mm256_cvtps_epi32(n);
        let half = _mm256_srai_epi32::<1>(whole);
        let rest = _mm256_sub_epi32(whole, half);
        let bias = _mm256_set1_epi32(127);
        let first = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias)));
        let second = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias)));
        _mm256_mul_ps(_mm256_mul_ps(p, first), second)
    }
    #[inline(always)]
    unsafe fn scale_or_zero(m: __m256, p: __m256, n: __m256) -> __m256 {
        _mm256_and_ps(m, Self::scale(p, n))
    }

    #[inline(always)]
    unsafe fn load_f8e4m3(p: *const u8) -> __m256 {
        // As an f16 with the same bits the value is 2^-8 of what it means; only 0x7f and 0xff are NaN.
        let wide = _mm_cvtepu8_epi16(_mm_loadl_epi64(p.cast()));
        let magnitude = _mm_and_si128(wide, _mm_set1_epi16(0x7f));
        let sign = _mm_slli_epi16::<8>(_mm_and_si128(wide, _mm_set1_epi16(0x80)));
        let nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f));
        let half = _mm_or_si128(
            _mm_or_si128(sign, _mm_slli_epi16::<7>(magnitude)),
            _mm_and_si128(nan, _mm_set1_epi16(0x7e00)),
        );
        _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0))
    }
    #[inline(always)]
    unsafe fn load_f8e5m2(p: *const u8) -> __m256 {
        _mm256_cvtph_ps(_mm_slli_epi16::<8>(_mm_cvtepu8_epi16(_mm_loadl_epi64(p.cast()))))
    }
    #[inline(always)]
    unsafe fn store_high(p: *mut u8, v: __m256i) {
        let words = _mm256_srli_epi32::<16>(v);
        let packed = _mm256_packus_epi32(words, words);
        let low = _mm256_permute4x64_epi64::<0x08>(packed);
        _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(low));
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [__m256; MAX_LANES]) {
        // Pairs of lanes, then quads, within 128-bit halves; then the halves.
        let mut t = *rows;
        for i in 0..4 {
            t[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            t[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        let mut u = t;
        for i in 0..2 {
            let [a, b, c, d] = [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]];
            u[4 * i] = _mm256_shuffle_ps::<0x44>(a, c);
            u[4 * i + 1] = _mm256_shuffle_ps::<0xee>(a, c);
            u[4 * i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            u[4 * i + 3] = _mm256_shuffle_ps::<0xee>(b, d);
        }
        for i in 0..4 {
            rows[i] = _mm256_permute2f128_ps::<0x20>(u[i], u[i + 4]);
            rows[i + 4] = _mm256_permute2f128_ps::<0x31>(u[i], u[i + 4]);
        }
    }

    #[inline(always)]
    unsafe fn fold<R: Fold>(v: __m256) -> f32 {
        let four = R::two::<Self>(v, _mm256_permute2f128_ps::<0x11>(v, v));
        let two = R::two::<Self>(four, _mm256_permute_ps::<0xee>(four));
        let one = R::two::<Self>(two, _mm256_permute_ps::<0x55>(two));
        _mm256_cvtss_f32(one)
    }
}
