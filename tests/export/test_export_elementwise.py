"""Elementwise functions take and give what numpy's and scipy's ufuncs do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llmptx.export.elementwise import clip, elementwise, power, where
from llmptx.export.library import NoKernelError

DTYPES = st.sampled_from(["float32", "float64", "int32", "int64"])


def _arrays(shape, dtype):
    elements = st.integers(-4, 4) if dtype.startswith("int") else st.floats(-4, 4, width=32)
    return hnp.arrays(dtype, shape, elements=elements)


@st.composite
def _pairs(draw):
    """Two operands that broadcast, of any of the dtypes, in any layout; some are Python scalars."""
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=4))
    operands = []
    for shape in shapes.input_shapes:
        array = draw(_arrays(shape, draw(DTYPES)))
        for axis in range(array.ndim):
            if draw(st.booleans()):
                array = np.flip(array, axis)
        if draw(st.booleans()):
            array = np.asfortranarray(array) if array.ndim else array
        operands.append(array)
    if draw(st.integers(0, 3)) == 0:
        operands[1] = draw(st.sampled_from([2, -1, 0.5, True]))
    return operands


def _same(ours, theirs):
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@settings(max_examples=150, deadline=None)
@given(_pairs(), st.sampled_from(["add", "multiply", "divide", "maximum", "less", "equal"]))
def test_binary_functions_agree_with_numpy(library, operands, name):
    with np.errstate(all="ignore"):
        theirs = getattr(np, name)(*operands)
    _same(elementwise(library, f"numpy.{name}", operands), theirs)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["exp", "sqrt", "negative", "absolute", "square"]))
def test_unary_functions_agree_with_numpy(library, data, name):
    dtype = data.draw(st.sampled_from(["float32", "float64", "int32", "int64"]))
    array = data.draw(_arrays(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), dtype))
    with np.errstate(all="ignore"):
        theirs = getattr(np, name)(array)
    _same(elementwise(library, f"numpy.{name}", (array,)), theirs)


@pytest.mark.parametrize("x", [0.5, 2, np.float32(0.5), [1, 2], np.arange(3), np.float32([[0.1], [3]]), True])
def test_erf_promotes_as_scipy_does(library, x):
    _same(elementwise(library, "scipy.special.erf", (x,)), scipy.special.erf(x))


def test_a_half_is_refused_with_the_dtypes_there_are(library):
    with pytest.raises(
        NoKernelError, match=r"numpy\.exp has no approved kernel for float16: it has float32, float64"
    ):
        elementwise(library, "numpy.exp", (np.zeros(3, np.float16),))
    with pytest.raises(TypeError):
        elementwise(library, "numpy.add", (np.zeros(3, np.uint8), np.zeros(3, np.uint8)))


def test_python_scalars_are_weak_and_must_fit(library):
    x = np.arange(3, dtype=np.int32)
    assert elementwise(library, "numpy.add", (x, 5)).dtype == np.int32
    with pytest.raises(OverflowError):
        elementwise(library, "numpy.add", (x, 2**40))


def test_out_is_filled_and_returned(library):
    x = np.float32([1, 4, 9])
    out = np.zeros((2, 3), np.float64)
    assert elementwise(library, "numpy.sqrt", (x,), out=out) is out
    np.testing.assert_array_equal(out, [[1, 2, 3]] * 2)
    strided = np.zeros(6, np.float32)[::-2]
    elementwise(library, "numpy.sqrt", (x,), out=(strided,))
    np.testing.assert_array_equal(strided, [1, 2, 3])


def test_out_may_be_an_input(library):
    x = np.float32([1, 2, 3, 4])
    elementwise(library, "numpy.add", (x[:-1], x[1:]), out=x[1:])
    np.testing.assert_array_equal(x, [1, 3, 5, 7])


def test_out_of_a_narrower_kind_or_wrong_shape_is_refused(library):
    with pytest.raises(TypeError):
        elementwise(library, "numpy.sqrt", (np.float32([1]),), out=np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="shape"):
        elementwise(library, "numpy.sqrt", (np.float32([1, 2]),), out=np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="broadcast"):
        elementwise(library, "numpy.add", (np.zeros(2), np.zeros(3)))


def test_where_leaves_the_rest_of_out_alone(library):
    out = np.float32([-1, -1, -1])
    elementwise(library, "numpy.sqrt", (np.float32([1, 4, 9]),), out=out, where=[True, False, True])
    np.testing.assert_array_equal(out, [1, -1, 3])


def test_dtype_chooses_the_loop(library):
    x = np.float32([0.1])
    assert elementwise(library, "numpy.exp", (x,), dtype=np.float64).dtype == np.float64
    y = np.float64([1])
    _same(elementwise(library, "numpy.exp", (y,), dtype=np.float32), np.exp(y, dtype=np.float32))
    with pytest.raises(TypeError):
        elementwise(library, "numpy.exp", (y,), dtype=np.int32)


def test_negative_integer_powers_are_refused(library):
    x = np.int32([2, 3])
    np.testing.assert_array_equal(power(library, "numpy.power", (x, 3)), [8, 27])
    with pytest.raises(ValueError, match="negative integer powers"):
        power(library, "numpy.power", (x, -1))


@pytest.mark.parametrize(
    ("condition", "x", "y"),
    [
        (True, 1.0, 2.0),
        ([0, 2, 0], np.float32([1, 2, 3]), 0.5),
        (np.array([[np.nan], [0.0]]), np.arange(3), np.float64(7)),
        (np.zeros((0, 2), bool), np.float32([1, 2]), np.float32(3)),
    ],
)
def test_where_agrees_with_numpy(library, condition, x, y):
    _same(where(library, "numpy.where", condition, x, y), np.where(condition, x, y))


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        (np.float32([-2, np.nan, 5]), -1, 1),
        (np.arange(5, dtype=np.int32), 1, 3),
        (np.arange(5), None, 3),
        (np.arange(5), 2, None),
        (np.float64([1, 5]), [0, 2], np.float32([3, 3])),
        (np.int32([1, 5]), 1.5, 3.5),
        (np.float32(3), None, None),
    ],
)
def test_clip_agrees_with_numpy(library, x, low, high):
    _same(clip(library, "numpy.clip", x, low, high), np.clip(x, low, high))
