"""A Job on the CPU engine, in this process: compile, place, launch, read back.

Machine code made from a candidate runs here: only a worker process should call it for text that is not
trusted.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llmptx.engine import Approx, Compiled, Place, Prepared, Session, compile_entry, machine, prepare
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY, Area
from llmptx.engine.profile import Profile
from llmptx.engine.trace import Trace
from llmptx.ptx import ast, parse
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from llmptx.run.job import MAX_PRINTED, Array, Buffer, Job, Launch, Outcome

_WARM = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry warm(.param .u64 out)
{
    .reg .b32 %r<3>;
    .reg .b64 %a<3>;
    .shared .align 4 .b32 part[32];
    mov.u32 %r0, %tid.x;
    mov.u32 %r2, %ctaid.x;
    mul.wide.u32 %a0, %r0, 4;
    mov.u64 %a1, part;
    add.u64 %a1, %a1, %a0;
    ex2.approx.f32 %r1, %r0;
    st.shared.b32 [%a1], %r1;
    bar.sync 0;
    ld.shared.b32 %r1, [%a1];
    ld.param.u64 %a2, [out];
    mad.wide.u32 %a2, %r2, 128, %a2;
    add.u64 %a2, %a2, %a0;
    st.global.b32 [%a2], %r1;
    ret;
}
"""


def warm_up() -> Iterator[None]:
    """Runs a kernel of ours once in every mode: what Python and LLVM load on first use is loaded then.

    Returns what may wait: each step makes one of the functions that checked kernels call, 20 ms that no
    candidate pays for then.
    """
    import numpy.ma  # noqa: F401 (numpy itself asks for it when it shuffles)

    launch = Launch("warm", (2, 1, 1), (32, 1, 1), ("out",))
    plain = Job(_WARM, (launch,), (Buffer("out", "float32", 64, "output"),), seed=0)
    for job in (plain, replace(plain, check=True), replace(plain, width=1, approx="low")):
        outcome = run_job(job)
        assert outcome.status == "ok", outcome.findings
    compiled.cache_clear()
    prepared.cache_clear()
    _parsed.cache_clear()
    return machine.checks_to_come()


# Threads or elements. Made briefly, code runs about half as fast: 0.2 ns an element, and 5 ms saved.
BRIEF_WORK = 1 << 20

Index = tuple[int, int, int]
Hook = Callable[[Session, int], None]


@lru_cache(maxsize=64)
def _parsed(text: str) -> ast.Module:
    return parse(text)


@lru_cache(maxsize=256)
def prepared(
    text: str, entry: str, block: tuple[int, int, int], width: int, check: bool, approx: Approx
) -> Prepared:
    """An entry lowered, kept for the next job with the same text and settings."""
    return prepare(_parsed(text), entry, block, width=width, check=check, approx=approx)


@lru_cache(maxsize=256)
def compiled(
    text: str,
    entry: str,
    block: tuple[int, int, int],
    width: int,
    check: bool,
    approx: Approx,
    brief: bool = False,
) -> Compiled:
    """An entry's machine code, kept as well. Never on disk: whoever runs candidates trusts no file."""
    return prepared(text, entry, block, width, check, approx).compiled(brief)


def _brief(job: Job) -> bool:
    """Whether the job is so small that its code is better made fast than made well."""
    if job.keep:
        return False
    threads = (math.prod(launch.grid) * math.prod(launch.block) for launch in job.launches)
    return max(sum(threads), sum(buffer.size for buffer in job.buffers)) < BRIEF_WORK


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


def profiled(job: Job) -> tuple[Outcome, tuple[Profile, ...]]:
    """As `run_job` under all sanitizers, which nothing escapes, and what every launch did that was begun.

    Raises PtxError for what the engine does not run.
    """
    job = replace(job, check=True, keep=False)
    tree = _parsed(job.ptx)
    kernels = [
        (
            compile_entry(
                tree, each.entry, each.block, width=job.width, check=True, approx=job.approx, profile=True
            ),
            each.shared,
        )
        for each in job.launches
    ]
    profiles: list[Profile] = []
    after: Hook = lambda session, number: profiles.append(session.profile(number))  # noqa: E731
    return _launched(job, kernels, after=after), tuple(profiles)


def traced(
    job: Job, lanes: Sequence[tuple[Index, Index] | None], limit: int
) -> tuple[Outcome, tuple[Trace, ...]]:
    """As `run_job` under all sanitizers and one thread at a time, and what one thread of every launch did.

    lanes: by launch, (block, thread), or None where nobody is listened to; limit: steps of them all.
    Raises PtxError for what the engine does not run.
    """
    job = replace(job, check=True, keep=False, width=1)
    tree = _parsed(job.ptx)
    kernels = [
        (
            compile_entry(tree, each.entry, each.block, width=1, check=True, approx=job.approx, trace=True),
            each.shared,
        )
        for each in job.launches
    ]
    traces: list[Trace] = []

    def listen(session: Session, number: int) -> None:
        lane = lanes[number]
        if lane is not None:
            session.listen(number, *lane, max(0, limit - sum(len(t.steps) for t in traces)))

    def heard(session: Session, number: int) -> None:
        if (lane := lanes[number]) is not None:
            traces.append(Trace(job.launches[number].entry, *lane, *session.trace(number)))

    return _launched(job, kernels, listen, heard), tuple(traces)


def _run(job: Job) -> Outcome:
    brief = _brief(job)
    kernels = [
        (
            compiled(job.ptx, launch.entry, launch.block, job.width, job.check, job.approx, brief),
            launch.shared,
        )
        for launch in job.launches
    ]
    return _launched(job, kernels)


def _launched(
    job: Job, kernels: list[tuple[Compiled, int]], before: Hook | None = None, after: Hook | None = None
) -> Outcome:
    real = [b for b in job.buffers if not b.alias]
    places = [Place(b.name, b.size * np.dtype(b.dtype).itemsize, b.offset) for b in real]
    with _session(job, kernels, places) as session:
        areas = dict(session.buffers)
        areas |= {b.name: areas[b.alias] for b in job.buffers if b.alias}
        shared = {b.alias for b in job.buffers if b.alias}
        kept = {b.name: _fill(session, areas[b.name], b, b.name in shared) for b in real}
        findings: list[Finding] = []
        for number, launch in enumerate(job.launches):
            args = [_argument(a, launch, areas) for a in launch.args]
            if before is not None:
                before(session, number)
            findings = session.launch(
                number, launch.grid, args, seed=job.seed, budget=job.budget, blocks=launch.blocks
            )
            if after is not None:
                after(session, number)
            if findings:
                break
        findings += session.broken_guards()
        outcome = _collect(job, session, areas, kept, findings)
        outcome = replace(outcome, printed=_cut(session.printed()), notes=tuple(session.notes()))
    if findings:
        _forget()  # its guards may be broken
    return outcome


_kept: tuple[object, Session] | None = None


@contextlib.contextmanager
def _session(job: Job, kernels: list[tuple[Compiled, int]], places: list[Place]) -> Iterator[Session]:
    """Memory for a job; that of the last one where both asked to keep it and it is laid out alike.

    Fresh pages cost more than filling them, and far more than running a cheap kernel over them.
    """
    global _kept
    layout = ([(id(kernel), shared) for kernel, shared in kernels], places, job.check, job.guard)
    if _kept is not None and not (job.keep and _kept[0] == layout):
        _forget()
    if not job.keep:
        with Session(kernels, places, check=job.check, guard=job.guard) as session:
            yield session
        return
    if _kept is None:
        _kept = (layout, Session(kernels, places, check=job.check, guard=job.guard))
    yield _kept[1]


def _forget() -> None:
    global _kept
    if _kept is not None:
        _kept[1].close()
        _kept = None


def _argument(value: str | int, launch: Launch, areas: dict[str, Area]) -> int:
    if isinstance(value, int):
        return value
    if value not in areas:
        raise PtxError(f"{launch.entry} is passed {value}, which is no buffer")
    return areas[value].start


def _fill(session: Session, area: Area, buffer: Buffer, aliased: bool) -> Array | None:
    """Contents before the launch, and the shadow; returns the input's bytes to compare with afterwards."""
    memory = session.arena.bytes(area)
    fixed = READ_ONLY if buffer.role == "input" and not aliased else 0
    contents, pieces = buffer.contents(), _pieces(buffer)
    if contents is None:
        for piece in pieces:
            memory[piece] = buffer.poison
        session.arena.mark(area, ADDRESSABLE, pieces)
        return None
    data = np.ascontiguousarray(contents)
    raw, at = data.view(np.uint8).reshape(-1), 0
    for piece in pieces:
        size = piece.stop - piece.start
        memory[piece] = raw[at : at + size]
        at += size
    session.arena.mark(area, ADDRESSABLE | INITIALISED | fixed, pieces)
    return data if buffer.role == "input" and not aliased else None


def _pieces(buffer: Buffer) -> list[slice]:
    """The bytes that are there."""
    size = np.dtype(buffer.dtype).itemsize
    parts = ((0, buffer.size),) if buffer.parts is None else buffer.parts
    return [slice(size * first, size * (first + count)) for first, count in parts]


def _gathered(memory: Array, pieces: list[slice]) -> Array:
    if len(pieces) == 1:
        return memory[pieces[0]]
    return np.concatenate([memory[piece] for piece in pieces]) if pieces else memory[:0]


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
        pieces = _pieces(buffer)
        memory = _gathered(session.arena.bytes(areas[buffer.name]), pieces)
        kept = before.get(buffer.name)
        if kept is not None and not np.array_equal(_words(memory), _words(kept)):
            changed.append(buffer.name)
        if buffer.role != "input":
            values = memory.view(np.dtype(buffer.dtype))
            buffers[buffer.name] = values if job.keep and not findings else values.copy()
            if job.check and buffer.role == "output":
                states = _gathered(session.arena.states(areas[buffer.name]), pieces)
                written = (states & INITIALISED).astype(bool).reshape(-1, np.dtype(buffer.dtype).itemsize)
                unwritten[buffer.name] = np.logical_not(written.all(axis=1))
    named = tuple(_with_element(f, job) for f in findings)
    return Outcome("findings" if named else "ok", buffers, named, tuple(changed), unwritten)


def _cut(text: str) -> str:
    """At most MAX_PRINTED characters, the last of them saying so where there were more."""
    said = "\n[printf: the rest is not kept]\n"
    return text if len(text) <= MAX_PRINTED else text[: MAX_PRINTED - len(said)] + said


def _words(array: Array) -> Array:
    """The bytes of an array, eight at a time where they come out even."""
    raw = array.reshape(-1).view(np.uint8)
    return raw if raw.size % 8 else raw.view(np.uint64)


def _with_element(finding: Finding, job: Job) -> Finding:
    for buffer in job.buffers:
        if buffer.name == finding.buffer and finding.address is not None:
            return replace(finding, element=finding.address // np.dtype(buffer.dtype).itemsize)
    return finding
