// Generators of random numbers, and what is done with them.
#include "common.h"

struct Four {
    u32 x[4];
};

__device__ Four philox(Four c, u32 key0, u32 key1)
{
    for (int round = 0; round < 10; round++) {
        u64 a = (u64)0xD2511F53u * c.x[0], b = (u64)0xCD9E8D57u * c.x[2];
        c = {{(u32)(b >> 32) ^ c.x[1] ^ key0, (u32)b, (u32)(a >> 32) ^ c.x[3] ^ key1, (u32)a}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

// Philox4x32-10: four numbers a thread from its index and a key.
KERNEL philox_fill(u32 *out, u64 key, u64 first, int n)
{
    int i = global_index();
    u64 counter = first + i;
    Four four = philox({{(u32)counter, (u32)(counter >> 32), 0, 0}}, (u32)key, (u32)(key >> 32));
    for (int k = 0; k < 4; k++)
        if (4 * i + k < n) out[4 * i + k] = four.x[k];
}

// Box and Muller on philox: pairs of normal deviates.
KERNEL philox_normal(float2 *out, u64 key, int n)
{
    int i = global_index();
    if (i >= n) return;
    Four four = philox({{(u32)i, 0, 0, 0}}, (u32)key, (u32)(key >> 32));
    float u = (four.x[0] + 0.5f) * 2.3283064e-10f, radius = sqrtf(-2 * logf(u)), s, c;
    sincospif(four.x[1] * 4.656613e-10f, &s, &c);
    out[i] = make_float2(radius * s, radius * c);
}

__device__ u32 xorshift(u32 &s)
{
    s ^= s << 13;
    s ^= s >> 17;
    s ^= s << 5;
    return s;
}

// Points in a quarter circle: every thread its own stream, counts by warp and atomic.
KERNEL count_inside(const u32 *seeds, u32 *inside, int tries, int n)
{
    int i = global_index();
    u32 count = 0, s = i < n ? seeds[i] : 0;
    if (i < n)
        for (int k = 0; k < tries; k++) {
            u64 x = xorshift(s) >> 1, y = xorshift(s) >> 1;
            count += (x * x + y * y) >> 62 == 0;
        }
    count = __reduce_add_sync(ALL, count);
    if (threadIdx.x % 32 == 0) atomicAdd(inside, count);
}

// PCG32, jumped ahead by each thread to its part of one sequence.
KERNEL pcg_jump(u32 *out, u64 state, u64 sequence, int n)
{
    int i = global_index();
    if (i >= n) return;
    u64 multiplier = 6364136223846793005ull, increment = sequence << 1 | 1, m = 1, a = 0;
    for (u32 steps = i; steps; steps >>= 1) {
        if (steps & 1) {
            m *= multiplier;
            a = a * multiplier + increment;
        }
        increment = (multiplier + 1) * increment;
        multiplier *= multiplier;
    }
    u64 s = m * state + a;
    u32 word = (u32)((s >> 18 ^ s) >> 27), turn = (u32)(s >> 59);
    out[i] = word >> turn | word << (-turn & 31);
}

// Fisher and Yates on a row a thread, in place; rejection makes the number of draws differ.
KERNEL shuffle_rows(u8 *rows, const u32 *seeds, int count)
{
    int r = global_index();
    if (r >= count) return;
    u32 s = seeds[r];
    u8 *row = rows + 16 * r;
    for (int j = 15; j > 0; j--) {
        u32 k;
        do k = xorshift(s) & 15;
        while (k > j);
        u8 x = row[j];
        row[j] = row[k];
        row[k] = x;
    }
}
