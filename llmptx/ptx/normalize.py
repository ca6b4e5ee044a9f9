"""One text for all that differ only in names of registers and labels, comments, blanks and debug lines.

Registers and labels are named anew, function by function, in the order they first appear, and declared at its
start; registers nobody names and labels nobody goes to are left out. Names of entries, parameters and
variables stay, and so does every header line. Knows no instruction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from llmptx.ptx.ast import (
    Addr,
    Directive,
    Function,
    Group,
    Guard,
    Instruction,
    Label,
    Module,
    Not,
    Operand,
    Pair,
    Prototype,
    Reg,
    Registers,
    Scope,
    Statement,
    Sym,
    Targets,
    Variable,
    Vec,
)
from llmptx.ptx.operands import range_of
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import parse_header, render
from llmptx.ptx.printer import print_module
from llmptx.ptx.types import Type

Named = Callable[[str], str]

_DEBUG = ("loc", "file", "section")


def normalized(text: str) -> str:
    """The canonical text: header lines, then PTX. Raises PtxError for a wrong text or header."""
    module = parse(text)
    plan = parse_header(text)
    header = render(plan) if plan else ""
    return header + print_module(normalized_module(module))


def candidate_hash(text: str) -> str:
    """SHA-256, in hexadecimal, of the canonical text. Raises PtxError for a wrong text or header."""
    return hashlib.sha256(normalized(text).encode("ascii")).hexdigest()


def normalized_module(module: Module) -> Module:
    """The canonical tree."""
    items: list[Variable | Function | Directive] = []
    for item in module.items:
        if isinstance(item, Function):
            items.append(_function(item))
        elif not (isinstance(item, Directive) and item.name in _DEBUG):
            items.append(item)
    target = tuple(name for name in module.target if name != "debug")
    return replace(module, target=target, items=tuple(items))


def _function(function: Function) -> Function:
    if function.body is None:
        return function
    resolver = _Resolver()
    resolver.kept.update(variable.name for variable in (*function.params, *function.results))
    body = resolver.body(function.body)
    namer = _Namer(resolver)
    named = namer.body(body)
    return replace(function, body=(*namer.declarations(), *named))


@dataclass
class _Names:
    """What one scope declares: ids by name, and by prefix the count and kind of ranges."""

    registers: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, tuple[Type, int]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)


class _Resolver:
    """Puts an id of its own in place of every register and label: `#3`, which no PTX name can be.

    declared    type and vector length of each register's id
    targeted    labels' ids that something goes to
    kept        names left as they are
    """

    def __init__(self) -> None:
        self.declared: dict[int, tuple[Type, int]] = {}
        self.targeted: set[int] = set()
        self.kept: set[str] = set()
        self._scopes: list[_Names] = []
        self._count = 0

    def body(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        statements = tuple(statements)
        scope = _Names()
        self._scopes.append(scope)
        for each in statements:
            if isinstance(each, Label | Targets | Prototype):
                scope.labels[each.name] = self._new()
        resolved = [new for each in statements if (new := self._statement(each))]
        self._scopes.pop()
        return tuple(resolved)

    def _new(self) -> int:
        self._count += 1
        return self._count

    def _statement(self, statement: Statement) -> Statement | None:
        match statement:
            case Registers():
                self._declare(statement)
                return None
            case Directive(name):
                return None if name in _DEBUG else statement
            case Variable(name=name):
                self._scopes[-1].variables.add(name)
                self.kept.add(name)
                return statement
            case Scope(body):
                return replace(statement, body=self.body(body))
            case Targets(name, labels):
                return replace(statement, name=self._defined(name), labels=tuple(map(self.symbol, labels)))
            case Label(name) | Prototype(name):
                return replace(statement, name=self._defined(name))
        return _instruction(statement, self.register, self.symbol)

    def _defined(self, name: str) -> str:
        return f"#{self._scopes[-1].labels[name]}"

    def _declare(self, registers: Registers) -> None:
        scope = self._scopes[-1]
        kind = (registers.type, registers.vec)
        for name, count in registers.names:
            if count is None:
                scope.registers[name] = new = self._new()
                self.declared[new] = kind
            else:
                scope.ranges[name] = count
                scope.kinds[name] = kind

    def register(self, name: str) -> str:
        """The id in place of a register's name; an element of a vector stays one."""
        base, dot, element = name.partition(".")
        for scope in reversed(self._scopes):
            if base not in scope.registers:
                prefix = range_of(base, scope.ranges)
                if prefix is None:
                    continue
                scope.registers[base] = new = self._new()
                self.declared[new] = scope.kinds[prefix]
            return f"#{scope.registers[base]}{dot}{element}"
        self.kept.add(base)
        return name

    def symbol(self, name: str) -> str:
        """The id in place of a label's name; any other name stays."""
        for scope in reversed(self._scopes):
            if name in scope.variables:
                break
            if name in scope.labels:
                self.targeted.add(scope.labels[name])
                return f"#{scope.labels[name]}"
        self.kept.add(name)
        return name


class _Namer:
    """Puts names in place of ids, in the order they appear, and leaves out labels nothing goes to."""

    def __init__(self, resolver: _Resolver) -> None:
        self._resolver = resolver
        self._names: dict[str, str] = {}
        self._counts: dict[tuple[Type, int], int] = {}
        self._labels = 0
        self._mark = "_"
        # a register or label must not come to be called what something else is called
        while any(re.fullmatch(rf"(\$L|%\w+?){self._mark}\d+", name) for name in resolver.kept):
            self._mark += "_"

    def declarations(self) -> list[Registers]:
        """One range for each type, in the order the types appear."""
        return [
            Registers(kind[0], ((self._prefix(kind), count),), kind[1])
            for kind, count in self._counts.items()
        ]

    def body(self, statements: Iterable[Statement]) -> tuple[Statement, ...]:
        return tuple(new for each in statements if (new := self._statement(each)))

    def _statement(self, statement: Statement) -> Statement | None:
        match statement:
            case Label(name):
                targeted = int(name[1:]) in self._resolver.targeted
                return Label(self.symbol(name)) if targeted else None
            case Scope(body):
                return Scope(self.body(body))
            case Targets(name, labels):
                return replace(statement, name=self.symbol(name), labels=tuple(map(self.symbol, labels)))
            case Prototype(name):
                return replace(statement, name=self.symbol(name))
            case Instruction():
                return _instruction(statement, self.register, self.symbol)
        return statement

    def _prefix(self, kind: tuple[Type, int]) -> str:
        type_, vec = kind
        return f"%{f'v{vec}' if vec > 1 else ''}{type_}{self._mark}"

    def register(self, name: str) -> str:
        base, dot, element = name.partition(".")
        if base[0] != "#":
            return name
        if base not in self._names:
            kind = self._resolver.declared[int(base[1:])]
            number = self._counts.get(kind, 0)
            self._counts[kind] = number + 1
            self._names[base] = f"{self._prefix(kind)}{number}"
        return f"{self._names[base]}{dot}{element}"

    def symbol(self, name: str) -> str:
        if name[0] != "#":
            return name
        if name not in self._names:
            self._names[name] = f"$L{self._mark}{self._labels}"
            self._labels += 1
        return self._names[name]


def _instruction(instruction: Instruction, register: Named, symbol: Named) -> Instruction:
    guard = instruction.guard
    if guard:
        guard = Guard(Reg(register(guard.reg.name)), guard.negated)
    operands = tuple(_operand(each, register, symbol) for each in instruction.operands)
    return Instruction(instruction.opcode, instruction.modifiers, operands, guard)


def _operand(operand: Operand, register: Named, symbol: Named) -> Operand:
    match operand:
        case Reg(name):
            return Reg(register(name))
        case Sym(name, offset):
            return Sym(symbol(name), offset)
        case Addr(base, offset) if base is not None:
            named = Reg(register(base.name)) if isinstance(base, Reg) else Sym(symbol(base.name))
            return Addr(named, offset)
        case Not(reg):
            return Not(Reg(register(reg.name)))
        case Pair(first, second):
            a, b = (Reg(register(side.name)) if isinstance(side, Reg) else side for side in (first, second))
            return Pair(a, b)
        case Vec(elements):
            return Vec(tuple(_operand(each, register, symbol) for each in elements))
        case Group(elements):
            return Group(tuple(_operand(each, register, symbol) for each in elements))
    return operand
