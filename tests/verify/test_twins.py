"""A function cut out of its kernel, and two of them tried beside each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from llmptx.llm.library import drafts
from llmptx.ptx.parser import parse
from llmptx.run.worker import Pool
from llmptx.verify.cut import Cut, cut
from llmptx.verify.twins import CHUNK, GROUP, UNLIKE, affected, comparable, differences
from tests.verify.kernels import ADD, changed

EXP = drafts("numpy.exp", "float32")[-1]
SIN = drafts("numpy.sin", "float32")[-1]
LAST = "mul.rn.f32 %result, %q, %s2"
# From 1.0 on, and as many as are tried at least.
SPAN = (0x3F800000 // (CHUNK * GROUP) * CHUNK * GROUP, (0x3F800000 // (CHUNK * GROUP) + 1) * CHUNK * GROUP)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def of(text: str, *pairs: tuple[str, str]) -> Cut:
    found = cut(parse(changed(text, *pairs)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (ADD, "add.rn", "sub.rn"),  # two loads
        (EXP, LAST, "cvt.rn.f32.u64 %result, %i"),  # it sees its index
        (EXP, "    mov.b32 %ki, %k;\n", ""),  # it reads what it never wrote
        (EXP, "add.s64 %dst, %dst, %off", "add.s64 %dst, %dst, %off;\n    mov.b64 %off, 0"),
        (EXP, LAST, "mul.rn.f32 %result, %q, %s2;\n    @%p ret"),
        (EXP, LAST, "mul.rn.f32 %result, %q, %s2;\n    bar.sync 0"),
    ],
)
def test_what_is_no_function_of_its_value_alone_is_not_cut(text: str, old: str, new: str) -> None:
    found = cut(parse(changed(text, (old, new))))
    assert found is None or not comparable(of(EXP), found)


def test_kernels_that_differ_elsewhere_are_not_compared() -> None:
    assert comparable(of(EXP), of(EXP, (LAST, "mul.rz.f32 %result, %q, %s2")))
    assert not comparable(of(EXP), of(EXP, ("shl.b64 %off, %i, 2", "shl.b64 %off, %i, 3")))
    assert not comparable(of(EXP), of(EXP, ("setp.ge.u64 %out_of_range", "setp.gt.u64 %out_of_range")))
    assert comparable(of(SIN), of(SIN, ("shl.b32 %sign, %sign, 30", "shl.b32 %sign, %sign, 29")))
    assert not comparable(of(SIN), of(SIN, ("shr.u32 %e, %e, 5", "shr.u32 %e, %e, 4"))), "other table places"


def test_every_value_on_which_two_functions_differ_is_told(pool: Pool) -> None:
    """exp and twice exp: answers are one binade apart, but for those that overflow."""
    one, other = of(EXP), of(EXP, (LAST, f"{LAST};\n    add.rn.f32 %result, %result, %result"))
    same, chunks = affected(one, [one, other], pool.run, span=SPAN)
    assert same == []
    found = list(differences(one, other, pool.run, chunks[:1]))
    values = np.concatenate([d.values for d in found])
    answers = np.concatenate([d.answers for d in found]).view(np.float32)
    assert values.size == CHUNK
    expected = 2 * np.exp(values.astype(np.float64))
    assert np.abs(answers / expected - 1).max() < 4e-7
    assert {int(s) for d in found for s in d.steps} == {1 << 23}


def test_tables_are_read_where_the_function_reads_them(pool: Pool) -> None:
    """Angles beyond 2^16 are reduced with the digits of 2/pi."""
    half = of(SIN, ("0d3C1921FB54442D18", "0d3C0921FB54442D18"))
    assert affected(of(SIN), [of(SIN)], pool.run, span=(0x48000000, 0x48000000 + CHUNK * GROUP)) == [[]]
    (found,) = differences(of(SIN), half, pool.run, [0x4B000000])
    assert found.values.size > 0.99 * CHUNK


def test_chunks_without_a_difference_are_left_out(pool: Pool) -> None:
    from_two = of(
        EXP, (LAST, f"{LAST};\n    setp.ge.f32 %p, %x, 0f40000000;\n    @%p neg.f32 %result, %result")
    )
    (chunks,) = affected(of(EXP), [from_two], pool.run, span=(SPAN[0], SPAN[0] + CHUNK * GROUP))
    assert chunks == list(range(0x40000000, SPAN[1], CHUNK))


def test_nan_and_the_other_zero_are_unlike_any_number(pool: Pool) -> None:
    to_nan = of(EXP, (LAST, f"{LAST};\n    mov.f32 %result, 0f7FC00000"))
    (found,) = differences(of(EXP), to_nan, pool.run, [0x3F800000])
    assert set(found.steps.tolist()) == {UNLIKE}
    zero, minus = (
        of(EXP, (LAST, f"{LAST};\n    mov.f32 %result, {z}")) for z in ("0f00000000", "0f80000000")
    )
    (found,) = differences(zero, minus, pool.run, [0x3F800000])
    assert set(found.steps.tolist()) == {UNLIKE}
    (found,) = differences(
        to_nan, of(EXP, (LAST, f"{LAST};\n    mov.f32 %result, 0f7FFFFFFF")), pool.run, [0]
    )
    assert found.values.size == 0, "one NaN is as good as another"
