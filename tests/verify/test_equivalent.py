"""Proofs: what z3 must find to be the same, and what it must not."""

from __future__ import annotations

import pytest

from llmptx.verify.equivalent import proved
from tests.meta.attacks import SUM
from tests.verify.kernels import ADD, changed

pytest.importorskip("z3", reason="z3-solver is not installed")

NARROW = "    and.b32 %r3, %r2, 31;\n    mov.b32 %f2, %r3;\n    st.global.f32 [%rd5], %f2;\n"
LANE = changed(ADD, ("    st.global.f32 [%rd5], %f2;\n", NARROW))
COUNTING = changed(
    SUM,
    ("mov.u32 %r2, 64;", "mov.u32 %r2, 1;"),
    ("shr.u32 %r2, %r2, 1;", "add.u32 %r2, %r2, 1;"),
    ("setp.ne.u32 %p, %r2, 0;", "setp.lt.u32 %p, %r2, 64;"),
)
GROWING = changed(SUM, ("shr.u32 %r2, %r2, 1", "mul.lo.u32 %r2, %r2, 3"))

ONES = """    mov.f32 %f2, %f1;
    setp.gt.f32 %p, %f0, 0f3F800000;
    @%p mov.f32 %f2, %f0;
"""
NAN_APART = """    mov.f32 %f2, 0f7FFFFFFF;
    setp.nan.f32 %p, %f0, %f1;
    @%p bra STORE;
    add.rn.f32 %f2, %f0, %f1;
STORE:
"""
# A loop that leaves fewer bits than a float has digits, converted.
ROUNDED = changed(
    ADD,
    (
        "    add.rn.f32 %f2, %f0, %f1;\n",
        "    mov.b32 %r2, %f0;\nAGAIN:\n    shr.u32 %r2, %r2, 1;\n    and.b32 %r3, %r2, 16777215;\n"
        "    setp.gt.u32 %p, %r2, 7;\n    @%p bra AGAIN;\n    cvt.rn.f32.u32 %f2, %r3;\n",
    ),
)

MAX_LINE = "    max.NaN.f32 %f2, %f0, %f1;\n"
MAXIMUM = changed(ADD, ("    add.rn.f32 %f2, %f0, %f1;\n", MAX_LINE))
# max.NaN by compare and select: the greater, +0 of two zeros, NaN if either is.
STEPS = """    mov.f32 %f2, %f1;
    setp.gt.f32 %p, %f0, %f1;
    @%p mov.f32 %f2, %f0;
    setp.neu.f32 %p, %f0, %f1;
    @%p bra OTHER;
    mov.b32 %r2, %f0;
    mov.b32 %r3, %f1;
    and.b32 %r2, %r2, %r3;
    mov.b32 %f2, %r2;
OTHER:
    setp.nan.f32 %p, %f0, %f1;
    @%p mov.f32 %f2, 0f7FFFFFFF;
"""


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        # a thread's number is below its block's size, so neither sign nor width shows
        (ADD, "cvt.u64.u32 %rd0, %r2", "cvt.s64.s32 %rd0, %r2"),
        (ADD, "cvt.u64.u32 %rd0, %r2", "cvt.u64.u8 %rd0, %r2"),
        (ADD, "mul.wide.u32 %rd1, %r0, %r1", "mul.wide.s32 %rd1, %r0, %r1"),
        # the plan says how many blocks there are
        (ADD.replace("ceil_div(n,256)", "65536"), "mul.wide.u32 %rd1, %r0", "mul.wide.s32 %rd1, %r0"),
        # extents are below 2^47, and so is what they bound
        (ADD, "setp.ge.u64 %p, %rd0, %rd2", "setp.ge.s64 %p, %rd0, %rd2"),
        (ADD, "shl.b64 %rd6, %rd0, 2", "mul.lo.u64 %rd6, %rd0, 4"),
        (LANE, "and.b32 %r3, %r2, 31", "rem.u32 %r3, %r2, 32"),
        # the block has 256 threads
        (LANE, "and.b32 %r3, %r2, 31", "and.b32 %r3, %r2, 1055"),
        (LANE.replace("and.b32 %r3, %r2, 31", "add.s32 %r3, %r2, 31"), "add.s32", "add.sat.s32"),
        # halves in each round of a loop: its sign never shows
        (SUM, "setp.ge.u32 %p, %r1, %r2", "setp.ge.s32 %p, %r1, %r2"),
        (SUM, "shr.u32 %r2, %r2, 1", "shr.s32 %r2, %r2, 1"),
        # counts up, and no further than it is let
        (COUNTING, "setp.lt.u32 %p, %r2, 64", "setp.lt.s32 %p, %r2, 64"),
        # in whichever order
        (ADD, "add.rn.f32 %f2, %f0, %f1", "add.rn.f32 %f2, %f1, %f0"),
        # the same accesses by another way
        (ADD, "add.u64 %rd3, %rd3, %rd6;\n", "add.u64 %rd3, %rd3, %rd6;\n    mov.u32 %r2, 7;\n"),
        (ADD, "    @%p bra DONE;\n", "    @%p ret;\n"),
        (MAXIMUM, MAX_LINE, STEPS),
        # what comes of NaN is NaN, and of a number of few digits nothing is rounded
        (ADD, "    add.rn.f32 %f2, %f0, %f1;\n", NAN_APART),
        (ROUNDED, "cvt.rn.f32.u32", "cvt.rp.f32.u32"),
        # no subnormal is above one
        (
            changed(MAXIMUM, (MAX_LINE, ONES)),
            "setp.gt.f32 %p, %f0, 0f3F800000",
            "setp.gt.ftz.f32 %p, %f0, 0f3F800000",
        ),
        # a branch before was not taken
        (SUM, "    mad.lo.u64 %rd9, %rd9, %rd3, %rd7;\n", "    mad.lo.s64 %rd9, %rd9, %rd3, %rd7;\n"),
    ],
)
def test_the_same_is_proved(text: str, old: str, new: str) -> None:
    assert proved(text, changed(text, (old, new)))


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (ADD.replace("256", "512"), "cvt.u64.u32 %rd0, %r2", "cvt.u64.u8 %rd0, %r2"),
        (ADD, "setp.ge.u64 %p, %rd0, %rd2", "setp.gt.u64 %p, %rd0, %rd2"),
        (ADD, "shl.b64 %rd6, %rd0, 2", "shl.b64 %rd6, %rd0, 3"),
        (ADD, "add.u64 %rd3, %rd3, %rd6", "sub.u64 %rd3, %rd3, %rd6"),
        (LANE, "and.b32 %r3, %r2, 31", "and.b32 %r3, %r2, 63"),
        (LANE.replace("and.b32 %r3, %r2, 31", "add.s32 %r3, %r0, 31"), "add.s32", "add.sat.s32"),
        # halves in each round of a loop, but not to 0 before the last
        (SUM, "shr.u32 %r2, %r2, 1", "shr.u32 %r2, %r2, 0"),
        (GROWING, "setp.ge.u32 %p, %r1, %r2", "setp.ge.s32 %p, %r1, %r2"),
        # of sums of floats little is known but that they are of their operands
        (ADD, "add.rn.f32 %f2, %f0, %f1", "add.rn.f32 %f2, %f1, %f1"),
        (ADD, "add.rn.f32 %f2, %f0, %f1", "add.rz.f32 %f2, %f0, %f1"),
        # a load more, a store less, another place, another value, another plan, another guard
        (ADD, "    ld.global.f32 %f1", "    ld.global.f32 %f2, [%rd3+4];\n    ld.global.f32 %f1"),
        (ADD, "    st.global.f32 [%rd5], %f2;\n", ""),
        (ADD, "st.global.f32 [%rd5], %f2", "st.global.f32 [%rd5+4], %f2"),
        (ADD, "st.global.f32 [%rd5], %f2", "st.global.f32 [%rd5], %f1"),
        (ADD, "    ld.param.u64 %rd5, [out];\n", ""),
        (MAXIMUM, "max.NaN.f32", "max.f32"),
        (MAXIMUM, "max.NaN.f32", "min.NaN.f32"),
        (changed(MAXIMUM, (MAX_LINE, STEPS)), "setp.gt.f32", "setp.gt.ftz.f32"),
        (MAXIMUM, MAX_LINE, STEPS.replace("setp.neu", "setp.equ")),
        (MAXIMUM, MAX_LINE, STEPS.replace("@%p mov.f32 %f2, %f0;", "mov.f32 %f2, %f0;")),
        (ADD, "    add.rn.f32 %f2, %f0, %f1;\n", NAN_APART.replace("setp.nan", "setp.gt")),
        (
            ROUNDED.replace("and.b32 %r3, %r2, 16777215", "mov.b32 %r3, %f0"),
            "cvt.rn.f32.u32",
            "cvt.rp.f32.u32",
        ),
        (ADD, "ceil_div(n,256)", "ceil_div(n,255)"),
        (ADD, "@%p bra DONE", "@!%p bra DONE"),
    ],
)
def test_what_is_not_the_same_or_not_known_is_not_proved(text: str, old: str, new: str) -> None:
    assert not proved(text, changed(text, (old, new)))


def test_a_register_written_again_in_a_loop_is_not_taken_for_its_first_value() -> None:
    once = changed(
        ADD,
        ("DONE:\n", "    add.u32 %r2, %r2, 70000;\n    bra AGAIN;\nDONE:\n"),
        ("    cvt.u64.u32 %rd0, %r2;\n", "AGAIN:\n    cvt.u64.u32 %rd0, %r2;\n"),
    )
    assert not proved(once, changed(once, ("cvt.u64.u32 %rd0, %r2", "cvt.u64.u16 %rd0, %r2")))


def test_a_write_that_a_branch_goes_around_is_not_relied_on() -> None:
    around = changed(
        LANE,
        ("    add.u64 %rd3, %rd3, %rd6;\n", "    add.u64 %rd3, %rd3, %rd6;\n    setp.eq.u64 %p, %rd0, 5;\n"),
        ("    and.b32 %r3, %r2, 31;\n", "    and.b32 %r3, %r2, 31;\nLATER:\n    and.b32 %r3, %r3, 63;\n"),
        ("    add.u64 %rd4, %rd4, %rd6;\n", "    add.u64 %rd4, %rd4, %rd6;\n    @%p bra LATER;\n"),
    )
    assert not proved(around, changed(around, ("and.b32 %r3, %r3, 63", "mov.b32 %r3, %r3")))
