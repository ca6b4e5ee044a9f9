"""The canonical text: what it must not tell apart, and what it must."""

from __future__ import annotations

import re

import pytest

from llmptx.ptx import PtxError, parse
from llmptx.ptx.normalize import candidate_hash, normalized

from .assembler import cubin, needs_ptxas

KERNEL = """//@ launch entry=scale grid=ceil_div(n,256) block=256
//@ noalias
.version 8.0
.target sm_80
.address_size 64
.global .align 4 .f32 table[2] = {1.0, 2.0};
.visible .entry scale(
    .param .u64 in0, .param .u64 out, .param .u64 n
)
.maxntid 256
{
    .reg .pred %p<3>;
    .reg .b32 %r<5>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<9>;
    .shared .align 4 .b8 tile[64];

    ld.param.u64 %rd1, [in0];
    ld.param.u64 %rd2, [out];
    ld.param.u64 %rd3, [n];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.s32 %r3, %r1, 256, %r2;
    cvt.u64.u32 %rd4, %r3;
    setp.ge.u64 %p1, %rd4, %rd3;
    @%p1 bra DONE;
    shl.b64 %rd5, %rd4, 2;
    add.s64 %rd6, %rd1, %rd5;
    ld.global.f32 %f1, [%rd6];
    mov.u64 %rd8, table;
    ld.global.f32 %f3, [%rd8+4];
    mul.f32 %f2, %f1, %f3;
    { .reg .f32 t; add.f32 t, %f2, 0f3F800000; mov.f32 %f2, t; }
    add.s64 %rd7, %rd2, %rd5;
    st.global.f32 [%rd7], %f2;
DONE:
    ret;
}
"""


def _changed(old: str, new: str) -> str:
    assert old in KERNEL
    return KERNEL.replace(old, new)


@pytest.mark.parametrize(
    "text",
    [
        re.sub(r"%rd(\d)", r"%address\1", KERNEL).replace("%rd<9>", "%address<9>"),
        re.sub(r"%f(\d)", r"%f1\1", KERNEL).replace("%f<4>", "%f<20>"),
        KERNEL.replace("%r1", "x").replace(".reg .b32 %r<5>;", ".reg .b32 %r<5>, x;"),
        KERNEL.replace("%p<3>", "%p<2>"),
        KERNEL.replace("DONE", "$L__BB0_2"),
        _changed("    shl.b64", "UNUSED:\n    shl.b64"),
        _changed("    shl.b64", "  .loc 1 5 3 // x.cu:5\n    shl.b64"),
        KERNEL + '.file 1 "/a/b.cu"\n.section .debug_str { .b8 1, 2, 3 }\n',
        re.sub(r"\n +", "\n", KERNEL),
        KERNEL.replace("\n.", "\n/* a comment */ .").replace(";\n", "; // why\n"),
        KERNEL.replace("\n", "\r\n"),
        _changed("0f3F800000", "0f3f800000")
        .replace("256, %r2", "0x100, %r2")
        .replace("[%rd8+4]", "[ %rd8 + 2*2 ]"),
        KERNEL.replace(
            "//@ launch entry=scale grid=ceil_div(n,256) block=256\n//@ noalias",
            "// why\n//@  noalias\n//@ launch  block=256,1 entry=scale shared=0 grid=ceil_div(n,(256)),1",
        ),
        KERNEL.replace("{ .reg .f32 t;", "{ .reg .f32 %f1;").replace(
            "add.f32 t, %f2, 0f3F800000; mov.f32 %f2, t;", "add.f32 %f1, %f2, 0f3F800000; mov.f32 %f2, %f1;"
        ),
    ],
)
def test_names_comments_and_layout_do_not_change_the_hash(text: str) -> None:
    assert text != KERNEL
    assert normalized(text) == normalized(KERNEL)
    assert candidate_hash(text) == candidate_hash(KERNEL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mul.f32 %f2, %f1, %f3", "mul.f32 %f2, %f3, %f1"),
        ("mul.f32", "add.f32"),
        ("mul.f32", "mul.rz.f32"),
        ("@%p1", "@!%p1"),
        ("@%p1 ", ""),
        ("DONE:\n    ret;", "    ret;\nDONE:"),
        ("0f3F800000", "0f3F800001"),
        ("[%rd8+4]", "[%rd8]"),
        ("bra DONE", "bra.uni DONE"),
        (".reg .f32 %f<4>", ".reg .b32 %f<4>"),
        ("mov.f32 %f2, t", "mov.f32 %f1, t"),
        ("block=256", "block=128"),
        ("ceil_div(n,256)", "ceil_div(n,255)"),
        ("//@ noalias\n", ""),
        ("//@ launch", "//@ align 16\n//@ launch"),
        ("entry=scale", "entry=other"),
        (".param .u64 in0, .param .u64 out", ".param .u64 out, .param .u64 in0"),
        ("{1.0, 2.0}", "{1.0, 3.0}"),
        (".maxntid 256", ".maxntid 512"),
        ("tile[64]", "tile[32]"),
        ("sm_80", "sm_90"),
        (".version 8.0", ".version 8.1"),
        ("%ctaid.x", "%ctaid.y"),
        ("mov.u64 %rd8, table", "mov.u64 %rd8, tile"),
        (".visible .entry", ".entry"),
        ("{ .reg .f32 t;", '{ .pragma "nounroll"; .reg .f32 t;'),
    ],
)
def test_a_change_of_meaning_changes_the_hash(old: str, new: str) -> None:
    assert candidate_hash(_changed(old, new)) != candidate_hash(KERNEL)


@needs_ptxas
def test_the_canonical_text_assembles_to_the_same_machine_code() -> None:
    expected = cubin(KERNEL)
    assert expected
    assert cubin(normalized(KERNEL)) == expected


def test_the_canonical_text_is_a_text_of_its_own() -> None:
    once = normalized(KERNEL)
    assert normalized(once) == once
    assert parse(once).entries[0].name == "scale"


def test_labels_of_two_scopes_with_one_name_stay_two() -> None:
    def text(first: str, second: str) -> str:
        return (
            ".version 8.0 .target sm_80 .entry k() { .reg .pred p; "
            f"{{ L: @p bra {first}; {{ {second}: @p bra {second}; @p bra {first}; }} }} ret; }}"
        )

    assert normalized(text("L", "M")) != normalized(text("L", "L"))
    assert normalized(text("L", "M")) == normalized(text("L", "N"))


def test_a_register_is_never_renamed_to_a_name_that_stands_for_something_else() -> None:
    head = ".version 8.0 .target sm_80 .entry k() "
    text = head + "{{ .reg .b32 a, b; .shared .b32 {0}; mov.b32 a, {0}; mov.b32 b, a; }}"
    module = parse(normalized(text.format("%b32_0")))
    body = module.entries[0].body
    assert body
    assert normalized(text.format("%b32_0")) != normalized(text.format("s"))
    assert "%b32__<2>" in normalized(text.format("%b32_0"))


def test_a_text_that_is_wrong_has_no_hash() -> None:
    with pytest.raises(PtxError, match="write a blank"):
        candidate_hash(KERNEL.replace("//@ noalias", "//@noalias"))
