"""Kernels beside values that others computed: numpy's validation sets, and scipy's copy of Boost's.

    python benchmarks/validation.py > docs/validation.md

Each row of those files is run through the shipped kernel by the runtime that exported packages use, on the
CPU engine, and held to the error that the kernel is certified for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from llmptx.export.kernel import Entry, Kernel
from llmptx.routines import find
from llmptx.routines.truth import spacing

Array = NDArray[Any]
NUMPY = ("exp", "exp2", "log", "log2", "sin", "cos", "tanh")
BOOST = ("erf_data_ipp-erf_data", "erf_large_data_ipp-erf_large_data", "erf_small_data_ipp-erf_small_data")
_BITS = {"float32": np.uint32, "float64": np.uint64}
_HEAD = """\
# Values that others computed

Written by `python benchmarks/validation.py > docs/validation.md`. The rows of numpy's
`umath-validation-set-*.csv` and of scipy's `boost.npz` for the catalogue's functions, run through the
shipped kernels on the CPU engine. The error is the largest, in units in the last place from the value in
the file, which is itself rounded: half a unit is added to the limit that kernels are certified for.

| function | dtype | source | rows | largest error | limit |
| --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One function and dtype: rows tried, the largest error in ULP, and what is allowed."""

    routine: str
    dtype: str
    source: str
    count: int
    error: float
    limit: float


def rows() -> Iterator[Row]:
    """Every function and dtype there are values for."""
    for name in NUMPY:
        for dtype in ("float32", "float64"):
            x, expected = _umath(name, dtype)
            yield _row(f"numpy.{name}", dtype, "numpy umath", x, expected)
    data = np.load(Path(scipy.special.__file__).parent / "tests" / "data" / "boost.npz")
    table = np.concatenate([data[key][:, :2] for key in BOOST]).astype(np.float64)
    yield _row("scipy.special.erf", "float64", "Boost, in scipy", table[:, 0].copy(), table[:, 1])


def kernel(name: str, dtype: str) -> Kernel:
    """The shipped kernel of a routine, as an exported package would hold it."""
    routine = find(name)
    signature = routine.signature(dtype)
    folder = files("llmptx") / "llm" / "offline" / routine.package / name.rpartition(".")[2]
    last = max(file.name for file in folder.iterdir() if file.name.startswith(f"{dtype}."))
    entry = Entry(name, routine.kind, dtype, signature.inputs, signature.outputs, routine.extents)
    return Kernel(entry, (folder / last).read_text())


def _umath(name: str, dtype: str) -> tuple[Array, Array]:
    file = Path(np.__file__).parent / "_core" / "tests" / "data" / f"umath-validation-set-{name}.csv"
    lines = [line.split(",") for line in file.read_text().splitlines() if line.startswith(f"np.{dtype}")]
    columns = [np.array([int(line[at], 16) for line in lines], _BITS[dtype]).view(dtype) for at in (1, 2)]
    return columns[0], columns[1]


def _row(name: str, dtype: str, source: str, x: Array, expected: Array) -> Row:
    out = np.empty_like(x)
    kernel(name, dtype)((x,), out, {"n": x.size})
    limit = find(name).tolerance[dtype].ulp + 0.5
    return Row(name, dtype, source, x.size, float(error(out, expected, dtype).max()), limit)


def error(got: Array, expected: Array, dtype: str) -> NDArray[np.float64]:
    """In ULP of the expected value; infinite where one is NaN or infinite and the other is not."""
    with np.errstate(all="ignore"):
        apart = np.abs(got.astype(np.longdouble) - expected.astype(np.longdouble))
        apart = (apart / spacing(expected, dtype)).astype(np.float64)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))


def page() -> str:
    """The table."""
    lines = [
        f"| {r.routine} | {r.dtype} | {r.source} | {r.count:,} | {r.error:.3g} ULP | {r.limit:g} ULP |\n"
        for r in rows()
    ]
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    print(page(), end="")
