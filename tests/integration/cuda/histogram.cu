// Counting by atomics: in shared memory, a copy a warp, straight to global memory.
#include "common.h"

KERNEL histogram_shared(const u8 *in, u32 *out, int n)
{
    __shared__ u32 bins[256];
    if (FAULT != 1)
        for (int k = threadIdx.x; k < 256; k += blockDim.x) bins[k] = 0;  // fault 2: data-race
    if (FAULT != 2) __syncthreads();
    for (int i = global_index(); i < n; i += gridDim.x * blockDim.x) {
        int bin = in[i] + (FAULT == 3 ? 1 : 0);
        if (FAULT == 4)
            bins[bin]++;  // fault 4: data-race
        else
            atomicAdd(&bins[bin], 1u);  // fault 1: uninitialized-read; fault 2: data-race; fault 3: out-of-bounds
    }
    if (FAULT != 5) __syncthreads();
    for (int k = threadIdx.x; k < 256; k += blockDim.x)
        if (bins[k]) atomicAdd(&out[k], bins[k]);  // fault 5: data-race
}

// A private histogram a warp, of 16 bins; lanes of the same bin add as one.
KERNEL histogram_warps(const u32 *in, u64 *out, int n)
{
    __shared__ u32 bins[4][16];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < 16) bins[warp][lane] = 0;
    __syncwarp();
    for (int start = blockIdx.x * blockDim.x; start < n; start += gridDim.x * blockDim.x) {
        int i = start + threadIdx.x;
        if (i < n) {
            u32 bin = in[i] % 16;
            u32 peers = __match_any_sync(__activemask(), bin);
            if (lane == __ffs(peers) - 1) bins[warp][bin] += __popc(peers);
        }
        __syncwarp();
    }
    __syncthreads();
    if (threadIdx.x < 16) {
        u64 sum = 0;
        for (int w = 0; w < 4; w++) sum += bins[w][threadIdx.x];
        atomicAdd(&out[threadIdx.x], sum);
    }
}

// Bins of unequal width by binary search, counted in global memory.
KERNEL histogram_edges(const float *in, const float *edges, int bins, i32 *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    float x = in[i];
    if (!(x >= edges[0] && x < edges[bins])) return;
    int low = 0, high = bins;
    while (high - low > 1) {
        int middle = (low + high) >> 1;
        if (x < edges[middle])
            high = middle;
        else
            low = middle;
    }
    atomicAdd(out + low, 1);
}

// Least, greatest, the bits seen and how often, by every kind of atomic.
KERNEL atomics(const i32 *in, i32 *out, u64 *wide, int n)
{
    int i = global_index();
    if (i >= n) return;
    i32 x = in[i];
    atomicMin(&out[0], x);
    atomicMax(&out[1], x);
    atomicAnd(&out[2], x);
    atomicOr(&out[3], x);
    atomicXor(&out[4], x);
    atomicInc((u32 *)&out[5], 6u);
    atomicDec((u32 *)&out[6], 9u);
    atomicSub(&out[7], x);
    atomicMax(&wide[0], (u64)(u32)x * 3);
    atomicMin(&wide[1], (u64)(u32)x * 5);
    atomicAdd(&wide[2], (u64)(i64)x);
}
