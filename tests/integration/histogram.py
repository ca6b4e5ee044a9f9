"""Histograms and atomics: counts by numpy."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel
from .reduce import blocks

FILE = "histogram.cu"


@kernel(FILE, (1, 1), (2, 1000))
def histogram_shared(count: int, n: int) -> Run:
    x = np.random.default_rng(1).integers(0, 256, n, np.uint8)
    x[: n // 3] = 255
    start = np.arange(256, dtype=np.uint32)
    want = start + np.bincount(x, minlength=256).astype(np.uint32)
    return Run("histogram_shared", (count,), (128,), ("x", "out", n), {"x": x, "out": start}, {"out": want})


@kernel(FILE, (1, 1), (2, 1000))
def histogram_warps(count: int, n: int) -> Run:
    x = np.random.default_rng(2).integers(0, 2**32, n, np.uint32)
    want = np.bincount(x % 16, minlength=16).astype(np.uint64)
    inputs = {"x": x, "out": np.zeros(16, np.uint64)}
    return Run("histogram_warps", (count,), (128,), ("x", "out", n), inputs, {"out": want})


@kernel(FILE, (1, 1), (7, 500))
def histogram_edges(bins: int, n: int) -> Run:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(n).astype(np.float32)
    x[::50] = np.nan
    edges = np.sort(rng.standard_normal(bins + 1)).astype(np.float32)
    inside = x[(x >= edges[0]) & (x < edges[-1])]
    want = np.bincount(np.searchsorted(edges, inside, "right") - 1, minlength=bins).astype(np.int32)
    inputs = {"x": x, "edges": edges, "out": np.zeros(bins, np.int32)}
    args = ("x", "edges", bins, "out", n)
    return Run("histogram_edges", (blocks(n, 64),), (64,), args, inputs, {"out": want})


@kernel(FILE, 1, 100)
def atomics(n: int) -> Run:
    x = np.random.default_rng(4).integers(-(2**31), 2**31, n, np.int32)
    start = np.array([5, -5, -1, 0, 77, 3, 4, 1], np.int32)
    wide = np.array([9, 2**63, 1], np.uint64)
    count, down = 3, 4
    for _ in range(n):
        count = 0 if count >= 6 else count + 1
        down = 9 if down == 0 or down > 9 else down - 1
    folds = [np.bitwise_and.reduce(x), np.bitwise_or.reduce(x), np.bitwise_xor.reduce(x) ^ 77]
    total = int(x.sum(dtype=np.int64))
    narrow = [min(5, x.min()), max(-5, x.max()), *folds, count, down, (1 - total + 2**31) % 2**32 - 2**31]
    u = x.view(np.uint32).astype(np.uint64)
    sums = [max(9, int(u.max()) * 3), min(2**63, int(u.min()) * 5), (1 + total) % 2**64]
    expect = {"out": np.array(narrow, np.int32), "wide": np.array(sums, np.uint64)}
    inputs = {"x": x, "out": start, "wide": wide}
    return Run("atomics", (blocks(n, 64),), (64,), ("x", "out", "wide", n), inputs, expect)
