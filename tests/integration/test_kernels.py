"""CUDA C++, Triton and Numba of our own run exactly right, fast and checked, with no finding."""

from __future__ import annotations

from typing import Any

import pytest

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
)
from .compiler import compiled
from .launches import KERNELS, Kernel, check_right, launched


def _cases(kernels: list[Kernel], slow: bool) -> list[Any]:
    return [
        pytest.param(kernel, shape, id=f"{kernel.name}-{'-'.join(map(str, shape))}")
        for kernel in kernels
        for shape in (kernel.slow if slow else kernel.shapes)
    ]


@pytest.mark.parametrize("check", [False, True], ids=["fast", "checked"])
@pytest.mark.parametrize(("kernel", "shape"), _cases(KERNELS, slow=False))
def test_kernel_is_right(kernel: Kernel, shape: tuple[Any, ...], check: bool) -> None:
    run = kernel(*shape)
    check_right(run, launched(compiled(kernel.file), run, check=check))
