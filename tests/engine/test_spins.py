"""Loops in which a thread waits for another thread of its block run one thread at a time; no others do."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.engine import compile_entry
from llmptx.ptx import parse
from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch

KERNEL = """
.version 8.0
.target sm_80
.address_size 64
.shared .align 4 .b32 flag[2];
.visible .entry k(.param .u64 a, .param .u64 out)
{{
    .reg .pred %p<4>;
    .reg .b32 %r<16>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd0, [a];
    ld.param.u64 %rd1, [out];
    mov.u32 %r0, %tid.x;
    mul.wide.u32 %rd2, %r0, 4;
    add.s64 %rd3, %rd1, %rd2;
{body}
DONE:
    ret;
}}
"""

# Behind each loop stands what the neighbours wait for.
LOCK = """
TRY:
    mov.u32 %r1, 1;
    atom.global.cas.b32 %r2, [%rd0], 0, %r1;
    setp.ne.s32 %p0, %r2, 0;
    @%p0 bra TRY;
    ld.volatile.global.u32 %r3, [%rd0+4];
    add.u32 %r4, %r3, 1;
    st.volatile.global.u32 [%rd0+4], %r4;
    membar.gl;
    atom.global.exch.b32 %r5, [%rd0], 0;
    st.global.u32 [%rd3], 7;
"""
EXCHANGE = LOCK.replace("atom.global.cas.b32 %r2, [%rd0], 0, %r1", "atom.global.exch.b32 %r2, [%rd0], %r1")
IN_TURN = """
TRY:
    nanosleep.u32 20;
    ld.acquire.gpu.global.u32 %r2, [%rd0];
    setp.ne.u32 %p0, %r2, %r0;
    @%p0 bra TRY;
    ld.volatile.global.u32 %r3, [%rd0+4];
    add.u32 %r4, %r3, 1;
    st.volatile.global.u32 [%rd0+4], %r4;
    add.u32 %r5, %r2, 1;
    st.global.u32 [%rd3], 7;
    st.release.gpu.global.u32 [%rd0], %r5;
"""
WAITING = {"lock": LOCK, "exchange": EXCHANGE, "turns": IN_TURN}

ONE_LANE = """
    setp.ne.u32 %p1, %r0, 3;
    @%p1 bra DONE;
TRY:
    atom.global.add.u32 %r2, [%rd0], 0;
    setp.eq.u32 %p0, %r2, 1;
    @%p0 bra TRY;
"""
NEXT_ITEM = """
TRY:
    atom.global.add.u32 %r2, [%rd0], 1;
    setp.lt.u32 %p0, %r2, 300;
    @%p0 bra TRY;
"""
MAXIMUM = """
    ld.global.u32 %r2, [%rd0];
TRY:
    mov.u32 %r1, %r2;
    max.u32 %r3, %r1, %r0;
    atom.global.cas.b32 %r2, [%rd0], %r1, %r3;
    setp.ne.u32 %p0, %r2, %r1;
    @%p0 bra TRY;
"""
COUNTED = """
    mov.u32 %r1, 0;
TRY:
    ld.global.u32 %r2, [%rd0];
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p0, %r1, %r2;
    @%p0 bra TRY;
"""
OTHERS = {"one lane": ONE_LANE, "next item": NEXT_ITEM, "maximum": MAXIMUM, "counted": COUNTED}
named = {"ids": [*WAITING, *OTHERS]}


@pytest.mark.parametrize("body", WAITING.values(), ids=WAITING)
@pytest.mark.parametrize("check", [False, True])
def test_lanes_of_a_warp_get_through_one_by_one(body: str, check: bool) -> None:
    state = np.array([0, 5], np.uint32)
    buffers = (Buffer("a", "<u4", 2, "output", state), Buffer("out", "<u4", 40, "output"))
    launch = Launch("k", (1, 1, 1), (40, 1, 1), ("a", "out"))
    outcome = run_job(Job(KERNEL.format(body=body), (launch,), buffers, check=check, budget=100_000))
    assert outcome.status == "ok", outcome.findings
    assert outcome.buffers["a"][1] == 45
    assert outcome.buffers["out"].tolist() == [7] * 40


@pytest.mark.parametrize(
    ("body", "width"), [*((b, 1) for b in WAITING.values()), *((b, 32) for b in OTHERS.values())], **named
)
def test_only_loops_that_wait_for_a_neighbour_take_the_slow_way(body: str, width: int) -> None:
    made = compile_entry(parse(KERNEL.format(body=body)), "k", (64, 1, 1))
    assert made.lowered.width == width


def test_a_flag_in_shared_memory_is_waited_for_even_by_one_lane() -> None:
    body = ONE_LANE.replace("atom.global.add.u32 %r2, [%rd0], 0", "atom.shared.or.b32 %r2, [flag], 0")
    assert compile_entry(parse(KERNEL.format(body=body)), "k", (64, 1, 1)).lowered.width == 1
