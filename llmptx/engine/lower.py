"""A flat program to one LLVM function that runs a range of blocks.

A unit is a warp (W lanes) or a thread (W = 1). The function is built in layers, each a module: `registers`,
`cuts` (where a unit waits), `rounds` (the loops over blocks and units), `masks` (control flow of lanes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from llmptx.engine import provenance, spins, unset
from llmptx.engine.access import space_name
from llmptx.engine.asynchronous import TRACKED
from llmptx.engine.blocks import (
    Flow,
    Invoke,
    Sync,
)
from llmptx.engine.emit import I32, I64, PTR, Emit, Value
from llmptx.engine.lanes import NeedsThreads
from llmptx.engine.masks import Masks
from llmptx.engine.program import Ins, Program
from llmptx.engine.remake import Remaking
from llmptx.engine.rows import Shapes
from llmptx.ptx.ast import Int


@dataclass
class Lowered:
    """LLVM text and what the host must know to run it.

    frame        bytes a unit's frame takes
    stepped      units run one at a time under the host's scheduler: operations of several threads are in
                 `waits`
    waits        by resume point: (what, pc), what as the emitter named it
    synchronises whether units have resume points at all
    told         instructions that tell of themselves in a trace, by pc
    origins      what was never written and may matter at an instruction, by its pc (checked mode)
    homes        parameters that the address of an access comes from, by its pc (checked mode)
    """

    text: str
    extras: dict[str, str]
    width: int
    frame: int
    stepped: bool
    synchronises: bool
    symbols: list[str]
    waits: dict[int, tuple[tuple[Any, ...], int]] = field(default_factory=dict)
    told: dict[int, Ins] = field(default_factory=dict)
    origins: unset.Origins = field(default_factory=dict)
    homes: provenance.Homes = field(default_factory=dict)

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
    trace: bool = False,
) -> Lowered:
    """Raises NeedsThreads where W lanes at once cannot run it; PtxError for what cannot be run at all."""
    threads = block_dim[0] * block_dim[1] * block_dim[2]
    syncs = [b.end.ins for b in flow.blocks if isinstance(b.end, Sync)]
    apart = _apart(program, syncs, threads)
    if width > 1 and apart:
        raise NeedsThreads(f"it has {apart}")
    shapes = Shapes(program, flow, width, block_dim, check).find() if width > 1 else {}
    if width > 1 and spins.waits(flow, shapes):
        raise NeedsThreads("it has a loop that waits for what another thread writes")
    origins = unset.follow(flow, shapes, width, threads % 32 == 0) if check else None
    if origins is not None and width > 1:
        shapes = Shapes(program, flow, width, block_dim, check).find()
    lowering = _Lowering(program, flow, shapes, block_dim, width, check, approx, bool(syncs), bool(apart))
    lowering.profile, lowering.trace = profile, trace
    lowered = lowering.build()
    lowered.origins = origins or {}
    lowered.homes = provenance.homes(flow) if check else {}
    return lowered


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


def _apart(program: Program, syncs: list[Ins], threads: int) -> str:
    """Why barriers need a scheduler; nothing where every cut is one of the whole block, all by one number."""
    numbers = set()
    for ins in syncs:
        operands = ins.matched.instruction.operands
        modifiers = ins.matched.instruction.modifiers
        line = program.spans[ins.pc].line
        if "sync" not in modifiers or ins.opcode not in ("bar", "barrier"):
            return f"barriers that arrive, answer or wait in memory, as at line {line}"
        if not operands or not isinstance(operands[0], Int) or "warp" in modifiers:
            return f"barriers by a register's number, as at line {line}"
        if len(operands) > 1 and not (isinstance(operands[1], Int) and operands[1].value == threads):
            return f"barriers of some threads only, as at line {line}"
        numbers.add(operands[0].value)
    return f"barriers by {len(numbers)} numbers" if len(numbers) > 1 else ""


class _Lowering(Masks):
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
        self.waits = {}
        self.told = {}
        self.symbols = []
        self.slots, self.turns = {}, {}
        self.remaking = Remaking(flow, shapes)
        self.pending = {}
        self.resumes = []
        self.resumed = None
        self.cached = {}
        self.position = {index: i for i, index in enumerate(flow.order)}

    def build(self) -> Lowered:
        self.ctx, first, last, unit0, unit1 = self.function.args
        b = self.b
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
        for name, type in self.program.registers.items():
            self.slots[name] = b.alloca(self._storage(name, type), name=name.replace("%", ""))
            if name in self.shapes and self.shapes[name].wrap:
                self.turns[name] = b.alloca(I32)
        soft = self._soft_entries()
        for index in self.flow.order:
            if index in soft:
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
            self.told,
        )
