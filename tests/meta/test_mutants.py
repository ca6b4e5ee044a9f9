"""Mutants of verified kernels, a small sample of what `python -m benchmarks.judge` measures: none gets by."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from llmptx.llm.library import drafts
from llmptx.ptx.plan import parse_plan
from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import assemble, find_ptxas
from llmptx.verify.equivalent import proved
from llmptx.verify.judge import verify
from llmptx.verify.mutate import Mutant, sample

pytest.importorskip("z3", reason="z3-solver is not installed")
pytestmark = pytest.mark.skipif(find_ptxas() is None, reason="no ptxas on this machine")

EACH = 7
KERNELS = [
    ("numpy.add", "float32"),
    ("numpy.floor_divide", "int32"),
    ("numpy.rint", "float32"),
    ("numpy.max", "int32"),
    ("numpy.cumsum", "int32"),
    ("numpy.matmul", "int32"),
]
MUTANTS = [
    (name, dtype, mutant)
    for name, dtype in KERNELS
    for mutant in sample(drafts(name, dtype)[-1], EACH, zlib.crc32(name.encode()))
]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as pool:
        yield pool


def right(name: str, dtype: str, mutant: Mutant) -> bool:
    """Whether a mutant is proved to do what the original does."""
    original = drafts(name, dtype)[-1]
    same_plan = parse_plan(mutant.text) == parse_plan(original)
    same_code = assemble(mutant.text, "sm_80").code == assemble(original, "sm_80").code
    return (same_plan and same_code) or proved(original, mutant.text)


@pytest.mark.parametrize(
    ("name", "dtype", "mutant"), MUTANTS, ids=[f"{n}-{d}-{m.line}-{m.kind}" for n, d, m in MUTANTS]
)
def test_a_mutant_is_found_or_proved_right(pool: Pool, name: str, dtype: str, mutant: Mutant) -> None:
    verdict = verify(mutant.text, name, dtype, pool=pool)
    assert not verdict.passed or right(name, dtype, mutant), f"line {mutant.line}: {mutant.what}"


@pytest.mark.parametrize("mode", ["rz", "rp"])
def test_products_whose_roundings_all_lean_one_way_are_found(pool: Pool, mode: str) -> None:
    """One product in four, of matrices too long for chance to even it out."""
    text = drafts("numpy.matmul", "float32")[-1]
    found = verify(text.replace("fma.rn.f32", f"fma.{mode}.f32", 1), "numpy.matmul", "float32", pool=pool)
    assert [s.name for s in found.stages if not s.passed] == ["full"]
