"""Failing cases made small: what is left is least, still fails, and is said in words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmptx.record import Finding, Verdict
from llmptx.routines import find
from llmptx.run.worker import Pool
from llmptx.toolchain.ptxas import find_ptxas
from llmptx.verify.inputs import Case
from llmptx.verify.judge import verify
from llmptx.verify.shrink import Shrunk, describe, fewest, shrink
from tests.verify.kernels import ADD
from tests.verify.test_judge import acting

RNG = np.random.default_rng(5)


def made_small(
    name: str,
    extents: dict[str, int],
    wrong: Callable[[Case], bool],
    structure: str = "random",
    **options: object,
) -> Shrunk:
    routine = find(name)
    signature = routine.signature("float32")
    sizes = [math.prod(extents[f] for f in size.split("*")) for size in routine.sizes]
    inputs = tuple(
        RNG.integers(-9, 9, n).astype(np.float32) + np.float32(0.3) for n in sizes[: len(signature.inputs)]
    )
    case = Case("a case", extents, inputs, structure)  # type: ignore[arg-type]
    finding = Finding("mismatch", "it is wrong")
    found = shrink(routine, signature, case, lambda c: (finding,) if wrong(c) else (), **options)  # type: ignore[arg-type]
    assert found is not None
    assert wrong(found.case)
    return found


def test_one_bad_value_is_left_alone() -> None:
    def wrong(case: Case) -> bool:
        return bool((case.inputs[0] > 8).any())

    found = made_small("numpy.add", {"n": 5000}, wrong)
    assert found.case.extents == {"n": 1}
    assert found.case.inputs[1].tolist() == [1.0]
    assert found.runs < 200
    assert found.findings[0].case == "shrunk from a case"


def test_values_become_short_while_they_fail() -> None:
    found = made_small("numpy.add", {"n": 300}, lambda c: bool((np.abs(c.inputs[1]) > 2.5).any()))
    assert found.case.inputs[1].tolist() == [3.0]


def test_a_shape_that_matters_is_kept() -> None:
    def wrong(case: Case) -> bool:
        return case.extents["n"] > 256 and case.extents["outer"] > 1

    found = made_small("numpy.sum", {"outer": 7, "n": 1000, "inner": 3}, wrong)
    assert found.case.extents == {"outer": 2, "n": 257, "inner": 1}
    assert not found.case.inputs[0].any()


def test_every_factor_of_a_product_is_cut_along_its_axes() -> None:
    def wrong(case: Case) -> bool:
        e = case.extents
        a = case.inputs[0].reshape(e["batch"], e["m"], e["k"])
        b = case.inputs[1].reshape(e["batch"], e["k"], e["n"])
        return bool((np.abs(a).max() > 8) and e["n"] >= 3 and b.size)

    found = made_small("numpy.matmul", {"batch": 3, "m": 9, "n": 11, "k": 8}, wrong)
    assert found.case.extents == {"batch": 1, "m": 1, "n": 3, "k": 1}
    assert [x.size for x in found.case.inputs] == [1, 3]
    assert not found.case.inputs[1].any()


def test_two_values_far_apart_are_both_kept() -> None:
    def wrong(case: Case) -> bool:
        return bool((case.inputs[0] > 8).any() and (case.inputs[0] < -8).any())

    found = made_small("numpy.sort", {"outer": 2, "n": 4000}, wrong)
    assert np.count_nonzero(found.case.inputs[0]) == 2
    assert found.case.extents["n"] * found.case.extents["outer"] <= 4


@pytest.mark.parametrize(("scale", "structure"), [(1, "exact"), (2**20, "random"), (0.5, "random")])
def test_data_are_exact_only_while_that_is_sure(scale: float, structure: str) -> None:
    routine = find("numpy.sum")
    data = np.full(64, scale, np.float32)
    case = Case("exact", {"outer": 1, "n": 64, "inner": 1}, (data,), "exact")
    seen: list[Case] = []

    def fails(case: Case) -> tuple[Finding, ...]:
        seen.append(case)
        return (Finding("mismatch", "wrong"),) if (case.inputs[0] == scale).sum() > 31 else ()

    shrink(routine, routine.signature("float32"), case, fails)
    assert {c.structure for c in seen[1:]} == {structure}


@pytest.mark.parametrize("element", [1, 7, -1])
def test_an_element_outside_the_buffers_points_nowhere(element: int) -> None:
    routine = find("numpy.add")
    one = np.ones(1, np.float32)
    case = Case("one", {"n": 1}, (one, one), "random")
    finding = Finding("out-of-bounds", "past the end", element=element)
    found = shrink(routine, routine.signature("float32"), case, lambda c: (finding,), element=element)
    assert found is not None
    assert found.case.extents["n"] <= 1


def test_what_does_not_fail_again_is_not_shrunk() -> None:
    routine = find("numpy.negative")
    case = Case("fine", {"n": 1}, (np.ones(1, np.float32),))
    assert shrink(routine, routine.signature("float32"), case, lambda case: ()) is None


def test_time_is_limited() -> None:
    def slow(case: Case) -> bool:
        time.sleep(0.02)
        return bool((case.inputs[0] > 8).any())

    began = time.monotonic()
    made_small("numpy.add", {"n": 100_000}, slow, seconds=0.1)
    assert time.monotonic() - began < 2


@given(st.sets(st.integers(0, 60), min_size=1, max_size=4), st.integers(61, 90))
def test_nothing_needless_is_left(needed: set[int], size: int) -> None:
    assert set(fewest(list(range(size)), lambda some: needed <= set(some))) == needed


def test_words_list_short_inputs_and_sum_up_long_ones() -> None:
    routine = find("numpy.sum")
    finding = Finding("mismatch", "out[0] is wrong")
    short = Case("", {"outer": 1, "n": 2, "inner": 1}, (np.array([0.1, np.nan], np.float32),))
    assert describe(routine, Shrunk(short, (finding,), 1)) == (
        "outer=1, n=2, inner=1; in0 = [0.1, nan]: out[0] is wrong"
    )
    data = np.zeros(257, np.float32)
    data[[3, 256]] = -0.0, 1.2345678
    long = Case("", {"outer": 1, "n": 257, "inner": 1}, (data,))
    assert "in0 = 257 elements, all 0 but [3] = -0.0, [256] = 1.2345678 (0x3f9e0651)" in describe(
        routine, Shrunk(long, (finding,), 1)
    )


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    if find_ptxas() is None:
        pytest.skip("no ptxas on this machine")
    with Pool(1, "tests.verify.acted:run_job") as pool:
        yield pool


def judged(act: str, pool: Pool) -> Verdict:
    return verify(acting(act, ADD), "numpy.add", "float32", pool=pool, shrink=True)


def test_a_verdict_says_the_smallest_counterexample(pool: Pool) -> None:
    finding = judged("last-off", pool).findings[0]
    assert finding.counterexample.startswith("n=1; in0 = [1.0]; in1 = [1.0]: out[0]: got 0.0")
    assert "expected 2.0" in finding.counterexample
    assert verify(acting("last-off", ADD), "numpy.add", "float32", pool=pool).findings[0].counterexample == ""


def test_a_fault_of_large_shapes_stays_one(pool: Pool) -> None:
    counterexample = judged("only-large", pool).findings[0].counterexample
    assert int(counterexample.split(";")[0].removeprefix("n=")) >= 60_001


def test_a_crash_is_shrunk_through_new_processes(pool: Pool) -> None:
    verdict = judged("crash", pool)
    assert {f.kind for f in verdict.findings} == {"out-of-bounds"}
    assert verdict.findings[0].counterexample.startswith(
        "n=1; in0 = [1.0]; in1 = [1.0]: a store past the end"
    )


def test_a_fault_of_one_setup_is_shrunk_under_it(pool: Pool) -> None:
    verdict = judged("minds-width", pool)
    assert verdict.stages[-1].name == "widths"
    assert verdict.findings[0].counterexample.startswith("n=1; in0 = [1.0]; in1 = [1.0]: out[0] is 3.0")


def test_a_hang_is_left_as_it_is(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmptx.verify.trial.SECONDS", 0.3)
    verdict = judged("hang", pool)
    assert verdict.findings[0].kind == "timeout"
    assert verdict.findings[0].counterexample == ""
