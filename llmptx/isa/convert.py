"""Conversions: cvt between integers, f16, bf16, f32 and f64, and packed forms (PTX ISA 9.7.9.21)."""

from __future__ import annotations

from llmptx.isa.arith import (
    B16,
    B32,
    F16,
    F32,
    F64,
    bits_of,
    extended,
    flush_if,
    from_bf16,
    int_max,
    int_min,
    is_infinite,
    is_nan,
    like,
    nan,
    packed,
    rectified,
    saturated,
    to_bf16,
    to_odd,
)
from llmptx.isa.emitter import Emitter, Rounding, Value
from llmptx.isa.form import Modifiers, form
from llmptx.ptx.types import Type

_INTEGERS = [Type.parse(name) for name in ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")]
_ALL = "|".join(map(str, _INTEGERS))
_TO_INTEGER: dict[str, Rounding] = {"rni": "rn", "rzi": "rz", "rmi": "rm", "rpi": "rp"}
_RNI = "rnd:rni|rzi|rmi|rpi"
_RND = "rnd:rn|rz|rm|rp"


def _range(type: Type) -> tuple[int, int]:
    return (-(1 << type.bits - 1), (1 << type.bits - 1) - 1) if type.signed else (0, (1 << type.bits) - 1)


def _overflows(to: Type, source: Type) -> bool:
    """Whether `to` lacks some value of `source`: only then may .sat be written."""
    low, high = _range(to)
    least, most = _range(source)
    return least < low or most > high


# integer to integer


@form(f"cvt.dtype:{_ALL}.atype:{_ALL}  d:dtype, a:atype")
def int_to_int(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Extended by the source's signedness, or truncated."""
    if m.dtype.bits <= m.atype.bits:
        return e.trunc(a, m.dtype.bits) if m.dtype.bits < m.atype.bits else a
    return e.sext(a, m.dtype.bits) if m.atype.signed else e.zext(a, m.dtype.bits)


def int_to_int_sat(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Clamped to the destination's range."""
    low, high = _range(m.dtype)
    least, most = _range(m.atype)
    if most > high:
        a = int_min(e, a, like(e, a, high), m.atype.signed)
    if least < low:
        a = int_max(e, a, like(e, a, low), m.atype.signed)
    return int_to_int(e, m, a)


for _to in _INTEGERS:
    _from = "|".join(str(source) for source in _INTEGERS if _overflows(_to, source))
    form(f"cvt.sat.dtype:{_to}.atype:{_from}  d:dtype, a:atype")(int_to_int_sat)


# float to integer


@form(f"cvt.{_RNI}[.ftz][.sat].dtype:{_ALL}.atype:f32  d:dtype, a:atype")
@form(f"cvt.{_RNI}[.sat].dtype:{_ALL}.atype:f16|f64  d:dtype, a:atype")
def float_to_int(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Clamped always, so .sat changes nothing. NaN gives 0, or the top bit alone from f64 or to 64 bits."""
    whole = e.fround(flush_if(e, m.get("ftz", False), a), _TO_INTEGER[m.rnd])
    result = e.ftoi(whole, m.dtype.bits, m.dtype.signed)
    if m.atype.bits < 64 and m.dtype.bits < 64:
        return result
    return e.select(is_nan(e, a), like(e, result, 1 << m.dtype.bits - 1), result)


# integer to float


@form(f"cvt.{_RND}[.ftz][.sat].dtype:f32.atype:{_ALL}  d:dtype, a:atype")
@form(f"cvt.{_RND}[.sat].dtype:f16|f64.atype:{_ALL}  d:dtype, a:atype")
def int_to_float(e: Emitter, m: Modifiers, a: Value) -> Value:
    result = e.itof(a, m.dtype, m.atype.signed, m.rnd)
    return saturated(e, result) if m.sat else result


# float to float


@form(f"cvt.{_RND}[.ftz][.sat].dtype:f16.atype:f32  d:dtype, a:atype")
@form(f"cvt.{_RND}[.ftz][.sat].dtype:f32.atype:f64  d:dtype, a:atype")
@form(f"cvt.{_RND}[.sat].dtype:f16.atype:f64  d:dtype, a:atype")
@form("cvt[.ftz][.sat].dtype:f32.atype:f16  d:dtype, a:atype")
@form("cvt[.ftz][.sat].dtype:f64.atype:f32  d:dtype, a:atype")
@form("cvt[.sat].dtype:f64.atype:f16  d:dtype, a:atype")
def float_to_float(e: Emitter, m: Modifiers, a: Value) -> Value:
    """.ftz flushes the f32 side only."""
    ftz = m.get("ftz", False)
    result = e.fcast(flush_if(e, ftz and m.atype == F32, a), m.dtype, m.get("rnd") or "rn")
    result = flush_if(e, ftz and m.dtype == F32, result)
    return saturated(e, result) if m.sat else result


def same_float(e: Emitter, m: Modifiers, a: Value) -> Value:
    """To an integral value where a rounding is given."""
    a = flush_if(e, m.get("ftz", False), a)
    if m.rnd:
        a = e.fround(a, _TO_INTEGER[m.rnd])
    return saturated(e, a) if m.sat else a


for _name in ("f16", "f64"):
    form(f"cvt[.{_RNI}][.sat].dtype:{_name}.atype:{_name}  d:dtype, a:atype")(same_float)
form(f"cvt[.{_RNI}][.ftz][.sat].dtype:f32.atype:f32  d:dtype, a:atype")(same_float)


# with .relu and .satfinite, to f16; bf16; tf32; packed


@form("cvt.rnd:rn|rz.relu[.satfinite].to:f16.f32  d:f16, a:f32")
@form("cvt.rnd:rn|rz.satfinite.to:f16.f32  d:f16, a:f32")
def f32_to_f16(e: Emitter, m: Modifiers, a: Value) -> Value:
    """.satfinite: what would be infinite is the largest number of its sign. .relu: negative values are +0."""
    return _to_f16(e, m, a)


@form("cvt.rnd:rn|rz[.relu][.satfinite].to:f16x2.f32  d:b32, a:f32, b:f32")
def f32_to_f16x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """a in the upper half, b in the lower."""
    return packed(e, bits_of(e, _to_f16(e, m, b)), bits_of(e, _to_f16(e, m, a)))


def _to_f16(e: Emitter, m: Modifiers, a: Value) -> Value:
    result = e.fcast(a, F16, m.rnd)
    if m.satfinite:
        result = e.select(is_infinite(e, result), e.copysign(e.const(F16, 65504), result), result)
    if m.get("relu"):
        return rectified(e, result)
    return e.select(is_nan(e, result), nan(e, F16), result)


@form(f"cvt.{_RND}[.ftz].to:bf16.f32  d:b16, a:f32")
@form("cvt.rnd:rn|rz.relu[.satfinite].to:bf16.f32  d:b16, a:f32")
@form("cvt.rnd:rn|rz.satfinite.to:bf16.f32  d:b16, a:f32")
def f32_to_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    return _to_bf16(e, m, flush_if(e, m.get("ftz", False), a))


@form("cvt.rnd:rn|rz[.relu][.satfinite].to:bf16x2.f32  d:b32, a:f32, b:f32")
def f32_to_bf16x2(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """a in the upper half, b in the lower."""
    return packed(e, _to_bf16(e, m, b), _to_bf16(e, m, a))


def _to_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    if m.get("relu"):
        a = rectified(e, a)
    result = to_bf16(e, a, m.rnd)
    if not m.get("satfinite"):
        return result
    sign = e.and_(result, e.const(B16, 0x8000))
    infinite = e.icmp("eq", e.and_(result, e.const(B16, 0x7FFF)), e.const(B16, 0x7F80))
    return e.select(infinite, e.or_(sign, e.const(B16, 0x7F7F)), result)


# bf16 and the other types, always rounded once


_WHOLE = "u16|u32|u64|s16|s32|s64"


@form(f"cvt[.{_RND}][.ftz].to:f32.bf16  d:f32, a:b16")
def bf16_to_f32(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Exact, so a rounding changes nothing."""
    return flush_if(e, m.ftz, from_bf16(e, a))


@form(f"cvt[.{_RND}].to:f64.bf16  d:f64, a:b16")
def bf16_to_f64(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Exact, so a rounding changes nothing."""
    return e.fcast(from_bf16(e, a), F64)


@form(f"cvt[.{_RND}].to:f16.bf16  d:f16, a:b16")
def bf16_to_f16(e: Emitter, m: Modifiers, a: Value) -> Value:
    return e.fcast(from_bf16(e, a), F16, m.rnd or "rn")


@form(f"cvt[.{_RND}].to:bf16.f16  d:b16, a:f16")
def f16_to_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    return to_bf16(e, e.fcast(a, F32), m.rnd or "rn")


@form(f"cvt.{_RND}.to:bf16.f64  d:b16, a:f64")
def f64_to_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    narrow = e.fcast(a, F32, "rz")
    inexact = e.fcmp("one", e.fcast(narrow, F64), a)
    return to_bf16(e, to_odd(e, narrow, inexact), m.rnd)


@form(f"cvt[.{_RNI}].to:bf16.bf16  d:b16, a:b16")
def bf16_to_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    """To an integral value where a rounding is given."""
    return to_bf16(e, e.fround(from_bf16(e, a), _TO_INTEGER[m.rnd])) if m.rnd else a


@form(f"cvt.{_RNI}.dtype:{_WHOLE}.bf16  d:dtype, a:b16")
def bf16_to_int(e: Emitter, m: Modifiers, a: Value) -> Value:
    """Clamped always. NaN gives 0, or to 64 bits the top bit alone."""
    wide = e.fround(from_bf16(e, a), _TO_INTEGER[m.rnd])
    result = e.ftoi(wide, m.dtype.bits, m.dtype.signed)
    if m.dtype.bits < 64:
        return result
    return e.select(is_nan(e, wide), like(e, result, 1 << 63), result)


@form(f"cvt.{_RND}.to:bf16.atype:{_WHOLE}  d:b16, a:atype")
def int_to_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    wide = extended(e, a, max(m.atype.bits, 32), m.atype.signed)
    narrow = e.itof(wide, F32, m.atype.signed, "rz")
    back = e.ftoi(narrow, max(m.atype.bits, 32), m.atype.signed)
    return to_bf16(e, to_odd(e, narrow, e.icmp("ne", back, wide)), m.rnd)


# packed integers


@form("cvt.pack.sat.to:u16|s16.s32  d:b32, a:s32, b:s32")
def pack(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """a above b, each clamped to 16 bits."""
    return _packed_pair(e, m, a, b)


@form("cvt.pack.sat.to:u2|s2|u4|s4|u8|s8.s32.b32  d:b32, a:s32, b:s32, c:b32")
def pack_onto(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """b lowest, then a, each clamped to the type; above them c's low bits."""
    size = int(m.to[1:])
    return e.or_(_packed_pair(e, m, a, b), e.shl(c, e.const(B32, 2 * size)))


def _packed_pair(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    size = int(m.to[1:])
    low, high = _range(Type("s" if m.to[0] == "s" else "u", size))
    field = e.const(B32, (1 << size) - 1)
    first, second = (
        e.and_(int_max(e, int_min(e, x, like(e, x, high), True), like(e, x, low), True), field)
        for x in (a, b)
    )
    return e.or_(e.shl(first, e.const(B32, size)), second)


@form("cvt.rna[.satfinite].tf32.f32  d:b32, a:f32")
def f32_to_tf32(e: Emitter, m: Modifiers, a: Value) -> Value:
    """The nearest value of 10 mantissa bits, ties away from zero; the low 13 bits are 0."""
    low = e.const(B32, 0x1FFF)
    rounded = e.bitcast(e.and_(e.add(bits_of(e, a), e.const(B32, 0x1000)), e.not_(low)), F32)
    largest = e.copysign(e.bitcast(e.const(B32, 0x7F7FE000), F32), a)
    overflows = is_infinite(e, a if not m.satfinite else rounded)
    finite = e.select(overflows, largest if m.satfinite else a, rounded)
    return e.select(is_nan(e, a), e.const(B32, 0x7FFFFFFF), bits_of(e, finite))
