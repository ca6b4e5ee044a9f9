"""What is mutated: verified kernels of the offline library, by class; and the field's usual test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator

from llmptx.llm.library import drafts
from llmptx.ptx.plan import parse_plan
from llmptx.record import Routine, Signature
from llmptx.routines import find
from llmptx.routines.truth import Array
from llmptx.verify.inputs import Case
from llmptx.verify.judge import Runs
from llmptx.verify.plan_run import PlanError, job, results

TRIALS = 5
SECONDS = 5.0

_EXACT = (
    *("add", "subtract", "multiply", "divide", "negative", "absolute", "square", "sqrt", "reciprocal"),
    *("sign", "floor", "ceil", "rint", "maximum", "minimum", "fmax", "fmin", "clip", "where", "equal"),
    *("less", "isnan", "floor_divide", "remainder"),
)
_CURVES = ("exp", "exp2", "log", "log2", "sin", "cos", "tanh", "power", "erf", "expit")
_WHOLE = ("sum", "mean", "max", "min", "argmax", "cumsum", "dot", "matmul", "sort")
_INTEGER = (
    *("add", "multiply", "absolute", "floor_divide", "remainder", "power", "clip", "less"),
    *("bitwise_and", "bitwise_xor", "left_shift", "right_shift"),
)
_FLOAT64 = (
    *("add", "divide", "maximum", "rint", "exp", "log", "sin", "remainder"),
    *("sum", "max", "argmax", "cumsum", "matmul", "sort", "softmax"),
)

TASKS: tuple[tuple[str, str], ...] = (
    *((name, "float32") for name in (*_EXACT, *_CURVES, *_WHOLE, "softmax", "logsumexp")),
    *((name, "int32") for name in (*_INTEGER, *_WHOLE)),
    *((name, "float64") for name in _FLOAT64),
)

# Extents the field would take: one shape, whole blocks.
_SHAPES = {
    "elementwise": {"n": 4096},
    "reduction": {"outer": 16, "n": 1024, "inner": 1},
    "scan": {"outer": 16, "n": 1024, "inner": 1},
    "dot": {"n": 4096},
    "matmul": {"batch": 1, "m": 64, "n": 64, "k": 64},
    "sort": {"outer": 4, "n": 1024},
}


@dataclass(frozen=True, slots=True)
class Task:
    """A verified kernel to mutate."""

    routine: Routine
    signature: Signature
    text: str

    @property
    def name(self) -> str:
        return f"{self.routine.name.rpartition('.')[2]} {self.signature.dtype}"

    @property
    def group(self) -> str:
        """The routine's class: as the tolerance divides elementwise ones, else the kind."""
        if self.routine.kind != "elementwise":
            return "dot, matmul" if self.routine.kind in ("dot", "matmul") else self.routine.kind
        if not self.signature.dtype.startswith("float"):
            return "elementwise, integer"
        exact = self.routine.tolerance[self.signature.dtype].rule == "exact"
        return "elementwise, exact" if exact else "elementwise, transcendental"


def task(name: str, dtype: str) -> Task:
    """Raises KeyError where the offline library has no such kernel."""
    routine = find(name)
    texts = drafts(routine.name, dtype)
    if not texts:
        raise KeyError(f"the offline library has no kernel for {name} in {dtype}")
    return Task(routine, routine.signature(dtype), texts[-1])


def habit(subject: Task, text: str, run: Runs) -> bool:
    """Whether the field's usual test takes a kernel: `allclose` on five random inputs of one shape.

    With numpy's own tolerances; where these refuse the honest kernel, with 1e-4.
    """
    return _close(subject, text, run, _tolerance(subject, run))


_tolerances: dict[str, float | None] = {}


def _tolerance(subject: Task, run: Runs) -> float | None:
    if subject.name not in _tolerances:
        _tolerances[subject.name] = None if _close(subject, subject.text, run, None) else 1e-4
    return _tolerances[subject.name]


def _close(subject: Task, text: str, run: Runs, tolerance: float | None) -> bool:
    limits = {} if tolerance is None else {"rtol": tolerance, "atol": tolerance}
    plan = parse_plan(text)
    for trial in range(TRIALS):
        case, expecteds = _expected(subject.routine.name, subject.signature.dtype, trial)
        try:
            asked = job(text, plan, subject.routine, subject.signature, case)
        except PlanError:
            return False
        outcome = run.run(asked, SECONDS)
        if outcome.status != "ok":
            return False
        got = results(subject.signature, outcome.buffers)
        for output, expected in zip(got, expecteds, strict=True):
            if not np.allclose(output, expected, equal_nan=True, **limits):
                return False
    return True


@cache
def _expected(name: str, dtype: str, trial: int) -> tuple[Case, tuple[Array, ...]]:
    """The inputs of a trial, and numpy's answers."""
    subject = task(name, dtype)
    case = _usual(subject, np.random.default_rng(trial))
    truths = subject.routine.oracle(case.inputs, case.extents, subject.signature)
    with np.errstate(all="ignore"):
        wanted = zip(subject.signature.outputs, truths, strict=True)
        return case, tuple(truth.hi.astype(dtype) for dtype, truth in wanted)


def _usual(subject: Task, rng: Generator) -> Case:
    extents = _SHAPES[subject.routine.kind]
    inputs = []
    for place, dtype in enumerate(subject.signature.inputs):
        size = 1
        for factor in subject.routine.sizes[place].split("*"):
            size *= extents[factor]
        inputs.append(_drawn(rng, size, dtype, subject.routine.domain[place]))
    return Case("usual", extents, tuple(inputs))


def _drawn(rng: Generator, size: int, dtype: str, domain: str) -> Array:
    if dtype == "bool":
        return rng.integers(0, 2, size).astype(np.bool_)
    if dtype.startswith("int"):
        low, high = {"shift": (0, 31), "exponent": (0, 10), "divisor": (1, 100)}.get(domain, (-100, 100))
        return rng.integers(low, high, size).astype(dtype)
    values = rng.standard_normal(size)
    return (np.abs(values) if domain in ("log", "positive") else values).astype(dtype)
