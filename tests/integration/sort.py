"""Sorts: numpy's is the oracle."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel
from .reduce import blocks

FILE = "sort.cu"


@kernel(FILE, (1, 1), (100, 32), (256, 64), slow=((1000, 512),))
def sort_bitonic(n: int, block: int) -> Run:
    x = np.random.default_rng(1).integers(0, 2**32, n, np.uint32)
    size = 1 << (n - 1).bit_length()
    args = ("x", "out", n, size)
    return Run("sort_bitonic", (1,), (block,), args, {"x": x}, {"out": np.sort(x)}, shared=4 * size)


def _counts(x: np.ndarray, count: int, shift: int) -> np.ndarray:
    digits = x >> shift & 15
    rows = [np.bincount(digits[64 * b : 64 * b + 64], minlength=16) for b in range(count)]
    return np.stack(rows, 1).astype(np.uint32)


@kernel(FILE, (1, 0), (300, 8))
def radix_count(n: int, shift: int) -> Run:
    x = np.random.default_rng(2).integers(0, 2**32, n, np.uint32)
    count = blocks(n, 64)
    args = ("x", "counts", shift, n)
    return Run("radix_count", (count,), (64,), args, {"x": x}, {"counts": _counts(x, count, shift)})


@kernel(FILE, (1, 0), (300, 28))
def radix_scatter(n: int, shift: int) -> Run:
    x = np.random.default_rng(2).integers(0, 2**32, n, np.uint32)
    count = blocks(n, 64)
    counts = _counts(x, count, shift).ravel()
    starts = (counts.cumsum() - counts).astype(np.uint32)
    want = x[np.argsort(x >> shift & 15, kind="stable")]
    args = ("x", "starts", "out", shift, n)
    return Run("radix_scatter", (count,), (64,), args, {"x": x, "starts": starts}, {"out": want})


@kernel(FILE, (0, 5), (1, 1), (40, 77))
def merge(first: int, second: int) -> Run:
    rng = np.random.default_rng(3)
    a, b = (np.sort(rng.integers(0, 50, n, np.int32)) for n in (first, second))
    want = np.sort(np.concatenate([a, b]))
    args = ("a", first, "b", second, "out")
    return Run("merge", (blocks(first + second, 64),), (64,), args, {"a": a, "b": b}, {"out": want})


@kernel(FILE, 1, 50)
def sort_rows(rows: int) -> Run:
    x = np.random.default_rng(4).integers(-(2**15), 2**15, (rows, 12), np.int16)
    args = ("x", "out", rows)
    return Run("sort_rows", (blocks(rows, 32),), (32,), args, {"x": x}, {"out": np.sort(x, 1)})


@kernel(FILE, 1, 2, 45)
def sort_odd_even(n: int) -> Run:
    x = np.random.default_rng(5).standard_normal(n)
    return Run("sort_odd_even", (1,), (64,), ("x", n), {"x": x}, {"x": np.sort(x)})
