// Threads that work together: votes, shuffles, locks, flags, barriers of their own.
#include "common.h"

// One atomic a warp for all the lanes that want a place; the order of places is free, the set is not.
KERNEL aggregated(const i32 *in, i32 *out, i32 *count, int n)
{
    int i = global_index(), lane = threadIdx.x % 32;
    if (i >= n || in[i] < 0) return;
    u32 active = __activemask();
    int leader = __ffs(active) - 1, base;
    if (lane == leader) base = atomicAdd(count, __popc(active));
    base = __shfl_sync(active, base, leader);
    out[base + __popc(active & ((1u << lane) - 1))] = in[i];
}

__device__ double add_by_cas(double *at, double x)
{
    u64 *bits = (u64 *)at, old = *bits, seen;
    do {
        seen = old;
        old = atomicCAS(bits, seen, __double_as_longlong(x + __longlong_as_double(seen)));
    } while (old != seen);
    return __longlong_as_double(old);
}

__device__ float max_by_cas(float *at, float x)
{
    int *bits = (int *)at, old = *bits;
    while (__int_as_float(old) < x) {
        int seen = old;
        old = atomicCAS(bits, seen, __float_as_int(x));
        if (old == seen) break;
    }
    return __int_as_float(old);
}

KERNEL loops_of_cas(const float *in, double *sum, float *most, int n)
{
    int i = global_index();
    if (i >= n) return;
    add_by_cas(sum, in[i]);
    max_by_cas(most, in[i]);
}

// A lock every thread of the grid takes: lanes of one warp wait for each other.
KERNEL locked(i32 *lock, i32 *value, int n)
{
    int i = global_index();
    if (i >= n) return;
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {  // fault 1: timeout
            __threadfence();
            i32 x = ((volatile i32 *)value)[0];
            ((volatile i32 *)value)[0] = x + i + 1;
            __threadfence();
            if (FAULT != 1) atomicExch(lock, 0);
            done = true;
        }
    }
}

// The same without a way out between tries: only independent threads get through.
KERNEL locked_hard(i32 *lock, i32 *value, int n)
{
    int i = global_index();
    if (i >= n) return;
    while (atomicCAS(lock, 0, 1) != 0) {
    }
    __threadfence();
    volatile i32 *now = value;
    now[0] = now[0] + i + 1;
    __threadfence();
    atomicExch(lock, 0);
}

// First come, first served: a ticket a thread, and a number that is called out.
KERNEL tickets(i32 *drawn, i32 *called, i32 *order, i32 *left)
{
    int mine = atomicAdd(drawn, 1);
    while (((volatile i32 *)called)[0] != mine)
        __nanosleep(8);  // fault 7: timeout
    __threadfence();
    order[mine] = *(volatile i32 *)left;
    *(volatile i32 *)left = order[mine] - 2;
    __threadfence();
    if (FAULT != 7) *(volatile i32 *)called = mine + 1;
}

// Warps hand a number on by flags in shared memory, the last one first.
KERNEL relay(const i32 *in, i32 *out)
{
    __shared__ volatile i32 number, turn;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (threadIdx.x == 0) {
        number = 0;
        turn = blockDim.x / 32 - 1;
    }
    __syncthreads();
    while (turn != warp) {
    }
    i32 x = in[threadIdx.x] + number;
    __syncwarp();
    if (lane == 31) {
        number = x;
        __threadfence_block();
        turn = warp - 1;
    }
    out[threadIdx.x] = x;
}

// Two warps by named barriers: one makes, the other takes, through a shared ring.
KERNEL producer_consumer(const i32 *in, i32 *out, int rounds)
{
    __shared__ i32 ring[2][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int k = 0; k < rounds; k++) {
        int slot = k & 1;
        if (warp == 0) {
            if (k >= 2) asm volatile("bar.sync %0, 64;" ::"r"(3 + slot) : "memory");
            ring[slot][lane] = 2 * in[32 * k + lane];
            if (FAULT != 2) asm volatile("bar.arrive %0, 64;" ::"r"(1 + slot) : "memory");
        } else {
            asm volatile("bar.sync %0, 64;" ::"r"(1 + slot) : "memory");  // fault 2: barrier-divergence
            out[32 * k + lane] = ring[slot][31 - lane] + 1;
            if (k + 2 < rounds) asm volatile("bar.arrive %0, 64;" ::"r"(3 + slot) : "memory");
        }
    }
}

// Every pair of lanes swaps by shared memory of the warp alone.
KERNEL warp_swap(const i32 *in, i32 *out)
{
    __shared__ i32 box[4][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, i = global_index();
    box[warp][lane] = in[i];
    if (FAULT != 3) __syncwarp();
    i32 x = box[warp][lane ^ 5];  // fault 3: data-race
    __syncwarp();
    box[warp][31 - lane] = x;
    __syncwarp();
    out[i] = box[warp][lane];
}

// All kinds of shuffles and votes at once.
KERNEL exchanges(const u32 *in, u32 *out, int n)
{
    int i = global_index(), lane = threadIdx.x % 32;
    u32 x = in[i % n], v[10];
    v[0] = __shfl_sync(ALL, x, x % 32);
    v[1] = __shfl_up_sync(ALL, x, 3);
    v[2] = __shfl_down_sync(ALL, x, 7, 16);
    v[3] = __shfl_xor_sync(ALL, x, 9);
    v[4] = __ballot_sync(ALL, x & 1);
    v[5] = __any_sync(ALL, x > 4000000000u) * 2 + __all_sync(ALL, x > 5);
    v[6] = __match_any_sync(ALL, x % 3);
    int same;
    v[7] = __match_all_sync(ALL, x / 4000000000u, &same) + same;
    v[8] = 0;
    if (lane % 3 == 0) v[8] = __ballot_sync(0x49249249, x & 2) + __reduce_add_sync(0x49249249, lane);
    v[9] = __popc(__activemask());
    for (int k = 0; k < 10; k++) out[k * gridDim.x * blockDim.x + i] = v[k];
}

// A message between blocks: data, fence, flag. The last ticket is the reader, so any order will do.
KERNEL message(i32 *data, i32 *flag, i32 *ticket, i32 *out)
{
    __shared__ int mine;
    if (threadIdx.x == 0) mine = atomicAdd(ticket, 1);
    __syncthreads();
    if (mine == 0) {
        data[threadIdx.x] = 3 * threadIdx.x;
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) atomicExch(flag, 1);
    } else if (mine == 1) {
        if (threadIdx.x == 0)
            while (atomicAdd(flag, 0) == 0) __nanosleep(20);
        __syncthreads();
        __threadfence();
        out[threadIdx.x] = ((volatile i32 *)data)[threadIdx.x] + 1;
    }
}

// A sum by a tree of threads' own barriers: every warp that is done leaves for good.
KERNEL warps_leave(const i32 *in, i32 *out, int n)
{
    __shared__ i32 part[128];
    int t = threadIdx.x;
    part[t] = t < n ? in[t] : 0;
    __syncthreads();
    for (int live = 64; live >= 32; live /= 2) {
        if (t >= live) return;
        part[t] += part[t + live];
        asm volatile("bar.sync 1, %0;" ::"r"(live) : "memory");
    }
    i32 x = part[t];
    for (int step = 16; step; step /= 2) x += __shfl_down_sync(ALL, x, step);
    if (t == 0) *out = x;
}

// A queue in shared memory that threads fill and drain by atomics: breadth first through a tree of n nodes.
KERNEL frontier(const int *parents_first, const int *children, i32 *depth, int n)
{
    __shared__ int queue[2][64], size[2];
    int t = threadIdx.x;
    if (t < 2) size[t] = t == 0;
    if (t == 0) {
        queue[0][0] = 0;
        depth[0] = 0;
    }
    __syncthreads();
    for (int level = 0; size[level & 1] > 0; level++) {
        int now = level & 1, next = now ^ 1;
        for (int k = t; k < size[now]; k += blockDim.x) {
            int node = queue[now][k];
            for (int c = parents_first[node]; c < parents_first[node + 1]; c++) {
                int child = children[c];
                depth[child] = level + 1;
                queue[next][atomicAdd(&size[next], 1)] = child;  // fault 4: out-of-bounds
            }
        }
        __syncthreads();
        if (t == 0 && FAULT != 4) size[now] = 0;
        __syncthreads();
    }
}

KERNEL half_of_a_barrier(i32 *out)
{
    __shared__ i32 x;
    if (threadIdx.x == 0) x = 7;
    if (FAULT == 5 && threadIdx.x >= 32)
        asm volatile("bar.sync 2, 64;" ::: "memory");  // fault 5: barrier-divergence
    else if (FAULT == 6)
        asm volatile("bar.sync 2, 96;" ::: "memory");  // fault 6: deadlock
    else
        __syncthreads();  // fault 5: barrier-divergence
    out[threadIdx.x] = x;
}
