"""LLVM text to machine code of this host, and machine code into this process.

Code is made as the bytes of an object file and loaded from there, whether just made or kept from before: one
path. Knows texts and bytes; nothing of PTX.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from llmptx.engine import library, sanitizer, warps

BRIEF, FULL = 0, 2
LOADED = 128


def object_code(text: str, helpers: Mapping[str, str], level: int) -> bytes:
    """An object file of function `run`.

    helpers: LLVM text by name, linked in; those of `library` are called by name instead. level: BRIEF is
    made in half the time, FULL runs up to three times as fast.

    Raises RuntimeError where the text is no valid LLVM: a fault of the lowering's.
    """
    module = llvm.parse_assembly(text)
    own = "".join(part for name, part in helpers.items() if not name.startswith(library.LIBRARY))
    if "llvm.set.rounding" in own:
        own = "declare void @llvm.set.rounding(i32)\n" + own
    if own:
        module.link_in(llvm.parse_assembly(_declared_once(own)))
    for function in module.functions:
        if not function.is_declaration and function.name != "run":
            function.linkage = "internal"
    return _emitted(module, level)


def provide(helpers: Mapping[str, str], check: bool) -> None:
    """Makes what code calls by name: it cannot be loaded before."""
    if check:
        # The library's checks call it by name.
        checks()
    shared = {name: text for name, text in helpers.items() if name.startswith(library.LIBRARY)}
    library.provide(shared, lambda part: load(_emitted(part, FULL)))


@lru_cache(maxsize=LOADED)
def load(code: bytes) -> Any:
    """An execution engine that holds the code of an object file, for as long as anybody holds the engine."""
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _new_machine(FULL))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


@cache
def checks() -> Any:
    """The sanitizer's machine code, made once in a process; kernels call it by name."""
    engine = load(_emitted(llvm.parse_assembly(sanitizer.TEXT), FULL))
    for name in sanitizer.ENTRIES:
        llvm.add_symbol(name, engine.get_function_address(name))
    return engine


def checks_to_come() -> Iterator[None]:
    """Makes the functions by which whole warps are checked, one a step, the common sizes first."""
    checks()
    for total, form, stores in itertools.product(warps.TOTALS, ("any", "one", "row"), (False, True)):
        provide({warps.check_name(form, stores, total): warps.check_text(form, stores, total)}, True)
        yield


@cache
def host() -> str:
    """What machine code depends on besides its text: LLVM, the CPU and its features, what it calls."""
    version = ".".join(map(str, llvm.llvm_version_info))
    calls = hashlib.sha256(sanitizer.TEXT.encode()).hexdigest()
    triple = llvm.get_process_triple()
    return "\n".join((llvmlite.__version__, version, triple, *_cpu(), calls))


@cache
def _cpu() -> tuple[str, str]:
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


def _new_machine(level: int) -> Any:
    cpu, features = _cpu()
    return _target().create_target_machine(cpu=cpu, features=features, opt=level, jit=True)


_machine = cache(_new_machine)


def _emitted(module: Any, level: int) -> bytes:
    machine = _machine(level)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    _simplify(module, machine)
    code: bytes = machine.emit_object(module)
    return code


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
