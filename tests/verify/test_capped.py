"""Caps of grids: which may be lowered, and what lowering them shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmptx.llm.library import drafts
from llmptx.ptx.parser import parse
from llmptx.ptx.plan import parse_plan, render
from llmptx.run.worker import Pool
from llmptx.verify.capped import capped
from llmptx.verify.judge import verify
from tests.verify.kernels import ADD, changed

MAX = drafts("numpy.max", "int32")[-1]

# Each thread goes round by the number of threads there are.
ROUND = changed(
    ADD,
    ("grid=ceil_div(n,256)", "grid=min(ceil_div(n,256),1000)"),
    (".b64 %rd<9>;", ".b64 %rd<12>;"),
    (
        "    setp.ge.u64 %p, %rd0, %rd2;\n",
        "    mov.u32 %r3, %nctaid.x;\n    mul.wide.u32 %rd9, %r3, %r1;\nMORE:\n"
        "    setp.ge.u64 %p, %rd0, %rd2;\n",
    ),
    ("%f2;\nDONE:", "%f2;\n    add.u64 %rd0, %rd0, %rd9;\n    bra MORE;\nDONE:"),
)


def lowered(text: str) -> str:
    plan = capped(parse_plan(text), parse(text))
    return render(plan) if plan else ""


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def test_a_cap_is_lowered_wherever_it_stands_in_the_plan() -> None:
    text = changed(
        ROUND,
        (
            "block=256\n",
            "block=256 args=in0,in1,out,n*min(n,1000)\n//@ buffer part f32 min(ceil_div(n,256),1000)\n",
        ),
    )
    assert lowered(text) == (
        "//@ launch entry=add grid=min(ceil_div(n,256),2) block=256 shared=0 args=in0,in1,out,n*min(n,2)\n"
        "//@ buffer part f32 min(ceil_div(n,256),2)\n"
    )


def test_a_plan_without_a_cap_stays() -> None:
    assert lowered(ADD) == ""


def test_a_kernel_that_cannot_know_how_many_blocks_there_are_is_let_be() -> None:
    assert lowered(changed(ADD, ("grid=ceil_div(n,256)", "grid=min(ceil_div(n,256),1000)"))) == ""


@pytest.mark.parametrize("number", ["1000", "256000"])
def test_a_kernel_that_holds_the_cap_as_a_number_is_let_be(number: str) -> None:
    text = changed(ROUND, ("    mul.wide.u32 %rd9, %r3, %r1;\n", f"    mov.u64 %rd9, {number};\n"))
    assert lowered(text) == ""


def test_a_hardware_limit_is_a_number_like_any_other() -> None:
    largest = "mov.u32 %r3, %nctaid.x;\n    mov.u32 %r0, 2147483647;"
    text = changed(ROUND, (",1000)", ",2147483647)"), ("mov.u32 %r3, %nctaid.x;", largest))
    assert "min(ceil_div(n,256),2)" in lowered(text)


def test_a_kernel_that_goes_round_passes(pool: Pool) -> None:
    verdict = verify(ROUND, "numpy.add", "float32", pool=pool)
    assert verdict.passed, verdict.findings
    assert verify(MAX, "numpy.max", "int32", pool=pool).passed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    add.u64 %cell, %cell, %blocks;\n", "    sub.u64 %cell, %cell, %blocks;\n"),
        ("    bra CELL;\n", ""),
    ],
)
def test_a_round_that_goes_wrong_is_seen_though_no_case_is_large_enough(
    pool: Pool, old: str, new: str
) -> None:
    verdict = verify(changed(MAX, (old, new)), "numpy.max", "int32", pool=pool)
    assert not verdict.passed
    assert verdict.stages[-1].name == "schedules"
    assert verdict.findings[0].kind == "unwritten-output"
    assert "capped at 2 blocks" in verdict.findings[0].message
