"""What a candidate may not contain, whatever it computes: the static rules on its syntax tree.

Each rule closes a way to tell a judged launch from another, to keep something from one launch to the next, or
to reach beyond the launch: clocks and launch ids, module memory, functions from elsewhere, cache control,
decoy kernels. This module knows nothing of routines and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmptx.ptx.ast import Addr, Function, Instruction, Module, Reg, Registers, Span, Sym, Variable, Vec
from llmptx.ptx.plan import Plan
from llmptx.record import Finding, FindingKind
from llmptx.verify import walk

TABLE_BYTES = 64 * 1024
DECLARED_REGISTERS = 1 << 20

ALLOWED_REGISTERS = frozenset(
    f"%{name}{suffix}"
    for name in ("tid", "ntid", "ctaid", "nctaid")
    for suffix in ("", ".x", ".y", ".z", ".w")
) | {"%laneid", "%warpid", "%nwarpid", *(f"%lanemask_{c}" for c in ("eq", "le", "lt", "ge", "gt"))}

FORBIDDEN_OPCODES = {
    "createpolicy": "cache policies are for timing, not for results",
    "prefetchu": "cache policies are for timing, not for results",
    "discard": "discard makes memory contents undefined",
    "applypriority": "cache policies are for timing, not for results",
    "pmevent": "performance monitors are not allowed",
    "griddepcontrol": "a launch may not depend on other launches",
    "brkpt": "breakpoints are not allowed",
}
_CACHE_HINTS = ("evict", "cache_hint", "no_allocate")
_ATOMS = ("atom", "red")
_WRITERS = ("st", "stmatrix", "multimem", *_ATOMS)


def at(kind: FindingKind, message: str, span: Span) -> Finding:
    """A finding at a place of the text."""
    return Finding(kind, message, line=span.line, column=span.column)


def forbidden(module: Module, plan: Plan) -> Iterator[Finding]:
    """A finding for each forbidden thing, in the order of the rules; none for an honest kernel."""
    yield from _decoys(module, plan)
    yield from _externals(module)
    yield from _tables(module)
    yield from _clusters(module)
    too_many = [s for s in _declarations(module) if sum(n or 1 for _, n in s.names) > DECLARED_REGISTERS]
    if too_many:
        message = f"one declaration of more than {DECLARED_REGISTERS} registers"
        yield at("resource-limit", message, too_many[0].span)
        return
    for function in module.functions:
        yield from _special_registers(function)
        for instruction in walk.instructions(function):
            yield from _instruction(instruction, plan)
        yield from _table_stores(function, module)


def _declarations(module: Module) -> Iterator[Registers]:
    for function in module.functions:
        yield from (s for s in walk.statements(function.body or ()) if isinstance(s, Registers))


def _decoys(module: Module, plan: Plan) -> Iterator[Finding]:
    named = {launch.entry for launch in plan.launches}
    for entry in module.entries:
        if entry.name not in named:
            yield at("forbidden", f"kernel {entry.name} is launched by no header line; remove it", entry.span)


def _externals(module: Module) -> Iterator[Finding]:
    for function in module.functions:
        if function.body is None or function.linkage == "extern":
            if any(f.name == function.name and f.body is not None for f in module.functions):
                continue  # a forward declaration
            message = f"function {function.name} comes from elsewhere; a candidate is complete in itself"
            yield at("forbidden", message, function.span)
    for variable in walk.module_variables(module):
        if variable.linkage in ("extern", "common") and variable.space != "shared":
            message = f"variable {variable.name} comes from elsewhere; a candidate is complete in itself"
            yield at("forbidden", message, variable.span)


def _tables(module: Module) -> Iterator[Finding]:
    total = 0
    for variable in walk.module_variables(module):
        if variable.space not in ("global", "const"):
            continue
        if variable.init is None:
            message = (
                f".{variable.space} {variable.name} has no contents: module memory outlives a launch; use "
            )
            yield at("forbidden", message + "a `//@ buffer` for scratch", variable.span)
        total += variable.size
        if total > TABLE_BYTES:
            message = f"the module's tables come to more than {TABLE_BYTES} bytes at {variable.name}"
            yield at("forbidden", message, variable.span)
            return


def _clusters(module: Module) -> Iterator[Finding]:
    for function in module.functions:
        for directive in function.directives:
            if "cluster" in directive.name:
                message = f"{directive.name}: clusters are not available on every target"
                yield at("forbidden", message, directive.span)


def _special_registers(function: Function) -> Iterator[Finding]:
    known = walk.declared(function)
    seen: set[str] = set()
    for instruction in walk.instructions(function):
        for reg in walk.registers(instruction):
            name = reg.name
            if name in seen or name in known or name in ALLOWED_REGISTERS:
                continue
            base, dot, element = name.rpartition(".")
            if dot and base in known and element in "xyzwrgba":
                continue
            seen.add(name)
            if name.startswith("%"):
                message = f"{name} is neither declared nor one of the special registers a kernel may read"
                yield at("forbidden", message, reg.span)
            else:
                yield at("parse", f"register {name} is not declared", reg.span)


def _instruction(instruction: Instruction, plan: Plan) -> Iterator[Finding]:
    opcode, modifiers = instruction.opcode, instruction.modifiers
    if opcode in FORBIDDEN_OPCODES:
        yield at("forbidden", f"{opcode}: {FORBIDDEN_OPCODES[opcode]}", instruction.span)
    elif any(hint in modifier for modifier in modifiers for hint in _CACHE_HINTS):
        written = ".".join((opcode, *modifiers))
        yield at("forbidden", f"{written}: cache policies are for timing, not for results", instruction.span)
    elif opcode in ("ld", "ldu") and (opcode == "ldu" or "nc" in modifiers) and not plan.noalias:
        written = ".".join((opcode, *modifiers))
        message = f"{written} promises that nothing writes there: say so with `//@ noalias`"
        yield at("forbidden", message, instruction.span)


def _table_stores(function: Function, module: Module) -> Iterator[Finding]:
    """Stores through the address of a module table, direct or carried in registers, whatever the path there.

    Registers that ever hold such an address are found without regard to order, so a register reused for
    something else counts too; the message says how to avoid that.
    """
    tables = {v.name for v in walk.module_variables(module) if v.space in ("global", "const")}
    if not tables:
        return
    body = tuple(walk.instructions(function))
    carriers = _carriers(body, tables)
    for instruction in body:
        if instruction.opcode == "call" and any(_touches(o, tables, carriers) for o in instruction.operands):
            message = "the address of a module table is given to a function, which might store to it"
            yield at("forbidden", message, instruction.span)
        if instruction.opcode not in _WRITERS and instruction.opcode != "cp":
            continue
        for place, operand in enumerate(instruction.operands):
            if isinstance(operand, Addr) and (instruction.opcode != "cp" or place == 0):
                if _touches(operand, tables, carriers):
                    message = "a store through a register or symbol that holds a module table's address; "
                    yield at("forbidden", message + "tables are read only", instruction.span)
            elif instruction.opcode != "cp" and _touches(operand, tables, carriers):
                message = "the address of a module table is stored to memory; keep it in registers of its own"
                yield at("forbidden", message, instruction.span)


def _carriers(body: tuple[Instruction, ...], tables: set[str]) -> set[str]:
    carriers: set[str] = set()
    while True:
        before = len(carriers)
        for instruction in body:
            if instruction.opcode in ("ld", "ldu", "setp", "set", *_WRITERS) or not instruction.operands:
                continue  # what is loaded from a table is its contents, not its address
            first, *sources = instruction.operands
            if any(_touches(source, tables, carriers) for source in sources):
                carriers.update(leaf.name for leaf in walk.leaves(first) if isinstance(leaf, Reg))
        if len(carriers) == before:
            return carriers


def _touches(operand: object, tables: set[str], carriers: set[str]) -> bool:
    if not isinstance(operand, Reg | Sym | Addr | Vec) and not hasattr(operand, "elements"):
        return False
    for leaf in walk.leaves(operand):  # type: ignore[arg-type]
        if isinstance(leaf, Sym) and leaf.name in tables:
            return True
        if isinstance(leaf, Reg) and leaf.name in carriers:
            return True
    return False


def static_shared(function: Function, module: Module) -> int:
    """Bytes of the shared variables of a kernel and of the module; dynamic `[]` arrays count nothing."""

    def shared(variable: object) -> bool:
        return isinstance(variable, Variable) and variable.space == "shared" and variable.linkage != "extern"

    own = [v for v in walk.statements(function.body or ()) if shared(v)]
    return sum(v.size for v in (*own, *filter(shared, module.variables)) if isinstance(v, Variable))
