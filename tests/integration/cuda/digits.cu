// Hashes, checksums and long numbers: integers to the last bit.
#include "common.h"

__constant__ u32 round_keys[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

__device__ u32 turned(u32 x, int by) { return __funnelshift_r(x, x, by); }

// SHA-256 of one message a thread; `in` holds padded messages of `chunks` blocks of 64 bytes.
KERNEL sha256(const u32 *in, u32 *out, int chunks, int count)
{
    int t = global_index();
    if (t >= count) return;
    u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (int chunk = 0; chunk < chunks; chunk++) {
        u32 w[16], v[8];
        for (int k = 0; k < 16; k++) w[k] = __byte_perm(in[(t * chunks + chunk) * 16 + k], 0, 0x0123);
        for (int k = 0; k < 8; k++) v[k] = h[k];
#pragma unroll 1
        for (int k = 0; k < 64; k++) {
            u32 word = w[k & 15];
            u32 s1 = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
            u32 t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + round_keys[k] + word;
            u32 s0 = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
            u32 t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            u32 a = w[(k + 1) & 15], b = w[(k + 14) & 15];
            w[k & 15] += (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[(k + 9) & 15]
                         + (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
            for (int j = 7; j > 0; j--) v[j] = v[j - 1];
            v[4] += t1;
            v[0] = t1 + t2;
        }
        for (int k = 0; k < 8; k++) h[k] += v[k];
    }
    for (int k = 0; k < 8; k++) out[8 * t + k] = __byte_perm(h[k], 0, 0x0123);
}

// CRC-32 of one text a thread, by a table the block makes.
KERNEL crc32(const u8 *in, u32 *out, int length, int count)
{
    __shared__ u32 table[256];
    for (int k = threadIdx.x; k < 256; k += blockDim.x) {
        u32 c = k;
        for (int b = 0; b < 8; b++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
        table[k] = c;
    }
    if (FAULT != 1) __syncthreads();
    int t = global_index();
    if (t >= count) return;
    u32 crc = ALL;
    for (int k = 0; k < length; k++)
        crc = crc >> 8 ^ table[(crc ^ in[t * length + k]) & 255];  // fault 1: data-race
    out[t] = ~crc;
}

KERNEL murmur(const u32 *in, u32 *out, u32 seed, int words, int count)
{
    int t = global_index();
    if (t >= count) return;
    u32 h = seed;
    for (int k = 0; k < words; k++) {
        u32 x = in[t * words + k] * 0xcc9e2d51u;
        x = (x << 15 | x >> 17) * 0x1b873593u;
        h ^= x;
        h = (h << 13 | h >> 19) * 5 + 0xe6546b64u;
    }
    h ^= 4 * words;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    out[t] = h ^ h >> 16;
}

// Sums and differences of numbers of 256 bits, by chains of carries.
KERNEL add_long(const u32 *a, const u32 *b, u32 *sum, u32 *difference, int count)
{
    int t = global_index();
    if (t >= count) return;
    const u32 *x = a + 8 * t, *y = b + 8 * t;
    u32 s[9], d[9];
    asm("add.cc.u32 %0, %9, %17;\n\t"
        "addc.cc.u32 %1, %10, %18;\n\t"
        "addc.cc.u32 %2, %11, %19;\n\t"
        "addc.cc.u32 %3, %12, %20;\n\t"
        "addc.cc.u32 %4, %13, %21;\n\t"
        "addc.cc.u32 %5, %14, %22;\n\t"
        "addc.cc.u32 %6, %15, %23;\n\t"
        "addc.cc.u32 %7, %16, %24;\n\t"
        "addc.u32 %8, 0, 0;"
        : "=r"(s[0]), "=r"(s[1]), "=r"(s[2]), "=r"(s[3]), "=r"(s[4]), "=r"(s[5]), "=r"(s[6]), "=r"(s[7]), "=r"(s[8])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]), "r"(x[6]), "r"(x[7]), "r"(y[0]),
          "r"(y[1]), "r"(y[2]), "r"(y[3]), "r"(y[4]), "r"(y[5]), "r"(y[6]), "r"(y[7]));
    asm("sub.cc.u32 %0, %9, %17;\n\t"
        "subc.cc.u32 %1, %10, %18;\n\t"
        "subc.cc.u32 %2, %11, %19;\n\t"
        "subc.cc.u32 %3, %12, %20;\n\t"
        "subc.cc.u32 %4, %13, %21;\n\t"
        "subc.cc.u32 %5, %14, %22;\n\t"
        "subc.cc.u32 %6, %15, %23;\n\t"
        "subc.cc.u32 %7, %16, %24;\n\t"
        "subc.u32 %8, 0, 0;"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]), "=r"(d[4]), "=r"(d[5]), "=r"(d[6]), "=r"(d[7]), "=r"(d[8])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]), "r"(x[6]), "r"(x[7]), "r"(y[0]),
          "r"(y[1]), "r"(y[2]), "r"(y[3]), "r"(y[4]), "r"(y[5]), "r"(y[6]), "r"(y[7]));
    for (int k = 0; k < 9; k++) {
        sum[9 * t + k] = s[k];
        difference[9 * t + k] = d[k];
    }
}

// Products of 256 bits by 256 bits, row by row with mad.lo.cc and madc.hi.
KERNEL multiply_long(const u32 *a, const u32 *b, u32 *out, int count)
{
    int t = global_index();
    if (t >= count) return;
    u32 r[16];
    for (int k = 0; k < 16; k++) r[k] = 0;
    for (int i = 0; i < 8; i++) {
        u32 x = a[8 * t + i], carry = 0;
        for (int j = 0; j < 8; j++) {
            u32 y = b[8 * t + j], high;
            asm("mad.lo.cc.u32 %0, %2, %3, %0;\n\t"
                "madc.hi.u32 %1, %2, %3, 0;"
                : "+r"(r[i + j]), "=r"(high)
                : "r"(x), "r"(y));
            asm("add.cc.u32 %0, %0, %2;\n\t"
                "addc.u32 %1, %1, 0;"
                : "+r"(r[i + j]), "+r"(high)
                : "r"(carry));
            carry = high;
        }
        r[i + 8] = carry;
    }
    for (int k = 0; k < 16; k++) out[16 * t + k] = r[k];
}

// Montgomery's way to x^e mod m for 64-bit odd m.
KERNEL power_mod(const u64 *base, const u64 *modulus, u64 *out, u32 exponent, int n)
{
    int i = global_index();
    if (i >= n) return;
    u64 m = modulus[i], inverse = m;
    for (int k = 0; k < 5; k++) inverse *= 2 - m * inverse;
    u64 one = -m % m, x = base[i] % m, power = 0;
    for (int k = 0; k < 64; k++) {  // x * 2^64 mod m, by doubling
        u64 doubled = x + x;
        x = x >= m - x ? doubled - m : doubled;
    }
    power = one;
    for (u32 e = exponent; e; e >>= 1) {
        for (int square = 0; square < 2; square++) {
            if (!square && !(e & 1)) continue;
            u64 a = square ? x : power, low = a * x, high = __umul64hi(a, x);
            u64 q = low * inverse, subtract = __umul64hi(q, m);
            u64 r = high - subtract + (high < subtract ? m : 0);
            if (square)
                x = r;
            else
                power = r;
        }
    }
    u64 q = power * inverse, subtract = __umul64hi(q, m);
    out[i] = subtract ? m - subtract : 0;
}
