// Many values to one: by trees in shared memory, by shuffles, by atomics.
#include "common.h"

// One sum a block, of a fixed block of 128 threads.
KERNEL sum_shared(const i32 *in, i32 *out, int n)
{
    __shared__ i32 part[128];
    int t = threadIdx.x, i = global_index();
    if (FAULT != 1 || i < n)
        part[t] = i < n ? in[i] : 0;  // fault 2: data-race
    if (FAULT != 2) __syncthreads();
    for (int half = 64; FAULT == 3 ? half >= 0 : half > 0; half /= 2) {
        if (t < half) {
            int other = FAULT == 4 ? t + half + 64 : t + half;
            part[t] += part[other];  // fault 1: uninitialized-read; fault 2, 6: data-race; fault 4: out-of-bounds
            if (FAULT == 5) __syncthreads();  // fault 5: barrier-divergence
        }
        if (FAULT != 5 && FAULT != 6) __syncthreads();  // fault 3: timeout
    }
    if (t == 0) out[blockIdx.x] = part[0];
}

// The same in dynamic shared memory, for any block of a power of two; sums the pieces too.
KERNEL sum_dynamic(const double *in, double *out, int n)
{
    extern __shared__ double pieces[];
    double sum = 0;
    for (int i = global_index(); i < n; i += gridDim.x * blockDim.x) sum += in[i];
    pieces[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x >> 1; half; half >>= 1) {
        if (threadIdx.x < half) pieces[threadIdx.x] += pieces[threadIdx.x + half];
        __syncthreads();
    }
    if (!threadIdx.x) out[blockIdx.x] = pieces[FAULT == 7 ? blockDim.x : 0];  // fault 7: out-of-bounds
}

__device__ float warp_sum(float x)
{
    for (int step = 16; step; step /= 2) x += __shfl_xor_sync(ALL, x, step);
    return x;
}

// Shuffles within warps, shared memory between them, an atomic between blocks.
KERNEL sum_shuffle(const float *in, float *out, int n)
{
    __shared__ float part[32];
    float x = 0;
    for (int i = global_index(); i < n; i += gridDim.x * blockDim.x) x += in[i];
    if (FAULT != 11 || threadIdx.x < 20) x = warp_sum(x);  // fault 11: invalid-shuffle
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;  // fault 8: data-race
    if (FAULT != 8) __syncthreads();
    if (threadIdx.x < 32) {
        int warps = (blockDim.x + 31) / 32;
        x = warp_sum(threadIdx.x < warps ? part[threadIdx.x] : 0);  // fault 8: data-race
        if (threadIdx.x == 0) atomicAdd(out, x);
    }
}

struct Best {
    float value;
    int at;
};

__device__ Best better(Best a, Best b) { return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a; }

// One row a block: the greatest value and where it is first.
KERNEL argmax_rows(const float *in, float *values, i64 *places, int columns)
{
    __shared__ Best best[64];
    Best mine = {-__int_as_float(0x7f800000), 0x7fffffff};
    for (int j = threadIdx.x; j < columns; j += blockDim.x)
        mine = better(mine, {in[(i64)blockIdx.x * columns + j], j});
    for (int step = 16; step; step /= 2)
        mine = better(mine, {__shfl_down_sync(ALL, mine.value, step), __shfl_down_sync(ALL, mine.at, step)});
    if (threadIdx.x % 32 == 0) best[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < blockDim.x / 32; w++) mine = better(mine, best[w]);
        values[blockIdx.x] = mine.value;
        places[blockIdx.x] = mine.at;
    }
}

__device__ u32 blocks_done;

// The last block to finish sums what the others left: fence, ticket, and a flag in shared memory.
KERNEL sum_last_block(const i32 *in, i64 *parts, i64 *out, int n)
{
    __shared__ i64 warps[8];
    __shared__ bool last;
    i64 x = 0;
    for (int i = global_index(); i < n; i += gridDim.x * blockDim.x) x += in[i];
    for (int step = 16; step; step /= 2) x += __shfl_down_sync(ALL, x, step);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
    __syncthreads();
    if (threadIdx.x == 0) {
        x = 0;
        for (int w = 0; w < blockDim.x / 32; w++) x += warps[w];
        parts[blockIdx.x] = x;
        __threadfence();
        if (FAULT == 10)
            last = blockIdx.x == gridDim.x - 1;
        else
            last = atomicInc(&blocks_done, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        i64 sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum += ((volatile i64 *)parts)[b];  // fault 10: data-race
        *out = sum;
    }
}

// Least, greatest, and the bits that all and that any have, by warp instructions.
KERNEL warp_reduce(const u32 *in, u32 *out, int n)
{
    int i = global_index(), warp = i / 32;
    u32 x = i < n ? in[i] : in[0];
    u32 least = __reduce_min_sync(ALL, x), most = __reduce_max_sync(ALL, x);
    u32 all = __reduce_and_sync(ALL, x), any = __reduce_or_sync(ALL, x), odd = __reduce_xor_sync(ALL, x);
    u32 sum = __reduce_add_sync(ALL, i < n ? x : 0);
    if (threadIdx.x % 32 == 0) {
        u32 values[6] = {least, most, all, any, odd, sum};
        for (int k = 0; k < 6; k++) out[6 * warp + k] = values[k];
    }
}

// How many, whether all and whether any are positive: barriers that reduce.
KERNEL counted(const i32 *in, i32 *out, int n)
{
    int i = global_index();
    i32 x = i < n ? in[i] : 1;
    int count = __syncthreads_count(i < n && x > 0);
    int all = __syncthreads_and(x > 0), any = __syncthreads_or(x > 5);
    if (threadIdx.x == 0) {
        out[3 * blockIdx.x] = count;
        out[3 * blockIdx.x + 1] = all != 0;
        out[3 * blockIdx.x + 2] = any != 0;
    }
}

// Kahan's sum by one thread a row: order matters, and no compiler may reassociate.
KERNEL kahan_rows(const float *in, float *out, int rows, int columns)
{
    int row = global_index();
    if (row >= rows) return;
    float sum = 0, lost = 0;
    for (int j = 0; j < columns; j++) {
        float y = in[row * columns + j] - lost, t = sum + y;
        lost = (t - sum) - y;
        sum = t;
    }
    out[row] = sum;
}

// Two maxima with one scratch array: the barrier between them matters.
KERNEL range_twice(const i32 *in, i32 *out, int n)
{
    __shared__ i32 part[64];
    int t = threadIdx.x;
    for (int pass = 0; pass < 2; pass++) {
        i32 best = -2147483647;
        for (int j = t; j < n; j += 64) best = max(best, pass ? -in[j] : in[j]);
        part[t] = best;  // fault 9: data-race
        __syncthreads();
        best = part[0];
        for (int j = 1; j < 64; j++) best = max(best, part[j]);
        if (t == 0) out[pass] = pass ? -best : best;
        if (FAULT != 9) __syncthreads();
    }
}
