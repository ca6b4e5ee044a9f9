"""The table's machinery: a row is a pattern and a meaning; exactly one row matches an instruction.

A pattern is the manual's syntax as data:

    add[.rnd:rn|rz|rm|rp][.ftz][.sat].type:f32|f64   d, a, b
    setp.cmp:eq|ne|lt.type:s32|u32                    p:pred[|q:pred], a, b
    ld[.space:global|shared].type:b32|f32             d, [a]

Modifiers stand in order. `.x` is a literal, `.name:a|b` a choice, brackets make either optional. Names ending in `type`
are parsed as types. An operand is `name`, `name:T` where T is a type, the name of a type modifier, or `wide` (twice the width of
`type`), or `pred`; without `:T` it has the type of the modifier `type`. `[a]` is a memory operand, `(a)` a group, `label` a code label.
Destinations are the operands named d, p or q, and come first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmptx.ptx.ast import Instruction, Operand, Pair, Sink
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import PRED, Type

_GROUP = re.compile(r"\[\.(?P<opt>[^\]]+)\]|\.(?P<req>[^.\[]+)")
_OPERAND = re.compile(
    r"(?P<memory>\[a\])|(?P<group>\([a-z]+\))|(?P<first>[a-z]\w*)(?::(?P<type>\w+))?(?P<pair>\[\|(?P<second>q)(?::\w+)?\])?\Z"
)
DESTINATIONS = ("d", "p", "q")


class Modifiers:
    """What stood after the opcode: a choice's text or None, a literal's presence as bool, a type as Type."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the row's pattern has no modifier {name!r}")

    def get(self, name: str, default: Any = None) -> Any:
        return self.__dict__.get(name, default)


@dataclass(frozen=True, slots=True)
class OperandSpec:
    """One operand of a row. `kind`: value, memory, group, label; `type` names a type or a modifier."""

    name: str
    kind: str
    type: str
    pair: bool = False

    @property
    def destination(self) -> bool:
        return self.kind == "value" and self.name in DESTINATIONS


@dataclass(frozen=True)
class Form:
    """A row: `pattern` as written, `meaning` None for control flow, which the engine knows by `opcode`."""

    pattern: str
    opcode: str
    regex: re.Pattern[str]
    groups: tuple[tuple[str, bool], ...]
    operands: tuple[OperandSpec, ...]
    chapter: str
    meaning: Callable[..., Any] | None = field(compare=False)
    doc: str = ""


@dataclass(frozen=True)
class Matched:
    """An instruction and its row: typed operands, in order (None type for memory, labels and groups)."""

    form: Form
    modifiers: Modifiers
    instruction: Instruction
    operands: tuple[tuple[OperandSpec, Operand, Type | None], ...]


_TABLE: dict[str, list[Form]] = {}


def table() -> dict[str, list[Form]]:
    """Every row, by opcode."""
    return _TABLE


def form(pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds a row whose meaning is the decorated function `(emitter, modifiers, *sources) -> destination or tuple`."""

    def add(meaning: Callable[..., Any]) -> Callable[..., Any]:
        _add(pattern, meaning)
        return meaning

    return add


def control(pattern: str, doc: str) -> None:
    """Adds a row of control flow: matched and checked here, meant by the engine."""
    _add(pattern, None, doc)


def _add(pattern: str, meaning: Callable[..., Any] | None, doc: str = "") -> None:
    head, _, tail = pattern.partition(" ")
    opcode = re.match(r"\w+", head)
    assert opcode, pattern
    regex, groups = _compile(head[opcode.end() :], pattern)
    operands = tuple(_operand(text.strip(), pattern) for text in tail.split(",") if text.strip())
    chapter = meaning.__module__.rpartition(".")[2] if meaning else "control"
    text = (meaning.__doc__ or "").strip() if meaning else doc
    row = Form(pattern, opcode[0], regex, groups, operands, chapter, meaning, text)
    _TABLE.setdefault(opcode[0], []).append(row)


def _compile(modifiers: str, pattern: str) -> tuple[re.Pattern[str], tuple[tuple[str, bool], ...]]:
    out, groups, at = [], [], 0
    while at < len(modifiers):
        match = _GROUP.match(modifiers, at)
        assert match, f"bad pattern {pattern!r} at {modifiers[at:]!r}"
        text = match["opt"] or match["req"]
        name, colon, choices = text.partition(":")
        alternatives = "|".join(re.escape(c) for c in choices.split("|")) if colon else re.escape(name)
        key = name.replace("::", "_")
        body = rf"\.(?P<{key}>{alternatives})"
        out.append(f"(?:{body})?" if match["opt"] else body)
        groups.append((key, bool(colon)))
        at = match.end()
    return re.compile("".join(out) + r"\Z"), tuple(groups)


def _operand(text: str, pattern: str) -> OperandSpec:
    match = _OPERAND.match(text)
    assert match, f"bad operand {text!r} in {pattern!r}"
    if match["memory"]:
        return OperandSpec("a", "memory", "")
    if match["group"]:
        return OperandSpec(match["group"][1:-1], "group", "")
    if match["first"] == "label":
        return OperandSpec("label", "label", "")
    return OperandSpec(match["first"], "value", match["type"] or "type", bool(match["pair"]))


def match(instruction: Instruction) -> Matched:
    """The one row an instruction fits. Raises PtxError that names the near misses where none does."""
    rows = _TABLE.get(instruction.opcode)
    if not rows:
        near = _nearest(instruction.opcode)
        raise PtxError(f"instruction {instruction.opcode!r} is not supported{near}", instruction.span)
    text = "".join("." + m for m in instruction.modifiers)
    fits = [(row, found) for row in rows if (found := row.regex.match(text))]
    full = [m for row, found in fits if (m := _bind(row, found, instruction))]
    if len(full) == 1:
        return full[0]
    written = instruction.opcode + text
    if len(full) > 1:
        both = " and ".join(repr(m.form.pattern) for m in full)
        raise AssertionError(f"{written} fits {both}: the table is ambiguous")
    if fits:
        takes = " or ".join(sorted({row.pattern.partition(" ")[2].strip() for row, _ in fits}))
        raise PtxError(f"{written} takes operands {takes}, not {len(instruction.operands)} like these", instruction.span)
    forms = "; ".join(row.pattern for row in rows[:6])
    raise PtxError(f"{written} is no supported form of {instruction.opcode}; there are: {forms}", instruction.span)


def _bind(row: Form, found: re.Match[str], instruction: Instruction) -> Matched | None:
    if len(row.operands) != len(instruction.operands):
        return None
    values: dict[str, Any] = {}
    for name, choice in row.groups:
        text = found[name]
        if not choice:
            values[name] = text is not None
        elif text is not None and name.endswith("type"):
            values[name] = Type.parse(text)
        else:
            values[name] = text
    bound = []
    for spec, operand in zip(row.operands, instruction.operands, strict=True):
        if not _agrees(spec, operand):
            return None
        bound.append((spec, operand, _type(spec, values) if spec.kind == "value" else None))
    return Matched(row, Modifiers(values), instruction, tuple(bound))


def _agrees(spec: OperandSpec, operand: Operand) -> bool:
    name = type(operand).__name__
    if spec.kind == "memory":
        return name == "Addr"
    if spec.kind == "group":
        return name == "Group"
    if spec.kind == "label":
        return name == "Sym"
    if isinstance(operand, Pair):
        return spec.pair
    if isinstance(operand, Sink):
        return spec.destination
    return name not in ("Addr", "Group")


def _type(spec: OperandSpec, values: dict[str, Any]) -> Type:
    named = values.get(spec.type)
    if isinstance(named, Type):
        return named
    if spec.type == "wide":
        base: Type = values["type"]
        return Type(base.kind, base.bits * 2)
    return PRED if spec.type == "pred" else Type.parse(spec.type)


def _nearest(opcode: str) -> str:
    import difflib

    near = difflib.get_close_matches(opcode, _TABLE, n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""
