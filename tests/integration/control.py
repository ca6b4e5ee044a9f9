"""Control flow against plain Python."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from .elementwise import integers
from .launches import Run, kernel
from .reduce import blocks

FILE = "control.cu"


def _signed(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def _switched(x: int) -> int:
    quotient = abs(x) // 3 * (1 if x >= 0 else -1)
    remainder = math.fmod(x, 7)
    cases = {
        0: x * 3,
        1: quotient,
        2: int(remainder),
        3: x ^ 0x55,
        4: (x & 0xFFFFFFFF).bit_count(),
        5: x << 3,
        6: (x >> 3) + 11,
        7: x + 11,
        8: -x,
        9: ~x,
        10: min(x, 100),
        11: max(x, -100),
        12: x & 0xFF,
        13: abs(int(math.fmod(x, 1000))),
    }
    return _signed(cases.get(x % 16, 1 << (x & 31)))


@kernel(FILE, 1, 200)
def dense_switch(n: int) -> Run:
    x = integers(n, np.int32, 1)
    want = np.array([_switched(v) for v in x.tolist()], np.int32)
    return Run("dense_switch", (blocks(n, 64),), (64,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (1, 1, 5), (30, 20, 60))
def mandelbrot(width: int, height: int, most: int) -> Run:
    y, x = np.mgrid[:height, :width]
    cr, ci = x * 3.0 / width - 2, y * 2.0 / height - 1
    r, i, k = np.zeros_like(cr), np.zeros_like(cr), np.zeros(cr.shape, np.uint16)
    for _ in range(most):
        go = r * r + i * i <= 4
        r, i = np.where(go, r * r - i * i + cr, r), np.where(go, 2 * r * i + ci, i)
        k += go
    args = ("out", width, height, most)
    return Run("mandelbrot", (blocks(width, 16), blocks(height, 4)), (16, 4), args, {}, {"out": k})


@kernel(FILE, 1, 100)
def collatz(n: int) -> Run:
    x = np.random.default_rng(2).integers(1, 10**6, n).astype(np.uint64)

    def steps(v: int) -> int:
        count = 0
        while v != 1:
            v = 3 * v + 1 if v % 2 else v // 2
            count += 1
        return count

    want = np.array([steps(v) for v in x.tolist()], np.uint32)
    return Run("collatz", (blocks(n, 32),), (32,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, 1, 150)
def gcd(n: int) -> Run:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 5000, n, np.uint32) * rng.integers(1, 9, n, np.uint32) for _ in range(2))
    a[::17] = 0
    args = ("a", "b", "out", n)
    return Run("gcd", (2,), (32,), args, {"a": a, "b": b}, {"out": np.gcd(a, b)})


@kernel(FILE, (0, 5), (1, 1), (37, 100))
def search(size: int, n: int) -> Run:
    rng = np.random.default_rng(4)
    table = np.sort(rng.integers(0, 40, size).astype(np.float32))
    keys = rng.integers(-1, 42, n).astype(np.float32)
    want = np.searchsorted(table, keys).astype(np.int32)
    args = ("table", size, "keys", "out", n)
    return Run("search", (blocks(n, 32),), (32,), args, {"table": table, "keys": keys}, {"out": want})


@cache
def _queens(n: int, columns: int, left: int, right: int) -> int:
    if columns == (1 << n) - 1:
        return 1
    free = ((1 << n) - 1) & ~(columns | left | right)
    bits = [1 << k for k in range(n) if free >> k & 1]
    return sum(_queens(n, columns | b, (left | b) << 1, (right | b) >> 1) for b in bits)


@kernel(FILE, 1, 4, 7)
def queens(n: int) -> Run:
    want = np.array([_queens(n, 1 << k, 2 << k, (1 << k) >> 1) for k in range(n)], np.uint32)
    return Run("queens", (1,), (32,), ("out", n), {}, {"out": want})


def _puzzles(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Puzzles and their first solutions, digits tried in order."""
    rng = np.random.default_rng(5)
    base = np.array([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]], np.uint8)
    puzzles = []
    for _ in range(n):
        digits = np.concatenate([[0], rng.permutation(4) + 1]).astype(np.uint8)
        puzzles.append(np.where(rng.random((4, 4)) < 0.4, digits[base], 0).ravel().astype(np.uint8))

    def solve(cells: list[int]) -> list[int] | None:
        if 0 not in cells:
            return cells
        at = cells.index(0)
        r, c = divmod(at, 4)
        for digit in range(1, 5):
            peers = [
                k for k in range(16) if k // 4 == r or k % 4 == c or (k // 8, k % 4 // 2) == (r // 2, c // 2)
            ]
            if all(cells[k] != digit for k in peers):
                found = solve([*cells[:at], digit, *cells[at + 1 :]])
                if found:
                    return found
        return None

    solved = [solve(p.tolist()) for p in puzzles]
    return np.array(puzzles), np.array(solved, np.uint8)


@kernel(FILE, 1, 40)
def sudoku(n: int) -> Run:
    puzzles, solved = _puzzles(n)
    return Run("sudoku", (blocks(n, 32),), (32,), ("x", "out", n), {"x": puzzles}, {"out": solved})


@kernel(FILE, (1, 5), (50, 33))
def find_text(count: int, length: int) -> Run:
    texts = np.random.default_rng(6).choice(np.frombuffer(b"ab", np.uint8), (count, length))
    pattern = np.frombuffer(b"abba", np.uint8).copy()
    want = np.array([bytes(t).find(b"abba") for t in texts], np.int32)
    args = ("texts", length, "pattern", 4, "out", count)
    inputs = {"texts": texts, "pattern": pattern}
    return Run("find_text", (blocks(count, 32),), (32,), args, inputs, {"out": want})


@kernel(FILE, (1, 1), (40, 50))
def letters(count: int, length: int) -> Run:
    texts = np.random.default_rng(7).integers(97, 123, (count, length), np.uint8)
    counts = np.stack([(texts == 97 + k).sum(1) for k in range(26)], 1)
    want = (97 + counts.argmax(1)).astype(np.uint8)
    args = ("texts", "most", length, count)
    return Run("letters", (blocks(count, 32),), (32,), args, {"texts": texts}, {"most": want})


@kernel(FILE, (1, 1), (40, 60))
def state_machine(count: int, length: int) -> Run:
    texts = np.random.default_rng(8).choice(np.frombuffer(b"ab12  .", np.uint8), (count, length))

    def counted(text: bytes) -> int:
        numbers = words = others = 0
        before = ""
        for c in text.decode():
            kind = "n" if c.isdigit() else "w" if c.isalpha() else ""
            numbers += kind == "n" and before != "n"
            words += kind == "w" and before == ""
            others += kind == ""
            before = kind
        return numbers << 20 | words << 10 | others

    want = np.array([counted(bytes(t)) for t in texts], np.uint32)
    args = ("texts", "out", length, count)
    return Run("state_machine", (blocks(count, 32),), (32,), args, {"texts": texts}, {"out": want})


@kernel(FILE, 1, 100)
def leave_early(n: int) -> Run:
    x = np.random.default_rng(9).integers(-30, 100, n, np.int32)
    want = np.where(x < 0, -1, (x % 10) ** 2).astype(np.int32)
    # A negative number ends at the first round, unless its remainder is zero.
    want[(x < 0) & (x % 10 == 0)] = 0
    return Run("leave_early", (blocks(n, 64),), (64,), ("x", "out", n), {"x": x}, {"out": want})


@kernel(FILE, (2, 3), (40, 0), (64, 8))
def barriers_in_loops(n: int, rounds: int) -> Run:
    x = np.random.default_rng(10).integers(0, 1000, n, np.int32)
    now = np.zeros(64, np.int32)
    now[:n] = x
    for k in range(rounds if n > 3 else 0):
        now = now if k % 3 == 2 else np.roll(now, -1)
    return Run("barriers_in_loops", (1,), (64,), ("x", "out", n, rounds), {"x": x}, {"out": now})


@kernel(FILE, 1, 40)
def recursion(count: int) -> Run:
    m = np.arange(count, dtype=np.uint32) % 4
    n = np.arange(count, dtype=np.uint32) // 4 % 4
    closed = [lambda n: n + 1, lambda n: n + 2, lambda n: 2 * n + 3, lambda n: 2 ** (n + 3) - 3]
    want = np.array([closed[a](b) for a, b in zip(m.tolist(), n.tolist(), strict=True)], np.uint32)
    args = ("m", "n", "out", count)
    return Run("recursion", (blocks(count, 32),), (32,), args, {"m": m, "n": n}, {"out": want})


@kernel(FILE, 1, 70)
def by_pointer(n: int) -> Run:
    x = np.random.default_rng(11).standard_normal(n).astype(np.float32)
    which = np.random.default_rng(12).integers(0, 3, n, np.uint8)
    want = np.choose(which, [2 * x, x * x, -x])
    args = ("x", "which", "out", n)
    return Run("by_pointer", (blocks(n, 32),), (32,), args, {"x": x, "which": which}, {"out": want})


@kernel(FILE, 1, 70)
def by_class(n: int) -> Run:
    x = np.random.default_rng(13).integers(0, 50, n).astype(np.float32)
    want = np.where(np.arange(n) % 3, x * x, 3 * x * x).astype(np.float32)
    return Run("by_class", (blocks(n, 32),), (32,), ("x", "out", n), {"x": x}, {"out": want})
