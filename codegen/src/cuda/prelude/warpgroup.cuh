//@ release_registers
// Registers per thread from here on, for all warps of the warpgroup. PTX ISA, setmaxnreg.
template <int N>
__device__ __forceinline__ void release_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
//@ claim_registers
template <int N>
__device__ __forceinline__ void claim_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
//@ matrix_start
// Low word of the descriptor of a tile in shared memory: where it begins, and the bytes between core matrices of a row. Taken from
// lane 0, it is known to be the same in all lanes, and too dear to be computed again in a loop.
template <unsigned LEADING>
__device__ __forceinline__ unsigned matrix_start(unsigned address) {
  return __shfl_sync(0xffffffffu, (address & 0x3ffff) >> 4 | (LEADING >> 4) << 16, 0);
}
//@ matrix_descriptor
// A tile in shared memory as wgmma reads it: the low word, the bytes between core matrices of a column, and the code of the swizzle.
template <unsigned STRIDE, unsigned SWIZZLE>
__device__ __forceinline__ unsigned long long matrix_descriptor(unsigned low) {
  return low | (unsigned long long)(STRIDE >> 4) << 32 | (unsigned long long)SWIZZLE << 62;
}
//@ wgmma_fence
// Registers written so far become visible to the matrix unit. PTX ISA, wgmma.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
//@ wgmma_commit
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
//@ wgmma_wait
// Until at most N groups are under way.
template <int N>
__device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
//@ pin
// Ties a register to this point, so that no use of an accumulator moves above the wait for it.
__device__ __forceinline__ void pin(float& x) { asm volatile("" : "+f"(x)::"memory"); }
__device__ __forceinline__ void pin(int& x) { asm volatile("" : "+r"(x)::"memory"); }
//@ store_matrix_x4
// Two fragments of 16 rows by 8 columns to shared memory; lanes 8 i to 8 i + 7 give the rows of matrix i. PTX ISA, stmatrix.
__device__ __forceinline__ void store_matrix_x4(unsigned row, const unsigned* left, const unsigned* right) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
               ::"r"(row), "r"(left[0]), "r"(left[1]), "r"(right[0]), "r"(right[1]) : "memory");
}
//@ settle
// Nothing that follows moves above this point before `bits` are known. They are never of this value, and then it would do no harm.
__device__ __forceinline__ void settle(unsigned bits) {
  asm volatile("{\n .reg .pred p;\n setp.eq.u32 p, %0, 0x7fffdead;\n @p nanosleep.u32 0;\n}\n" ::"r"(bits) : "memory");
}
//@ take_turn
// Two warpgroups alternate: each waits at its own barrier, at which the other arrives. PTX ISA, bar.
__device__ __forceinline__ void take_turn(int barrier) { asm volatile("bar.sync %0, 256;" ::"r"(barrier) : "memory"); }
//@ pass_turn
__device__ __forceinline__ void pass_turn(int barrier) { asm volatile("bar.arrive %0, 256;" ::"r"(barrier) : "memory"); }
