// Question: where does a warpgroup product find its operands, and which thread holds which element of the result? Shared memory is
// given byte for byte and the descriptors bit for bit, so each probe settles one combination of majorness, swizzle, leading and
// stride offset, start within the swizzled pattern, and N.
#include <cuda_bf16.h>

using u32 = unsigned;
using u64 = unsigned long long;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Fills shared memory with the image; its proxy fence precedes the barrier.
__device__ __forceinline__ unsigned char* stage(const uint4* image, int n16) {
  extern __shared__ __align__(1024) unsigned char memory[];
  for (int i = threadIdx.x; i < n16; i += blockDim.x) ((uint4*)memory)[i] = image[i];
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  return memory;
}

// A descriptor counts from the image's start: the address field holds 16-byte units in 14 bits.
__device__ __forceinline__ u64 placed(u64 descriptor, const void* memory) {
  return descriptor + ((shared_address(memory) & 0x3ffff) >> 4);
}

__device__ __forceinline__ void finish() {
  asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

#define BEGIN(count)                                              \
  unsigned char* memory = stage(image, n16);                      \
  float d[count];                                                 \
  _Pragma("unroll") for (int i = 0; i < count; i++) d[i] = 0.f;   \
  u64 a = placed(da, memory), b = placed(db, memory);             \
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");

#define END(count)                                                                   \
  finish();                                                                          \
  _Pragma("unroll") for (int i = 0; i < count; i++) out[threadIdx.x * count + i] = d[i];

#define D4(x) "+f"(d[x]), "+f"(d[x + 1]), "+f"(d[x + 2]), "+f"(d[x + 3])
#define D16(x) D4(x), D4(x + 4), D4(x + 8), D4(x + 12)

#define PARAMETERS const uint4 *image, int n16, u64 da, u64 db, float *out

extern "C" __global__ void __launch_bounds__(128) product_n8(PARAMETERS) {
  BEGIN(4)
  asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, 1, 1, 1, 0, 0;" : D4(0) : "l"(a), "l"(b));
  END(4)
}

// Four instances that differ in which operand is transposed.
#define N32(name, ta, tb)                                                                                                            \
  extern "C" __global__ void __launch_bounds__(128) name(PARAMETERS) {                                                               \
    BEGIN(16)                                                                                                                        \
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, " \
                 "%14, %15}, %16, %17, 1, 1, 1, " #ta ", " #tb ";" : D16(0) : "l"(a), "l"(b));                                       \
    END(16)                                                                                                                          \
  }
N32(product_n32, 0, 0)
N32(product_n32_ta, 1, 0)
N32(product_n32_tb, 0, 1)
N32(product_n32_tab, 1, 1)

// N of 96, which is no power of two.
extern "C" __global__ void __launch_bounds__(128) product_n96(PARAMETERS) {
  BEGIN(48)
  asm volatile("wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "
               "%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, "
               "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47}, %48, %49, 1, 1, 1, 0, 0;"
               : D16(0), D16(16), D16(32) : "l"(a), "l"(b));
  END(48)
}

// A from registers: four words of a thread, as given.
extern "C" __global__ void __launch_bounds__(128) product_registers(const uint4* image, int n16, u64 db, const u32* fragments, float* out) {
  const u64 da = 0;
  BEGIN(16)
  (void)a;
  u32 f[4];
  for (int i = 0; i < 4; i++) f[i] = fragments[threadIdx.x * 4 + i];
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "
               "%15}, {%16, %17, %18, %19}, %20, 1, 1, 1, 0;"
               : D16(0) : "r"(f[0]), "r"(f[1]), "r"(f[2]), "r"(f[3]), "l"(b));
  END(16)
}

// Question: does one warp's wait imply that the other three warps' reads of shared memory are over? Warp 0 overwrites all of A as
// soon as its own wait returns; the products of the other warps show whether that was too early.
extern "C" __global__ void __launch_bounds__(128) overwrite_after_wait(PARAMETERS) {
  BEGIN(16)
  asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, "
               "%15}, %16, %17, 1, 1, 1, 0, 0;" : D16(0) : "l"(a), "l"(b));
  finish();
  if (threadIdx.x < 32)
    for (int i = threadIdx.x; i < n16; i += 32) ((uint4*)memory)[i] = make_uint4(~0u, ~0u, ~0u, ~0u);
  _Pragma("unroll") for (int i = 0; i < 16; i++) out[threadIdx.x * 16 + i] = d[i];
}
