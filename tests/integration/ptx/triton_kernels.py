"""Kernels in Triton, from which `regenerate.py` makes the PTX beside this file.

Needs Triton; the tests, which run the PTX, do not.
"""

# ruff: noqa: N803 - Triton's constants are written in capitals

import triton
import triton.language as tl


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out + at, tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask), mask=mask)


@triton.jit
def softmax(x, out, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    mask = at < columns
    row = tl.program_id(0) * columns
    v = tl.load(x + row + at, mask=mask, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + row + at, e / tl.sum(e, 0), mask=mask)


@triton.jit
def layer_norm(x, scale, shift, out, columns, eps, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    mask = at < columns
    row = tl.program_id(0) * columns
    v = tl.load(x + row + at, mask=mask, other=0.0)
    mean = tl.sum(v, 0) / columns
    away = tl.where(mask, v - mean, 0.0)
    rate = tl.rsqrt(tl.sum(away * away, 0) / columns + eps)
    w, b = tl.load(scale + at, mask=mask), tl.load(shift + at, mask=mask)
    tl.store(out + row + at, away * rate * w + b, mask=mask)


@triton.jit
def matmul(a, b, c, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    rows = tl.program_id(0) * M + tl.arange(0, M)
    columns = tl.program_id(1) * N + tl.arange(0, N)
    inner = tl.arange(0, K)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, k, K):
        left = inner[None, :] + start < k
        top = inner[:, None] + start < k
        in_a, in_b = (rows[:, None] < m) & left, top & (columns[None, :] < n)
        ta = tl.load(a + rows[:, None] * k + start + inner[None, :], mask=in_a, other=0.0)
        tb = tl.load(b + (start + inner[:, None]) * n + columns[None, :], mask=in_b, other=0.0)
        total = tl.dot(ta, tb, total)
    mask = (rows[:, None] < m) & (columns[None, :] < n)
    tl.store(c + rows[:, None] * n + columns[None, :], total, mask=mask)


@triton.jit
def cumsum(x, out, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    mask = at < columns
    row = tl.program_id(0) * columns
    tl.store(out + row + at, tl.cumsum(tl.load(x + row + at, mask=mask, other=0), 0), mask=mask)


@triton.jit
def _most(a, b):
    return tl.maximum(a, b)


@triton.jit
def running_max(x, out, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    mask = at < columns
    row = tl.program_id(0) * columns
    v = tl.load(x + row + at, mask=mask, other=-2147483648)
    tl.store(out + row + at, tl.associative_scan(v, 0, _most), mask=mask)


@triton.jit
def argmax(x, out, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + tl.program_id(0) * columns + at, mask=at < columns, other=-float("inf"))
    tl.store(out + tl.program_id(0), tl.argmax(v, 0))


@triton.jit
def sort(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = tl.program_id(0) * BLOCK
    tl.store(out + row + at, tl.sort(tl.load(x + row + at)))


@triton.jit
def transpose(x, out, rows, columns, R: tl.constexpr, C: tl.constexpr):
    r = tl.program_id(0) * R + tl.arange(0, R)
    c = tl.program_id(1) * C + tl.arange(0, C)
    mask = (r[:, None] < rows) & (c[None, :] < columns)
    tile = tl.load(x + r[:, None] * columns + c[None, :], mask=mask)
    tl.store(out + c[:, None] * rows + r[None, :], tl.trans(tile), mask=tl.trans(mask))


@triton.jit
def uniform(out, seed, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.randint(seed, at), mask=at < n)


@triton.jit
def histogram(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.atomic_add(out + tl.load(x + at, mask=mask), 1, mask=mask)


@triton.jit
def attention(q, k, v, out, length, scale, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr):
    rows = tl.program_id(0) * M + tl.arange(0, M)
    d = tl.arange(0, D)
    tq = tl.load(q + rows[:, None] * D + d[None, :], mask=rows[:, None] < length, other=0.0)
    most = tl.full((M,), -float("inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    mixed = tl.zeros((M, D), tl.float32)
    for start in range(0, length, N):
        keys = start + tl.arange(0, N)
        inside = keys < length
        tk = tl.load(k + keys[None, :] * D + d[:, None], mask=inside[None, :], other=0.0)
        tv = tl.load(v + keys[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        scores = tl.where(inside[None, :], tl.dot(tq, tk) * scale, -float("inf"))
        top = tl.maximum(most, tl.max(scores, 1))
        keep = tl.exp(most - top)
        weights = tl.exp(scores - top[:, None])
        total = total * keep + tl.sum(weights, 1)
        mixed = mixed * keep[:, None] + tl.dot(weights.to(tl.float16), tv)
        most = top
    tl.store(out + rows[:, None] * D + d[None, :], mixed / total[:, None], mask=rows[:, None] < length)


# name: (function, types of the arguments, constants, warps, stages)
KERNELS = {
    "add": (add, {"x": "*fp32", "y": "*fp32", "out": "*fp32", "n": "i32"}, {"BLOCK": 256}, 4, 1),
    "softmax": (softmax, {"x": "*fp32", "out": "*fp32", "columns": "i32"}, {"BLOCK": 256}, 4, 1),
    "layer_norm": (
        layer_norm,
        {"x": "*fp32", "scale": "*fp32", "shift": "*fp32", "out": "*fp32", "columns": "i32", "eps": "fp32"},
        {"BLOCK": 256},
        4,
        1,
    ),
    "matmul": (
        matmul,
        {"a": "*fp16", "b": "*fp16", "c": "*fp32", "m": "i32", "n": "i32", "k": "i32"},
        {"M": 32, "N": 32, "K": 32},
        4,
        2,
    ),
    "cumsum": (cumsum, {"x": "*i32", "out": "*i32", "columns": "i32"}, {"BLOCK": 256}, 4, 1),
    "running_max": (running_max, {"x": "*i32", "out": "*i32", "columns": "i32"}, {"BLOCK": 128}, 2, 1),
    "argmax": (argmax, {"x": "*fp32", "out": "*i32", "columns": "i32"}, {"BLOCK": 256}, 4, 1),
    "sort": (sort, {"x": "*i32", "out": "*i32"}, {"BLOCK": 64}, 2, 1),
    "transpose": (
        transpose,
        {"x": "*i16", "out": "*i16", "rows": "i32", "columns": "i32"},
        {"R": 32, "C": 16},
        4,
        1,
    ),
    "uniform": (uniform, {"out": "*i32", "seed": "i32", "n": "i32"}, {"BLOCK": 256}, 4, 1),
    "histogram": (histogram, {"x": "*i32", "out": "*i32", "n": "i32"}, {"BLOCK": 128}, 4, 1),
    "attention": (
        attention,
        {"q": "*fp16", "k": "*fp16", "v": "*fp16", "out": "*fp32", "length": "i32", "scale": "fp32"},
        {"M": 32, "N": 32, "D": 16},
        2,
        2,
    ),
}
