"""Arrays as the memory of a launch: what may be passed, and which bytes they cover together.

Knows nothing of engines or devices.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmptx.ptx import ast

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that arrays with bytes in common cover, without gaps: from `start`, of `size` bytes.

    name      of the first parameter that points into it
    arrays    in the order of their parameters; each is alive as long as this is
    """

    name: str
    start: int
    size: int
    arrays: tuple[Array, ...]

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The memory itself, which is to be written where an array may be."""
        if self.size == 0:
            return np.empty(0, np.uint8)
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.size).from_address(self.start))

    def pieces(self, writeable: bool) -> tuple[slice, ...]:
        """Where the arrays that may be written lie in it, or those that may not."""
        return tuple(
            slice(a.ctypes.data - self.start, a.ctypes.data - self.start + a.nbytes)
            for a in self.arrays
            if a.flags.writeable is writeable
        )


def pointed(param: ast.Variable, value: Any) -> Array | None:
    """The array of an argument, None for a number.

    Raises TypeError for an array that has no plain numbers of this machine's byte order or that is no
    pointer's, ValueError for one that is not contiguous.
    """
    if not isinstance(value, np.ndarray):
        return None
    if param.type.bits != 64 or param.type.is_float:
        raise TypeError(f"parameter {param.name} is .{param.type}: an array needs a 64-bit pointer")
    if value.dtype.kind not in "biufcV" or value.dtype.hasobject or not value.dtype.isnative:
        raise TypeError(
            f"the array for {param.name} has dtype {value.dtype.str}: pass numbers in native order"
        )
    if not value.flags.c_contiguous:
        raise ValueError(f"the array for {param.name} is not contiguous: pass numpy.ascontiguousarray of it")
    return value


def regions(named: Sequence[tuple[str, Array]]) -> tuple[Region, ...]:
    """The memory of arrays, by parameter names: one region for those that overlap."""
    found: list[list[tuple[int, str, Array]]] = []
    end = 0
    places = [(array.ctypes.data, number) for number, (_, array) in enumerate(named)]
    for start, number in sorted(places):
        name, array = named[number]
        if not found or start >= end:
            found.append([])
        found[-1].append((number, name, array))
        end = max(end, start + array.nbytes) if len(found[-1]) > 1 else start + array.nbytes
    return tuple(_region(sorted(group, key=lambda member: member[0])) for group in found)


def _region(members: Sequence[tuple[int, str, Array]]) -> Region:
    arrays = tuple(array for _, _, array in members)
    start = min(a.ctypes.data for a in arrays)
    end = max(a.ctypes.data + a.nbytes for a in arrays)
    return Region(members[0][1], start, end - start, arrays)
