"""The candidate's side of a worker: a warm process that runs nothing itself, and one fork of it per
candidate.

The warm process has imported the engine. Asked over its control socket it forks: the fork gives up what it
can, serves jobs from its own socket, and dies with the candidate. So a candidate can spoil only its own
memory, and a crash costs a fork, not a start. Neither process ever holds an expected value, and the
environment it was started with has no keys. Linux is what this is written for; elsewhere what the system
lacks is left out.
"""

from __future__ import annotations

import array
import importlib
import mmap
import os
import pickle
import select
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

from llmptx.ptx.errors import PtxError
from llmptx.record import Finding
from llmptx.run import confine
from llmptx.run.job import Job, Outcome
from llmptx.run.wire import LENGTH, encode

Runner = Callable[[Job], Outcome]

FORK = b"f"
REAP = b"r"
PID = struct.Struct("<i")
_NOTHING_LEFT = object()

WINDOW = 1 << 24  # bytes both sides see: through a socket, results cost more than making them


def main(control: int, runner: str, confined: bool) -> None:
    """Serves the control socket until it closes. `runner` is `module:function`."""
    module, _, name = runner.partition(":")
    imported = importlib.import_module(module)
    run: Runner = getattr(imported, name)
    if confined:
        confine.cut_network()
        # The forks can open no file: what is imported on first use must be here before they are made.
        more = getattr(imported, "warm_up", lambda: iter(()))()
    else:
        more = iter(())
    with socket.socket(fileno=control) as sock:
        sock.sendall(b"!")
        while True:
            _idle(sock, more)
            order, fds = _order(sock)
            if order == FORK and fds:
                pid = _fork(sock, fds, run, confined)
                for fd in fds:
                    os.close(fd)
                sock.sendall(PID.pack(pid))
            elif order[:1] == REAP:
                _, status = os.waitpid(PID.unpack(order[1:])[0], 0)
                sock.sendall(PID.pack(os.waitstatus_to_exitcode(status)))
            else:
                return


def _idle(sock: socket.socket, more: Iterator[None]) -> None:
    """Goes on warming up, a few milliseconds a step, until there is an order or nothing is left to do."""
    while not select.select([sock], [], [], 0)[0]:
        if next(more, _NOTHING_LEFT) is _NOTHING_LEFT:
            return


def _order(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One order of the parent's: the bytes, and the descriptors that came with them, a socket's first."""
    data, ancillary, _, _ = sock.recvmsg(1 + PID.size, socket.CMSG_SPACE(2 * PID.size))
    if data[:1] == REAP:
        while len(data) < 1 + PID.size:
            data += sock.recv(1 + PID.size - len(data))
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, fds.tolist()


def _fork(control: socket.socket, fds: list[int], run: Runner, confined: bool) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        control.close()
        confine.die_with(parent)
        window = memoryview(mmap.mmap(fds[1], WINDOW)) if len(fds) > 1 else None
        with socket.socket(fileno=fds[0]) as sock:
            if confined:
                confine.limit()
                confine.filter_calls([sock.fileno(), sys.stderr.fileno()])
            _serve(sock, run, window)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(sock: socket.socket, run: Runner, window: memoryview | None) -> None:
    while (head := _read(sock, LENGTH.size)) is not None:
        (length,) = LENGTH.unpack(head)
        body = _read(sock, length)
        if body is None:
            return
        job: Job = pickle.loads(body)
        _write(sock, encode(_answer(run, job), window))


def _answer(run: Runner, job: Job) -> Outcome:
    try:
        return run(job)
    except PtxError as error:
        finding = Finding("parse", error.message, line=error.span.line, column=error.span.column)
    except MemoryError:
        finding = Finding("resource-limit", "the kernel's buffers do not fit in memory")
    except (
        Exception
    ) as error:  # whatever the engine makes of a candidate is an answer, not the end of the worker
        finding = Finding("crash", f"the engine failed with {type(error).__name__}: {error}"[:1000])
    return Outcome("error", findings=(finding,))


def _read(sock: socket.socket, size: int) -> bytearray | None:
    """Exactly `size` bytes, or None where the other side has gone."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return data


def _write(sock: socket.socket, pieces: Iterable[bytes | memoryview]) -> None:
    for piece in pieces:
        sock.sendall(piece)


def start(arguments: list[str]) -> None:
    """The entry point of the child's command line: control socket, runner, 1 where confined."""
    main(int(arguments[0]), arguments[1], arguments[2] == "1")


if __name__ == "__main__":
    start(sys.argv[1:])
