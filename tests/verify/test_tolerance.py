"""Allowances: what each rule of docs/tolerance.md permits, in numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from llmptx.record import Tolerance
from llmptx.routines.truth import Truth
from llmptx.verify.tolerance import Structure, allowance, gamma, scale, unit_roundoff

TWO_TO_MINUS_24 = 2.0**-24


def allowed(rule: Tolerance, truth: Truth, structure: Structure = "random", **extents: int) -> list[float]:
    return allowance(rule, truth, extents, structure, "float32").tolist()


def test_unit_roundoff_and_gamma() -> None:
    assert unit_roundoff("float32") == TWO_TO_MINUS_24
    assert unit_roundoff("float64") == 2.0**-53
    assert float(gamma(64, "float32")) == pytest.approx(64 * TWO_TO_MINUS_24, rel=1e-5)
    assert float(gamma(64, "float32")) > 64 * TWO_TO_MINUS_24


def test_exact_allows_nothing() -> None:
    assert allowed(Tolerance("exact"), Truth(np.array([1.0, 0.0]))) == [0, 0]


def test_ulp_counts_in_spacings_of_the_true_value() -> None:
    truth = Truth(np.array([1.0, 0.75, 0.0, 1e-45, 3e38, np.inf]))
    least, top = 2.0**-149, 2.0**104
    assert allowed(Tolerance("ulp", 2), truth) == [
        2 * 2.0**-23,
        2 * 2.0**-24,
        2 * least,
        2 * least,
        2 * top,
        2 * top,
    ]


def test_special_multiplies_the_weight() -> None:
    truth = Truth(np.array([1.0, 1.0]), weight=np.array([1.0, 11.0]))
    assert allowed(Tolerance("special", 4), truth) == [4, 44]


def test_a_reduction_may_err_by_gamma_times_the_sum_of_magnitudes() -> None:
    truth = Truth(np.array([0.0]), weight=np.array([8.0]))
    d = 4 * 10 + 64
    assert allowed(Tolerance("reduction"), truth, n=1024) == pytest.approx(
        [8 * d * TWO_TO_MINUS_24], rel=1e-4
    )


def test_exact_data_must_be_summed_exactly() -> None:
    truth = Truth(np.array([3.0]), weight=np.array([8.0]))
    for rule, extents in (("reduction", {"n": 4}), ("matmul", {"k": 4})):
        assert allowed(Tolerance(rule), truth, "exact", **extents) == [0]  # type: ignore[arg-type]


def test_a_scan_is_allowed_less_where_the_prefix_is_shorter() -> None:
    truth = Truth(np.zeros(8), weight=np.ones(8))
    got = allowed(Tolerance("scan"), truth, outer=1, n=4, inner=2)
    assert got[0] == got[1] == pytest.approx(64 * TWO_TO_MINUS_24, rel=1e-4)
    assert got[6] == got[7] == pytest.approx(72 * TWO_TO_MINUS_24, rel=1e-4)
    assert got == sorted(got)


def test_matmul_takes_the_root_of_k_on_random_data_and_k_on_constants() -> None:
    truth = Truth(np.array([0.0]), weight=np.array([1.0]))
    rule = Tolerance("matmul")
    assert allowed(rule, truth, k=100) == pytest.approx([40 * TWO_TO_MINUS_24])
    assert allowed(rule, truth, "structured", k=100) == pytest.approx([100 * TWO_TO_MINUS_24])


def test_a_rule_that_needs_a_weight_says_so() -> None:
    with pytest.raises(ValueError, match="rule 'matmul' needs a weight"):
        allowed(Tolerance("matmul"), Truth(np.array([0.0])), k=1)


def test_sums_count_their_ulps_in_the_sum_of_magnitudes() -> None:
    truth = Truth(np.array([0.0]), weight=np.array([1.0]))
    assert scale(Tolerance("reduction"), truth, "float32").tolist() == [2.0**-23]
    assert scale(Tolerance("ulp", 1), truth, "float32").tolist() == [2.0**-149]


def test_every_rule_is_in_the_document() -> None:
    text = (Path(__file__).parents[2] / "docs/tolerance.md").read_text()
    rules = get_args(Tolerance.__annotations__["rule"]) or (
        "exact",
        "ulp",
        "special",
        "reduction",
        "scan",
        "matmul",
        "sort",
    )
    for rule in rules:
        assert f"| `{rule}` |" in text
