"""Scans along an axis: every prefix is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.entry import SUBNORMALS, WRAPS, along_axis, exact
from llmptx.routines.reduction import blocks, columns
from llmptx.routines.truth import Array, Floats, Truth, exactly, quiet, split_all

_SCANNED = Tolerance("scan")

# Wide enough that adding float64 terms of like size loses nothing a float64 result could show.
_SCAN_BITS = 256


def _cumsum(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    x = blocks(inputs[0], extents)
    if signature.dtype.startswith("int"):
        return exactly(np.cumsum(x, axis=1, dtype=np.int64), "int64")
    with quiet():
        wide = x.astype(np.float64)
        weight = np.cumsum(np.abs(wide), axis=1).ravel()
        if signature.dtype == "float32":
            return (Truth(np.cumsum(wide, axis=1).ravel(), None, weight, True),)
    hi, lo = _prefixes(columns(inputs[0], extents))
    shape = (extents["outer"], extents["inner"], extents["n"])
    hi, lo = (np.moveaxis(part.reshape(shape), 2, 1).ravel() for part in (hi, lo))
    return (Truth(hi, lo, weight, True),)


def _prefixes(rows: Array) -> tuple[Floats, Floats]:
    """(hi, lo) of every prefix sum of every row."""
    from itertools import accumulate

    import gmpy2

    with gmpy2.context(gmpy2.get_context(), precision=_SCAN_BITS):
        sums = [s for row in rows.tolist() for s in accumulate(map(gmpy2.mpfr, row))]
        return split_all(sums)


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
