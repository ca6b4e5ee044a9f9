"""CUDA's mathematical functions as NVRTC compiles them, their exact values, and the error CUDA documents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gmpy2
import numpy as np
import scipy.special

PRECISION = 250


@dataclass(frozen=True)
class Function:
    """`ulp`: the documented maximum in f32 and f64. `reach`: inputs are drawn up to this exponent of two."""

    name: str
    exact: Callable[..., Any]
    ulp: tuple[float, float]
    arity: int = 1
    reach: float = 130.0
    start: Callable[[float], float] | None = None

    def call(self, double: bool) -> str:
        arguments = ", ".join("ab"[: self.arity])
        return f"{self.name}{'' if double else 'f'}({arguments})"


def _erfc_inverse(x: Any) -> Any:
    """Newton's method on erfc, from scipy's f64 value: 53 bits, 106, 212, all."""
    if not 0 < x < 2:
        return {0: gmpy2.inf(), 2: -gmpy2.inf()}.get(x, gmpy2.nan())
    y = gmpy2.mpfr(float(scipy.special.erfcinv(float(x))))
    if not gmpy2.is_finite(y):
        return y
    for _ in range(4):
        y += (gmpy2.erfc(y) - x) * gmpy2.exp(y * y) * gmpy2.sqrt(gmpy2.const_pi()) / 2
    return y


def _erf_inverse(x: Any) -> Any:
    if not -1 < x < 1:
        return {1: gmpy2.inf(), -1: -gmpy2.inf()}.get(x, gmpy2.nan())
    y = gmpy2.mpfr(float(scipy.special.erfinv(float(x))))
    for _ in range(4):
        y -= (gmpy2.erf(y) - x) * gmpy2.exp(y * y) * gmpy2.sqrt(gmpy2.const_pi()) / 2
    return y


def _erfcx(x: Any) -> Any:
    if x > 1000:  # erfc(x) is below any exponent: the first terms of its asymptotic series
        return (1 - 1 / (2 * x * x)) / (x * gmpy2.sqrt(gmpy2.const_pi()))
    return gmpy2.exp(x * x) * gmpy2.erfc(x)


def _fmod(x: Any, y: Any) -> Any:
    if not gmpy2.is_finite(x) or gmpy2.is_nan(y) or y == 0:
        return gmpy2.nan()
    if gmpy2.is_infinite(y):
        return x
    a, b = gmpy2.mpq(x), gmpy2.mpq(y)
    rest = abs(a) - abs(b) * (abs(a) // abs(b))
    return gmpy2.copy_sign(gmpy2.mpfr(rest), x)


def _half(x: Any) -> Any:
    return x / gmpy2.sqrt(gmpy2.mpfr(2))


TABLE = [
    Function("exp", gmpy2.exp, (2, 1), reach=10),
    Function("exp2", gmpy2.exp2, (2, 1), reach=11),
    Function("exp10", gmpy2.exp10, (2, 1), reach=9),
    Function("expm1", gmpy2.expm1, (1, 1), reach=10),
    Function("log", gmpy2.log, (1, 1)),
    Function("log2", gmpy2.log2, (1, 1)),
    Function("log10", gmpy2.log10, (2, 1)),
    Function("log1p", gmpy2.log1p, (1, 1)),
    Function("sin", gmpy2.sin, (2, 2)),
    Function("cos", gmpy2.cos, (2, 2)),
    Function("tan", gmpy2.tan, (4, 2)),
    Function("asin", gmpy2.asin, (2, 2), reach=1),
    Function("acos", gmpy2.acos, (2, 2), reach=1),
    Function("atan", gmpy2.atan, (2, 2)),
    Function("atan2", gmpy2.atan2, (3, 2), 2),
    Function("sinh", gmpy2.sinh, (3, 2), reach=9),
    Function("cosh", gmpy2.cosh, (2, 1), reach=9),
    Function("tanh", gmpy2.tanh, (2, 1), reach=6),
    Function("asinh", gmpy2.asinh, (3, 3)),
    Function("acosh", gmpy2.acosh, (4, 3)),
    Function("atanh", gmpy2.atanh, (3, 2), reach=1),
    Function("pow", lambda x, y: x**y, (4, 2), 2, reach=8),
    Function("cbrt", gmpy2.cbrt, (1, 1)),
    Function("rsqrt", lambda x: 1 / gmpy2.sqrt(x), (2, 1)),
    Function("hypot", gmpy2.hypot, (3, 2), 2),
    Function("fmod", _fmod, (0, 0), 2, reach=60),
    Function("erf", gmpy2.erf, (2, 2), reach=4),
    Function("erfc", gmpy2.erfc, (4, 5), reach=5),
    Function("erfinv", _erf_inverse, (2, 5), reach=1),
    Function("erfcinv", _erfc_inverse, (4, 6), reach=1),
    Function("erfcx", _erfcx, (4, 4), reach=6),
    Function("normcdf", lambda x: gmpy2.erfc(-_half(x)) / 2, (5, 5), reach=6),
    Function("normcdfinv", lambda x: -gmpy2.sqrt(gmpy2.mpfr(2)) * _erfc_inverse(2 * x), (5, 8), reach=1),
    Function("tgamma", gmpy2.gamma, (5, 10), reach=8),
]
FUNCTIONS = {f.name: f for f in TABLE}
SPECIALS = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.5, 10.0, 88.5, -87.0, 103.9, 709.5, -745.0,
    math.inf, -math.inf, math.nan, math.pi, math.pi / 2, 1e5, 105615.0, 1e22, 3e38, 2.0**-126, 2.0**-149,
    1e-40, 1.9999999, 0.9999999, 1.0000001, 34.5, 170.7, 171.6, 1e-10, 1 / 3,
]  # fmt: skip


def points(function: Function, dtype: type[np.floating[Any]], count: int) -> list[np.ndarray]:
    """Operands: pairs of special values, and numbers whose exponents are spread over the reach."""
    rng = np.random.default_rng(len(function.name) + count)
    columns = []
    for i in range(function.arity):
        top = min(function.reach, 125.0 if dtype is np.float32 else 1000.0)
        exponents = np.where(
            rng.random(count) < 0.5, rng.uniform(-6, min(top, 4), count), rng.uniform(-30, top, count)
        )
        values = rng.choice([1, 1, -1], count) * np.exp2(exponents)
        special = np.resize(SPECIALS, len(SPECIALS) ** function.arity)
        if i:
            special = np.repeat(SPECIALS, len(SPECIALS))
        special = special[: count // 2]
        values[: len(special)] = special
        columns.append(values.astype(dtype))
    return columns


def errors(function: Function, got: np.ndarray, operands: list[np.ndarray]) -> tuple[int, str]:
    """The greatest distance in floats from the correctly rounded result (as CUDA counts it), and where.

    A NaN or an infinity in the wrong place counts as a million.
    """
    worst, where = 0, ""
    with gmpy2.context(precision=PRECISION, emax=1 << 28, emin=-(1 << 28)):
        for y, *xs in zip(got.tolist(), *(o.tolist() for o in operands), strict=True):
            want = nearest(function.exact(*(gmpy2.mpfr(x) for x in xs)), got.dtype)
            error = distance(y, want, got.dtype)
            if error > worst:
                worst, where = error, f"{function.name}{tuple(xs)} gave {y!r}, not {want!r}"
    return worst, where


def nearest(value: Any, dtype: np.dtype[Any]) -> float:
    """Rounded to the format, subnormals and overflow included."""
    precision, emax, emin = (24, 128, -148) if dtype == np.float32 else (53, 1024, -1073)
    with gmpy2.context(precision=precision, emax=emax, emin=emin, subnormalize=True):
        return float(gmpy2.mpfr(value, 0) if gmpy2.is_finite(value) else value)


def distance(a: float, b: float, dtype: np.dtype[Any]) -> int:
    """How many floats lie between, infinity being the one after the largest."""
    if math.isnan(a) or math.isnan(b):
        return 0 if math.isnan(a) and math.isnan(b) else 10**6
    kind = np.int32 if dtype == np.float32 else np.int64
    first, second = (int(np.array(v, dtype).view(kind)) for v in (a, b))
    top = 1 << (8 * dtype.itemsize - 1)
    return abs((first if first >= 0 else -top - first) - (second if second >= 0 else -top - second))
