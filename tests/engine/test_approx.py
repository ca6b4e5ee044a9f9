"""`.approx` instructions under every setting, against MPFR and the manual's tables of special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import gmpy2
import numpy as np
import pytest

from llmptx.engine.approximate import BOUNDS, HALF_BOUNDS
from llmptx.run.cpu import run_job
from llmptx.run.job import Buffer, Job, Launch

Setting = Literal["exact", "low", "high"]
INF, NAN = math.inf, math.nan
COUNT = 2048

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ex2": gmpy2.exp2,
    "lg2": gmpy2.log2,
    "sin": gmpy2.sin,
    "cos": gmpy2.cos,
    "tanh": gmpy2.tanh,
    "rcp": lambda x: 1 / x,
    "sqrt": gmpy2.sqrt,
    "rsqrt": gmpy2.rec_sqrt,
    "div": lambda x, y: x / y,
}
F32 = {
    "ex2": "ex2.approx.f32", "lg2": "lg2.approx.f32", "sin": "sin.approx.f32", "cos": "cos.approx.f32",
    "tanh": "tanh.approx.f32", "rcp": "rcp.approx.f32", "sqrt": "sqrt.approx.f32",
    "rsqrt": "rsqrt.approx.f32", "div": "div.full.f32",
}  # fmt: skip
FLUSHING = {name: text.replace(".f32", ".ftz.f32") for name, text in F32.items() if name != "tanh"}
F16 = {"ex2": "ex2.approx.f16", "tanh": "tanh.approx.f16"}

# PTX ISA 9.7.3: what the tables of special values say, where a formula would not tell
SPECIALS: dict[str, dict[float, float]] = {
    "ex2": {-INF: 0.0, INF: INF, 0.0: 1.0, 1000.0: INF, -1000.0: 0.0},
    "lg2": {-INF: NAN, INF: INF, 0.0: -INF, -1.0: NAN, 1.0: 0.0},
    "sin": {-INF: NAN, INF: NAN, 0.0: 0.0},
    "cos": {-INF: NAN, INF: NAN, 0.0: 1.0},
    "tanh": {-INF: -1.0, INF: 1.0, 0.0: 0.0},
    "rcp": {-INF: -0.0, INF: 0.0, 0.0: INF},
    "sqrt": {-INF: NAN, INF: INF, 0.0: 0.0, -1.0: NAN},
    "rsqrt": {-INF: NAN, INF: 0.0, 0.0: INF, -1.0: NAN},
}
NEGATIVE_ZERO = {"ex2": 1.0, "lg2": -INF, "sin": -0.0, "cos": 1.0, "tanh": -0.0, "rcp": -INF, "sqrt": -0.0,
                 "rsqrt": -INF}  # fmt: skip


def kernel(texts: list[str], bits: int) -> str:
    """Column k of out is instruction k of in0 and (two operands) in1."""
    size = bits // 8
    body = "".join(
        f"    {t} %y, %a{', %b' if t.startswith('div') else ''};\n"
        f"    st.global.b{bits} [%o+{k * COUNT * size}], %y;\n"
        for k, t in enumerate(texts)
    )
    kind = "b16" if bits == 16 else "f32"
    return f""".version 8.6
.target sm_90
.address_size 64
.visible .entry k(.param .u64 in0, .param .u64 in1, .param .u64 out)
{{
    .reg .b64 %p, %q, %o, %i;
    .reg .b32 %t, %c, %n;
    .reg .{kind} %a, %b, %y;
    ld.param.u64 %p, [in0];
    ld.param.u64 %q, [in1];
    ld.param.u64 %o, [out];
    mov.u32 %t, %tid.x;
    mov.u32 %c, %ctaid.x;
    mad.lo.u32 %t, %c, 128, %t;
    mul.wide.u32 %i, %t, {size};
    add.u64 %p, %p, %i;
    add.u64 %q, %q, %i;
    add.u64 %o, %o, %i;
    ld.global.{kind} %a, [%p];
    ld.global.{kind} %b, [%q];
{body}    ret;
}}
"""


@cache
def inputs(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of every size, more of them near 1, and every special value."""
    rng = np.random.default_rng(bits)
    dtype = {16: np.float16, 32: np.float32}[bits]
    some = rng.integers(0, 1 << bits, 2 * COUNT, np.uint64).astype(f"<u{bits // 8}").view(dtype)
    near = (rng.choice([-1, 1], 2 * COUNT) * np.exp2(rng.uniform(-12, 8, 2 * COUNT))).astype(dtype)
    values = np.where(rng.random(2 * COUNT) < 0.3, some, near)
    special = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 2.0, 0.5, -0.5, 4.0, 1.5, 3.0, 10.0, -10.0]
    values[: len(special)] = special
    values[COUNT : COUNT + len(special)] = special[::-1]
    return values[:COUNT], values[COUNT:]


@cache
def results(bits: int, setting: Setting) -> dict[str, np.ndarray]:
    """By instruction text."""
    a, b = inputs(bits)
    texts = list(F16.values()) if bits == 16 else [*F32.values(), *FLUSHING.values()]
    name = a.dtype.name
    buffers = (
        Buffer("in0", name, COUNT, "input", a),
        Buffer("in1", name, COUNT, "input", b),
        Buffer("out", name, COUNT * len(texts), "output"),
    )
    launch = Launch("k", (COUNT // 128, 1, 1), (128, 1, 1), ("in0", "in1", "out"))
    outcome = run_job(Job(kernel(texts, bits), (launch,), buffers, approx=setting))
    assert outcome.status == "ok", outcome.findings
    return dict(zip(texts, outcome.buffers["out"].reshape(len(texts), COUNT), strict=True))


def flushed(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < 2.0**-126, np.copysign(np.float32(0), values), values)


def spacing(y: float, bits: int) -> float:
    """One ULP of the format in y's binade."""
    mantissa, least = (10, -14) if bits == 16 else (23, -126)
    return (
        math.ldexp(1.0, max(math.frexp(abs(y))[1] - 1, least) - mantissa) if y else 2.0 ** (least - mantissa)
    )


def truths(name: str, *operands: np.ndarray) -> list[tuple[int, Any]]:
    """(element, exact result) of the elements that no table of special values is for."""
    out = []
    largest = 65504.0 if operands[0].dtype == np.float16 else 3.4028235e38
    with gmpy2.context(precision=200):
        for i, values in enumerate(zip(*(o.tolist() for o in operands), strict=True)):
            x = values[0]
            if not all(map(math.isfinite, values)) or any(v == 0 for v in values):
                continue
            if (name in ("lg2", "sqrt", "rsqrt") and x < 0) or (name in ("sin", "cos") and abs(x) > 314):
                continue
            if name == "ex2" and abs(x) > 10000:
                continue
            y = FUNCTIONS[name](*map(gmpy2.mpfr, values))
            if abs(y) <= largest and y != 0:
                out.append((i, y))
    return out


def ulp_bound(name: str, x: float, y: float, bits: int) -> float:
    kind, size = (HALF_BOUNDS if bits == 16 else BOUNDS)[name]
    if kind == "ulp":
        return size * spacing(y, bits)
    if kind == "relative" and not (name == "lg2" and 0.5 < x < 2):
        # Where one relative bound is less than the format can tell apart, the two neighbours conform.
        return max(size * abs(y), spacing(y, bits) if bits == 16 or abs(y) < 2.0**-126 else 0.0)
    return size


CASES = [(t, n, 32) for n, t in {**F32}.items()] + [(t, n, 32) for n, t in FLUSHING.items()]
CASES += [(t, n, 16) for n, t in F16.items()]


def prepared(text: str, name: str, bits: int) -> list[np.ndarray]:
    operands = list(inputs(bits))[: 2 if name == "div" else 1]
    return [flushed(o) for o in operands] if ".ftz" in text else operands


@pytest.mark.parametrize(("text", "name", "bits"), CASES)
def test_the_exact_setting_rounds_correctly(text: str, name: str, bits: int) -> None:
    got = results(bits, "exact")[text].tolist()
    checked = 0
    for i, y in truths(name, *prepared(text, name, bits)):
        if ".ftz" in text and abs(y) < 2.0**-126 * (1 - 2.0**-25):
            assert got[i] == 0, (i, got[i])
            continue
        error = abs(gmpy2.mpfr(got[i], 53) - y) / spacing(float(y), bits)
        assert error <= 0.50001, (i, got[i], y)
        checked += 1
    assert checked > COUNT // 4


@pytest.mark.parametrize("setting", ["low", "high"])
@pytest.mark.parametrize(("text", "name", "bits"), CASES)
def test_the_other_settings_stay_within_the_manuals_bound_and_move(
    text: str, name: str, bits: int, setting: Setting
) -> None:
    operands = prepared(text, name, bits)
    got, plain = results(bits, setting)[text].tolist(), results(bits, "exact")[text].tolist()
    moved = 0
    every = truths(name, *operands)
    for i, y in every:
        if ".ftz" in text and abs(y) < 2.0**-126 * (1 + 2.0**-20):
            assert abs(got[i]) <= 2.0**-126 * (1 + 2.0**-20)
            continue
        error = abs(gmpy2.mpfr(got[i], 53) - y)
        assert error <= ulp_bound(name, float(operands[0][i]), float(y), bits) * (1 + 1e-9), (i, got[i], y)
        moved += got[i] > plain[i] if setting == "high" else got[i] < plain[i]
    assert moved > len(every) // 10


@pytest.mark.parametrize("setting", ["exact", "low", "high"])
@pytest.mark.parametrize(("text", "name", "bits"), [c for c in CASES if c[1] != "div"])
def test_special_values_are_exact_in_every_setting(text: str, name: str, bits: int, setting: Setting) -> None:
    (x,) = prepared(text, name, bits)
    got = results(bits, setting)[text]
    for i, value in enumerate(x.tolist()):
        if value == 0 and math.copysign(1, value) < 0:
            want = NEGATIVE_ZERO[name]
        elif math.isnan(value):
            want = NAN
        elif value in SPECIALS[name]:
            want = SPECIALS[name][value]
        else:
            continue
        assert np.array_equal(got[i], want, equal_nan=True), (value, got[i])
        assert math.isnan(want) or np.signbit(got[i]) == np.signbit(want), (value, got[i])


@pytest.mark.parametrize("setting", ["exact", "low", "high"])
def test_quotients_of_special_values_are_ieees(setting: Setting) -> None:
    a, b = inputs(32)
    got = results(32, setting)["div.full.f32"]
    with np.errstate(all="ignore"):
        want = a / b
    special = ~np.isfinite(want) & (~np.isfinite(a) | ~np.isfinite(b) | (b == 0)) | (a == 0) | np.isinf(b)
    assert special.sum() > 10
    assert np.array_equal(got[special], want[special], equal_nan=True)


def test_div_approx_loses_the_quotient_of_huge_divisors() -> None:
    """PTX ISA 9.7.3.8: for 2^126 < |b| <= 2^128 it gives 0, and NaN where a is infinite."""
    a = np.array([1.0, -3e38, INF, 0.0, NAN, 5.0, -0.0, 1e-40], np.float32)
    b = np.array([1e38, 1e38, -3e38, 2e38, 1e38, INF, 1e38, 2.0**126], np.float32)
    text = kernel(["div.approx.f32"], 32)
    pad = lambda v: np.resize(v, COUNT)  # noqa: E731
    buffers = (
        Buffer("in0", "float32", COUNT, "input", pad(a)),
        Buffer("in1", "float32", COUNT, "input", pad(b)),
        Buffer("out", "float32", COUNT, "output"),
    )
    outcome = run_job(
        Job(text, (Launch("k", (COUNT // 128, 1, 1), (128, 1, 1), ("in0", "in1", "out")),), buffers)
    )
    got = outcome.buffers["out"][: len(a)]
    want = np.array([0.0, -0.0, NAN, 0.0, NAN, 0.0, -0.0, 0.0], np.float32)
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(np.signbit(got[[0, 1, 6]]), [False, True, True])
