"""LLVM text to machine code in this process, and the cache of what was compiled."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import llvmlite.binding as llvm

from llmptx.engine import flow as flows
from llmptx.engine import library, sanitizer
from llmptx.engine.flatten import flatten
from llmptx.engine.lanes import NeedsThreads
from llmptx.engine.lower import Lowered, lower
from llmptx.engine.program import Program
from llmptx.ptx import ast

Approx = Literal["exact", "low", "high"]
_SIGNATURE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32
)


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
) -> Compiled:
    """Machine code of an entry. Width 32 falls back to 1 for what a warp as a vector cannot do.

    profile: it counts what it does, and `Session.profile` tells.
    trace: of width 1, it tells what one thread does, and `Session.trace` has it.

    Raises PtxError, with a span, for what the engine does not run.
    """
    program = flatten(module, entry)
    lowered, why = None, "it has calls that need a stack" if program.stacked else ""
    if width == 32 and not program.stacked:
        # What warps as vectors cannot do, threads one at a time can.
        try:
            lowered = lower(program, flows.build(program, False), block_dim, 32, check, approx, profile)
        except flows.Irreducible:
            why = "its control flow has a loop with more than one entrance"
        except NeedsThreads:
            why = "its barriers or warp operations may have to wait for threads that are elsewhere"
    if lowered is None:
        program = flatten(module, entry)
        lowered = lower(program, flows.build(program, True), block_dim, 1, check, approx, profile, trace)
    engine = _machine_code(lowered, check)
    run = _SIGNATURE(engine.get_function_address("run"))
    start = (
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_sanitizer().get_function_address("san_block"))
        if check
        else None
    )
    return Compiled(program, lowered, block_dim, check, run, start, engine, profile, why, trace)


@lru_cache(maxsize=1)
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def _machine(level: int) -> Any:
    features = llvm.get_host_cpu_features().flatten()
    return _target().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=level, jit=True
    )


def _machine_code(lowered: Lowered, check: bool) -> Any:
    # Where one thread's pace rules, code made in half the time is as good.
    machine = _machine(0 if lowered.width == 1 else 2)
    module = llvm.parse_assembly(lowered.text)
    if check:
        # The library's checks call it by name.
        _sanitizer()
    shared = {name: text for name, text in lowered.extras.items() if name.startswith(library.LIBRARY)}
    library.provide(shared, lambda part: _finished(part, _machine(2)))
    extras = "".join(text for name, text in lowered.extras.items() if name not in shared)
    if extras:
        if "llvm.set.rounding" in extras:
            extras = "declare void @llvm.set.rounding(i32)\n" + extras
        module.link_in(llvm.parse_assembly(_declared_once(extras)))
    for function in module.functions:
        if not function.is_declaration and function.name != "run":
            function.linkage = "internal"
    return _finished(module, machine)


def _finished(module: Any, machine: Any) -> Any:
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    _simplify(module, machine)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


@lru_cache(maxsize=1)
def _sanitizer() -> Any:
    """The sanitizer's machine code, made once in a process; kernels call it by name."""
    machine = _machine(2)
    engine = _finished(llvm.parse_assembly(sanitizer.TEXT), machine)
    for name in sanitizer.ENTRIES:
        llvm.add_symbol(name, engine.get_function_address(name))
    return engine


def _declared_once(text: str) -> str:
    seen: set[str] = set()
    lines = []
    for line in text.splitlines():
        if line.startswith("declare "):
            if line in seen:
                continue
            seen.add(line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def _simplify(module: Any, machine: Any) -> None:
    """Registers out of memory, and what follows from that at once.

    The loop over lanes is vectors already, and code is made once for a few runs: LLVM's own pipeline takes
    four times as long and gains two parts in a hundred.
    """
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
