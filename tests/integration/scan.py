"""Scans of integers: numpy's cumsum is the oracle."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel
from .reduce import blocks

FILE = "scan.cu"


def numbers(n: int, dtype: str = "int32", seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**16), 2**16, n).astype(dtype)


@kernel(FILE, 1, 64, 100)
def scan_warps(n: int) -> Run:
    x = numbers(n)
    want = np.concatenate([x[i : i + 32].cumsum(dtype=np.int32) for i in range(0, n, 32)])
    return Run("scan_warps", (blocks(n, 64),), (64,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (1, 32), (3, 64), slow=((1, 1), (2, 512)))
def scan_blelloch(count: int, block: int) -> Run:
    x = numbers(2 * block * count).reshape(count, -1)
    want = np.cumsum(x, 1, dtype=np.int32) - x
    return Run("scan_blelloch", (count,), (block,), ("x", "out"), {"x": x}, {"out": want}, shared=8 * block)


@kernel(FILE, 1, 33, 96)
def scan_steps(n: int) -> Run:
    x = numbers(n, "int64")
    args = ("x", "out", n)
    return Run("scan_steps", (1,), (96,), args, {"x": x}, {"out": x.cumsum()}, shared=16 * n)


@kernel(FILE, 1, 50, 128)
def scan_segments(n: int) -> Run:
    x = numbers(n)
    flags = (np.random.default_rng(2).random(n) < 0.1).astype(np.uint8)
    starts = np.maximum.accumulate(np.where(flags, np.arange(n), 0))
    total = np.concatenate([[0], x.cumsum()])
    want = (total[1:] - total[starts]).astype(np.int32)
    args = ("x", "flags", "out", n)
    return Run("scan_segments", (1,), (128,), args, {"x": x, "flags": flags}, {"out": want})


@kernel(FILE, 1, 128, 1000)
def scan_lookback(n: int) -> Run:
    x = numbers(n)
    count = blocks(n, 128)
    inputs = {"x": x, "state": np.zeros(count + 1, np.uint64)}
    total = np.pad(x, (0, 128 * count - n)).cumsum(dtype=np.int32)
    sums = (np.uint64(1) << np.uint64(32)) | total[127::128].view(np.uint32).astype(np.uint64)
    expect = {"out": total[:n], "state": np.concatenate([[count], sums]).astype(np.uint64)}
    return Run("scan_lookback", (count,), (128,), ("x", "out", "state", n), inputs, expect)


@kernel(FILE, 0, 1, 65, 500)
def compact(n: int) -> Run:
    x = numbers(n, seed=3)
    odd = x[x % 2 == 1]
    inputs = {"x": x, "out": np.full(n, -7, np.int32)}
    want = np.concatenate([odd, inputs["out"][len(odd) :]])
    expect = {"out": want, "kept": np.array([len(odd)], np.int32)}
    return Run("compact", (1,), (64,), ("x", "out", "kept", n), inputs, expect)
