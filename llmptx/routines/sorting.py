"""Sorting along the last axis: the keys exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.entry import REALS, SUBNORMALS
from llmptx.routines.truth import Array, Truth, exactly


def _sort(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    rows = inputs[0].reshape(extents["outer"], extents["n"])
    # numpy's unstable sort goes through vector minima, which turn one zero into the other; merging does not.
    return exactly(np.sort(rows, axis=1, kind="stable"), signature.dtype, True)


ROUTINES: tuple[Routine, ...] = (
    Routine(
        name="numpy.sort",
        kind="sort",
        summary="Elements of each row in ascending order.",
        reference="out[o, :] = in0[o, :] in ascending order, NaN last",
        signatures=tuple(Signature(d, (d,), (d,)) for d in REALS),
        extents=("outer", "n"),
        sizes=("outer*n", "outer*n"),
        tolerance=dict.fromkeys(REALS, Tolerance("sort")),
        oracle=_sort,
        domain=("keys",),
        notes=(
            "Row o is elements o*n to o*n + n - 1; n need not be a power of two, and may be thousands.",
            "NaNs come last, after +inf; as many as there were.",
            "+0 and -0 are equal and may stand in any order, but as many of each must come out as went in.",
            "A padding value of +inf or of the greatest integer must not displace real elements.",
            SUBNORMALS,
        ),
    ),
)
