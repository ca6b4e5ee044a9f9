"""CUDA's functions, compiled by NVRTC, keep their documented error on the engine in every setting."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch
from tests.engine.functions import FUNCTIONS, TABLE, Function, distance, errors, nearest, points
from tests.meta.nvcc import elementwise, ptx_of

pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC is not installed")

SETTINGS: tuple[Literal["exact", "low", "high"], ...] = ("exact", "low", "high")
QUICK = ("exp", "log", "sin", "pow", "fmod", "tgamma", "erfcinv", "sinh", "atanh")
DTYPES = (np.float32, np.float64)


def check(function: Function, dtype: type[np.floating[Any]], count: int) -> None:
    name = np.dtype(dtype).name
    text = ptx_of(elementwise(name, name, function.arity, function.call(dtype is np.float64)))
    operands = points(function, dtype, count)
    names = [f"in{i}" for i in range(function.arity)]
    buffers = [Buffer(n, name, count, "input", o) for n, o in zip(names, operands, strict=True)]
    buffers.append(Buffer("out", name, count, "output"))
    launch = Launch("k", (-(-count // 128), 1, 1), (128, 1, 1), (*names, "out", count))
    for setting in SETTINGS:
        outcome = run_job(Job(text, (launch,), tuple(buffers), approx=setting))
        assert outcome.status == "ok", outcome.findings
        worst, where = errors(function, outcome.buffers["out"], operands)
        assert worst <= function.ulp[dtype is np.float64], (setting, worst, where)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", QUICK)
def test_functions_keep_the_error_cuda_documents(name: str, dtype: type[np.floating[Any]]) -> None:
    check(FUNCTIONS[name], dtype, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", TABLE, ids=lambda f: f.name)
def test_every_function_keeps_it_on_many_points(function: Function, dtype: type[np.floating[Any]]) -> None:
    check(function, dtype, 20_000)


def test_an_error_is_counted_in_floats() -> None:
    f32 = np.dtype("float32")
    assert distance(1.0, float(np.nextafter(np.float32(1), np.float32(2))), f32) == 1
    assert distance(0.0, -(2.0**-149), f32) == 1
    assert distance(3.4028234663852886e38, float("inf"), f32) == 1
    assert nearest(2.0**-150 * 1.5, f32) == 2.0**-149
    assert distance(float("nan"), 1.0, f32) > 1000
