"""A trace tells what one thread does, and it is what the engine does: values, addresses, ways, waiting."""

from __future__ import annotations

import numpy as np

from llmptx.engine.trace import Step
from llmptx.run.cpu import traced
from llmptx.run.job import Buffer, Job, Launch, Outcome
from tests.engine.kernels import kernel, line_of, numbers


def steps_of(
    body: str, thread: int, block: int = 0, limit: int = 1000, shared: str = "", functions: str = ""
) -> tuple[Outcome, tuple[Step, ...], bool]:
    """What a thread of two blocks of 64 does on `numbers(128)`."""
    buffers = (Buffer("in", "uint32", 128, "input", numbers(128)), Buffer("out", "uint32", 128, "output"))
    text = kernel(body, functions, shared)
    job = Job(text, (Launch("k", (2, 1, 1), (64, 1, 1), ("in", "out")),), buffers)
    outcome, (trace,) = traced(job, [((block, 0, 0), (thread, 0, 0))], limit)
    return outcome, trace.steps, trace.stopped


def at(steps: tuple[Step, ...], body: str, piece: str) -> list[Step]:
    return [s for s in steps if s.span.line == line_of(body, piece)]


def values(step: Step) -> dict[str, int]:
    return {seen.register: seen.bits for seen in (*step.reads, *step.writes)}


def test_values_addresses_and_elements_are_the_threads_own() -> None:
    body = """
    ld.global.u32 %r0, [%mine];
    mul.lo.u32 %r1, %r0, 3;
    st.global.u32 [%place], %r1;
    """
    outcome, steps, stopped = steps_of(body, thread=5, block=1)
    data = numbers(128)
    assert outcome.status == "ok"
    assert not stopped
    (load,), (product,), (store,) = (at(steps, body, piece) for piece in ("ld.", "mul.", "st."))
    assert (load.buffer, load.offset) == ("in", 4 * 69)
    assert load.writes[0].bits == data[69]
    assert values(product) == {"%r0": data[69], "%r1": int(data[69]) * 3 & 0xFFFFFFFF}
    assert (store.buffer, store.offset) == ("out", 4 * 69)
    assert outcome.buffers["out"][69] == store.reads[-1].bits
    assert steps[-1].way == "ends"


def test_a_register_that_is_read_and_written_shows_both_values() -> None:
    body = "mov.u32 %r0, 7;\nadd.u32 %r0, %r0, 5;\nst.global.u32 [%place], %r0;"
    (step,) = at(steps_of(body, 0)[1], body, "add.")
    assert ([s.bits for s in step.reads], [s.bits for s in step.writes]) == ([7], [12])


def test_a_guard_that_does_not_hold_skips_and_writes_nothing() -> None:
    body = """
    mov.u32 %r0, 1;
    setp.eq.u32 %p0, %tid, 3;
    @%p0 mov.u32 %r0, 2;
    st.global.u32 [%place], %r0;
    """
    for thread, skipped in ((3, False), (4, True)):
        steps = steps_of(body, thread)[1]
        (step,) = at(steps, body, "@%p0")
        assert step.skipped is skipped
        assert bool(step.writes) is not skipped
        assert at(steps, body, "st.global")[0].reads[-1].bits == (1 if skipped else 2)


def test_branches_tell_their_way_each_time_round() -> None:
    body = """
    mov.u32 %r0, 0;
    NEXT:
    add.u32 %r0, %r0, 1;
    setp.lt.u32 %p0, %r0, %tid;
    @%p0 bra NEXT;
    st.global.u32 [%place], %r0;
    """
    ways = [s.way for s in at(steps_of(body, 3)[1], body, "@%p0 bra")]
    assert ways == ["taken", "taken", "not taken"]


def test_waiting_at_barriers_and_for_lanes_keeps_the_thread_in_step() -> None:
    body = """
    mov.u32 %r1, buffer;
    mad.lo.u32 %r2, %tid, 4, %r1;
    st.shared.u32 [%r2], %tid;
    bar.sync 0;
    ld.shared.u32 %r3, [%r1+8];
    shfl.sync.idx.b32 %r4, %tid, 9, 31, 0xffffffff;
    st.global.u32 [%place], %r3;
    st.global.u32 [%place], %r4;
    """
    outcome, steps, _ = steps_of(body, 40, shared="buffer[256]")
    assert outcome.status == "ok"
    assert len(at(steps, body, "bar.sync")) == 1
    (load,) = at(steps, body, "ld.shared")
    assert (load.buffer, load.offset, load.writes[0].bits) == ("shared memory", 8, 2)
    assert at(steps, body, "shfl.")[0].writes[0].bits == 32 + 9


def test_a_trace_stops_where_it_was_told_to_and_the_kernel_goes_on() -> None:
    body = "mov.u32 %r0, 7;\nst.global.u32 [%place], %r0;"
    outcome, steps, stopped = steps_of(body, 0, limit=4)
    assert (len(steps), stopped) == (4, True)
    assert np.all(outcome.buffers["out"] == 7)


def test_calls_inlined_and_not_show_the_callees_code() -> None:
    functions = """
    .func (.reg .u32 r) down (.reg .u32 n) { .reg .pred p; .reg .u32 m; mov.u32 r, 0; setp.eq.u32 p, n, 0;
    @p ret; sub.u32 m, n, 1; call (m), down, (m); add.u32 r, m, 2; ret; }
    """
    body = "and.b32 %r0, %tid, 3;\ncall (%r1), down, (%r0);\nst.global.u32 [%place], %r1;"
    outcome, steps, _ = steps_of(body, 2, functions=functions)
    assert outcome.buffers["out"][2] == 4
    assert [s.way for s in steps if s.way == "calls"] == ["calls"] * 3
    assert [s.way for s in steps if s.way in ("taken", "not taken")] == ["not taken", "not taken", "taken"]
    assert at(steps, body, "st.global")[0].reads[-1].bits == 4
