"""Exponentials and logarithms, within CUDA's documented ULP."""

from __future__ import annotations

import numpy as np

from llmptx.record import Routine
from llmptx.routines.entry import FLOATS, elementwise, transcendental, ulps

_SMALL = "Results below the normal range are subnormal, not zero: no .ftz."
_SMALL_IN = "Subnormal inputs have a logarithm of their own: no .ftz."
_POLES = "log(+-0) is -inf, log(+inf) is +inf, a negative number or NaN gives NaN."

ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "numpy.exp",
        "Exponential, element by element.",
        "out[i] = e ** in0[i]",
        transcendental(np.exp, "exp"),
        FLOATS,
        domain=("exp",),
        tolerance=ulps(2, 1),
        notes=(
            "At most 2 ULP in float32, 1 ULP in float64.",
            "exp(-inf) = 0, exp(+inf) = +inf, exp(nan) = nan.",
            _SMALL,
        ),
        monotone=1,
    ),
    elementwise(
        "numpy.exp2",
        "2 to the power of each element.",
        "out[i] = 2 ** in0[i]",
        transcendental(np.exp2, "exp2"),
        FLOATS,
        domain=("exp2",),
        tolerance=ulps(2, 1),
        notes=(
            "At most 2 ULP in float32, 1 ULP in float64.",
            "exp2(-inf) = 0, exp2(+inf) = +inf, exp2(nan) = nan.",
            _SMALL,
        ),
        monotone=1,
    ),
    elementwise(
        "numpy.log",
        "Natural logarithm, element by element.",
        "out[i] = ln(in0[i])",
        transcendental(np.log, "log"),
        FLOATS,
        domain=("log",),
        tolerance=ulps(1, 1),
        notes=("At most 1 ULP, near 1 too, where the result is small.", _POLES, _SMALL_IN),
        monotone=1,
    ),
    elementwise(
        "numpy.log2",
        "Logarithm to base 2, element by element.",
        "out[i] = log2(in0[i])",
        transcendental(np.log2, "log2"),
        FLOATS,
        domain=("log",),
        tolerance=ulps(1, 1),
        notes=("At most 1 ULP, near 1 too, where the result is small.", _POLES, _SMALL_IN),
        monotone=1,
    ),
)
