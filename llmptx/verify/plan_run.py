"""From a case and a candidate's plan to the job a worker runs: launches evaluated, buffers laid out.

The job holds inputs and sizes only: what the answer should be is not known here, nor anywhere the job goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from llmptx.ptx.errors import PtxError
from llmptx.ptx.plan import Expr, Plan, PlanBuffer, PlanLaunch
from llmptx.record import Finding, FindingKind, Routine, Signature
from llmptx.run.job import Array, Buffer, Job, Launch
from llmptx.verify.inputs import Case

GRID_LIMITS = (2**31 - 1, 65535, 65535)
MAX_THREADS = 1 << 34
SCRATCH_BYTES = 1 << 30

_NUMPY_KINDS = {"b": "uint", "u": "uint", "s": "int", "f": "float"}


class PlanError(ValueError):
    """A plan that cannot be run for these extents: `.finding` says why."""

    def __init__(self, kind: FindingKind, message: str, line: int) -> None:
        super().__init__(message)
        self.finding = Finding(kind, message, line=line, column=1 if line else 0)


@dataclass(frozen=True, slots=True)
class Setup:
    """How one run of a case differs from the plain one; the fields of Job and Buffer by the same names.

    offsets   bytes past the natural alignment, by buffer name
    alias     the input whose memory the output takes, or ""
    """

    check: bool = False
    width: Literal[32, 1] = 32
    approx: Literal["exact", "low", "high"] = "exact"
    seed: int | None = None
    guard: Literal["after", "before"] = "after"
    poison: int = 0xA5
    offsets: Mapping[str, int] = field(default_factory=dict)
    alias: str = ""


PLAIN = Setup()


@dataclass(frozen=True, slots=True)
class Part:
    """The part that is run of a call too large to run; the case's inputs are what of theirs is there.

    extents  of the whole call
    parts    elements that are there, as (first, count), by buffer; a buffer that is not named is whole
    blocks   of each launch, ranges [first, end) of block numbers
    """

    extents: Mapping[str, int]
    parts: Mapping[str, tuple[tuple[int, int], ...]]
    blocks: tuple[tuple[tuple[int, int], ...], ...]


def job(
    ptx: str,
    plan: Plan,
    routine: Routine,
    signature: Signature,
    case: Case,
    setup: Setup = PLAIN,
    part: Part | None = None,
) -> Job:
    """Raises PlanError where the plan gives no possible launch or buffer for the call's extents."""
    extents = part.extents if part else case.extents
    buffers = _buffers(plan, routine, signature, case, setup, extents)
    names = _names(routine, signature)
    most = MAX_THREADS if part is None else None
    launches = [_launch(launch, plan, names, routine, extents, most) for launch in plan.launches]
    if part is not None:
        buffers = tuple(replace(b, parts=part.parts.get(b.name)) for b in buffers)
        launches = [
            launch and replace(launch, blocks=blocks)
            for launch, blocks in zip(launches, part.blocks, strict=True)
        ]
    return Job(
        ptx=ptx,
        launches=tuple(launch for launch in launches if launch is not None),
        buffers=buffers,
        check=setup.check,
        width=setup.width,
        approx=setup.approx,
        seed=setup.seed,
        guard=setup.guard,
        budget=_budget(case),
    )


def _budget(case: Case) -> int:
    """Iterations of a loop: enough for one thread to do all the work the slow way, so a hang ends soon."""
    elements = sum(array.size for array in case.inputs)
    return min(100_000_000, 1_000_000 + 4 * elements**2)


def _names(routine: Routine, signature: Signature) -> dict[str, str]:
    """Names an argument may have, and the buffer or extent each means."""
    names = {name: name for name in routine.parameters(signature.dtype)}
    if len(signature.inputs) == 1:
        names["in"] = "in0"
    return names


def sizes(routine: Routine, extents: Mapping[str, int]) -> tuple[int, ...]:
    """Element counts of the inputs, then the outputs; the catalogue writes them as products."""
    return tuple(
        math.prod(extents[factor] if factor in extents else int(factor) for factor in size.split("*"))
        for size in routine.sizes
    )


def outputs(signature: Signature) -> tuple[str, ...]:
    """Names of the output buffers."""
    count = len(signature.outputs)
    return ("out",) if count == 1 else tuple(f"out{i}" for i in range(count))


def stored(dtype: str) -> str:
    """The dtype a buffer is allocated with: a bool is a byte, so that one that is neither 0 nor 1 shows."""
    return "uint8" if dtype == "bool" else dtype


def _buffers(
    plan: Plan,
    routine: Routine,
    signature: Signature,
    case: Case,
    setup: Setup,
    extents: Mapping[str, int],
) -> tuple[Buffer, ...]:
    counts = sizes(routine, extents)
    made = []
    for i, (dtype, data, size) in enumerate(
        zip(signature.inputs, case.inputs, counts[: len(signature.inputs)], strict=True)
    ):
        name = f"in{i}"
        flat = np.ascontiguousarray(data).reshape(-1).view(stored(dtype))
        made.append(Buffer(name, stored(dtype), size, "input", flat, setup.offsets.get(name, 0)))
    for name, dtype, size in zip(outputs(signature), signature.outputs, counts[len(made) :], strict=True):
        offset = setup.offsets.get(name, 0)
        alias, poison = setup.alias, setup.poison
        made.append(Buffer(name, stored(dtype), size, "output", None, offset, alias, poison))
    made += [_scratch(buffer, extents, setup) for buffer in plan.buffers]
    return tuple(made)


def _scratch(buffer: PlanBuffer, extents: Mapping[str, int], setup: Setup) -> Buffer:
    size = _evaluate(buffer.size, extents, f"the size of buffer {buffer.name}", buffer.line)
    if size * buffer.type.bytes > SCRATCH_BYTES:
        message = f"buffer {buffer.name} has {size} elements for {_show(extents)}; scratch is at most 1 GiB"
        raise PlanError("resource-limit", message, buffer.line)
    kind = _NUMPY_KINDS.get(buffer.type.kind, "uint")
    return Buffer(buffer.name, f"{kind}{buffer.type.bits}", size, "scratch", poison=setup.poison)


def _evaluate(expression: Expr, extents: Mapping[str, int], where: str, line: int) -> int:
    try:
        value = expression.evaluate(extents)
    except PtxError as error:
        raise PlanError(
            "abi", f"{where} can't be worked out for {_show(extents)}: {error.message}", line
        ) from error
    if value < 0:
        raise PlanError("abi", f"{where} is {value} for {_show(extents)}", line)
    return value


def _show(extents: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in extents.items())


def _launch(
    launch: PlanLaunch,
    plan: Plan,
    names: Mapping[str, str],
    routine: Routine,
    extents: Mapping[str, int],
    most: int | None,
) -> Launch | None:
    """None where the grid has a zero: such a launch is skipped. most: threads, where all of them run."""
    grid = tuple(_evaluate(axis, extents, "grid", launch.line) for axis in launch.grid)
    for value, limit, axis in zip(grid, GRID_LIMITS, "xyz", strict=True):
        if value > limit:
            message = f"grid.{axis} is {value} for {_show(extents)}; at most {limit} is possible"
            raise PlanError("abi", message, launch.line)
    threads = math.prod(grid) * math.prod(launch.block)
    if most is not None and threads > most:
        message = f"the launch has {threads} threads for {_show(extents)}; at most {most} are run"
        raise PlanError("resource-limit", message, launch.line)
    if threads == 0:
        return None
    return Launch(
        entry=launch.entry,
        grid=(grid[0], grid[1], grid[2]),
        block=(launch.block[0], launch.block[1], launch.block[2]),
        args=_arguments(launch, plan, names, routine, extents),
        shared=launch.shared,
    )


def _arguments(
    launch: PlanLaunch, plan: Plan, names: Mapping[str, str], routine: Routine, extents: Mapping[str, int]
) -> tuple[str | int, ...]:
    scratch = {buffer.name for buffer in plan.buffers}
    passed: list[str | int] = []
    for argument in launch.args if launch.args is not None else tuple(names)[: _abi_length(names)]:
        text = str(argument)
        if text in extents:
            passed.append(extents[text])
        elif text in scratch:
            passed.append(text)
        elif text in names:
            passed.append(names[text])
        elif isinstance(argument, str):
            raise PlanError("abi", f"args names {text}, which means nothing here", launch.line)
        else:
            passed.append(_evaluate(argument, extents, f"argument {text}", launch.line))
    return tuple(passed)


def _abi_length(names: Mapping[str, str]) -> int:
    return len(names) - ("in" in names)


def blocks_of(plan: Plan) -> tuple[int, ...]:
    """Sizes a kernel is likely to have edges at: its blocks, and the numbers its grids divide by."""
    found: set[int] = set()
    for launch in plan.launches:
        found.add(math.prod(launch.block))
        found.update(size for size in launch.block if size > 1)
        for expression in launch.grid:
            found.update(_numbers(str(expression)))
    for buffer in plan.buffers:
        found.update(_numbers(str(buffer.size)))
    return tuple(sorted(n for n in found if 1 < n <= 1 << 20))


def _numbers(text: str) -> list[int]:
    digits = "".join(c if c.isalnum() or c == "_" else " " for c in text)
    return [int(word) for word in digits.split() if word.isdigit()]


def element_alignment(signature: Signature, plan: Plan) -> dict[str, int]:
    """The least alignment of each buffer by name, in bytes: what the plan asks for or the element's size."""
    dtypes = (*signature.inputs, *signature.outputs)
    names = (*(f"in{i}" for i in range(len(signature.inputs))), *outputs(signature))
    return {
        name: plan.align or np.dtype(stored(dtype)).itemsize
        for name, dtype in zip(names, dtypes, strict=True)
    }


def results(signature: Signature, buffers: Mapping[str, Array]) -> tuple[Array, ...]:
    """The outputs of an outcome, in the signature's order. Raises KeyError where one is missing."""
    return tuple(buffers[name] for name in outputs(signature))
