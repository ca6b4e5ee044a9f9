"""Values of one register that never meet, told apart: each web of definitions and uses gets its own name.

People and models reuse a name for an index, its scaled offset and the address made of it. Apart, each has its
own shape, and a value written once needs no merging with other lanes'; together they would have neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from llmptx.engine.blocks import Block, Branch, Switch, Sync
from llmptx.engine.program import Ins, Program, registers_of
from llmptx.isa.form import Matched
from llmptx.ptx.ast import Addr, Group, Not, Operand, Pair, Reg, Sink, Vec


def separate(program: Program, blocks: list[Block]) -> None:
    """Renames registers in place: two definitions keep a common name only where some use may see either."""
    webs = _Webs(program, blocks)
    for block in blocks:
        _rename_block(block, webs)


def _sequence(block: Block) -> list[Ins]:
    return [*block.body, block.end.ins] if isinstance(block.end, Sync | Switch) else block.body


@dataclass
class _Webs:
    """Definitions are numbered; a set of them is the bits of an integer.

    at        (block, place, register) -> definition
    of        register -> all its definitions
    incoming  block -> definitions that reach its start
    parent    the union-find forest of webs
    names     root of a web -> its name
    """

    program: Program
    blocks: list[Block]
    at: dict[tuple[int, int, str], int] = field(default_factory=dict)
    of: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    incoming: dict[int, int] = field(default_factory=dict)
    parent: list[int] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for block in self.blocks:
            for place, ins in enumerate(_sequence(block)):
                for name in _destinations(ins):
                    if name in self.program.registers and (block.index, place, name) not in self.at:
                        self.at[block.index, place, name] = len(self.parent)
                        self.of[name] |= 1 << len(self.parent)
                        self.parent.append(len(self.parent))
        self._reach()
        for block in self.blocks:
            for _ in self.walk(block):
                pass
        self._name()

    def _reach(self) -> None:
        """Reaching definitions, to a fixpoint."""
        transfer = {block.index: self._transfer(block) for block in self.blocks}
        self.incoming = dict.fromkeys(transfer, 0)
        waiting = [block.index for block in self.blocks]
        while waiting:
            index = waiting.pop()
            made, killed = transfer[index]
            leaving = made | self.incoming[index] & ~killed
            for successor in self.blocks[index].successors:
                if leaving & ~self.incoming[successor]:
                    self.incoming[successor] |= leaving
                    waiting.append(successor)

    def _transfer(self, block: Block) -> tuple[int, int]:
        made = killed = 0
        for place, ins in enumerate(_sequence(block)):
            for name in _destinations(ins):
                if name in self.of:
                    if ins.guard is None:
                        made, killed = made & ~self.of[name], killed | self.of[name]
                    made |= 1 << self.at[block.index, place, name]
        return made, killed

    def walk(self, block: Block) -> Iterator[tuple[Ins, dict[str, int], dict[str, int]]]:
        """(instruction, definition read by register, definition written by register); joins webs on the way.

        After the last instruction the definitions that a branch reads are joined too.
        """
        reaching = self.incoming[block.index]
        for place, ins in enumerate(_sequence(block)):
            reads = {name: self._read(reaching & self.of[name]) for name in _sources(ins) if name in self.of}
            writes = {}
            for name in _destinations(ins):
                if name in self.of:
                    number = self.at[block.index, place, name]
                    if ins.guard is None:
                        reaching &= ~self.of[name]
                    else:
                        # A guarded write keeps part of the old value: it belongs to the same web.
                        self._read(reaching & self.of[name] | 1 << number)
                    reaching |= 1 << number
                    writes[name] = number
            yield ins, {name: d for name, d in reads.items() if d >= 0}, writes
        if isinstance(block.end, Branch) and block.end.pred in self.of:
            self._read(reaching & self.of[block.end.pred])

    def _read(self, definitions: int) -> int:
        """Joins them; one of them, or -1 where there are none."""
        first = -1
        while definitions:
            number = (definitions & -definitions).bit_length() - 1
            definitions &= definitions - 1
            if first >= 0:
                self.parent[self.root(number)] = self.root(first)
            else:
                first = number
        return first

    def root(self, number: int) -> int:
        while self.parent[number] != number:
            self.parent[number] = number = self.parent[self.parent[number]]
        return number

    def _name(self) -> None:
        taken: dict[str, int] = defaultdict(int)
        registers = self.program.registers
        for (_, _, name), number in self.at.items():
            root = self.root(number)
            if root not in self.names:
                self.names[root] = f"{name}#{taken[name]}" if taken[name] else name
                taken[name] += 1
                registers[self.names[root]] = registers[name]

    def name(self, number: int) -> str:
        return self.names[self.root(number)]

    def name_at_end(self, block: Block, register: str) -> str:
        reaching = self.incoming[block.index]
        made, killed = self._transfer(block)
        found = (made | reaching & ~killed) & self.of.get(register, 0)
        return self.name((found & -found).bit_length() - 1) if found else register


def _rename_block(block: Block, webs: _Webs) -> None:
    made = [
        renamed(
            ins, {n: webs.name(d) for n, d in reads.items()}, {n: webs.name(d) for n, d in writes.items()}
        )
        for ins, reads, writes in webs.walk(block)
    ]
    match block.end:
        case Branch(pred):
            block.end = replace(block.end, pred=webs.name_at_end(block, pred))
        case Sync() | Switch():
            block.end = replace(block.end, ins=made.pop())
        case _:
            pass
    block.body = made


def _destinations(ins: Ins) -> list[str]:
    return [n for spec, operand, _ in ins.matched.operands if spec.destination for n in registers_of(operand)]


def _sources(ins: Ins) -> list[str]:
    found = [
        n for spec, operand, _ in ins.matched.operands if not spec.destination for n in registers_of(operand)
    ]
    return found if ins.guard is None else [*found, ins.guard.reg.name]


def renamed(ins: Ins, sources: dict[str, str], destinations: dict[str, str]) -> Ins:
    """The instruction with other registers."""
    operands = tuple(
        (spec, _rename(operand, destinations if spec.destination else sources), type)
        for spec, operand, type in ins.matched.operands
    )
    instruction = replace(ins.matched.instruction, operands=tuple(operand for _, operand, _ in operands))
    guard = ins.guard
    if guard is not None:
        guard = replace(guard, reg=_rename_reg(guard.reg, sources))
    return Ins(Matched(ins.matched.form, ins.matched.modifiers, instruction, operands), guard, ins.pc)


def _rename_reg(reg: Reg, names: dict[str, str]) -> Reg:
    return replace(reg, name=names[reg.name]) if reg.name in names else reg


def _rename(operand: Operand, names: dict[str, str]) -> Operand:
    match operand:
        case Reg():
            return _rename_reg(operand, names)
        case Not(reg):
            return replace(operand, reg=_rename_reg(reg, names))
        case Addr(Reg() as base):
            return replace(operand, base=_rename_reg(base, names))
        case Vec(elements) | Group(elements):
            return replace(operand, elements=tuple(_rename(e, names) for e in elements))
        case Pair(first, second):
            return replace(
                operand,
                first=first if isinstance(first, Sink) else _rename_reg(first, names),
                second=second if isinstance(second, Sink) else _rename_reg(second, names),
            )
        case _:
            return operand
