//@ load_words
// One access of so many bytes.
template <int BYTES>
__device__ __forceinline__ void load_words(unsigned* words, const void* from) {
  if constexpr (BYTES > 16) {
    load_words<16>(words, from);
    load_words<BYTES - 16>(words + 4, (const char*)from + 16);
  } else if constexpr (BYTES == 16) {
    const uint4 v = *(const uint4*)from;
    words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
  } else if constexpr (BYTES == 8) {
    const uint2 v = *(const uint2*)from;
    words[0] = v.x, words[1] = v.y;
  } else if constexpr (BYTES == 4) {
    words[0] = *(const unsigned*)from;
  } else if constexpr (BYTES == 2) {
    words[0] = *(const unsigned short*)from;
  } else {
    words[0] = *(const unsigned char*)from;
  }
}
//@ load_words_nc
// The same of memory that nothing writes during the launch. PTX ISA, ld.global.nc.
template <int BYTES>
__device__ __forceinline__ void load_words_nc(unsigned* words, const void* from) {
  if constexpr (BYTES > 16) {
    load_words_nc<16>(words, from);
    load_words_nc<BYTES - 16>(words + 4, (const char*)from + 16);
  } else if constexpr (BYTES == 16) {
    const uint4 v = __ldg((const uint4*)from);
    words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
  } else if constexpr (BYTES == 8) {
    const uint2 v = __ldg((const uint2*)from);
    words[0] = v.x, words[1] = v.y;
  } else if constexpr (BYTES == 4) {
    words[0] = __ldg((const unsigned*)from);
  } else if constexpr (BYTES == 2) {
    words[0] = __ldg((const unsigned short*)from);
  } else {
    words[0] = __ldg((const unsigned char*)from);
  }
}
//@ store_words
template <int BYTES>
__device__ __forceinline__ void store_words(void* to, const unsigned* words) {
  if constexpr (BYTES > 16) {
    store_words<16>(to, words);
    store_words<BYTES - 16>((char*)to + 16, words + 4);
  } else if constexpr (BYTES == 16) {
    *(uint4*)to = make_uint4(words[0], words[1], words[2], words[3]);
  } else if constexpr (BYTES == 8) {
    *(uint2*)to = make_uint2(words[0], words[1]);
  } else if constexpr (BYTES == 4) {
    *(unsigned*)to = words[0];
  } else if constexpr (BYTES == 2) {
    *(unsigned short*)to = (unsigned short)words[0];
  } else {
    *(unsigned char*)to = (unsigned char)words[0];
  }
}
//@ take
// Words as memory has them, to and from N elements as registers have them; the types of both say which elements they are.
template <int N> __device__ __forceinline__ void take(float* x, const unsigned* w, const float*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = __uint_as_float(w[j]);
}
template <int N> __device__ __forceinline__ void take(int* x, const unsigned* w, const int*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (int)w[j];
}
template <int N> __device__ __forceinline__ void take(unsigned* x, const unsigned* w, const unsigned*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = w[j];
}
template <int N> __device__ __forceinline__ void take(long long* x, const unsigned* w, const long long*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (long long)((unsigned long long)w[2 * j + 1] << 32 | w[2 * j]);
}
template <int N> __device__ __forceinline__ void take(unsigned* x, const unsigned* w, const unsigned short*) {
#pragma unroll
  for (int j = 0; j < N / 2; ++j) x[j] = w[j];
}
template <int N> __device__ __forceinline__ void take(unsigned short* x, const unsigned* w, const unsigned short*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (unsigned short)(w[j / 2] >> 16 * (j % 2));
}
template <int N> __device__ __forceinline__ void take(int* x, const unsigned* w, const signed char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (signed char)(w[j / 4] >> 8 * (j % 4));
}
template <int N> __device__ __forceinline__ void take(unsigned* x, const unsigned* w, const unsigned char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = w[j / 4] >> 8 * (j % 4) & 0xff;
}
template <int N> __device__ __forceinline__ void take(unsigned char* x, const unsigned* w, const unsigned char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (unsigned char)(w[j / 4] >> 8 * (j % 4));
}
template <int N> __device__ __forceinline__ void take(bool* x, const unsigned* w, const unsigned char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) x[j] = (w[j / 4] >> 8 * (j % 4) & 0xff) != 0;
}
//@ give
template <int N> __device__ __forceinline__ void give(unsigned* w, const float* x, float*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j] = __float_as_uint(x[j]);
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const int* x, int*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j] = (unsigned)x[j];
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const unsigned* x, unsigned*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j] = x[j];
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const long long* x, long long*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[2 * j] = (unsigned)x[j], w[2 * j + 1] = (unsigned)((unsigned long long)x[j] >> 32);
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const unsigned* x, unsigned short*) {
#pragma unroll
  for (int j = 0; j < N / 2; ++j) w[j] = x[j];
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const unsigned short* x, unsigned short*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j / 2] = j % 2 ? w[j / 2] | (unsigned)x[j] << 16 : x[j];
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const int* x, signed char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j / 4] = (j % 4 ? w[j / 4] : 0) | ((unsigned)x[j] & 0xff) << 8 * (j % 4);
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const unsigned* x, unsigned char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j / 4] = (j % 4 ? w[j / 4] : 0) | (x[j] & 0xff) << 8 * (j % 4);
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const unsigned char* x, unsigned char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j / 4] = (j % 4 ? w[j / 4] : 0) | (unsigned)x[j] << 8 * (j % 4);
}
template <int N> __device__ __forceinline__ void give(unsigned* w, const bool* x, unsigned char*) {
#pragma unroll
  for (int j = 0; j < N; ++j) w[j / 4] = (j % 4 ? w[j / 4] : 0) | (unsigned)x[j] << 8 * (j % 4);
}
//@ load
// N neighbouring elements by one access.
template <int N, class R, class M>
__device__ __forceinline__ void load(R* x, const M* from) {
  unsigned words[N * sizeof(M) < 4 ? 1 : N * sizeof(M) / 4];
  load_words<N * sizeof(M)>(words, from);
  take<N>(x, words, from);
}
//@ load_or
// The same in bounds; out of bounds every register becomes `pad`.
template <int N, class R, class M>
__device__ __forceinline__ void load_or(bool in_bounds, R* x, const M* from, R pad) {
  constexpr int registers = sizeof(R) == 4 && sizeof(M) == 2 ? N / 2 : N;
#pragma unroll
  for (int j = 0; j < registers; ++j) x[j] = pad;
  if (in_bounds) load<N>(x, from);
}
//@ load_nc
template <int N, class R, class M>
__device__ __forceinline__ void load_nc(R* x, const M* from) {
  unsigned words[N * sizeof(M) < 4 ? 1 : N * sizeof(M) / 4];
  load_words_nc<N * sizeof(M)>(words, from);
  take<N>(x, words, from);
}
//@ load_or_nc
template <int N, class R, class M>
__device__ __forceinline__ void load_or_nc(bool in_bounds, R* x, const M* from, R pad) {
  constexpr int registers = sizeof(R) == 4 && sizeof(M) == 2 ? N / 2 : N;
#pragma unroll
  for (int j = 0; j < registers; ++j) x[j] = pad;
  if (in_bounds) load_nc<N>(x, from);
}
//@ put_half
// Element r of a packed array, in ascending order of r.
__device__ __forceinline__ void put_half(unsigned* words, int r, unsigned bits) { words[r >> 1] = r & 1 ? words[r >> 1] | bits << 16 : bits; }
//@ half_bits
__device__ __forceinline__ unsigned short half_bits(const unsigned* words, int r) { return (unsigned short)(words[r >> 1] >> (r & 1 ? 16 : 0)); }
//@ store
// N neighbouring elements by one access.
template <int N, class R, class M>
__device__ __forceinline__ void store(M* to, const R* x) {
  unsigned words[N * sizeof(M) < 4 ? 1 : N * sizeof(M) / 4];
  give<N>(words, x, to);
  store_words<N * sizeof(M)>(to, words);
}
//@ at
// The elements at a byte offset of shared memory.
template <class M>
__device__ __forceinline__ M* at(const unsigned char* bytes) { return (M*)bytes; }
//@ shared_address
__device__ __forceinline__ unsigned shared_address(const void* pointer) { return (unsigned)__cvta_generic_to_shared(pointer); }
