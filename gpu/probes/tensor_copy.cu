// Question: which bits of a shared address does a tensor copy's swizzle exchange, what do elements outside the tensor read as, and
// how many bytes does a box that hangs over an edge announce? A box is copied to a given place and all of shared memory shown.

using u32 = unsigned;
struct __align__(64) TensorMap { char opaque[128]; };

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// `bytes` are announced; out[0] says whether the phase was over within the tries, which are waits where it should be over, and looks
// where it should not. The rest is shared memory.
extern "C" __global__ void __launch_bounds__(32) load(const __grid_constant__ TensorMap map, int x, int y, int at, int bytes, int waits, int n, u32* out) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ __align__(8) unsigned long long barrier;
  u32 bar = shared_address(&barrier);
  for (int i = threadIdx.x; i < n; i += 32) ((u32*)memory)[i] = 0xabababab;
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncwarp();
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.proxy.async.shared::cta;" ::"r"(bar) : "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(shared_address(memory) + at), "l"(&map), "r"(bar), "r"(x), "r"(y) : "memory");
  }
  __syncwarp();
  u32 over = 0;
  for (int tries = 0; tries < 2000 && !over; tries++) {
    if (waits)
      asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(over) : "r"(bar) : "memory");
    else
      asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], 0;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(over) : "r"(bar) : "memory");
  }
  if (threadIdx.x == 0) out[0] = over;
  if (over)
    for (int i = threadIdx.x; i < n; i += 32) out[1 + i] = ((u32*)memory)[i];
}

// The way back: shared memory counts up in 16-bit words, and the box is stored; what lies outside must not be written.
extern "C" __global__ void __launch_bounds__(32) store(const __grid_constant__ TensorMap map, int x, int y, int at, int n) {
  extern __shared__ __align__(1024) unsigned char memory[];
  for (int i = threadIdx.x; i < n; i += 32) ((unsigned short*)memory)[i] = (unsigned short)(i + 1);
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncwarp();
  if (threadIdx.x == 0) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
                 ::"l"(&map), "r"(shared_address(memory) + at), "r"(x), "r"(y) : "memory");
    asm volatile("cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;" ::: "memory");
  }
}
