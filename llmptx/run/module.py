"""`Module` and `Function`: PTX as callables on arrays, shaped like cupy.RawModule and RawKernel.

The CPU runs in this process, on the arrays' own memory: for PTX one trusts as one trusts a C extension.
`check=True` runs
on copies under all sanitizers, where no access leaves its buffer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from llmptx.engine import Compiled, Place, Session, cache, compile_entry
from llmptx.engine.launch import PARALLEL_THREADS
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY
from llmptx.ptx import ast, parse
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from llmptx.run.memory import Array, pointed, regions

Device = Literal["cpu", "cuda"]
# CUDA C++ Programming Guide, technical specifications, for every compute capability.
LIMITS = {"grid": ((1 << 31) - 1, 65535, 65535), "block": (1024, 1024, 64)}


class SanitizerError(RuntimeError):
    """A checked launch did something wrong: `.findings` says what and where."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        first = self.findings[0]
        where = f" at line {first.line}" if first.line else ""
        more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
        super().__init__(f"{first.kind}{where}: {first.message}{more}")


class Module:
    """A PTX text. Raises PtxError with file, line, column, source line and caret.

    Machine code is kept for the next process in `$LLMPTX_CACHE`, or where the system keeps caches; set to
    nothing, in memory only.
    """

    def __init__(self, ptx: str, file: str = "<ptx>") -> None:
        if not isinstance(ptx, str):
            raise TypeError(f"a module is PTX text, a str, not {type(ptx).__name__}: decode or read it first")
        self.text = ptx
        self.file = file
        self.tree: ast.Module = parse(ptx, file)
        self._kernels: dict[Any, Compiled] = {}
        self._idle: dict[Any, list[Session]] = {}

    @property
    def entries(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.tree.entries)

    def get_function(self, name: str) -> Function:
        """Raises PtxError for an entry that is not there."""
        if name not in self.entries:
            raise PtxError(
                f"no entry is named {name!r}; entries: {', '.join(self.entries) or 'none'}", file=self.file
            )
        return Function(self, name)

    def compiled(self, entry: str, block: tuple[int, int, int], check: bool, width: int = 32) -> Compiled:
        """Machine code for one block shape, made once."""
        key = (entry, block, check, width)
        if key not in self._kernels:
            try:
                self._kernels[key] = compile_entry(
                    self.tree, entry, block, check=check, width=width, cache=cache.default()
                )
            except PtxError as error:
                raise error.within(self.text, self.file) from None
        return self._kernels[key]

    def session(self, entry: str, block: tuple[int, int, int], shared: int, workers: int) -> Session:
        """Windows to launch an entry in, fast mode: an idle or a new one. Give it back with `release`."""
        idle = self._idle.setdefault((entry, block, shared, workers), [])
        # list.pop is atomic: two threads never get the same session.
        try:
            return idle.pop()
        except IndexError:
            return Session([(self.compiled(entry, block, False), shared)], workers=workers)

    def release(
        self, entry: str, block: tuple[int, int, int], shared: int, workers: int, session: Session
    ) -> None:
        self._idle[entry, block, shared, workers].append(session)


class Function:
    """An entry. Calling it launches it and waits; arrays are device buffers and change in place."""

    def __init__(self, module: Module, name: str) -> None:
        self.module, self.name = module, name
        self.params = next(f.params for f in module.tree.entries if f.name == name)

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        shared_mem: int = 0,
        *,
        device: Device = "cpu",
        check: bool = False,
        seed: int | None = None,
    ) -> None:
        """grid, block: one to three counts. args: arrays for pointers, numpy scalars or numbers for the rest.

        Raises TypeError or ValueError for arguments that do not fit, SanitizerError for what a checked
        launch found (and for a barrier or a loop that never ends, in either mode).
        """
        grid3, block3 = three(grid, "grid"), three(block, "block")
        if not isinstance(shared_mem, Integral) or shared_mem < 0:
            raise ValueError(f"shared_mem is a count of bytes, not {shared_mem!r}")
        if device not in ("cpu", "cuda"):
            raise ValueError(f"device is cpu or cuda, not {device!r}")
        if len(args) != len(self.params):
            raise TypeError(f"{self.name} takes {len(self.params)} arguments, {len(args)} were given")
        if device == "cuda":
            from llmptx.run.cuda import launch_function

            launch_function(self.module, self.name, grid3, block3, self.params, args, shared_mem)
            return
        if check:
            kernel = self.module.compiled(self.name, block3, True)
            findings = _checked(kernel, grid3, self.params, args, shared_mem, seed)
        else:
            findings = self._fast(grid3, block3, args, shared_mem, seed)
        if findings:
            raise SanitizerError(findings)

    def _fast(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[Any],
        shared: int,
        seed: int | None,
    ) -> list[Finding]:
        values: list[int | bytes] = []
        copies: dict[str, tuple[Array, Array]] = {}
        for param, value in zip(self.params, args, strict=True):
            array = pointed(param, value)
            if array is not None and not array.flags.writeable:
                copies[param.name] = (array, array.copy())
                array = copies[param.name][1]
            values.append(array.ctypes.data if array is not None else scalar_bytes(param, value))
        threads = grid[0] * grid[1] * grid[2] * block[0] * block[1] * block[2]
        workers = min(os.cpu_count() or 1, 16) if threads >= PARALLEL_THREADS else 1
        session = self.module.session(self.name, block, shared, workers)
        findings = session.launch(0, grid, values, seed=seed)
        if text := session.printed():
            sys.stdout.write(text)
        self.module.release(self.name, block, shared, workers, session)
        return findings + [
            Finding("input-modified", f"{name} is a read-only array, and the kernel wrote to it", buffer=name)
            for name, (given, copy) in copies.items()
            if given.tobytes() != copy.tobytes()
        ]


def three(counts: tuple[int, ...], what: str) -> tuple[int, int, int]:
    """Raises ValueError for what are no counts, or more than a GPU launches."""
    least = 0 if what == "grid" else 1
    if (
        not isinstance(counts, tuple | list)
        or not 1 <= len(counts) <= 3
        or not all(_whole(c) and c >= least for c in counts)
    ):
        raise ValueError(f"{what} is one to three whole numbers from {least} on, not {counts!r}")
    x, y, z = (*(int(c) for c in counts), 1, 1)[:3]
    if what == "block" and x * y * z > 1024:
        raise ValueError(f"a block has at most 1024 threads, {counts!r} has {x * y * z}")
    limits = LIMITS[what]
    if any(count > limit for count, limit in zip((x, y, z), limits, strict=True)):
        raise ValueError(f"a {what} has at most {limits} along its axes, not {counts!r}")
    return x, y, z


def _whole(count: Any) -> bool:
    return isinstance(count, Integral | np.integer) or (isinstance(count, float) and count.is_integer())


def _number(value: Any) -> bool:
    return isinstance(value, Real | np.bool_)


def scalar_bytes(param: ast.Variable, value: Any) -> bytes:
    """A scalar argument as the parameter's type. Raises TypeError or OverflowError where it does not fit."""
    type = param.type
    if not _number(value):
        raise TypeError(f"parameter {param.name} is .{type}: {value!r} is no number (nor a numpy array)")
    if type.is_float:
        with np.errstate(over="ignore"):
            return np.asarray(value, f"<f{type.bytes}").tobytes()
    number = int(value) if isinstance(value, Integral) or np.isfinite(value) else 0
    if number != value:
        raise TypeError(f"parameter {param.name} is .{type}: {value!r} is no integer")
    low, high = -(1 << (type.bits - 1)), (1 << type.bits) - 1
    if not low <= number <= high:
        raise OverflowError(f"parameter {param.name} is .{type}: {value!r} does not fit")
    return (number % (1 << type.bits)).to_bytes(type.bytes, "little")


def _checked(
    kernel: Compiled,
    grid: tuple[int, int, int],
    params: Sequence[ast.Variable],
    args: Sequence[Any],
    shared: int,
    seed: int | None,
) -> list[Finding]:
    """Runs on copies, one of all memory that overlaps, and copies back what may change."""
    arrays = {p.name: a for p, v in zip(params, args, strict=True) if (a := pointed(p, v)) is not None}
    memory = regions(list(arrays.items()))
    with Session([(kernel, shared)], [Place(r.name, r.size) for r in memory], check=True) as session:
        starts: dict[int, int] = {}
        for region in memory:
            area = session.buffers[region.name]
            session.arena.bytes(area)[:] = region.bytes
            session.arena.mark(area, ADDRESSABLE | INITIALISED | READ_ONLY)
            session.arena.mark(area, ADDRESSABLE | INITIALISED, region.pieces(writeable=True))
            starts |= {id(a): area.start + a.ctypes.data - region.start for a in region.arrays}
        values: list[int | bytes] = [
            starts[id(arrays[p.name])] if p.name in arrays else scalar_bytes(p, v)
            for p, v in zip(params, args, strict=True)
        ]
        findings = session.launch(0, grid, values, seed=seed)
        sys.stdout.write(session.printed())
        for region in memory:
            copy = session.arena.bytes(session.buffers[region.name])
            for piece in region.pieces(writeable=True):
                region.bytes[piece] = copy[piece]
        return findings
