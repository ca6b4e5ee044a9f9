"""Basic blocks, the ways out of them, and which registers an instruction reads and writes.

Nouns only: `flow` finds the blocks, `webs` tells registers apart, `rows` and `lower` give them meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmptx.engine.program import Call, Ins, Program, Slot, registers_of, slot_register
from llmptx.ptx.ast import Addr, Reg, Sym, Vec
from llmptx.ptx.types import Type


@dataclass(frozen=True, slots=True)
class Jump:
    target: int


@dataclass(frozen=True, slots=True)
class Branch:
    """To `then` where the predicate (negated or not) holds, else to `other`."""

    pred: str
    negated: bool
    then: int
    other: int
    pc: int


@dataclass(frozen=True, slots=True)
class Switch:
    """brx.idx: to targets[index]."""

    ins: Ins
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    pass


@dataclass(frozen=True, slots=True)
class Sync:
    """A cut: the block ends in a barrier (or, one thread at a time, any operation of several lanes)."""

    ins: Ins
    target: int


@dataclass(frozen=True, slots=True)
class Invoke:
    """A call on the stack: to the callees' blocks, in their order, and back to `after`."""

    call: Call
    targets: tuple[int, ...]
    after: int


@dataclass(frozen=True, slots=True)
class Leave:
    """The end of a function: back to whoever called it."""

    function: str


Terminator = Jump | Branch | Switch | Exit | Sync | Invoke | Leave


@dataclass
class Block:
    """Straight-line code and the way out. `divergent`: its lanes may be some of the warp's only."""

    index: int
    body: list[Ins] = field(default_factory=list)
    end: Terminator = field(default_factory=Exit)
    divergent: bool = False
    live_in: frozenset[str] = frozenset()
    live_out: frozenset[str] = frozenset()

    @property
    def successors(self) -> tuple[int, ...]:
        match self.end:
            case Jump(target) | Sync(_, target):
                return (target,)
            case Branch(_, _, then, other, _):
                return (then, other)
            case Switch(_, targets):
                return tuple(dict.fromkeys(targets))
            case Invoke(_, targets, after):
                return tuple(dict.fromkeys((*targets, after)))
            case _:
                return ()


@dataclass
class Loop:
    """Blocks of a loop by index, in the layout order; the header is the first of them."""

    header: int
    members: frozenset[int]
    parent: Loop | None


@dataclass
class Flow:
    """The graph.

    order      a reverse post-order in which every loop is contiguous
    elsewhere  by block: blocks where other lanes may wait while it runs
    """

    program: Program
    blocks: list[Block]
    order: list[int] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    loop_of: dict[int, Loop] = field(default_factory=dict)
    definitions: dict[str, list[tuple[int, Ins]]] = field(default_factory=dict)
    elsewhere: dict[int, frozenset[int]] = field(default_factory=dict)

    def keeps_others(self, register: str, block: Block) -> bool:
        """Whether lanes that are not in `block` now may still need what they have in `register`.

        Only then must a write under a mask be merged with the old value.
        """
        if not block.divergent or register not in self.crossing:
            return False
        if len(self.definitions[register]) == 1 and block.index not in self.loop_of:
            return False
        return any(register in self.blocks[w].live_in for w in self.elsewhere[block.index])

    @property
    def crossing(self) -> frozenset[str]:
        """Registers that live from one block to another."""
        if self._crossing is None:
            self._crossing = frozenset().union(*(b.live_in for b in self.blocks))
        return self._crossing

    _crossing: frozenset[str] | None = None


# definitions and uses


def uses(program: Program, ins: Ins) -> set[str]:
    """Registers read."""
    found: set[str] = set()
    if ins.guard is not None:
        found.add(ins.guard.reg.name)
    for spec, operand, _ in ins.matched.operands:
        if not spec.destination:
            found.update(registers_of(operand))
    if (slot := slot_of(ins)) and ins.opcode == "ld":
        found.update(name for name, _ in slot_names(program, ins, slot))
    return {name for name in found if name in program.registers}


def defs(program: Program, ins: Ins) -> list[str]:
    """Registers written, in order."""
    found = [
        n for spec, operand, _ in ins.matched.operands if spec.destination for n in registers_of(operand)
    ]
    if (slot := slot_of(ins)) and ins.opcode == "st":
        found += [name for name, _ in slot_names(program, ins, slot)]
    return found


def slot_of(ins: Ins) -> Slot | None:
    """The call parameter an `ld.param` or `st.param` names, if it is no kernel parameter."""
    if ins.opcode not in ("ld", "st") or not any(
        m.startswith("param") for m in ins.matched.instruction.modifiers
    ):
        return None
    address = next(o for o in ins.matched.instruction.operands if isinstance(o, Addr))
    if isinstance(address.base, Sym):
        return Slot(address.base.name, address.offset)
    return None


def slot_names(program: Program, ins: Ins, slot: Slot) -> list[tuple[str, int]]:
    """(register, byte offset) of every element an access of a call parameter touches; [] for kernel
    parameters.
    """
    if slot.name not in program.slots:
        return []
    type: Type = ins.matched.modifiers.get("type")
    count = next((len(o.elements) for o in ins.matched.instruction.operands if isinstance(o, Vec)), 1)
    span = program.spans[ins.pc]
    return [
        (
            slot_register(program, slot.name, slot.offset + i * type.bytes, type, span),
            slot.offset + i * type.bytes,
        )
        for i in range(count)
    ]


def end_uses(program: Program, end: Terminator) -> set[str]:
    match end:
        case Branch(pred, _, _, _, _):
            return {pred}
        case Sync(ins, _):
            return uses(program, ins)
        case Switch(ins, _):
            return {o.name for o in ins.matched.instruction.operands if isinstance(o, Reg)} & set(
                program.registers
            )
        case _:
            return set()


def end_defs(program: Program, end: Terminator) -> list[str]:
    return defs(program, end.ins) if isinstance(end, Sync) else []
