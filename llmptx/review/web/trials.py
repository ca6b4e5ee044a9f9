"""Runs a kernel on values that a person typed, or on special ones, in a worker process, beside the truth.

Knows the catalogue's oracles and the judge's workers; the page shows what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.ptx.errors import PtxError
from llmptx.ptx.plan import parse_plan
from llmptx.record import Routine, Signature
from llmptx.routines import find
from llmptx.run.worker import Pool, WorkerError
from llmptx.verify.compare import judge
from llmptx.verify.inputs import Case
from llmptx.verify.plan_run import PlanError, Setup, job, results
from llmptx.verify.values import short_lattice

MOST_VALUES = 64
SECONDS = 5.0
_BOOLS = {"0": False, "1": True, "false": False, "true": True}
Array = NDArray[Any]


class TrialError(ValueError):
    """Values that cannot be run, or a run that came to nothing; str() says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """One element: inputs, what the kernel gave, the truth, how far off that is, whether it is allowed."""

    inputs: tuple[str, ...]
    got: str
    expected: str
    error: str
    right: bool


def typed(pool: Pool, text: str, name: str, dtype: str, fields: Sequence[str]) -> tuple[Result, ...]:
    """Runs on values as typed, one field an input, separated by blanks or commas. Raises TrialError."""
    routine, signature = _spec(name, dtype)
    if len(fields) != len(signature.inputs):
        raise TrialError(f"{name} takes {len(signature.inputs)} inputs")
    columns = [_numbers(field, kind) for field, kind in zip(fields, signature.inputs, strict=True)]
    return _run(pool, text, routine, signature, _case(routine, columns))


def special(pool: Pool, text: str, name: str, dtype: str) -> tuple[Result, ...]:
    """Runs on zeros, infinities, NaN, subnormals and extremes; nothing for what is not elementwise."""
    routine, signature = _spec(name, dtype)
    if routine.kind != "elementwise" or len(signature.inputs) > 2:
        return ()
    domains = routine.domain or ("real",) * len(signature.inputs)
    axes = [
        short_lattice(kind, domain)[: 24 if len(domains) == 1 else 9]
        for kind, domain in zip(signature.inputs, domains, strict=True)
    ]
    grid = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    return _run(pool, text, routine, signature, _case(routine, grid))


def _spec(name: str, dtype: str) -> tuple[Routine, Signature]:
    try:
        routine = find(name)
        return routine, routine.signature(dtype)
    except KeyError as error:
        raise TrialError(f"the catalogue has no {name} {dtype}") from error


def _numbers(field: str, dtype: str) -> Array:
    words = field.replace(",", " ").split()
    if not words:
        raise TrialError("type a value or more, separated by blanks")
    if len(words) > MOST_VALUES:
        raise TrialError(f"{len(words)} values; {MOST_VALUES} at most are run here")
    values = []
    for word in words:
        try:
            values.append(_number(word, dtype))
        except (ValueError, OverflowError) as error:
            raise TrialError(f"{word[:40]!r} is no {dtype}") from error
    return np.array(values, dtype)


def _number(word: str, dtype: str) -> Any:
    if dtype == "bool":
        if word.lower() not in _BOOLS:
            raise ValueError(word)
        return _BOOLS[word.lower()]
    if not dtype.startswith("float"):
        value = int(word, 0)
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            raise OverflowError(word)
        return value
    if word.lower().lstrip("+-").startswith("0x"):
        return float.fromhex(word)
    return float(word)


def _case(routine: Routine, columns: Sequence[Array]) -> Case:
    n = max(column.size for column in columns)
    if routine.kind == "matmul":
        sizes = {"batch": 1, "m": 1, "n": 1, "k": n}
    else:
        sizes = dict.fromkeys(routine.extents, 1) | {"n": n}
    # One value for an input means that value for every element.
    inputs = tuple(np.resize(column, n) if column.size == 1 else column for column in columns)
    if any(array.size != n for array in inputs):
        raise TrialError("every input needs as many values as the others, or one")
    return Case("typed in", sizes, inputs)


def _run(pool: Pool, text: str, routine: Routine, signature: Signature, case: Case) -> tuple[Result, ...]:
    try:
        work = job(text, parse_plan(text), routine, signature, case, Setup())
        outcome = pool.run(work, SECONDS)
    except (PlanError, PtxError, WorkerError) as error:
        raise TrialError(str(error)) from error
    if outcome.status != "ok":
        said = outcome.findings[0].message if outcome.findings else f"the run ended in {outcome.status}"
        raise TrialError(said)
    (truth,) = routine.oracle(case.inputs, case.extents, signature)
    (out,) = results(signature, outcome.buffers)
    got, dtype = np.asarray(out).ravel(), signature.outputs[0]
    tolerance = routine.tolerance[signature.dtype]
    with np.errstate(all="ignore"):
        judged = judge(tolerance, truth, got, case, dtype)
    elementwise = routine.kind == "elementwise"
    return tuple(
        Result(
            tuple(_shown(array[i], array.dtype) for array in case.inputs) if elementwise else (f"[{i}]",),
            _shown(got[i], got.dtype),
            _shown(truth.hi[i], np.dtype(dtype)),
            _distance(judged.error[i], dtype),
            not (judged.wrong[i] or judged.nan_wrong[i]),
        )
        for i in range(got.size)
    )


def _shown(value: Any, dtype: np.dtype[Any]) -> str:
    return repr(dtype.type(value).item()) if dtype.kind != "f" else f"{dtype.type(value)!s}"


def _distance(error: float, dtype: str) -> str:
    if not dtype.startswith("float"):
        return "" if error == 0 else "off"
    return "" if error == 0 else f"{error:.3g} ULP"
