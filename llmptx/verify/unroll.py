"""Loops written out: a kernel's body with every loop so many times over, for what follows straight code only.

A loop that goes round more often than that ends in a `trap`: whoever proves that none is reached has proved
that none does. Knows no instruction but branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmptx.ptx.ast import Guard, Instruction, Label, Statement, Sym

TIMES = 4  # tails of vectors of four go round three times
MOST = 4000  # statements
_BEYOND = Instruction("trap", (), ())


def unrolled(body: Sequence[Statement], times: int = TIMES) -> list[Statement] | None:
    """The body without branches back; None where they are not plain loops, or too much comes of it."""
    statements = list(body)
    for number in range(8):
        labels = {s.name: at for at, s in enumerate(statements) if isinstance(s, Label)}
        back = [
            (labels[name], at)
            for at, statement in enumerate(statements)
            if (name := _target(statement)) is not None and labels.get(name, len(statements)) < at
        ]
        if not back:
            return statements
        first, last = min(back, key=lambda loop: loop[1] - loop[0])
        if sum(start == first for start, _ in back) > 1 or (last - first) * times > MOST:
            return None
        inner = statements[first : last + 1]
        if any(first < start < last for start, end in back if (start, end) != (first, last)):
            return None
        names = {s.name for s in inner[1:] if isinstance(s, Label)}
        if any(_target(s) in names for s in (*statements[:first], *statements[last + 1 :])):
            return None  # a way into its middle
        statements[first : last + 1] = _written_out(inner, names, times, number)
    return None


def _target(statement: Statement) -> str | None:
    """The label a branch goes to."""
    if isinstance(statement, Instruction) and statement.opcode == "bra":
        target = statement.operands[0]
        return target.name if isinstance(target, Sym) else None
    return None


def _written_out(loop: Sequence[Statement], names: set[str], times: int, number: int) -> list[Statement]:
    """Copies one after the other, each left where its branch back is not taken."""
    branch = loop[-1]
    assert isinstance(branch, Instruction)
    after = f"after loop {number}"
    copies: list[Statement] = []
    for turn in range(times):
        for statement in loop[0 if turn == 0 else 1 : -1]:
            copies.append(_renamed(statement, names, f" turn {number}.{turn}"))
        if branch.guard is not None:
            out = Guard(branch.guard.reg, not branch.guard.negated)
            copies.append(replace(branch, operands=(Sym(after),), guard=out))
    return [*copies, _BEYOND, Label(after)]


def _renamed(statement: Statement, names: set[str], suffix: str) -> Statement:
    if isinstance(statement, Label):
        return replace(statement, name=statement.name + suffix * (statement.name in names))
    name = _target(statement)
    if name in names and isinstance(statement, Instruction):
        return replace(statement, operands=(Sym(f"{name}{suffix}"),))
    return statement
