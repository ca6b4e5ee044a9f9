"""The judge's side of a worker: a process that runs candidates, started clean, that can crash or hang without
harm.

`Worker.run` never raises for what a candidate did: a death is an outcome, so is a hang. The process has no
memory of ours (it is started, not forked from us), no keys, no stdin; it is sent jobs and answers in the
format of `wire`, which takes nothing on its word. This module knows nothing of routines or expected values.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from types import TracebackType

from llmptx.record import Finding
from llmptx.run.child import FORK, PID, REAP, WINDOW
from llmptx.run.job import Job, Outcome
from llmptx.run.wire import LENGTH, WireError, decode

CPU_RUNNER = "llmptx.run.cpu:run_job"
CUDA_RUNNER = "llmptx.run.cuda:run_job"
START_SECONDS = 120.0
RUNS = 8
_PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "TMPDIR",
    "HOME",
)


class WorkerError(RuntimeError):
    """The worker itself could not start: our fault or the machine's, never a candidate's."""


class _KilledError(WorkerError):
    """Somebody killed the process before it was ready."""


class _GoneError(Exception):
    """The candidate's process closed its socket."""


class Worker:
    """One warm process, and in it one fork for the candidate at hand. Not for two threads at once; see Pool.

    runner     `module:function`, Job -> Outcome, imported by the child
    confined   limits, no network; False for CUDA, whose driver needs threads and address space
    """

    def __init__(self, runner: str = CPU_RUNNER, confined: bool = True) -> None:
        self._runner = runner
        self._confined = confined
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._pid = 0
        self._data: socket.socket | None = None
        self._window: memoryview | None = None
        self.ptx = ""

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the candidate's process; 0 where there is none."""
        return self._pid if self._data is not None else 0

    @property
    def started(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Starts the process and waits until the engine is imported. Raises WorkerError where it can't."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-m", "llmptx.run.child", str(fd), self._runner, "01"[self._confined]]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=_environment(),
                pass_fds=(fd,),
                start_new_session=True,  # Ctrl-C is for us: we end the child
            )
        self._control = ours
        ours.settimeout(START_SECONDS)
        try:
            ready = ours.recv(1)
        except OSError:
            ready = b""
        if ready != b"!":
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)  # its socket closes a moment before it has ended
            killed = self._process.returncode == -signal.SIGKILL
            raise _KilledError("killed while it started") if killed else WorkerError(self._obituary())

    def _obituary(self) -> str:
        self.close()
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip()[-2000:]
        return f"the worker with runner {self._runner} did not start:\n{said}"

    def close(self) -> None:
        """Ends the processes. Safe to call twice."""
        self._retire()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.2)
            self._process.kill()
            self._process.wait()
            self._process = None

    def run(self, job: Job, timeout: float) -> Outcome:
        """What became of the job within `timeout` seconds of wall clock.

        A process that died gives status crash and a finding that names the signal; one that hung is killed
        and gives timeout. The next run starts afresh. One killed by somebody else, the system when memory is
        short or a person, says nothing about the candidate: the job runs again, `RUNS` times in all.
        Raises WorkerError only where no process can be started at all.
        """
        for left in reversed(range(RUNS)):
            outcome = self._run(job, timeout, last=left == 0)
            if outcome is not None:
                return outcome
        raise AssertionError

    def _run(self, job: Job, timeout: float, last: bool) -> Outcome | None:
        """None where the process was killed and this was not the last try."""
        if self._data is None or job.ptx != self.ptx:
            self._retire()
            self._fork()
            self.ptx = job.ptx
        began = time.monotonic()
        deadline = began + timeout
        try:
            self._send(job, deadline)
            outcome = decode(job, lambda size: self._receive(size, deadline), self._window)
            return outcome if outcome.seconds else replace(outcome, seconds=time.monotonic() - began)
        except TimeoutError:
            self._retire()
            finding = Finding("timeout", f"the kernel did not finish within {timeout:g} s")
            return Outcome("timeout", findings=(finding,), seconds=time.monotonic() - began)
        except (WireError, _GoneError, ConnectionError) as error:
            code = self._retire()
            if code in (None, -signal.SIGKILL) and not isinstance(error, WireError) and not last:
                return None
            finding = Finding("crash", _death(code, error))
            return Outcome("crash", findings=(finding,), seconds=time.monotonic() - began)
        except BaseException:
            self._retire()  # half a frame may be under way: what follows must not read it
            raise

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        self._window, shared = _window()
        with theirs, contextlib.ExitStack() as stack:
            if shared is not None:
                stack.callback(os.close, shared)
            for left in reversed(range(RUNS)):
                try:
                    self.start()
                    assert self._control is not None
                    fds = [theirs.fileno()] if shared is None else [theirs.fileno(), shared]
                    socket.send_fds(self._control, [FORK], fds)
                    self._pid = self._answer()
                    break
                except (OSError, _KilledError):
                    self._kill()
                    if not left:
                        ours.close()
                        raise WorkerError("the worker's warm process keeps dying") from None
        self._data = ours

    def _answer(self) -> int:
        assert self._control is not None
        data = b""
        while len(data) < PID.size:
            got = self._control.recv(PID.size - len(data))
            if not got:
                raise ConnectionError
            data += got
        return int(PID.unpack(data)[0])

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # not merely dying, or it would be taken for alive

    def _retire(self) -> int | None:
        """Ends the candidate's process and answers with its exit code, negative for a signal."""
        if self._data is None:
            return None
        self._data.close()
        self._data = None
        self._window = None
        # Dead, it is a zombie until reaped just below, so its id is no one else's yet; and a second signal
        # does not change how a process that is already dying ends.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        assert self._control is not None
        try:
            self._control.sendall(REAP + PID.pack(self._pid))
            return self._answer()
        except OSError:
            self._kill()
            return None

    def _send(self, job: Job, deadline: float) -> None:
        body = pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL)
        assert self._data is not None
        for piece in (LENGTH.pack(len(body)), body):
            self._data.settimeout(_left(deadline))
            self._data.sendall(piece)

    def _receive(self, size: int, deadline: float) -> bytearray:
        assert self._data is not None
        data = bytearray(size)
        view = memoryview(data)
        while view:
            self._data.settimeout(_left(deadline))
            got = self._data.recv_into(view)
            if not got:
                raise _GoneError
            view = view[got:]
        return data


def _window() -> tuple[memoryview | None, int | None]:
    """Memory to share with one fork, and its descriptor to send; neither where the system has none to give.

    Its size is sealed: a file that shrinks under a mapping would kill us.
    """
    if not hasattr(os, "memfd_create"):
        return None, None
    fd = os.memfd_create("llmptx", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, WINDOW)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return memoryview(mmap.mmap(fd, WINDOW)), fd


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _death(code: int | None, error: Exception) -> str:
    if isinstance(error, WireError):
        return f"the kernel spoilt the memory of its own process, which then answered with {error}"
    if code is None or code >= 0:
        return f"the kernel's process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    causes: dict[int, str] = {
        signal.SIGSEGV: ": an address outside every buffer",
        signal.SIGBUS: ": an address outside every buffer",
        signal.SIGKILL: ": most likely out of memory",
        signal.SIGILL: ": a trap",
        signal.SIGFPE: ": an arithmetic trap",
        signal.SIGSYS: ": a system call, which no kernel makes",
    }
    why = causes.get(-code, "")
    return f"the kernel's process died of {name}{why}"


def _environment() -> dict[str, str]:
    """Ours without anything secret: what finds Python, the packages and a GPU, and one thread for BLAS."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join(os.path.abspath(entry or ".") for entry in sys.path)
    return {
        **kept,
        "PYTHONPATH": path,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONNOUSERSITE": "1",
    }


class Pool:
    """`n` workers for any number of threads: `run` takes a free one, by preference one that knows the PTX.

    A worker starts when no other is free.
    """

    def __init__(self, n: int, runner: str = CPU_RUNNER, confined: bool = True) -> None:
        if n < 1:
            raise ValueError(f"a pool needs a worker or more, not {n}")
        self._free = [Worker(runner, confined) for _ in range(n)]
        self.size = n
        self._changed = threading.Condition()
        self._closed = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def run(self, job: Job, timeout: float) -> Outcome:
        """As Worker.run. Waits for a free worker first; the wait is not counted in `timeout`."""
        worker = self._take(job.ptx)
        try:
            return worker.run(job, timeout)
        finally:
            with self._changed:
                self._free.append(worker)
                self._changed.notify()

    def pids(self) -> tuple[int, ...]:
        """Of the processes that hold candidates now, for whoever measures them."""
        with self._changed:
            return tuple(w.pid for w in self._free if w.pid)

    def _take(self, ptx: str) -> Worker:
        with self._changed:
            while not self._free and not self._closed:
                self._changed.wait()
            if self._closed:
                raise WorkerError("the pool is closed")
            best = max(self._free, key=lambda worker: (worker.ptx == ptx, worker.started))
            self._free.remove(best)
            return best

    def close(self) -> None:
        """Ends the workers, waiting for those that run. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while len(self._free) < self.size:
                self._changed.wait()
            for worker in self._free:
                worker.close()
