// Question: which fences between ordinary stores and a bulk copy of the same shared memory are needed in practice: the writers', the
// issuer's, either, none? And is one needed between ordinary loads and a copy that overwrites? Each block tries many times and
// counts wrong words; zero does not prove that a fence is needless, any other number proves that it is needed.

using u32 = unsigned;
using u64 = unsigned long long;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Bit 0 of `fences`: the writers fence before the barrier; bit 1: the issuer fences behind it.
extern "C" __global__ void __launch_bounds__(128) write_then_copy(int fences, int tries, u32* buffer, u32* wrong) {
  __shared__ __align__(128) u32 tile[1024];
  u32* mine = buffer + blockIdx.x * 1024;
  for (int k = 0; k < tries; k++) {
    for (int i = threadIdx.x; i < 1024; i += 128) tile[i] = k * 1024 + i;
    if (fences & 1) fence();
    __syncthreads();
    if (threadIdx.x == 0) {
      if (fences & 2) fence();
      asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], 4096;\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;"
                   ::"l"(mine), "r"(shared_address(tile)) : "memory");
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 1024; i += 128)
      if (((volatile u32*)mine)[i] != k * 1024 + i) atomicAdd(wrong, 1u);
    __syncthreads();
  }
}

// Loads of the old tile, then a copy over it with or without a fence between: do the loads see the new one?
extern "C" __global__ void __launch_bounds__(128) read_then_copy(int fences, int tries, const u32* source, u32* wrong) {
  __shared__ __align__(128) u32 tile[1024];
  __shared__ __align__(8) u64 barrier;
  u32 bar = shared_address(&barrier);
  if (threadIdx.x == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.proxy.async.shared::cta;" ::"r"(bar) : "memory");
  for (int k = 0; k < tries; k++) {
    for (int i = threadIdx.x; i < 1024; i += 128) tile[i] = 7;
    __syncthreads();
    u32 sum = 0;
    for (int i = threadIdx.x; i < 1024; i += 128) sum += ((volatile u32*)tile)[i];
    if (fences & 1) fence();
    __syncthreads();
    if (threadIdx.x == 0) {
      if (fences & 2) fence();
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 4096;" ::"r"(bar) : "memory");
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 4096, [%2];"
                   ::"r"(shared_address(tile)), "l"(source), "r"(bar) : "memory");
    }
    if (sum != 7 * 8) atomicAdd(wrong, 1u);
    u32 over = 0;
    while (!over)
      asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(over) : "r"(bar), "r"(k & 1) : "memory");
    for (int i = threadIdx.x; i < 1024; i += 128)
      if (tile[i] != source[i]) atomicAdd(wrong, 1u);
    __syncthreads();
  }
}
