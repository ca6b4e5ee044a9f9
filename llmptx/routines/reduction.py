"""Reductions along an axis: sums by exact arithmetic, extrema exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.entry import EITHER_ZERO, EXACT, REALS, SUBNORMALS, WRAPS, Oracle, along_axis, exact
from llmptx.routines.truth import Array, Truth, exact_sum, exactly, pairs, quiet

_SUMMED = Tolerance("reduction")
_ORDER = (
    "The order of addition is free; |error| <= gamma_d sum|x|, d = 4 log2 n + 64, gamma_d = d u / (1 - d u)."
)
_NO_INPUT = "n = 0 never reaches the kernel."


def blocks(array: Array, extents: Mapping[str, int]) -> Array:
    """The flat input as (outer, n, inner)."""
    return array.reshape(extents["outer"], extents["n"], extents["inner"])


def columns(array: Array, extents: Mapping[str, int]) -> Array:
    """The flat input as one row for each result: (outer * inner, n)."""
    n = extents["n"]
    return np.moveaxis(blocks(array, extents), 1, 2).reshape(extents["outer"] * extents["inner"], n)


def _sum(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    x = blocks(inputs[0], extents)
    if signature.dtype.startswith("int"):
        return exactly(np.sum(x, axis=1, dtype=np.int64), "int64")
    with quiet():
        weight = np.sum(np.abs(x), axis=1, dtype=np.float64).ravel()
        if signature.dtype == "float32":
            return (Truth(np.sum(x, axis=1, dtype=np.float64).ravel(), None, weight, True),)
    hi, lo = pairs([exact_sum(row) for row in columns(inputs[0], extents).tolist()])
    return (Truth(hi, lo, weight, True),)


def _mean(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    n = extents["n"]
    rows = columns(inputs[0], extents)
    if n == 0:
        nothing = np.full(len(rows), np.nan)
        return (Truth(nothing, weight=nothing),)
    with quiet():
        weight = np.sum(np.abs(rows.astype(np.float64)), axis=1) / n
        if signature.dtype == "float32":
            return (Truth(np.asarray(np.sum(rows, axis=1, dtype=np.float64) / n), None, weight, True),)
    if signature.dtype == "float64":
        hi, lo = pairs([_quotient(*exact_sum(row), n) for row in rows.tolist()])
    else:
        hi, lo = pairs([_quotient(sum(row), 0, n) for row in rows.tolist()])
    return (Truth(hi, lo, weight, True),)


def _quotient(high: float, low: float, n: int) -> tuple[float, float]:
    """(high + low) / n as hi + lo; high may be a Python integer of any size."""
    from fractions import Fraction

    if isinstance(high, float) and not np.isfinite(high):
        return high, 0.0
    total = (Fraction(high) + Fraction(low)) / n
    hi = float(total)
    return hi, float(total - Fraction(hi))


def _extremum(reduce: Callable[..., Any]) -> Oracle:
    def oracle(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
        x = blocks(inputs[0], extents)
        if signature.dtype.startswith("int"):
            return exactly(reduce(x, axis=1), signature.dtype)
        has_nan = np.isnan(x).any(axis=1)
        with quiet():
            best = reduce(x, axis=1)
        return exactly(np.where(has_nan, np.nan, best), signature.dtype, True)

    return oracle


def _argmax(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    return exactly(np.argmax(blocks(inputs[0], extents), axis=1), "int64")


ROUTINES: tuple[Routine, ...] = (
    along_axis(
        "numpy.sum",
        "reduction",
        "Sum of the elements along an axis.",
        "out[o, i] = sum over j of in0[o, j, i]",
        _sum,
        {"float32": "float32", "float64": "float64", "int32": "int64", "int64": "int64"},
        {"float32": _SUMMED, "float64": _SUMMED, **exact(("int32", "int64"))},
        "terms",
        notes=(
            _ORDER,
            "n = 0 gives 0 and is launched; either zero is right for a zero sum.",
            "NaN and infinities propagate: inf + -inf is NaN.",
            SUBNORMALS,
            "int32 is summed in int64.",
            WRAPS,
        ),
    ),
    along_axis(
        "numpy.max",
        "reduction",
        "Largest element along an axis; NaN wins.",
        "out[o, i] = max over j of in0[o, j, i]",
        _extremum(np.max),
        {d: d for d in REALS},
        exact(REALS),
        "order",
        notes=(
            "One NaN along the axis makes the result NaN.",
            "PTX max drops NaN unless .NaN is given.",
            EITHER_ZERO,
            SUBNORMALS,
            _NO_INPUT,
        ),
    ),
    along_axis(
        "numpy.min",
        "reduction",
        "Smallest element along an axis; NaN wins.",
        "out[o, i] = min over j of in0[o, j, i]",
        _extremum(np.min),
        {d: d for d in REALS},
        exact(REALS),
        "order",
        notes=(
            "One NaN along the axis makes the result NaN.",
            "PTX min drops NaN unless .NaN is given.",
            EITHER_ZERO,
            SUBNORMALS,
            _NO_INPUT,
        ),
    ),
    along_axis(
        "numpy.argmax",
        "reduction",
        "Index along an axis of the largest element.",
        "out[o, i] = least j with isnan(in0[o, j, i]), or else with in0[o, j, i] == max over j",
        _argmax,
        dict.fromkeys(REALS, "int64"),
        dict.fromkeys(REALS, EXACT),
        "order",
        notes=(
            "The output is int64.",
            "On ties the least index wins; +0 and -0 tie.",
            "A NaN counts as larger than any number: the first NaN wins.",
            "A row of nothing but -inf, or of the least integer, still answers 0.",
            _NO_INPUT,
        ),
    ),
    along_axis(
        "numpy.mean",
        "reduction",
        "Arithmetic mean of the elements along an axis.",
        "out[o, i] = (sum over j of in0[o, j, i]) / n",
        _mean,
        {"float32": "float32", "float64": "float64", "int32": "float64", "int64": "float64"},
        dict.fromkeys(REALS, _SUMMED),
        "averaged",
        notes=(
            _ORDER,
            "n = 0 gives NaN and is launched.",
            "Integers are averaged in float64: the sum may pass the range of int64.",
            "NaN and infinities propagate.",
            SUBNORMALS,
        ),
    ),
)
