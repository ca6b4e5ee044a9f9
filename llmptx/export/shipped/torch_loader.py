"""Exported kernels on torch tensors, launched on torch's current stream through the CUDA driver.

Needs torch and libcuda; nothing is copied, promoted or broadcast here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import standalone

_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class DriverError(RuntimeError):
    """The CUDA driver refused; str() has its own words."""


class TorchKernel:
    """One kernel; its module is loaded once a device."""

    def __init__(self, kernel: standalone.Kernel, driver: Any = None) -> None:
        """driver: libcuda, or what stands for it."""
        self.kernel = kernel
        self.path, self.extents = kernel.path, kernel.extents
        self._driver = driver
        self._modules: dict[int, ctypes.c_void_p] = {}

    def __call__(self, *inputs: Any, out: Any, **extents: int) -> Any:
        """Fill `out`, a contiguous tensor, on the current stream of its device, and return it.

        inputs   contiguous CUDA tensors of the kernel's dtypes and sizes, on out's device
        extents  the kernel's own, `n=...`
        Raises TypeError for what the kernel does not take, and DriverError.
        """
        import torch

        tensors = (*inputs, out)
        named = self._named(tensors, extents)
        with torch.cuda.device(out.device):
            stream = torch.cuda.current_stream()
            scratch = {
                name: torch.empty(max(size, 1), dtype=torch.uint8, device=out.device)
                for name, size in self.kernel.scratch(extents).items()
            }
            named |= {name: tensor.data_ptr() for name, tensor in scratch.items()}
            for launch in self.kernel.launches(extents):
                self._launch(launch, named, out.device.index or 0, stream.cuda_stream)
            for tensor in scratch.values():
                tensor.record_stream(stream)
        return out

    def _named(self, tensors: tuple[Any, ...], extents: Mapping[str, int]) -> dict[str, int]:
        kernel = self.kernel
        names = [*(f"in{i}" for i in range(len(kernel.inputs))), "out"]
        dtypes = [*kernel.inputs, kernel.output]
        if len(tensors) != len(names):
            raise TypeError(
                f"{kernel.routine} takes {len(names) - 1} inputs and out; given {len(tensors) - 1}"
            )
        sizes = kernel.sizes(extents)
        for name, tensor, dtype, size in zip(names, tensors, dtypes, sizes, strict=True):
            given = str(tensor.dtype).removeprefix("torch.")
            if given != dtype or tensor.numel() != size or not tensor.is_contiguous():
                raise TypeError(
                    f"{name} of {kernel.routine} is {size} contiguous elements of {dtype}; "
                    f"given {tensor.numel()} of {given}"
                )
            if not tensor.is_cuda or tensor.device != tensors[-1].device:
                raise TypeError(
                    f"{name} of {kernel.routine} is on {tensor.device}; all go on one CUDA device"
                )
            if tensor.data_ptr() % (kernel.align or tensor.element_size()):
                raise TypeError(
                    f"{name} must lie at a multiple of {kernel.align or tensor.element_size()} bytes"
                )
        if kernel.noalias and any(_overlap(tensor, tensors[-1]) for tensor in tensors[:-1]):
            raise TypeError(f"out of {kernel.routine} must not overlap an input: give another tensor")
        return {name: tensor.data_ptr() for name, tensor in zip(names, tensors, strict=True)}

    def _launch(self, launch: standalone.Launch, named: Mapping[str, int], device: int, stream: int) -> None:
        driver = self._loaded()
        if device not in self._modules:
            module = ctypes.c_void_p()
            text = self.path.read_bytes() + b"\0"
            self._ask(driver.cuModuleLoadData(ctypes.byref(module), text), "cuModuleLoadData")
            self._modules[device] = module
        function = ctypes.c_void_p()
        self._ask(
            driver.cuModuleGetFunction(ctypes.byref(function), self._modules[device], launch.entry.encode()),
            "cuModuleGetFunction",
        )
        if launch.shared > 48 * 1024:
            self._ask(
                driver.cuFuncSetAttribute(function, _MAX_DYNAMIC_SHARED, launch.shared), "cuFuncSetAttribute"
            )
        values = [ctypes.c_uint64(named[a] if isinstance(a, str) else a) for a in launch.args]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        self._ask(
            driver.cuLaunchKernel(
                function,
                *(ctypes.c_uint(size) for size in (*launch.grid, *launch.block, launch.shared)),
                ctypes.c_void_p(stream),
                pointers,
                None,
            ),
            "cuLaunchKernel",
        )

    def _loaded(self) -> Any:
        if self._driver is None:
            try:
                self._driver = ctypes.CDLL("libcuda.so.1")
            except OSError as error:
                raise DriverError(f"there is no NVIDIA driver here: {error}") from error
        return self._driver

    def _ask(self, code: int, what: str) -> None:
        if code:
            said = ctypes.c_char_p()
            self._driver.cuGetErrorString(code, ctypes.byref(said))
            words = (said.value or b"no word of it").decode()
            raise DriverError(f"{what} for {self.kernel.routine} {self.kernel.dtype}: {words} ({code})")


def load(folder: Path, manifest_sha256: str) -> dict[tuple[str, str], TorchKernel]:
    """Kernels by routine and dtype. TamperedError where a byte of a file was changed."""
    found = standalone.load(folder, manifest_sha256)
    return {key: TorchKernel(kernel) for key, kernel in found.items()}


def _overlap(a: Any, b: Any) -> bool:
    first, second = a.data_ptr(), b.data_ptr()
    return bool(
        first < second + b.numel() * b.element_size() and second < first + a.numel() * a.element_size()
    )
