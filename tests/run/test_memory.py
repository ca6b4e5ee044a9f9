"""Inputs a worker counts for itself, memory it keeps, and memory both sides see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from llmptx.run.job import Buffer, Job, Launch, Outcome, consecutive
from llmptx.run.wire import LENGTH, WireError, decode, encode
from llmptx.run.worker import Pool, Worker

NEGATE = """\
.version 8.0
.target sm_80
.address_size 64
.visible .entry negate(.param .u64 in, .param .u64 out, .param .u64 n)
{
    .reg .pred %p;
    .reg .b32 %r<4>;
    .reg .b32 %v;
    .reg .u64 %n, %i, %at, %in, %out;
    ld.param.u64 %in, [in];
    ld.param.u64 %out, [out];
    ld.param.u64 %n, [n];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.u32 %r3, %r1, 256, %r2;
    cvt.u64.u32 %i, %r3;
    setp.ge.u64 %p, %i, %n;
    @%p ret;
    shl.b64 %at, %i, 2;
    add.u64 %in, %in, %at;
    add.u64 %out, %out, %at;
    ld.global.b32 %v, [%in];
    xor.b32 %v, %v, 0x80000000;
    st.global.b32 [%out], %v;
    ret;
}
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


def job(first: int, n: int, keep: bool) -> Job:
    buffers = (Buffer("in", "float32", n, "input", first=first), Buffer("out", "float32", n, "output"))
    launch = Launch("negate", (-(-n // 256), 1, 1), (256, 1, 1), ("in", "out", n))
    return Job(NEGATE, (launch,), buffers, keep=keep)


@pytest.mark.parametrize("n", [1, 1000, 1 << 20, (1 << 22) + 1])  # the last does not fit in the window
@pytest.mark.parametrize("keep", [False, True])
def test_a_worker_counts_its_own_inputs(worker: Worker, n: int, keep: bool) -> None:
    for first in (0, 0x3F800000, 0xFF000000):
        outcome = worker.run(job(first, n, keep), 20)
        assert outcome.status == "ok"
        assert outcome.changed == ()
        want = consecutive(first, n, "uint32") ^ np.uint32(0x80000000)
        assert np.array_equal(outcome.buffers["out"].view(np.uint32), want)


def test_kept_memory_is_poisoned_and_guarded_anew(worker: Worker) -> None:
    worker.run(job(0, 1000, keep=True), 20)
    short = job(0, 1000, keep=True)
    launch = replace(short.launches[0], args=("in", "out", 10))
    outcome = worker.run(replace(short, launches=(launch,)), 20)
    assert (outcome.buffers["out"][10:].view(np.uint32) == 0xA5A5A5A5).all()
    launch = replace(short.launches[0], args=("in", "in", 1000))
    assert worker.run(replace(short, launches=(launch,)), 20).changed == ("in",)
    assert worker.run(job(0, 1000, keep=True), 20).changed == ()
    past = replace(short.launches[0], args=("in", "out", 1024))
    assert [f.kind for f in worker.run(replace(short, launches=(past,)), 20).findings] == ["out-of-bounds"]
    assert worker.run(job(0, 1000, keep=True), 20).status == "ok"


def test_an_outcome_is_not_what_the_next_one_overwrites(worker: Worker) -> None:
    one = worker.run(job(0, 1000, keep=True), 20).buffers["out"]
    before = one.copy()
    worker.run(job(5000, 1000, keep=True), 20)
    assert np.array_equal(one.view(np.uint32), before.view(np.uint32))


def test_consecutive_wraps_at_the_last_pattern() -> None:
    assert consecutive(0xFFFFFFFE, 3, "int32").tolist() == [-2, -1, 0]
    assert consecutive(2**64 - 1, 2, "int64").tolist() == [-1, 0]


def test_arrays_pass_through_the_window_where_they_fit() -> None:
    asked = job(0, 8, keep=False)
    sent = Outcome("ok", buffers={"out": np.arange(8, dtype=np.float32)}, seconds=1.0)
    for size, through in ((32, True), (31, False)):
        window = memoryview(bytearray(size))
        frame = b"".join(encode(sent, window))
        assert (len(frame) < len(b"".join(encode(sent)))) == through
        got = decode(asked, _reader(frame), window)
        assert got.buffers["out"].tolist() == list(range(8))


def test_more_than_the_window_holds_is_refused() -> None:
    header = b'{"window": true, "status": "ok", "buffers": [["out", "<f4", 8]]}'
    with pytest.raises(WireError, match="window"):
        decode(job(0, 8, False), _reader(LENGTH.pack(len(header)) + header), memoryview(bytearray(31)))


def _reader(data: bytes):  # type: ignore[no-untyped-def]
    at = 0

    def read(size: int) -> bytearray:
        nonlocal at
        at += size
        return bytearray(data[at - size : at])

    return read


def test_a_pool_starts_no_worker_that_is_not_needed() -> None:
    with Pool(3) as pool:
        for text in (NEGATE, NEGATE + "// another", NEGATE):
            pool.run(replace(job(0, 10, keep=False), ptx=text), 20)
        assert [worker.started for worker in pool._free].count(True) == 1
