"""Sine and cosine in float64 of angles in arithmetic progression, by angle sums: for sweeps over all floats.

Neighbouring floats of one binade are equally far apart, and sin(a + b) = sin a cos b + cos a sin b: a block
of 32,768 of them takes 256 sines and cosines and three operations an element, where the library's own sine of
a large angle takes 60 ns. Knows nothing of floats' bits, kernels or tolerances.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from llmptx.routines.truth import Floats

STEPS = 256
# Below this the sum may have cancelled; the library answers there. Above, the error is under 2^-47 of the
# result, 2^-23 ULP in float32.
_CANCELLED = 2.0**-4
_LEAST = 4 * STEPS


def sine(x: Floats) -> Floats:
    """sin of each element: within 2^-47 of it for a progression, as numpy otherwise."""
    step = _step(x)
    if step is None:
        return np.asarray(np.sin(x))
    if max(abs(float(x[0])), abs(float(x[-1]))) < _CANCELLED:
        return _small_sine(x)
    at, near = x[::STEPS, None], _steps(step)
    answer = (np.sin(at) * near[1] + np.cos(at) * near[0]).reshape(-1)[: x.size]
    return _mended(answer, x, np.sin)


def cosine(x: Floats) -> Floats:
    """cos of each element: within 2^-47 of it for a progression, as numpy otherwise."""
    step = _step(x)
    if step is None:
        return np.asarray(np.cos(x))
    at, near = x[::STEPS, None], _steps(step)
    answer = (np.cos(at) * near[1] - np.sin(at) * near[0]).reshape(-1)[: x.size]
    return _mended(answer, x, np.cos)


def _small_sine(x: Floats) -> Floats:
    """Taylor's series, whose first term left out is under 2^-64 of the result below 2^-4."""
    square = x * x
    series = square * (1 / 362880)
    for factor in (-1 / 5040, 1 / 120, -1 / 6):
        series += factor
        series *= square
    answer = np.asarray(x + x * series)
    if float(x[0]) * float(x[-1]) <= 0:
        answer[x == 0] = x[x == 0]  # -0 + 0 is +0
    return answer


def _mended(answer: Floats, x: Floats, function: np.ufunc) -> Floats:
    places = np.flatnonzero(np.abs(answer) < _CANCELLED)
    answer[places] = function(x[places])
    return answer


def _step(x: Floats) -> float | None:
    """The distance between neighbours where it is the same everywhere and sums of it are exact, else None."""
    if x.ndim != 1 or x.size < _LEAST or not np.isfinite(x[0]):
        return None
    step = float(x[1]) - float(x[0])
    if step == 0 or float(x[-1]) - float(x[0]) != step * (x.size - 1):
        return None
    mantissa = np.frexp(step)[0]
    return step if abs(mantissa) == 0.5 and bool((np.diff(x) == step).all()) else None


@lru_cache(maxsize=64)
def _steps(step: float) -> tuple[Floats, Floats]:
    """Sines and cosines of the first multiples of a step."""
    angles = step * np.arange(STEPS)
    return np.sin(angles), np.cos(angles)
