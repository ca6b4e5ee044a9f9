"""Addresses in the 32-bit windows of shared and local memory."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.engine import access
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


# Every lane moves element 7 t mod 64 of `a` to place 11 t mod 64, but for one lane in five.
SCATTERED = """
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 out)
{{
    .reg .pred %p0;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    .reg .b{bits} %x0;
    ld.param.u64 %rd0, [a];
    ld.param.u64 %rd1, [out];
    mov.u32 %r0, %tid.x;
    rem.u32 %r1, %r0, 5;
    setp.eq.u32 %p0, %r1, 4;
    @%p0 bra DONE;
    mul.lo.u32 %r2, %r0, 7;
    and.b32 %r2, %r2, 63;
    mul.lo.u32 %r3, %r0, 11;
    and.b32 %r3, %r3, 63;
    mul.wide.u32 %rd2, %r2, {bytes};
    mul.wide.u32 %rd3, %r3, {bytes};
    add.s64 %rd4, %rd0, %rd2;
    add.s64 %rd5, %rd1, %rd3;
    ld.global.u{size} %x0, [%rd4];
    st.global.u{size} [%rd5], %x0;
DONE:
    ret;
}}
"""


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("native", [True, False])
def test_scattered_elements_of_any_size_move_with_and_without_the_hosts_instructions(
    size: int, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(access, "_native", lambda verb, size: False)
    data = np.random.default_rng(size).integers(0, 2**size, 64, f"u{size // 8}", endpoint=False)
    text = SCATTERED.format(size=size, bits=max(16, size), bytes=size // 8)
    buffers = (Buffer("a", data.dtype.str, 64, "input", data), Buffer("out", data.dtype.str, 64, "output"))
    # A text of its own for either way: the engine keeps what it has compiled.
    job = Job(text + f"// {native}\n", (Launch("k", (1, 1, 1), (64, 1, 1), ("a", "out")),), buffers)
    outcome = run_job(job)
    assert outcome.status == "ok", outcome.findings
    want = np.full(64, 0xA5A5A5A5A5A5A5A5, np.uint64).astype(data.dtype)
    lanes = np.array([t for t in range(64) if t % 5 != 4])
    want[lanes * 11 % 64] = data[lanes * 7 % 64]
    assert outcome.buffers["out"].tolist() == want.tolist()
