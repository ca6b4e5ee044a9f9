"""CUDA C++ to PTX by NVRTC, once a file and fault; and back from a PTX line to the line of the source.

Knows nothing of launches or results.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "cuda"
TEXTS = Path(__file__).parent / "ptx"
_LOC = re.compile(r"\s*\.loc\s+(\d+)\s+(\d+)\s+\d+(?:.*inlined_at\s+(\d+)\s+(\d+))?")
_FILE = re.compile(r'\s*\.file\s+(\d+)\s+"([^"]*)"')
_KERNEL = re.compile(r"^KERNEL (\w+)\((?:[^\n]*\}$|.*?^\})", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"fault ([\d, ]+): ([a-z-]+)")


def include_folder() -> Path | None:
    """Where cuda_fp16.h is: the nvidia-cuda-runtime package."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(folder).glob("cu*/include/cuda_fp16.h"):
            return found.parent
    return None


@cache
def compiled(file: str, fault: int = 0, alone: str = "") -> str:
    """PTX for sm_80 with line information, of a file of `cuda/`, with one of its faults switched on.

    alone: a kernel to compile without the others, which takes less time.

    A file of `ptx/` is given as it is. A first line may name more options: `// options: -fmad=false`.
    Skips the test where NVRTC or the headers are missing; raises RuntimeError with the compiler's log
    where the source is wrong.
    """
    if file.endswith(".ptx"):
        return (TEXTS / file).read_text()
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings and nvidia-cuda-nvrtc")
    headers = include_folder()
    if headers is None:
        pytest.skip("cuda_fp16.h is missing: needs nvidia-cuda-runtime")
    source = (SOURCES / file).read_text()
    if alone:
        source = _KERNEL.sub(lambda m: m[0] if m[1] == alone else "\n" * m[0].count("\n"), source)
    first = source.partition("\n")[0]
    more = first.removeprefix("// options:").split() if first.startswith("// options:") else []
    options = ["--gpu-architecture=compute_80", "-lineinfo", f"-I{headers}", f"-I{SOURCES}"]
    options += [f"-DFAULT={fault}", *more]
    status, program = nvrtc.nvrtcCreateProgram(source.encode(), file.encode(), 0, [], [])
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    if int(status):
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(log.rstrip(b"\0 ").decode())
    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = b" " * size
    nvrtc.nvrtcGetPTX(program, text)
    nvrtc.nvrtcDestroyProgram(program)
    return text.rstrip(b"\0 ").decode()


def source_lines(ptx: str, line: int, file: str) -> set[int]:
    """Lines of `file` that the instruction at a PTX line was compiled from: its own and where it was
    inlined."""
    text = ptx.splitlines()
    files = {m[1] for m in map(_FILE.match, text) if m and m[2].endswith(file)}
    for earlier in reversed(text[:line]):
        match = _LOC.match(earlier)
        if match:
            places = [(match[1], match[2]), (match[3], match[4])]
            return {int(at) for number, at in places if number in files}
    return set()


@cache
def marks(file: str) -> dict[int, tuple[str, frozenset[int]]]:
    """The planted faults of a file: by number the kind of finding due, and the lines it may stand at.

    A mark is a comment at the end of a line: `// fault 1, 2: data-race; fault 3: out-of-bounds`.
    """
    found: dict[int, tuple[str, frozenset[int]]] = {}
    for number, line in enumerate((SOURCES / file).read_text().splitlines(), 1):
        for match in _MARK.finditer(line.partition("//")[2]):
            for fault in map(int, match[1].split(",")):
                _, lines = found.get(fault, (match[2], frozenset()))
                found[fault] = (match[2], lines | {number})
    return found
