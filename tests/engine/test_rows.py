"""Every row on the engine, a warp and a thread at a time, against the scalar reference, bit for bit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from llmptx.run.cpu import run_job
from tests.engine.rows import CHAPTERS, Kernel, Shot, guarded, rows, shots

BATCH = 50


def wrong(every: Sequence[Shot], count: int) -> list[str]:
    """What either width gets wrong."""
    found = []
    for at in range(0, len(every), BATCH):
        kernel = Kernel(every[at : at + BATCH], count)
        for width in (32, 1):
            outcome = run_job(kernel.job(width))
            assert outcome.status == "ok", (outcome.findings, kernel.text)
            found += [f"width {width}: {text}" for text in kernel.wrong(outcome.buffers["out"])]
    return found


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_instructions_give_the_bits_of_the_scalar_reference(chapter: str) -> None:
    assert not wrong(list(shots(chapter, cap=5, count=128)), 128)


@pytest.mark.slow
@pytest.mark.parametrize(("chapter", "seed"), list(itertools.product(CHAPTERS, (1, 2))))
def test_all_modifiers_with_more_operands(chapter: str, seed: int) -> None:
    assert not wrong(list(shots(chapter, cap=200, count=512, seed=seed)), 512)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_where_the_guard_is_false_destinations_keep_what_they_held(chapter: str) -> None:
    draw = random.Random(chapter)
    assert not wrong([guarded(s, draw) for s in shots(chapter, cap=1, count=64)], 64)


def test_the_checked_mode_gives_the_same_bits() -> None:
    kernel = Kernel(list(shots("logic", cap=2, count=128)), 128)
    for width in (32, 1):
        outcome = run_job(kernel.job(width, check=True))
        assert outcome.status == "ok", outcome.findings
        assert not kernel.wrong(outcome.buffers["out"])


def test_every_chapter_but_those_of_threads_is_here() -> None:
    """Rows with memory, threads or labels have tests of their own."""
    assert sum(len(rows(chapter)) for chapter in CHAPTERS) > 180
