// Question: where does shared memory begin, so that a tile declared at a multiple of 1024 lies at one in the addresses that the 128-byte
// swizzle looks at, and how much of it does the system keep? And do registers given back by one warpgroup reach another that waits?

using u32 = unsigned;

extern "C" __global__ void __launch_bounds__(32) bases(u32* out) {
  extern __shared__ __align__(1024) unsigned char memory[];
  if (threadIdx.x != 0) return;
  u32 base = (u32)__cvta_generic_to_shared(memory), reserved, total;
  asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(total));
  asm("mov.u32 %0, %%total_smem_size;" : "=r"(reserved));
  out[0] = base % 1024;
  out[1] = total;
  out[2] = base;
  out[3] = reserved;
}

#if __CUDA_ARCH__ >= 900
// Two warpgroups ask for what the third gives back after a while.
extern "C" __global__ void __launch_bounds__(384, 1) registers(u32* out) {
  u32 group = threadIdx.x / 128;
  if (group == 0) {
    for (int i = 0; i < 200; i++) asm volatile("" ::: "memory");
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  }
  if (threadIdx.x % 128 == 0) out[group] = 1;
}
#endif
