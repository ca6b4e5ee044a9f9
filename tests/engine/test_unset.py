"""Registers nobody wrote, shuffles from lanes that are not there: found where it matters, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.kernels import answer, line_of, numbers, only_finding, run

checked = pytest.mark.parametrize("way", [(32, True), (1, True)], ids=["warp", "thread"])
FULL = "0xffffffff"


@checked
@pytest.mark.parametrize(
    ("lines", "where"),
    [
        (("add.u32 %r1, %r0, 1;", "st.global.u32 [%place], %r1;"), "add."),
        (("st.global.u32 [%place], %r0;",), "st."),
        (("mad.wide.u32 %a, %r0, 4, %out;", "st.global.u32 [%a], 1;"), "mad."),
        (("mad.wide.u32 %a, %r0, 4, %in;", "ld.global.u32 %r1, [%a];"), "mad."),
        (("@%p3 bra DONE;", "st.global.u32 [%place], 1;", "DONE:"), "@%p3"),
        (("@%p3 st.global.u32 [%place], 1;",), "@%p3"),
        (("add.f32 %f0, %f0, 0f3F800000;", "st.global.f32 [%place], %f0;"), "add."),
        (("red.global.add.u32 [%place], %r0;",), "red."),
        (("setp.lt.s32 %p1, %r0, 5;", "vote.sync.ballot.b32 %r2, %p1, 0xffffffff;"), "setp."),
        (("shfl.sync.idx.b32 %r2, %r0, 0, 31, 0xffffffff;", "st.global.u32 [%place], %r2;"), "shfl."),
        (("selp.u32 %r2, 1, 2, %p3;", "st.global.u32 [%place], %r2;"), "selp."),
        (("st.global.v2.u32 [%out], {%tid, %r0};",), "st."),
    ],
)
def test_what_hangs_on_a_register_nobody_wrote(lines: tuple[str, ...], where: str, way: Any) -> None:
    body = "\n".join(lines)
    outcome = run(body, numbers(64), 64, way=way, block=(64, 1, 1))
    found = [f for f in outcome.findings if f.kind == "unset-register"]
    assert [f.line for f in found] == [line_of(body, where)], outcome.findings
    assert found[0].thread == (0, 0, 0)
    assert any(name in found[0].message for name in ("%r0", "%p3", "%f0"))


@checked
def test_the_thread_the_place_and_the_line_that_used_it_are_named(way: Any) -> None:
    body = """
    setp.ne.u32 %p0, %gid, 70;
    @%p0 mov.u32 %r0, 5;
    mul.lo.u32 %r1, %r0, 3;
    st.global.u32 [%place], %r1;
    """
    found = only_finding(body, numbers(128), 128, way=way, grid=(2, 1, 1))
    assert (found.kind, found.line) == ("unset-register", line_of(body, "mul."))
    assert (found.block, found.thread, found.lane) == ((1, 0, 0), (6, 0, 0), 6)
    assert (found.buffer, found.address) == ("out", 280)
    assert f"what line {line_of(body, 'st.')} does hangs on it" in found.message


@checked
@pytest.mark.parametrize("path", ["bra", "guard"])
def test_a_value_set_on_one_path_only_is_found_where_the_other_is_taken(path: str, way: Any) -> None:
    setting = {
        "bra": "@!%p0 bra ON;\nmov.f32 %f0, 0f3F800000;\nON:",
        "guard": "@%p0 mov.f32 %f0, 0f3F800000;",
    }[path]
    body = f"setp.lt.u32 %p0, %tid, LIMIT;\n{setting}\nst.global.f32 [%place], %f0;"
    found = only_finding(body.replace("LIMIT", "50"), numbers(64), 64, way=way)
    assert (found.kind, found.thread) == ("unset-register", (50, 0, 0))
    answer(body.replace("LIMIT", "64"), numbers(64), 64, way=way)


@checked
def test_an_accumulator_that_a_loop_never_started(way: Any) -> None:
    body = """
    mov.u32 %r1, 0;
    NEXT:
    mad.lo.u32 %r0, %r1, %r1, %r0;
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p0, %r1, 8;
    @%p0 bra NEXT;
    st.global.u32 [%place], %r0;
    """
    found = only_finding(body, numbers(64), 64, way=way)
    assert (found.kind, found.line) == ("unset-register", line_of(body, "mad."))


@checked
def test_shared_memory_that_took_it_counts_as_unwritten(way: Any) -> None:
    body = """
    mov.u32 %r1, buffer;
    mad.lo.u32 %r1, %tid, 4, %r1;
    st.shared.u32 [%r1], %r0;
    bar.sync 0;
    """
    answer(body, numbers(64), 64, way=way, shared="buffer[256]")
    body += "ld.shared.u32 %r2, [%r1];\nst.global.u32 [%place], %r2;"
    outcome = run(body, numbers(64), 64, way=way, shared="buffer[256]")
    read, left = line_of(body, "ld.shared"), line_of(body, "st.shared")
    assert [(f.kind, f.line) for f in outcome.findings] == [
        ("uninitialized-read", read),
        ("unset-register", left),
    ]


QUIET = [
    # selected away, masked off, multiplied by zero, or a copy that goes nowhere
    "setp.eq.u32 %p0, %tid, %tid;\nselp.u32 %r1, 7, %r0, %p0;\nst.global.u32 [%place], %r1;",
    "and.b32 %r1, %r0, 0;\nst.global.u32 [%place], %r1;",
    "mul.lo.u32 %r1, %r0, 0;\nst.global.u32 [%place], %r1;",
    "xor.b32 %r1, %r0, %r0;\nst.global.u32 [%place], %r1;",
    "add.u32 %r1, %r0, %tid;",
    # written on both ways, in two halves
    "setp.lt.u32 %p0, %tid, 9;\n@%p0 mov.u32 %r0, 1;\n@!%p0 mov.u32 %r0, 2;\nst.global.u32 [%place], %r0;",
    # the half that was written
    "mov.b32 %r0, {%h0, %h1};\ncvt.u16.u32 %h2, %r0;\n",
    "mov.u16 %h0, 3;\nmov.b32 %r0, {%h0, %h1};\nmov.b32 {%h2, %h3}, %r0;\nst.global.u16 [%place], %h2;",
    # a guard never true for those that have nothing
    "setp.lt.u32 %p0, %tid, 9;\n@%p0 mov.u32 %r0, 1;\n@%p0 st.global.u32 [%place], %r0;",
]


@checked
@pytest.mark.parametrize("body", QUIET)
def test_what_does_not_matter_is_not_reported(body: str, way: Any) -> None:
    registers = ".reg .b16 %h<4>;\n"
    outcome = run(registers + body, numbers(64), 64, way=way)
    assert outcome.status == "ok", outcome.findings


@checked
def test_a_call_keeps_its_callers_twins(way: Any) -> None:
    functions = """
    .func (.reg .u32 r) down (.reg .u32 n) { .reg .pred p; .reg .u32 m, x; setp.eq.u32 p, n, 0;
    @p mov.u32 x, 1; mov.u32 r, 0; @p ret; sub.u32 m, n, 1; call (m), down, (m); @!p mov.u32 x, 2;
    add.u32 r, m, x; ret; }
    """
    body = "and.b32 %r0, %tid, 3;\ncall (%r1), down, (%r0);\nst.global.u32 [%place], %r1;"
    out = answer(body, numbers(64), 64, way=way, functions=functions)
    assert out[3] == 6


@checked
def test_a_parameter_passed_without_a_value(way: Any) -> None:
    functions = """
    .func (.param .u32 r) same (.param .u32 n) { .reg .u32 m; ld.param.u32 m, [n]; add.u32 m, m, 1;
    st.param.u32 [r], m; ret; }
    """
    call = """{{ .param .u32 q; .param .u32 w; st.param.u32 [q], {0}; call (w), same, (q);
    ld.param.u32 %r1, [w]; }}"""
    body = call.format("%r0") + "\nst.global.u32 [%place], %r1;"
    found = only_finding(body, numbers(64), 64, way=way, functions=functions)
    assert (found.kind, found.line) == ("unset-register", line_of(body, "st.param"))
    answer(
        call.format("%tid") + "\nst.global.u32 [%place], %r1;", numbers(64), 64, way=way, functions=functions
    )


# shuffles

SHUFFLE = "shfl.sync.down.b32 %r1, %tid, 16, 31, {mask};"


def shuffled(mask: str = FULL, guard: str = "") -> str:
    return f"setp.lt.u32 %p0, %tid, 20;\n@!%p0 bra DONE;\n{SHUFFLE.format(mask=mask)}\n{guard}\nDONE:"


@checked
def test_a_value_from_a_lane_that_is_elsewhere(way: Any) -> None:
    body = shuffled(guard="st.global.u32 [%place], %r1;")
    if way[0] == 1:
        body = body.replace(FULL, "0xfffff")  # one thread at a time, lanes wait for those the mask names
    found = only_finding(body, numbers(64), 64, way=way)
    assert (found.kind, found.line) == ("invalid-shuffle", line_of(body, "shfl."))
    assert (found.thread, found.lane) == ((4, 0, 0), 4)
    assert "lane 4 takes the value of lane 20" in found.message
    assert f"used at line {line_of(body, 'st.')}" in found.message


@checked
def test_a_value_from_outside_the_membermask(way: Any) -> None:
    body = """
    setp.lt.u32 %p0, %tid, 16;
    selp.u32 %r2, 0xffff, 0xffff0000, %p0;
    shfl.sync.bfly.b32 %r1, %tid, 16, 31, %r2;
    st.global.u32 [%place], %r1;
    """
    found = only_finding(body, numbers(32), 32, way=way, block=(32, 1, 1))
    assert (found.kind, found.line, found.thread) == ("invalid-shuffle", line_of(body, "shfl."), (0, 0, 0))


@checked
def test_a_block_that_is_no_multiple_of_a_warp_has_no_lanes_past_its_end(way: Any) -> None:
    body = f"shfl.sync.idx.b32 %r1, %tid, 12, 31, {FULL};\nst.global.u32 [%place], %r1;"
    found = only_finding(body, numbers(40), 40, way=way, block=(40, 1, 1))
    assert (found.kind, found.thread) == ("invalid-shuffle", (32, 0, 0))


@checked
@pytest.mark.parametrize(
    "guard",
    [
        "setp.lt.u32 %p1, %tid, 4;\n@%p1 st.global.u32 [%place], %r1;",
        "setp.lt.u32 %p1, %tid, 4;\nselp.u32 %r1, %r1, 0, %p1;\nst.global.u32 [%place], %r1;",
        "setp.lt.u32 %p1, %tid, 4;\n@!%p1 bra DONE;\nst.global.u32 [%place], %r1;",
        "",
    ],
)
def test_a_value_from_nowhere_that_is_not_used_is_right(guard: str, way: Any) -> None:
    body = shuffled("0xfffff", guard)
    answer(body, numbers(20), 20, way=way, block=(20, 1, 1))
    answer(body.replace("bra DONE;\nshfl", "bra DONE;\nshfl"), numbers(32), 32, way=way, block=(32, 1, 1))


@checked
def test_a_lane_out_of_range_has_its_own_value_and_the_predicate_says_so(way: Any) -> None:
    body = f"""
    mov.u32 %r2, %tid;
    {
        "".join(
            f'''
    shfl.sync.up.b32 %r1|%p1, %r2, {d}, 0, 0xfffff;
    @%p1 add.u32 %r2, %r2, %r1;'''
            for d in (1, 2, 4, 8, 16)
        )
    }
    st.global.u32 [%place], %r2;
    """
    out = answer(body, numbers(20), 20, way=way, block=(20, 1, 1))
    assert out.tolist() == [i * (i + 1) // 2 for i in range(20)]


@checked
def test_lanes_that_meet_at_different_shuffles_are_let_be(way: Any) -> None:
    body = f"""
    setp.lt.u32 %p0, %tid, 16;
    @%p0 bra LOW;
    shfl.sync.bfly.b32 %r1, %tid, 16, 31, {FULL};
    bra DONE;
    LOW:
    shfl.sync.bfly.b32 %r1, %tid, 16, 31, {FULL};
    DONE:
    st.global.u32 [%place], %r1;
    """
    assert run(body, numbers(32), 32, way=way, block=(32, 1, 1)).status == "ok"


# divisions


@checked
def test_a_division_by_zero_is_a_note(way: Any) -> None:
    body = """
    sub.u32 %r0, %tid, 40;
    div.s32 %r1, %gid, %r0;
    setp.eq.u32 %p0, %r0, 0;
    selp.u32 %r1, 0, %r1, %p0;
    rem.u32 %r2, %gid, 7;
    st.global.u32 [%place], %r1;
    """
    outcome = run(body, numbers(64), 64, way=way)
    assert outcome.status == "ok", outcome.findings
    (note,) = outcome.notes
    assert (note.kind, note.line, note.thread) == ("division-by-zero", line_of(body, "div."), (40, 0, 0))


# pointers that lead into another buffer


@checked
@pytest.mark.parametrize(
    "access", ["ld.global.u32 %r0, [%a];", "st.global.u32 [%a], 1;", "red.global.add.u32 [%a], 1;"]
)
def test_an_index_that_leads_from_one_buffer_into_the_other(access: str, way: Any) -> None:
    """How far they lie apart is asked first, and then used as if it were a constant of the text."""
    measure = "sub.u64 %a, %in, %out;\nst.global.u64 [%out], %a;"
    apart = int(answer(measure, numbers(64), 64, way=way).view("int64")[0])
    body = f"mov.u64 %b, {apart};\nadd.u64 %a, %out, %b;\nadd.u64 %a, %a, 8;\n{access}"
    found = only_finding(body, numbers(64), 64, way=way)
    assert (found.kind, found.line, found.thread) == ("out-of-bounds", line_of(body, access), (0, 0, 0))
    assert (found.buffer, found.address) == ("out", apart + 8)
    assert "byte 8 of in (256 bytes), which this pointer does not lead to" in found.message


@checked
@pytest.mark.parametrize(
    "body",
    [
        # by a difference of the two, by choice, from memory, and in halves
        "sub.u64 %a, %place, %in;\nadd.u64 %a, %a, %in;\nst.global.u32 [%a], 1;",
        "setp.eq.u32 %p0, %tid, 0;\nselp.u64 %a, %in, %place, %p0;\nld.global.u32 %r0, [%place];",
        "mov.u64 %a, %in;\nst.local.u64 [kept], %place;\nLOOP:\n"
        "setp.eq.u64 %p0, %a, %place;\nld.local.u64 %a, [kept];\n@!%p0 bra LOOP;\nst.global.u32 [%a], 1;",
        "mov.b64 {%r0, %r1}, %place;\nmov.b64 %a, {%r0, %r1};\nst.global.u32 [%a], 1;",
        "mov.u64 %a, %in;\nsetp.ge.u32 %p0, %tid, 0;\n@%p0 mov.u64 %a, %place;\nst.global.u32 [%a], 1;",
    ],
)
def test_addresses_that_may_be_of_either_buffer_are_let_be(body: str, way: Any) -> None:
    text = ".local .align 8 .b8 kept[8];\nst.global.u32 [%place], 0;\n" + body
    assert run(text, numbers(64), 64, way=way).status == "ok"
