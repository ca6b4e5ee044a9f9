"""The same calls on an NVIDIA GPU, through CuPy. Everything here needs the `gpu` extra and a device;
`available` asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from llmptx.record import Finding
from llmptx.run.job import Job, Outcome

if TYPE_CHECKING:
    from llmptx.ptx import ast
    from llmptx.run.module import Module


class NoGpuError(RuntimeError):
    """There is no usable GPU: says what is missing and what would help."""


def available() -> bool:
    """Whether CuPy is installed and sees a device."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.is_available())


def _cupy() -> Any:
    try:
        import cupy
    except ImportError:
        raise NoGpuError("device 'cuda' needs CuPy: pip install 'llmptx[gpu]'") from None
    if not cupy.is_available():
        raise NoGpuError("CuPy is installed but sees no NVIDIA GPU and driver: use device='cpu'")
    return cupy


def _function(cupy: Any, text: str, name: str, dynamic: int) -> Any:
    """The entry of a PTX text, through the driver's own loader: RawModule takes PTX from files only."""
    from cupy_backends.cuda.api import driver

    module = cupy.cuda.function.Module()
    module.load(text.encode("ascii") + b"\0")
    function = module.get_function(name)
    if dynamic > 48 * 1024:
        limit = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver.funcSetAttribute(function.ptr, limit, dynamic)
    return function


def launch_function(
    module: Module,
    name: str,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    params: Sequence[ast.Variable],
    args: Sequence[Any],
    shared: int,
) -> None:
    """Launches on the current device and waits. numpy arrays are copied there and back; CuPy arrays are
    used as they are.

    Raises NoGpuError; CuPy's own errors for what the driver refuses.
    """
    from llmptx.run.module import scalar_bytes

    cupy = _cupy()
    copies = []
    values = []
    for param, value in zip(params, args, strict=True):
        if isinstance(value, np.ndarray):
            device = cupy.asarray(value)
            copies.append((value, device))
            values.append(device)
        elif isinstance(value, cupy.ndarray):
            values.append(value)
        else:
            size = param.type.bytes
            kind = f"f{size}" if param.type.is_float else f"u{size}"
            values.append(np.frombuffer(scalar_bytes(param, value), kind)[0])
    _function(cupy, module.text, name, shared)(grid, block, tuple(values), shared_mem=shared)
    cupy.cuda.runtime.deviceSynchronize()
    for host, device in copies:
        if host.flags.writeable:
            host[...] = cupy.asnumpy(device)


def run_job(job: Job) -> Outcome:
    """A Job's launches on the current device. `check`, `width`, `approx`, `seed` and `budget` are the CPU
    engine's.
    """
    cupy = _cupy()
    start = time.perf_counter()
    contents = {b.name: b.contents() for b in job.buffers}
    places = _placed(cupy, job, contents)
    try:
        for launch in _launches(cupy, job, places):
            launch()
        cupy.cuda.runtime.deviceSynchronize()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return Outcome("crash", findings=(Finding("crash", f"the GPU reports {error}"),))
    changed = []
    buffers = {}
    aliased = {b.alias for b in job.buffers}
    for buffer in job.buffers:
        host = cupy.asnumpy(places[buffer.name])
        if buffer.role != "input":
            buffers[buffer.name] = host.view(np.dtype(buffer.dtype))
            continue
        data = contents[buffer.name]
        if buffer.name not in aliased and data is not None and not np.array_equal(host, _bytes(data)):
            changed.append(buffer.name)
    return Outcome("ok", buffers, changed=tuple(changed), seconds=time.perf_counter() - start)


def _placed(cupy: Any, job: Job, contents: Mapping[str, np.ndarray[Any, Any] | None]) -> dict[str, Any]:
    """The buffers' bytes on the device, by name."""
    places: dict[str, Any] = {}
    for buffer in job.buffers:
        if buffer.alias:
            places[buffer.name] = places[buffer.alias]
            continue
        itemsize = np.dtype(buffer.dtype).itemsize
        memory = cupy.full(buffer.size * itemsize + 512, 0xC7, cupy.uint8)
        first = 256 + (buffer.offset - memory.data.ptr) % 256
        view = memory[first : first + buffer.size * itemsize]
        data = contents[buffer.name]
        view[...] = buffer.poison if data is None else cupy.asarray(_bytes(data))
        places[buffer.name] = view
    return places


def _launches(cupy: Any, job: Job, places: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """The job's launches, each loaded and ready to be called any number of times."""
    for launch in job.launches:
        args = tuple(
            np.uint64(places[a].data.ptr) if isinstance(a, str) else np.uint64(a % (1 << 64))
            for a in launch.args
        )
        function = _function(cupy, job.ptx, launch.entry, launch.shared)
        yield partial(function, launch.grid, launch.block, args, shared_mem=launch.shared)


def timed(job: Job) -> float:
    """Milliseconds that a Job's launches take on the current device, buffers in place: see `median_ms`."""
    cupy = _cupy()
    places = _placed(cupy, job, {b.name: b.contents() for b in job.buffers})
    launches = list(_launches(cupy, job, places))
    return median_ms(lambda: [launch() for launch in launches])


def median_ms(work: Callable[[], object], repeats: int = 30) -> float:
    """The median time of `work` on the current device, between two events, after three runs to warm up."""
    cupy = _cupy()
    took = []
    for _ in range(3 + repeats):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        took.append(cupy.cuda.get_elapsed_time(start, end))
    return float(np.median(took[3:]))


def _bytes(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(data).view(np.uint8).reshape(-1)
