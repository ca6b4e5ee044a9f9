"""Small kernels for the engine's tests: a body, registers and addresses ready, run with every lowering."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.record import Finding
from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch, Outcome

# (lanes lowered at once, all sanitizers)
WAYS = [(32, False), (32, True), (1, False), (1, True)]
HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"
BODY_LINE = 5  # the text of `kernel` starts its body on the line after this many

PROLOGUE = """\
mov.u32 %t, %tid.z; mov.u32 %gid, %ntid.y; mov.u32 %tid, %tid.y; mad.lo.u32 %tid, %t, %gid, %tid; \
mov.u32 %t, %ntid.x; mov.u32 %gid, %tid.x; mad.lo.u32 %tid, %tid, %t, %gid; \
mov.u32 %t, %ctaid.z; mov.u32 %gid, %nctaid.y; mov.u32 %cta, %ctaid.y; mad.lo.u32 %cta, %t, %gid, %cta; \
mov.u32 %t, %nctaid.x; mov.u32 %gid, %ctaid.x; mad.lo.u32 %cta, %cta, %t, %gid; \
mov.u32 %t, %ntid.x; mov.u32 %gid, %ntid.y; mul.lo.u32 %t, %t, %gid; mov.u32 %gid, %ntid.z; \
mul.lo.u32 %threads, %t, %gid; mad.lo.u32 %gid, %cta, %threads, %tid; \
ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; \
mad.wide.u32 %mine, %gid, 4, %in; mad.wide.u32 %place, %gid, 4, %out;"""

REGISTERS = """\
.reg .u32 %r<20>, %t, %tid, %cta, %gid, %threads; .reg .f32 %f<8>; .reg .pred %p<8>; \
.reg .u64 %in, %out, %mine, %place, %a, %b;"""


def kernel(body: str, functions: str = "", shared: str = "") -> str:
    """%mine and %place: addresses of the thread's u32 in `in` and `out`. %tid, %cta, %gid: linear numbers."""
    functions = " ".join(functions.split("\n"))
    shared = f".shared .align 8 .b8 {shared};" if shared else ""
    return (
        f"{HEADER}{functions} .visible .entry k(.param .u64 in, .param .u64 out) {{ {shared}\n"
        f"{REGISTERS} {PROLOGUE}\n{body.strip(chr(10))}\nret; }}\n"
    )


def run(
    body: str,
    data: NDArray[Any],
    out: int,
    *,
    block: tuple[int, int, int] = (64, 1, 1),
    grid: tuple[int, int, int] = (1, 1, 1),
    functions: str = "",
    shared: str = "",
    dynamic: int = 0,
    way: tuple[int, bool] = (32, False),
    **settings: Any,
) -> Outcome:
    """The outcome of a kernel on `data`; `out` is the number of u32 it writes."""
    return run_job(
        Job(
            kernel(body, functions, shared),
            (Launch("k", grid, block, ("in", "out"), dynamic),),
            (Buffer("in", str(data.dtype), data.size, "input", data), Buffer("out", "uint32", out, "output")),
            width=way[0],  # type: ignore[arg-type]
            check=way[1],
            **settings,
        )
    )


def answer(body: str, data: NDArray[Any], out: int, **options: Any) -> NDArray[Any]:
    """What the kernel wrote, after asserting that nothing was found."""
    outcome = run(body, data, out, **options)
    assert outcome.status == "ok", outcome.findings
    return outcome.buffers["out"]


def only_finding(body: str, data: NDArray[Any], out: int, **options: Any) -> Finding:
    """The one finding of the run."""
    outcome = run(body, data, out, **options)
    assert outcome.status == "findings", outcome.status
    assert len(outcome.findings) == 1, outcome.findings
    return outcome.findings[0]


def line_of(body: str, piece: str) -> int:
    """The PTX line on which a piece of the body stands."""
    lines = body.strip("\n").split("\n")
    return BODY_LINE + next(i for i, line in enumerate(lines, 1) if piece in line)


def column_of(body: str, piece: str) -> int:
    line = next(line for line in body.strip("\n").split("\n") if piece in line)
    return line.index(piece) + 1


def numbers(count: int, seed: int = 1, high: int = 1 << 32) -> NDArray[np.uint32]:
    return np.random.default_rng(seed).integers(0, high, count).astype(np.uint32)
