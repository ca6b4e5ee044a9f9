"""libdevice functions against mpmath, within the error the CUDA guide documents; exact ones exactly.

The truth is computed with 80 bits more than the result has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from llmptx.run.job import Array

from .elementwise import BLOCK, grid
from .launches import Run, Within, kernel, ulps

FILE = "libdevice.cu"
COUNT = 75
WORK = mp.MPContext()
WORK.prec = 140


def _erfcinv(x: Any) -> Any:
    return WORK.erfinv(1 - x)


def _spread(low: float, high: float, dtype: Any, seed: int) -> Array:
    """Evenly spread where the range is narrow, by magnitude and with both signs where it is wide."""
    rng = np.random.default_rng(seed)
    if high / max(abs(low), 1e-300) > 1e4 or (low == -high and high > 1e4):
        size = np.exp(rng.uniform(math.log(1e-6), math.log(high), COUNT))
        return (size * (rng.choice([-1, 1], COUNT) if low < 0 else 1)).astype(dtype)
    return rng.uniform(low, high, COUNT).astype(dtype)


def _truth(function: Callable[..., Any], *arrays: Array) -> Array:
    values = []
    for arguments in zip(*(a.tolist() for a in arrays), strict=True):
        value = function(*map(WORK.mpf, arguments))
        # Two doubles hold 106 bits of it, a long double the best 64 of those.
        high = float(value)
        low = float(value - high) if math.isfinite(high) else 0.0
        values.append(np.longdouble(high) + np.longdouble(low))
    return np.array(values, np.longdouble)


# entry: (function, bound in ULP, range of every argument)
UNARY: dict[str, tuple[Callable[..., Any], float, float, float]] = {
    "f_sin": (WORK.sin, 2, -3e38, 3e38),
    "f_cos": (WORK.cos, 2, -3e38, 3e38),
    "f_tan": (WORK.tan, 4, -3e38, 3e38),
    "f_exp": (WORK.exp, 2, -103, 89),
    "f_exp10": (lambda x: WORK.mpf(10) ** x, 2, -44, 38.6),
    "f_expm1": (WORK.expm1, 1, -20, 89),
    "f_log": (WORK.log, 1, 1e-45, 3e38),
    "f_log1p": (WORK.log1p, 1, 1e-9, 1e30),
    "f_tanh": (WORK.tanh, 2, -12, 12),
    "f_asin": (WORK.asin, 2, -1, 1),
    "f_atan": (WORK.atan, 2, -1e20, 1e20),
    "f_cbrt": (lambda x: WORK.sign(x) * WORK.cbrt(abs(x)), 1, -3e38, 3e38),
    "f_erf": (WORK.erf, 2, -5, 5),
    "f_erfc": (WORK.erfc, 4, -5, 10),
    "f_erfcinv": (_erfcinv, 4, 1e-9, 2),
    "f_tgamma": (WORK.gamma, 5, -30.5, 35),
    "f_lgamma": (lambda x: WORK.log(abs(WORK.gamma(x))), 6, 0.1, 3e4),
    "f_rsqrt": (lambda x: 1 / WORK.sqrt(x), 2, 1e-40, 3e38),
    "d_sin": (WORK.sin, 2, -1e300, 1e300),
    "d_exp": (WORK.exp, 1, -740, 709),
    "d_log": (WORK.log, 1, 1e-300, 1e300),
    "d_cbrt": (lambda x: WORK.sign(x) * WORK.cbrt(abs(x)), 1, -1e300, 1e300),
    "d_erfc": (WORK.erfc, 5, -5, 26),
    "d_erfcinv": (_erfcinv, 6, 1e-12, 2),
    "d_tgamma": (WORK.gamma, 10, -150.5, 170),
    "d_lgamma": (lambda x: WORK.log(abs(WORK.gamma(x))), 4, 0.1, 1e5),
}
# name: (function, bounds in f32 and f64 (0: not here), range of the argument)
MORE: dict[str, tuple[Callable[..., Any], tuple[float, float], float, float]] = {
    "exp2": (lambda x: WORK.mpf(2) ** x, (2, 1), -120, 120),
    "log2": (lambda x: WORK.log(x) / WORK.log(2), (1, 1), 1e-30, 1e30),
    "log10": (lambda x: WORK.log(x) / WORK.log(10), (2, 1), 1e-30, 1e30),
    "acos": (WORK.acos, (2, 2), -1, 1),
    "sinh": (WORK.sinh, (3, 2), -80, 80),
    "cosh": (WORK.cosh, (2, 1), -80, 80),
    "asinh": (WORK.asinh, (3, 3), -1e20, 1e20),
    "acosh": (WORK.acosh, (4, 3), 1.0, 50),
    "atanh": (WORK.atanh, (3, 2), -1, 1),
    "erfinv": (WORK.erfinv, (2, 5), -1, 1),
    "erfcx": (lambda x: WORK.exp(x * x) * WORK.erfc(x), (4, 4), -5, 10),
    "normcdf": (WORK.ncdf, (5, 5), -10, 8),
    "normcdfinv": (lambda p: WORK.sqrt(2) * WORK.erfinv(2 * p - 1), (5, 8), 0.0001, 0.9999),
    "cos": (WORK.cos, (0, 2), -1e300, 1e300),
    "tan": (WORK.tan, (0, 2), -1e300, 1e300),
    "exp10": (lambda x: WORK.mpf(10) ** x, (0, 1), -300, 300),
    "expm1": (WORK.expm1, (0, 1), -20, 700),
    "log1p": (WORK.log1p, (0, 1), 1e-9, 1e300),
    "asin": (WORK.asin, (0, 2), -1, 1),
    "atan": (WORK.atan, (0, 2), -1e20, 1e20),
    "tanh": (WORK.tanh, (0, 2), -20, 20),
    "rsqrt": (lambda x: 1 / WORK.sqrt(x), (0, 1), 1e-300, 1e300),
    "erf": (WORK.erf, (0, 2), -5, 5),
}
MORE_ENTRIES = tuple(
    f"{precision}_{name}"
    for name, (_, bounds, _, _) in MORE.items()
    for precision, bound in zip("fd", bounds, strict=True)
    if bound
)
BINARY: dict[str, tuple[Callable[..., Any], float, tuple[float, float], tuple[float, float]]] = {
    "f_pow": (WORK.power, 4, (1e-8, 1e5), (-7, 7)),
    "f_hypot": (WORK.hypot, 3, (-3e37, 3e37), (-3e37, 3e37)),
    "f_atan2": (WORK.atan2, 3, (-1e6, 1e6), (-1e6, 1e6)),
    "d_pow": (WORK.power, 2, (1e-9, 1e6), (-40, 40)),
    "d_hypot": (WORK.hypot, 2, (-1e300, 1e300), (-1e300, 1e300)),
}
# Near the zeros of a Bessel function the guide documents an absolute error.
ABSOLUTE: dict[str, tuple[float, float, str]] = {
    "f_j0": (9, 2.2e-6, "float32"),
    "d_j0": (7, 5e-12, "float64"),
}
EXACT: dict[str, Callable[[float, float], float]] = {
    "f_fmod": math.fmod,
    "f_remainder": math.remainder,
    "d_fmod": math.fmod,
}


def _dtype(entry: str) -> Any:
    return np.float32 if entry.startswith("f") else np.float64


def _run(entry: str, arrays: dict[str, Array], want: Array | Within) -> Run:
    count = len(arrays["a"])
    args = (*arrays, "out", count)
    return Run(entry, grid(count), (BLOCK,), args, arrays, {"out": want})


# What has slow paths, or a shape of its own; the rest takes more time than it tells.
LONG = (
    "f_exp10",
    "f_expm1",
    "f_log1p",
    "f_tanh",
    "f_asin",
    "f_atan",
    "f_erf",
    "f_rsqrt",
    "d_exp",
    "d_log",
    "d_cbrt",
    "d_erfc",
)


@kernel(FILE, *(name for name in UNARY if name not in LONG), slow=LONG)
def unary(entry: str) -> Run:
    function, bound, low, high = UNARY[entry]
    x = _spread(low, high, _dtype(entry), 1)
    return _run(entry, {"a": x}, ulps(_truth(function, x), bound, _dtype(entry)))


@kernel("libdevice_more.cu", slow=MORE_ENTRIES)
def documented(entry: str) -> Run:
    """The guide counts ULP from the correctly rounded result."""
    function, bounds, low, high = MORE[entry[2:]]
    x = _spread(low, high, _dtype(entry), 4)
    rounded = _truth(function, x).astype(_dtype(entry))
    return _run(entry, {"a": x}, ulps(rounded, bounds["fd".index(entry[0])], _dtype(entry)))


@kernel(FILE, *BINARY)
def binary(entry: str) -> Run:
    function, bound, first, second = BINARY[entry]
    x, y = _spread(*first, _dtype(entry), 1), _spread(*second, _dtype(entry), 2)
    return _run(entry, {"a": x, "b": y}, ulps(_truth(function, x, y), bound, _dtype(entry)))


@kernel(FILE, *ABSOLUTE)
def bessel(entry: str) -> Run:
    bound, error, name = ABSOLUTE[entry]
    x = np.random.default_rng(1).uniform(-8, 8, COUNT).astype(name)
    truth = _truth(lambda v: WORK.besselj(0, v), x)
    near = ulps(truth, bound, _dtype(entry))
    return _run(entry, {"a": x}, Within(truth, np.maximum(near.bound, error), name))


@kernel(FILE, *EXACT)
def exact(entry: str) -> Run:
    kind = _dtype(entry)
    rng = np.random.default_rng(3)
    reach = 60 if kind is np.float32 else 600
    x, y = (
        (rng.standard_normal(COUNT) * np.exp2(rng.integers(-reach, reach, COUNT))).astype(kind) for _ in "xy"
    )
    pairs = zip(x.tolist(), y.tolist(), strict=True)
    return _run(entry, {"a": x, "b": y}, np.array([EXACT[entry](a, b) for a, b in pairs], kind))


EDGES = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.5, -2.5, 2.0, 1e-45, 3e38)


@kernel(FILE, "pow", "fmod", "atan2", slow=("hypot", "nextafter"))
def special_pairs(name: str) -> Run:
    """Every pair of special values, by the rules of IEC 60559 that numpy follows too."""
    a, b = (x.astype(np.float32).ravel() for x in np.meshgrid(EDGES, EDGES))
    pairs: dict[str, Any] = {
        "pow": np.power,
        "fmod": np.fmod,
        "hypot": np.hypot,
        "atan2": np.arctan2,
        "nextafter": np.nextafter,
    }
    with np.errstate(all="ignore"):
        wide = (a, b) if name == "nextafter" else (a.astype(np.float64), b.astype(np.float64))
        truth = pairs[name](*wide)
    if name in ("fmod", "nextafter"):
        return _run(f"f_{name}", {"a": a, "b": b}, truth.astype(np.float32))
    return _run(f"f_{name}", {"a": a, "b": b}, ulps(truth, 4, np.float32))


@kernel(FILE, "f_sin", "f_log", "f_tgamma", "f_cbrt", slow=("f_exp", "f_erfc", "f_atan"))
def special_values(entry: str) -> Run:
    known: dict[str, tuple[float, ...]] = {
        # of 0, -0, inf, -inf, nan
        "f_sin": (0.0, -0.0, math.nan, math.nan, math.nan),
        "f_exp": (1.0, 1.0, math.inf, 0.0, math.nan),
        "f_log": (-math.inf, -math.inf, math.inf, math.nan, math.nan),
        "f_tgamma": (math.inf, -math.inf, math.inf, math.nan, math.nan),
        "f_cbrt": (0.0, -0.0, math.inf, -math.inf, math.nan),
        "f_erfc": (1.0, 1.0, 0.0, 2.0, math.nan),
        "f_atan": (0.0, -0.0, math.pi / 2, -math.pi / 2, math.nan),
    }
    x = np.array([0.0, -0.0, math.inf, -math.inf, math.nan], np.float32)
    return _run(entry, {"a": x}, np.array(known[entry], np.float32))


@kernel(FILE, 1, 100)
def taken_apart(n: int) -> Run:
    rng = np.random.default_rng(5)
    x = (rng.standard_normal(n) * np.exp2(rng.integers(-140, 100, n))).astype(np.float32)
    mantissa, exponent = np.frexp(x)
    part, whole = np.modf(x)
    half = np.ldexp(mantissa, exponent - 1)
    want = np.concatenate([mantissa, exponent.astype(np.float32), half, part, whole])
    return Run("taken_apart", grid(n), (BLOCK,), ("a", "out", n), {"a": x}, {"out": want})
