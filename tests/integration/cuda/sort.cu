// Sorting and merging.
#include "common.h"

// Keys of one block, bitonic, in shared memory; the tail is padded with the greatest key.
KERNEL sort_bitonic(const u32 *in, u32 *out, int n, int size)
{
    extern __shared__ u32 keys[];
    int t = threadIdx.x;
    for (int i = t; i < size; i += blockDim.x) keys[i] = i < n ? in[i] : ALL;
    __syncthreads();
    for (int width = 2; width <= size; width *= 2)
        for (int step = width / 2; step > 0; step /= 2) {
            for (int i = t; i < size; i += blockDim.x) {
                int other = i ^ step;
                if (other > i) {
                    u32 a = keys[i], b = keys[other];  // fault 1: data-race
                    if ((a > b) == !(i & width)) {
                        keys[i] = b;  // fault 1: data-race
                        keys[other] = a;  // fault 1: data-race
                    }
                }
            }
            if (FAULT != 1) __syncthreads();
        }
    for (int i = t; i < n; i += blockDim.x) out[i] = keys[i];
}

// Counts of a digit of 4 bits, one column a block.
KERNEL radix_count(const u32 *in, u32 *counts, int shift, int n)
{
    __shared__ u32 bins[16];
    if (threadIdx.x < 16) bins[threadIdx.x] = 0;
    __syncthreads();
    int i = global_index();
    if (i < n) atomicAdd(&bins[in[i] >> shift & 15], 1u);
    __syncthreads();
    if (threadIdx.x < 16) counts[threadIdx.x * gridDim.x + blockIdx.x] = bins[threadIdx.x];
}

// Keys to their places, given where every digit of every block starts. Stable: ranks by match and popc.
KERNEL radix_scatter(const u32 *in, const u32 *starts, u32 *out, int shift, int n)
{
    __shared__ u32 next[16];
    int t = threadIdx.x, lane = t % 32, i = global_index();
    if (t < 16) next[t] = starts[t * gridDim.x + blockIdx.x];
    u32 key = i < n ? in[i] : 0;
    u32 digit = i < n ? key >> shift & 15 : 16;
    for (int warp = 0; warp < blockDim.x / 32; warp++) {
        __syncthreads();
        if (t / 32 == warp) {
            u32 peers = __match_any_sync(ALL, digit);
            u32 rank = __popc(peers & ((1u << lane) - 1));
            u32 at = i < n ? next[digit] + rank : 0;
            __syncwarp();
            if (i < n && rank == 0) next[digit] += __popc(peers);
            if (i < n) out[FAULT == 2 ? at + 1 : at] = key;  // fault 2: out-of-bounds
        }
    }
}

// Every element finds its place by binary search in the other array.
KERNEL merge(const i32 *a, int na, const i32 *b, int nb, i32 *out)
{
    int i = global_index();
    bool first = i < na;
    if (i >= na + nb) return;
    const i32 *other = first ? b : a;
    int own = first ? i : i - na, low = 0, high = (first ? nb : na) + (FAULT == 3);
    i32 x = first ? a[own] : b[own];
    while (low < high) {
        int middle = (low + high) / 2;
        i32 y = other[middle];  // fault 3: out-of-bounds
        if (first ? y < x : y <= x)
            low = middle + 1;
        else
            high = middle;
    }
    out[own + low] = x;
}

// One thread a row: insertion sort in a local array.
KERNEL sort_rows(const i16 *in, i16 *out, int rows)
{
    int row = global_index();
    if (row >= rows) return;
    i16 a[12];
    for (int j = 0; j < 12; j++) {
        i16 x = in[row * 12 + j];
        int k = j;
        while (k > 0 && a[k - 1] > x) {  // fault 4: uninitialized-read
            a[k] = a[k - 1];
            k--;
        }
        if (FAULT != 4 || j != 5) a[k] = x;
    }
    for (int j = 0; j < 12; j++) out[row * 12 + j] = a[FAULT == 4 ? (j + row) % 12 : j];
}

// Odd-even transposition in global memory by one block.
KERNEL sort_odd_even(double *keys, int n)
{
    for (int pass = 0; pass < n; pass++) {
        for (int i = 2 * threadIdx.x + (pass & 1); i + 1 < n; i += 2 * blockDim.x)
            if (keys[i] > keys[i + 1]) {  // fault 5: data-race
                double x = keys[i];
                keys[i] = keys[i + 1];  // fault 5: data-race
                keys[i + 1] = x;  // fault 5: data-race
            }
        if (FAULT != 5) __syncthreads();
    }
}
