"""The oracles against others that we did not write: mpmath, numpy, scipy, and the tables of numpy's tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.routines import find
from llmptx.routines.truth import Truth, exact_sum, spacing, two_product

RNG = np.random.default_rng(20)

POINTS = {
    "exp": np.concatenate([RNG.uniform(-740, 709, 60), RNG.normal(size=40) * 1e-3]),
    "exp2": RNG.uniform(-1070, 1023, 80),
    "log": np.concatenate([np.exp(RNG.uniform(-700, 700, 60)), 1 + RNG.normal(size=40) * 1e-7]),
    "log2": np.concatenate([np.exp(RNG.uniform(-700, 700, 60)), 1 + RNG.normal(size=40) * 1e-7]),
    "sin": np.concatenate(
        [RNG.uniform(-100, 100, 60), np.exp(RNG.uniform(10, 700, 40)), np.arange(1, 40) * math.pi]
    ),
    "cos": np.concatenate(
        [RNG.uniform(-100, 100, 60), np.exp(RNG.uniform(10, 700, 40)), np.arange(1, 40) * math.pi]
    ),
    "tanh": RNG.normal(size=80) * 8,
    "erf": RNG.normal(size=80) * 3,
    "expit": RNG.uniform(-700, 50, 80),
}

MP: dict[str, Callable[[Any], Any]] = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tanh": mpmath.tanh,
    "erf": mpmath.erf,
    "expit": lambda x: 1 / (1 + mpmath.exp(-x)),
}


def answer(name: str, dtype: str, *inputs: Any, **extents: int) -> Truth:
    routine = find(name)
    arrays = [np.asarray(x, d) for x, d in zip(inputs, routine.signature(dtype).inputs, strict=True)]
    extents = extents or {"n": arrays[0].size}
    (truth,) = routine.oracle([a.ravel() for a in arrays], extents, routine.signature(dtype))
    return truth


def along(name: str, dtype: str, row: Any) -> Truth:
    return answer(name, dtype, row, outer=1, n=len(row), inner=1)


def relative_error(truth: Truth, index: int, want: Any) -> float:
    lo = 0.0 if truth.lo is None else float(truth.lo[index])
    got = mpmath.mpf(float(truth.hi[index])) + mpmath.mpf(lo)
    return float(abs((got - want) / want))


@pytest.mark.parametrize("name", sorted(POINTS))
def test_float64_truth_is_good_to_100_bits(name: str) -> None:
    x = POINTS[name]
    truth = answer(name, "float64", x)
    with mpmath.workprec(1400):
        for i, value in enumerate(x.tolist()):
            if abs(truth.hi[i]) > 1e-270:  # below, lo itself is subnormal
                assert relative_error(truth, i, MP[name](mpmath.mpf(value))) < 2.0**-100


@pytest.mark.parametrize("name", sorted(POINTS))
def test_float32_truth_is_good_to_49_bits(name: str) -> None:
    with np.errstate(over="ignore"):
        x = np.concatenate([POINTS[name] / 8, POINTS[name]]).astype(np.float32)
    x = x[np.isfinite(x)]
    truth = answer(name, "float32", x)
    with mpmath.workprec(1400):
        for i, value in enumerate(x.tolist()):
            if np.isfinite(truth.hi[i]) and abs(truth.hi[i]) > 1e-300:
                assert relative_error(truth, i, MP[name](mpmath.mpf(value))) < 2.0**-49


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_power_is_right_in_range_and_beyond(dtype: str) -> None:
    base = np.exp(RNG.uniform(-20, 20, 200)).astype(dtype)
    power = RNG.uniform(-6, 6, 200).astype(dtype)
    truth = answer("power", dtype, base, power)
    with mpmath.workprec(300):
        for i in range(200):
            want = mpmath.mpf(float(base[i])) ** mpmath.mpf(float(power[i]))
            assert relative_error(truth, i, want) < (2.0**-49 if dtype == "float32" else 2.0**-100)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x", "y", "want"),
    [
        (math.nan, 0.0, 1.0),
        (1.0, math.nan, 1.0),
        (-1.0, math.inf, 1.0),
        (-2.0, 0.5, math.nan),
        (-0.0, 3.0, -0.0),
        (-0.0, -3.0, -math.inf),
        (-math.inf, 3.0, -math.inf),
        (0.5, math.inf, 0.0),
        (-3.0, 3.0, -27.0),
        (1e30, 1e30, math.inf),
        (-1e-30, 1e10 + 1, -0.0),
    ],
)
def test_power_follows_c99(dtype: str, x: float, y: float, want: float) -> None:
    if dtype == "float32" and y == 1e10 + 1:
        y = 2.0**23 + 1  # odd in float32 too
    hi = float(answer("power", dtype, [x], [y]).hi[0])
    assert (math.isnan(hi) and math.isnan(want)) or (
        hi == want and math.copysign(1, hi) == math.copysign(1, want)
    )


def test_numpys_own_tables_agree() -> None:
    """Rows of (dtype, input bits, output bits, ULP) that numpy's tests carry."""
    folder = Path(np.__file__).parent / "_core/tests/data"
    for name in ("exp", "exp2", "log", "log2", "sin", "cos", "tanh"):
        rows = [r.split(",") for r in (folder / f"umath-validation-set-{name}.csv").read_text().splitlines()]
        rows = [r for r in rows if r[0] == "np.float64"]
        assert len(rows) > 50
        x, want = (np.array([int(r[k], 16) for r in rows], np.uint64).view(np.float64) for k in (1, 2))
        truth = answer(name, "float64", x)
        settled = np.isfinite(want) & np.isfinite(truth.hi)
        error = np.abs(truth.hi[settled] - want[settled]) / spacing(truth.hi[settled], "float64")
        assert error.max() <= 1
        assert np.array_equal(np.isnan(want), np.isnan(truth.hi))


@pytest.mark.parametrize(
    ("name", "x", "y", "want"),
    [
        ("floor_divide", [7, -7, -(2**31), 5, 0], [-2, 2, -1, 0, 0], [-4, -4, -(2**31), 0, 0]),
        ("remainder", [7, -7, -(2**31), 5, 0], [-2, 2, -1, 0, 0], [-1, 1, 0, 0, 0]),
        ("left_shift", [1, 1, 1, -1], [31, 32, -1, 4], [-(2**31), 0, 0, -16]),
        ("right_shift", [-8, -8, 8, 8], [1, 32, -1, 31], [-4, -1, 0, 0]),
        ("power", [3, -2, 0, 2**16], [4, 31, 0, 2], [81, -(2**31), 1, 0]),
        ("maximum", [1, -5], [2, -6], [2, -5]),
    ],
)
def test_int32_corner_cases(name: str, x: list[int], y: list[int], want: list[int]) -> None:
    assert answer(name, "int32", x, y).hi.tolist() == want


@pytest.mark.parametrize(
    ("name", "x", "y", "want"),
    [
        (
            "floor_divide",
            [7.0, -7.0, 1.0, -1.0, 0.0],
            [2.0, 2.0, 0.0, math.inf, -3.0],
            [3.0, -4.0, math.inf, -1.0, -0.0],
        ),
        (
            "remainder",
            [7.0, -7.0, 6.0, -1.0, 5.0],
            [-2.0, 2.0, -3.0, math.inf, 0.0],
            [-1.0, 1.0, -0.0, math.inf, math.nan],
        ),
        ("maximum", [math.nan, 1.0], [1.0, 2.0], [math.nan, 2.0]),
        ("fmax", [math.nan, 1.0, math.nan], [1.0, math.nan, math.nan], [1.0, 1.0, math.nan]),
        ("fmin", [math.nan, 3.0], [1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_float_corner_cases(name: str, x: list[float], y: list[float], want: list[float]) -> None:
    hi = answer(name, "float32", x, y).hi
    assert hi.tobytes().hex() == np.array(want, np.float32).tobytes().hex() or np.array_equal(
        hi, np.array(want, np.float32), equal_nan=True
    )
    numbers = ~np.isnan(hi)
    assert np.array_equal(np.signbit(hi[numbers]), np.signbit(np.array(want)[numbers]))


def test_sign_of_negative_zero_is_positive_zero() -> None:
    assert math.copysign(1, answer("sign", "float32", [-0.0]).hi[0]) == 1


def test_clip_with_low_above_high_gives_high_and_nan_anywhere_gives_nan() -> None:
    hi = answer("clip", "float32", [5, 0, math.nan, 1, 1], [3, 3, 0, math.nan, 0], [2, 2, 1, 2, math.nan]).hi
    assert np.array_equal(hi, [2, 2, math.nan, math.nan, math.nan], equal_nan=True)


def test_opposite_zeros_are_free_only_where_they_meet() -> None:
    truth = answer("minimum", "float64", [0.0, -0.0, 1.0], [-0.0, -0.0, 2.0])
    assert np.asarray(truth.free_zero_sign).tolist() == [True, True, False]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=40))
def test_float64_sums_are_exact(values: list[float]) -> None:
    hi, lo = exact_sum(values)
    true = sum(map(Fraction, values))
    assert hi == float(true)
    assert abs(true - Fraction(hi) - Fraction(lo)) <= abs(Fraction(lo)) * Fraction(1, 2**52)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100))
def test_two_product_loses_nothing(a: float, b: float) -> None:
    if a and b and abs(a) > 1e-100 and abs(b) > 1e-100:
        p, e = two_product(np.array([a]), np.array([b]))
        assert Fraction(float(p[0])) + Fraction(float(e[0])) == Fraction(a) * Fraction(b)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_float64_prefixes_hold_what_running_sums_lose(values: list[float]) -> None:
    truth = along("cumsum", "float64", values)
    assert truth.lo is not None
    assert truth.weight is not None
    true = Fraction(0)
    for i, value in enumerate(values):
        true += Fraction(value)
        error = abs(true - Fraction(float(truth.hi[i])) - Fraction(float(truth.lo[i])))
        assert error <= Fraction(float(truth.weight[i])) * Fraction(1, 2**95)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dot_and_matmul_are_exact_sums(dtype: str) -> None:
    a, b = (RNG.normal(size=(2, 3, 4)).astype(dtype), RNG.normal(size=(2, 4, 5)).astype(dtype))
    truth = answer("matmul", dtype, a, b, batch=2, m=3, n=5, k=4)
    index = 0
    for batch in range(2):
        for i in range(3):
            for j in range(5):
                products = zip(a[batch, i].tolist(), b[batch, :, j].tolist(), strict=True)
                true = sum(Fraction(x) * Fraction(y) for x, y in products)
                lo = Fraction(0 if truth.lo is None else float(truth.lo[index]))
                error = abs(true - Fraction(float(truth.hi[index])) - lo)
                assert error <= abs(true) * Fraction(1, 2**48 if dtype == "float32" else 2**100)
                index += 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["matmul", "dot"])
def test_an_infinity_times_zero_is_nan_in_products(name: str, dtype: str) -> None:
    extents = {"n": 2} if name == "dot" else {"batch": 1, "m": 1, "n": 1, "k": 2}
    assert np.isnan(answer(name, dtype, [math.inf, 1.0], [0.0, 1.0], **extents).hi[0])


def test_nothing_sums_to_zero_and_averages_to_nan() -> None:
    assert answer("sum", "float32", [], outer=2, n=0, inner=3).hi.tolist() == [0] * 6
    assert np.isnan(answer("mean", "int32", [], outer=1, n=0, inner=2).hi).all()
    assert answer("dot", "float64", [], [], n=0).hi.tolist() == [0]
    assert answer("matmul", "float64", [], [], batch=1, m=2, n=2, k=0).hi.tolist() == [0] * 4


def test_integer_means_pass_the_range_of_int64() -> None:
    top = 2**63 - 1
    truth = along("mean", "int64", [top, top, top - 3])
    assert truth.lo is not None
    assert Fraction(float(truth.hi[0])) + Fraction(float(truth.lo[0])) == Fraction(3 * top - 3, 3)


def test_int32_is_summed_in_int64() -> None:
    assert along("sum", "int32", [2**31 - 1] * 4).hi.tolist() == [4 * (2**31 - 1)]


def test_argmax_takes_the_first_nan_and_the_first_of_ties() -> None:
    assert along("argmax", "float32", [1, math.nan, 9, math.nan]).hi.tolist() == [1]
    assert along("argmax", "int32", [3, 7, 7]).hi.tolist() == [1]


def test_reductions_run_along_the_middle_axis() -> None:
    x = RNG.normal(size=(3, 5, 7))
    shape = {"outer": 3, "n": 5, "inner": 7}
    for name in ("sum", "max", "min", "argmax", "mean"):
        want = getattr(np, name)(x, axis=1).ravel()
        assert np.allclose(answer(name, "float64", x, **shape).hi, want, rtol=1e-12)
    assert np.allclose(answer("cumsum", "float64", x, **shape).hi, np.cumsum(x, axis=1).ravel(), rtol=1e-12)
    softmax = scipy.special.softmax(x, axis=1).ravel()
    assert np.allclose(answer("softmax", "float64", x, **shape).hi, softmax, rtol=1e-12)
    logsumexp = scipy.special.logsumexp(x, axis=1).ravel()
    assert np.allclose(answer("logsumexp", "float64", x, **shape).hi, logsumexp, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "row",
    [
        [1.0, math.nan],
        [math.nan, math.inf],
        [math.inf, 1.0],
        [-math.inf, -math.inf],
        [-math.inf, 2.0, 1.0],
        [1000.0, 1000.5],
        [-1000.0, 0.0],
    ],
)
def test_exponential_sums_treat_special_rows_as_scipy_does(dtype: str, row: list[float]) -> None:
    with np.errstate(all="ignore"):
        softmax = scipy.special.softmax(np.array(row))
        logsumexp = scipy.special.logsumexp(np.array(row))
    assert np.allclose(along("softmax", dtype, row).hi, softmax, rtol=1e-9, equal_nan=True)
    assert np.allclose(along("logsumexp", dtype, row).hi, logsumexp, rtol=1e-9, equal_nan=True)


def test_softmax_and_logsumexp_in_float64_are_good_to_100_bits() -> None:
    row = RNG.normal(size=9) * 5
    softmax, logsumexp = along("softmax", "float64", row), along("logsumexp", "float64", row)
    with mpmath.workprec(300):
        terms = [mpmath.exp(mpmath.mpf(x)) for x in row.tolist()]
        total = mpmath.fsum(terms)
        assert relative_error(logsumexp, 0, mpmath.log(total)) < 2.0**-100
        assert max(relative_error(softmax, i, t / total) for i, t in enumerate(terms)) < 2.0**-100


def test_float64_overflow_can_still_be_counted_in_ulps() -> None:
    just_over = answer("exp", "float64", [709.782712893385])
    assert np.isfinite(just_over.hi[0])
    assert just_over.lo is not None
    assert just_over.lo[0] > 0
    assert np.isinf(answer("exp", "float64", [800.0]).hi[0])


def test_spacing_is_numpys_and_knows_subnormals() -> None:
    for dtype in ("float32", "float64"):
        info = np.finfo(dtype)
        x = np.array([1, 0.75, 2, 1e-30, info.tiny, info.smallest_subnormal], dtype)
        assert np.array_equal(spacing(x, dtype), np.spacing(x).astype(np.float64))
        assert spacing(np.zeros(1), dtype)[0] == info.smallest_subnormal
        top = np.array([info.max], dtype)
        assert spacing(top, dtype)[0] == float(info.max) - float(np.nextafter(info.max, np.array(0, dtype)))
