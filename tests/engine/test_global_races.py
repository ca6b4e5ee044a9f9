"""Races in global memory within a launch: between blocks and within one; and what only looks like them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmptx.record import Finding
from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch, Outcome
from tests.engine.kernels import kernel, line_of

checked = pytest.mark.parametrize("way", [(32, True), (1, True)], ids=["warp", "thread"])
ORDERS = (None, 1, 2)


def launch(
    body: str, way: Any, grid: int = 4, block: int = 64, seed: int | None = None, launches: int = 1
) -> Outcome:
    """The kernel on two buffers of zeros that it may read and write."""
    size = 1024
    return run_job(
        Job(
            kernel(body),
            (Launch("k", (grid, 1, 1), (block, 1, 1), ("in", "out")),) * launches,
            tuple(Buffer(n, "uint32", size, "inout", np.zeros(size, np.uint32)) for n in ("in", "out")),
            width=way[0],
            check=way[1],
            seed=seed,
        )
    )


def races(body: str, way: Any, **options: Any) -> dict[int, Finding]:
    """Findings by line, all of them races."""
    outcome = launch(body, way, **options)
    assert {f.kind for f in outcome.findings} == {"data-race"}, outcome.findings
    return {f.line: f for f in outcome.findings}


def quiet(body: str, way: Any, **options: Any) -> Outcome:
    for seed in ORDERS:
        outcome = launch(body, way, seed=seed, **options)
        assert outcome.status == "ok", outcome.findings
    return outcome


@checked
def test_blocks_that_write_one_place_race(way: Any) -> None:
    body = "add.u32 %r1, %cta, 1;\nst.global.u32 [%out+8], %r1;"
    found = races(body, way)[line_of(body, "st.global")]
    assert (found.block, found.thread) == ((1, 0, 0), (0, 0, 0))
    assert (found.buffer, found.address, found.column) == ("out", 8, 1)
    assert "thread (63, 0, 0) of block (0, 0, 0)" in found.message


@checked
def test_a_block_that_reads_what_another_wrote_races(way: Any) -> None:
    body = """
    add.u32 %r1, %gid, 1;
    st.global.u32 [%place], %r1;
    bar.sync 0;
    xor.b32 %r2, %gid, 64;
    mad.wide.u32 %a, %r2, 4, %out;
    ld.global.u32 %r3, [%a];
    st.global.u32 [%mine], %r3;
    """
    found = races(body, way)
    assert found.keys() <= {line_of(body, "ld.global"), line_of(body, "st.global.u32 [%place]")}
    assert all(f.buffer == "out" for f in found.values())
    quiet(body.replace("64;", "32;"), way)


@checked
def test_a_stencil_in_place_races_at_the_edges_of_blocks(way: Any) -> None:
    body = """
    ld.global.u32 %r1, [%place+4];
    bar.sync 0;
    add.u32 %r1, %r1, %gid;
    add.u32 %r1, %r1, 1;
    st.global.u32 [%place], %r1;
    """
    for seed in ORDERS:
        found = races(body, way, seed=seed)
        assert found.keys() <= {line_of(body, "ld.global"), line_of(body, "st.global")}
    quiet(body, way, grid=1)


@checked
def test_a_sum_without_atomics_races(way: Any) -> None:
    body = """
    setp.ne.u32 %p0, %tid, 0;
    @%p0 bra END;
    ld.global.u32 %r1, [%out];
    add.u32 %r1, %r1, 1;
    st.global.u32 [%out], %r1;
    END:
    """
    found = races(body, way)
    assert line_of(body, "ld.global") in found
    quiet(body, way, grid=1)
    whole = body.replace("ld.global.u32 %r1, [%out];", "red.global.add.u32 [%out], 1;")
    quiet(whole.replace("add.u32 %r1, %r1, 1;\n    st.global.u32 [%out], %r1;", ""), way)


@checked
def test_zeroing_a_sum_that_other_blocks_add_to_races(way: Any) -> None:
    body = """
    setp.eq.u32 %p0, %gid, 0;
    @%p0 st.global.u32 [%out], 5;
    bar.sync 0;
    red.global.add.u32 [%out], 1;
    """
    for seed in ORDERS:
        assert races(body, way, seed=seed).keys() <= {line_of(body, "red"), line_of(body, "@%p0 st")}
    quiet(body, way, grid=1)


@checked
def test_shared_atomics_do_not_order_blocks(way: Any) -> None:
    body = """
    .shared .align 4 .b8 counts[256];
    mov.u32 %r1, counts;
    mad.lo.u32 %r1, %tid, 4, %r1;
    st.shared.u32 [%r1], 0;
    bar.sync 0;
    red.shared.add.u32 [%r1], 1;
    bar.sync 0;
    ld.shared.u32 %r2, [%r1];
    mad.wide.u32 %a, %tid, 4, %out;
    ld.global.u32 %r3, [%a];
    add.u32 %r3, %r3, %r2;
    st.global.u32 [%a], %r3;
    """
    found = races(body, way)
    assert found[line_of(body, "ld.global")].block == (1, 0, 0)


@checked
@pytest.mark.parametrize("other", [1, 32], ids=["within-a-warp", "between-warps"])
def test_within_a_block_a_barrier_is_needed(other: int, way: Any) -> None:
    body = f"""
    add.u32 %r1, %gid, 1;
    st.global.u32 [%place], %r1;
    //
    xor.b32 %r2, %gid, {other};
    mad.wide.u32 %a, %r2, 4, %out;
    ld.global.u32 %r3, [%a];
    st.global.u32 [%mine], %r3;
    """
    found = races(body, way)
    assert found.keys() <= {line_of(body, "ld.global"), line_of(body, "st.global.u32 [%place]")}
    assert "no barrier in between" in next(iter(found.values())).message
    quiet(body.replace("//", "bar.sync 0;"), way)
    if other == 1:
        quiet(body.replace("//", "bar.warp.sync -1;"), way)


@checked
def test_launches_are_ordered(way: Any) -> None:
    body = """
    xor.b32 %r2, %gid, 64;
    mad.wide.u32 %a, %r2, 4, %in;
    ld.global.u32 %r3, [%a];
    add.u32 %r3, %r3, 1;
    st.global.u32 [%place], %r3;
    """
    quiet(body, way, launches=2)
    again = Job(
        kernel(body),
        tuple(Launch("k", (4, 1, 1), (64, 1, 1), args) for args in (("in", "out"), ("out", "in")) * 2),
        tuple(Buffer(n, "uint32", 256, "inout", np.zeros(256, np.uint32)) for n in ("in", "out")),
        width=way[0],
        check=True,
    )
    outcome = run_job(again)
    assert outcome.status == "ok", outcome.findings


@checked
def test_blocks_that_store_the_same_do_not_race(way: Any) -> None:
    quiet("st.global.u32 [%out], 42;", way)
    quiet("ld.global.u32 %r1, [%out];\nst.global.u32 [%place+64], %r1;", way)


LAST_BLOCK = """
setp.ne.u32 %p0, %tid, 0;
@%p0 bra END;
add.u32 %r1, %cta, 1;
mad.wide.u32 %a, %cta, 4, %out;
st.global.u32 [%a+256], %r1;
membar.gl;
atom.global.add.u32 %r2, [%out], 1;
setp.ne.u32 %p1, %r2, 3;
@%p1 bra END;
ld.global.u32 %r3, [%out+256];
ld.global.u32 %r4, [%out+260];
ld.global.u32 %r5, [%out+264];
ld.global.u32 %r6, [%out+268];
add.u32 %r3, %r3, %r4;
add.u32 %r5, %r5, %r6;
add.u32 %r3, %r3, %r5;
st.global.u32 [%out+512], %r3;
st.global.u32 [%out], 0;
END:
"""


@checked
def test_the_last_block_may_read_what_all_have_written(way: Any) -> None:
    assert quiet(LAST_BLOCK, way).buffers["out"][128] == 10
    early = LAST_BLOCK.replace("membar.gl;", "").replace("st.global.u32 [%a+256], %r1;", "")
    early = early.replace("setp.ne.u32 %p1", "st.global.u32 [%a+256], %r1;\nsetp.ne.u32 %p1")
    found = races(early, way)
    assert found.keys() <= {line_of(early, f"[%out+{at}]") for at in (256, 260, 264)}


@checked
def test_what_a_lock_guards_does_not_race(way: Any) -> None:
    body = """
    setp.ne.u32 %p0, %tid, 0;
    @%p0 bra END;
    TAKE:
    atom.global.cas.b32 %r1, [%in], 0, 1;
    setp.ne.u32 %p1, %r1, 0;
    @%p1 bra TAKE;
    ld.global.u32 %r2, [%out];
    add.u32 %r2, %r2, 1;
    st.global.u32 [%out], %r2;
    membar.gl;
    atom.global.exch.b32 %r3, [%in], 0;
    END:
    """
    assert quiet(body, way).buffers["out"][0] == 4
    after = body.replace("    st.global.u32 [%out], %r2;\n", "").replace(
        "    END:", "    st.global.u32 [%out], %r2;\n    END:"
    )
    assert line_of(after, "ld.global") in races(after, way)


@checked
def test_local_memory_is_each_thread_its_own(way: Any) -> None:
    body = """
    .local .align 4 .b8 spill[64];
    mov.u64 %a, spill;
    st.local.u32 [%a+4], %gid;
    ld.local.u32 %r1, [%a+4];
    st.global.u32 [%place], %r1;
    """
    quiet(body, way)


@checked
def test_a_loop_of_compare_and_swap_may_begin_with_a_plain_read(way: Any) -> None:
    body = """
    ld.global.u32 %r1, [%out];
    AGAIN:
    mov.u32 %r2, %r1;
    add.u32 %r3, %r2, 3;
    atom.global.cas.b32 %r1, [%out], %r2, %r3;
    setp.ne.u32 %p0, %r1, %r2;
    @%p0 bra AGAIN;
    """
    assert quiet(body, way).buffers["out"][0] == 3 * 256
