"""Learning machines' kernels: the same formula in double, within a bound on the rounding of float."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from llmptx.run.job import Array

from .launches import Run, Within, kernel, ulps
from .reduce import blocks

FILE = "models.cu"
U = 2.0**-24


def near(truth: Any, steps: float, scale: Any = None) -> Within:
    """Within `steps` roundings of a float of the truth's size, or of `scale` where terms cancel."""
    truth = np.asarray(truth, float)
    return Within(truth, steps * U * np.abs(truth if scale is None else scale) + 1e-37, "float32")


def normal(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@kernel(FILE, (1, 1), (3, 100))
def softmax(rows: int, columns: int) -> Run:
    x = 5 * normal((rows, columns), 1)
    want = near(special.softmax(x.astype(float), axis=1), 40 + columns)
    return Run("softmax", (rows,), (64,), ("x", "out", columns), {"x": x}, {"out": want})


@kernel(FILE, (1, 2), (3, 100))
def layer_norm(rows: int, columns: int) -> Run:
    x, scale, shift = normal((rows, columns), 2), normal((columns,), 3), normal((columns,), 4)
    wide = x.astype(float)
    eps = np.float32(1e-5)
    normed = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + float(eps))
    truth = normed * scale + shift
    want = near(truth, 40 + columns, (np.abs(normed) + 1) * np.abs(scale) + np.abs(shift))
    args = ("x", "scale", "shift", "out", eps, columns)
    return Run("layer_norm", (rows,), (64,), args, {"x": x, "scale": scale, "shift": shift}, {"out": want})


@kernel(FILE, 1, 100)
def gelu(n: int) -> Run:
    x = (3 * normal((n,), 5)).astype(np.float16)
    wide = x.astype(float)
    truth = 0.5 * wide * (1 + np.tanh(0.7978845608 * (wide + 0.044715 * wide**3)))
    # Half a unit of the rounding to half, and what float loses where 1 + tanh cancels.
    bound = ulps(truth, 0.51, np.float16).bound + 8 * U * np.abs(wide)
    want = Within(truth, bound, "float16")
    return Run("gelu", (blocks(n, 64),), (64,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (1, 2), (9, 16))
def rope(positions: int, size: int) -> Run:
    x = normal((positions, size), 6)
    half = size // 2
    angle = np.arange(positions)[:, None] * 10000.0 ** (-2.0 * np.arange(half) / size)
    a, b = x[:, :half].astype(float), x[:, half:].astype(float)
    truth = np.concatenate([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], 1)
    scale = np.tile((np.abs(a) + np.abs(b)) * (4 + 10 * angle), 2)
    args = ("x", positions, size)
    grid = (blocks(positions * half, 32),)
    return Run("rope", grid, (32,), args, {"x": x}, {"x": near(truth, 4, scale)})


@kernel(FILE, (1, 4), (13, 20))
def attention(length: int, size: int) -> Run:
    q, k, v = (normal((length, size), s) for s in (7, 8, 9))
    scores = (q.astype(float) @ k.T) / math.sqrt(size)
    scores[np.triu_indices(length, 1)] = -np.inf
    weights = special.softmax(scores, axis=1)
    reach = np.abs(q.astype(float)) @ np.abs(k.T).astype(float)
    want = near(weights @ v, 20 + length, (1 + reach.max()) * (weights @ np.abs(v)))
    args = ("q", "k", "v", "out", length, size)
    inputs = {"q": q, "k": k, "v": v}
    return Run("attention", (blocks(length, 2),), (64,), args, inputs, {"out": want})


@kernel(FILE, (1, 2), (40, 9))
def cross_entropy(rows: int, classes: int) -> Run:
    x = normal((rows, classes), 10)
    labels = np.random.default_rng(11).integers(-1 if rows > 1 else 0, classes, rows)
    truth = special.logsumexp(x.astype(float), axis=1) - x[np.arange(rows), labels]
    want = np.where(labels < 0, -1.0, truth)
    bound = np.where(labels < 0, 0, U * (20 + classes) * (1 + np.abs(x).max()))
    inputs = {"x": x, "labels": labels, "loss": np.full(rows, -1.0)}
    args = ("x", "labels", "loss", rows, classes)
    expect = {"loss": Within(want, bound, "float64")}
    return Run("cross_entropy", (blocks(rows, 32),), (32,), args, inputs, expect)


@kernel(FILE, 1, 100)
def adam(n: int) -> Run:
    w, g, m = (normal((n,), s) for s in (12, 13, 14))
    v = np.abs(normal((n,), 15))
    rate, b1, b2, eps = (np.float32(x) for x in (0.01, 0.9, 0.99, 1e-8))
    r, p, s, e = (float(x) for x in (rate, b1, b2, eps))
    m1 = p * m + (1 - p) * g.astype(float)
    v1 = s * v + (1 - s) * g.astype(float) ** 2
    reach = p * np.abs(m) + (1 - p) * np.abs(g)
    expect = {
        "w": near(w - r * m1 / (np.sqrt(v1) + e), 4, np.abs(w) + r * reach / np.sqrt(v1) * 8),
        "m": near(m1, 4, reach),
        "v": near(v1, 6),
    }
    args = ("w", "g", "m", "v", rate, b1, b2, eps, n)
    return Run("adam", (blocks(n, 64),), (64,), args, {"w": w, "g": g, "m": m, "v": v}, expect)


@kernel(FILE, (1, 1), (150, 5))
def kmeans(n: int, k: int) -> Run:
    rng = np.random.default_rng(16)
    points = rng.integers(-100, 100, (n, 2)).astype(np.float32)
    centres = rng.integers(-100, 100, (k, 2)).astype(np.float32)
    nearest = ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1).astype(np.int32)
    sums = np.stack([np.bincount(nearest, points[:, a], k) for a in (0, 1)], 1).astype(np.float32)
    counts = np.bincount(nearest, minlength=k).astype(np.int32)
    inputs = {"points": points, "centres": centres, "counts": np.zeros(k, np.int32)}
    inputs["sums"] = np.zeros((k, 2), np.float32)
    args = ("points", "centres", "nearest", "counts", "sums", n, k)
    expect = {"nearest": nearest, "counts": counts, "sums": sums}
    return Run("kmeans", (blocks(n, 64),), (64,), args, inputs, expect, shared=8 * k)


@kernel(FILE, 1, 70)
def gravity(n: int) -> Run:
    bodies = normal((n, 4), 17)
    bodies[:, 3] = np.abs(bodies[:, 3])
    wide = bodies.astype(float)
    away = wide[None, :, :3] - wide[:, None, :3]
    force = wide[None, :, 3] / ((away**2).sum(2) + np.float64(np.float32(0.01))) ** 1.5
    truth = np.concatenate([(force[:, :, None] * away).sum(1), np.zeros((n, 1))], 1)
    scale = np.concatenate([(force[:, :, None] * np.abs(away)).sum(1), np.zeros((n, 1))], 1)
    want = near(truth, 20 + n, scale)
    return Run("gravity", (blocks(n, 64),), (64,), ("bodies", "pull", n), {"bodies": bodies}, {"pull": want})


@kernel(FILE, (1, 1), (20, 7), (45, 70))
def edit_distance(na: int, nb: int) -> Run:
    rng = np.random.default_rng(18)
    a, b = (rng.integers(0, 3, n, np.uint8) for n in (na, nb))
    row = list(range(nb + 1))
    for i in range(1, na + 1):
        last, row = row, [i]
        for j in range(1, nb + 1):
            row.append(min(row[-1] + 1, last[j] + 1, last[j - 1] + int(a[i - 1] != b[j - 1])))
    args = ("a", na, "b", nb, "out")
    want = np.array(row[-1:], np.int32)
    return Run("edit_distance", (1,), (64,), args, {"a": a, "b": b}, {"out": want}, shared=12 * (na + 1))


@kernel(FILE, 1, 60)
def black_scholes(n: int) -> Run:
    rng = np.random.default_rng(19)
    s, k, t = rng.uniform(5, 30, n), rng.uniform(1, 100, n), rng.uniform(0.25, 10, n)
    spread = 0.3 * np.sqrt(t)
    d = (np.log(s / k) + (0.02 + 0.045) * t) / spread
    truth = s * special.ndtr(d) - k * np.exp(-0.02 * t) * special.ndtr(d - spread)
    want = Within(truth, 64 * 2.0**-53 * (s + k), "float64")
    args = ("spot", "strike", "years", "call", np.float64(0.02), np.float64(0.3), n)
    inputs = {"spot": s, "strike": k, "years": t}
    return Run("black_scholes", (blocks(n, 64),), (64,), args, inputs, {"call": want})


@kernel(FILE, (1, 1), (30, 3))
def embed(count: int, vectors: int) -> Run:
    rng = np.random.default_rng(20)
    table = rng.integers(0, 2**32, (11, vectors, 4), np.uint32)
    ids = rng.integers(0, 11, count, np.int32)
    args = ("table", "ids", "out", count, vectors)
    return Run("embed", (2,), (32,), args, {"table": table, "ids": ids}, {"out": table[ids]})
