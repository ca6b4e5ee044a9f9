"""Elementwise functions as numpy's and scipy's ufuncs behave: promotion, broadcasting, out=, where=.

Knows nothing of single routines but the few whose Python face is not a plain ufunc's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmptx.export.kernel import Array, home
from llmptx.export.library import Library

_WEAK = (int, float, complex)


def elementwise(
    library: Library, routine: str, args: Sequence[Any], out: Any = None, where: Any = True, dtype: Any = None
) -> Any:
    """A ufunc call. Scalars for 0-d results of numpy arrays, as numpy gives them.

    Raises NoKernelError for dtypes without an approved kernel, ValueError for shapes that do not broadcast.
    """
    arrays = operands(args)
    loop = _loop(routine, args, arrays, dtype)
    return apply(library, routine, loop, arrays, args, out, where)


def operands(args: Sequence[Any]) -> list[Array]:
    """Arrays of what was given: CuPy's where one is, and numpy's are then not mixed in."""
    on_gpu = [a for a in args if home(a)[1] == "cuda"]
    if not on_gpu:
        return [np.asarray(a) for a in args]
    xp, _ = home(on_gpu[0])
    if any(isinstance(a, np.ndarray) and a.ndim for a in args):
        raise TypeError("numpy and CuPy arrays can't be mixed; move one with cupy.asarray or cupy.asnumpy")
    return [xp.asarray(a) for a in args]


def apply(
    library: Library,
    routine: str,
    loop: Any,
    arrays: Sequence[Array],
    args: Sequence[Any],
    out: Any = None,
    where: Any = True,
) -> Any:
    """Run the kernel for dtype `loop` on broadcast operands."""
    if isinstance(out, tuple):
        (out,) = out
    kernel = library.get(routine, loop)
    xp, _ = home(arrays[0])
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    flat = []
    for given, array, dtype in zip(args, arrays, kernel.entry.inputs, strict=True):
        wanted = np.dtype(dtype)
        if type(given) in _WEAK and array.dtype != wanted:
            array = xp.asarray(given, wanted)
        flat.append(xp.ascontiguousarray(xp.broadcast_to(array, shape), wanted).reshape(-1))
    result = xp.empty(shape, kernel.entry.outputs[0])
    if result.size:
        kernel(flat, result.reshape(-1), {"n": result.size})
    return delivered(xp, result, out, where)


def delivered(xp: Any, result: Array, out: Any, where: Any = True) -> Any:
    """The result as numpy hands it over: in `out` where given, a scalar where it is 0-d."""
    if out is None and where is True:
        return result[()] if xp is np and result.ndim == 0 else result
    if out is None:
        out = xp.empty(np.broadcast_shapes(result.shape, np.shape(where)), result.dtype)
    elif np.broadcast_shapes(result.shape, out.shape) != out.shape:
        raise ValueError(f"a result of shape {result.shape} does not fit into out of shape {out.shape}")
    if where is True:
        xp.copyto(out, result, casting="same_kind")
    else:
        xp.copyto(out, result, casting="same_kind", where=xp.asarray(where, bool))
    return out


def finished(xp: Any, result: Array, dtype: Any, out: Any) -> Any:
    """As `delivered`, cast to dtype first; out must have the very shape. ValueError where it has another."""
    if dtype is not None and result.dtype != dtype:
        result = result.astype(dtype)
    if out is not None and out.shape != result.shape:
        raise ValueError(f"out has shape {out.shape}; the result has {result.shape}")
    return delivered(xp, result, out)


def _loop(routine: str, args: Sequence[Any], arrays: Sequence[Array], dtype: Any) -> Any:
    """The dtype to compute in, as numpy resolves it (NEP 50: Python scalars are weak)."""
    kinds = [type(g) if type(g) in _WEAK else a.dtype for g, a in zip(args, arrays, strict=True)]
    package, _, name = routine.partition(".")
    ufunc = getattr(np, name) if package == "numpy" else None
    if not isinstance(ufunc, np.ufunc):
        return np.dtype(dtype) if dtype is not None else _floating(np.result_type(*map(_weak, kinds)))
    operands_and_results = (*kinds, *(None,) * ufunc.nout)
    if dtype is None:
        return ufunc.resolve_dtypes(operands_and_results)[0]
    asked = (*(None,) * ufunc.nin, np.dtype(dtype))
    return ufunc.resolve_dtypes(operands_and_results, signature=asked)[0]


def _weak(kind: Any) -> Any:
    return kind(0) if isinstance(kind, type) else kind


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """scipy.special's rule: integers are computed in float64, halves in float32."""
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def power(library: Library, routine: str, args: Sequence[Any], **options: Any) -> Any:
    """As numpy: an integer to a negative integer power is refused, not answered."""
    loop = _loop(routine, args, arrays := operands(args), options.pop("dtype", None))
    if np.dtype(loop).kind == "i" and bool((arrays[1] < 0).any()):
        raise ValueError("Integers to negative integer powers are not allowed.")
    return apply(library, routine, loop, arrays, args, **options)


def where(library: Library, routine: str, condition: Any, x: Any, y: Any) -> Any:
    """numpy.where with three arguments: any condition, counted as true where it is not zero."""
    flag, a, b = operands((condition, x, y))
    kinds = [given if type(given) in _WEAK else array for given, array in ((x, a), (y, b))]
    result = apply(library, routine, np.result_type(*kinds), (flag != 0, a, b), (None, x, y))
    return np.asarray(result) if np.isscalar(result) else result


def clip(library: Library, routine: str, x: Any, low: Any, high: Any, out: Any = None) -> Any:
    """numpy.clip: an end that is None limits nothing."""
    (array,) = operands((x,))
    ends = [(end, lowest) for end, lowest in ((low, True), (high, False))]
    given = [end for end, _ in ends if end is not None]
    arrays = operands((x, *given))
    kinds = [g if type(g) in _WEAK else a for g, a in zip((x, *given), arrays, strict=True)]
    loop = np.result_type(*kinds)
    low, high = (_end(loop, lowest) if end is None else end for end, lowest in ends)
    return apply(library, routine, loop, operands((array, low, high)), (array, low, high), out)


def _end(dtype: np.dtype[Any], lowest: bool) -> Any:
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    info = np.iinfo(dtype)
    return int(info.min if lowest else info.max)
