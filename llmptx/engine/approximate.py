"""What `.approx` instructions return: any result within the manual's bound is conforming, so there are
three settings.

exact gives the correctly rounded result (computed in f64, where the error is below 2^-49); low and high push
every result towards the ends of the documented bound, so that what holds under all three holds on any chip.
Bounds: PTX ISA 9.7.3-9.7.4.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from llmptx.engine import nans
from llmptx.ptx.types import Type

if TYPE_CHECKING:
    from llmptx.engine.emit import Emit, Value

F64, B64 = Type("f", 64), Type("b", 64)

# name -> (kind of bound, size), of f32 results; ulp: of the exact result's own binade
BOUNDS: dict[str, tuple[Literal["ulp", "relative", "absolute"], float]] = {
    "ex2": ("ulp", 2.0),
    "lg2": ("relative", 2.0**-22),
    "sin": ("absolute", 2.0**-20.5),
    "cos": ("absolute", 2.0**-20.5),
    "tanh": ("relative", 2.0**-11),
    "rcp": ("ulp", 1.0),
    "div": ("ulp", 2.0),
    "sqrt": ("relative", 2.0**-23),
    "rsqrt": ("relative", 2.0**-22.9),
}
HALF_BOUNDS: dict[str, tuple[Literal["ulp", "relative", "absolute"], float]] = {
    "ex2": ("relative", 2.0**-9.9),
    "tanh": ("absolute", 2.0**-10.987),
}
# The share of the bound that low and high use. With all of it CUDA's own functions, whose error NVIDIA
# documents, go beyond that: sinhf and atanhf 4 ULP of 3, erfinvf (lg2) 3 of 2. No chip is that bad.
SHARE = {"ex2": 0.625, "lg2": 0.25}
COMMON_SHARE = 0.75


def approx(e: Emit, name: str, a: Value, b: Value | None) -> Value:
    """The result in a's type under the emitter's setting; in f64 (rcp, rsqrt) there is one setting only."""
    type = a.type
    wide = e.fcast(a, F64)
    exact = _exact(e, name, wide, e.fcast(b, F64) if b is not None else None)
    if e.setting == "exact" or type.bits == 64:
        result = e.fcast(exact, type)
    else:
        result = _pushed(e, name, wide, exact, type, 1.0 if e.setting == "high" else -1.0)
    return nans.root(e, result) if name == "sqrt" else result


def _pushed(e: Emit, name: str, x: Value, exact: Value, type: Type, sign: float) -> Value:
    """exact + sign x the share of the bound, rounded back towards exact; specials (NaN, infinities, zeros)
    are exact whatever the setting.
    """
    plain = e.fcast(exact, type)
    share = SHARE.get(name, COMMON_SHARE)
    shift = e.fmul(_bound(e, name, x, exact, type), e.const(F64, sign * share))
    moved = e.fcast(e.fadd(exact, shift), type, "rm" if sign > 0 else "rp")
    if name in ("sin", "cos", "tanh"):
        moved = _clamp(e, moved)
    if BOUNDS[name][0] == "ulp":
        # Two ULP below the least subnormal is zero, and of the same sign.
        zero, one = e.const(type, 0.0), e.const(type, 1.0)
        crossed = e.fcmp("ole", e.fmul(moved, e.copysign(one, plain)), zero)
        moved = e.select(crossed, e.copysign(zero, plain), moved)
    ordinary = e.and_(_nonzero_finite(e, x), _nonzero_finite(e, plain))
    if name == "ex2":
        # No bound says so, but every chip gives 2^n for n, and CUDA's f64 functions scale by it.
        ordinary = e.and_(ordinary, e.fcmp("one", e.fround(x, "rn"), x))
    return e.select(ordinary, moved, plain)


def _nonzero_finite(e: Emit, a: Value) -> Value:
    finite = e.fcmp("olt", e.fabs(a), e.const(a.type, math.inf))
    return e.and_(finite, e.fcmp("une", a, e.const(a.type, 0.0)))


def _bound(e: Emit, name: str, x: Value, exact: Value, type: Type) -> Value:
    """How far from exact the manual lets the result be, in f64."""
    kind, size = (HALF_BOUNDS if type.bits == 16 else BOUNDS)[name]
    if kind == "absolute":
        return e.const(F64, size)
    if kind == "relative":
        relative = e.fmul(e.fabs(exact), e.const(F64, size))
        if name != "lg2":
            return relative
        near = e.and_(e.fcmp("ogt", x, e.const(F64, 0.5)), e.fcmp("olt", x, e.const(F64, 2.0)))
        return e.select(near, e.const(F64, size), relative)
    # One f32 ULP at |y| in [2^k, 2^(k+1)) is 2^(k-23), and never below the subnormal spacing.
    # Just above 2^k it is the binade below that counts, whose floats are denser.
    inner = e.fmul(exact, e.const(F64, 1 - 2.0**-21))
    power = e.and_(e.bitcast(inner, B64), e.const(B64, 0x7FF0000000000000))
    spacing = e.fmul(e.bitcast(power, F64), e.const(F64, 2.0**-23))
    return e.fmul(_max(e, spacing, e.const(F64, 2.0**-149)), e.const(F64, size))


def _clamp(e: Emit, a: Value) -> Value:
    one = e.const(a.type, 1.0)
    beyond = e.fcmp("ogt", e.fabs(a), one)
    return e.select(beyond, e.copysign(one, a), a)


def _max(e: Emit, a: Value, b: Value) -> Value:
    return e.select(e.fcmp("ogt", a, b), a, b)


def _exact(e: Emit, name: str, x: Value, y: Value | None) -> Value:
    one = e.const(F64, 1.0)
    if name == "rcp":
        return e.fdiv(one, x)
    if name == "div":
        assert y is not None
        return e.fdiv(x, y)
    if name == "sqrt":
        return e.fsqrt(x)
    if name == "rsqrt":
        return e.fdiv(one, e.fsqrt(x))
    return {"ex2": exp2, "lg2": log2, "sin": sin, "cos": cos, "tanh": tanh}[name](e, x)


def polynomial(e: Emit, x: Value, coefficients: list[float]) -> Value:
    """Horner's rule with fma, lowest power first."""
    total = e.const(F64, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = e.fma(total, x, e.const(F64, c))
    return total


def exp2(e: Emit, x: Value) -> Value:
    """2^x in f64 for results within f64's range of f32 inputs; beyond [-300, 300] saturates to 0 or
    infinity in f32.
    """
    clamped = e.select(e.fcmp("ogt", x, e.const(F64, 300.0)), e.const(F64, 300.0), x)
    clamped = e.select(e.fcmp("olt", clamped, e.const(F64, -300.0)), e.const(F64, -300.0), clamped)
    whole = e.fround(clamped, "rn")
    part = e.fsub(clamped, whole)
    coefficients = [math.log(2.0) ** k / math.factorial(k) for k in range(14)]
    series = polynomial(e, part, coefficients)
    # The integral part goes into the exponent field; a NaN keeps the series NaN, whatever bits are added.
    biased = e.fadd(whole, e.const(F64, 1023.0))
    shifted = e.shl(e.ftoi(biased, 64, True), e.const(B64, 52))
    result = e.fmul(series, e.bitcast(shifted, F64))
    return e.select(e.fcmp("uno", x, x), x, result)


def log2(e: Emit, x: Value) -> Value:
    """log2(x) in f64 for x a (sub)normal f32 held in f64: never subnormal here."""
    bits = e.bitcast(x, B64)
    # Adding the distance from sqrt(1/2) to 1 moves the cut of the exponent there.
    moved = e.add(bits, e.const(B64, 0x3FF0000000000000 - 0x3FE6A09E667F3BCD))
    exponent = e.sub(e.ashr(moved, e.const(B64, 52)), e.const(B64, 1023))
    mantissa = e.add(e.and_(moved, e.const(B64, 0x000FFFFFFFFFFFFF)), e.const(B64, 0x3FE6A09E667F3BCD))
    m = e.bitcast(mantissa, F64)
    one = e.const(F64, 1.0)
    s = e.fdiv(e.fsub(m, one), e.fadd(m, one))
    square = e.fmul(s, s)
    series = polynomial(e, square, [2.0 / math.log(2.0) / (2 * k + 1) for k in range(12)])
    result = e.fma(s, series, e.itof(exponent, F64, True))
    zero, infinity = e.const(F64, 0.0), e.const(F64, math.inf)
    result = e.select(e.fcmp("oeq", x, zero), e.const(F64, -math.inf), result)
    result = e.select(e.fcmp("oeq", x, infinity), infinity, result)
    bad = e.or_(e.fcmp("olt", x, zero), e.fcmp("uno", x, x))
    return e.select(bad, e.const(F64, math.nan), result)


def _quadrant(e: Emit, x: Value) -> tuple[Value, Value]:
    """(r in about [-pi/4, pi/4], quadrant). Three-part pi/2: right to f32 well past the +-100 pi the manual
    speaks of.
    """
    k = e.fround(e.fmul(x, e.const(F64, 2.0 / math.pi)), "rn")
    r = e.fma(k, e.const(F64, -1.5707963267948966), x)
    r = e.fma(k, e.const(F64, -6.123233995736766e-17), r)
    return r, e.and_(e.ftoi(k, 64, True), e.const(B64, 3))


def _sin_cos(e: Emit, r: Value) -> tuple[Value, Value]:
    square = e.fmul(r, r)
    odd = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(10)]
    even = [(-1.0) ** k / math.factorial(2 * k) for k in range(10)]
    return e.fmul(r, polynomial(e, square, odd)), polynomial(e, square, even)


def sin(e: Emit, x: Value) -> Value:
    r, quadrant = _quadrant(e, x)
    s, c = _sin_cos(e, r)
    result = _by_quadrant(e, quadrant, s, c)
    small = e.fcmp("oeq", x, e.const(F64, 0.0))
    return e.select(small, x, _bounded(e, x, result))


def cos(e: Emit, x: Value) -> Value:
    r, quadrant = _quadrant(e, x)
    s, c = _sin_cos(e, r)
    turned = e.and_(e.add(quadrant, e.const(B64, 1)), e.const(B64, 3))
    return _bounded(e, x, _by_quadrant(e, turned, s, c))


def _by_quadrant(e: Emit, quadrant: Value, s: Value, c: Value) -> Value:
    swapped = e.icmp("ne", e.and_(quadrant, e.const(B64, 1)), e.const(B64, 0))
    negative = e.icmp("ne", e.and_(quadrant, e.const(B64, 2)), e.const(B64, 0))
    chosen = e.select(swapped, c, s)
    return e.select(negative, e.fneg(chosen), chosen)


def _bounded(e: Emit, x: Value, y: Value) -> Value:
    """NaN for infinities; within [-1, 1] even where the argument is too large for the reduction."""
    one = e.const(F64, 1.0)
    y = e.select(e.fcmp("ogt", e.fabs(y), one), e.copysign(one, y), y)
    endless = e.fcmp("ueq", e.fabs(x), e.const(F64, math.inf))
    return e.select(endless, e.const(F64, math.nan), y)


def tanh(e: Emit, x: Value) -> Value:
    """By the series near 0, where the quotient of exponentials cancels."""
    square = e.fmul(x, x)
    # tanh x = x - x^3/3 + 2x^5/15 - ...; 17 terms' worth of accuracy is not needed below 2^-4.
    near = e.fmul(
        x, polynomial(e, square, [1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075])
    )
    u = exp2(e, e.fmul(e.fabs(x), e.const(F64, 2.0 / math.log(2.0))))
    one = e.const(F64, 1.0)
    far = e.fsub(one, e.fdiv(e.const(F64, 2.0), e.fadd(u, one)))
    result = e.select(e.fcmp("olt", e.fabs(x), e.const(F64, 2.0**-4)), near, e.copysign(far, x))
    return e.select(e.fcmp("uno", x, x), x, result)
