"""Functions of a module as an entry sees them: whom it reaches, whose address is taken, who needs a stack.

Knows the tree only. An address of a function is a number that stands for it: no memory is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmptx.ptx import ast
from llmptx.ptx.ast import Group, Instruction, Operand, Reg, Scope, Statement, Sym
from llmptx.ptx.errors import PtxError

# No address of a process: a load through a function's address fails as any wild one.
BASE, STEP = 0xF000_0000_0000, 16
STACK_OPCODES = ("alloca", "stacksave", "stackrestore")
Signature = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class CallParts:
    """The operands of a call. `target` is a function's name or the register that holds its address; `list` is
    the name of the .callprototype or .calltargets of an indirect one."""

    results: tuple[Operand, ...]
    target: Sym | Reg
    arguments: tuple[Operand, ...]
    list: str


def call_parts(instruction: Instruction) -> CallParts:
    """Raises PtxError where the operands are not a call's."""
    operands = list(instruction.operands)
    results = _group(operands)
    target = operands.pop(0) if operands else None
    if not isinstance(target, Sym | Reg):
        raise PtxError("a call names a function, or a register with its address", instruction.span)
    arguments = _group(operands)
    listed = operands.pop(0) if operands else None
    if operands or not isinstance(listed, Sym | None):
        raise PtxError("a call is (results), function, (arguments), prototype or list", instruction.span)
    if isinstance(target, Reg) and listed is None:
        raise PtxError(
            "an indirect call needs the name of its .callprototype or .calltargets last", instruction.span
        )
    return CallParts(results, target, arguments, listed.name if listed else "")


def _group(operands: list[Operand]) -> tuple[Operand, ...]:
    """The elements of the group that stands first, taken away."""
    if not operands or not isinstance(operands[0], Group):
        return ()
    group = operands.pop(0)
    assert isinstance(group, Group)
    return group.elements


def signature(results: Sequence[ast.Variable], params: Sequence[ast.Variable]) -> Signature:
    """Bytes of every result and parameter: functions that agree in them can be called alike."""
    return tuple(v.size for v in results), tuple(v.size for v in params)


@dataclass(frozen=True)
class Functions:
    """bodies     functions that can be called, by name
    addresses  the number that is a function's address, declared-only ones too; the same for every entry
    addressed  functions whose address is taken somewhere in the module
    stacked    functions that are not inlined: recursive, called through a pointer, or moving the stack
    """

    bodies: dict[str, ast.Function]
    addresses: dict[str, int]
    addressed: frozenset[str]
    stacked: frozenset[str]

    def taking(self, signature_: Signature) -> tuple[str, ...]:
        """Functions that a pointer of that signature may hold."""
        return tuple(
            name
            for name, f in self.bodies.items()
            if name in self.addressed and signature(f.results, f.params) == signature_
        )


def functions_of(module: ast.Module, entry: ast.Function) -> Functions:
    """What `entry` needs to know of the module's functions."""
    bodies = {f.name: f for f in module.functions if f.kind == "func" and f.body is not None}
    names = dict.fromkeys(f.name for f in module.functions if f.kind == "func")
    addresses = {name: BASE + STEP * i for i, name in enumerate(names)}
    addressed = frozenset(_addressed(module, set(names)))
    edges = {f.name: _callees(f, bodies, addressed) for f in (entry, *bodies.values())}
    reached = _reachable(edges, entry.name)
    pointed = any(_calls_pointer(f) for f in (entry, *bodies.values()) if f.name in reached | {entry.name})
    stacked = {
        name
        for name in reached
        if (pointed and name in addressed)
        or name in _reachable(edges, name)
        or any(i.opcode in STACK_OPCODES for i in _instructions(bodies[name].body or ()))
    }
    return Functions(bodies, addresses, addressed, frozenset(stacked))


def _statements(body: Sequence[Statement]) -> Iterator[Statement]:
    for statement in body:
        if isinstance(statement, Scope):
            yield from _statements(statement.body)
        else:
            yield statement


def _instructions(body: Sequence[Statement]) -> Iterator[Instruction]:
    return (s for s in _statements(body) if isinstance(s, Instruction))


def _addressed(module: ast.Module, names: set[str]) -> Iterator[str]:
    for variable in module.variables:
        yield from (v.name for v in variable.init or () if isinstance(v, Sym) and v.name in names)
    for function in module.functions:
        for statement in _statements(function.body or ()):
            if isinstance(statement, ast.Targets):
                yield from names.intersection(statement.labels)
            elif isinstance(statement, Instruction) and statement.opcode != "call":
                yield from (o.name for o in statement.operands if isinstance(o, Sym) and o.name in names)


def _calls_pointer(function: ast.Function) -> bool:
    return any(
        i.opcode == "call" and isinstance(call_parts(i).target, Reg)
        for i in _instructions(function.body or ())
    )


def _callees(function: ast.Function, bodies: dict[str, ast.Function], addressed: frozenset[str]) -> set[str]:
    """Functions it may call; through a pointer, any whose address is taken."""
    found: set[str] = set()
    for instruction in _instructions(function.body or ()):
        if instruction.opcode == "call":
            target = call_parts(instruction).target
            found |= {target.name} if isinstance(target, Sym) else addressed
    return found & bodies.keys()


def _reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    """What calls from `start` lead to; `start` itself only where it is called again."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in edges[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found
