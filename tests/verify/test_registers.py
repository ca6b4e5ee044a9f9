"""Registers read before they are written: found, and judged by whether it shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmptx.llm.library import drafts
from llmptx.ptx.parser import parse
from llmptx.run.worker import Pool
from llmptx.verify.judge import verify
from llmptx.verify.registers import guessed
from tests.verify.kernels import ADD, changed

LINE = "    add.rn.f32 %f2, %f0, %f1;\n"
FMAX = drafts("numpy.fmax", "float32")[-1]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", set()),
        ("    add.s32 %r3, %r3, 1;\n", {"%r3"}),
        ("    mov.b32 %r3, 0;\n    add.s32 %r3, %r3, 1;\n", set()),
        ("    @%p mov.b32 %r3, 0;\n    @%p add.s32 %r3, %r3, 1;\n", set()),
        ("    @%p bra X;\n    mov.b32 %r3, 0;\nX:\n    add.s32 %r3, %r3, 1;\n", {"%r3"}),
        ("X:\n    add.s32 %r3, %r3, 1;\n    @%p bra X;\n", {"%r3"}),
        ("    mov.b32 %r3, 0;\nX:\n    add.s32 %r3, %r3, 1;\n    @%p bra X;\n", set()),
        ("    bra X;\n    add.s32 %r3, %r3, 1;\nX:\n", set()),
    ],
)
def test_what_some_way_reads_unwritten_is_found(before: str, expected: set[str]) -> None:
    assert guessed(parse(changed(ADD, (LINE, before + LINE)))) == expected


def test_a_counter_that_starts_at_whatever_was_there_is_found(pool: Pool) -> None:
    """From zero it runs on past its own share, and all is right but by luck."""
    verdict = verify(
        changed(FMAX, ("    mov.u32            %left, 4;\n", "")), "numpy.fmax", "float32", pool=pool
    )
    assert [s.name for s in verdict.stages if not s.passed] == ["memory"]
    assert {f.kind for f in verdict.findings} == {"uninitialized-read"}
    assert "%left" in verdict.findings[0].message


def test_an_unwritten_register_that_never_shows_is_no_fault(pool: Pool) -> None:
    idle = changed(ADD, (LINE, f"    add.s32 %r3, %r3, 1;\n{LINE}"))
    assert verify(idle, "numpy.add", "float32", pool=pool).passed
