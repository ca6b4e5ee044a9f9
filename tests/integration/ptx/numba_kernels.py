"""Kernels in Numba, from which `regenerate.py` makes the PTX beside this file.

Needs numba-cuda; the tests, which run the PTX, do not.
"""

import math

from numba import cuda, float32, float64, int32, int64, types, uint8, uint32


def saxpy(a, x, y, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = a * x[i] + y[i]


def total(x, out):
    part = cuda.shared.array(128, float64)
    t = cuda.threadIdx.x
    s = 0.0
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        s += x[i]
    part[t] = s
    cuda.syncthreads()
    step = cuda.blockDim.x // 2
    while step > 0:
        if t < step:
            part[t] += part[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        cuda.atomic.add(out, 0, part[0])


def matmul(a, b, c):
    ta = cuda.shared.array((8, 8), float32)
    tb = cuda.shared.array((8, 8), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column, row = cuda.grid(2)
    s = float32(0)
    for t in range((a.shape[1] + 7) // 8):
        ta[y, x] = a[row, t * 8 + x] if row < a.shape[0] and t * 8 + x < a.shape[1] else float32(0)
        tb[y, x] = b[t * 8 + y, column] if column < b.shape[1] and t * 8 + y < b.shape[0] else float32(0)
        cuda.syncthreads()
        for j in range(8):
            s += ta[y, j] * tb[j, x]
        cuda.syncthreads()
    if row < c.shape[0] and column < c.shape[1]:
        c[row, column] = s


def histogram(x, out):
    bins = cuda.shared.array(64, int32)
    t = cuda.threadIdx.x
    if t < 64:
        bins[t] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        cuda.atomic.add(bins, x[i] % 64, 1)
    cuda.syncthreads()
    if t < 64:
        cuda.atomic.add(out, t, bins[t])


def mandelbrot(out, most):
    # In fixed point, 24 bits behind the point: exact, whatever a compiler contracts.
    x, y = cuda.grid(2)
    if y < out.shape[0] and x < out.shape[1]:
        cr = (3 * x << 24) // out.shape[1] - (2 << 24)
        ci = (2 * y << 24) // out.shape[0] - (1 << 24)
        r = i = int64(0)
        k = 0
        while k < most and r * r + i * i <= 4 << 48:
            r, i = (r * r - i * i >> 24) + cr, (2 * r * i >> 24) + ci
            k += 1
        out[y, x] = k


def warp_scan(x, out):
    i = cuda.grid(1)
    lane = cuda.laneid
    v = x[i]
    step = 1
    while step < 32:
        left = cuda.shfl_up_sync(0xFFFFFFFF, v, step)
        if lane >= step:
            v += left
        step *= 2
    out[i] = v


def sort_rows(x, out):
    row = cuda.grid(1)
    if row >= x.shape[0]:
        return
    a = cuda.local.array(8, int64)
    for j in range(8):
        v = x[row, j]
        k = j
        while k > 0 and a[k - 1] > v:
            a[k] = a[k - 1]
            k -= 1
        a[k] = v
    for j in range(8):
        out[row, j] = a[j]


def pieces(x, out):
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        out[i] = v // 0.75 + math.sqrt(abs(v)) * (v % 0.75) + math.floor(v) * math.copysign(2.0, v)


def draws(seeds, out, count):
    i = cuda.grid(1)
    if i < out.size:
        s = seeds[i]
        for _ in range(count):
            s ^= uint32(s << uint32(13))
            s ^= s >> uint32(17)
            s ^= uint32(s << uint32(5))
        out[i] = s


def find(texts, pattern, out):
    i = cuda.grid(1)
    if i < texts.shape[0]:
        out[i] = -1
        for at in range(texts.shape[1] - pattern.size + 1):
            same = True
            for k in range(pattern.size):
                if texts[i, at + k] != pattern[k]:
                    same = False
                    break
            if same:
                out[i] = at
                break


f4, f8, i4, i8 = float32[::1], float64[::1], int32[::1], int64[::1]
# name: (function, signature)
KERNELS = {
    "saxpy": (saxpy, types.void(float32, f4, f4, f4)),
    "total": (total, types.void(f8, f8)),
    "matmul": (matmul, types.void(float32[:, ::1], float32[:, ::1], float32[:, ::1])),
    "histogram": (histogram, types.void(i4, i4)),
    "mandelbrot": (mandelbrot, types.void(int32[:, ::1], int32)),
    "warp_scan": (warp_scan, types.void(i4, i4)),
    "sort_rows": (sort_rows, types.void(int64[:, ::1], int64[:, ::1])),
    "pieces": (pieces, types.void(f8, f8)),
    "draws": (draws, types.void(uint32[::1], uint32[::1], int32)),
    "find": (find, types.void(uint8[:, ::1], uint8[::1], i4)),
}
