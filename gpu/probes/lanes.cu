// Question: which lane does elect.sync choose, what does a shuffle read from a lane that takes no part, and does a barrier count the
// threads of warps that have left?

using u32 = unsigned;

extern "C" __global__ void __launch_bounds__(32) shuffles(u32* out) {
  int l = threadIdx.x;
  u32 v = 100 + l;
  out[l] = __shfl_xor_sync(~0u, v, 5);
  out[32 + l] = __shfl_up_sync(~0u, v, 3);
  out[64 + l] = __shfl_down_sync(~0u, v, 30);
  out[96 + l] = __shfl_sync(~0u, v, 9, 8);
  out[128 + l] = __ballot_sync(~0u, l % 3 == 0);
  out[160 + l] = __reduce_max_sync(~0u, v ^ 17);
  out[192 + l] = __match_any_sync(~0u, l / 5);
}

#if __CUDA_ARCH__ >= 900
// Row r: only the lanes of a mask are there.
extern "C" __global__ void __launch_bounds__(32) elected(const u32* masks, int n, u32* out) {
  for (int r = 0; r < n; r++) {
    u32 mask = masks[r], leader = 99, is = 0;
    if (mask >> threadIdx.x & 1)
      asm volatile("{\n.reg .pred p;\nelect.sync %0|p, %2;\nselp.u32 %1, 1, 0, p;\n}" : "=r"(leader), "=r"(is) : "r"(mask));
    out[(r * 32 + threadIdx.x) * 2] = leader;
    out[(r * 32 + threadIdx.x) * 2 + 1] = is;
    __syncwarp();
  }
}
#endif

// Only even lanes shuffle, and ask their odd neighbours.
extern "C" __global__ void __launch_bounds__(32) absent(u32* out) {
  u32 v = 100 + threadIdx.x;
  if (threadIdx.x % 2 == 0) out[threadIdx.x / 2] = __shfl_xor_sync(0x55555555u, v, 1);
}

// The last two of four warps leave before the barrier of the block.
extern "C" __global__ void __launch_bounds__(128) leavers(u32* out) {
  __shared__ u32 seen[64];
  if (threadIdx.x >= 64) return;
  seen[threadIdx.x] = threadIdx.x * threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = seen[63 - threadIdx.x];
}
