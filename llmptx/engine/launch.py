"""Compiled entries, an arena and a launch: grids run, failures and sanitizer reports become findings.

Knows addresses and bytes; nothing of dtypes, routines or what the result should be.
"""

from __future__ import annotations

import itertools
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmptx.engine import context
from llmptx.engine.compile import Compiled
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY, Area, Arena
from llmptx.engine.printing import HELPER, Printer
from llmptx.engine.profile import Counter, Profile
from llmptx.engine.program import RESERVED_BYTES
from llmptx.engine.reports import Reports
from llmptx.engine.threads import Scheduler
from llmptx.engine.trace import Step, Tracer
from llmptx.ptx import ast
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding

SHARED_LIMIT = 227 * 1024
CANARY = 0xC7
PARALLEL_THREADS = 1 << 16
PIECES = 8
RACING_BLOCKS = 1 << 24  # a grid of more is not searched for races between them
WORTH_SHARING = 300e-6  # seconds of work


@dataclass(frozen=True, slots=True)
class Place:
    """A buffer to be placed: `size` bytes, starting `offset` bytes past a multiple of `alignment`."""

    name: str
    size: int
    offset: int = 0
    alignment: int = 256


class Session:
    """One arena for buffers, module variables and the windows of every kernel; a context manager.

    workers: threads that share a grid's blocks (fast mode only), each with windows of its own.
    """

    def __init__(
        self,
        kernels: Sequence[tuple[Compiled, int]],
        places: Iterable[Place] = (),
        *,
        check: bool = False,
        guard: Literal["after", "before"] = "after",
        workers: int = 1,
    ) -> None:
        """kernels: (compiled entry, bytes of dynamic shared memory)."""
        self.check = check
        places = list(places)
        self.workers = workers
        variables: dict[str, ast.Variable] = {}
        self.functions = {n: a for kernel, _ in kernels for n, a in kernel.program.functions.items()}
        sizes = {p.name: p.size for p in places}
        for number, (kernel, dynamic) in enumerate(kernels):
            sizes[f".params{number}"] = kernel.program.param_size
            variables |= kernel.program.module_variables
            for worker in range(workers):
                sizes[f".shared{number}.{worker}"] = _shared_bytes(kernel, dynamic)
                sizes[f".local{number}.{worker}"] = (
                    _local_stride(kernel) * kernel.units * kernel.lowered.width
                )
        sizes |= {f"module variable {name}": v.size for name, v in variables.items()}
        self.arena = Arena(sizes, check)
        self.time = 0  # what the launches before have come to, for races
        self.buffers = {
            p.name: self.arena.place(p.name, p.size, p.alignment, p.offset, guard) for p in places
        }
        for area in self.buffers.values():
            self.arena.guard_fill(area, CANARY)
        self.variables = {name: self._variable(name, v) for name, v in variables.items()}
        self._initialise(variables)
        self.launchers = [
            _Launcher(self, number, kernel, dynamic) for number, (kernel, dynamic) in enumerate(kernels)
        ]

    def _variable(self, name: str, variable: ast.Variable) -> Area:
        area = self.arena.place(f"module variable {name}", variable.size)
        state = ADDRESSABLE | INITIALISED
        self.arena.mark(area, state | READ_ONLY if variable.space == "const" else state)
        return area

    def _initialise(self, variables: dict[str, ast.Variable]) -> None:
        for name, variable in variables.items():
            data = b"".join(self._packed(value, variable) for value in variable.init or ())
            self.arena.bytes(self.variables[name])[: len(data)] = np.frombuffer(data, np.uint8)

    def _packed(self, value: ast.Int | ast.Float | ast.Sym, variable: ast.Variable) -> bytes:
        size = variable.type.bytes
        if isinstance(value, ast.Sym) and value.name in self.functions:
            number = self.functions[value.name] + value.offset
        elif isinstance(value, ast.Sym):
            if value.name not in self.variables:
                raise PtxError(f"initialiser of {variable.name}: {value.name} has no address", variable.span)
            number = self.variables[value.name].start + value.offset
        elif isinstance(value, ast.Int):
            number = value.value
        elif variable.type.is_float and variable.type.bits != value.width:
            double = struct.unpack("<d", struct.pack("<Q", value.bits))[0] if value.width == 64 else None
            if double is None:
                double = struct.unpack("<f", struct.pack("<I", value.bits))[0]
            return struct.pack({16: "<e", 32: "<f", 64: "<d"}[variable.type.bits], double)
        else:
            number = value.bits
        return int(number % (1 << (8 * size))).to_bytes(size, "little")

    def launch(
        self,
        number: int,
        grid: tuple[int, int, int],
        args: Sequence[int | bytes],
        *,
        seed: int | None = None,
        budget: int = 100_000_000,
        blocks: Sequence[tuple[int, int]] | None = None,
    ) -> list[Finding]:
        """Runs kernel `number` over the grid. args: addresses and integers, or a parameter's bytes.

        blocks: ranges [first, end) of block numbers, x fastest, to run instead of all.
        """
        return self.launchers[number].launch(grid, args, seed, budget, blocks)

    def printed(self) -> str:
        """What the kernels' printf wrote since it was last asked, worker by worker."""
        printers = (w.printer for launcher in self.launchers for w in launcher.workers)
        return "".join(p.take() for p in printers if p)

    def notes(self) -> list[Finding]:
        """What was seen in the last launch of each kernel that is not wrong but worth knowing."""
        return [n for launcher in self.launchers for w in launcher.workers for n in w.reports.notes()]

    def profile(self, number: int) -> Profile:
        """What kernel `number`, compiled to be profiled, did since it was last asked. For one worker."""
        launcher = self.launchers[number]
        counter = launcher.workers[0].counter
        assert counter is not None
        return counter.profile(launcher.kernel.program.entry.name, launcher.kernel.why)

    def listen(
        self, number: int, block: tuple[int, int, int], thread: tuple[int, int, int], steps: int
    ) -> None:
        """Has kernel `number`, compiled to be traced, tell of one thread in its next launch."""
        self.launchers[number].workers[0].listen(block, thread, steps)

    def trace(self, number: int) -> tuple[tuple[Step, ...], bool]:
        """What it told since it was last asked, and whether there was more. For one worker."""
        tracer = self.launchers[number].workers[0].tracer
        return tracer.take() if tracer else ((), False)

    def broken_guards(self) -> list[Finding]:
        """Buffers beside which something was written."""
        found = []
        for name, area in self.buffers.items():
            at = self.arena.guard_broken(area, CANARY)
            if at is not None:
                where = "before its start" if at < 0 else "past its end"
                message = f"something was written {where}: byte {at} of {name}, which has {area.size} bytes"
                found.append(Finding("out-of-bounds", message, buffer=name, address=at))
        return found

    def close(self) -> None:
        self.arena.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _shared_bytes(kernel: Compiled, dynamic: int) -> int:
    static = kernel.program.shared_size
    total = -(-static // 128) * 128 + dynamic if kernel.program.dynamic_shared else static
    if total > SHARED_LIMIT:
        raise PtxError(
            f"{kernel.program.entry.name} uses {total} bytes of shared memory; a block has {SHARED_LIMIT}"
        )
    return total


def _local_stride(kernel: Compiled) -> int:
    size = kernel.program.local_size
    stack = context.STACK_BYTES if kernel.program.stacked else 0
    return -(-(size + 64) // 64) * 64 + stack if size + stack else 0


class _Launcher:
    """A kernel with its windows and contexts, one a worker."""

    def __init__(self, session: Session, number: int, kernel: Compiled, dynamic: int) -> None:
        self.session, self.kernel, self.dynamic = session, kernel, dynamic
        arena = session.arena
        self.params = arena.place(f".params{number}", kernel.program.param_size)
        arena.mark(self.params, ADDRESSABLE | INITIALISED | READ_ONLY)
        self.memory = arena.bytes(self.params).data
        self.fields = [(p.offset, p.variable.size) for p in kernel.program.params.values()]
        symbols = [session.variables[name].start for name in kernel.lowered.symbols]
        self.symbols = np.array([*symbols, 0], np.int64)
        self.workers = [self._worker(number, w) for w in range(session.workers)]

    def _worker(self, number: int, worker: int) -> _Worker:
        arena, kernel = self.session.arena, self.kernel
        shared = arena.place(f".shared{number}.{worker}", _shared_bytes(kernel, self.dynamic))
        stride = _local_stride(kernel)
        local = arena.place(f".local{number}.{worker}", stride * kernel.units * kernel.lowered.width)
        arena.mark(shared, ADDRESSABLE)
        if stride and arena.shadow:
            # Where objects are copied whole, bytes that nobody set are read and mean nothing.
            state = ADDRESSABLE | INITIALISED if kernel.program.debug else ADDRESSABLE
            arena.states(local).reshape(-1, stride)[:, : kernel.program.local_size] = state
        return _Worker(self, shared, local)

    def launch(
        self,
        grid: tuple[int, int, int],
        args: Sequence[int | bytes],
        seed: int | None,
        budget: int,
        pieces: Sequence[tuple[int, int]] | None,
    ) -> list[Finding]:
        self._set_params(args)
        blocks = grid[0] * grid[1] * grid[2]
        if blocks == 0:
            return []
        order = (
            np.random.default_rng(seed).permutation(blocks) if seed is not None and blocks < 1 << 22 else None
        )
        units = self.kernel.units
        mixed = np.random.default_rng(seed).permutation(units).astype(np.int32) if seed is not None else None
        for worker in self.workers:
            worker.prepare(grid, order, mixed, budget)
        findings = self._run(blocks, seed, budget, pieces)
        self.session.time = self.workers[0].time
        return findings

    def _run(
        self, blocks: int, seed: int | None, budget: int, pieces: Sequence[tuple[int, int]] | None
    ) -> list[Finding]:
        if self.kernel.lowered.stepped:
            return self.workers[0].step_all(pieces or [(0, blocks)], seed, budget)
        if pieces is not None:
            return self.workers[0].run_pieces(pieces)
        if len(self.workers) > 1 and blocks * self.kernel.threads >= PARALLEL_THREADS:
            return self._parallel(blocks)
        return self.workers[0].run(0, blocks)

    def _parallel(self, blocks: int) -> list[Finding]:
        """Workers take pieces of the grid as they come free: a core that is busy elsewhere holds nobody up.

        The first piece tells whether the rest is worth waking others for.
        """
        size = -(-blocks // (PIECES * len(self.workers)))
        begun = time.perf_counter()
        findings = self.workers[0].run(0, size)
        if findings or (time.perf_counter() - begun) * (blocks / size - 1) < WORTH_SHARING:
            return findings or self.workers[0].run(size, blocks)
        starts = iter(range(size, blocks, size))
        lock = threading.Lock()

        def pieces() -> Iterator[tuple[int, int]]:
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                yield start, min(start + size, blocks)

        others = [_pool().submit(worker.run_pieces, pieces()) for worker in self.workers[1:]]
        findings = self.workers[0].run_pieces(pieces())
        begun_too = [other for other in others if not other.cancel()]
        return findings + [finding for other in begun_too for finding in other.result()]

    def _set_params(self, args: Sequence[int | bytes]) -> None:
        program = self.kernel.program
        if len(args) != len(program.params):
            raise PtxError(
                f"{program.entry.name} takes {len(program.params)} parameters, {len(args)} were given"
            )
        for (offset, size), value in zip(self.fields, args, strict=True):
            data = value if isinstance(value, bytes) else (value % (1 << (8 * size))).to_bytes(size, "little")
            self.memory[offset : offset + size] = data


class _Worker:
    """A context with its windows."""

    def __init__(self, launcher: _Launcher, shared: Area, local: Area) -> None:
        self.launcher = launcher
        kernel = launcher.kernel
        arena = launcher.session.arena
        self.kernel, self.shared, self.local = kernel, shared, local
        units = kernel.units
        self.frames = np.zeros(max(1, kernel.lowered.frame * units) + 64, np.uint8)
        self.resume = np.zeros(units, np.int32)
        self.mail = np.zeros(units * context.MAIL_WORDS, np.int64)
        rings = kernel.units * kernel.lowered.width if kernel.check and kernel.lowered.copies else 0
        self.copies = np.zeros(rings * context.COPY_WORDS, np.int64)
        self.dummy = np.zeros(64, np.uint8)
        bytes4 = -(-shared.size // 4)
        self.races = np.zeros(10 * bytes4 + 2 if arena.shadow else 2, np.int64)
        self.warp_epochs = np.zeros(-(-kernel.threads // 32), np.int64)
        self.words = np.zeros(len(context.WORDS), np.int64)
        self.reports = Reports(kernel, self.words, arena)
        self.keep: tuple[Any, ...] = ()
        prints = HELPER in kernel.lowered.extras
        self.printer = Printer(arena, self.reports.complain) if prints else None
        frames = self.frames.ctypes.data
        self._set(
            params=launcher.params.start,
            shared=shared.start,
            shared_size=shared.size,
            local=local.start,
            frames=frames + (-frames) % 64,
            resume=self.resume.ctypes.data,
            mail=self.mail.ctypes.data,
            copies=self.copies.ctypes.data,
            symbols=launcher.symbols.ctypes.data,
            dynamic=launcher.dynamic,
            dummy=self.dummy.ctypes.data,
            arena=arena.base,
            arena_size=arena.size,
            shadow=arena.shadow,
            races=self.races.ctypes.data,
            writers=self.races.ctypes.data + 64 * bytes4,
            readers=self.races.ctypes.data + 72 * bytes4,
            reserved=shared.start + (kernel.program.reserved or 0),
            reserved_size=0 if kernel.program.reserved is None else RESERVED_BYTES,
            **self.reports.addresses,
            epoch=1,
            warp_epochs=self.warp_epochs.ctypes.data,
            local_stride=_local_stride(kernel),
            local_size=_local_stride(kernel) * units * kernel.lowered.width,
            printer=self.printer.address if self.printer else 0,
        )
        window = (shared.start, shared.size)
        counts = kernel.profile
        self.counter = Counter(kernel.program, kernel.lowered.width, window, self.words) if counts else None
        told = kernel.lowered.told
        self.tracer = Tracer(kernel.program, told, self.reports.named) if kernel.trace else None
        self.heard = ((0, 0, 0), -1)
        self._set(tracer=self.tracer.address if self.tracer else 0)

    def _set(self, **words: int) -> None:
        for name, value in words.items():
            self.words[context.INDEX[name]] = value

    def _get(self, name: str) -> int:
        return int(self.words[context.INDEX[name]])

    def listen(self, block: tuple[int, int, int], thread: tuple[int, int, int], steps: int) -> None:
        x, y, _ = self.kernel.block_dim
        assert self.tracer is not None
        self.tracer.limit = steps
        self.heard = (block, thread[0] + x * (thread[1] + y * thread[2]))

    def prepare(
        self,
        grid: tuple[int, int, int],
        blocks: NDArray[np.int64] | None,
        units: NDArray[np.int32] | None,
        budget: int,
    ) -> None:
        arena, time = self.launcher.session.arena, self.launcher.session.time + 1
        count = grid[0] * grid[1] * grid[2]
        # The shadow takes for granted that blocks run one after the other.
        races = arena.races if self.launcher.session.workers == 1 and count <= RACING_BLOCKS else 0
        rows = np.zeros(3 * (count + 1) if races else 0, np.int64)
        self.keep = (blocks, units, rows)
        self.resume[:] = 0
        self.copies[:] = 0
        self._set(
            grid_x=grid[0],
            grid_y=grid[1],
            grid_z=grid[2],
            blocks=blocks.ctypes.data if blocks is not None else 0,
            units=units.ctypes.data if units is not None else 0,
            budget=budget,
            fail_kind=0,
            found=0,
            global_races=races,
            global_writers=races + 16 * arena.size,
            global_readers=races + 18 * arena.size,
            time=time,
            launch_time=time,
            block_rows=rows.ctypes.data,
            block_row=rows.ctypes.data,
        )
        session = self.launcher.session
        if session.check:
            self.reports.settle(session.buffers, bytes(self.launcher.memory))
        (x, y, z), unit = self.heard
        self._set(trace_block=x + grid[0] * (y + grid[1] * z), trace_unit=unit)

    @property
    def time(self) -> int:
        return self._get("time")

    @property
    def address(self) -> int:
        return int(self.words.ctypes.data)

    def run(self, first: int, last: int) -> list[Finding]:
        return self.run_pieces([(first, last)])

    def run_pieces(self, pieces: Iterable[tuple[int, int]]) -> list[Finding]:
        """Runs ranges of blocks, as far as the first that fails."""
        failed = any(
            self.kernel.run(self.address, first, last, 0, self.kernel.units) for first, last in pieces
        )
        findings = self.reports.reported()
        if failed:
            findings.append(self.reports.failure())
        return findings

    def step_all(self, pieces: Iterable[tuple[int, int]], seed: int | None, budget: int) -> list[Finding]:
        order = self.keep[1]
        scheduler = Scheduler(
            self.kernel, self.address, self.words, self.resume, self.mail, order, seed, self.reports.suspect
        )
        for block in itertools.chain.from_iterable(range(*piece) for piece in pieces):
            if self.kernel.program.shared_size or self.kernel.program.dynamic_shared:
                self.launcher.session.arena.bytes(self.shared)[:] = 0xA5
            stuck = scheduler.run_block(block, budget)
            findings = self.reports.reported()
            if stuck is not None:
                kind, message, pc, thread = stuck
                findings.append(self.reports.located(kind, message, pc, self._get("block"), thread))
                return findings
            if self._get("fail_kind"):
                findings.append(self.reports.failure())
                return findings
            if findings:
                return findings
        return self.reports.reported()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="llmptx-blocks")
