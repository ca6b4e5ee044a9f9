// Matrices: products, transposes, small solvers.
#include "common.h"

KERNEL matmul_naive(const float *a, const float *b, float *c, int m, int n, int k)
{
    int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= m || column >= n) return;
    float sum = 0;
    for (int j = 0; j < k; j++) sum += a[row * k + j] * b[j * n + column];
    c[row * n + column] = sum;
}

#define TILE 8
template <typename T> __device__ void tiled(const T *a, const T *b, T *c, int m, int n, int k)
{
    __shared__ T ta[TILE][TILE], tb[TILE][TILE + 1];
    int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * TILE + y, column = blockIdx.x * TILE + x;
    T sum = 0;
    for (int t = 0; t < k; t += TILE) {
        if (FAULT != 4 || (row < m && t + x < k))
            ta[y][x] = row < m && (FAULT == 3 || t + x < k) ? a[row * k + t + x] : T(0);  // fault 3: out-of-bounds
        tb[y][x] = column < n && t + y < k  // fault 1: data-race
                       ? b[(t + y) * n + column]
                       : T(0);
        if (FAULT != 2) __syncthreads();
        for (int j = 0; j < TILE; j++)
            sum += ta[y][j] * tb[j][x];  // fault 1, 2: data-race; fault 4: uninitialized-read
        if (FAULT != 1) __syncthreads();
    }
    if (row < m && column < n) c[row * n + column] = sum;
}

KERNEL matmul_tiled_f32(const float *a, const float *b, float *c, int m, int n, int k) { tiled(a, b, c, m, n, k); }
KERNEL matmul_tiled_i64(const i64 *a, const i64 *b, i64 *c, int m, int n, int k) { tiled(a, b, c, m, n, k); }

// A block of 32 x 8 threads turns a tile of 32 x 32; the padding keeps columns in banks of their own.
template <typename T> __device__ void turned(const T *in, T *out, int rows, int columns)
{
    __shared__ T tile[32][33];
    int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8)
        if (x < columns && y + j < rows) tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * columns + x];
    __syncthreads();
    x = blockIdx.y * 32 + threadIdx.x;
    y = blockIdx.x * 32 + threadIdx.y;
    for (int j = 0; j < 32; j += 8)
        if (FAULT == 5 ? y + j < rows : x < rows && y + j < columns)
            out[(y + j) * rows + x] =
                tile[threadIdx.x][threadIdx.y + j];  // fault 5: uninitialized-read
}

KERNEL transpose_f32(const float *in, float *out, int rows, int columns) { turned(in, out, rows, columns); }
KERNEL transpose_u8(const u8 *in, u8 *out, int rows, int columns) { turned(in, out, rows, columns); }

// One warp a row.
KERNEL matvec_warps(const double *a, const double *x, double *y, int rows, int columns)
{
    int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    double sum = 0;
    for (int j = lane; j < columns; j += 32) sum += a[(i64)row * columns + j] * x[j];
    for (int step = 16; step; step /= 2) sum += __shfl_down_sync(ALL, sum, step);
    if (lane == 0) y[row] = sum;
}

// A 4 x 4 system a thread, Gaussian elimination with pivots in a local array.
KERNEL solve_small(const double *a, const double *b, double *x, int count)
{
    int i = global_index();
    if (i >= count) return;
    double m[4][5];
    for (int r = 0; r < 4; r++) {
        for (int c = 0; c < 4; c++) m[r][c] = a[16 * i + 4 * r + c];
        m[r][4] = b[4 * i + r];
    }
    for (int c = 0; c < 4; c++) {
        int pivot = c;
        for (int r = c + 1; r < 4; r++)
            if (fabs(m[r][c]) > fabs(m[pivot][c])) pivot = r;
        for (int j = c; j < 5; j++) {
            double other = m[pivot][j];
            m[pivot][j] = m[c][j];
            m[c][j] = other;
        }
        for (int r = 0; r < 4; r++)
            if (r != c) {
                double f = m[r][c] / m[c][c];
                for (int j = c; j < 5; j++) m[r][j] -= f * m[c][j];
            }
    }
    for (int r = 0; r < 4; r++) x[4 * i + r] = m[r][4] / m[r][r];
}

// Cholesky of one matrix by one block, in place, in shared memory: the lower triangle.
KERNEL cholesky(float *a, int n)
{
    extern __shared__ float s[];
    int t = threadIdx.x;
    for (int i = t; i < n * n; i += blockDim.x) s[i] = a[i];
    __syncthreads();
    for (int k = 0; k < n; k++) {
        if (t == 0) s[k * n + k] = sqrtf(s[k * n + k]);
        if (FAULT != 6) __syncthreads();
        for (int i = k + 1 + t; i < n; i += blockDim.x)
            s[i * n + k] /= s[k * n + k];  // fault 6: data-race
        __syncthreads();
        for (int i = k + 1 + t; i < n; i += blockDim.x)
            for (int j = k + 1; j <= i; j++) s[i * n + j] -= s[i * n + k] * s[j * n + k];
        __syncthreads();
    }
    for (int i = t; i < n * n; i += blockDim.x) a[i] = i % n <= i / n ? s[i] : 0;
}

// Compressed sparse rows, one thread a row.
KERNEL sparse_rows(const int *starts, const int *columns, const float *values, const float *x, float *y, int rows)
{
    int row = global_index();
    if (row >= rows) return;
    float sum = 0;
    for (int j = starts[row]; j < starts[row + 1]; j++)
        sum += values[j] * x[columns[j] + (FAULT == 7)];  // fault 7: out-of-bounds
    y[row] = sum;
}
