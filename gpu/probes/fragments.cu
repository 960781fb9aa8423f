// Question: which lane holds which element in ldmatrix and stmatrix, plain and transposed, and in the fragments of mma.sync for 8-bit
// integers, tf32 and e4m3? And does a cp.async whose source is shorter than its 16 bytes fill with zeros?

using u32 = unsigned;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

extern "C" __global__ void __launch_bounds__(32) matrices(const uint4* image, u32* out) {
  __shared__ __align__(128) unsigned char memory[512];
  int l = threadIdx.x;
  ((uint4*)memory)[l] = image[l];
  __syncwarp();
  u32 r[4], at = shared_address(memory) + 16 * l;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
  for (int i = 0; i < 4; i++) out[4 * l + i] = r[i];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
  for (int i = 0; i < 4; i++) out[128 + 4 * l + i] = r[i];
}

#if __CUDA_ARCH__ >= 900
extern "C" __global__ void __launch_bounds__(32) stores(const u32* words, u32* out) {
  __shared__ __align__(128) u32 memory[256];
  int l = threadIdx.x;
  u32 at = shared_address(memory) + 16 * l;
  const u32* w = words + 4 * l;
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]) : "memory");
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at + 512), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]) : "memory");
  __syncwarp();
  for (int i = l; i < 256; i += 32) out[i] = memory[i];
}
#endif

#define FRAGMENTS                                                                                                   \
  int l = threadIdx.x;                                                                                              \
  u32 d[4] = {0, 0, 0, 0};                                                                                          \
  const u32 *p = a + 4 * l, *q = b + 2 * l;
#define MULTIPLY(text)                                                                                              \
  asm volatile(text " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                        \
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                                                     \
               : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(q[0]), "r"(q[1]));                                 \
  for (int i = 0; i < 4; i++) out[4 * l + i] = d[i];

extern "C" __global__ void __launch_bounds__(32) s8(const u32* a, const u32* b, u32* out) {
  FRAGMENTS MULTIPLY("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32")
}

#undef MULTIPLY
#define MULTIPLY(text)                                                                                              \
  float* f = (float*)d;                                                                                             \
  asm volatile(text " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                        \
               : "+f"(f[0]), "+f"(f[1]), "+f"(f[2]), "+f"(f[3])                                                     \
               : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(q[0]), "r"(q[1]));                                 \
  for (int i = 0; i < 4; i++) out[4 * l + i] = d[i];

extern "C" __global__ void __launch_bounds__(32) tf32(const u32* a, const u32* b, u32* out) {
  FRAGMENTS MULTIPLY("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
}

#if __CUDA_ARCH__ >= 890
extern "C" __global__ void __launch_bounds__(32) e4m3(const u32* a, const u32* b, u32* out) {
  FRAGMENTS MULTIPLY("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32")
}
#endif

// Sources of 0 to 16 bytes, one to a lane.
extern "C" __global__ void __launch_bounds__(32) short_copies(const uint4* source, uint4* out) {
  __shared__ __align__(128) uint4 memory[32];
  int l = threadIdx.x;
  memory[l] = make_uint4(~0u, ~0u, ~0u, ~0u);
  __syncwarp();
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\ncp.async.wait_all;" ::"r"(shared_address(memory + l)), "l"(source + l), "r"(l % 17) : "memory");
  __syncwarp();
  out[l] = memory[l];
}
