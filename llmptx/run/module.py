"""`Module` and `Function`: PTX as callables on arrays, shaped like cupy.RawModule and RawKernel.

The CPU runs in this process, on the arrays' own memory: for PTX one trusts as one trusts a C extension.
`check=True` runs
on copies under all sanitizers, where no access leaves its buffer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from llmptx.engine import Compiled, Place, Session, cache, compile_entry
from llmptx.engine.launch import PARALLEL_THREADS
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY
from llmptx.ptx import ast, parse
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding

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
    """A PTX text. Raises PtxError with file, line, column, source line and caret."""

    def __init__(self, ptx: str, file: str = "<ptx>") -> None:
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
        for param, value in zip(self.params, args, strict=True):
            array = _array(param, value)
            values.append(array.ctypes.data if array is not None else scalar_bytes(param, value))
        threads = grid[0] * grid[1] * grid[2] * block[0] * block[1] * block[2]
        workers = min(os.cpu_count() or 1, 16) if threads >= PARALLEL_THREADS else 1
        session = self.module.session(self.name, block, shared, workers)
        findings = session.launch(0, grid, values, seed=seed)
        if text := session.printed():
            sys.stdout.write(text)
        self.module.release(self.name, block, shared, workers, session)
        return findings


def three(counts: tuple[int, ...], what: str) -> tuple[int, int, int]:
    if not 1 <= len(counts) <= 3 or any(int(c) != c or c < (0 if what == "grid" else 1) for c in counts):
        raise ValueError(f"{what} is one to three whole numbers, not {counts!r}")
    x, y, z = (*(int(c) for c in counts), 1, 1)[:3]
    if what == "block" and x * y * z > 1024:
        raise ValueError(f"a block has at most 1024 threads, {counts!r} has {x * y * z}")
    limits = LIMITS[what]
    if any(count > limit for count, limit in zip((x, y, z), limits, strict=True)):
        raise ValueError(f"a {what} has at most {limits} along its axes, not {counts!r}")
    return x, y, z


def scalar_bytes(param: ast.Variable, value: Any) -> bytes:
    """A scalar argument as the parameter's type. Raises TypeError or OverflowError where it does not fit."""
    type = param.type
    if type.is_float:
        return np.asarray(value, f"<f{type.bytes}").tobytes()
    number = int(value)
    if number != value:
        raise TypeError(f"parameter {param.name} is .{type}: {value!r} is no integer")
    low, high = -(1 << (type.bits - 1)), (1 << type.bits) - 1
    if not low <= number <= high:
        raise OverflowError(f"parameter {param.name} is .{type}: {value!r} does not fit")
    return (number % (1 << type.bits)).to_bytes(type.bytes, "little")


def _array(param: ast.Variable, value: Any) -> np.ndarray[Any, Any] | None:
    if not isinstance(value, np.ndarray):
        return None
    if param.type.bits != 64 or param.type.is_float:
        raise TypeError(f"parameter {param.name} is .{param.type}: an array needs a 64-bit pointer")
    if not value.flags.c_contiguous:
        raise ValueError(f"the array for {param.name} is not contiguous: pass numpy.ascontiguousarray of it")
    return value


def _checked(
    kernel: Compiled,
    grid: tuple[int, int, int],
    params: Sequence[ast.Variable],
    args: Sequence[Any],
    shared: int,
    seed: int | None,
) -> list[Finding]:
    """Runs on copies, one for all parameters given the same memory, and copies back what may change."""
    names: dict[tuple[int, int], str] = {}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    homes: list[str] = []
    for param, value in zip(params, args, strict=True):
        array = _array(param, value)
        home = "" if array is None else names.setdefault((array.ctypes.data, array.nbytes), param.name)
        if array is not None and (home not in arrays or array.flags.writeable):
            arrays[home] = array
        homes.append(home)
    with Session([(kernel, shared)], [Place(n, a.nbytes) for n, a in arrays.items()], check=True) as session:
        for name, array in arrays.items():
            area = session.buffers[name]
            session.arena.bytes(area)[:] = array.reshape(-1).view(np.uint8)
            fixed = 0 if array.flags.writeable else READ_ONLY
            session.arena.mark(area, ADDRESSABLE | INITIALISED | fixed)
        values: list[int | bytes] = [
            session.buffers[home].start if home else scalar_bytes(p, v)
            for p, v, home in zip(params, args, homes, strict=True)
        ]
        findings = session.launch(0, grid, values, seed=seed)
        sys.stdout.write(session.printed())
        for name, array in arrays.items():
            if array.flags.writeable:
                array.reshape(-1).view(np.uint8)[:] = session.arena.bytes(session.buffers[name])
        return findings
