"""Fixtures that tests of several parts share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from llmptx.ptx.normalize import candidate_hash
from llmptx.record import (
    Accuracy,
    Attempt,
    Candidate,
    Completion,
    Finding,
    Message,
    Prompt,
    Record,
    Resources,
    Stage,
    Usage,
    Verdict,
)
from llmptx.routines import find

MakeRecord = Callable[..., Record]

# No test finds what another run left, and none leaves anything: code is cached on disk only where asked.
os.environ["LLMPTX_CACHE"] = ""

# Where the suite is started in the background, SIGINT comes ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

KERNEL = """\
//@ launch entry=k grid=ceil_div(n,256) block=256
.version 8.0
.target sm_80
.address_size 64

.visible .entry k(.param .u64 in0, .param .u64 out, .param .u64 n)
{
    .reg .u64 %rd<4>;
    mov.u64 %rd1, NUMBER;
    ret;
}
"""


def _attempt(routine: str, dtype: str, turn: int, text: str, passed: bool, max_ulp: float | None) -> Attempt:
    candidate = Candidate(routine, dtype, text, candidate_hash(text))
    finding = Finding("mismatch", "element 3 is 1.0, not 2.0", line=9, column=5, element=3)
    verdict = Verdict(
        routine=routine,
        dtype=dtype,
        level="full",
        candidate=candidate.hash,
        spec=find(routine).spec_hash(dtype),
        passed=passed,
        findings=() if passed else (finding,),
        stages=(Stage("read", True, 0, 0.01), Stage("quick", passed, 12, 0.2)),
        resources=(Resources("sm_80", "k", 18, 0, 0, 0, 0, 0),),
        accuracy=None
        if max_ulp is None
        else Accuracy(max_ulp, "x=1.5", 100, ((-2.0, 0.5), (0.0, 0.1), (2.0, max_ulp))),
    )
    turns = tuple(Message("user", f"turn {i}") for i in range(turn + 1))
    prompt = Prompt(
        routine, dtype, (Message("system", "write PTX"), *turns), "repair" if turn else "task", "0" * 64
    )
    completion = Completion("offline", "offline", f"```ptx\n{text}```", "stop", Usage(100, 200, 0.0), 0.5)
    return Attempt(prompt, completion, candidate, verdict)


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Builds a record whose attempts end as `outcomes` says; another `number` gives other kernels."""

    def make(
        routine: str = "numpy.exp",
        dtype: str = "float32",
        outcomes: tuple[bool, ...] = (True,),
        number: int = 0,
        terms: str = "open",
        max_ulp: float | None = 1.0,
        created: str = "2026-01-01T00:00:00Z",
        text: str | None = None,
    ) -> Record:
        attempts = tuple(
            _attempt(
                routine,
                dtype,
                i,
                text or KERNEL.replace("NUMBER", str(1000 * number + i)),
                passed,
                max_ulp if passed else None,
            )
            for i, passed in enumerate(outcomes)
        )
        return Record(routine, dtype, "offline", attempts, outcomes[-1], "Apache-2.0", terms, created)

    return make
