"""NaN of f16 and f32 arithmetic is the canonical one, as on a chip; the host's has its operands' payload.

Only where bits are looked at does it matter, so a result stays `free` until it is stored, moved to an integer
or meets a value that is `held`: arithmetic after arithmetic costs nothing. A value that cannot be NaN is
`none`. Of f64 the manual keeps payloads, as the host does. Knows values only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from llmptx.ptx.types import Type

if TYPE_CHECKING:
    from llmptx.engine.emit import Emit, Value

Nan = Literal["held", "none", "free"]


def free(a: Value) -> Value:
    """The result of arithmetic."""
    return replace(a, nan="free") if a.type.kind == "f" and a.type.bits < 64 else a


def settled(e: Emit, a: Value) -> Value:
    """With the canonical NaN where there is one to be put."""
    if a.nan != "free":
        return a
    held = replace(a, nan="held")
    canonical = e.float_bits(a.type, (1 << a.type.bits - 1) - 1)
    return e.select(e.fcmp("uno", held, held), canonical, held)


def root(e: Emit, a: Value) -> Value:
    """A square root, settled as an integer: LLVM takes `x < 0 ? NaN : sqrt(x)` for sqrt(x), whichever NaN."""
    if a.nan != "free":
        return a
    type = Type("b", a.type.bits)
    bits = e.bitcast(replace(a, nan="held"), type)
    canonical = e.const(type, (1 << type.bits - 1) - 1)
    infinity = 0x7C00 if type.bits == 16 else 0x7F800000
    nan = e.icmp("ugt", e.and_(bits, canonical), e.const(type, infinity))
    return e.bitcast(e.select(nan, canonical, bits), a.type)


def both(a: Nan, b: Nan) -> Nan:
    """What is known of a value that may be either."""
    if "held" in (a, b):
        return "held"
    return "free" if "free" in (a, b) else "none"
