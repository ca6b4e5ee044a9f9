"""The sweep over all inputs, on spans of it, against figures worked out in long double and by MPFR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from llmptx.record import Routine, Tolerance
from llmptx.routines import find
from llmptx.routines.truth import Array, multiprecision, spacing
from llmptx.run.job import consecutive
from llmptx.verify.exhaustive import CHUNK, Answer, Swept, WrongError, sweep

HALF = 0x3F000000  # 0.5
EXP = find("numpy.exp")


def answering(function: Callable[[Array], Array], dtype: str = "float32") -> Answer:
    def answer(first: int, count: int) -> Array:
        with np.errstate(all="ignore"):
            got = function(consecutive(first, count, dtype))
        return got.view(np.uint8) if got.dtype == np.bool_ else got

    return answer


def rounded_exp(x: Array) -> Array:
    return np.asarray(np.exp(x.astype(np.float64)).astype(np.float32))


def altered(function: Callable[[Array], Array], at: int, value: float) -> Answer:
    """As the function says, but for the input of one pattern."""

    def wrong(x: Array) -> Array:
        got = function(x)
        got[x.view(np.uint32) == at] = value
        return got

    return answering(wrong)


def swept(routine: Routine, answer: Answer, first: int, chunks: int = 1, lanes: int = 1) -> Swept:
    signature = routine.signature("float32")
    return sweep(routine, signature, [answer], lanes, span=(first, first + chunks * CHUNK))


def lenient(name: str) -> Routine:
    return replace(find(name), tolerance={"float32": Tolerance("ulp", 1e6)})


def test_figures_agree_with_long_double() -> None:
    x = consecutive(HALF, CHUNK, "float32")
    truth = np.exp(x.astype(np.longdouble))
    error = np.abs(np.exp(x) - truth) / spacing(truth.astype(np.float64), "float32")
    nearest = truth.astype(np.float32)
    away = np.abs(np.exp(x).view(np.int32) - nearest.view(np.int32))
    found = swept(lenient("numpy.exp"), answering(np.exp), HALF)
    assert found.checked == CHUNK
    assert found.max_ulp == pytest.approx(float(error.max()), abs=1e-9)
    assert found.at == HALF + int(error.argmax())
    assert found.rounded == np.count_nonzero(nearest == np.exp(x))
    assert found.floats == away.max()
    assert found.breaks == np.count_nonzero(np.diff(np.exp(x)) < 0)


def test_two_lanes_see_what_one_sees() -> None:
    routine = lenient("numpy.log")
    alone = swept(routine, answering(np.log), HALF, 5)
    assert swept(routine, answering(np.log), HALF, 5, lanes=2) == alone
    assert alone.rounded < alone.checked


@pytest.mark.parametrize(
    ("name", "first"),
    [(n, f) for n in ("sqrt", "rint", "floor", "ceil", "sign", "negative", "absolute", "square", "reciprocal")
     for f in (0, 0x7F800000 - CHUNK // 2 * 2, 0x7F800000, 0x80000000, 0xBF800000, 0xFFF00000)],
)  # fmt: skip
def test_exact_routines_are_right_everywhere(name: str, first: int) -> None:
    found = swept(find(f"numpy.{name}"), answering(getattr(np, name)), first)
    assert (found.max_ulp, found.rounded, found.breaks) == (0, CHUNK, 0)


def test_bools_and_integers_are_bytes_and_words() -> None:
    assert swept(find("numpy.isnan"), answering(np.isnan), 0x7F800000).rounded == CHUNK
    routine = find("numpy.absolute")
    span = (0x80000000, 0x80000000 + CHUNK)
    answer = answering(np.absolute, "int32")
    assert sweep(routine, routine.signature("int32"), [answer], 1, span=span).rounded == CHUNK


@pytest.mark.parametrize("at", [HALF, HALF + 123_456, HALF + CHUNK - 1, HALF + CHUNK])
def test_one_wrong_answer_is_found_where_it_is(at: int) -> None:
    with pytest.raises(WrongError) as caught:
        swept(EXP, altered(rounded_exp, at, 1.5), HALF, 2, lanes=2)
    inputs = caught.value.case.inputs[0]
    place = int(np.flatnonzero(inputs.view(np.uint32) == at)[0])
    assert caught.value.got[place] == 1.5
    assert caught.value.way == 0


def test_the_lowest_wrong_answer_is_the_one_reported() -> None:
    def wrong(x: Array) -> Array:
        got = rounded_exp(x)
        got[x.view(np.uint32) % (3 * CHUNK) == 7] = 0
        return got

    with pytest.raises(WrongError) as caught:
        swept(EXP, answering(wrong), 0x3F000000, 8, lanes=2)
    assert caught.value.case.label == "every float32 from 0x3f000000"


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("numpy.sin", 0x80000000, 0.0),  # a zero of the wrong sign
        ("numpy.exp", HALF, np.nan),
        ("numpy.exp", HALF, np.inf),
        ("numpy.exp", 0x7F800001, 1.0),  # of NaN
        ("numpy.exp", 0x7F800000, np.finfo(np.float32).max),  # of infinity
        ("numpy.log", 0xBF800000, 0.0),  # of -1
        ("numpy.log", 0, np.nan),  # the pole
        ("scipy.special.expit", 0x3F000005, 0.5),
        ("numpy.sqrt", 0x80000000, 0.0),
        ("numpy.sqrt", 0x40800000, 1.9999999),
        ("numpy.rint", 0x3F000000, 1.0),
    ],
)
def test_no_kind_of_wrong_answer_slips_through(name: str, at: int, value: float) -> None:
    routine = find(name)

    def right(x: Array) -> Array:
        (truth,) = routine.oracle((x,), {"n": x.size}, routine.signature("float32"))
        return np.asarray(truth.hi.astype(np.float32))

    first = at - at % CHUNK
    assert swept(routine, answering(right), first).rounded == CHUNK
    with pytest.raises(WrongError):
        swept(routine, altered(right, at, value), first)


def test_the_limit_is_decided_beyond_float64() -> None:
    at = HALF + 999
    x = consecutive(at, 1, "float32").astype(np.float64)
    hi, lo = multiprecision("exp", x)
    far = np.nextafter(hi.astype(np.float32), np.float32(9))
    error = float((np.abs((far - hi) - lo) / spacing(hi, "float32"))[0])
    answer = altered(rounded_exp, at, float(far[0]))
    assert swept(_allowing(error), answer, HALF).max_ulp == error
    with pytest.raises(WrongError):
        swept(_allowing(np.nextafter(error, 0)), answer, HALF)


def _allowing(ulp: float) -> Routine:
    return replace(EXP, tolerance={"float32": Tolerance("ulp", ulp)})


@pytest.mark.parametrize("sign", [0, 0x80000000])
@pytest.mark.parametrize("place", [5, CHUNK - 1, CHUNK])
def test_neighbours_in_the_wrong_order_are_counted(sign: int, place: int) -> None:
    at = (sign | HALF) + place
    before = rounded_exp(consecutive(at - 1, 1, "float32"))[0]
    worse = np.nextafter(before, np.float32(0) if sign == 0 else np.float32(9))
    found = swept(lenient("numpy.exp"), altered(rounded_exp, at, float(worse)), sign | HALF, 2)
    assert swept(EXP, answering(rounded_exp), sign | HALF, 2).breaks == 0
    assert found.breaks == 1


def test_other_ways_of_answering_need_only_be_right() -> None:
    signature = EXP.signature("float32")
    coarse = answering(np.exp)
    found = sweep(EXP, signature, [answering(rounded_exp), coarse], 1, span=(HALF, HALF + CHUNK))
    assert found.rounded == CHUNK
    assert found.max_ulp < 0.6 < found.others
    with pytest.raises(WrongError) as caught:
        sweep(EXP, signature, [coarse, altered(np.exp, HALF, 0.0)], 1, span=(HALF, HALF + CHUNK))
    assert caught.value.way == 1


def test_an_interrupt_ends_it_at_once() -> None:
    asked: list[int] = []

    def answer(first: int, count: int) -> Array:
        asked.append(first)
        return answering(rounded_exp)(first, count)

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(EXP, EXP.signature("float32"), [answer], 2, interrupted)
    assert len(asked) < 10


def test_the_curve_covers_what_was_tried() -> None:
    found = swept(lenient("numpy.exp"), answering(np.exp), HALF, 3)
    assert [round(error, 6) for _, error in found.curve] == [round(found.max_ulp, 6)]
    assert 0.4 < found.curve[0][0] < 0.8
