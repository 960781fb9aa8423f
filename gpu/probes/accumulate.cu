// Question: in what order and how precisely does a matrix instruction add? Each product of a row is a power of two apart, so that the
// result shows which bits were kept; the machine adds exactly and rounds once, and does not claim that hardware does.

using u32 = unsigned;

// One instruction on fragments as given: A four words, B two, C four floats of a lane.
extern "C" __global__ void __launch_bounds__(32) f16(const u32* a, const u32* b, const float* c, float* out) {
  int l = threadIdx.x;
  float d[4];
  for (int i = 0; i < 4; i++) d[i] = c[4 * l + i];
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[4 * l]), "r"(a[4 * l + 1]), "r"(a[4 * l + 2]), "r"(a[4 * l + 3]), "r"(b[2 * l]), "r"(b[2 * l + 1]));
  for (int i = 0; i < 4; i++) out[4 * l + i] = d[i];
}

extern "C" __global__ void __launch_bounds__(32) e4m3(const u32* a, const u32* b, const float* c, float* out) {
  int l = threadIdx.x;
  float d[4];
  for (int i = 0; i < 4; i++) d[i] = c[4 * l + i];
  asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[4 * l]), "r"(a[4 * l + 1]), "r"(a[4 * l + 2]), "r"(a[4 * l + 3]), "r"(b[2 * l]), "r"(b[2 * l + 1]));
  for (int i = 0; i < 4; i++) out[4 * l + i] = d[i];
}
