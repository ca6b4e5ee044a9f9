"""Rounding to whole numbers, and tests of a float's class: exact, signed zeros included."""

from __future__ import annotations

import numpy as np

from llmptx.record import Routine
from llmptx.routines import meaning
from llmptx.routines.entry import FLOATS, NAN_PROPAGATES, elementwise, unary

_WHOLE = (
    "A result of zero keeps the input's sign: floor(-0.0), ceil(-0.5) and rint(-0.5) are -0.0.",
    "Subnormal inputs count: ceil of the least subnormal is 1, no .ftz.",
    "Infinities and large numbers are already whole.",
    NAN_PROPAGATES,
)

ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "numpy.floor",
        "Largest whole number not above each element.",
        "out[i] = floor(in0[i])",
        unary(np.floor),
        FLOATS,
        notes=_WHOLE,
        monotone=1,
    ),
    elementwise(
        "numpy.ceil",
        "Smallest whole number not below each element.",
        "out[i] = ceil(in0[i])",
        unary(np.ceil),
        FLOATS,
        notes=_WHOLE,
        monotone=1,
    ),
    elementwise(
        "numpy.rint",
        "Nearest whole number, ties to even.",
        "out[i] = round_half_even(in0[i])",
        unary(np.rint),
        FLOATS,
        notes=("Ties go to the even neighbour: rint(0.5) = 0, rint(1.5) = 2, rint(2.5) = 2.", *_WHOLE),
        monotone=1,
    ),
    elementwise(
        "numpy.isnan",
        "Whether each element is NaN.",
        "out[i] = in0[i] != in0[i]",
        unary(np.isnan),
        FLOATS,
        output="bool",
        notes=(
            "Every NaN counts: quiet, signalling, either sign, any payload.",
            "The output is a byte, 0 or 1.",
        ),
        meaning=meaning.isnan,
    ),
)
