"""Registers that are written again within a block, told apart: each value of `%r` gets a name of its own.

People and models reuse a name for an index, its scaled offset and the address made of it. Apart, each has
its own shape;
together they would have none. Only the last value in a block keeps the name, so nothing outside the block
changes.
"""

from __future__ import annotations

from dataclasses import replace

from llmptx.engine.program import Ins, Program
from llmptx.isa.form import Matched
from llmptx.ptx.ast import Addr, Group, Not, Operand, Pair, Reg, Sink, Vec


def split(program: Program, body: list[Ins], kept: set[str]) -> list[Ins]:
    """The block's instructions with all but the last value of a register renamed; `kept` names are left
    alone.
    """
    starts: dict[str, list[int]] = {}
    for at, ins in enumerate(body):
        for name in _destinations(ins):
            if name in program.registers and name not in kept:
                starts.setdefault(name, [])
                # A guarded write keeps part of the old value: it belongs to the same name.
                if ins.guard is None:
                    starts[name].append(at)
    many = {name: places for name, places in starts.items() if len(places) > 1}
    if not many:
        return body
    current: dict[str, str] = {}
    out = []
    for at, ins in enumerate(body):
        before = dict(current)
        for name in _destinations(ins):
            if name in many and ins.guard is None:
                current[name] = name if at == many[name][-1] else _fresh(program, name)
        out.append(_renamed(ins, before, current) if before or current else ins)
    return out


def _fresh(program: Program, name: str) -> str:
    number = 1
    while f"{name}#{number}" in program.registers:
        number += 1
    fresh = f"{name}#{number}"
    program.registers[fresh] = program.registers[name]
    return fresh


def _destinations(ins: Ins) -> list[str]:
    found: list[str] = []
    for spec, operand, _ in ins.matched.operands:
        if spec.destination:
            found += _names(operand)
    return found


def _names(operand: Operand) -> list[str]:
    match operand:
        case Reg(name):
            return [name]
        case Vec(elements):
            return [n for e in elements for n in _names(e)]
        case Pair(first, second):
            return _names(first) + _names(second)
        case _:
            return []


def _renamed(ins: Ins, sources: dict[str, str], destinations: dict[str, str]) -> Ins:
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
