"""Reductions, scans, sorts and products have numpy's shapes, dtypes and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llmptx.export.axes import reduction, scan, softmax, sort
from llmptx.export.library import NoKernelError
from llmptx.export.products import dot, matmul

DTYPES = ["float32", "float64", "int32", "int64"]
warnings.filterwarnings("ignore", message="Mean of empty slice")


@st.composite
def _array(draw, min_side=0, min_dims=0, dtypes=DTYPES):
    dtype = draw(st.sampled_from(dtypes))
    elements = st.integers(-9, 9) if dtype.startswith("int") else st.floats(-9, 9, width=32)
    shape = draw(hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=min_side, max_side=4))
    array = draw(hnp.arrays(dtype, shape, elements=elements))
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    for axis in range(array.ndim):
        if draw(st.booleans()):
            array = np.flip(array, axis)
    return array


def _axes(draw, array, several=True):
    if array.ndim == 0 or draw(st.integers(0, 4)) == 0:
        return None
    if several and draw(st.booleans()):
        return tuple(draw(st.lists(st.integers(0, array.ndim - 1), unique=True, max_size=array.ndim)))
    return draw(st.integers(-array.ndim, array.ndim - 1))


def _outcome(function, *args, **kwargs):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            return type(error)


def _same(ours, theirs):
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(["sum", "max", "min", "mean"]), st.booleans())
def test_reductions_agree_with_numpy_over_any_axes(library, data, name, keepdims):
    x = data.draw(_array())
    axis = _axes(data.draw, x)
    theirs = _outcome(getattr(np, name), x, axis=axis, keepdims=keepdims)
    _same(_outcome(reduction, library, f"numpy.{name}", x, axis=axis, keepdims=keepdims), theirs)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.booleans())
def test_argmax_agrees_with_numpy(library, data, keepdims):
    x = data.draw(_array())
    axis = _axes(data.draw, x, several=False)
    theirs = _outcome(np.argmax, x, axis=axis, keepdims=keepdims)
    _same(_outcome(reduction, library, "numpy.argmax", x, axis=axis, keepdims=keepdims), theirs)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_cumsum_and_sort_agree_with_numpy(library, data):
    x = data.draw(_array(min_dims=1))
    axis = _axes(data.draw, x, several=False)
    _same(scan(library, "numpy.cumsum", x, axis=axis), np.cumsum(x, axis=axis))
    _same(sort(library, "numpy.sort", x, axis=axis), np.sort(x, axis=axis))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_softmax_and_logsumexp_agree_with_scipy(library, data, keepdims):
    x = data.draw(_array(min_side=1, min_dims=1, dtypes=["float32", "float64", "int64"]))
    axis = _axes(data.draw, x)
    if axis == ():
        return
    _same(softmax(library, "scipy.special.softmax", x, axis=axis), scipy.special.softmax(x, axis=axis))
    theirs = scipy.special.logsumexp(x, axis=axis, keepdims=keepdims)
    _same(reduction(library, "scipy.special.logsumexp", x, axis=axis, keepdims=keepdims), theirs)


@pytest.mark.parametrize("given_", ["bool", "int8", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("asked", [None, "int32", "int64", "float32", "float64"])
def test_sum_and_mean_have_numpys_dtype(library, given_, asked):
    x = np.array([[1, 0, 1], [1, 1, 0]], given_)
    if not (asked and given_.startswith("float") and asked.startswith("int")):
        _same(reduction(library, "numpy.sum", x, 0, dtype=asked), np.sum(x, 0, dtype=asked))
    if not (asked and asked.startswith("int")):
        _same(reduction(library, "numpy.mean", x, 1, dtype=asked), np.mean(x, 1, dtype=asked))


def test_dtypes_without_a_kernel_are_refused(library):
    for dtype in ("float16", "uint8", "complex64"):
        with pytest.raises(NoKernelError, match=r"numpy\.sum has no approved kernel"):
            reduction(library, "numpy.sum", np.zeros(3, dtype))
    with pytest.raises(NoKernelError, match="it has float32, float64, int32, int64"):
        sort(library, "numpy.sort", np.zeros(3, np.uint8))


def test_the_maximum_of_nothing_is_refused_as_numpy_does(library):
    with pytest.raises(ValueError, match="reduction operation maximum which has no identity"):
        reduction(library, "numpy.max", np.zeros((0, 3)), axis=0)
    with pytest.raises(ValueError, match="argmax of an empty sequence"):
        reduction(library, "numpy.argmax", [])
    with pytest.raises(ValueError, match="no identity"):
        softmax(library, "scipy.special.softmax", np.zeros((0, 3)), axis=0)
    np.testing.assert_array_equal(
        reduction(library, "scipy.special.logsumexp", np.zeros((0, 3)), 0), [-np.inf] * 3
    )
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(reduction(library, "numpy.mean", np.zeros(0)))


def test_a_wrong_axis_is_numpys_axis_error(library):
    with pytest.raises(np.exceptions.AxisError):
        reduction(library, "numpy.sum", np.zeros(3), axis=1)
    with pytest.raises(np.exceptions.AxisError):
        sort(library, "numpy.sort", np.float64(1))
    with pytest.raises(ValueError, match="repeated axis"):
        reduction(library, "numpy.sum", np.zeros((3, 3)), axis=(0, 0))


def test_out_must_have_the_results_shape(library):
    out = np.zeros(3)
    assert reduction(library, "numpy.sum", np.ones((2, 3)), axis=0, out=out) is out
    np.testing.assert_array_equal(out, [2, 2, 2])
    with pytest.raises(ValueError, match="shape"):
        reduction(library, "numpy.sum", np.ones((2, 3)), axis=0, out=np.zeros(2))


@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(DTYPES))
def test_matmul_agrees_with_numpy(library, data, one, other):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(
            signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, min_side=0, max_side=3
        )
    )
    a, b = (
        np.arange(np.prod(s), dtype=d).reshape(s) - 3
        for s, d in zip(shapes.input_shapes, (one, other), strict=True)
    )
    _same(matmul(library, "numpy.matmul", a, b), np.matmul(a, b))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_dot_agrees_with_numpy(library, data):
    k = data.draw(st.integers(0, 3))
    sides = st.lists(st.integers(0, 3), max_size=2)
    left = (*data.draw(sides), k)
    right = (*data.draw(sides), k, data.draw(st.integers(0, 3))) if data.draw(st.booleans()) else (k,)
    a, b = (np.arange(np.prod(s), dtype=np.float64).reshape(s) for s in (left, right))
    _same(dot(library, "numpy.dot", a, b[..., ::-1]), np.dot(a, b[..., ::-1]))


def test_products_refuse_what_does_not_fit(library):
    with pytest.raises(ValueError, match="do not fit"):
        matmul(library, "numpy.matmul", np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="0-d"):
        matmul(library, "numpy.matmul", 1.0, np.zeros(3))
    with pytest.raises(ValueError, match="not aligned"):
        dot(library, "numpy.dot", np.zeros(3), np.zeros(4))
    assert dot(library, "numpy.dot", 2.0, np.float64([1, 2])).tolist() == [2, 4]
