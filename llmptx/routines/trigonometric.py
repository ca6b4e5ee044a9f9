"""Circular and hyperbolic functions, within CUDA's documented ULP."""

from __future__ import annotations

import numpy as np

from llmptx.record import Routine
from llmptx.routines.entry import FLOATS, elementwise, transcendental, ulps
from llmptx.routines.progression import cosine, sine

_ANGLE = (
    "At most 2 ULP over the whole line: arguments up to the largest finite number need an exact reduction "
    "(Payne-Hanek); near a zero of the function the reduced argument must keep all its digits.",
    "An infinity or NaN gives NaN.",
)

ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "numpy.sin",
        "Sine of an angle in radians, element by element.",
        "out[i] = sin(in0[i])",
        transcendental(sine, "sin"),
        FLOATS,
        domain=("angle",),
        tolerance=ulps(2, 2),
        notes=(*_ANGLE, "sin(-0.0) is -0.0; sin of a subnormal is that subnormal: no .ftz."),
    ),
    elementwise(
        "numpy.cos",
        "Cosine of an angle in radians, element by element.",
        "out[i] = cos(in0[i])",
        transcendental(cosine, "cos"),
        FLOATS,
        domain=("angle",),
        tolerance=ulps(2, 2),
        notes=_ANGLE,
    ),
    elementwise(
        "numpy.tanh",
        "Hyperbolic tangent, element by element.",
        "out[i] = tanh(in0[i])",
        transcendental(np.tanh, "tanh"),
        FLOATS,
        domain=("sigmoid",),
        tolerance=ulps(2, 1),
        notes=(
            "At most 2 ULP in float32, 1 ULP in float64, near 0 too, where tanh(x) is x.",
            "tanh(+-inf) = +-1, tanh(-0.0) = -0.0, tanh(nan) = nan.",
            "tanh of a subnormal is that subnormal: no .ftz.",
        ),
        monotone=1,
    ),
)
