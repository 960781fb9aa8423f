// Question: how far off are the approximations, what do NaN, infinities, zeros of both signs and subnormals become, and how are ties
// rounded on the way to narrow formats? One instruction to a column, one input to a row.

using u32 = unsigned;

#define UNARY(text, x) ([&] { u32 y; asm(text " %0, %1;" : "=r"(y) : "r"(x)); return y; }())
#define BINARY(text, x, z) ([&] { u32 y; asm(text " %0, %1, %2;" : "=r"(y) : "r"(x), "r"(z)); return y; }())

extern "C" __global__ void approximations(const u32* x, int n, u32* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  u32* o = out + 10 * i;
  o[0] = UNARY("ex2.approx.f32", x[i]);
  o[1] = UNARY("ex2.approx.ftz.f32", x[i]);
  o[2] = UNARY("lg2.approx.f32", x[i]);
  o[3] = UNARY("sin.approx.f32", x[i]);
  o[4] = UNARY("cos.approx.f32", x[i]);
  o[5] = UNARY("tanh.approx.f32", x[i]);
  o[6] = UNARY("rsqrt.approx.f32", x[i]);
  o[7] = UNARY("rcp.approx.ftz.f32", x[i]);
  o[8] = UNARY("sqrt.approx.f32", x[i]);
  o[9] = UNARY("rcp.rn.f32", x[i]);
}

extern "C" __global__ void extremes(const u32* x, const u32* z, int n, u32* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  u32* o = out + 8 * i;
  o[0] = BINARY("min.f32", x[i], z[i]);
  o[1] = BINARY("max.f32", x[i], z[i]);
  o[2] = BINARY("min.NaN.f32", x[i], z[i]);
  o[3] = BINARY("max.NaN.f32", x[i], z[i]);
  o[4] = BINARY("add.rn.f32", x[i], z[i]);
  o[5] = BINARY("mul.rn.f32", x[i], z[i]);
  o[6] = BINARY("add.rn.ftz.f32", x[i], z[i]);
  o[7] = BINARY("div.rn.f32", x[i], z[i]);
}

extern "C" __global__ void conversions(const u32* x, int n, u32* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  u32* o = out + 6 * i;
  unsigned short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "r"(x[i])); o[0] = h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "r"(x[i])); o[1] = h;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(o[2]) : "r"(x[i]));
  o[3] = UNARY("cvt.rni.s32.f32", x[i]);
  o[4] = UNARY("cvt.rzi.u32.f32", x[i]);
  asm("cvt.rz.bf16.f32 %0, %1;" : "=h"(h) : "r"(x[i])); o[5] = h;
}

extern "C" __global__ void narrow(const u32* x, int n, u32* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  unsigned short h;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %1;" : "=h"(h) : "r"(x[i])); out[2 * i] = h;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %1;" : "=h"(h) : "r"(x[i])); out[2 * i + 1] = h;
}
