"""Hashes and long numbers: hashlib, zlib and Python's integers are the oracles."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np

from llmptx.run.job import Array

from .launches import Run, kernel
from .reduce import blocks

FILE = "digits.cu"


@kernel(FILE, (1, 0), (40, 100))
def sha256(count: int, length: int) -> Run:
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, 256, length, np.uint8).tobytes() for _ in range(count)]
    chunks = (length + 8) // 64 + 1
    padded = [t + b"\x80" + bytes(64 * chunks - length - 9) + (8 * length).to_bytes(8, "big") for t in texts]
    want = np.frombuffer(b"".join(hashlib.sha256(t).digest() for t in texts), np.uint32)
    data = np.frombuffer(b"".join(padded), np.uint32)
    return Run("sha256", (blocks(count, 32),), (32,), ("x", "out", chunks, count), {"x": data}, {"out": want})


@kernel(FILE, (1, 0), (70, 30))
def crc32(count: int, length: int) -> Run:
    texts = np.random.default_rng(2).integers(0, 256, (count, length), np.uint8)
    want = np.array([zlib.crc32(bytes(t)) for t in texts], np.uint32)
    return Run("crc32", (blocks(count, 64),), (64,), ("x", "out", length, count), {"x": texts}, {"out": want})


def _murmur(words: list[int], seed: int) -> int:
    m = 2**32 - 1
    h = seed
    for x in words:
        x = x * 0xCC9E2D51 & m
        x = (x << 15 | x >> 17) * 0x1B873593 & m
        h ^= x
        h = ((h << 13 | h >> 19) * 5 + 0xE6546B64) & m
    h ^= 4 * len(words)
    h = (h ^ h >> 16) * 0x85EBCA6B & m
    h = (h ^ h >> 13) * 0xC2B2AE35 & m
    return h ^ h >> 16


@kernel(FILE, (1, 1), (40, 7))
def murmur(count: int, words: int) -> Run:
    x = np.random.default_rng(3).integers(0, 2**32, (count, words), np.uint32)
    want = np.array([_murmur(r, 0x9747B28C) for r in x.tolist()], np.uint32)
    args = ("x", "out", 0x9747B28C, words, count)
    return Run("murmur", (blocks(count, 32),), (32,), args, {"x": x}, {"out": want})


def _longs(count: int, seed: int) -> tuple[list[int], Array]:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**32, (count, 8), np.uint32)
    words[rng.random(words.shape) < 0.3] = 0xFFFFFFFF
    words[rng.random(words.shape) < 0.2] = 0
    return [int.from_bytes(w.tobytes(), "little") for w in words], words


def _words(values: list[int], count: int) -> Array:
    size = 4 * count
    return np.frombuffer(b"".join((v % (1 << 8 * size)).to_bytes(size, "little") for v in values), np.uint32)


@kernel(FILE, 1, 100)
def add_long(count: int) -> Run:
    (a, x), (b, y) = _longs(count, 4), _longs(count, 5)
    sums = _words([p + q for p, q in zip(a, b, strict=True)], 9)
    differences = _words([p - q for p, q in zip(a, b, strict=True)], 9)
    args = ("a", "b", "sum", "difference", count)
    expect = {"sum": sums, "difference": differences}
    return Run("add_long", (blocks(count, 32),), (32,), args, {"a": x, "b": y}, expect)


@kernel(FILE, 1, 50)
def multiply_long(count: int) -> Run:
    (a, x), (b, y) = _longs(count, 6), _longs(count, 7)
    want = _words([p * q for p, q in zip(a, b, strict=True)], 16)
    args = ("a", "b", "out", count)
    return Run("multiply_long", (blocks(count, 32),), (32,), args, {"a": x, "b": y}, {"out": want})


@kernel(FILE, 1, 60)
def power_mod(n: int) -> Run:
    rng = np.random.default_rng(8)
    base = rng.integers(0, 2**64, n, np.uint64, endpoint=False)
    modulus = rng.integers(0, 2**63, n, np.uint64) * np.uint64(2) + np.uint64(1)
    pairs = zip(base.tolist(), modulus.tolist(), strict=True)
    want = np.array([pow(b, 65537, m) for b, m in pairs], np.uint64)
    args = ("base", "modulus", "out", 65537, n)
    inputs = {"base": base, "modulus": modulus}
    return Run("power_mod", (blocks(n, 32),), (32,), args, inputs, {"out": want})
