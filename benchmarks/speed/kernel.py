"""A kernel bound to its arguments: fast on any number of threads, or under all sanitizers.

Times what a launch takes and nothing around it: machine code, memory and arguments are made before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from llmptx.engine import Place, Session, compile_entry
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY
from llmptx.ptx import ast, parse
from llmptx.run.module import scalar_bytes, three

from .timing import Run

HERE = Path(__file__).parent


@cache
def kernels() -> ast.Module:
    """What nvcc made of kernels.cu."""
    return parse((HERE / "kernels.ptx").read_text())


@dataclass(frozen=True)
class Bound:
    """args: arrays, numpy scalars and ints, as the entry takes them. Arrays among `outputs` (by position) are
    written, the others read-only under the sanitizers, as they are for the judge."""

    tree: ast.Module
    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: Sequence[Any]
    outputs: tuple[int, ...]

    @property
    def out(self) -> np.ndarray[Any, Any]:
        return self.args[self.outputs[0]]  # type: ignore[no-any-return]

    def _params(self) -> Sequence[ast.Variable]:
        return next(f.params for f in self.tree.entries if f.name == self.entry)

    def fast(self, workers: int) -> Run:
        kernel = compile_entry(self.tree, self.entry, three(self.block, "block"))
        session = Session([(kernel, 0)], workers=workers)
        values = [
            a.ctypes.data if isinstance(a, np.ndarray) else scalar_bytes(p, a)
            for p, a in zip(self._params(), self.args, strict=True)
        ]
        grid = three(self.grid, "grid")
        return lambda: _quiet(session.launch(0, grid, values))

    def checked(self) -> Run:
        kernel = compile_entry(self.tree, self.entry, three(self.block, "block"), check=True)
        arrays = {f"a{i}": a for i, a in enumerate(self.args) if isinstance(a, np.ndarray)}
        session = Session([(kernel, 0)], [Place(n, a.nbytes) for n, a in arrays.items()], check=True)
        values: list[int | bytes] = []
        for i, (param, value) in enumerate(zip(self._params(), self.args, strict=True)):
            if f"a{i}" not in arrays:
                values.append(scalar_bytes(param, value))
                continue
            area = session.buffers[f"a{i}"]
            session.arena.bytes(area)[:] = value.reshape(-1).view(np.uint8)
            written = i in self.outputs
            session.arena.mark(area, ADDRESSABLE if written else ADDRESSABLE | INITIALISED | READ_ONLY)
            values.append(area.start)
        grid = three(self.grid, "grid")
        return lambda: _quiet(session.launch(0, grid, values))


def _quiet(findings: Sequence[object]) -> None:
    if findings:
        raise RuntimeError(f"a kernel of the benchmark is found at fault: {findings}")
