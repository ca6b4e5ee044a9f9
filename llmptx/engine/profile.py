"""What a kernel did, counted: instructions by line, lanes at work, bytes, sectors and bank conflicts.

Both ends of it: code that counts where a compile asks for it, and the host that makes sense of the counts.
Nothing of it is in code compiled without. Sectors and banks are those of the CUDA C++ Best Practices Guide:
global memory moves in 32-byte sectors, shared memory has 32 banks of four bytes, one word each at a time.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from llmptx.engine.access import Address, space_name
from llmptx.engine.calls import Calls
from llmptx.engine.context import INDEX
from llmptx.engine.emit import I32, I64, PTR, Value
from llmptx.engine.program import Ins, Program
from llmptx.ptx.types import Type

LANES = 32
SECTOR_BITS = 5
RECORDS = 4096
HEAD = 2  # words of a record before its addresses: pc and bytes each, mask
HELPER = "llmptx.accessed"
_CALLBACK = ctypes.CFUNCTYPE(None)
_SEEN = ("", "global", "shared")


@dataclass(slots=True)
class Line:
    """Of one line of PTX. Thread-instructions count lanes that took part, guards considered.

    warps       warp-instructions; 0 where threads ran one at a time
    requests    of a warp for global memory, and the `sectors` they touched
    ways        the most different words that one shared request wanted of one bank: 1 is no conflict
    """

    line: int
    threads: int = 0
    warps: int = 0
    global_bytes: int = 0
    shared_bytes: int = 0
    requests: int = 0
    sectors: int = 0
    ways: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """Of one launch. width: lanes that ran at once; why: what kept it from 32, or nothing."""

    entry: str
    width: int
    why: str
    lines: tuple[Line, ...]


def helper_text(width: int) -> str:
    """Appends a record to the log, and has the host empty it where it is full."""
    at = {name: INDEX[name] for name in ("log", "log_end", "log_full")}
    return f"""
define void @{HELPER}(ptr %ctx, ptr %addresses, i64 %what, i64 %mask) noinline {{
  %logp = getelementptr i64, ptr %ctx, i64 {at["log"]}
  %log = load i64, ptr %logp
  %record = inttoptr i64 %log to ptr
  store i64 %what, ptr %record, align 8
  %maskp = getelementptr i64, ptr %record, i64 1
  store i64 %mask, ptr %maskp, align 8
  %to = getelementptr i64, ptr %record, i64 {HEAD}
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %addresses, i64 {8 * width}, i1 false)
  %next = add i64 %log, {8 * (HEAD + width)}
  store i64 %next, ptr %logp
  %endp = getelementptr i64, ptr %ctx, i64 {at["log_end"]}
  %end = load i64, ptr %endp
  %full = icmp uge i64 %next, %end
  br i1 %full, label %empty, label %out
empty:
  %hostp = getelementptr i64, ptr %ctx, i64 {at["log_full"]}
  %hosta = load i64, ptr %hostp
  %host = inttoptr i64 %hosta to ptr
  call void %host()
  br label %out
out:
  ret void
}}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


class Counting(Calls):
    """Adds counting to the lowering, where `profile` is set."""

    profile: bool = False

    def _apply(self, ins: Ins) -> None:
        if not ins.shadow:
            self.count(ins.pc)
        super()._apply(ins)

    def count(self, pc: int) -> None:
        """One instruction, by the lanes that take part in it."""
        if not self.profile:
            return
        b = self.b
        if self.mask is None:
            lanes = ir.Constant(I64, self.width)
        else:
            lanes = b.zext(self.call("llvm.ctpop.i32", I32, [self.bits(self.mask)]), I64)
        counts = b.inttoptr(self.word("counts"), PTR)
        for i, more in enumerate((lanes, ir.Constant(I64, 1))):
            where = b.gep(counts, [ir.Constant(I64, 2 * pc + i)], source_etype=I64)
            b.store(b.add(b.load(where, typ=I64), more), where)

    def load(self, space: str | None, type: Type, address: Address, count: int = 1) -> object:
        self._accessed(space, type, address, count)
        return super().load(space, type, address, count)

    def store(self, space: str | None, type: Type, address: Address, value: object, count: int = 1) -> None:
        self._accessed(space, type, address, count)
        super().store(space, type, address, value, count)

    def atom(
        self,
        space: str | None,
        op: str,
        type: Type,
        address: Address,
        b: Any,
        c: Value | None = None,
        count: int = 1,
    ) -> Any:
        self._accessed(space, type, address, count)
        return super().atom(space, op, type, address, b, c, count)

    def _accessed(self, space: str | None, type: Type, address: Address, count: int) -> None:
        name = space_name(space) or address.space
        if not self.profile or name not in _SEEN:
            return
        self.extras[HELPER] = helper_text(self.width)
        addresses = self._spill("addresses", self.vector(self.generic(name, address.value)))
        what = ir.Constant(I64, self.pc | type.bytes * count << 32)
        mask = self.b.zext(self.bits(self.mask), I64)
        self.call(HELPER, ir.VoidType(), [self.ctx, addresses, what, mask])


@dataclass
class Counter:
    """The host's end for one worker: the counts, the log, and what was learnt from it so far.

    shared: address and bytes of the shared window; words: the launch context.
    """

    program: Program
    width: int
    shared: tuple[int, int]
    words: NDArray[np.int64]
    lines: dict[int, Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = np.zeros(2 * max(1, len(self.program.spans)), np.int64)
        self.log = np.zeros((RECORDS, HEAD + self.width), np.int64)
        self.callback = _CALLBACK(self.drain)
        start = self.log.ctypes.data
        self.words[INDEX["counts"]] = self.counts.ctypes.data
        self.words[INDEX["log"]] = start
        self.words[INDEX["log_end"]] = start + self.log.nbytes
        self.words[INDEX["log_full"]] = ctypes.cast(self.callback, ctypes.c_void_p).value or 0

    def _line(self, pc: int) -> Line:
        number = self.program.spans[pc].line
        return self.lines.setdefault(number, Line(number))

    def drain(self) -> None:
        """Takes in the records and empties the log."""
        start = self.log.ctypes.data
        used = (int(self.words[INDEX["log"]]) - start) // (8 * self.log.shape[1])
        self.words[INDEX["log"]] = start
        records = self.log[:used]
        for what in np.unique(records[:, 0]):
            rows = records[records[:, 0] == what]
            self._take(self._line(int(what) & 0xFFFFFFFF), int(what) >> 32, rows[:, 1], rows[:, HEAD:])

    def _take(self, line: Line, size: int, masks: NDArray[np.int64], addresses: NDArray[np.int64]) -> None:
        active = (masks[:, None] >> np.arange(self.width) & 1).astype(bool)
        start, room = self.shared
        inside = active & (addresses >= start) & (addresses < start + room)
        outside = active & ~inside
        line.shared_bytes += int(inside.sum()) * size
        line.global_bytes += int(outside.sum()) * size
        if self.width < LANES:
            return
        line.requests += int(outside.any(axis=1).sum())
        line.sectors += int(_distinct(_pieces(addresses, outside, size, SECTOR_BITS)).sum())
        if inside.any():
            line.ways = max(line.ways, _ways(addresses - start, inside, size))

    def profile(self, entry: str, why: str) -> Profile:
        self.drain()
        for pc, (threads, warps) in enumerate(self.counts.reshape(-1, 2).tolist()):
            if warps:
                line = self._line(pc)
                line.threads += threads
                line.warps += warps if self.width == LANES else 0
        self.counts[:] = 0
        lines = tuple(self.lines[n] for n in sorted(self.lines))
        self.lines = {}
        return Profile(entry, self.width, why, lines)


def _pieces(
    addresses: NDArray[np.int64], active: NDArray[np.bool_], size: int, bits: int
) -> NDArray[np.int64]:
    """By request, the numbers of the 2**bits-byte pieces its lanes touch, repeated as may be; -1 for none."""
    steps = range(0, size, 1 << bits)
    parts = [addresses + step >> bits for step in steps] + [addresses + size - 1 >> bits]
    return np.concatenate([np.where(active, part, -1) for part in parts], axis=1)


def _first_of_each(pieces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    ordered = np.sort(pieces, axis=1)
    new = np.ones(ordered.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return ordered, new & (ordered >= 0)


def _distinct(pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(_first_of_each(pieces)[1].sum(axis=1), np.int64)


def _ways(offsets: NDArray[np.int64], active: NDArray[np.bool_], size: int) -> int:
    """The most words one bank is asked for at once. Wide accesses go by halves or quarters of a warp."""
    lanes = LANES * 4 // min(max(size, 4), 16)
    words = _pieces(offsets.reshape(-1, lanes), active.reshape(-1, lanes), size, 2)
    ordered, new = _first_of_each(words)
    rows = np.broadcast_to(np.arange(len(ordered))[:, None], ordered.shape)
    return int(np.bincount((rows * LANES + (ordered & (LANES - 1)))[new]).max())
