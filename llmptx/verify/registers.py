"""Registers that a kernel may read before it writes them: which they are, and the kernel with other values
there.

What an unwritten register holds is anybody's guess on a chip, and zero on the engine, which is often what a
kernel needs. So where there are such registers, the answer must be the same whatever they hold. Compilers
leave some, and read them where it does not matter: that is no fault. Knows no stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llmptx.ptx.ast import (
    Float,
    Function,
    Instruction,
    Int,
    Label,
    Module,
    Operand,
    Reg,
    Registers,
    Scope,
    Statement,
    Sym,
)
from llmptx.ptx.plan import Plan, render
from llmptx.ptx.printer import print_module
from llmptx.ptx.types import Type
from llmptx.verify import walk
from llmptx.verify.cut import reads, results

# By bits of the register: a small number, and one that is large and odd as a float and as a count.
PATTERNS = (
    {1: 1, 8: 1, 16: 1, 32: 1, 64: 1},
    {1: 0, 8: 0x5A, 16: 0x4C5A, 32: 0x4B3C5A69, 64: 0x4165A5A5A5A5A5A5},
)


def guessed(module: Module) -> frozenset[str]:
    """Registers of any function that some way through it reads before anything is written to them."""
    return frozenset(name for function in module.functions for name in _unset(function))


def _unset(function: Function) -> frozenset[str]:
    """None where scopes give a name several meanings, or a branch may go anywhere."""
    body = function.body or ()
    if any(isinstance(s, Scope) for s in body):
        return frozenset()
    declared = {name for name, _ in walk.register_types(body)}
    labels = {s.name: at for at, s in enumerate(body) if isinstance(s, Label)}
    have: dict[int, frozenset[str]] = {}
    waiting: list[tuple[int, frozenset[str]]] = [(0, frozenset())]
    found: set[str] = set()
    while waiting:
        at, now = waiting.pop()
        known = have.get(at)
        now = now if known is None else now & known
        if now == known or at >= len(body):
            continue
        have[at] = now
        statement = body[at]
        if isinstance(statement, Instruction):
            if statement.opcode in ("brx", "call"):
                return frozenset()
            found |= (reads(statement) & declared) - now
            if statement.opcode == "bra":
                to = statement.operands[0]
                if not isinstance(to, Sym) or to.name not in labels:
                    return frozenset()
                waiting.append((labels[to.name], now))
            if statement.opcode in ("bra", "ret", "exit") and statement.guard is None:
                continue
            now |= results(statement)  # under a guard too: whoever reads it has the same guard, mostly
        waiting.append((at + 1, now))
    return frozenset(found)


def filled(module: Module, plan: Plan, names: frozenset[str], pattern: dict[int, int]) -> str:
    """The text with these registers written first of all, in every function that has them."""
    items = [
        replace(item, body=tuple(_begun(item.body, names, pattern)))
        if isinstance(item, Function) and item.body is not None
        else item
        for item in module.items
    ]
    return render(plan) + print_module(replace(module, items=tuple(items)))


def _begun(body: Sequence[Statement], names: frozenset[str], pattern: dict[int, int]) -> Iterator[Statement]:
    yield from (s for s in body if isinstance(s, Registers))
    for name, type_ in walk.register_types(body):
        if name in names and type_.width in pattern and type_.lanes == 1:
            yield _written(name, type_, pattern[type_.width])
    yield from (s for s in body if not isinstance(s, Registers))


def _written(name: str, type_: Type, value: int) -> Instruction:
    target = Reg(name)
    if type_.width == 1:
        return Instruction("setp", ("eq", "u32"), (target, Int(value), Int(1)))
    constant: Operand = Int(value)
    if type_.is_float and type_.width in (32, 64):
        constant = Float(value, type_.width)  # type: ignore[arg-type]
    return Instruction(
        "mov", (f"{'f' if isinstance(constant, Float) else 'b'}{type_.width}",), (target, constant)
    )
