"""NaN of f32 arithmetic is the canonical one wherever its bits can be seen; moved ones keep theirs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch

HEAD = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 in0, .param .u64 out)
{
    .reg .b64 %rd<4>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .pred %p<4>;
    .shared .f32 room[32];
    ld.param.u64 %rd1, [in0]; ld.param.u64 %rd2, [out];
    mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4;
    add.u64 %rd1, %rd1, %rd3; add.u64 %rd2, %rd2, %rd3;
    setp.lt.u32 %p1, %r1, 16;
    ld.global.f32 %f1, [%rd1];
"""
CANONICAL = 0x7FFFFFFF
PAYLOADS = np.array([0x7FC00000 | i * 0x11 for i in range(32)], np.uint32) | np.uint32(0x80000000)
WIDTHS = pytest.mark.parametrize("width", [32, 1])


def bits(body: str, width: Literal[1, 32]) -> list[int]:
    """What 32 threads leave, each of which has a NaN with a payload of its own in %f1."""
    text = f"{HEAD}{body}\n ret; }}"
    buffers = (
        Buffer("in0", "float32", 32, "input", PAYLOADS.view(np.float32)),
        Buffer("out", "uint32", 32, "output"),
    )
    outcome = run_job(Job(text, (Launch("k", (1, 1, 1), (32, 1, 1), ("in0", "out")),), buffers, width=width))
    assert outcome.status == "ok", outcome.findings
    return [int(x) for x in outcome.buffers["out"]]


@WIDTHS
@pytest.mark.parametrize(
    "body",
    [
        "add.f32 %f2, %f1, %f1; st.global.f32 [%rd2], %f2;",
        "mul.rz.f32 %f2, %f1, 0f40000000; mov.b32 %r2, %f2; st.global.b32 [%rd2], %r2;",
        "fma.rn.f32 %f2, %f1, %f1, %f1; shfl.sync.bfly.b32 %f3, %f2, 1, 31, -1; st.global.f32 [%rd2], %f3;",
        "sub.f32 %f2, 0f7F800000, 0f7F800000; st.global.f32 [%rd2], %f2;",
        "sqrt.rn.f32 %f2, 0fBF800000; st.global.f32 [%rd2], %f2;",
        "add.f32 %f2, %f1, %f1; neg.f32 %f2, %f2; abs.f32 %f2, %f2; st.global.f32 [%rd2], %f2;",
        "neg.f32 %f2, %f1; st.global.f32 [%rd2], %f2;",
        "abs.f32 %f2, %f1; st.global.f32 [%rd2], %f2;",
        "add.f32 %f2, %f1, %f1; atom.global.exch.b32 %r2, [%rd2], %f2;",
        "add.f32 %f2, %f1, %f1; st.shared.f32 [room], %f2; bar.sync 0; ld.shared.f32 %f3, [room];"
        "st.global.f32 [%rd2], %f3;",
    ],
)
def test_what_was_computed_is_canonical_where_it_is_seen(body: str, width: Literal[1, 32]) -> None:
    assert bits(body, width) == [CANONICAL] * 32


@WIDTHS
@pytest.mark.parametrize(
    "body",
    [
        "mov.f32 %f2, %f1; st.global.f32 [%rd2], %f2;",
        "selp.f32 %f2, %f1, 0f3F800000, 1; st.global.f32 [%rd2], %f2;",
    ],
)
def test_what_was_moved_keeps_its_payload(body: str, width: Literal[1, 32]) -> None:
    assert bits(body, width) == PAYLOADS.tolist()


@WIDTHS
@pytest.mark.parametrize(
    "body",
    [
        "add.f32 %f2, %f1, %f1; selp.f32 %f3, %f2, %f1, %p1; st.global.f32 [%rd2], %f3;",
        "mov.f32 %f2, %f1; @%p1 add.f32 %f2, %f1, %f1; st.global.f32 [%rd2], %f2;",
        "@%p1 bra sum; mov.f32 %f2, %f1; bra done; sum: add.f32 %f2, %f1, %f1;"
        "done: st.global.f32 [%rd2], %f2;",
    ],
)
def test_where_both_may_be_each_is_itself(body: str, width: Literal[1, 32]) -> None:
    assert bits(body, width) == [CANONICAL] * 16 + PAYLOADS[16:].tolist()


@WIDTHS
def test_the_sign_of_a_copied_nan_is_the_canonical_ones(width: Literal[1, 32]) -> None:
    body = "add.f32 %f2, %f1, %f1; copysign.f32 %f3, %f2, 0f3F800000; st.global.f32 [%rd2], %f3;"
    assert bits(body, width) == [0x3F800000] * 32
