"""Conversions to and from 8-bit floats, and to tf32 by .rn and .rz (PTX ISA 9.7.9.21).

e4m3 has no infinity and ends at 448, e5m2 ends at 57344. To both one converts with saturation: what is too
large, or infinite, is the largest number of its sign. NaN is 0x7F.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmptx.isa.arith import (
    B16,
    B32,
    F16,
    F32,
    bits_of,
    halves,
    int_min,
    is_nan,
    nan,
    packed,
    rectified,
)
from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form


@dataclass(frozen=True)
class _Format:
    """mantissa: bits of it; bias of the exponent; greatest: the bits of the largest number."""

    mantissa: int
    bias: int
    greatest: int


_FORMATS = {"e4m3x2": _Format(3, 7, 0x7E), "e5m2x2": _Format(2, 15, 0x7B)}
_PAIR = "to:e4m3x2|e5m2x2"


def _narrowed(e: Emitter, m: Modifiers, a: Value) -> Value:
    """An f32 as the low byte of a b32."""
    to = _FORMATS[m.to]
    if m.relu:
        a = rectified(e, a)
    size = e.fabs(a)
    normal = _nearest(e, bits_of(e, size), to.mantissa)
    normal = e.sub(e.lshr(normal, e.const(B32, 23 - to.mantissa)), e.const(B32, 127 - to.bias << to.mantissa))
    # Added to a number whose last bit is the smallest subnormal, the value is rounded to whole ones of it.
    step = e.const(F32, 2.0 ** (1 - to.bias - to.mantissa + 23))
    subnormal = e.sub(bits_of(e, e.fadd(size, step)), bits_of(e, step))
    tiny = e.fcmp("olt", size, e.const(F32, 2.0 ** (1 - to.bias)))
    code = int_min(e, e.select(tiny, subnormal, normal), e.const(B32, to.greatest), signed=False)
    sign = e.and_(e.lshr(bits_of(e, a), e.const(B32, 24)), e.const(B32, 0x80))
    return e.select(is_nan(e, a), e.const(B32, 0x7F), e.or_(code, sign))


def _nearest(e: Emitter, bits: Value, mantissa: int) -> Value:
    """An f32's bits rounded to nearest even: right above the low 23 - mantissa bits, which are left over."""
    cut = 23 - mantissa
    odd = e.and_(e.lshr(bits, e.const(B32, cut)), e.const(B32, 1))
    return e.add(bits, e.add(odd, e.const(B32, (1 << cut - 1) - 1)))


def _both(e: Emitter, high: Value, low: Value) -> Value:
    return e.trunc(e.or_(e.shl(high, e.const(B32, 8)), low), 16)


@form(f"cvt.rn.satfinite[.relu].{_PAIR}.f32  d:b16, a:f32, b:f32")
def f32_to_bytes(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """a in the upper byte, b in the lower. .relu: negative values are +0."""
    return _both(e, _narrowed(e, m, a), _narrowed(e, m, b))


@form(f"cvt.rn.satfinite[.relu].{_PAIR}.f16x2  d:b16, a:b32")
def f16x2_to_bytes(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Half by half. .relu: negative values are +0."""
    low, high = (e.fcast(e.bitcast(half, F16), F32) for half in halves(e, a))
    return _both(e, _narrowed(e, m, high), _narrowed(e, m, low))


@form("cvt.rn[.relu].f16x2.from:e4m3x2|e5m2x2  d:b32, a:b16")
def bytes_to_f16x2(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Exact. .relu: negative values are +0."""
    found = []
    for byte in (e.and_(a, e.const(B16, 0xFF)), e.lshr(a, e.const(B16, 8))):
        value = _widened(e, m.get("from"), byte)
        found.append(bits_of(e, rectified(e, value) if m.relu else value))
    return packed(e, *found)


def _widened(e: Emitter, source: str, byte: Value) -> Value:
    """A byte, in a b16, as f16."""
    if source == "e5m2x2":
        value = e.bitcast(e.shl(byte, e.const(B16, 8)), F16)
        return e.select(is_nan(e, value), nan(e, F16), value)
    size = e.and_(byte, e.const(B16, 0x7F))
    # The same exponent field stands for 2^8 more than in f16.
    scaled = e.fmul(e.bitcast(e.shl(size, e.const(B16, 7)), F16), e.const(F16, 256))
    sign = e.shl(e.and_(byte, e.const(B16, 0x80)), e.const(B16, 8))
    value = e.bitcast(e.or_(bits_of(e, scaled), sign), F16)
    return e.select(e.icmp("eq", size, e.const(B16, 0x7F)), nan(e, F16), value)


@form("cvt.rnd:rn|rz[.relu].tf32.f32  d:b32, a:f32")
def f32_to_tf32(e: Emitter, m: Modifiers, a: Value) -> Value:
    """To 10 bits of mantissa; the low 13 bits of d are 0. .relu: negative values are +0."""
    if m.relu:
        a = rectified(e, a)
    bits = bits_of(e, a)
    rounded = _nearest(e, bits, 10) if m.rnd == "rn" else bits
    kept = e.and_(rounded, e.const(B32, ~0x1FFF))
    return e.select(is_nan(e, a), e.const(B32, 0x7FFFFFFF), kept)
