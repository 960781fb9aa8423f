//@ load_f32
// N neighbouring elements of shared memory, widened to what products are computed in.
template <int N>
__device__ __forceinline__ void load_f32(float* x, const float* from) { load<N>(x, from); }
//@ load_f16
template <int N>
__device__ __forceinline__ void load_f16(float* x, const unsigned short* from) {
  unsigned words[N < 2 ? 1 : N / 2];
  load_words<2 * N>(words, from);
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = f16_at(words, j);
}
//@ load_bf16
template <int N>
__device__ __forceinline__ void load_bf16(float* x, const unsigned short* from) {
  unsigned words[N < 2 ? 1 : N / 2];
  load_words<2 * N>(words, from);
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = bf16_at(words, j);
}
//@ load_i8
template <int N>
__device__ __forceinline__ void load_i8(int* x, const signed char* from) { load<N>(x, from); }
//@ load_u8
template <int N>
__device__ __forceinline__ void load_u8(int* x, const unsigned char* from) {
  unsigned values[N];
  load<N>(values, from);
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (int)values[j];
}
//@ load_matrix_x4
// Four 8 by 8 matrices of 16-bit elements; lanes 8 i to 8 i + 7 give the rows of matrix i. PTX ISA, ldmatrix.
__device__ __forceinline__ void load_matrix_x4(unsigned* fragment, unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(row)
               : "memory");
}
//@ load_matrix_x4_trans
__device__ __forceinline__ void load_matrix_x4_trans(unsigned* fragment, unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(row)
               : "memory");
}
//@ load_matrix_x2
__device__ __forceinline__ void load_matrix_x2(unsigned* fragment, unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(fragment[0]), "=r"(fragment[1]) : "r"(row) : "memory");
}
//@ load_matrix_x2_trans
__device__ __forceinline__ void load_matrix_x2_trans(unsigned* fragment, unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(fragment[0]), "=r"(fragment[1]) : "r"(row) : "memory");
}
//@ pack_bytes
// Four 8-bit integers, one per register, in a word.
__device__ __forceinline__ unsigned pack_bytes(const int* x) {
  return __byte_perm(__byte_perm((unsigned)x[0], (unsigned)x[1], 0x0040), __byte_perm((unsigned)x[2], (unsigned)x[3], 0x0040), 0x5410);
}
__device__ __forceinline__ unsigned pack_bytes(const unsigned* x) {
  return __byte_perm(__byte_perm(x[0], x[1], 0x0040), __byte_perm(x[2], x[3], 0x0040), 0x5410);
}
__device__ __forceinline__ unsigned pack_bytes(const unsigned char* x) {
  return x[0] | (unsigned)x[1] << 8 | (unsigned)x[2] << 16 | (unsigned)x[3] << 24;
}
//@ mma_f16
// c += a b of 16 by 8 by 16, by one warp. PTX ISA, mma.
__device__ __forceinline__ void mma_f16(float* c, const unsigned* a, const unsigned* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
//@ mma_bf16
__device__ __forceinline__ void mma_bf16(float* c, const unsigned* a, const unsigned* b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
//@ mma_i8
// c += a b of 16 by 8 by 32.
__device__ __forceinline__ void mma_i8(int* c, const unsigned* a, const unsigned* b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
//@ mma_u8
__device__ __forceinline__ void mma_u8(int* c, const unsigned* a, const unsigned* b) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
