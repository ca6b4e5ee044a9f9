"""One entry of a module, made flat: scopes renamed apart, calls inlined, instructions matched to their rows.

Functions that cannot be inlined (recursive, called through a pointer) follow the entry's code, each once;
`Call` and `Return` items lead there and back. Knows the table (through `isa.match`) and the tree; knows no
LLVM, no lanes and no memory. What cannot be run is refused here with a PtxError, before anything runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from llmptx import isa
from llmptx.engine.functions import STACK_OPCODES, CallParts, Functions, call_parts, functions_of, signature
from llmptx.engine.parameters import local_modifiers, place_local, settle
from llmptx.engine.printing import VPRINTF, vprintf_operands
from llmptx.engine.program import (
    RESERVED,
    RESERVED_BYTES,
    SPECIAL,
    Call,
    Frame,
    Ins,
    Mark,
    Placed,
    Program,
    Return,
    up,
)
from llmptx.isa.form import Matched, Modifiers
from llmptx.ptx import ast
from llmptx.ptx.ast import Addr, Group, Instruction, Int, Not, Operand, Pair, Reg, Sink, Span, Sym, Vec
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import Type

ELEMENTS = ("x", "y", "z", "w")
SHARED_ALIGN = 128
MAX_CODE = 200_000
# Beyond these a call is not inlined, however plain it is.
INLINED_CODE, INLINED_DEPTH = 10_000, 64


def flatten(module: ast.Module, entry: str) -> Program:
    """The program of `entry`. Raises PtxError for an unknown entry or anything the engine does not run."""
    chosen = next((f for f in module.functions if f.name == entry and f.body is not None), None)
    if chosen is None or chosen.kind != "entry":
        there = ", ".join(f.name for f in module.entries) or "none"
        raise PtxError(f"no entry is named {entry!r}; entries: {there}")
    program = Program(chosen, debug="debug" in module.target)
    for param in chosen.params:
        program.param_size = -(-program.param_size // param.alignment) * param.alignment
        program.params[param.name] = Placed(param, program.param_size)
        program.param_size += param.size
    functions = functions_of(module, chosen)
    program.functions = functions.addresses
    flattener = _Flattener(module, functions, program)
    flattener.run()
    settle(program, flattener.variables)
    return program


class _Flattener:
    """variables: call parameters by flat name, each with the frame in whose code it was declared (None: the
    entry's)."""

    def __init__(self, module: ast.Module, functions: Functions, program: Program) -> None:
        self.functions = functions
        self.program = program
        self.globals = {v.name: v for v in module.variables}
        self.fresh = 0
        self.stack: list[str] = []
        self.frame: Frame | None = None
        self.variables: dict[str, tuple[ast.Variable, Frame | None]] = {}
        self.prototypes: dict[str, ast.Prototype] = {}
        self.shared_names: dict[int, str] = {}
        self.returns: Counter[str] = Counter()

    def run(self) -> None:
        entry = self.program.entry
        names = {p.name: p.name for p in entry.params}
        self.stack.append(entry.name)
        self._body(entry.body or (), names, None)
        self._emit(Instruction("ret", (), (), None, entry.span))
        done: set[str] = set()
        while waiting := [name for name in self.program.frames if name not in done]:
            done.add(waiting[0])
            self._function(self.program.frames[waiting[0]])

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
            if isinstance(statement, ast.Label | ast.Targets | ast.Prototype):
                names[statement.name] = statement.name + tag
        for statement in body:
            match statement:
                case ast.Targets(name, labels):
                    self.program.targets[names[name]] = tuple(names.get(label, label) for label in labels)
                case ast.Prototype(name):
                    self.prototypes[names[name]] = statement
                case _:
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
            if statement.space == "shared":
                # One variable of the block, however often its function is inlined.
                flat = self.shared_names.setdefault(id(statement), flat)
            names[statement.name] = flat
            if statement.space == "reg":
                self._register(flat, statement.type, statement.vec)
            elif statement.space == "param":
                self._parameter(flat, statement)
            elif statement.space == "shared":
                if flat not in self.program.shared:
                    self._place_shared(flat, statement)
            elif statement.space == "local":
                self._place_local(flat, statement)
            else:
                self.program.module_variables[flat] = statement

    def _parameter(self, flat: str, variable: ast.Variable) -> None:
        """A parameter of a call, in registers until `settle` finds that it cannot be."""
        self.program.slots.setdefault(flat, {})
        self.variables[flat] = (variable, self.frame)

    def _place_local(self, flat: str, variable: ast.Variable) -> None:
        place_local(self.program, self.frame, flat, variable)

    def _register(self, name: str, type: Type, vec: int) -> None:
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
        program.shared_size = up(program.shared_size, max(variable.alignment, SHARED_ALIGN))
        program.shared[name] = Placed(variable, program.shared_size)
        program.shared_size += variable.size

    def _reserved(self, reg: Reg) -> Operand:
        """The start, end or size of the system's part of the shared window, or a place in it (PTX ISA 10)."""
        program = self.program
        places = {"begin": 0, "end": RESERVED_BYTES, "0": 0, "1": RESERVED_BYTES // 2}
        which = reg.name.removeprefix(RESERVED)
        if which == "cap":
            return Int(RESERVED_BYTES, span=reg.span)
        if which not in places:
            raise PtxError(f"register {reg.name} is a special register the engine does not have", reg.span)
        if program.reserved is None:
            self._place_shared(RESERVED, ast.Variable("shared", Type("b", 8), RESERVED, (RESERVED_BYTES,)))
            program.reserved = program.shared[RESERVED].offset
        return Sym(RESERVED, places[which], span=reg.span)

    # instructions

    def _instruction(self, instruction: Instruction, names: dict[str, str], returns: str | None) -> None:
        if len(self.program.code) > MAX_CODE:
            raise PtxError(f"more than {MAX_CODE} instructions after inlining every call", instruction.span)
        if instruction.opcode == "call":
            self._call(instruction, names)
            return
        self.program.moves_stack |= instruction.opcode in STACK_OPCODES
        operands = tuple(self._operand(o, names) for o in instruction.operands)
        guard = instruction.guard
        if guard is not None:
            guard = replace(guard, reg=self._reg(guard.reg, names))
        renamed = replace(instruction, operands=operands, guard=guard)
        if instruction.opcode == "ret" and returns is not None:
            renamed = replace(renamed, opcode="bra", modifiers=(), operands=(Sym(returns),))
            self.returns[returns] += 1
        if returns is not None and _by_address(renamed):
            # A function's parameter whose address is taken is local memory.
            renamed = replace(renamed, modifiers=local_modifiers(renamed.modifiers))
        self._emit(renamed)

    def _emit(self, instruction: Instruction) -> None:
        self._add(isa.match(instruction), instruction)

    def _add(self, matched: Matched, instruction: Instruction) -> None:
        self.program.code.append(Ins(matched, instruction.guard, self._place(instruction.span)))

    def _place(self, span: Span) -> int:
        self.program.spans.append(span)
        return len(self.program.spans) - 1

    def _operand(self, operand: Operand, names: dict[str, str]) -> Operand:
        match operand:
            case Reg(name) if name.startswith(RESERVED) and name not in names:
                return self._reserved(operand)
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
        if name in self.functions.addresses:
            return name
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
        parts = call_parts(instruction)
        skip = f"skip@{self._number()}"
        if instruction.guard is not None:
            guard = instruction.guard
            inverse = replace(guard, reg=self._reg(guard.reg, names), negated=not guard.negated)
            self._emit(Instruction("bra", (), (Sym(skip),), inverse, instruction.span))
        renamed = replace(
            parts,
            results=tuple(self._operand(o, names) for o in parts.results),
            arguments=tuple(self._operand(o, names) for o in parts.arguments),
        )
        if isinstance(parts.target, Reg):
            self._call_pointer(renamed, self._reg(parts.target, names), names, instruction.span)
        else:
            self._call_named(renamed, parts.target.name, instruction.span)
        if instruction.guard is not None:
            self.program.code.append(Mark(skip))

    def _call_named(self, parts: CallParts, name: str, span: Span) -> None:
        function = self.functions.bodies.get(name)
        if function is None and name == "vprintf":
            self._vprintf(parts, span)
        elif function is None and name == "__assertfail":
            self._emit(Instruction("trap", (), (), None, span))
        elif function is None and self.frame and self.frame.function.name in self.functions.addressed:
            # Only a pointer leads here, perhaps never: nvcc puts destructors that call free in every vtable.
            self._emit(Instruction("trap", (), (), None, span))
        elif function is None:
            raise PtxError(f"call of {name}: no body of that function is in this module", span)
        elif _matches(function, parts, span) and self._plain(name):
            self._inline(parts, function, span)
        else:
            self._stacked(parts, (self._frame_of(function),), "", span)

    def _plain(self, name: str) -> bool:
        if name in self.functions.stacked or name in self.program.frames:
            return False
        return len(self.program.code) < INLINED_CODE and len(self.stack) < INLINED_DEPTH

    def _inline(self, parts: CallParts, function: ast.Function, span: Span) -> None:
        number = self._number()
        done = f"return@{number}"
        inner: dict[str, str] = {}
        after: list[tuple[Operand, str, Type]] = []
        for param, argument in zip(function.params, parts.arguments, strict=True):
            self._bind_argument(param, argument, inner, number, span)
        for result, place in zip(function.results, parts.results, strict=True):
            if isinstance(place, Sym) and result.space == "param":
                inner[result.name] = place.name
                continue
            flat = f"{result.name}@{number}"
            inner[result.name] = flat
            if result.space == "param":
                self._parameter(flat, result)
            else:
                self._register(flat, result.type, result.vec)
            if isinstance(place, Vec) and len(place.elements) == result.vec:
                names = (f"{flat}.{e}" for e in ELEMENTS)
                after += [(to, name, result.type) for to, name in zip(place.elements, names, strict=False)]
            elif isinstance(place, Reg) and result.vec == 1:
                after.append((place, flat, result.type))
            elif not isinstance(place, Sink):
                raise PtxError(f"a .reg result of {function.name} goes to a register of its size", span)
        self.stack.append(function.name)
        self._body(function.body or (), inner, done)
        self.stack.pop()
        self._end(done)
        for register, flat, type in after:
            if flat in self.program.slots:
                self._access("ld", "param", flat, register, type.bytes, span)
            elif not isinstance(register, Sink):
                self._move(register, Reg(flat), type, span)

    def _end(self, done: str) -> None:
        """Where the returns of a function go, if any does not just run into it."""
        code = self.program.code
        last = code[-1]
        if isinstance(last, Ins) and last.guard is None and _goes_to(last, done):
            code.pop()
            self.returns[done] -= 1
        if self.returns[done]:
            code.append(Mark(done))

    def _bind_argument(
        self, param: ast.Variable, argument: Operand, inner: dict[str, str], number: int, span: Span
    ) -> None:
        if isinstance(argument, Sym) and argument.name in self.variables and param.space == "param":
            inner[param.name] = argument.name
            return
        flat = f"{param.name}@{number}"
        inner[param.name] = flat
        if param.space == "reg":
            self._register(flat, param.type, param.vec)
            self._pass(flat, argument, param, span)
        else:
            self._parameter(flat, param)
            self._access("st", "param", flat, argument, param.size, span)

    def _pass(self, flat: str, argument: Operand, param: ast.Variable, span: Span) -> None:
        """An argument to the register of a parameter, element by element where it is a vector."""
        if param.vec == 1:
            self._move(Reg(flat), argument, param.type, span)
            return
        if not isinstance(argument, Vec) or len(argument.elements) != param.vec:
            raise PtxError(f"{param.name} is a vector of {param.vec} registers: pass one of that size", span)
        for name, element in zip(ELEMENTS, argument.elements, strict=False):
            self._move(Reg(f"{flat}.{name}"), element, param.type, span)

    def _move(self, to: Operand, source: Operand, type: Type, span: Span) -> None:
        name = "pred" if type.kind == "pred" else f"b{type.width}"
        self._emit(Instruction("mov", (name,), (to, source), None, span))

    def _access(self, opcode: str, space: str, name: str, operand: Operand, size: int, span: Span) -> None:
        """`ld` to a register from the variable, or `st` of an operand to it."""
        if size not in (1, 2, 4, 8):
            raise PtxError(f"{size} bytes are passed in a .param variable, not in a register", span)
        address = Addr(Sym(name))
        operands = (operand, address) if opcode == "ld" else (address, operand)
        self._emit(Instruction(opcode, (space, f"b{8 * size}"), operands, None, span))

    # calls that are not inlined

    def _call_pointer(self, parts: CallParts, pointer: Reg, names: dict[str, str], span: Span) -> None:
        listed = names.get(parts.list, parts.list)
        if listed in self.prototypes:
            prototype = self.prototypes[listed]
            taken = self.functions.taking(signature(prototype.results, prototype.params))
            _matches(prototype, parts, span)
        elif listed in self.program.targets:
            taken = self.program.targets[listed]
        else:
            raise PtxError(f"{parts.list} names no .callprototype and no .calltargets", span)
        frames = []
        for name in taken:
            if name not in self.functions.bodies:
                raise PtxError(f"call of {name}: no body of that function is in this module", span)
            _matches(self.functions.bodies[name], parts, span)
            frames.append(self._frame_of(self.functions.bodies[name]))
        held = self._temporary("pointer", Type("u", 64))
        self._access("st", "local", held, pointer, 8, span)
        self._stacked(parts, tuple(frames), held, span)

    def _frame_of(self, function: ast.Function) -> Frame:
        """The function's frame: the function will be flattened once, after what is being flattened now."""
        name = function.name
        if name not in self.program.frames:
            frame = Frame(function, f"function@{name}")
            self.program.frames[name] = frame
            for variable in (*function.results, *function.params):
                if variable.vec > 1 and variable.space == "reg":
                    raise PtxError(
                        f"{name} is recursive or called through a pointer, and passes the vector register "
                        f"{variable.name}: pass a .param",
                        variable.span,
                    )
                if variable.type.kind == "pred":
                    raise PtxError(
                        f"{name} is recursive or called through a pointer, and passes the predicate "
                        f"{variable.name}: pass a .b32",
                        variable.span,
                    )
                at = frame.take(variable.size, 16 if variable.size >= 16 else 8)
                self.program.local[f"{variable.name}@{name}"] = Placed(variable, at, name)
            frame.results = tuple(f"{v.name}@{name}" for v in function.results)
            frame.params = tuple(f"{v.name}@{name}" for v in function.params)
        return self.program.frames[name]

    def _function(self, frame: Frame) -> None:
        function = frame.function
        self.frame, self.stack = frame, [function.name]
        number = self._number()
        done = f"return@{number}"
        self.program.code.append(Mark(frame.label))
        inner = {v.name: f"{v.name}@{function.name}" for v in (*function.results, *function.params)}
        for variable in (*function.results, *function.params):
            if variable.space == "reg":
                inner[variable.name] = f"{variable.name}@{number}"
                self._register(inner[variable.name], variable.type, 1)
        for param in function.params:
            if param.space == "reg":
                home = f"{param.name}@{function.name}"
                self._access("ld", "local", home, Reg(inner[param.name]), param.size, function.span)
        self._body(function.body or (), inner, done)
        self._end(done)
        for result in function.results:
            if result.space == "reg":
                home = f"{result.name}@{function.name}"
                self._access("st", "local", home, Reg(inner[result.name]), result.size, function.span)
        self.program.code.append(Return(function.name))

    def _stacked(self, parts: CallParts, frames: tuple[Frame, ...], pointer: str, span: Span) -> None:
        """A call through the stack: every operand in a variable of local memory, copied by the call."""
        if not frames:
            # Whatever the pointer holds, no function of this module can be called so.
            self._emit(Instruction("trap", (), (), None, span))
            return
        one = frames[0].function
        arguments = []
        for param, operand in zip(one.params, parts.arguments, strict=True):
            name = self._memory_of(operand, param, span)
            if not name:
                name = self._temporary(param.name, param.type)
                self._access("st", "local", name, operand, param.size, span)
            arguments.append(name)
        results, after = [], []
        for result, operand in zip(one.results, parts.results, strict=True):
            name = self._memory_of(operand, result, span)
            if not name:
                name = self._temporary(result.name, result.type)
                if not isinstance(operand, Sink):
                    after.append((name, operand, result.size))
            results.append(name)
        callees = tuple(f.function.name for f in frames)
        call = Call(callees, pointer, tuple(arguments), tuple(results), self._place(span))
        self.program.code.append(call)
        for name, operand, size in after:
            self._access("ld", "local", name, operand, size, span)

    def _memory_of(self, operand: Operand, param: ast.Variable, span: Span) -> str:
        """The variable that holds an operand already; "" for a register or a constant."""
        if not isinstance(operand, Sym):
            return ""
        if operand.name in self.variables:
            size = self.variables[operand.name][0].size
        elif operand.name in self.program.local:
            size = self.program.local[operand.name].variable.size
        else:
            return ""
        if size != param.size:
            name = operand.name.partition("@")[0]
            raise PtxError(f"{name} has {size} bytes where {param.size} are passed as {param.name}", span)
        return operand.name

    def _temporary(self, name: str, type: Type) -> str:
        flat = f"{name}@{self._number()}"
        self._place_local(flat, ast.Variable("local", type, name))
        return flat

    def _vprintf(self, parts: CallParts, span: Span) -> None:
        if len(parts.arguments) != 2 or len(parts.results) > 1:
            raise PtxError("vprintf takes a format and a pointer to its arguments, and gives a .b32", span)
        number = self._number()
        registers = []
        for name, operand in zip(("format", "arguments"), parts.arguments, strict=True):
            flat = f"{name}@{number}"
            self._register(flat, Type("b", 64), 1)
            if isinstance(operand, Sym) and operand.name in self.variables:
                self._access("ld", "param", operand.name, Reg(flat), 8, span)
            else:
                self._move(Reg(flat), operand, Type("b", 64), span)
            registers.append(Reg(flat))
        count = f"printed@{number}"
        self._register(count, Type("b", 32), 1)
        instruction = Instruction("call", (), (Reg(count), *registers), None, span)
        self._add(Matched(VPRINTF, Modifiers({}), instruction, vprintf_operands(instruction)), instruction)
        for place in parts.results:
            if isinstance(place, Sym):
                self._access("st", "param", place.name, Reg(count), 4, span)
            elif isinstance(place, Reg):
                self._move(place, Reg(count), Type("b", 32), span)


def _matches(called: ast.Function | ast.Prototype, parts: CallParts, span: Span) -> bool:
    """Raises PtxError unless the call has as many operands as the function."""
    if (len(called.results), len(called.params)) != (len(parts.results), len(parts.arguments)):
        raise PtxError(
            f"{called.name} takes {len(called.params)} arguments and gives {len(called.results)} results, "
            f"not {len(parts.arguments)} and {len(parts.results)}",
            span,
        )
    return True


def _goes_to(ins: Ins, label: str) -> bool:
    return ins.opcode == "bra" and ins.matched.instruction.operands == (Sym(label),)


def _by_address(instruction: Instruction) -> bool:
    """An access of .param memory through a register, or a conversion of such an address."""
    if not any(m.startswith("param") for m in instruction.modifiers):
        return False
    if instruction.opcode == "cvta":
        return True
    return instruction.opcode in ("ld", "st") and any(
        isinstance(o, Addr) and isinstance(o.base, Reg) for o in instruction.operands
    )
