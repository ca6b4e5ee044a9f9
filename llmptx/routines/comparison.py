"""Comparing and choosing, element by element: exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from llmptx.record import Routine, Signature
from llmptx.routines import meaning
from llmptx.routines.entry import EITHER_ZERO, NAN_PROPAGATES, REALS, SUBNORMALS, Oracle, binary, elementwise
from llmptx.routines.truth import Array, Truth, exactly, quiet

_BYTE = "The output is a byte, 0 or 1."
_PTX_MINMAX = "PTX max and min drop NaN unless .NaN is given."


def _extremum(better: Callable[[Any, Any], Any], keeps_nan: bool) -> Oracle:
    """maximum, minimum (NaN wins) or fmax, fmin (NaN loses): `better` tells which of two numbers to take."""

    def oracle(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
        a, b = inputs
        a_nan, b_nan = np.isnan(a), np.isnan(b)
        take_a = (better(a, b) | a_nan) if keeps_nan else (better(a, b) | b_nan)
        take_b = b_nan if keeps_nan else a_nan
        zeros = (a == 0) & (b == 0)
        return exactly(np.where(take_a & ~take_b, a, b), signature.outputs[0], zeros)

    return oracle


def _where(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    return exactly(np.where(inputs[0], inputs[1], inputs[2]), signature.outputs[0])


def _clip(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    x, low, high = inputs
    with quiet():
        result = np.minimum(np.maximum(x, low), high)
    zeros = [np.where(v == 0, np.where(np.signbit(v), -1, 1), 0) for v in (x, low, high)]
    mixed = (np.minimum.reduce(zeros) < 0) & (np.maximum.reduce(zeros) > 0)
    return exactly(result, signature.outputs[0], mixed)


ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "numpy.maximum",
        "Larger of two elements; NaN wins.",
        "out[i] = nan if isnan(x) or isnan(y) else x if x > y else y",
        _extremum(np.greater, keeps_nan=True),
        REALS,
        arity=2,
        notes=(NAN_PROPAGATES, _PTX_MINMAX, EITHER_ZERO, SUBNORMALS),
        meaning=meaning.maximum,
    ),
    elementwise(
        "numpy.minimum",
        "Smaller of two elements; NaN wins.",
        "out[i] = nan if isnan(x) or isnan(y) else x if x < y else y",
        _extremum(np.less, keeps_nan=True),
        REALS,
        arity=2,
        notes=(NAN_PROPAGATES, _PTX_MINMAX, EITHER_ZERO, SUBNORMALS),
        meaning=meaning.minimum,
    ),
    elementwise(
        "numpy.fmax",
        "Larger of two elements; NaN loses.",
        "out[i] = y if isnan(x) else x if isnan(y) or x > y else y",
        _extremum(np.greater, keeps_nan=False),
        REALS,
        arity=2,
        notes=("A NaN gives way to the other element; only two NaNs give NaN.", EITHER_ZERO, SUBNORMALS),
        meaning=meaning.fmax,
    ),
    elementwise(
        "numpy.fmin",
        "Smaller of two elements; NaN loses.",
        "out[i] = y if isnan(x) else x if isnan(y) or x < y else y",
        _extremum(np.less, keeps_nan=False),
        REALS,
        arity=2,
        notes=("A NaN gives way to the other element; only two NaNs give NaN.", EITHER_ZERO, SUBNORMALS),
        meaning=meaning.fmin,
    ),
    elementwise(
        "numpy.equal",
        "Whether two elements are equal.",
        "out[i] = in0[i] == in1[i]",
        binary(np.equal),
        REALS,
        arity=2,
        output="bool",
        notes=(
            "NaN equals nothing, not even itself; +0 equals -0.",
            "Subnormals are not zero: no .ftz.",
            _BYTE,
        ),
        meaning=meaning.equal,
    ),
    elementwise(
        "numpy.less",
        "Whether the first element is smaller than the second.",
        "out[i] = in0[i] < in1[i]",
        binary(np.less),
        REALS,
        arity=2,
        output="bool",
        notes=(
            "A comparison with NaN is false; -0 is not less than +0.",
            "Subnormals count: no .ftz.",
            _BYTE,
        ),
        meaning=meaning.less,
    ),
    elementwise(
        "numpy.where",
        "Element of the second array where the first is true, else of the third.",
        "out[i] = in1[i] if in0[i] else in2[i]",
        _where,
        REALS,
        arity=2,
        flagged=True,
        domain=("flag", "real", "real"),
        notes=(
            "in0 is a byte an element, 0 or 1.",
            "Values are moved, not computed: -0, subnormals and NaN survive.",
        ),
        meaning=meaning.where,
    ),
    elementwise(
        "numpy.clip",
        "Each element limited to an interval whose ends are arrays too.",
        "out[i] = minimum(maximum(in0[i], in1[i]), in2[i])   # x, low, high",
        _clip,
        REALS,
        arity=3,
        notes=(
            NAN_PROPAGATES,
            "Where low > high the answer is high.",
            "Where zeros of both signs meet, either may be returned.",
            _PTX_MINMAX,
            SUBNORMALS,
        ),
        meaning=meaning.clip,
    ),
)
