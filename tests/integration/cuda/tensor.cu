// Tensor cores: products by the wmma interface and by mma.sync, with asynchronous copies into shared memory.
#include "common.h"
#include <cuda_fp16.h>
#include <mma.h>

namespace wmma = nvcuda::wmma;

// One warp a 16 x 16 tile of c; m, n, k are multiples of 16.
KERNEL wmma_half(const half *a, const half *b, float *c, int m, int n, int k)
{
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    int row = blockIdx.y * 16, column = blockIdx.x * 16;
    wmma::fill_fragment(fc, 0.0f);
    for (int j = 0; j < k; j += 16) {
        wmma::load_matrix_sync(fa, a + row * k + j, k);
        wmma::load_matrix_sync(fb, b + column * k + j, k);
        wmma::mma_sync(fc, fa, fb, fc);
    }
    for (int i = 0; i < fc.num_elements; i++) fc.x[i] = 2 * fc.x[i] + 1;
    wmma::store_matrix_sync(c + row * n + column, fc, n, wmma::mem_row_major);
}

KERNEL wmma_bytes(const signed char *a, const signed char *b, int *c)
{
    __shared__ __align__(32) signed char sa[8 * 16], sb[16 * 32];
    for (int i = threadIdx.x; i < 8 * 16; i += 32) sa[i] = a[i];
    for (int i = threadIdx.x; i < 16 * 32; i += 32) sb[i] = b[i];
    __syncwarp();
    wmma::fragment<wmma::matrix_a, 8, 32, 16, signed char, wmma::col_major> fa;
    wmma::fragment<wmma::matrix_b, 8, 32, 16, signed char, wmma::row_major> fb;
    wmma::fragment<wmma::accumulator, 8, 32, 16, int> fc;
    wmma::load_matrix_sync(fa, sa, 8);
    wmma::load_matrix_sync(fb, sb, 32);
    wmma::load_matrix_sync(fc, c, 8, wmma::mem_col_major);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 8, wmma::mem_col_major);
}

// c = a b: 32 x 32 of c a block of four warps, 16 of k a step, two steps of it in shared memory.
#define PITCH 24
__device__ void fetch(half (*to)[PITCH], const half *from, int pitch, int row, int column, int rows)
{
    // 32 x 16 (a) or 16 x 32 (b) halves, 8 a thread; what lies outside is zeros
    int t = threadIdx.x;
    if (t >= 64) return;
    int y = t / 2, x = t % 2 * 8;
    unsigned where = (unsigned)__cvta_generic_to_shared(&to[y][x]);
    int bytes = row + y < rows ? 16 : 0;
    const half *source = from + (bytes ? (row + y) * pitch + column + x : 0);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(where), "l"(source), "r"(bytes) : "memory");
}

__device__ unsigned shared_of(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

KERNEL mma_pipelined(const half *a, const half *bt, float *c, int m, int n, int k)
{
    __shared__ __align__(16) half sa[2][32][PITCH], sb[2][32][PITCH];
    int row = blockIdx.y * 32, column = blockIdx.x * 32;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int wy = warp / 2 * 16, wx = warp % 2 * 16;
    float d[2][4] = {};
    fetch(sa[0], a, k, row, 0, m);
    fetch(sb[0], bt, k, column, 0, n);
    asm volatile("cp.async.commit_group;" ::: "memory");
    for (int j = 0; j < k; j += 16) {
        int now = j / 16 % 2;
        if (j + 16 < k) {
            fetch(sa[1 - now], a, k, row, j + 16, m);
            fetch(sb[1 - now], bt, k, column, j + 16, n);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
        if (FAULT != 1) asm volatile("cp.async.wait_group 1;" ::: "memory");
        if (FAULT != 2) __syncthreads();
        unsigned fa[4], fb[4];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"  // fault 1: uninitialized-read
                     : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                     : "r"(shared_of(&sa[now][wy + lane % 16][lane / 16 * 8])) : "memory");
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"  // fault 2: data-race
                     : "=r"(fb[0]), "=r"(fb[1]), "=r"(fb[2]), "=r"(fb[3])
                     : "r"(shared_of(&sb[now][wx + lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8])) : "memory");
        for (int i = 0; i < 2; i++)
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                         "{%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
                         : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[2 * i]), "r"(fb[2 * i + 1]));
        __syncthreads();
    }
    for (int i = 0; i < 2; i++)
        for (int e = 0; e < 4; e++) {
            int y = row + wy + lane / 4 + e / 2 * 8, x = column + wx + 8 * i + lane % 4 * 2 + e % 2;
            if (y < m && x < n) c[y * n + x] = d[i][e];
        }
}
