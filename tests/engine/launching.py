"""Runs a kernel of a test in every way the engine can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch, Outcome

HEAD = ".version 8.6\n.target sm_90\n.address_size 64\n"
# (lanes at once, sanitizers)
WAYS = [(32, False), (1, False), (32, True), (1, True)]
every_way = pytest.mark.parametrize(("width", "check"), WAYS, ids=lambda v: str(v))


def entry(body: str, params: str = "in0 out", before: str = "") -> str:
    """A kernel `k` whose parameters are pointers, loaded into %<name>; %tid holds the thread's number."""
    names = params.split()
    declared = ", ".join(f".param .u64 {n}" for n in names)
    loads = "".join(f"    .reg .b64 %{n};\n    ld.param.u64 %{n}, [{n}];\n" for n in names)
    return f"""{HEAD}{before}
.visible .entry k({declared})
{{
    .reg .b32 %tid;
    mov.u32 %tid, %tid.x;
{loads}{body}
    ret;
}}
"""


def outcome(
    text: str,
    arrays: Mapping[str, np.ndarray],
    threads: int,
    width: Any,
    check: bool,
    blocks: int = 1,
    shared: int = 0,
) -> Outcome:
    """Arrays are inputs, or outputs where their names start with `out`; their contents stand there before."""
    buffers = tuple(
        Buffer(name, a.dtype.name, a.size, "output" if name.startswith("out") else "input", a)
        for name, a in arrays.items()
    )
    launch = Launch("k", (blocks, 1, 1), (threads, 1, 1), tuple(arrays), shared)
    return run_job(Job(text, (launch,), buffers, width=width, check=check))


def result(*arguments: Any, **options: Any) -> np.ndarray:
    """`out` afterwards, of a run that finds nothing wrong."""
    run = outcome(*arguments, **options)
    assert run.status == "ok", run.findings
    return run.buffers["out"]
