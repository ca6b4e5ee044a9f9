"""Makes a failing case small: the least shape, and the fewest values that matter, that still fail.

Delta debugging (Zeller and Hildebrandt, 2002) over the indices of each extent, then over the elements that
differ from a plain value, then simpler values for those that are left. What fails is found out by running the
candidate, as often as the time allows. Knows no routine by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmptx.record import Finding, Routine, Signature
from llmptx.routines.truth import Array
from llmptx.verify.inputs import Case
from llmptx.verify.tolerance import Structure

SECONDS = 1.0
LISTED = 16
_SIMPLE = (0, 1, -1, 2, 0.5, 3)

Fails = Callable[[Case], tuple[Finding, ...]]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest failing case that was found, its findings, and how many runs that took."""

    case: Case
    findings: tuple[Finding, ...]
    runs: int


class _OutOfTimeError(Exception):
    pass


def shrink(
    routine: Routine,
    signature: Signature,
    case: Case,
    fails: Fails,
    seconds: float = SECONDS,
    element: int | None = None,
) -> Shrunk | None:
    """The smallest case like `case` that fails; None where not even that one does again.

    fails    runs a case; findings of the fault in question, or nothing
    seconds  after which no further run begins
    element  of the output, where the fault was seen: its surroundings are tried first
    """
    search = _Search(routine, signature, fails, time.monotonic() + seconds)
    if not search.keeps(case):
        return None
    try:
        search.shape(element)
        search.values()
        search.shape(None)
        search.simpler()
    except _OutOfTimeError:
        pass
    assert search.best is not None
    label = f"shrunk from {case.label}"
    best = replace(search.best, label=label)
    return Shrunk(best, tuple(replace(f, case=label) for f in search.found), search.runs)


@dataclass
class _Search:
    """The best case so far, and the steps that try to better it."""

    routine: Routine
    signature: Signature
    fails: Fails
    deadline: float
    best: Case | None = None
    found: tuple[Finding, ...] = ()
    runs: int = 0

    def keeps(self, case: Case) -> bool:
        """Whether a case fails; if so, it is the best one now. Raises _OutOfTimeError."""
        if self.best is not None and time.monotonic() > self.deadline:
            raise _OutOfTimeError
        self.runs += 1
        found = self.fails(case)
        if found:
            self.best, self.found = case, found
        return bool(found)

    @property
    def case(self) -> Case:
        assert self.best is not None
        return self.best

    def shape(self, element: int | None) -> None:
        """Fewer indices of each extent, longest first."""
        # An access outside a buffer names an element that is not there.
        here = element is not None and 0 <= element < self.case.extents.get("n", 0)
        if here and self.routine.kind == "elementwise":
            self.keeps(self._cropped(self.case, "n", [int(element or 0)]))
        for extent in sorted(self.case.extents, key=lambda e: -self.case.extents[e]):
            whole = self.case

            def fails(some: list[int], whole: Case = whole, extent: str = extent) -> bool:
                return self.keeps(self._cropped(whole, extent, some))

            fewest(list(range(whole.extents[extent])), fails)

    def _cropped(self, whole: Case, extent: str, indices: Sequence[int]) -> Case:
        inputs = []
        for data, size in zip(whole.inputs, self.routine.sizes, strict=False):
            factors = size.split("*")
            if extent in factors:
                shaped = data.reshape([whole.extents[f] for f in factors])
                data = np.ascontiguousarray(np.take(shaped, indices, axis=factors.index(extent))).ravel()
            inputs.append(data)
        return self._like({**whole.extents, extent: len(indices)}, tuple(inputs))

    def values(self) -> None:
        """A plain value wherever it makes no difference."""
        whole = self.case
        different = [(k, i) for k, data in enumerate(whole.inputs) for i in self._different(data)]

        def fails(some: list[tuple[int, int]]) -> bool:
            inputs = [np.full_like(data, self._plain) for data in whole.inputs]
            for k, i in some:
                inputs[k][i] = whole.inputs[k][i]
            return self.keeps(self._like(whole.extents, tuple(inputs)))

        if different and not fails([]):
            fewest(different, fails)

    @property
    def _plain(self) -> int:
        """What an element is that does not matter: nothing in a sum, one elsewhere."""
        return plain(self.routine)

    def _different(self, data: Array) -> list[int]:
        return np.flatnonzero(different(data, self._plain)).tolist()

    def simpler(self) -> None:
        """Each value that matters made as short as it can be."""
        for k, whole in enumerate(self.case.inputs):
            for i in self._different(whole)[:LISTED]:
                for value in _shorter(whole[i]):
                    inputs = [data.copy() for data in self.case.inputs]
                    inputs[k][i] = value
                    if self.keeps(self._like(self.case.extents, tuple(inputs))):
                        break

    def _like(self, extents: Mapping[str, int], inputs: tuple[Array, ...]) -> Case:
        return Case(self.case.label, extents, inputs, self._structure(inputs))

    def _structure(self, inputs: Sequence[Array]) -> Structure:
        """Exact only where that is beyond doubt: whole numbers whose sums, or sums of products, are too.

        A mean divides, so it rounds.
        """
        if self.case.structure != "exact":
            return self.case.structure
        bound = 1.0
        for data in inputs:
            if data.dtype.kind == "f" and not (np.isfinite(data).all() and (data == np.rint(data)).all()):
                return "random"
            bound *= float(np.abs(data.astype(np.float64)).sum())
        return "random" if bound >= 2**24 or "averaged" in self.routine.domain else "exact"


def plain(routine: Routine) -> int:
    """The value of an element that does not matter."""
    return 1 if routine.kind == "elementwise" else 0


def different(data: Array, value: int) -> NDArray[np.bool_]:
    """Where an array is not the value, bit for bit."""
    if data.dtype.kind != "f":
        return np.asarray(data != data.dtype.type(value))
    return np.asarray((data != value) | np.signbit(data))


def _shorter(value: Any) -> Iterator[Any]:
    """Values of the same type that are easier to read, the simplest first, as far as the value itself."""
    dtype = np.asarray(value).dtype
    if dtype.kind == "b":
        return
    with np.errstate(all="ignore"):
        simple = [np.asarray(v).astype(dtype)[()] for v in _SIMPLE]
        if dtype.kind == "f":
            mantissa, exponent = np.frexp(value)
            for bits in (1, 2, 4, 8, 12) if np.isfinite(value) else ():
                simple.append(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(dtype))
            simple.append(np.rint(value))
        for candidate in simple:
            if candidate == value:
                return
            yield candidate


def describe(routine: Routine, shrunk: Shrunk) -> str:
    """The counterexample in words: extents, every input, and what came out."""
    extents = ", ".join(f"{name}={size}" for name, size in shrunk.case.extents.items())
    inputs = [f"in{k} = {_listed(data, plain(routine))}" for k, data in enumerate(shrunk.case.inputs)]
    return f"{extents}; {'; '.join(inputs)}: {shrunk.findings[0].message}"


def _listed(data: Array, value: int) -> str:
    if data.size <= LISTED:
        return f"[{', '.join(_shown(v) for v in data)}]"
    places = np.flatnonzero(different(data, value))
    some = ", ".join(f"[{i}] = {_shown(data[i])}" for i in places[:LISTED].tolist())
    more = f" and {places.size - LISTED} more" if places.size > LISTED else ""
    return f"{data.size} elements, all {value}" + (f" but {some}{more}" if places.size else "")


def _shown(value: Any) -> str:
    """Short values as they are; others with their bits too."""
    text = str(value)
    if value.dtype.kind != "f" or len(text) <= 6:
        return text
    return f"{text} (0x{int.from_bytes(value.tobytes(), 'little'):0{2 * value.dtype.itemsize}x})"


T = TypeVar("T")


def fewest(items: list[T], fails: Callable[[list[T]], bool]) -> list[T]:
    """A part of the items, in order, that still fails, and no longer does with any one piece left out."""
    pieces = 2
    while len(items) > 1:
        cuts = [len(items) * i // pieces for i in range(pieces + 1)]
        parts = [items[a:b] for a, b in pairwise(cuts)]
        smaller = next((part for part in parts if fails(part)), None)
        if smaller is not None:
            items, pieces = smaller, 2
            continue
        rests = ([x for j, part in enumerate(parts) if j != i for x in part] for i in range(pieces))
        rest = next((r for r in rests if pieces > 2 and fails(r)), None)
        if rest is not None:
            items, pieces = rest, max(pieces - 1, 2)
        elif pieces >= len(items):
            break
        else:
            pieces = min(2 * pieces, len(items))
    return items
