"""Cuts: where a unit leaves the code to wait, or for good, and how it comes back.

A unit saves what it still needs to its frame and leaves; it comes back through the switch on its resume
point. Knows one unit; whose turn it is, is `rounds`' matter.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from llmptx.engine import constants
from llmptx.engine.blocks import Exit, Sync, end_defs
from llmptx.engine.context import FAIL_DIVERGENT, MAIL_WORDS
from llmptx.engine.emit import I1, I8, I32, I64, IR, PTR, Value, scalar_type
from llmptx.engine.program import Ins
from llmptx.engine.registers import Registers
from llmptx.engine.remake import Remaking
from llmptx.ptx.types import PRED, Type

EVERYBODY = 0xFFFFFFFF


class Cuts(Registers):
    """Adds barriers, waits and failures."""

    stepped: bool
    spinning: frozenset[int]
    frame: int
    waits: dict[int, tuple[tuple[Any, ...], int]]
    resumes: list[tuple[int, ir.Block]]
    resumed: IR | None
    remaking: Remaking
    entry_mask: IR | None
    module: ir.Module
    real_unit: IR
    budget_var: IR
    exited_var: IR
    waiting_var: IR
    last_pc_var: IR

    def barrier(self, id: Value, count: Value | None, aligned: bool, arrive: bool) -> None:
        """The unit leaves here and comes back when the whole block has arrived."""
        if self.stepped:
            number = count if count is not None else self.const(Type("b", 32), EVERYBODY)
            self.suspend(("barrier", "arrive" if arrive else "sync", aligned), [id, number], [])
            return
        b = self.b
        if self.current.divergent:
            live = self.b.and_(self._entry_lanes(), b.not_(b.load(self.exited_var, typ=self._mask_type())))
            strays = b.xor(live, self.lanes())
            self.fail(FAIL_DIVERGENT, self.any(strays))
            if self.check:
                gone = b.xor(self._entry_lanes(), live)
                with b.if_then(self.any(gone)):
                    self._report_divergence()
        b.store(ir.Constant(I32, self.pc), self.last_pc_var)
        b.store(b.add(b.load(self.waiting_var, typ=I32), ir.Constant(I32, 1)), self.waiting_var)
        self._leave(("barrier", "sync", aligned), self.lanes())

    def _report_divergence(self) -> None:
        zero = ir.Constant(I64, 0)
        pc, size = ir.Constant(I32, self.pc), ir.Constant(I32, 0)
        self.call(
            "san_report",
            ir.VoidType(),
            [self.ctx, ir.Constant(I64, 6), pc, self._first_thread(), zero, size, zero],
        )

    def barrier_reduce(self, op: str, id: Value, count: Value | None, a: Value, aligned: bool) -> Value:
        type = Type("b", 32) if op == "popc" else PRED
        number = count if count is not None else self.const(Type("b", 32), EVERYBODY)
        return self.suspend(("barrier", f"red.{op}", aligned), [id, number, self._as_b32(a)], [type])[0]

    def suspend(self, what: tuple[Any, ...], operands: list[Value], results: list[Type]) -> list[Value]:
        """One thread at a time: operands to the mailbox, leave, come back, results from the mailbox."""
        b = self.b
        for i, operand in enumerate(operands):
            wide = self.zext(operand, 64) if operand.type.width < 64 else operand
            b.store(wide.ir, self._mail(i))
        self._leave(what, self.lanes())
        out = []
        for i, type in enumerate(results):
            word = b.load(self._mail(len(operands) + i), typ=I64)
            out.append(Value(type, "u", b.trunc(word, scalar_type(type))))
        return out

    def _mail(self, word: int) -> IR:
        b = self.b
        base = b.inttoptr(self.word("mail"), PTR)
        row = b.mul(b.zext(self._unit_now(), I64), ir.Constant(I64, MAIL_WORDS))
        return b.gep(base, [b.add(row, ir.Constant(I64, word))], source_etype=I64)

    def _leave(self, what: tuple[Any, ...], mask: IR) -> None:
        """Waits at the cut that ends the current block."""
        end = self.current.end
        assert isinstance(end, Sync)
        written = set(end_defs(self.program, end)) if end.ins.guard is None else set()
        live = sorted(self.flow.blocks[end.target].live_in - written)
        self._save(what, live, mask if self.current.divergent else None)

    def _save(self, what: tuple[Any, ...], live: list[str], mask: IR | None) -> None:
        """Puts what is live into the unit's frame, leaves, and builds the way back.

        mask   the lanes that leave, where the block is divergent: `resumed` on the way back
        """
        b = self.b
        number = len(self.waits) + 1
        self.waits[number] = (what, self.pc)
        kept, again = self._remade(live)
        saved = [home for name in kept for home in self.homes(name)]
        saved += [(variable, I64) for variable in self.stack_vars]
        saved += [(self.budget_var, I64)] if self.flow.loops or self.width == 1 else []
        saved += [(self.exited_var, self._mask_type())] if self._leaves_early() else []
        frame = self._frame()
        at = 0
        places = []
        for variable, type in saved:
            size = _size(type)
            at = -(-at // min(size, 64)) * min(size, 64)
            places.append((variable, type, at))
            at += size
        self.frame = max(self.frame, at + 64)
        for variable, type, offset in places:
            b.store(
                b.load(variable, typ=type), b.gep(frame, [ir.Constant(I64, offset)], source_etype=I8), align=1
            )
        if mask is not None:
            b.store(mask, b.gep(frame, [ir.Constant(I64, at)], source_etype=I8), align=1)
        # With turns and under the host's scheduler, who waits must not be taken for who may go on.
        blocked = what[0] != "turn" and (self.stepped or self.spinning)
        b.store(ir.Constant(I32, -number - 1 if blocked else number), self._resume_pointer())
        b.branch(self.at["unit_next"])
        back = self.function.append_basic_block(f"resume{number}")
        self.resumes.append((number, back))
        b.position_at_end(back)
        frame = self._frame()
        for variable, type, offset in places:
            b.store(
                b.load(b.gep(frame, [ir.Constant(I64, offset)], source_etype=I8), typ=type, align=1), variable
            )
        if mask is not None:
            where = b.gep(frame, [ir.Constant(I64, at)], source_etype=I8)
            self.resumed = b.load(where, typ=self._mask_type(), align=1)
        self._make(again)

    def _remade(self, live: list[str]) -> tuple[list[str], list[Ins]]:
        """What must be kept of the live registers, and what makes the others again. All is kept where
        instructions are counted or told of, or run one thread at a time."""
        if self.width == 1 or self.profile or self.trace:
            return live, []
        return self.remaking.split(live, self.current.index)

    def _make(self, again: list[Ins]) -> None:
        """Once more, for all lanes, what has been run before the cut."""
        outer = self.mask, self.guarded, self.pc
        self.mask = None
        for ins in again:
            self.step(ins)
        self.mask, self.guarded, self.pc = outer

    def _leaves_early(self) -> bool:
        """Whether some lanes of a warp may have ended when the others come to a cut."""
        if self.width == 1:
            return True
        at = {index: i for i, index in enumerate(self.flow.order)}
        last = max(at[b.index] for b in self.flow.blocks if isinstance(b.end, Sync))
        ends = (b for b in self.flow.blocks if isinstance(b.end, Exit) and b.divergent)
        return any(at[b.index] < last for b in ends)

    def _frame(self) -> IR:
        b = self.b
        size = b.zext(self._unit_now(), I64)
        # How large a frame is, is known only when everything is lowered: a constant, filled in at the end.
        bytes_each = b.load(self._frame_size(), typ=I64)
        return b.inttoptr(b.add(self.word("frames"), b.mul(size, bytes_each)), PTR)

    def _frame_size(self) -> IR:
        if "frame_size" not in self.module.globals:
            variable = ir.GlobalVariable(self.module, I64, "frame_size")
            variable.linkage, variable.global_constant = "internal", True
        return self.module.globals["frame_size"]

    def _resume_pointer(self, unit: IR = None) -> IR:
        base = self.b.inttoptr(self.word("resume"), PTR)
        now = self._unit_now() if unit is None else unit
        return self.b.gep(base, [self.b.zext(now, I64)], source_etype=I32)

    def _unit_now(self) -> IR:
        return self.b.load(self.real_unit, typ=I32)

    def _entry_lanes(self) -> IR:
        if self.entry_mask is not None:
            return self.entry_mask
        one = ir.Constant(I1, 1)
        return constants.splat(one, self.width) if self.width > 1 else one

    # failures

    def living(self) -> IR:
        """Lanes that are there and have not ended."""
        ended = self.b.load(self.exited_var, typ=self._mask_type())
        return self.b.and_(self._entry_lanes(), self.b.not_(ended))

    def _store_failure(self, kind: int, pc: IR, unit: IR, mask: IR) -> None:
        b = self.b
        for name, value in (("fail_pc", pc), ("fail_unit", unit), ("fail_mask", mask)):
            b.store(b.zext(value, I64), self.word_pointer(name))
        b.store(b.load(self.word_pointer("block"), typ=I64), self.word_pointer("fail_block"))
        b.store(ir.Constant(I64, kind), self.word_pointer("fail_kind"))

    def fail(self, kind: int, when: IR) -> None:
        with self.b.if_then(when):
            self._store_failure(kind, ir.Constant(I32, self.pc), self._unit_now(), self.bits(self.mask))
            self.b.branch(self.at["failed"])
            # if_then adds its own branch: what follows is unreachable but must be well formed.
            dead = self.function.append_basic_block("dead")
            self.b.position_at_end(dead)


def _size(type: ir.Type) -> int:
    if isinstance(type, ir.VectorType):
        return max(1, int(type.count * _bits(type.element)) // 8)
    return max(1, _bits(type) // 8)


def _bits(type: ir.Type) -> int:
    if isinstance(type, ir.IntType):
        return int(type.width)
    return {"half": 16, "float": 32, "double": 64}[str(type)]
