"""A Job on the CPU engine, in this process: compile, place, launch, read back.

Machine code made from a candidate runs here: only a worker process should call it for text that is not
trusted.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llmptx.engine import Approx, Compiled, Place, Session, compile_entry
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY, Area
from llmptx.ptx import ast, parse
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from llmptx.run.job import Array, Buffer, Job, Launch, Outcome


@lru_cache(maxsize=64)
def _parsed(text: str) -> ast.Module:
    return parse(text)


@lru_cache(maxsize=256)
def compiled(
    text: str, entry: str, block: tuple[int, int, int], width: int, check: bool, approx: Approx
) -> Compiled:
    """An entry's machine code, kept for the next job with the same text and settings."""
    return compile_entry(_parsed(text), entry, block, width=width, check=check, approx=approx)


def run_job(job: Job) -> Outcome:
    """Runs the launches in order, as far as the first that has findings. Never raises for what the PTX does
    wrong,
    but an access outside every buffer kills the process unless `check` is set."""
    start = time.perf_counter()
    try:
        outcome = _run(job)
    except PtxError as error:
        finding = Finding("parse", error.message, line=error.span.line, column=error.span.column)
        outcome = Outcome("error", findings=(finding,))
    except MemoryError as error:
        outcome = Outcome("error", findings=(Finding("resource-limit", str(error)),))
    return replace(outcome, seconds=time.perf_counter() - start)


def _run(job: Job) -> Outcome:
    kernels = [
        (compiled(job.ptx, launch.entry, launch.block, job.width, job.check, job.approx), launch.shared)
        for launch in job.launches
    ]
    real = [b for b in job.buffers if not b.alias]
    places = [Place(b.name, b.size * np.dtype(b.dtype).itemsize, b.offset) for b in real]
    with Session(kernels, places, check=job.check, guard=job.guard) as session:
        areas = dict(session.buffers)
        areas |= {b.name: areas[b.alias] for b in job.buffers if b.alias}
        shared = {b.alias for b in job.buffers if b.alias}
        before = {b.name: _fill(session, areas[b.name], b, b.name in shared) for b in real}
        findings: list[Finding] = []
        for number, launch in enumerate(job.launches):
            args = [_argument(a, launch, areas) for a in launch.args]
            findings = session.launch(number, launch.grid, args, seed=job.seed, budget=job.budget)
            if findings:
                break
        findings += session.broken_guards()
        return _collect(job, session, areas, before, findings)


def _argument(value: str | int, launch: Launch, areas: dict[str, Area]) -> int:
    if isinstance(value, int):
        return value
    if value not in areas:
        raise PtxError(f"{launch.entry} is passed {value}, which is no buffer")
    return areas[value].start


def _fill(session: Session, area: Area, buffer: Buffer, aliased: bool) -> Array | None:
    """Contents before the launch, and the shadow; returns the input's bytes to compare with afterwards."""
    memory = session.arena.bytes(area)
    if buffer.data is None:
        memory[:] = buffer.poison
        session.arena.mark(area, ADDRESSABLE)
        return None
    data = np.ascontiguousarray(buffer.data)
    memory[:] = data.view(np.uint8).reshape(-1)
    fixed = READ_ONLY if buffer.role == "input" and not aliased else 0
    session.arena.mark(area, ADDRESSABLE | INITIALISED | fixed)
    return data if buffer.role == "input" and not aliased else None


def _collect(
    job: Job,
    session: Session,
    areas: dict[str, Area],
    before: dict[str, Array | None],
    findings: list[Finding],
) -> Outcome:
    buffers: dict[str, Array] = {}
    unwritten: dict[str, NDArray[np.bool_]] = {}
    changed = []
    for buffer in job.buffers:
        memory = session.arena.bytes(areas[buffer.name])
        kept = before.get(buffer.name)
        if kept is not None and not np.array_equal(memory, kept.view(np.uint8).reshape(-1)):
            changed.append(buffer.name)
        if buffer.role != "input":
            buffers[buffer.name] = memory.view(np.dtype(buffer.dtype)).copy()
            if job.check and buffer.role == "output":
                states = session.arena.states(areas[buffer.name])
                written = (states & INITIALISED).astype(bool).reshape(-1, np.dtype(buffer.dtype).itemsize)
                unwritten[buffer.name] = np.logical_not(written.all(axis=1))
    named = tuple(_with_element(f, job) for f in findings)
    return Outcome("findings" if named else "ok", buffers, named, tuple(changed), unwritten)


def _with_element(finding: Finding, job: Job) -> Finding:
    for buffer in job.buffers:
        if buffer.name == finding.buffer and finding.address is not None:
            return replace(finding, element=finding.address // np.dtype(buffer.dtype).itemsize)
    return finding
