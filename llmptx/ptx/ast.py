"""The syntax tree of a PTX module. Frozen; spans never take part in comparison. Knows no instruction.

Names keep their spelling, `%` included. `%tid.x` is Reg("%tid.x"): a vector register's element and a special
register read alike, and only their declarations tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from llmptx.ptx.types import Type


@dataclass(frozen=True, slots=True)
class Span:
    """Where a node stands: 1-based line and column of its first character, and just past its last."""

    line: int
    column: int
    end_line: int
    end_column: int


NOWHERE = Span(0, 0, 0, 0)


# operands


@dataclass(frozen=True, slots=True)
class Reg:
    """A register, plain (`%r1`), special (`%tid.x`) or an element of a vector register (`%v.x`)."""

    name: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Int:
    """An integer constant; constant expressions are folded by the parser (64-bit, PTX ISA 4.5.4).

    `unsigned` where the literal had a U suffix or exceeds the signed range: 0 <= value < 2**64; otherwise
    -2**63 <= value < 2**63.
    """

    value: int
    unsigned: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Float:
    """A floating-point constant by its bits: `0f3F800000` has width 32, `0d...` and decimal literals 64."""

    bits: int
    width: Literal[32, 64]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable, function or label: anything that is no register. `offset` as in `mov.u64 %rd, table+8`.

    `generic` only in an initialiser: `generic(name)`, the variable's generic address.
    """

    name: str
    offset: int = 0
    generic: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Addr:
    """A memory operand `[base+offset]`; base None for an absolute address."""

    base: Reg | Sym | None
    offset: int = 0
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Vec:
    """`{a, b, c, d}`."""

    elements: tuple[Operand, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`!%p` as a source operand."""

    reg: Reg
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """`%p|%q`: two destinations."""

    first: Reg | Sink
    second: Reg | Sink
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sink:
    """`_`: a result nobody wants, or an argument that is not given."""

    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """`(a, b)`: the results or arguments of a call."""

    elements: tuple[Operand, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Operand = Reg | Int | Float | Sym | Addr | Vec | Not | Pair | Sink | Group

# statements


@dataclass(frozen=True, slots=True)
class Guard:
    """`@%p` or `@!%p`."""

    reg: Reg
    negated: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Instruction:
    """`@%p add.rn.f32 %f1, %f2, %f3;` is opcode `add`, modifiers ("rn", "f32")."""

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Guard | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Registers:
    """`.reg .f32 %f<10>, %x;`, names as written: (("%f", 10), ("%x", None)). `vec` is 1, 2 or 4."""

    type: Type
    names: tuple[tuple[str, int | None], ...]
    vec: int = 1
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a module or a function, or a parameter (space `param`, or `reg`).

    shape       array dimensions; 0 for `[]`; () for a scalar
    init        flat initialisers: Int, Float or Sym (an address); None where there is none
    linkage     `extern`, `visible`, `weak`, `common` or ""
    pointer     of `.param .u64 .ptr .global .align 16 p`: (space or "", alignment); None otherwise
    """

    space: Literal["global", "shared", "local", "const", "param", "reg"]
    type: Type
    name: str
    shape: tuple[int, ...] = ()
    align: int | None = None
    vec: int = 1
    init: tuple[Int | Float | Sym, ...] | None = None
    linkage: str = ""
    pointer: tuple[str, int] | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def count(self) -> int:
        """Elements in all."""
        count = self.vec
        for extent in self.shape:
            count *= extent
        return count

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.type.bytes

    @property
    def alignment(self) -> int:
        """Bytes: as declared, else the type's own."""
        return self.align or self.type.bytes * self.vec


@dataclass(frozen=True, slots=True)
class Targets:
    """`lab: .branchtargets L1, L2;`, or `.calltargets` with the names of functions."""

    name: str
    labels: tuple[str, ...]
    functions: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Prototype:
    """`lab: .callprototype (.param .b32 _) _ (.param .b64 _);`."""

    name: str
    results: tuple[Variable, ...]
    params: tuple[Variable, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """`{ ... }` inside a body: its declarations are its own."""

    body: tuple[Statement, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive that changes no meaning: `.loc`, `.pragma`, `.maxntid`, `.reqntid`, `.minnctapersm`, ...

    `.maxntid 128, 1` is name "maxntid", text "128, 1"; `.pragma "nounroll";` is "pragma", '"nounroll"'; the
    text of a `.section` is as written, braces included.
    """

    name: str
    text: str
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Statement = Instruction | Label | Registers | Variable | Targets | Prototype | Scope | Directive


@dataclass(frozen=True, slots=True)
class Function:
    """`.entry` or `.func`; body None for a declaration. `directives` stand between parameters and body."""

    kind: Literal["entry", "func"]
    name: str
    params: tuple[Variable, ...]
    results: tuple[Variable, ...] = ()
    body: tuple[Statement, ...] | None = None
    directives: tuple[Directive, ...] = ()
    linkage: str = ""
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Module:
    """A PTX text. `items` keeps the order of variables, functions and directives (`.file`, `.section`)."""

    version: tuple[int, int]
    target: tuple[str, ...]
    address_size: int
    items: tuple[Variable | Function | Directive, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def functions(self) -> tuple[Function, ...]:
        return tuple(item for item in self.items if isinstance(item, Function))

    @property
    def entries(self) -> tuple[Function, ...]:
        return tuple(f for f in self.functions if f.kind == "entry")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(item for item in self.items if isinstance(item, Variable))
