"""The table knows what NVIDIA's own compiler writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llmptx.ptx
from llmptx.isa import match
from llmptx.ptx.ast import Instruction, Scope, Statement
from llmptx.ptx.errors import PtxError

SOURCE = rb"""
extern "C" __global__ void kernel(float* x, double* y, unsigned* u, long long* l, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    __shared__ float s[256];
    if (i < n) {
        x[i] = sinf(x[i]) + powf(x[i], 3.5f) + tgammaf(x[i]) + expf(x[i]) + logf(x[i]) + fmodf(x[i], 3.0f)
            + erff(x[i]);
        y[i] = sin(y[i]) + pow(y[i], 2.5) + exp(y[i]) + log(y[i]) + fmod(y[i], 3.0) + lgamma(y[i])
            + rint(y[i]) + l[i];
        l[i] = __mul64hi(l[i], l[i + 1]) + llrint(y[i]) + l[i] / (l[i + 1] | 1);
        u[i] = __popc(u[i]) + __clz(u[i]) + __brev(u[i]) + __byte_perm(u[i], i, 0x3210) + __ffs(u[i]);
        u[i] += __funnelshift_l(u[i], i, 3) + __dp4a(u[0], u[1], u[2]) + __float2uint_rz(x[i])
            + __vadd4(u[1], u[3]);
    }
    s[threadIdx.x] = x[i];
    __syncthreads();
    float v = __shfl_xor_sync(-1, s[threadIdx.x ^ 1], 3);
    atomicAdd(x, v); atomicCAS(u, 1, 2); atomicMax((int*)u, 3); atomicInc(u, 7);
    unsigned b = __ballot_sync(-1, v > 0);
    if (__all_sync(-1, b)) u[0] = __reduce_add_sync(-1, b) + __match_any_sync(-1, b) + __activemask();
    __threadfence(); __syncwarp(); __nanosleep(10);
    u[1] = __syncthreads_count(v > 0);
    x[i] = __fdividef(x[i], v) + __expf(v) + __sinf(v) + rsqrtf(v) + __frcp_rz(v) + __fmaf_rd(v, v, v)
            + __ldg(x + i);
    x[i] += __saturatef(v) + fminf(v, x[0]) + __fsqrt_ru(v) + copysignf(v, x[1]) + __ldcs(x + 1);
}
"""


def compiled(options: list[bytes]) -> str:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    _, program = nvrtc.nvrtcCreateProgram(SOURCE, b"kernel.cu", 0, [], [])
    (error,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    assert not int(error)
    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = b" " * size
    nvrtc.nvrtcGetPTX(program, text)
    return text.decode().rstrip("\0")


def instructions(body: tuple[Statement, ...]) -> Iterator[Instruction]:
    for statement in body:
        if isinstance(statement, Scope):
            yield from instructions(statement.body)
        elif isinstance(statement, Instruction):
            yield statement


@pytest.mark.parametrize("fast", [False, True])
def test_everything_nvrtc_writes_has_a_row(fast: bool) -> None:
    text = compiled([b"--gpu-architecture=compute_80", *([b"--use_fast_math"] if fast else [])])
    unknown = set()
    count = 0
    for function in llmptx.ptx.parse(text).functions:
        for instruction in instructions(function.body or ()):
            count += 1
            try:
                match(instruction)
            except PtxError as error:
                unknown.add(error.message)
    assert count > 500
    assert not unknown
