"""Video instructions on packed bytes and halves that compilers still write (PTX ISA 9.7).

Without selectors and masks: every lane of d is written, and c only added to.
"""

from __future__ import annotations

from llmptx.isa.arith import extended, like
from llmptx.isa.emitter import Emitter, Value
from llmptx.isa.form import Modifiers, form

_TYPES = ".dtype:u32|s32.atype:u32|s32.btype:u32|s32"
_OPERANDS = "d:b32, a:b32, b:b32, c:b32"


def _apart(e: Emitter, m: Modifiers, a: Value, b: Value, bits: int) -> list[Value]:
    """How far the lanes of a and b are apart, each as 32 bits."""
    found = []
    for at in range(0, 32, bits):
        x, y = (
            extended(e, e.trunc(e.lshr(v, like(e, v, at)), bits), 32, type.signed)
            for v, type in ((a, m.atype), (b, m.btype))
        )
        found.append(e.select(e.icmp("slt", x, y), e.sub(y, x), e.sub(x, y)))
    return found


def _packed(e: Emitter, lanes: list[Value], bits: int) -> Value:
    total = like(e, lanes[0], 0)
    for i, lane in enumerate(lanes):
        low = e.and_(lane, like(e, lane, (1 << bits) - 1))
        total = e.or_(total, e.shl(low, like(e, low, bits * i)))
    return total


def _added(e: Emitter, lanes: list[Value], c: Value) -> Value:
    for lane in lanes:
        c = e.add(c, lane)
    return c


@form(f"vabsdiff4{_TYPES}  {_OPERANDS}")
def vabsdiff4(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """|a - b| byte by byte, modulo 2^8."""
    return _packed(e, _apart(e, m, a, b, 8), 8)


@form(f"vabsdiff4{_TYPES}.add  {_OPERANDS}")
def vabsdiff4_add(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """c plus the sum of |a - b| over the four bytes."""
    return _added(e, _apart(e, m, a, b, 8), c)


@form(f"vabsdiff2{_TYPES}  {_OPERANDS}")
def vabsdiff2(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """|a - b| half by half, modulo 2^16."""
    return _packed(e, _apart(e, m, a, b, 16), 16)


@form(f"vabsdiff2{_TYPES}.add  {_OPERANDS}")
def vabsdiff2_add(e: Emitter, m: Modifiers, a: Value, b: Value, c: Value) -> Value:
    """c plus the sum of |a - b| over the two halves."""
    return _added(e, _apart(e, m, a, b, 16), c)
