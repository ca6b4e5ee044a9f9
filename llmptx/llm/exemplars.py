"""Verified kernels to show a model beside its task: the nearest ones by what is computed and in which dtype.

Plain values and an order among them; knows neither where kernels are kept nor how a prompt is worded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmptx.record import Routine


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A verified kernel. kind: its routine's; inputs: how many it has."""

    routine: str
    kind: str
    dtype: str
    inputs: int
    text: str


def exemplar(routine: Routine, dtype: str, text: str) -> Exemplar:
    """An exemplar of a routine. Raises KeyError for a dtype it has not."""
    return Exemplar(routine.name, routine.kind, dtype, len(routine.signature(dtype).inputs), text)


def nearest(pool: Sequence[Exemplar], routine: Routine, dtype: str, count: int) -> tuple[Exemplar, ...]:
    """At most `count` of the pool, the nearest first, never the task's own kernel.

    The same routine in another dtype is nearest; then the same kind, the same dtype, as many inputs. One of
    another kind is too far to help, however few there are.
    """
    inputs = len(routine.signature(dtype).inputs)
    others = [e for e in pool if e.kind == routine.kind and (e.routine, e.dtype) != (routine.name, dtype)]

    def distance(e: Exemplar) -> tuple[bool, bool, bool, str, str]:
        return e.routine != routine.name, e.dtype != dtype, e.inputs != inputs, e.routine, e.dtype

    return tuple(sorted(others, key=distance)[:count])
