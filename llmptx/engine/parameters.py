"""Where the parameters of calls live: in registers, one for every piece, or in the thread's local memory.

Registers serve as long as every access takes the same pieces. A variable written as two words and read as
four halves, whose address is taken, or that a call on the stack copies, is memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from llmptx import isa
from llmptx.engine.program import Call, Frame, Ins, Placed, Program, up
from llmptx.ptx import ast
from llmptx.ptx.ast import Addr, Operand, Sym, Vec
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import Type

Home = tuple[ast.Variable, Frame | None]


def place_local(program: Program, frame: Frame | None, name: str, variable: ast.Variable) -> None:
    """A variable of local memory: in the activation of `frame`'s function, or the entry's own."""
    if frame is not None:
        at = frame.take(variable.size, variable.alignment)
        program.local[name] = Placed(variable, at, frame.function.name)
        return
    program.local_size = up(program.local_size, variable.alignment)
    program.local[name] = Placed(variable, program.local_size)
    program.local_size += variable.size


def local_modifiers(modifiers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("local" if m.startswith("param") else m for m in modifiers)


def settle(program: Program, homes: dict[str, Home]) -> None:
    """Moves to local memory what registers cannot hold, and rewrites accesses. homes: every call parameter.

    Raises PtxError for an access outside a parameter.
    """
    for name in _in_memory(program, homes):
        variable, frame = homes[name]
        # As the caller may read it in any pieces, whatever it is declared to hold.
        aligned = replace(variable, align=max(variable.alignment, 16 if variable.size >= 16 else 8))
        place_local(program, frame, name, aligned)
        del program.slots[name]
    for i, item in enumerate(program.code):
        if isinstance(item, Ins) and (name := accessed(item)) in program.local:
            instruction = item.matched.instruction
            moved = replace(instruction, modifiers=local_modifiers(instruction.modifiers))
            program.code[i] = replace(item, matched=isa.match(moved))


def _in_memory(program: Program, homes: dict[str, Home]) -> dict[str, None]:
    """The call parameters that are memory, in order."""
    found: dict[str, None] = {}
    pieces: dict[str, set[tuple[int, int]]] = {}
    for item in program.code:
        if isinstance(item, Call):
            found |= {n: None for n in (*item.arguments, *item.results) if n in homes}
        elif isinstance(item, Ins):
            name = accessed(item)
            if name in homes:
                pieces.setdefault(name, set()).update(_pieces(item, homes[name][0], program))
            found |= {n: None for n in _symbols(item) if n in homes}
    return found | {name: None for name, held in pieces.items() if _overlap(held)}


def accessed(ins: Ins) -> str:
    """The variable that an ld.param or st.param names; "" for any other instruction."""
    instruction = ins.matched.instruction
    if instruction.opcode in ("ld", "st") and any(m.startswith("param") for m in instruction.modifiers):
        for operand in instruction.operands:
            if isinstance(operand, Addr) and isinstance(operand.base, Sym):
                return operand.base.name
    return ""


def _pieces(ins: Ins, variable: ast.Variable, program: Program) -> Iterator[tuple[int, int]]:
    """(offset, bytes) of every element."""
    type: Type = ins.matched.modifiers.get("type")
    operands = ins.matched.instruction.operands
    start = next(o.offset for o in operands if isinstance(o, Addr))
    count = next((len(o.elements) for o in operands if isinstance(o, Vec)), 1)
    end = start + count * type.bytes
    if start < 0 or (variable.size and end > variable.size):
        raise PtxError(
            f"bytes {start} to {end - 1} of {variable.name}, which has {variable.size}", program.spans[ins.pc]
        )
    for i in range(count):
        yield start + i * type.bytes, type.bytes


def _overlap(pieces: set[tuple[int, int]]) -> bool:
    """Whether two different pieces share a byte."""
    end = 0
    for start, size in sorted(pieces):
        if start < end:
            return True
        end = start + size
    return False


def _symbols(ins: Ins) -> Iterator[str]:
    """Names whose address is taken."""
    for operand in ins.matched.instruction.operands:
        yield from _named(operand)


def _named(operand: Operand) -> Iterator[str]:
    if isinstance(operand, Sym):
        yield operand.name
