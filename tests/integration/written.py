"""PTX as a language model writes it, in several styles, against numpy; and what a slip in it comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .elementwise import integers
from .launches import Kernel, Run, kernel
from .reduce import blocks


@dataclass(frozen=True, slots=True)
class Slip:
    """`old` of a kernel written as `new`; `kinds` of findings due, at a line with one of `lines` in it."""

    kernel: Kernel
    old: str
    new: str
    kinds: tuple[str, ...]
    lines: tuple[str, ...]


SLIPS: list[Slip] = []
RACE, UNSET, OUTSIDE = "data-race", "uninitialized-read", "out-of-bounds"


def slip(of: Kernel, old: str, new: str, kinds: tuple[str, ...], *lines: str) -> None:
    SLIPS.append(Slip(of, old, new, kinds, lines))


def small(n: int, seed: int) -> np.ndarray:
    """Whole numbers as floats: sums of them are exact."""
    return np.random.default_rng(seed).integers(-9, 10, n).astype(np.float32)


@kernel("written-saxpy.ptx", 100)
def saxpy(n: int) -> Run:
    x, y = small(n, 1), small(n, 2)
    args = ("x", "y", np.float32(1.5), n)
    want = (x.astype(float) * 1.5 + y).astype(np.float32)
    return Run("saxpy", (1,), (64,), args, {"x": x, "y": y}, {"y": want})


slip(saxpy, "setp.lt", "setp.le", (OUTSIDE,), "LOOP:")


@kernel("written-sum.ptx", 700)
def total(n: int) -> Run:
    x = small(n, 3)
    count = blocks(n, 256)
    want = np.pad(x, (0, 256 * count - n)).reshape(count, 256).sum(1)
    return Run("sum", (count,), (256,), ("x", "out", n), {"x": x}, {"out": want})


slip(total, "  bar.sync 0; // keep\n", "", (RACE,), "st.shared.f32 [%r8], %f4", "ld.shared.f32 %f2")
slip(total, "%r9, 128;", "%r9, 256;", (OUTSIDE,), "ld.shared.f32 %f2")
slip(total, "  st.shared.f32 [%r8], %f1;\n", "", (UNSET,), "ld.shared")
slip(total, "NEXT:\n  bar.sync 0; // keep", "  bar.sync 0;\nNEXT:", ("barrier-divergence",), "bar.sync")
slip(total, "sdata[1024]", "sdata[512]", (OUTSIDE,), "st.shared.f32 [%r8], %f1")


@kernel("written-histogram.ptx", 500)
def histogram(n: int) -> Run:
    x = np.random.default_rng(4).integers(0, 256, n).astype(np.uint8)
    inputs = {"x": x, "h": np.zeros(256, np.uint32)}
    want = np.bincount(x, minlength=256).astype(np.uint32)
    return Run("histogram", (2,), (96,), ("x", "h", n), inputs, {"h": want})


slip(histogram, "Zeroed: bar.sync 0;", "Zeroed:", (RACE, UNSET), "atom.shared", "st.shared")
slip(histogram, "Counted: bar.sync 0;", "Counted:", (RACE,), "ld.shared", "atom.shared")
slip(histogram, "red.global.add.u32 [", "st.global.u32 [", (RACE,), "st.global")
slip(histogram, "st.shared.u32 [%r5], 0;", "", (UNSET,), "atom.shared")


@kernel("written-matmul.ptx", 19)
def matmul(n: int) -> Run:
    a, b = small(n * n, 5).reshape(n, n), small(n * n, 6).reshape(n, n)
    grid = (blocks(n, 8), blocks(n, 8))
    return Run("matmul", grid, (8, 8), ("a", "b", "c", n), {"a": a, "b": b}, {"c": a @ b})


slip(matmul, "  barrier.sync 0;\n", "", (RACE,), "st.shared", "ld.shared")
slip(matmul, "  bar.sync 0;\n", "", (RACE, UNSET), "st.shared", "ld.shared")
slip(matmul, "  @%in ld.global.f32 %x", "  ld.global.f32 %x", (OUTSIDE,), "ld.global.f32 %x")
slip(matmul, "setp.lt.u32 %p,%i,8", "setp.le.u32 %p,%i,8", (OUTSIDE, UNSET), "ld.shared")


@kernel("written-warps.ptx", 3)
def warps(count: int) -> Run:
    x = small(32 * count, 7)
    want = x.reshape(count, 32).sum(1)
    return Run("warps", (1,), (32 * count,), ("x", "out"), {"x": x}, {"out": want})


slip(warps, "@%first st", "st", (RACE,), "st.global.f32")


def _steps(value: int) -> int:
    count = 0
    while value > 1:
        value = 3 * value + 1 if value % 2 else value // 2
        count += 1
    return count


@kernel("written-collatz.ptx", 60)
def collatz(n: int) -> Run:
    x = np.random.default_rng(8).integers(1, 1000, n).astype(np.uint32)
    want = np.array([_steps(v) for v in x.tolist()], np.uint32)
    return Run("collatz", (1,), (64,), ("x", "out", n), {"x": x}, {"out": want})


slip(collatz, "shr.u32 %x, %x, 1;", "shr.u32 %x, %x, 0;", ("timeout",), "L0:")


@kernel("written-reversed.ptx", 40)
def turned(n: int) -> Run:
    x = integers(16 * n, np.int32, 9)
    want = x.reshape(n, 16)[:, ::-1].copy()
    return Run("reversed", (1,), (n,), ("x", "out"), {"x": x}, {"out": want})


slip(turned, "%i,16; @%p bra F", "%i,15; @%p bra F", (UNSET,), "G:")
slip(turned, "setp.lt.u32 %p,%i,16; @%p bra F", "setp.le.u32 %p,%i,16; @%p bra F", (OUTSIDE,), "F:")


@kernel("written-copied.ptx", 64)
def copied(n: int) -> Run:
    x = small(4 * n, 10)
    return Run("copied", (1,), (n,), ("x", "out"), {"x": x}, {"out": x[::-1].copy()})


slip(copied, "bar.sync 0;", "", (RACE, UNSET), "ld.shared", "cp.async.ca")
slip(copied, " cp.async.wait_group 0;\n", "", (RACE, UNSET), "ld.shared", "cp.async.ca")


@kernel("written-beside.ptx", (7, 13))
def beside(rows: int, columns: int) -> Run:
    x = small(rows * columns, 11).reshape(rows, columns)
    wide = np.pad(x, ((0, 0), (1, 1)))
    want = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    grid = (blocks(columns, 8), blocks(rows, 2))
    return Run("beside", grid, (8, 2), ("x", "out", columns, rows), {"x": x}, {"out": want})


slip(beside, "@%p3 ld.global.f32 %v,[%x+-4];", "ld.global.f32 %v,[%x+-4];", (OUTSIDE,), "[%x+-4]")
slip(beside, "@%p4 ld.global.f32 %v,[%x+4];", "ld.global.f32 %v,[%x+4];", (OUTSIDE,), "[%x+4]")


@kernel("written-divided.ptx", 100)
def divided(n: int) -> Run:
    rng = np.random.default_rng(12)
    a, b = rng.integers(-(10**9), 10**9, n), rng.integers(-5, 6, n)
    safe = np.where(b == 0, 1, b)
    quotient = np.where(b == 0, -1, np.trunc(a / safe).astype(np.int64))
    rest = np.where(b == 0, a, np.fmod(a, safe))
    args = ("a", "b", "out", np.int64(n))
    want = quotient * 1000003 + rest
    return Run("divided", (blocks(n, 64),), (64,), args, {"a": a, "b": b}, {"out": want})


slip(divided, "setp.ge.u64", "setp.gt.u64", (OUTSIDE,), "ld.global.s64")


@kernel("written-product.ptx", 1)
def product(_: int) -> Run:
    a, b = (small(n, s).astype(np.float16) for n, s in ((256, 13), (128, 14)))
    want = a.reshape(16, 16).astype(np.float32) @ b.reshape(8, 16).T.astype(np.float32)
    return Run("product", (1,), (32,), ("a", "b", "c"), {"a": a, "b": b}, {"c": want})


slip(product, "[%p+272]", "[%p+528]", (OUTSIDE,), "[%p+528]")


@kernel("written-switched.ptx", 64)
def switched(n: int) -> Run:
    x = np.random.default_rng(15).integers(0, 8, n).astype(np.uint32)
    bits = [t.bit_count() for t in range(n)]
    ways = [(100, t + 200, bits[t], bits[t], t + 200) for t in range(n)]
    want = [ways[t][v] if v < 5 else ~v & 0xFFFFFFFF for t, v in enumerate(x.tolist())]
    return Run("switched", (1,), (n,), ("x", "out"), {"x": x}, {"out": np.array(want, np.uint32)})


def _number(words: np.ndarray) -> int:
    return sum(int(w) << 32 * i for i, w in enumerate(words))


@kernel("written-carried.ptx", 40)
def carried(n: int) -> Run:
    rng = np.random.default_rng(16)
    x, y = (rng.integers(0, 2**32, (n, 4)).astype(np.uint32) for _ in range(2))
    sums = [_number(a) + _number(b) + int(a[0]) * int(b[0]) for a, b in zip(x, y, strict=True)]
    want = np.array([[s >> 32 * i & 0xFFFFFFFF for i in range(4)] for s in sums], np.uint32)
    return Run("carried", (1,), (n,), ("x", "y", "out"), {"x": x, "y": y}, {"out": want})
