// The kernels of benchmarks/engine.py. kernels.ptx is this, by: nvcc -ptx -arch=sm_80 kernels.cu
#define KERNEL extern "C" __global__ void

KERNEL saxpy(int n, float a, const float *x, const float *y, float *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = a * x[i] + y[i];
}

KERNEL expf_each(int n, const float *x, float *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = expf(x[i]);
}

KERNEL sinf_each(int n, const float *x, float *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = sinf(x[i]);
}

// One sum a block of 256, by halving in shared memory.
KERNEL block_sum(const float *x, float *out)
{
    __shared__ float part[256];
    int t = threadIdx.x;
    part[t] = x[blockIdx.x * 256 + t];
    __syncthreads();
    for (int s = 128; s > 0; s >>= 1) {
        if (t < s) part[t] += part[t + s];
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = part[0];
}

// The same for the greatest; 16 elements a thread first, neighbours to neighbours.
KERNEL block_max(const float *x, float *out)
{
    __shared__ float part[256];
    int t = threadIdx.x;
    float best = x[blockIdx.x * 4096 + t];
    for (int i = 256; i < 4096; i += 256) best = fmaxf(best, x[blockIdx.x * 4096 + i + t]);
    part[t] = best;
    __syncthreads();
    for (int s = 128; s > 0; s >>= 1) {
        if (t < s) part[t] = fmaxf(part[t], part[t + s]);
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = part[0];
}

// Inclusive sums within each 256, by doubling in shared memory (Hillis and Steele).
KERNEL block_scan(const float *x, float *out)
{
    __shared__ float part[2][256];
    int t = threadIdx.x, from = 0;
    part[0][t] = x[blockIdx.x * 256 + t];
    __syncthreads();
    for (int s = 1; s < 256; s <<= 1) {
        float v = part[from][t];
        if (t >= s) v += part[from][t - s];
        from ^= 1;
        part[from][t] = v;
        __syncthreads();
    }
    out[blockIdx.x * 256 + t] = part[from][t];
}

// The same by shuffles: each warp, then the warps' sums.
KERNEL shuffle_scan(const float *x, float *out)
{
    __shared__ float sums[8];
    int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    float v = x[blockIdx.x * 256 + t];
    for (int s = 1; s < 32; s <<= 1) {
        float before = __shfl_up_sync(0xffffffff, v, s);
        if (lane >= s) v += before;
    }
    if (lane == 31) sums[warp] = v;
    __syncthreads();
    float base = 0;
    for (int w = 0; w < warp; w++) base += sums[w];
    out[blockIdx.x * 256 + t] = base + v;
}

// C = A B, n x n, n a multiple of 32: a thread an element.
KERNEL matmul(const float *a, const float *b, float *c, int n)
{
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    float sum = 0;
    for (int k = 0; k < n; k++) sum += a[row * n + k] * b[k * n + column];
    c[row * n + column] = sum;
}

// The same by 32 x 32 tiles in shared memory, block (32, 32).
KERNEL matmul_tiled(const float *a, const float *b, float *c, int n)
{
    __shared__ float left[32][32], right[32][32];
    int x = threadIdx.x, y = threadIdx.y, column = blockIdx.x * 32 + x, row = blockIdx.y * 32 + y;
    float sum = 0;
    for (int tile = 0; tile < n; tile += 32) {
        left[y][x] = a[row * n + tile + x];
        right[y][x] = b[(tile + y) * n + column];
        __syncthreads();
        for (int k = 0; k < 32; k++) sum += left[y][k] * right[k][x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

// Five points; the edge is copied.
KERNEL stencil(const float *in, float *out, int rows, int columns)
{
    int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
    if (r >= rows || c >= columns) return;
    int i = r * columns + c;
    float v = in[i];
    if (r > 0 && r < rows - 1 && c > 0 && c < columns - 1)
        v += 0.25f * (in[i - columns] + in[i + columns] + in[i - 1] + in[i + 1] - 4 * v);
    out[i] = v;
}

// Each 512 sorted, a pair a thread (bitonic, in shared memory).
KERNEL block_sort(const int *x, int *out)
{
    __shared__ int keys[512];
    int t = threadIdx.x, base = blockIdx.x * 512;
    keys[t] = x[base + t];
    keys[t + 256] = x[base + t + 256];
    for (int size = 2; size <= 512; size <<= 1)
        for (int s = size >> 1; s > 0; s >>= 1) {
            __syncthreads();
            int i = 2 * t - (t & (s - 1)), j = i + s, up = (i & size) == 0;
            int p = keys[i], q = keys[j];
            if ((p > q) == up) {
                keys[i] = q;
                keys[j] = p;
            }
        }
    __syncthreads();
    out[base + t] = keys[t];
    out[base + t + 256] = keys[t + 256];
}
