"""Half-precision arithmetic: f16, bf16 and their packed pairs (PTX ISA 9.7.4).

f16 has machine type f16; bf16 is b16, computed in f32 or wider and rounded once; pairs are b32, half by half.
"""

from __future__ import annotations

from collections.abc import Callable

from llmptx.isa.arith import (
    B16,
    float_extreme_by,
    flush_if,
    flushed,
    fma_bf16,
    from_bf16,
    on_f16s,
    on_halves,
    rectified,
    saturated,
    to_bf16,
)
from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form

Operation = Callable[..., Value]


def _operation(e: Emitter, m: Modifiers, opcode: str) -> Operation:
    """What the opcode does to f16 or f32 values, before .ftz, .sat and .relu."""
    if opcode in ("min", "max"):
        return lambda a, b: float_extreme_by(
            e, opcode, a, b, propagate=m.NaN, ftz=False, xorsign=m.xorsign_abs
        )
    if m.get("approx"):
        return lambda a: e.approx("tanh" if opcode == "tanh" else "ex2", a)
    plain: dict[str, Operation] = {
        "add": e.fadd, "sub": e.fsub, "mul": e.fmul, "fma": e.fma, "neg": e.fneg, "abs": e.fabs,
    }  # fmt: skip
    return plain[opcode]


def _f16(e: Emitter, m: Modifiers, opcode: str) -> Operation:
    def meaning(*values: Value) -> Value:
        ftz = m.get("ftz", False)
        result = _operation(e, m, opcode)(*(flush_if(e, ftz, a) for a in values))
        result = flush_if(e, ftz, result)
        if m.get("relu"):
            return rectified(e, result)
        return saturated(e, result) if m.get("sat") else result

    return meaning


def _bf16(e: Emitter, m: Modifiers, opcode: str) -> Operation:
    """On b16. An f32 is wide enough that its rounding and bf16's are as one, but for fma."""

    def meaning(*values: Value) -> Value:
        if opcode == "neg":
            return e.xor(values[0], e.const(B16, 0x8000))
        if opcode == "abs":
            return e.and_(values[0], e.const(B16, 0x7FFF))
        if opcode == "fma":
            total = fma_bf16(e, *values)
            return to_bf16(e, rectified(e, total) if m.relu else total)
        return to_bf16(e, _operation(e, m, opcode)(*(from_bf16(e, a) for a in values)))

    return meaning


def _operands(names: str, type: str) -> str:
    return ", ".join(f"{name}:{type}" for name in names)


def _f16_rows(opcode: str, modifiers: str, names: str, doc: str) -> None:
    def one(e: Emitter, m: Modifiers, *values: Value) -> Value:
        return _f16(e, m, opcode)(*values)

    def two(e: Emitter, m: Modifiers, *values: Value) -> Value:
        return on_f16s(e, _f16(e, m, opcode), *values)

    one.__doc__ = two.__doc__ = doc
    form(f"{opcode}{modifiers}.f16  {_operands(names, 'f16')}")(one)
    form(f"{opcode}{modifiers}.f16x2  {_operands(names, 'b32')}")(two)


def _bf16_rows(opcode: str, modifiers: str, names: str, doc: str) -> None:
    def one(e: Emitter, m: Modifiers, *values: Value) -> Value:
        return _bf16(e, m, opcode)(*values)

    def two(e: Emitter, m: Modifiers, *values: Value) -> Value:
        return on_halves(e, _bf16(e, m, opcode), *values)

    one.__doc__ = two.__doc__ = doc
    form(f"{opcode}{modifiers}.bf16  {_operands(names, 'b16')}")(one)
    form(f"{opcode}{modifiers}.bf16x2  {_operands(names, 'b32')}")(two)


for _opcode in ("add", "sub", "mul"):
    _f16_rows(_opcode, "[.rnd:rn][.ftz][.sat]", "dab", "")
    _bf16_rows(_opcode, "[.rnd:rn]", "dab", "")
_f16_rows("fma", ".rnd:rn[.ftz][.sat]", "dabc", "Rounded once.")
_f16_rows("fma", ".rnd:rn[.ftz].relu", "dabc", "Rounded once; a negative result is +0.")
_bf16_rows("fma", ".rnd:rn[.relu]", "dabc", "Rounded once; .relu: a negative result is +0.")
for _opcode in ("neg", "abs"):
    _f16_rows(_opcode, "[.ftz]", "da", "")
    _bf16_rows(_opcode, "", "da", "")
for _opcode in ("min", "max"):
    _f16_rows(_opcode, "[.ftz][.NaN][.xorsign.abs]", "dab", "-0 < +0; NaN loses to a number, unless .NaN.")
    _bf16_rows(_opcode, "[.NaN][.xorsign.abs]", "dab", "-0 < +0; NaN loses to a number, unless .NaN.")
for _opcode in ("tanh", "ex2"):
    _f16_rows(_opcode, ".approx", "da", "")


@form("tanh.approx.bf16  d:b16, a:b16")
def tanh_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    """The f32 approximation, rounded: well within the format's own bound."""
    return to_bf16(e, e.approx("tanh", from_bf16(e, a)))


@form("ex2.approx.ftz.bf16  d:b16, a:b16")
def ex2_bf16(e: Emitter, m: Modifiers, a: Value) -> Value:
    result = from_bf16(e, to_bf16(e, e.approx("ex2", flushed(e, from_bf16(e, a)))))
    return to_bf16(e, flushed(e, result))


@form("tanh.approx.bf16x2  d:b32, a:b32")
def tanh_bf16x2(e: Emitter, m: Modifiers, a: Value) -> Value:
    return on_halves(e, lambda x: tanh_bf16(e, m, x), a)


@form("ex2.approx.ftz.bf16x2  d:b32, a:b32")
def ex2_bf16x2(e: Emitter, m: Modifiers, a: Value) -> Value:
    return on_halves(e, lambda x: ex2_bf16(e, m, x), a)
