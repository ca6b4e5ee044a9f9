"""f32 and f64 rows against MPFR, numpy and the manual's tables of special values."""

from __future__ import annotations

import math
from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.mpfr import MODES, rounded
from tests.isa.run import bits, floats, number, run

RND = st.sampled_from(sorted(MODES))
NAN = {32: 0x7FFFFFFF, 64: 0x7FFFFFFFFFFFFFFF}
OPS = {"add": gmpy2.add, "sub": gmpy2.sub, "mul": gmpy2.mul, "div": gmpy2.div}


def same(got: int, want: float, width: int) -> None:
    if math.isnan(want):
        assert got == NAN[width]
    else:
        assert got == bits(want, width), f"{number(got, width).hex()} is not {want.hex()}"


def flush(value: float) -> float:
    return math.copysign(0.0, value) if abs(value) < 2.0**-126 else value


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("op", sorted(OPS))
@settings(max_examples=150, deadline=None)
@given(data=st.data(), rnd=RND)
def test_arithmetic_is_rounded_once_in_every_mode(op: str, width: int, data: st.DataObject, rnd: str) -> None:
    a, b = data.draw(floats(width)), data.draw(floats(width))
    want = rounded(OPS[op], f"f{width}", rnd, number(a, width), number(b, width))
    same(run(f"{op}.{rnd}.f{width}", a, b), want, width)


@pytest.mark.parametrize("width", [32, 64])
@settings(max_examples=200, deadline=None)
@given(data=st.data(), rnd=RND)
def test_fma_is_rounded_once(width: int, data: st.DataObject, rnd: str) -> None:
    values = [data.draw(floats(width)) for _ in range(3)]
    want = rounded(gmpy2.fma, f"f{width}", rnd, *(number(v, width) for v in values))
    same(run(f"fma.{rnd}.f{width}", *values), want, width)
    assert run(f"mad.{rnd}.f{width}", *values) == run(f"fma.{rnd}.f{width}", *values)


@pytest.mark.parametrize("width", [32, 64])
@settings(max_examples=150, deadline=None)
@given(data=st.data(), rnd=RND)
def test_square_roots_and_reciprocals_are_rounded_once(width: int, data: st.DataObject, rnd: str) -> None:
    a = data.draw(floats(width))
    value = number(a, width)
    same(run(f"sqrt.{rnd}.f{width}", a), rounded(gmpy2.sqrt, f"f{width}", rnd, value), width)
    same(run(f"rcp.{rnd}.f{width}", a), rounded(gmpy2.div, f"f{width}", rnd, 1.0, value), width)


@settings(max_examples=200, deadline=None)
@given(a=floats(32), b=floats(32), op=st.sampled_from(sorted(OPS)))
def test_nearest_agrees_with_numpy(a: int, b: int, op: str) -> None:
    with np.errstate(all="ignore"):
        x, y = np.array([a, b], np.uint32).view(np.float32)
        want = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[op](x, y)
    head = f"{op}.f32" if op != "div" else "div.rn.f32"
    same(run(head, a, b), float(want), 32)


@settings(max_examples=200, deadline=None)
@given(a=floats(32), b=floats(32), c=floats(32), rnd=RND)
def test_ftz_flushes_inputs_and_results_and_keeps_the_sign(a: int, b: int, c: int, rnd: str) -> None:
    x, y, z = (flush(number(v, 32)) for v in (a, b, c))
    want = rounded(gmpy2.fma, "f32", rnd, x, y, z)
    same(run(f"fma.{rnd}.ftz.f32", a, b, c), flush(want), 32)
    same(run(f"add.{rnd}.ftz.f32", a, b), flush(rounded(gmpy2.add, "f32", rnd, x, y)), 32)
    assert run("neg.ftz.f32", a) == (bits(-x, 32) if not math.isnan(x) else 0x7FFFFFFF)
    assert run("abs.ftz.f32", a) == (bits(abs(x), 32) if not math.isnan(x) else 0x7FFFFFFF)


@settings(max_examples=200, deadline=None)
@given(a=floats(32), b=floats(32), rnd=RND)
def test_sat_clamps_to_zero_and_one_and_nan_is_plus_zero(a: int, b: int, rnd: str) -> None:
    exact = rounded(gmpy2.mul, "f32", rnd, number(a, 32), number(b, 32))
    want = 0.0 if math.isnan(exact) or exact <= 0 else min(exact, 1.0)
    assert run(f"mul.{rnd}.sat.f32", a, b) == bits(want, 32)


@pytest.mark.parametrize("width", [32, 64])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_min_and_max_lose_one_nan_and_order_the_zeros(width: int, data: st.DataObject) -> None:
    a, b = data.draw(floats(width)), data.draw(floats(width))
    x, y = number(a, width), number(b, width)
    numbers = [v for v in (x, y) if not math.isnan(v)]

    def key(v: float) -> tuple[float, float]:
        return v, math.copysign(1, v)

    for op, choose in (("min", min), ("max", max)):
        want = choose(numbers, key=key) if numbers else math.nan
        same(run(f"{op}.f{width}", a, b), want, width)
        if width == 32:
            same(run(f"{op}.NaN.f32", a, b), want if len(numbers) == 2 else math.nan, 32)


@settings(max_examples=200, deadline=None)
@given(a=floats(32), b=floats(32))
def test_xorsign_abs_takes_the_magnitude_and_the_product_of_signs(a: int, b: int) -> None:
    x, y = number(a, 32), number(b, 32)
    numbers = [abs(v) for v in (x, y) if not math.isnan(v)]
    negative = (a ^ b) >> 31
    if not numbers:
        assert run("max.xorsign.abs.f32", a, b) == NAN[32]
        return
    assert run("max.xorsign.abs.f32", a, b) == bits(max(numbers), 32) | negative << 31
    assert run("min.xorsign.abs.f32", a, b) == bits(min(numbers), 32) | negative << 31
    want = NAN[32] if len(numbers) < 2 else bits(max(numbers), 32) | negative << 31
    assert run("max.NaN.xorsign.abs.f32", a, b) == want


def test_min_ftz_makes_a_subnormal_a_zero_before_comparing() -> None:
    tiny = bits(2.0**-130, 32)
    assert run("max.ftz.f32", tiny | 1 << 31, bits(-0.0, 32)) == bits(-0.0, 32)
    assert run("min.ftz.f32", tiny, bits(1.0, 32)) == 0


@pytest.mark.parametrize("width", [32, 64])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_testp_agrees_with_numpy(width: int, data: st.DataObject) -> None:
    a = data.draw(floats(width))
    value = number(a, width)
    least = 2.0**-126 if width == 32 else 2.0**-1022
    subnormal = 0 < abs(value) < least
    for op, want in {
        "finite": np.isfinite(value), "infinite": np.isinf(value), "number": not np.isnan(value),
        "notanumber": np.isnan(value), "normal": np.isfinite(value) and not subnormal, "subnormal": subnormal,
    }.items():  # fmt: skip
        assert run(f"testp.{op}.f{width}", a) == want, op


def test_copysign_gives_the_second_operand_the_sign_of_the_first() -> None:
    assert run("copysign.f32", bits(-2.0, 32), bits(3.0, 32)) == bits(-3.0, 32)
    assert run("copysign.f64", bits(2.0, 64), bits(-3.0, 64)) == bits(3.0, 64)


INF, QUIET = math.inf, math.nan
SPECIAL_RESULTS = {  # the manual's tables: -inf, -0, +0, +inf, NaN
    "rcp.approx.f32": (-0.0, -INF, INF, 0.0, QUIET),
    "sqrt.approx.f32": (QUIET, -0.0, 0.0, INF, QUIET),
    "rsqrt.approx.f32": (QUIET, -INF, INF, 0.0, QUIET),
    "rsqrt.approx.f64": (QUIET, -INF, INF, 0.0, QUIET),
    "sin.approx.f32": (QUIET, -0.0, 0.0, QUIET, QUIET),
    "cos.approx.f32": (QUIET, 1.0, 1.0, QUIET, QUIET),
    "lg2.approx.f32": (QUIET, -INF, -INF, INF, QUIET),
    "ex2.approx.f32": (0.0, 1.0, 1.0, INF, QUIET),
    "tanh.approx.f32": (-1.0, -0.0, 0.0, 1.0, QUIET),
}


@pytest.mark.parametrize("head", sorted(SPECIAL_RESULTS))
def test_approximations_have_the_manuals_special_values(head: str) -> None:
    width = int(head[-2:])
    for value, want in zip((-INF, -0.0, 0.0, INF, QUIET), SPECIAL_RESULTS[head], strict=True):
        same(run(head, bits(value, width)), want, width)


def test_approximations_are_correctly_rounded_on_this_emitter() -> None:
    for name, function in {
        "ex2": np.exp2,
        "lg2": np.log2,
        "sin": np.sin,
        "cos": np.cos,
        "tanh": np.tanh,
    }.items():
        for value in (0.1, 0.7, 1.3, 2.9, 6.0):
            x = np.float32(value)
            got = number(run(f"{name}.approx.f32", bits(float(x), 32)), 32)
            assert got == np.float32(function(np.float64(x)))


def test_approx_ftz_flushes_the_input_and_the_result() -> None:
    tiny = bits(2.0**-130, 32)
    assert run("rcp.approx.ftz.f32", tiny) == bits(INF, 32)
    assert run("rcp.approx.ftz.f32", bits(-(2.0**127), 32)) == bits(-0.0, 32)
    assert run("rsqrt.approx.ftz.f32", tiny | 1 << 31) == bits(-INF, 32)
    assert run("lg2.approx.ftz.f32", tiny | 1 << 31) == bits(-INF, 32)
    assert run("ex2.approx.ftz.f32", bits(-127.0, 32)) == 0
    assert run("ex2.approx.f32", bits(-127.0, 32)) == bits(2.0**-127, 32)


def test_div_approx_of_a_huge_divisor_is_zero_or_of_infinity_nan() -> None:
    huge = bits(-(2.0**127), 32)
    assert run("div.approx.f32", bits(2.0**127, 32), huge) == bits(-0.0, 32)
    assert run("div.approx.f32", bits(INF, 32), huge) == NAN[32]
    assert run("div.approx.f32", bits(3.0, 32), bits(-INF, 32)) == bits(-0.0, 32)
    assert run("div.approx.f32", bits(3.0, 32), bits(2.0, 32)) == bits(1.5, 32)
    assert run("div.full.f32", bits(2.0**127, 32), huge) == bits(-1.0, 32)


def test_gross_double_approximations_keep_the_upper_word_only() -> None:
    third = run("rcp.approx.ftz.f64", bits(3.0, 64) | 0xFFFFFFFF)
    assert third & 0xFFFFFFFF == 0
    assert abs(Fraction(number(third, 64)) * 3 - 1) < Fraction(1, 2**19)
    assert run("rcp.approx.ftz.f64", bits(5e-324, 64)) == bits(INF, 64)
    assert run("rcp.approx.ftz.f64", 0x7FF0000000000001) == 0x7FFFFFFF_00000000
    assert run("rsqrt.approx.ftz.f64", bits(-1.0, 64)) == 0x7FFFFFFF_00000000
    assert run("rsqrt.approx.ftz.f64", bits(4.0, 64)) == bits(0.5, 64)


def test_a_nan_of_f64_keeps_its_payload_under_abs_and_changes_its_sign_under_neg() -> None:
    payload = 0xFFF8000000000123
    assert run("abs.f64", payload) == payload
    assert run("neg.f64", payload) == payload ^ 1 << 63
