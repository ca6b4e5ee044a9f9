"""Threads of a block one at a time: independent thread scheduling, and operations of several threads by
their waiting.

A thread runs until it ends or waits. Barriers and warp operations are answered here, in plain Python: slow,
and an
independent statement of what the vector code does. Deadlock is what is left when nobody can go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmptx.engine import context
from llmptx.engine.lanes import source_lane
from llmptx.record import FindingKind

if TYPE_CHECKING:
    from llmptx.engine.compile import Compiled

DONE = -1
M32 = 0xFFFFFFFF
Stuck = tuple[FindingKind, str, int, int]


class Scheduler:
    """Runs the blocks of a kernel that was compiled one thread at a time and `stepped`."""

    def __init__(
        self,
        kernel: Compiled,
        address: int,
        words: NDArray[np.int64],
        resume: NDArray[np.int32],
        mail: NDArray[np.int64],
        seed: int | None,
    ) -> None:
        self.kernel, self.address, self.words = kernel, address, words
        self.resume, self.mail = resume, mail.reshape(-1, context.MAIL_WORDS)
        self.random = np.random.default_rng(seed) if seed is not None else None
        self.threads = kernel.threads

    def run_block(self, block: int, budget: int) -> Stuck | None:
        """None when every thread ended; else why they cannot go on: (kind, message, pc, thread)."""
        self.resume[:] = 0
        if self.kernel.start_block is not None:
            self.words[context.INDEX["block"]] = block
            self.kernel.start_block(self.address)
        ready = list(range(self.threads))
        self.arrived: dict[tuple[int, int], int] = {}
        for _ in range(budget):
            if self.random is not None:
                self.random.shuffle(ready)
            for thread in ready:
                if self.kernel.run(self.address, block, block + 1, thread, thread + 1):
                    return None
            ready = self._answer()
            if not ready:
                return self._verdict()
        return ("timeout", "the block's threads kept waiting for each other until the budget ran out", 0, 0)

    def _waiting(self) -> dict[int, tuple[tuple[Any, ...], int]]:
        return {
            t: self.kernel.lowered.waits[int(k)]
            for t, k in enumerate(self.resume[: self.threads])
            if k != DONE
        }

    def _verdict(self) -> Stuck | None:
        waiting = self._waiting()
        if not waiting:
            return None
        places: dict[int, list[int]] = {}
        for thread, (_, pc) in waiting.items():
            places.setdefault(pc, []).append(thread)
        spans = self.kernel.program.spans
        text = "; ".join(
            f"{len(threads)} threads from {threads[0]} on wait at line {spans[pc].line}"
            for pc, threads in places.items()
        )
        pc, threads = next(iter(places.items()))
        aligned = all(what[0] == "barrier" and what[2] for what, _ in waiting.values())
        kind: FindingKind = "barrier-divergence" if aligned and len(places) > 1 else "deadlock"
        ended = self.threads - len(waiting)
        return kind, f"nobody can go on: {text}; {ended} have ended", pc, threads[0]

    def _answer(self) -> list[int]:
        """Completes what can be completed; the threads that may run again."""
        waiting = self._waiting()
        ready: list[int] = []
        for warp in range(-(-self.threads // 32)):
            ready += self._warp(warp, waiting)
        ready += self._barriers(waiting)
        if ready:
            return ready
        # Operations without a membermask are done by whoever is there when nothing else can move.
        for warp in range(-(-self.threads // 32)):
            ready += self._warp(warp, waiting, anyone=True)
        return ready

    # warp operations

    def _warp(
        self, warp: int, waiting: dict[int, tuple[tuple[Any, ...], int]], anyone: bool = False
    ) -> list[int]:
        groups: dict[tuple[int, int], list[int]] = {}
        first = warp * 32
        live = {t - first for t in waiting if first <= t < first + 32}
        for lane in sorted(live):
            what, pc = waiting[first + lane]
            if what[0] == "barrier":
                continue
            member = self._members(first + lane, what)
            groups.setdefault((pc, member), []).append(lane)
        ready: list[int] = []
        for (_, member), lanes in groups.items():
            what = waiting[first + lanes[0]][0]
            synchronous = (
                what[0] != "activemask" and (what[0] != "shfl" or what[2]) and (what[0] != "vote" or what[2])
            )
            wanted = {lane for lane in live if member >> lane & 1}
            if (synchronous and wanted <= set(lanes)) or anyone:
                self._do(what, first, lanes, member)
                ready += [first + lane for lane in lanes]
        if ready:
            epochs = self.words[context.INDEX["warp_epochs"]]
            self._bump(int(epochs), warp)
        return ready

    def _bump(self, epochs: int, warp: int) -> None:
        import ctypes

        ctypes.c_int64.from_address(epochs + 8 * warp).value += 1

    def _members(self, thread: int, what: tuple[Any, ...]) -> int:
        column = {"shfl": 3, "vote": 1, "match": 1, "redux": 1, "warp_barrier": 0, "elect": 0}.get(what[0])
        return M32 if column is None else int(self.mail[thread, column]) & M32

    def _do(self, what: tuple[Any, ...], first: int, lanes: list[int], member: int) -> None:
        name, mode = what[0], what[1]
        mail = self.mail
        rows = {lane: mail[first + lane].copy() for lane in lanes}
        active = sum(1 << lane for lane in lanes)
        for lane in lanes:
            row = mail[first + lane]
            if name == "shfl":
                source, within = source_lane(mode, lane, int(row[1]) & M32, int(row[2]) & M32)
                row[4] = rows[source][0] if source in rows else row[0]
                row[5] = within
            elif name == "vote":
                row[2] = _vote(mode, rows, active & member)
            elif name == "match":
                row[2], row[3] = _match(mode, rows, lane, active & member)
            elif name == "redux":
                row[2] = _redux(mode, what[2], [int(rows[i][0]) & M32 for i in lanes if member >> i & 1])
            elif name == "activemask":
                row[0] = active
            elif name == "elect":
                leader = min(i for i in lanes if member >> i & 1)
                row[1], row[2] = leader, lane == leader

    # block barriers

    def _barriers(self, waiting: dict[int, tuple[tuple[Any, ...], int]]) -> list[int]:
        """barrier.sync, .arrive and .red by barrier number."""
        ready: list[int] = []
        by_number: dict[int, list[int]] = {}
        for thread, (what, _) in waiting.items():
            if what[0] != "barrier":
                continue
            number = int(self.mail[thread, 0]) & M32
            if what[1] == "arrive":
                self.arrived[number, 0] = self.arrived.get((number, 0), 0) + 1
                ready.append(thread)
            else:
                by_number.setdefault(number, []).append(thread)
        ended = int(np.count_nonzero(self.resume[: self.threads] == DONE))
        for number, threads in by_number.items():
            count = int(self.mail[threads[0], 1]) & M32
            wanted = count - ended if count == self.threads else count
            if len(threads) + self.arrived.get((number, 0), 0) >= wanted:
                self.arrived.pop((number, 0), None)
                self._release(threads, waiting)
                ready += threads
        return ready

    def _release(self, threads: list[int], waiting: dict[int, tuple[tuple[Any, ...], int]]) -> None:
        self.words[context.INDEX["epoch"]] += 1
        flags = [bool(self.mail[t, 2] & 1) for t in threads]
        for thread in threads:
            mode = waiting[thread][0][1]
            if mode.startswith("red."):
                kind = mode[4:]
                result = {"popc": sum(flags), "and": all(flags), "or": any(flags)}[kind]
                self.mail[thread, 3] = int(result)


def _vote(mode: str, rows: dict[int, NDArray[np.int64]], members: int) -> int:
    true = sum(1 << lane for lane, row in rows.items() if row[0] & 1 and members >> lane & 1)
    if mode == "ballot":
        return true
    every, none = true == members, true == 0
    return int({"all": every, "any": not none, "uni": every or none}[mode])


def _match(mode: str, rows: dict[int, NDArray[np.int64]], lane: int, members: int) -> tuple[int, int]:
    same = sum(1 << i for i, row in rows.items() if members >> i & 1 and row[0] == rows[lane][0])
    if mode == "any":
        return same, int(same != 0)
    return (members, 1) if same == members else (0, 0)


def _redux(op: str, signed: bool, values: list[int]) -> int:
    if op in ("min", "max"):
        key = [v - (1 << 32) if signed and v >> 31 else v for v in values]
        return (min(key) if op == "min" else max(key)) & M32
    total = values[0]
    for value in values[1:]:
        total = {"add": total + value, "and": total & value, "or": total | value, "xor": total ^ value}[op]
    return total & M32
