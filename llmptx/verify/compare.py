"""Got against expected: every element of every output, by the routine's own rule.

Holds the truth, so nothing here runs in the process that runs a candidate. Knows no PTX and no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.record import Finding, FindingKind, Routine, Signature, Tolerance
from llmptx.routines.truth import Array, Flags, Floats, Truth
from llmptx.verify.inputs import Case
from llmptx.verify.tolerance import allowance, scale, spacing

MOST_FINDINGS = 3
BUCKETS = 200
# The error, in ULP, of an answer that has none, such as NaN for a number. Finite, so that JSON can say it.
BEYOND = 2.0**63

Curve = tuple[tuple[float, float], ...]

_BITS: dict[str, Any] = {"float32": np.uint32, "float64": np.uint64, "int32": np.uint32, "int64": np.uint64}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing one case showed.

    findings  at most three, the worst first; empty where every element is right
    max_ulp   largest error, in ULP of the true value (of the sum of magnitudes for sums and products); BEYOND
              where an answer cannot be compared, as NaN with a number
    at        where that was, in words; empty where every answer is exact
    checked   elements compared
    curve     (x, largest error in ULP near x) for a float function of one array, else empty
    """

    findings: tuple[Finding, ...]
    max_ulp: float
    at: str
    checked: int
    curve: Curve = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """One output, element by element: errors in ULP (at most BEYOND), what is wrong, what is allowed."""

    error: Floats
    wrong: Flags
    nan_wrong: Flags
    allowed: Floats


def compare(routine: Routine, signature: Signature, case: Case, outputs: Sequence[Array]) -> Comparison:
    """Judge the outputs of one case, flat arrays in the signature's order.

    A bool output may come as bool or uint8. Raises ValueError if an output's size or dtype isn't the truth's.
    """
    truths = routine.oracle(case.inputs, case.extents, signature)
    names = ("out",) if len(truths) == 1 else tuple(f"out{i}" for i in range(len(truths)))
    findings: list[Finding] = []
    worst, at, checked = 0.0, "", 0
    curve: Curve = ()
    for name, dtype, truth, output in zip(names, signature.outputs, truths, outputs, strict=True):
        got = _flat(output, dtype, truth, name)
        judged = judge(routine.tolerance[signature.dtype], truth, got, case, dtype)
        findings += _findings(judged, truth, got, dtype, name, routine, case)
        checked += got.size
        if got.size:
            index = int(np.argmax(judged.error))
            if judged.error[index] > worst:
                worst, at = float(judged.error[index]), _where(index, name, routine, case)
        if _plots(routine, signature):
            curve = curve_of(case.inputs[0], judged.error)
    return Comparison(tuple(findings[:MOST_FINDINGS]), worst, at, checked, curve)


def merge_curves(curves: Sequence[Curve]) -> Curve:
    """One curve of many: the largest error of each bucket, in order of x."""
    largest: dict[float, float] = {}
    for curve in curves:
        for x, error in curve:
            largest[x] = max(error, largest.get(x, 0.0))
    return tuple(sorted(largest.items()))


def _flat(output: Array, dtype: str, truth: Truth, name: str) -> Array:
    got = np.asarray(output).ravel()
    if dtype == "bool" and got.dtype.itemsize == 1:
        got = got.view(np.uint8)  # a byte that is neither 0 nor 1 must show
    elif got.dtype != np.dtype(dtype):
        raise ValueError(f"{name} came as {got.dtype}; the signature says {dtype}")
    if got.size != truth.hi.size:
        raise ValueError(f"{name} has {got.size} elements; the case has {truth.hi.size}")
    return got


def judge(tolerance: Tolerance, truth: Truth, got: Array, case: Case, dtype: str) -> Judged:
    if not dtype.startswith("float"):
        return _judge_integers(truth, got)
    if tolerance.rule == "sort":
        return _judge_sorted(truth, got, case, dtype)
    if tolerance.rule == "exact":
        same = got.view(_BITS[dtype]) == truth.hi.view(_BITS[dtype])
        if same.all():
            nothing = np.zeros(got.size)
            return Judged(nothing, ~same, ~same, nothing)
    return _judge_floats(tolerance, truth, got, case, dtype)


def _judge_integers(truth: Truth, got: Array) -> Judged:
    want = truth.hi.view(np.uint8) if truth.hi.dtype == np.bool_ else truth.hi
    wrong = got != want
    error = np.where(wrong, np.maximum(np.abs(got.astype(np.float64) - want.astype(np.float64)), 1), 0.0)
    return Judged(error, wrong, np.zeros_like(wrong), np.zeros_like(error))


def _judge_floats(tolerance: Tolerance, truth: Truth, got: Array, case: Case, dtype: str) -> Judged:
    with np.errstate(all="ignore"):
        distance = _distance(truth, got, dtype)
        allowed = allowance(tolerance, truth, case.extents, case.structure, dtype)
        nan_wrong = np.isnan(got) != np.isnan(truth.hi)
        both_nan = np.isnan(got) & np.isnan(truth.hi)
        signs = (got == 0) & (np.signbit(got) != np.signbit(truth.hi)) & ~np.asarray(truth.free_zero_sign)
        far = ~(distance <= allowed)
        wrong = (far | signs | nan_wrong) & ~both_nan
        unit = scale(tolerance, truth, dtype)
        error = np.where(both_nan, 0.0, np.where(nan_wrong, BEYOND, distance / unit))
        return Judged(np.fmin(error, BEYOND), wrong, nan_wrong, allowed / unit)


def _distance(truth: Truth, got: Array, dtype: str) -> Floats:
    """|got - truth|; an infinity stands one ULP past the largest finite number where the truth is finite.

    An infinite truth (a pole, or an overflow past any doubt) is met by that infinity alone.
    """
    hi = truth.hi.astype(np.float64)
    value = got.astype(np.float64)
    largest = float(np.finfo(dtype).max)
    overflowed = np.isinf(value) & np.isfinite(hi)
    value = np.where(overflowed, np.copysign(largest, value), value)
    step = np.where(overflowed, np.copysign(spacing(np.array([largest]), dtype)[0], value), 0.0)
    distance = (value - hi) + step
    if truth.lo is not None:
        distance = distance - truth.lo
    past = overflowed & (
        np.sign(value) * distance <= 0
    )  # the truth is past the largest number, as the answer says
    distance = np.where(past, 0.0, np.abs(distance))
    return np.where(np.isinf(hi) | np.isinf(value), np.where(value == hi, 0.0, np.inf), distance)


def _judge_sorted(truth: Truth, got: Array, case: Case, dtype: str) -> Judged:
    """Keys exactly, and of each zero as many in a row as went in."""
    rows = (case.extents["outer"], case.extents["n"])
    nan_wrong = np.isnan(got) != np.isnan(truth.hi)
    wrong = ~((got == truth.hi) | (np.isnan(got) & np.isnan(truth.hi)))
    negative = (got == 0) & np.signbit(got)
    # Of the input: numpy's own vectorised sort may turn one zero into the other.
    before = (case.inputs[0] == 0) & np.signbit(case.inputs[0])
    miscounted = negative.reshape(rows).sum(axis=1) != before.reshape(rows).sum(axis=1)
    wrong |= ((got == 0).reshape(rows) & miscounted[:, None]).ravel()
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(np.float64) - truth.hi) / spacing(truth.hi, dtype)
    error = np.where(wrong, np.fmin(error, BEYOND), 0.0)
    return Judged(error, wrong, nan_wrong, np.zeros_like(error))


def _findings(
    judged: Judged, truth: Truth, got: Array, dtype: str, name: str, routine: Routine, case: Case
) -> list[Finding]:
    places = np.flatnonzero(judged.wrong)
    if not places.size:
        return []
    order = np.lexsort((places, -judged.error[places]))[:MOST_FINDINGS]
    found = []
    for index in places[order].tolist():
        kind: FindingKind = "nan-mismatch" if judged.nan_wrong[index] else "mismatch"
        message = (
            f"{_where(index, name, routine, case)}: got {_show(got[index], dtype)}, "
            f"expected {_show_truth(truth, index, dtype)}"
            f"{_off_by(judged, index, dtype)}{_inputs(index, routine, case)}; "
            f"{places.size} of {got.size} elements are wrong"
        )
        found.append(Finding(kind, message, buffer=name, element=index, case=case.label))
    return found


def _off_by(judged: Judged, index: int, dtype: str) -> str:
    error = judged.error[index]
    if not dtype.startswith("float") or error >= BEYOND:
        return ""
    if error <= judged.allowed[index]:
        return " (the sign of zero)"
    return f", off by {error:.4g} ULP where {judged.allowed[index]:.4g} are allowed"


def _where(index: int, name: str, routine: Routine, case: Case) -> str:
    """The element, by its indices where the output has more than one axis."""
    extents = case.extents
    if routine.kind == "matmul":
        shape: tuple[int, ...] = (extents["batch"], extents["m"], extents["n"])
    elif routine.kind == "sort":
        shape = (extents["outer"], extents["n"])
    elif routine.kind in ("reduction", "scan"):
        kept = routine.sizes[-1] == routine.sizes[0]
        shape = (extents["outer"], *((extents["n"],) if kept else ()), extents["inner"])
    else:
        return f"{name}[{index}]"
    place = ", ".join(str(int(i)) for i in np.unravel_index(index, shape))
    sizes = ", ".join(f"{extent}={value}" for extent, value in extents.items())
    return f"{name}[{place}] (element {index}; {sizes})"


def _inputs(index: int, routine: Routine, case: Case) -> str:
    """The inputs that made an element: themselves where each has one, a few of the row where it is short."""
    if routine.kind == "elementwise":
        shown = [f"in{i}={_show(x[index], str(x.dtype))}" for i, x in enumerate(case.inputs)]
        return "; " + ", ".join(shown)
    if case.inputs[0].size and max(x.size for x in case.inputs) <= 4:
        shown = [f"in{i}=[{', '.join(_show(v, str(x.dtype)) for v in x)}]" for i, x in enumerate(case.inputs)]
        return "; " + ", ".join(shown)
    return f"; data: {case.label}"


def _show(value: Any, dtype: str) -> str:
    """A value in decimal and, but for bytes, its bits in hex."""
    if dtype == "bool":
        return str(int(value))
    bits = int(np.asarray(value, dtype).view(_BITS[dtype]))
    digits = np.dtype(dtype).itemsize * 2
    text = str(value) if dtype.startswith("float") else str(int(value))
    return f"{text} (0x{bits:0{digits}x})"


def _show_truth(truth: Truth, index: int, dtype: str) -> str:
    value = truth.hi[index]
    if truth.hi.dtype == np.dtype(dtype) and truth.lo is None:
        return _show(value, dtype)
    with np.errstate(all="ignore"):
        value = value if truth.lo is None or truth.lo[index] == 0 else value + truth.lo[index]
        nearest = np.asarray(value).astype(dtype)
    return f"{float(value)!r}, in {dtype} {_show(nearest[()], dtype)}"


def _plots(routine: Routine, signature: Signature) -> bool:
    floats = (*signature.inputs, *signature.outputs)
    return routine.kind == "elementwise" and len(floats) == 2 and all(d.startswith("float") for d in floats)


def curve_of(x: Array, error: Floats) -> Curve:
    """Largest error by bucket of the line of floats: equal steps in the count of representable numbers.

    Buckets are the same for every case of a dtype, and named by the float in their middle.
    """
    keep = np.isfinite(x)
    if not keep.any():
        return ()
    largest = np.full(BUCKETS, -1.0)
    np.maximum.at(largest, buckets(x[keep]), error[keep])
    used = np.flatnonzero(largest >= 0)
    middle = (2 * used + 1) / BUCKETS - 1
    signed, top = _line(x)
    bits = (np.abs(middle) * top).astype(signed)
    centres = np.copysign(bits.view(x.dtype).astype(np.float64), middle)
    return tuple(zip(centres.tolist(), largest[used].tolist(), strict=True))


def buckets(x: Array) -> NDArray[np.int64]:
    """The bucket of each finite element, from the most negative to the largest."""
    signed, top = _line(x)
    magnitude = np.abs(x).view(signed).astype(np.float64)
    position = np.where(np.signbit(x), -magnitude, magnitude) / top
    return np.minimum(((position + 1) * (BUCKETS / 2)).astype(np.int64), BUCKETS - 1)


def _line(x: Array) -> tuple[type[np.signedinteger[Any]], int]:
    """The integers a float dtype's patterns are read as, and that of its largest number."""
    signed: type[np.signedinteger[Any]] = np.int32 if x.dtype == np.float32 else np.int64
    return signed, int(np.array(np.finfo(x.dtype).max).view(signed))
