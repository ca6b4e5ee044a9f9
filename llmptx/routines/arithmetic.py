"""Arithmetic, element by element: bit-exact (correctly rounded or wrapping), but for float power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmptx.record import Routine, Signature
from llmptx.routines import meaning
from llmptx.routines.entry import (
    FLOATS,
    INTEGERS,
    NAN_PROPAGATES,
    REALS,
    SUBNORMALS,
    WRAPS,
    binary,
    elementwise,
    exact,
    ulps,
    unary,
)
from llmptx.routines.truth import Array, Truth, exactly, multiprecision, quiet

_ROUNDED = "Floats are correctly rounded to nearest even (.rn): no .approx, no contraction into fma."
_IEEE = (_ROUNDED, SUBNORMALS, "Signed zeros, infinities and NaN follow IEEE 754; NaN payloads are free.")
_DIVMOD = (
    "Floats follow Python's divmod in the type's own arithmetic: m = fmod(x, y), exact; q = (x - m) / y; "
    "if m != 0 and m and y differ in sign, then m += y and q -= 1.",
    "fmod is exact for any ratio of x to y (up to 2^277 in float32, 2^2098 in float64): subtract long-hand.",
    "A NaN input, x infinite, or (for remainder) y = 0 gives NaN.",
    "Integers: the quotient rounds down, x // 0 = 0, x % 0 = 0, min // -1 = min, min % -1 = 0.",
    SUBNORMALS,
)


def _power(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    x, y = inputs
    if signature.dtype.startswith("int"):
        return exactly(np.power(x, y), signature.dtype)
    with quiet():
        wide = np.power(x.astype(np.float64), y.astype(np.float64))
    if signature.dtype == "float32":
        return (Truth(wide),)
    # C99's special cases are numpy's to settle; MPFR settles the digits of everything finite.
    plain = np.isfinite(x) & np.isfinite(y) & (x != 0) & ~np.isnan(wide)
    hi, lo = wide, np.zeros_like(wide)
    hi[plain], lo[plain] = multiprecision("power", x[plain], y[plain])
    return (Truth(hi, lo),)


ROUTINES: tuple[Routine, ...] = (
    elementwise(
        "numpy.add",
        "Sum of two arrays, element by element.",
        "out[i] = in0[i] + in1[i]",
        binary(np.add),
        REALS,
        arity=2,
        notes=(*_IEEE, WRAPS),
        meaning=meaning.add,
        provable=INTEGERS,
    ),
    elementwise(
        "numpy.subtract",
        "Difference of two arrays, element by element.",
        "out[i] = in0[i] - in1[i]",
        binary(np.subtract),
        REALS,
        arity=2,
        notes=(*_IEEE, WRAPS),
        meaning=meaning.subtract,
        provable=INTEGERS,
    ),
    elementwise(
        "numpy.multiply",
        "Product of two arrays, element by element.",
        "out[i] = in0[i] * in1[i]",
        binary(np.multiply),
        REALS,
        arity=2,
        notes=(*_IEEE, WRAPS),
        meaning=meaning.multiply,
        provable=INTEGERS,
    ),
    elementwise(
        "numpy.divide",
        "True quotient of two arrays, element by element.",
        "out[i] = in0[i] / in1[i]",
        binary(np.divide),
        FLOATS,
        arity=2,
        notes=(*_IEEE, "x / 0 is an infinity of the right sign, 0 / 0 is NaN."),
    ),
    elementwise(
        "numpy.floor_divide",
        "Quotient rounded towards minus infinity, element by element.",
        "m = fmod(x, y); q = (x - m) / y; q -= 1 if m != 0 and (m < 0) != (y < 0)\n"
        "f = floor(q); f += 1 if q - f > 0.5        # q != 0\n"
        "out = f if q != 0 else copysign(0, x / y)  # y == 0: out = x / y",
        binary(np.floor_divide),
        REALS,
        arity=2,
        domain=("real", "divisor"),
        notes=(
            *_DIVMOD,
            "Float x // 0 is x / 0: an infinity, or NaN for 0 // 0.",
            "A float quotient that comes out as 0 has the sign of x / y.",
        ),
        meaning=meaning.floor_divide,
        provable=INTEGERS,
    ),
    elementwise(
        "numpy.remainder",
        "Remainder with the sign of the divisor, element by element.",
        "m = fmod(x, y)\nout = m + y if m != 0 and (m < 0) != (y < 0) else m\nout = copysign(0, y) if m == 0",
        binary(np.remainder),
        REALS,
        arity=2,
        domain=("real", "divisor"),
        notes=(*_DIVMOD, "A zero remainder has the sign of y."),
        meaning=meaning.remainder,
        provable=INTEGERS,
    ),
    elementwise(
        "numpy.power",
        "First array raised to the powers of the second, element by element.",
        "out[i] = in0[i] ** in1[i]",
        _power,
        REALS,
        arity=2,
        domain=("base", "exponent"),
        tolerance={**ulps(4, 2), **exact(("int32", "int64"))},
        notes=(
            "Floats follow C99 pow: x**0 = 1 and 1**y = 1 even for NaN; (-1)**+-inf = 1; a negative base "
            "with a non-integer finite power is NaN; with an odd integer power the result has the base's "
            "sign, zeros too.",
            "Float results may be off by 4 ULP in float32, 2 ULP in float64, subnormal results included.",
            WRAPS,
            "Integer exponents are never negative; 0**0 = 1.",
        ),
    ),
    elementwise(
        "numpy.negative",
        "Numerical negative, element by element.",
        "out[i] = -in0[i]",
        unary(np.negative),
        REALS,
        notes=("-(0.0) is -0.0.", "The least integer is its own negative.", SUBNORMALS, NAN_PROPAGATES),
        monotone=-1,
        meaning=meaning.negative,
    ),
    elementwise(
        "numpy.absolute",
        "Absolute value, element by element.",
        "out[i] = |in0[i]|",
        unary(np.absolute),
        REALS,
        notes=("|-0.0| is +0.0.", "The least integer is its own absolute value.", SUBNORMALS, NAN_PROPAGATES),
        meaning=meaning.absolute,
    ),
    elementwise(
        "numpy.sign",
        "Sign of each element: -1, 0 or 1.",
        "out[i] = 1 if x > 0 else -1 if x < 0 else 0 if x == 0 else x",
        unary(np.sign),
        REALS,
        notes=("sign(-0.0) is +0.0.", "Subnormals have a sign: no .ftz.", NAN_PROPAGATES),
        monotone=1,
        meaning=meaning.sign,
    ),
    elementwise(
        "numpy.sqrt",
        "Square root, element by element.",
        "out[i] = sqrt(in0[i])",
        unary(np.sqrt),
        FLOATS,
        domain=("positive",),
        notes=(_ROUNDED, SUBNORMALS, "sqrt(-0.0) is -0.0; any other negative, -inf too, gives NaN."),
        monotone=1,
    ),
    elementwise(
        "numpy.square",
        "Square, element by element.",
        "out[i] = in0[i] * in0[i]",
        unary(np.square),
        REALS,
        notes=(*_IEEE, WRAPS),
        meaning=meaning.square,
        provable=INTEGERS,
    ),
    elementwise(
        "numpy.reciprocal",
        "Reciprocal, element by element.",
        "out[i] = 1 / in0[i]",
        unary(np.reciprocal),
        FLOATS,
        notes=(*_IEEE, "1 / +-0 is +-inf, 1 / +-inf is +-0; reciprocals of large numbers are subnormal."),
    ),
)
