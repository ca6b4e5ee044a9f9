"""Registers, parameters and module variables of the function being built: where each lives, how it is read.

Knows nothing of where control goes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from llmptx.engine import nans
from llmptx.engine.access import Address, space_name
from llmptx.engine.constants import vector_type
from llmptx.engine.emit import I1, I8, I32, I64, IR, PTR, Value, canonical, scalar_type
from llmptx.engine.matrix import ROOM
from llmptx.engine.trace import ROOM as TOLD
from llmptx.engine.trace import Tracing
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import Type


class Registers(Tracing):
    """Adds slots in the function's frame, which its builder gives room."""

    shapes: dict[str, Value]
    turns: dict[str, IR]
    symbols: list[str]
    cached: dict[Any, IR]

    def read(self, register: str) -> Value:
        type = canonical(self.program.registers[register])
        shape = self.shapes.get(register, Value(type, "u"))
        if shape.const is not None:
            return self.const(type, shape.const)
        loaded = self.b.load(self.slots[register], typ=self._storage(register, type))
        turn = self.b.load(self.turns[register], typ=I32) if shape.wrap else None
        mult = shape.mult if self.width > 1 else 1
        return Value(type, shape.kind, loaded, shape.stride, mult, wrap=shape.wrap, turn=turn, nan=shape.nan)

    def write(self, register: str, value: Value) -> None:
        type = canonical(self.program.registers[register])
        shape = self.shapes.get(register, Value(type, "u"))
        slot = self.slots[register]
        value = nans.settled(self, value) if shape.nan == "held" else value
        new = self.vector(value) if shape.kind == "v" else value.ir
        if self.predicate is not None:
            old = self.b.load(slot, typ=self._storage(register, type))
            held = self.vector(self.predicate) if shape.kind == "v" else self.predicate.ir
            new = self.b.select(held, new, old)
        if self.flow.keeps_others(register, self.current) and self.mask is not None and self.width > 1:
            old = self.b.load(slot, typ=self._storage(register, type))
            new = self.b.select(self.mask, new, old)
        self.b.store(new, slot)
        if shape.wrap:
            turn = value.turn
            if self.predicate is not None:
                turn = self.b.select(self.predicate.ir, turn, self.b.load(self.turns[register], typ=I32))
            self.b.store(turn, self.turns[register])

    def homes(self, register: str) -> list[tuple[IR, ir.Type]]:
        """Where all that a register holds is, with types."""
        home = [(self.slots[register], self._storage(register, self.program.registers[register]))]
        return home + ([(self.turns[register], I32)] if register in self.turns else [])

    def _storage(self, name: str, type: Type) -> ir.Type:
        shape = self.shapes.get(name)
        return self.ir_type(canonical(type), shape.kind if shape else "u")

    def _mask_type(self) -> ir.Type:
        return I1 if self.width == 1 else vector_type(I1, self.width)

    def _none(self) -> IR:
        return ir.Constant(self._mask_type(), None if self.width > 1 else 0)

    def _garbage(self, name: str) -> IR:
        value = self.garbage(self.program.registers[name], False)
        shape = self.shapes.get(name)
        return self.vector(value) if shape and shape.kind == "v" else value.ir

    # what is loaded once, at entry

    def word(self, name: str) -> IR:
        key = ("word", name)
        if key not in self.cached:
            with self.b.goto_block(self.entry):
                self.cached[key] = self.b.load(self.word_pointer(name), typ=I64)
        return self.cached[key]

    def symbol(self, name: str) -> IR:
        if name not in self.symbols:
            self.symbols.append(name)
        key = ("symbol", name)
        if key not in self.cached:
            with self.b.goto_block(self.entry):
                table = self.b.inttoptr(self.word("symbols"), PTR)
                where = self.b.gep(table, [ir.Constant(I64, self.symbols.index(name))], source_etype=I64)
                self.cached[key] = self.b.load(where, typ=I64)
        return self.cached[key]

    def load(self, space: str | None, type: Type, address: Address, count: int = 1) -> Any:
        offset = address.value.const
        if space_name(space) != "param" or offset is None:
            return super().load(space, type, address, count)
        if offset + type.bytes * count > self.program.param_size:
            raise PtxError(f"ld.param reads past the kernel's {self.program.param_size} bytes of parameters")
        values = [self._parameter(canonical(type), offset + i * type.bytes) for i in range(count)]
        return values[0] if count == 1 else values

    def _parameter(self, type: Type, offset: int) -> Value:
        """Parameters never change: each is loaded once, at entry."""
        key = (type, offset)
        if key not in self.cached:
            with self.b.goto_block(self.entry):
                base = self.b.inttoptr(self.word("params"), PTR)
                where = self.b.gep(base, [ir.Constant(I64, offset)], source_etype=I8)
                self.cached[key] = self.b.load(where, typ=scalar_type(type), align=1)
        return Value(type, "u", self.cached[key])

    # memory of the function

    def _bytes(self, size: int) -> IR:
        """Memory for operands on their way to a helper; an opaque pointer, since anything is stored there."""
        memory = self.b.alloca(ir.ArrayType(I64, size // 8))
        memory.type = PTR
        return memory

    def matrix_memory(self) -> IR:
        if "matrices" not in self.scratch:
            with self.b.goto_block(self.entry):
                self.scratch["matrices"] = self._bytes(ROOM)
        return self.scratch["matrices"]

    def _told_room(self) -> IR:
        if "told" not in self.scratch:
            with self.b.goto_block(self.entry):
                self.scratch["told"] = self._bytes(8 * TOLD)
        return self.scratch["told"]

    def _entry_alloca(self, type: ir.Type) -> IR:
        with self.b.goto_block(self.entry):
            return self.b.alloca(type)

    def _memset(self, where: IR, value: int, size: IR) -> None:
        self.call(
            "llvm.memset.p0.i64", ir.VoidType(), [where, ir.Constant(I8, value), size, ir.Constant(I1, 0)]
        )
