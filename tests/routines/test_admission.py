"""What the catalogue has cannot be passed without doing it: by a constant, an input, part of the answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from llmptx.record import Routine, Signature
from llmptx.routines import catalog
from llmptx.run.job import Array
from llmptx.verify.compare import compare
from llmptx.verify.inputs import Case, cases
from llmptx.verify.plan_run import sizes

Answer = Callable[[Case, int, str, Array], Array]


def _copied(array: Array, size: int, dtype: str) -> Array:
    """An array as the output: its numbers as they are, over and over."""
    with np.errstate(all="ignore"):
        return np.resize(array, size).astype(dtype) if array.size else np.zeros(size, dtype)


ANSWERS: dict[str, Answer] = {
    "zeros": lambda case, size, dtype, truth: np.zeros(size, dtype),
    "ones": lambda case, size, dtype, truth: np.ones(size, dtype),
    "NaN or the least": lambda case, size, dtype, truth: np.full(
        size, np.nan if dtype.startswith("float") else 1 if dtype == "bool" else np.iinfo(dtype).min, dtype
    ),
    "one right element everywhere": lambda case, size, dtype, truth: _copied(truth[:1], size, dtype),
    "the first input": lambda case, size, dtype, truth: _copied(case.inputs[0], size, dtype),
    "the last input": lambda case, size, dtype, truth: _copied(case.inputs[-1], size, dtype),
    "the first half": lambda case, size, dtype, truth: np.where(
        np.arange(size) <= size // 2, _copied(truth, size, dtype), np.zeros(1, dtype)
    ),
}
SPECS = [(routine, signature) for routine in catalog().values() for signature in routine.signatures]


@pytest.mark.parametrize(("routine", "signature"), SPECS, ids=[f"{r.name} {s.dtype}" for r, s in SPECS])
def test_no_lazy_answer_passes_even_the_quick_cases(routine: Routine, signature: Signature) -> None:
    left = set(ANSWERS)
    if routine.kind == "dot":  # its one number is all there is
        left -= {"one right element everywhere", "the first half"}
    for case in cases(routine, signature, "quick", 5):
        truth = routine.oracle(case.inputs, case.extents, signature)[0].hi
        size = sizes(routine, case.extents)[-1]
        dtype = signature.outputs[0]
        for name in sorted(left):
            answer = ANSWERS[name](case, size, dtype, np.asarray(truth))
            if compare(routine, signature, case, [answer]).findings:
                left.remove(name)
        if not left:
            break
    assert not left
