"""Random programs, structured as trees and graphs of blocks: as PTX, and as a few lines of Python run them.

The interpreter runs one thread after the other on Python integers; threads meet only where all exchange a
value. It is what every lowering of the same program must agree with.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.run.job import Buffer, Job, Launch

REGISTERS, PREDICATES, SLOTS, DATA = 5, 2, 4, 64
M32 = 0xFFFFFFFF
POISON = 0xA5A5A5A5
Value = int | str
Cond = tuple[str, Value, Value] | tuple[str, int, bool]
HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"

OPS = {
    "add.u32": lambda a, b: a + b,
    "sub.u32": lambda a, b: a - b,
    "mul.lo.u32": lambda a, b: a * b,
    "xor.b32": lambda a, b: a ^ b,
    "and.b32": lambda a, b: a & b,
    "or.b32": lambda a, b: a | b,
    "min.u32": min,
    "max.u32": max,
    "shl.b32": lambda a, b: a << b if b < 32 else 0,
    "shr.u32": lambda a, b: a >> b if b < 32 else 0,
    "shr.s32": lambda a, b: _signed(a) >> min(b, 31),
    "mul.hi.u32": lambda a, b: a * b >> 32,
    "mul.hi.s32": lambda a, b: _signed(a) * _signed(b) >> 32,
    "min.s32": lambda a, b: min(_signed(a), _signed(b)),
    "max.s32": lambda a, b: max(_signed(a), _signed(b)),
    "add.sat.s32": lambda a, b: _saturated(_signed(a) + _signed(b)),
    "sub.sat.s32": lambda a, b: _saturated(_signed(a) - _signed(b)),
    "mul24.lo.u32": lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF),
    "bmsk.wrap.b32": lambda a, b: (1 << (b & 31)) - 1 << (a & 31),
    "set.lt.u32.s32": lambda a, b: -(_signed(a) < _signed(b)),
}
COMPARES = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


@dataclass(frozen=True)
class Assign:
    """register = op(a, b), under a predicate or not."""

    register: int
    op: str
    a: Value
    b: Value
    guard: tuple[int, bool] | None = None


@dataclass(frozen=True)
class Test:
    """predicate = cond."""

    predicate: int
    cond: Cond


@dataclass(frozen=True)
class If:
    cond: Cond
    then: tuple[Any, ...]
    other: tuple[Any, ...]


@dataclass(frozen=True)
class Loop:
    """body at most `trips` times; the test stands first ('while') or last ('do')."""

    trips: Value
    first: bool
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Leave:
    """break or continue of the loop `levels` around, where cond holds."""

    cond: Cond
    levels: int
    again: bool


@dataclass(frozen=True)
class Return:
    cond: Cond
    guarded: bool


@dataclass(frozen=True)
class Switch:
    """cases[index % len(cases)]; brx.idx."""

    index: Value
    cases: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Call:
    """register = blend(a, b): a function with a branch and a loop in it."""

    register: int
    a: Value
    b: Value
    guard: tuple[int, bool] | None = None


@dataclass(frozen=True)
class Load:
    """register = data[(thread + shift) % ...] (lanes consecutive) or data[index % DATA]."""

    register: int
    index: Value | None
    shift: int = 0


@dataclass(frozen=True)
class Store:
    slot: int
    value: Value


@dataclass(frozen=True)
class Exchange:
    """register = the value of the thread `shift` further on: through shared memory, or shfl within a warp."""

    register: int
    value: int
    shift: int
    by: str


Statement = Assign | Test | If | Loop | Leave | Return | Switch | Call | Load | Store | Exchange


def blend(a: int, b: int) -> int:
    if a & 1:
        return (a + 3 * b) & M32
    for _ in range(b & 3):
        a = (a ^ (a >> 3)) + b & M32
        if a & 8:
            break
    return a


BLEND = """
.func (.param .b32 result) blend(.param .b32 a, .param .b32 b)
{
    .reg .u32 %x, %y, %i, %t;
    .reg .pred %p;
    ld.param.b32 %x, [a];
    ld.param.b32 %y, [b];
    and.b32 %t, %x, 1;
    setp.eq.u32 %p, %t, 0;
    @%p bra LOOPING;
    mad.lo.u32 %x, %y, 3, %x;
    st.param.b32 [result], %x;
    ret;
LOOPING:
    and.b32 %i, %y, 3;
AGAIN:
    setp.eq.u32 %p, %i, 0;
    @%p bra DONE;
    shr.u32 %t, %x, 3;
    xor.b32 %x, %x, %t;
    add.u32 %x, %x, %y;
    sub.u32 %i, %i, 1;
    and.b32 %t, %x, 8;
    setp.eq.u32 %p, %t, 0;
    @%p bra AGAIN;
DONE:
    st.param.b32 [result], %x;
    ret;
}
"""


class Maker:
    """Draws a program. meets: with exchanges between threads, and so without early returns."""

    def __init__(self, random: Random, meets: bool, whole_warps: bool) -> None:
        self.random, self.meets, self.whole_warps = random, meets, whole_warps
        self.left = random.randint(4, 22)

    def program(self) -> tuple[Statement, ...]:
        return self.body(0, 0, self.meets)

    def body(self, depth: int, loops: int, together: bool) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for _ in range(self.random.randint(1, 5 if depth else 8)):
            if self.left <= 0:
                break
            self.left -= 1
            out.append(self.statement(depth, loops, together))
        return tuple(out)

    def statement(self, depth: int, loops: int, together: bool) -> Statement:
        r = self.random
        kinds = ["assign"] * 5 + ["guarded", "test", "load", "store", "call"]
        if depth < 4:
            kinds += ["if"] * 3 + ["loop"] * 3 + ["switch"]
        if loops:
            kinds += ["leave"] * 3
        if not self.meets:
            kinds += ["return"]
        if together:
            kinds += ["exchange"] * 3
        match r.choice(kinds):
            case "assign":
                return Assign(self.register(), r.choice(list(OPS)), self.value(), self.value())
            case "guarded":
                guard = (r.randrange(PREDICATES), r.random() < 0.5)
                return Assign(self.register(), r.choice(list(OPS)), self.value(), self.value(), guard)
            case "test":
                return Test(r.randrange(PREDICATES), self.cond())
            case "load":
                if r.random() < 0.5:
                    return Load(self.register(), None, r.randint(0, 3))
                return Load(self.register(), self.value())
            case "store":
                return Store(r.randrange(SLOTS), self.value())
            case "call":
                guard = (r.randrange(PREDICATES), r.random() < 0.5) if r.random() < 0.3 else None
                return Call(self.register(), self.value(), self.value(), guard)
            case "if":
                other = self.body(depth + 1, loops, False) if r.random() < 0.6 else ()
                return If(self.cond(), self.body(depth + 1, loops, False), other)
            case "loop":
                known = together and r.random() < 0.6
                trips: Value = r.randint(0, 4) if known or r.random() < 0.2 else self.value()
                return Loop(trips, r.random() < 0.5, self.body(depth + 1, 0 if known else loops + 1, known))
            case "leave":
                return Leave(self.cond(), r.randint(1, loops), r.random() < 0.4)
            case "return":
                return Return(self.cond(), r.random() < 0.5)
            case "switch":
                return Switch(
                    self.value(), tuple(self.body(depth + 1, loops, False) for _ in range(r.randint(1, 4)))
                )
            case _:
                ways = ["shared"] + (["bfly", "idx"] if self.whole_warps else [])
                return Exchange(self.register(), self.register(), r.randint(1, 40), r.choice(ways))

    def register(self) -> int:
        return self.random.randrange(REGISTERS)

    def value(self) -> Value:
        if self.random.random() < 0.25:
            return self.random.choice([0, 1, 2, 3, 5, 7, 31, 255, 0x7FFFFFFF, 0xFFFFFFFF])
        return f"r{self.register()}"

    def cond(self) -> Cond:
        r = self.random
        if r.random() < 0.3:
            return "pred", r.randrange(PREDICATES), r.random() < 0.5
        return f"{r.choice(list(COMPARES))}.{r.choice('us')}32", self.value(), self.value()


class Writer:
    """A tree as the body of a kernel."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels = 0
        self.counters = 0

    def line(self, text: str) -> None:
        self.lines.append(f"    {text}")

    def label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def here(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def condition(self, cond: Cond) -> tuple[str, bool]:
        """(predicate register, whether it is negated)."""
        if cond[0] == "pred":
            return f"%p{cond[1]}", bool(cond[2])
        self.line(f"setp.{cond[0]} %q, {name(cond[1])}, {name(cond[2])};")
        return "%q", False

    def jump(self, cond: Cond, to: str, unless: bool = False) -> None:
        predicate, negated = self.condition(cond)
        self.line(f"@{'!' if negated != unless else ''}{predicate} bra {to};")

    def block(self, body: Sequence[Statement], loops: list[tuple[str, str]]) -> None:
        for statement in body:
            self.statement(statement, loops)

    def statement(self, s: Statement, loops: list[tuple[str, str]]) -> None:
        match s:
            case Assign(register, op, a, b, guard):
                self.line(f"{guard_text(guard)}{op} %r{register}, {name(a)}, {name(b)};")
            case Test(predicate, ("pred", other, negated)):
                self.line(f"{'not' if negated else 'mov'}.pred %p{predicate}, %p{other};")
            case Test(predicate, (compare, a, b)):
                self.line(f"setp.{compare} %p{predicate}, {name(a)}, {name(b)};")
            case If(cond, then, other):
                no, end = self.label(), self.label()
                self.jump(cond, no, unless=True)
                self.block(then, loops)
                if other:
                    self.line(f"bra {end};")
                self.here(no)
                self.block(other, loops)
                self.here(end)
            case Loop():
                self.loop(s, loops)
            case Leave(cond, levels, again):
                self.jump(cond, loops[-levels][0 if again else 1])
            case Return(cond, True):
                predicate, negated = self.condition(cond)
                self.line(f"@{'!' if negated else ''}{predicate} ret;")
            case Return(cond, False):
                stay = self.label()
                self.jump(cond, stay, unless=True)
                self.line("exit;")
                self.here(stay)
            case Switch(index, cases):
                self.switch(index, cases, loops)
            case Call(register, a, b, guard):
                self.line("{ .param .b32 a0, b0, r0;")
                self.line(f"mov.u32 %t, {name(a)}; st.param.b32 [a0], %t;")
                self.line(f"mov.u32 %t, {name(b)}; st.param.b32 [b0], %t;")
                self.line(f"mov.u32 %t, %r{register}; st.param.b32 [r0], %t;")
                self.line(f"{guard_text(guard)}call (r0), blend, (a0, b0);")
                self.line(f"ld.param.b32 %r{register}, [r0]; }}")
            case Load(register, None, shift):
                self.line(f"ld.global.u32 %r{register}, [%mine+{4 * shift}];")
            case Load(register, index, _):
                assert index is not None
                self.line(
                    f"rem.u32 %t, {name(index)}, {DATA};"
                    if isinstance(index, int)
                    else f"and.b32 %t, {name(index)}, {DATA - 1};"
                )
                self.line("mul.wide.u32 %a, %t, 4; add.u64 %a, %a, %in;")
                self.line(f"ld.global.u32 %r{register}, [%a];")
            case Store(slot, value):
                self.line(f"mov.u32 %t, {name(value)};")
                self.line(f"mad.wide.u32 %a, %n, {4 * slot}, %place; st.global.u32 [%a], %t;")
            case Exchange():
                self.exchange(s)

    def loop(self, s: Loop, loops: list[tuple[str, str]]) -> None:
        counter = f"%c{self.counters}"
        self.counters += 1
        head, test, end = self.label(), self.label(), self.label()
        self.line(
            f"and.b32 {counter}, {name(s.trips)}, 3;"
            if not isinstance(s.trips, int)
            else f"mov.u32 {counter}, {s.trips & 3};"
        )
        self.here(head)
        if s.first:
            self.here(test)
            self.line(f"setp.eq.u32 %q, {counter}, 0;")
            self.line(f"@%q bra {end};")
            self.line(f"sub.u32 {counter}, {counter}, 1;")
            self.block(s.body, [*loops, (test, end)])
            self.line(f"bra {test};")
        else:
            self.block(s.body, [*loops, (test, end)])
            self.here(test)
            self.line(f"setp.ne.u32 %q, {counter}, 0;")
            self.line(f"sub.u32 {counter}, {counter}, 1;")
            self.line(f"@%q bra {head};")
        self.here(end)

    def switch(
        self, index: Value, cases: Sequence[Sequence[Statement]], loops: list[tuple[str, str]]
    ) -> None:
        labels, end, table = [self.label() for _ in cases], self.label(), self.label()
        self.line(f"mov.u32 %t, {name(index)};")
        self.line(f"rem.u32 %t, %t, {len(cases)};")
        self.line(f"{table}: .branchtargets {', '.join(labels)};")
        self.line(f"brx.idx %t, {table};")
        for label, case in zip(labels, cases, strict=True):
            self.here(label)
            self.block(case, loops)
            self.line(f"bra {end};")
        self.here(end)

    def exchange(self, s: Exchange) -> None:
        if s.by == "shared":
            self.line("mov.u32 %t, buffer; mad.lo.u32 %u, %tid.x, 4, %t;")
            self.line(f"st.shared.u32 [%u], %r{s.value};")
            self.line("bar.sync 0;")
            self.line(f"add.u32 %u, %tid.x, {s.shift}; rem.u32 %u, %u, %ntid.x; mad.lo.u32 %u, %u, 4, %t;")
            self.line(f"ld.shared.u32 %r{s.register}, [%u];")
            self.line("bar.sync 0;")
        else:
            self.line(f"shfl.sync.{s.by}.b32 %r{s.register}, %r{s.value}, {s.shift & 31}, 31, 0xffffffff;")


def name(value: Value) -> str:
    return f"%{value}" if isinstance(value, str) else str(value)


def guard_text(guard: tuple[int, bool] | None) -> str:
    return "" if guard is None else f"@{'!' if guard[1] else ''}%p{guard[0]} "


PROLOGUE = """
    ld.param.u64 %in, [data];
    ld.param.u64 %out, [out];
    mad.lo.u32 %r0, %ctaid.x, %ntid.x, %tid.x;
    mul.lo.u32 %n, %nctaid.x, %ntid.x;
    mul.wide.u32 %a, %tid.x, 4;
    add.u64 %mine, %in, %a;
    mul.wide.u32 %a, %r0, 4;
    add.u64 %place, %out, %a;
    ld.global.u32 %r1, [%mine];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, 9;
    mov.u32 %r4, %tid.x;
    setp.lt.u32 %p0, %r1, 1000;
    setp.gt.u32 %p1, %tid.x, 5;
"""


def kernel(lines: Sequence[str], counters: int, shared: int) -> str:
    declared = f"    .shared .align 4 .b8 buffer[{shared}];\n" if shared else ""
    counted = f"    .reg .u32 %c<{counters}>;\n" if counters else ""
    return (
        f"{HEADER}{BLEND}\n.visible .entry k(.param .u64 data, .param .u64 out)\n{{\n"
        f"    .reg .u32 %r<{REGISTERS}>, %t, %u, %n, %fuel;\n    .reg .pred %p<{PREDICATES}>, %q;\n"
        f"    .reg .u64 %a, %in, %out, %mine, %place;\n{counted}{declared}{PROLOGUE}"
        + "\n".join(lines)
        + "\n}\n"
    )


def final_stores() -> list[str]:
    out = []
    for i in range(REGISTERS):
        out.append(f"    mad.wide.u32 %a, %n, {4 * (SLOTS + i)}, %place; st.global.u32 [%a], %r{i};")
    return [*out, "    ret;"]


def structured(program: Sequence[Statement], threads: int) -> str:
    writer = Writer()
    writer.block(program, [])
    return kernel([*writer.lines, *final_stores()], writer.counters, 4 * threads)


# the interpreter


class State:
    """A thread: registers, predicates, and its column of the output."""

    def __init__(self, block: int, thread: int, threads: int, data: Sequence[int]) -> None:
        self.thread, self.data = thread, data
        self.r = [block * threads + thread, data[thread], block, 9, thread]
        self.p = [data[thread] < 1000, thread > 5]
        self.out = [POISON] * (SLOTS + REGISTERS)

    def get(self, value: Value) -> int:
        return value if isinstance(value, int) else self.r[int(value[1:])]

    def holds(self, cond: Cond) -> bool:
        if cond[0] == "pred":
            return self.p[int(cond[1])] != bool(cond[2])
        a, b = self.get(cond[1]), self.get(cond[2])
        if cond[0].endswith("s32"):
            a, b = _signed(a), _signed(b)
        return bool(COMPARES[cond[0][:2]](a, b))

    def guard(self, guard: tuple[int, bool] | None) -> bool:
        return guard is None or self.p[guard[0]] != guard[1]

    def assign(self, s: Assign) -> None:
        if self.guard(s.guard):
            self.r[s.register] = OPS[s.op](self.get(s.a), self.get(s.b)) & M32

    def finish(self) -> None:
        self.out[SLOTS:] = self.r


def _signed(a: int) -> int:
    return a - (1 << 32) if a >> 31 else a


def _saturated(a: int) -> int:
    return max(-(1 << 31), min((1 << 31) - 1, a))


Step = Generator[Exchange, int, "str | tuple[int, bool] | None"]


def run_thread(program: Sequence[Statement], state: State) -> Step:
    if (yield from _body(program, state)) is None:
        state.finish()
    return None


def _body(program: Sequence[Statement], state: State) -> Step:
    """None at the end, 'return', or (levels still to leave, whether to go on there)."""
    for s in program:
        way = yield from _one(s, state)
        if way is not None:
            return way
    return None


def _one(s: Statement, state: State) -> Step:
    match s:
        case Assign():
            state.assign(s)
        case Test(predicate, cond):
            state.p[predicate] = state.holds(cond)
        case If(cond, then, other):
            return (yield from _body(then if state.holds(cond) else other, state))
        case Loop(trips, first, body):
            return (yield from _loop(state.get(trips) & 3, first, body, state))
        case Leave(cond, levels, again):
            return (levels, again) if state.holds(cond) else None
        case Return(cond, _):
            return "return" if state.holds(cond) else None
        case Switch(index, cases):
            return (yield from _body(cases[state.get(index) % len(cases)], state))
        case Call(register, a, b, guard):
            if state.guard(guard):
                state.r[register] = blend(state.get(a), state.get(b))
        case Load(register, None, shift):
            state.r[register] = state.data[state.thread + shift]
        case Load(register, index, _):
            assert index is not None
            state.r[register] = state.data[state.get(index) % DATA]
        case Store(slot, value):
            state.out[slot] = state.get(value)
        case Exchange():
            state.r[s.register] = yield s
    return None


def _loop(left: int, first: bool, body: Sequence[Statement], state: State) -> Step:
    if first and left == 0:
        return None
    left -= first
    while True:
        way = yield from _body(body, state)
        if way is not None:
            if way == "return":
                return way
            assert isinstance(way, tuple)
            levels, again = way
            if levels > 1:
                return levels - 1, again
            if not again:
                return None
        if left == 0:
            return None
        left -= 1


def interpret(
    program: Sequence[Statement], blocks: int, threads: int, data: Sequence[int]
) -> NDArray[np.uint32]:
    """(SLOTS + REGISTERS, blocks * threads)"""
    columns = []
    for block in range(blocks):
        states = [State(block, t, threads, data) for t in range(threads)]
        steps = [run_thread(program, s) for s in states]
        asked: list[Exchange | None] = [next(step, None) for step in steps]
        while (s := asked[0]) is not None:
            given = [state.r[s.value] for state in states]
            asked = [_send(step, given[_source(s, t, threads)]) for t, step in enumerate(steps)]
        columns += [state.out for state in states]
    return np.array(columns, np.uint32).T


def _send(step: Step, value: int) -> Exchange | None:
    try:
        return step.send(value)
    except StopIteration:
        return None


def _source(s: Exchange, thread: int, threads: int) -> int:
    first, lane = thread // 32 * 32, thread % 32
    return {
        "shared": (thread + s.shift) % threads,
        "bfly": first + (lane ^ (s.shift & 31)),
        "idx": first + (s.shift & 31),
    }[s.by]


# graphs


@dataclass(frozen=True)
class Node:
    """Assignments, then the way on: one target, two by a condition, or several by an index."""

    body: tuple[Assign | Test | Store | Load, ...]
    cond: Cond | None
    index: Value | None
    targets: tuple[int, ...]


def graph(random: Random, tangled: bool) -> tuple[Node, ...]:
    """Blocks that jump among each other; the last leaves. tangled: loops may have two ways in."""
    maker = Maker(random, False, False)
    count = random.randint(2, 9)
    # Without tangles a jump back goes to the start of a range that is entered at its start only.
    ranges = [] if tangled else _ranges(random, count)
    nodes = []
    for here in range(count):
        body = tuple(
            maker.statement(9, 0, False)
            if random.random() < 0.3
            else Assign(maker.register(), random.choice(list(OPS)), maker.value(), maker.value())
            for _ in range(random.randint(0, 3))
        )
        body = tuple(s for s in body if isinstance(s, Assign | Test | Store | Load))
        legal = list(range(count + 1)) if tangled else _legal(here, count, ranges)
        ways = random.choice([1, 2, 2, 2, 3])
        targets = tuple(random.choice(legal) for _ in range(ways))
        nodes.append(
            Node(body, maker.cond() if ways == 2 else None, maker.value() if ways == 3 else None, targets)
        )
    return tuple(nodes)


def _ranges(random: Random, count: int) -> list[tuple[int, int]]:
    """Nested or disjoint ranges of blocks: the loops there may be."""
    out: list[tuple[int, int]] = []
    for _ in range(random.randint(0, 4)):
        a, b = sorted((random.randrange(count), random.randrange(count)))
        if all(b < c or d < a or (c <= a and b <= d) or (a <= c and d <= b) for c, d in out):
            out.append((a, b))
    return out


def _legal(here: int, count: int, ranges: list[tuple[int, int]]) -> list[int]:
    forward = [t for t in range(here + 1, count + 1) if all(a <= here or t <= a or t > b for a, b in ranges)]
    back = [a for a, b in ranges if a <= here <= b]
    return (forward or [count]) + back


FUEL = 24


def graph_text(nodes: Sequence[Node]) -> str:
    writer = Writer()
    writer.line(f"mov.u32 %fuel, {FUEL};")
    names = [f"N{i}" for i in range(len(nodes) + 1)]
    for here, node in enumerate(nodes):
        writer.here(names[here])
        writer.block(node.body, [])
        writer.line("setp.eq.u32 %q, %fuel, 0;")
        writer.line(f"@%q bra {names[-1]};")
        writer.line("sub.u32 %fuel, %fuel, 1;")
        to = [names[t] for t in node.targets]
        if node.cond is not None:
            writer.jump(node.cond, to[0])
            writer.line(f"bra {to[1]};")
        elif node.index is not None:
            table = writer.label()
            writer.line(f"mov.u32 %t, {name(node.index)};")
            writer.line(f"rem.u32 %t, %t, {len(to)};")
            writer.line(f"{table}: .branchtargets {', '.join(to)};")
            writer.line(f"brx.idx %t, {table};")
        else:
            writer.line(f"bra {to[0]};")
    writer.here(names[-1])
    return kernel([*writer.lines, *final_stores()], 0, 0)


def interpret_graph(
    nodes: Sequence[Node], blocks: int, threads: int, data: Sequence[int]
) -> NDArray[np.uint32]:
    columns = []
    for block in range(blocks):
        for thread in range(threads):
            state = State(block, thread, threads, data)
            here, fuel = 0, FUEL
            while here < len(nodes):
                node = nodes[here]
                for s in node.body:
                    next(_one(s, state), None)
                if fuel == 0:
                    break
                fuel -= 1
                way = 0
                if node.cond is not None:
                    way = 0 if state.holds(node.cond) else 1
                elif node.index is not None:
                    way = state.get(node.index) % len(node.targets)
                here = node.targets[way]
            state.finish()
            columns.append(state.out)
    return np.array(columns, np.uint32).T


def job(text: str, blocks: int, threads: int, data: NDArray[np.uint32], **settings: Any) -> Job:
    size = (SLOTS + REGISTERS) * blocks * threads
    return Job(
        text,
        (Launch("k", (blocks, 1, 1), (threads, 1, 1), ("data", "out")),),
        (Buffer("data", "uint32", data.size, "input", data), Buffer("out", "uint32", size, "output")),
        **settings,
    )
