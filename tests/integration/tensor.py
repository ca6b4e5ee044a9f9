"""Tensor cores: products of whole numbers, which no order of sums rounds, by numpy."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel
from .reduce import blocks

FILE = "tensor.cu"


def _whole(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float16)


@kernel(FILE, (16, 16, 16), (32, 48, 32))
def wmma_half(m: int, n: int, k: int) -> Run:
    a, bt = _whole(1, m, k), _whole(2, n, k)
    want = (2 * (a.astype(np.float32) @ bt.astype(np.float32).T) + 1).astype(np.float32)
    args = ("a", "b", "c", m, n, k)
    return Run("wmma_half", (n // 16, m // 16), (32,), args, {"a": a, "b": bt}, {"c": want})


@kernel(FILE, ())
def wmma_bytes() -> Run:
    draw = np.random.default_rng(3)
    a, b = draw.integers(-128, 128, (8, 16)), draw.integers(-128, 128, (16, 32))
    c = draw.integers(-1000, 1000, (8, 32))
    inputs = {"a": a.T.astype(np.int8), "b": b.astype(np.int8), "c": c.T.astype(np.int32)}
    return Run("wmma_bytes", (1,), (32,), ("a", "b", "c"), inputs, {"c": (a @ b + c).T.astype(np.int32)})


@kernel(FILE, (32, 32, 16), (40, 33, 64))
def mma_pipelined(m: int, n: int, k: int) -> Run:
    a, bt = _whole(4, m, k), _whole(5, n, k)
    want = a.astype(np.float32) @ bt.astype(np.float32).T
    args = ("a", "b", "c", m, n, k)
    grid = (blocks(n, 32), blocks(m, 32))
    return Run("mma_pipelined", grid, (128,), args, {"a": a, "b": bt}, {"c": want})
