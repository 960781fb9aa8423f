//@ swizzled
// Byte of a row after the permutation of its 16-byte chunks.
template <int SHIFT, int MASK>
__device__ __forceinline__ int swizzled(int row, int byte) { return byte ^ (row >> SHIFT & MASK) << 4; }
//@ copy_async_16
// Copies 16 bytes, or fills with zeros and does not read where `inside` is false. PTX ISA, cp.async.
__device__ __forceinline__ void copy_async_16(unsigned to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0) : "memory");
}
//@ copy_async_8
__device__ __forceinline__ void copy_async_8(unsigned to, const void* from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(inside ? 8 : 0) : "memory");
}
//@ copy_async_4
__device__ __forceinline__ void copy_async_4(unsigned to, const void* from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(inside ? 4 : 0) : "memory");
}
//@ commit_copies
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
//@ wait_copies
// Until at most N of this thread's groups are under way.
template <int N>
__device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
//@ barrier
// Threads of a role meet. The number is an immediate, or all 16 barriers would be taken. PTX ISA, bar.
template <int ID, int THREADS>
__device__ __forceinline__ void barrier() { asm volatile("bar.sync %0, %1;" ::"n"(ID), "n"(THREADS) : "memory"); }
//@ arg_max
// The larger value and its position; of equal ones the first. NaN gives way to any number.
__device__ __forceinline__ void arg_max(float& best, int& at, float x, int i) {
  if (x > best || (x == best && i < at) || (best != best && x == x)) best = x, at = i;
}
template <class T>
__device__ __forceinline__ void arg_max(T& best, int& at, T x, int i) {
  if (x > best || (x == best && i < at)) best = x, at = i;
}
//@ arg_min
__device__ __forceinline__ void arg_min(float& best, int& at, float x, int i) {
  if (x < best || (x == best && i < at) || (best != best && x == x)) best = x, at = i;
}
template <class T>
__device__ __forceinline__ void arg_min(T& best, int& at, T x, int i) {
  if (x < best || (x == best && i < at)) best = x, at = i;
}
//@ report
// The first failed assertion of the launch: number of the message plus 1, and the block.
__device__ __forceinline__ void report(unsigned long long* status, unsigned long long message) {
  if (atomicCAS(status, 0ull, message + 1) == 0) {
    status[1] = blockIdx.x | (unsigned long long)blockIdx.y << 32;
    status[2] = blockIdx.z;
  }
}
//@ grid_wait
// Until the launches that this one depends on have finished. PTX ISA, griddepcontrol.
__device__ __forceinline__ void grid_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
//@ grid_release
__device__ __forceinline__ void grid_release() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
