"""What every oracle shares: the form of a true answer, and arithmetic wider than the type under test.

Knows nothing of kernels, test inputs or tolerances: an oracle says what is true, not how near is near enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Bits of every MPFR intermediate: 2.5 times float64's, so one rounding of it is invisible in hi + lo.
PRECISION = 140

_MANTISSA = {"float32": 24, "float64": 53}
_SMALLEST = {"float32": -149, "float64": -1074}
_LARGEST = {"float32": 128, "float64": 1024}


@dataclass(frozen=True, slots=True)
class Truth:
    """The true answer for one output, element by element, flat and in the output's order.

    hi, lo          the truth is hi + lo. Exact answers stand in `hi` in the output's own dtype, `lo` None;
                    others are float64, `lo` None where float64 is already far finer than the output
    weight          absolute, what the tolerance rule multiplies: sum|x| for sums; for special functions
                    an ULP times 1 + |x f'/f|
    free_zero_sign  True, or a mask: where the answer is zero, either zero is right
    """

    hi: Array
    lo: Floats | None = None
    weight: Floats | None = None
    free_zero_sign: Flags | bool = False


def spacing(values: Array, dtype: str) -> Floats:
    """One ULP of `dtype` at each value: 2^(e-p+1) for |x| in [2^e, 2^(e+1)), at least the least subnormal.

    Infinities and NaN count as the top binade.
    """
    magnitude = np.abs(values.astype(np.float64))
    exponent = np.where(np.isfinite(magnitude), np.frexp(magnitude)[1], _LARGEST[dtype])
    exponent = np.minimum(exponent, _LARGEST[dtype]) - _MANTISSA[dtype]
    exponent = np.where(magnitude == 0, _SMALLEST[dtype], np.maximum(exponent, _SMALLEST[dtype]))
    return np.asarray(np.ldexp(1.0, exponent))


def unit_roundoff(dtype: str) -> float:
    """u: half the spacing at 1."""
    return math.ldexp(1.0, -_MANTISSA[dtype])


def exactly(array: Any, dtype: str, free_zero_sign: Flags | bool = False) -> tuple[Truth]:
    """The one right answer, flat, in the output's dtype."""
    return (Truth(np.asarray(array).astype(dtype, copy=False).ravel(), free_zero_sign=free_zero_sign),)


def quiet() -> np.errstate:
    """numpy's warnings say nothing new where overflow, NaN and division by zero are the point of the test."""
    return np.errstate(all="ignore")


def split(value: Any) -> tuple[float, float]:
    """An MPFR number as hi + lo. Just past the largest float64 hi stays finite, to count ULPs there."""
    hi = float(value)
    if math.isinf(hi) and not value.is_infinite() and abs(value) < _just_past():
        hi = math.copysign(1.7976931348623157e308, hi)
    return (hi, float(value - hi)) if math.isfinite(hi) else (hi, 0.0)


@lru_cache(maxsize=1)
def _just_past() -> Any:
    import gmpy2

    return gmpy2.exp2(1025)


def _multiprecision() -> dict[str, Callable[..., Any]]:
    import gmpy2

    return {
        "exp": gmpy2.exp,
        "exp2": gmpy2.exp2,
        "log": gmpy2.log,
        "log2": gmpy2.log2,
        "sin": gmpy2.sin,
        "cos": gmpy2.cos,
        "tanh": gmpy2.tanh,
        "erf": gmpy2.erf,
        "expit": lambda x: 1 / (1 + gmpy2.exp(-x)),
        "power": lambda x, y: gmpy2.mpfr(x) ** gmpy2.mpfr(y),
    }


def multiprecision(function: str, *inputs: Array) -> tuple[Floats, Floats]:
    """(hi, lo) of a function of float64 inputs by MPFR, each distinct point computed once and remembered.

    1 to 7 microseconds a distinct point.
    """
    bits = np.stack([np.ascontiguousarray(x, np.float64).view(np.uint64) for x in inputs], axis=1)
    # One key a point sorts far faster than rows do; should two points ever share a key, none is shared.
    keys = bits @ np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F][: len(inputs)], np.uint64)
    _, index, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if not np.array_equal(bits[index][inverse], bits):
        index = inverse = np.arange(len(bits))
    hi, lo = _points(function, bits[index].tobytes(), len(inputs))
    return hi[inverse], lo[inverse]


@lru_cache(maxsize=256)
def _points(function: str, bits: bytes, arity: int) -> tuple[Floats, Floats]:
    import gmpy2

    columns = np.frombuffer(bits, np.float64).reshape(-1, arity).T.tolist()
    with gmpy2.context(gmpy2.get_context(), precision=PRECISION):
        values = list(map(_multiprecision()[function], *columns))
        return split_all(values)


def split_all(values: Sequence[Any]) -> tuple[Floats, Floats]:
    """`split` over many, the common case kept fast. Call it inside the MPFR context that made the values."""
    hi = np.array([float(v) for v in values], np.float64)
    lo = np.array([float(v - h) for v, h in zip(values, hi.tolist(), strict=True)], np.float64)
    for i in np.flatnonzero(~np.isfinite(hi)).tolist():
        hi[i], lo[i] = split(values[i])
    return hi, lo


def two_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Products and their rounding errors, a*b = p + e exactly (Dekker), while nothing over- or underflows."""
    p = a * b
    a_hi, a_lo = _halves(a)
    b_hi, b_lo = _halves(b)
    return p, ((a_hi * b_hi - p) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def _halves(a: Floats) -> tuple[Floats, Floats]:
    c = 134217729.0 * a
    high = c - (c - a)
    return high, a - high


def exact_sum(terms: Iterable[float]) -> tuple[float, float]:
    """(hi, lo) of a sum of float64 terms, each correctly rounded; IEEE's answer if a term is not finite."""
    values = list(terms)
    try:
        hi = math.fsum(values)
        if not math.isfinite(hi):
            return hi, 0.0
        return hi, math.fsum([*values, -hi])
    except ValueError:  # inf - inf
        return math.nan, 0.0
    except OverflowError:
        with quiet():
            return float(np.sum(np.array(values))), 0.0


def pairs(parts: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    """A list of (hi, lo) as two arrays."""
    array = np.array(parts, np.float64).reshape(-1, 2)
    return array[:, 0].copy(), array[:, 1].copy()
