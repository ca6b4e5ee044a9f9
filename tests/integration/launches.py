"""A launch of an integration kernel and what must come out of it; the register of all kernels.

Knows the engine's job; nothing of CUDA C++.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from llmptx.run.cpu import run_job
from llmptx.run.job import Array, Buffer, Job, Launch, Outcome

Number = int | np.generic | bytes


@dataclass(frozen=True, slots=True)
class Within:
    """Expected values and how far each may be missed (absolute); NaN must be NaN, infinities equal.

    `dtype` is the buffer's; `value` may be of a wider type.
    """

    value: Array
    bound: Array | float
    dtype: str = "float32"


def ulps(truth: Array, count: float, dtype: Any) -> Within:
    """`count` units in the last place of `dtype` at the truth, which is of a wider type."""
    kind = np.finfo(dtype)
    wide = np.asarray(truth, np.longdouble if dtype == np.float64 else np.float64)
    with np.errstate(all="ignore"):
        exponent = np.floor(np.log2(np.maximum(np.abs(wide), kind.tiny)))
        bound = count * np.ldexp(np.float64(1), (exponent - kind.nmant).astype(int))
    return Within(wide, np.where(np.isfinite(wide), bound, 0), kind.dtype.name)


@dataclass(frozen=True, slots=True)
class Run:
    """One launch.

    args      buffers by name, and scalars: numpy scalars, or ints for integer parameters, bytes for structs
    inputs    buffers before the launch
    expect    buffers after it; one that is in `inputs` too is changed in place, another starts
              uninitialised
    scratch   buffers that start uninitialised and that nobody compares
    """

    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: tuple[str | Number, ...]
    inputs: Mapping[str, Array]
    expect: Mapping[str, Array | Within]
    scratch: Mapping[str, Array] = field(default_factory=dict)
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Kernel:
    """An entry of a file of `cuda/`; `run(*shape)` is a launch of it and `shapes` are the shapes to try."""

    file: str
    run: Callable[..., Run]
    shapes: tuple[tuple[Any, ...], ...]
    slow: tuple[tuple[Any, ...], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.file.removesuffix('.cu')}-{self.run.__name__}"

    def __call__(self, *shape: Any) -> Run:
        return self.run(*shape)


KERNELS: list[Kernel] = []


def kernel(file: str, *shapes: Any, slow: tuple[Any, ...] = ()) -> Callable[[Callable[..., Run]], Kernel]:
    """Registers a function from a shape to a Run. A shape is a tuple, or one value."""

    def register(run: Callable[..., Run]) -> Kernel:
        made = Kernel(file, run, tuple(map(_tuple, shapes)), tuple(map(_tuple, slow)))
        KERNELS.append(made)
        return made

    return register


def _tuple(shape: Any) -> tuple[Any, ...]:
    return shape if isinstance(shape, tuple) else (shape,)


def three(counts: tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = (*counts, 1, 1)[:3]
    return x, y, z


def job(ptx: str, run: Run, **settings: Any) -> Job:
    """settings: those of Job (check, width, approx, seed, budget)."""
    buffers = []
    for name, data in run.inputs.items():
        role: Literal["input", "output"] = "output" if name in run.expect else "input"
        buffers.append(Buffer(name, data.dtype.str, data.size, role, data))
    for name, wanted in run.expect.items():
        if name not in run.inputs:
            like = wanted.value if isinstance(wanted, Within) else wanted
            buffers.append(Buffer(name, _dtype(run, name).str, like.size, "output"))
    for name, like in run.scratch.items():
        buffers.append(Buffer(name, like.dtype.str, like.size, "scratch"))
    args = tuple(a if isinstance(a, str) else _integer(a) for a in run.args)
    launch = Launch(run.entry, three(run.grid), three(run.block), args, run.shared)
    return Job(ptx, (launch,), tuple(buffers), **settings)


def launched(ptx: str, run: Run, **settings: Any) -> Outcome:
    return run_job(job(ptx, run, **settings))


def _integer(value: Number) -> int:
    """A parameter's bytes as the little-endian integer that a Launch takes."""
    if isinstance(value, int):
        return value
    return int.from_bytes(value if isinstance(value, bytes) else value.tobytes(), "little")


def _dtype(run: Run, name: str) -> np.dtype[Any]:
    wanted = run.expect[name]
    return np.dtype(wanted.dtype)


def check_right(run: Run, outcome: Outcome) -> None:
    """Fails where there is a finding, or where a result is not the expected one."""
    assert outcome.status == "ok", [(f.kind, f.line, f.message) for f in outcome.findings]
    assert not outcome.changed, f"inputs changed: {outcome.changed}"
    for name, wanted in run.expect.items():
        got = outcome.buffers[name]
        if isinstance(wanted, Within):
            _check_within(name, got, wanted)
        else:
            _check_equal(name, got, wanted.reshape(-1))
    for name, mask in outcome.unwritten.items():
        assert not mask.any() or name in run.inputs, f"{name}: {int(mask.sum())} elements never written"


def _check_equal(name: str, got: Array, wanted: Array) -> None:
    same = got.view(f"u{got.itemsize}") == wanted.view(f"u{wanted.itemsize}")
    if got.dtype.kind == "f":
        same |= np.isnan(got) & np.isnan(wanted)
    at = np.flatnonzero(~same)
    assert not at.size, (
        f"{name}: {at.size} of {got.size} wrong, first [{at[0]}] is {got[at[0]]!r}, not {wanted[at[0]]!r}"
    )


def _check_within(name: str, got: Array, wanted: Within) -> None:
    truth = np.asarray(wanted.value).reshape(-1)
    bound = np.broadcast_to(np.asarray(wanted.bound).reshape(-1) if np.ndim(wanted.bound) else wanted.bound,
                            truth.shape)  # fmt: skip
    wide = got.astype(truth.dtype)
    with np.errstate(all="ignore"):
        same = (np.abs(wide - truth) <= bound) | (wide == truth) | (np.isnan(wide) & np.isnan(truth))
        # What is beyond the largest finite value may round to infinity within the bound.
        top = np.finfo(got.dtype).max
        same |= np.isinf(wide) & (np.abs(truth) + bound >= top) & (np.sign(wide) == np.sign(truth))
    at = np.flatnonzero(~same)
    assert not at.size, (
        f"{name}: {at.size} of {got.size} too far, first [{at[0]}] is {got[at[0]]!r}, not {truth[at[0]]!r}"
        f" (bound {bound[at[0]]!r})"
    )
