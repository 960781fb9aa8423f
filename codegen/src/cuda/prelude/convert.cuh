//@ infinity
__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
//@ quiet_nan
__device__ __forceinline__ float quiet_nan() { return __int_as_float(0x7fc00000); }
//@ f16_to_f32
// 16-bit floats are handled as their bits. PTX ISA, cvt.
__device__ __forceinline__ float f16_to_f32(unsigned bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"((unsigned short)bits));
  return x;
}
//@ f32_to_f16
__device__ __forceinline__ unsigned short f32_to_f16(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
//@ round_f16
__device__ __forceinline__ float round_f16(float x) { return f16_to_f32(f32_to_f16(x)); }
//@ pack_f16
// Two elements in a word, the first in the low half.
__device__ __forceinline__ unsigned pack_f16(float low, float high) {
  unsigned word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
//@ f16_at
// Element i of a packed array.
__device__ __forceinline__ float f16_at(const unsigned* words, int i) { return f16_to_f32(i & 1 ? words[i >> 1] >> 16 : words[i >> 1] & 0xffff); }
//@ bf16_to_f32
__device__ __forceinline__ float bf16_to_f32(unsigned bits) { return __uint_as_float(bits << 16); }
//@ f32_to_bf16
__device__ __forceinline__ unsigned short f32_to_bf16(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
//@ round_bf16
__device__ __forceinline__ float round_bf16(float x) { return bf16_to_f32(f32_to_bf16(x)); }
//@ pack_bf16
// Two elements in a word, the first in the low half.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
  unsigned word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
//@ bf16_at
// Element i of a packed array.
__device__ __forceinline__ float bf16_at(const unsigned* words, int i) { return __uint_as_float(i & 1 ? words[i >> 1] & 0xffff0000 : words[i >> 1] << 16); }
//@ f32_from_f8
// An 8-bit float of the OCP specification, exactly: subnormals as multiples of the smallest one, the others by moving the exponent.
template <int MANTISSA_BITS, int BIAS>
__device__ __forceinline__ float f32_from_f8(unsigned code) {
  const unsigned bits = code & 0x7f;
  const float step = __uint_as_float((unsigned)(128 - BIAS - MANTISSA_BITS) << 23);
  const float magnitude = bits < 1u << MANTISSA_BITS ? (float)bits * step
                                                     : __uint_as_float((bits << (23 - MANTISSA_BITS)) + ((unsigned)(127 - BIAS) << 23));
  return code & 0x80 ? -magnitude : magnitude;
}
//@ e4m3_to_f32
__device__ __forceinline__ float e4m3_to_f32(unsigned code) { return (code & 0x7f) == 0x7f ? quiet_nan() : f32_from_f8<3, 7>(code); }
//@ e5m2_to_f32
// The upper half of an f16.
__device__ __forceinline__ float e5m2_to_f32(unsigned code) { return f16_to_f32(code << 8); }
//@ f8_from_f32
// The code nearest to |x|, ties to even, without sign or limit: above the smallest normal number the mantissa is rounded in place,
// below it the addition of a power of two leaves the subnormal steps in the low bits.
template <int MANTISSA_BITS, int BIAS>
__device__ __forceinline__ unsigned f8_from_f32(unsigned magnitude_bits) {
  const unsigned smallest_normal = (unsigned)(128 - BIAS) << 23;
  if (magnitude_bits < smallest_normal) {
    const unsigned magic = (unsigned)(127 + 1 - BIAS - MANTISSA_BITS + 23) << 23;
    return __float_as_uint(__uint_as_float(magnitude_bits) + __uint_as_float(magic)) - magic;
  }
  const unsigned shift = 23 - MANTISSA_BITS;
  const unsigned odd = magnitude_bits >> shift & 1;
  return (magnitude_bits - ((unsigned)(127 - BIAS) << 23) + (1u << (shift - 1)) - 1 + odd) >> shift;
}
//@ f32_to_e4m3
// Beyond 464, and NaN, to NaN: this type has no infinities.
__device__ __forceinline__ unsigned char f32_to_e4m3(float x) {
  const unsigned bits = __float_as_uint(x);
  const unsigned code = (bits & 0x7fffffff) > 0x43e80000 ? 0x7f : f8_from_f32<3, 7>(bits & 0x7fffffff);
  return (unsigned char)(code | (bits >> 24 & 0x80));
}
//@ f32_to_e5m2
// From 61440 on to infinity; NaN stays.
__device__ __forceinline__ unsigned char f32_to_e5m2(float x) {
  const unsigned bits = __float_as_uint(x), magnitude = bits & 0x7fffffff;
  const unsigned code = magnitude > 0x7f800000 ? 0x7e : magnitude >= 0x47700000 ? 0x7c : f8_from_f32<2, 15>(magnitude);
  return (unsigned char)(code | (bits >> 24 & 0x80));
}
//@ round_to_odd
// The nearest f32 toward zero with its last bit set unless exact, so that rounding it again to a narrower type is right.
__device__ __forceinline__ float round_to_odd(int x) {
  const float y = __int2float_rz(x);
  return __float2int_rz(y) == x ? y : __uint_as_float(__float_as_uint(y) | 1);
}
__device__ __forceinline__ float round_to_odd(unsigned x) {
  const float y = __uint2float_rz(x);
  return __float2uint_rz(y) == x ? y : __uint_as_float(__float_as_uint(y) | 1);
}
__device__ __forceinline__ float round_to_odd(long long x) {
  const float y = __ll2float_rz(x);
  return __float2ll_rz(y) == x ? y : __uint_as_float(__float_as_uint(y) | 1);
}
//@ f32_to_i32
// Toward zero; the conversions saturate and take NaN to 0. PTX ISA, cvt.
__device__ __forceinline__ int f32_to_i32(float x) { return __float2int_rz(x); }
//@ f32_to_u32
__device__ __forceinline__ unsigned f32_to_u32(float x) { return __float2uint_rz(x); }
//@ f32_to_i8
__device__ __forceinline__ int f32_to_i8(float x) { return min(max(__float2int_rz(x), -128), 127); }
//@ f32_to_u8
__device__ __forceinline__ unsigned f32_to_u8(float x) { return min(__float2uint_rz(x), 255u); }
//@ f32_to_i64
// The 64-bit conversion takes NaN to the smallest integer.
__device__ __forceinline__ long long f32_to_i64(float x) { return x == x ? __float2ll_rz(x) : 0; }
