// Transforms: Fourier in floats, and over a field, where every bit counts.
#include "common.h"

__device__ float2 times(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

// Radix 2, decimation in time, in shared memory; one block a transform of twice its threads.
KERNEL fft(const float2 *in, float2 *out, int bits)
{
    extern __shared__ float2 s[];
    int n = 1 << bits, t = threadIdx.x;
    in += blockIdx.x * n;
    out += blockIdx.x * n;
    for (int i = t; i < n; i += blockDim.x) s[__brev(i) >> (32 - bits)] = in[i];
    __syncthreads();
    for (int half = 1; half < n; half *= 2) {
        int k = t & (half - 1), a = 2 * (t - k) + k, b = a + half;
        float2 w;
        sincospif(-(float)k / half, &w.y, &w.x);
        float2 x = s[a], y = times(w, s[b]);  // fault 1: data-race
        s[a] = make_float2(x.x + y.x, x.y + y.y);  // fault 1: data-race
        s[b] = make_float2(x.x - y.x, x.y - y.y);  // fault 1: data-race
        if (FAULT != 1) __syncthreads();
    }
    for (int i = t; i < n; i += blockDim.x) out[i] = s[i];
}

// By the definition, in double, with a table that the kernel makes first.
KERNEL dft(const double2 *in, double2 *out, double2 *table, int n)
{
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        if (FAULT != 2 || i != 1) sincospi(-2.0 * i / n, &table[i].y, &table[i].x);
    __syncthreads();
    for (int k = threadIdx.x; k < n; k += blockDim.x) {
        double2 sum = make_double2(0, 0);
        for (int j = 0; j < n; j++) {
            double2 w = table[(i64)j * k % n];  // fault 2: uninitialized-read
            sum.x += in[j].x * w.x - in[j].y * w.y;
            sum.y += in[j].x * w.y + in[j].y * w.x;
        }
        out[k] = sum;
    }
}

#define PRIME 998244353u
__device__ u32 power(u32 base, u32 exponent)
{
    u64 result = 1, x = base;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) result = result * x % PRIME;
        x = x * x % PRIME;
    }
    return (u32)result;
}

// The number-theoretic transform over the integers modulo a prime: radix 2, decimation in frequency.
KERNEL ntt(u32 *data, int bits)
{
    extern __shared__ u32 v[];
    int n = 1 << bits, t = threadIdx.x;
    data += blockIdx.x * n;
    for (int i = t; i < n; i += blockDim.x) v[i] = data[i];
    for (int half = n / 2; half > 0; half /= 2) {
        __syncthreads();
        u32 root = power(3, (PRIME - 1) / (2 * half));
        for (int b = t; b < n / 2; b += blockDim.x) {
            int k = b % half, i = 2 * (b - k) + k;
            u32 x = v[i], y = v[i + half];
            u32 sum = x + y, difference = x + PRIME - y;
            v[i] = sum >= PRIME ? sum - PRIME : sum;
            v[i + half] = (u64)(difference % PRIME) * power(root, k) % PRIME;
        }
    }
    __syncthreads();
    for (int i = t; i < n; i += blockDim.x) data[__brev(i) >> (32 - bits)] = v[i];
}
