"""Bit operations on integers: exact."""

from __future__ import annotations

import numpy as np

from llmptx.record import Routine
from llmptx.routines import meaning
from llmptx.routines.entry import INTEGERS, binary, elementwise

_COUNT = "A count that is negative or not less than the width"

ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "numpy.bitwise_and",
        "Bitwise and, element by element.",
        "out[i] = in0[i] & in1[i]",
        binary(np.bitwise_and),
        INTEGERS,
        arity=2,
        meaning=meaning.bitwise_and,
    ),
    elementwise(
        "numpy.bitwise_or",
        "Bitwise or, element by element.",
        "out[i] = in0[i] | in1[i]",
        binary(np.bitwise_or),
        INTEGERS,
        arity=2,
        meaning=meaning.bitwise_or,
    ),
    elementwise(
        "numpy.bitwise_xor",
        "Bitwise exclusive or, element by element.",
        "out[i] = in0[i] ^ in1[i]",
        binary(np.bitwise_xor),
        INTEGERS,
        arity=2,
        meaning=meaning.bitwise_xor,
    ),
    elementwise(
        "numpy.left_shift",
        "Bits of the first array moved left by the second, element by element.",
        "out[i] = in0[i] << in1[i] if 0 <= in1[i] < width else 0",
        binary(np.left_shift),
        INTEGERS,
        arity=2,
        domain=("real", "shift"),
        notes=(f"{_COUNT} gives 0.", "A 64-bit count must be looked at whole before it is narrowed to .u32."),
        meaning=meaning.left_shift,
    ),
    elementwise(
        "numpy.right_shift",
        "Bits of the first array moved right by the second, sign kept, element by element.",
        "out[i] = in0[i] >> in1[i] if 0 <= in1[i] < width else (-1 if in0[i] < 0 else 0)",
        binary(np.right_shift),
        INTEGERS,
        arity=2,
        domain=("real", "shift"),
        notes=(
            f"{_COUNT} gives 0, or -1 where in0 is negative.",
            "A 64-bit count must be looked at whole before it is narrowed to .u32.",
        ),
        meaning=meaning.right_shift,
    ),
)
