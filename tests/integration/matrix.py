"""Matrix kernels: whole numbers are exact in any order; what divides is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmptx.run.job import Array

from .launches import Run, Within, kernel
from .reduce import blocks

FILE = "matrix.cu"


def whole(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    return np.random.default_rng(seed).integers(-50, 50, shape).astype(dtype)


def _product(entry: str, m: int, n: int, k: int, dtype: str, tile: int) -> Run:
    a, b = whole((m, k), dtype, 1), whole((k, n), dtype, 2)
    args = ("a", "b", "c", m, n, k)
    return Run(entry, (blocks(n, tile), blocks(m, tile)), (tile, tile), args, {"a": a, "b": b}, {"c": a @ b})


@kernel(FILE, (1, 1, 1), (5, 7, 0), (17, 33, 9))
def matmul_naive(m: int, n: int, k: int) -> Run:
    return _product("matmul_naive", m, n, k, "float32", 8)


@kernel(FILE, (1, 1, 1), (8, 16, 24), (9, 7, 13), slow=((33, 40, 17),))
def matmul_tiled_f32(m: int, n: int, k: int) -> Run:
    return _product("matmul_tiled_f32", m, n, k, "float32", 8)


@kernel(FILE, (9, 7, 13))
def matmul_tiled_i64(m: int, n: int, k: int) -> Run:
    return _product("matmul_tiled_i64", m, n, k, "int64", 8)


def _transpose(entry: str, rows: int, columns: int, dtype: Any) -> Run:
    x = np.random.default_rng(3).integers(0, 250, (rows, columns)).astype(dtype)
    grid = (blocks(columns, 32), blocks(rows, 32))
    args = ("x", "out", rows, columns)
    return Run(entry, grid, (32, 8), args, {"x": x}, {"out": np.ascontiguousarray(x.T)})


@kernel(FILE, (1, 1), (33, 40))
def transpose_f32(rows: int, columns: int) -> Run:
    return _transpose("transpose_f32", rows, columns, np.float32)


@kernel(FILE, (31, 65))
def transpose_u8(rows: int, columns: int) -> Run:
    return _transpose("transpose_u8", rows, columns, np.uint8)


@kernel(FILE, (1, 1), (5, 70))
def matvec_warps(rows: int, columns: int) -> Run:
    a, x = whole((rows, columns), "float64", 4), whole((columns,), "float64", 5)
    args = ("a", "x", "y", rows, columns)
    return Run("matvec_warps", (blocks(rows, 2),), (64,), args, {"a": a, "x": x}, {"y": a @ x})


@kernel(FILE, 1, 40)
def solve_small(count: int) -> Run:
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((count, 4, 4)), rng.standard_normal((count, 4))
    truth = np.linalg.solve(a, b[:, :, None])[:, :, 0]
    # The error of elimination grows with the condition of the matrix.
    bound = 64 * np.finfo(np.float64).eps * np.linalg.cond(a)[:, None] * np.abs(truth).max(1, keepdims=True)
    args = ("a", "b", "x", count)
    want = Within(truth, np.broadcast_to(bound, truth.shape), "float64")
    return Run("solve_small", (blocks(count, 32),), (32,), args, {"a": a, "b": b}, {"x": want})


@kernel(FILE, 1, 13)
def cholesky(n: int) -> Run:
    """Of L L' with L of whole numbers: every step is exact."""
    lower = np.tril(np.random.default_rng(7).integers(-4, 5, (n, n))).astype(np.float32)
    np.fill_diagonal(lower, 2.0 ** np.random.default_rng(8).integers(0, 3, n))
    a = lower @ lower.T
    return Run("cholesky", (1,), (32,), ("a", n), {"a": a}, {"a": lower}, shared=4 * n * n)


@kernel(FILE, 1, 50)
def sparse_rows(rows: int) -> Run:
    dense = whole((rows, 30), "float32", 9) * (np.random.default_rng(10).random((rows, 30)) < 0.2)
    x = whole((30,), "float32", 11)
    at = np.nonzero(dense)
    starts = np.concatenate([[0], np.bincount(at[0], minlength=rows).cumsum()]).astype(np.int32)
    columns, values = at[1].astype(np.int32), dense[at].astype(np.float32)
    inputs = {"starts": starts, "columns": columns, "values": values, "x": x}
    args = ("starts", "columns", "values", "x", "y", rows)
    want = (dense @ x).astype(np.float32)
    return Run("sparse_rows", (blocks(rows, 32),), (32,), args, inputs, {"y": want})
