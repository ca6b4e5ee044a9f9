"""Warp matrix operations on numpy arrays: what threads one at a time are answered with.

Slow and plain: products and sums are whole numbers of Python, rounded once. Shares only the layouts with the
vector code (`matrix`), and so is a second statement of it. Knows registers' bits; no threads and no LLVM.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.isa.fragment import WARP, Fragment, Product

Words = NDArray[np.int64]
# Every finite value of f16, bf16, tf32, f32 and the 8-bit floats is a whole multiple of 2^-SCALE.
SCALE = 149
# (precision, least exponent, greatest exponent, dtype of the bits)
_FORMATS = {
    "f16": (11, -14, 15, np.uint16),
    "f32": (24, -126, 127, np.uint32),
    "f64": (53, -1022, 1023, np.uint64),
}


def eight_bits(element: str) -> list[float]:
    """The values of e4m3 or e5m2 by their bits."""
    mantissa = 3 if element == "e4m3" else 2
    bias = 7 if element == "e4m3" else 15
    out = []
    for bits in range(256):
        exponent, fraction = (bits & 127) >> mantissa, bits & (1 << mantissa) - 1
        if element == "e4m3" and bits & 127 == 127:
            size = math.nan
        elif element == "e5m2" and exponent == 31:
            size = math.nan if fraction else math.inf
        elif exponent:
            size = math.ldexp((1 << mantissa) + fraction, exponent - bias - mantissa)
        else:
            size = math.ldexp(fraction, 1 - bias - mantissa)
        out.append(math.copysign(size, -1.0 if bits >> 7 else 1.0))
    return out


def operands(what: tuple[Any, ...]) -> int:
    """Words each lane gives to an operation, as the emitter names it."""
    match what:
        case ("product", how):
            return int(how.a.registers + how.b.registers + how.c.registers)
        case ("load", _, _):
            return 4
        case ("store", count, _):
            return int(count) + 1
        case _:
            return 1


def answer(what: tuple[Any, ...], words: Words) -> Words:
    """(32, words given) to (32, words each lane gets)."""
    match what:
        case ("product", how):
            return product(how, words)
        case ("load", count, transposed):
            return rows_to_registers(words, count, transposed)
        case ("store", count, transposed):
            rows = registers_to_rows(words[:, :count], transposed)
            return np.concatenate([rows, words[:, count:]], axis=1)
        case _:
            return transpose(words)


def product(how: Product, words: Words) -> Words:
    """(32, registers of a, b and c) to (32, registers of d)."""
    cuts = np.cumsum([how.a.registers, how.b.registers])
    a, b, c = (
        _matrices(f, part)
        for f, part in zip((how.a, how.b, how.c), np.split(words, cuts, axis=1), strict=True)
    )
    if how.d.element == "s32":
        d = np.stack([_integers(how, *each) for each in zip(a, b, c, strict=True)])
    elif how.d.element == "f64":
        d = np.stack([_doubles(how, *each) for each in zip(a, b, c, strict=True)])
    else:
        d = np.stack([_floats(how, *each) for each in zip(a, b, c, strict=True)])
    return _registers(how.d, d)


# registers to matrices and back


@lru_cache(maxsize=64)
def _places(fragment: Fragment) -> tuple[Any, ...]:
    """Index arrays (matrix, row, column) of shape (32, held)."""
    table = [[fragment.place(lane, i) for i in range(fragment.held)] for lane in range(WARP)]
    return tuple(np.moveaxis(np.array(table), -1, 0))


@lru_cache(maxsize=64)
def _sources(fragment: Fragment) -> tuple[Any, ...]:
    """Index arrays (lane, i) of shape (matrices, rows, cols)."""
    shape = fragment.matrices, fragment.rows, fragment.cols
    table = [fragment.sources[place] for place in np.ndindex(*shape)]
    return tuple(np.array(table).T.reshape(2, *shape))


def _matrices(fragment: Fragment, words: Words) -> NDArray[Any]:
    """(matrices, rows, cols): float64, or int64 of integers and bits."""
    return np.asarray(_elements(fragment, words)[_sources(fragment)])


def _elements(fragment: Fragment, words: Words) -> NDArray[Any]:
    """(32, held) values."""
    if fragment.element == "f64":
        return np.ascontiguousarray(words).view(np.float64)
    raw = np.ascontiguousarray(words.astype(np.uint32))
    as_bytes = raw.view(np.uint8)
    with np.errstate(invalid="ignore"):
        return _decoded(fragment, raw, as_bytes)


def _decoded(fragment: Fragment, raw: NDArray[np.uint32], as_bytes: NDArray[np.uint8]) -> NDArray[Any]:
    match fragment.element:
        case "f32":
            return raw.view(np.float32).astype(np.float64)
        case "tf32":
            return (raw & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
        case "f16":
            return raw.view(np.float16).astype(np.float64)
        case "bf16":
            return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        case "e4m3" | "e5m2":
            return np.asarray(np.array(eight_bits(fragment.element))[as_bytes])
        case "u8":
            return as_bytes.astype(np.int64)
        case "s8":
            return as_bytes.view(np.int8).astype(np.int64)
        case "b1":
            return np.unpackbits(as_bytes, axis=1, bitorder="little").astype(np.int64)
        case "s32":
            return raw.view(np.int32).astype(np.int64)
    nibbles = np.stack([as_bytes & 15, as_bytes >> 4], axis=-1).reshape(WARP, -1).astype(np.int64)
    return np.asarray(nibbles if fragment.element == "u4" else (nibbles ^ 8) - 8)


def _registers(fragment: Fragment, matrices: NDArray[Any]) -> Words:
    """From the bits of d's elements."""
    chosen = matrices[_places(fragment)]
    if fragment.element == "f16":
        return np.ascontiguousarray(chosen.astype(np.uint16)).view(np.uint32).astype(np.int64)
    return np.asarray(chosen.astype(np.int64))


# arithmetic: each gives the bits of a matrix d


def _integers(how: Product, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    if how.op == "mul":
        total = a @ b + c
    else:
        verb = np.bitwise_xor if how.op == "xor" else np.bitwise_and
        total = verb(a[:, :, None], b[None]).sum(axis=1) + c
    if how.saturate:
        total = np.clip(total, -(2**31), 2**31 - 1)
    return np.asarray(total & 0xFFFFFFFF)


def _floats(how: Product, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(invalid="ignore"):
        terms = np.concatenate([c[:, None], a[:, :, None] * b[None]], axis=1)
        rough = terms.sum(axis=1)
    zeros = np.all((terms == 0) & np.signbit(terms), axis=1)
    exact = (_whole(a) @ _whole(b)) + (_whole(c) << SCALE)
    bits = np.empty(c.shape, _FORMATS[how.d.element][3])
    for at in np.ndindex(*c.shape):
        if not math.isfinite(rough[at]):
            bits[at] = _special(rough[at], how.d.element)
        else:
            bits[at] = _rounded(int(exact[at]), -2 * SCALE, how.d.element, "rn", bool(zeros[at]))
    return bits


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """In units of 2^-SCALE, as Python integers; 0 for what is not finite."""
    flat = [int(math.ldexp(v, SCALE)) if math.isfinite(v) else 0 for v in values.ravel().tolist()]
    out = np.empty(len(flat), object)
    out[:] = flat
    return out.reshape(values.shape)


def _doubles(how: Product, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    bits = np.empty(c.shape, np.uint64)
    for row, col in np.ndindex(*c.shape):
        total = float(c[row, col])
        for x, y in zip(a[row].tolist(), b[:, col].tolist(), strict=True):
            total = _fused(x, y, total, how.rnd)
        bits[row, col] = _special(total, "f64") if math.isnan(total) else np.float64(total).view(np.uint64)
    return bits


def _fused(x: float, y: float, z: float, rnd: str) -> float:
    """x y + z, rounded once."""
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
        # Infinite or NaN: rounding has no say, and a finite product that overflows must not turn into NaN.
        return x * y + z if not (math.isfinite(x) and math.isfinite(y)) else z
    (xm, xe), (ym, ye), (zm, ze) = (_split(v) for v in (x, y, z))
    low = min(xe + ye, ze)
    total = (xm * ym << xe + ye - low) + (zm << ze - low)
    negative = math.copysign(1, x) * math.copysign(1, y) < 0
    zero = negative if negative == (math.copysign(1, z) < 0) else rnd == "rm"
    return float(np.uint64(_rounded(total, low, "f64", rnd, zero)).view(np.float64))


def _split(value: float) -> tuple[int, int]:
    mantissa, exponent = math.frexp(value)
    return int(math.ldexp(mantissa, 53)), exponent - 53


def _special(value: float, element: str) -> int:
    precision, _, most, _ = _FORMATS[element]
    width = precision + (most + 1).bit_length()
    if math.isnan(value):
        return (1 << width - 1) - 1
    return (2 * most + 1 << precision - 1) | (value < 0) << width - 1


def _rounded(total: int, scale: int, element: str, rnd: str, negative_zero: bool) -> int:
    """The bits of total x 2^scale."""
    precision, least, most, _ = _FORMATS[element]
    width = precision + (most + 1).bit_length()
    if total == 0:
        return negative_zero << width - 1
    negative, size = total < 0, abs(total)
    ulp = max(size.bit_length() + scale - precision, least - precision + 1)
    if ulp <= scale:
        whole, rest, half = size << scale - ulp, 0, 0
    else:
        whole, rest, half = size >> ulp - scale, size & (1 << ulp - scale) - 1, 1 << ulp - scale - 1
    up = {
        "rn": rest > half or (rest == half and rest > 0 and whole & 1), "rz": False,
        "rm": negative and rest > 0, "rp": not negative and rest > 0,
    }[rnd]  # fmt: skip
    bits = (ulp - (least - precision + 1) << precision - 1) + whole + int(up)
    infinity = 2 * most + 1 << precision - 1
    if bits >= infinity:
        outward = rnd == "rn" or rnd == ("rm" if negative else "rp")
        bits = infinity - (0 if outward else 1)
    return bits | negative << width - 1


# 8 x 8 matrices of 16 bits


def rows_to_registers(rows: Words, count: int, transposed: bool) -> Words:
    """ldmatrix: (32, 4), four words of the row each lane points at, to (32, count)."""
    halves = np.ascontiguousarray(rows.astype(np.uint32)).view(np.uint16).reshape(4, 8, 8)[:count]
    return _from_matrices(halves.swapaxes(1, 2) if transposed else halves)


def registers_to_rows(words: Words, transposed: bool) -> Words:
    """stmatrix: (32, count) to (32, 4); zeros for lanes that point at no row."""
    matrices = _to_matrices(words)
    if transposed:
        matrices = matrices.swapaxes(1, 2)
    out = np.zeros((WARP, 4), np.int64)
    rows = np.ascontiguousarray(matrices).view(np.uint32).reshape(-1, 4)
    out[: len(rows)] = rows
    return out


def transpose(words: Words) -> Words:
    """movmatrix: (32, 1) to (32, 1)."""
    return _from_matrices(_to_matrices(words).swapaxes(1, 2))


def _to_matrices(words: Words) -> NDArray[np.uint16]:
    columns = np.ascontiguousarray(words.astype(np.uint32).T)
    return columns.view(np.uint16).reshape(len(columns), 8, 8)


def _from_matrices(matrices: NDArray[np.uint16]) -> Words:
    return np.ascontiguousarray(matrices).view(np.uint32).reshape(len(matrices), WARP).T.astype(np.int64)
