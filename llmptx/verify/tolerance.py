"""How near is near enough: the rules of docs/tolerance.md as numbers.

Knows no routine by name and sees no kernel's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from llmptx.record import Tolerance
from llmptx.routines.truth import Floats, Truth, spacing, unit_roundoff

Structure = Literal["random", "structured", "exact"]

__all__ = ["Structure", "allowance", "gamma", "scale", "spacing", "unit_roundoff"]


def gamma(d: Floats | float, dtype: str) -> Floats:
    """gamma_d = d u / (1 - d u), the classical bound on d roundings in a row."""
    du = np.asarray(d, np.float64) * unit_roundoff(dtype)
    return du / (1 - du)


def depth(n: Floats | float) -> Floats:
    """d = 4 log2 n + 64: additions a term may pass through in a sum of n."""
    return 4 * np.log2(np.maximum(n, 1)) + 64


def allowance(
    tolerance: Tolerance, truth: Truth, extents: Mapping[str, int], structure: Structure, dtype: str
) -> Floats:
    """The largest |error| allowed at each element of one output of float `dtype`.

    Exact data (integers, one-hot probes) must come out exactly under every rule that sums.
    Sums over subnormal products may lose one least subnormal a term.
    """
    ulp = spacing(truth.hi, dtype)
    least = float(spacing(np.zeros(1), dtype)[0])
    if tolerance.rule in ("exact", "sort"):
        return np.zeros_like(ulp)
    if tolerance.rule == "ulp":
        return tolerance.ulp * ulp
    if truth.weight is None:
        raise ValueError(f"rule {tolerance.rule!r} needs a weight, and the oracle gives none")
    if tolerance.rule == "special":
        return tolerance.ulp * truth.weight
    if structure == "exact":
        return np.zeros_like(ulp)
    if tolerance.rule == "reduction":
        n = extents["n"]
        return gamma(depth(n), dtype) * truth.weight + n * least
    if tolerance.rule == "scan":
        length = _prefix_lengths(extents)
        return gamma(depth(length), dtype) * truth.weight + length * least
    k = extents["k"]
    factor = k if structure == "structured" else 4 * np.sqrt(k)
    return factor * unit_roundoff(dtype) * truth.weight + k * least


def derivation(tolerance: Tolerance, dtype: str) -> str:
    """Why that much is allowed and no more: the rule of docs/tolerance.md in a sentence."""
    k = f"{tolerance.ulp:g} ULP"
    return {
        "exact": "the answer is one number, and IEEE 754 or integer arithmetic gives it: bit for bit",
        "ulp": f"{k} of the true value: CUDA documents {tolerance.ulp - 0.5:g} from the rounded {dtype}",
        "special": f"{k} of the true value times 1 + |x f'(x)/f(x)|, as one rounding of x is worth",
        "reduction": "gamma_d sum|x|, d = 4 log2 n + 64: no term through more than d additions, any order",
        "scan": "gamma_d sum|x| at every prefix, d = 4 log2 n + 64 with the prefix's own n",
        "matmul": "4 sqrt(k) u (|A||B|) on random data, k u (|A||B|) on constants, exact on whole numbers",
        "sort": "the very keys that went in, in order, NaN last",
    }[tolerance.rule]


def _prefix_lengths(extents: Mapping[str, int]) -> Floats:
    """For every element of a scan, how many terms its prefix has."""
    shape = (extents["outer"], extents["n"], extents["inner"])
    along = np.arange(1, extents["n"] + 1, dtype=np.float64)[None, :, None]
    return np.broadcast_to(along, shape).ravel()


def scale(tolerance: Tolerance, truth: Truth, dtype: str) -> Floats:
    """The ULP errors are counted in: the true value's, or that of sum|x| where terms may cancel."""
    if tolerance.rule in ("reduction", "scan", "matmul") and truth.weight is not None:
        return spacing(np.maximum(np.abs(truth.hi), truth.weight), dtype)
    return spacing(truth.hi, dtype)
