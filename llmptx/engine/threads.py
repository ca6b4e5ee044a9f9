"""Threads of a block one at a time: operations of several threads by their waiting.

Machine code runs every thread that may go on until it ends, waits or has had its turn. Barriers and warp
operations are answered here, on numpy arrays over the block's threads: an independent statement of what the
vector code does.
Deadlock is what is left when nobody can go on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llmptx.engine import context, products
from llmptx.record import FindingKind

if TYPE_CHECKING:
    from llmptx.engine.compile import Compiled

DONE = -1
M32 = EVERYBODY = 0xFFFFFFFF
Stuck = tuple[FindingKind, str, int, int]
What = tuple[Any, ...]
Report = Callable[[int, int, int, int], None]  # kind, pc, thread, other
Ints = NDArray[np.int64]
# The mailbox word that holds an operation's membermask.
MEMBERS = {"shfl": 3, "vote": 1, "match": 1, "redux": 1, "warp_barrier": 0, "elect": 0, "matrix": 0}


class Scheduler:
    """Runs the blocks of a kernel that was compiled one thread at a time and `stepped`.

    resume   by thread: a point to go on from; -1 where it ended; -(point + 1) where it waits there
    report   takes what the sanitizers have to say: (kind, pc, thread, other party)
    order    the threads in the order in which they get their turns; shuffled before each round where there
             is a seed
    """

    def __init__(
        self,
        kernel: Compiled,
        address: int,
        words: NDArray[np.int64],
        resume: NDArray[np.int32],
        mail: NDArray[np.int64],
        order: NDArray[np.int32] | None,
        seed: int | None,
        report: Report,
    ) -> None:
        self.kernel, self.address, self.words = kernel, address, words
        self.resume, self.mail = resume, mail.reshape(-1, context.MAIL_WORDS)
        self.order, self.report = order, report
        self.suspects: set[int] = set()
        self.random = np.random.default_rng(seed)
        self.threads = kernel.threads
        self.warps = -(-self.threads // 32)
        self.lane_bits = 1 << (np.arange(self.threads) & 31)
        self.arrived: dict[int, int] = {}

    def run_block(self, block: int, budget: int) -> Stuck | None:
        """None when every thread ended or one failed; else (kind, message, pc, thread) why none can go on."""
        self.resume[:] = 0
        if self.kernel.start_block is not None:
            self.words[context.INDEX["block"]] = block
            self.kernel.start_block(self.address)
        self.arrived = {}
        for _ in range(budget):
            if self.order is not None:
                self.random.shuffle(self.order)
            if self.kernel.run(self.address, block, block + 1, 0, self.threads):
                return None
            stuck = self._answer()
            if stuck is not None:
                return stuck
            if not np.any(self.resume > 0):
                return self._verdict()
        return ("timeout", "the block's threads kept waiting for each other until the budget ran out", 0, 0)

    def _waiting(self) -> dict[int, Ints]:
        """Threads by the point they wait at."""
        blocked = np.flatnonzero(self.resume < DONE)
        points = -self.resume[blocked] - 1
        return {int(point): blocked[points == point] for point in np.unique(points)}

    def _release(self, threads: Ints) -> None:
        self.resume[threads] = -self.resume[threads] - 1

    def _verdict(self) -> Stuck | None:
        """Nobody can go on: because all have ended, or why."""
        waits, spans = self.kernel.lowered.waits, self.kernel.program.spans
        waiting = self._waiting()
        if not waiting:
            return None
        places = [(waits[point][1], threads) for point, threads in waiting.items()]
        text = "; ".join(
            f"{len(threads)} threads from {threads[0]} on wait at line {spans[pc].line}"
            for pc, threads in places
        )
        pc, threads = places[0]
        aligned = all(waits[point][0][0] == "barrier" and waits[point][0][2] for point in waiting)
        kind: FindingKind = "barrier-divergence" if aligned and len(places) > 1 else "deadlock"
        ended = int(np.count_nonzero(self.resume == DONE))
        return kind, f"nobody can go on: {text}; {ended} have ended", pc, int(threads[0])

    def _answer(self) -> Stuck | None:
        """Completes what can be completed."""
        barriers: dict[int, Ints] = {}
        together: dict[What, list[Ints]] = {}
        for point, threads in self._waiting().items():
            what = self.kernel.lowered.waits[point][0]
            if what[0] == "barrier":
                barriers[point] = threads
            else:
                together.setdefault(what, []).append(threads)
        for what, parts in together.items():
            if _names_lanes(what):
                self._meet(what, np.sort(np.concatenate(parts)))
        stuck = self._barriers(barriers)
        if not np.any(self.resume > 0):
            # Operations without a membermask are done by whoever is there when nothing else can move.
            for what, parts in together.items():
                for threads in parts if not _names_lanes(what) else ():
                    self._do(what, threads, M32)
                    self._release(threads)
        return stuck

    # warp operations

    def _bits(self, threads: Ints) -> Ints:
        """By warp, the lanes that are among `threads`."""
        bits = np.bincount(threads >> 5, self.lane_bits[threads], self.warps)
        return bits.astype(np.int64)

    def _meet(self, what: What, threads: Ints) -> None:
        """Does an operation in the warps where all lanes of its membermask that still run have come to it."""
        live = self._bits(np.flatnonzero(self.resume != DONE))
        masks = self.mail[threads, MEMBERS[what[0]]] & M32
        for member in np.unique(masks).tolist():
            group = threads[masks == member]
            complete = member & live & ~self._bits(group) == 0
            ready = group[complete[group >> 5]]
            if ready.size:
                self._do(what, ready, member)
                self._release(ready)
                for warp in np.unique(ready >> 5).tolist():
                    self._order(warp)

    def _order(self, warp: int) -> None:
        """What lanes of the warp did before this is ordered before what they do next."""
        epochs = int(self.words[context.INDEX["warp_epochs"]])
        ctypes.c_int64.from_address(epochs + 8 * warp).value += 1

    def _do(self, what: What, threads: Ints, member: int) -> None:
        name, mode = what[0], what[1]
        mail, warps = self.mail, threads >> 5
        present = self._bits(threads)
        if name == "shfl":
            self._shuffle(mode, threads)
        elif name == "vote":
            true = self._bits(threads[mail[threads, 0] & 1 == 1]) & member
            mail[threads, 2] = _vote(mode, true, present & member)[warps]
        elif name == "activemask":
            mail[threads, 0] = present[warps]
        elif name == "elect":
            leaders = present & member
            leader = np.log2(leaders & -leaders, where=leaders > 0, out=np.zeros(self.warps)).astype(np.int64)
            mail[threads, 1], mail[threads, 2] = leader[warps], leader[warps] == threads & 31
        elif name == "matrix":
            for warp in np.unique(warps).tolist():
                self._matrix(what[1], threads[warps == warp])
        elif name in ("match", "redux"):
            for warp in np.unique(warps).tolist():
                self._within(name, mode, what[2], threads[warps == warp], member)

    def _matrix(self, what: What, threads: Ints) -> None:
        """A warp's product of fragments or move of matrices; lanes that are not there hold zeros."""
        given = products.operands(what)
        words = np.zeros((32, given), np.int64)
        words[threads & 31] = self.mail[threads, 1 : 1 + given]
        results = products.answer(what, words)
        self.mail[threads, 1 + given : 1 + given + results.shape[1]] = results[threads & 31]

    def _shuffle(self, mode: str, threads: Ints) -> None:
        """PTX ISA 9.7.9.6; a lane that is not there gives one's own value.

        In checked mode a value has a twin, which differs where the source lane is not there.
        """
        twinned, mail = self.kernel.check, self.mail
        out = 5 if twinned else 4
        mail[threads, out], mail[threads, out + 1], there, source = self._shuffled(mode, threads, 0)
        if twinned:
            mail[threads, 7] = np.where(there, self._shuffled(mode, threads, 4)[0], ~mail[threads, out])
            self._suspect(threads[~there], source[~there])

    def _suspect(self, threads: Ints, sources: Ints) -> None:
        """The first that took a value from a lane that is not there, for every shuffle."""
        for thread, source in zip(threads.tolist(), sources.tolist(), strict=True):
            pc = self.kernel.lowered.waits[-int(self.resume[thread]) - 1][1]
            if pc not in self.suspects:
                self.suspects.add(pc)
                self.report(context.SUSPECT, pc, thread, source & 31)

    def _shuffled(self, mode: str, threads: Ints, word: int) -> tuple[Ints, Ints, Ints, Ints]:
        """(values, whether in range, whether the source is there, source thread); values from a mail word."""
        own, b, c = (self.mail[threads, i] & M32 for i in (word, 1, 2))
        lane, step, segment = threads & 31, b & 31, c >> 8 & 31
        low = lane & segment
        limit = low | c & 31 & ~segment
        source = {"up": lane - step, "down": lane + step, "bfly": lane ^ step, "idx": low | step & ~segment}[
            mode
        ]
        within = source >= limit if mode == "up" else source <= limit
        source = threads - lane + (np.where(within, source, lane) & 31)
        values = np.zeros(32 * self.warps, np.int64)
        there = np.zeros(32 * self.warps, bool)
        values[threads], there[threads] = own, True
        found = np.where(there[source], values[source], own)
        return found, within.astype(np.int64), there[source], source

    def _within(self, name: str, mode: str, signed: bool, threads: Ints, member: int) -> None:
        """match and redux in one warp."""
        chosen = threads[self.lane_bits[threads] & member != 0]
        given = self.mail[chosen, 0]
        if name == "redux":
            self.mail[threads, 2] = _redux(mode, signed, given & M32)
            return
        members = int(self.lane_bits[chosen].sum())
        for thread in threads.tolist():
            same = int(self.lane_bits[chosen[given == self.mail[thread, 0]]].sum())
            every = same == members
            answer = (same, int(same != 0)) if mode == "any" else (same if every else 0, int(every))
            self.mail[thread, 2], self.mail[thread, 3] = answer

    # block barriers

    def _barriers(self, waiting: dict[int, Ints]) -> Stuck | None:
        """barrier.sync, .arrive and .red by barrier number."""
        waits = self.kernel.lowered.waits
        parts: dict[int, list[tuple[int, Ints]]] = {}
        for point, threads in waiting.items():
            numbers = self.mail[threads, 0] & M32
            for number in np.unique(numbers).tolist():
                there = threads[numbers == number]
                if waits[point][0][1] == "arrive":
                    self.arrived[number] = self.arrived.get(number, 0) + there.size
                    self._count_out(number, int(self.mail[there[0], 1]) & M32)
                    self._release(there)
                else:
                    parts.setdefault(number, []).append((point, there))
        ended = int(np.count_nonzero(self.resume == DONE))
        for number, groups in parts.items():
            threads = np.concatenate([there for _, there in groups])
            count = int(self.mail[threads[0], 1]) & M32
            if (self.mail[threads, 1] & M32 != count).any():
                odd = int(threads[np.argmax(self.mail[threads, 1] & M32 != count)])
                text = (
                    f"threads {threads[0]} and {odd} wait at barrier {number} for different counts of threads"
                )
                return "barrier-divergence", text, waits[groups[0][0]][1], int(threads[0])
            wanted = self.threads - ended if count == EVERYBODY else count
            over = threads.size + self.arrived.get(number, 0) - wanted
            if over >= 0:
                self.arrived[number] = over
                self._complete(groups)
                if self.kernel.check and count == EVERYBODY and ended:
                    pc = waits[groups[0][0]][1]
                    return (
                        "barrier-divergence",
                        f"{ended} threads of the block have exited",
                        pc,
                        int(threads[0]),
                    )
                if len(groups) > 1 and (stuck := self._apart(groups)):
                    return stuck
        return None

    def _count_out(self, number: int, count: int) -> None:
        """A barrier that arrivals alone have filled is over."""
        if self.arrived[number] >= count:
            self.arrived[number] -= count

    def _apart(self, groups: list[tuple[int, Ints]]) -> Stuck | None:
        """Lanes of one warp that came to an aligned barrier on different ways."""
        waits = self.kernel.lowered.waits
        seen = np.zeros(self.warps, bool)
        for point, threads in groups:
            (_, _, aligned), pc = waits[point]
            both = threads[seen[threads >> 5]]
            if aligned and both.size:
                text = "lanes of one warp wait at different instructions for a barrier that is .aligned"
                return "barrier-divergence", text, pc, int(both[0])
            seen[threads >> 5] = True
        return None

    def _complete(self, groups: list[tuple[int, Ints]]) -> None:
        self.words[context.INDEX["epoch"]] += 1
        flags = self.mail[np.concatenate([threads for _, threads in groups]), 2] & 1
        results = {"popc": int(flags.sum()), "and": int(flags.all()), "or": int(flags.any())}
        for point, threads in groups:
            mode = self.kernel.lowered.waits[point][0][1]
            if mode.startswith("red."):
                self.mail[threads, 3] = results[mode[4:]]
            self._release(threads)


def _names_lanes(what: What) -> bool:
    """Whether the operation waits for the lanes of a membermask."""
    return what[0] in MEMBERS and (what[0] not in ("shfl", "vote") or bool(what[2]))


def _vote(mode: str, true: Ints, members: Ints) -> Ints:
    every, none = true == members, true == 0
    answers: dict[str, Ints] = {"ballot": true, "all": every, "any": ~none, "uni": every | none}
    return answers[mode]


def _redux(op: str, signed: bool, values: Ints) -> int:
    if op in ("min", "max"):
        ordered = values.astype(np.uint32).astype(np.int32) if signed else values
        return int(ordered.min() if op == "min" else ordered.max()) & M32
    verb = {"add": np.add, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[op]
    return int(verb.reduce(values)) & M32
