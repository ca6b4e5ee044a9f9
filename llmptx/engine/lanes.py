"""What lanes of a warp do together: shuffles, votes, matches, reductions.

With a warp as a vector they are register operations. One thread at a time they are cuts: the thread leaves
its operands
in its mailbox and comes back when the scheduler has answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from llmptx.engine import constants
from llmptx.engine.access import Memory
from llmptx.engine.constants import vector_type
from llmptx.engine.context import FAIL_TRAP
from llmptx.engine.emit import I1, I32, I64, IR, PTR, Value
from llmptx.ptx.types import PRED, Type

B32 = Type("b", 32)
WARP = 32


class NeedsThreads(Exception):  # noqa: N818 - a fact about the code, not a fault in it
    """The kernel does something a warp as a vector cannot: it has to run one thread at a time."""


class Lanes(Memory):
    """Adds warp operations to the emitter.

    suspend   (what, operands, result types) -> results: a cut, given by the lowering; None inside a warp
              vector
    fail      ends the launch with a reason, given by the lowering
    """

    suspend: Callable[[tuple[Any, ...], list[Value], list[Type]], list[Value]]
    fail: Callable[[int, IR], None]

    def _alone(self) -> bool:
        return self.width == 1

    def lane_id(self) -> Value:
        steps = constants.lanes(I32, tuple(range(self.width)))
        return Value(B32, "v", steps)

    def shfl(self, mode: str, a: Value, b: Value, c: Value, mask: Value | None) -> tuple[Value, Value]:
        if self._alone():
            members = mask if mask is not None else self.const(B32, -1)
            return self.shfl_alone(mode, [a, b, c, members, a], mask is not None)[:2]
        self._converge()
        return self._shuffled(mode, a, b, c)

    def shfl_alone(self, mode: str, words: list[Value], sync: bool) -> tuple[Value, Value, Value]:
        """(value, in range, the value's twin) of words a, b, c, membermask, a's twin; twins if checked."""
        count = 5 if self.check else 4
        value, within, *twin = self.suspend(
            ("shfl", mode, sync), words[:count], [B32, PRED, B32][: count - 2]
        )
        return value, within, twin[0] if twin else value

    def _shuffled(self, mode: str, a: Value, b: Value, c: Value) -> tuple[Value, Value]:
        """In a warp as a vector, whatever its lanes are doing."""
        if b.const is not None and c.const is not None:
            return self._shuffle_known(mode, a, b.const, c.const)
        source, within = self._source(mode, b, c)
        if a.kind == "u":
            return a, within
        where = self._spill("values", self.vector(a))
        offsets = self.zext(self.shl(source, self.const(B32, 2)), 64)
        base = Value(Type("b", 64), "u", self.b.ptrtoint(where, I64))
        pointers = self.b.inttoptr(self.vector(self.add(base, offsets)), vector_type(PTR, self.width))
        vector = vector_type(I32, self.width)
        ones = constants.splat(ir.Constant(I1, 1), self.width)
        name = f"llvm.masked.gather.v{self.width}i32.v{self.width}p0"
        value = self.call(name, vector, [pointers, ir.Constant(I32, 4), ones, ir.Constant(vector, None)])
        return Value(B32, "v", value), within

    def _source(self, mode: str, b: Value, c: Value) -> tuple[Value, Value]:
        """(source lane, in range), PTX ISA 9.7.9.6."""
        five = self.const(B32, 31)
        lane = self.lane_id()
        segment = self.and_(self.lshr(c, self.const(B32, 8)), five)
        clamp, step = self.and_(c, five), self.and_(b, five)
        low = self.and_(lane, segment)
        limit = self.or_(low, self.and_(clamp, self.not_(segment)))
        j = {
            "up": lambda: self.sub(lane, step),
            "down": lambda: self.add(lane, step),
            "bfly": lambda: self.xor(lane, step),
            "idx": lambda: self.or_(low, self.and_(step, self.not_(segment))),
        }[mode]()
        within = self.icmp("sge" if mode == "up" else "sle", j, limit)
        return self.and_(self.select(within, j, lane), five), within

    def _shuffle_known(self, mode: str, a: Value, b: int, c: int) -> tuple[Value, Value]:
        sources, within = [], []
        for lane in range(self.width):
            source, good = source_lane(mode, lane, b, c)
            sources.append(source)
            within.append(int(good))
        flags = Value(PRED, "v", constants.lanes(I1, tuple(within)))
        if a.kind == "u":
            return a, flags
        return Value(B32, "v", self._pick(self.vector(a), sources)), flags

    def _converge(self) -> None:
        """Lanes that meet in a .sync operation are ordered: what one wrote before, the others may read
        after.
        """
        if self.check:
            warp = self.unit if self.width > 1 else self.b.lshr(self.unit, ir.Constant(I32, 5))
            epochs = self.b.inttoptr(self.word("warp_epochs"), PTR)
            where = self.b.gep(epochs, [self.b.zext(warp, I64)], source_etype=I64)
            self.b.store(self.b.add(self.b.load(where, typ=I64), ir.Constant(I64, 1)), where)

    def _true(self, a: Value) -> Value:
        """Active lanes whose predicate holds, as uniform b32 bits."""
        if a.kind == "u":
            bits = self.b.select(a.ir, self.bits(self.mask), ir.Constant(I32, 0))
        else:
            bits = self.bits(self.b.and_(a.ir, self.lanes()))
        return Value(B32, "u", bits)

    def vote(self, mode: str, a: Value, mask: Value | None) -> Value:
        if self._alone():
            members = mask if mask is not None else self.const(B32, -1)
            type = B32 if mode == "ballot" else PRED
            return self.suspend(("vote", mode, mask is not None), [self._as_b32(a), members], [type])[0]
        self._converge()
        members = mask if mask is not None else self.const(B32, -1)
        members = self.and_(members, Value(B32, "u", self.bits(self.mask)))
        true = self.and_(self._true(a), members)
        zero = self.const(B32, 0)
        if mode == "ballot":
            return true
        if mode == "any":
            return self.icmp("ne", true, zero)
        every = self.icmp("eq", true, members)
        if mode == "all":
            return every
        return self.or_(every, self.icmp("eq", true, zero))

    def _as_b32(self, a: Value) -> Value:
        return self.zext(a, 32) if a.type.kind == "pred" else a

    def match(self, mode: str, a: Value, mask: Value) -> tuple[Value, Value]:
        if self._alone():
            wide = self.zext(a, 64) if a.type.bits < 64 else a
            value, every = self.suspend(("match", mode, True), [wide, mask], [B32, PRED])
            return value, every
        self._converge()
        active = self.and_(mask, Value(B32, "u", self.bits(self.mask)))
        vector = self.vector(a)
        total = self.const(B32, 0)
        for lane in range(self.width):
            one = Value(a.type, "u", self.b.extract_element(vector, ir.Constant(I32, lane)))
            bit = self.select(self.icmp("eq", a, one), self.const(B32, 1 << lane), self.const(B32, 0))
            total = self.or_(total, bit)
        same = self.and_(total, active)
        if mode == "any":
            return same, self.icmp("ne", same, self.const(B32, 0))
        every = self.icmp("eq", same, active)
        return self.select(every, active, self.const(B32, 0)), every

    def redux(self, op: str, a: Value, signed: bool, mask: Value) -> Value:
        if self._alone():
            return self.suspend(("redux", op, signed), [a, mask], [B32])[0]
        if mask.kind != "u":
            raise NeedsThreads("it has a redux.sync whose members are not the same in all lanes")
        self._converge()
        identity = {
            "add": 0,
            "or": 0,
            "xor": 0,
            "and": -1,
            "umin": -1,
            "umax": 0,
            "smin": 2**31 - 1,
            "smax": -(2**31),
        }
        verb = (("s" if signed else "u") + op) if op in ("min", "max") else op
        neutral = self.const(B32, identity[verb])
        members = self.b.and_(mask.ir, self.bits(self.mask))
        chosen = self.b.bitcast(members, vector_type(I1, self.width))
        vector = self.b.select(chosen, self.vector(a), self.vector(neutral))
        return Value(B32, "u", self.call(f"llvm.vector.reduce.{verb}.v{self.width}i32", I32, [vector]))

    def activemask(self) -> Value:
        if self._alone():
            return self.suspend(("activemask", "", False), [], [B32])[0]
        return Value(B32, "u", self.bits(self.mask))

    def elect(self, mask: Value) -> tuple[Value, Value]:
        """elect.sync: (leader's lane, whether this lane is it)."""
        if self._alone():
            lane, leads = self.suspend(("elect", "", True), [mask], [B32, PRED])
            return lane, leads
        members = self.and_(mask, Value(B32, "u", self.bits(self.mask)))
        leader = self.ctz(members)
        return leader, self.icmp("eq", self.lane_id(), leader)

    def warp_barrier(self, mask: Value) -> None:
        if self._alone():
            self.suspend(("warp_barrier", "", True), [mask], [])
        else:
            self._converge()

    def fence(self, scope: str) -> None:
        self.b.fence("seq_cst")

    def trap(self) -> None:
        self.fail(FAIL_TRAP, self.any(self.mask))

    def nanosleep(self, a: Value) -> None:
        """Time does not pass: a thread that sleeps lets nothing happen that would not happen anyway."""


def source_lane(mode: str, lane: int, b: int, c: int) -> tuple[int, bool]:
    """shfl's source lane and whether it is in range, PTX ISA 9.7.9.6."""
    segment, clamp, step = (c >> 8) & 31, c & 31, b & 31
    low = lane & segment
    limit = low | (clamp & ~segment & 31)
    j = {"up": lane - step, "down": lane + step, "bfly": lane ^ step, "idx": low | (step & ~segment & 31)}[
        mode
    ]
    within = j >= limit if mode == "up" else j <= limit
    return (j if within else lane) & 31, within
