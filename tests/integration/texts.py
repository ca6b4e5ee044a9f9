"""PTX that Triton and Numba made of our kernels (`ptx/`), launched as their runtimes launch it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from scipy import special

from llmptx.run.job import Array

from .compiler import compiled
from .draw import philox, xorshift
from .launches import Run, Within, kernel
from .models import U, near, normal
from .reduce import blocks

# Triton


@cache
def _head(name: str) -> tuple[int, int]:
    """(threads a block, bytes of shared memory) from the text's first line."""
    match = re.match(r"// threads=(\d+) shared=(\d+)", compiled(f"triton-{name}.ptx"))
    assert match
    return int(match[1]), int(match[2])


def triton(
    name: str,
    grid: tuple[int, ...],
    args: tuple[Any, ...],
    inputs: Mapping[str, Array],
    expect: Mapping[str, Array | Within],
) -> Run:
    """The last two arguments are scratch memory that kernels here do not ask for."""
    threads, shared = _head(name)
    return Run(f"triton_{name}", grid, (threads,), (*args, 0, 0), inputs, expect, shared=shared)


@kernel("triton-add.ptx", 1, 257, 1000)
def add(n: int) -> Run:
    x, y = normal((n,), 1), normal((n,), 2)
    return triton("add", (blocks(n, 256),), ("x", "y", "out", n), {"x": x, "y": y}, {"out": x + y})


@kernel("triton-softmax.ptx", (1, 1), (3, 200))
def softmax(rows: int, columns: int) -> Run:
    x = 5 * normal((rows, columns), 3)
    # exp is ex2.approx of a product here: its argument carries an error of its own.
    want = near(special.softmax(x.astype(float), axis=1), 100 + columns)
    return triton("softmax", (rows,), ("x", "out", columns), {"x": x}, {"out": want})


@kernel("triton-layer_norm.ptx", (1, 2), (3, 200))
def layer_norm(rows: int, columns: int) -> Run:
    x, scale, shift = normal((rows, columns), 4), normal((columns,), 5), normal((columns,), 6)
    eps = np.float32(1e-5)
    wide = x.astype(float)
    normed = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + float(eps))
    want = near(normed * scale + shift, 40 + columns, (np.abs(normed) + 1) * np.abs(scale) + np.abs(shift))
    args = ("x", "scale", "shift", "out", columns, eps)
    return triton("layer_norm", (rows,), args, {"x": x, "scale": scale, "shift": shift}, {"out": want})


@kernel("triton-matmul.ptx", (1, 1, 1), (32, 32, 64), (40, 33, 70))
def matmul(m: int, n: int, k: int) -> Run:
    rng = np.random.default_rng(7)
    a, b = (rng.integers(-8, 9, shape).astype(np.float16) for shape in ((m, k), (k, n)))
    want = a.astype(np.float32) @ b.astype(np.float32)
    args = ("a", "b", "c", m, n, k)
    return triton("matmul", (blocks(m, 32), blocks(n, 32)), args, {"a": a, "b": b}, {"c": want})


def _rows(rows: int, columns: int, low: int, high: int) -> Array:
    return np.random.default_rng(8).integers(low, high, (rows, columns), np.int32)


@kernel("triton-cumsum.ptx", (1, 1), (3, 250))
def cumsum(rows: int, columns: int) -> Run:
    x = _rows(rows, columns, -(2**31), 2**31)
    want = np.cumsum(x, 1, dtype=np.int32)
    return triton("cumsum", (rows,), ("x", "out", columns), {"x": x}, {"out": want})


@kernel("triton-running_max.ptx", (1, 1), (3, 120))
def running_max(rows: int, columns: int) -> Run:
    x = _rows(rows, columns, -(2**31), 2**31)
    want = np.maximum.accumulate(x, 1)
    return triton("running_max", (rows,), ("x", "out", columns), {"x": x}, {"out": want})


@kernel("triton-argmax.ptx", (1, 1), (4, 250))
def argmax(rows: int, columns: int) -> Run:
    x = _rows(rows, columns, 0, 30).astype(np.float32)
    want = x.argmax(1).astype(np.int32)
    return triton("argmax", (rows,), ("x", "out", columns), {"x": x}, {"out": want})


@kernel("triton-sort.ptx", 1, 3)
def sort(rows: int) -> Run:
    x = _rows(rows, 64, -(2**31), 2**31)
    return triton("sort", (rows,), ("x", "out"), {"x": x}, {"out": np.sort(x, 1)})


@kernel("triton-transpose.ptx", (1, 1), (40, 33))
def transpose(rows: int, columns: int) -> Run:
    x = _rows(rows, columns, -(2**15), 2**15).astype(np.int16)
    grid = (blocks(rows, 32), blocks(columns, 16))
    want = np.ascontiguousarray(x.T)
    return triton("transpose", grid, ("x", "out", rows, columns), {"x": x}, {"out": want})


@kernel("triton-uniform.ptx", 1, 300)
def uniform(n: int) -> Run:
    """Triton's counter-based generator is philox with the offset as counter and the seed as key."""
    want = np.array([philox(i, 1234)[0] for i in range(n)], np.uint32).view(np.int32)
    return triton("uniform", (blocks(n, 256),), ("out", 1234, n), {}, {"out": want})


@kernel("triton-histogram.ptx", 1, 300)
def histogram(n: int) -> Run:
    x = np.random.default_rng(9).integers(0, 50, n, np.int32)
    inputs = {"x": x, "out": np.zeros(50, np.int32)}
    want = np.bincount(x, minlength=50).astype(np.int32)
    return triton("histogram", (blocks(n, 128),), ("x", "out", n), inputs, {"out": want})


@kernel("triton-attention.ptx", 1, 45)
def attention(length: int) -> Run:
    q, k, v = (normal((length, 16), s).astype(np.float16) for s in (10, 11, 12))
    scores = (q.astype(float) @ k.T.astype(float)) / 4
    weights = special.softmax(scores, axis=1)
    truth = weights @ v.astype(float)
    # The weights are rounded to half before the second product.
    bound = (2.0**-11 + 64 * U) * (special.softmax(scores, axis=1) @ np.abs(v.astype(float))) * 2
    args = ("q", "k", "v", "out", length, np.float32(0.25))
    want = Within(truth, bound, "float32")
    return triton("attention", (blocks(length, 32),), args, {"q": q, "k": k, "v": v}, {"out": want})


# Numba


def numba(
    name: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    args: tuple[Any, ...],
    inputs: Mapping[str, Array],
    expect: Mapping[str, Array | Within],
) -> Run:
    """An array is passed as two pointers nobody follows, its sizes, its data, its shape and its strides."""
    flat: list[Any] = []
    for value in args:
        if isinstance(value, str):
            array: Any = inputs.get(value, expect.get(value))
            array = array.value if isinstance(array, Within) else array
            strides = [array.dtype.itemsize * math.prod(array.shape[i + 1 :]) for i in range(array.ndim)]
            flat += [0, 0, array.size, array.dtype.itemsize, value, *array.shape, *strides]
        else:
            flat.append(value)
    return Run(f"numba_{name}", grid, block, tuple(flat), inputs, expect)


@kernel("numba-saxpy.ptx", 1, 200)
def numba_saxpy(n: int) -> Run:
    x, y = (np.random.default_rng(s).integers(-99, 99, n).astype(np.float32) for s in (1, 2))
    inputs = {"x": x, "y": y}
    args = (np.float32(3), "x", "y", "out")
    return numba("saxpy", (blocks(n, 64),), (64,), args, inputs, {"out": 3 * x + y})


@kernel("numba-total.ptx", (1, 1), (2, 1000))
def numba_total(count: int, n: int) -> Run:
    x = np.random.default_rng(3).integers(-99, 99, n).astype(np.float64)
    inputs = {"x": x, "out": np.array([0.5])}
    return numba("total", (count,), (128,), ("x", "out"), inputs, {"out": np.array([0.5 + x.sum()])})


@kernel("numba-matmul.ptx", (1, 1, 1), (9, 20, 13))
def numba_matmul(m: int, n: int, k: int) -> Run:
    rng = np.random.default_rng(4)
    a, b = (rng.integers(-20, 20, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    grid = (blocks(n, 8), blocks(m, 8))
    return numba("matmul", grid, (8, 8), ("a", "b", "c"), {"a": a, "b": b}, {"c": a @ b})


@kernel("numba-histogram.ptx", (1, 1), (2, 700))
def numba_histogram(count: int, n: int) -> Run:
    x = np.random.default_rng(5).integers(-1000, 1000, n, np.int32)
    inputs = {"x": x, "out": np.zeros(64, np.int32)}
    want = np.bincount(x % 64, minlength=64).astype(np.int32)
    return numba("histogram", (count,), (64,), ("x", "out"), inputs, {"out": want})


@kernel("numba-mandelbrot.ptx", (1, 1, 9), (10, 33, 40))
def numba_mandelbrot(height: int, width: int, most: int) -> Run:
    y, x = np.mgrid[:height, :width]
    cr, ci = (3 * x << 24) // width - (2 << 24), (2 * y << 24) // height - (1 << 24)
    r, i, k = np.zeros_like(cr), np.zeros_like(cr), np.zeros(cr.shape, np.int32)
    for _ in range(most):
        go = r * r + i * i <= 4 << 48
        r, i = np.where(go, (r * r - i * i >> 24) + cr, r), np.where(go, (2 * r * i >> 24) + ci, i)
        k += go
    grid = (blocks(width, 16), blocks(height, 4))
    return numba("mandelbrot", grid, (16, 4), ("out", most), {}, {"out": k})


@kernel("numba-warp_scan.ptx", 1, 3)
def numba_warp_scan(count: int) -> Run:
    x = np.random.default_rng(6).integers(-(2**20), 2**20, 64 * count, np.int32)
    want = np.cumsum(x.reshape(-1, 32), 1, dtype=np.int32).reshape(-1)
    return numba("warp_scan", (count,), (64,), ("x", "out"), {"x": x}, {"out": want})


@kernel("numba-sort_rows.ptx", 1, 70)
def numba_sort_rows(rows: int) -> Run:
    x = np.random.default_rng(7).integers(-(2**62), 2**62, (rows, 8))
    return numba("sort_rows", (blocks(rows, 64),), (64,), ("x", "out"), {"x": x}, {"out": np.sort(x, 1)})


@kernel("numba-pieces.ptx", 1, 100)
def numba_pieces(n: int) -> Run:
    x = np.random.default_rng(8).integers(-400, 400, n) / 16
    x[: n // 2] = (np.random.default_rng(9).integers(-20, 20, n // 2) ** 3).astype(float)
    root = np.sqrt(np.abs(x))
    truth = x // 0.75 + root * (x % 0.75) + np.floor(x) * np.copysign(2.0, x)
    scale = np.abs(x // 0.75) + root + 2 * np.abs(x) + 1
    return numba("pieces", (blocks(n, 64),), (64,), ("x", "out"), {"x": x}, {
        "out": Within(truth, 4 * 2.0**-53 * scale, "float64")
    })  # fmt: skip


@kernel("numba-draws.ptx", (1, 0), (100, 7))
def numba_draws(n: int, count: int) -> Run:
    seeds = np.random.default_rng(10).integers(1, 2**32, n, np.uint32)
    want = seeds
    for _ in range(count):
        want = xorshift(want)
    return numba("draws", (blocks(n, 64),), (64,), ("seeds", "out", count), {"seeds": seeds}, {"out": want})


@kernel("numba-find.ptx", (1, 3), (70, 40))
def numba_find(count: int, length: int) -> Run:
    texts = np.random.default_rng(11).choice(np.frombuffer(b"ab", np.uint8), (count, length))
    pattern = np.frombuffer(b"abab", np.uint8).copy()
    want = np.array([bytes(t).find(b"abab") for t in texts], np.int32)
    inputs = {"texts": texts, "pattern": pattern}
    return numba("find", (blocks(count, 64),), (64,), ("texts", "pattern", "out"), inputs, {"out": want})
