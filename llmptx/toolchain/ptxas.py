"""NVIDIA's assembler: is this text PTX that a target takes, and what would it cost there?

ptxas reads text nobody trusts and can be made to eat all memory, so it runs under limits, in a directory of
its own, with nothing of our environment. This module knows nothing of routines, plans or the engine, and
never parses PTX itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from llmptx.record import TARGETS, Resources
from llmptx.toolchain.cubin import code_hash, instructions

MEMORY_KIB = 2 * 1024 * 1024
CPU_SECONDS = 20
WALL_SECONDS = 40.0
LOG_BYTES = 1 << 20
OUTPUT_BLOCKS = 131_072  # of 512 bytes: 64 MiB of cubin or log

_ERROR = re.compile(r"ptxas (?P<file>\S+), line (?P<line>\d+); (?:error|fatal)\s*: (?P<text>.*)")
_FATAL = re.compile(r"ptxas (?:error|fatal)\s*: (?P<text>.*)")
_ENTRY = re.compile(r"Compiling entry function '(?P<entry>[^']+)' for '(?P<target>[^']+)'")
_PROPERTIES = re.compile(r"Function properties for (?P<name>\S+)")
_STACK = re.compile(
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
)
_USED = re.compile(r"Used (?P<registers>\d+) registers")
_BARRIERS = re.compile(r"used (?P<barriers>\d+) barriers")
_SHARED = re.compile(r"(?P<shared>\d+) bytes smem")


class ToolchainMissing(RuntimeError):  # noqa: N818 (it says what is missing, which is the whole error)
    """There is no ptxas on this machine; str() says where it was sought and how to get it."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What ptxas said of one text and target.

    errors  (line of the PTX, 0 where it names none; sentence)
    code    SHA-256 of the machine code, the same for kernels that do the same; empty where there is none
    instructions  of the machine code, 0 where there is none
    """

    ok: bool
    log: str
    errors: tuple[tuple[int, str], ...]
    resources: tuple[Resources, ...]
    code: str = ""
    instructions: int = 0


@cache
def find_ptxas() -> Path | None:
    """The wheel's ptxas first (its version is pinned with ours), then CUDA_HOME's, then the one on PATH."""
    for path in _places():
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def _places() -> Iterator[Path]:
    name = "ptxas.exe" if sys.platform == "win32" else "ptxas"
    for root in dict.fromkeys(sys.path):
        nvidia = Path(root or ".") / "nvidia"
        if nvidia.is_dir():
            yield from sorted(nvidia.glob(f"*/bin/{name}"), reverse=True)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if home := os.environ.get(variable):
            yield Path(home) / "bin" / name
    if found := shutil.which(name):
        yield Path(found)


@cache
def version() -> str:
    """ptxas's own release, `13.1` say. Raises ToolchainMissing."""
    done = subprocess.run(
        [_ptxas(), "--version"], capture_output=True, text=True, timeout=WALL_SECONDS, check=False
    )
    found = re.search(r"release ([\d.]+)", done.stdout)
    return found[1] if found else "unknown"


def _ptxas() -> Path:
    path = find_ptxas()
    if path is None:
        raise ToolchainMissing(
            "ptxas was not found: not in the nvidia-cuda-nvcc wheel, CUDA_HOME, CUDA_PATH or PATH. "
            "Install it with: pip install nvidia-cuda-nvcc"
        )
    return path


_CACHE_SIZE = 512
_cache: OrderedDict[tuple[str, str], Assembly] = OrderedDict()
_lock = threading.Lock()


def assemble(text: str, target: str) -> Assembly:
    """Assembles `text` for `target` (`sm_90`). Raises ToolchainMissing; faults of the text are answers."""
    key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), target)
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    assembly = _run(_ptxas(), text, target)
    with _lock:
        _cache[key] = assembly
        while len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    return assembly


def assemble_all(text: str, targets: Sequence[str] = TARGETS) -> tuple[Assembly, ...]:
    """As `assemble`, one answer a target in their order, run side by side."""
    with ThreadPoolExecutor(max_workers=len(targets)) as threads:
        return tuple(threads.map(lambda target: assemble(text, target), targets))


def _run(ptxas: Path, text: str, target: str) -> Assembly:
    if not re.fullmatch(r"sm_\d+[af]?", target):
        raise ValueError(f"{target!r} is no target; write one like sm_80")
    with tempfile.TemporaryDirectory(prefix="llmptx-ptxas-") as directory:
        folder = Path(directory)
        (folder / "kernel.ptx").write_bytes(text.encode("utf-8", "surrogatepass"))
        command = [str(ptxas), "-v", "-arch", target, "kernel.ptx", "-o", "kernel.cubin"]
        with open(folder / "log", "wb") as log:
            code = _limited(command, folder, log.fileno())
        with open(folder / "log", "rb") as log:
            said = log.read(LOG_BYTES).decode("utf-8", "replace")
        cubin = (folder / "kernel.cubin").read_bytes() if code == 0 else b""
    errors = _errors(said)
    if code != 0 and not errors:
        errors = ((0, _death(code)),)
    ok = code == 0
    if not ok:
        return Assembly(ok, said, errors, ())
    return Assembly(ok, said, errors, _resources(said, target), code_hash(cubin), instructions(cubin))


def _limited(command: list[str], folder: Path, log: int) -> int | None:
    """The exit code; negative for a signal; None when it overran the wall clock and was killed."""
    if os.name == "posix":
        # The shell sets the limits and becomes ptxas: nothing of ours runs between fork and exec, so any
        # thread may call this.
        limits = f"ulimit -c 0; ulimit -t {CPU_SECONDS}; ulimit -f {OUTPUT_BLOCKS}; ulimit -v {MEMORY_KIB}"
        command = ["/bin/sh", "-c", f'{limits}; exec "$0" "$@"', *command]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)},
        start_new_session=True,
    )
    try:
        return process.wait(timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _death(code: int | None) -> str:
    gib = MEMORY_KIB >> 20
    if code is None:
        return f"ptxas did not finish within {WALL_SECONDS:g} s"
    if code < 0:
        return f"ptxas was killed by {signal.Signals(-code).name}: past {CPU_SECONDS} s or {gib} GiB"
    return f"ptxas ended with exit code {code} and no error: most likely past {gib} GiB of memory"


def _errors(log: str) -> tuple[tuple[int, str], ...]:
    placed = [(int(m["line"]), m["text"].strip()) for m in _ERROR.finditer(log)]
    plain = [(0, m["text"].strip()) for m in _FATAL.finditer(log)]
    real = [error for error in plain if "aborted due to errors" not in error[1]]
    return tuple(dict.fromkeys(placed + (real or ([] if placed else plain))))


def _resources(log: str, target: str) -> tuple[Resources, ...]:
    """One a kernel entry, in the report's order; the properties of functions they call are left out."""
    entries: dict[str, dict[str, int]] = {}
    entry = about = ""
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            entry = about = match["entry"]
            entries[entry] = {}
        elif match := _PROPERTIES.search(line):
            about = match["name"]
        elif entry and about == entry and (match := _STACK.search(line)):
            entries[entry].update({k: int(v) for k, v in match.groupdict().items()})
        elif entry and _USED.search(line):
            for pattern in (_USED, _BARRIERS, _SHARED):
                if match := pattern.search(line):
                    entries[entry].update({k: int(v) for k, v in match.groupdict().items()})
    return tuple(
        Resources(
            target=target,
            entry=name,
            registers=found.get("registers", 0),
            spill_stores=found.get("stores", 0),
            spill_loads=found.get("loads", 0),
            stack=found.get("stack", 0),
            shared=found.get("shared", 0),
            barriers=found.get("barriers", 0),
        )
        for name, found in entries.items()
    )
