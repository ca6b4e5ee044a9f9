"""Declarations: variables and initialisers, parameters, registers, and directives that change no meaning.

PTX ISA 5.4, 11.4 to 11.8. Knows no instruction.
"""

from __future__ import annotations

from typing import Literal, cast

from llmptx.ptx.ast import Directive, Float, Int, Registers, Sym, Variable
from llmptx.ptx.constants import integer, literal
from llmptx.ptx.lexer import Cursor
from llmptx.ptx.operands import Names, element
from llmptx.ptx.types import Type

Space = Literal["global", "shared", "local", "const", "param", "reg"]

VARIABLE_SPACES = (".global", ".shared", ".local", ".const", ".param")
_COUNTS = {
    "maxnreg": 1,
    "maxntid": 3,
    "reqntid": 3,
    "minnctapersm": 1,
    "maxnctapersm": 1,
    "reqnctapercluster": 3,
    "maxclusterrank": 1,
    "abi_preserve": 1,
    "abi_preserve_control": 1,
}
_FLAGS = ("noreturn", "explicitcluster", "blocksareclusters")


def type_here(cursor: Cursor, what: str) -> Type:
    """The type that stands here (`.f32`); PtxError says it is the type of `what` that was expected."""
    token = cursor.expect_kind("dot", f"the type of {what}")
    try:
        return Type.parse(token.text)
    except ValueError:
        message = f"expected the type of {what}, such as .u64 or .f32, found {token.text!r}"
        raise cursor.error(message, token) from None


def name_here(cursor: Cursor, what: str) -> str:
    """The name that stands here; PtxError says `what` should have one."""
    return cursor.expect_kind("word", f"the name of {what}").text


def number_here(cursor: Cursor, what: str) -> int:
    """An integer literal's value; where a number stands before `>` or a comma, no expression can."""
    if cursor.kind != "int":
        raise cursor.error(f"expected {what} as a plain integer, found {cursor.found()}")
    return cast(Int, literal(cursor)).value


def _alignment(cursor: Cursor) -> int | None:
    if not cursor.accept(".align"):
        return None
    token = cursor.token
    align = number_here(cursor, "an alignment")
    if align < 1 or align & (align - 1):
        raise cursor.error(f"an alignment is a power of two, not {align}", token)
    return align


def _vector(cursor: Cursor) -> int:
    if cursor.text in (".v2", ".v4"):
        return int(cursor.take().text[2:])
    return 1


def registers(cursor: Cursor, names: Names) -> Registers:
    """`.reg .f32 %f<10>, %x;` from `.reg` on; the names are declared. Raises PtxError."""
    start = cursor.take().start
    vec = _vector(cursor)
    type_ = type_here(cursor, "the registers")
    declared: list[tuple[str, int | None]] = []
    while True:
        name = name_here(cursor, "a register")
        count: int | None = None
        if cursor.accept("<"):
            token = cursor.token
            count = number_here(cursor, "the number of registers")
            if not 0 <= count < 1 << 31:
                raise cursor.error("that is more registers than any kernel has", token)
            cursor.expect(">", "after the number of registers")
            names.declare_range(name, count)
        else:
            names.declare(name, True)
        declared.append((name, count))
        if not cursor.accept(","):
            break
    cursor.expect(";", "or ',' after a register's name")
    return Registers(type_, tuple(declared), vec, cursor.span(start))


def variables(cursor: Cursor, names: Names, linkage: str, start: int) -> list[Variable]:
    """`.global .align 4 .f32 a[4] = {...}, b;` from the space on; declares the names. Raises PtxError."""
    space = cast(Space, cursor.take().text[1:])
    if cursor.text == ".attribute":
        raise cursor.error("variables with an .attribute (managed, unified) are not supported")
    align = _alignment(cursor)
    vec = _vector(cursor)
    type_ = type_here(cursor, f"the .{space} variable")
    declared: list[Variable] = []
    while True:
        name = name_here(cursor, f"the .{space} variable")
        shape = _shape(cursor)
        init = _initialiser(cursor, (*shape, vec) if vec > 1 else shape) if cursor.accept("=") else None
        names.declare(name, False)
        span = cursor.span(start)
        declared.append(Variable(space, type_, name, shape, align, vec, init, linkage, None, span))
        if not cursor.accept(","):
            break
        start = cursor.token.start
    cursor.expect(";", f"after the declaration of {declared[-1].name!r}")
    return declared


def parameters(cursor: Cursor, names: Names | None, what: str) -> tuple[Variable, ...]:
    """`(.param .u64 a, .param .align 8 .b8 b[16])`; declares them unless `names` is None. Raises PtxError."""
    cursor.expect("(", f"before the {what}")
    found: list[Variable] = []
    if not cursor.accept(")"):
        while True:
            found.append(_parameter(cursor, names, what))
            if not cursor.accept(","):
                break
        cursor.expect(")", f"or ',' after a parameter among the {what}")
    return tuple(found)


def _parameter(cursor: Cursor, names: Names | None, what: str) -> Variable:
    start = cursor.token.start
    if cursor.text not in (".param", ".reg"):
        raise cursor.error(f"expected .param among the {what}, found {cursor.found()}")
    space = cast(Space, cursor.take().text[1:])
    align = _alignment(cursor)
    vec = _vector(cursor)
    type_ = type_here(cursor, "the parameter")
    pointer: tuple[str, int] | None = None
    if cursor.accept(".ptr"):
        pointed = cursor.take().text[1:] if cursor.text in (".global", ".shared", ".local", ".const") else ""
        pointer = (pointed, _alignment(cursor) or 4)
    if cursor.accept("_"):
        name = "_"
    else:
        name = name_here(cursor, "the parameter")
        if names:
            names.declare(name, space == "reg")
    return Variable(space, type_, name, _shape(cursor), align, vec, None, "", pointer, cursor.span(start))


def _shape(cursor: Cursor) -> tuple[int, ...]:
    extents: list[int] = []
    while cursor.text == "[":
        opening = cursor.take()
        if cursor.accept("]"):
            if extents:
                raise cursor.error("only an array's first dimension may be left open", opening)
            extents.append(0)
            continue
        token = cursor.token
        extent = integer(cursor, "an array's dimension")
        if extent < 1:
            raise cursor.error(f"an array's dimension is at least 1, not {extent}", token)
        extents.append(extent)
        cursor.expect("]", "after an array's dimension")
    return tuple(extents)


def _initialiser(cursor: Cursor, shape: tuple[int, ...]) -> tuple[Int | Float | Sym, ...]:
    if not shape:
        return (element(cursor),)
    values: list[Int | Float | Sym] = []
    _braces(cursor, shape, values)
    return tuple(values)


def _braces(cursor: Cursor, shape: tuple[int, ...], values: list[Int | Float | Sym]) -> None:
    """Reads `{...}` of an array of `shape`; only the last row may be cut short.

    ptxas takes short rows anywhere and packs what follows behind them, which nobody who writes them means.
    """
    opening = cursor.expect("{", "before the initial values of an array")
    first = len(values)
    row = 1
    for extent in shape[1:]:
        row *= extent
    rows = 0
    while cursor.text != "}":
        if rows and not cursor.accept(","):
            raise cursor.error(f"expected ',' or '}}' after an initial value, found {cursor.found()}")
        if shape[0] and rows == shape[0]:
            raise cursor.error(f"more than the array's {shape[0]} initial values", opening)
        if len(values) != first + rows * row:
            raise cursor.error(f"the row before this one has fewer than its {row} values; write them all")
        if len(shape) > 1:
            _braces(cursor, shape[1:], values)
        else:
            values.append(element(cursor))
        rows += 1
    cursor.take()


def directive(cursor: Cursor) -> Directive:
    """A directive that changes no meaning. Raises PtxError for one that is not known."""
    token = cursor.take()
    name = token.text[1:]
    if name in _COUNTS:
        text = _numbers(cursor, token.text, _COUNTS[name])
    elif name in _FLAGS:
        text = ""
    elif name == "pragma":
        text = _strings(cursor)
        cursor.expect(";", "after .pragma")
    elif name == "alias":
        alias = name_here(cursor, "the alias")
        cursor.expect(",", "after the alias")
        text = f"{alias}, {name_here(cursor, 'the aliased function')}"
        cursor.expect(";", "after .alias")
    elif name == "file":
        text = _file(cursor)
    elif name == "loc":
        text = _loc(cursor)
    elif name == "section":
        text = _section(cursor)
    else:
        raise cursor.error(f"the directive {token.text!r} is not known here", token)
    return Directive(name, text, cursor.span(token.start))


def _numbers(cursor: Cursor, name: str, most: int) -> str:
    numbers = [str(number_here(cursor, f"the number after {name}"))]
    while len(numbers) < most and cursor.accept(","):
        numbers.append(str(number_here(cursor, f"the number after {name}")))
    return ", ".join(numbers)


def _strings(cursor: Cursor) -> str:
    strings = [cursor.expect_kind("string", "a string in quotes").text]
    while cursor.accept(","):
        strings.append(cursor.expect_kind("string", "a string in quotes").text)
    return ", ".join(strings)


def _file(cursor: Cursor) -> str:
    parts = (
        f"{number_here(cursor, 'a file number')} "
        + cursor.expect_kind("string", "a file name in quotes").text
    )
    while cursor.accept(","):
        parts += f", {number_here(cursor, 'a number')}"
    return parts


def _loc(cursor: Cursor) -> str:
    text = _place(cursor)
    if not cursor.accept(","):
        return text
    cursor.expect("function_name", "after the place of .loc")
    text += f", function_name {name_here(cursor, 'the function')}"
    if cursor.accept("+"):
        text += f"+{number_here(cursor, 'an offset')}"
    cursor.expect(",", "before inlined_at")
    cursor.expect("inlined_at", "in .loc")
    return f"{text}, inlined_at {_place(cursor)}"


def _place(cursor: Cursor) -> str:
    return " ".join(str(number_here(cursor, what)) for what in ("a file number", "a line", "a column"))


def _section(cursor: Cursor) -> str:
    start = cursor.expect_kind("dot", "the name of the section").start
    opening = cursor.expect("{", "before the section's contents")
    while cursor.text != "}":
        if cursor.kind == "end":
            raise cursor.error("this section is never closed", opening)
        cursor.take()
    return cursor.source.text[start : cursor.take().end]
