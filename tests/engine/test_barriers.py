"""Threads that wait for each other: barriers, warp operations, free scheduling, and all that never ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmptx.engine import compile_entry
from llmptx.ptx import parse
from tests.engine.kernels import WAYS, answer, column_of, kernel, line_of, numbers, only_finding, run

way_of = pytest.mark.parametrize("way", WAYS, ids=["warp", "warp-checked", "thread", "thread-checked"])
threads_of = pytest.mark.parametrize("way", WAYS[2:], ids=["thread", "thread-checked"])

SUM = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, buffer;
mad.lo.u32 %r2, %tid, 4, %r1;
st.shared.u32 [%r2], %r0;
shr.u32 %r3, %threads, 1;
HALVE:
bar.sync 0;
setp.ge.u32 %p0, %tid, %r3;
@%p0 bra SKIP;
mad.lo.u32 %r4, %r3, 4, %r2;
ld.shared.u32 %r5, [%r4];
ld.shared.u32 %r6, [%r2];
add.u32 %r6, %r6, %r5;
st.shared.u32 [%r2], %r6;
SKIP:
shr.u32 %r3, %r3, 1;
setp.ne.u32 %p0, %r3, 0;
@%p0 bra HALVE;
bar.sync 0;
ld.shared.u32 %r7, [%r1];
st.global.u32 [%place], %r7;
"""


@way_of
@pytest.mark.parametrize("threads", [1, 2, 32, 256, 1024])
def test_a_block_sums_by_halving(threads: int, way: Any) -> None:
    data = numbers(2 * threads)
    options: Any = {"block": (threads, 1, 1), "grid": (2, 1, 1), "shared": "buffer[4096]", "way": way}
    want = np.repeat(data.reshape(2, -1).sum(1, dtype=np.uint32), threads)
    np.testing.assert_array_equal(answer(SUM, data, 2 * threads, **options), want)


SCAN = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, buffer;
mov.u32 %r3, 1;
NEXT:
mad.lo.u32 %r2, %tid, 4, %r1;
st.shared.u32 [%r2], %r0;
bar.sync 1, 96;
setp.lt.u32 %p0, %tid, %r3;
sub.u32 %r4, %tid, %r3;
mad.lo.u32 %r4, %r4, 4, %r1;
@!%p0 ld.shared.u32 %r5, [%r4];
@!%p0 add.u32 %r0, %r0, %r5;
xor.b32 %r6, %r3, 0;
shl.b32 %r3, %r3, 1;
bar.sync 1;
setp.lt.u32 %p1, %r3, %threads;
@%p1 bra NEXT;
st.global.u32 [%place], %r0;
"""


@way_of
def test_a_block_scans_with_two_barriers_in_its_loop(way: Any) -> None:
    data = numbers(96)
    got = answer(SCAN, data, 96, block=(96, 1, 1), shared="buffer[384]", way=way)
    np.testing.assert_array_equal(got, np.cumsum(data, dtype=np.uint32))


# Threads 0..31 make, 32..63 take; barrier 1 says full, 2 says empty.
PRODUCER = """
mov.u32 %r1, buffer;
and.b32 %r2, %tid, 31;
mad.lo.u32 %r2, %r2, 4, %r1;
mov.u32 %r3, 0;
mov.u32 %r4, 0;
setp.ge.u32 %p0, %tid, 32;
@%p0 bra TAKE;
MAKE:
mad.lo.u32 %r5, %r3, 100, %tid;
st.shared.u32 [%r2], %r5;
bar.arrive 1, 64;
bar.sync 2, 64;
add.u32 %r3, %r3, 1;
setp.lt.u32 %p1, %r3, 5;
@%p1 bra MAKE;
ret;
TAKE:
bar.sync 1, 64;
ld.shared.u32 %r5, [%r2];
mad.lo.u32 %r4, %r4, 3, %r5;
bar.arrive 2, 64;
add.u32 %r3, %r3, 1;
setp.lt.u32 %p1, %r3, 5;
@%p1 bra TAKE;
st.global.u32 [%place], %r4;
"""


@way_of
def test_producers_arrive_and_consumers_wait(way: Any) -> None:
    want = np.full(64, 0xA5A5A5A5, np.uint32)
    for lane in range(32):
        total = 0
        for turn in range(5):
            total = 3 * total + 100 * turn + lane
        want[32 + lane] = total
    got = answer(PRODUCER, np.zeros(64, np.uint32), 64, shared="buffer[128]", way=way)
    np.testing.assert_array_equal(got, want)


# Each warp has a barrier of its own, its number in a register; the warps take different numbers of turns.
NAMED = """
mov.u32 %r1, buffer;
shr.u32 %r2, %tid, 5;
add.u32 %r3, %r2, 3;
mov.u32 %r0, %tid;
mov.u32 %r4, 0;
NEXT:
mad.lo.u32 %r5, %tid, 4, %r1;
st.shared.u32 [%r5], %r0;
barrier.sync %r3, 32;
xor.b32 %r6, %r5, 4;
ld.shared.u32 %r7, [%r6];
mad.lo.u32 %r0, %r7, 3, %r0;
barrier.sync %r3, 32;
add.u32 %r4, %r4, 1;
setp.le.u32 %p0, %r4, %r2;
@%p0 bra NEXT;
st.global.u32 [%place], %r0;
"""


@way_of
def test_warps_wait_at_barriers_of_their_own(way: Any) -> None:
    want = np.arange(96, dtype=np.uint32)
    for turn in range(3):
        other = want[np.arange(96) ^ 1]
        want = np.where(np.arange(96) // 32 >= turn, want + 3 * other, want).astype(np.uint32)
    got = answer(NAMED, np.zeros(96, np.uint32), 96, block=(96, 1, 1), shared="buffer[512]", way=way)
    np.testing.assert_array_equal(got, want)


REDUCED = """
ld.global.u32 %r0, [%mine];
setp.gt.u32 %p0, %r0, 100;
bar.red.popc.u32 %r1, 0, %p0;
bar.red.and.pred %p1, 0, %p0;
bar.red.or.pred %p2, 0, !%p0;
selp.u32 %r2, 1000, 0, %p1;
selp.u32 %r3, 2000, 0, %p2;
add.u32 %r1, %r1, %r2;
add.u32 %r1, %r1, %r3;
st.global.u32 [%place], %r1;
"""


@way_of
@pytest.mark.parametrize("low", [0, 101])
def test_barriers_count_and_combine_predicates(low: int, way: Any) -> None:
    data = numbers(80, high=200) % 99 + low
    want = int((data > 100).sum()) + 1000 * bool((data > 100).all()) + 2000 * bool((data <= 100).any())
    got = answer(REDUCED, data.astype(np.uint32), 80, block=(80, 1, 1), way=way)
    np.testing.assert_array_equal(got, np.full(80, want, np.uint32))


SHUFFLES = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, -1;
shfl.sync.down.b32 %r2|%p0, %r0, 3, 31, %r1;
selp.u32 %r3, 1, 0, %p0;
mad.lo.u32 %r4, %r2, 3, %r3;
and.b32 %r5, %r0, 31;
shfl.sync.idx.b32 %r2, %r4, %r5, 31, %r1;
xor.b32 %r4, %r4, %r2;
shfl.sync.up.b32 %r2, %r4, 2, 0x0800, %r1;
add.u32 %r4, %r4, %r2;
shfl.sync.bfly.b32 %r2, %r4, 5, 31, %r1;
xor.b32 %r4, %r4, %r2;
and.b32 %r6, %r4, 1;
setp.eq.u32 %p1, %r6, 1;
vote.sync.ballot.b32 %r7, %p1, %r1;
xor.b32 %r4, %r4, %r7;
vote.sync.any.pred %p2, %p1, %r1;
vote.sync.all.pred %p3, %p1, %r1;
vote.sync.uni.pred %p4, %p3, %r1;
@%p2 add.u32 %r4, %r4, 1;
@%p3 add.u32 %r4, %r4, 2;
@%p4 add.u32 %r4, %r4, 4;
redux.sync.add.u32 %r8, %r0, %r1;
redux.sync.min.s32 %r9, %r0, %r1;
add.u32 %r4, %r4, %r8;
xor.b32 %r4, %r4, %r9;
and.b32 %r10, %r0, 3;
match.any.sync.b32 %r11, %r10, %r1;
match.all.sync.b32 %r12|%p5, %r1, %r1;
xor.b32 %r4, %r4, %r11;
@%p5 xor.b32 %r4, %r4, %r12;
st.global.u32 [%place], %r4;
"""


def shuffled(x: np.ndarray) -> np.ndarray:
    lane = np.arange(32)
    x = x.astype(np.uint64)
    r2 = np.where(lane + 3 < 32, x[(lane + 3) % 32], x)
    r4 = r2 * 3 + (lane + 3 < 32)
    r4 = r4 ^ r4[(x % 32).astype(int)]
    r4 = r4 + np.where(lane % 8 >= 2, r4[lane - 2], r4)
    r4 = (r4 ^ r4[lane ^ 5]) & 0xFFFFFFFF
    odd = r4 % 2 == 1
    r4 = r4 ^ np.uint64((odd << lane).sum())
    r4 = r4 + np.uint64(bool(odd.any()) + 2 * bool(odd.all()) + 4)
    r4 = r4 + x.sum()
    r4 = r4 ^ np.uint64(int(x.astype(np.uint32).view(np.int32).min()) & 0xFFFFFFFF)
    same = (x[:, None] & 3) == (x[None, :] & 3)
    r4 = r4 ^ (same << lane).sum(1).astype(np.uint64)
    return ((r4 ^ 0xFFFFFFFF) & 0xFFFFFFFF).astype(np.uint32)


@way_of
def test_warp_operations_give_the_same_through_the_scheduler(way: Any) -> None:
    data = numbers(64)
    # Lane for lane in segments of eight: segment mask 0x18, no clamp below the segment's start.
    body = SHUFFLES.replace("0x0800", "0x1800")
    want = np.concatenate([shuffled(data[:32]), shuffled(data[32:])])
    np.testing.assert_array_equal(answer(body, data, 64, way=way), want)


HALF = """
ld.global.u32 %r0, [%mine];
and.b32 %r1, %tid, 31;
setp.lt.u32 %p0, %r1, 16;
@%p0 bra LOW;
shfl.sync.bfly.b32 %r0, %r0, 1, 31, 0xffff0000;
activemask.b32 %r2;
bra END;
LOW:
shfl.sync.bfly.b32 %r0, %r0, 2, 31, 0x0000ffff;
activemask.b32 %r2;
END:
bar.warp.sync 0xffffffff;
add.u32 %r0, %r0, %r2;
st.global.u32 [%place], %r0;
"""


@way_of
def test_parts_of_a_warp_exchange_among_themselves(way: Any) -> None:
    data = numbers(64)
    lane = np.arange(64)
    low = lane % 32 < 16
    want = np.where(low, data[lane ^ 2] + np.uint32(0xFFFF), data[lane ^ 1] + np.uint32(0xFFFF0000))
    np.testing.assert_array_equal(answer(HALF, data, 64, way=way), want.astype(np.uint32))


# Lane 0 waits for a flag that lane 5 of its own warp sets.
SPIN = """
mov.u32 %r1, flag;
setp.eq.u32 %p0, %tid, 5;
@%p0 bra SET;
setp.ne.u32 %p1, %tid, 0;
@%p1 bra END;
WAIT:
ld.volatile.shared.u32 %r2, [%r1];
setp.ne.u32 %p2, %r2, 77;
@%p2 bra WAIT;
bra END;
SET:
mov.u32 %r3, 77;
st.volatile.shared.u32 [%r1], %r3;
END:
st.global.u32 [%place], %tid;
"""


def test_a_lane_may_wait_for_a_lane_of_its_own_warp() -> None:
    for seed in (None, 1, 2):
        got = answer(SPIN, np.zeros(64, np.uint32), 64, shared="flag[4]", way=(1, False), seed=seed)
        np.testing.assert_array_equal(got, np.arange(64))


def test_lanes_that_wait_for_each_other_run_one_at_a_time_where_warps_were_asked_for() -> None:
    got = answer(SPIN, np.zeros(32, np.uint32), 32, block=(32, 1, 1), shared="flag[4]", way=(32, False))
    np.testing.assert_array_equal(got, np.arange(32))


# A lock: each thread takes it, adds to a plain word, gives it back; a barrier follows.
LOCK = """
mov.u32 %r1, flag;
mov.u32 %r5, 0;
setp.ne.u32 %p3, %tid, 0;
@!%p3 st.shared.u32 [%r1], %r5;
@!%p3 st.shared.u32 [%r1+4], %r5;
bar.sync 0;
TAKE:
atom.shared.cas.b32 %r2, [%r1], 0, 1;
setp.ne.u32 %p0, %r2, 0;
@%p0 bra TAKE;
ld.volatile.shared.u32 %r3, [%r1+4];
add.u32 %r3, %r3, %tid;
st.volatile.shared.u32 [%r1+4], %r3;
membar.cta;
atom.shared.exch.b32 %r4, [%r1], 0;
bar.sync 0;
ld.shared.u32 %r3, [%r1+4];
st.global.u32 [%place], %r3;
"""


def test_threads_take_turns_at_a_lock() -> None:
    for seed in (None, 3):
        got = answer(LOCK, np.zeros(64, np.uint32), 64, shared="flag[8]", way=(1, False), seed=seed)
        np.testing.assert_array_equal(got, np.full(64, 64 * 63 // 2, np.uint32))


# deadlocks, loops without end, traps

APART = """
setp.lt.u32 %p0, %tid, 32;
@%p0 bra FIRST;
bar.sync 1, 64;
bra END;
FIRST:
bar.sync 2, 64;
END:
st.global.u32 [%place], %tid;
"""


@way_of
def test_warps_at_different_barriers_are_stuck(way: Any) -> None:
    found = only_finding(APART, np.zeros(64, np.uint32), 64, way=way)
    assert found.kind == "barrier-divergence"
    assert found.line in (line_of(APART, "bar.sync 1"), line_of(APART, "bar.sync 2"))
    assert "32 threads from 0 on" in found.message
    assert "32 threads from 32 on" in found.message


MISSING = """
setp.lt.u32 %p0, %tid, 32;
@!%p0 bra END;
barrier.sync 3, 64;
END:
st.global.u32 [%place], %tid;
"""


@way_of
def test_a_barrier_that_waits_for_more_than_come_is_a_deadlock(way: Any) -> None:
    found = only_finding(MISSING, np.zeros(64, np.uint32), 64, way=way)
    assert (found.kind, found.line) == ("deadlock", line_of(MISSING, "barrier.sync 3"))
    assert found.column == column_of(MISSING, "barrier.sync 3")
    assert (found.block, found.thread) == ((0, 0, 0), (0, 0, 0))
    assert "ended" in found.message


PARTNERLESS = """
setp.lt.u32 %p0, %tid, 8;
@%p0 bra FEW;
shfl.sync.idx.b32 %r0, %tid, 0, 31, 0xffffffff;
bra END;
FEW:
bar.warp.sync 0xffffffff;
END:
st.global.u32 [%place], %tid;
"""


@threads_of
def test_lanes_that_name_lanes_which_never_come_are_stuck(way: Any) -> None:
    found = only_finding(PARTNERLESS, np.zeros(32, np.uint32), 32, block=(32, 1, 1), way=way)
    assert found.kind == "deadlock"
    assert "8 threads from 0 on" in found.message
    assert "24 threads from 8 on" in found.message


ENDLESS = """
mov.u32 %r0, 0;
setp.ne.u32 %p0, %tid, 40;
@%p0 bra END;
AGAIN:
add.u32 %r0, %r0, 1;
setp.ne.u32 %p1, %r0, 0xffffffff;
@%p1 bra AGAIN;
END:
st.global.u32 [%place], %r0;
"""


@way_of
def test_a_loop_that_outlives_its_budget_is_a_timeout_at_its_head(way: Any) -> None:
    options: Any = {"grid": (2, 1, 1), "way": way, "budget": 20_000}
    found = only_finding(ENDLESS, np.zeros(128, np.uint32), 128, **options)
    assert (found.kind, found.line) == ("timeout", line_of(ENDLESS, "add.u32"))
    assert (found.block, found.thread, found.lane) == ((0, 0, 0), (40, 0, 0), 8)


ROUND = """
AGAIN:
bar.sync 0;
bra AGAIN;
"""


@way_of
def test_a_barrier_in_an_endless_loop_is_a_timeout(way: Any) -> None:
    found = only_finding(ROUND, np.zeros(64, np.uint32), 64, way=way, budget=1000)
    assert (found.kind, found.line) == ("timeout", line_of(ROUND, "bar.sync"))


TRAP = """
setp.eq.u32 %p0, %gid, 70;
@%p0 trap;
st.global.u32 [%place], %gid;
"""


@way_of
def test_a_trap_ends_the_launch_and_says_whose_it_was(way: Any) -> None:
    found = only_finding(TRAP, np.zeros(128, np.uint32), 128, grid=(2, 1, 1), way=way)
    assert (found.kind, found.line, found.column) == ("crash", line_of(TRAP, "trap"), column_of(TRAP, "@%p0"))
    assert (found.block, found.thread, found.lane) == ((1, 0, 0), (6, 0, 0), 6)


ASSERTED = """
setp.ne.u32 %p0, %gid, 70;
@%p0 bra FINE;
{ .param .b64 message, file, function; .param .b32 line; .param .b64 size;
st.param.b64 [message], %in; st.param.b64 [file], %in; st.param.b32 [line], 7;
st.param.b64 [function], %in; st.param.b64 [size], 1;
call.uni __assertfail, (message, file, line, function, size);
}
FINE:
st.global.u32 [%place], %gid;
"""
ASSERTFAIL = (
    ".extern .func __assertfail(.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n, .param .b64 s);"
)


@way_of
def test_an_assert_that_fails_ends_the_launch_like_a_trap(way: Any) -> None:
    options: Any = {"grid": (2, 1, 1), "functions": ASSERTFAIL, "way": way}
    found = only_finding(ASSERTED, np.zeros(128, np.uint32), 128, **options)
    assert (found.kind, found.line) == ("crash", line_of(ASSERTED, "call.uni"))
    assert (found.block, found.thread) == ((1, 0, 0), (6, 0, 0))
    assert "assert" in found.message


# barrier divergence

WITHIN = """
and.b32 %r0, %tid, 3;
setp.eq.u32 %p0, %r0, 0;
@%p0 bra END;
bar.sync 0;
END:
st.global.u32 [%place], %tid;
"""


@pytest.mark.parametrize("check", [False, True])
def test_a_barrier_that_part_of_a_warp_reaches_is_divergent(check: bool) -> None:
    found = only_finding(WITHIN, np.zeros(64, np.uint32), 64, way=(32, check))
    assert (found.kind, found.line) == ("barrier-divergence", line_of(WITHIN, "bar.sync"))
    assert (found.block, found.thread) == ((0, 0, 0), (1, 0, 0))


EXITED = """
setp.ge.u32 %p0, %tid, 32;
@%p0 ret;
bar.sync 0;
st.global.u32 [%place], %tid;
"""


def test_a_barrier_after_some_warps_have_ended_is_found_when_checked() -> None:
    outcome = run(EXITED, np.zeros(64, np.uint32), 64)
    assert outcome.status == "ok"
    np.testing.assert_array_equal(outcome.buffers["out"][:32], np.arange(32))
    for way in WAYS[1::2]:
        found = only_finding(EXITED, np.zeros(64, np.uint32), 64, way=way)
        assert (found.kind, found.line) == ("barrier-divergence", line_of(EXITED, "bar.sync"))


EXITED_BEFORE_A_VOTE = """
setp.ge.u32 %p0, %tid, 32;
@%p0 ret;
barrier.sync 0;
barrier.red.popc.u32 %r0, 0, %p0;
st.global.u32 [%place], %r0;
"""


def test_a_counting_barrier_after_some_warps_have_ended_is_found_when_checked() -> None:
    for width, check in WAYS:
        outcome = run(EXITED_BEFORE_A_VOTE, np.zeros(64, np.uint32), 64, way=(width, check))
        found = [(f.kind, f.line) for f in outcome.findings]
        due = ("barrier-divergence", line_of(EXITED_BEFORE_A_VOTE, "barrier.sync"))
        assert found == ([due] if check else [])


TWO_PLACES = """
bar.sync 1;
and.b32 %r0, %tid, 1;
setp.eq.u32 %p0, %r0, 0;
@%p0 bra EVEN;
bar.sync 0;
bra END;
EVEN:
bar.sync 0;
END:
st.global.u32 [%place], %tid;
"""


@way_of
def test_lanes_at_two_aligned_barriers_are_divergent(way: Any) -> None:
    found = only_finding(TWO_PLACES, np.zeros(64, np.uint32), 64, way=way)
    assert found.kind == "barrier-divergence"
    lines = [i for i, line in enumerate(kernel(TWO_PLACES).split("\n"), 1) if line == "bar.sync 0;"]
    assert found.line in lines


def test_uniform_branches_around_barriers_are_none() -> None:
    body = """
    ld.global.u32 %r0, [%in];
    setp.eq.u32 %p0, %r0, 1;
    @%p0 bra ELSE;
    bar.sync 0;
    bra END;
    ELSE:
    bar.sync 0;
    END:
    st.global.u32 [%place], %tid;
    """
    for way in WAYS:
        for first in (0, 1):
            data = np.full(64, first, np.uint32)
            np.testing.assert_array_equal(answer(body, data, 64, way=way), np.arange(64))


TWO_COUNTS = """
setp.lt.u32 %p0, %tid, 32;
@%p0 bra FIRST;
bar.sync 1, 64;
bra END;
FIRST:
bar.sync 1, 32;
END:
st.global.u32 [%place], %tid;
"""


@way_of
def test_one_barrier_with_two_counts_of_threads_is_divergent(way: Any) -> None:
    found = only_finding(TWO_COUNTS, np.zeros(64, np.uint32), 64, way=way)
    assert found.kind == "barrier-divergence"
    assert found.line in (line_of(TWO_COUNTS, "bar.sync 1, 64"), line_of(TWO_COUNTS, "bar.sync 1, 32"))
    assert "different counts" in found.message


# shared memory of the system

RESERVED = """
mov.u32 %r1, %reserved_smem_offset_begin;
mov.u32 %r2, %reserved_smem_offset_end;
mov.u32 %r3, %reserved_smem_offset_cap;
mov.u32 %r4, %reserved_smem_offset_1;
mov.u32 %r5, mine;
setp.ne.u32 %p0, %tid, 0;
@%p0 bra END;
atom.shared.add.u32 %r6, [%r4], 1;
add.u32 %r7, %r1, %r3;
setp.le.u32 %p1, %r1, %r4;
setp.lt.and.u32 %p1, %r4, %r2, %p1;
setp.eq.and.u32 %p1, %r7, %r2, %p1;
sub.u32 %r8, %r5, %r1;
setp.ge.and.u32 %p1, %r8, %r3, %p1;
selp.u32 %r9, 1, 0, %p1;
st.global.u32 [%place], %r9;
END:
"""


@way_of
def test_the_systems_shared_memory_is_beside_the_kernels_and_initialised(way: Any) -> None:
    got = answer(
        RESERVED, np.zeros(3, np.uint32), 3, block=(1, 1, 1), grid=(3, 1, 1), shared="mine[400]", way=way
    )
    np.testing.assert_array_equal(got, 1)


# schedules

LAST = """
st.global.u32 [%out], %gid;
"""


def test_seeds_change_who_comes_last() -> None:
    def lasts(way: tuple[int, bool], seeds: Any) -> set[int]:
        data = np.zeros(256, np.uint32)
        return {int(answer(LAST, data, 1, grid=(4, 1, 1), way=way, seed=s)[0]) for s in seeds}

    assert lasts((32, False), [None]) == {255}
    assert len(lasts((32, False), range(12))) > 2
    assert len(lasts((1, False), range(12))) > 4


def test_a_seed_is_a_schedule_one_can_have_again() -> None:
    data = np.zeros(256, np.uint32)
    # Who comes last is a race, and reported as one in checked mode.
    for way in ((32, False), (1, False)):
        twice = [answer(LAST, data, 1, grid=(4, 1, 1), way=way, seed=9)[0] for _ in range(2)]
        assert twice[0] == twice[1]


@way_of
@pytest.mark.parametrize("seed", [1, 2])
def test_right_kernels_do_not_depend_on_the_seed(seed: int, way: Any) -> None:
    data = numbers(512)
    options: Any = {"block": (256, 1, 1), "grid": (2, 1, 1), "shared": "buffer[4096]"}
    want = answer(SUM, data, 512, **options)
    np.testing.assert_array_equal(answer(SUM, data, 512, way=way, seed=seed, **options), want)


def test_whole_block_barriers_stay_vectors_and_others_do_not() -> None:
    def width(body: str, shared: str) -> int:
        return compile_entry(parse(kernel(body, shared=shared)), "k", (64, 1, 1)).lowered.width

    assert width(SUM, "buffer[4096]") == 32
    assert width(PRODUCER, "buffer[128]") == 1
    assert width(NAMED, "buffer[512]") == 1
