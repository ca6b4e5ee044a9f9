"""Counting the roundings between a sum's terms and the sum."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmptx.llm.library import drafts
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import parse_plan
from llmptx.routines import find
from llmptx.run.worker import Pool
from llmptx.verify.depth import only_rounds_otherwise, within
from llmptx.verify.tolerance import depth

SUM = drafts("numpy.sum", "float32")[-1]
SCAN = drafts("numpy.cumsum", "float32")[-1]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def share(
    text: str, pool: Pool, name: str = "numpy.sum", lengths: tuple[int, ...] = (1, 300, 5000)
) -> float | None:
    routine = find(name)
    return within(parse(text), parse_plan(text), routine, routine.signature("float32"), pool.run, lengths)


def test_the_depth_of_a_sum_is_what_its_text_says(pool: Pool) -> None:
    """16 additions a thread from 4096 terms on, 5 and 3 across lanes and warps, 1 rounding to float32."""
    assert share(SUM, pool, lengths=(4096,)) == pytest.approx((16 + 5 + 3 + 1 + 1) / depth(4096))


def test_other_roundings_weigh_twice(pool: Pool) -> None:
    looser = SUM.replace("add.rn.f32 %s, %s, %x", "add.rz.f32 %s, %s, %x", 1)
    assert only_rounds_otherwise(parse(SUM), parse(looser))
    assert share(looser, pool, lengths=(4096,)) == pytest.approx((2 * 16 + 5 + 3 + 1 + 1) / depth(4096))


def test_a_scan_is_counted_at_every_prefix(pool: Pool) -> None:
    found = share(SCAN, pool, "numpy.cumsum")
    assert found is not None
    assert 0 < found < 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("add.u64 %j, %j, 256", "add.u64 %j, %j, 512"),  # terms left out
        ("add.rn.f32 %s, %s, %x", "add.rn.f32 %s, %s, %s"),  # and taken twice
        ("add.rn.f32 %s, %s, %x", "max.f32 %s, %s, %x"),  # no sum
    ],
)
def test_what_is_no_plain_sum_is_not_counted(pool: Pool, old: str, new: str) -> None:
    assert old in SUM
    assert share(SUM.replace(old, new, 1), pool) is None
    assert not only_rounds_otherwise(parse(SUM), parse(SUM.replace(old, new, 1)))


def test_a_long_chain_takes_more_than_is_allowed(pool: Pool) -> None:
    """One block adds 65536 terms a line, 256 a thread."""
    chain = SUM.replace("4095", "65535").replace("4096", "65536").replace(", 12;", ", 16;")
    assert share(chain, pool, lengths=(4096,)) is not None
    assert share(chain, pool, lengths=(65536,)) is None
