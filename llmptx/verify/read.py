"""The judge's first stage: does the text parse, and does it keep the rules a candidate is under?

The rules of a launch: header lines against the routine's parameters, kernels against what the header passes
them, hardware limits, and what `forbidden` lists. Nothing is assembled or run here, and no value is looked
at.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from llmptx.isa import match
from llmptx.ptx import parse
from llmptx.ptx.ast import NOWHERE, Addr, Function, Instruction, Module, Reg, Sym, Variable
from llmptx.ptx.errors import PtxError
from llmptx.ptx.normalize import candidate_hash
from llmptx.ptx.plan import Plan, PlanLaunch, parse_plan
from llmptx.ptx.types import Type
from llmptx.record import Finding, Routine, Signature
from llmptx.verify import walk
from llmptx.verify.forbidden import at, forbidden, static_shared

TEXT_BYTES = 1 << 20
MAX_FINDINGS = 20
MAX_TARGET = 100
STATIC_SHARED = 48 * 1024
SHARED = 163 * 1024  # sm_80's limit for a block, the least of the targets'


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read; `module` and `plan` where the text has them. It may run if there is no finding."""

    findings: tuple[Finding, ...]
    hash: str
    module: Module | None = None
    plan: Plan | None = None

    @property
    def approximate(self) -> bool:
        """Whether it uses instructions of which the manual gives only an error bound: chips may differ."""
        return any("approx" in i.modifiers or "full" in i.modifiers for i in self._instructions())

    @property
    def unordered(self) -> bool:
        """Whether it adds floats atomically, so that a result may lawfully depend on the order of threads."""
        floats = {"f16", "f32", "f64", "f16x2", "bf16", "bf16x2"}
        return any(i.opcode in ("atom", "red") and floats & set(i.modifiers) for i in self._instructions())

    def _instructions(self) -> Iterator[Instruction]:
        for function in self.module.functions if self.module else ():
            yield from walk.instructions(function)


def read(text: str, routine: Routine, signature: Signature) -> Reading:
    """Never raises for what is wrong with the text."""
    raw = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if len(text) > TEXT_BYTES:
        message = f"the text has {len(text)} characters; at most {TEXT_BYTES} are read"
        return Reading((Finding("resource-limit", message),), raw)
    try:
        module = parse(text)
    except PtxError as error:
        return Reading((at("parse", error.message, error.span),), raw)
    try:
        plan = parse_plan(text)
    except PtxError as error:
        return Reading((at("abi", error.message, error.span),), raw, module)
    name = candidate_hash(text)
    findings = []
    for finding in _findings(module, plan, routine, signature):
        findings.append(finding)
        if len(findings) == MAX_FINDINGS:
            break
    return Reading(tuple(findings), name, module, plan)


def _findings(module: Module, plan: Plan, routine: Routine, signature: Signature) -> Iterator[Finding]:
    yield from _module(module)
    yield from _names(plan, routine, signature)
    entries = {entry.name: entry for entry in module.entries if entry.body is not None}
    for launch in plan.launches:
        yield from _launch(launch, entries.get(launch.entry), module, plan, routine, signature)
    for entry in entries.values():
        yield from _parameters(entry)
    yield from forbidden(module, plan)
    yield from _instructions(module)


def _module(module: Module) -> Iterator[Finding]:
    if module.address_size != 64:
        yield at("abi", f".address_size is {module.address_size}; pointers are 64 bits", module.span)
    for target in module.target:
        found = re.fullmatch(r"sm_(\d+)([af]?)", target)
        if not found:
            if target not in ("debug", "map_f64_to_f32"):
                yield at("abi", f".target {target} is not allowed; write one like sm_80", module.span)
        elif found[2]:
            message = (
                f".target {target} is for one architecture only; the kernel must assemble for every target"
            )
            yield at("abi", message, module.span)
        elif int(found[1]) > MAX_TARGET:
            yield at(
                "abi", f".target {target} is above sm_{MAX_TARGET}, the highest there is here", module.span
            )
    if "map_f64_to_f32" in module.target:
        yield at("abi", ".target map_f64_to_f32 changes what f64 means", module.span)


def _names(plan: Plan, routine: Routine, signature: Signature) -> Iterator[Finding]:
    extents = set(routine.extents)
    parameters = set(routine.parameters(signature.dtype))
    for buffer in plan.buffers:
        if buffer.name in parameters:
            yield _abi(f"buffer {buffer.name} has the name of a parameter", buffer.line)
        yield from _unknown(buffer.size.names, extents, f"the size of buffer {buffer.name}", buffer.line)
    for launch in plan.launches:
        for expression in launch.grid:
            yield from _unknown(expression.names, extents, "grid", launch.line)


def _unknown(names: Iterable[str], extents: set[str], where: str, line: int) -> Iterator[Finding]:
    for name in sorted(set(names) - extents):
        yield _abi(
            f"{where} uses {name}, which is no extent of the routine; those are {_list(extents)}", line
        )


def _abi(message: str, line: int) -> Finding:
    return Finding("abi", message, line=line, column=1)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _launch(
    launch: PlanLaunch,
    entry: Function | None,
    module: Module,
    plan: Plan,
    routine: Routine,
    signature: Signature,
) -> Iterator[Finding]:
    if entry is None:
        there = _list({e.name for e in module.entries})
        yield _abi(
            f"the plan launches {launch.entry}, which is no kernel of the text; there is {there}", launch.line
        )
        return
    passed, unknown = passed_names(launch, plan, routine, signature)
    for name in unknown:
        known = _list((*routine.parameters(signature.dtype), *(b.name for b in plan.buffers)))
        yield _abi(
            f"args names {name}, which is neither parameter, buffer nor extent; there are {known}",
            launch.line,
        )
    if len(entry.params) != len(passed):
        has = ", ".join(p.name for p in entry.params)
        message = (
            f"kernel {entry.name} takes {len(entry.params)} parameters ({has}) and is passed {len(passed)}: "
        )
        yield at("abi", message + ", ".join(passed), entry.span)
    yield from _limits(launch, entry, module)


def passed_names(
    launch: PlanLaunch, plan: Plan, routine: Routine, signature: Signature
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a launch passes, in order, as texts; and the names among them that mean nothing."""
    parameters = routine.parameters(signature.dtype)
    if launch.args is None:
        return parameters, ()
    known = set(parameters) | {b.name for b in plan.buffers}
    if len(signature.inputs) == 1:
        known.add("in")
    extents = set(routine.extents)
    unknown: list[str] = []
    for argument in launch.args:
        if isinstance(argument, str):
            unknown += [] if argument in known else [argument]
        elif str(argument) not in known:
            unknown += sorted(set(argument.names) - extents)
    return tuple(str(a) for a in launch.args), tuple(unknown)


def _limits(launch: PlanLaunch, entry: Function, module: Module) -> Iterator[Finding]:
    static = static_shared(entry, module)
    if static > STATIC_SHARED:
        message = (
            f"kernel {entry.name} declares {static} bytes of shared memory and the limit is {STATIC_SHARED}; "
        )
        yield at(
            "resource-limit", message + "more is asked for with shared= and `.extern .shared`", entry.span
        )
    elif static + launch.shared > SHARED:
        message = (
            f"{static} + {launch.shared} bytes of shared memory; {SHARED} is the least limit of the targets"
        )
        yield Finding("resource-limit", message, line=launch.line, column=1)
    for directive in entry.directives:
        numbers = [int(n) for n in re.findall(r"\d+", directive.text)]
        wanted = tuple([*numbers, 1, 1, 1][:3])
        if "reqntid" in directive.name and wanted != launch.block:
            message = f".{directive.name} {directive.text} does not fit block={_triple(launch.block)}"
            yield at("abi", message, directive.span)
        if "maxntid" in directive.name and _product(wanted) < _product(launch.block):
            message = f".{directive.name} {directive.text} is less than block={_triple(launch.block)}"
            yield at("abi", message, directive.span)


def _triple(block: tuple[int, ...]) -> str:
    return ",".join(map(str, block))


def _product(values: tuple[int, ...]) -> int:
    product = 1
    for value in values:
        product *= value
    return product


def _parameters(entry: Function) -> Iterator[Finding]:
    """Kernel parameters are .u64 each, and the kernel reads within them and writes none."""
    for param in entry.params:
        if param.type not in (Type("u", 64), Type("b", 64)) or param.shape or param.vec != 1:
            shape = "".join(f"[{n}]" for n in param.shape)
            message = f"parameter {param.name} is .{param.type}{shape}; every parameter is .u64"
            yield at("abi", message, param.span if param.span != NOWHERE else entry.span)
    params = {p.name: p for p in entry.params}
    local = {
        s.name for s in walk.statements(entry.body or ()) if isinstance(s, Variable) and s.space == "param"
    }
    for instruction in walk.instructions(entry):
        yield from _parameter_access(instruction, params, local)


def _parameter_access(
    instruction: Instruction, params: dict[str, Variable], local: set[str]
) -> Iterator[Finding]:
    spaces = [m for m in instruction.modifiers if m == "param" or m.startswith("param::")]
    for operand in instruction.operands:
        if not spaces or not isinstance(operand, Addr):
            names = set(walk.symbols(operand)) & (params.keys() - local)
            if names and not isinstance(operand, Addr):
                message = f"the address of parameter {names.pop()} is taken; read it with ld.param"
                yield at("abi", message, instruction.span)
            continue
        base = operand.base
        if isinstance(base, Reg) or base is None:
            yield at("abi", "a parameter is read by its name, not through an address", instruction.span)
        elif isinstance(base, Sym) and base.name in params and base.name not in local:
            if instruction.opcode != "ld":
                yield at(
                    "forbidden", f"{instruction.opcode} to kernel parameter {base.name}", instruction.span
                )
                continue
            start, size = base.offset + operand.offset, _bytes(instruction)
            if start < 0 or start + size > params[base.name].size:
                message = f"reads bytes {start} to {start + size} of parameter {base.name}, which has "
                yield at("abi", f"{message}{params[base.name].size}", instruction.span)


def _bytes(instruction: Instruction) -> int:
    size, count = 1, 1
    for modifier in instruction.modifiers:
        if modifier in ("v2", "v4", "v8"):
            count = int(modifier[1])
            continue
        try:
            size = Type.parse(modifier).bytes
        except ValueError:
            continue
    return size * count


def _instructions(module: Module) -> Iterator[Finding]:
    """Instructions the engine has no row for."""
    for function in module.functions:
        for instruction in walk.instructions(function):
            try:
                match(instruction)
            except PtxError as error:
                yield at("parse", error.message, error.span if error.span != NOWHERE else instruction.span)


def reproducible(findings: tuple[Finding, ...], command: str) -> tuple[Finding, ...]:
    """The findings, each with the command that shows it again where it had none."""
    return tuple(f if f.reproduce else replace(f, reproduce=command) for f in findings)
