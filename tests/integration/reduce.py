"""Reductions: integers, and floats whose sums are exact, so that the order of adding does not show."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel

FILE = "reduce.cu"


def blocks(n: int, block: int) -> int:
    return max(1, -(-n // block))


def whole_floats(n: int, dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, n).astype(dtype)


@kernel(FILE, 1, 127, 300)
def sum_shared(n: int) -> Run:
    x = np.random.default_rng(1).integers(-(2**20), 2**20, n, np.int32)
    count = blocks(n, 128)
    want = np.array([x[128 * b : 128 * b + 128].sum() for b in range(count)], np.int32)
    return Run("sum_shared", (count,), (128,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (1, 32, 1), (3, 64, 1000), (2, 256, 77))
def sum_dynamic(count: int, block: int, n: int) -> Run:
    x = whole_floats(n, "float64", 2)
    threads = np.arange(n) % (count * block)
    want = np.bincount(threads // block, x, count)
    args = ("x", "out", n)
    return Run("sum_dynamic", (count,), (block,), args, {"x": x}, {"out": want}, shared=8 * block)


@kernel(FILE, (1, 32, 5), (3, 96, 1000), (2, 256, 513))
def sum_shuffle(count: int, block: int, n: int) -> Run:
    x = whole_floats(n, "float32", 3)
    start = np.array([0.5], np.float32)
    inputs = {"x": x, "out": start}
    return Run("sum_shuffle", (count,), (block,), ("x", "out", n), inputs, {"out": start + x.sum()})


@kernel(FILE, (1, 1), (3, 64), (5, 201))
def argmax_rows(rows: int, columns: int) -> Run:
    x = np.random.default_rng(4).integers(-20, 20, (rows, columns)).astype(np.float32)
    expect = {"values": x.max(1), "places": x.argmax(1).astype(np.int64)}
    return Run("argmax_rows", (rows,), (64,), ("x", "values", "places", columns), {"x": x}, expect)


@kernel(FILE, (1, 10), (7, 1000))
def sum_last_block(count: int, n: int) -> Run:
    x = np.random.default_rng(5).integers(-(2**31), 2**31, n, np.int32)
    want = np.array([x.sum(dtype=np.int64)])
    scratch = {"parts": np.zeros(count, np.int64)}
    return Run("sum_last_block", (count,), (128,), ("x", "parts", "out", n), {"x": x}, {"out": want}, scratch)


@kernel(FILE, 1, 32, 100)
def warp_reduce(n: int) -> Run:
    x = np.random.default_rng(6).integers(0, 2**32, n, np.uint32)
    count = blocks(n, 64)
    padded = np.full(64 * count, x[0])
    padded[:n] = x
    rows = padded.reshape(-1, 32)
    sums = [x[32 * w : 32 * w + 32].sum(dtype=np.uint64) for w in range(2 * count)]
    folds = [np.bitwise_and.reduce(rows, 1), np.bitwise_or.reduce(rows, 1), np.bitwise_xor.reduce(rows, 1)]
    columns = [rows.min(1), rows.max(1), *folds, np.array(sums).astype(np.uint32)]
    args = ("x", "out", n)
    return Run("warp_reduce", (count,), (64,), args, {"x": x}, {"out": np.stack(columns, 1).copy()})


@kernel(FILE, 1, 96, 200)
def counted(n: int) -> Run:
    x = np.random.default_rng(7).integers(-2, 7, n, np.int32)
    x[:96] = np.abs(x[:96]) + 1
    count = blocks(n, 96)
    rows = [x[96 * b : 96 * b + 96] for b in range(count)]
    want = np.array([[(r > 0).sum(), (r > 0).all(), (r > 5).any()] for r in rows], np.int32)
    return Run("counted", (count,), (96,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (1, 1), (40, 33))
def kahan_rows(rows: int, columns: int) -> Run:
    x = np.random.default_rng(8).standard_normal((rows, columns)).astype(np.float32)
    total, lost = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    for j in range(columns):
        y = x[:, j] - lost
        t = total + y
        total, lost = t, (t - total) - y
    args = ("x", "out", rows, columns)
    return Run("kahan_rows", (blocks(rows, 32),), (32,), args, {"x": x}, {"out": total})


@kernel(FILE, 1, 200)
def range_twice(n: int) -> Run:
    x = np.random.default_rng(9).integers(-(2**30), 2**30, n, np.int32)
    want = np.array([x.max(), x.min()])
    return Run("range_twice", (1,), (64,), ("x", "out", n), {"x": x}, {"out": want})
