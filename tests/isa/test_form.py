"""The table's machinery: one row an instruction, refusals that help, and what a pattern says."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.isa import match, table
from llmptx.ptx.ast import Instruction, Reg
from llmptx.ptx.errors import PtxError
from llmptx.ptx.types import PRED, Type
from tests.isa.texts import forms, groups, parsed, texts

TEXTS = [(form, text) for form in forms() for text in texts(form, cap=15)]


def matched(text: str):  # type: ignore[no-untyped-def]
    return match(parsed([text])[0])


def test_every_row_matches_its_own_texts_and_no_other_does() -> None:
    instructions = parsed([text for _, text in TEXTS])
    for (form, text), instruction in zip(TEXTS, instructions, strict=True):
        assert match(instruction).form is form, text


def test_no_two_rows_are_written_alike() -> None:
    patterns = [form.pattern for form in forms()]
    assert len(patterns) == len(set(patterns))


def test_every_row_says_its_chapter_and_every_destination_comes_first() -> None:
    for form in forms():
        assert form.chapter in (
            "integer", "extended", "floating", "half", "compare", "logic", "convert", "data", "parallel",
            "control", "matrix", "asynchronous", "narrow", "video",
        )  # fmt: skip
        kinds = [spec.destination for spec in form.operands]
        assert kinds == sorted(kinds, reverse=True), form.pattern


def test_modifiers_and_operand_types_are_bound() -> None:
    found = matched("mad.wide.s16 %r1, %h2, %h3, %r4")
    assert found.modifiers.mode == "wide"
    assert found.modifiers.type == Type("s", 16)
    assert [type for _, _, type in found.operands] == [
        Type("s", 32),
        Type("s", 16),
        Type("s", 16),
        Type("s", 32),
    ]
    found = matched("setp.lt.and.ftz.f32 %p1|%p2, %f1, %f2, !%p3")
    assert found.modifiers.ftz is True
    assert found.modifiers.bool == "and"
    assert found.operands[0][2] == PRED
    assert matched("add.f32 %f1, %f2, %f3").modifiers.rnd is None
    with pytest.raises(AttributeError, match="no modifier 'sat'"):
        matched("add.f64 %fd1, %fd2, %fd3").modifiers.sat  # noqa: B018


@pytest.mark.parametrize(("text", "canonical"), [
    ("add.ftz.rn.f32 %f1, %f2, %f3", "add.rn.ftz.f32 %f1, %f2, %f3"),
    ("setp.lt.ftz.and.f32 %p1, %f1, %f2, %p2", "setp.lt.and.ftz.f32 %p1, %f1, %f2, %p2"),
    ("min.s16x2.relu %r1, %r2, %r3", "min.relu.s16x2 %r1, %r2, %r3"),
    ("atom.add.acquire.gpu.global.u32 %r1, [%rd1], %r2", "atom.acquire.gpu.global.add.u32 %r1, [%rd1], %r2"),
    ("cvt.sat.rzi.s32.f32 %r1, %f1", "cvt.rzi.sat.s32.f32 %r1, %f1"),
    ("ld.global.nc.ca.u32 %r1, [%rd1]", "ld.global.ca.nc.u32 %r1, [%rd1]"),
])  # fmt: skip
def test_modifiers_may_stand_in_another_order(text: str, canonical: str) -> None:
    one, other = matched(text), matched(canonical)
    assert one.form is other.form
    assert vars(one.modifiers) == vars(other.modifiers)


def test_the_types_of_a_conversion_keep_their_order() -> None:
    assert matched("cvt.rn.f16.f32 %h1, %f1").modifiers.dtype == Type("f", 16)
    assert matched("cvt.f32.f16 %f1, %h1").modifiers.dtype == Type("f", 32)
    with pytest.raises(PtxError):
        matched("cvt.f16.f32 %h1, %f1")


@pytest.mark.parametrize(("text", "complaint"), [
    ("madd.f32 %f1, %f2, %f3", r"instruction 'madd' is not supported; did you mean mad, add, madc"),
    ("frobnicate %r1", r"instruction 'frobnicate' is not supported$"),
    ("div.f32 %f1, %f2, %f3", r"div\.f32 is no supported form of div; the nearest are: .*div\.full"),
    ("add.u8 %h1, %h2, %h3", r"add\.u8 is no supported form of add; the nearest are: "),
    ("add.s32 %r1, %r2", r"add\.s32 takes the operands d, a, b: these are others in number or kind"),
    ("lop3.b32 %r1, %r2, %r3, %r4, %r5", r"lop3\.b32 takes the operands d:b32, a:b32, b:b32, c:b32, imm:b32"),
    ("exit.uni", r"exit\.uni is no supported form of exit; the nearest are: exit"),
])  # fmt: skip
def test_a_refusal_names_the_near_misses(text: str, complaint: str) -> None:
    with pytest.raises(PtxError, match=complaint) as caught:
        matched(text)
    assert caught.value.span.line > 1


@pytest.mark.parametrize("text", [
    "add.s32 _, %r2, %r3",
    "add.u64 %rd1, %rd2, variable",
    "add.f32 %f1, %f2, 1",
    "add.s32 %r1, %r2, 1.0",
    "and.b32 %r1, %r2, 1.0",
    "add.s32 %r1, %r2, !%p1",
    "add.s32 7, %r2, %r3",
    "add.s32 %r1|%p1, %r2, %r3",
    "setp.eq.f16 %p1|%p2, %h1, %h2",
    "ld.global.v2.u32 %r1|%p1, [%rd1]",
    "ld.global.v2.u32 {%r1, %r2, %r3}, [%rd1]",
    "ld.global.u32 {%r1, %r2}, [%rd1]",
    "ld.global.u32 %r1, %rd1",
    "st.global.u32 %r1, [%rd1]",
    "mov.u64 %rd1, {%r1, %r2}",
    "bra %r1",
    "match.any.sync.b32 %r1|%p1, %r2, %r3",
])  # fmt: skip
def test_operands_of_the_wrong_kind_are_refused(text: str) -> None:
    with pytest.raises(PtxError):
        matched(text)


@pytest.mark.parametrize("text", [
    "mov.b32 %r1, 0f3f800000", "mov.b64 %rd1, {%r1, %r2}", "mov.b64 {%r1, _}, %rd1",
    "mov.u64 %rd1, variable+8",
    "atom.global.add.u32 _, [%rd1], %r2", "setp.eq.s32 _|%p2, %r1, %r2",
    "lop3.or.b32 _|%p1, %r2, %r3, %r4, 128, %p2",
    "add.f64 %fd1, %fd2, 0f3f800000", "mov.pred %p1, !%p2", "selp.f32 %f1, 1.0, 0.0, %p1", "bar.sync 0",
    "cvta.shared.u64 %rd1, variable", "ld.global.v2.u32 {%r1, _}, [%rd1+8]", "mov.u32 %r1, %tid.x",
    "ld.global.b32 {%r1}, [%rd1]", "st.global.b32 [%rd1], {%r1}", "mov.b32 %r1, {%r2}",
])  # fmt: skip
def test_operands_that_the_manual_allows_are_taken(text: str) -> None:
    matched(text)


NAMES = sorted({name for form in forms() for group in groups(form.pattern) for name in group if name})


@settings(max_examples=300, deadline=None)
@given(
    opcode=st.sampled_from(sorted(table())),
    names=st.lists(
        st.sampled_from(sorted({n for f in forms() for g in groups(f.pattern) for n in g if n})), max_size=8
    ),
    operands=st.integers(0, 5),
)
def test_any_instruction_has_one_row_or_an_error(opcode: str, names: list[str], operands: int) -> None:
    instruction = Instruction(opcode, tuple(names), tuple(Reg(f"%r{i}") for i in range(operands)))
    try:
        found = match(instruction)
    except PtxError as error:
        complaint = error.message
    else:
        complaint = found.form.opcode
    assert opcode in complaint


def test_matching_is_quick() -> None:
    instructions = parsed([text for _, text in TEXTS])
    for instruction in instructions:
        match(instruction)
    start = time.process_time()
    for instruction in instructions:
        match(instruction)
    each = (time.process_time() - start) / len(instructions)
    assert each < 100e-6, f"{each * 1e6:.0f} us an instruction"
