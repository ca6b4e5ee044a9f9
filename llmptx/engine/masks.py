"""Control flow of a unit: blocks of code in reverse post-order, each with the mask of lanes that wait at it.

A block is skipped when no lane waits; where no branch diverges, branches are plain branches.
"""

from __future__ import annotations

from llvmlite import ir

from llmptx.engine.blocks import Block, Branch, Exit, Invoke, Jump, Leave, Loop, Switch, Sync
from llmptx.engine.context import FAIL_TIMEOUT
from llmptx.engine.emit import I32, I64, IR, Value
from llmptx.engine.program import Ins
from llmptx.engine.rounds import Rounds
from llmptx.engine.trace import CALL, END, WAY
from llmptx.ptx.ast import Reg
from llmptx.ptx.types import Type

# One thread at a time, a loop that reads memory may wait for another thread: it gives way this often.
TURN = 1024


class Masks(Rounds):
    """Adds the blocks of code and the edges between them."""

    position: dict[int, int]

    def _hard(self, block: Block, target: int) -> bool:
        """Whether the edge is a plain branch: every live lane goes the same way, and nobody waits
        elsewhere.
        """
        if block.divergent or self.flow.blocks[target].divergent:
            return False
        end = block.end
        if isinstance(end, Branch):
            return self._uniform(end.pred)
        if isinstance(end, Switch):
            return all(
                self._uniform(o.name) for o in end.ins.matched.instruction.operands if isinstance(o, Reg)
            )
        return True

    def _uniform(self, register: str) -> bool:
        shape = self.shapes.get(register)
        return shape is None or shape.kind == "u"

    def _soft_entries(self) -> set[int]:
        """Blocks where lanes may have to wait: some edge into them is no plain branch."""
        blocks = self.flow.blocks
        soft = {to for block in blocks for to in block.successors if not self._hard(block, to)}
        return soft | {block.index for block in blocks if block.divergent}

    def _code(self) -> None:
        self.bodies = {i: self.function.append_basic_block(f"b{i}") for i in self.flow.order}
        self.checks = {
            i: self.function.append_basic_block(f"c{i}") for i in self.flow.order if i in self.pending
        }
        self.chain = self._chain()
        for index in self.flow.order:
            if index in self.pending:
                self._check(index)
            self._block(index)
        for loop in self.flow.loops:
            if loop.header in self.pending:
                self._loop_end(loop)

    def _chain(self) -> list[tuple[int, ir.Block]]:
        """Where lanes that leave a block may go next: (position, LLVM block), the ends of loops included."""
        items: list[tuple[float, ir.Block]] = []
        self.loop_ends: dict[int, ir.Block] = {}
        for index in self.flow.order:
            if index in self.pending:
                items.append((float(self.position[index]), self.checks[index]))
        for loop in self.flow.loops:
            if loop.header in self.pending:
                end = max(self.position[m] for m in loop.members)
                block = self.function.append_basic_block(f"loop{loop.header}")
                self.loop_ends[loop.header] = block
                # An inner loop's end comes before the end of the loop around it.
                items.append((end + 1 / (2 + _depth(loop)), block))
        items.sort(key=lambda item: item[0])
        return [(position, block) for position, block in items]  # type: ignore[misc]

    def _after(self, index: int) -> ir.Block:
        here = self.position[index]
        for position, block in self.chain:
            if position > here:
                return block
        return self.at["unit_done"]

    def _check(self, index: int) -> None:
        b = self.b
        b.position_at_end(self.checks[index])
        waiting = b.load(self.pending[index], typ=self._mask_type())
        b.cbranch(self.any(waiting), self.bodies[index], self._after(index))

    def _loop_end(self, loop: Loop) -> None:
        b = self.b
        end = self.loop_ends[loop.header]
        b.position_at_end(end)
        waiting = b.load(self.pending[loop.header], typ=self._mask_type())
        again = self.function.append_basic_block(f"again{loop.header}")
        order = [block for _, block in self.chain]
        after = order[order.index(end) + 1 :]
        following = after[0] if after else self.at["unit_done"]
        b.cbranch(self.any(waiting), again, following)
        b.position_at_end(again)
        self.spend(self.flow.blocks[loop.header], self.bodies[loop.header], waiting)

    def spend(self, header: Block, to: ir.Block, mask: IR | None) -> None:
        """Takes one from the budget, ends the launch where there is none, and goes on."""
        b = self.b
        left = b.sub(b.load(self.budget_var, typ=I64), ir.Constant(I64, 1))
        b.store(left, self.budget_var)
        out = self.function.append_basic_block("budget")
        going = self.function.append_basic_block("turn") if header.index in self.spinning else to
        b.cbranch(b.icmp_signed("<", left, ir.Constant(I64, 0)), out, going)
        b.position_at_end(out)
        body = header.body
        pc = body[0].pc if body else getattr(header.end, "pc", 0)
        self._store_failure(FAIL_TIMEOUT, ir.Constant(I32, pc), self._unit_now(), self.bits(mask))
        b.branch(self.at["failed"])
        if going is not to:
            b.position_at_end(going)
            self._give_way(header, left, to)

    def _give_way(self, header: Block, left: IR, to: ir.Block) -> None:
        """Every TURN times round a loop the other threads go on first."""
        b = self.b
        leaving = self.function.append_basic_block("leaving")
        spent = b.icmp_unsigned("==", b.and_(left, ir.Constant(I64, TURN - 1)), ir.Constant(I64, 0))
        b.cbranch(spent, leaving, to)
        b.position_at_end(leaving)
        b.store(b.add(b.load(self.yielded_var, typ=I32), ir.Constant(I32, 1)), self.yielded_var)
        self._save(("turn", "", False), sorted(header.live_in), None)
        b.branch(to)

    def _block(self, index: int) -> None:
        b = self.b
        block = self.flow.blocks[index]
        b.position_at_end(self.bodies[index])
        self.current, self.carry = block, None
        self.mask = self.entry_mask
        if index in self.pending:
            if block.divergent:
                self.mask = b.load(self.pending[index], typ=self._mask_type())
            b.store(self._none(), self.pending[index])
        self.guarded = False
        for ins in block.body:
            self.step(ins)
        self._terminate(block)

    def _terminate(self, block: Block) -> None:
        match block.end:
            case Jump(target):
                self._go(block, target)
            case Branch(pred, negated, then, other, pc):
                self.pc = pc
                self.count(pc)
                condition = self.read(pred)
                self.tell(WAY, pc, [], [condition])
                self._branch(block, self.not_(condition) if negated else condition, then, other)
            case Switch(ins, targets):
                self._switch(block, ins, targets)
            case Sync(ins, target):
                self.step(ins)
                # On the way back the lanes are those that left, whatever the code before the cut had in hand.
                self.mask = self.resumed if block.divergent else self.entry_mask
                self._go(block, target)
            case Invoke():
                self.pc = block.end.call.pc
                self.tell(CALL, self.pc, [], [])
                self.invoke(block, block.end)
            case Leave():
                self.leave(block.end)
            case Exit():
                self.tell(END, 0, [], [])
                if block.divergent:
                    old = self.b.load(self.exited_var, typ=self._mask_type())
                    self.b.store(self.b.or_(old, self.lanes()), self.exited_var)
                    self.b.branch(self._after(block.index))
                else:
                    self.b.branch(self.at["unit_done"])

    def _go(self, block: Block, target: int) -> None:
        if self._hard(block, target):
            self._plain(block, target)
        else:
            self._wait(target, self.lanes())
            self.b.branch(self._after(block.index))

    def _plain(self, block: Block, target: int) -> None:
        if self.position[target] <= self.position[block.index]:
            self.spend(self.flow.blocks[target], self.bodies[target], self.mask)
        else:
            self.b.branch(self.bodies[target])

    def _wait(self, target: int, mask: IR) -> None:
        old = self.b.load(self.pending[target], typ=self._mask_type())
        self.b.store(self.b.or_(old, mask), self.pending[target])

    def _branch(self, block: Block, condition: Value, then: int, other: int) -> None:
        b = self.b
        if condition.kind == "u" and not block.divergent:
            ways = [self.function.append_basic_block("way") for _ in range(2)]
            b.cbranch(condition.ir, *ways)
            for way, target in zip(ways, (then, other), strict=True):
                b.position_at_end(way)
                self._go(block, target)
            return
        held = self.vector(condition)
        self._wait(then, b.and_(self.lanes(), held))
        self._wait(other, b.and_(self.lanes(), b.not_(held)))
        b.branch(self._after(block.index))

    def _switch(self, block: Block, ins: Ins, targets: tuple[int, ...]) -> None:
        """As a row of comparisons: tables here are short."""
        u32 = Type("b", 32)
        self.count(ins.pc)
        operand = next(o for o in ins.matched.instruction.operands if isinstance(o, Reg))
        index = self.adapt(self.read(operand.name), u32, operand.name)
        self.tell(WAY, ins.pc, [], [index])
        b = self.b
        if index.kind == "u" and not block.divergent:
            for number, target in enumerate(targets):
                hit, miss = self.function.append_basic_block("hit"), self.function.append_basic_block("miss")
                b.cbranch(b.icmp_unsigned("==", index.ir, ir.Constant(I32, number)), hit, miss)
                b.position_at_end(hit)
                self._go(block, target)
                b.position_at_end(miss)
            b.branch(self.at["unit_done"])
            return
        for number, target in enumerate(targets):
            held = self.vector(self.icmp("eq", index, self.const(u32, number)))
            self._wait(target, b.and_(self.lanes(), held))
        b.branch(self._after(block.index))


def _depth(loop: Loop) -> int:
    depth = 0
    while loop.parent is not None:
        loop, depth = loop.parent, depth + 1
    return depth
