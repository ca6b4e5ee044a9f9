"""Threads that work together: sets, sums and Python's own idea of a warp."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel
from .reduce import blocks

FILE = "together.cu"


@kernel(FILE, 1, 100)
def aggregated(n: int) -> Run:
    """Equal numbers: whatever order the places are drawn in, the result is the same."""
    x = np.where(np.random.default_rng(1).random(n) < 0.6, 42, -1).astype(np.int32)
    kept = int((x > 0).sum())
    inputs = {"x": x, "out": np.zeros(n, np.int32), "count": np.zeros(1, np.int32)}
    want = np.where(np.arange(n) < kept, 42, 0).astype(np.int32)
    expect = {"out": want, "count": np.array([kept], np.int32)}
    return Run("aggregated", (blocks(n, 64),), (64,), ("x", "out", "count", n), inputs, expect)


@kernel(FILE, 1, 70)
def loops_of_cas(n: int) -> Run:
    x = np.random.default_rng(2).integers(-99, 99, n).astype(np.float32)
    inputs = {"x": x, "sum": np.array([0.5]), "most": np.array([-100], np.float32)}
    expect = {"sum": np.array([0.5 + x.sum(dtype=float)]), "most": x.max(keepdims=True)}
    return Run("loops_of_cas", (blocks(n, 32),), (32,), ("x", "sum", "most", n), inputs, expect)


def _locked(entry: str, n: int) -> Run:
    inputs = {"lock": np.zeros(1, np.int32), "value": np.array([5], np.int32)}
    expect = {"lock": inputs["lock"], "value": np.array([5 + n * (n + 1) // 2], np.int32)}
    return Run(entry, (blocks(n, 64),), (64,), ("lock", "value", n), inputs, expect)


@kernel(FILE, 1, 100)
def locked(n: int) -> Run:
    return _locked("locked", n)


@kernel(FILE, 1, 40)
def locked_hard(n: int) -> Run:
    return _locked("locked_hard", n)


@kernel(FILE, (1, 1), (2, 40))
def tickets(count: int, block: int) -> Run:
    n = count * block
    zero = np.zeros(1, np.int32)
    inputs = {"drawn": zero, "called": zero, "left": zero + 100}
    order = 100 - 2 * np.arange(n, dtype=np.int32)
    expect = {"order": order, "drawn": zero + n, "called": zero + n, "left": zero + 100 - 2 * n}
    return Run("tickets", (count,), (block,), ("drawn", "called", "order", "left"), inputs, expect)


@kernel(FILE, 32, 128)
def relay(block: int) -> Run:
    x = np.random.default_rng(8).integers(0, 1000, (block // 32, 32), np.int32)
    carried = np.append(np.cumsum(x[::-1, 31])[::-1], 0)[1:]
    want = (x + carried[:, None]).astype(np.int32)
    return Run("relay", (1,), (block,), ("x", "out"), {"x": x}, {"out": want})


@kernel(FILE, 1, 2, 7)
def producer_consumer(rounds: int) -> Run:
    x = np.random.default_rng(3).integers(0, 1000, (rounds, 32), np.int32)
    want = 2 * x[:, ::-1] + 1
    args = ("x", "out", rounds)
    return Run("producer_consumer", (1,), (64,), args, {"x": x}, {"out": np.ascontiguousarray(want)})


@kernel(FILE, 1, 3)
def warp_swap(count: int) -> Run:
    x = np.random.default_rng(4).integers(0, 1000, (4 * count, 32), np.int32)
    want = x[:, np.arange(32) ^ 5][:, ::-1].copy()
    return Run("warp_swap", (count,), (128,), ("x", "out"), {"x": x}, {"out": want})


@kernel(FILE, (1, 1), (2, 100))
def exchanges(count: int, n: int) -> Run:
    data = np.random.default_rng(5).integers(0, 2**32, n, np.uint32)
    rows = data[np.arange(64 * count) % n].reshape(-1, 32)
    lanes = np.arange(32)
    wanted: list[list[np.ndarray]] = [[] for _ in range(10)]
    for x in rows:
        votes = int(((x & 1).astype(np.uint64) << lanes.astype(np.uint64)).sum())
        match = [int(((x % 3 == v % 3) * (1 << lanes)).sum()) for v in x]
        top = x // np.uint32(4000000000)
        same = bool((top == top[0]).all())
        thirds = lanes % 3 == 0
        some = int((((x & 2) > 0) & thirds) @ (1 << lanes)) + int(lanes[thirds].sum())
        values = [
            x[x % 32],
            np.where(lanes >= 3, np.roll(x, 3), x),
            np.where(lanes % 16 + 7 < 16, np.roll(x, -7), x),
            x[lanes ^ 9],
            np.full(32, votes),
            np.full(32, 2 * bool((x > 4000000000).any()) + bool((x > 5).all())),
            np.array(match),
            np.full(32, (0xFFFFFFFF + 1) % 2**32 if same else 0),
            np.where(thirds, some % 2**32, 0),
            np.full(32, 32),
        ]
        for k, value in enumerate(values):
            wanted[k].append(value.astype(np.uint32))
    want = np.concatenate([np.concatenate(w) for w in wanted])
    return Run("exchanges", (count,), (64,), ("x", "out", n), {"x": data}, {"out": want})


@kernel(FILE, 2, 3)
def message(count: int) -> Run:
    zero = np.zeros(1, np.int32)
    expect = {"out": 3 * np.arange(64, dtype=np.int32) + 1, "flag": zero + 1, "ticket": zero + count}
    inputs = {"flag": zero, "ticket": zero}
    scratch = {"data": np.zeros(64, np.int32)}
    return Run("message", (count,), (64,), ("data", "flag", "ticket", "out"), inputs, expect, scratch)


@kernel(FILE, 1, 77, 128)
def warps_leave(n: int) -> Run:
    x = np.random.default_rng(6).integers(-1000, 1000, n, np.int32)
    want = x.sum(keepdims=True, dtype=np.int32)
    return Run("warps_leave", (1,), (128,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, 1, 60)
def frontier(n: int) -> Run:
    """A tree where node k hangs below a smaller one."""
    parents = [int(np.random.default_rng(k).integers(0, k)) for k in range(1, n)]
    below: list[list[int]] = [[] for _ in range(n)]
    depth = [0] * n
    for k, p in enumerate(parents, 1):
        below[p].append(k)
        depth[k] = depth[p] + 1
    first = np.cumsum([0, *map(len, below)]).astype(np.int32)
    children = np.array([c for b in below for c in b] or [0], np.int32)
    inputs = {"first": first, "children": children}
    args = ("first", "children", "depth", n)
    return Run("frontier", (1,), (64,), args, inputs, {"depth": np.array(depth, np.int32)})


@kernel(FILE, (64,))
def half_of_a_barrier(n: int) -> Run:
    return Run("half_of_a_barrier", (1,), (n,), ("out",), {}, {"out": np.full(n, 7, np.int32)})
