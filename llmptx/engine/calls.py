"""Calls on a stack, for threads one at a time: activations in a thread's local memory, behind its variables.

    | saved registers, stack pointer, frame pointer, return number | results, parameters, variables, alloca |
    ^ base                                            frame pointer ^                         stack pointer ^

A call saves what its caller still needs and jumps; a return takes the number below the frame and switches to
the place it stands for. In checked mode only what the program itself placed is addressable, so a store past
an array of the callee is seen.
"""

from __future__ import annotations

from llvmlite import ir

from llmptx.engine.blocks import Block, Invoke, Leave
from llmptx.engine.context import FAIL_CALL, FAIL_STACK, STACK_BYTES
from llmptx.engine.emit import I1, I8, I64, IR, PTR, Value, canonical, scalar_type
from llmptx.engine.memory import ADDRESSABLE, INITIALISED
from llmptx.engine.program import Frame, up
from llmptx.engine.rows import Rows
from llmptx.ptx.types import Type

B64 = Type("b", 64)
HEADER = 24
GAP = 16
MAX_ALIGN = 64


class Calls(Rows):
    """Adds the stack to the lowering, which gives it `function`, `entry`, `slots`, `bodies`, `at`."""

    function: ir.Function
    entry: ir.Block
    slots: dict[str, IR]
    bodies: dict[int, ir.Block]
    at: dict[str, ir.Block]
    stack_vars: list[IR]

    def prepare_stack(self) -> None:
        """At entry: the stack pointer and the frame pointer, offsets in the local window."""
        self.stack_vars = [self.b.alloca(I64), self.b.alloca(I64)] if self.program.stacked else []
        self.landings: dict[int, ir.Block] = {}
        self.sites = [i for i in self.flow.order if isinstance(self.flow.blocks[i].end, Invoke)]
        aligned = [p.variable.alignment for p in self.program.local.values() if p.frame]
        self.alignment = min(max([16, *aligned]), MAX_ALIGN)

    def start_stack(self) -> None:
        """At a thread's start the stack is empty."""
        for variable in self.stack_vars:
            self.b.store(ir.Constant(I64, up(self.program.local_size, MAX_ALIGN)), variable)

    @property
    def _limit(self) -> int:
        return up(self.program.local_size, MAX_ALIGN) + STACK_BYTES

    def _window(self) -> IR:
        return self.window("local").ir

    def _registers(self) -> tuple[IR, IR]:
        """(stack pointer, frame pointer)."""
        stack, frame = (self.b.load(v, typ=I64) for v in self.stack_vars)
        return stack, frame

    def _at(self, offset: IR) -> IR:
        return self.b.inttoptr(self.b.add(self._window(), offset), PTR)

    def _plus(self, value: IR, constant: int) -> IR:
        return self.b.add(value, ir.Constant(I64, constant))

    def _rounded(self, value: IR, alignment: int) -> IR:
        return self.b.and_(self._plus(value, alignment - 1), ir.Constant(I64, -alignment))

    def in_frame(self, name: str) -> Value | None:
        """The window offset of a variable of an activation; None for any other."""
        placed = self.program.local.get(name)
        if placed is None or not placed.frame:
            return None
        return Value(B64, "u", self._plus(self._registers()[1], placed.offset))

    # calls

    def _landing(self, index: int) -> ir.Block:
        if index not in self.landings:
            self.landings[index] = self.function.append_basic_block(f"landing{index}")
        return self.landings[index]

    def _saved(self, block: Block, after: int) -> tuple[list[tuple[str, ir.Type, int]], int]:
        """The caller's registers with their places in the saved part, and its size."""
        at, places = 0, []
        for name in sorted(self.flow.blocks[after].live_in):
            type = scalar_type(canonical(self.program.registers[name]))
            size = 1 if type == I1 else canonical(self.program.registers[name]).bytes
            at = up(at, size)
            places.append((name, type, at))
            at += size
        return places, up(at + HEADER, self.alignment)

    def invoke(self, block: Block, end: Invoke) -> None:
        """Saves, copies the arguments, and goes to the callee; at the landing, the other way round."""
        b = self.b
        frames = [self.program.frames[name] for name in end.call.callees]
        places, saved = self._saved(block, end.after)
        stack, frame = self._registers()
        base = self._rounded(stack, self.alignment)
        bottom = self._plus(base, saved)
        highest = self._plus(bottom, max(up(f.size, self.alignment) for f in frames))
        self.fail(FAIL_STACK, b.icmp_unsigned(">", highest, ir.Constant(I64, self._limit)))
        for name, type, offset in places:
            value = b.load(self.slots[name], typ=type)
            b.store(value, self._at(self._plus(base, offset)), align=1)
        for offset, value in ((-24, stack), (-16, frame), (-8, ir.Constant(I64, block.index))):
            b.store(value, self._at(self._plus(bottom, offset)), align=1)
        pointer = None
        if end.call.pointer:
            where = self._address_of(end.call.pointer, 0, B64).ir
            pointer = b.load(self._at(where), typ=I64, align=1)
        sources = [self._address_of(name, 0, B64).ir for name in end.call.arguments]
        b.store(bottom, self.stack_vars[1])
        self._enter(frames, end, bottom, sources, pointer)
        self._land(block, end, places, saved, frames[0])

    def _enter(
        self, frames: list[Frame], end: Invoke, bottom: IR, sources: list[IR], pointer: IR | None
    ) -> None:
        """To the one callee, or to the one whose address the pointer is."""
        b = self.b
        edges = [self.function.append_basic_block("call") for _ in frames]
        if pointer is None:
            b.branch(edges[0])
        else:
            astray = self.function.append_basic_block("astray")
            switch = b.switch(pointer, astray)
            for name, edge in zip(end.call.callees, edges, strict=True):
                switch.add_case(ir.Constant(I64, self.program.functions[name]), edge)
            b.position_at_end(astray)
            self.fail(FAIL_CALL, ir.Constant(I1, 1))
            b.unreachable()
        for frame, edge, target in zip(frames, edges, end.targets, strict=True):
            b.position_at_end(edge)
            size = up(frame.size, self.alignment)
            b.store(self._plus(bottom, size), self.stack_vars[0])
            self._mark(bottom, ir.Constant(I64, frame.size), self.fresh_state())
            for source, name in zip(sources, frame.params, strict=True):
                placed = self.program.local[name]
                self._copy(self._plus(bottom, placed.offset), source, placed.variable.size)
            self.spend(self.flow.blocks[target], self.bodies[target], self.mask)

    def _land(
        self, block: Block, end: Invoke, places: list[tuple[str, ir.Type, int]], saved: int, callee: Frame
    ) -> None:
        b = self.b
        b.position_at_end(self._landing(block.index))
        top, bottom = self._registers()
        base = self._plus(bottom, -saved)
        for variable, offset in zip(self.stack_vars, (-24, -16), strict=True):
            b.store(b.load(self._at(self._plus(bottom, offset)), typ=I64, align=1), variable)
        for name, result in zip(end.call.results, callee.results, strict=True):
            placed = self.program.local[result]
            to = self._address_of(name, 0, B64).ir
            self._copy(to, self._plus(bottom, placed.offset), placed.variable.size)
        self._mark(bottom, b.sub(top, bottom), 0)
        for name, type, offset in places:
            value = b.load(self._at(self._plus(base, offset)), typ=type, align=1)
            b.store(value, self.slots[name])
        b.branch(self.bodies[end.after])

    def leave(self, end: Leave) -> None:
        """By the number below the frame: only a program that overwrote it goes astray."""
        b = self.b
        _, bottom = self._registers()
        number = b.load(self._at(self._plus(bottom, -8)), typ=I64, align=1)
        astray = self.function.append_basic_block("astray")
        switch = b.switch(number, astray)
        for index in self.sites:
            site = self.flow.blocks[index].end
            assert isinstance(site, Invoke)
            if end.function in site.call.callees:
                switch.add_case(ir.Constant(I64, index), self._landing(index))
        b.position_at_end(astray)
        self.fail(FAIL_CALL, ir.Constant(I1, 1))
        b.unreachable()

    def spend(self, header: Block, to: ir.Block, mask: IR | None) -> None:
        """Takes one from the budget; the lowering's."""
        raise NotImplementedError

    # memory

    def _shadow(self, offset: IR) -> IR:
        address = self.b.add(self._window(), offset)
        return self.b.inttoptr(self.b.add(self.b.sub(address, self.word("arena")), self.word("shadow")), PTR)

    def fresh_state(self) -> int:
        """Of local memory that begins to be a variable's."""
        return ADDRESSABLE | INITIALISED if self.program.debug else ADDRESSABLE

    def _mark(self, offset: IR, size: IR, state: int) -> None:
        if self.check:
            arguments = [self._shadow(offset), ir.Constant(I8, state), size, ir.Constant(I1, 0)]
            self.call("llvm.memset.p0.i64", ir.VoidType(), arguments)

    def _copy(self, to: IR, source: IR, size: int) -> None:
        """Bytes within the window, and what is known of them."""
        pairs = [(self._at(to), self._at(source))]
        if self.check:
            pairs.append((self._shadow(to), self._shadow(source)))
        for target, origin in pairs:
            arguments = [target, origin, ir.Constant(I64, size), ir.Constant(I1, 0)]
            self.call("llvm.memcpy.p0.p0.i64", ir.VoidType(), arguments)

    # alloca

    def alloca(self, size: Value, alignment: Value | None) -> Value:
        """Fresh bytes on top of the stack; the next ones stand a gap apart."""
        b = self.b
        align = 8 if alignment is None or alignment.const is None else alignment.const
        window, (stack, _) = self._window(), self._registers()
        start = b.sub(self._rounded(b.add(window, stack), max(align, 8)), window)
        wanted = b.select(self.lanes(), self.extended(size).ir, ir.Constant(I64, 0))
        large = b.icmp_unsigned(">", wanted, ir.Constant(I64, STACK_BYTES))
        top = self._plus(b.add(start, wanted), GAP)
        over = b.or_(large, b.icmp_unsigned(">", top, ir.Constant(I64, self._limit)))
        self.fail(FAIL_STACK, b.and_(over, self.lanes()))
        b.store(b.select(self.lanes(), top, stack), self.stack_vars[0])
        self._mark(start, wanted, self.fresh_state())
        return self._sized(Value(B64, "u", start), size.type)

    def stack_save(self, type: Type) -> Value:
        return self._sized(Value(B64, "u", self._registers()[0]), type)

    def stack_restore(self, a: Value) -> None:
        """Back to an earlier stack pointer of this activation; anything else ends the launch."""
        b = self.b
        stack, frame = self._registers()
        to = self.extended(a).ir
        wrong = b.or_(b.icmp_unsigned(">", to, stack), b.icmp_unsigned("<", to, frame))
        self.fail(FAIL_STACK, b.and_(wrong, self.lanes()))
        chosen = b.select(self.lanes(), to, stack)
        self._mark(chosen, b.sub(stack, chosen), 0)
        b.store(chosen, self.stack_vars[0])

    def _sized(self, value: Value, type: Type) -> Value:
        return value if type.bits == 64 else self.trunc(value, 32)
