"""Packed differences against Python's integers, as CUDA's __vabsdiff and __vsad intrinsics use them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.isa.run import integers, run, signed

KINDS = st.sampled_from(["u32", "s32"])


def lanes(value: int, width: int, kind: str) -> list[int]:
    fields = [value >> i & (1 << width) - 1 for i in range(0, 32, width)]
    return [signed(f, width) if kind == "s32" else f for f in fields]


@pytest.mark.parametrize("count", [4, 2])
@settings(max_examples=80, deadline=None)
@given(a=integers(32), b=integers(32), c=integers(32), kinds=st.tuples(KINDS, KINDS, KINDS))
def test_packed_differences(count: int, a: int, b: int, c: int, kinds: tuple[str, str, str]) -> None:
    width = 32 // count
    apart = [abs(x - y) for x, y in zip(lanes(a, width, kinds[1]), lanes(b, width, kinds[2]), strict=True)]
    packed = sum((d & (1 << width) - 1) << width * i for i, d in enumerate(apart))
    name = f"vabsdiff{count}.{'.'.join(kinds)}"
    assert run(name, a, b, c) == packed
    assert run(f"{name}.add", a, b, c) == (sum(apart) + c) & 0xFFFFFFFF
