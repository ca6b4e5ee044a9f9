"""One entry of a module, made flat: scopes renamed apart, calls inlined, every instruction matched to its
row.

Knows the table (through `isa.match`) and the tree; knows no LLVM, no lanes and no memory. What cannot be
run is
refused here with a PtxError, before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from llmptx import isa
from llmptx.isa.form import Matched
from llmptx.ptx import ast
from llmptx.ptx.ast import Addr, Group, Guard, Instruction, Not, Operand, Pair, Reg, Sink, Span, Sym, Vec
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import Type

ELEMENTS = ("x", "y", "z", "w")
SHARED_ALIGN = 128
BARRIERS = ("bar", "barrier")
MAX_INLINED = 200_000


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a call's argument or result lives: a register of its own for every (variable, byte offset)."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Ins:
    """A matched instruction with its operands renamed apart; `pc` indexes Program.spans."""

    matched: Matched
    guard: Guard | None
    pc: int

    @property
    def opcode(self) -> str:
        return self.matched.form.opcode


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of the flat code."""

    name: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A variable with its byte offset in its space's window (params: in the parameter buffer)."""

    variable: ast.Variable
    offset: int


@dataclass
class Program:
    """The flat code of an entry, and everything it names.

    shared_size, local_size   bytes of the static windows
    param_size                bytes of the parameter buffer
    module_variables          .global and .const variables the code names, in order; their addresses come at
                              launch
    """

    entry: ast.Function
    code: list[Ins | Mark] = field(default_factory=list)
    registers: dict[str, Type] = field(default_factory=dict)
    vectors: dict[str, int] = field(default_factory=dict)
    params: dict[str, Placed] = field(default_factory=dict)
    shared: dict[str, Placed] = field(default_factory=dict)
    local: dict[str, Placed] = field(default_factory=dict)
    module_variables: dict[str, ast.Variable] = field(default_factory=dict)
    slots: dict[str, dict[int, int]] = field(default_factory=dict)
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    dynamic_shared: str = ""
    shared_size: int = 0
    local_size: int = 0
    param_size: int = 0


def flatten(module: ast.Module, entry: str) -> Program:
    """The program of `entry`. Raises PtxError for an unknown entry or anything the engine does not run."""
    functions = {f.name: f for f in module.functions if f.body is not None}
    chosen = functions.get(entry)
    if chosen is None or chosen.kind != "entry":
        there = ", ".join(f.name for f in module.entries) or "none"
        raise PtxError(f"no entry is named {entry!r}; entries: {there}")
    program = Program(chosen)
    for param in chosen.params:
        program.param_size = -(-program.param_size // param.alignment) * param.alignment
        program.params[param.name] = Placed(param, program.param_size)
        program.param_size += param.size
    _Flattener(module, functions, program).run()
    return program


class _Flattener:
    def __init__(self, module: ast.Module, functions: dict[str, ast.Function], program: Program) -> None:
        self.functions = functions
        self.program = program
        self.globals = {v.name: v for v in module.variables}
        self.fresh = 0
        self.stack: list[str] = []

    def run(self) -> None:
        entry = self.program.entry
        names = {p.name: p.name for p in entry.params}
        self.stack.append(entry.name)
        self._body(entry.body or (), names, None)

    def _number(self) -> int:
        self.fresh += 1
        return self.fresh

    def _body(self, body: tuple[ast.Statement, ...], outer: dict[str, str], returns: str | None) -> None:
        """`outer` maps names to their flat names; `returns` is the label a `ret` jumps to (None: the
        entry's).
        """
        names = dict(outer)
        tag = "" if not self.fresh else f"@{self.fresh}"
        for statement in body:
            if isinstance(statement, ast.Label | ast.Targets):
                names[statement.name] = statement.name + tag
        for statement in body:
            self._declare(statement, names, tag)
        for statement in body:
            match statement:
                case ast.Label(name):
                    self.program.code.append(Mark(names[name]))
                case ast.Scope(inner):
                    self._number()
                    self._body(inner, names, returns)
                case Instruction():
                    self._instruction(statement, names, returns)
                case ast.Targets(name, labels):
                    self.program.targets[names[name]] = tuple(names.get(label, label) for label in labels)
                case _:
                    continue

    def _declare(self, statement: ast.Statement, names: dict[str, str], tag: str) -> None:
        if isinstance(statement, ast.Registers):
            for name, count in statement.names:
                for one in [name] if count is None else [f"{name}{i}" for i in range(count)]:
                    names[one] = one + tag
                    self._register(one + tag, statement.type, statement.vec)
        elif isinstance(statement, ast.Variable):
            flat = statement.name + tag
            names[statement.name] = flat
            if statement.space == "reg":
                self._register(flat, statement.type, statement.vec)
            elif statement.space == "param":
                self.program.slots.setdefault(flat, {})
            elif statement.space == "shared":
                self._place_shared(flat, statement)
            elif statement.space == "local":
                self.program.local_size = _up(self.program.local_size, statement.alignment)
                self.program.local[flat] = Placed(statement, self.program.local_size)
                self.program.local_size += statement.size
            else:
                self.program.module_variables[flat] = statement

    def _register(self, name: str, type: Type, vec: int) -> None:
        if type.width > 64:
            raise PtxError(
                f"register {name.partition('@')[0]} is {type.width} bits wide; the engine runs up to 64"
            )
        if vec == 1:
            self.program.registers[name] = type
            return
        self.program.vectors[name] = vec
        for element in ELEMENTS[:vec]:
            self.program.registers[f"{name}.{element}"] = type

    def _place_shared(self, name: str, variable: ast.Variable) -> None:
        program = self.program
        if variable.linkage == "extern" or 0 in variable.shape:
            program.dynamic_shared = name
            program.shared[name] = Placed(variable, -1)
            return
        program.shared_size = _up(program.shared_size, max(variable.alignment, SHARED_ALIGN))
        program.shared[name] = Placed(variable, program.shared_size)
        program.shared_size += variable.size

    # instructions

    def _instruction(self, instruction: Instruction, names: dict[str, str], returns: str | None) -> None:
        if len(self.program.code) > MAX_INLINED:
            raise PtxError(
                f"more than {MAX_INLINED} instructions after inlining every call", instruction.span
            )
        if instruction.opcode == "call":
            self._call(instruction, names)
            return
        operands = tuple(self._operand(o, names) for o in instruction.operands)
        guard = instruction.guard
        if guard is not None:
            guard = replace(guard, reg=self._reg(guard.reg, names))
        renamed = replace(instruction, operands=operands, guard=guard)
        if instruction.opcode == "ret" and returns is not None:
            renamed = replace(renamed, opcode="bra", modifiers=(), operands=(Sym(returns),))
        self._emit(renamed)

    def _emit(self, instruction: Instruction) -> None:
        matched = isa.match(instruction)
        self.program.spans.append(instruction.span)
        self.program.code.append(Ins(matched, instruction.guard, len(self.program.spans) - 1))

    def _operand(self, operand: Operand, names: dict[str, str]) -> Operand:
        match operand:
            case Reg():
                return self._whole(self._reg(operand, names))
            case Not(reg):
                return replace(operand, reg=self._reg(reg, names))
            case Sym(name):
                return replace(operand, name=self._symbol(name, names, operand.span))
            case Addr(Reg() as base):
                return replace(operand, base=self._reg(base, names))
            case Addr(Sym(name) as base):
                if names.get(name, name) in self.program.registers:
                    return replace(operand, base=Reg(names.get(name, name), base.span))
                return replace(operand, base=replace(base, name=self._symbol(name, names, operand.span)))
            case Vec(elements) | Group(elements):
                return replace(operand, elements=tuple(self._operand(e, names) for e in elements))
            case Pair(first, second):
                return replace(
                    operand,
                    first=first if isinstance(first, Sink) else self._reg(first, names),
                    second=second if isinstance(second, Sink) else self._reg(second, names),
                )
            case _:
                return operand

    def _whole(self, reg: Reg) -> Reg | Vec:
        vec = self.program.vectors.get(reg.name)
        if vec is None:
            return reg
        return Vec(tuple(Reg(f"{reg.name}.{e}", reg.span) for e in ELEMENTS[:vec]), reg.span)

    def _reg(self, reg: Reg, names: dict[str, str]) -> Reg:
        if reg.name in names:
            return replace(reg, name=names[reg.name])
        stem, dot, element = reg.name.rpartition(".")
        if dot and stem in names:
            aliases = {"r": "x", "g": "y", "b": "z", "a": "w"}
            return replace(reg, name=f"{names[stem]}.{aliases.get(element, element)}")
        if reg.name in SPECIAL:
            return reg
        hint = "a special register the engine does not have" if "." in reg.name else "never declared"
        raise PtxError(f"register {reg.name} is {hint}", reg.span)

    def _symbol(self, name: str, names: dict[str, str], span: Span) -> str:
        if name in names:
            return names[name]
        variable = self.globals.get(name)
        if variable is not None:
            if variable.space == "shared":
                if name not in self.program.shared:
                    self._place_shared(name, variable)
            elif variable.linkage == "extern":
                raise PtxError(f"{name} is extern: nothing defines it", span)
            else:
                self._name_variable(name, variable)
            return name
        raise PtxError(f"{name} is neither a label, a variable nor a parameter here", span)

    def _name_variable(self, name: str, variable: ast.Variable) -> None:
        self.program.module_variables[name] = variable
        for value in variable.init or ():
            if isinstance(value, Sym) and value.name not in self.program.module_variables:
                self._symbol(value.name, {}, variable.span)

    # calls

    def _call(self, instruction: Instruction, names: dict[str, str]) -> None:
        results, target, arguments = _call_parts(instruction)
        function = self.functions.get(target.name)
        if function is None:
            raise PtxError(
                f"call of {target.name}: no body of that function is in this module", instruction.span
            )
        if function.name in self.stack:
            chain = " -> ".join([*self.stack, function.name])
            raise PtxError(
                f"recursive call {chain}: the engine inlines calls and cannot run it", instruction.span
            )
        if len(results) != len(function.results) or len(arguments) != len(function.params):
            raise PtxError(
                f"{function.name} takes {len(function.params)} arguments and gives "
                f"{len(function.results)} results, not {len(arguments)} and {len(results)}",
                instruction.span,
            )
        number = self._number()
        done = f"return@{number}"
        skip = f"skip@{number}"
        if instruction.guard is not None:
            guard = instruction.guard
            inverse = replace(guard, reg=self._reg(guard.reg, names), negated=not guard.negated)
            self._emit(Instruction("bra", (), (Sym(skip),), inverse, instruction.span))
        inner: dict[str, str] = {}
        after: list[tuple[Reg, str, Type]] = []
        for param, argument in zip(function.params, arguments, strict=True):
            self._bind_argument(param, self._operand(argument, names), inner, number, instruction.span)
        for result, place in zip(function.results, results, strict=True):
            bound = self._operand(place, names)
            if isinstance(bound, Sym) and result.space == "param":
                inner[result.name] = bound.name
            else:
                flat = f"{result.name}@{number}"
                inner[result.name] = flat
                self._register(flat, result.type, 1)
                if not isinstance(bound, Reg):
                    raise PtxError(f"a .reg result of {function.name} goes to a register", instruction.span)
                after.append((bound, flat, result.type))
        self.stack.append(function.name)
        self._body(function.body or (), inner, done)
        self.stack.pop()
        self.program.code.append(Mark(done))
        for register, flat, type in after:
            self._move(register, Reg(flat), type, instruction.span)
        self.program.code.append(Mark(skip))

    def _bind_argument(
        self, param: ast.Variable, argument: Operand, inner: dict[str, str], number: int, span: Span
    ) -> None:
        if isinstance(argument, Sym) and argument.name in self.program.slots and param.space == "param":
            inner[param.name] = argument.name
            return
        flat = f"{param.name}@{number}"
        inner[param.name] = flat
        if param.space == "reg":
            self._register(flat, param.type, 1)
            self._move(Reg(flat), argument, param.type, span)
        else:
            self.program.slots.setdefault(flat, {})
            self._move(Reg(self.slot(flat, 0, param.type, span)), argument, param.type, span)

    def _move(self, to: Reg, source: Operand, type: Type, span: Span) -> None:
        name = "pred" if type.kind == "pred" else f"b{type.width}"
        self._emit(Instruction("mov", (name,), (to, source), None, span))

    def slot(self, variable: str, offset: int, type: Type, span: Span) -> str:
        return slot_register(self.program, variable, offset, type, span)


def slot_register(program: Program, variable: str, offset: int, type: Type, span: Span) -> str:
    """The register that stands for bytes [offset, offset + size) of a call parameter. Raises PtxError on
    overlap.
    """
    held = program.slots[variable]
    size = type.bytes
    for start, length in held.items():
        if start < offset + size and offset < start + length and (start, length) != (offset, size):
            raise PtxError(
                f"call parameter {variable.partition('@')[0]} is accessed in pieces of different sizes",
                span,
            )
    held[offset] = size
    name = f"{variable}+{offset}"
    program.registers.setdefault(name, Type("b", type.width))
    return name


def _call_parts(instruction: Instruction) -> tuple[tuple[Operand, ...], Sym, tuple[Operand, ...]]:
    operands = list(instruction.operands)
    results: tuple[Operand, ...] = ()
    if operands and isinstance(operands[0], Group):
        first = operands.pop(0)
        assert isinstance(first, Group)
        results = first.elements
    if not operands or not isinstance(operands[0], Sym):
        raise PtxError(
            "indirect calls are not supported: the engine inlines the function it is told", instruction.span
        )
    target = operands.pop(0)
    assert isinstance(target, Sym)
    arguments: tuple[Operand, ...] = ()
    if operands and isinstance(operands[0], Group):
        second = operands[0]
        arguments = second.elements
    return results, target, arguments


def _up(value: int, to: int) -> int:
    return -(-value // to) * to


def _special() -> dict[str, Type]:
    u32, u64 = Type("u", 32), Type("u", 64)
    names = {f"%{n}.{e}": u32 for n in ("tid", "ntid", "ctaid", "nctaid") for e in "xyz"}
    names |= {f"%{n}": u32 for n in ("laneid", "warpid", "nwarpid", "smid", "nsmid", "clock", "clock_hi")}
    names |= {f"%lanemask_{n}": u32 for n in ("eq", "le", "lt", "ge", "gt")}
    names |= {
        f"%{n}": u32 for n in ("dynamic_smem_size", "total_smem_size", "globaltimer_lo", "globaltimer_hi")
    }
    names |= {"%clock64": u64, "%globaltimer": u64, "%gridid": u64}
    return names


SPECIAL = _special()


def registers_of(operand: Operand) -> Iterator[str]:
    """Names of the registers an operand mentions."""
    match operand:
        case Reg(name):
            yield name
        case Not(reg) | Addr(Reg() as reg):
            yield reg.name
        case Vec(elements) | Group(elements):
            for element in elements:
                yield from registers_of(element)
        case Pair(first, second):
            yield from registers_of(first)
            yield from registers_of(second)
        case _:
            return
