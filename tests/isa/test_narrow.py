"""8-bit floats and tf32 against the nearest of all the values a format has."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.run import bits, floats, number, run

# (exponent bits, mantissa bits, largest finite)
SHAPES = {"e4m3": (4, 3, 448.0), "e5m2": (5, 2, 57344.0)}


def values(element: str) -> dict[int, Fraction]:
    """The finite values of the codes with no sign."""
    exponent_bits, mantissa_bits, largest = SHAPES[element]
    bias = 2 ** (exponent_bits - 1) - 1
    out = {}
    for code in range(128):
        exponent, fraction = divmod(code, 2**mantissa_bits)
        lead = 1 if exponent else 0
        value = (lead + Fraction(fraction, 2**mantissa_bits)) * Fraction(2) ** (max(exponent, 1) - bias)
        if value <= largest:
            out[code] = value
    return out


def narrowed(value: float, element: str, relu: bool) -> int:
    """The code nearest to a value, the even one of two as near."""
    if math.isnan(value):
        return 0x7F
    if relu and (value < 0 or value == 0):
        return 0
    known = values(element)
    size = min(Fraction(abs(value)) if math.isfinite(value) else max(known.values()), max(known.values()))
    code = min(known, key=lambda c: (abs(known[c] - size), c % 2))
    return code | (0x80 if math.copysign(1, value) < 0 else 0)


NEAR = st.one_of(
    floats(32),
    st.builds(
        lambda sign, exponent, fraction: sign << 31 | 127 + exponent << 23 | fraction << 17,
        st.integers(0, 1), st.integers(-20, 17), st.integers(0, 63),
    ),
)  # fmt: skip


@pytest.mark.parametrize("element", ["e4m3", "e5m2"])
@settings(max_examples=300, deadline=None)
@given(high=NEAR, low=NEAR, relu=st.booleans())
def test_f32_becomes_the_nearest_byte(element: str, high: int, low: int, relu: bool) -> None:
    got = run(f"cvt.rn.satfinite{'.relu' if relu else ''}.{element}x2.f32", high, low)
    expected = [narrowed(number(x, 32), element, relu) for x in (high, low)]
    assert got == expected[0] << 8 | expected[1]


@pytest.mark.parametrize("element", ["e4m3", "e5m2"])
@settings(max_examples=200, deadline=None)
@given(high=floats(16), low=floats(16), relu=st.booleans())
def test_f16_becomes_the_nearest_byte(element: str, high: int, low: int, relu: bool) -> None:
    got = run(f"cvt.rn.satfinite{'.relu' if relu else ''}.{element}x2.f16x2", high << 16 | low)
    expected = [narrowed(number(x, 16), element, relu) for x in (high, low)]
    assert got == expected[0] << 8 | expected[1]


@pytest.mark.parametrize("element", ["e4m3", "e5m2"])
def test_every_byte_becomes_its_f16(element: str) -> None:
    known = values(element)
    for code in range(256):
        other = 255 - code
        for suffix in ("", ".relu"):
            got = run(f"cvt.rn{suffix}.f16x2.{element}x2", other << 8 | code)
            assert isinstance(got, int)
            for byte, half in ((code, got & 0xFFFF), (other, got >> 16)):
                sign = -1.0 if byte & 0x80 else 1.0
                if byte & 0x7F in known:
                    want = math.copysign(float(known[byte & 0x7F]), sign)
                elif element == "e5m2" and byte & 0x7F == 0x7C:
                    want = math.inf * sign
                else:
                    want = math.nan
                if math.isnan(want):
                    assert half == 0x7FFF
                else:
                    assert half == (0 if suffix and want <= 0 else bits(want, 16))


@settings(max_examples=300, deadline=None)
@given(a=floats(32), rnd=st.sampled_from(["rn", "rz"]), relu=st.booleans())
def test_tf32_keeps_ten_bits(a: int, rnd: str, relu: bool) -> None:
    got = run(f"cvt.{rnd}{'.relu' if relu else ''}.tf32.f32", a)
    value = number(a, 32)
    assert isinstance(got, int)
    if math.isnan(value):
        assert got == 0x7FFFFFFF
        return
    if relu and (value < 0 or a == 0x80000000):
        assert got == 0
        return
    below = a & ~0x1FFF
    middle = below + 0x1000
    up = rnd == "rn" and (a > middle or (a == middle and below & 0x2000))
    assert got == below + (0x2000 if up else 0)
