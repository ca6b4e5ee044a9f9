"""What the engine does not run is refused before anything runs, with the instruction and its line."""

from __future__ import annotations

import numpy as np
import pytest

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch

TEXT = """.version 8.6
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out)
{
    .reg .b64 %rd<9>; .reg .b32 %r<9>; .reg .b16 %h<9>; .reg .f32 %f<9>; .reg .f64 %fd<5>; .reg .pred %p<4>;
    ld.param.u64 %rd1, [out];
    st.global.u32 [%rd1], 7;
"""
LINE = TEXT.count("\n") + 1

REFUSED = [
    "tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd2, {%f5, %f6}]",
    "suld.b.1d.b32.trap {%r1}, [%rd2, {%r2}]",
    "wgmma.fence.sync.aligned",
    "wgmma.commit_group.sync.aligned",
    "cp.async.bulk.commit_group",
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd2], %r2, [%r3]",
    "barrier.cluster.arrive",
    "mapa.shared::cluster.u32 %r1, %r2, %r3",
    "getctarank.shared::cluster.u32 %r1, %r2",
    "setmaxnreg.inc.sync.aligned.u32 64",
    "multimem.red.add.u32 [%rd2], %r1",
    "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r1], %r2, [%r3]",
    "ld.global.v8.f32 {%f1, %f2, %f3, %f4, %f5, %f6, %f7, %f8}, [%rd2]",
    "redux.sync.max.f32 %f1, %f2, -1",
    "fma.rn.oob.f16 %h1, %h2, %h3, %h4",
    "vadd.u32.u32.u32 %r1, %r2, %r3",
    "add.f32 %f1, %f2",
    "add.rn.ftz.f64 %fd1, %fd2, %fd3",
    "mov.u32 %r1, %clusterid.x",
    "frobnicate.f32 %f1, %f2",
]


@pytest.mark.parametrize("instruction", REFUSED)
def test_it_is_refused_at_its_line_and_nothing_has_run(instruction: str) -> None:
    text = f"{TEXT}    {instruction};\n    ret;\n}}\n"
    buffers = (
        Buffer("zeros", "uint32", 1, "input", np.zeros(1, np.uint32)),
        Buffer("out", "uint32", 1, "output", alias="zeros"),
    )
    outcome = run_job(Job(text, (Launch("k", (1, 1, 1), (1, 1, 1), ("out",)),), buffers))
    assert outcome.status == "error"
    (finding,) = outcome.findings
    assert finding.line == LINE
    named = "%clusterid" if "%clusterid" in instruction else instruction.split(".")[0].split(" ")[0]
    assert named in finding.message or "not supported" in finding.message
    assert list(outcome.buffers.get("out", [0])) == [0]
