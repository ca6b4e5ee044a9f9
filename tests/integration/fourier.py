"""Transforms: numpy.fft in double is the oracle of the floats, exact integers that of the field."""

from __future__ import annotations

import numpy as np

from llmptx.run.job import Array

from .launches import Run, Within, kernel

FILE = "fourier.cu"
PRIME = 998244353


def _parts(z: Array, dtype: str) -> Array:
    return np.stack([z.real, z.imag], -1).astype(dtype)


def _complex(shape: tuple[int, ...], seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@kernel(FILE, (1, 1), (2, 5), (1, 8))
def fft(count: int, bits: int) -> Run:
    n = 1 << bits
    x = _parts(_complex((count, n), 1), "float32")
    z = np.fft.fft(x[..., 0].astype(float) + 1j * x[..., 1])
    # A radix-2 transform errs by a few u log2 n of the norm, which no element exceeds.
    bound = 4 * 2.0**-24 * bits * np.linalg.norm(z, axis=1).max()
    want = Within(_parts(z, "float64"), bound, "float32")
    args = ("x", "out", bits)
    return Run("fft", (count,), (n // 2,), args, {"x": x}, {"out": want}, shared=8 * n)


@kernel(FILE, 1, 2, 45)
def dft(n: int) -> Run:
    z = _complex((n,), 2)
    truth = np.fft.fft(z)
    want = Within(_parts(truth, "float64"), 8 * 2.0**-53 * n * np.abs(z).sum(), "float64")
    args = ("x", "out", "table", n)
    scratch = {"table": np.zeros(2 * n)}
    return Run("dft", (1,), (32,), args, {"x": _parts(z, "float64")}, {"out": want}, scratch)


@kernel(FILE, (1, 1), (2, 4), (1, 7))
def ntt(count: int, bits: int) -> Run:
    n = 1 << bits
    x = np.random.default_rng(3).integers(0, PRIME, (count, n), np.uint32)
    root = pow(3, (PRIME - 1) // n, PRIME)
    powers = [pow(root, k, PRIME) for k in range(n)]
    rows = [
        [sum(int(v) * powers[j * k % n] for j, v in enumerate(row)) % PRIME for k in range(n)] for row in x
    ]
    want = np.array(rows, np.uint32)
    return Run("ntt", (count,), (32,), ("x", bits), {"x": x}, {"x": want}, shared=4 * n)
