"""A flat program to one LLVM function that runs a range of blocks.

A unit is a warp (W lanes) or a thread (W = 1). Blocks of code are visited in reverse post-order, each with
the mask of lanes
that wait at it and skipped when there are none; where no branch diverges, branches are plain branches. At a
barrier a unit
saves what it still needs to its frame and leaves; it comes back through the switch on its resume point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from llmptx.engine import spins
from llmptx.engine.access import Address, space_name
from llmptx.engine.asynchronous import TRACKED
from llmptx.engine.blocks import (
    Block,
    Branch,
    Exit,
    Flow,
    Invoke,
    Jump,
    Leave,
    Loop,
    Switch,
    Sync,
    end_defs,
)
from llmptx.engine.context import FAIL_DEADLOCK, FAIL_DIVERGENT, FAIL_TIMEOUT, INDEX, MAIL_WORDS, WORDS
from llmptx.engine.emit import I1, I8, I32, I64, IR, PTR, Emit, Value, canonical, scalar_type
from llmptx.engine.lanes import NeedsThreads
from llmptx.engine.matrix import ROOM
from llmptx.engine.profile import Counting
from llmptx.engine.program import Ins, Program
from llmptx.engine.rows import Shapes
from llmptx.ptx.ast import Int, Reg
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import PRED, Type

DONE = -1
EVERYBODY = 0xFFFFFFFF
POISON = 0xA5
GARBAGE = 0xFFF5_A5A5_A5A5_A5A5  # NaN, or a negative number, whatever the width it is cut to
# One thread at a time, a loop that reads memory may wait for another thread: it gives way this often.
TURN = 1024


@dataclass
class Lowered:
    """LLVM text and what the host must know to run it.

    frame        bytes a unit's frame takes
    stepped      units run one at a time under the host's scheduler: operations of several threads are in
                 `waits`
    waits        by resume point: (what, pc), what as the emitter named it
    synchronises whether units have resume points at all
    """

    text: str
    extras: dict[str, str]
    width: int
    frame: int
    stepped: bool
    synchronises: bool
    symbols: list[str]
    waits: dict[int, tuple[tuple[Any, ...], int]] = field(default_factory=dict)

    @property
    def copies(self) -> bool:
        """Whether a checked run keeps track of copies in flight."""
        return any(name.startswith(TRACKED) for name in self.extras)


def lower(
    program: Program,
    flow: Flow,
    block_dim: tuple[int, int, int],
    width: int,
    check: bool,
    approx: str,
    profile: bool = False,
) -> Lowered:
    """Raises NeedsThreads where W lanes at once cannot run it; PtxError for what cannot be run at all."""
    threads = block_dim[0] * block_dim[1] * block_dim[2]
    syncs = [b.end.ins for b in flow.blocks if isinstance(b.end, Sync)]
    simple = _simple_barriers(syncs, threads)
    if width > 1 and not simple:
        raise NeedsThreads
    shapes = Shapes(program, flow, width, block_dim, check).find() if width > 1 else {}
    if width > 1 and spins.waits(flow, shapes):
        raise NeedsThreads
    lowering = _Lowering(program, flow, shapes, block_dim, width, check, approx, bool(syncs), not simple)
    lowering.profile = profile
    return lowering.build()


def _spinning(flow: Flow) -> frozenset[int]:
    """Blocks of loops that read memory which other threads may write."""
    reads = {b.index for b in flow.blocks if isinstance(b.end, Invoke)} | {
        b.index
        for b in flow.blocks
        for ins in b.body
        if ins.opcode in ("atom", "mbarrier")
        or (
            ins.opcode == "ld"
            and space_name(ins.matched.modifiers.get("space")) not in ("param", "const", "local")
        )
    }
    if not flow.loops:
        return frozenset(b.index for b in flow.blocks) if reads else frozenset()
    return frozenset().union(*(loop.members for loop in flow.loops if loop.members & reads))


def _simple_barriers(syncs: list[Ins], threads: int) -> bool:
    """Whether every cut is a barrier of the whole block, all under one number: no scheduler needed."""
    numbers = set()
    for ins in syncs:
        operands = ins.matched.instruction.operands
        if "sync" not in ins.matched.instruction.modifiers or ins.opcode not in ("bar", "barrier"):
            return False
        if not operands or not isinstance(operands[0], Int) or "warp" in ins.matched.instruction.modifiers:
            return False
        if len(operands) > 1 and not (isinstance(operands[1], Int) and operands[1].value == threads):
            return False
        numbers.add(operands[0].value)
    return len(numbers) <= 1


class _Lowering(Counting):
    def __init__(
        self,
        program: Program,
        flow: Flow,
        shapes: dict[str, Value],
        block_dim: tuple[int, int, int],
        width: int,
        check: bool,
        approx: str,
        synchronises: bool,
        stepped: bool,
    ) -> None:
        module = ir.Module("kernel")
        self.function = ir.Function(module, ir.FunctionType(I32, [PTR, I64, I64, I32, I32]), "run")
        self.entry = self.function.append_basic_block("entry")
        Emit.__init__(self, ir.IRBuilder(self.entry), width, {}, approx)
        self.program, self.flow, self.shapes = program, flow, shapes
        self.block_dim, self.check = block_dim, check
        self.threads = block_dim[0] * block_dim[1] * block_dim[2]
        self.units = -(-self.threads // width)
        self.spinning = _spinning(flow) if width == 1 else frozenset()
        self.synchronises, self.stepped = synchronises or bool(self.spinning), stepped
        self.module = module
        self.frame = 0
        self.waits: dict[int, tuple[tuple[Any, ...], int]] = {}
        self.symbols: list[str] = []
        self.slots: dict[str, IR] = {}
        self.pending: dict[int, IR] = {}
        self.resumes: list[tuple[int, ir.Block]] = []
        self.resumed: IR | None = None
        self.cached: dict[Any, IR] = {}
        self.position = {index: i for i, index in enumerate(flow.order)}

    # the frame of the function

    def build(self) -> Lowered:
        self.ctx, first, last, unit0, unit1 = self.function.args
        b = self.b
        self.words = {
            name: b.load(b.gep(self.ctx, [ir.Constant(I64, INDEX[name])], source_etype=I64), typ=I64)
            for name in WORDS
        }
        self.scratch = {
            "addresses": self._bytes(8 * 32),
            "values": self._bytes(8 * 32 * 8),
        }
        self.block_var, self.unit_var = b.alloca(I64), b.alloca(I32)
        self.budget_var = b.alloca(I64)
        self.exited_var = b.alloca(self._mask_type())
        self.waiting_var, self.rounds_var = b.alloca(I32), b.alloca(I64)
        self.yielded_var = b.alloca(I32)
        self.last_pc_var, self.real_unit = b.alloca(I32), b.alloca(I32)
        self.prepare_stack()
        for name, type in program_registers(self.program):
            self.slots[name] = b.alloca(self._storage(name, type), name=name.replace("%", ""))
        for index in self.flow.order:
            if self._soft_entry(index):
                self.pending[index] = b.alloca(self._mask_type())
        labels = (
            "block_head",
            "block_start",
            "round",
            "unit_head",
            "unit_start",
            "unit_done",
            "unit_next",
            "units_done",
            "block_next",
            "out",
            "failed",
        )
        self.at = {name: self.function.append_basic_block(name) for name in labels}
        b.store(first, self.block_var)
        head = self.entry
        self._blocks(last)
        self._units(unit0, unit1)
        self._unit_start()
        self._code()
        self._dispatch()
        b.position_at_end(self.at["failed"])
        b.ret(ir.Constant(I32, 1))
        b.position_at_end(head)
        b.branch(self.at["block_head"])
        self.frame = -(-self.frame // 64) * 64
        if "frame_size" in self.module.globals:
            self._frame_size().initializer = ir.Constant(I64, self.frame)
        return Lowered(
            str(self.module),
            self.extras,
            self.width,
            self.frame,
            self.stepped,
            self.synchronises,
            self.symbols,
            self.waits,
        )

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

    def _mask_type(self) -> ir.Type:
        return I1 if self.width == 1 else ir.VectorType(I1, self.width)

    def _storage(self, name: str, type: Type) -> ir.Type:
        shape = self.shapes.get(name)
        return self.ir_type(canonical(type), shape.kind if shape else "u")

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

    def _memset(self, where: IR, value: int, size: IR) -> None:
        self.call(
            "llvm.memset.p0.i64", ir.VoidType(), [where, ir.Constant(I8, value), size, ir.Constant(I1, 0)]
        )

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

    def _entry_alloca(self, type: ir.Type) -> IR:
        with self.b.goto_block(self.entry):
            return self.b.alloca(type)

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
        self._store_failure(
            FAIL_TIMEOUT, b.load(self.last_pc_var, typ=I32), ir.Constant(I32, 0), ir.Constant(I32, 0)
        )
        over = b.icmp_signed(">", rounds, self.word("budget"))
        b.cbranch(over, self.at["failed"], self.at["round"])

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

    def _resume_pointer(self, unit: IR = None) -> IR:
        base = self.b.inttoptr(self.word("resume"), PTR)
        now = self._unit_now() if unit is None else unit
        return self.b.gep(base, [self.b.zext(now, I64)], source_etype=I32)

    def _unit_now(self) -> IR:
        return self.b.load(self.real_unit, typ=I32)

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
        self.dispatch = self.b.block

    def _garbage(self, name: str) -> IR:
        """What a register holds that nothing was written to: no useful number, address or count.

        Zero would hide that it was read: many a kernel means to start at zero.
        """
        type = canonical(self.program.registers[name])
        bits = (GARBAGE << 64 | GARBAGE) >> (128 - type.bits)
        value = self.float_bits(type, bits) if type.is_float else self.const(type, bits)
        shape = self.shapes.get(name)
        return self.vector(value) if shape and shape.kind == "v" else value.ir

    def _none(self) -> IR:
        return ir.Constant(self._mask_type(), None if self.width > 1 else 0)

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

    def _entry_lanes(self) -> IR:
        if self.entry_mask is not None:
            return self.entry_mask
        return ir.Constant(self._mask_type(), [1] * self.width if self.width > 1 else 1)

    # blocks of code

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

    def _soft_entry(self, index: int) -> bool:
        """Whether lanes may have to wait at the block: some edge into it is no plain branch."""
        if self.flow.blocks[index].divergent:
            return True
        return any(index in b.successors and not self._hard(b, index) for b in self.flow.blocks)

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
                self.invoke(block, block.end)
            case Leave():
                self.leave(block.end)
            case Exit():
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

    # cuts

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
        saved = [(self.slots[n], self._storage(n, self.program.registers[n])) for n in live]
        saved += [(variable, I64) for variable in self.stack_vars]
        saved += [(self.budget_var, I64), (self.exited_var, self._mask_type())]
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

    # registers and memory

    def read(self, register: str) -> Value:
        type = canonical(self.program.registers[register])
        shape = self.shapes.get(register, Value(type, "u"))
        if shape.const is not None:
            return self.const(type, shape.const)
        loaded = self.b.load(self.slots[register], typ=self._storage(register, type))
        return Value(type, shape.kind, loaded, shape.stride, shape.mult if self.width > 1 else 1)

    def write(self, register: str, value: Value) -> None:
        type = canonical(self.program.registers[register])
        shape = self.shapes.get(register, Value(type, "u"))
        slot = self.slots[register]
        new = self.vector(value) if shape.kind == "v" else value.ir
        if self.predicate is not None:
            old = self.b.load(slot, typ=self._storage(register, type))
            held = self.vector(self.predicate) if shape.kind == "v" else self.predicate.ir
            new = self.b.select(held, new, old)
        if self.flow.keeps_others(register, self.current) and self.mask is not None and self.width > 1:
            old = self.b.load(slot, typ=self._storage(register, type))
            new = self.b.select(self.mask, new, old)
        self.b.store(new, slot)

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


def program_registers(program: Program) -> list[tuple[str, Type]]:
    return list(program.registers.items())


def _depth(loop: Loop) -> int:
    depth = 0
    while loop.parent is not None:
        loop, depth = loop.parent, depth + 1
    return depth


def _size(type: ir.Type) -> int:
    if isinstance(type, ir.VectorType):
        return max(1, int(type.count * _bits(type.element)) // 8)
    return max(1, _bits(type) // 8)


def _bits(type: ir.Type) -> int:
    if isinstance(type, ir.IntType):
        return int(type.width)
    return {"half": 16, "float": 32, "double": 64}[str(type)]
