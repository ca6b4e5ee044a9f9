"""Proofs by a block's threads in step: what must be the same, and what must not."""

from __future__ import annotations

import pytest

from llmptx.llm.library import drafts
from llmptx.ptx.ast import Function
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import parse_plan
from llmptx.verify.lockstep import same
from tests.verify.kernels import changed

pytest.importorskip("z3", reason="z3-solver is not installed")

MAX = drafts("numpy.max", "int32")[-1]
COUNTED = changed(
    MAX,
    ("    add.u64 %j, %j, 256;\n", "    add.u64 %j, %j, 256;\n    add.s32 %x, %x, 1;\n"),
    ("    ld.global.s32 %x, [%a];\n", ""),
    ("    max.s32 %best, %best, %x;\n    add.u64 %a", "    add.u64 %a"),
    ("    shfl.sync.bfly.b32 %x, %best, 16, 31, 0xffffffff;\n", "    mov.b32 %slot, %x;\n"),
    ("    @%first st.global.s32 [%a], %best", "    @%first st.global.s32 [%a], %slot"),
    ("    @%p st.shared.s32 [%slot], %best;\n", ""),
)
SUM = drafts("numpy.sum", "float32")[-1]
MATMUL = drafts("numpy.matmul", "float32")[-1]


def proved(original: str, mutant: str) -> bool:
    pairs = zip(parse(original).items, parse(mutant).items, strict=True)
    differing = [(a, b) for a, b in pairs if a != b]
    assert differing
    plan = parse_plan(original)
    return all(isinstance(a, Function) and isinstance(b, Function) and same(a, b, plan) for a, b in differing)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        # after a butterfly all lanes hold the same, so whichever of them stores it
        (MAX, "    @%p st.shared", "    @!%p st.shared"),
        (MAX, "setp.eq.u32 %p, %lane, 0", "setp.eq.u32 %p, %lane, 5"),
        (MAX, "and.b32 %lane, %t, 31", "and.b32 %lane, %t, 30"),
        (MAX, "    @%first st.global", "    @!%first st.global"),
        # 24, 12, 6, 3 and 1 apart reach all lanes too
        (MAX, "bfly.b32 %x, %best, 16, 31", "bfly.b32 %x, %best, 24, 31"),
        # a sum of two floats is the same either way round
        (SUM, "add.rn.f32 %s, %s, %x", "add.rn.f32 %s, %x, %s"),
        # a sign that never shows
        (MATMUL, "cvt.u64.u32 %x64", "cvt.u64.s32 %x64"),
    ],
)
def test_the_same_is_proved(text: str, old: str, new: str) -> None:
    assert proved(text, text.replace(old, new, 1) if old in text else changed(text, (old, new)))


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        # without its last step a butterfly leaves two answers
        (MAX, "    shfl.sync.bfly.b32 %x, %best, 1, 31, 0xffffffff;\n    max.s32 %best, %best, %x;\n", ""),
        (MAX, "bfly.b32 %x, %best, 16, 31", "bfly.b32 %x, %best, 8, 31"),
        (MAX, "max.s32", "min.s32"),
        # a barrier dropped, or on the other side of a store
        (MAX, "    bar.sync 0;\n    ld.shared", "    ld.shared"),
        (
            MAX,
            "    bar.sync 0;\n    ld.shared.s32 %best, [%mine];\n",
            "    ld.shared.s32 %best, [%mine];\n    bar.sync 0;\n",
        ),
        # no thread, another place, another way
        (MAX, "setp.eq.u32 %p, %lane, 0", "setp.eq.u32 %p, %lane, 32"),
        (MAX, "and.b32 %mine, %t, 7", "and.b32 %mine, %t, 3"),
        (MAX, "    @%first st.global.s32 [%a], %best", "    @!%first st.global.s32 [%a], %x"),
        # how often a thread went round is its own
        (COUNTED, "    @%first st.global", "    @!%first st.global"),
        (MAX, "add.u64 %j, %j, 256", "add.u64 %j, %j, 255"),
        (MAX, "setp.ge.u64 %p, %j, %n", "setp.gt.u64 %p, %j, %n"),
        # sums of floats have an order
        (SUM, "bfly.b32 %x, %s, 16, 31", "bfly.b32 %x, %s, 24, 31"),
        (SUM, "add.rn.f32", "add.rz.f32"),
        (MATMUL, "fma.rn.f32", "fma.rz.f32"),
    ],
)
def test_what_is_not_the_same_or_not_known_is_not_proved(text: str, old: str, new: str) -> None:
    assert old in text
    assert not proved(text, text.replace(old, new, 1))


def test_stores_of_other_threads_count_where_not_all_are_known_to_be_there() -> None:
    """Before any shuffle or barrier a thread alone may have come so far."""
    early = "    mov.s32 %best, 7;\n    @%first st.shared.s32 [%slot], %best;\nLOAD:\n"
    text = changed(MAX, ("LOAD:\n", early.replace("mov.s32", "mov.b32")))
    assert not proved(text, text.replace("@%first st.shared", "@!%first st.shared"))
