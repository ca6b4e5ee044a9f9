"""What is no text, no launch, no array and no number is refused in words, and memory is the arrays' own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmptx import Module, SanitizerError
from llmptx.run.memory import regions

HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"
TWICE = (
    HEADER
    + """.visible .entry twice(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n)
{
    .reg .pred %p; .reg .b32 %i, %n; .reg .b64 %x, %y; .reg .f32 %a, %v;
    ld.param.u64 %x, [x]; ld.param.u64 %y, [y]; ld.param.f32 %a, [a]; ld.param.u32 %n, [n];
    mov.u32 %i, %tid.x;
    setp.ge.u32 %p, %i, %n;
    @%p ret;
    mad.wide.u32 %x, %i, 4, %x;
    mad.wide.u32 %y, %i, 4, %y;
    ld.global.f32 %v, [%x];
    mul.f32 %v, %v, %a;
    st.global.f32 [%y], %v;
    ret;
}
"""
)
either = pytest.mark.parametrize("check", [False, True], ids=["fast", "checked"])


def floats(n: int = 32) -> np.ndarray[Any, Any]:
    return np.arange(n, dtype=np.float32)


def twice(check: bool = False, **changed: Any) -> None:
    """A right call, but for what is changed."""
    args = {"x": floats(), "y": floats(), "a": 2.0, "n": 32} | {
        name: value for name, value in changed.items() if name in "xyan"
    }
    call: dict[str, Any] = {"grid": (1,), "block": (32,)}
    call |= {name: value for name, value in changed.items() if name not in "xyan"}
    Module(TWICE).get_function("twice")(args=tuple(args.values()), check=check, **call)


@pytest.mark.parametrize("text", [TWICE.encode(), bytearray(b"x"), None, 5])
def test_a_module_is_text(text: Any) -> None:
    with pytest.raises(TypeError, match=f"a str, not {type(text).__name__}"):
        Module(text)


REFUSED: Mapping[str, tuple[Mapping[str, Any], type[Exception], str]] = {
    "grid that is a number": ({"grid": 1}, ValueError, "grid is one to three whole"),
    "grid that is text": ({"grid": "ab"}, ValueError, "grid is one to three whole"),
    "grid of NaN": ({"grid": (float("nan"),)}, ValueError, "grid is one to three whole"),
    "grid of infinity": ({"grid": (float("inf"),)}, ValueError, "grid is one to three whole"),
    "grid of four": ({"grid": (1, 1, 1, 1)}, ValueError, "grid is one to three whole"),
    "grid below zero": ({"grid": (-1,)}, ValueError, "grid is one to three whole numbers from 0"),
    "block of none": ({"block": (0,)}, ValueError, "block is one to three whole numbers from 1"),
    "block that is nothing": ({"block": None}, ValueError, "block is one to three whole"),
    "shared memory below zero": ({"shared_mem": -1}, ValueError, "shared_mem is a count"),
    "shared memory in halves": ({"shared_mem": 0.5}, ValueError, "shared_mem is a count"),
    "another device": ({"device": "tpu"}, ValueError, "device is cpu or cuda"),
    "a list for a pointer": ({"x": [1.0]}, TypeError, "parameter x is .u64: .*nor a numpy array"),
    "nothing for a pointer": ({"x": None}, TypeError, "parameter x is .u64: None"),
    "bytes for a pointer": ({"x": b"abc"}, TypeError, "parameter x is .u64"),
    "objects": ({"x": np.array([1, None])}, TypeError, "array for x has dtype .O"),
    "text in an array": ({"x": np.array(["a"])}, TypeError, "array for x has dtype"),
    "times": ({"x": np.zeros(4, "M8[s]")}, TypeError, "array for x has dtype"),
    "the other byte order": ({"x": np.zeros(32, ">f4")}, TypeError, "native order"),
    "a column": ({"x": np.zeros((32, 2), np.float32)[:, 0]}, ValueError, "x is not contiguous"),
    "a Fortran matrix": ({"x": np.zeros((4, 8), np.float32, "F")}, ValueError, "x is not contiguous"),
    "an array for a number": ({"a": np.ones(3)}, TypeError, "needs a 64-bit pointer"),
    "text for a number": ({"a": "2"}, TypeError, "parameter a is .f32: '2' is no number"),
    "nothing for a number": ({"a": None}, TypeError, "parameter a is .f32: None is no number"),
    "a complex number": ({"a": 2j}, TypeError, "is no number"),
    "NaN for an integer": ({"n": float("nan")}, TypeError, "parameter n is .u32: nan is no integer"),
    "infinity for an integer": ({"n": float("inf")}, TypeError, "inf is no integer"),
    "more than 32 bits": ({"n": 1 << 40}, OverflowError, "does not fit"),
}


@either
@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_argument_is_refused_in_words(name: str, check: bool) -> None:
    changed, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        twice(check, **changed)


@either
def test_empty_grids_and_arrays_are_no_error(check: bool) -> None:
    y = floats()
    twice(check, grid=(0,), y=y)
    twice(check, grid=(3, 0, 2), y=y)
    twice(check, x=floats(0), y=y, n=0)
    np.testing.assert_array_equal(y, floats())


@either
def test_a_read_only_array_is_read_and_never_written(check: bool) -> None:
    fixed, y = floats(), floats()
    fixed.flags.writeable = False
    twice(check, x=fixed, y=y)
    np.testing.assert_array_equal(y, 2 * floats())
    with pytest.raises(SanitizerError, match="input-modified") as told:
        twice(check, y=fixed)
    assert told.value.findings[0].buffer == "y"
    np.testing.assert_array_equal(fixed, floats())


@either
def test_arrays_that_overlap_are_the_same_memory(check: bool) -> None:
    whole = floats(100)
    twice(check, x=whole[:64], y=whole[50:90])
    np.testing.assert_array_equal(whole[50:82], 2 * floats())
    np.testing.assert_array_equal(whole[:50], floats(50))
    np.testing.assert_array_equal(whole[82:], floats(100)[82:])


def test_a_race_through_overlapping_arrays_is_found() -> None:
    whole = floats(100)
    with pytest.raises(SanitizerError, match="data-race"):
        twice(True, x=whole[:64], y=whole[1:65], block=(64,), n=64)


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(spans)
def test_regions_are_apart_and_hold_every_array(spans: list[tuple[int, int]]) -> None:
    memory = np.arange(80, dtype=np.uint8)
    named = [(f"p{i}", memory[at : at + n]) for i, (at, n) in enumerate(spans)]
    found = regions(named)
    assert sum(len(r.arrays) for r in found) == len(named)
    for region in found:
        base = region.start - memory.ctypes.data
        np.testing.assert_array_equal(region.bytes, memory[base : base + region.size])
        covered = np.zeros(region.size, bool)
        for array, piece in zip(region.arrays, region.pieces(writeable=True), strict=True):
            at = array.ctypes.data - region.start
            assert piece == slice(at, at + array.nbytes)
            covered[piece] = True
        assert covered.all()
    bytes_of = [set(range(r.start, r.start + r.size)) for r in found]
    assert sum(map(len, bytes_of)) == len(set().union(*bytes_of))
