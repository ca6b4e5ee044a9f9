"""Honest kernels the judge must take: all of the offline library, and what NVIDIA's compiler writes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.judge.measure import Journal, Row, stages
from benchmarks.judge.tasks import task
from llmptx.llm.library import drafts
from llmptx.routines import catalog
from llmptx.run.worker import Pool
from llmptx.verify.judge import verify

OFFLINE, COMPILED = "control, by hand", "control, compiled"


def controls(journal: Journal, pool: Pool) -> Iterator[Row]:
    """Judges each control the journal does not have yet."""
    for kind, name, routine, dtype, text in (*_offline(), *_compiled()):
        if (name, kind) in journal.rows:
            continue
        verify(text, routine, dtype, "quick", pool=pool)  # the worker has it compiled now: it is warm
        began = time.perf_counter()
        verdict = verify(text, routine, dtype, pool=pool)
        row = Row(
            task=name,
            group=task(routine, dtype).group,
            kind=kind,
            line=0,
            what="",
            hash=kind,
            outcome="survived" if verdict.passed else "killed",
            message=verdict.findings[0].message if verdict.findings else "",
            seconds=round(time.perf_counter() - began, 4),
            stages=stages(verdict),
        )
        journal.add(row)
        yield row


def _offline() -> Iterator[tuple[str, str, str, str, str]]:
    for routine in catalog().values():
        for signature in routine.signatures:
            if texts := drafts(routine.name, signature.dtype):
                name = f"{routine.name} {signature.dtype}"
                yield OFFLINE, name, routine.name, signature.dtype, texts[-1]


def _compiled() -> Iterator[tuple[str, str, str, str, str]]:
    """None where the compiler is not installed."""
    try:
        from cuda.bindings import nvrtc  # noqa: F401
    except ImportError:
        return
    from benchmarks.judge.compiled import compiled
    from tests.meta.nvcc import ptx_of

    for number, source in enumerate(compiled(), 1):
        name = f"{source.routine} {source.dtype} ({number})"
        yield COMPILED, name, source.routine, source.dtype, ptx_of(source)
