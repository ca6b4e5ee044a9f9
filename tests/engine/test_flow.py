"""Control flow: a way through a kernel gives what one thread would, at both widths, checked or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.engine import compile_entry
from llmptx.ptx import parse
from tests.engine import fuzz
from tests.engine.kernels import WAYS, answer, kernel, line_of, numbers, only_finding

M32 = 0xFFFFFFFF
way_of = pytest.mark.parametrize("way", WAYS, ids=["warp", "warp-checked", "thread", "thread-checked"])


def expected(function: Any, data: Any) -> Any:
    return np.array([function(int(x), t) & M32 for t, x in enumerate(data)], np.uint32)


NESTED = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, 0;
and.b32 %r2, %r0, 1;
setp.eq.u32 %p0, %r2, 0;
@%p0 bra EVEN;
setp.gt.u32 %p1, %r0, 500;
@!%p1 bra SMALL;
setp.lt.u32 %p2, %tid, 40;
@%p2 add.u32 %r1, %r0, 7;
@!%p2 sub.u32 %r1, %r0, 9;
bra JOIN;
SMALL:
mul.lo.u32 %r1, %r0, 3;
JOIN:
add.u32 %r1, %r1, 1;
bra END;
EVEN:
shr.u32 %r1, %r0, 1;
END:
xor.b32 %r1, %r1, %tid;
st.global.u32 [%place], %r1;
"""


@way_of
def test_nested_branches_meet_again(way: Any) -> None:
    def one(x: int, t: int) -> int:
        if x % 2 == 0:
            y = x >> 1
        elif x > 500:
            y = (x + 7 if t < 40 else x - 9) + 1
        else:
            y = 3 * x + 1
        return y ^ t

    data = numbers(64, high=1000)
    np.testing.assert_array_equal(answer(NESTED, data, 64, way=way), expected(one, data))


COLLATZ = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, 0;
NEXT:
setp.le.u32 %p0, %r0, 1;
@%p0 bra DONE;
and.b32 %r2, %r0, 1;
setp.eq.u32 %p1, %r2, 0;
@%p1 bra HALVE;
mad.lo.u32 %r0, %r0, 3, 1;
bra COUNT;
HALVE:
shr.u32 %r0, %r0, 1;
COUNT:
add.u32 %r1, %r1, 1;
bra NEXT;
DONE:
st.global.u32 [%place], %r1;
"""


def collatz(x: int, _: int = 0) -> int:
    steps = 0
    while x > 1:
        x = x // 2 if x % 2 == 0 else 3 * x + 1
        steps += 1
    return steps


@way_of
def test_lanes_go_round_a_loop_as_often_as_each_must(way: Any) -> None:
    data = numbers(64, high=1000)
    np.testing.assert_array_equal(answer(COLLATZ, data, 64, way=way), expected(collatz, data))


@pytest.mark.parametrize("threads", [1, 2, 31, 32, 33, 100, 1023, 1024])
@pytest.mark.parametrize("width", [32, 1])
def test_a_block_need_not_be_whole_warps(threads: int, width: int) -> None:
    data = numbers(2 * threads, high=500)
    got = answer(COLLATZ, data, 2 * threads, way=(width, False), block=(threads, 1, 1), grid=(2, 1, 1))
    np.testing.assert_array_equal(got, expected(collatz, data))


LEAVING = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, 0;
mov.u32 %r2, 0;
NEXT:
add.u32 %r2, %r2, 1;
setp.gt.u32 %p0, %r2, 12;
@%p0 bra LONG;
add.u32 %r3, %r0, %r2;
and.b32 %r4, %r3, 7;
setp.eq.u32 %p1, %r4, 3;
@%p1 bra NEXT;
xor.b32 %r1, %r1, %r3;
setp.eq.u32 %p2, %r4, 5;
@%p2 bra FIVE;
setp.eq.u32 %p3, %r4, 0;
@!%p3 bra NEXT;
mad.lo.u32 %r1, %r3, 5, %r1;
bra OUT;
FIVE:
sub.u32 %r1, %r1, %r3;
bra OUT;
LONG:
not.b32 %r1, %r1;
OUT:
mad.lo.u32 %r1, %r2, 1000, %r1;
st.global.u32 [%place], %r1;
"""


@way_of
def test_a_loop_left_in_three_places_keeps_what_each_lane_had(way: Any) -> None:
    def one(x: int, _: int) -> int:
        acc = 0
        for i in range(1, 13):
            v = x + i & M32
            if v % 8 == 3:
                continue
            acc ^= v
            if v % 8 == 5:
                return acc - v + 1000 * i
            if v % 8 == 0:
                return acc + 5 * v + 1000 * i
        return (~acc & M32) + 13_000

    data = numbers(64)
    np.testing.assert_array_equal(answer(LEAVING, data, 64, way=way), expected(one, data))


# The inner loop's i, j and total outlive it for lanes that left early, while others go round again.
INNER = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, 0;
mov.u32 %r2, 0;
OUTER:
mov.u32 %r3, 0;
INNER:
add.u32 %r1, %r1, %r3;
add.u32 %r3, %r3, 1;
add.u32 %r4, %r2, %r3;
and.b32 %r4, %r4, %r0;
setp.ne.u32 %p0, %r4, 0;
@%p0 bra INNER;
mad.lo.u32 %r1, %r3, 7, %r1;
add.u32 %r2, %r2, 1;
and.b32 %r5, %r0, 3;
setp.le.u32 %p1, %r2, %r5;
@%p1 bra OUTER;
mad.lo.u32 %r1, %r3, 100, %r1;
mad.lo.u32 %r1, %r2, 10000, %r1;
st.global.u32 [%place], %r1;
"""


@way_of
def test_values_of_an_inner_loop_outlive_it(way: Any) -> None:
    def one(x: int, _: int) -> int:
        total = i = 0
        while True:
            j = 0
            while True:
                total += j
                j += 1
                if not (i + j) & x:
                    break
            total += 7 * j
            i += 1
            if i > x & 3:
                return total + 100 * j + 10_000 * i

    data = numbers(64, high=32)
    np.testing.assert_array_equal(answer(INNER, data, 64, way=way), expected(one, data))


REUSED = """
ld.global.u32 %r0, [%mine];
and.b32 %r1, %r0, 3;
setp.eq.u32 %p0, %r1, 1;
add.u32 %r2, %tid, 5;
@%p0 bra ONE;
add.u32 %r2, %r2, 10;
mov.u32 %r3, %r2;
setp.eq.u32 %p0, %r1, 2;
@%p0 bra TWO;
mov.u32 %r2, 77;
bra END;
ONE:
mov.u32 %r3, %r2;
mul.lo.u32 %r2, %r0, %r2;
add.u32 %r3, %r3, %r2;
bra END;
TWO:
xor.b32 %r2, %r2, %r3;
add.u32 %r2, %r2, 1;
END:
add.u32 %r2, %r2, %r3;
selp.u32 %r4, 1000, 2000, %p0;
add.u32 %r2, %r2, %r4;
st.global.u32 [%place], %r2;
"""


@way_of
def test_a_register_reused_on_each_way_keeps_each_lanes_own_value(way: Any) -> None:
    def one(x: int, t: int) -> int:
        if x & 3 == 1:
            return (t + 5) + 2 * x * (t + 5) + 1000
        if x & 3 == 2:
            return 1 + (t + 15) + 1000
        return 77 + (t + 15) + 2000

    data = numbers(64)
    np.testing.assert_array_equal(answer(REUSED, data, 64, way=way), expected(one, data))


# Grid-stride: the index goes on for some lanes only, and addresses are made from it under one name.
STRIDED = """
ld.global.u32 %r9, [%in];
mov.u32 %r0, %gid;
mov.u32 %r1, 0;
setp.ge.u32 %p0, %r0, %r9;
@%p0 bra DONE;
NEXT:
mul.wide.u32 %a, %r0, 4;
add.u64 %a, %in, %a;
ld.global.u32 %r2, [%a];
mad.lo.u32 %r1, %r2, %r0, %r1;
add.u32 %r0, %r0, 64;
setp.lt.u32 %p0, %r0, %r9;
@%p0 bra NEXT;
DONE:
add.u32 %r1, %r1, %r0;
st.global.u32 [%place], %r1;
"""


@way_of
@pytest.mark.parametrize("n", [0, 1, 40, 64, 65, 200, 256])
def test_a_grid_stride_loop_ends_for_each_lane_at_its_own_index(n: int, way: Any) -> None:
    data = numbers(257, high=1 << 20)
    data[0] = n
    want = []
    for t in range(64):
        last = t + 64 * len(range(t, n, 64))
        want.append(sum(int(data[i]) * i for i in range(t, n, 64)) + last & M32)
    np.testing.assert_array_equal(answer(STRIDED, data, 64, way=way), np.array(want, np.uint32))


SWITCH = """
ld.global.u32 %r0, [%mine];
rem.u32 %r1, %r0, 5;
mov.u32 %r2, 1;
TABLE: .branchtargets ZERO, ONE, TWO, ZERO, FOUR;
brx.idx %r1, TABLE;
ZERO:
add.u32 %r2, %r2, %r0;
bra END;
ONE:
mul.lo.u32 %r2, %r0, %r0;
TWO:
add.u32 %r2, %r2, 50;
bra END;
FOUR:
sub.u32 %r2, %r2, %r0;
END:
st.global.u32 [%place], %r2;
"""


@way_of
def test_brx_idx_takes_each_lane_to_its_target_and_falls_through(way: Any) -> None:
    def one(x: int, _: int) -> int:
        return {0: 1 + x, 1: x * x + 50, 2: 51, 3: 1 + x, 4: 1 - x}[x % 5]

    data = numbers(64)
    np.testing.assert_array_equal(answer(SWITCH, data, 64, way=way), expected(one, data))


RETURNS = """
ld.global.u32 %r0, [%mine];
setp.lt.u32 %p0, %r0, 200;
@%p0 ret;
mov.u32 %r1, 1;
st.global.u32 [%place], %r1;
NEXT:
setp.gt.u32 %p1, %r0, 800;
@%p1 exit;
add.u32 %r0, %r0, 100;
add.u32 %r1, %r1, 1;
st.global.u32 [%place], %r1;
and.b32 %r2, %r0, 1;
setp.eq.u32 %p2, %r2, 0;
@!%p2 bra NEXT;
bra.uni LAST;
LAST:
mov.u32 %r1, 99;
st.global.u32 [%place], %r1;
"""


@way_of
def test_lanes_return_early_wherever_they_are(way: Any) -> None:
    def one(x: int, _: int) -> int:
        if x < 200:
            return 0xA5A5A5A5
        if x % 2 == 0:
            return 1 if x > 800 else 99
        return 1 + len(range(x, 801, 100))

    data = numbers(64, high=1000)
    np.testing.assert_array_equal(answer(RETURNS, data, 64, way=way), expected(one, data))


TANGLED = """
ld.global.u32 %r0, [%mine];
mov.u32 %r1, 0;
and.b32 %r2, %r0, 1;
setp.eq.u32 %p0, %r2, 0;
@%p0 bra SECOND;
FIRST:
add.u32 %r1, %r1, 3;
SECOND:
mad.lo.u32 %r1, %r1, 5, 1;
setp.lt.u32 %p1, %r1, %r0;
@%p1 bra FIRST;
st.global.u32 [%place], %r1;
"""


@way_of
def test_a_loop_with_two_ways_in_runs_one_thread_at_a_time(way: Any) -> None:
    def one(x: int, _: int) -> int:
        y, skip = 0, x % 2 == 0
        while True:
            y = (y if skip else y + 3) * 5 + 1
            skip = False
            if y >= x:
                return y

    data = numbers(64, high=100_000)
    np.testing.assert_array_equal(answer(TANGLED, data, 64, way=way), expected(one, data))
    assert compile_entry(parse(kernel(TANGLED)), "k", (64, 1, 1)).lowered.width == 1
    assert compile_entry(parse(kernel(LEAVING)), "k", (64, 1, 1)).lowered.width == 32


POWER = """
.func (.param .b32 result) power(.param .b32 base, .param .b32 times)
{
    .reg .u32 %r0, %r1, %r2;
    .reg .pred %p0;
    ld.param.b32 %r0, [base];
    ld.param.b32 %r1, [times];
    mov.u32 %r2, 1;
    NEXT:
    setp.eq.u32 %p0, %r1, 0;
    @%p0 bra DONE;
    mul.lo.u32 %r2, %r2, %r0;
    sub.u32 %r1, %r1, 1;
    bra NEXT;
    DONE:
    st.param.b32 [result], %r2;
    ret;
}
.func (.reg .u32 %y) twice(.reg .u32 %x)
{
    .reg .pred %q;
    add.u32 %y, %x, %x;
    setp.gt.u32 %q, %x, 100;
    @%q ret;
    add.u32 %y, %y, 1000;
    ret;
}
"""

CALLS = """
ld.global.u32 %r0, [%mine];
and.b32 %r1, %r0, 7;
mov.u32 %r2, 5;
setp.lt.u32 %p0, %r1, 4;
setp.eq.u32 %p1, %r1, 6;
{ .param .b32 a, b, c; st.param.b32 [a], %r0; st.param.b32 [b], %r1; st.param.b32 [c], %r2;
@%p0 call (c), power, (a, b);
ld.param.b32 %r2, [c]; }
@!%p1 bra AFTER;
call (%r3), twice, (%r0);
add.u32 %r2, %r2, %r3;
AFTER:
call (%r4), twice, (%r2);
st.global.u32 [%place], %r4;
"""


@way_of
def test_calls_guarded_and_under_divergence(way: Any) -> None:
    def twice(x: int) -> int:
        return 2 * x + (0 if x > 100 else 1000) & M32

    def one(x: int, _: int) -> int:
        k = x & 7
        y = pow(x, k, 1 << 32) if k < 4 else 5
        if k == 6:
            y = y + twice(x) & M32
        return twice(y)

    data = numbers(64, high=300)
    np.testing.assert_array_equal(answer(CALLS, data, 64, way=way, functions=POWER), expected(one, data))


FOREVER = """
ld.global.u32 %r0, [%mine];
setp.eq.u32 %p0, %r0, 3;
@!%p0 bra LEAVE;
SPIN:
add.u32 %r0, %r0, 1;
bra SPIN;
LEAVE:
st.global.u32 [%place], %r0;
"""


@way_of
def test_lanes_in_a_loop_without_a_way_out_are_not_forgotten(way: Any) -> None:
    data = np.full(64, 7, np.uint32)
    np.testing.assert_array_equal(answer(FOREVER, data, 64, way=way), data)
    data[37] = 3
    found = only_finding(FOREVER, data, 64, way=way, budget=10_000)
    assert (found.kind, found.line) == ("timeout", line_of(FOREVER, "add.u32"))
    assert (found.block, found.thread, found.lane) == ((0, 0, 0), (37, 0, 0), 5)


NAMES = [
    *(f"%{n}.{e}" for n in ("tid", "ntid", "ctaid", "nctaid") for e in "xyz"),
    *("%laneid", "%warpid", "%nwarpid"),
    *(f"%lanemask_{n}" for n in ("eq", "lt", "le", "gt", "ge")),
]


def special_values(grid: tuple[int, int, int], block: tuple[int, int, int]) -> np.ndarray:
    threads, blocks = int(np.prod(block)), int(np.prod(grid))
    columns = []
    for b in range(blocks):
        for t in range(threads):
            tid = (t % block[0], t // block[0] % block[1], t // (block[0] * block[1]))
            ctaid = (b % grid[0], b // grid[0] % grid[1], b // (grid[0] * grid[1]))
            lane = t % 32
            masks = (1 << lane, (1 << lane) - 1, (2 << lane) - 1, -(2 << lane), -(1 << lane))
            columns.append(
                [*tid, *block, *ctaid, *grid, lane, t // 32, -(-threads // 32), *(m & M32 for m in masks)]
            )
    return np.array(columns, np.uint32)


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((3, 1, 1), (64, 1, 1)),
        ((2, 2, 1), (16, 16, 1)),
        ((2, 1, 2), (32, 8, 1)),
        ((1, 2, 3), (7, 3, 5)),
        ((1, 1, 2), (1, 1, 40)),
        ((2, 1, 1), (64, 2, 3)),
        ((1, 3, 1), (8, 4, 2)),
        ((1, 1, 1), (33, 2, 1)),
    ],
)
@pytest.mark.parametrize("width", [32, 1])
def test_special_registers_in_every_shape(grid: Any, block: Any, width: int) -> None:
    body = [f"mul.wide.u32 %a, %gid, {4 * len(NAMES)}; add.u64 %a, %a, %out;"]
    for i, register in enumerate(NAMES):
        body.append(f"mov.u32 %r0, {register}; st.global.u32 [%a+{4 * i}], %r0;")
    want = special_values(grid, block)
    data = np.zeros(len(want), np.uint32)
    got = answer("\n".join(body), data, want.size, grid=grid, block=block, way=(width, False))
    np.testing.assert_array_equal(got.reshape(want.shape), want)


@way_of
def test_a_register_read_just_after_its_write_has_the_shape_of_its_other_writes_too(
    way: tuple[int, bool],
) -> None:
    body = """
mov.u32 %r1, 5;
add.u32 %r2, %r1, 1;
setp.ne.u32 %p1, %cta, 1;
@%p1 bra DONE;
mov.u32 %r1, %tid;
DONE: add.u32 %r3, %r1, %r2;
st.global.u32 [%place], %r3;"""
    got = answer(body, np.zeros(64, np.uint32), 64, block=(32, 1, 1), grid=(2, 1, 1), way=way)
    np.testing.assert_array_equal(got, [*[11] * 32, *range(6, 38)])


# random programs

randoms = st.randoms(use_true_random=False)
few = settings(max_examples=6, deadline=None)


@few
@given(randoms)
def test_structured_programs_do_what_the_interpreter_does(random: Random) -> None:
    assert not fuzz.difference(fuzz.structured(random, False))


@few
@given(randoms)
def test_programs_whose_threads_exchange_values_do_what_the_interpreter_does(random: Random) -> None:
    assert not fuzz.difference(fuzz.structured(random, True))


@few
@given(randoms)
def test_graphs_of_blocks_do_what_the_interpreter_does(random: Random) -> None:
    assert not fuzz.difference(fuzz.graph(random, False))


@few
@given(randoms)
def test_tangled_graphs_do_what_the_interpreter_does(random: Random) -> None:
    assert not fuzz.difference(fuzz.graph(random, True))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 4000, 500))
def test_thousands_of_programs(start: int) -> None:
    for number in range(start, start + 500):
        case = fuzz.case(0, number)
        assert not fuzz.difference(case), case.text


def test_a_journal_tells_where_to_go_on(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    assert fuzz.run("parser", 3, 20, journal) == 0
    first = journal.read_text()
    assert fuzz.run("parser", 3, 20, journal) == 0
    assert journal.read_text() == first
    assert fuzz.run("parser", 3, 30, journal) == 0
    assert journal.read_text().splitlines() == [
        *first.splitlines(),
        '{"fuzz": "parser", "seed": 3, "tried": 30}',
    ]


def test_a_difference_is_told() -> None:
    case = fuzz.case(0, 0)
    want = case.want.copy()
    want[-1, -1] ^= 1
    assert "1 words differ" in fuzz.difference(replace(case, want=want))
