// options: -fmad=false
// One thread an element, in every type.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include "common.h"

template <typename T> __device__ T mixed(T a, T b)
{
    return (T)(a * b + (a - b) / ((b & 7) + 1) - ((a >> 3) ^ b));
}

#define MIXED(T)                                                                                              \
    KERNEL mixed_##T(const T *a, const T *b, T *out, int n)                                                   \
    {                                                                                                         \
        int i = global_index();                                                                               \
        if (i < n) out[i] = mixed<T>(a[i], b[i]);                                                             \
    }
MIXED(i8)
MIXED(u8)
MIXED(i16)
MIXED(u16)
MIXED(i32)
MIXED(u32)
MIXED(i64)
MIXED(u64)

template <typename T> __device__ T remainder_of(T a, T b) { return b == 0 ? a : (T)(a % b) + (T)(a / b); }

KERNEL divide_i32(const i32 *a, const i32 *b, i32 *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = remainder_of(a[i], b[i]);
}

KERNEL divide_u64(const u64 *a, const u64 *b, u64 *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = remainder_of(a[i], b[i]);
}

template <typename T> __device__ T rooted(T a, T b, T c) { return sqrt(a < 0 ? -a : a) / b + c * a - b; }

// In elements, how far the next buffer is from one of a page: an index so wrong finds memory.
const int PAST = (4096 + (1 << 20)) / 4;

KERNEL rooted_f32(const float *a, const float *b, const float *c, float *out, int n)
{
    int i = global_index();
    if (FAULT == 1 ? i <= n : FAULT == 6 ? i < n - 1 : i < n)
        out[FAULT == 2 ? i + 1 : i] =  // fault 2: out-of-bounds
            rooted(a[i + (FAULT == 8 ? PAST : 0)], b[i], c[i]);  // fault 1, 8: out-of-bounds
    if (FAULT == 7 && i == 0)
        asm volatile("{ .reg .f32 z; add.f32 z, z, z; st.f32 [%0], z; }" ::"l"(out));  // fault 7: unset-register
    if (FAULT == 3 && i == 0) const_cast<float *>(b)[n / 2] = 1;  // fault 3: input-modified
}

KERNEL rooted_f64(const double *a, const double *b, const double *c, double *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = rooted(a[i], b[i], c[i]);
}

KERNEL fused_f32(const float *a, const float *b, const float *c, float *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = fmaf(a[i], b[i], c[i]);
}

KERNEL fused_f64(const double *a, const double *b, const double *c, double *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = fma(a[i], b[i], c[i]);
}

KERNEL fused_half(const __half *a, const __half *b, const __half *c, __half *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = __hfma(a[i], b[i], c[i]);
}

KERNEL half_pairs(const __half2 *a, const __half2 *b, __half2 *out, int pairs)
{
    int i = global_index();
    if (i < pairs) out[i] = __hadd2(__hmul2(a[i], b[i]), __hmax2(a[i], __hneg2(b[i])));
}

KERNEL fused_bfloat16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, const __nv_bfloat16 *c,
                      __nv_bfloat16 *out, int n)
{
    int i = global_index();
    if (i < n) out[i] = __hfma(a[i], b[i], c[i]);
}

// The manual leaves a NaN's payload open.
__device__ i32 bits_of(float x) { return x == x ? __float_as_int(x) : 0x7fffffff; }

// Nine conversions of one float, each to its own row of n.
KERNEL conversions(const float *in, i32 *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    float x = in[i];
    out[i] = __float2int_rn(x);
    out[n + i] = __float2int_rz(x);
    out[2 * n + i] = __float2int_ru(x);
    out[3 * n + i] = __float2int_rd(x);
    out[4 * n + i] = (i32)__float2uint_rz(x);
    out[5 * n + i] = bits_of(__double2float_rz((double)x * (1 + 1e-9)));
    out[6 * n + i] = __float_as_int(__ll2float_rn(__float2ll_rz(x)));
    out[7 * n + i] = x == x ? __half_as_ushort(__float2half_rn(x)) : 0x7fff;
    out[8 * n + i] = bits_of(rintf(x) - truncf(x) + floorf(x) * 2 - ceilf(x) + roundf(x));
}

// Eleven tricks with bits, each to its own row of n.
KERNEL bits(const u32 *a, const u32 *b, u32 *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    u32 x = a[i], y = b[i];
    out[i] = __popc(x) + 100 * __clz(x) + 10000 * __ffs(x);
    out[n + i] = __brev(x);
    out[2 * n + i] = __byte_perm(x, y, y & 0x7777);
    out[3 * n + i] = __funnelshift_l(x, y, y & 31);
    out[4 * n + i] = __funnelshift_rc(x, y, y & 63);
    out[5 * n + i] = __umulhi(x, y);
    out[6 * n + i] = __usad(x, y, 7u);
    out[7 * n + i] = __dp4a((i32)x, (i32)y, 5);
    out[8 * n + i] = __vadd4(x, y) ^ __vmaxu2(x, y);
    out[9 * n + i] = (u32)(__umul64hi((u64)x << 20 | y, (u64)y << 31 | x) >> 3) + __clzll((u64)x << (y & 31));
    out[10 * n + i] = (u32)__brevll((u64)x << 32 | y) ^ (u32)__popcll((u64)x << 32 | y);
}

KERNEL grid_stride(const float *x, float *y, float a, u64 n)
{
    for (u64 i = global_index(); i < n; i += (u64)gridDim.x * blockDim.x) y[i] = a * x[i] + y[i];
}

KERNEL vectors(const float4 *in, const double2 *in2, float4 *out, double2 *out2, int n)
{
    int i = global_index();
    if (i >= n) return;
    float4 v = in[i];
    if (FAULT == 4)
        v = *(const float4 *)((const float *)in + 1 + i % (4 * n - 4));  // fault 4: misaligned
    out[i] = make_float4(v.w, v.z * 2, v.y, v.x + v.w);
    double2 d = in2[i];
    double2 *to = FAULT == 5 ? (double2 *)((double *)out2 + i) : out2 + i;
    *to = make_double2(d.y, d.x);  // fault 5: misaligned
}

struct Particle {
    double mass;
    float position[3];
    i16 charge;
    u8 flags, kind;
};

KERNEL structs(const Particle *in, Particle *out, Particle shift, int n)
{
    int i = global_index();
    if (i >= n) return;
    Particle p = in[i];
    p.mass += shift.mass;
    for (int axis = 0; axis < 3; axis++) p.position[axis] -= shift.position[(axis + p.kind) % 3];
    p.charge = (i16)(p.charge * shift.charge);
    p.flags ^= shift.flags;
    out[i] = p;
}

KERNEL bool_select(const bool *where, const u8 *a, const u8 *b, u8 *out, bool *both, int n)
{
    int i = global_index();
    if (i >= n) return;
    out[i] = where[i] ? a[i] : b[i];
    both[i] = where[i] && a[i] > b[i];
}
