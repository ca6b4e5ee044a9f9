"""CUDA C++, Triton and Numba of our own run exactly right, fast and checked, with no finding."""

from __future__ import annotations

from typing import Any

import pytest

from llmptx.run import cuda

from . import (  # noqa: F401  each registers its kernels
    control,
    digits,
    draw,
    elementwise,
    fourier,
    histogram,
    libdevice,
    matrix,
    models,
    reduce,
    scan,
    sort,
    stencil,
    tensor,
    texts,
    together,
    written,
)
from .compiler import compiled
from .launches import KERNELS, Kernel, check_right, job, launched


def _cases(slow: bool) -> list[Any]:
    return [
        pytest.param(kernel, shape, id=f"{kernel.name}-{'-'.join(map(str, shape))}")
        for kernel in KERNELS
        for shape in (kernel.slow if slow else kernel.shapes)
    ]


every_kernel = pytest.mark.parametrize(("kernel", "shape"), _cases(slow=False))
either_mode = pytest.mark.parametrize("check", [False, True], ids=["fast", "checked"])


@either_mode
@every_kernel
def test_kernel_is_right(kernel: Kernel, shape: tuple[Any, ...], check: bool) -> None:
    run = kernel(*shape)
    check_right(run, launched(compiled(kernel.file), run, check=check))


@pytest.mark.slow
@either_mode
@pytest.mark.parametrize(("kernel", "shape"), _cases(slow=True))
def test_kernel_is_right_in_more_shapes(kernel: Kernel, shape: tuple[Any, ...], check: bool) -> None:
    run = kernel(*shape)
    check_right(run, launched(compiled(kernel.file), run, check=check))


@pytest.mark.slow
@either_mode
@every_kernel
def test_kernel_is_right_one_thread_at_a_time(kernel: Kernel, shape: tuple[Any, ...], check: bool) -> None:
    run = kernel(*shape)
    check_right(run, launched(compiled(kernel.file), run, check=check, width=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@either_mode
@every_kernel
def test_kernel_is_right_in_any_order_of_blocks_and_warps(
    kernel: Kernel, shape: tuple[Any, ...], check: bool, seed: int
) -> None:
    run = kernel(*shape)
    check_right(run, launched(compiled(kernel.file), run, check=check, seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize("approx", ["low", "high"])
@every_kernel
def test_kernel_is_right_wherever_approximations_fall(
    kernel: Kernel, shape: tuple[Any, ...], approx: str
) -> None:
    run = kernel(*shape)
    check_right(run, launched(compiled(kernel.file), run, approx=approx))


@pytest.mark.gpu
@pytest.mark.skipif(not cuda.available(), reason="no NVIDIA GPU with CuPy here")
@every_kernel
def test_kernel_is_right_on_the_gpu(kernel: Kernel, shape: tuple[Any, ...]) -> None:
    run = kernel(*shape)
    if any(isinstance(a, bytes) for a in run.args):
        pytest.skip("a job's launch passes eight bytes a parameter at most")
    check_right(run, cuda.run_job(job(compiled(kernel.file), run)))
