"""Kernels as NVIDIA's compiler writes them: the right ones pass, the wrong ones get the right finding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify.judge import verify
from tests.meta.nvcc import RIGHT, WRONG, Source, ptx_of

pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings are not installed")
pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT)
def test_a_right_kernel_passes(pool: Pool, source: Source) -> None:
    verdict = verify(ptx_of(source), source.routine, source.dtype, pool=pool)
    assert verdict.passed, [f"{f.kind}: {f.message}" for f in verdict.findings]


@pytest.mark.parametrize("source", WRONG.values(), ids=WRONG)
def test_a_wrong_kernel_gets_the_right_finding(pool: Pool, source: Source) -> None:
    verdict = verify(ptx_of(source), source.routine, source.dtype, pool=pool)
    assert not verdict.passed
    assert {f.kind for f in verdict.findings} & set(source.kinds), [
        f"{f.kind}: {f.message}" for f in verdict.findings
    ]
