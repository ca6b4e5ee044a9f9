"""Comparison and selection against Python's and numpy's comparisons."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.run import bits, floats, integers, number, run, signed

ORDER = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
         "ge": operator.ge}  # fmt: skip
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
BOOL = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}
FLOAT_OPS = [*ORDER, *(f"{op}u" for op in ORDER), "num", "nan"]


def truth(op: str, x: float, y: float) -> bool:
    unordered = math.isnan(x) or math.isnan(y)
    if op in ("num", "nan"):
        return unordered == (op == "nan")
    return op.endswith("u") if unordered else ORDER[op.removesuffix("u")](x, y)


@pytest.mark.parametrize("type", ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_integers_compare_by_their_signedness(type: str, data: st.DataObject) -> None:
    n = int(type[1:])
    a, b, c = data.draw(integers(n)), data.draw(integers(n)), data.draw(st.integers(0, 1))
    x, y = (signed(v, n) if type[0] == "s" else v for v in (a, b))
    ops = ["eq", "ne"] if type[0] == "b" else [*ORDER, *(UNSIGNED if type[0] == "u" else ())]
    for op in ops:
        t = ORDER[UNSIGNED.get(op, op)](x, y)
        assert run(f"setp.{op}.{type}", a, b) == (t, not t)
        assert run(f"set.{op}.u32.{type}", a, b) == (0xFFFFFFFF if t else 0)
        assert run(f"set.{op}.bf16.{type}", a, b) == (0x3F80 if t else 0)
        for name, combine in BOOL.items():
            assert run(f"setp.{op}.{name}.{type}", a, b, c) == (combine(t, c), combine(not t, c))
            assert run(f"set.{op}.{name}.f32.{type}", a, b, c) == (bits(1.0, 32) if combine(t, c) else 0)


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("op", FLOAT_OPS)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), c=st.integers(0, 1))
def test_floats_compare_ordered_or_unordered(op: str, width: int, data: st.DataObject, c: int) -> None:
    a, b = data.draw(floats(width)), data.draw(floats(width))
    t = truth(op, number(a, width), number(b, width))
    got = run(f"setp.{op}.f{width}", a, b)
    assert got == (t if width == 16 else (t, not t))
    assert run(f"set.{op}.s32.f{width}", a, b) == (0xFFFFFFFF if t else 0)
    assert run(f"set.{op}.xor.f16.f{width}", a, b, c) == (0x3C00 if t != c else 0)
    assert run(f"set.{op}.or.bf16.f{width}", a, b, c) == (0x3F80 if t or c else 0)


def test_ftz_compares_a_subnormal_as_zero() -> None:
    tiny = bits(2.0**-130, 32)
    assert run("setp.eq.f32", tiny, 0) == (0, 1)
    assert run("setp.eq.ftz.f32", tiny, 1 << 31) == (1, 0)
    assert run("set.gt.ftz.u32.f32", tiny, 0) == 0
    assert run("setp.eq.ftz.f16", 1, 0x8000) == 1


@settings(max_examples=150, deadline=None)
@given(a=integers(32), b=integers(32), op=st.sampled_from(FLOAT_OPS), c=st.integers(0, 1))
def test_pairs_compare_each_half(a: int, b: int, op: str, c: int) -> None:
    def see(pattern: int, format: str) -> float:
        return number(pattern, 16) if format == "f16" else number(pattern << 16, 32)

    for format in ("f16", "bf16"):
        low, high = (
            truth(op, see(a >> at & 0xFFFF, format), see(b >> at & 0xFFFF, format)) for at in (0, 16)
        )
        assert run(f"setp.{op}.{format}x2", a, b) == (low, high)
        assert run(f"setp.{op}.and.{format}x2", a, b, c) == (low and c, high and c)
        assert run(f"setp.{op}.{format}", a & 0xFFFF, b & 0xFFFF) == low
        if format == "f16":
            assert run(f"set.{op}.f16x2.f16x2", a, b) == 0x3C00 * low | 0x3C000000 * high
            assert run(f"set.{op}.u32.f16x2", a, b) == 0xFFFF * low | 0xFFFF0000 * high
            assert run(f"set.{op}.u16.f16", a & 0xFFFF, b & 0xFFFF) == 0xFFFF * low
        else:
            assert run(f"set.{op}.bf16x2.bf16x2", a, b) == 0x3F80 * low | 0x3F800000 * high
            assert run(f"set.{op}.xor.s32.bf16x2", a, b, c) == (0xFFFF * (low ^ c) | 0xFFFF0000 * (high ^ c))
            assert run(f"set.{op}.s16.bf16", a & 0xFFFF, b & 0xFFFF) == 0xFFFF * low
            assert run(f"set.{op}.u32.bf16", a & 0xFFFF, b & 0xFFFF) == 0xFFFFFFFF * low
            assert run(f"set.{op}.and.bf16.bf16", a & 0xFFFF, b & 0xFFFF, c) == 0x3F80 * (low & c)


def test_selp_and_slct_choose() -> None:
    assert [run("selp.b64", 7, 9, c) for c in (1, 0)] == [7, 9]
    assert run("selp.f32", bits(math.nan, 32) | 5, 0, 1) == bits(math.nan, 32) | 5
    assert [run("slct.u32.s32", 7, 9, c) for c in (0, 5, -1, 1 << 31)] == [7, 7, 9, 9]
    for c, want in ((0.0, 7), (-0.0, 7), (-1.0, 9), (math.nan, 9), (math.inf, 7)):
        assert run("slct.f64.f32", 7, 9, bits(c, 32)) == want
    tiny = bits(-(2.0**-140), 32)
    assert run("slct.b16.f32", 7, 9, tiny) == 9
    assert run("slct.ftz.b16.f32", 7, 9, tiny) == 7


def test_comparisons_agree_with_numpy() -> None:
    values = np.array([0.0, -0.0, 1.5, -3.0, np.inf, np.nan], np.float32)
    for name, op in (("lt", np.less), ("ge", np.greater_equal), ("neu", np.not_equal), ("eq", np.equal)):
        for x in values:
            for y in values:
                got = run(f"setp.{name}.f32", int(x.view(np.uint32)), int(y.view(np.uint32)))
                assert got == (op(x, y), not op(x, y))
