/* Verified PTX kernels. NAME_find gives a kernel whose bytes are what was exported, or a null pointer. */
#ifndef GUARD_H
#define GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One launch. An argument is the address of a buffer (its number: inputs, output, then scratch), or, where
   `buffer` is -1, the 64-bit `value`. */
struct NAME_launch {
    const char *entry;
    unsigned grid[3], block[3];
    unsigned shared;
    int count;
    struct {
        int buffer;
        uint64_t value;
    } args[16];
};

/* A kernel. `extents` are the routine's, in the order of its documentation; align 0: an element's size. */
struct NAME_kernel {
    const char *routine, *dtype;
    const unsigned char *ptx; /* ends with a zero byte, as cuModuleLoadData wants it */
    size_t size;
    const char *sha256;
    int inputs, extents, scratch, launches;
    int align;
    int noalias; /* the output must not overlap an input */
    uint64_t (*bytes)(const int64_t *extents, int buffer);
    int (*plan)(const int64_t *extents, struct NAME_launch *to); /* room for `launches`; how many there are */
};

#ifndef LLMPTX_EXPRESSIONS
#define LLMPTX_EXPRESSIONS
static inline int64_t llmptx_ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
static inline int64_t llmptx_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t llmptx_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* SHA-256 (FIPS 180-4) of `size` bytes, in 64 hexadecimal digits and a zero byte. */
static inline void llmptx_sha256(const unsigned char *data, size_t size, char *to) {
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t blocks = (size + 8) / 64 + 1, block;
    int i, j;
    for (block = 0; block < blocks; block++) {
        uint32_t w[64], v[8];
        for (i = 0; i < 16; i++) {
            w[i] = 0;
            for (j = 0; j < 4; j++) {
                size_t at = block * 64 + (size_t)i * 4 + (size_t)j;
                uint32_t byte = at < size ? data[at] : at == size ? 0x80 : 0;
                if (block == blocks - 1 && i >= 14)
                    byte = (uint32_t)(((uint64_t)size * 8) >> (8 * (7 - ((i - 14) * 4 + j)))) & 0xff;
                w[i] = w[i] << 8 | byte;
            }
        }
#define LLMPTX_ROTATED(x, n) ((x) >> (n) | (x) << (32 - (n)))
        for (i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (LLMPTX_ROTATED(a, 7) ^ LLMPTX_ROTATED(a, 18) ^ a >> 3) + w[i - 7] +
                   (LLMPTX_ROTATED(b, 17) ^ LLMPTX_ROTATED(b, 19) ^ b >> 10);
        }
        for (i = 0; i < 8; i++) v[i] = h[i];
        for (i = 0; i < 64; i++) {
            uint32_t s1 = LLMPTX_ROTATED(v[4], 6) ^ LLMPTX_ROTATED(v[4], 11) ^ LLMPTX_ROTATED(v[4], 25);
            uint32_t s0 = LLMPTX_ROTATED(v[0], 2) ^ LLMPTX_ROTATED(v[0], 13) ^ LLMPTX_ROTATED(v[0], 22);
            uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
            uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            for (j = 7; j > 0; j--) v[j] = v[j - 1];
            v[4] += t1;
            v[0] = t1 + t2;
        }
#undef LLMPTX_ROTATED
        for (i = 0; i < 8; i++) h[i] += v[i];
    }
    for (i = 0; i < 64; i++) to[i] = "0123456789abcdef"[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    to[64] = 0;
}
#endif
