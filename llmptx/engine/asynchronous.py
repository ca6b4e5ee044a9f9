"""Copies that are waited for, and barriers in shared memory, on the emitter.

A copy is made at once. In checked mode its bytes count as unwritten until its thread has waited: a ring of
what is in flight stands beside each thread, and forgets what it has no room for. A barrier is a word: the
phase (bit 63), bytes outstanding (62-40, signed), arrivals that a phase takes (39-20), those missing (19-0).
Knows addresses and masks; whose turn it is, is the lowering's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from llmptx.engine.access import B64, Address, space_name
from llmptx.engine.context import COPIES, COPY_WORDS, INDEX
from llmptx.engine.emit import I32, I64, IR, Value
from llmptx.engine.lanes import B32, NeedsThreads
from llmptx.engine.library import LIBRARY
from llmptx.engine.matrix import Matrices
from llmptx.ptx.types import Type

WORD = 4
COPY = f"{LIBRARY}copy"
TRACKED = f"{LIBRARY}copies."


class Asynchronous(Matrices):
    """Adds copies and memory barriers to the emitter."""

    def offset(self, address: Address, a: Value) -> Address:
        bits = address.value.type.bits
        return Address(self.add(address.value, a if bits == 64 else self.trunc(a, bits)), address.space)

    # copies

    def copy(self, space: str, to: Address, source: Address, size: int, given: Value | None) -> None:
        target = self.generic(space_name(space), to.value)
        origin = self.generic("global", source.value)
        if self.check:
            self._copy_checked(target, origin, size, given)
            self._in_flight(target, size)
        elif given is None and (self.width == 1 or target.kind == origin.kind == "a"):
            self._move(target, origin, size)
        else:
            self._copy_lanes(target, origin, size, given)

    def _move(self, target: Value, origin: Value, size: int) -> None:
        count = size // WORD
        self.store("", B32, Address(target), self.load("", B32, Address(origin), count), count)

    def _copy_lanes(self, target: Value, origin: Value, size: int, given: Value | None) -> None:
        """One lane after the other."""
        self.extras[COPY] = _copy_text()
        targets = self._spill("addresses", self.vector(target))
        origins = self._spill("values", self.vector(origin))
        counts = self._spill("values", self.vector(given or self.const(B32, size)), 512)
        tail = [ir.Constant(I32, self.width), ir.Constant(I64, size)]
        self.call(COPY, ir.VoidType(), [targets, self.bits(self.mask), origins, counts, *tail])

    def _copy_checked(self, target: Value, origin: Value, size: int, given: Value | None) -> None:
        if given is None:
            self._move(target, origin, size)
            return
        zeros = [self.const(B32, 0)] * (size // WORD)
        self.store("", B32, Address(target), zeros if len(zeros) > 1 else zeros[0], len(zeros))
        # A number of bytes is a sum of powers of two; from the greatest on, each piece is aligned.
        for piece in (n for n in (16, 8, 4, 2, 1) if n <= size):
            bit = self.and_(given, self.const(B32, piece))
            before = self.zext(self.and_(given, self.const(B32, -2 * piece)), 64)
            with self._where(self.icmp("ne", bit, self.const(B32, 0))):
                type, count = (B32, piece // WORD) if piece >= WORD else (Type("b", 8 * piece), 1)
                found = self.load("", type, Address(self.add(origin, before)), count)
                self.store("", type, Address(self.add(target, before)), found, count)

    @contextmanager
    def _where(self, predicate: Value) -> Iterator[None]:
        """Only lanes where it holds take part."""
        outer = self.mask, self.guarded
        self.narrow(predicate)
        yield
        self.mask, self.guarded = outer

    # what is in flight, in checked mode

    def _in_flight(self, target: Value, size: int) -> None:
        addresses = self._spill("addresses", self.vector(target))
        self._tracked("begin", [addresses, ir.Constant(I64, size)])

    def commit_copies(self) -> None:
        if self.check:
            self._tracked("commit", [])

    def wait_copies(self, pending: Value | None) -> None:
        if self.check:
            number = ir.Constant(I64, -1) if pending is None else self.zext(pending, 64).ir
            self._tracked("wait", [number])

    def _tracked(self, what: str, arguments: list[IR]) -> None:
        name = f"{TRACKED}{what}"
        self.extras[name] = _copies_text(name, what)
        lanes = [self.bits(self.mask), self._first_thread(), ir.Constant(I32, self.width)]
        self.call(name, ir.VoidType(), [self.ctx, *lanes, *arguments])

    # barriers in memory

    def mbarrier(self, op: str, space: str, address: Address, count: Value) -> Value:
        pointer = self.generic(space_name(space) or address.space, address.value)
        if op in ("init", "inval"):
            wide = self.zext(count, 64)
            self.store("", B64, Address(pointer), self.or_(wide, self.shl(wide, self.const(B64, 20))))
            return self.const(B64, 0)
        if self.check:
            sizes = [ir.Constant(I32, 8), ir.Constant(I32, self.width)]
            mask = self._checked("san_atomic", pointer, sizes)
        else:
            mask = self.bits(self.mask)
            self._spill("addresses", self.vector(pointer))
        name = f"{LIBRARY}mbarrier.{op}"
        self.extras[name] = _mbarrier_text(name, op)
        counts = self._spill("values", self.vector(count))
        old = self._spill("values", self.vector(self.const(B64, 0)), 512)
        width = ir.Constant(I32, self.width)
        arguments = [self._spilled("addresses"), mask, counts, old, width]
        completed = self.call(name, I64, arguments)
        if self.check:
            self._ordered(completed)
        kind = self.ir_type(B64, "v")
        return Value(B64, "u" if self.width == 1 else "v", self.b.load(old, typ=kind, align=1))

    def _spilled(self, name: str) -> IR:
        return self.scratch[name]

    def _ordered(self, completed: IR) -> None:
        """What was done before a phase was completed is ordered before what is done after."""
        epoch = self.word_pointer("epoch")
        self.b.store(self.b.add(self.b.load(epoch, typ=I64), completed), epoch)

    def mbarrier_done(self, space: str, address: Address, phase: Value) -> Value:
        # Who waits must let others arrive: warps as vectors do not give way.
        if self.width > 1:
            raise NeedsThreads("it waits at an mbarrier")
        state = self.atom(space, "or", B64, address, self.const(B64, 0))
        return self.icmp("ne", self.mbarrier_phase(state), phase)

    def mbarrier_phase(self, state: Value) -> Value:
        return self.trunc(self.lshr(state, self.const(B64, 63)), 32)

    def mbarrier_pending(self, state: Value) -> Value:
        return self.and_(self.trunc(state, 32), self.const(B32, (1 << 20) - 1))


def _each_lane(body: str) -> str:
    """The loop over active lanes, up to a label `out`; `body` ends in a branch to `next`."""
    return (
        "entry:\n  br label %lanes\n"
        "lanes:\n"
        "  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]\n"
        "  %shifted = lshr i32 %mask, %lane\n  %bit = trunc i32 %shifted to i1\n"
        "  br i1 %bit, label %go, label %next\n"
        f"go:\n{body}"
        "next:\n  %lane1 = add i32 %lane, 1\n  %more = icmp ult i32 %lane1, %width\n"
        "  br i1 %more, label %lanes, label %out\n"
    )


def _copy_text() -> str:
    """`void COPY(ptr to, i32 mask, ptr from, ptr counts, i32 width, i64 size)`: bytes, then zeros."""
    body = (
        "  %tp = getelementptr i64, ptr %targets, i32 %lane\n  %t = load i64, ptr %tp\n"
        "  %op = getelementptr i64, ptr %origins, i32 %lane\n  %o = load i64, ptr %op\n"
        "  %np = getelementptr i32, ptr %counts, i32 %lane\n  %n32 = load i32, ptr %np\n"
        "  %n0 = zext i32 %n32 to i64\n"
        "  %few = icmp ult i64 %n0, %size\n  %n = select i1 %few, i64 %n0, i64 %size\n"
        "  %to = inttoptr i64 %t to ptr\n  %from = inttoptr i64 %o to ptr\n"
        "  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %n, i1 false)\n"
        "  %rest = getelementptr i8, ptr %to, i64 %n\n  %left = sub i64 %size, %n\n"
        "  call void @llvm.memset.p0.i64(ptr %rest, i8 0, i64 %left, i1 false)\n"
        "  br label %next\n"
    )
    return (
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
        f'define void @"{COPY}"'
        "(ptr %targets, i32 %mask, ptr %origins, ptr %counts, i32 %width, i64 %size) {\n"
        f"{_each_lane(body)}out:\n  ret void\n}}\n"
    )


def _word(register: str, name: str) -> str:
    return (
        f"  %p.{register} = getelementptr i64, ptr %ctx, i64 {INDEX[name]}\n"
        f"  %{register} = load i64, ptr %p.{register}\n"
    )


# A thread's ring: block + 1, entries, the group that is open, then (address, size | group << 32).
_RING = f"""
define internal ptr @ring(ptr %ctx, i32 %thread) {{
{_word("copies", "copies")}{_word("block", "block")}
  %t = zext i32 %thread to i64
  %at = mul i64 %t, {8 * COPY_WORDS}
  %a = add i64 %copies, %at
  %r = inttoptr i64 %a to ptr
  %tag = add i64 %block, 1
  %had = load i64, ptr %r
  %same = icmp eq i64 %had, %tag
  br i1 %same, label %out, label %fresh
fresh:
  store i64 %tag, ptr %r
  %count = getelementptr i64, ptr %r, i64 1
  store i64 0, ptr %count
  %group = getelementptr i64, ptr %r, i64 2
  store i64 0, ptr %group
  br label %out
out:
  ret ptr %r
}}

define internal void @mark(ptr %ctx, i64 %address, i64 %size, i8 %kept, i8 %added) {{
entry:
{_word("arena", "arena")}{_word("bytes", "arena_size")}{_word("shadow", "shadow")}
  %rel = sub i64 %address, %arena
  %inside = icmp ult i64 %rel, %bytes
  %where = add i64 %shadow, %rel
  %s = inttoptr i64 %where to ptr
  br i1 %inside, label %each, label %out
each:
  %i = phi i64 [ 0, %entry ], [ %i1, %each ]
  %p = getelementptr i8, ptr %s, i64 %i
  %b = load i8, ptr %p
  %b0 = and i8 %b, %kept
  %b1 = or i8 %b0, %added
  %there = trunc i8 %b to i1
  %b2 = select i1 %there, i8 %b1, i8 %b
  store i8 %b2, ptr %p
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %size
  br i1 %more, label %each, label %out
out:
  ret void
}}
"""
_OPEN = """
  %thread = add i32 %first, %lane
  %r = call ptr @ring(ptr %ctx, i32 %thread)
  %countp = getelementptr i64, ptr %r, i64 1
  %count = load i64, ptr %countp
  %groupp = getelementptr i64, ptr %r, i64 2
  %group = load i64, ptr %groupp
  %entries = getelementptr i64, ptr %r, i64 3
"""
_BEGIN = f"""
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a = load i64, ptr %ap
  %full = icmp uge i64 %count, {COPIES}
  br i1 %full, label %next, label %add
add:
  call void @mark(ptr %ctx, i64 %a, i64 %size, i8 -3, i8 0)
  %n = shl i64 %count, 1
  %e = getelementptr i64, ptr %entries, i64 %n
  store i64 %a, ptr %e
  %e1 = getelementptr i64, ptr %e, i64 1
  %g = shl i64 %group, 32
  %w = or i64 %g, %size
  store i64 %w, ptr %e1
  %count1 = add i64 %count, 1
  store i64 %count1, ptr %countp
  br label %next
"""
_COMMIT = """
  %group1 = add i64 %group, 1
  store i64 %group1, ptr %groupp
  br label %next
"""
_WAIT = """
  %all = icmp slt i64 %pending, 0
  %some = sub i64 %group, %pending
  %limit = select i1 %all, i64 4294967296, i64 %some
  br label %head
head:
  %i = phi i64 [ 0, %go ], [ %i1, %step ]
  %kept = phi i64 [ 0, %go ], [ %kept1, %step ]
  %more.e = icmp ult i64 %i, %count
  br i1 %more.e, label %entry.i, label %end
entry.i:
  %n = shl i64 %i, 1
  %e = getelementptr i64, ptr %entries, i64 %n
  %a = load i64, ptr %e
  %e1 = getelementptr i64, ptr %e, i64 1
  %w = load i64, ptr %e1
  %g = lshr i64 %w, 32
  %done = icmp slt i64 %g, %limit
  br i1 %done, label %finish, label %keep
finish:
  %size = and i64 %w, 4294967295
  call void @mark(ptr %ctx, i64 %a, i64 %size, i8 -1, i8 2)
  br label %step
keep:
  %m = shl i64 %kept, 1
  %k = getelementptr i64, ptr %entries, i64 %m
  store i64 %a, ptr %k
  %k1 = getelementptr i64, ptr %k, i64 1
  store i64 %w, ptr %k1
  %kept0 = add i64 %kept, 1
  br label %step
step:
  %kept1 = phi i64 [ %kept, %finish ], [ %kept0, %keep ]
  %i1 = add i64 %i, 1
  br label %head
end:
  store i64 %kept, ptr %countp
  br label %next
"""


def _copies_text(name: str, what: str) -> str:
    """`void name(ptr ctx, i32 mask, i32 first, i32 width, ...)`.

    begin takes the addresses and the size; wait how many groups may be left, -1 for no copy at all.
    """
    more = {"begin": ", ptr %addresses, i64 %size", "commit": "", "wait": ", i64 %pending"}[what]
    body = _OPEN + {"begin": _BEGIN, "commit": _COMMIT, "wait": _WAIT}[what]
    return (
        f'{_RING}define void @"{name}"(ptr %ctx, i32 %mask, i32 %first, i32 %width{more}) {{\n'
        f"{_each_lane(body)}out:\n  ret void\n}}\n"
    )


def _mbarrier_text(name: str, op: str) -> str:
    """`i64 name(ptr addresses, i32 mask, ptr counts, ptr olds, i32 width)`: how many phases ended."""
    arrivals = {"arrive": "%n", "drop": "%n", "expect_arrive": "1", "expect_drop": "1"}.get(op, "0")
    dropped = arrivals if op.endswith("drop") else "0"
    sign = {"expect": "%n", "complete": "%minus", "expect_arrive": "%n", "expect_drop": "%n"}.get(op, "0")
    body = f"""
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a = load i64, ptr %ap
  %p = inttoptr i64 %a to ptr
  %s = load i64, ptr %p, align 1
  %np = getelementptr i32, ptr %counts, i32 %lane
  %n32 = load i32, ptr %np, align 1
  %n = zext i32 %n32 to i64
  %minus = sub i64 0, %n
  %pending0 = and i64 %s, 1048575
  %s20 = lshr i64 %s, 20
  %expected0 = and i64 %s20, 1048575
  %s1 = shl i64 %s, 1
  %bytes0 = ashr i64 %s1, 41
  %pending1 = sub i64 %pending0, {arrivals}
  %expected = sub i64 %expected0, {dropped}
  %bytes = add i64 %bytes0, {sign}
  %none = icmp eq i64 %pending1, 0
  %still = icmp eq i64 %bytes, 0
  %may = and i1 %none, %still
  %done = and i1 %may, {"false" if op == "expect" else "true"}
  %pending = select i1 %done, i64 %expected, i64 %pending1
  %done64 = zext i1 %done to i64
  %flip = shl i64 %done64, 63
  %phase0 = and i64 %s, -9223372036854775808
  %phase = xor i64 %phase0, %flip
  %pendings = and i64 %pending, 1048575
  %expecteds = and i64 %expected, 1048575
  %e20 = shl i64 %expecteds, 20
  %b23 = and i64 %bytes, 8388607
  %b40 = shl i64 %b23, 40
  %w0 = or i64 %phase, %pendings
  %w1 = or i64 %w0, %e20
  %w2 = or i64 %w1, %b40
  store i64 %w2, ptr %p, align 1
  %op = getelementptr i64, ptr %olds, i32 %lane
  store i64 %s, ptr %op, align 1
  %sofar = load i64, ptr %total
  %now = add i64 %sofar, %done64
  store i64 %now, ptr %total
  br label %next
"""
    loop = _each_lane(body).replace("entry:\n", "entry:\n  %total = alloca i64\n  store i64 0, ptr %total\n")
    return (
        f'define i64 @"{name}"(ptr %addresses, i32 %mask, ptr %counts, ptr %olds, i32 %width) {{\n'
        f"{loop}out:\n  %sum = load i64, ptr %total\n  ret i64 %sum\n}}\n"
    )
