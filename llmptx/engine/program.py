"""The flat code of one entry: what `flatten` makes, and everything after it reads.

Nouns only. Knows the table's matched rows; knows no LLVM, no lanes and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from llmptx.isa.form import Matched
from llmptx.ptx import ast
from llmptx.ptx.ast import Addr, Group, Guard, Not, Operand, Pair, Reg, Span, Vec
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import Type

BARRIERS = ("bar", "barrier")
TWIN = "~"  # ends the name of a register's twin in checked mode


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a call's argument or result lives: a register of its own for every (variable, byte offset)."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Ins:
    """A matched instruction with its operands renamed apart; `pc` indexes Program.spans.

    shadow: it stands in no text; checked mode put it there for the instruction of that pc
    """

    matched: Matched
    guard: Guard | None
    pc: int
    shadow: bool = False

    @property
    def opcode(self) -> str:
        return self.matched.form.opcode


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of the flat code."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is not inlined. Its operands are all variables of the caller's local memory.

    callees    the functions it may reach
    pointer    the variable that holds the function's address; "" for the one callee
    arguments  copied to the callee's parameters; results  copied from its results, in order
    """

    callees: tuple[str, ...]
    pointer: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    pc: int


@dataclass(frozen=True, slots=True)
class Return:
    """Where a function that is not inlined goes back to its caller."""

    function: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A variable with its byte offset in its space's window (params: in the parameter buffer).

    frame: the function in whose activation it lives; the offset is then from that activation's start.
    """

    variable: ast.Variable
    offset: int
    frame: str = ""


@dataclass
class Frame:
    """An activation of a function that is not inlined: `size` bytes of local memory, results and parameters
    first, where every function of the same signature has them.

    label     where its code starts
    """

    function: ast.Function
    label: str
    results: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    size: int = 0

    def take(self, size: int, alignment: int) -> int:
        """The offset of fresh bytes."""
        offset = up(self.size, alignment)
        self.size = offset + size
        return offset


@dataclass
class Program:
    """The flat code of an entry, and everything it names.

    shared_size, local_size   bytes of the static windows
    param_size                bytes of the parameter buffer
    module_variables          .global and .const variables the code names, in order; their addresses come at
                              launch
    slots                     call parameters that live in registers: size by offset
    functions                 the number that stands for a function's address
    frames                    functions that are not inlined
    debug                     it was compiled to be debugged: objects are copied whole, padding and all
    reserved                  where in the shared window what the system keeps for itself begins, if code asks
    """

    entry: ast.Function
    code: list[Ins | Mark | Call | Return] = field(default_factory=list)
    registers: dict[str, Type] = field(default_factory=dict)
    vectors: dict[str, int] = field(default_factory=dict)
    params: dict[str, Placed] = field(default_factory=dict)
    shared: dict[str, Placed] = field(default_factory=dict)
    local: dict[str, Placed] = field(default_factory=dict)
    module_variables: dict[str, ast.Variable] = field(default_factory=dict)
    slots: dict[str, dict[int, int]] = field(default_factory=dict)
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    functions: dict[str, int] = field(default_factory=dict)
    frames: dict[str, Frame] = field(default_factory=dict)
    moves_stack: bool = False
    dynamic_shared: str = ""
    reserved: int | None = None
    debug: bool = False
    shared_size: int = 0
    local_size: int = 0
    param_size: int = 0

    @property
    def stacked(self) -> bool:
        """Whether threads have a stack: such a program runs one thread at a time."""
        return bool(self.frames) or self.moves_stack


def up(value: int, to: int) -> int:
    """The next multiple."""
    return -(-value // to) * to


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


def _special() -> dict[str, Type]:
    u32, u64 = Type("u", 32), Type("u", 64)
    names = {f"%{n}.{e}": u32 for n in ("tid", "ntid", "ctaid", "nctaid") for e in "xyzw"}
    names |= {f"%{n}": u32 for n in ("laneid", "warpid", "nwarpid", "smid", "nsmid", "clock", "clock_hi")}
    names |= {f"%lanemask_{n}": u32 for n in ("eq", "le", "lt", "ge", "gt")}
    names |= {
        f"%{n}": u32 for n in ("dynamic_smem_size", "total_smem_size", "globaltimer_lo", "globaltimer_hi")
    }
    names |= {"%clock64": u64, "%globaltimer": u64, "%gridid": u64}
    return names


SPECIAL = _special()
# Shared memory that belongs to the system: cooperative groups keep their barriers in it.
RESERVED, RESERVED_BYTES = "%reserved_smem_offset_", 1024


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
