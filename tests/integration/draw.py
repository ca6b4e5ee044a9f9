"""Random generators against plain Python, bit for bit."""

from __future__ import annotations

import numpy as np

from .launches import Run, kernel, ulps
from .reduce import blocks

FILE = "draw.cu"
KEY = 0xDEADBEEF12345678
M32, M64 = 2**32 - 1, 2**64 - 1


def philox(counter: int, key: int) -> list[int]:
    c = [counter & M32, counter >> 32 & M32, 0, 0]
    k0, k1 = key & M32, key >> 32
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & M32, (a >> 32) ^ c[3] ^ k1, a & M32]
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return c


@kernel(FILE, (1, 0), (201, 2**33 - 5))
def philox_fill(n: int, first: int) -> Run:
    count = blocks(n, 128)
    words = [w for i in range(-(-n // 4)) for w in philox(first + i, KEY)][:n]
    args = ("out", KEY, first, n)
    return Run("philox_fill", (count,), (32,), args, {}, {"out": np.array(words, np.uint32)})


@kernel(FILE, 1, 70)
def philox_normal(n: int) -> Run:
    words = np.array([philox(i, KEY)[:2] for i in range(n)], np.uint32)
    # In float as the kernel has it: the uniform deviates are rounded, what follows is bounded.
    u = (words[:, 0].astype(np.float32) + np.float32(0.5)) * np.float32(2.3283064e-10)
    angle = (words[:, 1].astype(np.float32) * np.float32(4.656613e-10)).astype(np.float64)
    radius = np.sqrt(-2 * np.log(u.astype(np.float64)))
    truth = np.stack([radius * np.sin(np.pi * angle), radius * np.cos(np.pi * angle)], 1)
    return Run(
        "philox_normal", (blocks(n, 32),), (32,), ("out", KEY, n), {}, {"out": ulps(truth, 6, np.float32)}
    )


def xorshift(s: np.ndarray) -> np.ndarray:
    s = s ^ (s << np.uint32(13))
    s = s ^ (s >> np.uint32(17))
    return s ^ (s << np.uint32(5))


@kernel(FILE, (1, 10), (100, 50))
def count_inside(n: int, tries: int) -> Run:
    seeds = np.random.default_rng(1).integers(1, 2**32, n, np.uint32)
    s, total = seeds, 0
    for _ in range(tries):
        x = xorshift(s)
        s = y = xorshift(x)
        wide = [(v >> np.uint32(1)).astype(np.uint64) for v in (x, y)]
        total += int(((wide[0] ** 2 + wide[1] ** 2) >> np.uint64(62) == 0).sum())
    inputs = {"seeds": seeds, "inside": np.zeros(1, np.uint32)}
    args = ("seeds", "inside", tries, n)
    want = np.array([total], np.uint32)
    return Run("count_inside", (blocks(n, 64),), (64,), args, inputs, {"inside": want})


@kernel(FILE, 1, 300)
def pcg_jump(n: int) -> Run:
    state, sequence, out = 0x0123456789ABCDEF, 54, []
    s = state
    for _ in range(n):
        word, turn = ((s >> 18 ^ s) >> 27) & M32, s >> 59
        out.append((word >> turn | word << (-turn & 31)) & M32)
        s = (s * 6364136223846793005 + (sequence << 1 | 1)) & M64
    args = ("out", state, sequence, n)
    return Run("pcg_jump", (blocks(n, 64),), (64,), args, {}, {"out": np.array(out, np.uint32)})


@kernel(FILE, 1, 45)
def shuffle_rows(count: int) -> Run:
    rows = np.random.default_rng(2).integers(0, 256, (count, 16), np.uint8)
    seeds = np.random.default_rng(3).integers(1, 2**32, count, np.uint32)
    want = rows.copy()
    for row, seed in zip(want, seeds, strict=True):
        s = np.array([seed])
        for j in range(15, 0, -1):
            s = xorshift(s)
            while (s[0] & 15) > j:
                s = xorshift(s)
            k = int(s[0] & 15)
            row[j], row[k] = row[k], row[j]
    args = ("rows", "seeds", count)
    return Run(
        "shuffle_rows", (blocks(count, 32),), (32,), args, {"rows": rows, "seeds": seeds}, {"rows": want}
    )
