"""Addresses in the 32-bit windows of shared and local memory."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch

# Every thread but the first takes its left neighbour's value: lane 0's address lies before the window.
LEFT = """
.version 8.0
.target sm_80
.address_size 64
.shared .align 8 .b8 both[256];
.visible .entry k(.param .u64 out)
{
    .reg .pred %p<2>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd0, [out];
    mov.u32 %r0, %tid.x;
    shl.b32 %r1, %r0, 2;
    mov.u32 %r2, both;
    add.s32 %r3, %r2, %r1;
    mul.lo.u32 %r4, %r0, %r0;
    st.shared.u32 [%r3], %r4;
    bar.sync 0;
    setp.eq.s32 %p0, %r0, 0;
    mov.u32 %r5, 77;
    @%p0 bra DONE;
    sub.s32 %r6, %r3, 4;
    ld.shared.u32 %r5, [%r6];
DONE:
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r5;
    ret;
}
"""


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("width", [32, 1])
def test_lanes_get_into_the_window_though_the_first_is_before_it(check: bool, width: int) -> None:
    launch = Launch("k", (1, 1, 1), (64, 1, 1), ("out",))
    outcome = run_job(Job(LEFT, (launch,), (Buffer("out", "<u4", 64, "output"),), check, width))
    assert outcome.status == "ok", outcome.findings
    lanes = np.arange(64)
    assert outcome.buffers["out"].tolist() == np.where(lanes == 0, 77, (lanes - 1) ** 2).tolist()
