"""A candidate's process makes no system call but the few it needs, whatever machine code runs in it."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import llmptx
from llmptx.record import Routine, Signature
from llmptx.run import confine, seccomp
from llmptx.run.job import Array
from llmptx.run.worker import Pool, Worker
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify import trial
from llmptx.verify.certificate import verdict_hash
from llmptx.verify.compare import Comparison
from llmptx.verify.inputs import Case
from llmptx.verify.judge import verify
from tests.run.test_worker import RUNNER, job
from tests.verify.kernels import ADD, changed

pytestmark = pytest.mark.skipif(
    not confine.measures()["system calls filtered"], reason="this kernel takes no filter"
)

MACHINE = platform.machine()
EACCES = -13
# Numbers of Linux: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
FORBIDDEN = {
    "socket": {"x86_64": 41, "aarch64": 198},
    "connect": {"x86_64": 42, "aarch64": 203},
    "execve": {"x86_64": 59, "aarch64": 221},
    "execveat": {"x86_64": 322, "aarch64": 281},
    "ptrace": {"x86_64": 101, "aarch64": 117},
    "clone": {"x86_64": 56, "aarch64": 220},
    "clone3": {"x86_64": 435, "aarch64": 435},
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "process_vm_writev": {"x86_64": 311, "aarch64": 271},
    "unlinkat": {"x86_64": 263, "aarch64": 35},
    "renameat2": {"x86_64": 316, "aarch64": 276},
    "openat2": {"x86_64": 437, "aarch64": 437},
    "sendmsg": {"x86_64": 46, "aarch64": 211},
    "recvmsg": {"x86_64": 47, "aarch64": 212},
    "dup": {"x86_64": 32, "aarch64": 23},
    "prctl": {"x86_64": 157, "aarch64": 167},
    "prlimit64": {"x86_64": 302, "aarch64": 261},
    "unshare": {"x86_64": 272, "aarch64": 97},
    "mount": {"x86_64": 165, "aarch64": 40},
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},
    "bpf": {"x86_64": 321, "aarch64": 280},
    "memfd_create": {"x86_64": 319, "aarch64": 279},
    "pidfd_send_signal": {"x86_64": 424, "aarch64": 424},
    "no such call": {"x86_64": 100000, "aarch64": 100000},
}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(RUNNER) as worker:
        yield worker


def call(worker: Worker, number: int, *arguments: object) -> int | str:
    """The system call's result, or the message of the crash it was."""
    outcome = worker.run(job(" ".join(map(str, ("syscall", MACHINE, number, *arguments)))), 10)
    if outcome.status == "ok":
        return int(outcome.buffers["out"][0])
    assert [f.kind for f in outcome.findings] == ["crash"]
    return outcome.findings[0].message


def numbered(name: str) -> int:
    return seccomp._MACHINES[MACHINE].numbers[name]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_call_is_a_crash_that_says_so(worker: Worker, name: str) -> None:
    message = call(worker, FORBIDDEN[name][MACHINE])
    assert isinstance(message, str)
    assert "SIGSYS" in message
    assert "a system call" in message


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND])
def test_opening_a_file_to_write_is_a_crash(worker: Worker, flags: int, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    message = call(worker, numbered("openat"), -100, victim, flags)
    assert "SIGSYS" in str(message)
    assert victim.read_text() == "as it was"


def test_looking_at_a_file_is_refused(worker: Worker) -> None:
    assert call(worker, numbered("openat"), -100, "/etc/hostname", os.O_RDONLY) == EACCES
    assert call(worker, numbered("newfstatat"), -100, "/etc/hostname", 0, 0) == EACCES


def test_others_cannot_be_killed(worker: Worker) -> None:
    for victim in (os.getpid(), 1, -1, 0):
        assert "SIGSYS" in str(call(worker, numbered("kill"), victim, 0))
        assert "SIGSYS" in str(call(worker, numbered("tgkill"), victim, victim, signal.SIGTERM))


def test_what_is_not_its_own_cannot_be_read_written_or_mapped(worker: Worker) -> None:
    """The window's file is open there too, but for mapping alone, and that is done."""
    worker.run(job("double"), 10)
    files = Path(f"/proc/{worker.pid}/fd")
    others = {int(f.name) for f in files.iterdir() if "socket" not in os.readlink(f)} - {2}
    assert others
    for fd in others:
        for name in ("read", "write", "recvfrom", "sendto"):
            assert call(worker, numbered(name), fd, "x", 1) == EACCES
        assert call(worker, numbered("mmap"), 0, 4096, 1, 2, fd, 0) == EACCES


def test_a_worker_after_one_that_was_stopped_works(worker: Worker) -> None:
    call(worker, FORBIDDEN["execve"][MACHINE])
    assert worker.run(job("double"), 10).buffers["out"].tolist() == [6, 8]


def test_other_machines_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not seccomp.install([0])
    assert not confine.measures()["system calls filtered"]


@pytest.mark.parametrize("machine", seccomp._MACHINES.values(), ids=seccomp._MACHINES)
def test_every_way_through_a_filter_ends_in_a_return(machine: seccomp._Machine) -> None:
    program = seccomp._program(machine, [5, 2], 77)
    assert len(program) < 4096, "BPF_MAXINSNS"
    for at, (code, yes, no, _) in enumerate(program):
        if code in (seccomp._EQUAL, seccomp._ANY_BIT):
            assert at + 1 + max(yes, no) < len(program)
        elif at + 1 == len(program):
            assert code == seccomp._RETURN
    assert len(set(machine.numbers.values())) == len(machine.numbers)


@pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")
def test_a_verdict_is_the_same_with_and_without_the_filter() -> None:
    text = (Path(llmptx.__file__).parent / "llm/offline/numpy/max/int32.2.ptx").read_text()
    with Pool(1) as pool:
        filtered = verify(text, "numpy.max", "int32", "quick", pool=pool)
    with Pool(1, confined=False) as pool:
        free = verify(text, "numpy.max", "int32", "quick", pool=pool)
    assert filtered.passed
    assert verdict_hash(filtered) == verdict_hash(free)


@pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")
def test_expected_values_are_nowhere_in_a_candidates_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's inputs are found there, so the search is one that finds; what they should come to is not."""
    add = "    add.rn.f32 %f2, %f0, %f1;\n"
    wrong = "    setp.gt.u64 %p, %rd2, 500;\n    @%p mov.f32 %f2, 0f00000000;\n"
    text = changed(ADD, (add, add + wrong))
    seen: list[tuple[bool, bool]] = []
    honest = trial.compare

    def compare(routine: Routine, signature: Signature, case: Case, outputs: Sequence[Array]) -> Comparison:
        if case.extents["n"] > 500 and not seen:
            left, right = case.inputs
            with np.errstate(all="ignore"):
                sums = np.asarray(left + right)
            parts = (left[100:116].tobytes(), sums[100:116].tobytes())
            seen.append((_holds(pool.pids()[0], parts[0]), _holds(pool.pids()[0], parts[1])))
        return honest(routine, signature, case, outputs)

    monkeypatch.setattr(trial, "compare", compare)
    with Pool(1) as pool:
        assert not verify(text, "numpy.add", "float32", "quick", pool=pool).passed
    assert seen == [(True, False)]


def _holds(pid: int, needle: bytes) -> bool:
    """Whether a process's memory has these bytes anywhere."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            start, end = (int(part, 16) for part in place.split("-"))
            if "r" not in rights or "vsyscall" in line or "vvar" in line or end - start > 1 << 30:
                continue
            memory.seek(start)
            try:
                if needle in memory.read(end - start):
                    return True
            except OSError:
                continue
    return False
