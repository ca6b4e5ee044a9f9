/* The algorithms of kernels.cu as loops over the same data, for the C compiler to make vectors of. */
#include <math.h>
#include <string.h>

void saxpy(int n, float a, const float *restrict x, const float *restrict y, float *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = a * x[i] + y[i];
}

void block_sum(int n, const float *restrict x, float *restrict out)
{
    float part[256];
    for (int block = 0; block < n / 256; block++) {
        memcpy(part, x + block * 256, sizeof part);
        for (int s = 128; s > 0; s >>= 1)
            for (int t = 0; t < s; t++) part[t] += part[t + s];
        out[block] = part[0];
    }
}

/* Nobody stores a NaN here, so that this is fmaxf. */
static inline float greater(float a, float b) { return a > b ? a : b; }

void block_max(int n, const float *restrict x, float *restrict out)
{
    float part[256];
    for (int block = 0; block < n / 4096; block++) {
        const float *from = x + block * 4096;
        memcpy(part, from, sizeof part);
        for (int i = 256; i < 4096; i += 256)
            for (int t = 0; t < 256; t++) part[t] = greater(part[t], from[i + t]);
        for (int s = 128; s > 0; s >>= 1)
            for (int t = 0; t < s; t++) part[t] = greater(part[t], part[t + s]);
        out[block] = part[0];
    }
}

void block_scan(int n, const float *restrict x, float *restrict out)
{
    float part[2][256];
    for (int block = 0; block < n / 256; block++) {
        int from = 0;
        memcpy(part[0], x + block * 256, sizeof part[0]);
        for (int s = 1; s < 256; s <<= 1, from ^= 1) {
            const float *old = part[from];
            float *new = part[from ^ 1];
            for (int t = 0; t < s; t++) new[t] = old[t];
            for (int t = s; t < 256; t++) new[t] = old[t] + old[t - s];
        }
        memcpy(out + block * 256, part[from], sizeof part[0]);
    }
}

/* By the steps of the shuffles: each 32, then their sums. */
void shuffle_scan(int n, const float *restrict x, float *restrict out)
{
    for (int block = 0; block < n / 256; block++) {
        const float *from = x + block * 256;
        float *to = out + block * 256;
        for (int warp = 0; warp < 8; warp++) {
            float v[32], w[32];
            memcpy(v, from + warp * 32, sizeof v);
            for (int s = 1; s < 32; s <<= 1) {
                memcpy(w, v, sizeof v);
                for (int t = s; t < 32; t++) v[t] = w[t] + w[t - s];
            }
            memcpy(to + warp * 32, v, sizeof v);
        }
        float base = 0;
        for (int warp = 0; warp < 8; warp++) {
            float sum = to[warp * 32 + 31];
            for (int t = 0; t < 32; t++) to[warp * 32 + t] += base;
            base += sum;
        }
    }
}

void matmul(const float *restrict a, const float *restrict b, float *restrict c, int n)
{
    memset(c, 0, sizeof(float) * n * n);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
}

void matmul_tiled(const float *restrict a, const float *restrict b, float *restrict c, int n)
{
    static _Thread_local float left[32][32], right[32][32], sum[32][32];
    for (int row = 0; row < n; row += 32)
        for (int column = 0; column < n; column += 32) {
            memset(sum, 0, sizeof sum);
            for (int tile = 0; tile < n; tile += 32) {
                for (int y = 0; y < 32; y++) {
                    memcpy(left[y], a + (row + y) * n + tile, sizeof left[y]);
                    memcpy(right[y], b + (tile + y) * n + column, sizeof right[y]);
                }
                for (int y = 0; y < 32; y++)
                    for (int k = 0; k < 32; k++)
                        for (int x = 0; x < 32; x++) sum[y][x] += left[y][k] * right[k][x];
            }
            for (int y = 0; y < 32; y++) memcpy(c + (row + y) * n + column, sum[y], sizeof sum[y]);
        }
}

void stencil(const float *restrict in, float *restrict out, int rows, int columns)
{
    memcpy(out, in, sizeof(float) * columns);
    memcpy(out + (rows - 1) * columns, in + (rows - 1) * columns, sizeof(float) * columns);
    for (int r = 1; r < rows - 1; r++) {
        const float *at = in + r * columns;
        float *to = out + r * columns;
        to[0] = at[0];
        to[columns - 1] = at[columns - 1];
        for (int c = 1; c < columns - 1; c++)
            to[c] = at[c] + 0.25f * (at[c - columns] + at[c + columns] + at[c - 1] + at[c + 1] - 4 * at[c]);
    }
}
