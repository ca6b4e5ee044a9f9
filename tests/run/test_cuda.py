"""On an NVIDIA GPU the same calls give the engine's bits; without one, the error says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmptx import Module
from llmptx.run import cuda
from llmptx.run.cpu import run_job as run_on_cpu
from llmptx.run.job import Buffer, Job, Launch
from llmptx.verify.judge import verify

KERNELS = Path(__file__).parents[2] / "llmptx" / "llm" / "offline" / "numpy"
SCALE = """
.version 8.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 x, .param .f32 a, .param .u32 n)
{
    .reg .pred %p; .reg .b32 %i, %n, %t, %b, %d; .reg .b64 %x, %o; .reg .f32 %a, %v;
    ld.param.u64 %x, [x];
    ld.param.f32 %a, [a];
    ld.param.u32 %n, [n];
    mov.u32 %t, %tid.x;
    mov.u32 %b, %ctaid.x;
    mov.u32 %d, %ntid.x;
    mad.lo.u32 %i, %b, %d, %t;
    setp.ge.u32 %p, %i, %n;
    @%p bra DONE;
    mul.wide.u32 %o, %i, 4;
    add.u64 %x, %x, %o;
    ld.global.f32 %v, [%x];
    mul.rn.f32 %v, %v, %a;
    st.global.f32 [%x], %v;
DONE:
    ret;
}
"""

needs_gpu = pytest.mark.skipif(not cuda.available(), reason="no NVIDIA GPU with CuPy here")


def sum_job(values: np.ndarray) -> Job:
    text = sorted((KERNELS / "sum").glob("float64.*.ptx"))[-1].read_text()
    (entry,) = Module(text).entries
    buffers = (
        Buffer("in0", "float64", values.size, "input", values),
        Buffer("out", "float64", 1, "output"),
    )
    launch = Launch(entry, (1, 1, 1), (256, 1, 1), ("in0", "out", 1, values.size, 1))
    return Job(text, (launch,), buffers)


@pytest.mark.skipif(cuda.available(), reason="there is a GPU")
def test_without_a_gpu_the_error_says_what_would_help() -> None:
    with pytest.raises(cuda.NoGpuError, match=r"cupy|CuPy"):
        Module(SCALE).get_function("scale")((1,), (32,), (np.ones(4, "f4"), 2.0, 4), device="cuda")


@pytest.mark.gpu
@needs_gpu
def test_a_function_changes_numpy_arrays_in_place_on_the_gpu() -> None:
    x = np.random.default_rng(1).standard_normal(1000).astype("f4")
    on_cpu, on_gpu = x.copy(), x.copy()
    scale = Module(SCALE).get_function("scale")
    scale((4,), (256,), (on_cpu, np.float32(1.1), 1000))
    scale((4,), (256,), (on_gpu, np.float32(1.1), 1000), device="cuda")
    assert np.array_equal(on_cpu.view("u4"), on_gpu.view("u4"))


@pytest.mark.gpu
@needs_gpu
def test_a_job_gives_the_same_bits_on_the_gpu() -> None:
    job = sum_job(np.random.default_rng(2).standard_normal(100_003))
    near, far = run_on_cpu(job), cuda.run_job(job)
    assert (near.status, far.status) == ("ok", "ok")
    assert np.array_equal(near.buffers["out"].view("u8"), far.buffers["out"].view("u8"))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("routine", ["add", "exp", "sum", "matmul", "sort"])
def test_offline_kernels_pass_on_the_gpu(routine: str) -> None:
    text = sorted((KERNELS / routine).glob("float32.*.ptx"))[-1].read_text()
    verdict = verify(text, f"numpy.{routine}", "float32", device="cuda")
    assert verdict.passed, verdict.findings
