//@ TensorMap
// Describes a tensor to the copy engine; 128 opaque bytes.
struct alignas(64) TensorMap { unsigned long long words[16]; };
//@ elect_one
// One lane of a converged warp. PTX ISA, elect.sync.
__device__ __forceinline__ bool elect_one() {
  unsigned is_elected;
  asm volatile("{\n .reg .pred p;\n elect.sync _|p, 0xffffffff;\n selp.u32 %0, 1, 0, p;\n}\n" : "=r"(is_elected));
  return is_elected != 0;
}
//@ cluster_rank
// Index of the block in its cluster.
__device__ __forceinline__ unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
//@ mbarrier_init
// PTX ISA, mbarrier.
__device__ __forceinline__ void mbarrier_init(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
//@ mbarrier_fence
// Makes initialised mbarriers visible to the copy engine.
__device__ __forceinline__ void mbarrier_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
//@ mbarrier_expect
// Announces bytes of copies and arrives.
__device__ __forceinline__ void mbarrier_expect(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
//@ mbarrier_arrive
__device__ __forceinline__ void mbarrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
//@ mbarrier_wait
// Until the phase of this parity is complete.
__device__ __forceinline__ void mbarrier_wait(unsigned barrier, unsigned parity) {
  asm volatile(
      "{\n .reg .pred p;\n"
      "again_%=:\n mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n @!p bra again_%=;\n}\n" ::"r"(barrier), "r"(parity)
      : "memory");
}
//@ mbarrier_wait_cluster
// Until the phase of this parity is complete, whichever block of the cluster completed it.
__device__ __forceinline__ void mbarrier_wait_cluster(unsigned barrier, unsigned parity) {
  asm volatile(
      "{\n .reg .pred p;\n"
      "again_%=:\n mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n @!p bra again_%=;\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
//@ mbarrier_arrive_in_cluster
// At the mbarrier of the block of that rank which lies where `barrier` does in this one. PTX ISA, mapa.
__device__ __forceinline__ void mbarrier_arrive_in_cluster(unsigned barrier, unsigned rank) {
  asm volatile(
      "{\n .reg .b32 there;\n mapa.shared::cluster.u32 there, %0, %1;\n"
      " mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n}\n" ::"r"(barrier), "r"(rank)
      : "memory");
}
//@ cluster_sync
// All threads of the cluster meet. PTX ISA, barrier.cluster.
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
//@ tma_load_1d
// A box of a tensor to shared memory; the mbarrier counts its bytes. Coordinates in elements, innermost first. PTX ISA, cp.async.bulk.tensor.
__device__ __forceinline__ void tma_load_1d(unsigned to, const TensorMap* map, unsigned barrier, int x) {
  asm volatile("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x) : "memory");
}
//@ tma_load_2d
__device__ __forceinline__ void tma_load_2d(unsigned to, const TensorMap* map, unsigned barrier, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y) : "memory");
}
//@ tma_load_3d
__device__ __forceinline__ void tma_load_3d(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z) : "memory");
}
//@ tma_load_4d
__device__ __forceinline__ void tma_load_4d(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
//@ tma_load_5d
__device__ __forceinline__ void tma_load_5d(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z, int w, int v) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v) : "memory");
}
//@ tma_multicast_1d
// The same to the blocks of a cluster whose bits are set, to the same place in each; each block's mbarrier counts what arrives there.
__device__ __forceinline__ void tma_multicast_1d(unsigned to, const TensorMap* map, unsigned barrier, unsigned short blocks, int x) {
  asm volatile("cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4}], [%2], %3;"
               ::"r"(to), "l"(map), "r"(barrier), "h"(blocks), "r"(x) : "memory");
}
//@ tma_multicast_2d
__device__ __forceinline__ void tma_multicast_2d(unsigned to, const TensorMap* map, unsigned barrier, unsigned short blocks, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5}], [%2], %3;"
               ::"r"(to), "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y) : "memory");
}
//@ tma_multicast_3d
__device__ __forceinline__ void tma_multicast_3d(unsigned to, const TensorMap* map, unsigned barrier, unsigned short blocks, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6}], [%2], %3;"
               ::"r"(to), "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z) : "memory");
}
//@ tma_multicast_4d
__device__ __forceinline__ void tma_multicast_4d(unsigned to, const TensorMap* map, unsigned barrier, unsigned short blocks, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6, %7}], [%2], %3;"
               ::"r"(to), "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
//@ tma_multicast_5d
__device__ __forceinline__ void tma_multicast_5d(unsigned to, const TensorMap* map, unsigned barrier, unsigned short blocks, int x, int y, int z, int w, int v) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6, %7, %8}], [%2], %3;"
               ::"r"(to), "l"(map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v) : "memory");
}
//@ tma_store_1d
// Shared memory to a box of a tensor; what lies outside the tensor is dropped.
__device__ __forceinline__ void tma_store_1d(const TensorMap* map, unsigned from, int x) {
  asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [%0, {%2}], [%1];" ::"l"(map), "r"(from), "r"(x) : "memory");
}
//@ tma_store_2d
__device__ __forceinline__ void tma_store_2d(const TensorMap* map, unsigned from, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];"
               ::"l"(map), "r"(from), "r"(x), "r"(y) : "memory");
}
//@ tma_store_3d
__device__ __forceinline__ void tma_store_3d(const TensorMap* map, unsigned from, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];"
               ::"l"(map), "r"(from), "r"(x), "r"(y), "r"(z) : "memory");
}
//@ tma_store_4d
__device__ __forceinline__ void tma_store_4d(const TensorMap* map, unsigned from, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];"
               ::"l"(map), "r"(from), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
//@ tma_store_5d
__device__ __forceinline__ void tma_store_5d(const TensorMap* map, unsigned from, int x, int y, int z, int w, int v) {
  asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];"
               ::"l"(map), "r"(from), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v) : "memory");
}
//@ commit_stores
__device__ __forceinline__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
//@ wait_stores_read
// Until this thread's stores have read their source, but for the last N groups.
template <int N> __device__ __forceinline__ void wait_stores_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
//@ wait_stores_complete
template <int N> __device__ __forceinline__ void wait_stores_complete() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
//@ fence_async
// Orders this thread's accesses to shared memory before those of the copy engine and the matrix unit. PTX ISA, fence.proxy.async.
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
