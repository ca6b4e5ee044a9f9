"""cvt against Python integers, numpy and MPFR."""

from __future__ import annotations

import math
from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.mpfr import rounded
from tests.isa.run import bits, floats, integers, number, run, signed

INTEGERS = ["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"]
FLOATS = [16, 32, 64]
TO_INTEGER = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}
RND = st.sampled_from(["rn", "rz", "rm", "rp"])


def limits(type: str) -> tuple[int, int]:
    n = int(type[1:])
    return (-(1 << n - 1), (1 << n - 1) - 1) if type[0] == "s" else (0, (1 << n) - 1)


def cut(value: int, type: str) -> int:
    return value & (1 << int(type[1:])) - 1


def view(value: int, type: str) -> int:
    return signed(value, int(type[1:])) if type[0] == "s" else value


def same(got: int, want: float, width: int) -> None:
    if math.isnan(want):
        assert math.isnan(number(got, width))
    else:
        assert got == bits(want, width), f"{number(got, width).hex()} is not {want.hex()}"


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", INTEGERS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_integers_are_extended_or_cut_or_clamped(to: str, source: str, data: st.DataObject) -> None:
    a = data.draw(integers(int(source[1:])))
    value = view(a, source)
    assert run(f"cvt.{to}.{source}", a) == cut(value, to)
    low, high = limits(to)
    if limits(source)[0] < low or limits(source)[1] > high:
        assert run(f"cvt.sat.{to}.{source}", a) == cut(min(max(value, low), high), to)


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("width", FLOATS)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), rnd=st.sampled_from(sorted(TO_INTEGER)))
def test_floats_become_clamped_integers(to: str, width: int, data: st.DataObject, rnd: str) -> None:
    near = st.sampled_from(limits(to)).map(lambda edge: bits(_fitting(edge, width), width))
    a = data.draw(st.one_of(floats(width), near))
    value = number(a, width)
    low, high = limits(to)
    if math.isnan(value):
        want = 1 << int(to[1:]) - 1 if width == 64 or to[1:] == "64" else 0
    elif math.isinf(value):
        want = high if value > 0 else low
    else:
        want = min(max(TO_INTEGER[rnd](Fraction(value)), low), high)
    assert run(f"cvt.{rnd}.{to}.f{width}", a) == cut(want, to)
    assert run(f"cvt.{rnd}.sat.{to}.f{width}", a) == cut(want, to)


def _fitting(value: int, width: int) -> float:
    """Near an integer, in the format."""
    if width == 16:
        return float(np.float16(min(max(value, -65504), 65504)))
    return float(np.float32(value)) if width == 32 else float(value)


def test_ftz_turns_a_subnormal_into_zero_before_rounding_to_an_integer() -> None:
    tiny = bits(2.0**-140, 32)
    assert (run("cvt.rpi.s32.f32", tiny), run("cvt.rpi.ftz.s32.f32", tiny)) == (1, 0)
    assert (run("cvt.rpi.f32.f32", tiny), run("cvt.rpi.ftz.f32.f32", tiny)) == (bits(1.0, 32), 0)


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("width", FLOATS)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), rnd=RND)
def test_integers_become_floats_rounded_once(source: str, width: int, data: st.DataObject, rnd: str) -> None:
    a = data.draw(integers(int(source[1:])))
    want = rounded(lambda x: gmpy2.mpfr(x, 0), f"f{width}", rnd, Fraction(view(a, source)))
    same(run(f"cvt.{rnd}.f{width}.{source}", a), want, width)
    assert run(f"cvt.{rnd}.sat.f{width}.{source}", a) == bits(min(max(want, 0.0), 1.0), width)


@pytest.mark.parametrize(("to", "source"), [(16, 32), (32, 64), (16, 64)])
@settings(max_examples=200, deadline=None)
@given(data=st.data(), rnd=RND)
def test_narrowing_is_rounded_once(to: int, source: int, data: st.DataObject, rnd: str) -> None:
    halves = st.integers(0, 2**16 - 1).map(lambda h: number(h, 16))
    ties = halves.filter(math.isfinite).map(lambda v: bits(v * (1 + 2.0**-11), source))
    a = data.draw(st.one_of(floats(source), ties))
    want = rounded(lambda x: +x, f"f{to}", rnd, number(a, source))
    same(run(f"cvt.{rnd}.f{to}.f{source}", a), want, to)
    clamped = 0.0 if math.isnan(want) else min(max(want, 0.0), 1.0)
    assert run(f"cvt.{rnd}.sat.f{to}.f{source}", a) == bits(clamped or 0.0, to)


@pytest.mark.parametrize(("to", "source"), [(32, 16), (64, 32), (64, 16)])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_widening_is_exact(to: int, source: int, data: st.DataObject) -> None:
    a = data.draw(floats(source))
    same(run(f"cvt.f{to}.f{source}", a), number(a, source), to)


@settings(max_examples=200, deadline=None)
@given(a=floats(32), b=floats(64), c=floats(16))
def test_ftz_flushes_the_f32_side_only(a: int, b: int, c: int) -> None:
    x, y, z = number(a, 32), number(b, 64), number(c, 16)

    def flush(v: float) -> float:
        return math.copysign(0.0, v) if abs(v) < 2.0**-126 else v

    same(run("cvt.rn.ftz.f16.f32", a), rounded(lambda v: +v, "f16", "rn", flush(x)), 16)
    same(run("cvt.rn.ftz.f32.f64", b), flush(rounded(lambda v: +v, "f32", "rn", y)), 32)
    same(run("cvt.ftz.f32.f16", c), z, 32)
    same(run("cvt.ftz.f64.f32", a), flush(x), 64)
    same(run("cvt.ftz.f32.f32", a), flush(x), 32)


@pytest.mark.parametrize("width", FLOATS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_rounding_to_integral_values_keeps_signed_zeros(width: int, data: st.DataObject) -> None:
    a = data.draw(floats(width))
    value = number(a, width)
    for rnd, numpy_function in {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}.items():
        with np.errstate(invalid="ignore"):
            want = float(numpy_function(np.float64(value)))
        same(run(f"cvt.{rnd}.f{width}.f{width}", a), want, width)
    assert run(f"cvt.rpi.f{width}.f{width}", bits(-0.5, width)) == bits(-0.0, width)


@settings(max_examples=300, deadline=None)
@given(a=floats(32) | integers(16).map(lambda h: h << 16 | 0x8000), b=floats(32), rnd=RND)
def test_bf16_is_rounded_once(a: int, b: int, rnd: str) -> None:
    def bf16(value: int, mode: str) -> int:
        want = rounded(lambda x: +x, "bf16", mode, number(value, 32))
        return 0x7FFF if math.isnan(want) else bits(want, 32) >> 16

    assert run(f"cvt.{rnd}.bf16.f32", a) == bf16(a, rnd)
    assert run("cvt.rn.bf16x2.f32", a, b) == bf16(a, "rn") << 16 | bf16(b, "rn")
    assert run("cvt.f32.bf16", a >> 16) == a >> 16 << 16


@settings(max_examples=200, deadline=None)
@given(a=floats(32), b=floats(32), rnd=st.sampled_from(["rn", "rz"]))
def test_packed_f16_with_relu_and_satfinite(a: int, b: int, rnd: str) -> None:
    def half(value: int, relu: bool, satfinite: bool) -> int:
        want = rounded(lambda x: +x, "f16", rnd, number(value, 32))
        if math.isnan(want):
            return 0x7FFF
        if satfinite and math.isinf(want):
            want = math.copysign(65504.0, want)
        return bits(max(want, 0.0) or 0.0 if relu else want, 16)

    for relu, satfinite in ((False, False), (True, False), (False, True), (True, True)):
        suffix = ".relu" * relu + ".satfinite" * satfinite
        want = half(a, relu, satfinite) << 16 | half(b, relu, satfinite)
        assert run(f"cvt.{rnd}{suffix}.f16x2.f32", a, b) == want
        if suffix:
            assert run(f"cvt.{rnd}{suffix}.f16.f32", a) == want >> 16


def test_bf16_satfinite_and_relu() -> None:
    large, minus = bits(3.4028234663852886e38, 32), bits(-3.0, 32)
    assert run("cvt.rn.bf16.f32", large) == 0x7F80
    assert run("cvt.rn.satfinite.bf16.f32", large) == 0x7F7F
    assert run("cvt.rn.satfinite.bf16.f32", large | 1 << 31) == 0xFF7F
    assert run("cvt.rn.relu.bf16.f32", minus) == 0
    assert run("cvt.rn.relu.satfinite.bf16x2.f32", minus, large) == 0x7F7F


def test_tf32_rounds_ties_away_from_zero() -> None:
    assert run("cvt.rna.tf32.f32", 0x3F801000) == 0x3F802000
    assert run("cvt.rna.tf32.f32", 0xBF801000) == 0xBF802000
    assert run("cvt.rna.tf32.f32", 0x3F800FFF) == 0x3F800000
    assert run("cvt.rna.tf32.f32", 0x7F7FFFFF) == 0x7F800000
    assert run("cvt.rna.satfinite.tf32.f32", 0x7F7FFFFF) == 0x7F7FE000
    assert run("cvt.rna.tf32.f32", bits(math.inf, 32)) == 0x7F800000
    assert run("cvt.rna.tf32.f32", 0x7FC00001) == 0x7FFFFFFF


WHOLE = ["u16", "u32", "u64", "s16", "s32", "s64"]


def bf16(value: float | Fraction, rnd: str) -> int:
    """The bits of a value rounded once to bf16; NaN is the canonical one."""
    if isinstance(value, float) and math.isnan(value):
        return 0x7FFF
    return bits(rounded(lambda x: gmpy2.mpfr(x, 0), "bf16", rnd, value), 32) >> 16


@pytest.mark.parametrize("source", WHOLE)
@settings(max_examples=100, deadline=None)
@given(data=st.data(), rnd=RND)
def test_integers_become_bf16_rounded_once(source: str, data: st.DataObject, rnd: str) -> None:
    width = int(source[1:])
    nearly = st.builds(lambda top, low: (257 + 2 * top << 40) + low, st.integers(0, 99), st.integers(-1, 1))
    a = data.draw(integers(width) if width < 64 else st.one_of(integers(width), nearly))
    assert run(f"cvt.{rnd}.bf16.{source}", a) == bf16(Fraction(view(a, source)), rnd)


@settings(max_examples=300, deadline=None)
@given(a=floats(64), h=floats(16), low=st.sampled_from([0, 1, -1]), rnd=RND)
def test_floats_become_bf16_rounded_once(a: int, h: int, low: int, rnd: str) -> None:
    # a tie of bf16, or next to one
    near = (a & ~((1 << 45) - 1) | 1 << 44) + low
    for pattern in (a, near):
        assert run(f"cvt.{rnd}.bf16.f64", pattern) == bf16(number(pattern, 64), rnd)
    assert run(f"cvt.{rnd}.bf16.f16", h) == bf16(number(h, 16), rnd)
    assert run("cvt.bf16.f16", h) == bf16(number(h, 16), "rn")


@settings(max_examples=300, deadline=None)
@given(a=integers(16), rnd=RND, whole=st.sampled_from(sorted(TO_INTEGER)), to=st.sampled_from(WHOLE))
def test_bf16_becomes_other_numbers(a: int, rnd: str, whole: str, to: str) -> None:
    value = number(a << 16, 32)
    same(run(f"cvt.{rnd}.f64.bf16", a), value, 64)
    same(run(f"cvt.{rnd}.f16.bf16", a), rounded(lambda x: +x, "f16", rnd, value), 16)
    low, high = limits(to)
    if math.isnan(value):
        want = 1 << 63 if to.endswith("64") else 0
    elif math.isinf(value):
        want = high if value > 0 else low
    else:
        want = min(max(TO_INTEGER[whole](Fraction(value)), low), high)
    assert run(f"cvt.{whole}.{to}.bf16", a) == cut(want, to)
    assert run("cvt.bf16.bf16", a) == a
    if math.isfinite(value):
        integral = run(f"cvt.{whole}.bf16.bf16", a)
        assert isinstance(integral, int)
        assert number(integral << 16, 32) == TO_INTEGER[whole](Fraction(value))


@pytest.mark.parametrize("to", ["u16", "s16", "u8", "s8", "u4", "s4", "u2", "s2"])
@settings(max_examples=60, deadline=None)
@given(a=integers(32) | integers(4), b=integers(32) | integers(4), c=integers(32))
def test_packing_clamps_and_keeps_the_rest_of_c(to: str, a: int, b: int, c: int) -> None:
    size = int(to[1:])
    low, high = limits(to)
    upper, lower = (min(max(signed(x, 32), low), high) & (1 << size) - 1 for x in (a, b))
    pair = upper << size | lower
    if size == 16:
        assert run(f"cvt.pack.sat.{to}.s32", a, b) == pair
    else:
        assert run(f"cvt.pack.sat.{to}.s32.b32", a, b, c) == (pair | c << 2 * size) & 0xFFFFFFFF
