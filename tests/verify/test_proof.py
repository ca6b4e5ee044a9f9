"""Kernels are proved right for every length and input; what is wrong is found without a test and then run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from llmptx.llm.library import drafts
from llmptx.ptx import parse
from llmptx.routines import find
from llmptx.run.worker import Pool
from llmptx.verify import proof as proofs
from llmptx.verify.judge import Runs
from llmptx.verify.proof import proof
from llmptx.verify.read import read
from llmptx.verify.stages import Result
from llmptx.verify.trial import Trial
from llmptx.verify.unroll import unrolled
from tests.verify.kernels import ADD, NEGATIVE, changed

pytest.importorskip("z3")

XOR = changed(ADD, ("add.rn.f32 %f2, %f0, %f1;", "xor.b32 %f2, %f0, %f1;"), (".f32", ".b32"))
INDEX = "    shl.b64 %rd6, %rd0, 2;\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def asked(pool: Runs, text: str, name: str, dtype: str = "int32") -> Result:
    routine = find(name)
    signature = routine.signature(dtype)
    reading = read(text, routine, signature)
    assert not reading.findings
    assert reading.plan is not None
    return proof(Trial(text, routine, signature, reading, reading.plan, pool.run, 7), lambda done, of: None)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("numpy.add", "int32"),  # four elements a thread, in a loop
        ("numpy.subtract", "int64"),
        ("numpy.square", "int32"),
        ("numpy.maximum", "float32"),
        ("numpy.isnan", "float64"),
        ("numpy.equal", "int32"),
        ("numpy.where", "float32"),
        ("numpy.left_shift", "int32"),
        ("numpy.clip", "int64"),
    ],
)
def test_a_shipped_kernel_is_proved(pool: Pool, name: str, dtype: str) -> None:
    result = asked(pool, drafts(name, dtype)[-1], name, dtype)
    assert not result.findings
    assert result.note.startswith("proved for every length and input by z3 ")
    assert result.cases >= 3


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (("xor.b32 %f2", "or.b32 %f2"), "mismatch"),
        (("    @%p bra DONE;\n", ""), "out-of-bounds"),
        (("setp.ge.u64", "setp.gt.u64"), "out-of-bounds"),
        (("[n];\n", "[n];\n    sub.u64 %rd2, %rd2, 1;\n"), "unwritten-output"),
        (("    st.global", "    setp.eq.b32 %p, %f0, 0x12345678;\n    @%p bra DONE;\n    st.global"), "any"),
        (
            (
                "xor.b32 %f2, %f0, %f1;",
                "xor.b32 %f2, %f0, %f1;\n    setp.eq.b32 %p, %f0, 0x5EED1234;\n    @%p mov.b32 %f2, 0;",
            ),
            "mismatch",
        ),
    ],
    ids=[
        "other operation",
        "no bound",
        "bound off by one",
        "last missing",
        "one value unwritten",
        "one value",
    ],
)
def test_a_wrong_kernel_is_found_by_thought_and_shown_by_a_run(
    pool: Pool, change: tuple[str, str], kind: str
) -> None:
    assert asked(pool, XOR, "numpy.bitwise_xor").note.startswith("proved")
    result = asked(pool, changed(XOR, change), "numpy.bitwise_xor")
    kinds = {finding.kind for finding in result.findings}
    assert kind in kinds or (kind == "any" and kinds)


def test_an_index_of_32_bits_is_no_proof_though_no_small_run_shows_it(pool: Pool) -> None:
    narrow = "    cvt.u32.u64 %r3, %rd0;\n    mul.wide.u32 %rd6, %r3, 4;\n"
    result = asked(pool, changed(XOR, (INDEX, narrow)), "numpy.bitwise_xor")
    assert not result.findings
    assert "too large to run" in result.note


def test_a_loop_that_goes_round_too_often_is_no_proof_and_no_fault(pool: Pool) -> None:
    spin = "    mov.u32 %r3, 9;\nSPIN:\n    sub.u32 %r3, %r3, 1;\n"
    spin += "    setp.ne.u32 %p, %r3, 0;\n    @%p bra SPIN;\n"
    result = asked(pool, changed(XOR, ("    xor", spin + "    xor")), "numpy.bitwise_xor")
    assert not result.findings
    assert "more than 4 times" in result.note


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (changed(XOR, ("    xor", "    bar.sync 0;\n    xor")), "instructions that are not followed"),
        (changed(XOR, ("block=256", "block=16,16")), "more than one axis"),
    ],
    ids=["barrier", "plane"],
)
def test_what_is_not_followed_is_said(pool: Pool, text: str, why: str) -> None:
    result = asked(pool, text, "numpy.bitwise_xor")
    assert (result.findings, why in result.note) == ((), True)


def test_floats_that_are_computed_are_not_tried(pool: Pool) -> None:
    assert "no meaning in bits alone" in asked(pool, ADD, "numpy.add", "float32").note
    assert asked(pool, NEGATIVE, "numpy.negative", "float32").note.startswith("proved")


def test_without_a_solver_that_is_said(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    there: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "z3" else there(name))
    assert asked(pool, XOR, "numpy.bitwise_xor").note == "not tried: z3-solver is not installed"


def test_a_solver_out_of_steps_proves_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "STEPS", 1000)
    result = asked(pool, XOR, "numpy.bitwise_xor")
    assert (result.findings, result.note) == ((), "not proved: the solver comes to no end")


def test_a_loop_is_written_out_and_a_way_into_its_middle_is_not() -> None:
    loop = "L:\n    add.u32 %r0, %r0, 1;\nM:\n    @%p bra L;\n"
    head = ".version 8.0\n.target sm_80\n.address_size 64\n.entry k()\n{\n"
    head += "    .reg .pred %p;\n    .reg .b32 %r<2>;\n"
    body = parse(head + loop + "    ret;\n}\n").entries[0].body
    written = unrolled(body or (), 3)
    assert written is not None
    opcodes = [statement.opcode for statement in written if hasattr(statement, "opcode")]
    assert opcodes == ["add", "bra"] * 3 + ["trap", "ret"]
    assert unrolled(parse(head + "    @%p bra M;\n" + loop + "    ret;\n}\n").entries[0].body or ()) is None
