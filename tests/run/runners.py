"""Runners for the worker's tests: each does, in the worker's process, one thing a candidate might."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import time

import numpy as np

from llmptx.ptx.ast import Span
from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from llmptx.run.job import Job, Outcome

COUNTER = 0


def act(job: Job) -> Outcome:
    """Does what the first word of the job's PTX says."""
    global COUNTER
    COUNTER += 1
    return globals()["_" + job.ptx.split()[0]](job)


def _double(job: Job) -> Outcome:
    by_name = {b.name: b for b in job.buffers}
    data = by_name["in0"].data
    assert data is not None
    return Outcome("ok", buffers={"out": data * 2}, changed=("in0",), seconds=0.5)


def _pid(job: Job) -> Outcome:
    return Outcome("ok", buffers={"out": np.array([os.getpid(), COUNTER], np.int64)})


def _segfault(job: Job) -> Outcome:
    ctypes.string_at(8)
    return Outcome("ok")


def _abort(job: Job) -> Outcome:
    os.kill(os.getpid(), signal.SIGABRT)
    return Outcome("ok")


def _hang(job: Job) -> Outcome:
    while True:
        time.sleep(60)


def _spin(job: Job) -> Outcome:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        COUNTER_IS = COUNTER  # noqa: F841, N806 (a loop that never sleeps)


def _killed(job: Job) -> Outcome:
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome("ok")


def _exit(job: Job) -> Outcome:
    os._exit(3)


def _raise(job: Job) -> Outcome:
    raise RuntimeError("no such luck")


def _memory(job: Job) -> Outcome:
    raise MemoryError


def _ptxerror(job: Job) -> Outcome:
    raise PtxError("bad thing", Span(7, 3, 7, 9))


def _findings(job: Job) -> Outcome:
    full = Finding(
        "out-of-bounds",
        "thread stores past the end",
        line=12,
        column=5,
        block=(1, 0, 0),
        thread=(31, 0, 0),
        lane=31,
        buffer="out",
        address=4096,
        element=1024,
    )
    return Outcome("findings", findings=(full,), unwritten={"out": np.array([True, False])})


def _environment(job: Job) -> Outcome:
    names = " ".join(sorted(os.environ))
    return Outcome("findings", findings=(Finding("crash", names),))


def _limits(job: Job) -> Outcome:
    core = resource.getrlimit(resource.RLIMIT_CORE)[0]
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Outcome("ok", buffers={"out": np.array([core, files], np.int64)})


def _connect(job: Job) -> Outcome:
    _, port = job.ptx.split()
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=2).close()
        reached = 1
    except OSError:
        reached = 0
    return Outcome("ok", buffers={"out": np.array([reached, 0], np.int64)})


def _widen(job: Job) -> Outcome:
    return Outcome("ok", buffers={"out": np.zeros(10**6, np.int64)})


def _forge(job: Job) -> Outcome:
    """Writes bytes of its own choosing on the socket the answer goes by."""
    _, text = job.ptx.split(maxsplit=1)
    raw = bytes.fromhex(text)
    for fd in range(3, 64):
        try:
            socket.socket(fileno=os.dup(fd)).sendall(raw)
        except OSError:
            continue
    return _hang(job)
