"""The comparison: right answers pass, and each of a collection of real mistakes fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmptx.record import Level, Routine, Signature
from llmptx.routines import catalog, find
from llmptx.routines.truth import Array, Truth
from llmptx.verify.compare import BUCKETS, Comparison, compare, merge_curves
from llmptx.verify.inputs import Case, cases

EVERY = [(routine, s) for routine in catalog().values() for s in routine.signatures]
IDS = [f"{routine.name}-{s.dtype}" for routine, s in EVERY]
SEED = 2024
f32 = np.float32

Kernel = Callable[[Sequence[Array], Mapping[str, int]], Any]


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    with np.errstate(all="ignore"):
        yield


def rounded(truth: Truth, dtype: str) -> Array:
    """The correctly rounded answer, but for double rounding."""
    if truth.lo is None:
        return truth.hi.astype(dtype)
    return np.where(truth.lo == 0, truth.hi, truth.hi + truth.lo).astype(dtype)


def right_answers(routine: Routine, signature: Signature, case: Case) -> list[Array]:
    truths = routine.oracle(case.inputs, case.extents, signature)
    return [rounded(t, d) for t, d in zip(truths, signature.outputs, strict=True)]


def judged(name: str, dtype: str, kernel: Kernel, level: Level = "full") -> list[Comparison]:
    """A kernel over all cases of a level."""
    routine = find(name)
    signature = routine.signature(dtype)
    found = []
    for case in cases(routine, signature, level, SEED, (256,)):
        output = np.asarray(kernel(case.inputs, case.extents)).astype(signature.outputs[0]).ravel()
        found.append(compare(routine, signature, case, [output]))
    return found


def passes(name: str, dtype: str, kernel: Kernel) -> bool:
    return not any(c.findings for c in judged(name, dtype, kernel))


def kinds(name: str, dtype: str, kernel: Kernel) -> set[str]:
    return {f.kind for c in judged(name, dtype, kernel) for f in c.findings}


# -- what is right passes


@pytest.mark.parametrize(("routine", "signature"), EVERY, ids=IDS)
def test_the_rounded_truth_passes(routine: Routine, signature: Signature) -> None:
    level: Level = "full" if signature == routine.signatures[0] else "quick"
    for case in cases(routine, signature, level, SEED, (256,)):
        outputs = right_answers(routine, signature, case)
        comparison = compare(routine, signature, case, outputs)
        assert comparison.findings == ()
        assert comparison.max_ulp <= 0.501
        assert comparison.checked == sum(o.size for o in outputs)


def blocks(x: Array, e: Mapping[str, int]) -> Array:
    return x.reshape(e["outer"], e["n"], e["inner"])


def matrices(i: Sequence[Array], e: Mapping[str, int]) -> tuple[Array, Array]:
    return i[0].reshape(e["batch"], e["m"], e["k"]), i[1].reshape(e["batch"], e["k"], e["n"])


def one_pass_softmax(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    x = blocks(i[0], e)
    if not x.size:
        return x
    terms = np.exp(x - x.max(axis=1, keepdims=True))
    return terms / terms.sum(axis=1, keepdims=True, dtype=x.dtype)


def stable_expit(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    tail = np.exp(-np.abs(i[0]))
    return np.where(i[0] < 0, tail, np.ones_like(tail)) / (1 + tail)


RIGHT: dict[str, tuple[str, str, Kernel]] = {
    "numpy's float32 sum": ("sum", "float32", lambda i, e: blocks(i[0], e).sum(axis=1)),
    "numpy's float64 sum": ("sum", "float64", lambda i, e: blocks(i[0], e).sum(axis=1)),
    "numpy's float32 mean": ("mean", "float32", lambda i, e: blocks(i[0], e).sum(axis=1) / f32(e["n"])),
    "numpy's int64 mean": ("mean", "int64", lambda i, e: blocks(i[0], e).sum(axis=1, dtype=float) / e["n"]),
    "mean by the reciprocal": (
        "mean",
        "float32",
        lambda i, e: blocks(i[0], e).sum(axis=1) * (np.float32(1) / np.float32(e["n"])),
    ),
    "numpy's float64 cumsum": ("cumsum", "float64", lambda i, e: blocks(i[0], e).cumsum(axis=1)),
    "numpy's float32 cumsum": ("cumsum", "float32", lambda i, e: blocks(i[0], e).cumsum(axis=1)),
    "sum by a running sum": (
        "sum",
        "float32",
        lambda i, e: (
            np.concatenate([0 * blocks(i[0], e)[:, :1], blocks(i[0], e)], axis=1).cumsum(axis=1)[:, -1]
            if e["n"]
            else np.zeros(e["outer"] * e["inner"])
        ),
    ),
    "BLAS in float32": ("matmul", "float32", lambda i, e: np.matmul(*matrices(i, e))),
    "BLAS in float64": ("matmul", "float64", lambda i, e: np.matmul(*matrices(i, e))),
    "dot by BLAS in float32": ("dot", "float32", lambda i, e: np.dot(i[0], i[1])),
    "dot by BLAS in float64": ("dot", "float64", lambda i, e: np.dot(i[0], i[1])),
    "dot by a sequential loop": ("dot", "float32", lambda i, e: (i[0] * i[1]).cumsum()[-1] if e["n"] else 0),
    "softmax in float32": ("softmax", "float32", one_pass_softmax),
    "softmax in float64": ("softmax", "float64", one_pass_softmax),
    "expit in float32": ("expit", "float32", stable_expit),
    "expit in float64": ("expit", "float64", stable_expit),
    "maximum with PTX's zeros": (
        "maximum",
        "float32",
        lambda i, e: np.where((i[0] == 0) & (i[1] == 0), i[0] + i[1] + 0.0, np.maximum(i[0], i[1])),
    ),
    "NaN with another payload": (
        "add",
        "float32",
        lambda i, e: np.where(np.isnan(i[0] + i[1]), np.float32(-np.nan), i[0] + i[1]),
    ),
    "float64 exp rounded": ("exp", "float32", lambda i, e: np.exp(i[0].astype(np.float64))),
}


@pytest.mark.parametrize("what", RIGHT)
def test_a_sound_way_of_computing_passes(what: str) -> None:
    name, dtype, kernel = RIGHT[what]
    wrong = [c.findings[0].message for c in judged(name, dtype, kernel) if c.findings]
    assert wrong == []


# -- what is wrong fails


@pytest.mark.parametrize(("routine", "signature"), EVERY, ids=IDS)
def test_an_empty_answer_fails_already_in_quick(routine: Routine, signature: Signature) -> None:
    """Zeros, ones, the input itself, and the first case's answer for ever."""
    first = next(iter(cases(routine, signature, "quick", SEED, (256,))))
    constant = right_answers(routine, signature, first)[0][0]
    answers: dict[str, Callable[[Case, Array], Array]] = {
        "zeros": lambda case, right: np.zeros_like(right),
        "ones": lambda case, right: np.ones_like(right),
        "one constant": lambda case, right: np.full_like(right, constant),
        "the input": lambda case, right: np.resize(case.inputs[-1].astype(right.dtype), right.size),
    }
    for label, answer in answers.items():
        caught = False
        for case in cases(routine, signature, "quick", SEED, (256,)):
            (right,) = right_answers(routine, signature, case)
            caught |= bool(compare(routine, signature, case, [answer(case, right)]).findings)
        assert caught, label


@pytest.mark.parametrize(("routine", "signature"), EVERY, ids=IDS)
def test_one_wrong_element_anywhere_is_found(routine: Routine, signature: Signature) -> None:
    for case in cases(routine, signature, "quick", SEED, (256,)):
        (right,) = right_answers(routine, signature, case)
        if not right.size or (right.dtype.kind == "f" and not np.isfinite(right[-1])):
            continue
        spoiled = right.copy()
        if right.dtype.kind == "f":
            spoiled[-1] += max(abs(right[-1]), 1)
        else:
            spoiled.view(np.uint8)[-right.itemsize] ^= 1
        found = compare(routine, signature, case, [spoiled]).findings
        assert [f.element for f in found] == [right.size - 1] or routine.kind == "sort"
        assert found


def flushed(x: Any) -> Any:
    """Subnormals to zero, the sign kept: .ftz."""
    x = np.asarray(x)
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(x.dtype.type(0), x), x)


def tf32(x: Array) -> Array:
    """Ten bits of mantissa, to nearest even, as tensor cores read float32."""
    bits = x.view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


def ftz(function: Callable[..., Any]) -> Kernel:
    return lambda i, e: flushed(function(*(flushed(x) for x in i)))


def trunc_div(x: Array, y: Array) -> Array:
    q = np.abs(x.astype(np.int64)) // np.maximum(np.abs(y.astype(np.int64)), 1)
    return np.where(y == 0, 0, np.where((x < 0) != (y < 0), -q, q))


def without_last(reduce: Callable[..., Any]) -> Kernel:
    return lambda i, e: reduce(blocks(i[0], e)[:, : max(e["n"] - 1, min(e["n"], 1))], axis=1)


def sorted_rows(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    return np.sort(i[0].reshape(e["outer"], e["n"]), axis=1, kind="stable")


def swapped(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    rows = sorted_rows(i, e)
    if e["n"] > 2:
        rows[:, [0, 1]] = rows[:, [1, 0]]
    return rows


def nan_dropped(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    rows = sorted_rows(i, e)
    return np.where(np.isnan(rows), np.float32(np.inf), rows)


def overwritten(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    rows = sorted_rows(i, e)
    rows[:, 1:] = np.where(np.arange(1, e["n"]) % 5 == 4, rows[:, :-1], rows[:, 1:])
    return rows


def naive_softmax(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    terms = np.exp(blocks(i[0], e))
    return terms / terms.sum(axis=1, keepdims=True)


def short_products(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    a, b = matrices(i, e)
    return np.matmul(a[:, :, : e["k"] // 8 * 8], b[:, : e["k"] // 8 * 8])


def transposed(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    a, b = matrices(i, e)
    return np.ascontiguousarray(np.swapaxes(np.matmul(a, b), 1, 2))


def last_argmax(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    x = blocks(i[0], e)
    return e["n"] - 1 - np.argmax(x[:, ::-1], axis=1)


def number_argmax(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    x = blocks(i[0], e)
    return np.argmax(np.where(np.isnan(x), -np.inf, x), axis=1)


def restarted_scan(i: Sequence[Array], e: Mapping[str, int]) -> Array:
    """Blocks of 256 whose carries are forgotten."""
    x = blocks(i[0], e)
    parts = [np.cumsum(x[:, k : k + 256], axis=1) for k in range(0, max(e["n"], 1), 256)]
    return np.concatenate(parts, axis=1)


WRONG: dict[str, tuple[str, str, Kernel]] = {
    "add flushes subnormals": ("add", "float32", ftz(np.add)),
    "multiply flushes subnormals": ("multiply", "float64", ftz(np.multiply)),
    "negative flushes subnormals": ("negative", "float32", ftz(np.negative)),
    "equal flushes subnormals": ("equal", "float32", lambda i, e: flushed(i[0]) == flushed(i[1])),
    "less flushes subnormals": ("less", "float32", lambda i, e: flushed(i[0]) < flushed(i[1])),
    "maximum flushes subnormals": ("maximum", "float32", ftz(np.maximum)),
    "exp flushes subnormals": (
        "exp",
        "float32",
        lambda i, e: flushed(np.exp(i[0].astype(float)).astype(f32)),
    ),
    "sin flushes subnormals": (
        "sin",
        "float32",
        lambda i, e: flushed(np.sin(i[0].astype(float)).astype(f32)),
    ),
    "sum flushes subnormals": ("sum", "float32", lambda i, e: flushed(flushed(blocks(i[0], e)).sum(axis=1))),
    "log flushes subnormals": ("log", "float32", lambda i, e: np.log(flushed(i[0]).astype(float))),
    "subtract in the wrong order": ("subtract", "float32", lambda i, e: i[1] - i[0]),
    "negative as 0 - x": ("negative", "float32", lambda i, e: f32(0) - i[0]),
    "absolute keeps the sign of zero": ("absolute", "float32", lambda i, e: np.where(i[0] < 0, -i[0], i[0])),
    "sign of negative zero": ("sign", "float32", lambda i, e: np.copysign(np.sign(i[0]), i[0])),
    "sign drops NaN": ("sign", "float32", lambda i, e: np.nan_to_num(np.sign(i[0]))),
    "divide by the reciprocal": ("divide", "float32", lambda i, e: i[0] * (f32(1) / i[1])),
    "float64 divide in float32": ("divide", "float64", lambda i, e: i[0].astype(f32) / i[1].astype(f32)),
    "sqrt by x * rsqrt": ("sqrt", "float32", lambda i, e: i[0] * (f32(1) / np.sqrt(i[0]))),
    "sqrt of |x|": ("sqrt", "float32", lambda i, e: np.sqrt(np.abs(i[0]))),
    "floor_divide truncates": ("floor_divide", "int32", lambda i, e: trunc_div(*i)),
    "float floor_divide as floor(x / y)": ("floor_divide", "float32", lambda i, e: np.floor(i[0] / i[1])),
    "remainder as fmod": ("remainder", "float32", lambda i, e: np.fmod(*i)),
    "integer remainder as fmod": ("remainder", "int32", lambda i, e: np.fmod(*i)),
    "remainder as x - floor(x / y) y": (
        "remainder",
        "float32",
        lambda i, e: i[0] - np.floor(i[0] / i[1]) * i[1],
    ),
    "remainder loses the sign of zero": ("remainder", "float64", lambda i, e: np.remainder(*i) + 0.0),
    "power as exp2(y log2 x)": ("power", "float32", lambda i, e: np.exp2(i[1] * np.log2(i[0]))),
    "power of |x|": ("power", "float32", lambda i, e: np.power(np.abs(i[0]), i[1])),
    "integer power in float64": (
        "power",
        "int64",
        lambda i, e: np.nan_to_num(np.power(i[0].astype(float), i[1].astype(float))).astype(np.int64),
    ),
    "maximum drops NaN": ("maximum", "float32", lambda i, e: np.fmax(*i)),
    "fmax keeps NaN": ("fmax", "float32", lambda i, e: np.maximum(*i)),
    "minimum as x < y ? x : y": ("minimum", "float64", lambda i, e: np.where(i[0] < i[1], *i)),
    "clip drops NaN": ("clip", "float32", lambda i, e: np.fmin(np.fmax(i[0], i[1]), i[2])),
    "clip lets low win": ("clip", "int32", lambda i, e: np.maximum(np.minimum(i[0], i[2]), i[1])),
    "where the other way": ("where", "float32", lambda i, e: np.where(i[0], i[2], i[1])),
    "where computes": ("where", "float32", lambda i, e: i[0] * i[1] + (1 - i[0].astype(f32)) * i[2]),
    "equal compares bits": ("equal", "float32", lambda i, e: i[0].view(np.int32) == i[1].view(np.int32)),
    "less or equal": ("less", "int32", lambda i, e: i[0] <= i[1]),
    "unsigned less": ("less", "int32", lambda i, e: i[0].view(np.uint32) < i[1].view(np.uint32)),
    "shift count masked": ("left_shift", "int32", lambda i, e: i[0] << (i[1] & 31)),
    "logical right shift": (
        "right_shift",
        "int32",
        lambda i, e: np.right_shift(i[0].view(np.uint32), i[1].view(np.uint32)).view(np.int32),
    ),
    "64-bit count narrowed": ("left_shift", "int64", lambda i, e: np.left_shift(i[0], i[1] & 0xFFFFFFFF)),
    "rint rounds halves up": ("rint", "float32", lambda i, e: np.floor(i[0] + f32(0.5))),
    "rint rounds halves away": (
        "rint",
        "float64",
        lambda i, e: np.copysign(np.floor(np.abs(i[0]) + 0.5), i[0]),
    ),
    "floor through int32": (
        "floor",
        "float32",
        lambda i, e: np.floor(np.clip(np.nan_to_num(i[0]), -(2.0**31), 2.0**31 - 1)),
    ),
    "ceil loses negative zero": ("ceil", "float32", lambda i, e: np.ceil(i[0]) + f32(0)),
    "isnan counts infinities": ("isnan", "float32", lambda i, e: ~np.isfinite(i[0])),
    "isnan sees only quiet NaNs": (
        "isnan",
        "float32",
        lambda i, e: (i[0].view(np.uint32) & 0x7FC00000) == 0x7FC00000,
    ),
    "exp by exp2 in float32": ("exp", "float32", lambda i, e: np.exp2(i[0] * f32(np.log2(np.e)))),
    "float64 exp in float32": ("exp", "float64", lambda i, e: np.exp(i[0].astype(f32))),
    "exp clamped below overflow": ("exp", "float32", lambda i, e: np.exp(np.minimum(i[0], f32(88)))),
    "exp of NaN is 0": (
        "exp",
        "float32",
        lambda i, e: np.nan_to_num(np.exp(i[0].astype(float)), posinf=np.inf),
    ),
    "log by log2 in float32": ("log", "float32", lambda i, e: np.log2(i[0]) * f32(np.log(2))),
    "log of |x|": ("log", "float32", lambda i, e: np.log(np.abs(i[0].astype(float)))),
    "log2 clamped at 0": ("log2", "float64", lambda i, e: np.log2(np.maximum(i[0], 1e-300))),
    "sin reduced in float32": (
        "sin",
        "float32",
        lambda i, e: np.sin((i[0] - f32(2 * np.pi) * np.rint(i[0] / f32(2 * np.pi))).astype(float)),
    ),
    "cos shifted from sin": ("cos", "float32", lambda i, e: np.sin((i[0] + f32(np.pi / 2)).astype(float))),
    "tanh by exp in float32": (
        "tanh",
        "float32",
        lambda i, e: (np.exp(2 * i[0]) - f32(1)) / (np.exp(2 * i[0]) + f32(1)),
    ),
    "tanh saturates early": (
        "tanh",
        "float32",
        lambda i, e: np.where(np.abs(i[0]) > 8, np.sign(i[0]), np.tanh(i[0].astype(float))),
    ),
    "erf by tanh": (
        "erf",
        "float32",
        lambda i, e: np.tanh(1.1283791671 * i[0].astype(float) + 0.1009 * i[0].astype(float) ** 3),
    ),
    "expit by 1 / (1 + exp(-x))": ("expit", "float32", lambda i, e: f32(1) / (f32(1) + np.exp(-i[0]))),
    "softmax without the maximum": ("softmax", "float32", naive_softmax),
    "softmax over the wrong axis": (
        "softmax",
        "float32",
        lambda i, e: one_pass_softmax(i, {"outer": e["outer"], "n": e["inner"], "inner": e["n"]}),
    ),
    "logsumexp without the maximum": (
        "logsumexp",
        "float32",
        lambda i, e: np.log(np.exp(blocks(i[0], e)).sum(axis=1)),
    ),
    "sum drops the last": ("sum", "float32", without_last(np.sum)),
    "int sum drops the last": ("sum", "int64", without_last(np.sum)),
    "sum in float16": ("sum", "float32", lambda i, e: blocks(i[0], e).astype(np.float16).sum(axis=1)),
    "float64 sum in float32": ("sum", "float64", lambda i, e: blocks(i[0], e).sum(axis=1, dtype=f32)),
    "int32 sum in int32": ("sum", "int32", lambda i, e: blocks(i[0], e).sum(axis=1, dtype=np.int32)),
    "sum over the wrong axis": (
        "sum",
        "float32",
        lambda i, e: np.resize(
            i[0].reshape(e["outer"] * e["inner"], e["n"]).sum(axis=1), e["outer"] * e["inner"]
        ),
    ),
    "mean divides by n - 1": (
        "mean",
        "float32",
        lambda i, e: blocks(i[0], e).sum(axis=1) / f32(max(e["n"] - 1, 1)),
    ),
    "int mean truncates": ("mean", "int32", lambda i, e: blocks(i[0], e).sum(axis=1) // max(e["n"], 1)),
    "int64 mean sums in int64": ("mean", "int64", lambda i, e: blocks(i[0], e).sum(axis=1) / max(e["n"], 1)),
    "max starts from 0": ("max", "float32", lambda i, e: np.max(blocks(i[0], e), axis=1, initial=0)),
    "max drops NaN": ("max", "float32", lambda i, e: np.fmax.reduce(blocks(i[0], e), axis=1)),
    "max drops the last": ("max", "float32", without_last(np.max)),
    "min starts from the greatest finite": (
        "min",
        "float32",
        lambda i, e: np.min(blocks(i[0], e), axis=1, initial=np.finfo(f32).max),
    ),
    "argmax takes the last of ties": ("argmax", "int32", last_argmax),
    "argmax skips NaN": ("argmax", "float32", number_argmax),
    "argmax drops the last": ("argmax", "float32", without_last(np.argmax)),
    "cumsum forgets carries": ("cumsum", "float32", restarted_scan),
    "cumsum is exclusive": (
        "cumsum",
        "float32",
        lambda i, e: np.cumsum(blocks(i[0], e), axis=1) - blocks(i[0], e),
    ),
    "dot drops the last": ("dot", "float32", lambda i, e: np.dot(i[0][:-1], i[1][:-1]) if e["n"] > 1 else 0),
    "dot in TF32": ("dot", "float32", lambda i, e: np.dot(tf32(i[0]), tf32(i[1]))),
    "matmul in TF32": ("matmul", "float32", lambda i, e: np.matmul(*map(tf32, matrices(i, e)))),
    "float64 matmul in float32": (
        "matmul",
        "float64",
        lambda i, e: np.matmul(*(x.astype(f32) for x in matrices(i, e))),
    ),
    "matmul drops the tail of k": ("matmul", "float32", short_products),
    "matmul transposed": ("matmul", "int32", transposed),
    "sort swaps two": ("sort", "float32", swapped),
    "sort turns NaN into infinity": ("sort", "float32", nan_dropped),
    "sort overwrites a key": ("sort", "int32", overwritten),
    "sort loses negative zeros": ("sort", "float32", lambda i, e: sorted_rows(i, e) + f32(0)),
    "sort descends": ("sort", "int64", lambda i, e: sorted_rows(i, e)[:, ::-1]),
    "sort by bits": (
        "sort",
        "float32",
        lambda i, e: np.sort(i[0].view(np.int32).reshape(e["outer"], e["n"]), axis=1).view(f32),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_fails(what: str) -> None:
    name, dtype, kernel = WRONG[what]
    assert not passes(name, dtype, kernel)


@pytest.mark.parametrize(
    "what", ["maximum drops NaN", "fmax keeps NaN", "max drops NaN", "sort turns NaN into infinity"]
)
def test_a_lost_or_invented_nan_is_called_that(what: str) -> None:
    name, dtype, kernel = WRONG[what]
    assert kinds(name, dtype, kernel) == {"nan-mismatch"}


# -- how it is said


def only(name: str, dtype: str, inputs: Sequence[Any], output: Any, extents: Mapping[str, int]) -> Comparison:
    routine = find(name)
    signature = routine.signature(dtype)
    arrays = tuple(np.asarray(x, d) for x, d in zip(inputs, signature.inputs, strict=True))
    case = Case("by hand", extents, arrays)
    return compare(routine, signature, case, [np.asarray(output, signature.outputs[0])])


def test_a_finding_names_element_inputs_got_expected_and_error() -> None:
    got = only("add", "float32", [[1, 2, 3], [1, 1, 1]], [2, 3, np.nextafter(f32(4), f32(5))], {"n": 3})
    (finding,) = got.findings
    assert (finding.kind, finding.element, finding.buffer, finding.case) == ("mismatch", 2, "out", "by hand")
    assert finding.message == (
        "out[2]: got 4.0000005 (0x40800001), expected 4.0 (0x40800000), off by 1 ULP where 0 are allowed; "
        "in0=3.0 (0x40400000), in1=1.0 (0x3f800000); 1 of 3 elements are wrong"
    )
    assert got.max_ulp == 1
    assert got.at == "out[2]"


def test_at_most_three_findings_the_worst_first() -> None:
    got = only("multiply", "float32", [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], [1.5, 3, 1, 9, 2], {"n": 5})
    assert [f.element for f in got.findings] == [3, 1, 4]


def test_an_error_is_finite_even_where_there_is_no_distance() -> None:
    got = only("exp", "float32", [[1, 2]], [np.nan, -np.inf], {"n": 2})
    assert {f.kind for f in got.findings} == {"mismatch", "nan-mismatch"}
    assert 1e15 < got.max_ulp < np.inf
    assert all(np.isfinite(error) for _, error in got.curve)
    assert "off by" not in "".join(f.message for f in got.findings if f.kind == "nan-mismatch")


def test_a_lost_sign_of_zero_is_named() -> None:
    (finding,) = only("sin", "float64", [[-0.0]], [0.0], {"n": 1}).findings
    assert "expected -0.0" in finding.message
    assert "(the sign of zero)" in finding.message


def test_matrix_and_row_elements_are_named_by_their_indices() -> None:
    extents = {"batch": 1, "m": 2, "n": 2, "k": 1}
    (finding,) = only("matmul", "float32", [[1, 2], [3, 4]], [3, 4, 6, 9], extents).findings
    assert finding.message.startswith("out[0, 1, 1] (element 3; batch=1, m=2, n=2, k=1): got 9.0")
    (finding,) = only("sort", "int32", [[2, 1, 3, 4]], [1, 2, 3, 5], {"outer": 2, "n": 2}).findings
    assert finding.message.startswith("out[1, 1] (element 3; outer=2, n=2): got 5 (0x00000005), expected 4")


def test_a_bool_byte_of_two_is_wrong() -> None:
    routine = find("isnan")
    signature = routine.signature("float32")
    case = Case("by hand", {"n": 2}, (np.array([np.nan, 1], f32),))
    assert not compare(routine, signature, case, [np.array([1, 0], np.uint8)]).findings
    assert not compare(routine, signature, case, [np.array([True, False])]).findings
    (finding,) = compare(routine, signature, case, [np.array([2, 0], np.uint8)]).findings
    assert "got 2, expected 1" in finding.message


def test_an_output_of_another_size_or_type_is_refused() -> None:
    routine = find("add")
    case = Case("by hand", {"n": 2}, (np.zeros(2, f32), np.zeros(2, f32)))
    with pytest.raises(ValueError, match="out has 3 elements; the case has 2"):
        compare(routine, routine.signature("float32"), case, [np.zeros(3, f32)])
    with pytest.raises(ValueError, match="out came as float64; the signature says float32"):
        compare(routine, routine.signature("float32"), case, [np.zeros(2)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow_may_come_early_by_as_many_ulps_as_are_allowed(dtype: str) -> None:
    top = np.finfo(dtype).max
    threshold = np.log(np.array(top, np.longdouble)).astype(dtype)
    below = np.nextafter(threshold, np.array(0, dtype))
    far = np.array(float(threshold) - 0.01, dtype)
    beyond = np.array(float(threshold) + 0.01, dtype)
    truth = find("exp").oracle([np.array([below])], {"n": 1}, find("exp").signature(dtype))[0]
    gap = (float(top) - float(truth.hi[0])) / float(np.spacing(np.nextafter(top, np.array(0, dtype))))
    assert bool(only("exp", dtype, [[below]], [np.inf], {"n": 1}).findings) == (
        gap + 1 > (2 if dtype == "float32" else 1)
    )
    assert only("exp", dtype, [[far]], [np.inf], {"n": 1}).findings
    assert only("exp", dtype, [[beyond]], [top], {"n": 1}).findings
    assert not only("exp", dtype, [[beyond]], [np.inf], {"n": 1}).findings
    assert only("exp", dtype, [[beyond]], [-np.inf], {"n": 1}).findings
    assert only("log", dtype, [[0.0]], [-top], {"n": 1}).findings


def test_underflow_is_counted_in_least_subnormals() -> None:
    least = np.finfo(f32).smallest_subnormal
    assert not only("exp", "float32", [[-103.5]], [2 * least], {"n": 1}).findings
    assert only("exp", "float32", [[-103.5]], [4 * least], {"n": 1}).findings
    assert only("exp", "float32", [[-200.0]], [-0.0], {"n": 1}).findings


def test_a_sum_that_overflows_in_every_order_is_infinite() -> None:
    big = np.full(4, 3e38)
    extents = {"outer": 1, "n": 4, "inner": 1}
    assert not only("sum", "float32", [big], [np.inf], extents).findings
    assert only("sum", "float32", [big], [np.finfo(f32).max], extents).findings


# -- the curve


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_curve_shows_where_the_error_is(dtype: str) -> None:
    routine = find("exp")
    signature = routine.signature(dtype)
    x = np.array([-80.0, -1.0, 1e-3, 1.0, 80.0], dtype)
    case = Case("by hand", {"n": 5}, (x,))
    (right,) = right_answers(routine, signature, case)
    spoiled = right.copy()
    spoiled[3] += 8 * np.spacing(spoiled[3])
    curve = compare(routine, signature, case, [spoiled]).curve
    assert 3 <= len(curve) <= 5
    assert [p for p, _ in curve] == sorted(p for p, _ in curve)
    at, error = max(curve, key=lambda point: point[1])
    assert 1e-4 < at < 1e4
    assert 7 < error < 9


def test_curves_of_many_cases_merge_into_one_over_the_whole_line() -> None:
    curves = [c.curve for c in judged("tanh", "float32", lambda i, e: np.tanh(i[0].astype(float)))]
    merged = merge_curves(curves)
    assert 0.95 * BUCKETS <= len(merged) <= BUCKETS
    assert max(error for _, error in merged) <= 0.501
    assert all(np.isfinite(x) for x, _ in merged)


def test_only_float_functions_of_one_array_have_a_curve() -> None:
    assert only("add", "float32", [[1], [1]], [2], {"n": 1}).curve == ()
    assert only("negative", "int32", [[1]], [-1], {"n": 1}).curve == ()
    assert only("isnan", "float32", [[1]], [0], {"n": 1}).curve == ()


def test_a_routine_with_a_looser_rule_accepts_more() -> None:
    """The rule comes from the entry and from nowhere else."""
    routine = find("exp")
    loose = replace(routine, tolerance={"float32": replace(routine.tolerance["float32"], ulp=9.0)})
    case = Case("by hand", {"n": 1}, (np.array([1], f32),))
    off = [np.array([np.e], f32) + 5 * np.spacing(np.array([np.e], f32))]
    assert compare(routine, routine.signature("float32"), case, off).findings
    assert not compare(loose, routine.signature("float32"), case, off).findings
