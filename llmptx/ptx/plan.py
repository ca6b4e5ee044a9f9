"""The launch plan in a text's `//@` header: what is launched, with which buffers, and what may be assumed.

    //@ launch entry=NAME grid=EXPR[,EXPR[,EXPR]] block=INT[,INT[,INT]] [shared=INT] [args=ARG,...]
    //@ buffer NAME TYPE EXPR
    //@ align INT
    //@ noalias

Expressions are closed: integers, names of extents, `+ - *`, parentheses, `ceil_div(a,b)`, `min`, `max`.
Knows no routine: whether a name is an extent or a buffer is for those to say who know the ABI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from llmptx.ptx.errors import PtxError
from llmptx.ptx.lexer import Source, comments
from llmptx.ptx.types import Type

MARK = "//@"
_THREADS = 1024
_DEPTH = 32
_PIECES = 200
_KEYS = ("entry", "grid", "block", "shared", "args")
_TYPES = (*(f"{kind}{bits}" for kind in "usb" for bits in (8, 16, 32, 64)), "f16", "bf16", "f32", "f64")
_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "ceil_div": lambda a, b: -(-a // b),
    "min": min,
    "max": max,
}
_INFIX: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ENTRY = re.compile(r"(?:[A-Za-z][\w$]*|[_$%][\w$]+)\Z", re.ASCII)
_INTEGER = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z")
_PIECE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[-+*(),]")
_RESERVED = re.compile(r"(?:in|out)[0-9]*\Z")


@dataclass(frozen=True, slots=True)
class Expr:
    """An expression over extents: `operator` is int, name, + - *, ceil_div, min or max."""

    operator: str
    value: int = 0
    name: str = ""
    operands: tuple[Expr, ...] = ()

    def evaluate(self, extents: Mapping[str, int]) -> int:
        """Its value. Raises PtxError for a name that is no extent and for a division by zero or less."""
        if self.operator == "int":
            return self.value
        if self.operator == "name":
            if self.name not in extents:
                known = ", ".join(extents) or "none"
                raise PtxError(f"{self.name!r} is no extent of this routine; its extents: {known}")
            return extents[self.name]
        a, b = (operand.evaluate(extents) for operand in self.operands)
        if self.operator == "ceil_div" and b <= 0:
            raise PtxError(f"{self} divides by {b}; a divisor is at least 1")
        return (_INFIX.get(self.operator) or _FUNCTIONS[self.operator])(a, b)

    @property
    def names(self) -> frozenset[str]:
        """Every name in it."""
        if self.operator == "name":
            return frozenset((self.name,))
        return frozenset().union(*(operand.names for operand in self.operands))

    def __str__(self) -> str:
        if self.operator == "int":
            return str(self.value)
        if self.operator == "name":
            return self.name
        left, right = self.operands
        if self.operator in _FUNCTIONS:
            return f"{self.operator}({left},{right})"
        a = f"({left})" if self.operator == "*" and left.operator in ("+", "-") else str(left)
        loose = ("+", "-", "*") if self.operator == "*" else ("+", "-")
        b = f"({right})" if right.operator in loose else str(right)
        return f"{a}{self.operator}{b}"


ONE = Expr("int", 1)


@dataclass(frozen=True, slots=True)
class PlanLaunch:
    """One launch: `grid` in blocks and `block` in threads are x, y, z, 1 where not given; `shared` in bytes.

    args    None for the routine's parameters in ABI order; else, in the entry's order, the bare name (str)
            of a parameter, extent or buffer, or an expression over the extents
    line    1-based, of the text
    """

    entry: str
    grid: tuple[Expr, Expr, Expr]
    block: tuple[int, int, int]
    shared: int = 0
    args: tuple[Expr | str, ...] | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PlanBuffer:
    """A scratch buffer of `size` elements of `type`."""

    name: str
    type: Type
    size: Expr
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """A header.

    align      bytes every pointer is a multiple of; None: its element's size
    noalias    out never overlaps an input
    """

    launches: tuple[PlanLaunch, ...]
    buffers: tuple[PlanBuffer, ...] = ()
    align: int | None = None
    noalias: bool = False


def parse_plan(text: str, file: str = "<ptx>") -> Plan:
    """The plan in a text's header. Raises PtxError, with its line, for a broken rule, or for no launch."""
    plan = parse_header(text, file)
    if not plan or not plan.launches:
        message = "the text has no launch line: write //@ launch entry=NAME grid=... block=... above the code"
        raise PtxError(message, file=file)
    return plan


def parse_header(text: str, file: str = "<ptx>") -> Plan | None:
    """As `parse_plan`, but None for a text without any header line, and a plan without launches is let be."""
    lines = _lines(Source(text, file))
    if not lines:
        return None
    reader = _Reader()
    for line in lines:
        reader.read(line)
    return Plan(tuple(reader.launches), tuple(reader.buffers), reader.align, reader.noalias)


def render(plan: Plan) -> str:
    """The header lines of a plan, launches first, each ended by LF; `parse_plan` of it is the plan."""
    lines = []
    for launch in plan.launches:
        line = (
            f"{MARK} launch entry={launch.entry} grid={_trimmed(launch.grid)} block={_trimmed(launch.block)}"
        )
        line += f" shared={launch.shared}"
        if launch.args is not None:
            line += f" args={','.join(map(str, launch.args))}"
        lines.append(line)
    lines.extend(f"{MARK} buffer {buffer.name} {buffer.type} {buffer.size}" for buffer in plan.buffers)
    if plan.align is not None:
        lines.append(f"{MARK} align {plan.align}")
    if plan.noalias:
        lines.append(f"{MARK} noalias")
    return "".join(f"{line}\n" for line in lines)


def _trimmed(values: tuple[Expr, Expr, Expr] | tuple[int, int, int]) -> str:
    words = [str(value) for value in values]
    while len(words) > 1 and words[-1] == "1":
        words.pop()
    return ",".join(words)


class _Word(NamedTuple):
    """A piece of a header line; `start` its offset in the text."""

    text: str
    start: int


class _Line:
    """A header line's words, and errors about them."""

    def __init__(self, source: Source, text: str, start: int) -> None:
        self.source = source
        self.start = start
        self.end = start + len(text)
        body = text[len(MARK) :]
        self.number = source.span(start, start).line
        self.words = [_Word(m[0], start + len(MARK) + m.start()) for m in re.finditer(r"[^ \t]+", body)]

    def error(self, message: str, word: _Word | None = None) -> PtxError:
        """The error to raise about `word`, or about the whole line."""
        if word is None:
            return self.source.error(message, self.start, self.end)
        return self.source.error(message, word.start, word.start + max(1, len(word.text)))


def _lines(source: Source) -> list[_Line]:
    lines = []
    for comment in comments(source):
        if not comment.text.startswith(MARK):
            continue
        line = _Line(source, comment.text.rstrip(" \t\r"), comment.start)
        if not comment.first or not comment.alone:
            raise line.error("a header line stands alone on its line, above the first line of code")
        if any(
            not " " <= character <= "~" and character != "\t" for character in comment.text.rstrip(" \t\r")
        ):
            raise line.error("a header line holds printable characters only")
        lines.append(line)
    return lines


class _Reader:
    """What the header lines read so far say."""

    def __init__(self) -> None:
        self.launches: list[PlanLaunch] = []
        self.buffers: list[PlanBuffer] = []
        self.align: int | None = None
        self.noalias = False

    def read(self, line: _Line) -> None:
        if not line.words or line.words[0].start == line.start + len(MARK):
            raise line.error("write a blank and launch, buffer, align or noalias after //@")
        word = line.words[0]
        match word.text:
            case "launch":
                self.launches.append(_launch(line))
            case "buffer":
                self.buffers.append(_buffer(line, [buffer.name for buffer in self.buffers]))
            case "align":
                if self.align is not None:
                    raise line.error("align is given twice", word)
                self.align = _align(line)
            case "noalias":
                if self.noalias:
                    raise line.error("noalias is given twice", word)
                if len(line.words) > 1:
                    raise line.error("nothing stands after noalias", line.words[1])
                self.noalias = True
            case _:
                raise line.error(
                    f"{word.text!r} is no header line: there are launch, buffer, align, noalias", word
                )


def _launch(line: _Line) -> PlanLaunch:
    values: dict[str, _Word] = {}
    for word in line.words[1:]:
        key, equals, value = word.text.partition("=")
        if not equals:
            raise line.error(f"expected key=value with no blank inside, found {word.text!r}", word)
        if key not in _KEYS:
            raise line.error(f"launch has no key {key!r}: there are {', '.join(_KEYS)}", word)
        if key in values:
            raise line.error(f"{key} is given twice", word)
        values[key] = _Word(value, word.start + len(key) + 1)
    for key in ("entry", "grid", "block"):
        if key not in values:
            raise line.error(f"this launch has no {key}=")
    entry = values["entry"]
    if not _ENTRY.match(entry.text):
        raise line.error(f"{entry.text!r} is no name of an entry", entry)
    grid = [_expression(line, word) for word in _three(line, values["grid"], "grid")]
    x, y, z = [*grid, ONE, ONE][:3]
    shared = _integer(line, values["shared"], "shared") if "shared" in values else 0
    args = _args(line, values["args"]) if "args" in values else None
    return PlanLaunch(entry.text, (x, y, z), _block(line, values["block"]), shared, args, line.number)


def _block(line: _Line, value: _Word) -> tuple[int, int, int]:
    x, y, z = [*(_integer(line, word, "block") for word in _three(line, value, "block")), 1, 1][:3]
    if not 1 <= x * y * z <= _THREADS or z > 64:
        raise line.error(
            f"a block has 1 to {_THREADS} threads, and at most 64 along z; not {x} x {y} x {z}", value
        )
    return x, y, z


def _three(line: _Line, value: _Word, key: str) -> list[_Word]:
    words = _split(value)
    if len(words) > 3:
        raise line.error(f"{key} has one to three values, not {len(words)}", value)
    return words


def _args(line: _Line, value: _Word) -> tuple[Expr | str, ...]:
    parsed = [_expression(line, word) for word in _split(value)]
    return tuple(each.name if each.operator == "name" else each for each in parsed)


def _buffer(line: _Line, others: list[str]) -> PlanBuffer:
    if len(line.words) != 4:
        raise line.error(
            "a buffer is a name, a type and a number of elements with no blank inside: partial f32 n*2"
        )
    name, type_, size = line.words[1:]
    if not _IDENTIFIER.match(name.text) or name.text in _FUNCTIONS or _RESERVED.match(name.text):
        raise line.error(f"{name.text!r} cannot name a buffer", name)
    if name.text in others:
        raise line.error(f"the buffer {name.text!r} is given twice", name)
    if type_.text not in _TYPES:
        raise line.error(f"{type_.text!r} is no type of a buffer: there are {', '.join(_TYPES)}", type_)
    return PlanBuffer(name.text, Type.parse(type_.text), _expression(line, size), line.number)


def _align(line: _Line) -> int:
    if len(line.words) != 2:
        raise line.error("align takes one number")
    value = _integer(line, line.words[1], "align")
    if not 1 <= value <= 256 or value & (value - 1):
        raise line.error(f"align is a power of two from 1 to 256, not {value}", line.words[1])
    return value


def _integer(line: _Line, word: _Word, what: str) -> int:
    if not _INTEGER.match(word.text):
        raise line.error(f"{what} takes a plain decimal integer, found {word.text!r}", word)
    return int(word.text)


def _split(value: _Word) -> list[_Word]:
    """The parts between the commas outside parentheses."""
    parts, depth, first = [], 0, 0
    for at, character in enumerate(value.text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(_Word(value.text[first:at], value.start + first))
            first = at + 1
    parts.append(_Word(value.text[first:], value.start + first))
    return parts


def _expression(line: _Line, word: _Word) -> Expr:
    return _Expression(line, word).whole()


class _Expression:
    """Reads one expression by recursive descent, bounded in depth."""

    def __init__(self, line: _Line, word: _Word) -> None:
        self.line = line
        self.word = word
        self.at = 0
        self.pieces: list[_Word] = []
        at = 0
        while at < len(word.text):
            match = _PIECE.match(word.text, at)
            if not match:
                here = _Word(word.text[at], word.start + at)
                raise line.error(f"{here.text!r} cannot stand in an expression over extents", here)
            self.pieces.append(_Word(match[0], word.start + at))
            at = match.end()

    @property
    def piece(self) -> _Word:
        if self.at < len(self.pieces):
            return self.pieces[self.at]
        return _Word("", self.word.start + len(self.word.text))

    def whole(self) -> Expr:
        value = self.sum(0)
        if self.piece.text:
            raise self.unexpected("the end of the expression")
        return value

    def sum(self, depth: int) -> Expr:
        left = self.product(depth)
        while self.piece.text in ("+", "-"):
            left = self.joined(left, self.product, depth)
        return left

    def product(self, depth: int) -> Expr:
        left = self.atom(depth)
        while self.piece.text == "*":
            left = self.joined(left, self.atom, depth)
        return left

    def joined(self, left: Expr, right: Callable[[int], Expr], depth: int) -> Expr:
        if self.at > _PIECES:
            raise self.line.error("this expression is too long", self.word)
        operator = self.take()
        return Expr(operator, operands=(left, right(depth)))

    def atom(self, depth: int) -> Expr:
        if depth > _DEPTH:
            raise self.line.error(f"this expression is nested more than {_DEPTH} deep", self.piece)
        piece = self.piece
        if piece.text[:1].isdigit():
            self.take()
            return Expr("int", value=_integer(self.line, piece, "an expression"))
        if piece.text == "(":
            self.take()
            inner = self.sum(depth + 1)
            self.expect(")")
            return inner
        if not _IDENTIFIER.match(piece.text):
            raise self.unexpected("a number, a name or a parenthesis")
        self.take()
        if self.piece.text != "(":
            if piece.text in _FUNCTIONS:
                raise self.unexpected(f"'(' after {piece.text}")
            return Expr("name", name=piece.text)
        return self.call(piece, depth)

    def call(self, function: _Word, depth: int) -> Expr:
        if function.text not in _FUNCTIONS:
            message = f"there is no function {function.text!r}: there are {', '.join(_FUNCTIONS)}"
            raise self.line.error(message, function)
        self.take()
        left = self.sum(depth + 1)
        self.expect(",")
        right = self.sum(depth + 1)
        self.expect(")")
        return Expr(function.text, operands=(left, right))

    def take(self) -> str:
        self.at += 1
        return self.pieces[self.at - 1].text

    def expect(self, text: str) -> None:
        if self.piece.text != text:
            raise self.unexpected(repr(text))
        self.take()

    def unexpected(self, expected: str) -> PtxError:
        found = repr(self.piece.text) if self.piece.text else "nothing more"
        return self.line.error(f"expected {expected}, found {found}", self.piece)
