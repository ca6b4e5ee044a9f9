"""Extended-precision integer arithmetic over the carry flag CC.CF (PTX ISA 9.7.2)."""

from __future__ import annotations

from llmptx.isa.arith import borrows, carries
from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form


@form("add.cc.type:u32|s32|u64|s64  d, a, b")
def add_cc(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    total, carry = carries(e, a, b, None)
    e.set_carry(carry)
    return total


@form("addc[.cc].type:u32|s32|u64|s64  d, a, b")
def addc(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return _add_with_carry(e, m, a, b)


@form("sub.cc.type:u32|s32|u64|s64  d, a, b")
def sub_cc(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    """The flag is that of a + ~b + 1, so it is set where nothing was borrowed: what addc reads after it."""
    total, borrow = borrows(e, a, b, None)
    e.set_carry(e.not_(borrow))
    return total


@form("subc[.cc].type:u32|s32|u64|s64  d, a, b")
def subc(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    total, borrow = borrows(e, a, b, e.not_(e.get_carry()))
    if m.cc:
        e.set_carry(e.not_(borrow))
    return total


@form("mad.mode:hi|lo.cc.type:u32|s32|u64|s64  d, a, b, c")
def mad_cc(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """The carry is the addition's."""
    total, carry = carries(e, _half(e, m, a, b), c, None)
    e.set_carry(carry)
    return total


@form("madc.mode:hi|lo[.cc].type:u32|s32|u64|s64  d, a, b, c")
def madc(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    return _add_with_carry(e, m, _half(e, m, a, b), c)


def _half(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    return e.mul(a, b) if m.mode == "lo" else e.mulhi(a, b, m.type.signed)


def _add_with_carry(e: Emitter, m: Modifiers, a: Value, b: Value) -> Value:
    total, carry = carries(e, a, b, e.get_carry())
    if m.cc:
        e.set_carry(carry)
    return total
