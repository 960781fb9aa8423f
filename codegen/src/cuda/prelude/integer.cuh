//@ add
// Signed arithmetic that wraps: in C++ an overflow would be undefined.
__device__ __forceinline__ int add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
__device__ __forceinline__ long long add(long long a, long long b) { return (long long)((unsigned long long)a + (unsigned long long)b); }
//@ sub
__device__ __forceinline__ int sub(int a, int b) { return (int)((unsigned)a - (unsigned)b); }
__device__ __forceinline__ long long sub(long long a, long long b) { return (long long)((unsigned long long)a - (unsigned long long)b); }
//@ mul
__device__ __forceinline__ int mul(int a, int b) { return (int)((unsigned)a * (unsigned)b); }
__device__ __forceinline__ long long mul(long long a, long long b) { return (long long)((unsigned long long)a * (unsigned long long)b); }
//@ quotient
// Toward zero; 0 for a zero divisor, and the smallest integer stays itself when divided by -1.
__device__ __forceinline__ int quotient(int a, int b) { return b == 0 ? 0 : b == -1 ? (int)(0u - (unsigned)a) : a / b; }
__device__ __forceinline__ unsigned quotient(unsigned a, unsigned b) { return b == 0 ? 0 : a / b; }
__device__ __forceinline__ long long quotient(long long a, long long b) {
  return b == 0 ? 0 : b == -1 ? (long long)(0ull - (unsigned long long)a) : a / b;
}
//@ remainder_of
// With the sign of the dividend; 0 for a zero divisor.
__device__ __forceinline__ int remainder_of(int a, int b) { return b == 0 || b == -1 ? 0 : a % b; }
__device__ __forceinline__ unsigned remainder_of(unsigned a, unsigned b) { return b == 0 ? 0 : a % b; }
__device__ __forceinline__ long long remainder_of(long long a, long long b) { return b == 0 || b == -1 ? 0 : a % b; }
//@ shift_left
// By the second operand modulo the width.
__device__ __forceinline__ int shift_left(int a, int b) { return (int)((unsigned)a << (b & 31)); }
__device__ __forceinline__ unsigned shift_left(unsigned a, unsigned b) { return a << (b & 31); }
__device__ __forceinline__ long long shift_left(long long a, long long b) { return (long long)((unsigned long long)a << (b & 63)); }
//@ shift_right
__device__ __forceinline__ int shift_right(int a, int b) { return a >> (b & 31); }
__device__ __forceinline__ unsigned shift_right(unsigned a, unsigned b) { return a >> (b & 31); }
__device__ __forceinline__ long long shift_right(long long a, long long b) { return a >> (b & 63); }
//@ wrap_i8
__device__ __forceinline__ int wrap_i8(int x) { return (signed char)x; }
