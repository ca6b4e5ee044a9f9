"""Correctly rounded results in every format and mode, from MPFR: the oracle for floating-point rows."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import gmpy2

MODES = {"rn": gmpy2.RoundToNearest, "rz": gmpy2.RoundToZero, "rm": gmpy2.RoundDown, "rp": gmpy2.RoundUp}
SHAPES = {
    "f16": (11, 16),
    "bf16": (8, 128),
    "f32": (24, 128),
    "f64": (53, 1024),
}  # precision, greatest exponent


def _context(format: str, rnd: str) -> Any:
    precision, most = SHAPES[format]
    least = 4 - most - precision
    return gmpy2.context(precision=precision, emax=most, emin=least, subnormalize=True, round=MODES[rnd])


def rounded(op: Callable[..., Any], format: str, rnd: str, *values: float | Fraction) -> float:
    """op (of gmpy2) of the exact values, rounded once to the format; a Python float, which holds them all."""
    wide = [_exact(value) for value in values]
    with _context(format, rnd):
        return float(op(*wide))


def _exact(value: float | Fraction) -> Any:
    if isinstance(value, float):
        return gmpy2.mpfr(value, 53)
    return gmpy2.mpq(value.numerator, value.denominator)


def nearest(value: float | Fraction | int, format: str, rnd: str = "rn") -> float:
    """The value itself, rounded."""
    if isinstance(value, int):
        value = Fraction(value)
    return rounded(lambda x: gmpy2.mpfr(x, 0) if isinstance(value, Fraction) else +x, format, rnd, value)
