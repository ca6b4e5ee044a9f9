"""Numbers that find faults: special values, and distributions for each domain a routine may name.

Knows no routine and no shape. Everything random comes from the generator it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random import Generator

from llmptx.routines.truth import Array

Draw = Callable[[Generator, int], Array]

_UNSIGNED: dict[str, Any] = {
    "float32": np.uint32,
    "float64": np.uint64,
    "int32": np.uint32,
    "int64": np.uint64,
}
_MANTISSA = {"float32": 23, "float64": 52}
_EXPONENTS = {"float32": (-149, 127), "float64": (-1074, 1023)}

# Where each function changes its character: overflow, underflow, saturation, hard argument reductions.
_TURNS: dict[str, dict[str, tuple[float, ...]]] = {
    "exp": {
        "float32": (88.7228394, -87.3365479, -103.2789, -103.972084, 0.34657359),
        "float64": (
            709.782712893384,
            -708.3964185322641,
            -744.4400719213812,
            -745.1332191019412,
            0.3465735902799727,
        ),
    },
    "exp2": {
        "float32": (128.0, 127.0, -126.0, -148.0, -149.0, -150.0),
        "float64": (1024.0, 1023.0, -1022.0, -1073.0, -1074.0, -1075.0),
    },
    "log": {
        "float32": (1.0, math.sqrt(0.5), math.sqrt(2), math.e),
        "float64": (1.0, math.sqrt(0.5), math.sqrt(2), math.e),
    },
    "angle": {
        "float32": (
            *(k * math.pi / 2 for k in range(1, 33)),
            105615.0,
            16367173 * 2.0**72,
            1e10,
            1e22,
            3.4e38,
        ),
        "float64": (
            *(k * math.pi / 2 for k in range(1, 33)),
            math.ldexp(6381956970095103, 797),
            1e5 * math.pi,
            2.0**30 * math.pi,
            1e22,
            1e300,
            1.7e308,
        ),
    },
    "sigmoid": {
        "float32": (
            0.25,
            0.5,
            0.55,
            0.625,
            0.84375,
            0.927734375,
            1.0,
            1.25,
            3.83,
            3.92,
            4.0,
            8.66,
            9.01,
            9.02,
        ),
        "float64": (
            0.25,
            0.5,
            0.55,
            0.625,
            0.84375,
            1.0,
            1.25,
            2.857142857,
            5.86,
            5.92,
            6.0,
            18.7,
            19.06,
            22.0,
        ),
    },
    "expit": {
        "float32": (16.6355, 17.3287, 87.3365479, 88.7228394, 103.2789, 103.972084),
        "float64": (36.04, 36.7368, 708.3964185322641, 709.782712893384, 744.44007192, 745.1332191019412),
    },
}


def bits(pattern: Any, dtype: str) -> Array:
    """Numbers of `dtype` from their bits: NaN payloads and all."""
    return np.asarray(pattern, _UNSIGNED[dtype]).view(dtype)


@lru_cache(maxsize=64)
def lattice(dtype: str, domain: str) -> Array:
    """Every value worth trying at least once, both signs; NaNs quiet and signalling for floats."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype.startswith("int"):
        return _integer_lattice(dtype, domain)
    p = _MANTISSA[dtype]
    width = np.dtype(dtype).itemsize * 8
    infinity = ((1 << (width - 1 - p)) - 1) << p
    normal = 1 << p
    magnitudes = [
        0,
        1,
        2,
        3,
        normal - 1,
        normal,
        normal + 1,
        2 * normal,
        infinity - 1,
        infinity - 2,
        infinity,
    ]
    nans = [infinity + 1, infinity + (normal >> 1), infinity + (normal >> 1) + 0x1234, infinity + normal - 1]
    plain = [
        0.5,
        1.0,
        1.5,
        2.0,
        2.5,
        3.0,
        3.5,
        7.0,
        10.0,
        0.1,
        1 / 3,
        math.pi,
        math.pi / 2,
        math.log(2),
        math.e,
    ]
    plain += [2.0 ** (p - 1) + 0.5, 2.0**p, 2.0 ** (p + 1), 2.0 ** (p + 1) - 1, 2.0**31, 2.0**63, 1e5]
    plain += [math.ldexp(1, _EXPONENTS[dtype][0] // 2), math.ldexp(1, _EXPONENTS[dtype][1] // 2 + 1)]
    edges = np.array([*plain, *_TURNS.get(domain, {}).get(dtype, ())], dtype)
    around = bits(np.concatenate([_as_bits(edges) - 1, _as_bits(edges), _as_bits(edges) + 1]), dtype)
    positive = np.concatenate([bits(magnitudes + nans, dtype), around])
    both = bits(
        np.concatenate([_as_bits(positive), _as_bits(positive) ^ _UNSIGNED[dtype](1 << (width - 1))]), dtype
    )
    result = bits(np.unique(_as_bits(both)), dtype)
    result.flags.writeable = False
    return result


@lru_cache(maxsize=64)
def short_lattice(dtype: str, domain: str) -> Array:
    """A dozen or two of the lattice, few enough for a cube of combinations."""
    if dtype == "bool":
        return np.array([False, True])
    info = np.finfo(dtype) if dtype.startswith("float") else None
    if info is None:
        if domain != "real":
            return _integer_lattice(dtype, domain)[::2]
        i = np.iinfo(dtype)
        return np.array([i.min, i.min + 1, -7, -2, -1, 0, 1, 2, 7, i.max - 1, i.max], dtype)
    tiny, small = float(info.smallest_subnormal), float(info.tiny)
    values = [
        0.0,
        tiny,
        small,
        0.5,
        1.0,
        1.0 + float(info.eps),
        2.0,
        2.5,
        3.0,
        float(info.max),
        math.inf,
        math.nan,
    ]
    return np.array([s * v for v in values for s in (1, -1)], dtype)


def _as_bits(values: Array) -> Array:
    return values.view(_UNSIGNED[str(values.dtype)])


def _integer_lattice(dtype: str, domain: str) -> Array:
    info = np.iinfo(dtype)
    width = info.bits
    if domain == "shift":
        counts = [0, 1, 2, width // 2, width - 2, width - 1, width, width + 1, 2 * width, 255, 256, 256 + 3]
        counts += [-1, -2, -width, 1 << 16, info.max, info.min, info.min + 1]
        if width == 64:
            counts += [1 << 32, (1 << 32) + 1, -(1 << 32), 1 << 62]  # zero once narrowed to 32 bits
        return np.array(counts, dtype)
    if domain == "exponent":
        return np.array(
            [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 33, 62, 63, 64, 65, 1000, info.max - 1, info.max], dtype
        )
    powers = [1 << k for k in range(1, width - 1)]
    values = [0, 1, 3, 5, 7, 10, 100, info.max, info.max - 1, *powers[::3], *(v - 1 for v in powers[::5])]
    signed = {v for x in values for v in (x, -x)} | {info.min, info.min + 1, 0x55555555, -0x55555556}
    return np.array(sorted(signed), dtype)


def distributions(dtype: str, domain: str) -> dict[str, Draw]:
    """Named ways to draw numbers of `dtype`: those every type has, then those the domain adds."""
    if dtype == "bool":
        return {"coin": lambda rng, n: rng.integers(0, 2, n).astype(np.bool_)}
    if dtype.startswith("int"):
        return _integers(dtype, domain)
    general: dict[str, Draw] = {
        "bits": lambda rng, n: _random_bits(rng, n, dtype),
        "unit": lambda rng, n: rng.uniform(-1, 1, n).astype(dtype),
        "wide": lambda rng, n: _log_uniform(rng, n, dtype, *_EXPONENTS[dtype]),
        "moderate": lambda rng, n: _log_uniform(rng, n, dtype, -12, 12),
        "halves": lambda rng, n: (rng.integers(-2000, 2001, n) / 2).astype(dtype),
        "near 1": lambda rng, n: _signed(
            rng, 1 + rng.integers(-300, 301, n) * float(np.finfo(dtype).eps) / 2
        ).astype(dtype),
        "subnormal": lambda rng, n: _subnormal(rng, n, dtype),
    }
    return general | _special_to(domain, dtype)


def _special_to(domain: str, dtype: str) -> dict[str, Draw]:
    extra: dict[str, Draw] = {}
    turns = _TURNS.get(domain, {}).get(dtype)
    if turns:
        extra["turning points"] = lambda rng, n: _around(rng, n, turns, dtype)
    if domain == "exp":
        low, high = (-104.5, 89.5) if dtype == "float32" else (-746.0, 710.5)
        extra["whole range"] = lambda rng, n: rng.uniform(low, high, n).astype(dtype)
    elif domain == "exp2":
        low, high = (-151.0, 129.0) if dtype == "float32" else (-1076.0, 1025.0)
        extra["whole range"] = lambda rng, n: rng.uniform(low, high, n).astype(dtype)
        extra["whole numbers"] = lambda rng, n: np.rint(rng.uniform(low, high, n)).astype(dtype)
    elif domain in ("log", "positive"):
        extra["positive"] = lambda rng, n: np.abs(_log_uniform(rng, n, dtype, *_EXPONENTS[dtype]))
        extra["positive near 1"] = lambda rng, n: np.exp(rng.uniform(-0.5, 0.5, n) ** 3).astype(dtype)
        extra["squares"] = lambda rng, n: (rng.integers(0, 2000, n).astype(np.float64) ** 2).astype(dtype)
    elif domain == "angle":
        extra["turns"] = lambda rng, n: rng.uniform(-20 * math.pi, 20 * math.pi, n).astype(dtype)
        extra["multiples of pi/2"] = lambda rng, n: (rng.integers(-(2**20), 2**20, n) * (math.pi / 2)).astype(
            dtype
        )
        extra["huge"] = lambda rng, n: _log_uniform(rng, n, dtype, 12, _EXPONENTS[dtype][1])
        extra["hard"] = lambda rng, n: _signed(rng, rng.choice(hard_angles(dtype), n))
    elif domain in ("sigmoid", "expit"):
        reach = {"sigmoid": 6.5, "expit": 120.0}[domain] * (
            1 if dtype == "float32" or domain == "sigmoid" else 6.3
        )
        extra["bend"] = lambda rng, n: rng.uniform(-1.5, 1.5, n).astype(dtype)
        extra["whole range"] = lambda rng, n: rng.uniform(-reach, reach, n).astype(dtype)
    return extra


@lru_cache(maxsize=2)
def hard_angles(dtype: str) -> Array:
    """Numbers of almost every size nearest to multiples of pi/2: what is left has the fewest true digits.

    The nearest m 2^e are those whose m is the denominator of a convergent of 2^e / (pi/2).
    """
    import gmpy2

    precision = _MANTISSA[dtype] + 1
    last = _EXPONENTS[dtype][1] - precision + 1
    scale = last + 4 * precision  # bits after the point
    with gmpy2.context(gmpy2.get_context(), precision=scale + 8):
        half_turn = int(gmpy2.mul_2exp(gmpy2.const_pi(), scale - 1))
    found = []
    for exponent in range(2 - precision, last + 1):
        numerator, denominator = 1 << (exponent + scale), half_turn
        before, q = 0, 1
        while q < 1 << precision:
            if q >= 1 << (precision - 8):
                found.append(math.ldexp(q, exponent))
            numerator, denominator = denominator, numerator % denominator
            before, q = q, numerator // denominator * q + before
    result = np.array(found, dtype)
    result.flags.writeable = False
    return result


def _integers(dtype: str, domain: str) -> dict[str, Draw]:
    info = np.iinfo(dtype)
    if domain == "shift":
        return {"counts": lambda rng, n: rng.integers(-3, info.bits + 4, n).astype(dtype)}
    if domain == "exponent":
        return {"powers": lambda rng, n: rng.integers(0, 71, n).astype(dtype)}
    anything: dict[str, Draw] = {
        "bits": lambda rng, n: rng.integers(info.min, info.max, n, dtype=dtype, endpoint=True),
        "small": lambda rng, n: rng.integers(-12, 13, n).astype(dtype),
        "thousands": lambda rng, n: rng.integers(-40000, 40001, n).astype(dtype),
    }
    if domain == "divisor":
        anything["tiny"] = lambda rng, n: rng.integers(-2, 3, n).astype(dtype)
    return anything


def mixture(rng: Generator, n: int, dtype: str, domain: str) -> Array:
    """Every element from a distribution of its own, one in eight from the lattice."""
    draws = distributions(dtype, domain)
    special = lattice(dtype, domain)
    columns = [draw(rng, n) for draw in draws.values()]
    choice = rng.integers(0, len(columns), n)
    result = np.choose(choice, columns) if len(columns) > 1 else columns[0].copy()
    places = rng.random(n) < 0.125
    result[places] = special[rng.integers(0, len(special), int(places.sum()))]
    return np.asarray(result)


def _random_bits(rng: Generator, n: int, dtype: str) -> Array:
    return bits(
        rng.integers(0, np.iinfo(_UNSIGNED[dtype]).max, n, dtype=_UNSIGNED[dtype], endpoint=True), dtype
    )


def _signed(rng: Generator, values: Array) -> Array:
    return np.where(rng.random(values.size) < 0.5, values, -values)


def _log_uniform(rng: Generator, n: int, dtype: str, low: int, high: int) -> Array:
    """Either sign; exponents even over [low, high], mantissas over [1, 2)."""
    exponents = rng.integers(low, high, n, endpoint=True)
    return _signed(rng, np.ldexp(rng.uniform(1, 1.9999, n), exponents)).astype(dtype)


def _subnormal(rng: Generator, n: int, dtype: str) -> Array:
    pattern = rng.integers(0, 1 << (_MANTISSA[dtype] + 1), n, dtype=_UNSIGNED[dtype])
    return np.asarray(_signed(rng, bits(pattern, dtype)))


def _around(rng: Generator, n: int, turns: tuple[float, ...], dtype: str) -> Array:
    """Floats within a few hundred places of a turning point, either sign."""
    centre = np.abs(np.array(turns, dtype))[rng.integers(0, len(turns), n)]
    offset = np.rint(rng.normal(0, 1, n) ** 5 * 8).astype(np.int64)
    moved = bits(_as_bits(centre).astype(np.int64) + offset, dtype)
    return np.asarray(_signed(rng, moved))
