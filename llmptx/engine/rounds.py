"""The loops around a kernel's code: over the blocks of a launch, and over a block's units, round by round.

A round ends when every unit has left at a barrier or for good; the next starts where they left.
"""

from __future__ import annotations

from llvmlite import ir

from llmptx.engine.blocks import Sync
from llmptx.engine.context import FAIL_DEADLOCK, FAIL_TIMEOUT
from llmptx.engine.cuts import Cuts
from llmptx.engine.emit import I32, I64, IR, PTR
from llmptx.ptx.types import Type

DONE = -1
POISON = 0xA5


class Rounds(Cuts):
    """Adds what runs units; the code between start and end of one is the next layer's."""

    threads: int
    units: int
    synchronises: bool
    pending: dict[int, IR]
    block_var: IR
    unit_var: IR
    rounds_var: IR
    yielded_var: IR

    def _blocks(self, last: IR) -> None:
        """The loop over blocks, and what starts each of them."""
        b, at = self.b, self.at
        b.position_at_end(at["block_head"])
        number = b.load(self.block_var, typ=I64)
        b.cbranch(b.icmp_unsigned("<", number, last), at["block_start"], at["out"])
        b.position_at_end(at["out"])
        b.ret(ir.Constant(I32, 0))
        b.position_at_end(at["block_start"])
        ordered = self._permuted(number, "blocks", I64)
        b.store(ordered, self.word_pointer("block"))
        x, y = self.word("grid_x"), self.word("grid_y")
        row = b.udiv(ordered, x)
        self.ctaid = {
            "x": b.trunc(b.urem(ordered, x), I32),
            "y": b.trunc(b.urem(row, y), I32),
            "z": b.trunc(b.udiv(row, y), I32),
        }
        if not self.stepped:
            self._block_memory()
        b.store(ir.Constant(I64, 0), self.rounds_var)
        b.store(ir.Constant(I32, 0), self.waiting_var)
        b.branch(at["round"])
        b.position_at_end(at["block_next"])
        b.store(b.add(b.load(self.block_var, typ=I64), ir.Constant(I64, 1)), self.block_var)
        b.branch(at["block_head"])

    def _block_memory(self) -> None:
        """Every block starts with poisoned shared memory and no unit begun."""
        b = self.b
        uses_shared = self.program.shared_size or self.program.dynamic_shared
        if uses_shared:
            shared = b.inttoptr(self.word("shared"), PTR)
            self._memset(shared, POISON, self.word("shared_size"))
        if self.check:
            self.call("san_block", ir.VoidType(), [self.ctx])
        if self.synchronises:
            self._memset(b.inttoptr(self.word("resume"), PTR), 0, ir.Constant(I64, 4 * self.units))

    def _permuted(self, number: IR, table: str, type: ir.Type) -> IR:
        """number, or table[number] where the host gave a permutation."""
        b = self.b
        base = self.word(table)
        given = b.icmp_unsigned("!=", base, ir.Constant(I64, 0))
        result = self._entry_alloca(type)
        b.store(number, result)
        with b.if_then(given):
            wide = number if type == I64 else b.zext(number, I64)
            entry = b.gep(b.inttoptr(base, PTR), [wide], source_etype=type)
            b.store(b.load(entry, typ=type), result)
        return b.load(result, typ=type)

    def _units(self, unit0: IR, unit1: IR) -> None:
        """The loop over units, and the rounds between barriers."""
        b, at = self.b, self.at
        b.position_at_end(at["round"])
        b.store(unit0, self.unit_var)
        b.store(ir.Constant(I32, 0), self.yielded_var)
        b.branch(at["unit_head"])
        b.position_at_end(at["unit_head"])
        number = b.load(self.unit_var, typ=I32)
        b.cbranch(b.icmp_unsigned("<", number, unit1), at["unit_start"], at["units_done"])
        b.position_at_end(at["unit_next"])
        b.store(b.add(b.load(self.unit_var, typ=I32), ir.Constant(I32, 1)), self.unit_var)
        b.branch(at["unit_head"])
        b.position_at_end(at["unit_done"])
        if self.synchronises:
            b.store(ir.Constant(I32, DONE), self._resume_pointer())
        b.branch(at["unit_next"])
        b.position_at_end(at["units_done"])
        if not self.synchronises or self.stepped:
            b.branch(at["block_next"])
            return
        again = self.function.append_basic_block("again")
        if self.spinning:
            arrived = self.function.append_basic_block("arrived")
            yielded = b.icmp_unsigned("!=", b.load(self.yielded_var, typ=I32), ir.Constant(I32, 0))
            b.cbranch(yielded, at["round"], arrived)
            b.position_at_end(arrived)
        waiting = b.load(self.waiting_var, typ=I32)
        b.cbranch(b.icmp_unsigned("!=", waiting, ir.Constant(I32, 0)), again, at["block_next"])
        b.position_at_end(again)
        self._next_round(waiting)

    def _next_round(self, waiting: IR) -> None:
        b = self.b
        rounds = b.add(b.load(self.rounds_var, typ=I64), ir.Constant(I64, 1))
        b.store(rounds, self.rounds_var)
        b.store(ir.Constant(I32, 0), self.waiting_var)
        if self.spinning:
            self._release()
        fewer = b.icmp_unsigned("!=", waiting, ir.Constant(I32, self.units))
        if self._counted():
            self._store_failure(
                FAIL_DEADLOCK, b.load(self.last_pc_var, typ=I32), ir.Constant(I32, 0), ir.Constant(I32, 0)
            )
            enough = self.function.append_basic_block("enough")
            b.cbranch(fewer, self.at["failed"], enough)
            b.position_at_end(enough)
        if self.check:
            epoch = self.word_pointer("epoch")
            b.store(b.add(b.load(epoch, typ=I64), ir.Constant(I64, 1)), epoch)
            with b.if_then(fewer):
                one = ir.Constant(I64, 6)
                zero32 = ir.Constant(I32, 0)
                pc = b.load(self.last_pc_var, typ=I32)
                self.call(
                    "san_report",
                    ir.VoidType(),
                    [self.ctx, one, pc, zero32, ir.Constant(I64, 0), waiting, ir.Constant(I64, 0)],
                )
        out = self.function.append_basic_block("overtime")
        b.cbranch(b.icmp_signed(">", rounds, self.word("budget")), out, self.at["round"])
        b.position_at_end(out)
        self._store_failure(
            FAIL_TIMEOUT, b.load(self.last_pc_var, typ=I32), ir.Constant(I32, 0), ir.Constant(I32, 0)
        )
        b.branch(self.at["failed"])

    def _counted(self) -> bool:
        """Whether a barrier says how many threads it waits for: it waits for those that have ended, too."""
        ends = [b.end for b in self.flow.blocks if isinstance(b.end, Sync)]
        return any(len(end.ins.matched.instruction.operands) > 1 for end in ends)

    def _release(self) -> None:
        """Everybody has come to the barrier: each unit's point becomes one to go on from."""
        b = self.b
        number = self._entry_alloca(I32)
        head, step, done = (self.function.append_basic_block(n) for n in ("release", "released", "go"))
        b.store(ir.Constant(I32, 0), number)
        b.branch(head)
        b.position_at_end(head)
        unit = b.load(number, typ=I32)
        b.cbranch(b.icmp_unsigned("<", unit, ir.Constant(I32, self.units)), step, done)
        b.position_at_end(step)
        where = self._resume_pointer(unit)
        point = b.load(where, typ=I32)
        blocked = b.icmp_signed("<", point, ir.Constant(I32, DONE))
        b.store(b.select(blocked, b.sub(ir.Constant(I32, -1), point), point), where)
        b.store(b.add(unit, ir.Constant(I32, 1)), number)
        b.branch(head)
        b.position_at_end(done)

    def _unit_start(self) -> None:
        b = self.b
        b.position_at_end(self.at["unit_start"])
        number = b.load(self.unit_var, typ=I32)
        self.unit = self._permuted(number, "units", I32)
        b.store(self.unit, self.real_unit)
        b.store(self.word("budget"), self.budget_var)
        self.entry_mask = None
        if self.threads % self.width:
            lanes = self.add(self._linear_tid(), self.const(Type("b", 32), 0))
            self.entry_mask = self.vector(self.icmp("ult", lanes, self.const(Type("b", 32), self.threads)))
        none = self._none()
        for variable in self.pending.values():
            b.store(none, variable)
        b.store(none, self.exited_var)
        self.start_stack()
        for name in self.flow.blocks[self.flow.order[0]].live_in:
            b.store(self._garbage(name), self.slots[name])
            if name in self.turns:
                b.store(ir.Constant(I32, self.width), self.turns[name])
        self.dispatch = self.b.block

    def _dispatch(self) -> None:
        """From a unit's start to where it goes on: the code's beginning, or a resume point."""
        b = self.b
        first = self.bodies[self.flow.order[0]]
        start = self.function.append_basic_block("begin")
        b.position_at_end(start)
        if self.flow.order[0] in self.pending:
            b.store(self._entry_lanes(), self.pending[self.flow.order[0]])
        b.branch(first)
        b.position_at_end(self.dispatch)
        if not self.synchronises:
            b.branch(start)
            return
        point = b.load(self._resume_pointer(), typ=I32)
        switch = b.switch(point, self.at["unit_next"])
        switch.add_case(ir.Constant(I32, 0), start)
        for number, block in self.resumes:
            switch.add_case(ir.Constant(I32, number), block)
