"""Products of vectors and matrices: exact sums of exact products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llmptx.record import Routine, Signature, Tolerance
from llmptx.routines.entry import INTEGERS, REALS, SUBNORMALS, WRAPS, exact
from llmptx.routines.truth import Array, Floats, Truth, exact_sum, exactly, pairs, quiet, two_product

_NO_TENSOR = "Products are of full precision: no TF32, no bf16; fma is allowed."


def _signatures() -> tuple[Signature, ...]:
    return tuple(Signature(d, (d, d), (d,)) for d in REALS)


def _dot(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    return _contract(inputs[0][None, None, :], inputs[1][None, :, None], signature)


def _matmul(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
    batch, m, n, k = (extents[name] for name in ("batch", "m", "n", "k"))
    return _contract(inputs[0].reshape(batch, m, k), inputs[1].reshape(batch, k, n), signature)


def _contract(a: Array, b: Array, signature: Signature) -> Sequence[Truth]:
    """[batch, m, k] @ [batch, k, n], flat, with |A||B| for weight."""
    if signature.dtype.startswith("int"):
        return exactly(np.matmul(a, b), signature.dtype)
    with quiet():
        a, b = a.astype(np.float64), b.astype(np.float64)
        weight = np.matmul(np.abs(a), np.abs(b)).ravel()
        if signature.dtype == "float32":
            return (Truth(_float32_products(a, b).ravel(), None, weight, True),)
        hi, lo = _float64_products(a, b)
    return (Truth(hi, lo, weight, True),)


def _float32_products(a: Floats, b: Floats) -> Floats:
    """Products of float32 are exact in float64. Einsum, unlike BLAS, is sure to keep IEEE's NaN."""
    if np.isfinite(a).all() and np.isfinite(b).all():
        return np.asarray(np.matmul(a, b), np.float64)
    return np.asarray(np.einsum("bmk,bkn->bmn", a, b))


def _float64_products(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Each product as an exact pair, each sum of pairs rounded once."""
    columns = np.swapaxes(b, 1, 2)
    parts: list[tuple[float, float]] = []
    for rows, cols in zip(a, columns, strict=True):
        for row in rows:
            product, error = two_product(row[None, :], cols)
            if not np.isfinite(
                error
            ).all():  # an infinity or NaN among the operands: rounding no longer matters
                error = np.zeros_like(product)
            parts += [exact_sum(terms) for terms in np.concatenate([product, error], axis=1).tolist()]
    return pairs(parts)


ROUTINES: tuple[Routine, ...] = (
    Routine(
        name="numpy.dot",
        kind="dot",
        summary="Inner product of two vectors.",
        reference="out[0] = sum over i of in0[i] * in1[i]",
        signatures=_signatures(),
        extents=("n",),
        sizes=("n", "n", "1"),
        tolerance={**dict.fromkeys(("float32", "float64"), Tolerance("reduction")), **exact(INTEGERS)},
        oracle=_dot,
        domain=("factors", "factors"),
        notes=(
            "The order of addition is free; |error| <= gamma_d sum|x y|, d = 4 log2 n + 64.",
            _NO_TENSOR,
            "n = 0 gives 0 and is launched.",
            "NaN and infinities propagate: inf * 0 is NaN.",
            SUBNORMALS,
            WRAPS,
        ),
    ),
    Routine(
        name="numpy.matmul",
        kind="matmul",
        summary="Product of matrices, batch by batch.",
        reference="out[b, i, j] = sum over h of in0[b, i, h] * in1[b, h, j]",
        signatures=_signatures(),
        extents=("batch", "m", "n", "k"),
        sizes=("batch*m*k", "batch*k*n", "batch*m*n"),
        tolerance={**dict.fromkeys(("float32", "float64"), Tolerance("matmul")), **exact(INTEGERS)},
        oracle=_matmul,
        domain=("factors", "factors"),
        notes=(
            "in0 is [batch, m, k], in1 [batch, k, n], out [batch, m, n], all row-major.",
            "|error| <= 4 sqrt(k) u (|A||B|), element by element, on random data.",
            _NO_TENSOR,
            "k = 0 gives 0 and is launched where batch*m*n > 0; m, n, k need not be multiples of any tile.",
            "NaN and infinities propagate: inf * 0 is NaN.",
            SUBNORMALS,
            WRAPS,
        ),
    ),
)
