"""What a launch reports, as findings: the sanitizers' rows and the failures that end it.

Both sides write rows: machine code, and the host for what it answers itself. Knows addresses and spans;
nothing of dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llmptx.engine import context
from llmptx.engine.compile import Compiled
from llmptx.engine.memory import Area, Arena
from llmptx.engine.trace import plain_name
from llmptx.ptx import ast
from llmptx.record import Finding, FindingKind

ROOM = 64


@dataclass(frozen=True, slots=True)
class _Row:
    """As machine code writes it. other: the other party, as its kind has it."""

    kind: int
    pc: int
    block: int
    thread: int
    address: int
    size: int
    other: int


class Reports:
    """Of one worker's launches. words: its context, whose rows of findings are here.

    homes   by pc, the one buffer that the address of an access there comes from
    """

    def __init__(self, kernel: Compiled, words: NDArray[np.int64], arena: Arena) -> None:
        self.kernel, self.words, self.arena = kernel, words, arena
        self.rows = np.zeros(ROOM * context.FINDING_WORDS, np.int64)
        self.homes: Mapping[int, Area] = {}
        self.settled = b""
        self.table = np.full((max(1, len(kernel.program.spans)), 2), (arena.base, arena.size), np.int64)
        self.addresses = {
            "findings": int(self.rows.ctypes.data),
            "homes": int(self.table.ctypes.data),
            "room": ROOM,
        }

    def settle(self, buffers: Mapping[str, Area], params: bytes) -> None:
        """For a launch: buffers there are, and the bytes of the parameters."""
        if params == self.settled:
            return
        self.settled, found = params, {}
        for pc, offsets in self.kernel.lowered.homes.items():
            held = {area for at in offsets for area in buffers.values() if _holds(area, params, at)}
            if len(held) == 1:
                found[pc] = held.pop()
        self.homes = found
        self.table[:] = self.arena.base, self.arena.size
        for pc, area in found.items():
            self.table[pc] = area.start, area.size

    def _get(self, name: str) -> int:
        return int(self.words[context.INDEX[name]])

    def named(self, address: int) -> tuple[str, int]:
        """(buffer or window as people know it, byte offset)."""
        buffer, offset = self.arena.locate(address)
        return _known(buffer), offset

    # rows of the host

    def complain(self, kind: str, pc: int, thread: int, address: int, size: int) -> None:
        """A finding of the host's, among the sanitizers'."""
        number = next(n for n, name in context.FINDING_KINDS.items() if name == kind)
        self._put(number, pc, thread, address, size, 0)

    def suspect(self, kind: int, pc: int, thread: int, other: int) -> None:
        self._put(kind, pc, thread, 0, 0, other)

    def _put(self, kind: int, pc: int, thread: int, address: int, size: int, other: int) -> None:
        found = self._get("found")
        if found < ROOM:
            row = (kind, pc, self._get("block"), thread, address, size, other, 0)
            self.rows[found * context.FINDING_WORDS : (found + 1) * context.FINDING_WORDS] = row
            self.words[context.INDEX["found"]] = found + 1

    # findings

    def failure(self) -> Finding:
        kind = self._get("fail_kind")
        mask, unit = self._get("fail_mask"), self._get("fail_unit")
        lane = max(0, (mask & -mask).bit_length() - 1)
        thread = unit * self.kernel.lowered.width + (lane if self.kernel.lowered.width > 1 else 0)
        text: tuple[FindingKind, str] = {
            context.FAIL_TIMEOUT: (
                "timeout",
                "the instruction budget ran out in this loop: it may never end",
            ),
            context.FAIL_TRAP: ("crash", "trap was executed, which is what a failed assert ends in, too"),
            context.FAIL_STACK: (
                "resource-limit",
                f"the thread's stack of {context.STACK_BYTES} bytes has no room for this: a recursion is too "
                "deep or never ends, or an alloca is too large",
            ),
            context.FAIL_CALL: (
                "crash",
                "this goes to no function: the pointer is no address of a function with these results and "
                "parameters, or the stack was overwritten",
            ),
            context.FAIL_DIVERGENT: (
                "barrier-divergence",
                "only some threads of a warp reach this barrier; the others are elsewhere",
            ),
            context.FAIL_DEADLOCK: (
                "deadlock",
                "nobody can go on: this barrier counts threads that have ended",
            ),
        }[kind]  # type: ignore[assignment]
        return self.located(text[0], text[1], self._get("fail_pc"), self._get("fail_block"), thread)

    def located(self, kind: FindingKind, message: str, pc: int, block: int, thread: int) -> Finding:
        span = self.kernel.program.spans[pc] if 0 <= pc < len(self.kernel.program.spans) else ast.NOWHERE
        return Finding(
            kind,
            message,
            line=span.line,
            column=span.column,
            block=self._block(block),
            thread=self._thread(thread),
            lane=thread % 32,
        )

    def _block(self, number: int) -> tuple[int, int, int]:
        x, y = self._get("grid_x"), self._get("grid_y")
        return number % x, number // x % y, number // (x * y)

    def _thread(self, number: int) -> tuple[int, int, int]:
        x, y, _ = self.kernel.block_dim
        return number % x, number // x % y, number // (x * y)

    def reported(self) -> list[Finding]:
        """The sanitizers' findings, one for every (kind, instruction)."""
        rows = self._first_rows()
        suspects = {row.pc: row for row in rows if row.kind == context.SUSPECT}
        found = [self._report(row, suspects) for row in rows if row.kind < context.SUSPECT]
        read = {self.named(row.address)[0] for row in rows if row.kind == context.UNWRITTEN}
        left = (row for row in rows if row.kind == context.LEFT and self.named(row.address)[0] in read)
        found += [self._unset(row, suspects) for row in left]
        seen: set[tuple[str, int]] = set()
        kept = []
        for finding in found:
            if (finding.kind, finding.line) not in seen:
                seen.add((finding.kind, finding.line))
                kept.append(finding)
        return kept

    def notes(self) -> list[Finding]:
        """What is not wrong."""
        message = "an integer is divided by zero here: PTX leaves open what that gives"
        return [
            self.located("division-by-zero", message, row.pc, row.block, row.thread)
            for row in self._first_rows()
            if row.kind == context.DIVISION
        ]

    def _first_rows(self) -> list[_Row]:
        """The first report of each kind at each instruction."""
        found = min(self._get("found"), ROOM)
        rows = self.rows[: found * context.FINDING_WORDS].reshape(found, context.FINDING_WORDS)
        first: dict[tuple[int, int], _Row] = {}
        for row in rows.tolist():
            first.setdefault((row[0], row[1]), _Row(*row[:7]))
        return list(first.values())

    def _party(self, other: int) -> str:
        """The other party of a race, by the word in its report."""
        thread = self._thread(max(0, (other & 0xFFFF) - 1))
        if other >> 16:
            block = self._block((other >> 16) - 1)
            return f"thread {thread} of block {block} accesses them too, with nothing that orders the blocks"
        return f"thread {thread} accesses them too, with no barrier in between"

    def _report(self, row: _Row, suspects: Mapping[int, _Row]) -> Finding:
        if row.kind == context.UNSET:
            return self._unset(row, suspects)
        name: FindingKind = context.FINDING_KINDS[row.kind]  # type: ignore[assignment]
        home = self.homes.get(row.pc) if name == "out-of-bounds" else None
        buffer, offset = self.arena.locate(row.address) if row.address else ("", 0)
        outside = "are outside every buffer"
        if home is not None:
            there = _where(buffer, offset, self.arena)
            outside = f"are {there}, which this pointer does not lead to" if row.other else outside
            buffer, offset = home.name, row.address - home.start
        where = f"{row.size} bytes at {_where(buffer, offset, self.arena)}"
        message = {
            "out-of-bounds": f"{where} {outside}",
            "misaligned": f"{where}: the address is no multiple of {row.size}",
            "uninitialized-read": f"{where} are read before anything was written there",
            "data-race": f"{where}: {self._party(row.other)}, and one of the two writes",
            "input-modified": f"{where} are read-only, and this writes them",
            "barrier-divergence": "some threads of the block never reach this barrier: they have exited",
        }[name]
        finding = self.located(name, message, row.pc, row.block, row.thread)
        return self._at(finding, buffer, offset if row.address else None)

    def _at(self, finding: Finding, buffer: str, offset: int | None) -> Finding:
        name = "shared memory" if buffer.startswith(".shared") else buffer
        return replace(finding, buffer=name, address=offset)

    def _unset(self, row: _Row, suspects: Mapping[int, _Row]) -> Finding:
        """Something hangs on nothing: on a shuffle that went astray in this launch, or on registers."""
        origins = self.kernel.lowered.origins.get(row.pc, ())
        used, pc = self._line(row.pc), row.pc
        astray = [suspects[o.pc] for o in origins if not o.register and o.pc in suspects]
        if astray:
            at = astray[0]
            message = (
                f"lane {at.thread % 32} takes the value of lane {at.other}, which takes no part in this "
                f"shuffle, and the result is used at line {used}"
            )
            return self.located("invalid-shuffle", message, at.pc, at.block, at.thread)
        unset = [o for o in origins if o.register]
        names = ", ".join(dict.fromkeys(plain_name(o.register) for o in unset)) or "a register"
        if len(unset) == 1 and self._line(unset[0].pc) != used:
            message = (
                f"{names} is read before anything was written to it, and what line {used} does hangs on it"
            )
            pc = unset[0].pc
        else:
            message = f"what is done here hangs on {names}, to which nothing was written"
        finding = self.located("unset-register", message, pc, row.block, row.thread)
        return self._at(finding, *self.arena.locate(row.address)) if row.address else finding

    def _line(self, pc: int) -> int:
        return self.kernel.program.spans[pc].line


def _where(buffer: str, offset: int, arena: Arena) -> str:
    if not buffer:
        return "nowhere"
    return f"byte {offset} of {_known(buffer)} ({arena.areas[buffer].size} bytes)"


def _known(buffer: str) -> str:
    """The name of a buffer or window as people know it."""
    for prefix, text in (
        (".shared", "shared memory"),
        (".local", "local memory"),
        (".params", "the parameters"),
    ):
        if buffer.startswith(prefix):
            return text
    return buffer


def _holds(area: Area, params: bytes, offset: int) -> bool:
    """Whether the eight bytes there are an address in the area."""
    address = int.from_bytes(params[offset : offset + 8], "little")
    return area.start <= address < area.start + max(area.size, 1)
