"""What a process gives up before it runs a candidate: network, files, processes, cores, system calls.

Each measure is taken where the system allows it; `measures` says which hold here. Knows no engine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Sequence
from typing import Any

from llmptx.run import seccomp

ADDRESS_SPACE = 1 << 44  # reservations without memory behind them are cheap: sparse arenas want terabytes
OPEN_FILES = 64
CPU_SECONDS = 3600  # every job has its own time on the wall; this ends what escapes that
FILE_BYTES = 1 << 20  # its complaints go to a file
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Asks to be killed when the parent goes, whatever this process is doing by then."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def cut_network() -> bool:
    """An empty network of its own; whether the system let us."""
    with contextlib.suppress(OSError, AttributeError):
        libc: Any = ctypes.CDLL(None)
        return bool(libc.unshare(_CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)
    return False


def limit() -> bool:
    """No cores, no new processes or threads, few files; first to go when memory runs out."""
    held = _limit(resource.RLIMIT_CORE, 0)
    held &= _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    held &= _limit(resource.RLIMIT_AS, ADDRESS_SPACE)
    held &= _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    held &= _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    if hasattr(resource, "RLIMIT_NPROC"):
        held &= _limit(resource.RLIMIT_NPROC, 0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    return held


def _limit(what: int, value: int) -> bool:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(what)
        new = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (new, new))
        return True
    return False


def filter_calls(descriptors: Sequence[int]) -> bool:
    """Only the system calls a worker needs from here on; whether the system let us."""
    with contextlib.suppress(OSError, AttributeError):
        return seccomp.install(descriptors)
    return False


def measures() -> dict[str, bool]:
    """What holds for a candidate's process on this machine, tried in a process that then ends."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = bytes([cut_network(), limit(), filter_calls([theirs])])
        os.write(theirs, held)
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        held = pipe.read().ljust(3, b"\0")
    os.waitpid(pid, 0)
    return dict(zip(("no network", "limits", "system calls filtered"), map(bool, held), strict=True))
