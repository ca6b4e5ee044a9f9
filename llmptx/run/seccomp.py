"""A filter on system calls: what a process that runs a candidate may still ask of the kernel.

Machine code made from a candidate can compute whatever it likes; all it could ever do to others goes through
a system call. Of those only what a running worker needs is left: memory, its own socket, time, its own end.
Looking at files is refused; anything else, opening a file to write too, ends the process with SIGSYS. Linux
on x86-64 and AArch64 (seccomp(2), Documentation/userspace-api/seccomp_filter.rst). Knows no engine and no
candidate.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 13  # EACCES
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ, |JSET, BPF_RET
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NO_FILE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Machine:
    """AUDIT_ARCH_* of an architecture, and the numbers of its system calls."""

    architecture: int
    numbers: Mapping[str, int]


# Most frequent first: a filter is read from the top.
_X86_64 = _Machine(
    0xC000003E,
    {
        "mprotect": 10, "futex": 202, "mmap": 9, "recvfrom": 45, "sendto": 44, "munmap": 11, "brk": 12,
        "read": 0, "write": 1, "close": 3, "mremap": 25, "madvise": 28, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131, "sched_yield": 24, "nanosleep": 35,
        "clock_nanosleep": 230, "clock_gettime": 228, "gettimeofday": 96, "restart_syscall": 219,
        "getpid": 39, "gettid": 186, "uname": 63, "getrandom": 318, "sched_getaffinity": 204, "poll": 7,
        "exit": 60, "exit_group": 231, "kill": 62, "tgkill": 234, "openat": 257, "open": 2, "stat": 4,
        "fstat": 5, "lstat": 6, "lseek": 8, "ioctl": 16, "access": 21, "getcwd": 79, "readlink": 89,
        "getdents64": 217, "newfstatat": 262, "statx": 332, "faccessat2": 439,
    },
)  # fmt: skip
_AARCH64 = _Machine(
    0xC00000B7,
    {
        "mprotect": 226, "futex": 98, "mmap": 222, "recvfrom": 207, "sendto": 206, "munmap": 215, "brk": 214,
        "read": 63, "write": 64, "close": 57, "mremap": 216, "madvise": 233, "rt_sigaction": 134,
        "rt_sigprocmask": 135, "rt_sigreturn": 139, "sigaltstack": 132, "sched_yield": 124, "nanosleep": 101,
        "clock_nanosleep": 115, "clock_gettime": 113, "gettimeofday": 169, "restart_syscall": 128,
        "getpid": 172, "gettid": 178, "uname": 160, "getrandom": 278, "sched_getaffinity": 123, "ppoll": 73,
        "exit": 93, "exit_group": 94, "kill": 129, "tgkill": 131, "openat": 56, "fstat": 80, "lseek": 62,
        "ioctl": 29, "faccessat": 48, "getcwd": 17, "readlinkat": 78, "getdents64": 61, "newfstatat": 79,
        "statx": 291, "faccessat2": 439,
    },
)  # fmt: skip
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}

_LOOKING = {
    "open", "stat", "fstat", "lstat", "lseek", "ioctl", "access", "faccessat", "faccessat2", "getcwd",
    "readlink", "readlinkat", "getdents64", "newfstatat", "statx",
}  # fmt: skip
# Which argument says where to: a descriptor of ours, or a process that must be this one.
_FILES, _PROCESSES = {"read": 0, "write": 0, "recvfrom": 0, "sendto": 0}, {"kill": 0, "tgkill": 0}

_Instruction = tuple[int, int, int, int]


def install(descriptors: Sequence[int]) -> bool:
    """Puts this process under the filter for good; whether the kernel took it.

    descriptors  which may be read from and written to
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.platform != "linux":
        return False
    program = _program(machine, descriptors, os.getpid())
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *i) for i in program))
    filter_ = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(filter_), 0, 0) == 0)


def _program(machine: _Machine, descriptors: Iterable[int], pid: int) -> list[_Instruction]:
    """Classic BPF over struct seccomp_data. Both machines are little-endian: low words come first."""
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for name, number in machine.numbers.items():
        rule = _rule(name, list(descriptors), pid)
        program += [(_EQUAL, 0, len(rule), number), *rule]
    return [*program, (_RETURN, 0, 0, _KILL)]


def _rule(name: str, descriptors: Sequence[int], pid: int) -> list[_Instruction]:
    """What becomes of one system call; every way through ends in a return.

    Descriptors and processes are ints to the kernel, so the low word of an argument is all of it.
    """
    if name == "openat":
        return [
            (_LOAD, 0, 0, _ARGUMENTS + 8 * 2),
            (_ANY_BIT, 0, 1, _FOR_WRITING),
            (_RETURN, 0, 0, _KILL),
            (_RETURN, 0, 0, _REFUSE),
        ]
    if name in _LOOKING:
        return [(_RETURN, 0, 0, _REFUSE)]
    if name in _FILES:
        return _one_of(_FILES[name], descriptors, _REFUSE)
    if name in _PROCESSES:
        return _one_of(_PROCESSES[name], [pid], _KILL)
    if name == "mmap":
        return _one_of(4, [_NO_FILE], _REFUSE)
    return [(_RETURN, 0, 0, _ALLOW)]


def _one_of(argument: int, values: Sequence[int], otherwise: int) -> list[_Instruction]:
    found = [i for v in values for i in ((_EQUAL, 0, 1, v & 0xFFFFFFFF), (_RETURN, 0, 0, _ALLOW))]
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument), *found, (_RETURN, 0, 0, otherwise)]
