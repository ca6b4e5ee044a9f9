"""Arithmetic that several rows share, built from the emitter's primitives. Knows no instruction."""

from __future__ import annotations

from collections.abc import Callable

from llmptx.isa.emitter import Emitter, Rounding, Value
from llmptx.ptx.types import Type

B16, B32, B64 = Type("b", 16), Type("b", 32), Type("b", 64)
F16, F32, F64 = Type("f", 16), Type("f", 32), Type("f", 64)

_SMALLEST_NORMAL = {16: 2.0**-14, 32: 2.0**-126, 64: 2.0**-1022}
_CANONICAL_NAN = {16: 0x7FFF, 32: 0x7FFFFFFF, 64: 0x7FFFFFFFFFFFFFFF}
BF16_NAN = 0x7FFF

# constants and integers


def bits_of(e: Emitter, a: Value) -> Value:
    """A float's bits, as an integer."""
    return e.bitcast(a, Type("b", e.type_of(a).bits))


def nan(e: Emitter, type: Type) -> Value:
    """The canonical NaN."""
    return e.bitcast(e.const(Type("b", type.bits), _CANONICAL_NAN[type.bits]), type)


def like(e: Emitter, a: Value, value: int) -> Value:
    """A constant of a's type."""
    return e.const(e.type_of(a), value)


def resized(e: Emitter, a: Value, bits: int) -> Value:
    """Zero-extended or truncated."""
    width = e.type_of(a).width
    if width == bits:
        return a
    return e.zext(a, bits) if width < bits else e.trunc(a, bits)


def extended(e: Emitter, a: Value, bits: int, signed: bool) -> Value:
    """Sign- or zero-extended to `bits`, which are not fewer."""
    if e.type_of(a).width == bits:
        return a
    return e.sext(a, bits) if signed else e.zext(a, bits)


def negative(e: Emitter, a: Value) -> Value:
    """Whether a signed integer is below zero."""
    return e.icmp("slt", a, like(e, a, 0))


def add_sat(e: Emitter, a: Value, b: Value) -> Value:
    """Signed addition that stops at the extremes: it overflows where both signs differ from the sum's."""
    total = e.add(a, b)
    overflow = negative(e, e.and_(e.xor(total, a), e.xor(total, b)))
    return e.select(overflow, _extreme_of(e, a), total)


def sub_sat(e: Emitter, a: Value, b: Value) -> Value:
    """Signed subtraction that stops at the extremes."""
    total = e.sub(a, b)
    overflow = negative(e, e.and_(e.xor(a, b), e.xor(total, a)))
    return e.select(overflow, _extreme_of(e, a), total)


def _extreme_of(e: Emitter, a: Value) -> Value:
    """The largest integer of a's sign."""
    width = e.type_of(a).width
    return e.xor(e.ashr(a, like(e, a, width - 1)), like(e, a, 2 ** (width - 1) - 1))


def int_min(e: Emitter, a: Value, b: Value, signed: bool) -> Value:
    return e.select(e.icmp("slt" if signed else "ult", a, b), a, b)


def int_max(e: Emitter, a: Value, b: Value, signed: bool) -> Value:
    return e.select(e.icmp("sgt" if signed else "ugt", a, b), a, b)


def carries(e: Emitter, a: Value, b: Value, carry: Value | None) -> tuple[Value, Value]:
    """(sum, carry out) of unsigned a + b + carry."""
    total = e.add(a, b)
    out = e.icmp("ult", total, a)
    if carry is None:
        return total, out
    more = e.add(total, resized(e, carry, e.type_of(a).width))
    return more, e.or_(out, e.icmp("ult", more, total))


def borrows(e: Emitter, a: Value, b: Value, borrow: Value | None) -> tuple[Value, Value]:
    """(difference, borrow out) of unsigned a - b - borrow."""
    total = e.sub(a, b)
    out = e.icmp("ult", a, b)
    if borrow is None:
        return total, out
    one = resized(e, borrow, e.type_of(a).width)
    return e.sub(total, one), e.or_(out, e.icmp("ult", total, one))


# shifts, whose 32-bit amount is clamped at the width


def shl_clamped(e: Emitter, a: Value, amount: Value) -> Value:
    return _shifted(e, e.shl, a, amount)


def lshr_clamped(e: Emitter, a: Value, amount: Value) -> Value:
    return _shifted(e, e.lshr, a, amount)


def ashr_clamped(e: Emitter, a: Value, amount: Value) -> Value:
    width = e.type_of(a).width
    most = int_min(e, amount, like(e, amount, width - 1), signed=False)
    return e.ashr(a, resized(e, most, width))


def _shifted(e: Emitter, shift: Callable[[Value, Value], Value], a: Value, amount: Value) -> Value:
    width = e.type_of(a).width
    inside = e.icmp("ult", amount, like(e, amount, width))
    return e.select(inside, shift(a, resized(e, amount, width)), like(e, a, 0))


# floats


def flushed(e: Emitter, a: Value) -> Value:
    """Subnormals become zero and keep their sign."""
    type = e.type_of(a)
    tiny = e.fcmp("olt", e.fabs(a), e.const(type, _SMALLEST_NORMAL[type.bits]))
    return e.select(tiny, e.copysign(e.const(type, 0), a), a)


def flush_if(e: Emitter, wanted: bool, a: Value) -> Value:
    return flushed(e, a) if wanted else a


def saturated(e: Emitter, a: Value) -> Value:
    """Clamped to [+0, 1]; NaN becomes +0."""
    zero, one = like(e, a, 0), like(e, a, 1)
    above = e.select(e.fcmp("ogt", a, zero), a, zero)
    return e.select(e.fcmp("olt", above, one), above, one)


def rectified(e: Emitter, a: Value) -> Value:
    """.relu: negative values become +0, NaN the canonical one."""
    above = e.select(e.fcmp("ogt", a, like(e, a, 0)), a, like(e, a, 0))
    return e.select(is_nan(e, a), nan(e, e.type_of(a)), above)


def is_nan(e: Emitter, a: Value) -> Value:
    return e.fcmp("uno", a, a)


def is_infinite(e: Emitter, a: Value) -> Value:
    return e.fcmp("oeq", e.fabs(a), _infinity(e, e.type_of(a)))


def _infinity(e: Emitter, type: Type) -> Value:
    mantissa = {16: 10, 32: 23, 64: 52}[type.bits]
    exponent = (1 << (type.bits - 1 - mantissa)) - 1
    return e.bitcast(e.const(Type("b", type.bits), exponent << mantissa), type)


def is_subnormal(e: Emitter, a: Value) -> Value:
    type = e.type_of(a)
    size = e.fabs(a)
    small = e.fcmp("olt", size, e.const(type, _SMALLEST_NORMAL[type.bits]))
    return e.and_(small, e.fcmp("ogt", size, e.const(type, 0)))


def float_extreme(e: Emitter, op: str, a: Value, b: Value, propagate: bool) -> Value:
    """min or max: -0 is below +0. One NaN loses against the number, or wins where `propagate`."""
    first = e.select(e.fcmp("olt" if op == "min" else "ogt", a, b), a, b)
    merge = e.or_ if op == "min" else e.and_
    type = e.type_of(a)
    zeros = e.bitcast(merge(bits_of(e, a), bits_of(e, b)), type)
    number = e.select(e.fcmp("oeq", a, b), zeros, first)
    if propagate:
        return e.select(e.fcmp("uno", a, b), nan(e, type), number)
    # No comparison holds with a NaN: where only a is one, `first` is b already.
    lost = is_nan(e, b)
    return e.select(e.and_(is_nan(e, a), lost), nan(e, type), e.select(lost, a, number))


def float_extreme_by(
    e: Emitter, op: str, a: Value, b: Value, *, propagate: bool, ftz: bool, xorsign: bool
) -> Value:
    """min or max with the modifiers .NaN, .ftz and .xorsign.abs."""
    a, b = flush_if(e, ftz, a), flush_if(e, ftz, b)
    if not xorsign:
        return float_extreme(e, op, a, b, propagate)
    chosen = float_extreme(e, op, e.fabs(a), e.fabs(b), propagate)
    sign = e.bitcast(e.xor(bits_of(e, a), bits_of(e, b)), e.type_of(a))
    return e.select(is_nan(e, chosen), chosen, e.copysign(chosen, sign))


# packed halves: b32 values of two 16-bit elements


def halves(e: Emitter, a: Value) -> tuple[Value, Value]:
    """(low, high) as b16."""
    return e.trunc(a, 16), e.trunc(e.lshr(a, like(e, a, 16)), 16)


def packed(e: Emitter, low: Value, high: Value) -> Value:
    return e.or_(e.zext(low, 32), e.shl(e.zext(high, 32), e.const(B32, 16)))


def on_halves(e: Emitter, meaning: Callable[..., Value], *operands: Value) -> Value:
    """`meaning` of the b16 low elements beside `meaning` of the high ones."""
    pairs = [halves(e, a) for a in operands]
    return packed(e, meaning(*(low for low, _ in pairs)), meaning(*(high for _, high in pairs)))


def on_f16s(e: Emitter, meaning: Callable[..., Value], *operands: Value) -> Value:
    """The same, where `meaning` takes and returns f16."""
    return on_halves(e, lambda *p: bits_of(e, meaning(*(e.bitcast(a, F16) for a in p))), *operands)


# bf16, held in b16: exact as f32


def from_bf16(e: Emitter, a: Value) -> Value:
    return e.bitcast(e.shl(e.zext(a, 32), e.const(B32, 16)), F32)


def to_bf16(e: Emitter, a: Value, rnd: Rounding = "rn") -> Value:
    """An f32 rounded to bf16. NaN becomes the canonical one."""
    bits = bits_of(e, a)
    low, high = halves(e, bits)
    if rnd == "rn":
        # half of the last place, less one where the last bit is even: ties go to even
        odd = e.and_(e.lshr(bits, e.const(B32, 16)), e.const(B32, 1))
        rounded = halves(e, e.add(bits, e.add(odd, e.const(B32, 0x7FFF))))[1]
    elif rnd == "rz":
        rounded = high
    else:
        inexact = e.icmp("ne", low, e.const(B16, 0))
        sign = negative(e, bits)
        away = e.and_(inexact, sign if rnd == "rm" else e.not_(sign))
        step = e.and_(away, e.not_(is_infinite(e, a)))
        rounded = e.add(high, e.zext(step, 16))
    return e.select(is_nan(e, a), e.const(B16, BF16_NAN), rounded)


def fma_bf16(e: Emitter, a: Value, b: Value, c: Value) -> Value:
    """a*b + c of bf16 values, rounded once, as the f32 to give to `to_bf16`.

    Each step to a narrower format is made to odd, so that the last rounding decides alone.
    """
    x, y, z = (e.fcast(from_bf16(e, bits), F64) for bits in (a, b, c))
    low, high = e.fma(x, y, z, "rm"), e.fma(x, y, z, "rp")
    total = to_odd(e, e.fma(x, y, z, "rz"), e.fcmp("one", low, high))
    narrow = e.fcast(total, F32, "rz")
    return to_odd(e, narrow, e.fcmp("one", e.fcast(narrow, F64), total))


def to_odd(e: Emitter, truncated: Value, inexact: Value) -> Value:
    """A float that was rounded toward zero, its last bit set where it is inexact: rounding it again to fewer
    bits is then as if rounded once.
    """
    bits = bits_of(e, truncated)
    return e.bitcast(e.or_(bits, resized(e, inexact, e.type_of(bits).width)), e.type_of(truncated))
