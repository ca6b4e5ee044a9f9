"""Stencils: numpy in the same type and the same order of operations, exactly."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel
from .reduce import blocks

FILE = "stencil.cu"
TAPS = np.array([0.0625, -0.125, 0.25, 0.5, 1.0, 0.5, 0.25, -0.125, 0.0625], np.float32)


@kernel(FILE, 1, 4, 100)
def convolve(n: int) -> Run:
    x = np.random.default_rng(1).standard_normal(n).astype(np.float32)
    padded = np.pad(x, 4)
    inside = np.pad(np.ones(n, bool), 4)
    want = np.zeros(n, np.float32)
    for k in range(9):
        want = np.where(inside[k : k + n], want + padded[k : k + n] * TAPS[k], want)
    return Run("convolve", (blocks(n, 64),), (64,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (1, 1), (8, 16), (19, 33))
def heat(rows: int, columns: int) -> Run:
    x = np.random.default_rng(2).standard_normal((rows, columns)).astype(np.float32)
    want = x.copy()
    middle = x[1:-1, 1:-1]
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    want[1:-1, 1:-1] = middle + np.float32(0.25) * (around - 4 * middle)
    args = ("x", "out", rows, columns)
    grid = (blocks(columns, 16), blocks(rows, 8))
    return Run("heat", grid, (16, 8), args, {"x": x}, {"out": want})


@kernel(FILE, (1, 1, 1), (5, 4, 3), (9, 7, 5))
def laplace(nx: int, ny: int, nz: int) -> Run:
    x = np.random.default_rng(3).standard_normal((nz, ny, nx))
    p = np.pad(x, 1)
    want = -6 * x + p[1:-1, 1:-1, :-2] + p[1:-1, 1:-1, 2:] + p[1:-1, :-2, 1:-1] + p[1:-1, 2:, 1:-1]
    want = want + p[:-2, 1:-1, 1:-1] + p[2:, 1:-1, 1:-1]
    grid = (blocks(nx, 4), blocks(ny, 4), blocks(nz, 2))
    return Run("laplace", grid, (4, 4, 2), ("x", "out", nx, ny, nz), {"x": x}, {"out": want})


@kernel(FILE, (3, 3), (20, 17))
def life(rows: int, columns: int) -> Run:
    x = np.random.default_rng(4).integers(0, 2, (rows, columns), np.uint8)
    turns = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    alive = sum(np.roll(x, t, (0, 1)).astype(int) for t in turns)
    want = ((alive == 3) | ((alive == 2) & (x > 0))).astype(np.uint8)
    grid = (blocks(columns, 16), blocks(rows, 4))
    return Run("life", grid, (16, 4), ("x", "out", rows, columns), {"x": x}, {"out": want})


@kernel(FILE, (1, 1), (11, 20))
def median(rows: int, columns: int) -> Run:
    x = np.random.default_rng(5).integers(0, 256, (rows, columns), np.uint8)
    p = np.pad(x, 1, "edge")
    all_ = [p[r : r + rows, c : c + columns] for r in range(3) for c in range(3)]
    want = np.sort(np.stack(all_), 0)[4]
    grid = (blocks(columns, 8), blocks(rows, 4))
    return Run("median", grid, (8, 4), ("x", "out", rows, columns), {"x": x}, {"out": want})


@kernel(FILE, (3, 1), (70, 6))
def relax(n: int, steps: int) -> Run:
    x = np.random.default_rng(6).standard_normal(n)
    both = np.concatenate([x, np.zeros(n)])
    want = both.copy()
    for s in range(steps):
        source = want[:n] if s % 2 == 0 else want[n:]
        target = want[n:] if s % 2 == 0 else want[:n]
        target[:] = source
        target[1:-1] = (source[:-2] + source[2:]) / 2
    return Run("relax", (1,), (64,), ("both", n, steps), {"both": both}, {"both": want})


@kernel(FILE, (1, 0), (100, 3), (40, 50))
def dilate(n: int, w: int) -> Run:
    x = np.random.default_rng(7).integers(-(2**15), 2**15, n, np.int16)
    want = np.array([x[max(0, i - w) : i + w + 1].max() for i in range(n)])
    args = ("x", "out", n, w)
    shared = 2 * (32 + 2 * w)
    return Run("dilate", (blocks(n, 32),), (32,), args, {"x": x}, {"out": want}, shared=shared)
