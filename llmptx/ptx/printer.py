"""A syntax tree to PTX text that assembles and parses back to the same tree. Knows no instruction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmptx.ptx.ast import (
    Addr,
    Directive,
    Float,
    Function,
    Group,
    Instruction,
    Int,
    Label,
    Module,
    Not,
    Operand,
    Pair,
    Prototype,
    Reg,
    Registers,
    Scope,
    Sink,
    Statement,
    Sym,
    Targets,
    Variable,
    Vec,
)

_LEAST = -(1 << 63)
_ENDED = ("pragma", "alias")


def print_module(module: Module) -> str:
    """The module's text, one statement a line; `parse` of it is the module."""
    major, minor = module.version
    lines = [
        f".version {major}.{minor}",
        f".target {', '.join(module.target)}",
        f".address_size {module.address_size}",
    ]
    for item in module.items:
        lines.append("")
        if isinstance(item, Function):
            lines.extend(_function(item))
        elif isinstance(item, Variable):
            lines.append(_variable(item))
        else:
            lines.append(_directive(item))
    return "\n".join(lines) + "\n"


def print_statement(statement: Statement, indent: str = "") -> str:
    """One statement's text; the lines of a scope are indented below it."""
    return "\n".join(_statement(statement, indent))


def print_operand(operand: Operand) -> str:
    """One operand's text."""
    match operand:
        case Reg(name):
            return name
        case Int(value, unsigned):
            return _int(value, unsigned)
        case Float(bits, width):
            return f"0f{bits:08X}" if width == 32 else f"0d{bits:016X}"
        case Sym(name, offset, generic):
            return (f"generic({name})" if generic else name) + _offset(offset)
        case Addr(base, offset):
            return f"[{print_operand(base)}{_offset(offset)}]" if base else f"[{_int(offset)}]"
        case Vec(elements):
            return f"{{{_list(elements)}}}"
        case Not(reg):
            return f"!{reg.name}"
        case Pair(first, second):
            return f"{print_operand(first)}|{print_operand(second)}"
        case Sink():
            return "_"
        case Group(elements):
            return f"({_list(elements)})"


def _list(operands: Iterable[Operand]) -> str:
    return ", ".join(print_operand(operand) for operand in operands)


def _int(value: int, unsigned: bool = False) -> str:
    if value == _LEAST:
        return f"{value + 1}-1"  # the literal 9223372036854775808 is unsigned, and so is its negative
    return f"{value}U" if unsigned else str(value)


def _offset(offset: int) -> str:
    return f"+{_int(offset)}" if offset else ""


def _function(function: Function) -> list[str]:
    head = f".{function.linkage} " if function.linkage else ""
    head += f".{function.kind} "
    if function.results:
        head += f"({', '.join(map(_parameter, function.results))}) "
    if function.params:
        lines = [f"{head}{function.name}("]
        lines.extend(f"    {_parameter(param)}," for param in function.params)
        lines[-1] = lines[-1].removesuffix(",")
        lines.append(")")
    else:
        lines = [f"{head}{function.name}()"]
    lines.extend(_directive(directive) for directive in function.directives)
    if function.body is None:
        lines[-1] += ";"
        return lines
    lines.append("{")
    for statement in function.body:
        lines.extend(_statement(statement, "    "))
    lines.append("}")
    return lines


def _statement(statement: Statement, indent: str) -> list[str]:
    match statement:
        case Instruction():
            return [indent + _instruction(statement)]
        case Label(name):
            return [f"{indent[4:]}{name}:"]
        case Registers(type_, names, vec):
            listed = ", ".join(name if count is None else f"{name}<{count}>" for name, count in names)
            return [f"{indent}.reg {_vector(vec)}.{type_} {listed};"]
        case Variable():
            return [indent + _variable(statement)]
        case Targets(name, labels, functions):
            directive = ".calltargets" if functions else ".branchtargets"
            return [f"{indent[4:]}{name}: {directive} {', '.join(labels)};"]
        case Prototype(name, results, params):
            first = f"({', '.join(map(_parameter, results))}) " if results else ""
            return [f"{indent[4:]}{name}: .callprototype {first}_ ({', '.join(map(_parameter, params))});"]
        case Scope(body):
            inner = [line for each in body for line in _statement(each, indent + "    ")]
            return [indent + "{", *inner, indent + "}"]
        case Directive():
            return [indent + _directive(statement)]


def _instruction(instruction: Instruction) -> str:
    guard = ""
    if instruction.guard:
        guard = f"@{'!' if instruction.guard.negated else ''}{instruction.guard.reg.name} "
    opcode = ".".join((instruction.opcode, *instruction.modifiers))
    operands = f" {_list(instruction.operands)}" if instruction.operands else ""
    return f"{guard}{opcode}{operands};"


def _directive(directive: Directive) -> str:
    text = f".{directive.name} {directive.text}".rstrip()
    return f"{text};" if directive.name in _ENDED else text


def _vector(vec: int) -> str:
    return f".v{vec} " if vec > 1 else ""


def _declared(variable: Variable) -> str:
    align = f".align {variable.align} " if variable.align else ""
    return f".{variable.space} {align}{_vector(variable.vec)}.{variable.type} "


def _dimensions(variable: Variable) -> str:
    return "".join(f"[{extent or ''}]" for extent in variable.shape)


def _parameter(variable: Variable) -> str:
    pointer = ""
    if variable.pointer:
        space, align = variable.pointer
        pointer = f".ptr {f'.{space} ' if space else ''}.align {align} "
    return f"{_declared(variable)}{pointer}{variable.name}{_dimensions(variable)}"


def _variable(variable: Variable) -> str:
    linkage = f".{variable.linkage} " if variable.linkage else ""
    text = f"{linkage}{_declared(variable)}{variable.name}{_dimensions(variable)}"
    if variable.init is not None:
        shape = (*variable.shape, variable.vec) if variable.vec > 1 else variable.shape
        text += f" = {_braces(variable.init, shape)}"
    return f"{text};"


def _braces(values: Sequence[Int | Float | Sym], shape: tuple[int, ...]) -> str:
    if not shape:
        return print_operand(values[0])
    if len(shape) == 1:
        return f"{{{_list(values)}}}"
    row = 1
    for extent in shape[1:]:
        row *= extent
    rows = (values[at : at + row] for at in range(0, len(values), row))
    return f"{{{', '.join(_braces(each, shape[1:]) for each in rows)}}}"
