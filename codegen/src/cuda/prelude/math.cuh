//@ exp2_f32
// Within 2 units of the last place; subnormal results flush. PTX ISA, ex2.
__device__ __forceinline__ float exp2_f32(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
//@ exp_f32
// 2^n 2^f with x log2(e) = n + f: n by the addition that leaves an integer in the low bits, f in two steps since the product would
// lose what large arguments need. The clamp keeps 2^n a normal
// number; what lies beyond is left in f and overflows or vanishes there.
__device__ __forceinline__ float exp_f32(float x) {
  const float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float shifted = fmaf(clamped, 1.44269502f, 12582912.0f);
  const float n = shifted - 12582912.0f;
  const float f = fmaf(x, 1.92596303e-8f, fmaf(x, 1.44269502f, -n));
  return exp2_f32(f) * __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000);
}
//@ sigmoid_f32
__device__ __forceinline__ float sigmoid_f32(float x) { return __fdividef(1.0f, 1.0f + exp_f32(-x)); }
