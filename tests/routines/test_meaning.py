"""An entry's formula over bits and its oracle say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmptx.routines import catalog
from llmptx.verify.inputs import cases

Bits = NDArray[Any]


@dataclass(frozen=True)
class Numpy:
    """The algebra on arrays of unsigned integers that hold the patterns of a dtype."""

    dtype: str

    @property
    def floating(self) -> bool:
        return self.dtype.startswith("float")

    @property
    def _width(self) -> int:
        return 8 * np.dtype(self.dtype).itemsize

    def _values(self, a: Bits) -> Bits:
        return a.view(self.dtype)

    def number(self, value: int) -> Bits:
        return np.array([value], self.dtype).view(f"uint{self._width}")

    def sign(self) -> Bits:
        return np.array([1 << (self._width - 1)], f"uint{self._width}")

    def where(self, condition: Bits, a: Bits, b: Bits) -> Bits:
        return np.where(condition, a, b)

    def flag(self, condition: Bits) -> Bits:
        return condition.astype(np.uint8)

    def same(self, a: Bits, b: Bits) -> Bits:
        return a == b

    def equal(self, a: Bits, b: Bits) -> Bits:
        return self._values(a) == self._values(b)

    def less(self, a: Bits, b: Bits) -> Bits:
        return self._values(a) < self._values(b)

    def nan(self, a: Bits) -> Bits:
        return np.isnan(self._values(a))

    def within(self, count: Bits) -> Bits:
        return count < self._width

    def shifted_right(self, a: Bits, count: Bits) -> Bits:
        return (self._values(a) >> np.minimum(count, self._width - 1).view(self.dtype)).view(a.dtype)

    def quotient(self, a: Bits, b: Bits) -> Bits:
        x, y = self._values(a), self._values(b)
        y = np.where(y == 0, 1, y).astype(self.dtype)
        down = np.floor_divide(x, y)
        return (down + ((x - down * y != 0) & ((x < 0) != (y < 0)))).astype(self.dtype).view(a.dtype)


PROVABLE = [(r.name, dtype) for r in catalog().values() for dtype in r.provable]


def test_every_exact_routine_of_whole_numbers_element_by_element_has_a_formula() -> None:
    lacking = {
        (r.name, s.dtype)
        for r in catalog().values()
        for s in r.signatures
        if r.kind == "elementwise" and s.dtype.startswith("int") and s.dtype not in r.provable
    }
    assert {name for name, _ in lacking} == {"numpy.power"}


@pytest.mark.parametrize(("name", "dtype"), PROVABLE)
def test_the_formula_gives_what_the_oracle_gives(name: str, dtype: str) -> None:
    routine = catalog()[name]
    signature = routine.signature(dtype)
    assert routine.meaning is not None
    for case in cases(routine, signature, "quick", 3):
        patterns = [x.view(f"uint{8 * x.dtype.itemsize}") for x in case.inputs]
        with np.errstate(all="ignore"):
            (truth,) = routine.oracle(case.inputs, case.extents, signature)
            got = routine.meaning(Numpy(dtype), *patterns).view(signature.outputs[0])
        same = (got == truth.hi) & ((np.signbit(got) == np.signbit(truth.hi)) | (truth.free_zero_sign))
        if signature.outputs[0].startswith("float"):
            same |= np.isnan(got) & np.isnan(truth.hi)
        assert same.all(), (case.label, np.flatnonzero(~same)[:3])
