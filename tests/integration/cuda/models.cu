// What learning machines are made of, and a few of physics.
#include <cuda_fp16.h>
#include "common.h"

template <typename F> __device__ float block_fold(float x, float start, F join)
{
    __shared__ float part[32];
    for (int step = 16; step; step /= 2) x = join(x, __shfl_xor_sync(ALL, x, step));
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;  // fault 1: data-race
    __syncthreads();
    x = start;
    for (int w = 0; w < blockDim.x / 32; w++) x = join(x, part[w]);
    if (FAULT != 1) __syncthreads();
    return x;
}

struct Add {
    __device__ float operator()(float a, float b) const { return a + b; }
};
struct Most {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// One row a block.
KERNEL softmax(const float *in, float *out, int columns)
{
    in += (i64)blockIdx.x * columns;
    out += (i64)blockIdx.x * columns;
    float most = -__int_as_float(0x7f800000), sum = 0;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) most = fmaxf(most, in[j]);
    most = block_fold(most, most, Most());
    for (int j = threadIdx.x; j < columns; j += blockDim.x) sum += expf(in[j] - most);
    sum = block_fold(sum, 0, Add());
    for (int j = threadIdx.x; j < columns; j += blockDim.x) out[j] = expf(in[j] - most) / sum;
}

KERNEL layer_norm(const float *in, const float *scale, const float *shift, float *out, float eps, int columns)
{
    in += (i64)blockIdx.x * columns;
    out += (i64)blockIdx.x * columns;
    float sum = 0, squares = 0;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) sum += in[j];
    float mean = block_fold(sum, 0, Add()) / columns;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) squares += (in[j] - mean) * (in[j] - mean);
    float rate = rsqrtf(block_fold(squares, 0, Add()) / columns + eps);
    for (int j = threadIdx.x; j < columns; j += blockDim.x) out[j] = (in[j] - mean) * rate * scale[j] + shift[j];
}

KERNEL gelu(const __half *in, __half *out, int n)
{
    int i = global_index();
    if (i >= n) return;
    float x = __half2float(in[i]);
    out[i] = __float2half_rn(0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x))));
}

// Rotary positions: pairs of a head turned by an angle of the position.
KERNEL rope(float *x, int positions, int size)
{
    int i = global_index(), half = size / 2;
    if (i >= positions * half) return;
    int position = i / half, k = i % half;
    float s, c;
    sincosf(position * powf(10000.0f, -2.0f * k / size), &s, &c);
    float *row = x + position * size, a = row[k], b = row[k + half];
    row[k] = a * c - b * s;
    row[k + half] = a * s + b * c;
}

// Attention with a causal mask, one warp a query, the softmax in one pass.
KERNEL attention(const float *q, const float *k, const float *v, float *out, int length, int size)
{
    int query = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (query >= length) return;
    float most = -__int_as_float(0x7f800000), sum = 0, mine = 0;
    for (int j = 0; j <= query; j++) {
        float dot = lane < size ? q[query * size + lane] * k[j * size + lane] : 0;
        for (int step = 16; step; step /= 2) dot += __shfl_xor_sync(ALL, dot, step);
        dot *= rsqrtf((float)size);
        float top = fmaxf(most, dot), keep = expf(most - top), weight = expf(dot - top);
        sum = sum * keep + weight;
        mine = mine * keep + (lane < size ? weight * v[j * size + lane] : 0);
        most = top;
    }
    if (lane < size) out[query * size + lane] = mine / sum;
}

KERNEL cross_entropy(const float *logits, const i64 *labels, double *loss, int rows, int classes)
{
    int row = global_index();
    if (row >= rows || labels[row] < 0) return;
    const float *x = logits + row * classes;
    float most = x[0], sum = 0;
    for (int j = 1; j < classes; j++) most = fmaxf(most, x[j]);
    for (int j = 0; j < classes; j++) sum += expf(x[j] - most);
    loss[row] = (double)most + logf(sum)
                - x[FAULT == 2 ? labels[row] + 1000 : labels[row]];  // fault 2: out-of-bounds
}

KERNEL adam(float *w, const float *g, float *m, float *v, float rate, float b1, float b2, float eps, int n)
{
    int i = global_index();
    if (i >= n) return;
    m[i] = b1 * m[i] + (1 - b1) * g[i];
    v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
    w[i] -= rate * m[i] / (sqrtf(v[i]) + eps);
}

// The nearest centre of every point, and the sums that the next centres are made of.
KERNEL kmeans(const float2 *points, const float2 *centres, int *nearest, i32 *counts, float *sums, int n, int k)
{
    extern __shared__ float2 near[];
    for (int c = threadIdx.x; c < k; c += blockDim.x) near[c] = centres[c];
    if (FAULT != 3) __syncthreads();
    int i = global_index();
    if (i >= n) return;
    float2 p = points[i];
    float best = 3e38f;
    int at = -1;
    for (int c = 0; c < k; c++) {
        float dx = p.x - near[c].x, dy = p.y - near[c].y, d = dx * dx + dy * dy;  // fault 3: data-race
        if (d < best) {
            best = d;
            at = c;
        }
    }
    nearest[i] = at;
    if (FAULT == 5)
        counts[at]++;  // fault 5: data-race
    else
        atomicAdd(&counts[at], 1);
    atomicAdd(&sums[2 * at], p.x);
    atomicAdd(&sums[2 * at + 1], p.y);
}

// Gravity between all, tile by tile through shared memory.
KERNEL gravity(const float4 *bodies, float4 *pull, int n)
{
    __shared__ float4 tile[64];
    int i = global_index(), t = threadIdx.x;
    float4 me = i < n ? bodies[i] : make_float4(0, 0, 0, 0);
    float ax = 0, ay = 0, az = 0;
    for (int start = 0; start < n; start += 64) {
        tile[t] = start + t < n ? bodies[start + t] : make_float4(0, 0, 0, 0);
        __syncthreads();
        for (int j = 0; j < 64; j++) {
            float dx = tile[j].x - me.x, dy = tile[j].y - me.y, dz = tile[j].z - me.z;
            float r = rsqrtf(dx * dx + dy * dy + dz * dz + 0.01f), f = tile[j].w * r * r * r;
            ax += f * dx;
            ay += f * dy;
            az += f * dz;
        }
        __syncthreads();
    }
    if (i < n) pull[i] = make_float4(ax, ay, az, 0);
}

// The distance of two texts by the wave front of Wagner and Fischer's table: a diagonal a step.
KERNEL edit_distance(const u8 *a, int na, const u8 *b, int nb, i32 *out)
{
    extern __shared__ i32 diagonals[];
    int width = na + 1;
    i32 *before = diagonals, *last = before + width, *now = last + width;
    for (int d = 0; d <= na + nb; d++) {
        int low = max(0, d - nb), high = min(na, d);
        for (int i = low + threadIdx.x; i <= high; i += blockDim.x) {
            int j = d - i;
            i32 best;
            if (i == 0 || j == 0)
                best = i + j;
            else
                best = min(min(last[i - 1], last[i]) + 1,
                           before[i - 1] + (a[i - 1] != b[j - 1]));  // fault 4: data-race
            now[i] = best;  // fault 4: data-race
        }
        if (FAULT != 4) __syncthreads();
        i32 *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    if (threadIdx.x == 0) *out = last[na];
}

// Prices of options by the closed formula.
KERNEL black_scholes(const double *spot, const double *strike, const double *years, double *call, double rate,
                     double sigma, int n)
{
    int i = global_index();
    if (i >= n) return;
    double s = spot[i], k = strike[i], t = years[i], spread = sigma * sqrt(t);
    double d = (log(s / k) + (rate + sigma * sigma / 2) * t) / spread;
    call[i] = s * normcdf(d) - k * exp(-rate * t) * normcdf(d - spread);
}

// Rows of a table picked by index, eight halves at a time.
KERNEL embed(const uint4 *table, const i32 *ids, uint4 *out, int count, int vectors)
{
    for (int i = global_index(); i < count * vectors; i += gridDim.x * blockDim.x)
        out[i] = table[(i64)ids[i / vectors] * vectors + i % vectors];
}
