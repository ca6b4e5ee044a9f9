"""Routines of scipy.special: sigmoids element by element, and the exponential sums along an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.entry import FLOATS, along_axis, elementwise, transcendental, ulps
from llmptx.routines.reduction import columns
from llmptx.routines.truth import (
    PRECISION,
    Array,
    Floats,
    Truth,
    multiprecision,
    quiet,
    spacing,
    split,
    split_all,
    unit_roundoff,
)

_K = Tolerance("special", 4)

_EXP_SUM = (
    "Subtract the maximum before exponentiating: inputs of +-1000 neither overflow nor vanish.",
    "A NaN makes the whole row NaN.",
)


def _erf(x: Floats) -> Floats:
    from scipy.special import erf

    return np.asarray(erf(x))


def _expit(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    with quiet():
        x = inputs[0].astype(np.float64)
        # |x f'/f| = |x| (1 - f(x)): what a rounding of x itself does to the result.
        tail = np.exp(-np.abs(x))
        condition = np.abs(x) * np.where(x < 0, 1, tail) / (1 + tail)
        factor = 1 + np.where(np.isfinite(x), condition, 0)
        if signature.dtype == "float32":
            hi, lo = np.where(x < 0, tail, 1) / (1 + tail), None
        else:
            hi, lo = multiprecision("expit", x)
        return (Truth(hi, lo, factor * spacing(hi, signature.dtype)),)


def _shifted(rows: Floats) -> tuple[Floats, Floats]:
    """Each row's maximum, and its elements less that; rows with a NaN or +inf are settled elsewhere."""
    top = np.max(rows, axis=1, keepdims=True)
    return top, rows - top


def _moments(shifted: Floats) -> tuple[Floats, Floats, Floats]:
    """exp of each element, each row's sum of them, and the mean |element| they weigh out."""
    terms = np.exp(shifted)
    total = np.sum(terms, axis=1, keepdims=True)
    distance = np.where(terms > 0, -shifted, 0)
    return terms, total, np.sum(terms * distance, axis=1, keepdims=True) / total


def _softmax(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    n = extents["n"]
    rows = columns(inputs[0], extents).astype(np.float64)
    if rows.size == 0:
        return (Truth(rows.ravel(), weight=rows.ravel()),)
    with quiet():
        _, shifted = _shifted(rows)
        terms, total, mean_distance = _moments(shifted)
        # d ln(out) / dx: an exponent's rounding is worth its own size, the sum's rounding grows as log n.
        factor = 1 + np.where(np.isfinite(shifted), -shifted, 0) + mean_distance + math.log2(max(n, 2))
        hi, lo = terms / total, np.zeros_like(terms)
        if signature.dtype == "float64":
            finite = np.isfinite(rows.max(axis=1))
            for row in np.flatnonzero(finite):
                hi[row], lo[row] = _softmax_row(rows[row])

    def restore(part: Floats) -> Floats:
        return np.moveaxis(part.reshape(extents["outer"], extents["inner"], n), 2, 1).ravel()

    return (Truth(restore(hi), restore(lo), restore(factor * spacing(hi, signature.dtype))),)


@lru_cache(maxsize=1 << 15)
def _exp_of_difference(x: float, top: float) -> Any:
    """exp(x - top), the difference exact. Call it inside an MPFR context of PRECISION bits."""
    import gmpy2

    return gmpy2.exp(x - gmpy2.mpfr(top))


def _exponentials(row: Floats) -> tuple[Any, list[Any], Array]:
    """The maximum, exp(x - maximum) of each distinct x, and how to spread those over the row. All MPFR."""
    import gmpy2

    points, inverse = np.unique(row, return_inverse=True)
    distinct = points.tolist()
    top = distinct[-1]
    return gmpy2.mpfr(top), [_exp_of_difference(x, top) for x in distinct], inverse.ravel()


def _softmax_row(row: Floats) -> tuple[Floats, Floats]:
    import gmpy2

    with gmpy2.context(gmpy2.get_context(), precision=PRECISION):
        _, terms, inverse = _exponentials(row)
        counts = np.bincount(inverse).tolist()
        scale = 1 / sum((t * c for t, c in zip(terms, counts, strict=True)), gmpy2.mpfr(0))
        hi, lo = split_all([t * scale for t in terms])
    return hi[inverse], lo[inverse]


def _logsumexp_row(row: Floats) -> tuple[float, float]:
    import gmpy2

    with gmpy2.context(gmpy2.get_context(), precision=PRECISION):
        top, terms, inverse = _exponentials(row)
        counts = np.bincount(inverse).tolist()
        total = sum((t * c for t, c in zip(terms, counts, strict=True)), gmpy2.mpfr(0))
        return split(top + gmpy2.log(total))


def _logsumexp(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    n = extents["n"]
    rows = columns(inputs[0], extents).astype(np.float64)
    if rows.size == 0:
        return (Truth(np.full(len(rows), -np.inf), weight=np.ones(len(rows))),)
    with quiet():
        top, shifted = _shifted(rows)
        _, total, mean_distance = _moments(shifted)
        log_total = np.log(total)
        finite = np.isfinite(top)
        hi = np.where(finite, top + log_total, top).ravel()
        lo = np.zeros_like(hi)
        size = 1 + np.abs(top) + log_total + mean_distance + math.log2(max(n, 2))
    if signature.dtype == "float64":
        for row in np.flatnonzero(finite):
            hi[row], lo[row] = _logsumexp_row(rows[row])
    # In units of what is added, not of what is left: the final addition may cancel.
    weight = np.where(finite, size, 1).ravel() * unit_roundoff(signature.dtype)
    return (Truth(hi, lo, weight, True),)


ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "scipy.special.erf",
        "Error function, element by element.",
        "out[i] = 2/sqrt(pi) * integral from 0 to in0[i] of exp(-t*t) dt",
        transcendental(_erf, "erf"),
        FLOATS,
        domain=("sigmoid",),
        tolerance=ulps(2, 2),
        notes=(
            "At most 2 ULP, near 0 too, where erf(x) is 2x/sqrt(pi).",
            "erf(+-inf) = +-1, erf(-0.0) = -0.0, erf(nan) = nan.",
            "erf of a subnormal is subnormal: no .ftz.",
        ),
        monotone=1,
    ),
    elementwise(
        "scipy.special.expit",
        "Logistic sigmoid, element by element.",
        "out[i] = 1 / (1 + exp(-in0[i]))",
        _expit,
        FLOATS,
        domain=("expit",),
        tolerance=dict.fromkeys(FLOATS, _K),
        notes=(
            "At most 4 ULP times 1 + |x| (1 - expit(x)).",
            "Far to the left the result is exp(x), subnormal and not zero; exp(-x) overflows there.",
            "expit(-inf) = 0, expit(+inf) = 1, expit(nan) = nan.",
        ),
        monotone=1,
    ),
    along_axis(
        "scipy.special.softmax",
        "reduction",
        "Exponentials along an axis, scaled to add up to 1.",
        "e[o, j, i] = exp(in0[o, j, i] - max over j); out[o, j, i] = e[o, j, i] / sum over j of e[o, j, i]",
        _softmax,
        {d: d for d in FLOATS},
        dict.fromkeys(FLOATS, _K),
        "logits",
        keeps_shape=True,
        notes=(
            "At most 4 ULP times 1 + (max - x) + (the mean of max - x, weighed by out) + log2 n.",
            *_EXP_SUM,
            "x = -inf gives 0; a row with +inf, or of -inf alone, is NaN throughout.",
            "Small results are subnormal, not zero: no .ftz.",
        ),
    ),
    along_axis(
        "scipy.special.logsumexp",
        "reduction",
        "Logarithm of the sum of exponentials along an axis.",
        "m = max over j of in0[o, j, i]; out[o, i] = m + log(sum over j of exp(in0[o, j, i] - m))",
        _logsumexp,
        {d: d for d in FLOATS},
        dict.fromkeys(FLOATS, _K),
        "logits",
        notes=(
            "|error| <= 4 u (1 + |m| + log s + (the mean of m - x, weighed by exp(x - m)) + log2 n), "
            "s the sum of exp(x - m).",
            *_EXP_SUM,
            "A row with +inf and no NaN gives +inf; a row of -inf alone gives -inf, not NaN.",
            "n = 0 never reaches the kernel.",
        ),
    ),
)
