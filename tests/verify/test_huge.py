"""Indices of 32 bits are found out by calls of more than 2^32 elements, of which a few blocks run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from llmptx.llm.library import drafts
from llmptx.record import Finding
from llmptx.routines import find
from llmptx.run.job import Buffer, Job, Launch, Outcome
from llmptx.run.worker import Pool
from llmptx.verify.huge import huge
from llmptx.verify.judge import Runs
from llmptx.verify.read import read
from llmptx.verify.stages import Result
from llmptx.verify.trial import Trial
from tests.meta.attacks import SUM
from tests.verify.kernels import ADD, changed

INDEX = "    shl.b64 %rd6, %rd0, 2;\n"
UNSIGNED, SIGNED = "and.b64 {0}, {0}, 0xFFFFFFFF;", "shl.b64 {0}, {0}, 32;\n    shr.s64 {0}, {0}, 32;"
STRIDE = changed(
    ADD,
    ("grid=ceil_div(n,256)", "grid=min(ceil_div(n,256),128)"),
    (
        "    setp.ge.u64 %p, %rd0, %rd2;\n",
        "ROUND:\n    ld.param.u64 %rd2, [n];\n    setp.ge.u64 %p, %rd0, %rd2;\n",
    ),
    ("    st.global.f32 [%rd5], %f2;\n", "    st.global.f32 [%rd5], %f2;\n    mov.u32 %r0, %nctaid.x;\n"),
    ("DONE:\n", "    mul.wide.u32 %rd1, %r0, %r1;\n    add.u64 %rd0, %rd0, %rd1;\n    bra ROUND;\nDONE:\n"),
)
BACKWARDS = changed(
    ADD,
    (
        "    mov.u32 %r0, %ctaid.x;\n",
        "    mov.u32 %r0, %ctaid.x;\n    mov.u32 %r3, %nctaid.x;\n    sub.u32 %r0, %r3, %r0;\n"
        "    sub.u32 %r0, %r0, 1;\n",
    ),
)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def tried(pool: Runs, text: str, name: str, dtype: str = "float32") -> Result:
    routine = find(name)
    signature = routine.signature(dtype)
    reading = read(text, routine, signature)
    assert reading.plan is not None
    assert not reading.findings
    return huge(Trial(text, routine, signature, reading, reading.plan, pool.run, 7), lambda done, of: None)


def shipped(name: str, after: str = "", fault: str = "", register: str = "") -> str:
    """The kernel of the offline model, or that with a fault put behind an instruction."""
    text = drafts(name, "float32")[-1]
    return changed(text, (after, f"{after}\n    {fault.format(register)}")) if fault else text


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("numpy.add", 6),
        ("numpy.isnan", 6),
        ("numpy.max", 6),
        ("numpy.sum", 6),
        ("numpy.cumsum", 6),
        ("numpy.sort", 4),
        ("numpy.matmul", 4),
    ],
)
def test_a_kernel_that_counts_in_64_bits_passes(pool: Pool, name: str, calls: int) -> None:
    result = tried(pool, shipped(name), name)
    assert not result.findings
    assert (result.cases, result.note) == (calls, "")


@pytest.mark.parametrize("fault", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize(
    ("name", "after", "register"),
    [
        ("numpy.max", "mad.lo.u64 %a, %a, %inner, %i;", "%a"),
        ("numpy.cumsum", "mad.lo.u64 %b, %a, %inner, %i;", "%b"),
        ("numpy.matmul", "mad.lo.u64 %i, %row0, %k, %kc;", "%i"),
        ("numpy.matmul", "mad.lo.u64 %i, %row0, %n, %col;", "%i"),
    ],
)
def test_an_index_of_32_bits_is_found(pool: Pool, name: str, after: str, register: str, fault: str) -> None:
    result = tried(pool, shipped(name, after, fault, register), name)
    assert {f.kind for f in result.findings} & {"out-of-bounds", "unwritten-output", "mismatch"}


@pytest.mark.parametrize(
    "index",
    [
        "    cvt.u32.u64 %r3, %rd0;\n    mul.wide.s32 %rd6, %r3, 4;\n",
        "    cvt.u32.u64 %r3, %rd0;\n    mul.wide.u32 %rd6, %r3, 4;\n",
        "    cvt.u32.u64 %r3, %rd0;\n    shl.b32 %r3, %r3, 2;\n    cvt.u64.u32 %rd6, %r3;\n",
        "    cvt.u32.u64 %r3, %rd0;\n    mad.lo.u32 %r3, %r0, %r1, %r2;\n    mul.wide.u32 %rd6, %r3, 4;\n",
    ],
    ids=["mul.wide.s32", "mul.wide.u32", "bytes in 32 bits", "mad.lo.u32"],
)
def test_an_elements_index_or_byte_in_32_bits_is_found(pool: Pool, index: str) -> None:
    result = tried(pool, changed(ADD, (INDEX, index)), "numpy.add")
    first = result.findings[0]
    assert first.kind == "out-of-bounds"
    assert first.line
    assert "wrong beyond 32 bits" in first.message or "outside every buffer" in first.message
    assert "n=4294968073" in first.case


def test_a_bound_of_32_bits_leaves_elements_unwritten(pool: Pool) -> None:
    bound = ("    setp.ge.u64 %p, %rd0, %rd2;\n", "    cvt.u32.u64 %r3, %rd2;\n")
    text = changed(ADD, (bound[0], bound[1] + "    cvt.u64.u32 %rd2, %r3;\n" + bound[0]))
    assert {f.kind for f in tried(pool, text, "numpy.add").findings} == {"unwritten-output"}


def test_a_row_sum_with_a_short_index_is_found(pool: Pool) -> None:
    at = "    mad.lo.u64 %rd9, %rd9, %rd3, %rd7;\n"
    assert not tried(pool, SUM, "numpy.sum").findings
    wrong = changed(SUM, (at, at + "    and.b64 %rd9, %rd9, 0xFFFFFFFF;\n"))
    assert tried(pool, wrong, "numpy.sum").findings[0].kind == "out-of-bounds"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (STRIDE, "a block takes more where there are more elements"),
        (BACKWARDS, "its blocks do not take elements in the order of their numbers"),
    ],
    ids=["grid-stride", "backwards"],
)
def test_a_kernel_that_cannot_run_in_part_is_let_be_and_that_is_said(pool: Pool, text: str, why: str) -> None:
    result = tried(pool, text, "numpy.add")
    assert (result.findings, result.cases) == ((), 0)
    assert why in result.note


def test_a_machine_without_so_many_addresses_accuses_nobody(pool: Pool) -> None:
    class Small:
        def run(self, job: Job, seconds: float) -> Outcome:
            if sum(b.size for b in job.buffers) > 1 << 30:
                return Outcome("error", findings=(Finding("resource-limit", "no 2 bytes of address space"),))
            return pool.run(job, seconds)

    result = tried(Small(), ADD, "numpy.add")
    assert not result.findings
    assert result.note == "n beyond 2^32 not tried: no 2 bytes of address space"


def test_one_block_for_all_is_let_be(pool: Pool) -> None:
    assert "one block takes all there is" in tried(pool, shipped("numpy.dot"), "numpy.dot").note


def test_only_what_is_there_of_a_buffer_is_sent_and_comes_back(pool: Pool) -> None:
    """Buffers of 2^31 elements, of which two places are there; the launch runs two of its blocks."""
    n, places = 1 << 31, ((0, 256), (n_block := (1 << 31) - 256, 256))
    data = np.arange(512, dtype=np.float32)
    buffers = (
        Buffer("in0", "float32", n, "input", data, parts=places),
        Buffer("in1", "float32", n, "input", data, parts=places),
        Buffer("out", "float32", n, "output", parts=places),
    )
    blocks = ((0, 1), (n_block // 256, n_block // 256 + 1))
    launch = Launch("add", (n // 256, 1, 1), (256, 1, 1), ("in0", "in1", "out", n), blocks=blocks)
    for check in (False, True):
        began = time.monotonic()
        outcome = pool.run(Job(ADD, (launch,), buffers, check=check), 20)
        assert outcome.status == "ok", outcome.findings
        assert outcome.buffers["out"].tolist() == (data * 2).tolist()
        assert time.monotonic() - began < 10
    assert outcome.unwritten["out"].tolist() == [False] * 512
