"""Runners for the worker's tests: each does, in the worker's process, one thing a candidate might."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
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


def _connect(job: Job) -> Outcome:
    _, port = job.ptx.split()
    try:
        with socket.socket() as sock:
            sock.connect(("127.0.0.1", int(port)))
        reached = 1
    except OSError:
        reached = 0
    return Outcome("ok", buffers={"out": np.array([reached, 0], np.int64)})


def _widen(job: Job) -> Outcome:
    return Outcome("ok", buffers={"out": np.zeros(10**6, np.int64)})


def _forge(job: Job) -> Outcome:
    """Writes bytes of its own choosing on the socket the answer goes by."""
    _, text = job.ptx.split(maxsplit=1)
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(fd, bytes.fromhex(text))
    return _hang(job)


def _syscall(job: Job) -> Outcome:
    """Machine code that makes the system call of that number; answers with its result."""
    _, machine, *words = job.ptx.split()
    code = {
        # mov rax, rdi; mov rdi, rsi; ... as the C convention has its arguments one place on; syscall; ret
        "x86_64": "4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05 c3",
        # mov x8, x0; mov x0, x1; ... svc #0; ret
        "aarch64": "e80300aa e00301aa e10302aa e20303aa e30304aa e40305aa e50306aa 010000d4 c0035fd6",
    }[machine]
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(code))
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)(start)
    numbers = [int(word) if word.lstrip("-").isdigit() else _address(word) for word in words]
    result = call(*numbers, *[0] * (7 - len(numbers)))
    return Outcome("ok", buffers={"out": np.array([result, 0], np.int64)})


_TEXTS: list[object] = []


def _address(text: str) -> int:
    """Where a string now stands in memory."""
    _TEXTS.append(ctypes.create_string_buffer(text.encode()))
    return ctypes.addressof(_TEXTS[-1])  # type: ignore[arg-type]
