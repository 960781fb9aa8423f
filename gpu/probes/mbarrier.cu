// Question: what does an mbarrier say of its phases: before the first is over, when bytes come before they are announced, when a count
// above one arrives, and when another block of the cluster arrives? Every answer of `test_wait` is written down.

using u32 = unsigned;
using u64 = unsigned long long;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ u32 test(u32 bar, u32 parity) {
  u32 over;
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(over) : "r"(bar), "r"(parity) : "memory");
  return over;
}

extern "C" __global__ void __launch_bounds__(32) phases(u32* out) {
  __shared__ __align__(8) u64 barrier;
  u32 bar = shared_address(&barrier);
  if (threadIdx.x != 0) return;
  int n = 0;
  auto look = [&] { out[n++] = test(bar, 0); out[n++] = test(bar, 1); };
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 3;" ::"r"(bar) : "memory");
  look();  // before anything: the phase before the first counts as over
  u64 state;
  asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1], 2;" : "=l"(state) : "r"(bar) : "memory");
  u32 pending;
  asm volatile("mbarrier.pending_count.b64 %0, %1;" : "=r"(pending) : "l"(state));
  out[n++] = pending;  // as it was before the arrival
  look();
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
  look();  // the first phase is over
  asm volatile("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%0], 64;" ::"r"(bar) : "memory");
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], 3;" ::"r"(bar) : "memory");
  look();  // all have arrived, but 64 bytes came that nobody announced
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], 64;" ::"r"(bar) : "memory");
  look();  // now they are, and the phase is over
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(32) remote(u32* out) {
  __shared__ __align__(8) u64 barrier;
  u32 bar = shared_address(&barrier), rank, other;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  if (threadIdx.x == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nfence.mbarrier_init.release.cluster;" ::"r"(bar) : "memory");
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  if (threadIdx.x == 0) out[4 * rank] = test(bar, 0);
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(other) : "r"(bar), "r"(rank ^ 1));
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(other) : "memory");
    while (!test(bar, 0)) {}
    out[4 * rank + 1] = test(bar, 0);
    out[4 * rank + 2] = test(bar, 1);
    out[4 * rank + 3] = other != bar;  // another place than the same offset of this block
  }
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
