"""Rows of numbers for sums, extrema, sorts and products: what each way of filling a row is meant to show.

Knows no routine and no shape beyond rows of one length.
Everything random comes from the generator it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from llmptx.routines.truth import Array
from llmptx.verify.tolerance import Structure
from llmptx.verify.values import bits, distributions, lattice

Rows = Callable[[Generator, int, int], Array]
Operands = Callable[[Generator, int, int, int, int], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Fill:
    """How to fill `rows` rows of n elements: draw(rng, rows, n) -> [rows, n].

    power_of_two  the structure holds only where n is one: a mean of whole numbers is exact only then
    """

    draw: Rows
    structure: Structure = "random"
    power_of_two: bool = False


@dataclass(frozen=True, slots=True)
class Factors:
    """How to fill two factors: draw(rng, batch, m, k, n) -> [batch, m, k], [batch, k, n]."""

    draw: Operands
    structure: Structure = "random"


def fills(domain: str, dtype: str) -> dict[str, Fill]:
    """By name, the first two for shapes at large. Domains: terms, averaged, order, logits, keys."""
    floating = dtype.startswith("float")
    if domain == "order":
        return _float_order(dtype) if floating else _integer_order(dtype)
    if domain == "keys":
        return _keys(dtype)
    if domain == "logits":
        return _logits(dtype)
    return _float_terms(dtype, domain) if floating else _integer_terms(dtype)


def _placed(rows: Array, places: Array, value: float) -> Array:
    """One element of every row replaced."""
    if rows.shape[1]:
        rows[np.arange(len(rows)), places] = value
    return rows


def _anywhere(rng: Generator, rows: int, n: int) -> Array:
    """A place in every row."""
    return rng.integers(0, max(n, 1), rows)


def _normal(dtype: str, size: float = 1.0) -> Rows:
    return lambda rng, rows, n: (rng.standard_normal((rows, n)) * size).astype(dtype)


def _constant(dtype: str, value: float) -> Rows:
    return lambda rng, rows, n: np.full((rows, n), value, dtype)


def _with(base: Rows, value: float, where: str) -> Rows:
    def draw(rng: Generator, rows: int, n: int) -> Array:
        data = base(rng, rows, n)
        ends = {"first": np.zeros(rows, np.int64), "last": np.full(rows, max(n - 1, 0))}
        return _placed(data, ends[where] if where in ends else _anywhere(rng, rows, n), value)

    return draw


def _float_terms(dtype: str, domain: str) -> dict[str, Fill]:
    normal = _normal(dtype)
    largest = float(np.finfo(dtype).max)
    halved = domain == "averaged"
    result = {
        "random": Fill(normal),
        "whole numbers": Fill(
            lambda rng, rows, n: rng.integers(-9, 10, (rows, n)).astype(dtype), "exact", halved
        ),
        "positive": Fill(lambda rng, rows, n: rng.uniform(0.5, 1.5, (rows, n)).astype(dtype)),
        "all 3": Fill(_constant(dtype, 3), "exact", halved),
        "one 1 among zeros": Fill(_with(_constant(dtype, 0), 1, "anywhere"), "exact", halved),
        "last 1 among zeros": Fill(_with(_constant(dtype, 0), 1, "last"), "exact", halved),
        "wide": Fill(
            lambda rng, rows, n: np.ldexp(
                rng.standard_normal((rows, n)), rng.integers(-40, 40, (rows, n))
            ).astype(dtype)
        ),
        "first NaN": Fill(_with(normal, np.nan, "first")),
        "last NaN": Fill(_with(normal, np.nan, "last")),
        "one infinity": Fill(_with(normal, np.inf, "anywhere")),
        "both infinities": Fill(_with(_with(normal, np.inf, "first"), -np.inf, "last")),
    }
    if not halved:
        result["subnormal"] = Fill(lambda rng, rows, n: bits(rng.integers(1, 200, (rows, n)), dtype), "exact")
        result["overflow"] = Fill(_constant(dtype, largest * 0.75))
    return result


def _integer_terms(dtype: str) -> dict[str, Fill]:
    info = np.iinfo(dtype)
    return {
        "anything": Fill(
            lambda rng, rows, n: rng.integers(info.min, info.max, (rows, n), dtype=dtype, endpoint=True)
        ),
        "small": Fill(lambda rng, rows, n: rng.integers(-9, 10, (rows, n)).astype(dtype)),
        "largest": Fill(_constant(dtype, info.max)),
        "one 1 among zeros": Fill(_with(_constant(dtype, 0), 1, "anywhere")),
        "last 1 among zeros": Fill(_with(_constant(dtype, 0), 1, "last")),
    }


def _few(dtype: str, low: int, high: int) -> Rows:
    return lambda rng, rows, n: rng.integers(low, high + 1, (rows, n)).astype(dtype)


def _zeros_of_both_signs(dtype: str) -> Rows:
    return lambda rng, rows, n: np.where(rng.random((rows, n)) < 0.5, 0.0, -0.0).astype(dtype)


def _lattice_rows(dtype: str, finite: bool) -> Rows:
    def draw(rng: Generator, rows: int, n: int) -> Array:
        values = lattice(dtype, "real")
        if finite and dtype.startswith("float"):
            values = values[~np.isnan(values)]
        return values[rng.integers(0, len(values), (rows, n))]

    return draw


def _float_order(dtype: str) -> dict[str, Fill]:
    normal = _normal(dtype)
    return {
        "random": Fill(normal),
        "few distinct": Fill(_few(dtype, -3, 3)),
        "all negative": Fill(lambda rng, rows, n: -rng.uniform(0.5, 1e4, (rows, n)).astype(dtype)),
        "all positive": Fill(lambda rng, rows, n: rng.uniform(0.5, 1e4, (rows, n)).astype(dtype)),
        "all equal": Fill(_constant(dtype, 2.5)),
        "all -inf": Fill(_constant(dtype, -np.inf)),
        "all +inf": Fill(_constant(dtype, np.inf)),
        "largest last": Fill(_with(normal, 1e6, "last")),
        "largest anywhere": Fill(_with(normal, 1e6, "anywhere")),
        "smallest last": Fill(_with(normal, -1e6, "last")),
        "smallest anywhere": Fill(_with(normal, -1e6, "anywhere")),
        "zeros of both signs": Fill(_zeros_of_both_signs(dtype)),
        "first NaN": Fill(_with(normal, np.nan, "first")),
        "last NaN": Fill(_with(normal, np.nan, "last")),
        "two NaNs": Fill(_with(_with(normal, np.nan, "anywhere"), np.nan, "anywhere")),
        "NaN and infinity": Fill(_with(_with(normal, np.inf, "first"), np.nan, "last")),
        "all NaN": Fill(_constant(dtype, np.nan)),
        "subnormal": Fill(lambda rng, rows, n: bits(rng.integers(1, 1 << 20, (rows, n)), dtype)),
        "special values": Fill(_lattice_rows(dtype, finite=True)),
    }


def _integer_order(dtype: str) -> dict[str, Fill]:
    info = np.iinfo(dtype)
    anything = _integer_terms(dtype)["anything"].draw
    return {
        "anything": Fill(anything),
        "few distinct": Fill(_few(dtype, -3, 3)),
        "all negative": Fill(_few(dtype, -1000, -1)),
        "all positive": Fill(_few(dtype, 1, 1000)),
        "all least": Fill(_constant(dtype, info.min)),
        "all greatest": Fill(_constant(dtype, info.max)),
        "largest last": Fill(_with(_few(dtype, -1000, 1000), 5000, "last")),
        "largest anywhere": Fill(_with(_few(dtype, -1000, 1000), 5000, "anywhere")),
        "smallest last": Fill(_with(_few(dtype, -1000, 1000), -5000, "last")),
        "smallest anywhere": Fill(_with(_few(dtype, -1000, 1000), -5000, "anywhere")),
    }


def _keys(dtype: str) -> dict[str, Fill]:
    order = fills("order", dtype)
    main = order["random" if dtype.startswith("float") else "anything"].draw

    def arranged(arrange: Callable[[Array], Array]) -> Rows:
        return lambda rng, rows, n: np.ascontiguousarray(arrange(np.sort(main(rng, rows, n), axis=1)))

    result = {
        "random": Fill(main),
        "few distinct": order["few distinct"],
        "sorted": Fill(arranged(lambda rows: rows)),
        "reversed": Fill(arranged(lambda rows: rows[:, ::-1])),
        "rotated": Fill(arranged(lambda rows: np.roll(rows, 1, axis=1))),
        "special values": Fill(_lattice_rows(dtype, finite=False)),
    }
    if dtype.startswith("float"):
        for name in ("zeros of both signs", "all +inf", "all NaN", "first NaN", "two NaNs"):
            result[name] = order[name]
        result["any bits"] = Fill(
            lambda rng, rows, n: distributions(dtype, "real")["bits"](rng, rows * n).reshape(rows, n)
        )
    else:
        result["all greatest"] = order["all greatest"]
    return result


def _logits(dtype: str) -> dict[str, Fill]:
    """Values from a small pool: true answers in float64 cost microseconds a distinct difference."""

    def pooled(size: float, offset: float = 0.0) -> Rows:
        def draw(rng: Generator, rows: int, n: int) -> Array:
            pool = (rng.standard_normal(60) * size + offset).astype(dtype)
            return pool[rng.integers(0, len(pool), (rows, n))]

        return draw

    def masked(rng: Generator, rows: int, n: int) -> Array:
        return np.where(rng.random((rows, n)) < 0.4, -np.inf, pooled(3)(rng, rows, n)).astype(dtype)

    def spread(rng: Generator, rows: int, n: int) -> Array:
        return rng.integers(-1000, 1001, (rows, n)).astype(dtype)

    normal = pooled(3)
    fall = -100.0 if dtype == "float32" else -740.0
    return {
        "random": Fill(normal),
        "large offset": Fill(pooled(2, 1000)),
        "negative offset": Fill(pooled(2, -1000)),
        "wide": Fill(spread),
        "all equal": Fill(_constant(dtype, 0.1)),
        "all zero": Fill(_constant(dtype, 0.0)),
        "one dominates": Fill(_with(normal, 60.0, "anywhere")),
        "last dominates": Fill(_with(normal, 60.0, "last")),
        "falls to subnormal": Fill(_with(_constant(dtype, fall), 0.0, "anywhere")),
        "some -inf": Fill(masked),
        "all -inf": Fill(_constant(dtype, -np.inf)),
        "one +inf": Fill(_with(normal, np.inf, "anywhere")),
        "first NaN": Fill(_with(normal, np.nan, "first")),
        "last NaN": Fill(_with(normal, np.nan, "last")),
        "NaN and infinity": Fill(_with(_with(normal, np.nan, "first"), np.inf, "last")),
    }


def factors(dtype: str) -> dict[str, Factors]:
    """Pairs of matrices (vectors for m = n = 1) by name."""

    def both(draw: Callable[[Generator, tuple[int, ...]], Array]) -> Operands:
        return lambda rng, batch, m, k, n: (draw(rng, (batch, m, k)), draw(rng, (batch, k, n)))

    def whole(rng: Generator, shape: tuple[int, ...]) -> Array:
        return rng.integers(-9, 10, shape).astype(dtype)

    if dtype.startswith("int"):
        info = np.iinfo(dtype)

        def anything(rng: Generator, shape: tuple[int, ...]) -> Array:
            return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)

        return {"random": Factors(both(anything)), "whole numbers": Factors(both(whole))}

    def normal(rng: Generator, shape: tuple[int, ...]) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    def spoiled(value: float) -> Operands:
        def draw(rng: Generator, batch: int, m: int, k: int, n: int) -> tuple[Array, Array]:
            a, b = normal(rng, (batch, m, k)), normal(rng, (batch, k, n))
            if a.size:
                a.ravel()[rng.integers(0, a.size)] = value
            if b.size:
                b.ravel()[:: max(1, b.size // 3)] = 0.0
            return a, b

        return draw

    def selection(rng: Generator, batch: int, m: int, k: int, n: int) -> tuple[Array, Array]:
        """Each row of A picks one row of B, whose digits must all arrive."""
        a = np.zeros((batch, m, k), dtype)
        if k:
            pick = rng.integers(0, k, (batch, m))
            pick[:, -1:] = k - 1
            np.put_along_axis(a, pick[:, :, None], 1, axis=2)
        return a, normal(rng, (batch, k, n))

    def constants(rng: Generator, batch: int, m: int, k: int, n: int) -> tuple[Array, Array]:
        return np.full((batch, m, k), 0.1, dtype), np.full((batch, k, n), 0.7, dtype)

    def positive(rng: Generator, shape: tuple[int, ...]) -> Array:
        """Sums that only grow: roundings that lean one way add up, where those to nearest cancel."""
        return rng.uniform(0.5, 1.5, shape).astype(dtype)

    def subnormal(rng: Generator, batch: int, m: int, k: int, n: int) -> tuple[Array, Array]:
        """Products and sums that are exact, and gone where subnormals are flushed."""
        small = bits(rng.integers(1, 200, (batch, k, n)), dtype)
        return whole(rng, (batch, m, k)), small

    return {
        "random": Factors(both(normal)),
        "whole numbers": Factors(both(whole), "exact"),
        "selection": Factors(selection, "exact"),
        "constants": Factors(constants, "structured"),
        "subnormal": Factors(subnormal, "exact"),
        "one NaN": Factors(spoiled(np.nan)),
        "one infinity": Factors(spoiled(np.inf)),
        "positive": Factors(both(positive)),
    }
