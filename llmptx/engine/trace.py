"""What one thread did, step by step: registers read and written, addresses, which way it went.

Both ends of it: code that tells where a compile asks for it (one thread at a time, under the sanitizers), and
the host that listens. The code is the engine's own; nothing of it is in code compiled without.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from llvmlite import ir

from llmptx.engine.access import Address, space_name
from llmptx.engine.blocks import defs, uses
from llmptx.engine.context import INDEX
from llmptx.engine.emit import I32, I64, IR, Value
from llmptx.engine.profile import Counting
from llmptx.engine.program import TWIN, Ins, Program, registers_of
from llmptx.ptx.ast import NOWHERE, Addr, Span, Sym
from llmptx.ptx.types import Type

HELPER = "llmptx.traced"
ROOM = 64  # values of one event
ADDRESSES = 2  # of one instruction, in front of its registers
BEFORE, AFTER, WAY, CALL, END = range(5)
_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)

Way = Literal["", "taken", "not taken", "goes on", "calls", "ends"]
Locate = Callable[[int], tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A register's content, typed as the instruction takes it."""

    register: str
    type: Type
    bits: int


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. `skipped`: its guard did not hold. `buffer`, `offset`: where its address leads.

    way   of a branch: taken, not taken; goes on: of brx.idx, ret of a function; calls; ends: the thread has
    """

    pc: int
    span: Span
    reads: tuple[Seen, ...] = ()
    writes: tuple[Seen, ...] = ()
    address: int | None = None
    buffer: str = ""
    offset: int = 0
    skipped: bool = False
    way: Way = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """Of one thread in one launch. stopped: there were more steps than were asked for."""

    entry: str
    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    steps: tuple[Step, ...]
    stopped: bool


def helper_text() -> str:
    """Calls the host where the thread is the one that is listened to."""
    at = {name: INDEX[name] for name in ("block", "trace_block", "trace_unit", "tracer")}
    loads = "".join(
        f"  %{name}.p = getelementptr i64, ptr %ctx, i64 {index}\n  %{name} = load i64, ptr %{name}.p\n"
        for name, index in at.items()
    )
    return f"""
define void @{HELPER}(ptr %ctx, i32 %unit, i32 %pc, i32 %what, ptr %values) noinline {{
{loads}
  %unit64 = zext i32 %unit to i64
  %here = icmp eq i64 %block, %trace_block
  %me = icmp eq i64 %unit64, %trace_unit
  %heard = and i1 %here, %me
  br i1 %heard, label %tell, label %out
tell:
  %host = inttoptr i64 %tracer to ptr
  call void %host(i32 %pc, i32 %what, ptr %values)
  br label %out
out:
  ret void
}}
"""


def accesses(program: Program, ins: Ins) -> list[tuple[Addr, str | None]]:
    """(memory operand, its space) of an instruction, call parameters that are registers left out."""
    return [
        (operand, spec.type or ins.matched.modifiers.get("space"))
        for spec, operand, _ in ins.matched.operands
        if spec.kind == "memory"
        and isinstance(operand, Addr)
        and not (isinstance(operand.base, Sym) and operand.base.name in program.slots)
    ][:ADDRESSES]


def read_in(program: Program, ins: Ins) -> list[str]:
    return _shown(sorted(uses(program, ins)))


def written_in(program: Program, ins: Ins) -> list[str]:
    return _shown(n for n in defs(program, ins) if n in program.registers)


def _shown(names: Iterator[str] | list[str]) -> list[str]:
    """Twins, which checked mode adds, are not in the text."""
    return list(dict.fromkeys(n for n in names if not n.endswith(TWIN)))[: ROOM - ADDRESSES]


class Tracing(Counting):
    """Adds the telling to the lowering, where `trace` is set.

    told    the instructions that tell, by pc, with their registers as they are named in the end
    """

    trace: bool = False
    told: dict[int, Ins]

    def _apply(self, ins: Ins) -> None:
        if not self.trace or ins.shadow:
            super()._apply(ins)
            return
        self.told[ins.pc] = ins
        addresses = [self._address_seen(*access) for access in accesses(self.program, ins)]
        values = [self.read(name) for name in read_in(self.program, ins)]
        self.tell(BEFORE, ins.pc, addresses, values)
        super()._apply(ins)
        self.tell(AFTER, ins.pc, [], [self.read(name) for name in written_in(self.program, ins)])

    def _address_seen(self, operand: Addr, space: str | None) -> Value:
        found: Address = self.address(operand, space)
        return self.generic(space_name(space) or found.space, found.value)

    def tell(self, what: int, pc: int, addresses: list[Value], values: list[Value]) -> None:
        if not self.trace:
            return
        self.extras[HELPER] = helper_text()
        room = self._told_room()
        for at, value in [*enumerate(addresses), *enumerate(values, ADDRESSES)]:
            bits = self.bitcast(value, Type("b", value.type.width)) if value.type.kind != "pred" else value
            wide = self.zext(bits, 64) if value.type.width < 64 else bits
            self.b.store(wide.ir, self.b.gep(room, [ir.Constant(I64, at)], source_etype=I64))
        arguments = [self.ctx, self.unit, ir.Constant(I32, pc), ir.Constant(I32, what), room]
        self.call(HELPER, ir.VoidType(), arguments)

    def _told_room(self) -> IR:
        raise NotImplementedError


@dataclass
class Tracer:
    """The host's end: what the thread told, at most `limit` steps of it.

    told    the lowering's
    locate  the buffer an address is in and the byte offset there
    """

    program: Program
    told: Mapping[int, Ins]
    locate: Locate
    limit: int = 0
    branches: dict[int, Ins] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    stopped: bool = False

    def __post_init__(self) -> None:
        self.branches = {item.pc: item for item in self.program.code if isinstance(item, Ins)}
        self.callback = _CALLBACK(self._told)

    @property
    def address(self) -> int:
        return ctypes.cast(self.callback, ctypes.c_void_p).value or 0

    def take(self) -> tuple[tuple[Step, ...], bool]:
        """(steps, whether there were more); nothing is left."""
        steps, stopped = tuple(self.steps), self.stopped
        self.steps, self.stopped = [], False
        return steps, stopped

    def _told(self, pc: int, what: int, values: int) -> None:
        if self.stopped:
            return
        if what != AFTER and len(self.steps) >= self.limit:
            self.stopped = True
            return
        words = [ctypes.c_uint64.from_address(values + 8 * i).value for i in range(ROOM)]
        span = self.program.spans[pc] if what != END else NOWHERE
        if what == BEFORE:
            self.steps.append(self._before(pc, span, words))
        elif what == AFTER:
            last = self.steps[-1]
            if last.pc == pc and not last.skipped:
                self.steps[-1] = replace(last, writes=self._seen(pc, written_in, words))
        elif what == WAY:
            self.steps.append(self._way(pc, span, words[ADDRESSES]))
        else:
            self.steps.append(Step(pc, span, way="calls" if what == CALL else "ends"))

    def _before(self, pc: int, span: Span, words: list[int]) -> Step:
        ins = self.told[pc]
        reads = self._seen(pc, read_in, words)
        held = {seen.register: seen.bits for seen in reads}
        guard = ins.guard
        skipped = guard is not None and bool(held[plain_name(guard.reg.name)]) == guard.negated
        step = Step(pc, span, reads, skipped=skipped)
        if skipped or not accesses(self.program, ins):
            return step
        # Of a copy, the place it reads is the second.
        buffer, offset = self.locate(words[0])
        return replace(step, address=words[0], buffer=buffer, offset=offset)

    def _way(self, pc: int, span: Span, value: int) -> Step:
        ins = self.branches[pc]
        if ins.guard is None:
            return Step(pc, span, self._index(ins, value), way="goes on")
        seen = Seen(plain_name(ins.guard.reg.name), self.program.registers[ins.guard.reg.name], value & 1)
        goes = bool(value & 1) != ins.guard.negated
        if any(isinstance(o, Sym) and o.name.startswith("skip@") for o in ins.matched.instruction.operands):
            return Step(pc, span, (seen,), skipped=goes, way="" if goes else "calls")
        return Step(pc, span, (seen,), way="taken" if goes else "not taken")

    def _index(self, ins: Ins, value: int) -> tuple[Seen, ...]:
        names = [n for o in ins.matched.instruction.operands for n in registers_of(o)]
        return tuple(Seen(plain_name(n), Type("u", 32), value & 0xFFFFFFFF) for n in names[:1])

    def _seen(
        self, pc: int, which: Callable[[Program, Ins], list[str]], words: list[int]
    ) -> tuple[Seen, ...]:
        ins = self.told[pc]
        names = which(self.program, ins)
        seen = []
        for name, bits in zip(names, words[ADDRESSES:], strict=False):
            type = _type_of(self.program, ins, name)
            seen.append(Seen(plain_name(name), type, bits & ((1 << type.width) - 1)))
        return tuple(seen)


def plain_name(name: str) -> str:
    """As the text has it: without what tells inlined bodies and values of one name apart."""
    return name.partition("#")[0].partition("@")[0]


def _type_of(program: Program, ins: Ins, name: str) -> Type:
    """As the instruction takes the register; as it was declared where that says no more."""
    declared = program.registers[name]
    for _, operand, type in ins.matched.operands:
        if type is None or isinstance(operand, Addr) or name not in registers_of(operand):
            continue
        return type if type.width == declared.width else declared
    return declared
