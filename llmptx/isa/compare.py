"""Comparison and selection (PTX ISA 9.7.6, and 9.7.7 for half precision)."""

from __future__ import annotations

from llmptx.isa.arith import B16, F16, F32, flush_if, from_bf16, halves, like, packed
from llmptx.isa.emitter import Emitter, FloatCompare, IntCompare, Value
from llmptx.isa.form import Modifiers, form
from llmptx.ptx.types import Type

_SIGNED: dict[str, IntCompare] = {
    "eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge",
}  # fmt: skip
_UNSIGNED: dict[str, IntCompare] = {
    "eq": "eq", "ne": "ne", "lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge",
    "lo": "ult", "ls": "ule", "hi": "ugt", "hs": "uge",
}  # fmt: skip
_FLOAT: dict[str, FloatCompare] = {
    "eq": "oeq", "ne": "one", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "num": "ord",
    "equ": "ueq", "neu": "une", "ltu": "ult", "leu": "ule", "gtu": "ugt", "geu": "uge", "nan": "uno",
}  # fmt: skip
_FLOAT_OPS = "|".join(_FLOAT)

# the operators and types that go together, as the middle of a pattern
_KINDS = {
    "eq|ne": "b16|b32|b64",
    "|".join(_SIGNED): "s16|s32|s64",
    "|".join(_UNSIGNED): "u16|u32|u64",
    _FLOAT_OPS: "f64",
}


def _compared(e: Emitter, m: Modifiers, type: Type, a: Value, b: Value) -> Value:
    if type.is_float:
        ftz = m.get("ftz", False)
        return e.fcmp(_FLOAT[m.cmp], flush_if(e, ftz, a), flush_if(e, ftz, b))
    return e.icmp(_SIGNED[m.cmp] if type.signed else _UNSIGNED[m.cmp], a, b)


def _combined(e: Emitter, m: Modifiers, t: Value, c: Value | None) -> Value:
    """BoolOp of the manual."""
    if c is None:
        return t
    return {"and": e.and_, "or": e.or_, "xor": e.xor}[m.bool](t, c)


def setp(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> tuple[Value, Value]:
    """p is the comparison, q its opposite, both combined with c. NaN: false, or true of the `u` operators."""
    t = _compared(e, m, m.type, a, b)
    return _combined(e, m, t, c), _combined(e, m, e.not_(t), c)


for _bool, _c in (("", ""), (".bool:and|or|xor", ", c:pred")):
    for _ops, _types in _KINDS.items():
        form(f"setp.cmp:{_ops}{_bool}.type:{_types}  p:pred[|q], a, b{_c}")(setp)
    form(f"setp.cmp:{_FLOAT_OPS}{_bool}[.ftz].type:f32  p:pred[|q], a, b{_c}")(setp)


def set_(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> Value:
    """All ones or 1.0 where the comparison, combined with c, holds; else 0."""
    return _flag(e, m.dtype, _combined(e, m, _compared(e, m, m.stype, a, b), c))


def set_bf16(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> Value:
    """1.0 as bf16 where the comparison, combined with c, holds; else 0."""
    return _bf16_flag(e, _combined(e, m, _compared(e, m, m.stype, a, b), c))


def _bf16_flag(e: Emitter, t: Value) -> Value:
    return e.select(t, e.const(B16, 0x3F80), e.const(B16, 0))


def set_of_bf16(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> Value:
    """All ones or 1.0 as bf16 where the comparison, combined with c, holds; else 0."""
    t = _combined(e, m, _compared_bits(e, m, "bf16", a, b), c)
    return _flag(e, m.dtype, t) if m.get("dtype") else _bf16_flag(e, t)


def _flag(e: Emitter, type: Type, t: Value) -> Value:
    return e.select(t, e.const(type, 1 if type.is_float else -1), e.const(type, 0))


_FROM = "d:dtype, a:stype, b:stype"
for _bool, _c in (("", ""), (".bool:and|or|xor", ", c:pred")):
    for _ops, _types in _KINDS.items():
        form(f"set.cmp:{_ops}{_bool}.dtype:u32|s32|f32|f16.stype:{_types}  {_FROM}{_c}")(set_)
        form(f"set.cmp:{_ops}{_bool}.bf16.stype:{_types}  d:b16, a:stype, b:stype{_c}")(set_bf16)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}[.ftz].dtype:u32|s32|f32|f16.stype:f32  {_FROM}{_c}")(set_)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}[.ftz].dtype:u16|s16|u32|s32|f16.stype:f16  {_FROM}{_c}")(set_)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}.bf16.stype:f16|f32  d:b16, a:stype, b:stype{_c}")(set_bf16)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}.dtype:u16|s16|u32|s32.bf16  d:dtype, a:b16, b:b16{_c}")(set_of_bf16)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}.to:bf16.bf16  d:b16, a:b16, b:b16{_c}")(set_of_bf16)


@form("selp.type:b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64  d, a, b, c:pred")
def selp(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    return e.select(c, a, b)


@form("slct.type:b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64.s32  d, a, b, c:s32")
def slct(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """a where c >= 0."""
    return e.select(e.icmp("sge", c, like(e, c, 0)), a, b)


@form("slct[.ftz].type:b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64.f32  d, a, b, c:f32")
def slct_f32(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """a where c >= 0, -0 included; b where c is NaN."""
    return e.select(e.fcmp("oge", flush_if(e, m.ftz, c), e.const(F32, 0)), a, b)


# half precision, whose packed and bf16 operands are plain bits


def _compared_bits(e: Emitter, m: Modifiers, format: str, a: Value, b: Value) -> Value:
    """Of b16 values in `format`, f16 or bf16."""
    if format == "bf16":
        return e.fcmp(_FLOAT[m.cmp], from_bf16(e, a), from_bf16(e, b))
    return _compared(e, m, F16, e.bitcast(a, F16), e.bitcast(b, F16))


def setp_f16(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> Value:
    return _combined(e, m, _compared(e, m, F16, a, b), c)


def setp_bf16(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> Value:
    return _combined(e, m, _compared_bits(e, m, "bf16", a, b), c)


def setp_x2(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> tuple[Value, Value]:
    """p compares the low halves, q the high ones."""
    pairs = zip(halves(e, a), halves(e, b), strict=True)
    low, high = (
        _combined(e, m, _compared_bits(e, m, m.format.removesuffix("x2"), x, y), c) for x, y in pairs
    )
    return low, high


def set_x2(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value | None = None) -> Value:
    """A flag a half: all ones, or 1.0 where the destination is of floats."""
    pairs = zip(halves(e, a), halves(e, b), strict=True)
    truth = (_combined(e, m, _compared_bits(e, m, m.format.removesuffix("x2"), x, y), c) for x, y in pairs)
    true = e.const(B16, {"f16x2": 0x3C00, "bf16x2": 0x3F80}.get(m.to, 0xFFFF))
    low, high = (e.select(t, true, e.const(B16, 0)) for t in truth)
    return packed(e, low, high)


_X2 = "d:b32, a:b32, b:b32"
for _bool, _c in (("", ""), (".bool:and|or|xor", ", c:pred")):
    form(f"setp.cmp:{_FLOAT_OPS}{_bool}[.ftz].type:f16  p:pred, a, b{_c}")(setp_f16)
    form(f"setp.cmp:{_FLOAT_OPS}{_bool}.bf16  p:pred, a:b16, b:b16{_c}")(setp_bf16)
    form(f"setp.cmp:{_FLOAT_OPS}{_bool}[.ftz].format:f16x2  p:pred[|q], a:b32, b:b32{_c}")(setp_x2)
    form(f"setp.cmp:{_FLOAT_OPS}{_bool}.format:bf16x2  p:pred[|q], a:b32, b:b32{_c}")(setp_x2)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}[.ftz].to:f16x2|u32|s32.format:f16x2  {_X2}{_c}")(set_x2)
    form(f"set.cmp:{_FLOAT_OPS}{_bool}.to:bf16x2|u32|s32.format:bf16x2  {_X2}{_c}")(set_x2)
