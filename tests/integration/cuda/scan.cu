// Running sums: within warps, within blocks, over segments, over a whole array.
#include "common.h"

__device__ i32 warp_scan(i32 x)
{
    int lane = threadIdx.x % 32;
    for (int step = 1; step < 32; step *= 2) {
        i32 left = __shfl_up_sync(ALL, x, step);
        if (lane >= step) x += left;
    }
    return x;
}

KERNEL scan_warps(const i32 *in, i32 *out, int n)
{
    int i = global_index();
    i32 x = warp_scan(i < n ? in[i] : 0);
    if (i < n) out[i] = x;
}

// Exclusive, work-efficient (Blelloch): up and down a tree in shared memory. n is twice the block.
KERNEL scan_blelloch(const i32 *in, i32 *out)
{
    extern __shared__ i32 tree[];
    int t = threadIdx.x, n = 2 * blockDim.x;
    in += (i64)blockIdx.x * n;
    out += (i64)blockIdx.x * n;
    tree[2 * t] = in[2 * t];
    tree[2 * t + 1] = in[2 * t + 1];
    int step = 1;
    for (int half = n / 2; half > 0; half /= 2) {
        if (FAULT != 1) __syncthreads();
        if (t < half) {
            int a = step * (2 * t + 1) - 1, b = step * (2 * t + 2) - 1;
            tree[b] += tree[a];  // fault 1: data-race
        }
        step *= 2;
    }
    if (t == 0) tree[n - 1] = 0;
    for (int width = 1; width < n; width *= 2) {
        step /= 2;
        if (FAULT != 2) __syncthreads();
        if (t < width) {
            int a = step * (2 * t + 1) - 1, b = step * (2 * t + 2) - 1;
            i32 x = tree[a];  // fault 2: data-race
            tree[a] = tree[b];  // fault 2: data-race
            tree[b] += x;  // fault 2: data-race
        }
    }
    __syncthreads();
    out[2 * t] = tree[2 * t];
    out[2 * t + 1] = tree[2 * t + 1];
}

// Inclusive, step by step in two buffers (Hillis and Steele).
KERNEL scan_steps(const i64 *in, i64 *out, int n)
{
    extern __shared__ i64 both[];
    i64 *from = both, *to = both + n;
    int t = threadIdx.x;
    if (t < n) from[t] = in[t];
    __syncthreads();
    for (int step = 1; step < n; step *= 2) {
        if (t < n) to[t] = from[t] + (t >= step ? from[t - step] : 0);  // fault 3: data-race
        if (FAULT != 3) __syncthreads();
        i64 *other = from;
        from = to;
        to = other;
    }
    if (t < n) out[t] = from[FAULT == 4 ? t + n : t];  // fault 4: out-of-bounds
}

// Sums restart wherever a flag stands.
KERNEL scan_segments(const i32 *in, const u8 *flags, i32 *out, int n)
{
    __shared__ i32 sums[128];
    __shared__ int heads[128];
    int t = threadIdx.x;
    i32 x = t < n ? in[t] : 0;
    int head = t < n && flags[t] ? t : 0;
    sums[t] = x;
    heads[t] = head;
    __syncthreads();
    for (int step = 1; step < 128; step *= 2) {
        i32 left = 0;
        int before = 0;
        if (t >= step) {
            before = heads[t - step];
            if (head < t - step + 1) left = sums[t - step];
        }
        __syncthreads();
        x += left;
        head = max(head, before);
        sums[t] = x;
        heads[t] = head;
        __syncthreads();
    }
    if (t < n) out[t] = x;
}

// Over the whole array in one pass: every block waits for the sum its predecessor leaves behind.
// `state` is zero at first: a ticket, then a sum a block. A block's number is the ticket it draws, so any
// order of blocks will do.
KERNEL scan_lookback(const i32 *in, i32 *out, u64 *state, int n)
{
    u64 *sums = state + 1;
    __shared__ i32 warps[4], before;
    __shared__ int number;
    if (threadIdx.x == 0) number = (int)atomicAdd(state, 1ull);
    __syncthreads();
    int i = number * 128 + threadIdx.x, warp = threadIdx.x / 32;
    i32 x = warp_scan(i < n ? in[i] : 0);
    if (threadIdx.x % 32 == 31) warps[warp] = x;
    __syncthreads();
    for (int w = 0; w < warp; w++) x += warps[w];
    if (threadIdx.x == 127) {
        u64 found = 0;
        if (number > 0)
            do found = atomicAdd(&sums[number - 1], 0ull);
            while (!(found >> 32));
        before = (i32)found;
        atomicExch(&sums[number], 1ull << 32 | (u32)(before + x));
    }
    __syncthreads();
    if (i < n) out[i] = before + x;
}

// Keeps what is odd, in order: ranks by ballot in warps, by shared counts between them.
KERNEL compact(const i32 *in, i32 *out, i32 *kept, int n)
{
    __shared__ int counts[8];
    int t = threadIdx.x, lane = t % 32, warp = t / 32, base = 0;
    for (int start = 0; start < n; start += blockDim.x) {
        int i = start + t;
        bool keep = i < n && (in[i] & 1);
        u32 votes = __ballot_sync(ALL, keep);
        if (lane == 0) counts[warp] = __popc(votes);
        __syncthreads();
        int at = base;
        for (int w = 0; w < blockDim.x / 32; w++) {
            if (w < warp) at += counts[w];
            base += counts[w];
        }
        if (keep) out[at + __popc(votes & ((1u << lane) - 1))] = in[i];
        __syncthreads();
    }
    if (t == 0) *kept = base;
}
