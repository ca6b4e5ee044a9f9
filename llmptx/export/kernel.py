"""One approved kernel, launched on arrays: plan evaluated, scratch allocated, module compiled once a process.

Knows the ABI (flat contiguous buffers, then extents); knows nothing of shapes, axes or dtypes to be promoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llmptx.ptx.plan import Expr, Plan, PlanLaunch, parse_plan

if TYPE_CHECKING:
    from llmptx.run.module import Module

Device = Literal["cpu", "cuda"]
Array = Any  # a numpy or a CuPy array


@dataclass(frozen=True, slots=True)
class Entry:
    """What the manifest says of a kernel: the signature, and the names of its extents in ABI order."""

    routine: str
    kind: str
    dtype: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    extents: tuple[str, ...]


@cache
def compiled(text: str) -> Module:
    """The module of a text, once a process."""
    # Here, not above: importing an exported package must not cost the import of a compiler.
    from llmptx.run.module import Module

    return Module(text)


@dataclass(frozen=True)
class Kernel:
    """`kernel(inputs, output, extents)` fills `output`."""

    entry: Entry
    text: str

    @cached_property
    def plan(self) -> Plan:
        return parse_plan(self.text)

    def __call__(self, inputs: Sequence[Array], output: Array, extents: Mapping[str, int]) -> None:
        """inputs and output: flat contiguous arrays of the entry's dtypes, all of numpy or all of CuPy.

        output overlaps no input.
        """
        xp, device = home(output)
        named = {f"in{i}": _bytes_of_bool(self._placed(xp, array)) for i, array in enumerate(inputs)}
        if len(inputs) == 1:
            named["in"] = named["in0"]
        target = self._placed(xp, output, copy=False)
        named["out"] = _bytes_of_bool(target)
        for buffer in self.plan.buffers:
            size = buffer.size.evaluate(extents)
            named[buffer.name] = _aligned(xp, size * buffer.type.bytes, np.dtype(np.uint8), self._alignment)
        for launch in self.plan.launches:
            self._launch(launch, named, extents, device)
        if target is not output:
            output[...] = target

    @property
    def _alignment(self) -> int:
        return self.plan.align or 16

    def _placed(self, xp: Any, array: Array, copy: bool = True) -> Array:
        """The array, or one like it that is aligned as the plan asks."""
        if _address(xp, array) % (self.plan.align or array.dtype.itemsize) == 0:
            return array
        moved = _aligned(xp, array.size, array.dtype, self._alignment)
        if copy:
            moved[...] = array
        return moved

    def _launch(
        self, launch: PlanLaunch, named: Mapping[str, Array], extents: Mapping[str, int], device: Device
    ) -> None:
        grid = tuple(axis.evaluate(extents) for axis in launch.grid)
        if 0 in grid:
            return
        abi: tuple[Expr | str, ...] = (
            *(f"in{i}" for i in range(len(self.entry.inputs))),
            "out",
            *self.entry.extents,
        )
        args = [_argument(a, named, extents) for a in (abi if launch.args is None else launch.args)]
        function = compiled(self.text).get_function(launch.entry)
        function(grid=grid, block=launch.block, args=tuple(args), shared_mem=launch.shared, device=device)


def home(array: Array) -> tuple[Any, Device]:
    """The module an array belongs to, numpy or cupy, and the device its kernels run on."""
    if type(array).__module__.partition(".")[0] == "cupy":
        import cupy

        return cupy, "cuda"
    return np, "cpu"


def _argument(argument: Expr | str, named: Mapping[str, Array], extents: Mapping[str, int]) -> Array | int:
    name = str(argument)
    if name in extents:
        return extents[name]
    if name in named:
        return named[name]
    if isinstance(argument, str):
        raise ValueError(f"the plan passes {name!r}, which is neither a buffer nor an extent")
    return argument.evaluate(extents)


def _bytes_of_bool(array: Array) -> Array:
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def _aligned(xp: Any, size: int, dtype: np.dtype[Any], alignment: int) -> Array:
    """A new flat array whose address is a multiple of `alignment` bytes."""
    length = size * dtype.itemsize
    room = xp.empty(length + alignment, np.uint8)
    start = -_address(xp, room) % alignment
    return room[start : start + length].view(dtype)


def _address(xp: Any, array: Array) -> int:
    return int(array.ctypes.data if xp is np else array.data.ptr)
