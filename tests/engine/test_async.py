"""Asynchronous copies and barriers in memory: bytes by numpy, and what checked runs say of missing waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch, Outcome

HEADER = ".version 8.4\n.target sm_90\n.address_size 64\n"
MODES = [(32, False), (32, True), (1, False), (1, True)]


def kernel(body: str, declared: str = "") -> str:
    return f"""{HEADER}.visible .entry k(.param .u64 in, .param .u64 out) {{
.shared .align 16 .b8 staged[1024];
{declared}
.reg .u32 %t, %s, %n, %u; .reg .u64 %i, %o, %state; .reg .b32 %r<4>; .reg .pred %p, %q;
ld.param.u64 %i, [in]; ld.param.u64 %o, [out];
mov.u32 %t, %tid.x; mov.u32 %s, staged; mad.lo.u32 %s, %t, 16, %s;
mad.wide.u32 %o, %t, 16, %o;
{body}
ret;
}}
"""


GIVE = "ld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%s];\nst.global.v4.b32 [%o], {%r0, %r1, %r2, %r3};\n"
FILL = "st.shared.v4.b32 [%s], {%r0, %r0, %r0, %r0};\n"


def run(text: str, data: NDArray[np.uint8], threads: int = 32, **settings: Any) -> Outcome:
    buffers = (
        Buffer("in", "uint8", data.size, "input", data), Buffer("out", "uint8", 16 * threads, "output"),
    )  # fmt: skip
    launch = Launch("k", (2, 1, 1), (threads, 1, 1), ("in", "out"))
    return run_job(Job(text, (launch,), buffers, **settings))


def bytes_of(outcome: Outcome) -> NDArray[np.uint8]:
    assert outcome.status == "ok", outcome.findings
    return np.asarray(outcome.buffers["out"])


def found(outcome: Outcome, text: str) -> list[tuple[str, str]]:
    """(kind, the text of the line) of each finding."""
    return [(f.kind, text.splitlines()[f.line - 1].strip()) for f in outcome.findings]


# cp.async


@pytest.mark.parametrize(("width", "check"), MODES)
@pytest.mark.parametrize(("cop", "size"), [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)])
@pytest.mark.parametrize("given", ["", "register", "constant", "predicate"])
def test_the_bytes_that_are_given_are_copied_and_the_rest_are_zeros(
    cop: str, size: int, given: str, width: int, check: bool
) -> None:
    """Lane t copies from 17 sizes on, in another order, so that neither side is consecutive."""
    lanes = np.arange(32)
    counts = {
        "": np.full(32, size), "register": lanes % (size + 1), "constant": np.full(32, 3),
        "predicate": np.where(lanes % 3 == 0, 0, size),
    }[given]  # fmt: skip
    operand = {"": "", "register": ", %n", "constant": ", 3", "predicate": ", %p"}[given]
    body = (
        f"xor.b32 %u, %t, 5;\nmad.wide.u32 %i, %u, {size}, %i;\nmov.u32 %r0, -1;\n{FILL}"
        f"rem.u32 %n, %t, {size + 1};\nrem.u32 %u, %t, 3;\nsetp.eq.u32 %p, %u, 0;\n"
        f"cp.async.{cop}.shared.global [%s], [%i], {size}{operand};\ncp.async.wait_all;\n{GIVE}"
    )
    data = np.random.default_rng(0).integers(1, 256, 32 * size).astype(np.uint8)
    expected = np.full((32, 16), 255, np.uint8)
    for t in lanes:
        row = data.reshape(32, size)[t ^ 5]
        expected[t, :size] = np.where(np.arange(size) < counts[t], row, 0)
    assert np.array_equal(bytes_of(run(kernel(body), data, width=width, check=check)), expected.ravel())


@pytest.mark.parametrize(("width", "check"), MODES)
def test_what_is_not_given_is_not_read(width: int, check: bool) -> None:
    """The last lanes' sources lie past the buffer's end, and a guard page."""
    body = (
        "mad.wide.u32 %i, %t, 16, %i;\nsetp.lt.u32 %p, %t, 30;\nselp.u32 %n, 16, 0, %p;\n"
        "setp.eq.u32 %p, %t, 30;\nselp.u32 %n, 5, %n, %p;\n"
        f"cp.async.cg.shared.global [%s], [%i], 16, %n;\n"
        f"cp.async.commit_group;\ncp.async.wait_group 0;\n{GIVE}"
    )
    data = np.random.default_rng(1).integers(1, 256, 485).astype(np.uint8)
    done = bytes_of(run(kernel(body), data, width=width, check=check))
    assert np.array_equal(done, np.pad(data, (0, 512 - 485)))


@pytest.mark.parametrize("width", [32, 1])
def test_a_read_before_the_wait_is_found(width: int) -> None:
    copies = (
        "mad.wide.u32 %i, %t, 16, %i;\n"
        "cp.async.ca.shared.global [%s], [%i], 16;\ncp.async.commit_group;\n"
        "cp.async.ca.shared.global [%s+512], [%i], 16;\ncp.async.commit_group;\n"
    )
    second = "ld.shared.b32 %r0, [%s+512];\n"
    data = np.arange(512).astype(np.uint8)

    def findings(body: str) -> list[tuple[str, str]]:
        text = kernel(body)
        return found(run(text, data, width=width, check=True), text)

    early = ("uninitialized-read", "ld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%s];")
    late = ("uninitialized-read", second.strip())
    assert findings(copies + GIVE) == [early]
    assert findings(f"{copies}cp.async.wait_group 1;\n{GIVE}") == []
    assert findings(f"{copies}cp.async.wait_group 1;\n{second}{GIVE}") == [late]
    assert findings(f"{copies}cp.async.wait_group 0;\n{second}{GIVE}") == []
    assert findings(f"{copies}cp.async.wait_all;\n{second}{GIVE}") == []
    # a barrier waits for threads, not for copies
    assert findings(f"{copies}bar.sync 0;\n{GIVE}") == [early]


@pytest.mark.parametrize("width", [32, 1])
def test_copies_that_are_out_of_bounds_or_misaligned_are_found(width: int) -> None:
    data = np.zeros(512, np.uint8)
    for shift, kind in ((16, "out-of-bounds"), (8, "misaligned")):
        copy = "cp.async.cg.shared.global [%s], [%i], 16;"
        text = kernel(
            f"mad.wide.u32 %i, %t, 16, %i;\nadd.u64 %i, %i, {shift};\n{copy}\ncp.async.wait_all;\n{GIVE}"
        )
        assert found(run(text, data, width=width, check=True), text)[0] == (kind, copy)


@pytest.mark.parametrize("width", [32, 1])
def test_a_copy_that_another_thread_reads_without_a_barrier_races(width: int) -> None:
    copy = (
        "mad.wide.u32 %i, %t, 16, %i;\ncp.async.cg.shared.global [%s], [%i], 16;\ncp.async.wait_all;\n{}"
        "xor.b32 %t, %t, 32;\nmov.u32 %s, staged;\nmad.lo.u32 %s, %t, 16, %s;\n"
    )
    data = np.random.default_rng(2).integers(0, 256, 1024).astype(np.uint8)
    done = run(kernel(copy.format("") + GIVE), data, threads=64, width=width, check=True)
    assert "data-race" in {f.kind for f in done.findings}
    done = run(kernel(copy.format("bar.sync 0;\n") + GIVE), data, threads=64, width=width, check=True)
    assert np.array_equal(bytes_of(done), np.roll(data, 512))


# mbarrier


BAR = ".shared .align 8 .b64 bar;\n"
START = (
    "setp.eq.u32 %p, %t, 0;\n@%p mbarrier.init.shared.b64 [bar], {count};\nbar.sync 0;\n"
    "mad.lo.u32 %r0, %t, 7, 3;\n"
)
WAIT = "wait:\nmbarrier.test_wait.shared.b64 %q, [bar], %state;\n@!%q bra wait;\n"
OTHER = (
    "xor.b32 %u, %t, 33;\nmov.u32 %s, staged;\nmad.lo.u32 %s, %u, 16, %s;\n"
    "ld.shared.b32 %r1, [%s];\nst.global.v4.b32 [%o], {%r1, %r1, %r1, %r1};\n"
)


def exchanged(threads: int) -> NDArray[np.uint8]:
    other = (np.arange(threads) ^ 33).astype(np.uint32) * 7 + 3
    return np.repeat(other, 4).view(np.uint8)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    "arrive",
    [
        "mbarrier.arrive.shared.b64 %state, [bar];",
        "mbarrier.arrive.release.cta.shared::cta.b64 %state, [bar], 1;",
        "mbarrier.arrive.noComplete.shared.b64 %state, [bar], 1;\nmbarrier.arrive.shared.b64 _, [bar], 1;",
        "mbarrier.arrive.expect_tx.shared.b64 %state, [bar], 8;\nmbarrier.complete_tx.shared.b64 [bar], 8;",
        "mbarrier.expect_tx.shared.b64 [bar], 6;\nmbarrier.arrive.shared.b64 %state, [bar];\n"
        "mbarrier.complete_tx.relaxed.cta.shared.b64 [bar], 6;",
    ],
)
def test_who_waits_sees_what_was_written_before_the_arrivals(arrive: str, check: bool) -> None:
    count = 128 if "noComplete" in arrive else 64
    body = START.format(count=count) + "st.shared.b32 [%s], %r0;\n" + arrive + "\n" + WAIT + OTHER
    done = run(kernel(body, BAR), np.zeros(1, np.uint8), threads=64, check=check)
    assert np.array_equal(bytes_of(done), exchanged(64))


def test_who_does_not_wait_is_found() -> None:
    body = START.format(count=64) + "st.shared.b32 [%s], %r0;\nmbarrier.arrive.shared.b64 _, [bar];\n" + OTHER
    done = run(kernel(body, BAR), np.zeros(1, np.uint8), threads=64, check=True)
    assert "data-race" in {f.kind for f in done.findings}


@pytest.mark.parametrize("check", [False, True])
def test_phases_follow_each_other_by_parity(check: bool) -> None:
    """Values go round the block five times, one phase a step and two buffers."""
    body = START.format(count=64) + (
        "mov.u32 %n, 0;\n"
        "step:\n"
        "and.b32 %r2, %n, 1;\nmad.lo.u32 %r3, %r2, 512, staged_;\n"
        "mad.lo.u32 %s, %t, 4, %r3;\nst.shared.b32 [%s], %r0;\n"
        "mbarrier.arrive.shared.b64 _, [bar];\n"
        "wait:\nmbarrier.try_wait.parity.shared.b64 %q, [bar], %r2, 100;\n@!%q bra wait;\n"
        "add.u32 %u, %t, 1;\nand.b32 %u, %u, 63;\nmad.lo.u32 %s, %u, 4, %r3;\nld.shared.b32 %r0, [%s];\n"
        "add.u32 %n, %n, 1;\nsetp.lt.u32 %p, %n, 5;\n@%p bra step;\n"
        "st.global.v4.b32 [%o], {%r0, %r0, %r0, %r0};\n"
    )
    body = body.replace("staged_", "%base").replace(
        "mov.u32 %n, 0;\n", "mov.u32 %n, 0;\nmov.u32 %base, staged;\n"
    )
    text = kernel(body, BAR + ".reg .u32 %base;\n")
    done = bytes_of(run(text, np.zeros(1, np.uint8), threads=64, check=check))
    expected = ((np.arange(64) + 5) % 64).astype(np.uint32) * 7 + 3
    assert np.array_equal(done.view(np.uint32), np.repeat(expected, 4))


def test_threads_that_drop_out_are_not_waited_for_again() -> None:
    again = WAIT.replace("wait:", "again:").replace("bra wait", "bra again")
    body = START.format(count=64) + (
        "setp.lt.u32 %p, %t, 32;\n@%p mbarrier.arrive_drop.shared.b64 _, [bar];\n@%p bra done;\n"
        "mbarrier.arrive.shared.b64 %state, [bar];\n" + WAIT +
        "mbarrier.arrive.shared.b64 %state, [bar];\n" + again +
        "done:\nst.global.v4.b32 [%o], {%r0, %r0, %r0, %r0};\n"
    )  # fmt: skip
    done = bytes_of(run(kernel(body, BAR), np.zeros(1, np.uint8), threads=64))
    assert np.array_equal(done.view(np.uint32)[::4], np.arange(64) * 7 + 3)


@pytest.mark.parametrize("width", [32, 1])
def test_the_state_tells_how_many_arrivals_were_missing(width: int) -> None:
    """The lanes of a warp arrive one after the other."""
    body = START.format(count=40) + (
        "mbarrier.arrive.noComplete.shared.b64 %state, [bar], 1;\nmbarrier.pending_count.b64 %r0, %state;\n"
        "st.global.v4.b32 [%o], {%r0, %r0, %r0, %r0};\n"
    )
    done = bytes_of(run(kernel(body, BAR), np.zeros(1, np.uint8), width=width)).view(np.uint32)[::4]
    assert sorted(done.tolist()) == list(range(9, 41))


@pytest.mark.parametrize(("noinc", "count"), [("", 64), (".noinc", 128)])
@pytest.mark.parametrize("check", [False, True])
def test_copies_arrive_at_a_barrier(noinc: str, count: int, check: bool) -> None:
    body = START.format(count=count) + (
        "mad.wide.u32 %i, %t, 16, %i;\ncp.async.ca.shared.global [%s], [%i], 16;\n"
        f"cp.async.mbarrier.arrive{noinc}.shared.b64 [bar];\n"
        f"mbarrier.arrive.shared.b64 %state, [bar];\n{WAIT}"
        "xor.b32 %u, %t, 32;\nmov.u32 %s, staged;\nmad.lo.u32 %s, %u, 16, %s;\n" + GIVE
    )
    data = np.random.default_rng(3).integers(0, 256, 1024).astype(np.uint8)
    assert np.array_equal(bytes_of(run(kernel(body, BAR), data, threads=64, check=check)), np.roll(data, 512))


def test_an_arrival_too_few_ends_in_a_finding() -> None:
    body = START.format(count=65) + "mbarrier.arrive.shared.b64 %state, [bar];\n" + WAIT
    text = kernel(body, BAR)
    done = run(text, np.zeros(1, np.uint8), threads=64, budget=20_000)
    assert found(done, text)[0][0] in ("timeout", "deadlock")


def test_a_barrier_that_was_never_set_up_is_found() -> None:
    arrive = "mbarrier.arrive.shared.b64 %state, [bar];"
    text = kernel(arrive, BAR)
    assert found(run(text, np.zeros(1, np.uint8), check=True), text) == [("uninitialized-read", arrive)]
