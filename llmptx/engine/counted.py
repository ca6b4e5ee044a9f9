"""Comparisons of neighbouring numbers with one number: how many lanes hold is counted, not asked of each.

Knows values only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llvmlite import ir

from llmptx.engine.constants import vector_type
from llmptx.ptx.types import PRED

if TYPE_CHECKING:
    from llmptx.engine.emit import IR, Emit, Value

_TURNED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
_NOT = {"ge": "lt", "gt": "le", "ne": "eq"}


def compared(e: Emit, op: str, a: Value, b: Value) -> Value | None:
    """a op b, where one is lane 0's number and 1 more in each lane, and the other is the same in all.

    None where it is not so, or where lanes may wrap around between the least number and the greatest.
    """
    sign, verb = ("", op) if op in ("eq", "ne") else (op[0], op[1:])
    if (a.kind, b.kind) == ("u", "a"):
        a, b, verb = b, a, _TURNED[verb]
    if (a.kind, b.kind, a.stride, a.wrap) != ("a", "u", 1, 0) or e.width > 32:
        return None
    if sign and a.mult < e.width:
        return None
    positive = _NOT.get(verb, verb)
    bits = _first_lanes(e, sign, positive, a, b)
    if verb in _NOT:
        bits = e.b.not_(bits)
    lanes = e.b.bitcast(e.b.trunc(bits, ir.IntType(e.width)), vector_type(ir.IntType(1), e.width))
    return replace(a, type=PRED, kind="v", ir=lanes, stride=0, mult=1)


def _first_lanes(e: Emit, sign: str, verb: str, a: Value, b: Value) -> IR:
    """The lanes as bits of an i64: all those below (lt, le), or the one that is equal."""
    builder, word = e.b, ir.IntType(64)
    width = ir.Constant(word, e.width)
    apart = builder.sub(b.ir, a.ir)
    if a.type.bits < 64:
        apart = builder.zext(apart, word)
    near = builder.icmp_unsigned("<", apart, width)
    one, zero, every = ir.Constant(word, 1), ir.Constant(word, 0), ir.Constant(word, -1)
    single = builder.shl(one, builder.select(near, apart, zero))
    if verb == "eq":
        return builder.select(near, single, zero)
    compare = builder.icmp_signed if sign == "s" else builder.icmp_unsigned
    some = compare("<=" if verb == "le" else "<", a.ir, b.ir)
    below = builder.sub(builder.shl(single, one) if verb == "le" else single, one)
    return builder.select(some, builder.select(near, below, every), zero)
