"""Exported kernels on CuPy arrays: `load()[routine, dtype](*inputs, out=array, n=...)`.

Needs CuPy and the kernels' own folder; nothing is copied, promoted or broadcast here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from . import standalone


class CupyKernel:
    """One kernel. Its module is loaded by `cupy.RawModule(path=...)` at the first call."""

    def __init__(self, kernel: standalone.Kernel) -> None:
        self.kernel = kernel
        self.path, self.extents = kernel.path, kernel.extents

    @cached_property
    def module(self) -> Any:
        """The `cupy.RawModule` of the kernel's file."""
        import cupy

        return cupy.RawModule(path=str(self.path))

    def __call__(self, *inputs: Any, out: Any, **extents: int) -> Any:
        """Fill `out`, a flat contiguous array, on the current stream, and return it.

        inputs   flat contiguous CuPy arrays of the kernel's dtypes and sizes
        extents  the kernel's own, `n=...`
        Raises TypeError for what the kernel does not take; nothing has been launched then.
        """
        import cupy
        import numpy

        named = self._named((*inputs, out), extents)
        for name, size in self.kernel.scratch(extents).items():
            named[name] = cupy.empty(max(size, 1), numpy.uint8)
        for launch in self.kernel.launches(extents):
            function = self.module.get_function(launch.entry)
            if launch.shared > 48 * 1024:
                function.max_dynamic_shared_size_bytes = launch.shared
            args = tuple(named[a] if isinstance(a, str) else numpy.uint64(a) for a in launch.args)
            function(launch.grid, launch.block, args, shared_mem=launch.shared)
        return out

    def _named(self, arrays: tuple[Any, ...], extents: Mapping[str, int]) -> dict[str, Any]:
        kernel = self.kernel
        names = [*(f"in{i}" for i in range(len(kernel.inputs))), "out"]
        dtypes = [*kernel.inputs, kernel.output]
        if len(arrays) != len(names):
            raise TypeError(
                f"{kernel.routine} takes {len(names) - 1} inputs and out; given {len(arrays) - 1}"
            )
        sizes = kernel.sizes(extents)
        for name, array, dtype, size in zip(names, arrays, dtypes, sizes, strict=True):
            if array.dtype != dtype or array.size != size or not array.flags.c_contiguous:
                raise TypeError(
                    f"{name} of {kernel.routine} is {size} contiguous elements of {dtype}; "
                    f"given {array.size} of {array.dtype}"
                )
            if array.data.ptr % (kernel.align or array.itemsize):
                raise TypeError(
                    f"{name} must lie at a multiple of {kernel.align or array.itemsize} bytes: copy it"
                )
        if kernel.noalias and any(_overlap(array, arrays[-1]) for array in arrays[:-1]):
            raise TypeError(f"out of {kernel.routine} must not overlap an input: give another array")
        return dict(zip(names, arrays, strict=True))


def load(folder: Path, manifest_sha256: str) -> dict[tuple[str, str], CupyKernel]:
    """Kernels by routine and dtype. TamperedError where a byte of a file was changed."""
    found = standalone.load(folder, manifest_sha256)
    return {key: CupyKernel(kernel) for key, kernel in found.items()}


def _overlap(a: Any, b: Any) -> bool:
    first, second = a.data.ptr, b.data.ptr
    return bool(first < second + b.nbytes and second < first + a.nbytes)
