"""Logic and shifts (PTX ISA 9.7.8)."""

from __future__ import annotations

from llmptx.isa.arith import B32, ashr_clamped, int_min, like, lshr_clamped, shl_clamped
from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form


@form("and.type:pred|b16|b32|b64  d, a, b")
def and_(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return e.and_(a, b)


@form("or.type:pred|b16|b32|b64  d, a, b")
def or_(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return e.or_(a, b)


@form("xor.type:pred|b16|b32|b64  d, a, b")
def xor(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return e.xor(a, b)


@form("not.type:pred|b16|b32|b64  d, a")
def not_(e: Emitter, m: Modifiers, a: Value) -> Value:
    return e.not_(a)


@form("cnot.type:b16|b32|b64  d, a")
def cnot(e: Emitter, m: Modifiers, a: Value) -> Value:
    """1 for 0, else 0."""
    return e.select(e.icmp("eq", a, like(e, a, 0)), like(e, a, 1), like(e, a, 0))


@form("lop3.b32  d:b32, a:b32, b:b32, c:b32, imm:b32")
def lop3(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value, table: Value) -> Value:
    """Bit i of the table is the result where a, b, c have the bits of i, a's the highest."""
    return _looked_up(e, a, b, c, table)


@form("lop3.op:or|and.b32  d:b32|p, a:b32, b:b32, c:b32, imm:b32, r:pred")
def lop3_bool(
    e: Emitter, m: Modifiers, a: Value, b: Value, c: Value, table: Value, r: Value
) -> tuple[Value, Value]:
    """The second destination is (result != 0) op r."""
    result = _looked_up(e, a, b, c, table)
    found = e.icmp("ne", result, e.const(B32, 0))
    return result, e.or_(found, r) if m.op == "or" else e.and_(found, r)


def _looked_up(e: Emitter, a: Value, b: Value, c: Value, table: Value) -> Value:
    result = e.const(B32, 0)
    for i in range(8):
        term = e.and_(
            e.and_(*(x if i >> k & 1 else e.not_(x) for k, x in ((2, a), (1, b)))), c if i & 1 else e.not_(c)
        )
        bit = e.and_(e.lshr(table, e.const(B32, i)), e.const(B32, 1))
        result = e.or_(result, e.and_(term, e.sub(e.const(B32, 0), bit)))
    return result


@form("shf.way:l|r.mode:clamp|wrap.b32  d:b32, a:b32, b:b32, c:u32")
def shf(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """The 64 bits b:a shifted: left gives the upper half, right the lower; .clamp at 32, .wrap modulo 32."""
    thirty_two = e.const(B32, 32)
    amount = e.and_(c, e.const(B32, 31)) if m.mode == "wrap" else int_min(e, c, thirty_two, signed=False)
    rest = e.sub(thirty_two, amount)
    if m.way == "l":
        return e.or_(shl_clamped(e, b, amount), lshr_clamped(e, a, rest))
    return e.or_(shl_clamped(e, b, rest), lshr_clamped(e, a, amount))


@form("shl.type:b16|b32|b64  d, a, b:u32")
def shl(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """0 from the width on."""
    return shl_clamped(e, a, b)


@form("shr.type:b16|b32|b64|u16|u32|u64|s16|s32|s64  d, a, b:u32")
def shr(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """Signed types fill with the sign, so give 0 or -1 from the width on; others 0."""
    return (ashr_clamped if m.type.signed else lshr_clamped)(e, a, b)
