"""Operands, and the scopes of names that tell a register from a symbol. Knows no instruction."""

from __future__ import annotations

from collections.abc import Mapping

from llmptx.ptx.ast import Addr, Float, Group, Int, Not, Operand, Pair, Reg, Sink, Sym, Vec
from llmptx.ptx.constants import constant, integer, signed, starts_constant
from llmptx.ptx.lexer import Cursor, Token

ELEMENTS = (".x", ".y", ".z", ".w", ".r", ".g", ".b", ".a")


class Names:
    """Names by scope, innermost last: whether each is a register. Of unknown names, those in `%` are."""

    def __init__(self, labels: frozenset[str]) -> None:
        self._labels = labels
        self._registers: list[dict[str, bool]] = [{}]
        self._ranges: list[dict[str, int]] = [{}]

    def enter(self) -> None:
        """Opens a scope."""
        self._registers.append({})
        self._ranges.append({})

    def leave(self) -> None:
        """Closes the innermost scope."""
        self._registers.pop()
        self._ranges.pop()

    def declare(self, name: str, register: bool) -> None:
        """A name of the innermost scope."""
        self._registers[-1][name] = register

    def declare_range(self, prefix: str, count: int) -> None:
        """`prefix<count>`: registers prefix0 and so on."""
        self._ranges[-1][prefix] = max(count, self._ranges[-1].get(prefix, 0))

    def is_register(self, name: str) -> bool:
        """Whether `name`, used here, is a register."""
        for registers, ranges in zip(reversed(self._registers), reversed(self._ranges), strict=True):
            if name in registers:
                return registers[name]
            if ranges and range_of(name, ranges) is not None:
                return True
        return name[0] == "%" and name not in self._labels


def range_of(name: str, ranges: Mapping[str, int]) -> str | None:
    """The prefix of the range that declares `name`, as %f of `%f<4>` does %f3; None if none does."""
    for at in range(len(name) - 1, max(0, len(name) - 11), -1):
        digits = name[at:]
        if not digits[0].isdigit():
            return None
        if (digits[0] != "0" or digits == "0") and int(digits) < ranges.get(name[:at], 0):
            return name[:at]
    return None


def operand(cursor: Cursor, names: Names, groups: bool = False) -> Operand:
    """The operand that stands here; `groups` allows `(a, b)`. Raises PtxError."""
    token = cursor.token
    if token.kind == "word" and token.text != "WARP_SZ":
        name = _name(cursor, names)
        return _second(cursor, names, name) if isinstance(name, Reg) and cursor.text == "|" else name
    match token.text:
        case "[":
            return _address(cursor, names)
        case "{":
            return _vector(cursor, names)
        case "_":
            cursor.take()
            sink = Sink(cursor.span(token.start))
            return _second(cursor, names, sink) if cursor.text == "|" else sink
        case "!" if _name_follows(cursor):
            cursor.take()
            return Not(register(cursor, names, "after '!'"), cursor.span(token.start))
        case "(" if groups:
            return _group(cursor, names)
    if starts_constant(cursor):
        if token.text in ("-", "+", "~") and _name_follows(cursor):
            raise cursor.error(
                f"{token.text!r} cannot stand before a name: use an instruction, such as neg or not"
            )
        return constant(cursor)
    raise cursor.error(f"expected an operand, found {cursor.found()}")


def _name_follows(cursor: Cursor) -> bool:
    return cursor.tokens[cursor.at + 1].kind == "word" and cursor.after() != "WARP_SZ"


def _name(cursor: Cursor, names: Names) -> Reg | Sym:
    token = cursor.take()
    name = token.text
    register = names.is_register(name)
    if cursor.text in ELEMENTS:
        if not register:
            raise cursor.error(f"{name!r} is no register, so it has no element {cursor.text!r}", token)
        return Reg(name + cursor.take().text, cursor.span(token.start))
    if register:
        return Reg(name, cursor.span(token.start))
    if cursor.text == "[":
        raise cursor.error("an element of an array is written as an address: name + bytes")
    if cursor.text == "(":
        raise cursor.error(f"{name!r} cannot be applied to something here")
    return Sym(name, _offset(cursor), span=cursor.span(token.start))


def _offset(cursor: Cursor) -> int:
    if cursor.text == "-":
        raise cursor.error("an offset is added: write +-16, not -16")
    if not cursor.accept("+"):
        return 0
    return signed(integer(cursor, "an offset"))


def register(cursor: Cursor, names: Names, where: str) -> Reg:
    """The register that stands here; PtxError says `where` one was expected."""
    token = cursor.token
    if token.kind == "word":
        name = _name(cursor, names)
        if isinstance(name, Reg):
            return name
        raise cursor.error(f"expected a register {where}, but {name.name!r} is none", token)
    raise cursor.error(f"expected a register {where}, found {cursor.found()}")


def _second(cursor: Cursor, names: Names, first: Reg | Sink) -> Pair:
    cursor.take()
    token = cursor.token
    start = cursor.source.offset(first.span)
    if cursor.accept("_"):
        return Pair(first, Sink(cursor.span(token.start)), cursor.span(start))
    second = register(cursor, names, "after '|'")
    return Pair(first, second, cursor.span(start))


def _address(cursor: Cursor, names: Names) -> Addr:
    start = cursor.take().start
    base: Reg | Sym | None = None
    if cursor.kind == "word" and cursor.text != "WARP_SZ":
        token = cursor.take()
        span = cursor.span(token.start)
        if names.is_register(token.text):
            name = token.text
            if cursor.text in ELEMENTS:
                name += cursor.take().text
                span = cursor.span(token.start)
            base = Reg(name, span)
        else:
            base = Sym(token.text, span=span)
        _plain(cursor)
        offset = _offset(cursor)
    elif starts_constant(cursor):
        offset = signed(integer(cursor, "an address"))
    else:
        raise cursor.error(
            f"expected a register, a variable or a number in the address, found {cursor.found()}"
        )
    _plain(cursor)
    cursor.expect("]", "to close the address")
    return Addr(base, offset, cursor.span(start))


def _plain(cursor: Cursor) -> None:
    if cursor.text == ",":
        raise cursor.error("an address with coordinates (textures, tensors) is not supported")
    if cursor.text == "*" or cursor.kind == "word":
        raise cursor.error(
            "an address is a register or a variable and a constant; compute anything else before it"
        )


def _vector(cursor: Cursor, names: Names) -> Vec:
    start = cursor.take().start
    elements: list[Operand] = []
    while True:
        if cursor.text in ("{", "["):
            raise cursor.error(f"expected an element of the vector, found {cursor.found()}")
        elements.append(operand(cursor, names))
        if not cursor.accept(","):
            break
    cursor.expect("}", "or ',' after an element of the vector")
    return Vec(tuple(elements), cursor.span(start))


def _group(cursor: Cursor, names: Names) -> Group:
    start = cursor.take().start
    elements: list[Operand] = []
    if cursor.text != ")":
        elements.append(operand(cursor, names))
        while cursor.accept(","):
            elements.append(operand(cursor, names))
    cursor.expect(")", "or ',' after an operand of the call")
    return Group(tuple(elements), cursor.span(start))


def element(cursor: Cursor) -> Int | Float | Sym:
    """One element of an initialiser: a constant, `name`, `name+8`, `generic(name)+8`. Raises PtxError."""
    token = cursor.token
    if token.kind == "word" and token.text != "WARP_SZ":
        return _pointer(cursor, token)
    if not starts_constant(cursor):
        raise cursor.error(f"expected an initial value, found {cursor.found()}")
    value = constant(cursor)
    if cursor.text == "(":
        raise cursor.error("an initialiser that masks an address, 0xff(name), is not supported")
    return value


def _pointer(cursor: Cursor, token: Token) -> Sym:
    cursor.take()
    name = token.text
    generic = name == "generic" and cursor.accept("(")
    if generic:
        name = cursor.expect_kind("word", "a variable's name in generic(...)").text
        cursor.expect(")", "after the variable's name")
    return Sym(name, _offset(cursor), generic, cursor.span(token.start))
