"""How each routine's function looks in Python: its parameters, which runtime serves it, its documentation.

Knows names and signatures of numpy and scipy; writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmptx.routines import find


@dataclass(frozen=True, slots=True)
class Face:
    """A function's parameters, and its call: `module.function(library, routine, arguments)`."""

    parameters: str
    module: str
    function: str
    arguments: str


_ELEMENTWISE = {
    1: Face(
        "x: _Any, /, out: _Any = None, *, where: _Any = True, dtype: _Any = None",
        "elementwise",
        "elementwise",
        "(x,), out=out, where=where, dtype=dtype",
    ),
    2: Face(
        "x1: _Any, x2: _Any, /, out: _Any = None, *, where: _Any = True, dtype: _Any = None",
        "elementwise",
        "elementwise",
        "(x1, x2), out=out, where=where, dtype=dtype",
    ),
}
_EXTREMUM = Face(
    "a: _Any, axis: _Any = None, out: _Any = None, keepdims: bool = False",
    "axes",
    "reduction",
    "a, axis=axis, out=out, keepdims=keepdims",
)
_AVERAGE = Face(
    "a: _Any, axis: _Any = None, dtype: _Any = None, out: _Any = None, keepdims: bool = False",
    "axes",
    "reduction",
    "a, axis=axis, dtype=dtype, out=out, keepdims=keepdims",
)
_FACES: Mapping[str, Face] = {
    "numpy.power": Face(_ELEMENTWISE[2].parameters, "elementwise", "power", _ELEMENTWISE[2].arguments),
    "numpy.where": Face("condition: _Any, x: _Any, y: _Any, /", "elementwise", "where", "condition, x, y"),
    "numpy.clip": Face(
        "a: _Any, a_min: _Any = None, a_max: _Any = None, out: _Any = None",
        "elementwise",
        "clip",
        "a, a_min, a_max, out=out",
    ),
    "numpy.sum": _AVERAGE,
    "numpy.mean": _AVERAGE,
    "numpy.max": _EXTREMUM,
    "numpy.min": _EXTREMUM,
    "numpy.argmax": Face(
        "a: _Any, axis: _Any = None, out: _Any = None, *, keepdims: bool = False",
        "axes",
        "reduction",
        "a, axis=axis, out=out, keepdims=keepdims",
    ),
    "numpy.cumsum": Face(
        "a: _Any, axis: _Any = None, dtype: _Any = None, out: _Any = None",
        "axes",
        "scan",
        "a, axis=axis, dtype=dtype, out=out",
    ),
    "numpy.sort": Face("a: _Any, axis: _Any = -1", "axes", "sort", "a, axis=axis"),
    "numpy.dot": Face("a: _Any, b: _Any, out: _Any = None", "products", "dot", "a, b, out=out"),
    "numpy.matmul": Face(
        "x1: _Any, x2: _Any, /, out: _Any = None, *, dtype: _Any = None",
        "products",
        "matmul",
        "x1, x2, out=out, dtype=dtype",
    ),
    "scipy.special.softmax": Face("x: _Any, axis: _Any = None", "axes", "softmax", "x, axis=axis"),
    "scipy.special.logsumexp": Face(
        "a: _Any, axis: _Any = None, *, keepdims: bool = False",
        "axes",
        "reduction",
        "a, axis=axis, keepdims=keepdims",
    ),
}


def call(routine: str) -> Face:
    """Raises KeyError for a routine whose Python face nobody has described."""
    if routine in _FACES:
        return _FACES[routine]
    entry = find(routine)
    if entry.kind != "elementwise":
        raise KeyError(f"{routine} has no Python face yet: describe its parameters in llmptx/export/faces.py")
    return _ELEMENTWISE[len(entry.signatures[0].inputs)]


def documentation(routine: str, certificates: Sequence[Mapping[str, Any]]) -> str:
    """The docstring: what it computes, where numpy or scipy documents it, and what was verified."""
    lines = [find(routine).summary, "", f"As {_link(routine)}", "", "Verified kernels:"]
    lines += [f"    {_verified(certificate)}" for certificate in certificates]
    return "\n".join(lines)


def _link(routine: str) -> str:
    if routine.startswith("numpy."):
        return f"https://numpy.org/doc/stable/reference/generated/{routine}.html"
    return f"https://docs.scipy.org/doc/scipy/reference/generated/{routine}.html"


def _verified(certificate: Mapping[str, Any]) -> str:
    accuracy = certificate["accuracy"]
    error = f"max {accuracy['max_ulp']:.3g} ULP over {accuracy['checked']:,} results, " if accuracy else ""
    cases = sum(stage["cases"] for stage in certificate["stages"])
    registers = [r["registers"] for r in certificate["resources"]]
    spills = any(r["spill_stores"] or r["spill_loads"] for r in certificate["resources"])
    used = f", at most {max(registers)} registers, {'spills' if spills else 'no spills'}" if registers else ""
    level = f"{error}{cases:,} cases at level {certificate['level']}{used}"
    return f"{certificate['dtype']}: {level}; certificate {certificate['hash'][:12]}"
