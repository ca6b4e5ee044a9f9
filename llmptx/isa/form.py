"""The table's machinery: a row is a pattern and a meaning; exactly one row matches an instruction.

A pattern is the manual's syntax as data:

    add[.rnd:rn|rz|rm|rp][.ftz][.sat].type:f32|f64   d, a, b
    setp.cmp:eq|ne|lt.type:s32|u32                    p:pred[|q], a, b
    ld[.space:global|shared].type:b32|f32             d, [a]

Modifiers stand in order. `.x` is a literal, `.name:a|b` a choice, brackets make either optional. Names ending
in `type` are parsed as types. An operand is `name`, `name:T` where T is a type, a type modifier's name, or
`wide` (twice the width of `type`), or `pred`; without `:T` it has the type of the modifier `type`.
`name:T*4` is a vector of four registers in braces, a list to the row; `name:own` a b32 or a predicate, as its
register is declared; `4|8` one of these constants; `_` that and nothing else. `[a]` is a memory operand in
the space of the modifier `space`, `[b:global]` one in a space of its own, `(a)` a group, `label` a code
label, `imm` an integer constant. Destinations are the operands named d, p or q, and come first; `d[|p]` may
be a pair and `d|p` must be one, its second always a predicate: such a row returns both.

Text whose modifiers stand in another order is understood too, as ptxas does: the types keep theirs, the rest
may be shuffled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

from llmptx.ptx.ast import Addr, Float, Group, Instruction, Int, Not, Operand, Pair, Reg, Sink, Sym, Vec
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import PRED, Type

_GROUP = re.compile(r"\[\.(?P<opt>[^\]]+)\]|\.(?P<req>[^.\[]+)")
_OPERAND = re.compile(
    r"\[(?P<memory>[a-z])(?::(?P<space>\w+))?\]|(?P<group>\([a-z]+\))|(?P<integers>\d+(\|\d+)*)\Z|"
    r"(?P<first>[a-z]\w*)(?::(?P<type>\w+))?(?:\*(?P<count>\d+))?(?:(?P<may>\[\|[pq](?::pred)?\])|(?P<must>\|[pq]))?\Z"
)
# Names of number formats, those included that no register has.
_FORMAT = re.compile(r"(pred|[bsuf]\d+|bf16|tf32|u?e\dm\d)(x\d)?\Z")
DESTINATIONS = ("d", "p", "q")
_B32 = Type("b", 32)
_SPACES = ("global", "shared", "local", "const", "param")


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
    """One operand of a row. `kind`: value, memory, group, label, sink; `type` names a type or a modifier.

    `pair`: the row returns (this, pred), and the operand may be `d|p`; `must_pair`: it has to be.
    `count`: registers of a vector in braces, 0 where there are no braces. `type` of a memory operand: its
    space, '' for the modifier's. `integers`: the constants an `imm` may be, () for any.
    """

    name: str
    kind: str
    type: str
    pair: bool = False
    must_pair: bool = False
    count: int = 0
    integers: tuple[int, ...] = ()

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
    choices: tuple[frozenset[str], ...]
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
    """Adds a row; its meaning is the decorated `(emitter, modifiers, *sources) -> destination or tuple`."""

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
    regex, groups, choices = _compile(head[opcode.end() :], pattern)
    operands = tuple(_operand(text.strip(), pattern) for text in tail.split(",") if text.strip())
    chapter = meaning.__module__.rpartition(".")[2] if meaning else "control"
    text = (meaning.__doc__ or "").strip() if meaning else doc
    row = Form(pattern, opcode[0], regex, groups, choices, operands, chapter, meaning, text)
    _TABLE.setdefault(opcode[0], []).append(row)


def _compile(
    modifiers: str, pattern: str
) -> tuple[re.Pattern[str], tuple[tuple[str, bool], ...], tuple[frozenset[str], ...]]:
    """The pattern's regex; its modifiers' names, and whether each is a choice; what each may be."""
    out, groups, allowed, at = [], [], [], 0
    while at < len(modifiers):
        match = _GROUP.match(modifiers, at)
        assert match, f"bad pattern {pattern!r} at {modifiers[at:]!r}"
        text = match["opt"] or match["req"]
        name, colon, choices = text.partition(":")
        alternatives = "|".join(re.escape(c) for c in choices.split("|")) if colon else re.escape(name)
        key = name.replace(".", "_")
        body = rf"\.(?P<{key}>{alternatives})"
        out.append(f"(?:{body})?" if match["opt"] else body)
        groups.append((key, bool(colon)))
        allowed.append(frozenset(choices.split("|") if colon else (name,)))
        at = match.end()
    return re.compile("".join(out) + r"\Z"), tuple(groups), tuple(allowed)


def _operand(text: str, pattern: str) -> OperandSpec:
    if text == "_":
        return OperandSpec("_", "sink", "")
    match = _OPERAND.match(text)
    assert match, f"bad operand {text!r} in {pattern!r}"
    if match["memory"]:
        return OperandSpec(match["memory"], "memory", match["space"] or "")
    if match["group"]:
        return OperandSpec(match["group"][1:-1], "group", "")
    if match["integers"]:
        return OperandSpec("imm", "value", "b32", integers=tuple(map(int, match["integers"].split("|"))))
    if match["first"] == "label":
        return OperandSpec("label", "label", "")
    pair, must = bool(match["may"] or match["must"]), bool(match["must"])
    count = int(match["count"] or 0)
    return OperandSpec(match["first"], "value", match["type"] or "type", pair, must, count)


def match(instruction: Instruction) -> Matched:
    """The one row an instruction fits. Raises PtxError that names the near misses where none does."""
    if instruction.opcode in ("ld", "st", "mov"):
        instruction = _bare(instruction)
    fits = _fits(instruction.opcode, instruction.modifiers)
    full = [m for row, values in fits if (m := _bind(row, values, instruction))]
    if len(full) == 1:
        return full[0]
    if len(full) > 1:
        both = " and ".join(repr(m.form.pattern) for m in full)
        raise AssertionError(f"{instruction} fits {both}: the table is ambiguous")
    raise PtxError(_complaint(instruction, [row for row, _ in fits]), instruction.span)


def _bare(instruction: Instruction) -> Instruction:
    """One register in braces as the register: ptxas takes that here, and Triton writes it."""
    operands = instruction.operands
    if not any(isinstance(o, Vec) and len(o.elements) == 1 for o in operands):
        return instruction
    bare = (o.elements[0] if isinstance(o, Vec) and len(o.elements) == 1 else o for o in operands)
    return replace(instruction, operands=tuple(bare))


@lru_cache(maxsize=4096)
def _fits(opcode: str, modifiers: tuple[str, ...]) -> tuple[tuple[Form, dict[str, Any]], ...]:
    """The rows whose modifiers agree, with their values; the same text comes back many times in a module.

    As written first; only where no row takes that, in the row's own order.
    """
    rows = _TABLE.get(opcode, [])
    text = "".join("." + m for m in modifiers)
    fits = [(row, modifier_values(row, found)) for row in rows if (found := row.regex.match(text))]
    for row in rows if not fits else ():
        ordered = _ordered(row, modifiers)
        if ordered is not None and (found := row.regex.match(ordered)):
            fits.append((row, modifier_values(row, found)))
    return tuple(fits)


def _ordered(row: Form, modifiers: tuple[str, ...]) -> str | None:
    """The modifiers in the row's order, where it knows them all.

    Types keep theirs, and so do state spaces (a copy goes from the second to the first); the rest are free.
    """
    left = list(modifiers)
    out = []
    for choices in row.choices:
        for at, name in enumerate(left):
            ordered = _kind(name)
            if name in choices and not (ordered and any(_kind(other) == ordered for other in left[:at])):
                out.append("." + left.pop(at))
                break
    return None if left else "".join(out)


@cache
def _kind(name: str) -> str:
    """What a modifier keeps its place among, '' for nothing."""
    return "type" if _FORMAT.match(name) else "space" if name.partition("::")[0] in _SPACES else ""


def modifier_values(row: Form, found: re.Match[str]) -> dict[str, Any]:
    """What each modifier of the row is, given where its regex matched."""
    values: dict[str, Any] = {}
    for name, choice in row.groups:
        text = found[name]
        if not choice:
            values[name] = text is not None
        elif text is not None and name.endswith("type"):
            values[name] = Type.parse(text)
        else:
            values[name] = text
    return values


def _bind(row: Form, values: dict[str, Any], instruction: Instruction) -> Matched | None:
    if len(row.operands) != len(instruction.operands):
        return None
    bound = []
    for spec, operand in zip(row.operands, instruction.operands, strict=True):
        type = _type(spec, values) if spec.kind == "value" else None
        if not _agrees(row, spec, type, operand, values.get("vec")):
            return None
        bound.append((spec, operand, type))
    return Matched(row, Modifiers(values), instruction, tuple(bound))


def _agrees(row: Form, spec: OperandSpec, type: Type | None, operand: Operand, vec: str | None) -> bool:
    """Whether the operand can stand here by its syntax; what the names in it are declared as is not asked."""
    if type is None:
        return isinstance(operand, {"memory": Addr, "group": Group, "label": Sym, "sink": Sink}[spec.kind])
    if spec.must_pair or isinstance(operand, Pair):
        return spec.pair and isinstance(operand, Pair)
    if spec.count:
        return _is_vector(operand, spec.count)
    if isinstance(operand, Sink):
        return spec.destination and row.opcode in ("atom", "mbarrier")
    vec = vec if spec.type == "type" else None
    if vec or isinstance(operand, Vec):
        return _agrees_vector(row, type, operand, vec)
    if spec.destination:
        return isinstance(operand, Reg)
    return _agrees_source(row, spec, type, operand)


def _is_vector(operand: Operand, count: int) -> bool:
    """{a, b, ...} of that many registers."""
    return (
        isinstance(operand, Vec)
        and len(operand.elements) == count
        and all(isinstance(element, Reg) for element in operand.elements)
    )


def _agrees_vector(row: Form, type: Type, operand: Operand, vec: str | None) -> bool:
    if not isinstance(operand, Vec):
        return isinstance(operand, Reg)
    if vec:
        return len(operand.elements) == int(vec[1:])
    return row.opcode == "mov" and type.kind == "b" and len(operand.elements) in (2, 4)


def _agrees_source(row: Form, spec: OperandSpec, type: Type, operand: Operand) -> bool:
    if spec.name == "imm":
        return isinstance(operand, Int) and (not spec.integers or operand.value in spec.integers)
    if isinstance(operand, Int):
        return not type.is_float
    if isinstance(operand, Float):
        return type.is_float or (type.kind == "b" and type.bits == operand.width)
    if isinstance(operand, Not):
        return type == PRED
    if isinstance(operand, Sym):
        return row.opcode == "mov" or row.pattern.startswith("cvta.space")
    return isinstance(operand, Reg)


def _complaint(instruction: Instruction, fits: list[Form]) -> str:
    rows = _TABLE.get(instruction.opcode)
    if not rows:
        return f"instruction {instruction.opcode!r} is not supported{_nearest(instruction.opcode)}"
    written = ".".join((instruction.opcode, *instruction.modifiers))
    if fits:
        takes = " or ".join(sorted({row.pattern.partition(" ")[2].strip() or "none" for row in fits}))
        return f"{written} takes the operands {takes}: these are others in number or kind"
    near = _nearest_forms(rows, instruction.modifiers)
    return f"{written} is no supported form of {instruction.opcode}; the nearest are: {'; '.join(near)}"


def _nearest_forms(rows: list[Form], modifiers: tuple[str, ...]) -> list[str]:
    """The rows that know the most of these modifiers, at most three."""

    def strange(row: Form) -> int:
        known = set(re.findall(r"[\w:]+", row.pattern.partition(" ")[0].replace(":", " "), re.ASCII))
        return sum(not set(name.split("::")) <= known for name in modifiers)

    return [row.pattern for row in sorted(rows, key=strange)[:3]]


def _type(spec: OperandSpec, values: dict[str, Any]) -> Type:
    named = values.get(spec.type)
    if isinstance(named, Type):
        return named
    if spec.type == "wide":
        base: Type = values["type"]
        return Type(base.kind, base.bits * 2)
    return {"pred": PRED, "own": _B32}.get(spec.type) or Type.parse(spec.type)


def _nearest(opcode: str) -> str:
    import difflib

    near = difflib.get_close_matches(opcode, _TABLE, n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""
