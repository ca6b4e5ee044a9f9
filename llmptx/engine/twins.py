"""Values with a twin, on the emitter: what was never written, compared where it matters (see `unset`).

Knows values, masks and memory; which registers have twins is `unset`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from llmptx.engine.access import Address, space_name
from llmptx.engine.emit import I32, IR, Value, canonical
from llmptx.engine.lanes import B32, Lanes
from llmptx.ptx.types import PRED, Type

GARBAGE = 0xFFF5_A5A5_A5A5_A5A5  # NaN, or a negative number, whatever the width it is cut to


class Twins(Lanes):
    """Adds comparing to the emitter.

    living   lanes that have not ended, given by the lowering
    """

    living: Callable[[], IR]

    def garbage(self, type: Type, twin: bool) -> Value:
        """What a register holds that nothing was written to: no useful number, address or count.

        Zero would hide that it was read: many a kernel means to start at zero. The twin differs in every bit.
        """
        type = canonical(type)
        bits = (GARBAGE << 64 | GARBAGE) >> (128 - type.width)
        if twin:
            bits ^= (1 << type.width) - 1
        return self.float_bits(type, bits) if type.is_float else self.const(type, bits)

    def compare_twins(self, a: Value, b: Value) -> None:
        """Reports the lanes where they differ: something hangs on them now."""
        differ = self._differ(a, b)
        with self._in_lanes(differ):
            tail = [self.bits(differ), ir.Constant(I32, self.pc), self._first_thread()]
            self.call("san_unset", ir.VoidType(), [self.ctx, *tail])

    def store_twins(
        self, space: str | None, type: Type, address: Address, values: list[Value], twins: list[Value]
    ) -> None:
        """After a store: what differs leaves shared and local memory unwritten, and is reported elsewhere."""
        pointer = self.generic(space_name(space) or address.space, address.value)
        for i, (value, twin) in enumerate(zip(values, twins, strict=True)):
            if value is twin:
                continue
            differ = self._differ(value, twin)
            with self._in_lanes(differ):
                numbers = [ir.Constant(I32, n) for n in (i * type.bytes, type.bytes, self.width)]
                tail = [self.bits(differ), ir.Constant(I32, self.pc), self._first_thread(), *numbers]
                addresses = self._spill("addresses", self.vector(pointer))
                self.call("san_unset_store", ir.VoidType(), [self.ctx, addresses, *tail])

    def _differ(self, a: Value, b: Value) -> IR:
        """The active lanes where two values differ in any bit."""
        bits = PRED if a.type.kind == "pred" else Type("b", a.type.width)
        return self.b.and_(
            self.vector(self.icmp("ne", self.bitcast(a, bits), self.bitcast(b, bits))), self.lanes()
        )

    def _in_lanes(self, lanes: IR) -> Any:
        return self.b.if_then(self.any(lanes), likely=False)

    def shfl_twins(
        self, mode: str, a: Value, twin: Value, b: Value, c: Value, mask: Value | None, meets: bool
    ) -> tuple[Value, Value, Value]:
        """(value, in range, the value's twin): they differ where the source lane does not take part.

        meets    lanes elsewhere may come to another shuffle that is one with this
        """
        members = mask if mask is not None else self.const(B32, -1)
        if self._alone():
            return self.shfl_alone(mode, [a, b, c, members, twin], mask is not None)
        value, within = self.shfl(mode, a, b, c, mask)
        other = value if twin is a else self._shuffled(mode, twin, b, c)[0]
        there = Value(B32, "u", self.bits(self.mask))
        if meets:
            there = self.or_(there, Value(B32, "u", self.bits(self.living())))
        source, _ = self._source(mode, b, c)
        taken = self.lshr(self.and_(members, there), source)
        astray = self.icmp("eq", self.and_(taken, self.const(B32, 1)), self.const(B32, 0))
        invalid = self.and_(within, astray)
        self._suspect(invalid, source)
        return value, within, self.select(invalid, self.not_(value), other)

    def _suspect(self, invalid: Value, source: Value) -> None:
        """Keeps in mind who took what from whom: it is reported where the value is used."""
        lanes = self.b.and_(self.vector(invalid), self.lanes())
        with self._in_lanes(lanes):
            sources = self._spill("values", self.vector(source))
            tail = [self.bits(lanes), ir.Constant(I32, self.pc), self._first_thread(), sources]
            self.call("san_suspect", ir.VoidType(), [self.ctx, *tail])
