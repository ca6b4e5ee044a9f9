"""Reductions, scans, sorts and softmax along axes: any layout is brought to (outer, n, inner) and back.

Knows the shapes numpy gives and the errors it raises; which kernel computes is the library's business.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from llmptx.export.elementwise import delivered, finished, operands
from llmptx.export.kernel import Array, home
from llmptx.export.library import Library


@dataclass(frozen=True, slots=True)
class Layout:
    """An array as (outer, n, inner) over some axes of it, and the way back for results.

    order  the axes as they were moved, `moved` axes' shape in that order
    """

    flat: Array
    outer: int
    n: int
    inner: int
    order: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def extents(self) -> dict[str, int]:
        return {"outer": self.outer, "n": self.n, "inner": self.inner}

    def reduced(self, keepdims: bool) -> tuple[int, ...]:
        """The shape of a reduction's result."""
        if keepdims:
            return tuple(1 if i in self.axes else size for i, size in enumerate(self.shape))
        return tuple(size for i, size in enumerate(self.shape) if i not in self.axes)

    def restored(self, xp: Any, flat: Array) -> Array:
        """A result of the input's size, in the input's shape."""
        moved = flat.reshape([self.shape[i] for i in self.order])
        back = xp.transpose(moved, np.argsort(self.order).tolist())
        return xp.ascontiguousarray(back).reshape(self.shape)


def layout(array: Array, axis: Any, dtype: Any) -> Layout:
    """Axes side by side stay where they are; others are moved to the end. Raises AxisError as numpy does."""
    xp, _ = home(array)
    axes = tuple(range(array.ndim)) if axis is None else normalize_axis_tuple(axis, array.ndim)
    axes = tuple(sorted(axes))
    first = axes[0] if axes else 0
    if axes != tuple(range(first, first + len(axes))):
        order = (*(i for i in range(array.ndim) if i not in axes), *axes)
        first = array.ndim - len(axes)
    else:
        order = tuple(range(array.ndim))
    moved = xp.transpose(array, order)
    sizes = moved.shape
    return Layout(
        flat=xp.ascontiguousarray(moved, dtype).reshape(-1),
        outer=math.prod(sizes[:first]),
        n=math.prod(sizes[first : first + len(axes)]),
        inner=math.prod(sizes[first + len(axes) :]),
        order=order,
        shape=array.shape,
        axes=axes,
    )


def reduction(
    library: Library,
    routine: str,
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
) -> Any:
    """sum, mean, max, min, argmax, logsumexp as numpy and scipy call them."""
    (array,) = operands((x,))
    xp, _ = home(array)
    name = routine.rpartition(".")[2]
    if name == "argmax" and axis is not None:
        axis = normalize_axis_index(axis, array.ndim)
    loop, result_dtype = _accumulator(library, routine, name, array.dtype, dtype)
    kernel = library.get(routine, loop)
    at = layout(array, axis, loop)
    result = xp.empty(at.outer * at.inner, kernel.entry.outputs[0])
    if at.n == 0 and name == "logsumexp":
        result[...] = -np.inf
    elif at.n == 0:
        _refuse_nothing(name)
    if result.size and (at.n or name in ("sum", "mean")):
        kernel((at.flat,), result, at.extents)
    return finished(xp, result.reshape(at.reduced(bool(keepdims))), result_dtype, out)


def scan(library: Library, routine: str, x: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """cumsum: the flattened array where axis is None."""
    (array,) = operands((x,))
    xp, _ = home(array)
    if axis is None:
        array, axis = array.reshape(-1), 0
    axis = normalize_axis_index(axis, array.ndim)
    loop, result_dtype = _accumulator(library, routine, "cumsum", array.dtype, dtype)
    return finished(xp, _same_shape(library, routine, array, axis, loop), result_dtype, out)


def softmax(library: Library, routine: str, x: Any, axis: Any = None) -> Any:
    """softmax over one axis, several, or all."""
    (array,) = operands((x,))
    xp, _ = home(array)
    loop = np.dtype(np.float64) if array.dtype.kind in "biu" else array.dtype
    if layout(array, axis, loop).n == 0:
        _refuse_nothing("max")
    return delivered(xp, _same_shape(library, routine, array, axis, loop), None)


def sort(library: Library, routine: str, a: Any, axis: Any = -1) -> Any:
    """A sorted copy; of the flattened array where axis is None."""
    (array,) = operands((a,))
    xp, _ = home(array)
    if axis is None:
        array, axis = array.reshape(-1), 0
    axis = normalize_axis_index(axis, array.ndim)
    kernel = library.get(routine, array.dtype)
    moved = xp.moveaxis(array, axis, -1)
    flat = xp.ascontiguousarray(moved).reshape(-1)
    result = xp.empty_like(flat)
    if flat.size:
        kernel((flat,), result, {"outer": flat.size // moved.shape[-1], "n": moved.shape[-1]})
    return xp.ascontiguousarray(xp.moveaxis(result.reshape(moved.shape), -1, axis))


def _same_shape(library: Library, routine: str, array: Array, axis: Any, loop: Any) -> Array:
    kernel = library.get(routine, loop)
    xp, _ = home(array)
    at = layout(array, axis, loop)
    result = xp.empty(at.flat.size, kernel.entry.outputs[0])
    if result.size:
        kernel((at.flat,), result, at.extents)
    return at.restored(xp, result)


def _accumulator(library: Library, routine: str, name: str, given: Any, asked: Any) -> tuple[Any, Any]:
    """The kernel's dtype, and the result's: small integers add up in int64 and average in float64."""
    asked = None if asked is None else np.dtype(asked)
    if name in ("sum", "cumsum"):
        if asked is None:
            if str(given) in library.dtypes(routine):
                return given, None
            return (np.dtype(np.int64) if given.kind in "bi" else given), None
        return (np.dtype(np.int64) if asked.kind == "i" else asked), asked
    if name in ("mean", "logsumexp"):
        if asked is not None:
            return asked, asked
        if str(given) in library.dtypes(routine):
            return given, None
        return (np.dtype(np.float64) if given.kind in "biu" else given), None
    return given, None


def _refuse_nothing(name: str) -> None:
    """What numpy does about no elements along the axis."""
    if name == "argmax":
        raise ValueError("attempt to get argmax of an empty sequence")
    if name in ("max", "min"):
        word = {"max": "maximum", "min": "minimum"}[name]
        raise ValueError(f"zero-size array to reduction operation {word} which has no identity")
    if name == "mean":
        warnings.warn("Mean of empty slice", RuntimeWarning, stacklevel=5)
