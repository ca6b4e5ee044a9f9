"""An entry of a PTX module to machine code in this process, ready to launch."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmptx.engine import flow as flows
from llmptx.engine import machine
from llmptx.engine.cache import Cache, Kept, key
from llmptx.engine.flatten import flatten
from llmptx.engine.lanes import NeedsThreads
from llmptx.engine.lower import Lowered, lower
from llmptx.engine.program import Program
from llmptx.ptx import ast
from llmptx.ptx.printer import print_module

Approx = Literal["exact", "low", "high"]
_SIGNATURE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32
)
_START = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@dataclass(frozen=True)
class Compiled:
    """An entry as machine code for one block shape. `run(ctx, first block, last, first unit, last)`; 0 is
    success. `why`: what keeps it from running warps as vectors, if anything does.
    """

    program: Program
    lowered: Lowered
    block_dim: tuple[int, int, int]
    check: bool
    run: Any
    start_block: Any
    owner: Any
    profile: bool = False
    why: str = ""
    trace: bool = False

    @property
    def threads(self) -> int:
        x, y, z = self.block_dim
        return x * y * z

    @property
    def units(self) -> int:
        return -(-self.threads // self.lowered.width)


@dataclass(frozen=True)
class Prepared:
    """An entry lowered, to be made into machine code once or more: briefly, then well."""

    program: Program
    lowered: Lowered
    block_dim: tuple[int, int, int]
    check: bool
    profile: bool = False
    why: str = ""
    trace: bool = False

    def code(self, brief: bool) -> bytes:
        """An object file."""
        # Where one thread's pace rules, code made in half the time is as good, too.
        quick = brief or self.lowered.width == 1
        level = machine.BRIEF if quick else machine.FULL
        return machine.object_code(self.lowered.text, self.lowered.extras, level)

    def loaded(self, code: bytes) -> Compiled:
        """The same with its code in this process."""
        machine.provide(self.lowered.extras, self.check)
        engine = machine.load(code)
        run = _SIGNATURE(engine.get_function_address("run"))
        start = _START(machine.checks().get_function_address("san_block")) if self.check else None
        made = (self.program, self.lowered, self.block_dim, self.check, run, start, engine)
        return Compiled(*made, self.profile, self.why, self.trace)

    def compiled(self, brief: bool = False) -> Compiled:
        """brief: little will be run, so code made in half the time is as good. The results are the same."""
        return self.loaded(self.code(brief))


def prepare(
    module: ast.Module,
    entry: str,
    block_dim: tuple[int, int, int],
    *,
    width: int = 32,
    check: bool = False,
    approx: Approx = "exact",
    profile: bool = False,
    trace: bool = False,
) -> Prepared:
    """As `compile_entry`, as far as LLVM."""
    program = flatten(module, entry)
    lowered, why = None, "it has calls that need a stack" if program.stacked else ""
    if width == 32 and not program.stacked:
        # What warps as vectors cannot do, threads one at a time can.
        try:
            lowered = lower(program, flows.build(program, False), block_dim, 32, check, approx, profile)
        except flows.Irreducible:
            why = "its control flow has a loop with more than one entrance"
        except NeedsThreads as reason:
            why = str(reason)
    if lowered is None:
        program = flatten(module, entry)
        lowered = lower(program, flows.build(program, True), block_dim, 1, check, approx, profile, trace)
    return Prepared(program, lowered, block_dim, check, profile, why, trace)


def compile_entry(
    module: ast.Module,
    entry: str,
    block_dim: tuple[int, int, int],
    *,
    width: int = 32,
    check: bool = False,
    approx: Approx = "exact",
    profile: bool = False,
    trace: bool = False,
    cache: Cache | None = None,
) -> Compiled:
    """Machine code of an entry. Width 32 falls back to 1 for what a warp as a vector cannot do.

    profile: it counts what it does, and `Session.profile` tells.
    trace: of width 1, it tells what one thread does, and `Session.trace` has it.
    cache: where it is looked for first and kept after; never one that untrusted code may write to.

    Raises PtxError, with a span, for what the engine does not run.
    """
    if cache is None or trace:
        return prepare(
            module, entry, block_dim, width=width, check=check, approx=approx, profile=profile, trace=trace
        ).compiled()
    text = print_module(module)
    number = key(machine.host(), text, entry, block_dim, width, check, approx, profile)
    kept = cache.get(number)
    if kept is None:
        made = prepare(module, entry, block_dim, width=width, check=check, approx=approx, profile=profile)
        kept = Kept(replace(made.lowered, text=""), made.why, made.code(brief=False))
        cache.put(number, kept)
        return made.loaded(kept.code)
    program = flatten(module, entry)
    return Prepared(program, kept.lowered, block_dim, check, profile, kept.why).loaded(kept.code)
