//! AVX-512: 16 lanes, masks in their own registers.

use std::arch::x86_64::*;

use super::{Fold, MAX_LANES, Simd};

/// Sixteen lanes in a 512-bit register.
#[derive(Clone, Copy)]
pub(in crate::cpu::micro) struct Avx512;

macro_rules! forward {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $e:expr;)*) => {
        $(#[inline(always)] unsafe fn $name($($arg: $ty),*) -> $ret { $e })*
    };
}

/// The mask of the first `n < 16` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const EXPLICIT: bool = true;
    const FUSED: bool = true;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    forward! {
        load(p: *const f32) -> __m512 = _mm512_loadu_ps(p);
        load_n(p: *const f32, n: usize) -> __m512 = _mm512_maskz_loadu_ps(first(n), p);
        store(p: *mut f32, v: __m512) -> () = _mm512_storeu_ps(p, v);
        store_n(p: *mut f32, v: __m512, n: usize) -> () = _mm512_mask_storeu_ps(p, first(n), v);
        store_past(p: *mut f32, v: __m512) -> () = _mm512_stream_ps(p, v);
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        isplat(x: i32) -> __m512i = _mm512_set1_epi32(x);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fnma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fnmadd_ps(a, b, c);
        fma_exact(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        min_raw(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        max_raw(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        floor(a: __m512) -> __m512 = _mm512_roundscale_ps::<0x09>(a);
        ceil(a: __m512) -> __m512 = _mm512_roundscale_ps::<0x0a>(a);
        nearest(a: __m512) -> __m512 = _mm512_roundscale_ps::<0x08>(a);
        bits(a: __m512) -> __m512i = _mm512_castps_si512(a);
        from_bits(a: __m512i) -> __m512 = _mm512_castsi512_ps(a);
        to_float(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        iadd(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        isub(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        imul(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        is_nan(a: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
        test(a: __m512i, b: __m512i) -> __mmask16 = _mm512_test_epi32_mask(a, b);
        not(m: __mmask16) -> __mmask16 = !m;
        any(m: __mmask16) -> bool = m != 0;
        select(m: __mmask16, a: __m512, b: __m512) -> __m512 = _mm512_mask_blend_ps(m, b, a);
        scale(p: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(p, n);
        scale_or_zero(m: __mmask16, p: __m512, n: __m512) -> __m512 = _mm512_maskz_scalef_ps(m, p, n);
        load_f16(p: *const u8) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(p.cast()));
        load_bf16(p: *const u8) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))));
        load_i8(p: *const u8) -> __m512i = _mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()));
        load_u8(p: *const u8) -> __m512i = _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()));
        store_f16(p: *mut u8, v: __m512) -> () =
            _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        store_high(p: *mut u8, v: __m512i) -> () =
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(v)));
        round_f16(v: __m512) -> __m512 = _mm512_cvtph_ps(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        prefetch(p: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }

    #[inline(always)]
    unsafe fn shl<const N: u32>(a: __m512i) -> __m512i {
        _mm512_slli_epi32::<N>(a)
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: __m512i) -> __m512i {
        _mm512_srli_epi32::<N>(a)
    }
    #[inline(always)]
    unsafe fn sar<const N: u32>(a: __m512i) -> __m512i {
        _mm512_srai_epi32::<N>(a)
    }

    #[inline(always)]
    unsafe fn load_f8e4m3(p: *const u8) -> __m512 {
        // As an f16 with the same bits the value is 2^-8 of what it means; only 0x7f and 0xff are NaN.
        let wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast()));
        let magnitude = _mm256_and_si256(wide, _mm256_set1_epi16(0x7f));
        let sign = _mm256_slli_epi16::<8>(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)));
        let half = _mm256_or_si256(sign, _mm256_slli_epi16::<7>(magnitude));
        let value = _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0));
        let nan = _mm256_cmpeq_epi16_mask(magnitude, _mm256_set1_epi16(0x7f));
        _mm512_mask_blend_ps(nan, value, _mm512_set1_ps(f32::NAN))
    }
    #[inline(always)]
    unsafe fn load_f8e5m2(p: *const u8) -> __m512 {
        _mm512_cvtph_ps(_mm256_slli_epi16::<8>(_mm256_cvtepu8_epi16(_mm_loadu_si128(p.cast()))))
    }

    #[inline(always)]
    unsafe fn transpose(rows: &mut [__m512; MAX_LANES]) {
        // Pairs of lanes, then quads, within 128-bit parts; then the 4 x 4 parts.
        let mut t = *rows;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        let mut u = t;
        for i in 0..4 {
            let [a, b, c, d] = [t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]];
            u[4 * i] = _mm512_shuffle_ps::<0x44>(a, c);
            u[4 * i + 1] = _mm512_shuffle_ps::<0xee>(a, c);
            u[4 * i + 2] = _mm512_shuffle_ps::<0x44>(b, d);
            u[4 * i + 3] = _mm512_shuffle_ps::<0xee>(b, d);
        }
        for i in 0..4 {
            let [a, b, c, d] = [u[i], u[i + 4], u[i + 8], u[i + 12]];
            let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            rows[i] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
            rows[i + 4] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
            rows[i + 8] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
            rows[i + 12] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
        }
    }

    #[inline(always)]
    unsafe fn fold<R: Fold>(v: __m512) -> f32 {
        let eight = R::two::<Self>(v, _mm512_shuffle_f32x4::<0xee>(v, v));
        let four = R::two::<Self>(eight, _mm512_shuffle_f32x4::<0x55>(eight, eight));
        let two = R::two::<Self>(four, _mm512_permute_ps::<0xee>(four));
        let one = R::two::<Self>(two, _mm512_permute_ps::<0x55>(two));
        _mm512_cvtss_f32(one)
    }
}
