"""Counts of a profiled run, against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.engine.compile import compile_entry
from llmptx.engine.profile import HELPER
from llmptx.ptx import parse
from llmptx.run.cpu import profiled, run_job
from llmptx.run.job import Buffer, Job, Launch
from tests.engine.kernels import BODY_LINE, kernel


def job(body: str, threads: int = 64, shared: str = "") -> Job:
    """Two blocks on 4096 numbers."""
    data = np.arange(4096, dtype=np.uint32)
    buffers = (Buffer("in", "uint32", data.size, "input", data), Buffer("out", "uint32", 4096, "output"))
    launch = Launch("k", (2, 1, 1), (threads, 1, 1), ("in", "out"))
    return Job(kernel(body, shared=shared), (launch,), buffers)


def lines(body: str, threads: int = 64, shared: str = ""):
    """By line of the body, from 1."""
    outcome, (profile,) = profiled(job(body, threads, shared))
    assert outcome.status == "ok", outcome.findings
    return {line.line - BODY_LINE: line for line in profile.lines}


def test_every_warp_and_thread_of_the_grid_is_counted():
    line = lines("add.u32 %r1, %tid, 1;\nst.global.u32 [%place], %r1;")[1]
    assert (line.warps, line.threads) == (4, 128)


def test_a_warp_that_is_not_full_counts_the_threads_it_has():
    line = lines("add.u32 %r1, %tid, 1;\nst.global.u32 [%place], %r1;", threads=40)[1]
    assert (line.warps, line.threads) == (4, 80)


def test_a_divergent_branch_and_a_guard_leave_lanes_idle():
    body = """\
setp.lt.u32 %p1, %tid, 8;
@!%p1 bra OUT;
add.u32 %r1, %tid, 1;
st.global.u32 [%place], %r1;
OUT: setp.eq.u32 %p2, %tid, 3;
@%p2 st.global.u32 [%place], %tid;"""
    found = lines(body)
    assert (found[2].warps, found[2].threads) == (4, 128)
    assert (found[3].warps, found[3].threads) == (2, 16)
    assert (found[6].warps, found[6].threads) == (4, 2)


def test_a_loop_is_counted_by_its_turns():
    body = """\
mov.u32 %r1, 0;
AGAIN: add.u32 %r1, %r1, 1;
setp.lt.u32 %p1, %r1, 5;
@%p1 bra AGAIN;
st.global.u32 [%place], %r1;"""
    assert lines(body)[2].threads == 5 * 128


@pytest.mark.parametrize(("stride", "sectors"), [(4, 4), (8, 8), (32, 32), (0, 1)])
def test_sectors_are_those_a_stride_touches(stride, sectors):
    body = f"mul.wide.u32 %a, %tid, {stride};\nadd.u64 %a, %a, %in;\nld.global.u32 %r1, [%a];"
    line = lines(body + "\nst.global.u32 [%place], %r1;")[3]
    assert (line.requests, line.sectors, line.global_bytes) == (4, 4 * sectors, 128 * 4)


@pytest.mark.parametrize(("stride", "ways"), [(4, 1), (8, 2), (16, 4), (128, 32), (132, 1)])
def test_bank_conflicts_are_the_words_wanted_of_one_bank(stride, ways):
    body = f"mul.lo.u32 %r1, %tid, {stride};\nmov.u32 %r2, s;\nadd.u32 %r1, %r1, %r2;"
    line = lines(body + "\nst.shared.u32 [%r1], %tid;", threads=32, shared="s[8192]")[4]
    assert (line.ways, line.shared_bytes, line.global_bytes) == (ways, 2 * 32 * 4, 0)


def test_one_word_for_all_is_no_conflict():
    body = """\
setp.eq.u32 %p1, %tid, 0;
@%p1 st.shared.u32 [s], 1;
bar.sync 0;
ld.shared.u32 %r1, [s];
st.global.u32 [%place], %r1;"""
    assert lines(body, shared="s[64]")[4].ways == 1


def test_wide_shared_accesses_go_by_parts_of_a_warp():
    body = "mov.u64 %a, s;\nmad.wide.u32 %a, %tid, 16, %a;\n"
    body += "st.shared.v4.u32 [%a], {%tid, %tid, %tid, %tid};"
    assert lines(body, threads=32, shared="s[512]")[3].ways == 1


def test_threads_one_at_a_time_say_why_and_count_no_warps():
    body = """\
setp.lt.u32 %p1, %tid, 32;
@%p1 bra ONE;
bar.sync 1, 32;
bra OUT;
ONE: bar.sync 2, 32;
OUT: st.global.u32 [%place], %tid;"""
    outcome, (profile,) = profiled(job(body))
    assert outcome.status == "ok"
    assert profile.width == 1
    assert profile.why == f"it has barriers of some threads only, as at line {BODY_LINE + 3}"
    (store,) = (line for line in profile.lines if line.line == BODY_LINE + 6)
    assert (store.threads, store.warps, store.global_bytes) == (128, 0, 512)


def test_a_profiled_run_gives_what_a_plain_one_gives():
    given = job("ld.global.u32 %r1, [%mine];\nmul.lo.u32 %r1, %r1, 3;\nst.global.u32 [%place], %r1;")
    plain, (seen, _) = run_job(given), profiled(given)
    np.testing.assert_array_equal(plain.buffers["out"][:128], seen.buffers["out"][:128])


def test_code_that_is_not_profiled_counts_nothing():
    tree = parse(kernel("@%p1 st.global.u32 [%place], %tid;"))
    plain, counting = (compile_entry(tree, "k", (64, 1, 1), profile=on).lowered for on in (False, True))
    for sign in ("llvm.ctpop", HELPER):
        assert sign in counting.text
        assert sign not in plain.text
