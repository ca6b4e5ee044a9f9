"""Sines by angle sums against MPFR, over runs of neighbouring floats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx.routines.progression import cosine, sine
from llmptx.routines.truth import Floats, multiprecision, spacing
from llmptx.run.job import consecutive

FUNCTIONS: dict[str, Callable[[Floats], Floats]] = {"sin": sine, "cos": cosine}


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=20, deadline=None)
@given(exponent=st.integers(1, 253), offset=st.integers(0, 2**23 - 4096), negative=st.booleans())
def test_within_a_hundred_thousandth_of_an_ulp(name: str, exponent: int, offset: int, negative: bool) -> None:
    first = (negative << 31) | (exponent << 23) + offset
    x = consecutive(first, 4096, "float32").astype(np.float64)
    hi, lo = multiprecision(name, x)
    error = np.abs((FUNCTIONS[name](x) - hi) - lo) / spacing(hi, "float32")
    assert error.max() < 2.0**-23


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("pattern", [0, 0x80000000, 0x3D7FF800, 0x3D800000, 0x40490FDB - 2000, 0x7F7FF000])
def test_zeros_seams_and_ends(name: str, pattern: int) -> None:
    x = consecutive(pattern, 4096, "float32").astype(np.float64)
    x = x[: np.flatnonzero(np.isfinite(x))[-1] + 1]
    hi, lo = multiprecision(name, x)
    got = FUNCTIONS[name](x)
    assert (np.abs((got - hi) - lo) <= 2.0**-23 * spacing(hi, "float32")).all()
    assert (np.signbit(got) == np.signbit(hi)).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_anything_else_is_numpys(name: str) -> None:
    rng = np.random.default_rng(3)
    numpys = getattr(np, name)
    nearly = np.arange(4096.0)
    nearly[77] += 0.5
    for x in (rng.normal(size=5000), nearly, np.arange(10.0), np.full(5000, 2.0), np.empty(0)):
        assert np.array_equal(FUNCTIONS[name](x), numpys(x))
    with np.errstate(invalid="ignore"):
        assert np.isnan(FUNCTIONS[name](np.full(5000, np.inf))).all()
