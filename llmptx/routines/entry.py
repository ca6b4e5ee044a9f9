"""How an entry is written: the signatures, extents and sizes that routines of one kind have in common.

Knows no routine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from llmptx.record import Kind, Routine, Signature, Tolerance
from llmptx.routines.truth import Array, Truth, exactly, multiprecision, quiet

Oracle = Callable[[Sequence[Array], Mapping[str, int], Signature], Sequence[Truth]]

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
REALS = FLOATS + INTEGERS

EXACT = Tolerance("exact")

NAN_PROPAGATES = "NaN in any input gives NaN; its payload and sign are free."
SUBNORMALS = "Subnormal inputs and results are kept: no .ftz."
WRAPS = "Integers wrap around on overflow (two's complement)."
EITHER_ZERO = "Of +0 and -0 either may be returned."


def ulps(float32: float, float64: float) -> dict[str, Tolerance]:
    """CUDA's documented maximum error of a function, in ULP of each type.

    CUDA counts from the correctly rounded result (CUDA C++ Programming Guide, Mathematical Functions), which
    may itself lie half a ULP from the true value that errors are counted from here.
    """
    return {"float32": Tolerance("ulp", float32 + 0.5), "float64": Tolerance("ulp", float64 + 0.5)}


def exact(dtypes: Sequence[str]) -> dict[str, Tolerance]:
    return dict.fromkeys(dtypes, EXACT)


def elementwise(
    name: str,
    summary: str,
    reference: str,
    oracle: Oracle,
    dtypes: Sequence[str],
    *,
    arity: int = 1,
    output: str | None = None,
    domain: Sequence[str] = (),
    tolerance: Mapping[str, Tolerance] | None = None,
    notes: Sequence[str] = (),
    flagged: bool = False,
    monotone: Literal[1, 0, -1] = 0,
    meaning: Callable[..., Any] | None = None,
    provable: Sequence[str] = (),
) -> Routine:
    """One result an element: `(in0.., out, n)`, every buffer of n elements.

    output   the output's dtype where it is not the input's; such a routine can't run in place
    flagged  in0 is a bool, and `arity` inputs of the dtype follow it
    provable the dtypes that `meaning` is of; all where there is one and none are named
    """
    first = ("bool",) if flagged else ()
    signatures = tuple(Signature(d, first + (d,) * arity, (output or d,)) for d in dtypes)
    count = arity + len(first)
    return Routine(
        name=name,
        kind="elementwise",
        summary=summary,
        reference=reference,
        signatures=signatures,
        extents=("n",),
        sizes=("n",) * (count + 1),
        tolerance=dict(tolerance or exact(dtypes)),
        oracle=oracle,
        domain=tuple(domain) or ("real",) * count,
        notes=tuple(notes),
        inplace=output is None and not flagged,
        monotone=monotone,
        meaning=meaning,
        provable=tuple(provable or (dtypes if meaning else ())),
    )


def along_axis(
    name: str,
    kind: Kind,
    summary: str,
    reference: str,
    oracle: Oracle,
    outputs: Mapping[str, str],
    tolerance: Mapping[str, Tolerance],
    domain: str,
    *,
    keeps_shape: bool = False,
    notes: Sequence[str] = (),
) -> Routine:
    """A reduction or scan along the middle axis: `(in0, out, outer, n, inner)`.

    outputs  the output's dtype for each input dtype, in the order of the signatures
    """
    return Routine(
        name=name,
        kind=kind,
        summary=summary,
        reference=reference,
        signatures=tuple(Signature(d, (d,), (out,)) for d, out in outputs.items()),
        extents=("outer", "n", "inner"),
        sizes=("outer*n*inner", "outer*n*inner" if keeps_shape else "outer*inner"),
        tolerance=dict(tolerance),
        oracle=oracle,
        domain=(domain,),
        notes=(AXIS_NOTE_KEEPS if keeps_shape else AXIS_NOTE, *notes),
    )


AXIS_NOTE = "Element (o, j, i) of the input is at (o*n + j)*inner + i; result (o, i) is at o*inner + i."
AXIS_NOTE_KEEPS = "Element (o, j, i) of input and output alike is at (o*n + j)*inner + i; the axis is j."


def unary(function: Callable[[Any], Any], free_zero_sign: bool = False) -> Oracle:
    """An oracle for an exact function of one array."""

    def oracle(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
        with quiet():
            return exactly(function(inputs[0]), signature.outputs[0], free_zero_sign)

    return oracle


def binary(function: Callable[[Any, Any], Any]) -> Oracle:
    """An oracle for an exact function of two arrays."""

    def oracle(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
        with quiet():
            return exactly(function(inputs[0], inputs[1]), signature.outputs[0])

    return oracle


def transcendental(wider: Callable[[Any], Any], precise: str) -> Oracle:
    """An oracle for a function of one array: float32 by `wider` in float64, float64 by MPFR's `precise`."""

    def oracle(inputs: Sequence[Array], extents: Mapping[str, int], signature: Signature) -> Sequence[Truth]:
        if signature.dtype == "float64":
            hi, lo = multiprecision(precise, inputs[0])
            return (Truth(hi, lo),)
        with quiet():
            return (Truth(wider(inputs[0].astype("float64"))),)

    return oracle
