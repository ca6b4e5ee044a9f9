"""What hangs on registers that nothing was written to, followed to where it matters: a pass of checked mode.

A register that may be read before it is written, and the result of a shuffle whose source lane may not take
part, get a twin that starts with other bits. What is computed from them is computed from the twins too.
Where it matters (an address, a branch, a store, an operation of several threads) the two are compared, and a
difference is reported: copies, values selected away and bits masked off never are. Kernels that have neither
such registers nor such shuffles are left as they are.

Knows blocks and registers; what comparing means is `twins`'s.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmptx.engine.blocks import Block, Branch, Flow, Switch, Sync, defs, end_uses, slot_names, slot_of, uses
from llmptx.engine.emit import Value
from llmptx.engine.flow import liveness
from llmptx.engine.program import TWIN, Ins, Slot, registers_of
from llmptx.engine.webs import renamed
from llmptx.isa.form import Form, Matched, Modifiers, OperandSpec
from llmptx.ptx.ast import Addr, Guard, Instruction, Int, Operand, Pair, Reg, Sink, Vec
from llmptx.ptx.types import PRED, Type

# Their results hang on their registers alone, and they may be done twice.
_CHAPTERS = frozenset({"compare", "convert", "narrow", "floating", "half", "integer", "logic", "video"})
_PURE = frozenset({"mov", "prmt", "cvta", "isspacep"})
_EVERY_LANE = (-1, 0xFFFFFFFF)
_B32 = Type("b", 32)


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where nothing comes from: a register and the instruction that reads it first, or "": a shuffle."""

    pc: int
    register: str


Origins = Mapping[int, tuple[Origin, ...]]  # by the instruction where it matters


def follow(flow: Flow, shapes: Mapping[str, Value], width: int, whole: bool) -> Origins | None:
    """Puts twins into the flow. None where there is nothing to follow, and the flow is as it was.

    whole: every warp of the block has all its lanes.
    """
    pass_ = _Follow(flow, shapes, width, whole)
    if not pass_.origins:
        return None
    pass_.rewrite()
    return {pc: tuple(sorted(found)) for pc, found in pass_.matters.items()}


class _Follow:
    """origins: by register with a twin, what its value may hang on."""

    def __init__(self, flow: Flow, shapes: Mapping[str, Value], width: int, whole: bool) -> None:
        self.flow, self.program = flow, flow.program
        self.shapes, self.width, self.whole = shapes, width, whole
        self.matters: dict[int, frozenset[Origin]] = defaultdict(frozenset)
        entry = flow.blocks[flow.order[0]]
        self.unset = sorted(entry.live_in & set(self.program.registers))
        self.origins: dict[str, frozenset[Origin]] = {}
        for name in self.unset:
            self.origins[name] = frozenset({Origin(self._first_read(name), name)})
        self._propagate()

    def _everything(self) -> Iterator[tuple[Block, Ins]]:
        for block in self.flow.blocks:
            for ins in block.body:
                yield block, ins
            if isinstance(block.end, Sync):
                yield block, block.end.ins

    def _first_read(self, name: str) -> int:
        pcs = [ins.pc for _, ins in self._everything() if name in uses(self.program, ins)]
        ends = (block.end for block in self.flow.blocks)
        pcs += [end.pc for end in ends if isinstance(end, Branch) and end.pred == name]
        return min(pcs, default=0)

    def _propagate(self) -> None:
        code = list(self._everything())
        changed = True
        while changed:
            changed = False
            for block, ins in code:
                found = self._made(block, ins)
                for name in self._targets(ins) if found else ():
                    if not found <= self.origins.get(name, frozenset()):
                        self.origins[name] = self.origins.get(name, frozenset()) | found
                        changed = True

    def _made(self, block: Block, ins: Ins) -> frozenset[Origin]:
        """What the results of an instruction hang on."""
        if ins.opcode == "shfl":
            own = () if self._sure(block, ins) else (Origin(ins.pc, ""),)
            return self._of(_registers(self._value(ins))).union(own)
        return self._of(uses(self.program, ins)) if self._pure(ins) else frozenset()

    def _of(self, names: Iterable[str]) -> frozenset[Origin]:
        return frozenset().union(*(self.origins.get(name, frozenset()) for name in names))

    def _targets(self, ins: Ins) -> list[str]:
        """Registers that what `_made` says is true of: of a shuffle the value, not whether it is in range."""
        names = [n for n in defs(self.program, ins) if n in self.program.registers]
        return names[:1] if ins.opcode == "shfl" and not _sunk(ins) else [] if ins.opcode == "shfl" else names

    def _pure(self, ins: Ins) -> bool:
        form = ins.matched.form
        return form.chapter in _CHAPTERS or form.opcode in _PURE or self._slot(ins) is not None

    def _slot(self, ins: Ins) -> Slot | None:
        """The call parameter in registers that an ld or st moves from or to."""
        slot = slot_of(ins)
        return slot if slot and slot.name in self.program.slots else None

    def _sure(self, block: Block, ins: Ins) -> bool:
        """Whether every lane of the warp takes part in a shuffle."""
        if self.width == 1 or not self.whole or block.divergent or ins.guard is not None:
            return False
        members = ins.matched.instruction.operands[4:]
        return all(self._constant(operand) in _EVERY_LANE for operand in members)

    def _constant(self, operand: Operand) -> int | None:
        if isinstance(operand, Int):
            return operand.value
        shape = self.shapes.get(operand.name) if isinstance(operand, Reg) else None
        return shape.const if shape else None

    def _value(self, ins: Ins) -> Operand:
        return ins.matched.instruction.operands[1]

    # rewriting

    def rewrite(self) -> None:
        registers = self.program.registers
        registers |= {name + TWIN: registers[name] for name in self.origins}
        self.meeting = {
            block.index for block, ins in self._everything() if ins.opcode == "shfl" and self._meets(block)
        }
        for block in self.flow.blocks:
            body = [made for ins in block.body for made in self._instruction(block, ins)]
            if block.index == self.flow.order[0]:
                body = [_begin(name, registers[name]) for name in self.unset] + body
            block.body = body + self._end(block)
        liveness(self.flow)

    def _meets(self, block: Block) -> bool:
        """Whether lanes that are not here may be at another shuffle, on a way beside this one."""
        others = {b.index for b, ins in self._everything() if ins.opcode == "shfl"} - {block.index}
        after = self._after(block.index)
        return any(o not in after and block.index not in self._after(o) for o in others)

    def _after(self, index: int) -> set[int]:
        """Blocks that are reached from one without going back in a loop."""
        position = {b: i for i, b in enumerate(self.flow.order)}
        found: set[int] = set()
        waiting = [index]
        while waiting:
            at = waiting.pop()
            ahead = {s for s in self.flow.blocks[at].successors if position[s] > position[at]}
            waiting += ahead - found
            found |= ahead
        return found

    def _instruction(self, block: Block, ins: Ins) -> Iterator[Ins]:
        read = sorted(n for n in uses(self.program, ins) if n in self.origins)
        written = [n for n in dict.fromkeys(defs(self.program, ins)) if n in self.origins]
        if not read and not written:
            yield ins
        elif ins.opcode == "shfl" and not _sunk(ins):
            value = set(_registers(self._value(ins)))
            yield from self._checks(ins, [n for n in read if n not in value])
            yield self._shuffle(block, ins)
        elif self._pure(ins) and read:
            yield ins
            yield from self._again(ins)
        else:
            stored = self._stored(ins) & set(read)
            yield from self._checks(ins, [n for n in read if n not in stored])
            yield ins
            if stored:
                yield self._store(ins, stored)
            yield from (_copy(Reg(n + TWIN), Reg(n), self.program.registers[n], ins) for n in written)

    def _checks(self, ins: Ins, names: Iterable[str]) -> Iterator[Ins]:
        for name in names:
            self.matters[ins.pc] |= self.origins[name]
            guarded = None if ins.guard is not None and name == ins.guard.reg.name else ins.guard
            yield _check(name, self.program.registers[name], guarded, ins.pc)

    def _end(self, block: Block) -> list[Ins]:
        """Checks before the way out; a cut is changed itself."""
        match block.end:
            case Branch(pred, _, _, _, pc) if pred in self.origins:
                self.matters[pc] |= self.origins[pred]
                return [_check(pred, self.program.registers[pred], None, pc)]
            case Switch(ins, _):
                return list(
                    self._checks(ins, sorted(end_uses(self.program, block.end) & self.origins.keys()))
                )
            case Sync(ins, target):
                twinned = ins.opcode == "shfl" and not _sunk(ins)
                *checks, last = self._instruction(block, ins) if twinned else self._cut(ins)
                block.end = Sync(last, target)
                return checks
            case _:
                return []

    def _cut(self, ins: Ins) -> Iterator[Ins]:
        yield from self._checks(ins, sorted(uses(self.program, ins) & self.origins.keys()))
        yield self._doubled(ins) if self.origins.keys() & defs(self.program, ins) else ins

    def _twin(self, operand: Operand) -> Operand:
        if isinstance(operand, Reg) and operand.name in self.origins:
            return replace(operand, name=operand.name + TWIN)
        if isinstance(operand, Vec):
            return replace(operand, elements=tuple(self._twin(e) for e in operand.elements))
        return operand

    def _again(self, ins: Ins) -> Iterator[Ins]:
        """The instruction on the twins."""
        slot = self._slot(ins)
        if slot is None:
            names = {n: n + TWIN for n in self.origins}
            yield replace(renamed(ins, names, names), shadow=True)
            return
        type: Type = ins.matched.modifiers.get("type")
        other = next(o for o in ins.matched.instruction.operands if not isinstance(o, Addr))
        values = other.elements if isinstance(other, Vec) else (other,)
        for (name, _), value in zip(slot_names(self.program, ins, slot), values, strict=True):
            kept, held = (Reg(name), value) if ins.opcode == "st" else (value, Reg(name))
            if not isinstance(kept, Sink) and isinstance(kept, Reg) and kept.name in self.origins:
                plain = Type("b", type.width) if ins.opcode == "st" else type
                yield _copy(self._twin(kept), self._twin(held), plain, self._guarded(ins))

    def _guarded(self, ins: Ins) -> Ins:
        guard = ins.guard
        if guard is None or guard.reg.name not in self.origins:
            return ins
        return replace(ins, guard=replace(guard, reg=replace(guard.reg, name=guard.reg.name + TWIN)))

    def _stored(self, ins: Ins) -> set[str]:
        """Registers whose values a store puts into memory, where they are nothing else to it."""
        if ins.opcode != "st":
            return set()
        values = set(_registers(ins.matched.instruction.operands[1]))
        others = set(_registers(ins.matched.instruction.operands[0]))
        return values - others - ({ins.guard.reg.name} if ins.guard else set())

    def _store(self, ins: Ins, stored: set[str]) -> Ins:
        self.matters[ins.pc] |= self._of(stored)
        (where, address, _), (spec, value, type) = ins.matched.operands
        operands = ((where, address, None), (spec, value, type), (spec, self._twin(value), type))
        meaning = _STORES if ins.matched.modifiers.get("vec") else _STORE
        return _shadow("st", ins.matched.modifiers, operands, meaning, ins)

    def _shuffle(self, block: Block, ins: Ins) -> Ins:
        """With the value's twin as an operand, and the result's as a result."""
        first, value, *rest = ins.matched.operands
        result, flag = (first[1].first, first[1].second) if isinstance(first[1], Pair) else (first[1], Sink())
        twins = [o if isinstance(o, Sink) else _twin_or_sink(o, self.origins) for o in (result, flag)]
        types = (_B32, PRED, _B32, PRED)
        results = [(_D, o, t) for o, t in zip((result, flag, *twins), types, strict=True)]
        other = (value[0], self._twin(value[1]), value[2])
        same, meets = other[1] == value[1], block.index in self.meeting and len(rest) == 3

        def meaning(e: Any, m: Modifiers, a: Value, twin: Value, b: Value, c: Value, *mask: Value) -> Any:
            found = e.shfl_twins(m.mode, a, a if same else twin, b, c, mask[0] if mask else None, meets)
            return (*found[:2], found[2], found[1])

        form = replace(ins.matched.form, meaning=meaning)
        instruction = ins.matched.instruction
        matched = Matched(form, ins.matched.modifiers, instruction, (*results, value, other, *rest))
        return replace(ins, matched=matched)

    def _doubled(self, ins: Ins) -> Ins:
        """What an operation of several threads gives, given to the twins too."""
        targets = [o for o in ins.matched.operands if o[0].destination]
        sources = [o for o in ins.matched.operands if not o[0].destination]
        flat = [(o, t) for _, operand, t in targets for o, t in _flat(operand, t)]
        kept = [i for i, (o, _) in enumerate(flat) if not isinstance(o, Sink)]
        plain = [flat[i] for i in kept]
        twins = [(_twin_or_sink(o, self.origins), t) for o, t in plain]
        original = ins.matched.form.meaning
        assert original is not None

        def meaning(e: Any, m: Modifiers, *values: Any) -> Any:
            found = original(e, m, *values)
            several = list(found) if isinstance(found, tuple | list) else [found]
            return [several[i] for i in kept] * 2

        results = tuple((_D, o, t) for o, t in plain + twins)
        form = replace(ins.matched.form, meaning=meaning)
        return replace(ins, matched=replace(ins.matched, form=form, operands=(*results, *sources)))


def _twin_or_sink(operand: Operand, twins: Iterable[str]) -> Operand:
    return Reg(operand.name + TWIN) if isinstance(operand, Reg) and operand.name in twins else Sink()


def _flat(operand: Operand, type: Type | None) -> list[tuple[Operand, Type | None]]:
    if isinstance(operand, Pair):
        return [(operand.first, type), (operand.second, PRED)]
    return [(o, type) for o in operand.elements] if isinstance(operand, Vec) else [(operand, type)]


def _sunk(ins: Ins) -> bool:
    first = ins.matched.instruction.operands[0]
    return isinstance(first.first if isinstance(first, Pair) else first, Sink)


def _registers(operand: Operand) -> list[str]:
    return list(registers_of(operand))


# instructions of no text

_D, _A = OperandSpec("d", "value", "b32"), OperandSpec("a", "value", "b32")


def _form(opcode: str, meaning: Callable[..., Any]) -> Form:
    return Form(f"{opcode} twins", opcode, re.compile(""), (), (), (), "shadow", meaning)


_COPY = _form("mov", lambda e, m, a: a)
_CHECK = _form("mov", lambda e, m, a, b: e.compare_twins(a, b))
_STORE = _form("mov", lambda e, m, at, a, b: e.store_twins(m.get("space"), m.type, at, [a], [b]))
_STORES = _form("mov", lambda e, m, at, a, b: e.store_twins(m.get("space"), m.type, at, a, b))


def _shadow(
    opcode: str,
    modifiers: Modifiers,
    operands: tuple[Any, ...],
    form: Form,
    ins: Ins,
    guard: Guard | None = None,
) -> Ins:
    instruction = Instruction(
        opcode, (), tuple(o for _, o, _ in operands), None, ins.matched.instruction.span
    )
    return Ins(Matched(form, modifiers, instruction, operands), ins.guard, ins.pc, shadow=True)


def _copy(to: Operand, source: Operand, type: Type, ins: Ins) -> Ins:
    return _shadow("mov", Modifiers({}), ((_D, to, type), (_A, source, type)), _COPY, ins)


def _check(name: str, type: Type, guard: Guard | None, pc: int) -> Ins:
    operands = ((_A, Reg(name), type), (_A, Reg(name + TWIN), type))
    instruction = Instruction("mov", (), tuple(o for _, o, _ in operands), None)
    return Ins(Matched(_CHECK, Modifiers({}), instruction, operands), guard, pc, shadow=True)


def _begin(name: str, type: Type) -> Ins:
    """At a thread's start, the register and its twin hold different garbage."""
    operands = ((_D, Reg(name), type), (_D, Reg(name + TWIN), type))
    instruction = Instruction("mov", (), tuple(o for _, o, _ in operands), None)
    form = _form("mov", lambda e, m: (e.garbage(type, False), e.garbage(type, True)))
    return Ins(Matched(form, Modifiers({}), instruction, operands), None, 0, shadow=True)
