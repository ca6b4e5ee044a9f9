"""dot and matmul as numpy shapes them: vectors promoted, batches broadcast.

Knows shapes; the products themselves are the kernels' business.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llmptx.export.elementwise import elementwise, finished, operands
from llmptx.export.kernel import Array, home
from llmptx.export.library import Library

_MATMUL = "numpy.matmul"


def matmul(library: Library, routine: str, a: Any, b: Any, out: Any = None, dtype: Any = None) -> Any:
    """Raises ValueError for operands that are 0-d or do not fit."""
    left, right = operands((a, b))
    xp, _ = home(left)
    for number, array in enumerate((left, right)):
        if array.ndim == 0:
            raise ValueError(f"matmul: operand {number} is 0-d; it needs at least one dimension")
    loop = _loop(left, right, dtype)
    x = left[None, :] if left.ndim == 1 else left
    y = right[:, None] if right.ndim == 1 else right
    if x.shape[-1] != y.shape[-2]:
        raise ValueError(f"matmul: {left.shape} and {right.shape} do not fit: {x.shape[-1]} != {y.shape[-2]}")
    result = _product(library, routine, xp, x, y, loop)
    if left.ndim == 1:
        result = result[..., 0, :]
    if right.ndim == 1:
        result = result[..., 0]
    return finished(xp, result, None, out)


def dot(library: Library, routine: str, a: Any, b: Any, out: Any = None) -> Any:
    """Vectors by the dot kernel; matrices through numpy.matmul's, 0-d operands through numpy.multiply's."""
    left, right = operands((a, b))
    xp, _ = home(left)
    if left.ndim == 0 or right.ndim == 0:
        return elementwise(library, "numpy.multiply", (left, right), out=out)
    k = left.shape[-1]
    if k != right.shape[-2 if right.ndim > 1 else 0]:
        raise ValueError(f"shapes {left.shape} and {right.shape} not aligned")
    loop = _loop(left, right, None)
    if left.ndim == right.ndim == 1:
        kernel = library.get(routine, loop)
        single = xp.empty(1, kernel.entry.outputs[0])
        kernel([xp.ascontiguousarray(v, loop) for v in (left, right)], single, {"n": k})
        return finished(xp, single.reshape(()), None, out)
    x = left.reshape(math.prod(left.shape[:-1]), k)
    y = right[:, None] if right.ndim == 1 else xp.moveaxis(right, -2, 0)
    rest = () if right.ndim == 1 else y.shape[1:]
    result = _product(library, _MATMUL, xp, x, y.reshape(k, math.prod(rest)), loop)
    return finished(xp, result.reshape(left.shape[:-1] + rest), None, out)


def _product(library: Library, routine: str, xp: Any, x: Array, y: Array, loop: Any) -> Array:
    """[..., m, k] @ [..., k, n] with the leading dimensions broadcast."""
    kernel = library.get(routine, loop)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    m, k, n = x.shape[-2], x.shape[-1], y.shape[-1]
    flat = [
        xp.ascontiguousarray(xp.broadcast_to(array, batch + array.shape[-2:]), loop).reshape(-1)
        for array in (x, y)
    ]
    result = xp.empty((*batch, m, n), kernel.entry.outputs[0])
    if result.size:
        kernel(flat, result.reshape(-1), {"batch": math.prod(batch), "m": m, "n": n, "k": k})
    return result


def _loop(left: Array, right: Array, dtype: Any) -> Any:
    return np.dtype(dtype) if dtype is not None else np.result_type(left.dtype, right.dtype)
