"""f16 and bf16 rows against numpy's float16 and MPFR."""

from __future__ import annotations

import math
from collections.abc import Callable

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.mpfr import rounded
from tests.isa.run import bits, floats, number, run

OPS = {"add": gmpy2.add, "sub": gmpy2.sub, "mul": gmpy2.mul}
# sums that lie almost between two neighbours, where rounding twice goes wrong
BRAIN = st.one_of(
    floats(32).map(lambda b: b >> 16), st.integers(0, 0xFFFF), st.sampled_from([0x0001, 0x3F80, 0x3380])
)


def half(value: float) -> int:
    return 0x7FFF if math.isnan(value) else bits(value, 16)


def brain(value: float) -> int:
    return 0x7FFF if math.isnan(value) else bits(value, 32) >> 16


def of_brain(pattern: int) -> float:
    return number(pattern << 16, 32)


def flush(value: float) -> float:
    return math.copysign(0.0, value) if abs(value) < 2.0**-14 else value


@pytest.mark.parametrize("op", sorted(OPS))
@settings(max_examples=150, deadline=None)
@given(a=floats(16), b=floats(16))
def test_f16_arithmetic_agrees_with_numpy(op: str, a: int, b: int) -> None:
    x, y = np.array([a, b], np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        want = float({"add": np.add, "sub": np.subtract, "mul": np.multiply}[op](x, y))
    assert run(f"{op}.f16", a, b) == run(f"{op}.rn.f16", a, b) == half(want)
    clamped = 0.0 if math.isnan(want) else min(max(want, 0.0), 1.0) or 0.0
    assert run(f"{op}.sat.f16", a, b) == half(clamped)
    flushed = rounded(OPS[op], "f16", "rn", flush(float(x)), flush(float(y)))
    assert run(f"{op}.ftz.f16", a, b) == half(flush(flushed))


@settings(max_examples=200, deadline=None)
@given(values=st.tuples(floats(16), floats(16), floats(16)))
def test_f16_fma_is_rounded_once(values: tuple[int, int, int]) -> None:
    want = rounded(gmpy2.fma, "f16", "rn", *(number(v, 16) for v in values))
    assert run("fma.rn.f16", *values) == half(want)
    assert run("fma.rn.relu.f16", *values) == (half(max(want, 0.0) or 0.0) if want == want else 0x7FFF)


@pytest.mark.parametrize("op", sorted(OPS))
@settings(max_examples=150, deadline=None)
@given(a=BRAIN, b=BRAIN)
def test_bf16_arithmetic_is_rounded_once(op: str, a: int, b: int) -> None:
    want = rounded(OPS[op], "bf16", "rn", of_brain(a), of_brain(b))
    assert run(f"{op}.bf16", a, b) == brain(want)


@settings(max_examples=250, deadline=None)
@given(a=BRAIN, b=BRAIN, c=BRAIN)
def test_bf16_fma_is_rounded_once(a: int, b: int, c: int) -> None:
    want = rounded(gmpy2.fma, "bf16", "rn", of_brain(a), of_brain(b), of_brain(c))
    assert run("fma.rn.bf16", a, b, c) == brain(want)


@pytest.mark.parametrize("factor", [1 + 2.0**-7, 1 + 3 * 2.0**-7])
def test_bf16_fma_lets_a_tiny_addend_decide_a_tie(factor: float) -> None:
    """1.5 times the factor is half-way between two bf16 values; the addend is below an f64's last bit."""
    for tiny in (2.0**-40, -(2.0**-40), 2.0**-100, -(2.0**-100), 0.0):
        want = rounded(gmpy2.fma, "bf16", "rn", 1.5, factor, tiny)
        assert run("fma.rn.bf16", brain(1.5), brain(factor), brain(tiny)) == brain(want)


def test_bf16_fma_signs_its_zeros() -> None:
    one = brain(1.0)
    assert run("fma.rn.bf16", one, brain(-1.0), one) == 0
    assert run("fma.rn.bf16", brain(-0.0), one, brain(-0.0)) == brain(-0.0)
    assert run("fma.rn.bf16", brain(-(2.0**-100)), brain(2.0**-100), 0) == brain(-0.0)


@pytest.mark.parametrize("format", ["f16", "bf16"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_min_and_max_lose_one_nan_and_order_the_zeros(format: str, data: st.DataObject) -> None:
    see, show = (of_brain, brain) if format == "bf16" else (lambda p: number(p, 16), half)
    a, b = (data.draw(BRAIN if format == "bf16" else floats(16)) for _ in range(2))
    numbers = [v for v in (see(a), see(b)) if not math.isnan(v)]
    for op, choose in (("min", min), ("max", max)):
        want = choose(numbers, key=lambda v: (v, math.copysign(1, v))) if numbers else math.nan
        assert run(f"{op}.{format}", a, b) == show(want)
        assert run(f"{op}.NaN.{format}", a, b) == show(want if len(numbers) == 2 else math.nan)
        magnitude = choose(map(abs, numbers)) if numbers else math.nan
        sign = (a ^ b) & 0x8000 if numbers else 0
        assert run(f"{op}.xorsign.abs.{format}", a, b) == show(magnitude) | sign


def test_neg_and_abs_change_the_sign_bit_alone() -> None:
    for format in ("f16", "bf16"):
        assert run(f"neg.{format}", 0x3C01) == 0xBC01
        assert run(f"abs.{format}", 0xF402) == 0x7402
        assert run(f"neg.{format}x2", 0x80003C01) == 0x0000BC01
    assert run("abs.f16", 0xFC02) == run("neg.f16", 0x7C02) == 0x7FFF
    assert run("neg.ftz.f16", 0x0001) == 0x8000
    assert run("abs.ftz.f16x2", 0x80017C00) == 0x00007C00


PAIRED: list[tuple[str, int]] = [
    *((f"{op}.{format}", 2) for op in ("add", "sub", "mul", "min", "max") for format in ("f16", "bf16")),
    ("fma.rn.f16", 3), ("fma.rn.bf16", 3), ("fma.rn.relu.f16", 3), ("add.sat.f16", 2), ("mul.ftz.f16", 2),
    ("tanh.approx.f16", 1), ("ex2.approx.f16", 1), ("tanh.approx.bf16", 1), ("ex2.approx.ftz.bf16", 1),
]  # fmt: skip


@pytest.mark.parametrize(("head", "sources"), PAIRED)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_packed_forms_are_the_scalar_form_twice(head: str, sources: int, data: st.DataObject) -> None:
    values = [data.draw(st.integers(0, 2**32 - 1)) for _ in range(sources)]
    low, high = (run(head, *(v >> at & 0xFFFF for v in values)) for at in (0, 16))
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert run(f"{head}x2", *values) == low | high << 16


@pytest.mark.parametrize(("name", "function"), [("tanh", np.tanh), ("ex2", np.exp2)])
def test_f16_approximations_are_correctly_rounded_on_this_emitter(
    name: str, function: Callable[[np.ndarray], np.ndarray]
) -> None:
    values = np.array([0.0, 0.25, -1.0, 3.5, -7.0, np.inf, -np.inf], np.float16)
    want = function(values.astype(np.float64)).astype(np.float16)
    got = [run(f"{name}.approx.f16", int(v)) for v in values.view(np.uint16)]
    assert got == want.view(np.uint16).tolist()


def test_bf16_approximations_are_the_nearest_and_flush() -> None:
    for value in (0.5, -1.0, 3.0, 0.0, -0.0, math.inf, -math.inf):
        want = rounded(gmpy2.tanh, "bf16", "rn", value)
        assert run("tanh.approx.bf16", brain(value)) == brain(want)
        want = rounded(gmpy2.exp2, "bf16", "rn", value)
        assert run("ex2.approx.ftz.bf16", brain(value)) == brain(want)
    assert run("ex2.approx.ftz.bf16", brain(-130.0)) == 0
    assert run("ex2.approx.ftz.bf16", 0x8001) == brain(1.0)
