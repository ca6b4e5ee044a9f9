"""Elementwise kernels: numpy of the same or a wider type is the oracle, exactly."""

from __future__ import annotations

from typing import Any

import gmpy2
import numpy as np

from llmptx.run.job import Array

from .launches import Run, kernel

FILE = "elementwise.cu"
SIZES = (1, 31, 257)
BLOCK = 64
TYPES = {
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "u16": np.uint16,
    "i32": np.int32,
    "u32": np.uint32,
    "i64": np.int64,
    "u64": np.uint64,
}


def grid(n: int, block: int = BLOCK) -> tuple[int, ...]:
    return (-(-n // block),)


def integers(n: int, dtype: Any, seed: int, whole: bool = True) -> Array:
    """Random, with the extremes first; not `whole`: half the bits, so that products do not overflow."""
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if whole else (info.min >> info.bits // 2, info.max >> info.bits // 2)
    data = np.random.default_rng(seed).integers(low, high, n, dtype, endpoint=True)
    edges = np.array([low, high, 0, 1], dtype)[: len(data)]
    data[: len(edges)] = edges
    return data


def truncated(a: Array, b: Array) -> Array:
    """a / b toward zero."""
    return np.where((a < 0) != (b < 0), -(np.abs(a) // np.abs(b)), np.abs(a) // np.abs(b)).astype(a.dtype)


def mixed(name: str, n: int) -> Run:
    kind = TYPES[name]
    whole = name not in ("i32", "i64")
    a, b = integers(n, kind, 1, whole), integers(n, kind, 2, whole)[::-1].copy()
    wide: Any = {"u32": np.uint32, "u64": np.uint64}.get(name, np.int64)
    x, y = a.astype(wide), b.astype(wide)
    divisor = (y & wide(7)) + wide(1)
    quotient = (x - y) // divisor if wide is not np.int64 else truncated(x - y, divisor)
    want = (x * y + quotient - ((x >> wide(3)) ^ y)).astype(kind)
    return Run(f"mixed_{name}", grid(n), (BLOCK,), ("a", "b", "out", n), {"a": a, "b": b}, {"out": want})


@kernel(FILE, *((name, n) for name in TYPES for n in (33,)), slow=tuple((t, n) for t in TYPES for n in SIZES))
def mixed_arithmetic(name: str, n: int) -> Run:
    return mixed(name, n)


@kernel(FILE, *SIZES)
def divide_i32(n: int) -> Run:
    a, b = integers(n, np.int32, 3), integers(n, np.int32, 4)
    b[::3] %= 100
    b[b == -1] = 7
    x, y = a.astype(np.int64), np.where(b == 0, 1, b).astype(np.int64)
    quotient = truncated(x, y)
    want = np.where(b == 0, x, quotient + x - quotient * y).astype(np.int32)
    return Run("divide_i32", grid(n), (BLOCK,), ("a", "b", "out", n), {"a": a, "b": b}, {"out": want})


@kernel(FILE, *SIZES)
def divide_u64(n: int) -> Run:
    a, b = (
        integers(n, np.uint64, 5),
        integers(n, np.uint64, 6) >> np.arange(n, dtype=np.uint64) % np.uint64(60),
    )
    divisor = np.where(b == 0, 1, b).astype(np.uint64)
    want = np.where(b == 0, a, a % divisor + a // divisor)
    return Run("divide_u64", grid(n), (BLOCK,), ("a", "b", "out", n), {"a": a, "b": b}, {"out": want})


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, 3e38, -3e38]


def floats(n: int, dtype: Any, seed: int) -> Array:
    """Every magnitude, and the special values at places of their own."""
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        data = (rng.standard_normal(n) * np.exp2(rng.integers(-20, 20, n))).astype(dtype)
        special = np.array(SPECIAL).astype(dtype)[:n]
    data[rng.permutation(n)[: len(special)]] = special
    return data


def _rooted(name: str, n: int) -> Run:
    a, b, c = (floats(n, name, seed) for seed in (1, 2, 3))
    with np.errstate(all="ignore"):
        want = np.sqrt(np.where(a < 0, -a, a)) / b + c * a - b
    entry = {"float32": "rooted_f32", "float64": "rooted_f64"}[name]
    buffers = {"a": a, "b": b, "c": c}
    return Run(entry, grid(n), (BLOCK,), ("a", "b", "c", "out", n), buffers, {"out": want})


@kernel(FILE, *SIZES)
def rooted_f32(n: int) -> Run:
    return _rooted("float32", n)


@kernel(FILE, *SIZES)
def rooted_f64(n: int) -> Run:
    return _rooted("float64", n)


def fma(a: Array, b: Array, c: Array, precision: int, emax: int) -> Array:
    """a * b + c rounded once, by MPFR."""
    least = 4 - emax - precision
    with gmpy2.context(precision=precision, emax=emax, emin=least, subnormalize=True):
        values = [
            float(gmpy2.fma(gmpy2.mpfr(float(x)), gmpy2.mpfr(float(y)), gmpy2.mpfr(float(z))))
            for x, y, z in zip(a, b, c, strict=True)
        ]
    return np.array(values)


def cancelling(n: int, dtype: Any, seed: int) -> tuple[Array, Array, Array]:
    """Operands whose products and sums cancel: an fma that rounds twice shows."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(n).astype(dtype) for _ in range(2))
    c = (-(a * b) * (1 + rng.integers(-2, 3, n) * np.finfo(dtype).eps)).astype(dtype)
    c[::5] = floats(len(c[::5]), dtype, seed)
    return a, b, c


@kernel(FILE, *SIZES)
def fused_f32(n: int) -> Run:
    a, b, c = cancelling(n, np.float32, 7)
    want = fma(a, b, c, 24, 128).astype(np.float32)
    buffers = {"a": a, "b": b, "c": c}
    return Run("fused_f32", grid(n), (BLOCK,), ("a", "b", "c", "out", n), buffers, {"out": want})


@kernel(FILE, *SIZES)
def fused_f64(n: int) -> Run:
    a, b, c = cancelling(n, np.float64, 8)
    want = fma(a, b, c, 53, 1024)
    buffers = {"a": a, "b": b, "c": c}
    return Run("fused_f64", grid(n), (BLOCK,), ("a", "b", "c", "out", n), buffers, {"out": want})


@kernel(FILE, *SIZES)
def fused_half(n: int) -> Run:
    a, b, c = cancelling(n, np.float16, 9)
    want = fma(a, b, c, 11, 16).astype(np.float16)
    buffers = {"a": a, "b": b, "c": c}
    return Run("fused_half", grid(n), (BLOCK,), ("a", "b", "c", "out", n), buffers, {"out": want})


@kernel(FILE, *SIZES)
def half_pairs(pairs: int) -> Run:
    a, b = (np.random.default_rng(s).standard_normal(2 * pairs).astype(np.float16) for s in (1, 2))
    want = (a * b) + np.maximum(a, -b)
    inputs = {"a": a, "b": b}
    return Run("half_pairs", grid(pairs), (BLOCK,), ("a", "b", "out", pairs), inputs, {"out": want})


def bfloat16(values: Array) -> Array:
    """The nearest bfloat16 of finite float64 values, ties to even, as uint16 bits."""
    with gmpy2.context(precision=8, emax=128, emin=4 - 128 - 8, subnormalize=True):
        rounded = np.array([float(gmpy2.mpfr(float(v))) for v in values])
    return (rounded.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@kernel(FILE, *SIZES)
def fused_bfloat16(n: int) -> Run:
    rng = np.random.default_rng(10)
    bits = [bfloat16(rng.standard_normal(n) * np.exp2(rng.integers(-9, 9, n))) for _ in range(3)]
    a, b, c = ((x.astype(np.uint32) << 16).view(np.float32) for x in bits)
    want = bfloat16(fma(a, b, c, 8, 128))
    buffers = dict(zip("abc", bits, strict=True))
    return Run("fused_bfloat16", grid(n), (BLOCK,), ("a", "b", "c", "out", n), buffers, {"out": want})


def clamped(values: Array, low: int, high: int) -> Array:
    """To integers with saturation; NaN is 0, as PTX has it."""
    wide = np.where(np.isnan(values), 0, values)
    return np.array([int(min(max(v, low), high)) for v in wide.tolist()], object)


@kernel(FILE, *SIZES)
def conversions(n: int) -> Run:
    x = floats(n, np.float32, 11)
    x[n // 2 :] = (np.random.default_rng(1).integers(-9, 9, n - n // 2) / 2).astype(np.float32)
    wide = x.astype(np.float64)
    most = 2**31 - 1
    rows = [clamped(f(wide), -most - 1, most) for f in (np.rint, np.trunc, np.ceil, np.floor)]
    rows.append(clamped(np.trunc(wide), 0, 2**32 - 1))
    with np.errstate(all="ignore"):
        product = wide * (1 + 1e-9)
        nearest = product.astype(np.float32)
        away = np.abs(nearest.astype(np.float64)) > np.abs(product)
        toward = np.where(away, np.nextafter(nearest, np.float32(0)), nearest)
        half = x.astype(np.float16)
        rounded = np.where(np.isfinite(x), np.copysign(np.floor(np.abs(wide) + 0.5), wide), wide)
        last = (
            np.rint(x) - np.trunc(x) + np.floor(x) * np.float32(2) - np.ceil(x) + rounded.astype(np.float32)
        )
    # What the kernel writes for NaN.
    canonical = np.uint32(0x7FFFFFFF)
    rows.append(np.where(np.isnan(x), canonical, toward.view(np.uint32)).view(np.int32))
    # A 64-bit result of NaN is 0x8000000000000000.
    long = clamped(np.trunc(wide), -(2**63), 2**63 - 1)
    long[np.isnan(x)] = -(2**63)
    rows.append(np.array([float(v) for v in long]).astype(np.float32).view(np.int32))
    rows.append(np.where(np.isnan(x), 0x7FFF, half.view(np.uint16)))
    rows.append(np.where(np.isnan(last), canonical, last.view(np.uint32)).view(np.int32))
    want = np.concatenate([np.array([int(v) & 0xFFFFFFFF for v in r], np.uint32) for r in rows])
    return Run("conversions", grid(n), (BLOCK,), ("x", "out", n), {"x": x}, {"out": want.view(np.int32)})


def _bits(x: int, y: int) -> list[int]:
    both = y << 32 | x
    packed = [(both >> 8 * i) & 255 for i in range(8)]
    selected = sum(packed[(y & 0x7777) >> 4 * i & 7] << 8 * i for i in range(4))
    signed = [[(v >> s & 255) - 256 * (v >> s + 7 & 1) for s in (0, 8, 16, 24)] for v in (x, y)]
    added = sum(((x >> s & 255) + (y >> s & 255) & 255) << s for s in (0, 8, 16, 24))
    most = sum(max(x >> s & 0xFFFF, y >> s & 0xFFFF) << s for s in (0, 16))
    shifted = (x << (y & 31)) & (2**64 - 1)
    high = ((x << 20 | y) & (2**64 - 1)) * ((y << 31 | x) & (2**64 - 1)) >> 64
    pair = x << 32 | y
    return [
        x.bit_count() + 100 * (32 - x.bit_length()) + 10000 * ((x & -x).bit_length()),
        int(f"{x:032b}"[::-1], 2),
        selected,
        (both << (y & 31)) >> 32,
        both >> min(y & 63, 32),
        x * y >> 32,
        abs(x - y) + 7,
        sum(p * q for p, q in zip(*signed, strict=True)) + 5,
        added ^ most,
        (high >> 3) + 64 - shifted.bit_length(),
        int(f"{pair:064b}"[::-1], 2) ^ pair.bit_count(),
    ]


@kernel(FILE, *SIZES)
def bits(n: int) -> Run:
    a, b = integers(n, np.uint32, 12), integers(n, np.uint32, 13)[::-1].copy()
    rows = [_bits(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    want = np.array([[v & 0xFFFFFFFF for v in r] for r in rows], np.uint32).T.copy()
    return Run("bits", grid(n), (BLOCK,), ("a", "b", "out", n), {"a": a, "b": b}, {"out": want})


@kernel(FILE, (1, 1), (3, 1000), (2, 64), (5, 0))
def grid_stride(blocks: int, n: int) -> Run:
    x, y = (np.random.default_rng(s).standard_normal(n).astype(np.float32) for s in (1, 2))
    a = np.float32(1.7)
    return Run("grid_stride", (blocks,), (BLOCK,), ("x", "y", a, n), {"x": x, "y": y}, {"y": a * x + y})


@kernel(FILE, 2, 33, 200)
def vectors(n: int) -> Run:
    v = np.random.default_rng(1).standard_normal((n, 4)).astype(np.float32)
    d = np.random.default_rng(2).standard_normal((n, 2))
    want = np.stack([v[:, 3], v[:, 2] * 2, v[:, 1], v[:, 0] + v[:, 3]], 1)
    expect = {"out": want, "out2": d[:, ::-1].copy()}
    return Run("vectors", grid(n), (BLOCK,), ("v", "d", "out", "out2", n), {"v": v, "d": d}, expect)


PARTICLE = np.dtype(
    [("mass", "f8"), ("position", "f4", 3), ("charge", "i2"), ("flags", "u1"), ("kind", "u1")], align=True
)


@kernel(FILE, *SIZES)
def structs(n: int) -> Run:
    rng = np.random.default_rng(3)
    p = np.frombuffer(rng.integers(0, 256, n * PARTICLE.itemsize, np.uint8).tobytes(), PARTICLE).copy()
    p["mass"], p["position"] = rng.standard_normal(n), rng.standard_normal((n, 3))
    shift = np.array((2.5, (1, 2, 3), -7, 0x5A, 0), PARTICLE)
    want = p.copy()
    want["mass"] += shift["mass"]
    order = (np.arange(3) + p["kind"][:, None].astype(int)) % 3
    want["position"] -= shift["position"][order]
    want["charge"] = (p["charge"].astype(int) * -7).astype(np.int16)
    want["flags"] ^= 0x5A
    args = ("p", "out", shift.tobytes(), n)
    return Run("structs", grid(n), (BLOCK,), args, {"p": p.view("u1")}, {"out": want.view("u1")})


@kernel(FILE, *SIZES)
def bool_select(n: int) -> Run:
    rng = np.random.default_rng(4)
    where = rng.integers(0, 2, n, np.uint8)
    a, b = (rng.integers(0, 256, n, np.uint8) for _ in range(2))
    expect = {"out": np.where(where, a, b), "both": ((where > 0) & (a > b)).view(np.uint8)}
    inputs = {"where": where, "a": a, "b": b}
    return Run("bool_select", grid(n), (BLOCK,), ("where", "a", "b", "out", "both", n), inputs, expect)
