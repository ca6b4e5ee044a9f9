"""What checked runs find: kind, place in the text, who did it, where in memory; and nothing that is right."""

from __future__ import annotations

import faulthandler
import multiprocessing
from typing import Any

import numpy as np
import pytest

from llmptx.record import Finding
from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch, Outcome
from tests.engine.kernels import (
    HEADER,
    answer,
    column_of,
    kernel,
    line_of,
    numbers,
    only_finding,
    run,
)

checked = pytest.mark.parametrize("way", [(32, True), (1, True)], ids=["warp", "thread"])


def assert_at(found: Finding, kind: str, body: str, piece: str, thread: int, block: int = 0) -> None:
    assert found.kind == kind, found
    assert (found.line, found.column) == (line_of(body, piece), column_of(body, piece)), found
    assert found.thread == (thread, 0, 0), found
    assert found.block == (block, 0, 0), found
    assert found.lane == thread % 32, found


# out of bounds


@checked
@pytest.mark.parametrize(
    ("piece", "kind", "thread", "buffer", "address"),
    [
        ("ld.global.u32 %r0, [%mine+4];", "out-of-bounds", 63, "in", 256),
        ("ld.global.u32 %r0, [%mine+-4];", "out-of-bounds", 0, "in", -4),
        ("st.global.u32 [%place+4], %r0;", "out-of-bounds", 63, "out", 256),
        ("st.global.u32 [%place+-8], %r0;", "out-of-bounds", 0, "out", -8),
        ("ld.global.u32 %r0, [%mine+400000];", "out-of-bounds", 0, "in", 400_000),
        ("ld.global.u64 %a, [%out+252];", "out-of-bounds", 0, "out", 252),
        ("atom.global.add.u32 %r0, [%out+256], 1;", "out-of-bounds", 0, "out", 256),
        ("ld.global.u32 %r0, [%mine+2];", "misaligned", 0, "in", 2),
        ("st.global.u16 [%place+1], 7;", "misaligned", 0, "out", 1),
        ("ld.global.v2.u32 {%r0, %r1}, [%in+4];", "misaligned", 0, "in", 4),
        ("ld.global.u32 %r0, [%place];", "uninitialized-read", 0, "out", 0),
        ("atom.global.add.u32 %r0, [%place], 1;", "uninitialized-read", 0, "out", 0),
        ("st.global.u32 [%mine], %tid;", "input-modified", 0, "in", 0),
        ("atom.global.exch.b32 %r0, [%in+8], 1;", "input-modified", 0, "in", 8),
    ],
)
def test_wrong_accesses_of_buffers(
    piece: str, kind: str, thread: int, buffer: str, address: int, way: Any
) -> None:
    body = f"mov.u32 %r0, 0;\n   {piece}\nmov.u32 %r2, 1;"
    if "+252" in piece:
        # It is both: what is wrong first is said.
        body = body.replace("+252", "+256")
        address = 256
    found = only_finding(body, numbers(64), 64, way=way)
    assert_at(found, kind, body, piece.split(" ")[0], thread)
    assert (found.buffer, found.address) == (buffer, address)
    assert found.element == address // 4


@checked
def test_a_null_pointer_and_a_wild_one_are_outside_every_buffer(way: Any) -> None:
    for address in ("0", "0x1234567890", "-8"):
        body = f"mov.u64 %a, {address};\nld.global.u32 %r0, [%a];\nst.global.u32 [%place], %r0;"
        found = only_finding(body, numbers(64), 64, way=way)
        assert found.kind == "out-of-bounds"
        assert found.line == line_of(body, "ld.global")


@checked
def test_only_the_lanes_that_do_it_are_blamed(way: Any) -> None:
    body = """
    setp.eq.u32 %p0, %gid, 150;
    @%p0 st.global.u32 [%out+-12], %gid;
    """
    found = only_finding(body, numbers(192), 192, way=way, grid=(3, 1, 1))
    assert_at(found, "out-of-bounds", body, "@%p0", 22, 2)
    assert (found.buffer, found.address, found.element) == ("out", -12, -3)


@checked
def test_a_loop_that_runs_one_too_far_is_found_at_its_load(way: Any) -> None:
    body = """
    mov.u32 %r0, 0;
    mov.u32 %r1, 0;
    NEXT:
    mad.wide.u32 %a, %r0, 4, %in;
    ld.global.u32 %r2, [%a];
    add.u32 %r1, %r1, %r2;
    add.u32 %r0, %r0, 1;
    setp.le.u32 %p0, %r0, 64;
    @%p0 bra NEXT;
    st.global.u32 [%place], %r1;
    """
    found = only_finding(body, numbers(64), 64, way=way)
    assert_at(found, "out-of-bounds", body, "ld.global", 0)
    assert (found.buffer, found.address, found.element) == ("in", 256, 64)


@checked
def test_between_two_buffers_is_no_buffer(way: Any) -> None:
    body = """
    sub.u64 %a, %out, %in;
    shr.u64 %a, %a, 3;
    shl.b64 %a, %a, 2;
    add.u64 %a, %in, %a;
    ld.global.u32 %r0, [%a];
    st.global.u32 [%place], %r0;
    """
    found = only_finding(body, numbers(64), 64, way=way)
    assert_at(found, "out-of-bounds", body, "ld.global", 0)


@checked
def test_shared_memory_ends_where_it_was_declared_or_asked_to(way: Any) -> None:
    body = """
    mov.u32 %r1, buffer;
    mad.lo.u32 %r1, %tid, 4, %r1;
    st.shared.u32 [%r1+4], %tid;
    """
    found = only_finding(body, numbers(64), 64, way=way, shared="buffer[256]")
    assert_at(found, "out-of-bounds", body, "st.shared", 63)
    assert (found.buffer, found.address) == ("shared memory", 256)
    assert answer(body, numbers(64), 64, way=way, shared="buffer[260]").size == 64

    options: Any = {"functions": ".extern .shared .align 8 .b8 buffer[];", "way": way}
    found = only_finding(body, numbers(64), 64, dynamic=256, **options)
    assert_at(found, "out-of-bounds", body, "st.shared", 63)
    assert answer(body, numbers(64), 64, dynamic=260, **options).size == 64


@checked
def test_local_memory_ends_too(way: Any) -> None:
    body = """
    .local .align 4 .b8 mine[64];
    mov.u64 %a, mine;
    st.local.u32 [%a+64], %tid;
    """
    found = only_finding(body, numbers(64), 64, way=way)
    assert_at(found, "out-of-bounds", body, "st.local", 0)


# uninitialised


@checked
def test_shared_and_local_memory_begin_uninitialised_in_every_block(way: Any) -> None:
    shared = """
    mov.u32 %r1, buffer;
    setp.ne.u32 %p0, %cta, 0;
    @%p0 ld.shared.u32 %r0, [%r1+8];
    st.shared.u32 [%r1+8], %r1;
    """
    found = only_finding(shared, numbers(1), 1, way=way, shared="buffer[16]", block=(1, 1, 1), grid=(3, 1, 1))
    assert_at(found, "uninitialized-read", shared, "@%p0 ld", 0, 1)
    assert (found.buffer, found.address) == ("shared memory", 8)

    local = """
    .local .align 4 .b8 mine[64];
    mov.u64 %a, mine;
    st.local.u32 [%a+4], %tid;
    ld.local.u32 %r0, [%a+4];
    ld.local.u32 %r0, [%a+8];
    """
    found = only_finding(local, numbers(64), 64, way=way)
    assert (found.kind, found.line) == ("uninitialized-read", line_of(local, "%r0, [%a+8]"))


@checked
def test_one_byte_that_was_never_written_is_enough(way: Any) -> None:
    body = """
    st.global.u16 [%place], %r0;
    st.global.u8 [%place+2], %r0;
    ld.global.u16 %r1, [%place];
    ld.global.u32 %r2, [%place];
    """.replace("%r0", "7").replace("%r1", "%t")
    found = only_finding(body, numbers(64), 64, way=way)
    assert (found.kind, found.line) == ("uninitialized-read", line_of(body, "ld.global.u32"))


def test_a_debug_build_copies_objects_with_their_padding() -> None:
    body = """
    .local .align 4 .b8 mine[8];
    mov.u64 %a, mine;
    st.local.u8 [%a], %tid;
    ld.local.u32 %r0, [%a];
    st.local.u32 [%a+4], %r0;
    ld.local.u8 %r1, [%a+4];
    st.global.u32 [%place], %r1;
    """
    found = only_finding(body, numbers(64), 64, way=(32, True))
    assert (found.kind, found.line) == ("uninitialized-read", line_of(body, "%r0, [%a]"))
    text = kernel(body).replace(".target sm_80", ".target sm_80, debug")
    buffers = (Buffer("in", "uint32", 64, "input", numbers(64)), Buffer("out", "uint32", 64, "output"))
    launch = Launch("k", (1, 1, 1), (64, 1, 1), ("in", "out"))
    for width in (32, 1):
        outcome = run_job(Job(text, (launch,), buffers, check=True, width=width))  # type: ignore[arg-type]
        assert outcome.status == "ok", outcome.findings
        np.testing.assert_array_equal(outcome.buffers["out"], np.arange(64))


# races in shared memory

HEAD = """
mov.u32 %r1, buffer;
mad.lo.u32 %r2, %tid, 4, %r1;
xor.b32 %r3, %r2, {other};
"""


def racing(other: int, *lines: str) -> str:
    return HEAD.format(other=other) + "\n".join(lines) + "\nst.global.u32 [%place], %r4;"


def races(body: str, way: Any, shared: str = "buffer[256]", **options: Any) -> dict[int, Finding]:
    """Findings by line; a race is found at either end, as threads come by."""
    outcome = run(body, numbers(64), 64, way=way, shared=shared, **options)
    assert {f.kind for f in outcome.findings} == {"data-race"}, outcome.findings
    return {f.line: f for f in outcome.findings}


def quiet(body: str, way: Any, **options: Any) -> None:
    for seed in (None, 1):
        outcome = run(body, numbers(64), 64, way=way, shared="buffer[256]", seed=seed, **options)
        assert outcome.status == "ok", outcome.findings


RAW = ("st.shared.u32 [%r2], %tid;", "ld.shared.u32 %r4, [%r3];")
WAR = ("mov.u32 %r4, 0;", "ld.shared.u32 %r4, [%r3];", "st.shared.u32 [%r2], %tid;")
BARRIER = "bar.sync 0;"


@checked
@pytest.mark.parametrize("other", [128, 4], ids=["between-warps", "within-a-warp"])
def test_reading_what_another_thread_wrote_without_waiting(other: int, way: Any) -> None:
    body = racing(other, "st.shared.u32 [%r2], 0;", BARRIER, *RAW)
    found = races(body, way)
    read = line_of(body, RAW[1])
    assert {read} <= found.keys() <= {read, line_of(body, RAW[0])}
    thread = found[read].thread
    assert thread is not None
    writer = thread[0] ^ (other // 4)
    assert (found[read].buffer, found[read].address) == ("shared memory", 4 * writer)
    assert found[read].column == 1
    assert f"thread ({writer}, 0, 0) accesses them too" in found[read].message


@checked
@pytest.mark.parametrize("other", [128, 4], ids=["between-warps", "within-a-warp"])
def test_overwriting_what_another_thread_still_reads(other: int, way: Any) -> None:
    body = racing(other, RAW[0], BARRIER, RAW[1], "st.shared.u32 [%r2], %r4;")
    found = races(body, way)
    write = line_of(body, "st.shared.u32 [%r2], %r4")
    assert {write} <= found.keys() <= {write, line_of(body, RAW[1])}
    assert found[write].thread is not None
    assert found[write].address == 4 * found[write].thread[0]


@checked
@pytest.mark.parametrize("shift", [5, 1], ids=["between-warps", "within-a-warp"])
def test_two_threads_writing_different_values(shift: int, way: Any) -> None:
    body = f"""
    mov.u32 %r1, buffer;
    shr.u32 %r2, %tid, {shift};
    and.b32 %r2, %r2, 0;
    mad.lo.u32 %r2, %r2, 4, %r1;
    st.shared.u32 [%r2], %tid;
    """
    found = races(body, way)[line_of(body, "st.shared")]
    assert_at(found, "data-race", body, "st.shared", 1)
    assert (found.buffer, found.address) == ("shared memory", 0)
    assert "thread (0, 0, 0)" in found.message


@checked
def test_a_race_of_a_single_byte(way: Any) -> None:
    body = racing(
        128,
        "st.shared.u32 [%r2], %tid;",
        BARRIER,
        "st.shared.u8 [%r2+3], 200;",
        "ld.shared.u8 %t, [%r3+2];",
        "ld.shared.u32 %r4, [%r3];",
    )
    found = races(body, way)
    read = line_of(body, "ld.shared.u32")
    assert {read} <= found.keys() <= {read, line_of(body, "st.shared.u8")}


@checked
def test_an_atomic_races_with_a_plain_read(way: Any) -> None:
    body = racing(
        128,
        "st.shared.u32 [%r2], 0;",
        BARRIER,
        "atom.shared.add.u32 %r4, [%r2], 1;",
        "ld.shared.u32 %r4, [%r3];",
    )
    assert line_of(body, RAW[1]) in races(body, way)


@checked
@pytest.mark.parametrize(
    "lines",
    [
        (RAW[0], BARRIER, RAW[1]),
        (RAW[0], BARRIER, RAW[1], BARRIER, "st.shared.u32 [%r2], %r4;"),
        ("st.shared.u32 [%r2], %tid;", "ld.shared.u32 %r4, [%r2];", "st.shared.u32 [%r2], %r4;"),
    ],
    ids=["waited", "waited-twice", "its-own"],
)
@pytest.mark.parametrize("other", [128, 4])
def test_what_barriers_separate_is_no_race(other: int, lines: tuple[str, ...], way: Any) -> None:
    quiet(racing(other, *lines), way)


@checked
@pytest.mark.parametrize(
    "meeting",
    [
        "bar.warp.sync 0xffffffff;",
        "shfl.sync.idx.b32 %r5, %tid, 0, 31, 0xffffffff;",
        "vote.sync.ballot.b32 %r5, %p0, 0xffffffff;",
    ],
)
def test_a_warp_that_meets_is_ordered_within_itself(meeting: str, way: Any) -> None:
    set_up = "setp.eq.u32 %p0, %tid, 0;"
    quiet(racing(4, set_up, RAW[0], meeting, RAW[1], meeting, "st.shared.u32 [%r2], %r4;"), way)
    between = racing(128, set_up, "st.shared.u32 [%r2], 0;", BARRIER, RAW[0], meeting, RAW[1])
    assert line_of(between, RAW[1]) in races(between, way)


@checked
def test_atomics_volatile_accesses_and_equal_stores_do_not_race(way: Any) -> None:
    start = ("setp.ne.u32 %p0, %tid, 0;", "@!%p0 st.shared.u32 [%r1], 0;", BARRIER)
    quiet(racing(4, *start, "atom.shared.add.u32 %r4, [%r1], 1;", "atom.shared.max.u32 %r4, [%r1], 9;"), way)
    quiet(racing(4, *start, "st.volatile.shared.u32 [%r1], %tid;", "ld.volatile.shared.u32 %r4, [%r1];"), way)
    quiet(racing(4, "mov.u32 %r4, 0;", "st.shared.u32 [%r1], 42;"), way)
    quiet(racing(4, "mov.u32 %r4, 0;", "st.shared.u32 [%r1], 42;", BARRIER, "ld.shared.u32 %r4, [%r1];"), way)


HANDED_ON = """
mov.u32 %r1, buffer;
mad.lo.u32 %r2, %tid, 4, %r1;
setp.eq.u32 %p0, %tid, 0;
@%p0 st.shared.u32 [%r1+256], 0;
bar.sync 0;
setp.ge.u32 %p1, %tid, 32;
@%p1 bra TAKE;
st.shared.u32 [%r2], %tid;
bar.warp.sync 0xffffffff;
@%p0 atom.HAND.cta.shared.or.b32 %r4, [%r1+256], 1;
bra DONE;
TAKE:
ld.TAKEN.cta.shared.u32 %r4, [%r1+256];
setp.eq.u32 %p2, %r4, 0;
@%p2 bra TAKE;
ld.shared.u32 %r4, [%r2+-128];
st.global.u32 [%place], %r4;
DONE:
"""


@checked
def test_warps_that_hand_on_by_flags_in_shared_memory_are_ordered_where_they_acquire(way: Any) -> None:
    options: Any = {"shared": "buffer[260]", "way": way}
    for hand in ("acq_rel", "release"):
        body = HANDED_ON.replace("HAND", hand).replace("TAKEN", "acquire")
        got = answer(body, numbers(64), 64, **options)
        np.testing.assert_array_equal(got[32:], np.arange(32))
    relaxed = HANDED_ON.replace("HAND", "relaxed").replace("TAKEN", "relaxed")
    found = only_finding(relaxed, numbers(64), 64, **options)
    assert (found.kind, found.line) == ("data-race", line_of(relaxed, "[%r2+-128]"))


DOUBLE = """
mov.u32 %r0, 0;
mov.u32 %r4, %tid;
mov.u32 %r1, buffer;
NEXT:
and.b32 %r5, %r0, 1;
mad.lo.u32 %r5, %r5, 256, %r1;
mad.lo.u32 %r2, %tid, 4, %r5;
st.shared.u32 [%r2], %r4;
bar.sync 0;
xor.b32 %r3, %tid, 33;
mad.lo.u32 %r3, %r3, 4, %r5;
ld.shared.u32 %r6, [%r3];
add.u32 %r4, %r4, %r6;
add.u32 %r0, %r0, 1;
setp.lt.u32 %p0, %r0, 6;
@%p0 bra NEXT;
st.global.u32 [%place], %r4;
"""


@checked
def test_double_buffering_needs_one_barrier_a_turn(way: Any) -> None:
    want = np.arange(64, dtype=np.uint32)
    for _ in range(6):
        want = want + want[np.arange(64) ^ 33]
    options: Any = {"shared": "buffer[512]", "way": way, "grid": (2, 1, 1)}
    np.testing.assert_array_equal(answer(DOUBLE, numbers(128), 128, **options)[:64], want)
    single = DOUBLE.replace("and.b32 %r5, %r0, 1;", "mov.u32 %r5, 0;")
    outcome = run(single, numbers(128), 128, **options)
    assert {f.kind for f in outcome.findings} == {"data-race"}


@checked
def test_vector_accesses_of_shared_memory_are_no_race(way: Any) -> None:
    body = """
    mov.u32 %r1, buffer;
    mad.lo.u32 %r2, %tid, 16, %r1;
    st.shared.v4.u32 [%r2], {%tid, %gid, %cta, %tid};
    bar.sync 0;
    xor.b32 %r2, %r2, 512;
    ld.shared.v4.u32 {%r3, %r4, %r5, %r6}, [%r2];
    add.u32 %r3, %r3, %r6;
    st.global.u32 [%place], %r3;
    """
    got = answer(body, numbers(64), 64, way=way, shared="buffer[1024]")
    np.testing.assert_array_equal(got, 2 * (np.arange(64) ^ 32))


@checked
def test_blocks_that_follow_each_other_in_shared_memory_do_not_race(way: Any) -> None:
    body = racing(128, *RAW[:1], BARRIER, RAW[1])
    for seed in (None, 5):
        outcome = run(body, numbers(512), 512, way=way, shared="buffer[256]", grid=(8, 1, 1), seed=seed)
        assert outcome.status == "ok", outcome.findings


@checked
def test_each_instruction_is_reported_once_however_many_threads_err(way: Any) -> None:
    body = """
    ld.global.u32 %r0, [%place];
    ld.global.u32 %r1, [%mine+2];
    st.global.u32 [%place], %r0;
    """
    outcome = run(body, numbers(1024), 1024, grid=(16, 1, 1), way=way)
    assert sorted(f.kind for f in outcome.findings) == ["misaligned", "uninitialized-read"]


# outputs and inputs


@checked
def test_unwritten_elements_are_told_exactly(way: Any) -> None:
    body = """
    rem.u32 %r0, %tid, 3;
    setp.eq.u32 %p0, %r0, 1;
    @!%p0 st.global.u16 [%place], %tid;
    setp.eq.u32 %p0, %r0, 2;
    @%p0 st.global.u16 [%place+2], %tid;
    """.replace(", %tid;\n    setp", ", 7;\n    setp").replace("+2], %tid", "+2], 7")
    outcome = run(body, numbers(64), 70, way=way)
    assert outcome.status == "ok"
    want = np.ones(70, bool)
    want[2:64:3] = False
    np.testing.assert_array_equal(outcome.unwritten["out"], want)


def aliased(body: str, way: tuple[int, bool]) -> Outcome:
    data = numbers(64)
    return run_job(
        Job(
            kernel(body),
            (Launch("k", (1, 1, 1), (64, 1, 1), ("in", "out")),),
            (Buffer("in", "uint32", 64, "input", data), Buffer("out", "uint32", 64, "output", alias="in")),
            width=way[0],  # type: ignore[arg-type]
            check=way[1],
        )
    )


@checked
def test_an_input_that_is_the_output_too_may_be_written(way: Any) -> None:
    outcome = aliased("ld.global.u32 %r0, [%mine];\nadd.u32 %r0, %r0, 1;\nst.global.u32 [%place], %r0;", way)
    assert outcome.status == "ok"
    np.testing.assert_array_equal(outcome.buffers["out"], numbers(64) + 1)


def test_fast_mode_names_the_inputs_that_changed() -> None:
    outcome = run("st.global.u32 [%mine], %tid;\nst.global.u32 [%place], %tid;", numbers(64), 64)
    assert outcome.changed == ("in",)
    outcome = run("ld.global.u32 %r0, [%mine];\nst.global.u32 [%place], %r0;", numbers(64), 64)
    assert outcome.changed == ()


@checked
def test_parameters_tables_and_constants_are_read_freely(way: Any) -> None:
    functions = ".const .align 4 .u32 table[3] = {5, 6, 7}; .global .align 4 .u32 other[2] = {8, 9};"
    body = """
    ld.param.u64 %a, [in];
    ld.const.u32 %r0, [table+8];
    ld.global.u32 %r1, [other+4];
    ld.global.u32 %r2, [%a];
    add.u32 %r0, %r0, %r1;
    st.global.u32 [%place], %r0;
    """
    np.testing.assert_array_equal(
        answer(body, numbers(64), 64, functions=functions, way=way), np.full(64, 16)
    )
    past = body.replace("table+8", "table+12")
    found = only_finding(past, numbers(64), 64, functions=functions, way=way)
    assert (found.kind, found.buffer, found.address) == ("out-of-bounds", "module variable table", 12)


# fast mode: pages and canaries


def overrun(offset: int, guard: str, size: int = 1024) -> None:
    faulthandler.disable()
    body = f"add.u64 %a, %out, {offset};\nst.global.u32 [%a], %tid;"
    run(body, numbers(1), size, block=(1, 1, 1), guard=guard)


def exit_code(offset: int, guard: str) -> int | None:
    child = multiprocessing.get_context("fork").Process(target=overrun, args=(offset, guard))
    child.start()
    child.join(60)
    return child.exitcode


@pytest.mark.parametrize(
    ("offset", "guard", "dies"),
    [
        (4096, "after", True),
        (4096 + 200_000, "after", True),
        (-4, "before", True),
        (-4 - 65536, "before", True),
        (4092, "after", False),
        (0, "before", False),
    ],
)
def test_an_overrun_of_unchecked_code_ends_its_process(offset: int, guard: str, dies: bool) -> None:
    assert (exit_code(offset, guard) == -11) is dies


@pytest.mark.parametrize(("size", "offset"), [(10, 40), (1, 4), (1000, 4000)])
def test_a_small_overrun_of_unchecked_code_breaks_the_canary(size: int, offset: int) -> None:
    body = f"st.global.u8 [%out+{offset}], 1;"
    found = only_finding(body, numbers(1), size, block=(1, 1, 1))
    assert (found.kind, found.buffer, found.address) == ("out-of-bounds", "out", offset)


def test_writing_before_a_buffer_breaks_the_canary_there() -> None:
    found = only_finding("st.global.u8 [%out+-3], 1;", numbers(1), 10, block=(1, 1, 1))
    assert (found.kind, found.buffer, found.address) == ("out-of-bounds", "out", -3)


def test_a_kernel_without_parameters_is_checked_as_well() -> None:
    body = ".shared .align 4 .b8 s[4]; .reg .u32 %r;\nld.shared.u32 %r, [s]; ret;"
    text = f"{HEADER}.visible .entry k() {{ {body} }}"
    outcome = run_job(Job(text, (Launch("k", (1, 1, 1), (32, 1, 1), ()),), (), check=True))
    assert [(f.kind, f.line) for f in outcome.findings] == [("uninitialized-read", 5)]


# barriers with numbers, counts and results


@checked
@pytest.mark.parametrize(
    "meeting",
    [
        "bar.sync 3, 64;",
        "bar.red.popc.u32 %r5, 2, %p1;",
        "bar.red.and.pred %p2, 2, 64, %p1;",
        "barrier.red.or.pred %p2, 2, 64, %p1;",
        "@%p0 bar.arrive 5, 64;\n@!%p0 bar.sync 5, 64;",
    ],
)
def test_what_a_counted_barrier_separates_is_no_race(meeting: str, way: Any) -> None:
    """Warp 0 writes and warp 1 reads, once it has waited."""
    body = racing(
        128,
        "setp.lt.u32 %p0, %tid, 32;",
        "setp.lt.u32 %p1, %tid, 40;",
        "mov.u32 %r4, 0;",
        "@%p0 st.shared.u32 [%r2], %tid;",
        meeting,
        "@!%p0 ld.shared.u32 %r4, [%r3];",
    )
    for seed in (None, 1, 2):
        outcome = run(body, numbers(64), 64, way=way, shared="buffer[256]", seed=seed)
        assert outcome.status == "ok", outcome.findings
        assert outcome.buffers["out"].tolist() == [0] * 32 + list(range(32))


@checked
def test_who_only_arrives_is_not_ordered_after_the_others(way: Any) -> None:
    """The warp that waited writes; the one that only arrived reads without waiting."""
    body = racing(
        128,
        "setp.lt.u32 %p0, %tid, 32;",
        "st.shared.u32 [%r2], %tid;",
        "bar.sync 0;",
        "@!%p0 bar.sync 5, 64;",
        "@!%p0 st.shared.u32 [%r3], %r1;",
        "@%p0 bar.arrive 5, 64;",
        "@%p0 ld.shared.u32 %r4, [%r2];",
        "mov.u32 %r4, 0;",
    )
    write = line_of(body, "@!%p0 st.shared")
    for seed in (None, 1, 2):
        found = races(body, way, seed=seed)
        assert write in found
        assert found.keys() <= {write, line_of(body, "@%p0 ld.shared")}
        assert "accesses them too" in found[write].message
