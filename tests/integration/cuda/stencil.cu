// options: -fmad=false
// Every element from its neighbours.
#include "common.h"

__constant__ float taps[9] = {0.0625f, -0.125f, 0.25f, 0.5f, 1.0f, 0.5f, 0.25f, -0.125f, 0.0625f};

// 1-D convolution from constant memory; what lies outside is 0.
KERNEL convolve(const float *in, float *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    float sum = 0;
    for (int k = 0; k < (FAULT == 1 ? 10 : 9); k++) {
        int at = i + k - 4;
        if (at >= 0 && at < n) sum += in[at] * taps[k];  // fault 1: out-of-bounds
    }
    out[i] = sum;
}

// Five points, a tile with a halo in shared memory; the edge is copied.
KERNEL heat(const float *in, float *out, int rows, int columns)
{
    __shared__ float tile[10][18];
    int x = threadIdx.x, y = threadIdx.y, c = blockIdx.x * 16 + x, r = blockIdx.y * 8 + y;
    int columns1 = min(c, columns - 1), rows1 = min(r, rows - 1);
    tile[y + 1][x + 1] = in[rows1 * columns + columns1];
    if (x == 0) tile[y + 1][0] = in[rows1 * columns + max(c - 1, FAULT == 3 ? -columns - 1 : 0)];  // fault 3: out-of-bounds
    if (x == 15 && FAULT != 2) tile[y + 1][17] = in[rows1 * columns + min(c + 1, columns - 1)];
    if (y == 0) tile[0][x + 1] = in[max(r - 1, 0) * columns + columns1];
    if (y == 7) tile[9][x + 1] = in[min(r + 1, rows - 1) * columns + columns1];
    __syncthreads();
    if (r >= rows || c >= columns) return;
    float middle = tile[y + 1][x + 1];
    if (r > 0 && r < rows - 1 && c > 0 && c < columns - 1)
        middle += 0.25f * (tile[y][x + 1] + tile[y + 2][x + 1] + tile[y + 1][x]  // fault 2: uninitialized-read
                           + tile[y + 1][x + 2] - 4 * middle);  // fault 2: uninitialized-read
    out[r * columns + c] = middle;
}

// Seven points in three dimensions, grid and block in three dimensions too.
KERNEL laplace(const double *in, double *out, int nx, int ny, int nz)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    int z = blockIdx.z * blockDim.z + threadIdx.z;
    if (x >= nx || y >= ny || z >= nz) return;
    i64 i = ((i64)z * ny + y) * nx + x, plane = (i64)nx * ny;
    double sum = -6 * in[i];
    sum += x > 0 ? in[i - 1] : 0;
    sum += x < nx - 1 ? in[i + 1] : 0;
    sum += y > 0 ? in[i - nx] : 0;
    sum += y < ny - 1 ? in[i + nx] : 0;
    sum += (FAULT == 4 ? true : z > 0) ? in[i - plane] : 0;  // fault 4: out-of-bounds
    sum += z < nz - 1 ? in[i + plane] : 0;
    out[i] = sum;
}

// Conway's life on a torus.
KERNEL life(const u8 *in, u8 *out, int rows, int columns)
{
    int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= columns || r >= rows) return;
    int alive = 0;
    for (int dr = -1; dr <= 1; dr++)
        for (int dc = -1; dc <= 1; dc++)
            if (dr || dc) alive += in[(r + dr + rows) % rows * columns + (c + dc + columns) % columns];
    out[r * columns + c] = alive == 3 || (alive == 2 && in[r * columns + c]);
}

// Median of nine, by a network of exchanges in registers.
__device__ void order(u8 &a, u8 &b)
{
    u8 low = min(a, b);
    b = max(a, b);
    a = low;
}
KERNEL median(const u8 *in, u8 *out, int rows, int columns)
{
    int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= columns || r >= rows) return;
    u8 v[9];
    for (int k = 0; k < 9; k++) {
        int y = min(max(r + k / 3 - 1, 0), rows - 1), x = min(max(c + k % 3 - 1, 0), columns - 1);
        v[k] = in[y * columns + x];
    }
#pragma unroll
    for (int i = 0; i < 5; i++)
#pragma unroll
        for (int j = 8; j > i; j--) order(v[j - 1], v[j]);
    out[r * columns + c] = v[4];
}

// Steps of a relaxation inside one launch: the block meets after each, and swaps its buffers.
KERNEL relax(double *both, int n, int steps)
{
    double *from = both, *to = both + n;
    for (int s = 0; s < steps; s++) {
        for (int i = threadIdx.x; i < n; i += blockDim.x)
            to[i] = i == 0 || i == n - 1 ? from[i] : (from[i - 1] + from[i + 1]) / 2;  // fault 5: data-race
        if (FAULT != 5) __syncthreads();
        double *other = from;
        from = to;
        to = other;
    }
}

// The greatest of the 2 w + 1 around, by a window in dynamic shared memory.
KERNEL dilate(const i16 *in, i16 *out, int n, int w)
{
    extern __shared__ i16 window[];
    int start = blockIdx.x * blockDim.x, size = blockDim.x + 2 * w;
    for (int k = threadIdx.x; k < size; k += blockDim.x) {
        int at = start + k - w;
        window[k] = at >= 0 && at < n ? in[at] : -32768;
    }
    __syncthreads();
    int i = start + threadIdx.x;
    if (i >= n) return;
    i16 best = -32768;
    for (int k = 0; k <= 2 * w; k++) best = max(best, window[threadIdx.x + k]);
    out[i] = best;
}
