"""Proofs by z3 that a changed kernel is the same kernel, for every launch a plan allows.

First by a block's threads in step (`lockstep`). Then by the instruction that differs: if it and its
replacement give the same value for every state they can be reached in, nothing else matters, loops and
barriers included. What is known of that state: how registers were made in straight line before, which
branches were not taken, what the plan says of threads and blocks. All else may hold anything. Last, for
kernels without loops, by all they load and store (`symbolic`). A proof holds whatever is in memory; no proof
says nothing.

z3 (the `z3-solver` package) is asked for only here. Knows no routine.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from llmptx.ptx.ast import (
    Addr,
    Function,
    Instruction,
    Int,
    Label,
    Not,
    Operand,
    Reg,
    Scope,
    Statement,
    Sym,
    Variable,
)
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import Plan, parse_plan
from llmptx.verify import lockstep, symbolic, walk
from llmptx.verify.terms import Term, Variables, computed, extended, types_of, widths

TIMEOUT_MS = 3000
BOUNDS_SECONDS = 10.0
# Bounds that a loop may keep: no sign bit, and room for a step more; for addresses, far from any sign.
_BOUNDS = {32: (1 << 30, 1 << 31), 64: (1 << 49,)}


def proved(original: str, mutant: str) -> bool:
    """Whether the two texts are proved to do the same; False where they differ in more than one kernel.

    Raises ImportError without z3, PtxError for a text that is wrong.
    """
    plan = parse_plan(original)
    if parse_plan(mutant) != plan:
        return False
    one, other = parse(original), parse(mutant)
    if len(one.items) != len(other.items):
        return False
    differing = [(x, y) for x, y in zip(one.items, other.items, strict=True) if x != y]
    if len(differing) != 1:
        return not differing
    f, g = differing[0]
    if not isinstance(f, Function) or not isinstance(g, Function):
        return False
    if replace(f, body=()) != replace(g, body=()):
        return False
    return lockstep.same(f, g, plan) or _same_value(f, g, plan) or symbolic.same(f, g, plan)


def _same_value(f: Function, g: Function, plan: Plan) -> bool:
    """Whether the functions differ in one instruction alone, and it gives what the other gave."""
    import z3

    if any(isinstance(s, Scope) for s in (*(f.body or ()), *(g.body or ()))):
        return False  # a name may mean several registers there
    left, right = f.body or (), g.body or ()
    places = [i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y]
    if len(left) != len(right) or len(places) != 1:
        return False
    at = places[0]
    before, after = left[at], right[at]
    if not isinstance(before, Instruction) or not isinstance(after, Instruction):
        return False
    if before.guard != after.guard or _results(before) != _results(after):
        return False
    known = _Known(f, plan)
    one, other = known.value(before, at), known.value(after, at)
    if one is None or other is None:
        return False
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(*known.path(at), *known.unknown.facts, one != other)
    return bool(solver.check() == z3.unsat or solver.check(*known.bounds()) == z3.unsat)


def _results(instruction: Instruction) -> tuple[str, ...]:
    """Registers an instruction writes: its first operand's, but for stores and branches."""
    if instruction.opcode in ("st", "bra", "bar", "red", "ret", "call") or not instruction.operands:
        return ()
    return tuple(leaf.name for leaf in walk.leaves(instruction.operands[0]) if isinstance(leaf, Reg))


class _Known:
    """What is known of registers at a place of a function."""

    def __init__(self, function: Function, plan: Plan) -> None:
        self.body: Sequence[Statement] = list(walk.statements(function.body or ()))
        self.unknown = Variables(plan, function.name)
        self._values: dict[int, Term | None] = {}
        self._labels = {s.name: i for i, s in enumerate(self.body) if isinstance(s, Label)}
        self._writes: dict[str, list[int]] = {}
        self._branches: list[tuple[int, int]] = []
        for i, statement in enumerate(self.body):
            if isinstance(statement, Instruction):
                for name in _results(statement):
                    self._writes.setdefault(name, []).append(i)
                if statement.opcode in ("bra", "brx"):
                    for operand in statement.operands:
                        target = self._labels.get(operand.name, -1) if isinstance(operand, Sym) else -1
                        self._branches.append((i, target))
        self._types = dict(walk.register_types(self.body))
        self._shared = {s.name for s in self.body if isinstance(s, Variable) and s.space == "shared"}

    # -- what is reached

    def path(self, at: int) -> list[Term]:
        """Conditions of the branches in straight line before a place, none of which was taken."""
        conditions = []
        for i in range(at - 1, -1, -1):
            statement = self.body[i]
            if isinstance(statement, Label):
                break
            if isinstance(statement, Instruction) and statement.opcode in ("bra", "ret", "exit"):
                if statement.guard is None:
                    break
                taken = self.register(statement.guard.reg.name, i)
                if taken is not None:
                    conditions.append(taken == (1 if statement.guard.negated else 0))
        return conditions

    def register(self, name: str, at: int) -> Term | None:
        """A register's value just before the instruction at a place; None for one that is not declared."""

        width = self._width(name)
        if width is None:
            return self.unknown.special(name)
        start = self._region(at)
        near = [i for i in self._writes.get(name, ()) if start <= i < at]
        if near:
            return self._written(near[-1], name, width)
        writes = self._writes.get(name, [])
        if len(writes) == 1 and self._once(writes[0]) and self._before(writes[0], at):
            return self._written(writes[0], name, width)
        return self.unknown.variable(("entering", start, name), width)

    def _written(self, at: int, name: str, width: int) -> Term:

        statement = self.body[at]
        assert isinstance(statement, Instruction)
        if at not in self._values:
            self._values[at] = None if statement.guard else self.value(statement, at)
        value = self._values[at]
        return self.unknown.variable(("written", at, name), width) if value is None else value

    def _region(self, at: int) -> int:
        """The first place of the straight line that a place is in."""
        for i in range(at - 1, -1, -1):
            if isinstance(self.body[i], Label):
                return i
        return 0

    def _once(self, at: int) -> bool:
        """No loop holds the place."""
        return not any(0 <= target <= at <= source or target < 0 for source, target in self._branches)

    def _before(self, made: int, used: int) -> bool:
        """No way to `used` goes around `made`."""
        if made >= used:
            return False
        around = [target for source, target in self._branches if source < made < target]
        back = [source for source, target in self._branches if target <= used]
        return all(target > used and not any(source >= target for source in back) for target in around)

    # -- what loops keep

    def bounds(self) -> list[Term]:
        """What holds of registers wherever a straight line begins: that no sign bit shows.

        Found by dropping, from all such bounds at once, those that some way into the line does not keep,
        until none is left to drop (the Houdini algorithm).
        """
        import z3

        if any(target < 0 for _, target in self._branches):
            return []  # a branch that may go anywhere
        lines = [i for i, s in enumerate(self.body) if isinstance(s, Label)]
        names = [name for name, t in self._types.items() if t.kind in "bsu" and t.width in _BOUNDS]
        held: dict[tuple[int, str, int], Term] = {}
        for line in lines:
            for name in names:
                width = self._types[name].width
                entering = self.unknown.variable(("entering", line, name), width)
                if self.register(name, line + 1) is entering:
                    held.update({(line, name, b): z3.ULT(entering, b) for b in _BOUNDS[width]})
        solver = z3.Solver()
        solver.set("timeout", TIMEOUT_MS // 10)
        solver.add(*self.unknown.facts)
        deadline = time.monotonic() + BOUNDS_SECONDS
        while time.monotonic() < deadline:
            dropped = [
                key
                for key in held
                if time.monotonic() < deadline and not self._kept(*key, held.values(), solver)
            ]
            if not dropped and time.monotonic() < deadline:
                return list(held.values())
            for key in dropped:
                del held[key]
        return []

    def _kept(self, line: int, name: str, bound: int, held: Iterable[Term], solver: Any) -> bool:
        """Whether every way into a line keeps a bound, if all that are held hold."""
        import z3

        label, before = self.body[line], self.body[line - 1]
        assert isinstance(label, Label)
        ways = [i for i, target in self._branches if target == line]
        ends = (
            isinstance(before, Instruction) and before.opcode in ("bra", "ret", "exit") and not before.guard
        )
        if line and not ends:
            ways.append(line)
        for at in ways:
            taken = [*self.path(at), *(self._taken(at) if at != line else ())]
            if solver.check(*held, *taken, z3.UGE(self.register(name, at), bound)) != z3.unsat:
                return False
        return True

    def _taken(self, at: int) -> list[Term]:
        """The condition of a branch."""
        statement = self.body[at]
        assert isinstance(statement, Instruction)
        guard = self.register(statement.guard.reg.name, at) if statement.guard else None
        if guard is None or statement.guard is None:
            return []
        return [guard == (0 if statement.guard.negated else 1)]

    # -- values

    def _width(self, name: str) -> int | None:
        type_ = self._types.get(name)
        return type_.width if type_ else None

    def operand(self, operand: Operand, width: int, at: int) -> Term | None:
        """An operand's low `width` bits; None for what is not known here."""
        import z3

        if isinstance(operand, Int):
            return z3.BitVecVal(operand.value, width)
        if isinstance(operand, Not):
            value = self.register(operand.reg.name, at)
            return None if value is None else ~value
        if isinstance(operand, Sym) and operand.name in self._shared:
            return self.unknown.symbol(operand.name, width) + operand.offset
        if isinstance(operand, Reg):
            value = self.register(operand.name, at)
            if value is None or value.size() < width:
                return None
            return z3.Extract(width - 1, 0, value) if value.size() > width else value
        return None

    def value(self, instruction: Instruction, at: int) -> Term | None:
        """What an instruction writes, as wide as its register; None where that is not known."""
        names, types = _results(instruction), types_of(instruction)
        if len(names) != 1 or not isinstance(instruction.operands[0], Reg) or not types:
            return None
        width = self._width(names[0])
        if width is None or any(t.is_float for t in types):
            return None
        if instruction.opcode == "ld":
            return self._parameter(instruction, width)
        sources = instruction.operands[1:]
        sizes = widths(instruction, types[-1], len(sources))
        listed = [self.operand(o, w, at) for o, w in zip(sources, sizes, strict=True)]
        if any(term is None for term in listed):
            return None
        return extended(computed(instruction, types, listed), types[0], width)

    def _parameter(self, instruction: Instruction, width: int) -> Term | None:
        address = instruction.operands[1]
        if "param" not in instruction.modifiers or not isinstance(address, Addr) or width != 64:
            return None
        if not isinstance(address.base, Sym) or address.offset:
            return None
        return self.unknown.parameter(address.base.name)
