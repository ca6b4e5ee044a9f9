"""What the CUDA compiler writes for eleven kernels is read, and printed to the same machine code."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import pytest

from llmptx.ptx import ast, parse, print_module
from llmptx.ptx.normalize import candidate_hash, normalized

from .assembler import cubin, needs_ptxas

needs_nvrtc = pytest.mark.skipif(
    find_spec("cuda") is None or find_spec("nvidia") is None,
    reason="NVRTC is not installed (packages cuda-bindings and nvidia-cuda-nvrtc)",
)
pytestmark = [needs_ptxas, needs_nvrtc]

CUDA = r"""
__constant__ float table[4] = {1.f, 2.f, 3.f, 4.f};
__device__ int counter;
__device__ int* where = &counter;
__device__ double grid2[2][3] = {{1, 2, 3}, {4, 5, 6}};
struct P { double a; int b[3]; };
__device__ __noinline__ float helper(P p, float x) { return p.a * x + p.b[1]; }
typedef float (*fn)(float);
__device__ __noinline__ float f1(float x) { return sinf(x); }
__device__ __noinline__ float f2(float x) { return x * x; }
__device__ fn fns[2] = {f1, f2};
extern "C" __global__ void __launch_bounds__(128, 2)
saxpy(int n, float a, const float* __restrict__ x, float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
extern "C" __global__ void total(const float* x, float* o, int n) {
  __shared__ float s[256];
  extern __shared__ double dyn[];
  float a = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) a += x[i];
  s[threadIdx.x] = a;
  __syncthreads();
  for (int k = 128; k; k >>= 1) {
    if (threadIdx.x < k) s[threadIdx.x] += s[threadIdx.x + k];
    __syncthreads();
  }
  if (!threadIdx.x) { atomicAdd(o, s[0]); dyn[0] = s[0]; }
}
extern "C" __global__ void calls(P p, float* x, int k) {
  x[threadIdx.x] = helper(p, x[threadIdx.x]) + fns[k](x[0]) + table[k & 3] + grid2[k & 1][k % 3];
  atomicAdd(where, 1);
}
extern "C" __global__ void jump(int* x, int k) {
  switch (x[0]) {
    case 0: x[1] = k * 3; break; case 1: x[1] = k / 3; break; case 2: x[1] = k % 5; break;
    case 3: x[1] = k << 2; break; case 4: x[2] = k ^ 5; break; case 5: x[3] = __popc(k); break;
    default: x[9] = 0;
  }
}
extern "C" __global__ void prints(int* x) { printf("hello %d \"q\"\n", x[0]); }
extern "C" __global__ void vectors(float4* a, double2* b, short4* c) {
  float4 v = a[threadIdx.x];
  v.x = sin(v.y) * pow(v.z, v.w);
  a[threadIdx.x] = v;
  b[0].x = b[1].y;
  c[0] = c[1];
}
extern "C" __global__ void warp(unsigned* x) {
  unsigned m = __ballot_sync(~0u, x[0] > 3);
  x[1] = __shfl_xor_sync(~0u, x[2], 5) + m + __reduce_add_sync(~0u, x[3]);
  int p;
  x[6] = __match_all_sync(~0u, x[5], &p);
  x[7] = p;
  asm volatile("{ .reg .b32 t; mov.b32 t,%0; add.u32 t,t,1; mov.b32 %0,t;}" : "+r"(x[8]));
}
extern "C" __global__ void local(float* x, int k) {
  float a[16];
  for (int i = 0; i < 16; i++) a[i] = x[i] * i;
  x[0] = a[k & 15] + tgammaf(x[1]) + fmodf(x[2], x[3]) + lgamma((double)x[4]);
}
extern "C" __global__ void wide(unsigned short* x, long long* y, unsigned long long* z) {
  asm("fma.rn.f16 %0,%0,%0,%0;" : "+h"(x[0]));
  y[0] /= y[1];
  z[0] %= z[1];
  y[2] = __mul64hi(y[2], y[3]);
  z[3] = __brevll(z[3]) + __clzll(z[4]);
  z[5] = atomicCAS(&z[6], z[7], z[8]);
}
extern "C" __global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float as[16][17], bs[16][17];
  int row = blockIdx.y * 16 + threadIdx.y, col = blockIdx.x * 16 + threadIdx.x;
  float sum = 0;
  for (int t = 0; t < k; t += 16) {
    as[threadIdx.y][threadIdx.x] = row < m && t + threadIdx.x < k ? a[row * k + t + threadIdx.x] : 0;
    bs[threadIdx.y][threadIdx.x] = col < n && t + threadIdx.y < k ? b[(t + threadIdx.y) * n + col] : 0;
    __syncthreads();
    #pragma unroll 1
    for (int i = 0; i < 16; i++) sum += as[threadIdx.y][i] * bs[i][threadIdx.x];
    __syncthreads();
  }
  if (row < m && col < n) c[row * n + col] = sum;
}
extern "C" __global__ void halts(int* x) {
  if (x[0]) __trap();
  __nanosleep(5);
  __threadfence();
  x[1] = clock();
}
"""
KERNELS = 11


@cache
def ptx(*options: str) -> str:
    """What NVRTC makes of the kernels for sm_80."""
    from cuda.bindings import nvrtc

    _, program = nvrtc.nvrtcCreateProgram(CUDA.encode(), b"kernels.cu", 0, [], [])
    flags = [b"--gpu-architecture=compute_80", *(option.encode() for option in options)]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(flags), flags)
    assert int(status) == 0
    _, size = nvrtc.nvrtcGetPTXSize(program)
    text = b" " * size
    nvrtc.nvrtcGetPTX(program, text)
    return text.rstrip(b"\0").decode()


@pytest.mark.parametrize("options", [(), ("-use_fast_math", "-rdc=true"), ("-fmad=false",)])
def test_printed_and_canonical_text_assemble_to_the_same_machine_code(options: tuple[str, ...]) -> None:
    text = ptx(*options)
    module = parse(text)
    assert len(module.entries) == KERNELS
    assert parse(print_module(module)) == module
    expected = cubin(text)
    assert expected
    assert cubin(print_module(module)) == expected
    assert cubin(normalized(text)) == expected


@pytest.mark.parametrize("option", ["-lineinfo", "-G"])
def test_debug_information_is_read_and_printed_for_ptxas(option: str) -> None:
    text = ptx(option)
    module = parse(text)
    assert any(isinstance(item, ast.Directive) and item.name == "file" for item in module.items)
    printed = print_module(module)
    assert parse(printed) == module
    assert cubin(printed)
    assert cubin(normalized(text))


def test_line_information_does_not_change_the_hash() -> None:
    assert candidate_hash(ptx("-lineinfo")) == candidate_hash(ptx())


def test_other_code_has_another_hash() -> None:
    assert candidate_hash(ptx("-fmad=false")) != candidate_hash(ptx())
