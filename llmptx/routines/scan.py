"""Scans along an axis: every prefix is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.entry import SUBNORMALS, WRAPS, along_axis, exact
from llmptx.routines.reduction import blocks
from llmptx.routines.truth import Array, Floats, Truth, exactly, quiet

_SCANNED = Tolerance("scan")


def _cumsum(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    x = blocks(inputs[0], extents)
    if signature.dtype.startswith("int"):
        return exactly(np.cumsum(x, axis=1, dtype=np.int64), "int64")
    with quiet():
        wide = x.astype(np.float64)
        weight = np.cumsum(np.abs(wide), axis=1).ravel()
        if signature.dtype == "float32":
            return (Truth(np.cumsum(wide, axis=1).ravel(), None, weight, True),)
        hi, lo = _prefixes(wide)
    return (Truth(hi.ravel(), lo.ravel(), weight, True),)


def _prefixes(x: Floats) -> tuple[Floats, Floats]:
    """(hi, lo) of every prefix sum along axis 1: float64's running sums, and the running sum of their errors.

    Each addition's rounding error is a float64 itself (Knuth's two-sum), so what is lost here is of second
    order: about n^2 u^2 of the largest prefix.
    """
    after = np.cumsum(x, axis=1)
    before = np.zeros_like(after)
    before[:, 1:] = after[:, :-1]
    added = after - before
    errors = (before - (after - added)) + (x - added)
    errors[~np.isfinite(errors)] = 0
    return after, np.asarray(np.cumsum(errors, axis=1))


ROUTINES: tuple[Routine, ...] = (
    along_axis(
        "numpy.cumsum",
        "scan",
        "Running sum of the elements along an axis.",
        "out[o, j, i] = sum over h <= j of in0[o, h, i]",
        _cumsum,
        {"float32": "float32", "float64": "float64", "int32": "int64", "int64": "int64"},
        {"float32": _SCANNED, "float64": _SCANNED, **exact(("int32", "int64"))},
        "terms",
        keeps_shape=True,
        notes=(
            "At every prefix of length h, |error| <= gamma_d sum|x| over that prefix, d = 4 log2 h + 64.",
            "NaN and infinities propagate to every later prefix and to no earlier one.",
            SUBNORMALS,
            "int32 is summed in int64.",
            WRAPS,
        ),
    ),
)
