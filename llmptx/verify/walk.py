"""Walks over a syntax tree that the static rules share: statements at any depth, registers of an operand.

Knows no rule and no instruction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmptx.ptx.ast import (
    Addr,
    Function,
    Group,
    Instruction,
    Module,
    Not,
    Operand,
    Pair,
    Reg,
    Registers,
    Scope,
    Statement,
    Sym,
    Variable,
    Vec,
)
from llmptx.ptx.types import Type


def statements(body: Sequence[Statement]) -> Iterator[Statement]:
    """Every statement in order, those of inner scopes in place of the scope."""
    for statement in body:
        if isinstance(statement, Scope):
            yield from statements(statement.body)
        else:
            yield statement


def instructions(function: Function) -> Iterator[Instruction]:
    return (s for s in statements(function.body or ()) if isinstance(s, Instruction))


def module_variables(module: Module) -> Iterator[Variable]:
    """Variables of the module and of every function body; not parameters."""
    yield from module.variables
    for function in module.functions:
        yield from (s for s in statements(function.body or ()) if isinstance(s, Variable))


def leaves(operand: Operand) -> Iterator[Operand]:
    """The operand taken apart: registers, symbols, constants; of an address, its base."""
    if isinstance(operand, Vec | Group):
        for element in operand.elements:
            yield from leaves(element)
    elif isinstance(operand, Pair):
        yield operand.first
        yield operand.second
    elif isinstance(operand, Not):
        yield operand.reg
    elif isinstance(operand, Addr):
        if operand.base is not None:
            yield operand.base
    else:
        yield operand


def registers(instruction: Instruction) -> Iterator[Reg]:
    """Every register named, the guard's too."""
    if instruction.guard:
        yield instruction.guard.reg
    for operand in instruction.operands:
        yield from (leaf for leaf in leaves(operand) if isinstance(leaf, Reg))


def symbols(operand: Operand) -> Iterator[str]:
    """Names of variables, functions or labels in an operand."""
    return (leaf.name for leaf in leaves(operand) if isinstance(leaf, Sym))


def register_types(body: Sequence[Statement]) -> Iterator[tuple[str, Type]]:
    """Every register of plain statements and its type, `%r<4>` counted out."""
    for statement in body:
        if isinstance(statement, Registers):
            for name, count in statement.names:
                for each in [name] if count is None else (f"{name}{i}" for i in range(count)):
                    yield each, statement.type


def declared(function: Function) -> frozenset[str]:
    """Names of all registers a function declares, `%r<4>` counted out, and its register parameters."""
    names: set[str] = {p.name for p in (*function.params, *function.results) if p.space == "reg"}
    for statement in statements(function.body or ()):
        if isinstance(statement, Registers):
            for name, count in statement.names:
                names.update([name] if count is None else (f"{name}{i}" for i in range(count)))
    return frozenset(names)
